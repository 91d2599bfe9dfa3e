// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records' way from the ring to user space, many at a time, and the seeks.
 */
#include <linux/fs.h>
#include <linux/minmax.h>
#include <linux/mutex.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uio.h>
#include <linux/wait.h>

#include "handle.h"

/* The stamp in the ring and the tail of the ABI's header are one layout. */
static_assert(sizeof(struct flightrec_stamp) ==
	      sizeof(struct flightrec_record) -
	      offsetof(struct flightrec_record, seq));
static_assert(offsetof(struct flightrec_stamp, comm) ==
	      offsetof(struct flightrec_record, comm) -
	      offsetof(struct flightrec_record, seq));
static_assert(offsetof(struct flightrec_stamp, start_ns) ==
	      offsetof(struct flightrec_record, start_ns) -
	      offsetof(struct flightrec_record, seq));
static_assert(FLIGHTREC_RING_PAYLOAD_MAX == FLIGHTREC_PAYLOAD_MAX);
static_assert(sizeof(struct flightrec_record) == 104);

/*
 * Records go through a buffer that holds many small ones, so that user space
 * is entered once for all of them. Larger ones come from the page allocator,
 * which costs more than they save.
 */
#define BOUNCE_BYTES 8192
static_assert(BOUNCE_BYTES >= FLIGHTREC_READ_MIN);
static_assert(sizeof(struct flightrec_record) + FLIGHTREC_PAYLOAD_MAX <= FLIGHTREC_READ_MIN);

#define HEAD_BYTES offsetof(struct flightrec_record, seq)

static __always_inline void end_record(struct flightrec_record *record, int words, u64 lost)
{
	record->size = HEAD_BYTES + words * sizeof(u64);
	record->version = FLIGHTREC_ABI_VERSION;
	record->header_size = sizeof(*record);
	record->lost = lost;
}

/*
 * Fill @bounce with whole records from @cursor on, up to number @end. Returns
 * bytes, 0 for nothing to read, -EINVAL if not even the first one fits, or
 * -EINTR if the task is to die.
 */
static ssize_t fill(const struct flightrec_ring *ring, struct flightrec_cursor *cursor,
		    u64 end, void *bounce, size_t room)
{
	size_t done = 0;

	while (cursor->seq < end) {
		struct flightrec_record *record = bounce + done;
		size_t left = room - done;
		struct flightrec_cursor next = *cursor;
		u64 lost;
		int words;

		words = flightrec_ring_read_words(ring, &next, (u64 *)&record->seq,
						  left < HEAD_BYTES ? 0 :
						  (left - HEAD_BYTES) / sizeof(u64),
						  &lost);
		if (words == -EMSGSIZE && !done)
			return -EINVAL;
		if (words == -EINTR)
			return done ?: -EINTR;
		if (words == -EAGAIN)
			*cursor = next;
		if (words < 0)
			break;
		*cursor = next;
		end_record(record, words, lost);
		done += record->size;
	}
	return done;
}

static bool is_wanted(const struct flightrec_filter *filter, const struct flightrec_stamp *stamp)
{
	u32 features = filter->features;

	if (features & FLIGHTREC_FILTER_SEVERITY && stamp->severity > filter->severity)
		return false;
	if (features & FLIGHTREC_FILTER_UID && stamp->uid != filter->uid)
		return false;
	if (features & FLIGHTREC_FILTER_PID && stamp->pid != filter->pid &&
	    stamp->tgid != filter->pid)
		return false;
	return !(features & FLIGHTREC_FILTER_CGROUP) || stamp->cgroup == filter->cgroup;
}

/*
 * Go to the next record that is wanted, before number @end: 0 with its stamp, and with
 * @cursor still before it. -EAGAIN if there is none, -EINTR if the task is to die. What
 * is passed over is not lost; what was lost before it is, for the record that follows.
 */
