// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the out-of-tree drivers of a host; see discover.h. */
#include "guard/host/discover.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/util.h"
#include "guard/host/dkmstree.h"
#include "guard/host/guard_conf.h"

#define DRIVERS_MAX 1024
#define MODULES_MAX 1024	/* of one driver */
#define DEPTH_MAX 8
#define FOLDERS_MAX 65536	/* of modules, of all kernels; links may make more of a few */

struct search {
	const struct host *h;
	const struct kernels *kernels;
	struct drivers *drivers;
	dropin_error_fn *report;
	void *arg;
	char *order;		/* modules.order of the kernel looked at */
	char *owned;		/* the files of its own packages, a line each */
	size_t folders;		/* that were looked into */
	bool full;		/* a limit was reached, and it was said */
	int err;
};

bool same_module(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !(strchr("-_", *a) && strchr("-_", *b)))
			return false;
	return *a == *b;
}

char *driver_sources(const struct driver *d)
{
	return text_of("%s%s%s%s%s%s%s%s%s",
		       d->sources & SOURCE_DROPIN ? "drop-in" : "",
		       d->sources & SOURCE_DROPIN &&
		       d->sources > SOURCE_DROPIN ? ", " : "",
		       d->sources & SOURCE_DKMS ? "dkms" : "",
		       d->sources & SOURCE_DKMS &&
		       d->sources > 2 * SOURCE_DKMS - 1 ? ", " : "",
		       d->sources & SOURCE_FILE ? "module file" : "",
		       d->sources & SOURCE_FILE &&
		       d->sources > 2 * SOURCE_FILE - 1 ? ", " : "",
		       d->sources & SOURCE_LOADED ? "loaded" : "",
		       d->sources & SOURCE_LOADED &&
		       d->sources > 2 * SOURCE_LOADED - 1 ? ", " : "",
		       d->sources & SOURCE_PACKAGE ? "package" : "");
}

static void complain_of(struct search *s, const char *path, int err)
{
	char *text = text_of("%s: %s", path, strerror(-err));

	if (text)
		s->report(s->arg, text);
	else
		s->err = -ENOMEM;
	free(text);
}

/* What is beyond a limit may be a driver that would be lost. */
static void complain_of_limit(struct search *s, const char *where)
{
	char *text = s->full ? NULL : text_of("%s: more drivers or folders than are looked at", where);

	if (text)
		s->report(s->arg, text);
	else if (!s->full)
		s->err = -ENOMEM;
	s->full = true;
	free(text);
}

bool driver_has(const struct driver *d, const char *module)
{
	for (size_t i = 0; i < d->module_count; i++)
		if (same_module(d->modules[i], module))
			return true;
	for (size_t i = 0; i < d->alias_count; i++)
		if (same_module(d->aliases[i], module))
			return true;
	return false;
}

static struct driver *driver_of(struct search *s, const char *module)
{
	struct driver *list = s->drivers->list;

	for (size_t i = 0; i < s->drivers->count; i++)
		if (driver_has(&list[i], module) ||
		    (list[i].ignore && same_module(list[i].name, module)))
			return &list[i];
	return NULL;
}

