/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How a channel that is in the table becomes visible, and how it goes. All but init and exit,
 * which are the module's, are for one at a time. All may sleep.
 */
#ifndef FLIGHTREC_LIFETIME_H
#define FLIGHTREC_LIFETIME_H

struct flightrec_channel;

/* 0 or -ENOMEM. */
int flightrec_lifetime_init(void);

/* After it no removal is under way. */
void flightrec_lifetime_exit(void);

/*
 * Its nodes in /dev, which cannot be opened yet, and in /proc, which can: those who have
 * that open are waited for, and shut out, when it goes. 0 or -errno.
 */
int flightrec_lifetime_add_nodes(struct flightrec_channel *channel);
void flightrec_lifetime_del_nodes(struct flightrec_channel *channel);

/* From here on it can be opened; udev hears of it, and a crash prints it. */
void flightrec_lifetime_show(struct flightrec_channel *channel);

/**
 * flightrec_lifetime_remove - remove a channel while others use it
 * @channel: a visible one, of which the caller has a reference
 *
 * When it returns, the channel cannot be opened and nothing more is written to it. Open
 * descriptors keep it until they are closed. Its place in the table and its name are free
 * and its only references are theirs and the caller's, as a rule; if a call on its file in
 * /proc takes more than a second, when that has ended. May sleep.
 */
void flightrec_lifetime_remove(struct flightrec_channel *channel);

#endif