static int find_wanted(const struct flightrec_handle *handle, const struct flightrec_ring *ring,
		       struct flightrec_cursor *cursor, u64 end, struct flightrec_stamp *stamp)
{
	unsigned int passed = 0;

	while (cursor->seq < end) {
		struct flightrec_cursor next = *cursor;
		u64 lost;
		int err;

		err = flightrec_ring_read(ring, &next, stamp, NULL, &lost);
		if (!err && is_wanted(&handle->filter, stamp))
			return 0;
		*cursor = next;
		if (err)
			return err;
		cursor->from = next.seq - lost;
		if (++passed % 256)
			continue;
		cond_resched();
		if (fatal_signal_pending(current))
			return -EINTR;
	}
	return -EAGAIN;
}

/* One record, which is wanted unless it was overwritten meanwhile: words, or an error. */
static int take_wanted(const struct flightrec_handle *handle, const struct flightrec_ring *ring,
		       struct flightrec_cursor *next, struct flightrec_record *record,
		       size_t room, u64 *lost)
{
	struct flightrec_stamp *stamp = (struct flightrec_stamp *)&record->seq;
	int err;

	if (!(handle->filter.features & FLIGHTREC_FILTER_STAMPS))
		return flightrec_ring_read_words(ring, next, &record->seq, room / sizeof(u64),
						 lost);
	if (room < sizeof(*stamp))
		return -EMSGSIZE;
	err = flightrec_ring_read(ring, next, stamp, NULL, lost);
	if (err)
		return err;
	if (stamp->len)
		stamp->flags |= FLIGHTREC_F_STAMP;
	stamp->len = 0;
	return FLIGHTREC_STAMP_WORDS;
}

/* fill() for a descriptor that has a filter. */
static ssize_t __cold fill_filtered(const struct flightrec_handle *handle,
				    const struct flightrec_ring *ring,
				    struct flightrec_cursor *cursor, u64 end, void *bounce,
				    size_t room)
{
	struct flightrec_stamp stamp;
	size_t done = 0;
	u64 lost;
	int words;

	for (;;) {
		struct flightrec_record *record = bounce + done;
		size_t left = room - done;
		struct flightrec_cursor next;

		words = find_wanted(handle, ring, cursor, end, &stamp);
		if (words)
			break;
		next = *cursor;
		words = take_wanted(handle, ring, &next, record,
				    left < HEAD_BYTES ? 0 : left - HEAD_BYTES, &lost);
		if (words < 0)
			break;
		*cursor = next;
		if (!is_wanted(&handle->filter, (struct flightrec_stamp *)&record->seq)) {
			cursor->from = next.seq - lost;
			continue;
		}
		end_record(record, words, lost);
		done += record->size;
	}
	if (done || words == -EAGAIN)
		return done;
	return words == -EMSGSIZE ? -EINVAL : words;
}

/* Is there a record, whether it is wanted or not? Does not sleep. */
static bool is_readable(const struct flightrec_handle *handle)
{
	bool readable;
	int held;

	readable = flightrec_ring_readable(flightrec_ring_hold(handle->channel, &held),
					   &handle->cursor);
	flightrec_ring_release(held);
	return readable;
}

/* Is there a record that the filter wants? Passes over others. For tasks. */
bool __cold flightrec_handle_ready(struct flightrec_handle *handle)
{
	const struct flightrec_ring *ring;
	struct flightrec_cursor next;
	struct flightrec_stamp stamp;
	bool ready;
	int held;

	/* Who holds it reads: then poll is asked again. */
	if (!READ_ONCE(handle->filter.features) || !mutex_trylock(&handle->lock))
		return is_readable(handle);
	next = handle->cursor;
	ring = flightrec_ring_hold(handle->channel, &held);
	ready = !find_wanted(handle, ring, &next, flightrec_ring_next(ring), &stamp);
	flightrec_ring_release(held);
	flightrec_handle_go(handle, next);
	flightrec_handle_unlock(handle);
	return ready;
}

