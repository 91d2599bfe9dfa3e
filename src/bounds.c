// SPDX-License-Identifier: GPL-2.0-only
/* Sizes, modes and names of channels. */
#include <linux/cpumask.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/string.h>

#include "bounds.h"
#include "channel.h"

#define DEFAULT_SIZE_KB 1024U
#define DEFAULT_CPU_BLOCKS 18	/* for each possible CPU, where that is more */

u64 flightrec_bytes_per_cpu(unsigned int blocks)
{
	return ALIGN(flightrec_ring_bytes_of((u64)blocks * nr_cpu_ids), 1024);
}

/*
 * Enough that three quarters hold the newest records however the CPUs share the
 * load (docs/bench.md), unless memory is small beside the number of CPUs.
 */
u64 flightrec_default_bytes(void)
{
	u64 share = (u64)totalram_pages() * PAGE_SIZE / 32;

	return max3((u64)DEFAULT_SIZE_KB * 1024, flightrec_min_bytes(),
		    min_t(u64, flightrec_bytes_per_cpu(DEFAULT_CPU_BLOCKS), share & ~1023ULL));
}

u64 flightrec_bytes_limit(void)
{
	return (u64)totalram_pages() * PAGE_SIZE / 4;
}

bool flightrec_mode_ok(umode_t mode)
{
	/* procfs takes 0 for "readable by all". */
	return mode && !(mode & ~0666);
}

bool flightrec_name_fixed(const char *name)
{
	return !strcmp(name, "kernel") || !strcmp(name, "selftest");
}
