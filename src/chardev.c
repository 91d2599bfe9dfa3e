// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/flightrec/<channel>. The ABI is described in uapi/flightrec.h.
 */
#include <linux/cdev.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/uio.h>

#include "channel.h"
#include "compat/compat.h"

/* The stamp in the ring and the tail of the ABI's header are one layout. */
static_assert(sizeof(struct flightrec_stamp) ==
	      sizeof(struct flightrec_record) -
	      offsetof(struct flightrec_record, seq));
static_assert(offsetof(struct flightrec_stamp, comm) ==
	      offsetof(struct flightrec_record, comm) -
	      offsetof(struct flightrec_record, seq));
static_assert(FLIGHTREC_RING_PAYLOAD_MAX == FLIGHTREC_PAYLOAD_MAX);
static_assert(sizeof(struct flightrec_record) == 88);

/* Payloads up to this size are copied through the stack. */
#define SMALL_PAYLOAD 256

static dev_t first_devt;
static struct cdev node_cdev;
static struct class node_class = { .name = "flightrec" };

/* An open descriptor. */
struct handle {
	struct flightrec_channel *channel;
	struct mutex lock;		/* the cursor, between readers of one descriptor */
	struct flightrec_cursor cursor;
	u32 flags;			/* FLIGHTREC_FL_* */
};

/* What a reader copies a record into before it goes to user space. */
struct bounce {
	struct flightrec_record record;
	u8 payload[FLIGHTREC_PAYLOAD_MAX];
};

static void seek_oldest(struct handle *handle)
{
	handle->cursor = flightrec_cursor_at(
		flightrec_ring_oldest(&handle->channel->ring, NULL));
}

static int node_open(struct inode *inode, struct file *file)
{
	struct flightrec_channel *channel =
		flightrec_channel_at(iminor(inode) - MINOR(first_devt));
	struct handle *handle;
	int err;

	if (!channel)
		return -ENXIO;
	err = flightrec_may_open();
	if (err)
		return err;
	if ((file->f_mode & FMODE_WRITE) && !channel->config.user_writes)
		return -EACCES;
	handle = kzalloc(sizeof(*handle), GFP_KERNEL);
	if (!handle)
		return -ENOMEM;
	handle->channel = channel;
	mutex_init(&handle->lock);
	if (file->f_mode & FMODE_READ) {
		seek_oldest(handle);
		atomic_inc(&channel->readers);
	}
	file->private_data = handle;
	/* A cursor per descriptor, no file offsets: pread, pwrite get ESPIPE. */
	file->f_mode &= ~(FMODE_PREAD | FMODE_PWRITE);
	return 0;
}

static int node_release(struct inode *inode, struct file *file)
{
	struct handle *handle = file->private_data;

	if (file->f_mode & FMODE_READ)
		atomic_dec(&handle->channel->readers);
	kfree(handle);
	return 0;
}

/*
 * Deliver whole records while they fit. The cursor moves only over what user
 * space has got. Returns bytes, 0 for nothing to read, or an error.
 */
static ssize_t deliver(struct handle *handle, struct bounce *bounce,
		       char __user *buf, size_t count)
{
	struct flightrec_record *record = &bounce->record;
	/* Whoever writes faster than we deliver must not keep us for ever. */
	u64 end = flightrec_ring_next(&handle->channel->ring);
	struct flightrec_cursor next;
	size_t done = 0;
	size_t unpadded;
	u64 lost;
	int err;

	lockdep_assert_held(&handle->lock);
	for (;;) {
		if (done && (handle->cursor.seq >= end || fatal_signal_pending(current)))
			return done;
		cond_resched();
		next = handle->cursor;
		err = flightrec_ring_read(&handle->channel->ring, &next,
					  (struct flightrec_stamp *)&record->seq,
					  bounce->payload, &lost);
		if (err) {
			handle->cursor = next;
			return done;
		}
		unpadded = sizeof(*record) + record->len;
		record->size = ALIGN(unpadded, 8);
		record->version = FLIGHTREC_ABI_VERSION;
		record->header_size = sizeof(*record);
		record->lost = lost;
		if (record->size > count - done)
			return done ?: -EINVAL;
		memset((u8 *)bounce + unpadded, 0, record->size - unpadded);
		if (copy_to_user(buf + done, bounce, record->size))
			return done ?: -EFAULT;
		handle->cursor = next;
		done += record->size;
	}
}

