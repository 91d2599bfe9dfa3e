// SPDX-License-Identifier: GPL-2.0-only
/*
 * /proc/flightrec, for people and shell scripts.
 *
 * Reading <channel> prints the records that are there at the first read, the
 * oldest first, and ends. A line is
 *
 *   SEQ SECONDS SEVERITY ORIGIN UID PID COMM: PAYLOAD
 *
 * with SECONDS on the boot clock, a space in COMM escaped, and one newline
 * at the end of the payload left out. "# lost N records" stands where records
 * were overwritten while reading. Writing appends a record, without the
 * newline that echo adds.
 */
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/minmax.h>
#include <linux/module.h>
#include <linux/proc_fs.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "channel.h"
#include "compat/compat.h"
#include "escape.h"
#include "procfs.h"
#include "region.h"
#include "requests.h"
#include "table.h"

static struct proc_dir_entry *dir;

/* An open file that is read. */
struct listing {
	struct flightrec_channel *channel;
	struct flightrec_cursor cursor;
	u64 end_seq;		/* stop before this record */
	loff_t at;		/* which line the record below is; -1: none yet */
	u64 lost;
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_PAYLOAD_MAX];
};

static void rewind(struct listing *list)
{
	const struct flightrec_ring *ring;
	int held;

	ring = flightrec_ring_hold(list->channel, &held);
	list->end_seq = flightrec_ring_next(ring);
	list->cursor = flightrec_cursor_at(flightrec_ring_oldest(ring, NULL));
	flightrec_ring_release(held);
	list->at = -1;
}

/*
 * Fetch the next record, or, where those up to the end are gone, just their
 * loss (with number 0); NULL at the end.
 */
static struct listing *fetch(struct listing *list)
{
	u64 from = list->cursor.from;
	int held, err;

	if (from >= list->end_seq)
		return NULL;
	err = flightrec_ring_read(flightrec_ring_hold(list->channel, &held), &list->cursor,
				  &list->stamp, list->payload, &list->lost);
	flightrec_ring_release(held);
	if (err || list->stamp.seq >= list->end_seq) {
		/* What is not yet published is not lost: the listing ends there. */
		list->lost = min(list->cursor.seq, list->end_seq) - from;
		list->stamp.seq = 0;
		list->cursor.from = list->end_seq;
		if (!list->lost)
			return NULL;
	}
	list->at++;
	return list;
}

/* seq_file asks for the same line again when it did not fit. */
static void *list_start(struct seq_file *m, loff_t *pos)
{
	struct listing *list = m->private;

	if (!*pos)
		rewind(list);
	while (list->at < *pos)
		if (!fetch(list))
			return NULL;
	return list;
}

static void *list_next(struct seq_file *m, void *v, loff_t *pos)
{
	(*pos)++;
	return fetch(m->private);
}

static void list_stop(struct seq_file *m, void *v)
{
}

static void put_escaped(struct seq_file *m, const void *src, size_t len,
			bool space)
{
	char buf[128];
	size_t used, n;

	while (len) {
		n = flightrec_escape(buf, sizeof(buf), src, len, space, &used);
		seq_write(m, buf, n);
		src += used;
		len -= used;
	}
}

static int list_show(struct seq_file *m, void *v)
{
	const struct listing *list = v;
	const struct flightrec_stamp *stamp = &list->stamp;
	u32 len = stamp->len;
	u32 rem;

	if (list->lost)
		seq_printf(m, "# lost %llu records\n", list->lost);
	if (!stamp->seq)
		return 0;
	seq_printf(m, "%llu %llu.", stamp->seq,
		   div_u64_rem(stamp->boot_ns, NSEC_PER_SEC, &rem));
	seq_printf(m, "%06u %u %s %u %u ", rem / 1000, stamp->severity,
		   stamp->origin == FLIGHTREC_ORIGIN_KERNEL ? "kernel" : "user",
		   stamp->uid, stamp->pid);
	put_escaped(m, stamp->comm, strnlen(stamp->comm, sizeof(stamp->comm)), true);
	seq_puts(m, ": ");
	if (len && list->payload[len - 1] == '\n')
		len--;
	put_escaped(m, list->payload, len, false);
	seq_putc(m, '\n');
	return 0;
}

static const struct seq_operations list_ops = {
	.start = list_start,
	.next = list_next,
	.stop = list_stop,
	.show = list_show,
};

/*
 * procfs does not hold the module of an open file: without this, a caller
 * whose buffer is slow to fault in would keep an unload waiting.
 */
static int hold_module(void)
{
	int err = flightrec_may_open();

	if (err)
		return err;
	return try_module_get(THIS_MODULE) ? 0 : -ENODEV;
}

