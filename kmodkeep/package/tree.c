// SPDX-License-Identifier: GPL-2.0-or-later
/* What cp -al, rm -rf, mv, ln and cmp do, with errors that can be told. */
#include "kmodkeep/package/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/util.h"

#define DEPTH_MAX 64
#define MODULE_MAX (1u << 30)

bool is_directory(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

bool is_file(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

bool is_link(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
}

int tree_make(const char *path)
{
	char *copy = strdup(path);
	int err = 0;

	if (!copy)
		return -ENOMEM;
	for (char *p = copy + 1; !err && *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0755) < 0 && errno != EEXIST)
			err = -errno;
		*p = '/';
	}
	/* What stands there may be a file: the caller's next step says so. */
	if (!err && mkdir(path, 0755) < 0 && errno != EEXIST)
		err = -errno;
	free(copy);
	return err;
}

/* Calls fn for each entry of a directory until one fails. */
static int each_entry(const char *path, int (*fn)(const char *path,
						  const char *name, void *arg),
		      void *arg)
{
	DIR *d = opendir(path);
	struct dirent *e;
	int err = 0;

	if (!d)
		return -errno;
	while (!err && (errno = 0, e = readdir(d))) {
		char *one;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		one = text_of("%s/%s", path, e->d_name);
		err = one ? fn(one, e->d_name, arg) : -ENOMEM;
		free(one);
	}
	if (!err && errno)
		err = -errno;
	closedir(d);
	return err;
}

static int remove_entry(const char *path, const char *name, void *depth)
{
	int left = *(int *)depth - 1;
	struct stat st;
	int err;

	(void)name;
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISDIR(st.st_mode))
		return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
	if (left <= 0)
		return -ELOOP;
	err = each_entry(path, remove_entry, &left);
	if (!err && rmdir(path) < 0 && errno != ENOENT)
		err = -errno;
	return err;
}

int tree_remove(const char *path)
{
	int depth = DEPTH_MAX;

	return remove_entry(path, NULL, &depth);
}

static int copy_bytes(const char *from, const char *to, mode_t mode)
{
	unsigned char chunk[65536];
	int in = open(from, O_RDONLY | O_CLOEXEC), out, err = 0;
	ssize_t n;

	if (in < 0)
		return -errno;
	out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		   0600);
	if (out < 0) {
		err = -errno;
		close(in);
		return err;
	}
	while (!err && (n = read(in, chunk, sizeof(chunk))) != 0) {
		ssize_t done = 0;

		if (n < 0)
			err = -errno;
		while (!err && done < n) {
			ssize_t now = write(out, chunk + done, n - done);

			if (now < 0)
				err = -errno;
			else
				done += now;
		}
	}
	if (!err && fchmod(out, mode) < 0)
		err = -errno;
	/* What it was copied from may be gone before a power cut. */
	if (!err && fsync(out) < 0)
		err = -errno;
	if (close(out) < 0 && !err)
		err = -errno;
	close(in);
	return err;
}

struct copying {
	const char *to;
	bool link;	/* hard links in place of copies */
	int depth;
};

static int copy_link(const char *from, const char *to)
{
	char target[4096];
	ssize_t n = readlink(from, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	return symlink(target, to) < 0 ? -errno : 0;
}

static int copy_entry(const char *path, const char *name, void *arg)
{
	const struct copying *c = arg;
	char *to = name ? text_of("%s/%s", c->to, name) : strdup(c->to);
	struct copying below = { to, c->link, c->depth - 1 };
	struct stat st;
	int err = 0;

	if (!to)
		return -ENOMEM;
	if (lstat(path, &st) < 0)
		err = -errno;
	else if (S_ISDIR(st.st_mode) && below.depth <= 0)
		err = -ELOOP;
	else if (S_ISDIR(st.st_mode))
		err = mkdir(to, st.st_mode & 07777) < 0 ? -errno :
		      each_entry(path, copy_entry, &below);
	else if (c->link)
		err = link(path, to) < 0 ? -errno : 0;
	else if (S_ISLNK(st.st_mode))
		err = copy_link(path, to);
	else if (S_ISREG(st.st_mode))
		err = copy_bytes(path, to, st.st_mode & 07777);
	free(to);
	return err;
}

int tree_link(const char *from, const char *to)
{
	struct copying c = { to, true, DEPTH_MAX };

	return copy_entry(from, NULL, &c);
}

int tree_move(const char *from, const char *to)
{
	struct copying c = { to, false, DEPTH_MAX };
	int err;

	if (rename(from, to) == 0)
		return 0;
	if (errno != EXDEV)
		return -errno;
	err = copy_entry(from, NULL, &c);
	return err ? err : tree_remove(from);
}

int link_point(const char *link, const char *target)
{
	char *new = text_of("%s.new", link);
	int err = new ? 0 : -ENOMEM;

	if (!err && unlink(new) < 0 && errno != ENOENT)
		err = -errno;
	if (!err && symlink(target, new) < 0)
		err = -errno;
	if (!err && rename(new, link) < 0) {
		err = -errno;
		unlink(new);
	}
	free(new);
	return err;
}

static int make_directory_of(const char *path)
{
	char *dir = strndup(path, strrchr(path, '/') - path);
	int err = dir ? tree_make(dir) : -ENOMEM;

	free(dir);
	return err;
}

int file_put(const char *file, const char *place)
{
	char *new = text_of("%s.new", place);
	int err = new ? make_directory_of(place) : -ENOMEM;

	if (!err)
		err = copy_bytes(file, new, 0644);
	if (!err && rename(new, place) < 0)
		err = -errno;
	if (err && new)
		unlink(new);
	free(new);
	return err;
}

bool files_equal(const char *a, const char *b)
{
	struct buf x = { 0 }, y = { 0 };
	bool equal = !file_read(a, MODULE_MAX, &x) &&
		     !file_read(b, MODULE_MAX, &y) && x.len == y.len &&
		     !memcmp(x.data, y.data, x.len);

	buf_free(&x);
	buf_free(&y);
	return equal;
}