static ssize_t read_once(struct handle *handle, struct bounce *bounce,
			 char __user *buf, size_t count)
{
	ssize_t ret;

	if (mutex_lock_interruptible(&handle->lock))
		return -ERESTARTSYS;
	ret = deliver(handle, bounce, buf, count);
	mutex_unlock(&handle->lock);
	return ret;
}

static ssize_t node_read(struct file *file, char __user *buf, size_t count,
			 loff_t *ppos)
{
	struct handle *handle = file->private_data;
	struct flightrec_channel *channel = handle->channel;
	struct bounce *bounce;
	ssize_t ret;

	if (!count)
		return 0;
	bounce = kmalloc(sizeof(*bounce), GFP_KERNEL);
	if (!bounce)
		return -ENOMEM;
	for (;;) {
		ret = read_once(handle, bounce, buf, count);
		if (ret)
			break;
		if (file->f_flags & O_NONBLOCK) {
			ret = -EAGAIN;
			break;
		}
		if (wait_event_interruptible(channel->readers_wait,
					     flightrec_ring_readable(&channel->ring,
								     &handle->cursor))) {
			ret = -ERESTARTSYS;
			break;
		}
	}
	kfree(bounce);
	return ret;
}

/* Copy a payload in and record it; @copy has room for @count bytes. */
static ssize_t take_payload(struct handle *handle, char *copy,
			    const char __user *buf, struct iov_iter *from,
			    size_t count)
{
	struct flightrec_channel *channel = handle->channel;
	bool whole;
	int err;

	whole = from ? copy_from_iter_full(copy, count, from) :
		       !copy_from_user(copy, buf, count);
	if (!whole)
		return flightrec_channel_reject(channel, FLIGHTREC_REJECT_FAULT,
						-EFAULT);
	err = flightrec_channel_write(channel, copy, count,
				      handle->flags & FLIGHTREC_FL_RAW);
	return err ?: count;
}

static ssize_t write_large(struct handle *handle, const char __user *buf,
			   struct iov_iter *from, size_t count)
{
	struct flightrec_channel *channel = handle->channel;
	ssize_t ret;
	char *copy;

	copy = kmalloc(count, GFP_NOWAIT | __GFP_NOWARN);
	if (!copy)
		return flightrec_channel_reject(channel, FLIGHTREC_REJECT_NOMEM,
						-ENOMEM);
	ret = take_payload(handle, copy, buf, from, count);
	kfree(copy);
	return ret;
}

static ssize_t write_small(struct handle *handle, const char __user *buf,
			   struct iov_iter *from, size_t count)
{
	char copy[SMALL_PAYLOAD];

	return take_payload(handle, copy, buf, from, count);
}

/* Exactly one of @buf and @from is given. */
static ssize_t write_record(struct file *file, const char __user *buf,
			    struct iov_iter *from, size_t count)
{
	struct handle *handle = file->private_data;

	if (!count)
		return 0;
	if (count > FLIGHTREC_PAYLOAD_MAX)
		return flightrec_channel_reject(handle->channel,
						FLIGHTREC_REJECT_SIZE, -EMSGSIZE);
	if (count <= SMALL_PAYLOAD)
		return write_small(handle, buf, from, count);
	return write_large(handle, buf, from, count);
}

/* Beside write_iter because it is the cheaper way for a plain write(2). */
static ssize_t node_write(struct file *file, const char __user *buf,
			  size_t count, loff_t *ppos)
{
	return write_record(file, buf, NULL, count);
}

