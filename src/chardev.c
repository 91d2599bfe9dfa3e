// SPDX-License-Identifier: GPL-2.0-only
/*
 * /dev/flightrec/<channel>. The ABI is described in uapi/flightrec.h.
 */
#include <linux/cdev.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/platform_device.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/splice.h>
#include <linux/time_namespace.h>
#include <linux/uaccess.h>

#include "chardev.h"
#include "handle.h"
#include "table.h"
#include "compat/compat.h"

static dev_t first_devt;
/* Not of this module's memory: both may be released after it has gone. */
static struct cdev *node_cdev;
static struct class *node_class;

static int node_open(struct inode *inode, struct file *file)
{
	struct flightrec_channel *channel = flightrec_table_get(iminor(inode));
	struct flightrec_handle *handle;
	int err;

	if (!channel)
		return -ENXIO;
	err = flightrec_may_open();
	if (err)
		goto err_channel;
	if ((file->f_mode & FMODE_WRITE) && !channel->config.user_writes) {
		err = -EACCES;
		goto err_channel;
	}
	handle = kzalloc(sizeof(*handle), GFP_KERNEL);
	if (!handle) {
		err = -ENOMEM;
		goto err_channel;
	}
	handle->channel = channel;
	mutex_init(&handle->lock);
	if (file->f_mode & FMODE_READ) {
		flightrec_seek_oldest(handle);
		atomic_inc(&channel->readers);
	}
	file->private_data = handle;
	/* A cursor per descriptor, no file offsets: pread, pwrite get ESPIPE. */
	file->f_mode &= ~(FMODE_PREAD | FMODE_PWRITE);
	/* io_uring need not ask a worker, which costs a hundred writes. */
	file->f_mode |= FMODE_NOWAIT;
	flightrec_no_notify(file);
	return 0;

err_channel:
	flightrec_channel_put(channel);
	return err;
}

static int node_release(struct inode *inode, struct file *file)
{
	struct flightrec_handle *handle = file->private_data;

	if (file->f_mode & FMODE_READ)
		atomic_dec(&handle->channel->readers);
	flightrec_channel_put(handle->channel);
	kfree(handle);
	return 0;
}

static loff_t node_llseek(struct file *file, loff_t offset, int whence)
{
	struct flightrec_handle *handle = file->private_data;

	if (whence == SEEK_CUR)
		return -ESPIPE;
	if (offset || (whence != SEEK_SET && whence != SEEK_END))
		return -EINVAL;
	if (mutex_lock_interruptible(&handle->lock))
		return -ERESTARTSYS;
	if (whence == SEEK_SET)
		flightrec_seek_oldest(handle);
	else
		flightrec_seek_newest(handle);
	flightrec_handle_unlock(handle);
	/* Who sleeps at the old place may have something to read at the new one. */
	flightrec_channel_wake(handle->channel, 0);
	return 0;
}

/* Once it waits: the end wakes once. */
static __poll_t poll_end(const struct file *file, const struct flightrec_channel *channel)
{
	if (!flightrec_channel_ended(channel))
		return 0;
	return file->f_mode & FMODE_WRITE ? EPOLLHUP | EPOLLERR : EPOLLHUP;
}

static __poll_t node_poll(struct file *file, poll_table *wait)
{
	struct flightrec_handle *handle = file->private_data;
	struct flightrec_channel *channel = handle->channel;
	struct flightrec_waiters *waiters;
	__poll_t mask = 0, end;

	if (channel->config.user_writes)
		mask |= EPOLLOUT | EPOLLWRNORM;
	/* Who may not read is woken by the end alone: each wake-up costs writers. */
	if (!(file->f_mode & FMODE_READ)) {
		poll_wait(file, &channel->end_wait, wait);
		return mask | poll_end(file, channel);
	}
	waiters = flightrec_handle_waiters(handle);
	if (waiters == &channel->urgent_wait) {
		WRITE_ONCE(handle->urgent_polled, true);
		/* Pairs with the one in ioctl_set_filter(): one of the two sees the other. */
		smp_mb();
		waiters = flightrec_handle_waiters(handle);
	}
	poll_wait(file, &waiters->wait, wait);
	/* Pairs with flightrec_channel_wake()'s: poll_wait() has none before 6.14. */
	smp_mb();
	if (flightrec_handle_ready(handle))
		mask |= EPOLLIN | EPOLLRDNORM;
	/* The end is something to read: that it is the end. */
	end = poll_end(file, channel);
	return end ? mask | end | EPOLLIN | EPOLLRDNORM : mask;
}

