/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Whose a record is, beyond doubt: the control group of the writer, and when its process
 * was started. The number of a process is used again, and says nothing of a container.
 */
#ifndef FLIGHTREC_CGROUP_H
#define FLIGHTREC_CGROUP_H

#include <linux/cgroup.h>
#include <linux/compiler.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>

#define FLIGHTREC_CGROUP_SETS	32
#define FLIGHTREC_CGROUP_WAYS	4

/*
 * Those that wrote, by id modulo the number of sets; of each set, the last one first. The
 * lower half of an id, which counts groups, is enough: it is the same again after two
 * billion of them.
 */
extern u32 flightrec_cgroups[FLIGHTREC_CGROUP_WAYS][FLIGHTREC_CGROUP_SETS];

/*
 * The id of the calling task's group in the default hierarchy, 0 without control groups.
 * With interrupts off, or under rcu_read_lock().
 */
static __always_inline u64 flightrec_cgroup_id(void)
{
#ifdef CONFIG_CGROUPS
	const struct css_set *set = rcu_dereference_check(current->cgroups,
							  rcu_read_lock_sched_held());

	return set->dfl_cgrp->kn->id;
#else
	return 0;
#endif
}

/* When the calling task's process was started, on the boot clock. */
static __always_inline u64 flightrec_start_ns(void)
{
	return current->group_leader->start_boottime;
}

/* Of a group that may be new: record its path in "kernel". For tasks that may sleep. */
void flightrec_cgroup_met(u64 id);

/* Forget which were met: their paths are recorded once more. */
void flightrec_cgroups_forget(void);

/* Inline: nearly always it is the one that wrote before. */
static __always_inline void flightrec_cgroup_see(u64 id)
{
	if (unlikely(READ_ONCE(flightrec_cgroups[0][id % FLIGHTREC_CGROUP_SETS]) != (u32)id))
		flightrec_cgroup_met(id);
}

#endif