static ssize_t node_write_iter(struct kiocb *iocb, struct iov_iter *from)
{
	return write_record(iocb->ki_filp, NULL, from, iov_iter_count(from));
}

static loff_t node_llseek(struct file *file, loff_t offset, int whence)
{
	struct handle *handle = file->private_data;

	if (whence == SEEK_CUR)
		return -ESPIPE;
	if (offset || (whence != SEEK_SET && whence != SEEK_END))
		return -EINVAL;
	if (mutex_lock_interruptible(&handle->lock))
		return -ERESTARTSYS;
	if (whence == SEEK_SET)
		seek_oldest(handle);
	else
		handle->cursor = flightrec_cursor_at(
			flightrec_ring_next(&handle->channel->ring));
	mutex_unlock(&handle->lock);
	return 0;
}

static __poll_t node_poll(struct file *file, poll_table *wait)
{
	struct handle *handle = file->private_data;
	struct flightrec_channel *channel = handle->channel;
	__poll_t mask = 0;

	if (channel->config.user_writes)
		mask |= EPOLLOUT | EPOLLWRNORM;
	/* Who may not read is not woken, either: each wake-up costs writers. */
	if (!(file->f_mode & FMODE_READ))
		return mask;
	poll_wait(file, &channel->readers_wait, wait);
	if (flightrec_ring_readable(&channel->ring, &handle->cursor))
		mask |= EPOLLIN | EPOLLRDNORM;
	return mask;
}

/* Go to the first record at or after @boot_ns. */
static void seek_time(struct handle *handle, u64 boot_ns)
{
	struct flightrec_ring *ring = &handle->channel->ring;
	u64 end = flightrec_ring_next(ring);
	struct flightrec_stamp stamp;
	struct flightrec_cursor next;
	u64 lost;

	lockdep_assert_held(&handle->lock);
	seek_oldest(handle);
	next = handle->cursor;
	while (!flightrec_ring_read(ring, &next, &stamp, NULL, &lost)) {
		/* What was overwritten while looking is not this seek's loss. */
		handle->cursor = flightrec_cursor_at(stamp.seq);
		if (stamp.boot_ns >= boot_ns || stamp.seq >= end)
			return;
		handle->cursor = next;
		cond_resched();
	}
}

static int seek_seq(struct handle *handle, u64 seq)
{
	if (!seq || seq > flightrec_ring_next(&handle->channel->ring))
		return -EINVAL;
	/* Records from @seq on that are gone count as lost. */
	handle->cursor = flightrec_cursor_at(seq);
	return 0;
}

static int ioctl_seek(struct file *file, unsigned int cmd, const void __user *arg)
{
	struct handle *handle = file->private_data;
	u64 value;
	int err = 0;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (copy_from_user(&value, arg, sizeof(value)))
		return -EFAULT;
	if (mutex_lock_interruptible(&handle->lock))
		return -ERESTARTSYS;
	if (cmd == FLIGHTREC_IOC_SEEK_SEQ)
		err = seek_seq(handle, value);
	else
		seek_time(handle, value);
	mutex_unlock(&handle->lock);
	return err;
}

static int ioctl_info(struct handle *handle, void __user *arg)
{
	struct flightrec_info info = {
		.abi_version = FLIGHTREC_ABI_VERSION,
		.flags = READ_ONCE(handle->flags),
		.size = handle->channel->config.bytes,
	};

	info.oldest_seq = flightrec_ring_oldest(&handle->channel->ring, NULL);
	info.next_seq = flightrec_ring_next(&handle->channel->ring);
	strscpy(info.name, handle->channel->name, sizeof(info.name));
	return copy_to_user(arg, &info, sizeof(info)) ? -EFAULT : 0;
}

static int ioctl_set_flags(struct handle *handle, const u32 __user *arg)
{
	u32 flags;

	if (get_user(flags, arg))
		return -EFAULT;
	if (flags & ~FLIGHTREC_FL_RAW)
		return -EINVAL;
	WRITE_ONCE(handle->flags, flags);
	return 0;
}

