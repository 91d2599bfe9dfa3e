// SPDX-License-Identifier: GPL-2.0-or-later
/* Installed kernels, their images and initramfs files, and the order of releases. */
#include "guard/host/kernels.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/bootfile.h"

/* No host has that many; a directory full of junk may. */
#define KERNELS_MAX 256

static const char *const image_names[] = {
	"vmlinuz-", "vmlinux-", "linux-", "kernel-", "bzImage-", "Image-", "image-",
};

/* Of the same kernel, in another form or of an earlier build. */
static const char *const copy_suffixes[] = { ".gz", ".xz", ".zst", ".bz2", ".old" };

static char *release_key(const char *release)
{
	char *key = strdup(release);

	/* A tilde sorts before everything, as in package versions. */
	for (char *p = key; p && *p; p++)
		if (*p == '~')
			*p = '\1';
	return key;
}

int release_compare(const char *a, const char *b)
{
	char *x = release_key(a), *y = release_key(b);
	int order = x && y ? strverscmp(x, y) : strcmp(a, b);

	free(x);
	free(y);
	return order;
}

static bool is_release(const char *s)
{
	return *s >= '0' && *s <= '9' && strlen(s) < 128 && !strchr(s, '/');
}

/* The first of these files that exists; %s is the release. */
static char *first_file(const struct host *h, const char *const *patterns,
			const char *release)
{
	for (; *patterns; patterns++) {
		char rel[PATH_MAX], *path;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(rel, sizeof(rel), *patterns, release);
#pragma GCC diagnostic pop
		path = host_path(h, rel);
		if (path && path_exists(path))
			return path;
		free(path);
	}
	return NULL;
}

static bool has_modules(const struct host *h, const char *release)
{
	static const char *const where[] = {
		"/lib/modules/%s/.", "/usr/lib/modules/%s/.", NULL,
	};
	char *path = first_file(h, where, release);

	free(path);
	return path != NULL;
}

static const char *const images[] = {
	"/boot/vmlinuz-%s", "/boot/vmlinux-%s", "/boot/kernel-%s", "/boot/Image-%s",
	"/boot/image-%s", "/lib/modules/%s/vmlinuz", "/usr/lib/modules/%s/vmlinuz", NULL,
};
static const char *const archives[] = {
	"/boot/initrd.img-%s", "/boot/initramfs-%s.img",
	"/boot/initrd-%s", "/boot/initramfs-%s", NULL,
};

/*
 * Arch Linux calls the files in /boot after the package, whose name lies beside the
 * modules. Of two folders with one name the files are those of the kernel that the
 * image says it is.
 */
static void add_by_package(const struct host *h, struct kernel *k)
{
	static const char *const where[] = {
		"/lib/modules/%s/pkgbase", "/usr/lib/modules/%s/pkgbase", NULL,
	};
	char *file = first_file(h, where, k->release), *name = NULL, *image, *says;

	if (!file || file_read_line(file, &name) || !*name || strchr(name, '/')) {
		free(file);
		free(name);
		return;
	}
	free(file);
	image = first_file(h, images, name);
	says = image ? boot_file_release(image) : NULL;
	if (says && strcmp(says, k->release)) {
		free(image);
	} else if (image) {
		free(k->image);
		k->image = image;
		free(k->initramfs);
		k->initramfs = first_file(h, archives, name);
	}
	free(says);
	free(name);
}

