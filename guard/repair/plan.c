// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Findings become steps: those of the kernel that boots next, and of one that a pin
 * keeps from booting. What must be there before dkms can build comes first.
 */
#include "guard/repair/plan.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/util.h"
#include "guard/pin/state.h"

void plan_free(struct plan *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->list[i].command);
		free(p->list[i].why);
	}
	for (size_t i = 0; i < p->other_count; i++)
		free(p->others[i]);
	free(p->list);
	free(p->others);
	memset(p, 0, sizeof(*p));
}

const struct step *plan_find(const struct plan *p, const char *command)
{
	for (size_t i = 0; i < p->count; i++)
		if (!strcmp(p->list[i].command, command))
			return &p->list[i];
	return NULL;
}

/* Takes over both texts. In the order of the causes; the same command once. */
static int add_step(struct plan *p, enum cause cause, char *command, char *why,
		    const struct finding *f)
{
	struct step *list = command && why && !plan_find(p, command) ?
			    realloc(p->list, (p->count + 1) * sizeof(*list)) : NULL;
	size_t at = p->count;

	if (!list) {
		int err = command && why && plan_find(p, command) ? 0 : -ENOMEM;

		free(command);
		free(why);
		return err;
	}
	p->list = list;
	while (at && list[at - 1].cause > cause)
		at--;
	memmove(&list[at + 1], &list[at], (p->count - at) * sizeof(*list));
	list[at] = (struct step){ cause, command, why, f };
	p->count++;
	return 0;
}

/* Takes over the text; the same one once. */
static int add_other(struct plan *p, char *text)
{
	char **list = NULL;

	for (size_t i = 0; text && i < p->other_count; i++)
		if (!strcmp(p->others[i], text)) {
			free(text);
			return 0;
		}
	if (text)
		list = realloc(p->others, (p->other_count + 1) * sizeof(*list));
	if (!list) {
		free(text);
		return -ENOMEM;
	}
	p->others = list;
	list[p->other_count++] = text;
	return 0;
}

/* A command of the table that is not a finding's own. */
static int add_need(const struct doctor *d, struct plan *p, enum cause cause,
		    const char *kernel, char *why, const struct finding *f)
{
	const struct subject about = { .kernel = kernel, .manager = doctor_manager(d) };
	char *command = advice_command(cause, &about), *text;
	int err;

	if (command)
		return add_step(p, cause, command, why, f);
	text = advice_text(cause, &about, NULL);
	err = add_other(p, text && why ? text_of("%s: %s", why, text) : NULL);
	free(text);
	free(why);
	return err;
}

static bool has_headers(const struct doctor *d, const char *kernel)
{
	char *rel = text_of("/lib/modules/%s/build/.", kernel);
	char *path = rel ? host_resolve(d->h, rel) : NULL;	/* it may be an absolute link */
	bool there = path && path_exists(path);

	free(path);
	free(rel);
	return there;
}

static bool has_tool(const struct doctor *d, const char *name)
{
	const char *const names[] = { name, NULL };
	char *tool = host_tool(d->h, names);

	free(tool);
	return tool != NULL;
}

static int add_needs_of_build(const struct doctor *d, struct plan *p, const struct finding *f)
{
	const char *v = f->kernel->release, *driver = f->driver->dkms;
	int err = 0;

	if (!has_headers(d, v))
		err = add_need(d, p, CAUSE_NO_HEADERS, v,
			       text_of("%s is built with the headers of kernel %s, which are "
				       "not here", driver, v), f);
	if (!err && !(has_tool(d, "gcc") && has_tool(d, "make")))
		err = add_need(d, p, CAUSE_NO_COMPILER, v,
			       text_of("%s is built with gcc and make, which are not both here",
				       driver), f);
	return err;
}

static int add_finding(const struct doctor *d, struct plan *p, const struct finding *f)
{
	const struct report *r = &f->report;
	int err = 0;

	if (finding_serves(f) == ANSWER_YES)
		return 0;
	/* It may serve as it is: nothing is put in its place. */
	if (!r->command || (finding_serves(f) == ANSWER_UNVERIFIED && cause_builds(r->cause)))
		return add_other(p, text_of("%s on %s: %s", f->module, f->kernel->release,
					    r->next_step ? r->next_step : r->message));
	if (cause_builds(r->cause) && f->driver && f->driver->dkms)
		err = add_needs_of_build(d, p, f);
	if (err)
		return err;
	return add_step(p, r->cause, strdup(r->command),
			text_of("%s on %s: %s: %s", f->module, f->kernel->release,
				verdict_word(r->verdict), r->message), f);
}

/* dkms builds with the headers; without a driver of dkms's they are of no use. */
static bool is_idle(const struct finding *f)
{
	return f->report.cause == CAUSE_NO_HEADERS && !(f->driver && f->driver->dkms);
}