static long node_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct handle *handle = file->private_data;
	void __user *ptr = (void __user *)arg;

	switch (cmd) {
	case FLIGHTREC_IOC_GET_INFO:
		return ioctl_info(handle, ptr);
	case FLIGHTREC_IOC_SEEK_SEQ:
	case FLIGHTREC_IOC_SEEK_TIME:
		return ioctl_seek(file, cmd, ptr);
	case FLIGHTREC_IOC_CLEAR:
		if (!(file->f_mode & (FMODE_READ | FMODE_WRITE)))
			return -EBADF;
		if (!capable(CAP_SYSLOG))
			return -EPERM;
		flightrec_channel_clear(handle->channel);
		return 0;
	case FLIGHTREC_IOC_SET_FLAGS:
		return ioctl_set_flags(handle, ptr);
	default:
		return -ENOTTY;
	}
}

static const struct file_operations node_fops = {
	.owner = THIS_MODULE,
	.open = node_open,
	.release = node_release,
	.read = node_read,
	.write = node_write,
	.write_iter = node_write_iter,
	.llseek = node_llseek,
	.poll = node_poll,
	.unlocked_ioctl = node_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static const struct flightrec_channel *to_channel(const struct device *dev)
{
	return container_of(dev, struct flightrec_channel, dev);
}

static char *node_devnode(const struct device *dev, umode_t *mode, kuid_t *uid,
			  kgid_t *gid)
{
	const struct flightrec_channel *channel = to_channel(dev);

	if (mode)
		*mode = channel->config.mode;
	if (gid)
		*gid = channel->config.gid;
	return kasprintf(GFP_KERNEL, "flightrec/%s", channel->name);
}

/* Tells udev whether the administrator has chosen the access already. */
static int node_uevent(const struct device *dev, struct kobj_uevent_env *env)
{
	return add_uevent_var(env, "FLIGHTREC_ACCESS=%s",
			      to_channel(dev)->config.access_given ?
			      "given" : "default");
}

FLIGHTREC_DEVICE_TYPE_CALLBACKS(node_uevent, node_devnode)

static const struct device_type node_type = {
	.name = "flightrec",
	.uevent = FLIGHTREC_DEVICE_TYPE_PICK(uevent, node_uevent),
	.devnode = FLIGHTREC_DEVICE_TYPE_PICK(devnode, node_devnode),
};

int flightrec_chardev_add(struct flightrec_channel *channel, unsigned int id)
{
	struct device *dev = &channel->dev;
	int err;

	dev->class = &node_class;
	dev->type = &node_type;
	dev->devt = first_devt + id;
	err = dev_set_name(dev, "%s", channel->name);
	if (err)
		return err;
	dev_set_uevent_suppress(dev, true);
	return device_add(dev);
}

void flightrec_chardev_announce(struct flightrec_channel *channel)
{
	dev_set_uevent_suppress(&channel->dev, false);
	kobject_uevent(&channel->dev.kobj, KOBJ_ADD);
}

void flightrec_chardev_del(struct flightrec_channel *channel)
{
	device_del(&channel->dev);
}

int flightrec_chardev_init(void)
{
	int err;

	err = alloc_chrdev_region(&first_devt, 0, FLIGHTREC_CHANNELS_MAX,
				  "flightrec");
	if (err)
		return err;
	err = class_register(&node_class);
	if (err)
		goto err_region;
	cdev_init(&node_cdev, &node_fops);
	node_cdev.owner = THIS_MODULE;
	err = cdev_add(&node_cdev, first_devt, FLIGHTREC_CHANNELS_MAX);
	if (err)
		goto err_class;
	return 0;

err_class:
	class_unregister(&node_class);
err_region:
	unregister_chrdev_region(first_devt, FLIGHTREC_CHANNELS_MAX);
	return err;
}

void flightrec_chardev_exit(void)
{
	cdev_del(&node_cdev);
	class_unregister(&node_class);
	unregister_chrdev_region(first_devt, FLIGHTREC_CHANNELS_MAX);
}
