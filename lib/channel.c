// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * A channel that is open: one descriptor, and for flightrec_next() a buffer of
 * what was read ahead.
 */
#include "internal.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* Bytes of one read(2) for flightrec_next(). */
#define AHEAD (64 * 1024)

struct flightrec {
	int fd;
	bool raw;
	char *ahead;		/* of AHEAD bytes, once flightrec_next() was called */
	size_t have, at;	/* bytes in it, and the first not yet given out */
};

bool flightrec_name_ok(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return len && len < FLIGHTREC_NAME_MAX && !name[len];
}

/* "No such file" has two reasons, and the next step differs. */
static int why_missing(void)
{
	return access(FLIGHTREC_PROC, F_OK) ? -ENODEV : -ENOENT;
}

static int open_node(const char *channel, unsigned int flags)
{
	char path[sizeof(FLIGHTREC_DEV) + 1 + FLIGHTREC_NAME_MAX];
	int mode;
	int fd;

	mode = !(flags & FLIGHTREC_OPEN_WRITE) ? O_RDONLY :
	       flags & FLIGHTREC_OPEN_READ ? O_RDWR : O_WRONLY;
	if (flags & FLIGHTREC_OPEN_NONBLOCK)
		mode |= O_NONBLOCK;
	snprintf(path, sizeof(path), "%s/%s", FLIGHTREC_DEV, channel);
	fd = open(path, mode | O_CLOEXEC | O_NOCTTY);
	if (fd >= 0)
		return fd;
	return errno == ENOENT || errno == ENXIO || errno == ENODEV ? why_missing() : -errno;
}

/*
 * A request of the size that its caller knows: the program may have been built with another
 * version of <linux/flightrec.h> than this library and the driver.
 */
static int sized_ioctl(int fd, unsigned int request, size_t size, void *arg)
{
	if (size > _IOC_SIZEMASK)
		return -E2BIG;
	request &= ~((unsigned int)_IOC_SIZEMASK << _IOC_SIZESHIFT);
	return ioctl(fd, request | (unsigned int)size << _IOC_SIZESHIFT, arg) ? -errno : 0;
}

/* As earlier drivers know it, too. */
static int get_info(int fd, struct flightrec_info *info, size_t size)
{
	int err;

	if (size < FLIGHTREC_INFO_MIN)
		return -EINVAL;
	memset(info, 0, size);
	err = sized_ioctl(fd, FLIGHTREC_IOC_GET_INFO, size, info);
	return err == -ENOTTY ? sized_ioctl(fd, FLIGHTREC_IOC_GET_INFO, FLIGHTREC_INFO_MIN, info) :
				err;
}

/*
 * A shell's redirection makes a regular file where a channel is missing; another
 * driver's device might stand there as well. Neither records anything.
 */
static int check_node(int fd)
{
	struct flightrec_info info;
	struct stat st;

	if (FLIGHTREC_FILES_ARE_CHANNELS)
		return 0;
	if (fstat(fd, &st))
		return -errno;
	if (!S_ISCHR(st.st_mode))
		return -ENOTTY;
	return get_info(fd, &info, sizeof(info)) ? -ENOTTY : 0;
}

EXPORT int flightrec_open(struct flightrec **handle, const char *channel, unsigned int flags)
{
	__u32 bits = FLIGHTREC_FL_RAW;
	struct flightrec *made;
	int err;

	if (!channel)
		channel = "default";
	if (!flightrec_name_ok(channel) ||
	    !(flags & (FLIGHTREC_OPEN_READ | FLIGHTREC_OPEN_WRITE)) ||
	    flags & ~(FLIGHTREC_OPEN_READ | FLIGHTREC_OPEN_WRITE | FLIGHTREC_OPEN_NONBLOCK |
		      FLIGHTREC_OPEN_RAW))
		return -EINVAL;
	made = calloc(1, sizeof(*made));
	if (!made)
		return -ENOMEM;
	made->raw = flags & FLIGHTREC_OPEN_RAW;
	made->fd = open_node(channel, flags);
	err = made->fd < 0 ? made->fd : check_node(made->fd);
	if (!err && made->raw && ioctl(made->fd, FLIGHTREC_IOC_SET_FLAGS, &bits))
		err = -errno;
	if (err) {
		flightrec_close(made);
		return err;
	}
	*handle = made;
	return 0;
}

