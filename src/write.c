// SPDX-License-Identifier: GPL-2.0-only
/*
 * A record's way from a task into the ring: copied from user space first, with
 * nothing held, then stamped and stored with interrupts off.
 *
 * One translation unit, and inline, because this is what writers pay for.
 */
#include <linux/cred.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/lockdep.h>
#include <linux/nospec.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/uaccess.h>
#include <linux/uidgid.h>
#include <linux/uio.h>

#include "cgroup.h"
#include "clock.h"
#include "comm.h"
#include "compat/compat.h"
#include "handle.h"
#include "quota.h"
#include "ring_write.h"
#include "trace.h"

/* Payloads up to this size are copied through the stack. */
#define SMALL_PAYLOAD 1024

static __always_inline void put_comm(struct flightrec_stamp *stamp)
{
	unsigned long words[FLIGHTREC_COMM_WORDS];
	int i;

	flightrec_comm_words(words, current->comm);
	for (i = 0; i < FLIGHTREC_COMM_WORDS; i++)
		WRITE_ONCE(((unsigned long *)stamp->comm)[i], words[i]);
}

/* What is stored at once lies side by side, and a user's origin is 0. */
static_assert(offsetof(struct flightrec_stamp, tgid) ==
	      offsetof(struct flightrec_stamp, pid) + sizeof(u32));
static_assert(offsetof(struct flightrec_stamp, flags) ==
	      offsetof(struct flightrec_stamp, severity) + 2);
static_assert(FLIGHTREC_ORIGIN_USER == 0);

/* Both numbers of a task, as a stamp has them side by side, and tasks as a rule, too. */
static __always_inline void put_pids(struct flightrec_stamp *stamp)
{
	struct task_struct *task = current;
	u64 both;

	if (offsetof(struct task_struct, tgid) ==
	    offsetof(struct task_struct, pid) + sizeof(u32)) {
		__builtin_memcpy(&both, (const char *)task + offsetof(struct task_struct, pid),
				 sizeof(both));
		WRITE_ONCE(*(u64 *)&stamp->pid, both);
		return;
	}
	WRITE_ONCE(stamp->pid, task_pid_nr(task));
	WRITE_ONCE(stamp->tgid, task_tgid_nr(task));
}

/* All of the stamp but its number, field by field into the ring. */
static __always_inline void put_stamp(const struct flightrec_place *place, u32 len,
				      u8 severity, u32 cpu, u64 boot_ns, u64 wall_ns,
				      u64 cgroup)
{
	struct flightrec_stamp *stamp = place->stamp;
	const struct cred *cred = current_cred();

	WRITE_ONCE(stamp->boot_ns, boot_ns);
	WRITE_ONCE(stamp->wall_ns, wall_ns);
	WRITE_ONCE(stamp->len, len);
	/* Origin and flags are 0: a user's, and no interrupt. */
	WRITE_ONCE(*(u32 *)&stamp->severity, (__force u32)cpu_to_le32(severity));
	put_pids(stamp);
	/* A kuid is the initial namespace's number: from_kuid() would look it up. */
	WRITE_ONCE(stamp->uid, __kuid_val(cred->uid));
	WRITE_ONCE(stamp->euid, __kuid_val(cred->euid));
	WRITE_ONCE(stamp->cpu, cpu);
	WRITE_ONCE(stamp->check, flightrec_ring_check(place, boot_ns, len));
	put_comm(stamp);
	WRITE_ONCE(stamp->cgroup, cgroup);
	WRITE_ONCE(stamp->start_ns, flightrec_start_ns());
}

/*
 * With interrupts off: the ring, room for a record in it, and its times. 0, -ENODEV, also while
 * the ring is exchanged, -EDQUOT or -ENOBUFS.
 * The share of urgent records is a part of the channel, so each counts for more.
 */
