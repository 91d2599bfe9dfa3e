/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading on and on, also over a reload of the driver. An open channel keeps
 * the driver from being unloaded; on SIGHUP it is let go, and opened again once
 * the driver is back.
 */
#ifndef TOOLS_FOLLOW_H
#define TOOLS_FOLLOW_H

#include <sys/stat.h>

struct follow {
	struct flightrec *handle;
	const char *channel;
	uint64_t last_seq;	/* number of the newest record that was read */
	struct stat node;	/* of the open channel */
};

/* Instead of an exit status: there may be something to read. */
#define FOLLOW_ON (-1)

/* Opens follow->channel for reading: 0, or the exit status after saying why not. */
int follow_open(struct follow *follow);

/* Waits for records: FOLLOW_ON, or the exit status if nobody listens any more. */
int follow_wait(struct follow *follow);

/* Does this error say that the driver has gone? */
bool follow_gone(int err);

/* Waits for the driver to come back, and says so: FOLLOW_ON, or the exit status. */
int follow_reopen(struct follow *follow, int err);

#endif
