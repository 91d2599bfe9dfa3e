// SPDX-License-Identifier: GPL-2.0-or-later
/* Has libkmod plan with the modprobe.d of an initramfs, and compares that with the host's. */
#include "guard/verdict/early_rules.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/discover.h"
#include "guard/module/modfile.h"
#include "guard/verdict/cmdline.h"
#include "guard/verdict/modprobe.h"

/* Of the devices of a host; one with more is not a host. */
#define DEVICES_MAX (4u << 20)
#define KEYS_MAX 8192

void early_rules_free(struct early_rules *r)
{
	free(r->why);
	free(r->rival);
	memset(r, 0, sizeof(*r));
}

static int say(struct early_rules *out, bool unsure, char *why)
{
	if (!why)
		return -ENOMEM;
	make_printable(why);
	free(out->why);
	out->why = why;
	out->unsure = unsure;
	return 0;
}

static const char *config_of(const struct copies *c)
{
	return c->inside.config ? c->inside.config : "";
}

/* What of it is not known; malloc'ed, "": all is, NULL: no memory. */
static char *unknown_part(const struct doctor *d, const struct copies *c)
{
	char *text, *rest, *path, *found = NULL;

	if (c->inside.unsure)
		return strdup(c->inside.unsure);
	text = strdup(c->inside.dangling ? c->inside.dangling : "");
	/* A link that leads nowhere on the host either is no word there. */
	for (rest = text; !found && (path = strsep(&rest, "\n")); ) {
		char *rel = *path ? text_of("/%s", path) : NULL;
		char *there = rel ? host_resolve(d->h, rel) : NULL;

		if (there && path_exists(there))
			found = strdup(path);
		free(there);
		free(rel);
	}
	if (text && !found)
		found = strdup("");
	free(text);
	return found;
}

/* 1: it is said, 0: all is known, -ENOMEM. */
static int say_unknown_part(const struct doctor *d, const struct copies *c, struct early_rules *out)
{
	char *part = unknown_part(d, c);
	int err = !part ? -ENOMEM : !*part ? 0 :
		  say(out, true, text_of("what modprobe is told in the initramfs is not known: %s "
					 "cannot be read there", part));

	err = err ? err : out->why != NULL;
	free(part);
	return err;
}

/* ---- the copy ---- */

/* The path below the folder of a kernel; NULL: it is in none. */
static const char *below(const char *file, const char *kernel)
{
	const char *of = strstr(file, "/lib/modules/");
	size_t n = strlen(kernel);

	of = of ? of + strlen("/lib/modules/") : NULL;
	return of && !strncmp(of, kernel, n) && of[n] == '/' ? of + n + 1 : NULL;
}

/* Is a line of the list that path, however the file is packed? */
static bool lists(const char *list, const char *path)
{
	const char *suffix = strstr(path, ".ko");
	size_t n = suffix ? (size_t)(suffix + 3 - path) : strlen(path);

	for (; list && *list; list += strcspn(list, "\n"), list += *list == '\n')
		if (!strncmp(list, path, n) && strchr(".\n", list[n]))
			return true;
	return false;
}

/* The name of the module in a file; malloc'ed. */
static char *module_of(const char *file)
{
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;

	return strndup(base, strcspn(base, "."));
}

/* Is a file of that kernel in the initramfs? */
static bool has(const struct copies *c, const char *kernel, const char *file)
{
	const char *path = below(file, kernel);
	char *module = module_of(file);
	bool is = path && (lists(c->own.paths, path) || lists(c->inside.others, path));

	/* One of those that are asked about is in neither. */
	is = is || (module && copies_find(c, module));
	free(module);
	return is;
}

/* Is a module of the list called so? */
static bool has_name(const char *list, const char *module)
{
	size_t n = strlen(module);

	for (const char *end; list && *list; list = end + (*end == '\n')) {
		const char *base = list;
		size_t i = 0;

		end = list + strcspn(list, "\n");
		for (const char *p = list; p < end; p++)
			base = *p == '/' ? p + 1 : base;
		while (i < n && (base[i] == module[i] || (base[i] == '-' && module[i] == '_') ||
				 (base[i] == '_' && module[i] == '-')))
			i++;
		if (i == n && strchr(".\n", base[n]))
			return true;
	}
	return false;
}

static bool is_there(void *arg, const char *module)
{
	const struct copies *c = arg;

	return has_name(c->own.paths, module) || has_name(c->inside.others, module) ||
	       copies_find(c, module);
}