static __always_inline int find_place(struct flightrec_channel *channel, u8 severity, u32 len,
				      struct flightrec_ring **ring, struct flightrec_place *place,
				      u64 *boot_ns, u64 *wall_ns)
{
	u32 bytes = flightrec_record_words(len) * sizeof(u64);
	u32 writer = smp_processor_id();

	if (flightrec_channel_refuses(channel))
		return -ENODEV;
	*ring = rcu_dereference_sched(channel->ring);
	if (unlikely(severity <= FLIGHTREC_RING_KEPT_SEVERITY && (*ring)->nkept)) {
		writer = flightrec_ring_writer(*ring, writer, severity);
		bytes *= FLIGHTREC_RING_KEPT_PART;
	}
	flightrec_clock_read(boot_ns, wall_ns);
	if (unlikely(!flightrec_quota_take(__kuid_val(current_uid()), bytes, *boot_ns)))
		return -EDQUOT;
	if (unlikely(!flightrec_ring_reserve(*ring, writer, len, place)))
		return -ENOBUFS;
	return 0;
}

static noinline int refuse(struct flightrec_channel *channel, int err)
{
	return flightrec_channel_reject(channel, err == -EDQUOT ? FLIGHTREC_REJECT_QUOTA :
					FLIGHTREC_REJECT_BUSY, err);
}

/* Out of line: while nobody traces, a write has one instruction that does nothing. */
static noinline __cold void trace_write(const struct flightrec_channel *channel, u64 seq,
					u8 severity, const char *payload, u32 len)
{
	trace_flightrec_record(channel->name, seq, severity, FLIGHTREC_ORIGIN_USER,
			       __kuid_val(current_uid()), task_pid_nr(current), payload, len);
}

/* 0 or what find_place() says. */
static __always_inline int put_record(struct flightrec_channel *channel, u8 severity,
				      const char *payload, u32 len)
{
	struct flightrec_ring *ring __uninitialized;
	/* Filled in, or not looked at: no need for the compiler's zeroes. */
	struct flightrec_place place __uninitialized;
	u64 boot_ns __uninitialized, wall_ns __uninitialized, cgroup, seq;
	int err;

	/* Tasks come here with interrupts on: nothing to save. */
	lockdep_assert_irqs_enabled();
	local_irq_disable();
	err = find_place(channel, severity, len, &ring, &place, &boot_ns, &wall_ns);
	if (unlikely(err)) {
		local_irq_enable();
		return err;
	}
	cgroup = flightrec_cgroup_id();
	/* The number of the CPU again, rather than keep it: it is cheap to have. */
	put_stamp(&place, len, severity, smp_processor_id(), boot_ns, wall_ns, cgroup);
	/* The zeroes that follow the payload are its padding. */
	flightrec_put_words((u64 *)(place.stamp + 1), payload,
			    flightrec_record_words(len) - FLIGHTREC_STAMP_WORDS);
	seq = flightrec_ring_commit(ring, len, &place);
	local_irq_enable();
	if (trace_flightrec_record_enabled())
		trace_write(channel, seq, severity, payload, len);
	flightrec_cgroup_see(cgroup);
	flightrec_channel_wake(channel, severity);
	return 0;
}

/* Waits while the ring is exchanged. */
static noinline int put_any(struct flightrec_channel *channel, u8 severity, const char *payload,
			    u32 len)
{
	int err;

	do {
		err = put_record(channel, severity, payload, len);
		if (likely(!err))
			return 0;
		if (err != -ENODEV)
			return refuse(channel, err);
		err = flightrec_channel_await(channel);
	} while (!err);
	return err;
}

int flightrec_channel_write(struct flightrec_channel *channel,
			    const char *payload, u32 len, const u32 *flags)
{
	u8 severity = FLIGHTREC_SEVERITY_DEFAULT;

	if (payload[0] == '<' && len > 3 && payload[1] >= '0' && payload[1] <= '7' &&
	    payload[2] == '>' && !(READ_ONCE(*flags) & FLIGHTREC_FL_RAW)) {
		severity = payload[1] - '0';
		payload += 3;
		len -= 3;
	}
	return put_any(channel, severity, payload, len);
}