/* dpkg keeps a journal while it works, and apt refuses to work with one left over. */
static bool dpkg_was_interrupted(const struct doctor *d)
{
	char *path = host_path(d->h, "/var/lib/dpkg/updates");
	DIR *dir = path ? opendir(path) : NULL;
	bool is = false;
	struct dirent *e;

	while (dir && !is && (e = readdir(dir)))
		is = isdigit((unsigned char)e->d_name[0]);
	if (dir)
		closedir(dir);
	free(path);
	return is;
}

/* One version that dkms has no link to the source of, though that is here. */
static int add_half_added(const struct doctor *d, struct plan *p, const char *driver,
			  const char *version)
{
	char *link = text_of("/var/lib/dkms/%s/%s/source", driver, version);
	char *path = link ? host_path(d->h, link) : NULL;
	char *conf = text_of("/usr/src/%s-%s/dkms.conf", driver, version);
	const struct subject about = { .driver = driver, .version = version };
	struct stat st;
	int err = path && conf ? 0 : -ENOMEM;

	if (!err && lstat(path, &st) < 0 && errno == ENOENT && host_has(d->h, conf)) {
		char *command = advice_command(CAUSE_HALF_ADDED, &about);

		/* NULL: it is no name. */
		if (command)
			err = add_step(p, CAUSE_HALF_ADDED, command,
				       text_of("dkms was ended while it took in %s %s", driver,
					       version), NULL);
	}
	free(conf);
	free(path);
	free(link);
	return err;
}

/* Scripts of packages have dkms remove what it has, and fail where it knows of none. */
static int add_all_half_added(const struct doctor *d, struct plan *p)
{
	char *top = host_path(d->h, "/var/lib/dkms"), *below;
	DIR *dir = top ? opendir(top) : NULL, *versions;
	struct dirent *e, *v;
	int err = top ? 0 : -ENOMEM;

	while (dir && !err && (e = readdir(dir))) {
		below = e->d_name[0] == '.' ? NULL : text_of("%s/%s", top, e->d_name);
		versions = below ? opendir(below) : NULL;
		while (versions && !err && (v = readdir(versions)))
			if (v->d_name[0] != '.')
				err = add_half_added(d, p, e->d_name, v->d_name);
		if (versions)
			closedir(versions);
		free(below);
	}
	if (dir)
		closedir(dir);
	free(top);
	return err;
}

static int add_packages(const struct doctor *d, struct plan *p)
{
	const struct package *first = d->unfinished.list;
	bool interrupted = dpkg_was_interrupted(d);
	int err = interrupted || d->unfinished.count ? add_all_half_added(d, p) : 0;

	if (err)
		return err;
	if (interrupted)
		return add_need(d, p, CAUSE_INTERRUPTED, NULL,
				strdup("dpkg was ended in the middle of its work"), NULL);
	if (d->unfinished.count)
		err = add_need(d, p, CAUSE_UNFINISHED, NULL,
			       text_of("package %s is %s%s", first->name, first->state,
				       d->unfinished.count > 1 ? ", and others" : ""), NULL);
	return err;
}

/* What boots next, and what would but for the pin. */
static int choose_kernels(const struct doctor *d, struct plan *p)
{
	const char *names[2] = { d->next.kernel };
	struct guard_state s;
	int err = guard_state_read(d->h, &s);

	if (err)
		return err;
	if (s.pin.kernel && s.pin.instead_of)
		names[1] = s.pin.instead_of;
	for (size_t i = 0; i < 2; i++) {
		const struct kernel *k = names[i] ? kernels_find(&d->kernels, names[i]) : NULL;

		if (k && !(p->kernel_count && p->kernels[0] == k))
			p->kernels[p->kernel_count++] = k;
	}
	guard_state_free(&s);
	return 0;
}

int plan_make(struct doctor *d, struct plan *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	err = choose_kernels(d, out);
	for (size_t i = 0; i < out->kernel_count && !err; i++)
		if (!safety_asked(d, out->kernels[i]))
			err = doctor_ask(d, &out->kernels[i], 1, NULL);
	/* First: of two steps with the same command the first one made counts. */
	if (!err)
		err = add_packages(d, out);
	for (size_t i = 0; i < d->count && !err; i++) {
		const struct finding *f = &d->findings[i];
		bool counts = f->kernel == out->kernels[0] || f->kernel == out->kernels[1];

		if (counts && f->driver && !is_idle(f))
			err = add_finding(d, out, f);
		else if (counts && f->driver && finding_serves(f) != ANSWER_YES)
			err = add_other(out, text_of("%s on %s: %s", f->module,
						     f->kernel->release, f->report.message));
	}
	if (err)
		plan_free(out);
	return err;
}