/* Bytes of the whole records within the first @copied bytes; moves past them. */
static size_t whole_records(struct flightrec_handle *handle, const void *bounce,
			    size_t copied)
{
	const struct flightrec_record *record;
	size_t done = 0;

	while (copied - done >= sizeof(*record)) {
		record = bounce + done;
		if (record->size > copied - done)
			break;
		flightrec_handle_go(handle, flightrec_cursor_at(record->seq + 1));
		done += record->size;
	}
	return done;
}

/*
 * Deliver whole records while they fit. The cursor moves only over what user
 * space has got. Returns bytes, 0 for nothing to read, or an error.
 */
static ssize_t deliver(struct flightrec_handle *handle, void *bounce, size_t room,
		       struct iov_iter *to)
{
	const struct flightrec_ring *ring;
	struct flightrec_cursor next;
	size_t copied, done = 0;
	u64 end = 0;
	ssize_t n;
	int held;

	lockdep_assert_held(&handle->lock);
	for (;;) {
		next = handle->cursor;
		n = min(room, iov_iter_count(to));
		ring = flightrec_ring_hold(handle->channel, &held);
		/* Writers that are faster than we deliver must not keep us for ever. */
		end = end ?: flightrec_ring_next(ring);
		n = unlikely(handle->filter.features) ?
		    fill_filtered(handle, ring, &next, end, bounce, n) :
		    fill(ring, &next, end, bounce, n);
		flightrec_ring_release(held);
		if (n < 0)
			return done ?: n;
		copied = n ? copy_to_iter(bounce, n, to) : 0;
		if (copied < n) {
			done += whole_records(handle, bounce, copied);
			return done ?: -EFAULT;
		}
		flightrec_handle_go(handle, next);
		done += n;
		if (!n || fatal_signal_pending(current))
			return done;
		cond_resched();
	}
}

/*
 * Another thread may hold the lock while its buffer is faulted in, so who may not
 * wait does not. Who was turned away is woken when the lock is free.
 */
static bool try_lock(struct flightrec_handle *handle)
{
	if (mutex_trylock(&handle->lock))
		return true;
	WRITE_ONCE(handle->turned_away, true);
	/* Pairs with the one in flightrec_handle_unlock(). */
	smp_mb();
	return mutex_trylock(&handle->lock);
}

void flightrec_handle_unlock(struct flightrec_handle *handle)
{
	mutex_unlock(&handle->lock);
	/* Pairs with the one in try_lock(): one of the two sees the other. */
	smp_mb();
	if (unlikely(READ_ONCE(handle->turned_away))) {
		WRITE_ONCE(handle->turned_away, false);
		/* As if something urgent had come. */
		flightrec_channel_wake(handle->channel, 0);
	}
}

static ssize_t read_once(struct flightrec_handle *handle, bool nonblock, void *bounce,
			 size_t room, struct iov_iter *to)
{
	ssize_t ret;

	if (nonblock) {
		if (!try_lock(handle))
			return -EAGAIN;
	} else if (mutex_lock_interruptible(&handle->lock)) {
		return -ERESTARTSYS;
	}
	ret = deliver(handle, bounce, room, to);
	flightrec_handle_unlock(handle);
	return ret;
}

/* Nothing is held while it waits. */
static ssize_t read_or_wait(struct flightrec_handle *handle, bool nonblock,
			    void *bounce, size_t room, struct iov_iter *to)
{
	struct flightrec_channel *channel = handle->channel;
	struct flightrec_waiters *waiters;
	ssize_t ret;
	bool ended;

	for (;;) {
		/* First, since nothing more is written then: what is read after it is all. */
		ended = flightrec_channel_ended(channel);
		ret = read_once(handle, nonblock, bounce, room, to);
		if (ret || ended)
			return ret;
		if (nonblock)
			return -EAGAIN;
		/* Who passes over what others go on to write need never sleep below. */
		if (signal_pending(current))
			return -ERESTARTSYS;
		cond_resched();
		waiters = flightrec_handle_waiters(handle);
		/* Another thread may set another filter: then sleep elsewhere. */
		if (wait_event_interruptible(waiters->wait,
					     is_readable(handle) ||
					     flightrec_channel_ended(channel) ||
					     waiters != flightrec_handle_waiters(handle)))
			return -ERESTARTSYS;
	}
}