/* The same inline for what names no severity: the compiler knows which it is then. */
static __always_inline int write_payload(struct flightrec_channel *channel,
					 const char *payload, u32 len, const u32 *flags)
{
	int err;

	if (unlikely(payload[0] == '<'))
		return flightrec_channel_write(channel, payload, len, flags);
	err = put_record(channel, FLIGHTREC_SEVERITY_DEFAULT, payload, len);
	if (likely(!err))
		return 0;
	return err == -ENODEV ? put_any(channel, FLIGHTREC_SEVERITY_DEFAULT, payload, len) :
				refuse(channel, err);
}

/* What flightrec_channel_write() wants behind a payload. */
static __always_inline void end_payload(char *copy, size_t count)
{
	const u64 zero = 0;

	static_assert(sizeof(zero) == FLIGHTREC_WRITE_PAD);
	__builtin_memcpy(copy + count, &zero, sizeof(zero));
}

static ssize_t refuse_fault(struct flightrec_handle *handle)
{
	return flightrec_channel_reject(handle->channel, FLIGHTREC_REJECT_FAULT, -EFAULT);
}

/* Too long, or through an allocation. Exactly one of @buf and @from is given. */
static noinline ssize_t write_large(struct flightrec_handle *handle,
				    const char __user *buf, struct iov_iter *from,
				    size_t count)
{
	struct flightrec_channel *channel = handle->channel;
	bool whole;
	char *copy;
	int err;

	if (count > FLIGHTREC_PAYLOAD_MAX)
		return flightrec_channel_reject(channel, FLIGHTREC_REJECT_SIZE, -EMSGSIZE);
	copy = kmalloc(count + FLIGHTREC_WRITE_PAD, GFP_NOWAIT | __GFP_NOWARN);
	if (!copy)
		return flightrec_channel_reject(channel, FLIGHTREC_REJECT_NOMEM, -ENOMEM);
	whole = from ? copy_from_iter_full(copy, count, from) :
		       !copy_from_user(copy, buf, count);
	end_payload(copy, count);
	err = whole ? flightrec_channel_write(channel, copy, count, &handle->flags) :
		      refuse_fault(handle);
	kfree(copy);
	return err ?: count;
}

/*
 * As copy_from_user(), sanitizers' hooks included, which cost nothing where there is
 * no sanitizer; without check_object_size(), some 10 of 880 instructions of a write.
 * What that would find out at run time, that @count bytes lie within the array on
 * the caller's stack, the caller has settled by comparing with the array's size.
 */
static __always_inline unsigned long copy_in(char *copy, const char __user *buf,
					     size_t count)
{
	unsigned long left;

	might_fault();
	if (unlikely(!access_ok(buf, count)))
		return count;
	barrier_nospec();
	instrument_copy_from_user_before(copy, buf, count);
	left = raw_copy_from_user(copy, buf, count);
	instrument_copy_from_user_after(copy, buf, count, left);
	return left;
}

/* Beside write_iter because it is the cheaper way for a plain write(2). */
ssize_t flightrec_write(struct file *file, const char __user *buf, size_t count,
			loff_t *ppos)
{
	struct flightrec_handle *handle = file->private_data;
	/* Filled below as far as it is read: no need for the compiler's zeroes. */
	char copy[SMALL_PAYLOAD + FLIGHTREC_WRITE_PAD] __uninitialized __aligned(8);
	int err;

	if (unlikely(!count))
		return 0;
	if (count > SMALL_PAYLOAD)
		return write_large(handle, buf, NULL, count);
	if (unlikely(copy_in(copy, buf, count)))
		return refuse_fault(handle);
	end_payload(copy, count);
	err = write_payload(handle->channel, copy, count, &handle->flags);
	return err ?: count;
}

ssize_t flightrec_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	struct flightrec_handle *handle = iocb->ki_filp->private_data;
	char copy[SMALL_PAYLOAD + FLIGHTREC_WRITE_PAD] __uninitialized __aligned(8);
	size_t count = iov_iter_count(from);
	int err;

	if (unlikely(!count))
		return 0;
	if (count > SMALL_PAYLOAD)
		return write_large(handle, NULL, from, count);
	if (unlikely(!copy_from_iter_full(copy, count, from)))
		return refuse_fault(handle);
	end_payload(copy, count);
	err = flightrec_channel_write(handle->channel, copy, count, &handle->flags);
	return err ?: count;
}
