/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of channels, and who may open them: what the character device and
 * procfs share.
 */
#ifndef FLIGHTREC_TABLE_H
#define FLIGHTREC_TABLE_H

#include "channel.h"

/* Minor numbers: one is not given to another channel until all others were. */
#define FLIGHTREC_MINORS (1U << 20)

/* The visible channel of that minor number, with a reference, or NULL. */
struct flightrec_channel *flightrec_table_get(unsigned int minor);

/* The visible channel at that place, below FLIGHTREC_CHANNELS_MAX, likewise. */
struct flightrec_channel *flightrec_table_at(unsigned int place);

/* 0, or -EPERM if the calling task may not open any channel. */
int flightrec_may_open(void);

/* The channel of that name, also one that is about to go, with a reference; or NULL. */
struct flightrec_channel *flightrec_table_find(const char *name);

/* Places of channels that are gone are NULL. For init and exit, when nobody else is there. */
extern struct flightrec_channel *flightrec_channels[FLIGHTREC_CHANNELS_MAX];

/* Give a channel a place and a minor number; -ENOSPC if there is no place. */
int flightrec_table_add(struct flightrec_channel *channel);
void flightrec_table_del(struct flightrec_channel *channel);

/* From here on it can be opened, or no longer. */
void flightrec_table_show(struct flightrec_channel *channel, bool visible);

#endif