int kernels_add(const struct host *h, struct kernels *k, const char *release)
{
	struct kernel *list, *new;

	if (k->count == KERNELS_MAX || kernels_find(k, release))
		return 0;
	list = realloc(k->list, (k->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	k->list = list;
	new = &list[k->count];
	memset(new, 0, sizeof(*new));
	new->release = strdup(release);
	if (!new->release)
		return -ENOMEM;
	k->count++;
	new->image = first_file(h, images, release);
	new->initramfs = first_file(h, archives, release);
	new->modules = has_modules(h, release);
	add_by_package(h, new);
	new->running = !strcmp(release, host_running_kernel(h));
	return 0;
}

/* Calls kernels_add() for the names in a directory that start with prefix. */
static int add_from(const struct host *h, struct kernels *k, const char *rel,
		    const char *prefix, bool *readable)
{
	char *path = host_path(h, rel);
	DIR *d = path ? opendir(path) : NULL;
	size_t n = strlen(prefix);
	struct dirent *e;
	int err = path ? 0 : -ENOMEM;

	if (readable)
		*readable = d || errno == ENOENT;
	while (d && !err && (e = readdir(d)))
		if (!strncmp(e->d_name, prefix, n) &&
		    is_release(e->d_name + n))
			err = kernels_add(h, k, e->d_name + n);
	if (d)
		closedir(d);
	free(path);
	return err;
}

static int newest_first(const void *a, const void *b)
{
	return -release_compare(((const struct kernel *)a)->release,
				((const struct kernel *)b)->release);
}

static void kernel_free(struct kernel *k)
{
	free(k->release);
	free(k->image);
	free(k->initramfs);
}

/* A second form of an image, or the one to mend the host with: no kernel of its own. */
static bool is_spare(const struct kernel *k)
{
	bool spare = !strncmp(k->release, "0-rescue", 8);

	for (size_t i = 0; i < ARRAY_SIZE(copy_suffixes); i++)
		spare |= str_ends_with(k->release, copy_suffixes[i]);
	return spare && !k->modules;
}

static void drop_left_overs(struct kernels *k)
{
	size_t kept = 0;

	for (size_t i = 0; i < k->count; i++) {
		struct kernel *one = &k->list[i];

		if ((one->image && !is_spare(one)) || one->running)
			k->list[kept++] = *one;
		else
			kernel_free(one);
	}
	k->count = kept;
}

int kernels_read(const struct host *h, struct kernels *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	err = add_from(h, out, "/boot", "vmlinuz-", &out->boot_readable);
	if (!err)
		err = add_from(h, out, "/boot", "vmlinux-", NULL);
	if (!err)
		err = add_from(h, out, "/lib/modules", "", NULL);
	if (!err)
		err = add_from(h, out, "/usr/lib/modules", "", NULL);
	if (!err && *host_running_kernel(h))
		err = kernels_add(h, out, host_running_kernel(h));
	if (err) {
		kernels_free(out);
		return err;
	}
	drop_left_overs(out);
	if (out->count)
		qsort(out->list, out->count, sizeof(*out->list), newest_first);
	for (size_t i = 0; i < out->count; i++)
		out->uses_initramfs |= out->list[i].initramfs != NULL;
	return 0;
}

void kernels_free(struct kernels *k)
{
	for (size_t i = 0; i < k->count; i++)
		kernel_free(&k->list[i]);
	free(k->list);
	memset(k, 0, sizeof(*k));
}

const struct kernel *kernels_find(const struct kernels *k, const char *release)
{
	for (size_t i = 0; i < k->count; i++)
		if (!strcmp(k->list[i].release, release))
			return &k->list[i];
	return NULL;
}

static bool names_release(const char *path, const char *release)
{
	const char *base = strrchr(path, '/');
	const char *slash = base;
	size_t n = strlen(release);

	base = base ? base + 1 : path;
	for (size_t i = 0; i < ARRAY_SIZE(image_names); i++) {
		size_t len = strlen(image_names[i]);

		if (!strncmp(base, image_names[i], len) &&
		    !strcmp(base + len, release))
			return true;
	}
	/* .../RELEASE/linux */
	return slash && (size_t)(slash - path) > n && slash[-(long)n - 1] == '/' &&
	       !strncmp(slash - n, release, n);
}

/*
 * The kernel whose boot image a boot loader calls by this path, as in
 * /boot/vmlinuz-6.1.0-30-amd64 or /MACHINE/6.1.0-30-amd64/linux.
 */
static const struct kernel *by_image(const struct kernels *k, const char *path)
{
	for (size_t i = 0; i < k->count; i++)
		if (names_release(path, k->list[i].release))
			return &k->list[i];
	return NULL;
}

const struct kernel *kernels_by_file(const struct kernels *k, const char *file,
				     const char *path)
{
	char *says = file ? boot_file_release(file) : NULL, *real;
	const struct kernel *is = by_image(k, path);

	if (says) {
		is = kernels_find(k, says);
		free(says);
		return is;
	}
	real = !is && file ? realpath(file, NULL) : NULL;
	if (real)
		is = by_image(k, real);
	for (size_t i = 0; real && !is && i < k->count; i++)
		if (k->list[i].image && !strcmp(k->list[i].image, file))
			is = &k->list[i];
	free(real);
	return is;
}
