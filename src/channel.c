// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels: rings with stamps, counts and readers to wake.
 */
#include <linux/cred.h>
#include <linux/init.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/timekeeping.h>
#include <linux/uidgid.h>

#include "cgroup.h"
#include "channel.h"
#include "clock.h"
#include "comm.h"
#include "crash.h"
#include "memory.h"
#include "ring_copy.h"
#include "trace.h"
#include "compat/compat.h"

static const char * const reject_names[FLIGHTREC_REJECTS] = {
	[FLIGHTREC_REJECT_SIZE] = "size",
	[FLIGHTREC_REJECT_FAULT] = "fault",
	[FLIGHTREC_REJECT_NOMEM] = "nomem",
	[FLIGHTREC_REJECT_BUSY] = "busy",
	[FLIGHTREC_REJECT_QUOTA] = "quota",
};

bool flightrec_name_ok(const char *name)
{
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	/* "stats" is the other file in /proc/flightrec. */
	return len && !name[len] && len < FLIGHTREC_NAME_MAX &&
	       strcmp(name, "stats");
}

u64 flightrec_min_bytes(void)
{
	return ALIGN(flightrec_ring_min_bytes(nr_cpu_ids), 1024);
}

/*
 * What a wake-up finds: nobody was woken lately; the timer runs and nothing
 * has come since; the timer runs and shall wake readers when it ends.
 */
enum {
	WAKE_IDLE,
	WAKE_RECENT,
	WAKE_OWED,
};

static void wake_readers(struct flightrec_waiters *waiters)
{
	atomic64_inc(&waiters->wakeups);
	wake_up_interruptible_poll(&waiters->wait, EPOLLIN | EPOLLRDNORM);
}

static enum hrtimer_restart wake_timer_ended(struct hrtimer *timer)
{
	struct flightrec_waiters *waiters = container_of(timer, struct flightrec_waiters, timer);

	if (atomic_cmpxchg(&waiters->state, WAKE_RECENT, WAKE_IDLE) == WAKE_RECENT)
		return HRTIMER_NORESTART;
	atomic_set(&waiters->state, WAKE_RECENT);
	wake_readers(waiters);
	hrtimer_forward_now(timer, ns_to_ktime(NSEC_PER_MSEC));
	return HRTIMER_RESTART;
}

/*
 * True if nobody was woken lately. Not to be preempted in between: others
 * rely on the timer as soon as the state says that it runs.
 */
static bool start_wake_timer(struct flightrec_waiters *waiters)
{
	bool idle;

	preempt_disable();
	idle = atomic_cmpxchg(&waiters->state, WAKE_IDLE, WAKE_RECENT) == WAKE_IDLE;
	if (idle)
		hrtimer_start(&waiters->timer, ns_to_ktime(NSEC_PER_MSEC),
			      HRTIMER_MODE_REL_SOFT);
	preempt_enable();
	return idle;
}

void flightrec_waiters_wake(struct flightrec_waiters *waiters)
{
	int was;

	do {
		if (start_wake_timer(waiters)) {
			wake_readers(waiters);
			return;
		}
		/* The timer may end in between: then nobody owes, so start anew. */
		was = atomic_cmpxchg(&waiters->state, WAKE_RECENT, WAKE_OWED);
	} while (was == WAKE_IDLE);
}

DEFINE_STATIC_KEY_FALSE(flightrec_leaving);

/* Those who look at rings and do not write to them. */
static struct srcu_struct readers;

int __init flightrec_channels_init(void)
{
	return init_srcu_struct(&readers);
}

void flightrec_channels_exit(void)
{
	cleanup_srcu_struct(&readers);
}

struct flightrec_ring *flightrec_ring_hold(const struct flightrec_channel *channel, int *held)
	__acquires(&readers)
{
	*held = srcu_read_lock(&readers);
	return srcu_dereference(channel->ring, &readers);
}

void flightrec_ring_release(int held)
	__releases(&readers)
{
	srcu_read_unlock(&readers, held);
}

/* What takes records away: two at once would both count the same ones. */
static DEFINE_MUTEX(records_lock);