static int add_name(char ***list, size_t *count, const char *name)
{
	char **more = realloc(*list, (*count + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	*list = more;
	more[*count] = strdup(name);
	if (!more[*count])
		return -ENOMEM;
	++*count;
	return 0;
}

static void add_module(struct search *s, struct driver *d, const char *module)
{
	if (driver_has(d, module) || s->err)
		return;
	if (d->module_count == MODULES_MAX)
		complain_of_limit(s, d->name);
	else
		s->err = add_name(&d->modules, &d->module_count, module);
}

static struct driver *add_driver(struct search *s, const char *name)
{
	struct drivers *all = s->drivers;
	struct driver *list;

	if (all->count == DRIVERS_MAX)
		complain_of_limit(s, name);
	if (all->count == DRIVERS_MAX || s->err)
		return NULL;
	list = realloc(all->list, (all->count + 1) * sizeof(*list));
	if (list)
		all->list = list;
	if (!list || driver_init(&list[all->count], name)) {
		s->err = -ENOMEM;
		return NULL;
	}
	return &list[all->count++];
}

/* ---- dkms ---- */

/* VERSION/source of dkms; its link may be meant for another root. */
static char *source_of(const struct host *h, const char *tree,
		       const char *dkms, const char *version)
{
	char *rel = text_of("%s/%s/%s/source", tree, dkms, version), *path;
	char target[PATH_MAX];
	ssize_t n;

	path = rel ? host_path(h, rel) : NULL;
	free(rel);
	n = path ? readlink(path, target, sizeof(target) - 1) : -1;
	if (n > 0 && *target == '/') {
		target[n] = '\0';
		free(path);
		path = host_path(h, target);
	}
	return path;
}

/* The newest version whose source is there; malloc'ed, NULL: none. */
static char *newest_version(const struct host *h, const char *tree,
			    const char *dkms)
{
	char *rel = text_of("%s/%s", tree, dkms), *best = NULL;
	char *dir = rel ? host_path(h, rel) : NULL;
	DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *source, *conf;

		if (!dkms_is_version(e->d_name) ||
		    (best && release_compare(e->d_name, best) <= 0))
			continue;
		source = source_of(h, tree, dkms, e->d_name);
		conf = source ? text_of("%s/dkms.conf", source) : NULL;
		if (conf && path_exists(conf)) {
			free(best);
			best = strdup(e->d_name);
		}
		free(source);
		free(conf);
	}
	if (d)
		closedir(d);
	free(dir);
	free(rel);
	return best;
}

int driver_source(const struct host *h, const char *dkms, char **version,
		  char **path)
{
	char *tree;
	int err = dkms_tree(h, &tree);

	*path = NULL;
	*version = err ? NULL : newest_version(h, tree, dkms);
	if (*version && !(*path = source_of(h, tree, dkms, *version)))
		err = -ENOMEM;
	else if (!err && !*version)
		err = -ENOENT;
	free(tree);
	if (err) {
		free(*version);
		*version = NULL;
	}
	return err;
}

int driver_conf(const struct host *h, const char *dkms,
		const struct dkmsconf_kernel *k, struct dkmsconf *out)
{
	char *version, *source, *rel[4];
	char *files[6] = { NULL };
	int err = driver_source(h, dkms, &version, &source);

	memset(out, 0, sizeof(*out));
	if (err)
		return err;
	files[0] = text_of("%s/dkms.conf", source);
	rel[0] = text_of("/etc/dkms/%s.conf", dkms);
	rel[1] = text_of("/etc/dkms/%s-%s.conf", dkms, version);
	rel[2] = text_of("/etc/dkms/%s-%s-%s.conf", dkms, version, k->release);
	rel[3] = text_of("/etc/dkms/%s-%s-%s-%s.conf", dkms, version,
			 k->release, k->arch);
	for (size_t i = 0; i < ARRAY_SIZE(rel); i++)
		files[i + 1] = rel[i] ? host_path(h, rel[i]) : NULL;
	for (size_t i = 0; i < ARRAY_SIZE(files) - 1; i++)
		err = files[i] ? err : -ENOMEM;
	if (!err)
		err = dkmsconf_read(k, dkms, files, out);
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		free(files[i]);
	for (size_t i = 0; i < ARRAY_SIZE(rel); i++)
		free(rel[i]);
	free(source);
	free(version);
	return err;
}

static char *module_of_file(const char *file)
{
	static const char *const suffixes[] = {
		".ko", ".ko.xz", ".ko.zst", ".ko.gz",
	};

	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++)
		if (*file != '.' && str_ends_with(file, suffixes[i]))
			return strndup(file, strlen(file) -
					     strlen(suffixes[i]));
	return NULL;
}