/*
 * A time on the caller's boot clock, which a time namespace may have set forward or
 * back, as the stamps have it.
 */
static u64 host_boot_ns(u64 ns)
{
	struct timespec64 offset = {};
	s64 ahead;

	timens_add_boottime(&offset);
	/* Not timespec64_to_ns(), which before 5.17 took no time before zero. */
	ahead = (s64)offset.tv_sec * NSEC_PER_SEC + offset.tv_nsec;
	if (ahead >= 0)
		return ns > ahead ? ns - ahead : 0;
	return ns - ahead > ns ? ns - ahead : U64_MAX;
}

static int ioctl_seek(struct file *file, unsigned int cmd, const void __user *arg)
{
	struct flightrec_handle *handle = file->private_data;
	u64 value;
	int err = 0;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (copy_from_user(&value, arg, sizeof(value)))
		return -EFAULT;
	if (mutex_lock_interruptible(&handle->lock))
		return -ERESTARTSYS;
	if (cmd == FLIGHTREC_IOC_SEEK_SEQ)
		err = flightrec_seek_seq(handle, value);
	else
		flightrec_seek_time(handle, host_boot_ns(value));
	flightrec_handle_unlock(handle);
	/* Who sleeps at the old place may have something to read at the new one. */
	flightrec_channel_wake(handle->channel, 0);
	return err;
}

/* Who may not read is not told how much others write. */
static int ioctl_info(struct file *file, void __user *arg, size_t size)
{
	const struct flightrec_ring *ring;
	struct flightrec_handle *handle = file->private_data;
	struct flightrec_info info = {
		.abi_version = FLIGHTREC_ABI_VERSION,
		.flags = READ_ONCE(handle->flags),
		.size = READ_ONCE(handle->channel->config.bytes),
		.filters = FLIGHTREC_FILTER_ALL,
		.features = FLIGHTREC_FEATURE_REMOVAL | FLIGHTREC_FEATURE_RESIZE,
	};
	u64 from;
	int held;

	static_assert(offsetof(struct flightrec_info, filters) == FLIGHTREC_INFO_MIN);
	if (size < FLIGHTREC_INFO_MIN)
		return -ENOTTY;
	if (file->f_mode & FMODE_READ) {
		ring = flightrec_ring_hold(handle->channel, &held);
		info.oldest_seq = flightrec_ring_oldest(ring, NULL);
		info.next_seq = flightrec_ring_next(ring);
		flightrec_ring_release(held);
		from = max_t(u64, READ_ONCE(handle->cursor.seq), info.oldest_seq);
		info.waiting = info.next_seq > from ? info.next_seq - from : 0;
	}
	strscpy(info.name, handle->channel->name, sizeof(info.name));
	return copy_to_user(arg, &info, min(size, sizeof(info))) ? -EFAULT : 0;
}

static int ioctl_set_filter(struct file *file, const void __user *arg, size_t size)
{
	struct flightrec_handle *handle = file->private_data;
	struct flightrec_filter filter;
	u32 before;
	int err;

	if (!(file->f_mode & FMODE_READ))
		return -EBADF;
	if (size < sizeof(filter))
		return -ENOTTY;
	err = copy_struct_from_user(&filter, sizeof(filter), arg, size);
	if (err)
		return err;
	if (filter.features & ~FLIGHTREC_FILTER_ALL || filter.severity > 7)
		return -EINVAL;
	if (mutex_lock_interruptible(&handle->lock))
		return -ERESTARTSYS;
	before = handle->filter.features;
	/* From here on a poll in between waits for more, not for less. */
	WRITE_ONCE(handle->filter.features, 0);
	smp_mb();	/* pairs with the one in node_poll() */
	/* A poller stays where it is, and would miss what is less urgent. */
	if (READ_ONCE(handle->urgent_polled) &&
	    !(filter.features & FLIGHTREC_FILTER_SEVERITY &&
	      filter.severity < FLIGHTREC_SEVERITY_DEFAULT)) {
		err = -EBUSY;
		WRITE_ONCE(handle->filter.features, before);
	} else {
		handle->filter.uid = filter.uid;
		handle->filter.pid = filter.pid;
		handle->filter.cgroup = filter.cgroup;
		WRITE_ONCE(handle->filter.severity, filter.severity);
		/* Whoever sees these sees the severity: pairs with flightrec_handle_waiters(). */
		smp_store_release(&handle->filter.features, filter.features);
	}
	flightrec_handle_unlock(handle);
	/* Who sleeps may want something else now, and sleeps elsewhere. */
	flightrec_channel_wake(handle->channel, 0);
	return err;
}

