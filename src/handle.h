/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * An open descriptor of /dev/flightrec/<channel>. chardev.c opens it, read.c
 * and write.c are its data paths.
 */
#ifndef FLIGHTREC_HANDLE_H
#define FLIGHTREC_HANDLE_H

#include <linux/fs.h>
#include <linux/mutex.h>

#include "channel.h"

struct flightrec_handle {
	struct flightrec_channel *channel;
	struct mutex lock;		/* the cursor, between readers of one descriptor */
	struct flightrec_cursor cursor;	/* poll looks at its number without the lock */
	u32 flags;			/* FLIGHTREC_FL_*, with no lock */
	struct flightrec_filter filter;	/* with the lock; features and severity also without */
	bool urgent_polled;		/* somebody may be on the queue of the urgent, for long */
	bool turned_away;		/* a reader that may not wait found the lock taken */
};

/* With the lock held, or before anybody else has the descriptor. */
static inline void flightrec_handle_go(struct flightrec_handle *handle,
				       struct flightrec_cursor to)
{
	WRITE_ONCE(handle->cursor.seq, to.seq);
	handle->cursor.from = to.from;
}

/* Where a reader sleeps; poll and epoll stay there. */
static inline struct flightrec_waiters *flightrec_handle_waiters(struct flightrec_handle *handle)
{
	/* Pairs with the release in ioctl_set_filter(). */
	if (smp_load_acquire(&handle->filter.features) & FLIGHTREC_FILTER_SEVERITY &&
	    READ_ONCE(handle->filter.severity) < FLIGHTREC_SEVERITY_DEFAULT)
		return &handle->channel->urgent_wait;
	return &handle->channel->readers_wait;
}

/* read.c */
bool flightrec_handle_ready(struct flightrec_handle *handle);
void flightrec_handle_unlock(struct flightrec_handle *handle);
ssize_t flightrec_read_iter(struct kiocb *iocb, struct iov_iter *to);
void flightrec_seek_oldest(struct flightrec_handle *handle);
void flightrec_seek_newest(struct flightrec_handle *handle);
int flightrec_seek_seq(struct flightrec_handle *handle, u64 seq);
void flightrec_seek_time(struct flightrec_handle *handle, u64 boot_ns);

/* write.c */
ssize_t flightrec_write(struct file *file, const char __user *buf, size_t count,
			loff_t *ppos);
ssize_t flightrec_write_iter(struct kiocb *iocb, struct iov_iter *from);

#endif
