// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads drivers.d: modules, policy, smoke test and what to leave alone. */
#include "guard/host/dropin.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/util.h"

#define DIR_PACKAGES "/usr/lib/kmodkeep/drivers.d"
#define DIR_KNOWN "/usr/lib/kmodkeep/known.d"
#define DIR_ADMIN "/etc/kmodkeep/drivers.d"

/* Emulated and busy machines are slow; a hang is still noticed in a boot. */
#define TIMEOUT_DEFAULT 120
#define TIMEOUT_MAX 3600
#define FILE_MAX (64u << 10)
#define MODULES_MAX 64

/* Where in which file the parser is, and whom it tells. */
struct parser {
	struct driver *d;
	const char *file;
	unsigned int line;
	dropin_error_fn *report;
	void *arg;
};

static void error(struct parser *p, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void error(struct parser *p, const char *fmt, ...)
{
	char text[256], message[PATH_MAX + 300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	make_printable(text);
	snprintf(message, sizeof(message), "%s:%u: %s", p->file, p->line,
		 text);
	p->report(p->arg, message);
}

static bool is_name(const char *s)
{
	if (!*s || *s == '-')
		return false;
	for (; *s; s++)
		if (!isalnum((unsigned char)*s) && *s != '_' && *s != '-')
			return false;
	return true;
}

static int set_string(char **field, const char *value)
{
	free(*field);
	*field = strdup(value);
	return *field ? 0 : -ENOMEM;
}

static int set_modules(struct parser *p, char *value)
{
	struct driver *d = p->d;
	char *save = NULL;

	for (char *w = strtok_r(value, " \t", &save); w;
	     w = strtok_r(NULL, " \t", &save)) {
		char **more;

		if (!is_name(w)) {
			error(p, "'%s' is no module name", w);
			d->broken = true;
			continue;
		}
		if (d->module_count == MODULES_MAX) {
			error(p, "more than %d modules", MODULES_MAX);
			d->broken = true;
			break;
		}
		more = realloc(d->modules,
			       (d->module_count + 1) * sizeof(*more));
		if (!more)
			return -ENOMEM;
		d->modules = more;
		more[d->module_count] = strdup(w);
		if (!more[d->module_count])
			return -ENOMEM;
		d->module_count++;
	}
	return 0;
}

static int set_dkms(struct parser *p, char *value)
{
	/* dkms names may have dots and pluses; a slash would leave its tree. */
	if (!*value || strchr(value, '/') || strchr(value, ' ')) {
		error(p, "'%s' is no dkms module name", value);
		p->d->broken = true;
		return 0;
	}
	return set_string(&p->d->dkms, value);
}

static int set_smoke_test(struct parser *p, char *value)
{
	if (*value != '/' || strchr(value, ' ')) {
		error(p, "smoke_test must be the full path of a program, "
		      "without arguments: '%s'", value);
		p->d->broken = true;
		return 0;
	}
	return set_string(&p->d->smoke_test, value);
}

static int set_userspace(struct parser *p, char *value)
{
	if (*value != '/') {
		error(p, "userspace must be the full path of a file, or of a "
		      "program with its arguments: '%s'", value);
		p->d->broken = true;
		return 0;
	}
	return set_string(&p->d->userspace, value);
}

static int set_timeout(struct parser *p, char *value)
{
	char *end;
	unsigned long n = strtoul(value, &end, 10);

	if (!isdigit((unsigned char)*value) || *end || !n || n > TIMEOUT_MAX) {
		error(p, "timeout must be 1 to %d seconds: '%s'", TIMEOUT_MAX,
		      value);
		p->d->broken = true;
		return 0;
	}
	p->d->timeout = n;
	return 0;
}

static int set_policy(struct parser *p, char *value)
{
	if (!strcmp(value, "warn")) {
		p->d->policy = POLICY_WARN;
	} else if (!strcmp(value, "pin-last-good")) {
		p->d->policy = POLICY_PIN_LAST_GOOD;
	} else {
		error(p, "policy is warn or pin-last-good, not '%s'", value);
		p->d->broken = true;
	}
	return 0;
}

static int set_initramfs(struct parser *p, char *value)
{
	static const char *const words[] = {
		[INITRAMFS_AUTO] = "auto", [INITRAMFS_NO] = "no",
		[INITRAMFS_REQUIRED] = "required",
	};

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(value, words[i])) {
			p->d->initramfs = i;
			return 0;
		}
	error(p, "initramfs is required, no or auto, not '%s'", value);
	p->d->broken = true;
	return 0;
}

static int set_flag(struct parser *p, bool *flag, const char *key,
		    const char *value)
{
	if (strcmp(value, "yes") && strcmp(value, "no")) {
		error(p, "%s is yes or no, not '%s'", key, value);
		p->d->broken = true;
	}
	*flag = !strcmp(value, "yes");
	return 0;
}

static int set_load(struct parser *p, char *value)
{
	return set_flag(p, &p->d->load, "load", value);
}

static int set_ignore(struct parser *p, char *value)
{
	return set_flag(p, &p->d->ignore, "ignore", value);
}

static const struct {
	const char *key;
	int (*set)(struct parser *p, char *value);
} settings[] = {
	{ "modules", set_modules },
	{ "dkms", set_dkms },
	{ "smoke_test", set_smoke_test },
	{ "timeout", set_timeout },
	{ "userspace", set_userspace },
	{ "policy", set_policy },
	{ "initramfs", set_initramfs },
	{ "load", set_load },
	{ "ignore", set_ignore },
};

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

static int parse_line(struct parser *p, char *line)
{
	char *equals, *key;

	line = trim(line);
	if (!*line || *line == '#')
		return 0;
	equals = strchr(line, '=');
	if (!equals) {
		error(p, "not of the form key = value: '%s'", line);
		p->d->broken = true;
		return 0;
	}
	*equals = '\0';
	key = trim(line);
	for (size_t i = 0; i < ARRAY_SIZE(settings); i++)
		if (!strcmp(key, settings[i].key))
			return settings[i].set(p, trim(equals + 1));
	/* A package may be newer than this program: say it and go on. */
	error(p, "unknown setting '%s', ignored", key);
	return 0;
}

int driver_parse(struct driver *d, const char *file, char *text,
		 dropin_error_fn *report, void *arg)
{
	struct parser p = { d, file, 0, report, arg };
	int err = 0;

	while (text && !err) {
		char *line = strsep(&text, "\n");

		p.line++;
		err = parse_line(&p, line);
	}
	if (!err && !d->broken && !d->module_count && !d->ignore &&
	    !d->dkms) {
		error(&p, "no modules = line");
		d->broken = true;
	}
	return err;
}

void driver_free(struct driver *d)
{
	for (size_t i = 0; i < d->module_count; i++)
		free(d->modules[i]);
	free(d->modules);
	for (size_t i = 0; i < d->alias_count; i++)
		free(d->aliases[i]);
	free(d->aliases);
	free(d->name);
	free(d->dkms);
	free(d->source);
	free(d->unfinished);
	free(d->untold);
	free(d->gone);
	free(d->smoke_test);
	free(d->userspace);
	memset(d, 0, sizeof(*d));
}

void drivers_free(struct drivers *d)
{
	for (size_t i = 0; i < d->count; i++)
		driver_free(&d->list[i]);
	free(d->list);
	d->list = NULL;
	d->count = 0;
}

static const struct driver *find(const struct drivers *d, const char *name)
{
	for (size_t i = 0; i < d->count; i++)
		if (!strcmp(d->list[i].name, name))
			return &d->list[i];
	return NULL;
}

static int read_text(struct driver *d, const char *path,
		     dropin_error_fn *report, void *arg)
{
	struct parser p = { d, path, 0, report, arg };
	struct buf b = { 0 };
	char *text;
	int err = file_read(path, FILE_MAX, &b);

	if (!err && memchr(b.data, '\0', b.len))
		err = -EINVAL;
	if (err) {
		error(&p, "%s", strerror(-err));
		d->broken = true;
		return err == -ENOMEM ? err : 0;
	}
	text = strndup((char *)b.data, b.len);
	buf_free(&b);
	if (!text)
		return -ENOMEM;
	/* One that says nothing is there to switch the driver off. */
	d->ignore = !*trim(text);
	err = d->ignore ? 0 : driver_parse(d, path, text, report, arg);
	free(text);
	return err;
}

static bool is_null_device(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISCHR(st.st_mode);
}

/* Adds the driver of one file, unless an earlier directory had its name. */
static int add(struct drivers *all, const char *dir, const char *file,
	       dropin_error_fn *report, void *arg)
{
	struct driver d = {
		.timeout = TIMEOUT_DEFAULT, .sources = SOURCE_DROPIN,
	}, *list;
	char *path = NULL;
	int err = 0;

	d.name = strndup(file, strlen(file) - strlen(".conf"));
	if (!d.name || asprintf(&path, "%s/%s", dir, file) < 0) {
		free(d.name);
		return -ENOMEM;
	}
	if (find(all, d.name))
		goto out;
	if (!is_name(d.name)) {
		struct parser p = { &d, path, 0, report, arg };

		error(&p, "file names are letters, digits, - and _");
		d.broken = true;
	} else if (is_null_device(path)) {
		d.ignore = true;
	} else {
		err = read_text(&d, path, report, arg);
	}
	list = err ? NULL : realloc(all->list,
				    (all->count + 1) * sizeof(*list));
	if (!err && !list)
		err = -ENOMEM;
	if (!err) {
		all->list = list;
		list[all->count++] = d;
		d.name = NULL;
		memset(&d, 0, sizeof(d));
	}
out:
	free(path);
	driver_free(&d);
	return err;
}

static int is_conf(const struct dirent *e)
{
	return e->d_name[0] != '.' && str_ends_with(e->d_name, ".conf");
}

static int read_directory(const struct host *h, const char *rel,
			  struct drivers *out, dropin_error_fn *report,
			  void *arg)
{
	char *dir = host_path(h, rel);
	struct parser p = { NULL, dir, 0, report, arg };
	struct dirent **names;
	int n, err = 0;

	if (!dir)
		return -ENOMEM;
	n = scandir(dir, &names, is_conf, alphasort);
	for (int i = 0; i < n; i++) {
		if (!err)
			err = add(out, dir, names[i]->d_name, report, arg);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	else if (errno == ENOMEM)
		err = -ENOMEM;
	else if (errno != ENOENT)
		error(&p, "%s", strerror(errno));
	free(dir);
	return err;
}

void drivers_drop_ignored(struct drivers *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < d->count; i++) {
		if (!d->list[i].ignore || d->list[i].broken)
			d->list[kept++] = d->list[i];
		else
			driver_free(&d->list[i]);
	}
	d->count = kept;
}

int driver_init(struct driver *d, const char *name)
{
	memset(d, 0, sizeof(*d));
	d->timeout = TIMEOUT_DEFAULT;
	d->name = strdup(name);
	return d->name ? 0 : -ENOMEM;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct driver *)a)->name,
		      ((const struct driver *)b)->name);
}

int drivers_read(const struct host *h, struct drivers *out,
		 dropin_error_fn *report, void *arg)
{
	int err = drivers_read_all(h, out, report, arg);

	drivers_drop_ignored(out);
	return err;
}

int drivers_read_all(const struct host *h, struct drivers *out,
		     dropin_error_fn *report, void *arg)
{
	int err;

	memset(out, 0, sizeof(*out));
	err = read_directory(h, DIR_ADMIN, out, report, arg);
	if (!err)
		err = read_directory(h, DIR_PACKAGES, out, report, arg);
	if (err) {
		drivers_free(out);
		return err;
	}
	if (out->count)
		qsort(out->list, out->count, sizeof(*out->list), by_name);
	return 0;
}

int drivers_read_known(const struct host *h, struct drivers *out,
		       dropin_error_fn *report, void *arg)
{
	int err;

	memset(out, 0, sizeof(*out));
	err = read_directory(h, DIR_KNOWN, out, report, arg);
	if (err)
		drivers_free(out);
	return err;
}