static int ioctl_set_flags(struct flightrec_handle *handle, const u32 __user *arg)
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
	struct flightrec_handle *handle = file->private_data;
	void __user *ptr = (void __user *)arg;

	/* What has grown, or may grow: of any size. */
	switch (cmd & ~IOCSIZE_MASK) {
	case FLIGHTREC_IOC_GET_INFO & ~IOCSIZE_MASK:
		return ioctl_info(file, ptr, _IOC_SIZE(cmd));
	case FLIGHTREC_IOC_SET_FILTER & ~IOCSIZE_MASK:
		return ioctl_set_filter(file, ptr, _IOC_SIZE(cmd));
	}
	switch (cmd) {
	case FLIGHTREC_IOC_SEEK_SEQ:
	case FLIGHTREC_IOC_SEEK_TIME:
		return ioctl_seek(file, cmd, ptr);
	case FLIGHTREC_IOC_CLEAR:
		if (!(file->f_mode & (FMODE_READ | FMODE_WRITE)))
			return -EBADF;
		if (!capable(CAP_SYSLOG))
			return -EPERM;
		return flightrec_channel_clear(handle->channel);
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
	.read_iter = flightrec_read_iter,
	.write = flightrec_write,
	.write_iter = flightrec_write_iter,
	.llseek = node_llseek,
	.poll = node_poll,
	.splice_write = iter_file_splice_write,
	/* What write(2) took is as safe as it will ever be. */
	.fsync = noop_fsync,
	.unlocked_ioctl = node_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};

static const struct flightrec_channel *to_channel(const struct device *dev)
{
	return dev_get_drvdata(dev);
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

/*
 * A platform device only by its allocation: others may hold a device for any time
 * after it was deleted, and what releases this one is the kernel's own code, so
 * that an unload need not wait for them.
 */
int flightrec_chardev_add(struct flightrec_channel *channel)
{
	struct platform_device *pdev = platform_device_alloc("flightrec", channel->minor);
	struct device *dev;
	int err;

	if (!pdev)
		return -ENOMEM;
	dev = &pdev->dev;
	dev->class = node_class;
	dev->type = &node_type;
	dev->devt = first_devt + channel->minor;
	dev_set_drvdata(dev, channel);
	err = dev_set_name(dev, "%s", channel->name);
	if (!err) {
		dev_set_uevent_suppress(dev, true);
		err = device_add(dev);
	}
	if (err)
		put_device(dev);
	else
		channel->node = dev;
	return err;
}

void flightrec_chardev_announce(struct flightrec_channel *channel)
{
	dev_set_uevent_suppress(channel->node, false);
	kobject_uevent(&channel->node->kobj, KOBJ_ADD);
}

void flightrec_chardev_del(struct flightrec_channel *channel)
{
	device_unregister(channel->node);
}

int __init flightrec_chardev_init(void)
{
	int err;

	err = alloc_chrdev_region(&first_devt, 0, FLIGHTREC_MINORS, "flightrec");
	if (err)
		return err;
	node_class = flightrec_class_create("flightrec");
	if (IS_ERR(node_class)) {
		err = PTR_ERR(node_class);
		goto err_region;
	}
	node_cdev = cdev_alloc();
	if (!node_cdev) {
		err = -ENOMEM;
		goto err_class;
	}
	node_cdev->ops = &node_fops;
	node_cdev->owner = THIS_MODULE;
	err = cdev_add(node_cdev, first_devt, FLIGHTREC_MINORS);
	if (err)
		goto err_cdev;
	return 0;

err_cdev:
	kobject_put(&node_cdev->kobj);
err_class:
	class_destroy(node_class);
err_region:
	unregister_chrdev_region(first_devt, FLIGHTREC_MINORS);
	return err;
}

void flightrec_chardev_exit(void)
{
	cdev_del(node_cdev);
	class_destroy(node_class);
	unregister_chrdev_region(first_devt, FLIGHTREC_MINORS);
}
