// SPDX-License-Identifier: GPL-2.0-or-later
/* dkms's tree: where it stands, and what is in it about one driver. */
#include "guard/host/dkmstree.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/util.h"

#define TREE "/var/lib/dkms"
#define CONF "/etc/dkms/framework.conf"
#define CONF_MAX (1u << 20)

const char *dkms_word(enum dkms_state s)
{
	static const char *const words[] = {
		"unknown", "no-source", "added", "built", "installed",
	};

	return words[s];
}

void dkms_free(struct dkms *d)
{
	free(d->version);
	free(d->log);
	memset(d, 0, sizeof(*d));
}

/*
 * The value of a shell assignment, from what follows its "=". -EINVAL: it is
 * more than quoted or plain characters.
 */
static int plain_value(const char *p, char **value)
{
	char *out = calloc(1, strlen(p) + 1), quote = 0;
	size_t n = 0;

	if (!out)
		return -ENOMEM;
	for (; *p; p++) {
		if (quote == '\'' ? *p == '\'' : quote && *p == '"') {
			quote = 0;
		} else if (quote == '\'') {
			out[n++] = *p;
		} else if (*p == '$' || *p == '`' || (!quote && *p == '(')) {
			break;
		} else if (*p == '\\' && p[1]) {
			out[n++] = *++p;
		} else if (!quote && (*p == '"' || *p == '\'')) {
			quote = *p;
		} else if (!quote && strchr(" \t;&|\r", *p)) {
			p = "";
			break;
		} else {
			out[n++] = *p;
		}
	}
	if (*p || quote) {
		free(out);
		return -EINVAL;
	}
	*value = out;
	return 0;
}

/* The text of a line behind "dkms_tree=", or NULL. "+=" is an assignment too. */
static const char *assigned(const char *line)
{
	static const char *const before[] = { "export", "declare", "readonly" };

	line += strspn(line, " \t");
	for (size_t i = 0; i < ARRAY_SIZE(before); i++) {
		size_t n = strlen(before[i]);

		if (!strncmp(line, before[i], n) && strspn(line + n, " \t"))
			line += n + strspn(line + n, " \t");
	}
	if (strncmp(line, "dkms_tree", 9))
		return NULL;
	line += 9;
	return *line == '=' ? line + 1 : !strncmp(line, "+=", 2) ? "$" : NULL;
}

/* Takes the last assignment of a file, if there is one. */
static int take_conf(const char *path, const char *rel, char **tree)
{
	struct buf b = { 0 };
	unsigned int number = 0;
	char *save, *text;
	int err = file_read(path, CONF_MAX, &b);

	if (err)
		return err == -ENOMEM ? err : 0;
	text = strndup((char *)b.data, b.len);
	buf_free(&b);
	if (!text)
		return -ENOMEM;
	save = text;
	for (char *line; !err && (line = strsep(&save, "\n"));) {
		const char *at = assigned(line);
		char *value = NULL;

		number++;
		if (!at)
			continue;
		err = plain_value(at, &value);
		if (!err && *value && *value != '/')
			err = -EINVAL;
		if (err == -ENOMEM)
			break;
		if (err || *value) {
			free(*tree);
			*tree = err ? text_of("%s, line %u", rel, number) :
				      strdup(value);
		}
		free(value);
	}
	free(text);
	return err || *tree ? err : -ENOMEM;
}

static int only_conf(const struct dirent *e)
{
	return e->d_name[0] != '.' && str_ends_with(e->d_name, ".conf");
}

int dkms_tree(const struct host *h, char **tree)
{
	char *path = host_path(h, CONF), *dir = host_path(h, CONF ".d");
	struct dirent **names = NULL;
	int err = -ENOMEM, n = 0;

	*tree = strdup(TREE);
	if (path && dir && *tree) {
		err = take_conf(path, CONF, tree);
		n = scandir(dir, &names, only_conf, alphasort);
	}
	for (int i = 0; i < n; i++) {
		char *rel = text_of(CONF ".d/%s", names[i]->d_name);
		char *file = rel ? host_path(h, rel) : NULL;

		if (!err)
			err = file ? take_conf(file, rel, tree) : -ENOMEM;
		free(rel);
		free(file);
		free(names[i]);
	}
	free(names);
	free(path);
	free(dir);
	if (!err)
		for (size_t len = strlen(*tree); len > 1 && (*tree)[len - 1] == '/';)
			(*tree)[--len] = '\0';
	return err;
}

