// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lock files. flock(2), not POSIX locks: a program that was started with the
 * descriptor holds the lock on when the one that took it is killed.
 */
#include "guard/base/lock.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/say.h"
#include "guard/base/util.h"

/* Waits shorter than this are not worth a line. */
#define SAID_AFTER 2
#define LOOK_EVERY_MS 100

static bool is_ours_alone(const struct stat *st)
{
	return (st->st_uid == geteuid() || st->st_uid == 0) &&
	       !(st->st_mode & 022);
}

static int make_directory_of(const char *path)
{
	char *copy = strdup(path);
	struct stat st;
	int err = 0;
	char *dir;

	if (!copy)
		return -ENOMEM;
	dir = dirname(copy);
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		err = -errno;
	else if (lstat(dir, &st) < 0)
		err = -errno;
	else if (!S_ISDIR(st.st_mode) || !is_ours_alone(&st))
		err = -EPERM;
	free(copy);
	return err;
}

/* Is it this descriptor of this process that has the lock of the file? */
static bool holds(const char *pid, const char *fd, const struct stat *file)
{
	char path[64];
	struct buf info = { 0 };
	struct stat st;
	bool has;

	snprintf(path, sizeof(path), "/proc/%.20s/fd/%.20s", pid, fd);
	if (stat(path, &st) < 0 || st.st_dev != file->st_dev ||
	    st.st_ino != file->st_ino)
		return false;
	snprintf(path, sizeof(path), "/proc/%.20s/fdinfo/%.20s", pid, fd);
	has = !file_read(path, 65536, &info) && info.len &&
	      memmem(info.data, info.len, "FLOCK", 5);
	buf_free(&info);
	return has;
}

static bool process_holds(const char *pid, const struct stat *file)
{
	char path[64];
	struct dirent *e;
	bool has = false;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	d = opendir(path);
	while (d && !has && (e = readdir(d)))
		has = isdigit((unsigned char)e->d_name[0]) &&
		      holds(pid, e->d_name, file);
	if (d)
		closedir(d);
	return has;
}

/* "PID (COMMAND)" of the process that has the lock. */
static void name_holder(int fd, char *out, size_t size)
{
	struct dirent *e;
	struct stat file;
	DIR *d;

	snprintf(out, size, "another process");
	if (fstat(fd, &file) < 0)
		return;
	d = opendir("/proc");
	while (d && (e = readdir(d))) {
		char path[64], *command = NULL;

		if (!isdigit((unsigned char)e->d_name[0]) ||
		    !process_holds(e->d_name, &file))
			continue;
		snprintf(path, sizeof(path), "/proc/%.20s/comm", e->d_name);
		if (file_read_line(path, &command))
			command = NULL;
		snprintf(out, size, "process %.20s (%.40s)", e->d_name,
			 command ? command : "?");
		free(command);
		break;
	}
	if (d)
		closedir(d);
	make_printable(out);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

static int wait_for(int fd, const char *path, unsigned int seconds)
{
	double start = now();
	bool said = false;
	char holder[96];

	while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		double waited = now() - start;

		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		if (waited >= seconds) {
			name_holder(fd, holder, sizeof(holder));
			complain(0, "%s still holds the lock %s after %u "
				 "seconds. Next: let it end, or end it, and try "
				 "again", holder, path, seconds);
			return -ETIMEDOUT;
		}
		if (!said && waited >= SAID_AFTER) {
			name_holder(fd, holder, sizeof(holder));
			complain(0, "waiting for %s, which holds the lock %s",
				 holder, path);
			said = true;
		}
		poll(NULL, 0, LOOK_EVERY_MS);
	}
	return 0;
}

int lock_take(const char *path, unsigned int seconds)
{
	int err = make_directory_of(path), fd;
	struct stat st;

	if (err)
		return err;
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
		  0600);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		err = -EPERM;
	else if (st.st_mode & 077 && fchmod(fd, 0600) < 0)
		err = -errno;
	if (!err)
		err = wait_for(fd, path, seconds);
	if (err) {
		close(fd);
		return err;
	}
	return fd;
}
