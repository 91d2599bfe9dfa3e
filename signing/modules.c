// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the files of out-of-tree modules, of every kernel and in dkms's tree. */
#include "signing/modules.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/util.h"
#include "guard/host/discover.h"
#include "guard/host/dkmstree.h"
#include "guard/verdict/lookup.h"

#define DEPTH_MAX 16

void host_modules_free(struct host_modules *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free(m->list[i].path);
		free(m->list[i].kernel);
	}
	free(m->list);
	free(m->gap);
	memset(m, 0, sizeof(*m));
}

static int add(struct host_modules *m, const char *path, const char *kernel,
	       bool in_dkms)
{
	struct host_module *list;

	for (size_t i = 0; i < m->count; i++)
		if (!strcmp(m->list[i].path, path))
			return 0;
	list = realloc(m->list, (m->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	m->list = list;
	list[m->count] = (struct host_module){ strdup(path), strdup(kernel),
					       in_dkms };
	m->count++;
	return list[m->count - 1].path && list[m->count - 1].kernel ?
	       0 : -ENOMEM;
}

static bool is_module(const char *name)
{
	return str_ends_with(name, ".ko") || str_ends_with(name, ".ko.xz") ||
	       str_ends_with(name, ".ko.zst") || str_ends_with(name, ".ko.gz");
}

/* A place that is not there holds nothing; one that cannot be read, perhaps. */
static DIR *open_place(struct host_modules *m, const char *path)
{
	DIR *d = opendir(path);

	if (!d && errno != ENOENT && errno != ENOTDIR && !m->gap)
		m->gap = text_of("%s: %s", path, strerror(errno));
	return d;
}

/* kernel: "" in dkms's tree, where the third folder down names it. */
struct walk {
	struct host_modules *m;
	const char *kernel;
	bool in_dkms;
};

static int walk(const struct walk *w, const char *path, unsigned int depth);

static int visit(const struct walk *w, const char *path, const char *name,
		 unsigned int depth)
{
	char *below = text_of("%s/%s", path, name);
	struct walk next = *w;
	struct stat st;
	int err = 0;

	if (!below)
		return -ENOMEM;
	if (lstat(below, &st) < 0) {
		free(below);
		return 0;
	}
	if (S_ISREG(st.st_mode) && is_module(name) && *w->kernel &&
	    (!w->in_dkms || str_ends_with(path, "/module"))) {
		err = add(w->m, below, w->kernel, w->in_dkms);
	} else if (S_ISDIR(st.st_mode) && depth < DEPTH_MAX) {
		/* NAME/VERSION/KERNEL/ARCH/module; also NAME/VERSION/source. */
		if (w->in_dkms && depth == 2)
			next.kernel = name;
		err = walk(&next, below, depth + 1);
	}
	free(below);
	return err;
}

static int walk(const struct walk *w, const char *path, unsigned int depth)
{
	DIR *d = open_place(w->m, path);
	struct dirent *e;
	int err = 0;

	while (d && !err && (e = readdir(d))) {
		bool own = !w->in_dkms && depth == 0 &&
			   (!strcmp(e->d_name, "kernel") ||
			    !strcmp(e->d_name, "build") ||
			    !strcmp(e->d_name, "source"));
		bool source = w->in_dkms && depth == 2 &&
			      (!strcmp(e->d_name, "source") ||
			       !strcmp(e->d_name, "build"));

		if (e->d_name[0] != '.' && !own && !source)
			err = visit(w, path, e->d_name, depth);
	}
	if (d)
		closedir(d);
	return err;
}

static int walk_kernels(const struct host *h, struct host_modules *m)
{
	char *top = host_path(h, "/lib/modules");
	DIR *d = top ? open_place(m, top) : NULL;
	int err = top ? 0 : -ENOMEM;
	struct dirent *e;

	while (d && !err && (e = readdir(d))) {
		struct walk w = { m, e->d_name, false };
		char *path;

		if (e->d_name[0] == '.')
			continue;
		path = text_of("%s/%s", top, e->d_name);
		err = path ? walk(&w, path, 0) : -ENOMEM;
		free(path);
	}
	if (d)
		closedir(d);
	free(top);
	return err;
}

static int walk_dkms(const struct host *h, struct host_modules *m)
{
	struct walk w = { m, "", true };
	char *tree = NULL, *path;
	int err = dkms_tree(h, &tree);

	if (err == -EINVAL) {
		if (!m->gap)
			m->gap = text_of("dkms's tree: only dkms's shell can "
					 "tell where it is (%s)",
					 tree ? tree : "?");
		free(tree);
		return 0;
	}
	if (err)
		return err;
	path = host_path(h, tree);
	err = path ? walk(&w, path, 0) : -ENOMEM;
	free(path);
	free(tree);
	return err;
}

static void ignore(void *arg, const char *message)
{
	(void)arg;
	(void)message;
}

/* Drivers that install into the kernel's own folder, as dkms may. */
static int add_drivers(const struct host *h, struct host_modules *m)
{
	struct drivers drivers = { 0 };
	struct kernels kernels = { 0 };
	int err = kernels_read(h, &kernels);

	if (!err)
		err = drivers_read_all(h, &drivers, ignore, NULL);
	if (!err)
		err = drivers_discover(h, &kernels, &drivers, ignore, NULL);
	for (size_t k = 0; k < kernels.count && !err; k++)
		for (size_t d = 0; d < drivers.count && !err; d++)
			for (size_t i = 0; i < drivers.list[d].module_count &&
			     !err; i++) {
				const char *v = kernels.list[k].release;
				char *path = NULL;
				int found = module_find(h, v,
					drivers.list[d].modules[i], &path);

				err = found == -ENOMEM ? found : 0;
				if (!found && path)
					err = add(m, path, v, false);
				free(path);
			}
	drivers_free(&drivers);
	kernels_free(&kernels);
	return err;
}

int host_modules_read(const struct host *h, struct host_modules *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	err = walk_kernels(h, out);
	if (!err)
		err = walk_dkms(h, out);
	if (!err)
		err = add_drivers(h, out);
	if (err)
		host_modules_free(out);
	return err;
}