/* Adds the modules below a folder to a driver: what dkms has built. */
static void take_built(struct search *s, size_t which, const char *dir,
		       unsigned int depth)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	if (!d && errno != ENOENT && errno != ENOTDIR)
		complain_of(s, dir, -errno);
	while (d && !s->err && (e = readdir(d))) {
		char *name = module_of_file(e->d_name), *below;

		if (name)
			add_module(s, &s->drivers->list[which], name);
		else if (depth && e->d_name[0] != '.' &&
			 strcmp(e->d_name, "build") &&
			 strcmp(e->d_name, "source") &&
			 strcmp(e->d_name, "log") &&
			 strncmp(e->d_name, "kernel-", 7)) {
			below = text_of("%s/%s", dir, e->d_name);
			if (below)
				take_built(s, which, below, depth - 1);
			free(below);
		}
		free(name);
	}
	if (d)
		closedir(d);
}

static void take_conf(struct search *s, size_t which, const char *dkms,
		      const struct dkmsconf_kernel *k)
{
	struct dkmsconf conf;
	struct driver *d = &s->drivers->list[which];
	int err = driver_conf(s->h, dkms, k, &conf);

	if (err == -ENOMEM)
		s->err = err;
	for (size_t i = 0; !err && i < conf.count && !s->err; i++) {
		const struct dkmsconf_module *m = &conf.modules[i];

		/* Perhaps: it counts where dkms has built it. */
		if (!m->maybe)
			add_module(s, d, m->name);
		if (!same_module(m->name, m->built) && !s->err &&
		    d->alias_count < MODULES_MAX)
			s->err = add_name(&d->aliases, &d->alias_count,
					  m->built);
	}
	if (!err)
		dkmsconf_free(&conf);
}

static void take_dkms(struct search *s, const char *dkms, const char *dir,
		      const struct dkmsconf_kernel *kernels)
{
	struct driver *d = NULL;
	size_t which;

	for (size_t i = 0; i < s->drivers->count && !d; i++) {
		struct driver *one = &s->drivers->list[i];

		if (one->dkms ? !strcmp(one->dkms, dkms) :
				!strcmp(one->name, dkms))
			d = one;
	}
	if (!d)
		d = add_driver(s, dkms);
	if (!d)
		return;
	d->sources |= SOURCE_DKMS;
	if (!d->dkms && !(d->dkms = strdup(dkms))) {
		s->err = -ENOMEM;
		return;
	}
	which = d - s->drivers->list;
	for (size_t i = 0; i < s->kernels->count && !s->err; i++)
		take_conf(s, which, dkms, &kernels[i]);
	take_built(s, which, dir, 4);
	/* Nothing is known of its modules: mostly they are called like it. */
	d = &s->drivers->list[which];
	if (!d->module_count && !s->err)
		add_module(s, d, dkms);
}

static void look_at_dkms(struct search *s)
{
	struct dkmsconf_kernel *kernels = calloc(s->kernels->count + 1,
						 sizeof(*kernels));
	char *where, *tree = NULL, *dir, target[2];
	struct dirent *e;
	DIR *d;
	int err = dkms_tree(s->h, &where);

	if (err == -EINVAL) {
		/* It may be anywhere: so may drivers that would be lost. */
		complain_of(s, where ? where : "/etc/dkms/framework.conf", err);
		goto out;
	}
	tree = err ? NULL : host_path(s->h, where);
	if (!kernels || !tree) {
		s->err = -ENOMEM;
		goto out;
	}
	for (size_t i = 0; i < s->kernels->count && !s->err; i++)
		s->err = dkmsconf_kernel_read(s->h,
					      s->kernels->list[i].release,
					      &kernels[i]);
	d = opendir(tree);
	if (!d && errno != ENOENT)
		complain_of(s, tree, -errno);
	while (d && !s->err && (e = readdir(d))) {
		DIR *sub;

		dir = text_of("%s/%s", tree, e->d_name);
		/* Links and files are no drivers; dkms keeps keys here. */
		if (!dir || e->d_name[0] == '.' || readlink(dir, target, 1) >= 0) {
			free(dir);
			continue;
		}
		sub = opendir(dir);
		if (sub) {
			struct dirent *v;
			bool any = false;

			while (!any && (v = readdir(sub)))
				any = v->d_name[0] != '.';
			closedir(sub);
			if (any)
				take_dkms(s, e->d_name, dir, kernels);
		} else if (errno != ENOTDIR && errno != ENOENT) {
			complain_of(s, dir, -errno);
		}
		free(dir);
	}
	if (d)
		closedir(d);
out:
	for (size_t i = 0; kernels && i < s->kernels->count; i++)
		dkmsconf_kernel_free(&kernels[i]);
	free(kernels);
	free(tree);
	free(where);
}

