/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A channel: a ring, its sleepers, its counts. chardev.c and procfs.c are two
 * faces of the channels in table.c; main.c makes them.
 *
 * Who makes a record decides the verb: a task writes its payload
 * (flightrec_channel_write()), the kernel emits a text (flightrec_emit()). To append is
 * the step below: a finished stamp and its payload (flightrec_channel_append(),
 * flightrec_ring_append()).
 */
#ifndef FLIGHTREC_CHANNEL_H
#define FLIGHTREC_CHANNEL_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/jump_label.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/refcount.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

#include "crash_text.h"
#include "ring.h"
#include "uapi/flightrec.h"

#define FLIGHTREC_CHANNELS_MAX	32	/* with "kernel" and "selftest" */

/* Why a write was refused. channel.c has the names in stats, in this order. */
enum flightrec_reject {
	FLIGHTREC_REJECT_SIZE,		/* EMSGSIZE */
	FLIGHTREC_REJECT_FAULT,		/* EFAULT */
	FLIGHTREC_REJECT_NOMEM,		/* ENOMEM */
	FLIGHTREC_REJECT_BUSY,		/* ENOBUFS */
	FLIGHTREC_REJECT_QUOTA,		/* EDQUOT */
	FLIGHTREC_REJECTS
};

/**
 * struct flightrec_config - how a channel is wanted
 * @name: its name, checked by flightrec_name_ok()
 * @bytes: size of its ring
 * @mode: permissions of its two nodes
 * @gid: group of its two nodes
 * @access_given: @mode or @gid was set by the administrator
 * @user_writes: user space may write
 * @crash_text: its newest records are printed on an oops and on a panic
 * @reserved: its blocks are in memory that a reset leaves alone
 */
struct flightrec_config {
	const char *name;
	u64 bytes;
	umode_t mode;
	kgid_t gid;
	bool access_given;
	bool user_writes;
	bool crash_text;
	bool reserved;
};

/*
 * Those who sleep until something is written, and when they were woken: see
 * flightrec_waiters_wake().
 */
struct flightrec_waiters {
	wait_queue_head_t wait;
	atomic_t state;
	struct hrtimer timer;		/* a millisecond after each wake-up */
	atomic64_t wakeups;
};

/* What becomes of a write. */
enum flightrec_writes {
	FLIGHTREC_WRITES_TAKEN,
	FLIGHTREC_WRITES_PAUSED,	/* they wait: the ring is about to be another one */
	FLIGHTREC_WRITES_REFUSED,	/* the channel was removed */
};

struct flightrec_channel {
	/* First: written to without reckoning. Another one after a change of size. */
	struct flightrec_ring __rcu *ring;
	atomic64_t cleared;		/* records dropped by clear */

	struct flightrec_config config;
	char name[FLIGHTREC_NAME_MAX];

	struct flightrec_waiters readers_wait;
	/* Readers of what is more urgent than FLIGHTREC_SEVERITY_DEFAULT. */
	struct flightrec_waiters urgent_wait;
	wait_queue_head_t end_wait;	/* writers: for the end of a pause, and the channel's */
	struct irq_work wake;		/* wakes readers from any context */
	int urgent;			/* the urgent ones, too */
	atomic_t readers;		/* descriptors open for reading */
	atomic64_t rejected[FLIGHTREC_REJECTS];

	struct flightrec_crash_channel in_oops, in_panic;
	u64 printed_to;			/* the first number that no crash text has shown */

	struct device *node;		/* chardev.c's */
	struct proc_dir_entry *proc;

	refcount_t refs;		/* the table's, and one of each open descriptor */
	unsigned int minor;		/* table.c's, as is the next one */
	bool visible;			/* can be opened */
	u8 writes;			/* enum flightrec_writes */
	bool ended;			/* and none is under way: readers come to an end */
	struct work_struct removal;	/* lifetime.c's */
	struct completion removed;
};

/* Is @name fit for a channel? Lower case, digits, '_' and '-'. */
bool flightrec_name_ok(const char *name);

/* The smallest ring on this machine, in bytes, whole KiB. */
u64 flightrec_min_bytes(void);

/* Before the first channel, and after the last one: 0 or -ENOMEM. May sleep. */
int flightrec_channels_init(void);
void flightrec_channels_exit(void);

/**
 * flightrec_channel_new - make a channel, not yet visible to anybody
 * @config: how it is wanted; copied
 *
 * Return: the channel, or an ERR_PTR: -ENOMEM. May sleep.
 */
struct flightrec_channel *flightrec_channel_new(const struct flightrec_config *config);

/* Give a reference back; the last one frees the channel. May sleep. */
void flightrec_channel_put(struct flightrec_channel *channel);

/**
 * flightrec_channel_end - let nothing be written any more
 * @channel: one that nobody can open any more
 *
 * From here on writes get -ENODEV. Readers get what there is, and then the end: all that
 * was written is published before they can see it. May sleep; waits for a grace period.
 */
void flightrec_channel_end(struct flightrec_channel *channel);