/* How often a ring is copied while it is written to. */
#define COPIES_WHILE_WRITTEN	3

void flightrec_channel_put(struct flightrec_channel *channel)
{
	if (!refcount_dec_and_test(&channel->refs))
		return;
	/* Nobody is woken any more. */
	irq_work_sync(&channel->wake);
	hrtimer_cancel(&channel->readers_wait.timer);
	hrtimer_cancel(&channel->urgent_wait.timer);
	if (channel->writes == FLIGHTREC_WRITES_REFUSED)
		static_branch_dec(&flightrec_leaving);
	flightrec_memory_free(rcu_dereference_protected(channel->ring, true));
	kfree(channel);
}

static void wake_for_the_end(struct flightrec_waiters *waiters)
{
	wake_up_interruptible_poll(&waiters->wait, EPOLLIN | EPOLLRDNORM | EPOLLHUP);
}

void flightrec_channel_end(struct flightrec_channel *channel)
{
	static_branch_inc(&flightrec_leaving);
	WRITE_ONCE(channel->writes, FLIGHTREC_WRITES_REFUSED);
	/* A writer that has not seen it has interrupts off until its record is published. */
	synchronize_rcu();
	/* Pairs with the acquire in flightrec_channel_ended(). */
	smp_store_release(&channel->ended, true);
	wake_for_the_end(&channel->readers_wait);
	wake_for_the_end(&channel->urgent_wait);
	wake_up_interruptible_poll(&channel->end_wait, EPOLLHUP | EPOLLERR);
}

static void wake_work(struct irq_work *work)
{
	struct flightrec_channel *channel = container_of(work, struct flightrec_channel, wake);

	flightrec_channel_wake(channel, xchg(&channel->urgent, 0) ? 0 : FLIGHTREC_SEVERITY_DEFAULT);
}

void flightrec_channel_wake_later(struct flightrec_channel *channel, u8 severity)
{
	/* Before the work is queued, which is a full barrier, or runs already and is again. */
	if (severity < FLIGHTREC_SEVERITY_DEFAULT)
		WRITE_ONCE(channel->urgent, 1);
	irq_work_queue(&channel->wake);
}

static void init_waiters(struct flightrec_waiters *waiters)
{
	init_waitqueue_head(&waiters->wait);
	flightrec_hrtimer_setup(&waiters->timer, wake_timer_ended, CLOCK_MONOTONIC,
				HRTIMER_MODE_REL_SOFT);
}

struct flightrec_channel *flightrec_channel_new(const struct flightrec_config *config)
{
	struct flightrec_channel *channel;
	struct flightrec_ring *ring;

	channel = kzalloc(sizeof(*channel), GFP_KERNEL);
	if (!channel)
		return ERR_PTR(-ENOMEM);
	channel->config = *config;
	strscpy(channel->name, config->name, sizeof(channel->name));
	channel->config.name = channel->name;
	ring = flightrec_memory_new(&channel->config);
	if (IS_ERR(ring)) {
		kfree(channel);
		return ERR_CAST(ring);
	}
	RCU_INIT_POINTER(channel->ring, ring);
	init_waiters(&channel->readers_wait);
	init_waiters(&channel->urgent_wait);
	init_waitqueue_head(&channel->end_wait);
	init_irq_work(&channel->wake, wake_work);
	refcount_set(&channel->refs, 1);
	return channel;
}

void flightrec_stamp_fill(struct flightrec_stamp *stamp, u8 origin, u8 severity,
			  u32 len)
{
	unsigned long comm[FLIGHTREC_COMM_WORDS];

	memset(stamp, 0, sizeof(*stamp));
	stamp->len = len;
	stamp->severity = severity;
	stamp->origin = origin;
	if (!in_task()) {
		stamp->flags = FLIGHTREC_F_INTERRUPT;
		return;
	}
	stamp->pid = task_pid_nr(current);
	stamp->tgid = task_tgid_nr(current);
	/* A kuid is the initial namespace's number: from_kuid() would look it up. */
	stamp->uid = __kuid_val(current_uid());
	stamp->euid = __kuid_val(current_euid());
	flightrec_comm_words(comm, current->comm);
	memcpy(stamp->comm, comm, sizeof(stamp->comm));
	rcu_read_lock();
	stamp->cgroup = flightrec_cgroup_id();
	rcu_read_unlock();
	stamp->start_ns = flightrec_start_ns();
}