/* ---- files and what is loaded ---- */

static void take_module(struct search *s, const char *module,
			unsigned int source)
{
	struct driver *d = driver_of(s, module);

	if (!d && (d = add_driver(s, module)))
		add_module(s, d, module);
	if (d)
		d->sources |= source;
}

static void add_text(struct search *s, char **all, const char *rel)
{
	char *path = host_path(s->h, rel), *longer;
	struct buf b = { 0 };

	if (path && !file_read(path, 16 << 20, &b)) {
		longer = text_of("%s\n%.*s\n", *all ? *all : "", (int)b.len,
				 (char *)b.data);
		free(*all);
		*all = longer;
		if (!longer)
			s->err = -ENOMEM;
	}
	buf_free(&b);
	free(path);
}

/* What dpkg says that the packages of a kernel brought; without dpkg nothing. */
static void read_owned(struct search *s, const char *release)
{
	static const char *const packages[] = {
		"linux-image-", "linux-image-unsigned-", "linux-modules-",
		"linux-modules-extra-", "linux-binary-", "proxmox-kernel-",
		"pve-kernel-",
	};
	static const char *const ends[] = { "", "-signed" };

	for (size_t i = 0; i < ARRAY_SIZE(packages); i++)
		for (size_t j = 0; j < ARRAY_SIZE(ends); j++) {
			char *rel = text_of("/var/lib/dpkg/info/%s%s%s.list",
					    packages[i], release, ends[j]);

			if (rel)
				add_text(s, &s->owned, rel);
			free(rel);
		}
}

static bool is_owned(const struct search *s, const char *dir, const char *name)
{
	const char *below = strstr(dir, "/lib/modules/");
	char *line = below ? text_of("%s/%s\n", below, name) : NULL;
	bool is = line && s->owned && strstr(s->owned, line);

	free(line);
	return is;
}

/*
 * Red Hat's kernels put some of their own modules below extra/, and what a
 * kernel's package brings is the kernel's wherever it lies.
 */
static bool is_the_kernels_own(const struct search *s, const char *dir,
			       const char *file, const char *below)
{
	char *own = text_of("kernel/%.*s.ko\n",
			    (int)(strstr(below, ".ko") - below), below);
	bool is = (own && s->order && strstr(s->order, own)) ||
		  is_owned(s, dir, file);

	free(own);
	return is;
}

/* Also behind a link, which depmod follows, and where the folder does not say. */
static bool is_folder(const char *path, const struct dirent *e)
{
	struct stat st;

	if (e->d_name[0] == '.')
		return false;
	return e->d_type == DT_DIR || ((e->d_type == DT_LNK || e->d_type == DT_UNKNOWN) &&
				       !stat(path, &st) && S_ISDIR(st.st_mode));
}

/* below: the path behind updates/, extra/ or the like. */
static void look_below(struct search *s, const char *dir, const char *below,
		       unsigned int depth)
{
	DIR *d = s->folders == FOLDERS_MAX ? NULL : opendir(dir);
	struct dirent *e;

	if (s->folders == FOLDERS_MAX)
		complain_of_limit(s, dir);
	else if (!d && errno != ENOENT && errno != ELOOP)
		complain_of(s, dir, -errno);
	s->folders += d != NULL;
	while (d && !s->err && (e = readdir(d))) {
		char *path, *rel, *name;

		if (e->d_name[0] == '.')
			continue;
		path = text_of("%s/%s", dir, e->d_name);
		rel = text_of("%s%s%s", below, *below ? "/" : "", e->d_name);
		name = module_of_file(e->d_name);
		if (!path || !rel)
			s->err = -ENOMEM;
		else if (name && !is_the_kernels_own(s, dir, e->d_name, rel))
			take_module(s, name, SOURCE_FILE);
		else if (!name && is_folder(path, e) && depth)
			look_below(s, path, rel, depth - 1);
		else if (!name && e->d_type == DT_DIR)
			complain_of_limit(s, path);
		free(path);
		free(rel);
		free(name);
	}
	if (d)
		closedir(d);
}

