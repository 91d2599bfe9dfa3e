/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The table of channels, and who may open them: what the character device and
 * procfs share.
 */
#ifndef FLIGHTREC_TABLE_H
#define FLIGHTREC_TABLE_H

#include "channel.h"

/* The channel of that number. NULL past the last one, and for all before publish. */
struct flightrec_channel *flightrec_channel_at(unsigned int id);

/* 0, or -EPERM if the calling task may not open any channel. */
int flightrec_may_open(void);

/* For main.c, which fills it during init; then constant until exit. */
extern struct flightrec_channel *flightrec_channels[FLIGHTREC_CHANNELS_MAX];
extern unsigned int flightrec_channel_count;

/* When init can no longer fail: from here on channels can be opened. */
void flightrec_table_publish(void);

#endif
