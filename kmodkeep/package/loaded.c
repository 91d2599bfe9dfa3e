// SPDX-License-Identifier: GPL-2.0-or-later
/* The modules of the package that are loaded now, and the smoke test. */
#include <string.h>
#include <unistd.h>

#include "guard/base/json.h"
#include "guard/base/util.h"
#include "guard/module/modfile.h"
#include "guard/verdict/lookup.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/transaction.h"
#include "kmodkeep/package/tree.h"

#define MODPROBE_SECONDS 120
#define UNIT "kmodkeep-smoke.service"

/* Is what is loaded ours? Not in a chroot or a container, nor for an image. */
static bool on_host(struct transaction *x)
{
	return host_place(x->h) == PLACE_HOST && *host_running_kernel(x->h);
}

static int info_of(const char *file, struct modinfo *info)
{
	struct modfile m = { 0 };
	int err = modfile_read(file, &m);

	if (!err) {
		err = modinfo_read(m.bytes.data, m.bytes.len, info);
		modfile_free(&m);
	}
	return err;
}

/* "/sys/module/NAME/FILE" as a path of this host. */
static const char *sysfs(struct transaction *x, const char *module,
			 const char *file)
{
	return text(x, "%s/sys/module/%s%s",
		    host_is_live(x->h) ? "" : host_root(x->h), module, file);
}

static bool is_loaded(struct transaction *x, const char *module)
{
	return is_directory(sysfs(x, module, ""));
}

/* The names of the modules of ours that are loaded. */
static struct words loaded_modules(struct transaction *x)
{
	const char *dir = text(x, "%s/kernel-%s-%s", x->entry,
			       host_running_kernel(x->h), x->arch);
	struct words files = { 0 }, out = { 0 };

	if (on_host(x))
		files = built_modules(x, dir);
	for (size_t i = 0; i < files.count; i++) {
		struct modinfo info = { 0 };

		if (info_of(files.list[i], &info))
			continue;
		if (info.name && is_loaded(x, info.name))
			words_add(&out, text(x, "%s", info.name));
		modinfo_free(&info);
	}
	words_free(&files);
	return out;
}

static void unload_one(const char *module)
{
	char *const argv[] = {
		(char *)"modprobe", (char *)"-r", (char *)"--",
		(char *)module, NULL,
	};
	struct run_result run;

	/* Whether it did is seen afterwards. */
	run_program(argv, MODPROBE_SECONDS, &run);
}

void unload(struct transaction *x)
{
	struct words modules = loaded_modules(x);

	/* Twice: one may depend on another. */
	for (int again = 0; again < 2 && host_is_live(x->h); again++)
		for (size_t i = 0; i < modules.count; i++)
			if (is_loaded(x, modules.list[i]))
				unload_one(modules.list[i]);
	for (size_t i = 0; i < modules.count; i++)
		if (is_loaded(x, modules.list[i]))
			say(x, "the module %s is in use and stays loaded. To "
			    "unload it: end what uses it, then rmmod %s; or "
			    "reboot", modules.list[i], modules.list[i]);
	words_free(&modules);
}

void note_loaded(struct transaction *x)
{
	struct words modules = loaded_modules(x);

	for (size_t i = 0; i < modules.count; i++) {
		const char *name = modules.list[i];
		struct modinfo info = { 0 };
		char *loaded = NULL, *file = NULL;

		if (!file_read_line(sysfs(x, name, "/version"), &loaded) &&
		    !module_find(x->h, host_running_kernel(x->h), name,
				 &file) && file && !info_of(file, &info) &&
		    info.version && strcmp(loaded, info.version))
			say(x, "%s %s is still loaded; %s is used from the next "
			    "boot on, or after: modprobe -r %s && modprobe %s",
			    name, loaded, info.version, name, name);
		free(loaded);
		free(file);
		modinfo_free(&info);
	}
	words_free(&modules);
}

/*
 * Loads the driver and tries it out, by way of the init system: the administrator
 * may have told it to start nothing, and in a chroot there is none. The service
 * fails where a smoke test does; its result says why.
 */
void try_out(struct transaction *x)
{
	const char *result = text(x, "/var/lib/kmodkeep/smoke/%s.json",
				  x->name);
	struct json_object *o;
	bool ended_well;

	if (!host_is_live(x->h) || !path_exists("/run/systemd/system") ||
	    !on_host(x))
		return;
	unlink(result);
	ended_well = x->manager->start_unit(UNIT) == 0;
	o = json_read(result);
	if (o) {
		const char *next = json_string(o, "next_step");
		const char *word = json_string(o, "result");
		const char *message = json_string(o, "message");

		say(x, "smoke test: %s: %s%s%s", word ? word : "",
		    message ? message : "", next ? ". Next: " : "",
		    next ? next : "");
		json_object_put(o);
	} else if (ended_well) {
		say(x, "smoke test: not run now; it is run at the next boot, or "
		    "by: kmodkeep smoke %s", x->name);
	} else {
		say(x, "smoke test: " UNIT " failed without a result. Next: "
		    "systemctl status kmodkeep-smoke");
	}
}