/*
 * Ubuntu's packages of prebuilt modules have a folder of their own in kernel/,
 * like kernel/nvidia-535, that the kernel was not built with.
 */
static void look_for_prebuilt(struct search *s, const char *dir)
{
	char *kernel = text_of("%s/kernel", dir);
	DIR *d = kernel && s->order ? opendir(kernel) : NULL;
	struct dirent *e;

	while (d && !s->err && (e = readdir(d))) {
		char *built = text_of("kernel/%s/", e->d_name);
		char *path = text_of("%s/%s", kernel, e->d_name);

		if (!built || !path)
			s->err = -ENOMEM;
		else if (is_folder(path, e) && !strstr(s->order, built) &&
			 !is_owned(s, kernel, e->d_name))
			look_below(s, path, "", DEPTH_MAX);
		free(built);
		free(path);
	}
	if (d)
		closedir(d);
	free(kernel);
}

static int compare_lines(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of a text, which is changed, sorted; malloc'ed. NULL: no memory. */
static char **sorted_lines(char *text, size_t *count)
{
	char **list = malloc((strlen(text) + 1) * sizeof(*list)), *line;

	*count = 0;
	while (list && (line = strsep(&text, "\n")))
		list[(*count)++] = line;
	if (list)
		qsort(list, *count, sizeof(*list), compare_lines);
	return list;
}

/* path: below the kernel's folder dir. */
static void look_at_own(struct search *s, const char *dir, char **built, size_t count,
			const char *path)
{
	const char *end = strstr(path, ".ko"), *base = strrchr(path, '/') + 1;
	char *own = end ? strndup(path, (size_t)(end - path) + 3) : NULL;
	char *name = module_of_file(base);

	if (name && own && !bsearch(&own, built, count, sizeof(*built), compare_lines) &&
	    !is_owned(s, dir, path))
		take_module(s, name, SOURCE_FILE);
	free(name);
	free(own);
}

/*
 * A vendor's installer may put its module among the kernel's own: one that depmod
 * found there, though the kernel was built without it.
 */
static void look_for_strangers(struct search *s, const char *dir)
{
	char *path = text_of("%s/modules.dep", dir), *line, *rest;
	char *order = s->order ? strdup(s->order) : NULL, **built = NULL;
	struct buf b = { 0 };
	size_t count;
	int err = path && order ? file_read(path, 16 << 20, &b) : 0;

	if (err && err != -ENOENT)
		complain_of(s, path, err);
	if (!path || (s->order && !order))
		s->err = -ENOMEM;
	else if (!err && order && !(built = sorted_lines(order, &count)))
		s->err = -ENOMEM;
	rest = built && b.len ? strndup((char *)b.data, b.len) : NULL;
	for (char *all = rest; (line = strsep(&all, "\n")) && !s->err;) {
		line[strcspn(line, ":")] = '\0';
		if (!strncmp(line, "kernel/", 7))
			look_at_own(s, dir, built, count, line);
	}
	free(rest);
	free(built);
	free(order);
	free(path);
	buf_free(&b);
}

static void look_at_kernel(struct search *s, const char *release)
{
	char *rel = text_of("/lib/modules/%s", release);
	char *dir = rel ? host_path(s->h, rel) : NULL;
	char *order = dir ? text_of("%s/modules.order", dir) : NULL;
	DIR *d = dir ? opendir(dir) : NULL;
	struct buf b = { 0 };
	struct dirent *e;

	if (dir && !d && errno != ENOENT)
		complain_of(s, dir, -errno);
	/* Where it is empty or away, everything would be a stranger in kernel/. */
	if (order && !file_read(order, 16 << 20, &b) && b.len)
		s->order = strndup((char *)b.data, b.len);
	read_owned(s, release);
	if (dir)
		look_for_prebuilt(s, dir);
	if (dir)
		look_for_strangers(s, dir);
	while (d && !s->err && (e = readdir(d))) {
		char *name = module_of_file(e->d_name), *path;

		path = text_of("%s/%s", dir, e->d_name);
		if (name)
			take_module(s, name, SOURCE_FILE);
		else if (path && strcmp(e->d_name, "kernel") && strcmp(e->d_name, "build") &&
			 strcmp(e->d_name, "source") && strcmp(e->d_name, "vdso") &&
			 is_folder(path, e))
			look_below(s, path, "", DEPTH_MAX);
		free(path);
		free(name);
	}
	if (d)
		closedir(d);
	free(s->order);
	free(s->owned);
	s->order = s->owned = NULL;
	buf_free(&b);
	free(order);
	free(dir);
	free(rel);
}

static void look_at_loaded(struct search *s)
{
	char *dir = host_path(s->h, "/sys/module");
	DIR *d = dir ? opendir(dir) : NULL;
	struct dirent *e;

	if (dir && !d && errno != ENOENT)
		complain_of(s, dir, -errno);
	while (d && !s->err && (e = readdir(d))) {
		char *rel, *taint;

		if (e->d_name[0] == '.')
			continue;
		rel = text_of("/sys/module/%s/taint", e->d_name);
		taint = rel ? host_line(s->h, rel) : NULL;
		/* A live patch is for the kernel that runs: the next one has no use for it. */
		if (taint && strchr(taint, 'O') && !strchr(taint, 'K'))
			take_module(s, e->d_name, SOURCE_LOADED);
		free(taint);
		free(rel);
	}
	if (d)
		closedir(d);
	free(dir);
}

/* The guard reports what is wrong in the file; here it counts as on. */
bool drivers_discovery_off(const struct host *h)
{
	struct guard_conf conf;
	bool off = !guard_conf_read(h, NULL, NULL, &conf) &&
		   !conf.discovery;

	guard_conf_free(&conf);
	return off;
}

static bool is_about(const struct driver *known, const struct driver *d)
{
	if (known->dkms && d->dkms && !strcmp(known->dkms, d->dkms))
		return true;
	for (size_t i = 0; i < known->module_count; i++)
		for (size_t j = 0; j < d->module_count; j++)
			if (same_module(known->modules[i], d->modules[j]))
				return true;
	return false;
}

/* What is known of a driver that has no drop-in; one that has says all itself. */
static int refine(const struct search *s)
{
	struct drivers known;
	int err = drivers_read_known(s->h, &known, s->report, s->arg);

	for (size_t i = 0; !err && i < s->drivers->count; i++) {
		struct driver *d = &s->drivers->list[i];
		size_t k = 0;

		while (k < known.count && (known.list[k].broken || !is_about(&known.list[k], d)))
			k++;
		if (k == known.count || d->sources & SOURCE_DROPIN)
			continue;
		d->initramfs = known.list[k].initramfs;
		if (known.list[k].userspace) {
			free(d->userspace);
			d->userspace = strdup(known.list[k].userspace);
			err = d->userspace ? 0 : -ENOMEM;
		}
	}
	drivers_free(&known);
	return err;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct driver *)a)->name,
		      ((const struct driver *)b)->name);
}

int drivers_discover(const struct host *h, const struct kernels *k,
		     struct drivers *drivers, dropin_error_fn *report,
		     void *arg)
{
	struct search s = {
		.h = h, .kernels = k, .drivers = drivers, .report = report, .arg = arg,
	};

	if (!drivers_discovery_off(h)) {
		look_at_dkms(&s);
		for (size_t i = 0; i < k->count && !s.err; i++)
			look_at_kernel(&s, k->list[i].release);
		if (!s.err)
			look_at_loaded(&s);
	}
	drivers_drop_ignored(drivers);
	/* A driver without a module would be judged by nothing, and be safe. */
	for (size_t i = 0; i < drivers->count && !s.err; i++)
		if (!drivers->list[i].module_count && !drivers->list[i].broken)
			add_module(&s, &drivers->list[i], drivers->list[i].dkms ?
				   drivers->list[i].dkms : drivers->list[i].name);
	if (!s.err)
		s.err = refine(&s);
	if (drivers->count)
		qsort(drivers->list, drivers->count, sizeof(*drivers->list),
		      by_name);
	return s.err;
}
