/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Reading on and on, also over a reload of the driver. An open channel keeps
 * the driver from being unloaded; on SIGHUP all are let go, and opened again once
 * the driver is back.
 */
#ifndef TOOLS_FOLLOW_H
#define TOOLS_FOLLOW_H

#include "timeline.h"

/* Instead of an exit status: there may be something to read. */
#define FOLLOW_ON (-1)

/* From now on SIGHUP lets the channels go. */
void follow_start(void);

/*
 * Waits for records, for @timeout_ms at most, without a bound if that is negative: FOLLOW_ON,
 * or the exit status if nobody listens any more, or all channels were removed and read to
 * their end. All channels have been found empty before.
 */
int follow_wait(struct timeline *timeline, int timeout_ms);

/* Does this error say that the driver has gone? */
bool follow_gone(int err);

/*
 * Waits for the driver to come back, and says so: FOLLOW_ON, or the exit status.
 * @channel is the one that failed with @err; without an error all are let go.
 */
int follow_reopen(struct timeline *timeline, struct channel *channel, int err);

#endif