EXPORT void flightrec_close(struct flightrec *handle)
{
	if (!handle)
		return;
	if (handle->fd >= 0)
		close(handle->fd);
	free(handle->ahead);
	free(handle);
}

EXPORT int flightrec_fd(const struct flightrec *handle)
{
	return handle->fd;
}

EXPORT ssize_t flightrec_write(struct flightrec *handle, const void *data, size_t len)
{
	ssize_t n = write(handle->fd, data, len);

	return n < 0 ? -errno : n;
}

EXPORT ssize_t flightrec_writev(struct flightrec *handle, const struct iovec *parts, int count)
{
	ssize_t n = writev(handle->fd, parts, count);

	return n < 0 ? -errno : n;
}

EXPORT int flightrec_log(struct flightrec *handle, int severity, const void *data, size_t len)
{
	char prefix[3] = { '<', '0' + severity, '>' };
	struct iovec parts[2] = {
		{ prefix, sizeof(prefix) },
		{ (void *)data, len },
	};
	ssize_t n;

	if (severity < 0 || severity > 7 || handle->raw)
		return -EINVAL;
	n = flightrec_writev(handle, parts, 2);
	return n < 0 ? (int)n : 0;
}

EXPORT ssize_t flightrec_read(struct flightrec *handle, void *buffer, size_t size)
{
	ssize_t n = read(handle->fd, buffer, size);

	return n < 0 ? -errno : n;
}

EXPORT int flightrec_next(struct flightrec *handle, const struct flightrec_record **record)
{
	ssize_t n;

	if (!handle->ahead) {
		handle->ahead = aligned_alloc(8, AHEAD);
		if (!handle->ahead)
			return -ENOMEM;
	}
	if (handle->at >= handle->have) {
		n = flightrec_read(handle, handle->ahead, AHEAD);
		if (n <= 0)
			return (int)n;
		handle->have = n;
		handle->at = 0;
	}
	return flightrec_decode(handle->ahead, handle->have, &handle->at, record);
}

/* After a seek, what was read ahead is from elsewhere. */
static int moved(struct flightrec *handle, int failed)
{
	if (failed)
		return -errno;
	handle->have = handle->at = 0;
	return 0;
}

EXPORT int flightrec_seek_oldest(struct flightrec *handle)
{
	return moved(handle, lseek(handle->fd, 0, SEEK_SET) < 0);
}

EXPORT int flightrec_seek_newest(struct flightrec *handle)
{
	return moved(handle, lseek(handle->fd, 0, SEEK_END) < 0);
}

EXPORT int flightrec_seek_seq(struct flightrec *handle, uint64_t seq)
{
	__u64 to = seq;

	return moved(handle, ioctl(handle->fd, FLIGHTREC_IOC_SEEK_SEQ, &to));
}

EXPORT int flightrec_seek_time(struct flightrec *handle, uint64_t boot_ns)
{
	__u64 to = boot_ns;

	return moved(handle, ioctl(handle->fd, FLIGHTREC_IOC_SEEK_TIME, &to));
}

EXPORT int flightrec_seek_last(struct flightrec *handle, uint64_t count)
{
	struct flightrec_info info;
	int err;

	if (!count)
		return flightrec_seek_newest(handle);
	err = flightrec_info(handle, &info, sizeof(info));
	if (err)
		return err;
	if (info.next_seq - info.oldest_seq <= count)
		return flightrec_seek_oldest(handle);
	return flightrec_seek_seq(handle, info.next_seq - count);
}

EXPORT int flightrec_info(struct flightrec *handle, struct flightrec_info *info, size_t size)
{
	return get_info(handle->fd, info, size);
}

EXPORT int flightrec_set_filter(struct flightrec *handle, const struct flightrec_filter *filter,
				size_t size)
{
	return sized_ioctl(handle->fd, FLIGHTREC_IOC_SET_FILTER, size, (void *)filter);
}

EXPORT int flightrec_clear(struct flightrec *handle)
{
	return moved(handle, ioctl(handle->fd, FLIGHTREC_IOC_CLEAR));
}
