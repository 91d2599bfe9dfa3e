/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The newest records, printed into the kernel's log on an oops and on a panic.
 */
#ifndef FLIGHTREC_CRASH_H
#define FLIGHTREC_CRASH_H

struct flightrec_channel;
struct flightrec_ring;
struct kernel_param_ops;

/* Operations of the parameter "crash_kb"; its value is kept in crash.c. */
extern const struct kernel_param_ops flightrec_crash_kb_ops;

/*
 * A channel is printed from add to del. One at a time. After del somebody may still be
 * printing it, with interrupts off or under rcu_read_lock(), until a grace period is over.
 * Harmless for one that was never added.
 */
void flightrec_crash_add(struct flightrec_channel *channel);
void flightrec_crash_del(struct flightrec_channel *channel);

/* The channel has another ring from now on; the one before as for del. */
void flightrec_crash_follow(struct flightrec_channel *channel, const struct flightrec_ring *ring);

/* From here on crashes are printed, until stop. Both may sleep. */
void flightrec_crash_start(void);
void flightrec_crash_stop(void);

#endif
