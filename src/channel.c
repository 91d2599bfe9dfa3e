// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels: rings with stamps, counts and readers to wake.
 */
#include <linux/cred.h>
#include <linux/init.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/nodemask.h>
#include <linux/poll.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uidgid.h>
#include <linux/vmalloc.h>

#include "bootid.h"
#include "cgroup.h"
#include "channel.h"
#include "clock.h"
#include "comm.h"
#include "region.h"
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

static atomic64_t bytes_of_all = ATOMIC64_INIT(0);

u64 flightrec_channels_bytes(void)
{
	return atomic64_read(&bytes_of_all);
}

static void free_memory(struct flightrec_channel *channel)
{
	if (!channel->config.reserved)
		vfree(channel->ring_blocks);
	vfree(channel->ring_index);
	kvfree(channel->ring_cpus);
	kfree(channel);
}

void flightrec_channel_put(struct flightrec_channel *channel)
{
	if (!refcount_dec_and_test(&channel->refs))
		return;
	/* Nobody is woken any more. */
	irq_work_sync(&channel->wake);
	hrtimer_cancel(&channel->readers_wait.timer);
	hrtimer_cancel(&channel->urgent_wait.timer);
	if (channel->leaving)
		static_branch_dec(&flightrec_leaving);
	atomic64_sub(channel->config.bytes, &bytes_of_all);
	free_memory(channel);
}

static void wake_for_the_end(struct flightrec_waiters *waiters)
{
	wake_up_interruptible_poll(&waiters->wait, EPOLLIN | EPOLLRDNORM | EPOLLHUP);
}