/*
 * The only way to read, readv(2) and io_uring included. With IOCB_NOWAIT it
 * does not sleep but for a fault on the caller's buffer.
 */
ssize_t flightrec_read_iter(struct kiocb *iocb, struct iov_iter *to)
{
	struct file *file = iocb->ki_filp;
	bool nowait = iocb->ki_flags & IOCB_NOWAIT;
	size_t room = min_t(size_t, iov_iter_count(to), BOUNCE_BYTES);
	void *bounce;
	ssize_t ret;

	if (!room)
		return 0;
	bounce = kmalloc(room, nowait ? GFP_NOWAIT | __GFP_NOWARN : GFP_KERNEL);
	if (!bounce)
		return nowait ? -EAGAIN : -ENOMEM;
	ret = read_or_wait(file->private_data,
			   nowait || (file->f_flags & O_NONBLOCK), bounce, room, to);
	kfree(bounce);
	return ret;
}

void __cold flightrec_seek_oldest(struct flightrec_handle *handle)
{
	u64 seq;
	int held;

	seq = flightrec_ring_oldest(flightrec_ring_hold(handle->channel, &held), NULL);
	flightrec_ring_release(held);
	flightrec_handle_go(handle, flightrec_cursor_at(seq));
}

static u64 next_number(const struct flightrec_handle *handle)
{
	u64 seq;
	int held;

	seq = flightrec_ring_next(flightrec_ring_hold(handle->channel, &held));
	flightrec_ring_release(held);
	return seq;
}

void __cold flightrec_seek_newest(struct flightrec_handle *handle)
{
	flightrec_handle_go(handle, flightrec_cursor_at(next_number(handle)));
}

int __cold flightrec_seek_seq(struct flightrec_handle *handle, u64 seq)
{
	if (!seq || seq > next_number(handle))
		return -EINVAL;
	/* Records from @seq on that are gone count as lost. */
	flightrec_handle_go(handle, flightrec_cursor_at(seq));
	return 0;
}

/*
 * Go to the first record at or after @boot_ns: by halving, since clocks are read
 * a moment before numbers are taken, both with interrupts off, so that times
 * are in order but for that moment. Asked of each number is the first record
 * from there on: which ones are gone follows their blocks, not their numbers.
 */
void __cold flightrec_seek_time(struct flightrec_handle *handle, u64 boot_ns)
{
	struct flightrec_cursor cursor;
	struct flightrec_stamp stamp;
	u64 low, high, middle, lost;
	struct flightrec_ring *ring;
	int held;

	lockdep_assert_held(&handle->lock);
	ring = flightrec_ring_hold(handle->channel, &held);
	low = flightrec_ring_oldest(ring, NULL);
	high = flightrec_ring_next(ring);
	while (low < high) {
		middle = low + (high - low) / 2;
		cursor = flightrec_cursor_at(middle);
		if (flightrec_ring_read(ring, &cursor, &stamp, NULL, &lost) ||
		    stamp.seq >= high || stamp.boot_ns >= boot_ns)
			high = middle;
		else
			low = stamp.seq + 1;
	}
	/* What is gone already is not this seek's loss. */
	cursor = flightrec_cursor_at(low);
	if (!flightrec_ring_read(ring, &cursor, &stamp, NULL, &lost))
		low = stamp.seq;
	flightrec_ring_release(held);
	flightrec_handle_go(handle, flightrec_cursor_at(low));
}