static int compare_plans(const struct doctor *d, const struct finding *f, const struct copies *c,
			 const struct modprobe *there, struct early_rules *out)
{
	const char *kernel = f->kernel->release;
	struct modprobe here;
	bool lists, refuses, unclear;
	int err = modprobe_plan(d->h, kernel, f->module, &here);

	if (err)
		return err == -ENOMEM ? err : 0;	/* it is another's to say */
	lists = there->blacklisted && !here.blacklisted;
	refuses = there->refused && !here.refused;
	unclear = there->unclear && !(here.unclear && !strcmp(here.line, there->line));
	if (refuses || unclear)
		/* Who asks by an alias of a device does not meet that line. */
		err = say(out, unclear || there->by_name_only, text_of("modprobe is told '%s' there", there->line));
	else if (lists)
		err = say(out, false, text_of("it is blacklisted there"));
	for (size_t i = 0; i < there->need_count && !err && !out->why; i++)
		if (!has(c, kernel, there->needs[i]))
			err = say(out, false, text_of("%s, which it needs, is not there",
						      strrchr(there->needs[i], '/') + 1));
	modprobe_free(&here);
	return err;
}

int early_rules_of_copy(const struct doctor *d, const struct finding *f,
			const struct copies *copies, const struct copy *copy,
			struct early_rules *out)
{
	const char *kernel = f->kernel->release, *config = config_of(copies);
	struct modprobe there;
	int err, more;

	memset(out, 0, sizeof(*out));
	if (!copy->listed)
		return say(out, !copies->inside.indexed,
			   text_of(copies->inside.indexed ? "modules.dep.bin there does not name it" :
				   "there is no modules.dep.bin, by which modprobe finds it"));
	err = say_unknown_part(d, copies, out);
	if (err)
		return err < 0 ? err : 0;
	err = modprobe_plan_inside(d->h, kernel, config, f->module, &there);
	if (err)
		return err == -ENOMEM ? err : say(out, true, text_of("what modprobe does there is not "
								     "known: %s", strerror(-err)));
	err = compare_plans(d, f, copies, &there, out);
	modprobe_free(&there);
	if (err || out->why)
		return err;
	more = modprobe_more_options(d->h, kernel, config, f->module);
	if (more < 0)
		return more == -ENOMEM ? more : say(out, true, text_of("its options there are not known"));
	return more ? say(out, true, text_of("it has options there that the host's modprobe.d has "
					     "not, with which it may not start")) : 0;
}

/* ---- rivals ---- */

struct keys {
	char **list;
	size_t count;
};