static int file_open(struct inode *inode, struct file *file)
{
	struct flightrec_channel *channel = pde_data(inode);
	struct listing *list;
	int err;

	if ((file->f_mode & FMODE_WRITE) && !channel->config.user_writes)
		return -EACCES;
	err = hold_module();
	if (err)
		return err;
	list = __seq_open_private(file, &list_ops, sizeof(*list));
	if (!list) {
		module_put(THIS_MODULE);
		return -ENOMEM;
	}
	list->channel = channel;
	return 0;
}

static int file_release(struct inode *inode, struct file *file)
{
	int err = seq_release_private(inode, file);

	module_put(THIS_MODULE);
	return err;
}

static ssize_t file_write(struct file *file, const char __user *buf,
			  size_t count, loff_t *ppos)
{
	struct listing *list = ((struct seq_file *)file->private_data)->private;
	struct flightrec_channel *channel = list->channel;
	static const u32 no_flags;
	u32 len = count;
	char *copy;
	int err;

	if (!count)
		return 0;
	if (count > FLIGHTREC_PAYLOAD_MAX)
		return flightrec_channel_reject(channel, FLIGHTREC_REJECT_SIZE,
						-EMSGSIZE);
	copy = kzalloc(count + FLIGHTREC_WRITE_PAD, GFP_KERNEL);
	if (!copy)
		return flightrec_channel_reject(channel, FLIGHTREC_REJECT_NOMEM, -ENOMEM);
	if (copy_from_user(copy, buf, count)) {
		kfree(copy);
		return flightrec_channel_reject(channel, FLIGHTREC_REJECT_FAULT, -EFAULT);
	}
	if (len > 1 && copy[len - 1] == '\n')
		copy[--len] = 0;
	err = flightrec_channel_write(channel, copy, len, &no_flags);
	kfree(copy);
	return err ?: count;
}

static const struct proc_ops file_ops = {
	.proc_open = file_open,
	.proc_read_iter = seq_read_iter,
	.proc_lseek = seq_lseek,
	.proc_release = file_release,
	.proc_write = file_write,
};

static int stats_show(struct seq_file *m, void *v)
{
	struct flightrec_channel *channel;
	unsigned int i;

	for (i = 0; i < FLIGHTREC_CHANNELS_MAX; i++) {
		channel = flightrec_table_at(i);
		if (!channel)
			continue;
		flightrec_channel_stats(channel, m);
		flightrec_channel_put(channel);
	}
	flightrec_requests_stats(m);
	flightrec_region_stats(m);
	seq_putc(m, '\n');
	return 0;
}

static int stats_open(struct inode *inode, struct file *file)
{
	int err = hold_module();

	if (err)
		return err;
	err = single_open(file, stats_show, NULL);
	if (err)
		module_put(THIS_MODULE);
	return err;
}

static int stats_release(struct inode *inode, struct file *file)
{
	int err = single_release(inode, file);

	module_put(THIS_MODULE);
	return err;
}

static const struct proc_ops stats_ops = {
	.proc_open = stats_open,
	.proc_read_iter = seq_read_iter,
	.proc_lseek = seq_lseek,
	.proc_release = stats_release,
};

static int image_open(struct inode *inode, struct file *file)
{
	return hold_module();
}

static int image_release(struct inode *inode, struct file *file)
{
	module_put(THIS_MODULE);
	return 0;
}

static ssize_t image_read(struct file *file, char __user *buf, size_t count, loff_t *pos)
{
	return flightrec_region_image_read(buf, count, pos);
}

/* The previous boot's memory; a dot is in no channel's name. */
static const struct proc_ops image_ops = {
	.proc_open = image_open,
	.proc_read = image_read,
	.proc_lseek = default_llseek,
	.proc_release = image_release,
};

static bool __init add_image(void)
{
	u64 bytes = flightrec_region_image_bytes();
	struct proc_dir_entry *image;

	if (!bytes)
		return true;
	image = proc_create("previous.image", 0400, dir, &image_ops);
	if (image)
		proc_set_size(image, bytes);
	return image;
}

int flightrec_procfs_add(struct flightrec_channel *channel)
{
	const struct flightrec_config *config = &channel->config;

	channel->proc = proc_create_data(channel->name, config->mode, dir,
					 &file_ops, channel);
	if (!channel->proc)
		return -ENOMEM;
	proc_set_user(channel->proc, GLOBAL_ROOT_UID, config->gid);
	return 0;
}

void flightrec_procfs_del(struct flightrec_channel *channel)
{
	proc_remove(channel->proc);
}

int __init flightrec_procfs_init(void)
{
	dir = proc_mkdir("flightrec", NULL);
	if (!dir)
		return -ENOMEM;
	if (!proc_create("stats", 0444, dir, &stats_ops) || !add_image()) {
		proc_remove(dir);
		return -ENOMEM;
	}
	return 0;
}

void flightrec_procfs_exit(void)
{
	proc_remove(dir);
}
