// SPDX-License-Identifier: LGPL-2.1-or-later
/* Channels at run time: requests to /dev/flightrec-control. */
#include "internal.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* An earlier driver has no such node. */
static int why_missing(void)
{
	return access(FLIGHTREC_PROC, F_OK) ? -ENODEV : -EOPNOTSUPP;
}

static int request(unsigned long what, struct flightrec_channel_setup *setup)
{
	int fd = open(FLIGHTREC_CONTROL, O_RDWR | O_CLOEXEC | O_NOCTTY);
	int err = 0;

	if (fd < 0)
		return errno == ENOENT || errno == ENXIO ? why_missing() : -errno;
	if (ioctl(fd, what, setup))
		err = errno == ENOTTY ? -EOPNOTSUPP : -errno;
	close(fd);
	return err;
}

EXPORT int flightrec_channel_create(struct flightrec_channel_setup *setup)
{
	return request(FLIGHTREC_IOC_CREATE, setup);
}

EXPORT int flightrec_channel_resize(struct flightrec_channel_setup *setup)
{
	if (!memchr(setup->name, 0, sizeof(setup->name)) || !flightrec_name_ok(setup->name))
		return -EINVAL;
	return request(FLIGHTREC_IOC_RESIZE, setup);
}

EXPORT int flightrec_channel_remove(const char *channel)
{
	struct flightrec_channel_setup setup = { 0 };

	if (!flightrec_name_ok(channel))
		return -EINVAL;
	memcpy(setup.name, channel, strlen(channel));
	return request(FLIGHTREC_IOC_REMOVE, &setup);
}
