/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * How much a user may write in a second, all channels together. Counted is
 * what a record takes in a ring, its stamp included, by the writer's real
 * user in the initial namespace.
 *
 * Each CPU holds a little credit for the users that it met last, so that a
 * write nearly always only subtracts; quota.c has the accounts behind it.
 */
#ifndef FLIGHTREC_QUOTA_H
#define FLIGHTREC_QUOTA_H

#include <linux/cache.h>
#include <linux/compiler.h>
#include <linux/percpu.h>
#include <linux/types.h>

#define FLIGHTREC_CREDITS 8

struct flightrec_credit {
	u32 uid;
	u32 bytes;
};

struct flightrec_credits {
	struct flightrec_credit of[FLIGHTREC_CREDITS];	/* by uid modulo their number */
} ____cacheline_aligned;

DECLARE_PER_CPU(struct flightrec_credits, flightrec_credits);

/* Operations of the parameter "quota"; its value is kept in quota.c. */
extern const struct kernel_param_ops flightrec_quota_ops;

/*
 * Where the administrator set none: so much that a ring of this size, the smallest one,
 * keeps its history. Starts all accounts anew if that is another rate. May sleep.
 */
void flightrec_quota_default(u64 ring_bytes);

/* Get more credit and take from it; false if the user has had its share. */
bool flightrec_quota_refill(struct flightrec_credit *credit, u32 uid, u32 bytes,
			    u64 boot_ns);

/* May this user write so much? Called by tasks, with interrupts off. */
static __always_inline bool flightrec_quota_take(u32 uid, u32 bytes, u64 boot_ns)
{
	struct flightrec_credit *credit =
		this_cpu_ptr(&flightrec_credits.of[uid % FLIGHTREC_CREDITS]);
	u32 left = READ_ONCE(credit->bytes);

	if (unlikely(credit->uid != uid || left < bytes))
		return flightrec_quota_refill(credit, uid, bytes, boot_ns);
	WRITE_ONCE(credit->bytes, left - bytes);
	return true;
}

#endif
