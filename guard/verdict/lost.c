// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds drivers that only their package still knows of; see lost.h. */
#include "guard/verdict/lost.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/base/util.h"
#include "guard/host/discover.h"
#include "guard/host/dkmsconf.h"

#define RECORD_MAX 1024
#define CONF_MAX (1u << 20)
#define SOURCES "/usr/src"

struct search {
	const struct host *h;
	const struct kernels *kernels;
	const struct packages *packages;
	const struct record *record;
	struct drivers *drivers, ignored;
	dropin_error_fn *report;
	void *arg;
};

/* ---- what the guard recorded ---- */

static void served_free(struct served *s)
{
	free(s->module);
	free(s->driver);
	free(s->dkms);
	free(s->version);
	free(s->file);
}

void record_free(struct record *r)
{
	for (size_t i = 0; i < r->count; i++)
		served_free(&r->list[i]);
	free(r->list);
	memset(r, 0, sizeof(*r));
}

bool record_has(const struct record *r, const char *module)
{
	for (size_t i = 0; i < r->count; i++)
		if (same_module(r->list[i].module, module))
			return true;
	return false;
}

struct json_object *served_json(const struct served *s)
{
	struct json_object *o = json_object_new_object();

	json_add(o, "module", s->module);
	json_add(o, "driver", s->driver);
	json_add(o, "dkms", s->dkms);
	json_add(o, "dkms_version", s->version);
	json_add(o, "file", s->file);
	return o;
}

static int copy(char **to, struct json_object *o, const char *key)
{
	const char *value = json_string(o, key);

	*to = value ? strdup(value) : NULL;
	return value && !*to ? -ENOMEM : 0;
}

static int take_served(struct record *r, struct json_object *o)
{
	struct served *one = &r->list[r->count];

	if (!json_string(o, "module") || !json_string(o, "driver"))
		return 0;
	r->count++;
	return copy(&one->module, o, "module") || copy(&one->driver, o, "driver") ||
	       copy(&one->dkms, o, "dkms") || copy(&one->version, o, "dkms_version") ||
	       copy(&one->file, o, "file") ? -ENOMEM : 0;
}

int record_read(const struct host *h, struct record *out)
{
	char *path = host_path(h, GUARD_STATE);
	struct json_object *o = path ? json_read(path) : NULL, *list = NULL;
	size_t n = 0;
	int err = path ? 0 : -ENOMEM;

	memset(out, 0, sizeof(*out));
	if (o && json_int(o, "schema") == GUARD_SCHEMA &&
	    json_object_object_get_ex(o, "served", &list) &&
	    json_object_is_type(list, json_type_array))
		n = json_object_array_length(list);
	n = n < RECORD_MAX ? n : RECORD_MAX;
	out->list = err ? NULL : calloc(n + 1, sizeof(*out->list));
	if (!out->list)
		err = -ENOMEM;
	for (size_t i = 0; i < n && !err; i++)
		err = take_served(out, json_object_array_get_idx(list, i));
	if (err)
		record_free(out);
	json_object_put(o);
	free(path);
	return err;
}

/* ---- drivers ---- */

