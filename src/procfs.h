/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /proc/flightrec and stats, then a file for each channel. All may sleep.
 */
#ifndef FLIGHTREC_PROCFS_H
#define FLIGHTREC_PROCFS_H

struct flightrec_channel;

/* 0 or -ENOMEM. */
int flightrec_procfs_init(void);
void flightrec_procfs_exit(void);
int flightrec_procfs_add(struct flightrec_channel *channel);
/* Waits for calls on its file that are under way, in which a buffer may be slow. */
void flightrec_procfs_del(struct flightrec_channel *channel);

#endif