void flightrec_channel_end(struct flightrec_channel *channel)
{
	static_branch_inc(&flightrec_leaving);
	WRITE_ONCE(channel->leaving, true);
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

/* No retry: better no recorder than a machine that starts to swap. */
#define RING_GFP	(GFP_KERNEL | __GFP_NORETRY | __GFP_NOWARN)

static void free_pages_of(struct page **pages, unsigned long count)
{
	while (count--)
		__free_page(pages[count]);
	kvfree(pages);
}

/*
 * Each block in one piece of physical memory, so that it is found whole in an
 * image of it, and all in one range of addresses. From all nodes in turn, since
 * any CPU comes to write into any block. Freed by vfree().
 */
static u64 *alloc_blocks(u32 nblocks)
{
	unsigned int order = get_order(FLIGHTREC_RING_BLOCK_BYTES);
	unsigned long count = ALIGN(DIV_ROUND_UP((u64)nblocks * FLIGHTREC_RING_BLOCK_BYTES,
						 PAGE_SIZE), 1UL << order);
	int node = first_memory_node;
	struct page **pages, *page;
	unsigned long at, i;
	void *blocks;

	pages = kvmalloc_array(count, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return NULL;
	for (at = 0; at < count; at += 1UL << order) {
		page = alloc_pages_node(node, RING_GFP | __GFP_ZERO, order);
		if (!page) {
			free_pages_of(pages, at);
			return NULL;
		}
		/* From here on they are pages by themselves, as vfree() has it. */
		split_page(page, order);
		for (i = 0; i < 1UL << order; i++)
			pages[at + i] = page + i;
		node = next_node_in(node, node_states[N_MEMORY]);
		cond_resched();
	}
	blocks = vmap(pages, count, VM_MAP | VM_MAP_PUT_PAGES, PAGE_KERNEL);
	if (!blocks)
		free_pages_of(pages, count);
	return blocks;
}

static int make_ring(struct flightrec_channel *channel)
{
	u32 nblocks = flightrec_ring_blocks_in(channel->config.bytes);
	u64 instance;

	channel->ring_cpus = kvcalloc(2 * nr_cpu_ids, sizeof(*channel->ring_cpus), GFP_KERNEL);
	channel->ring_blocks = channel->config.reserved ? flightrec_region_take(nblocks) :
			       alloc_blocks(nblocks);
	channel->ring_index = __vmalloc(flightrec_ring_index_bytes(nblocks), RING_GFP);
	if (!channel->ring_cpus || !channel->ring_blocks || !channel->ring_index)
		return -ENOMEM;
	get_random_bytes(&instance, sizeof(instance));
	return flightrec_ring_init(&channel->ring, &(struct flightrec_ring_setup) {
		.blocks = channel->ring_blocks,
		.index = channel->ring_index,
		.cpus = channel->ring_cpus,
		.nblocks = nblocks,
		.ncpus = nr_cpu_ids,
		.name = channel->name,
		.boot_id = flightrec_boot_id(),
		.instance = instance,
		.generation = channel->config.reserved ? flightrec_region_generation() : 0,
	});
}

struct flightrec_channel *flightrec_channel_new(const struct flightrec_config *config)
{
	struct flightrec_channel *channel;
	int err;

	channel = kzalloc(sizeof(*channel), GFP_KERNEL);
	if (!channel)
		return ERR_PTR(-ENOMEM);
	channel->config = *config;
	strscpy(channel->name, config->name, sizeof(channel->name));
	channel->config.name = channel->name;
	err = make_ring(channel);
	if (err) {
		free_memory(channel);
		return ERR_PTR(err);
	}
	init_waiters(&channel->readers_wait);
	init_waiters(&channel->urgent_wait);
	init_waitqueue_head(&channel->end_wait);
	init_irq_work(&channel->wake, wake_work);
	refcount_set(&channel->refs, 1);
	atomic64_add(channel->config.bytes, &bytes_of_all);
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
	unsigned long flags;
	u32 writer;
	int err;

	local_irq_save(flags);
	stamp->cpu = smp_processor_id();
	flightrec_clock_read(&stamp->boot_ns, &stamp->wall_ns);
	writer = flightrec_ring_writer(&channel->ring, stamp->cpu, stamp->severity);
	err = flightrec_channel_leaving(channel) ? -ENODEV :
	      flightrec_ring_append(&channel->ring, writer, stamp, payload);
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
	/* Two at once would both count the records that one of them dropped. */
	static DEFINE_MUTEX(lock);
	struct flightrec_stamp stamp;

	if (flightrec_channel_ended(channel))
		return -ENODEV;
	if (mutex_lock_killable(&lock))
		return -EINTR;
	atomic64_add(flightrec_ring_clear(&channel->ring), &channel->cleared);
	mutex_unlock(&lock);
	flightrec_stamp_fill(&stamp, FLIGHTREC_ORIGIN_KERNEL, 5, strlen(text));
	/* Refused only when writers are stuck; then the loss is seen all the same. */
	flightrec_channel_append(channel, &stamp, text);
	flightrec_channel_wake(channel, stamp.severity);
	return 0;
}

/* Milliseconds since the oldest record was written; 0 if there is none. */
static u64 oldest_age_ms(struct flightrec_channel *channel)
{
	struct flightrec_cursor oldest =
		flightrec_cursor_at(flightrec_ring_oldest(&channel->ring, NULL));
	struct flightrec_stamp stamp;
	u64 lost, now;

	if (flightrec_ring_read(&channel->ring, &oldest, &stamp, NULL, &lost))
		return 0;
	now = ktime_get_boot_fast_ns();
	return now > stamp.boot_ns ? div_u64(now - stamp.boot_ns, NSEC_PER_MSEC) : 0;
}

void flightrec_channel_stats(struct flightrec_channel *channel,
			     struct seq_file *m)
{
	u64 cleared = atomic64_read(&channel->cleared);
	u64 written = flightrec_ring_next(&channel->ring) - 1;
	u64 retained, gone;
	int i;

	flightrec_ring_oldest(&channel->ring, &retained);
	/* Writers go on meanwhile: never let the difference run below zero. */
	gone = written > retained + cleared ? written - retained - cleared : 0;

	seq_printf(m, "channel=%s size_kb=%llu records=%llu bytes=%llu retained=%llu overwritten=%llu cleared=%llu",
		   channel->name, channel->config.bytes >> 10, written,
		   flightrec_ring_bytes(&channel->ring), retained, gone, cleared);
	for (i = 0; i < FLIGHTREC_REJECTS; i++)
		seq_printf(m, " rejected_%s=%lld", reject_names[i],
			   (s64)atomic64_read(&channel->rejected[i]));
	seq_printf(m, " readers=%d wakeups=%lld oldest_age_ms=%llu\n",
		   atomic_read(&channel->readers),
		   (s64)(atomic64_read(&channel->readers_wait.wakeups) +
			 atomic64_read(&channel->urgent_wait.wakeups)), oldest_age_ms(channel));
}
