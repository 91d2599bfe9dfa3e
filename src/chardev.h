/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * /dev/flightrec/<channel>: a region and a class, then a node for each channel.
 * init and exit are for the module's. All may sleep.
 */
#ifndef FLIGHTREC_CHARDEV_H
#define FLIGHTREC_CHARDEV_H

struct flightrec_channel;

/* 0 or -errno. */
int flightrec_chardev_init(void);
void flightrec_chardev_exit(void);

/* Make the node of a channel of the table, not yet told to udev; 0 or -errno. */
int flightrec_chardev_add(struct flightrec_channel *channel);
void flightrec_chardev_announce(struct flightrec_channel *channel);
void flightrec_chardev_del(struct flightrec_channel *channel);

#endif