/* dkms says in the first line of its log what it was building. */
static bool is_log_of(const char *path, const char *kernel)
{
	char *line = NULL, *at;
	size_t n = strlen(kernel);
	bool is;

	if (file_read_line(path, &line))
		return false;
	at = strstr(line, kernel);
	is = at && (!at[n] || at[n] == ' ' || at[n] == '\n');
	free(line);
	return is;
}

static bool exists_below(const char *dir, const char *name)
{
	char *path = text_of("%s/%s", dir, name);
	bool there = path && path_exists(path);

	free(path);
	return there;
}

/* VERSION/KERNEL/ARCH/module is what was built. */
static bool was_built(const char *version_dir, const char *kernel)
{
	char *dir = text_of("%s/%s", version_dir, kernel);
	DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;
	bool built = false;

	while (d && !built && (e = readdir(d))) {
		char *arch = text_of("%s/%s", dir, e->d_name);

		built = e->d_name[0] != '.' && arch &&
			exists_below(arch, "module");
		free(arch);
	}
	if (d)
		closedir(d);
	free(dir);
	return built;
}

static int take_version(struct dkms *out, const char *dir, const char *version,
			const char *kernel)
{
	char *version_dir = text_of("%s/%s", dir, version);
	char *log = version_dir ? text_of("%s/build/make.log", version_dir) :
				  NULL;
	enum dkms_state state = DKMS_ADDED;
	int err = version_dir && log ? 0 : -ENOMEM;

	if (err)
		goto out;
	if (!exists_below(version_dir, "source/dkms.conf"))
		state = DKMS_NO_SOURCE;
	else if (was_built(version_dir, kernel))
		state = DKMS_BUILT;
	if (!out->log && is_log_of(log, kernel)) {
		out->log = log;
		log = NULL;
	}
	if (state > out->state) {
		free(out->version);
		out->state = state;
		out->version = strdup(version);
		err = out->version ? 0 : -ENOMEM;
	}
out:
	free(version_dir);
	free(log);
	return err;
}

/* kernel-V-ARCH leads to VERSION/V/ARCH once that is installed. */
static int take_installed(struct dkms *out, const char *dir,
			  const char *link)
{
	char *path = text_of("%s/%s", dir, link), target[PATH_MAX];
	ssize_t n = path ? readlink(path, target, sizeof(target) - 1) : -1;

	free(path);
	if (n <= 0)
		return 0;
	target[n] = '\0';
	target[strcspn(target, "/")] = '\0';
	make_printable(target);
	free(out->version);
	out->state = DKMS_INSTALLED;
	out->version = strdup(target);
	return out->version ? 0 : -ENOMEM;
}

int dkms_read(const struct host *h, const char *name, const char *kernel,
	      struct dkms *out)
{
	char *tree = NULL, *rel, *dir, *wanted;
	struct dirent *e;
	int err;
	DIR *d;

	memset(out, 0, sizeof(*out));
	err = dkms_tree(h, &tree);
	if (err) {
		free(tree);
		return err == -EINVAL ? 0 : err;
	}
	rel = text_of("%s/%s", tree, name);
	free(tree);
	wanted = text_of("kernel-%s-", kernel);
	dir = rel ? host_path(h, rel) : NULL;
	free(rel);
	if (!dir || !wanted) {
		free(dir);
		free(wanted);
		return -ENOMEM;
	}
	d = opendir(dir);
	while (d && !err && (e = readdir(d))) {
		if (!strncmp(e->d_name, wanted, strlen(wanted)))
			err = take_installed(out, dir, e->d_name);
		else if (e->d_name[0] != '.' &&
			 strncmp(e->d_name, "kernel-", 7) &&
			 strcmp(e->d_name, "original_module"))
			err = take_version(out, dir, e->d_name, kernel);
	}
	if (d)
		closedir(d);
	free(dir);
	free(wanted);
	if (err)
		dkms_free(out);
	return err;
}
