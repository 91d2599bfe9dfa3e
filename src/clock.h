/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Both clocks of a stamp for the price of one: the wall clock is the boot
 * clock and an offset, which changes only when somebody sets the wall clock.
 */
#ifndef FLIGHTREC_CLOCK_H
#define FLIGHTREC_CLOCK_H

#include <linux/compiler.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/timekeeping.h>

struct flightrec_clock {
	u64 wall_offset;
	unsigned long checked;		/* jiffies */
};

extern struct flightrec_clock flightrec_clock;

void flightrec_clock_init(void);

/* See whether the wall clock was set. Any context, bounded. */
void flightrec_clock_check(void);

/* Any context. A step of the wall clock shows within a tick. */
static __always_inline void flightrec_clock_read(u64 *boot_ns, u64 *wall_ns)
{
	*boot_ns = ktime_get_boot_fast_ns();
	if (unlikely(READ_ONCE(flightrec_clock.checked) != jiffies))
		flightrec_clock_check();
	*wall_ns = *boot_ns + READ_ONCE(flightrec_clock.wall_offset);
}

#endif