int flightrec_channel_append(struct flightrec_channel *channel,
			     struct flightrec_stamp *stamp,
			     const void *payload)
{
	struct flightrec_ring *ring;
	unsigned long flags;
	u32 writer;
	int err;

	local_irq_save(flags);
	stamp->cpu = smp_processor_id();
	flightrec_clock_read(&stamp->boot_ns, &stamp->wall_ns);
	err = flightrec_channel_refuses(channel) ? -ENODEV : 0;
	if (!err) {
		ring = rcu_dereference_sched(channel->ring);
		writer = flightrec_ring_writer(ring, stamp->cpu, stamp->severity);
		err = flightrec_ring_append(ring, writer, stamp, payload);
	}
	local_irq_restore(flags);
	if (err == -ENODEV)
		return err;
	if (err)
		return flightrec_channel_reject(channel, FLIGHTREC_REJECT_BUSY, err);
	trace_flightrec_record(channel->name, stamp->seq, stamp->severity, stamp->origin,
			       stamp->uid, stamp->pid, payload, stamp->len);
	return 0;
}

int flightrec_channel_reject(struct flightrec_channel *channel,
			     enum flightrec_reject why, int err)
{
	atomic64_inc(&channel->rejected[why]);
	return err;
}

int flightrec_channel_clear(struct flightrec_channel *channel)
{
	static const char text[] = "records cleared";
	struct flightrec_stamp stamp;
	struct flightrec_ring *ring;

	if (flightrec_channel_ended(channel))
		return -ENODEV;
	if (mutex_lock_killable(&records_lock))
		return -EINTR;
	ring = rcu_dereference_protected(channel->ring, lockdep_is_held(&records_lock));
	atomic64_add(flightrec_ring_clear(ring), &channel->cleared);
	flightrec_stamp_fill(&stamp, FLIGHTREC_ORIGIN_KERNEL, 5, strlen(text));
	/* Refused only when writers are stuck; then the loss is seen all the same. */
	flightrec_channel_append(channel, &stamp, text);
	mutex_unlock(&records_lock);
	flightrec_channel_wake(channel, stamp.severity);
	return 0;
}

/* Until nothing is written. Writers that come wait in flightrec_channel_await(). */
static void pause_writers(struct flightrec_channel *channel)
{
	static_branch_inc(&flightrec_leaving);
	WRITE_ONCE(channel->writes, FLIGHTREC_WRITES_PAUSED);
	/* As in flightrec_channel_end(). */
	synchronize_rcu();
}

/* From here on, also on each CPU that writes, it has the ring that was set before. */
static void let_writers_go(struct flightrec_channel *channel)
{
	/* Pairs with the acquire in flightrec_channel_refuses(). */
	smp_store_release(&channel->writes, FLIGHTREC_WRITES_TAKEN);
	wake_up_all(&channel->end_wait);
	/* Who no longer looks at it has seen the ring. No crash prints the other one, either. */
	synchronize_rcu();
	static_branch_dec(&flightrec_leaving);
}

int flightrec_channel_await(struct flightrec_channel *channel)
{
	if (wait_event_killable(channel->end_wait,
				READ_ONCE(channel->writes) != FLIGHTREC_WRITES_PAUSED))
		return -EINTR;
	return READ_ONCE(channel->writes) == FLIGHTREC_WRITES_REFUSED ? -ENODEV : 0;
}

/* Most while writers go on; what they write meanwhile, often enough that little is left. */
static int copy_records(struct flightrec_ring *ring, const struct flightrec_ring *from,
			struct flightrec_cursor *cursor, void *payload)
{
	int err = 0, i;

	for (i = 0; i < COPIES_WHILE_WRITTEN && !err; i++)
		err = flightrec_ring_copy(ring, from, cursor, flightrec_ring_next(from), payload);
	return err;
}

