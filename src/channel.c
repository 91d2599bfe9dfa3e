// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels: rings with stamps, counts and readers to wake.
 */
#include <linux/cred.h>
#include <linux/poll.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/timekeeping.h>
#include <linux/uidgid.h>
#include <linux/vmalloc.h>

#include "channel.h"

static const char * const reject_names[FLIGHTREC_REJECTS] = {
	[FLIGHTREC_REJECT_SIZE] = "size",
	[FLIGHTREC_REJECT_FAULT] = "fault",
	[FLIGHTREC_REJECT_NOMEM] = "nomem",
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
	return (num_possible_cpus() + 2ULL) * FLIGHTREC_BLOCK_BYTES;
}

static void channel_release(struct device *dev)
{
	struct flightrec_channel *channel =
		container_of(dev, struct flightrec_channel, dev);

	irq_work_sync(&channel->wake);
	vfree(channel->ring.words);
	kfree(channel);
}

static void wake_work(struct irq_work *work)
{
	flightrec_channel_wake(container_of(work, struct flightrec_channel, wake));
}

struct flightrec_channel *flightrec_channel_new(const struct flightrec_config *config)
{
	struct flightrec_channel *channel;
	u64 *words;
	int err;

	channel = kzalloc(sizeof(*channel), GFP_KERNEL);
	if (!channel)
		return ERR_PTR(-ENOMEM);
	/* No retry: better no recorder than a machine that starts to swap. */
	words = __vmalloc(config->bytes, GFP_KERNEL | __GFP_ZERO |
			  __GFP_NORETRY | __GFP_NOWARN);
	if (!words) {
		kfree(channel);
		return ERR_PTR(-ENOMEM);
	}
	err = flightrec_ring_init(&channel->ring, words, config->bytes);
	if (err) {
		vfree(words);
		kfree(channel);
		return ERR_PTR(err);
	}
	channel->config = *config;
	strscpy(channel->name, config->name, sizeof(channel->name));
	channel->config.name = channel->name;
	raw_spin_lock_init(&channel->lock);
	init_waitqueue_head(&channel->readers_wait);
	init_irq_work(&channel->wake, wake_work);
	device_initialize(&channel->dev);
	channel->dev.release = channel_release;
	return channel;
}

void flightrec_stamp_fill(struct flightrec_stamp *stamp, u8 origin, u8 severity,
			  u32 len)
{
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
	stamp->uid = from_kuid(&init_user_ns, current_uid());
	stamp->euid = from_kuid(&init_user_ns, current_euid());
	/* Not get_task_comm(): it takes a lock. A torn name is still a name. */
	memcpy(stamp->comm, current->comm, sizeof(stamp->comm));
	stamp->comm[sizeof(stamp->comm) - 1] = '\0';
}

/* Under the lock: the clocks must not run against the numbers. */
static void append_locked(struct flightrec_channel *channel,
			  struct flightrec_stamp *stamp, const void *payload)
{
	lockdep_assert_held(&channel->lock);
	stamp->boot_ns = ktime_get_boot_fast_ns();
	stamp->wall_ns = ktime_get_real_fast_ns();
	stamp->cpu = raw_smp_processor_id();
	flightrec_ring_append(&channel->ring, stamp, payload);
	channel->bytes_written += stamp->len;
}

void flightrec_channel_append(struct flightrec_channel *channel,
			      struct flightrec_stamp *stamp,
			      const void *payload)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&channel->lock, flags);
	append_locked(channel, stamp, payload);
	raw_spin_unlock_irqrestore(&channel->lock, flags);
}

void flightrec_channel_wake(struct flightrec_channel *channel)
{
	/* Its barrier pairs with the one of a sleeper's prepare_to_wait(). */
	if (wq_has_sleeper(&channel->readers_wait))
		wake_up_interruptible_poll(&channel->readers_wait,
					   EPOLLIN | EPOLLRDNORM);
}

int flightrec_channel_reject(struct flightrec_channel *channel,
			     enum flightrec_reject why, int err)
{
	atomic64_inc(&channel->rejected[why]);
	return err;
}

void flightrec_channel_write(struct flightrec_channel *channel,
			     const char *payload, u32 len, bool raw)
{
	struct flightrec_stamp stamp;
	u8 severity = FLIGHTREC_SEVERITY_DEFAULT;

	if (!raw && len > 3 && payload[0] == '<' && payload[1] >= '0' &&
	    payload[1] <= '7' && payload[2] == '>') {
		severity = payload[1] - '0';
		payload += 3;
		len -= 3;
	}
	flightrec_stamp_fill(&stamp, FLIGHTREC_ORIGIN_USER, severity, len);
	flightrec_channel_append(channel, &stamp, payload);
	flightrec_channel_wake(channel);
}

void flightrec_channel_clear(struct flightrec_channel *channel)
{
	static const char text[] = "records cleared";
	struct flightrec_stamp stamp;
	unsigned long flags;

	flightrec_stamp_fill(&stamp, FLIGHTREC_ORIGIN_KERNEL, 5, strlen(text));
	raw_spin_lock_irqsave(&channel->lock, flags);
	channel->cleared += channel->ring.next_seq - channel->ring.tail_seq;
	flightrec_ring_clear(&channel->ring);
	append_locked(channel, &stamp, text);
	raw_spin_unlock_irqrestore(&channel->lock, flags);
	flightrec_channel_wake(channel);
}

/* Milliseconds since the oldest record was written; 0 if there is none. */
static u64 oldest_age_ms(struct flightrec_channel *channel)
{
	struct flightrec_snapshot snap;
	struct flightrec_stamp stamp;
	u64 lost, now;

	flightrec_ring_snapshot(&channel->ring, &snap);
	if (flightrec_ring_read(&channel->ring, &snap.oldest, &stamp, NULL, &lost))
		return 0;
	now = ktime_get_boot_fast_ns();
	return now > stamp.boot_ns ? div_u64(now - stamp.boot_ns, NSEC_PER_MSEC) : 0;
}

void flightrec_channel_stats(struct flightrec_channel *channel,
			     struct seq_file *m)
{
	u64 written, retained, bytes, cleared;
	unsigned long flags;
	int i;

	raw_spin_lock_irqsave(&channel->lock, flags);
	written = channel->ring.next_seq - 1;
	retained = channel->ring.next_seq - channel->ring.tail_seq;
	bytes = channel->bytes_written;
	cleared = channel->cleared;
	raw_spin_unlock_irqrestore(&channel->lock, flags);

	seq_printf(m, "channel=%s size_kb=%llu records=%llu bytes=%llu retained=%llu overwritten=%llu cleared=%llu",
		   channel->name, channel->config.bytes >> 10, written, bytes,
		   retained, written - retained - cleared, cleared);
	for (i = 0; i < FLIGHTREC_REJECTS; i++)
		seq_printf(m, " rejected_%s=%lld", reject_names[i],
			   (s64)atomic64_read(&channel->rejected[i]));
	seq_printf(m, " readers=%d oldest_age_ms=%llu\n",
		   atomic_read(&channel->readers), oldest_age_ms(channel));
}
