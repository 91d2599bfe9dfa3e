/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The newest records, printed into the kernel's log on an oops and on a panic.
 */
#ifndef FLIGHTREC_CRASH_H
#define FLIGHTREC_CRASH_H

struct flightrec_channel;

/* Add a channel to those that are printed; before start. */
void flightrec_crash_add(struct flightrec_channel *channel);

/* From here on until stop all channels added must stay. Both may sleep. */
void flightrec_crash_start(void);
void flightrec_crash_stop(void);

#endif