/* The rest, with nobody who writes, and the change. */
static int replace_ring(struct flightrec_channel *channel, struct flightrec_ring *ring,
			struct flightrec_ring *old, struct flightrec_cursor *cursor,
			void *payload, u64 bytes)
{
	int err;

	if (mutex_lock_killable(&records_lock))
		return -EINTR;
	pause_writers(channel);
	err = flightrec_ring_copy(ring, old, cursor, flightrec_ring_next(old), payload);
	if (!err) {
		flightrec_ring_succeed(ring, old);
		rcu_assign_pointer(channel->ring, ring);
		flightrec_crash_follow(channel, ring);
		WRITE_ONCE(channel->config.bytes, bytes);
	}
	let_writers_go(channel);
	mutex_unlock(&records_lock);
	return err;
}

int flightrec_channel_resize(struct flightrec_channel *channel, u64 bytes)
{
	struct flightrec_ring *old = rcu_dereference_protected(channel->ring, true), *ring;
	struct flightrec_config config = channel->config;
	struct flightrec_cursor cursor;
	void *payload;
	int err;

	config.bytes = bytes;
	payload = kmalloc(FLIGHTREC_PAYLOAD_MAX, GFP_KERNEL);
	if (!payload)
		return -ENOMEM;
	ring = flightrec_memory_new(&config);
	if (IS_ERR(ring)) {
		kfree(payload);
		return PTR_ERR(ring);
	}
	cursor = flightrec_cursor_at(flightrec_ring_oldest(old, NULL));
	err = copy_records(ring, old, &cursor, payload) ?:
	      replace_ring(channel, ring, old, &cursor, payload, bytes);
	kfree(payload);
	if (!err) {
		/* Readers of the old one: they do not sleep while they have it. */
		synchronize_srcu(&readers);
		ring = old;
	}
	/* The new one as well if it is not taken: it may have most of the records. */
	flightrec_ring_forget(ring);
	flightrec_memory_free(ring);
	return err;
}

/* Milliseconds since the oldest record was written; 0 if there is none. */
static u64 oldest_age_ms(const struct flightrec_ring *ring)
{
	struct flightrec_cursor oldest = flightrec_cursor_at(flightrec_ring_oldest(ring, NULL));
	struct flightrec_stamp stamp;
	u64 lost, now;

	if (flightrec_ring_read(ring, &oldest, &stamp, NULL, &lost))
		return 0;
	now = ktime_get_boot_fast_ns();
	return now > stamp.boot_ns ? div_u64(now - stamp.boot_ns, NSEC_PER_MSEC) : 0;
}

void flightrec_channel_stats(struct flightrec_channel *channel,
			     struct seq_file *m)
{
	u64 cleared = atomic64_read(&channel->cleared);
	u64 retained, written, bytes, gone, age_ms;
	const struct flightrec_ring *ring;
	int i, held;

	ring = flightrec_ring_hold(channel, &held);
	written = flightrec_ring_next(ring) - 1;
	bytes = flightrec_ring_bytes(ring);
	flightrec_ring_oldest(ring, &retained);
	age_ms = oldest_age_ms(ring);
	flightrec_ring_release(held);
	/* Writers go on meanwhile: never let the difference run below zero. */
	gone = written > retained + cleared ? written - retained - cleared : 0;

	seq_printf(m, "channel=%s size_kb=%llu records=%llu bytes=%llu retained=%llu overwritten=%llu cleared=%llu",
		   channel->name, READ_ONCE(channel->config.bytes) >> 10, written, bytes, retained,
		   gone, cleared);
	for (i = 0; i < FLIGHTREC_REJECTS; i++)
		seq_printf(m, " rejected_%s=%lld", reject_names[i],
			   (s64)atomic64_read(&channel->rejected[i]));
	seq_printf(m, " readers=%d wakeups=%lld oldest_age_ms=%llu\n",
		   atomic_read(&channel->readers),
		   (s64)(atomic64_read(&channel->readers_wait.wakeups) +
			 atomic64_read(&channel->urgent_wait.wakeups)), age_ms);
}