static int add_key(struct keys *k, const char *key)
{
	char **more;

	if (k->count == KEYS_MAX)
		return -EFBIG;
	more = realloc(k->list, (k->count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	k->list = more;
	more[k->count] = strdup(key);
	return more[k->count] ? (k->count++, 0) : -ENOMEM;
}

static void keys_free(struct keys *k)
{
	for (size_t i = 0; i < k->count; i++)
		free(k->list[i]);
	free(k->list);
}

static int take_alias(void *arg, const char *alias)
{
	return add_key(arg, alias);
}

/* The names of the devices of one bus, each with a line break. */
static char *add_bus(const struct host *h, char *all, const char *bus)
{
	char *rel = text_of("/sys/bus/%s/devices", bus), *dir = rel ? host_path(h, rel) : NULL;
	DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;

	while (d && all && strlen(all) < DEVICES_MAX && (e = readdir(d))) {
		char *file = *e->d_name != '.' ? text_of("%s/%s/modalias", rel, e->d_name) : NULL;
		char *name = file ? host_line(h, file) : NULL;
		char *more = name ? text_of("%s%s\n", all, name) : NULL;

		if (name) {
			free(all);
			all = more;
		}
		free(name);
		free(file);
	}
	if (d)
		closedir(d);
	free(dir);
	free(rel);
	return all;
}

/* Those of all devices that are there, as they ask for a module. NULL: no memory. */
static const char *devices(const struct host *h)
{
	char *all = host_recall(h, "devices", "modalias"), *path;
	struct dirent *e;
	DIR *d;

	if (all)
		return all;
	path = host_path(h, "/sys/bus");
	d = path ? opendir(path) : NULL;
	all = strdup("");
	while (d && all && (e = readdir(d)))
		if (*e->d_name != '.')
			all = add_bus(h, all, e->d_name);
	if (d)
		closedir(d);
	free(path);
	return all && !host_remember(h, "devices", "modalias", all, free) ? all : NULL;
}

/* Is this device one that the driver is for? 1, 0 or -errno. */
static int is_its(const struct doctor *d, const struct finding *f, const struct keys *aliases,
		  const char *device)
{
	for (size_t i = 0; i < aliases->count; i++)
		if (!fnmatch(aliases->list[i], device, 0))
			return 1;
	return modprobe_maps(d->h, f->kernel->release, device, f->module);
}

/* By what it may be asked for: the devices that are there, and the aliases that it has. */
static int keys_of(const struct doctor *d, const struct finding *f, struct keys *out)
{
	const char *all = devices(d->h);
	struct keys aliases = { 0 };
	char *text = all ? strdup(all) : NULL, *rest = text, *device;
	/* In an image a link that leads out of it means a file of the image. */
	char *file = host_is_live(d->h) ? strdup(f->file) :
		     host_resolve(d->h, f->file + strlen(host_root(d->h)));
	struct modfile m;
	int err = file ? modfile_read(file, &m) : -ENOENT, its;

	free(file);

	if (!err) {
		err = modinfo_aliases(m.bytes.data, m.bytes.len, take_alias, &aliases);
		modfile_free(&m);
	}
	if (!text)
		err = -ENOMEM;
	while (!err && (device = strsep(&rest, "\n"))) {
		its = *device ? is_its(d, f, &aliases, device) : 0;
		err = its > 0 ? add_key(out, device) : its;
	}
	for (size_t i = 0; i < aliases.count && !err; i++)
		/* What is in brackets is a pattern, and no name that another one fits. */
		if (!strpbrk(aliases.list[i], "[]"))
			err = add_key(out, aliases.list[i]);
	keys_free(&aliases);
	free(text);
	return err;
}

struct search {
	const struct doctor *d;
	const struct finding *f;
	const struct copies *copies;
	const char *line, *key;
	struct early_rules *out;
};

/* What the host makes of a module that the key leads to. */
struct fate_here {
	const char *module;
	enum modprobe_fate fate;
};

static int see_here(void *arg, const char *module, const char *path, enum modprobe_fate fate)
{
	struct fate_here *here = arg;

	if (path && same_module(module, here->module) && fate < here->fate)
		here->fate = fate;
	return 0;
}

/* Does the initramfs load it by its name, whatever is blacklisted? 1, 0 or -errno. */
static int is_forced(const struct search *s, const char *module)
{
	const char *kernel = s->f->kernel->release;
	const struct inside *in = &s->copies->inside;
	char *text = strdup(in->forced ? in->forced : ""), *rest = text, *line;
	struct modprobe m;
	int forced = in->dracut && ((s->line && cmdline_loads_early(s->line, module)) ||
				    (in->cmdline && cmdline_loads_early(in->cmdline, module)));

	while (text && !forced && (line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t");
		line[strcspn(line, " \t\r#;")] = '\0';
		forced = *line && same_module(line, module);
	}
	free(text);
	if (!text)
		return -ENOMEM;
	if (!forced)
		return 0;
	forced = modprobe_plan_inside(s->d->h, kernel, config_of(s->copies), module, &m);
	if (forced == -ENOENT)
		return 1;
	if (!forced) {
		forced = !m.refused;
		modprobe_free(&m);
	}
	return forced;
}

/*
 * Does a command line refuse it there? rd.driver.blacklist= is for dracut alone, and who asks by
 * its name is refused by the kernel alone.
 */
static bool is_refused(const struct search *s, const char *module, bool forced)
{
	const struct inside *in = &s->copies->inside;
	enum cmdline_refusal how = s->line ? cmdline_refuses(s->line, module) : CMDLINE_LOADS;

	if (forced)
		return how > CMDLINE_ALIAS;
	/* What dracut adds is for itself, and not for the kernel. */
	return how > (in->dracut ? CMDLINE_LOADS : CMDLINE_EARLY) ||
	       (in->dracut && in->cmdline && cmdline_refuses(in->cmdline, module) == CMDLINE_EARLY);
}

static int judge_rival(const struct search *s, const char *module, enum modprobe_fate there)
{
	struct fate_here here = { module, FATE_REFUSED };
	const char *kernel = s->f->kernel->release;
	int err = modprobe_asked(s->d->h, kernel, NULL, s->key, see_here, &here), forced;

	if (err)
		return err;
	forced = is_forced(s, module);
	if (forced < 0)
		return forced;
	if (forced)
		there = FATE_LOADS;
	if (there >= here.fate || is_refused(s, module, forced))
		return 0;
	s->out->rival = strdup(module);
	if (!s->out->rival)
		return -ENOMEM;
	return say(s->out, there == FATE_UNCLEAR || here.fate == FATE_UNCLEAR,
		   text_of("the initramfs of kernel %s %s %s for its device ('%s'), which the host "
			   "does not load for it, and what comes first drives the device", kernel,
			   there == FATE_UNCLEAR ? "may load" : "loads", module, s->key));
}

static bool is_itself(const struct search *s, const char *module)
{
	const char *name = s->f->report.info.name;

	return same_module(module, s->f->module) || (name && same_module(module, name));
}

static int see_there(void *arg, const char *module, const char *path, enum modprobe_fate fate)
{
	const struct search *s = arg;

	if (s->out->why || !path || is_itself(s, module) ||
	    !has(s->copies, s->f->kernel->release, path))
		return 0;
	return judge_rival(s, module, fate);
}

/* Modules that the initramfs alone has. */
static int see_gone(const struct search *s)
{
	char *text = strdup(s->copies->inside.gone ? s->copies->inside.gone : "");
	char *rest = text, *line;
	int err = text ? 0 : -ENOMEM, listed;

	while (!err && !s->out->why && (line = strsep(&rest, "\n"))) {
		char *alias = strchr(line, ' ');

		if (!alias)
			continue;
		*alias++ = '\0';
		if (is_itself(s, line) || fnmatch(alias, s->key, 0))
			continue;
		listed = modprobe_blacklists(s->d->h, s->f->kernel->release,
					     config_of(s->copies), line);
		err = listed < 0 ? listed :
		      judge_rival(s, line, listed ? FATE_REFUSED : FATE_LOADS);
	}
	free(text);
	return err;
}

/* Is there a name in it, and not comments alone? */
static bool has_names(const char *forced)
{
	for (; forced && *forced; forced += strcspn(forced, "\n"), forced += *forced == '\n') {
		forced += strspn(forced, " \t\r");
		if (*forced && !strchr("#;\n", *forced))
			return true;
	}
	return false;
}

static int search(struct search *s)
{
	const char *kernel = s->f->kernel->release, *config = config_of(s->copies);
	struct keys keys = { 0 };
	int err = keys_of(s->d, s->f, &keys);

	for (size_t i = 0; i < keys.count && !err && !s->out->why; i++) {
		s->key = keys.list[i];
		err = modprobe_asked(s->d->h, kernel, config, s->key, see_there, s);
		if (!err && !s->out->why)
			err = see_gone(s);
	}
	keys_free(&keys);
	return err;
}

/* The same for all drivers of a kernel: compared once. A word of enum modprobe_rules, or -errno. */
static int rules_of(const struct doctor *d, const char *kernel, const struct copies *copies)
{
	int *known = host_recall(d->h, "rules, inside", kernel), rules;

	if (known)
		return *known;
	rules = modprobe_compare_rules(d->h, kernel, config_of(copies), is_there, (void *)copies);
	if (rules < 0)
		return rules;
	known = malloc(sizeof(*known));
	if (!known)
		return -ENOMEM;
	*known = rules;
	return host_remember(d->h, "rules, inside", kernel, known, free) ? -ENOMEM : rules;
}

int early_rules_of_rivals(const struct doctor *d, const struct finding *f,
			  const struct copies *copies, const char *line,
			  struct early_rules *out)
{
	const char *const names[] = { f->module, f->report.info.name, NULL };
	struct search s = { d, f, copies, line, NULL, out };
	bool forces;
	int err;

	memset(out, 0, sizeof(*out));
	err = say_unknown_part(d, copies, out);
	if (err)
		return err < 0 ? err : 0;
	/* Mostly there is nothing to compare. */
	err = rules_of(d, f->kernel->release, copies);
	if (err == RULES_OTHER_ALIASES)
		err = modprobe_aliases_any(d->h, f->kernel->release, names);
	forces = has_names(copies->inside.forced) ||
		 (copies->inside.dracut && ((line && strstr(line, "rd.driver.p")) ||
					    copies->inside.cmdline));
	if (!err && !copies->inside.gone && !forces)
		return 0;
	if (err >= 0)
		err = f->file ? search(&s) : 0;
	return !err || err == -ENOMEM ? err :
	       say(out, true, text_of("which modules the initramfs loads for its devices cannot be "
				      "compared with the host: %s", strerror(-err)));
}
