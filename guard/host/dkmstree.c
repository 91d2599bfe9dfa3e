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
#include "guard/host/dkms_config.h"

#define TREE "/var/lib/dkms"

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
	free(d->beside);
	memset(d, 0, sizeof(*d));
}

/* dkms's configuration is the same for all drivers and kernels. */
static int read_tree(const struct host *h, char **tree)
{
	const struct dkms_setting *s;
	struct dkms_config c;
	int err = dkms_config_read(h, &c);

	*tree = NULL;
	if (err)
		return err;
	s = dkms_config_find(&c, "dkms_tree");
	/* Set to nothing is as good as not set. */
	if (s && !s->unsure && !*s->value)
		s = NULL;
	if (s && (s->unsure || *s->value != '/'))
		err = -EINVAL;
	*tree = strdup(err ? s->where : s ? s->value : TREE);
	if (!*tree && !err)
		err = -ENOMEM;
	for (size_t len = err ? 0 : strlen(*tree); len > 1 && (*tree)[len - 1] == '/';)
		(*tree)[--len] = '\0';
	dkms_config_free(&c);
	return err;
}

struct remembered {
	int err;
	char *tree;
};

static void forget(void *arg)
{
	struct remembered *r = arg;

	free(r->tree);
	free(r);
}

int dkms_tree(const struct host *h, char **tree)
{
	struct remembered *r = host_recall(h, "dkms", "tree");

	*tree = NULL;
	if (!r) {
		r = calloc(1, sizeof(*r));
		if (!r)
			return -ENOMEM;
		r->err = read_tree(h, &r->tree);
		if (r->err == -ENOMEM) {
			forget(r);
			return -ENOMEM;
		}
		if (host_remember(h, "dkms", "tree", r, forget))
			return -ENOMEM;
	}
	*tree = r->tree ? strdup(r->tree) : NULL;
	return r->tree && !*tree ? -ENOMEM : r->err;
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

int dkms_built_file(const struct host *h, const char *name, const char *version,
		    const char *kernel, const char *module, char **path)
{
	static const char *const suffix[] = { "", ".xz", ".zst", ".gz" };
	char *tree, *rel, *dir, *file = NULL;
	int err = dkms_tree(h, &tree);
	struct dirent *e;
	DIR *d;

	*path = NULL;
	rel = err ? NULL : text_of("%s/%s/%s/%s", tree, name, version, kernel);
	free(tree);
	dir = rel ? host_path(h, rel) : NULL;
	free(rel);
	if (!dir)
		return err == -EINVAL ? -ENOENT : -ENOMEM;
	d = opendir(dir);
	/* One folder for each architecture. */
	while (d && !*path && (e = readdir(d)))
		for (size_t i = 0; e->d_name[0] != '.' && !*path &&
				   i < ARRAY_SIZE(suffix); i++) {
			file = text_of("%s/%s/module/%s.ko%s", dir, e->d_name,
				       module, suffix[i]);
			if (file && path_exists(file))
				*path = file;
			else
				free(file);
		}
	if (d)
		closedir(d);
	free(dir);
	return *path ? 0 : -ENOENT;
}

/* Of versions that are only registered dkms builds the newest, so that one counts. */
static int take_version(struct dkms *out, const char *dir, const char *version,
			const char *kernel)
{
	char *version_dir = text_of("%s/%s", dir, version);
	char *log = version_dir ? text_of("%s/build/make.log", version_dir) :
				  NULL;
	enum dkms_state state = DKMS_ADDED;
	int err = version_dir && log ? 0 : -ENOMEM;
	bool better;

	if (err)
		goto out;
	if (!exists_below(version_dir, "source/dkms.conf"))
		state = DKMS_NO_SOURCE;
	else if (was_built(version_dir, kernel))
		state = DKMS_BUILT;
	better = state > out->state || (state == DKMS_ADDED && state == out->state &&
					strverscmp(version, out->version) > 0);
	if (better && state == DKMS_ADDED) {
		free(out->log);
		out->log = NULL;
	}
	if (!out->log && (better || out->state > DKMS_ADDED) && is_log_of(log, kernel)) {
		out->log = log;
		log = NULL;
	}
	if (better) {
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

bool dkms_is_version(const char *name)
{
	return *name != '.' && strncmp(name, "kernel-", 7) && strcmp(name, "original_module");
}

/* One that is registered too: dkms of old builds the newest that is not installed. */
static int take_beside(struct dkms *out, const char *dir, const char *version,
		       const char *kernel)
{
	char *version_dir = text_of("%s/%s", dir, version);
	char *log = version_dir ? text_of("%s/build/make.log", version_dir) : NULL;
	int err = log ? 0 : -ENOMEM;

	if (!err && strcmp(version, out->version) &&
	    exists_below(version_dir, "source/dkms.conf") && !was_built(version_dir, kernel) &&
	    is_log_of(log, kernel) &&
	    (!out->beside || strverscmp(version, out->beside) > 0)) {
		free(out->beside);
		out->beside = strdup(version);
		if (out->beside)
			make_printable(out->beside);
		else
			err = -ENOMEM;
	}
	free(log);
	free(version_dir);
	return err;
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
		else if (dkms_is_version(e->d_name))
			err = take_version(out, dir, e->d_name, kernel);
	}
	if (d && !err && out->state == DKMS_INSTALLED)
		rewinddir(d);
	while (d && !err && out->state == DKMS_INSTALLED && (e = readdir(d)))
		if (dkms_is_version(e->d_name))
			err = take_beside(out, dir, e->d_name, kernel);
	if (d)
		closedir(d);
	free(dir);
	free(wanted);
	if (err)
		dkms_free(out);
	return err;
}
