// SPDX-License-Identifier: GPL-2.0-or-later
/* The doctor's answer as JSON: docs/kmodkeep-json.md describes it. */
#include "guard/verdict/doctor_json.h"

#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/host/discover.h"
#include "guard/host/firmware.h"
#include "guard/host/tpm.h"
#include "guard/verdict/room.h"

static struct json_object *next_boot_json(const struct next_boot *n)
{
	struct json_object *o = json_object_new_object();

	json_add(o, "loader", loader_word(n->loader));
	json_add(o, "kernel", n->kernel);
	json_add(o, "entry", n->entry);
	json_add(o, "why", n->why);
	json_add_bool(o, "once", n->once);
	json_add(o, "cmdline", n->cmdline);
	json_add(o, "image", n->files.image);
	json_add(o, "initramfs", n->files.count ? n->files.archives[n->files.count - 1] :
						  NULL);
	json_add_bool(o, "default_can_be_set",
		      n->loader && !n->obstacle);
	return o;
}

static struct json_object *kernel_json(const struct doctor *d,
				       const struct kernel *k)
{
	struct json_object *o = json_object_new_object();

	json_add(o, "release", k->release);
	json_add_bool(o, "running", k->running);
	json_add_bool(o, "next_boot", d->next.kernel &&
		      !strcmp(d->next.kernel, k->release));
	json_add(o, "image", k->image);
	json_add(o, "initramfs", k->initramfs);
	return o;
}

static struct json_object *finding_json(const struct finding *f)
{
	struct json_object *o = report_json(&f->report, f->file);

	json_add(o, "kernel", f->kernel->release);
	json_add(o, "module", f->module);
	json_add(o, "driver", f->driver ? f->driver->name : NULL);
	json_add_bool(o, "note", f->note);
	json_add_bool(o, "waived", f->report.waived);
	json_add(o, "sha256", f->report.sha256);
	json_add(o, "dkms", f->dkms.state == DKMS_UNKNOWN ? NULL :
			    dkms_word(f->dkms.state));
	json_add(o, "dkms_version", f->dkms.version);
	json_add(o, "dkms_log", f->dkms.log);
	json_add(o, "dkms_beside", f->dkms.beside);
	json_add(o, "initramfs_copy", f->initramfs);
	json_add(o, "loaded_srcversion", f->loaded);
	return o;
}

static struct json_object *drivers_json(const struct drivers *drivers)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < drivers->count; i++) {
		const struct driver *d = &drivers->list[i];
		struct json_object *o = json_object_new_object();
		char *sources = driver_sources(d);

		json_add(o, "driver", d->name);
		json_add(o, "known_from", sources);
		json_add(o, "dkms", d->dkms);
		json_object_array_add(list, o);
		free(sources);
	}
	return list;
}

static struct json_object *packages_json(const struct packages *p)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < p->count; i++) {
		struct json_object *o = json_object_new_object();

		json_add(o, "package", p->list[i].name);
		json_add(o, "state", p->list[i].state);
		json_add(o, "kind", p->list[i].why);
		json_object_array_add(list, o);
	}
	return list;
}

struct json_object *doctor_json(const struct doctor *d)
{
	struct json_object *o = json_object_new_object();
	struct json_object *kernels = json_object_new_array();
	struct json_object *findings = json_object_new_array();
	char *disk = tpm_warning_of(d->h), *room = room_warning(d);

	json_add_int(o, "schema", DOCTOR_SCHEMA);
	json_add(o, "place", place_word(d->place));
	json_add(o, "secure_boot", secure_boot_word(host_secure_boot(d->h)));
	json_add(o, "running_kernel", host_running_kernel(d->h));
	json_object_object_add(o, "next_boot", next_boot_json(&d->next));
	for (size_t i = 0; i < d->kernels.count; i++)
		json_object_array_add(kernels,
				      kernel_json(d, &d->kernels.list[i]));
	json_object_object_add(o, "kernels", kernels);
	for (size_t i = 0; i < d->count; i++)
		json_object_array_add(findings,
				      finding_json(&d->findings[i]));
	json_object_object_add(o, "findings", findings);
	json_object_object_add(o, "drivers", drivers_json(&d->drivers));
	json_object_object_add(o, "unfinished_packages",
			       packages_json(&d->unfinished));
	json_add(o, "tpm_warning", disk);
	json_add(o, "room_warning", room);
	json_add(o, "not_seen", trust_gap(d->t));
	free(disk);
	free(room);
	return o;
}

static bool serves_now(const struct finding *f)
{
	return f->driver && !f->note && (f->report.verdict == VERDICT_OK ||
					 f->report.verdict == VERDICT_STALE_LOADED);
}

/* Nothing was asked about, or not all was seen: then nothing is forgotten. */
static bool is_still_lost(const struct doctor *d, const char *module)
{
	bool any = !d->asked || d->unseen;

	for (size_t i = 0; i < d->count; i++) {
		if (!d->findings[i].driver || !same_module(d->findings[i].module, module))
			continue;
		if (serves_now(&d->findings[i]))
			return false;
		any = true;
	}
	return any;
}

struct json_object *record_json(const struct doctor *d)
{
	struct json_object *list = json_object_new_array();
	size_t root = strlen(host_root(d->h));

	for (size_t i = 0; i < d->record.count; i++)
		if (is_still_lost(d, d->record.list[i].module))
			json_object_array_add(list, served_json(&d->record.list[i]));
	for (size_t i = 0; i < d->count; i++) {
		const struct finding *f = &d->findings[i];
		const struct served one = {
			.module = (char *)f->module,
			.driver = f->driver ? f->driver->name : NULL,
			.dkms = f->driver ? f->driver->dkms : NULL,
			.version = f->dkms.version,
			.file = f->file ? f->file + (root > 1 ? root : 0) : NULL,
		};

		if (serves_now(f))
			json_object_array_add(list, served_json(&one));
	}
	return list;
}