static int add_module(struct driver *d, const char *module)
{
	char **more;

	if (driver_has(d, module))
		return 0;
	more = realloc(d->modules, (d->module_count + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	d->modules = more;
	more[d->module_count] = strdup(module);
	return more[d->module_count] ? (d->module_count++, 0) : -ENOMEM;
}

/* The one that has a module of d, or is what dkms calls d. */
static struct driver *known_as(struct drivers *all, const struct driver *d)
{
	for (size_t i = 0; i < all->count; i++) {
		struct driver *one = &all->list[i];

		if (!strcmp(one->name, d->name) ||
		    (one->dkms && d->dkms && !strcmp(one->dkms, d->dkms)))
			return one;
		for (size_t m = 0; m < d->module_count; m++)
			if (driver_has(one, d->modules[m]))
				return one;
	}
	return NULL;
}

static bool is_ignored(struct search *s, const struct driver *d)
{
	const struct driver *one = known_as(&s->ignored, d);

	return one && one->ignore;
}

/* Takes over what is in d. */
static int add_driver(struct search *s, struct driver *d)
{
	struct drivers *all = s->drivers;
	struct driver *list = realloc(all->list, (all->count + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	all->list = list;
	d->sources = SOURCE_PACKAGE;
	list[all->count++] = *d;
	memset(d, 0, sizeof(*d));
	return 0;
}

static int set(char **field, const char *value)
{
	char *text = strdup(value);

	if (!text)
		return -ENOMEM;
	free(*field);
	*field = text;
	return 0;
}

/* A package manager did not say what it has: error is why. 0 or -ENOMEM. */
static int report_unsaid(struct search *s, const char *of, const char *what, int error)
{
	char *text = text_of("%s, %s: %s", of, what, strerror(-error));
	int err = text && error != -ENOMEM ? 0 : -ENOMEM;

	if (text)
		s->report(s->arg, text);
	free(text);
	return err;
}

/* ---- sources that dkms does not know ---- */

/* The value of a plain line PACKAGE_NAME="VALUE"; malloc'ed, NULL: there is none. */
static char *package_name(const char *conf)
{
	static const char key[] = "PACKAGE_NAME=";
	char *text, *rest, *line, *found = NULL;
	struct buf b = { 0 };

	if (file_read(conf, CONF_MAX, &b))
		return NULL;
	text = rest = strndup((char *)b.data, b.len);
	while (!found && (line = strsep(&rest, "\n"))) {
		line += strspn(line, " \t");
		if (strncmp(line, key, strlen(key)))
			continue;
		line += strlen(key);
		line += strspn(line, "\"'");
		found = strndup(line, strcspn(line, "\"' \t#"));
	}
	free(text);
	buf_free(&b);
	return found;
}

/* Where in NAME-VERSION the dash between them is; NULL: nowhere. */
static const char *dash_of(const char *folder, const char *conf)
{
	char *name = package_name(conf);
	size_t n = name ? strlen(name) : 0;
	const char *dash = n && !strncmp(folder, name, n) && folder[n] == '-' ? folder + n : NULL;

	for (const char *p = folder; !dash && (p = strchr(p, '-')); p++)
		if (isdigit((unsigned char)p[1]))
			dash = p;
	free(name);
	return dash && dash != folder && dash[1] ? dash : NULL;
}

static int take_conf(struct search *s, struct driver *d, char *conf)
{
	char *files[] = { conf, NULL };
	int err = 0;

	for (size_t i = 0; i < s->kernels->count && !err; i++) {
		struct dkmsconf_kernel k;
		struct dkmsconf c;

		err = dkmsconf_kernel_read(s->h, s->kernels->list[i].release, &k);
		if (err)
			return err;
		err = dkmsconf_read(&k, d->dkms, files, &c);
		dkmsconf_kernel_free(&k);
		for (size_t m = 0; !err && m < c.count; m++)
			if (!c.modules[m].maybe)
				err = add_module(d, c.modules[m].name);
		if (!err)
			dkmsconf_free(&c);
		else if (err != -ENOMEM)
			err = 0;	/* what cannot be read says nothing */
	}
	for (size_t i = 0; i < s->record->count && !err; i++)
		if (s->record->list[i].dkms && !strcmp(s->record->list[i].dkms, d->dkms))
			err = add_module(d, s->record->list[i].module);
	/* As with what dkms knows: mostly they are called like it. */
	return err || d->module_count ? err : add_module(d, d->dkms);
}

/* Of several versions the newest is the one that will be built. */
static int note_source(struct driver *d, const char *dkms, const char *version,
		       const char *unfinished)
{
	int err = 0;

	if (!d->dkms)
		err = set(&d->dkms, dkms);
	if (!err && (!d->source || release_compare(version, d->source) > 0))
		err = set(&d->source, version);
	return err || !unfinished ? err : set(&d->unfinished, unfinished);
}

static bool served(const struct search *s, const struct driver *d)
{
	for (size_t i = 0; i < d->module_count; i++)
		if (record_has(s->record, d->modules[i]))
			return true;
	return false;
}

/* To rpm a package whose script failed is installed as any other. */
static int find_untold(struct search *s, struct driver *d, const char *conf)
{
	int owned = rpm_owner(s->h, conf, &d->untold);

	return owned < 0 ? report_unsaid(s, conf, "which dkms does not know: the package that "
					 "brings it is not known", owned) : 0;
}

static int judge_source(struct search *s, struct driver *d, const char *version,
			const char *unfinished, const char *conf)
{
	struct driver *known = known_as(s->drivers, d);
	int err = 0;

	if (known && known->sources & SOURCE_DKMS)
		return unfinished ? set(&known->unfinished, unfinished) : 0;
	if ((known && known->sources & SOURCE_FILE) || is_ignored(s, d))
		return 0;
	if (!unfinished && !served(s, d)) {
		err = find_untold(s, d, conf);
		if (err || !d->untold)
			return err;
	}
	if (known) {
		err = note_source(known, d->dkms, version, unfinished);
		known->sources |= SOURCE_PACKAGE;
		return err;
	}
	err = note_source(d, d->dkms, version, unfinished);
	return err ? err : add_driver(s, d);
}

/* A folder NAME-VERSION of dkms's sources; package: that brings it and is unfinished. */
static int look_at_source(struct search *s, const char *folder, const struct package *package)
{
	char *rel = text_of(SOURCES "/%s/dkms.conf", folder);
	char *conf = rel ? host_path(s->h, rel) : NULL, *name = NULL, *state = NULL;
	const char *dash = conf ? dash_of(folder, conf) : NULL;
	struct driver d = { 0 }, *known;
	int err = conf ? 0 : -ENOMEM;

	if (dash && (package || path_exists(conf))) {
		name = strndup(folder, dash - folder);
		state = package ? text_of("%s is %s", package->name, package->state) : NULL;
		if (!name || (package && !state) || driver_init(&d, name) ||
		    set(&d.dkms, name))
			err = -ENOMEM;
		/* What dkms knows was read with it. */
		known = err ? NULL : known_as(s->drivers, &d);
		if (!err && !(known && known->sources & SOURCE_DKMS))
			err = take_conf(s, &d, conf);
		if (!err)
			err = judge_source(s, &d, dash + 1, state, rel);
		driver_free(&d);
	}
	free(state);
	free(name);
	free(conf);
	free(rel);
	return err;
}

static const struct package *bringer_of(const struct search *s, const char *folder)
{
	for (size_t i = 0; i < s->packages->count; i++)
		if (package_brings(s->packages, &s->packages->list[i], folder))
			return &s->packages->list[i];
	return NULL;
}

/* Also those of packages of which dpkg had no time to unpack the source. */
static int look_at_owners(struct search *s)
{
	char *text = s->packages->owners ? strdup(s->packages->owners) : NULL;
	char *rest = text, *line;
	int err = s->packages->owners && !text ? -ENOMEM : 0;

	while (!err && (line = strsep(&rest, "\n"))) {
		char *folder = strstr(line, ": " SOURCES "/"), *end;
		const struct package *package;

		folder = folder ? folder + strlen(": " SOURCES "/") : NULL;
		end = folder ? strchr(folder, '/') : NULL;
		if (!end || strcmp(end, "/dkms.conf"))
			continue;
		*end = '\0';
		package = bringer_of(s, folder);
		if (package)
			err = look_at_source(s, folder, package);
	}
	free(text);
	return err;
}

static int look_at_sources(struct search *s)
{
	char *dir = host_path(s->h, SOURCES);
	DIR *d = dir ? opendir(dir) : NULL;
	int err = dir ? look_at_owners(s) : -ENOMEM;
	struct dirent *e;

	if (dir && !d && errno != ENOENT) {
		char *text = text_of("%s: %s", dir, strerror(errno));

		err = text ? err : -ENOMEM;
		if (text)
			s->report(s->arg, text);
		free(text);
	}
	while (d && !err && (e = readdir(d)))
		if (e->d_name[0] != '.' && !bringer_of(s, e->d_name))
			err = look_at_source(s, e->d_name, NULL);
	if (d)
		closedir(d);
	free(dir);
	return err;
}

/* ---- files that a package has, and the host has not ---- */

/* Takes over path. 1: it is a package's, and *out has it; 0, -ENOMEM, or not to be told. */
static int try_file(const struct search *s, char *path, char **out)
{
	int owned = path ? package_owns(s->h, path) : -ENOMEM;

	if (owned == 1)
		*out = path;
	else
		free(path);
	return owned;
}

/* The same of all that a package can have of a driver. */
static int owned_file(const struct search *s, const struct served *one, char **out)
{
	const char *file = one->file;
	int owned = 0;

	if (one->dkms && one->version)
		owned = try_file(s, text_of(SOURCES "/%s-%s/dkms.conf", one->dkms, one->version),
				 out);
	if (!owned && file)
		owned = try_file(s, strdup(file), out);
	/* Packages name one of them, and on most hosts they are the same folder. */
	if (!owned && file && !strncmp(file, "/usr/lib/", 9))
		owned = try_file(s, strdup(file + 4), out);
	else if (!owned && file && !strncmp(file, "/lib/", 5))
		owned = try_file(s, text_of("/usr%s", file), out);
	return owned;
}

static int look_at_served(struct search *s, const struct served *one)
{
	struct driver d = { 0 }, *known;
	char *file = NULL;
	int owned, err = driver_init(&d, one->driver) || add_module(&d, one->module) ||
			 (one->dkms && set(&d.dkms, one->dkms)) ? -ENOMEM : 0;

	known = err ? NULL : known_as(s->drivers, &d);
	if (err || is_ignored(s, &d))
		goto out;
	if (known) {
		if (known->gone)
			err = add_module(known, one->module);
		goto out;
	}
	owned = owned_file(s, one, &file);
	if (owned == 1) {
		d.gone = file;
		err = add_driver(s, &d);
	} else if (owned) {
		err = report_unsaid(s, one->driver, "which served at the last run: whether its "
				    "package is still here is not known", owned);
	}
out:
	driver_free(&d);
	return err;
}

static void say_nothing(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct driver *)a)->name, ((const struct driver *)b)->name);
}

int drivers_find_lost(const struct host *h, const struct kernels *k,
		      const struct packages *unfinished, const struct record *r,
		      struct drivers *drivers, dropin_error_fn *report, void *arg)
{
	struct search s = {
		.h = h, .kernels = k, .packages = unfinished, .record = r, .drivers = drivers,
		.report = report, .arg = arg,
	};
	int err;

	if (drivers_discovery_off(h))
		return 0;
	/* What is wrong in drop-ins was said when they were read for what they are. */
	err = drivers_read_all(h, &s.ignored, say_nothing, NULL);
	if (!err)
		err = look_at_sources(&s);
	for (size_t i = 0; i < r->count && !err; i++)
		err = look_at_served(&s, &r->list[i]);
	if (drivers->count)
		qsort(drivers->list, drivers->count, sizeof(*drivers->list), by_name);
	drivers_free(&s.ignored);
	return err;
}
