// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control groups by name. A stamp has the number of the writer's group, and a group that
 * has ended can no longer be asked for its path. So the path is recorded in the channel
 * "kernel" when one of the group's tasks writes for the first time:
 *
 *   cgroup id=NUMBER path=PATH
 *
 * A user who can make control groups could fill that channel with them, so there are few
 * in the long run; a path that was left out is recorded when the group writes later. A table
 * of those that were met is small, and nobody relies on it: a group that fell out of it
 * is recorded once more.
 */
#include <linux/atomic.h>
#include <linux/gfp.h>
#include <linux/minmax.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/time64.h>
#include <linux/timekeeping.h>

#include "cgroup.h"
#include "emit.h"

/* Paths for long, and at once. */
#define PATH_NS		NSEC_PER_SEC
#define PATHS_BURST	64

u32 flightrec_cgroups[FLIGHTREC_CGROUP_WAYS][FLIGHTREC_CGROUP_SETS];

/* When all paths so far are paid for. */
static atomic64_t paid_until_ns = ATOMIC64_INIT(0);

static bool may_tell(void)
{
	s64 now = ktime_get_mono_fast_ns();
	s64 until = atomic64_read(&paid_until_ns);
	s64 from;

	do {
		from = max(until, now);
		if (from - now >= PATHS_BURST * PATH_NS)
			return false;
	} while (!atomic64_try_cmpxchg(&paid_until_ns, &until, from + PATH_NS));
	return true;
}

/* "cgroup id=... path=..." of the calling task's group; 0 if it is another or too long. */
static int name_group(char *text, size_t size, u64 id)
{
	int len = scnprintf(text, size, "cgroup id=%llu path=", id);
	int path = -ENOENT;

#ifdef CONFIG_CGROUPS
	rcu_read_lock();
	if (flightrec_cgroup_id() == id)
		path = cgroup_path(rcu_dereference(current->cgroups)->dfl_cgrp,
				   text + len, size - len);
	rcu_read_unlock();
#endif
	return path > 0 && path < size - len ? len + path : 0;
}

static bool tell(u64 id)
{
	char *text;
	int len;

	if (!flightrec_event_wanted(FLIGHTREC_SOURCE_CGROUP))
		return true;
	if (!may_tell())
		return false;
	text = kmalloc(FLIGHTREC_PAYLOAD_MAX, GFP_NOWAIT | __GFP_NOWARN);
	if (!text)
		return false;
	len = name_group(text, FLIGHTREC_PAYLOAD_MAX, id);
	if (len)
		flightrec_emit_text(FLIGHTREC_SEVERITY_DEFAULT, text, len);
	kfree(text);
	return len;
}

/* Two at once may lose one of the set: then that is told again. */
void __cold flightrec_cgroup_met(u64 id)
{
	u32 set = id % FLIGHTREC_CGROUP_SETS;
	int way;

	for (way = 1; way < FLIGHTREC_CGROUP_WAYS - 1; way++)
		if (READ_ONCE(flightrec_cgroups[way][set]) == (u32)id)
			break;
	if (READ_ONCE(flightrec_cgroups[way][set]) != (u32)id && !tell(id))
		return;
	for (; way; way--)
		WRITE_ONCE(flightrec_cgroups[way][set],
			   READ_ONCE(flightrec_cgroups[way - 1][set]));
	WRITE_ONCE(flightrec_cgroups[0][set], id);
}

void flightrec_cgroups_forget(void)
{
	u32 way, set;

	for (way = 0; way < FLIGHTREC_CGROUP_WAYS; way++)
		for (set = 0; set < FLIGHTREC_CGROUP_SETS; set++)
			WRITE_ONCE(flightrec_cgroups[way][set], 0);
}
