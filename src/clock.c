// SPDX-License-Identifier: GPL-2.0-only
/* The wall clock's offset, kept up to date once per tick. */
#include <linux/cache.h>
#include <linux/init.h>

#include "clock.h"

/* Clocks are read one after the other, and slewed by some parts in a million. */
#define TOLERANCE_NS 1000

struct flightrec_clock flightrec_clock __read_mostly;

void __init flightrec_clock_init(void)
{
	WRITE_ONCE(flightrec_clock.wall_offset,
		   ktime_mono_to_any(0, TK_OFFS_REAL) - ktime_mono_to_any(0, TK_OFFS_BOOT));
	WRITE_ONCE(flightrec_clock.checked, jiffies);
}

/*
 * The true offset lies between that of the wall clock to the boot clock read
 * before and to the one read after it. The known one is kept while it may be
 * right. If it is not, the middle is as good as any: where the reader was
 * stopped between the readings, by an NMI or a hypervisor, the next tick's check
 * puts it right. Not the exact offsets, because the kernel's accessor
 * waits for the CPU that keeps the time.
 */
void flightrec_clock_check(void)
{
	u64 known = READ_ONCE(flightrec_clock.wall_offset);
	u64 before, wall, after, middle;
	s64 off;

	WRITE_ONCE(flightrec_clock.checked, jiffies);
	before = ktime_get_boot_fast_ns();
	wall = ktime_get_real_fast_ns();
	after = ktime_get_boot_fast_ns();
	middle = wall - before - (after - before) / 2;
	off = known - middle;
	if (abs(off) > (s64)(after - before) / 2 + TOLERANCE_NS)
		WRITE_ONCE(flightrec_clock.wall_offset, middle);
}