/* True from flightrec_channel_end() on, when all that was written can be read. */
static inline bool flightrec_channel_ended(const struct flightrec_channel *channel)
{
	/* Pairs with the release in flightrec_channel_end(). */
	return smp_load_acquire(&channel->ended);
}

/*
 * On while there is a channel that was removed and has open descriptors, or one whose
 * writers are paused.
 */
DECLARE_STATIC_KEY_FALSE(flightrec_leaving);

/*
 * Is writing refused? To be asked with interrupts off, until the record is published; and
 * before the ring is looked at.
 */
static __always_inline bool flightrec_channel_refuses(const struct flightrec_channel *channel)
{
	/* Pairs with the release in let_writers_go(). */
	return static_branch_unlikely(&flightrec_leaving) && smp_load_acquire(&channel->writes);
}

/**
 * flightrec_channel_await - wait until a refused write may be tried again
 * @channel: of which flightrec_channel_refuses() was true
 *
 * As long as the ring is exchanged: a grace period, and what copying the rest takes. For tasks.
 *
 * Return: 0, -ENODEV if the channel was removed, or -EINTR if the task was killed.
 */
int flightrec_channel_await(struct flightrec_channel *channel);

/**
 * flightrec_channel_resize - give a channel a ring of another size
 * @channel: one that only tasks write to, and that nobody removes meanwhile
 * @bytes: that it gets
 *
 * The newest records that fit go along, with their numbers. Readers go on where they are,
 * writers wait for a moment. One call at a time. May sleep.
 *
 * Return: 0, -ENOMEM, or -EINTR if the task was killed. On an error all is as it was.
 */
int flightrec_channel_resize(struct flightrec_channel *channel, u64 bytes);

/**
 * flightrec_ring_hold - the ring of a channel, for readers
 * @channel: the channel
 * @held: for flightrec_ring_release()
 *
 * Between the two nothing may wait for user space. For tasks.
 *
 * Return: the ring, which is there until it is released.
 */
struct flightrec_ring *flightrec_ring_hold(const struct flightrec_channel *channel, int *held);

/* Nothing of the ring is looked at any more. */
void flightrec_ring_release(int held);

/* Stamp of the calling task, or of no task when in an interrupt. */
void flightrec_stamp_fill(struct flightrec_stamp *stamp, u8 origin, u8 severity,
			  u32 len);

/**
 * flightrec_channel_append - put one record into a channel
 * @channel: the channel
 * @stamp: from flightrec_stamp_fill(); gets the clocks and the number here
 * @payload: as many bytes as @stamp says
 *
 * Any context, NMI too. Does not wake anybody: flightrec_channel_wake() and
 * flightrec_channel_wake_later() do.
 *
 * Return: 0, -ENOBUFS, counted, or -ENODEV if the channel was removed.
 */
int flightrec_channel_append(struct flightrec_channel *channel,
			      struct flightrec_stamp *stamp,
			      const void *payload);

/* From any context, soon: those who wait for a record of this severity. */
void flightrec_channel_wake_later(struct flightrec_channel *channel, u8 severity);

/*
 * Wake readers: at once, but if that was done within the last millisecond,
 * when it is over. Only where one may take a sleeping lock on PREEMPT_RT.
 */
void flightrec_waiters_wake(struct flightrec_waiters *waiters);

/* The same if there are any; inline for those who write while nobody sleeps. */
static __always_inline void flightrec_channel_wake(struct flightrec_channel *channel,
						   u8 severity)
{
	/* Its barrier pairs with the one of a sleeper's prepare_to_wait(). */
	if (unlikely(wq_has_sleeper(&channel->readers_wait.wait)))
		flightrec_waiters_wake(&channel->readers_wait);
	if (unlikely(severity < FLIGHTREC_SEVERITY_DEFAULT) &&
	    wq_has_sleeper(&channel->urgent_wait.wait))
		flightrec_waiters_wake(&channel->urgent_wait);
}

/* Count a refused write; returns @err for convenience. */
int flightrec_channel_reject(struct flightrec_channel *channel,
			     enum flightrec_reject why, int err);

/* Zero bytes behind each payload, so that it can be copied in whole words. */
#define FLIGHTREC_WRITE_PAD	8

/**
 * flightrec_channel_write - record what a task gave
 * @channel: the channel
 * @payload: @len bytes, and FLIGHTREC_WRITE_PAD zero bytes
 * @len: at most FLIGHTREC_PAYLOAD_MAX
 * @flags: FLIGHTREC_FL_* of the descriptor
 *
 * Return: 0, -ENOBUFS or -EDQUOT, counted, or -ENODEV if the channel was removed. For
 * tasks; in write.c.
 */
int flightrec_channel_write(struct flightrec_channel *channel,
			     const char *payload, u32 len, const u32 *flags);

/*
 * Drop all records and say who did. May sleep.
 *
 * Return: 0, -ENODEV if the channel was removed, or -EINTR if the task was killed while
 * another one cleared.
 */
int flightrec_channel_clear(struct flightrec_channel *channel);

/* A line of key=value for /proc/flightrec/stats. */
void flightrec_channel_stats(struct flightrec_channel *channel,
			     struct seq_file *m);

#endif
