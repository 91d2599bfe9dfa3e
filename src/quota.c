// SPDX-License-Identifier: GPL-2.0-only
/*
 * The accounts: a table of fixed size and one account for all who find no
 * place in it. A user who can make up others (with a user namespace, from a
 * range of subordinate ids) gets as many shares as there are accounts and not
 * one more.
 *
 * An account is one number, the time at which it will be full again: spending
 * moves it into the future, at most by what the burst takes to refill. Time
 * passes by itself, so nothing runs while nobody writes, and an account that
 * is full can be given to another user without anybody's loss.
 */
#define pr_fmt(fmt) "flightrec: " fmt

#include <linux/atomic.h>
#include <linux/hash.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/time64.h>

#include "quota.h"

#define ACCOUNT_BITS	6
#define ACCOUNTS	(1 << ACCOUNT_BITS)
#define PROBES		8

/*
 * By default a user may overwrite this part of the smallest channel in a second: more is
 * refused before the history of all others is gone.
 */
#define DEFAULT_PART	4

/* What may be spent at once: what a second brings, and never less than this. */
#define BURST_MIN	8192U

/* What a CPU takes in advance: a part of a second's share, within limits. */
#define ADVANCE_PART	256
#define ADVANCE_MAX	(64U << 10)

/* Of a value that makes no sense, what the log gets. */
#define SHOWN_MAX	64

/* Others who were quicker, before an account is used as if it was idle. */
#define TRIES		8

struct account {
	atomic64_t owner;		/* uid + 1; 0: never used */
	atomic64_t full_ns;		/* on the boot clock */
};

static struct account accounts[ACCOUNTS];
static struct account shared;
static u32 quota;
static bool given;		/* by the administrator */

DEFINE_PER_CPU(struct flightrec_credits, flightrec_credits);

static u64 refill_ns(u32 bytes, u32 rate)
{
	return div_u64((u64)bytes * NSEC_PER_SEC, rate);
}

static struct account *own_account(u32 uid)
{
	u32 at = hash_32(uid, ACCOUNT_BITS);
	int i;

	for (i = 0; i < PROBES; i++)
		if (atomic64_read(&accounts[(at + i) % ACCOUNTS].owner) == (s64)uid + 1)
			return &accounts[(at + i) % ACCOUNTS];
	return NULL;
}

/* Make one that is full, or was never used, this user's; NULL if there is none. */
static struct account *take_account(u32 uid, s64 now)
{
	u32 at = hash_32(uid, ACCOUNT_BITS);
	struct account *account;
	s64 owner;
	int i;

	for (i = 0; i < PROBES; i++) {
		account = &accounts[(at + i) % ACCOUNTS];
		owner = atomic64_read(&account->owner);
		if (atomic64_read(&account->full_ns) <= now &&
		    atomic64_try_cmpxchg(&account->owner, &owner, (s64)uid + 1))
			return account;
	}
	return NULL;
}

static bool spend(struct account *account, u32 bytes, u32 rate, s64 now)
{
	s64 burst = refill_ns(max(rate, BURST_MIN), rate);
	s64 cost = refill_ns(bytes, rate);
	s64 full = atomic64_read(&account->full_ns);
	s64 from;
	int tries;

	for (tries = 0; tries < TRIES; tries++) {
		from = max(full, now);
		if (from + cost > now + burst)
			return false;
		if (atomic64_try_cmpxchg(&account->full_ns, &full, from + cost))
			return true;
	}
	/* A write ends in a bounded number of steps: this credit is a gift. */
	return true;
}

/* What is left of a credit goes back to whose it was. */
static void give_back(struct flightrec_credit *credit, u32 rate)
{
	struct account *account = own_account(credit->uid);

	if (account)
		atomic64_sub(refill_ns(READ_ONCE(credit->bytes), rate), &account->full_ns);
	WRITE_ONCE(credit->bytes, 0);
}

/* Bytes added to a credit, at least @need; 0 if the user has had its share. */
static u32 draw(u32 uid, u32 need, u32 rate, s64 now)
{
	struct account *account = own_account(uid) ?: take_account(uid, now);
	u32 advance = min(rate / ADVANCE_PART, ADVANCE_MAX);

	if (!account)
		return spend(&shared, need, rate, now) ? need : 0;
	if (advance > need && spend(account, advance, rate, now))
		return advance;
	return spend(account, need, rate, now) ? need : 0;
}

bool flightrec_quota_refill(struct flightrec_credit *credit, u32 uid, u32 bytes,
			    u64 boot_ns)
{
	u32 rate = READ_ONCE(quota);
	u32 left, more;

	if (rate && credit->uid != uid)
		give_back(credit, rate);
	left = credit->uid == uid ? READ_ONCE(credit->bytes) : 0;
	/* Whatever a record counts: an account that is full suffices for one. */
	if (rate && bytes > max(rate, BURST_MIN)) {
		bytes = max(rate, BURST_MIN);
		left = min(left, bytes - 1);
	}
	more = rate ? draw(uid, bytes - left, rate, boot_ns) : ADVANCE_MAX;
	if (!more)
		return false;
	credit->uid = uid;
	WRITE_ONCE(credit->bytes, left + more - bytes);
	return true;
}

/*
 * Accounts count in time, so a new rate starts them anew. A CPU that is in
 * the middle of a write may keep what it had in advance.
 */
static void start_anew(u32 rate)
{
	int cpu, i;

	WRITE_ONCE(quota, rate);
	for (i = 0; i < ACCOUNTS; i++)
		atomic64_set(&accounts[i].full_ns, 0);
	atomic64_set(&shared.full_ns, 0);
	for_each_possible_cpu(cpu)
		for (i = 0; i < FLIGHTREC_CREDITS; i++)
			WRITE_ONCE(per_cpu(flightrec_credits, cpu).of[i].bytes, 0);
}

static int set_quota(const char *val, const struct kernel_param *kp)
{
	unsigned int rate;
	int err;

	err = kstrtouint(val, 0, &rate);
	if (err) {
		pr_err("parameter quota: \"%*pE\" is not a number of bytes per second, 0 to 4294967295\n",
		       (int)strnlen(val, SHOWN_MAX), val);
		return err;
	}
	given = true;
	start_anew(rate);
	return 0;
}

void flightrec_quota_default(u64 ring_bytes)
{
	u32 rate = min_t(u64, ring_bytes / DEFAULT_PART, U32_MAX);

	kernel_param_lock(THIS_MODULE);
	if (!given && rate != quota)
		start_anew(rate);
	kernel_param_unlock(THIS_MODULE);
}

static int get_quota(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "%u\n", READ_ONCE(quota));
}

const struct kernel_param_ops flightrec_quota_ops = {
	.set = set_quota,
	.get = get_quota,
};
