// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels at run time. An ioctl rather than configfs: a channel is made of a name, a size
 * and rights at once or not at all, a removal can be refused, and an error is an errno;
 * a folder of configfs would come first and its size later, its rmdir cannot fail, and
 * configfs is not there on each kernel.
 */
#include <linux/capability.h>
#include <linux/err.h>
#include <linux/fs.h>
#include <linux/limits.h>
#include <linux/minmax.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/uidgid.h>

#include "bounds.h"
#include "channel.h"
#include "control.h"
#include "lifetime.h"
#include "memory.h"
#include "quota.h"
#include "table.h"

/* One change of the table at a time. */
static DEFINE_MUTEX(lock);
static bool ready;

/* What a user may write follows the smallest channel. */
static void adapt_quota(void)
{
	struct flightrec_channel *channel;
	u64 least = U64_MAX;
	unsigned int i;

	for (i = 0; i < FLIGHTREC_CHANNELS_MAX; i++) {
		channel = flightrec_table_at(i);
		if (!channel)
			continue;
		if (!flightrec_name_fixed(channel->name))
			least = min(least, channel->config.bytes);
		flightrec_channel_put(channel);
	}
	if (least != U64_MAX)
		flightrec_quota_default(least);
}

/* -ERANGE with the nearest size that can be had in @setup; 0 if there is none. */
static int check_size(struct flightrec_channel_setup *setup)
{
	u64 limit = flightrec_bytes_limit(), used = flightrec_memory_bytes();
	u64 most = limit > used ? (limit - used) & ~1023ULL : 0;
	u64 least = flightrec_min_bytes();

	most = min(most, flightrec_ring_max_bytes() & ~1023ULL);
	if (!setup->size)
		setup->size = flightrec_default_bytes();
	if (setup->size & 1023)
		return -EINVAL;
	if (setup->size >= least && setup->size <= most)
		return 0;
	setup->size = most < least ? 0 : clamp(setup->size, least, most);
	return -ERANGE;
}

static int configure(struct flightrec_config *config, struct flightrec_channel_setup *setup)
{
	bool with_mode = setup->features & FLIGHTREC_CHANNEL_MODE;
	bool with_gid = setup->features & FLIGHTREC_CHANNEL_GID;

	if (setup->features & ~FLIGHTREC_CHANNEL_ALL || setup->reserved ||
	    strnlen(setup->name, sizeof(setup->name)) == sizeof(setup->name) ||
	    !flightrec_name_ok(setup->name))
		return -EINVAL;
	config->name = setup->name;
	config->mode = with_mode ? setup->mode : 0600;
	config->gid = make_kgid(&init_user_ns, with_gid ? setup->gid : 0);
	/* A umode_t has fewer bits. */
	if (config->mode != (with_mode ? setup->mode : 0600) ||
	    !flightrec_mode_ok(config->mode) || !gid_valid(config->gid))
		return -EINVAL;
	config->access_given = with_mode || with_gid;
	config->user_writes = true;
	config->crash_text = !(setup->features & FLIGHTREC_CHANNEL_NO_CRASH);
	return 0;
}

static int create(struct flightrec_channel_setup *setup)
{
	struct flightrec_config config = {};
	struct flightrec_channel *channel;
	int err;

	err = configure(&config, setup);
	if (err)
		return err;
	channel = flightrec_table_find(setup->name);
	if (channel) {
		err = channel->writes ? -EBUSY : -EEXIST;
		flightrec_channel_put(channel);
		return err;
	}
	err = check_size(setup);
	if (err)
		return err;
	config.bytes = setup->size;
	channel = flightrec_channel_new(&config);
	if (IS_ERR(channel))
		return PTR_ERR(channel);
	err = flightrec_table_add(channel);
	if (err)
		goto err_channel;
	err = flightrec_lifetime_add_nodes(channel);
	if (err)
		goto err_table;
	flightrec_lifetime_show(channel);
	adapt_quota();
	return 0;

err_table:
	flightrec_table_del(channel);
err_channel:
	flightrec_channel_put(channel);
	return err;
}

/* The channel that @setup names, and nothing else but its size: one that may be changed. */
static struct flightrec_channel *find(const struct flightrec_channel_setup *setup)
{
	struct flightrec_channel_setup named = { .size = setup->size };
	struct flightrec_channel *channel;
	int err = 0;

	memcpy(named.name, setup->name, sizeof(named.name));
	if (memcmp(&named, setup, sizeof(named)) || named.name[sizeof(named.name) - 1])
		return ERR_PTR(-EINVAL);
	channel = flightrec_table_find(named.name);
	if (!channel)
		return ERR_PTR(-ENOENT);
	if (channel->writes)
		err = -ENOENT;
	else if (flightrec_name_fixed(named.name) || channel->config.reserved)
		err = -EBUSY;
	if (!err)
		return channel;
	flightrec_channel_put(channel);
	return ERR_PTR(err);
}

static int remove(const struct flightrec_channel_setup *setup)
{
	struct flightrec_channel *channel;

	if (setup->size)
		return -EINVAL;
	channel = find(setup);
	if (IS_ERR(channel))
		return PTR_ERR(channel);
	flightrec_lifetime_remove(channel);
	flightrec_channel_put(channel);
	adapt_quota();
	return 0;
}

static int resize(struct flightrec_channel_setup *setup)
{
	struct flightrec_channel *channel = find(setup);
	int err = 0;

	if (IS_ERR(channel))
		return PTR_ERR(channel);
	/* What it has already it may have, also where no memory is left for a second ring. */
	if (setup->size != channel->config.bytes) {
		err = check_size(setup);
		if (!err)
			err = flightrec_channel_resize(channel, setup->size);
	}
	flightrec_channel_put(channel);
	if (!err)
		adapt_quota();
	return err;
}

/* Under the lock; -ERANGE with a size in @setup. */
static int change(unsigned int request, struct flightrec_channel_setup *setup)
{
	if (!ready)
		return -ENODEV;
	if (request == (FLIGHTREC_IOC_CREATE & ~IOCSIZE_MASK))
		return create(setup);
	if (request == (FLIGHTREC_IOC_RESIZE & ~IOCSIZE_MASK))
		return resize(setup);
	return remove(setup);
}

static long control_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct flightrec_channel_setup __user *ptr = (void __user *)arg;
	unsigned int request = cmd & ~IOCSIZE_MASK;
	struct flightrec_channel_setup setup;
	int err;

	if (request != (FLIGHTREC_IOC_CREATE & ~IOCSIZE_MASK) &&
	    request != (FLIGHTREC_IOC_RESIZE & ~IOCSIZE_MASK) &&
	    request != (FLIGHTREC_IOC_REMOVE & ~IOCSIZE_MASK))
		return -ENOTTY;
	if (_IOC_SIZE(cmd) < sizeof(setup))
		return -ENOTTY;
	/* At each request: a descriptor may be handed on. */
	if (!capable(CAP_SYS_ADMIN))
		return -EPERM;
	err = copy_struct_from_user(&setup, sizeof(setup), ptr, _IOC_SIZE(cmd));
	if (err)
		return err;
	if (mutex_lock_killable(&lock))
		return -EINTR;
	err = change(request, &setup);
	mutex_unlock(&lock);
	/* The channel is as it was wanted, whether or not its size can be told. */
	if (cmd & (IOC_OUT) && (!err || err == -ERANGE) && put_user(setup.size, &ptr->size))
		return err ?: -EFAULT;
	return err;
}

static int control_open(struct inode *inode, struct file *file)
{
	return flightrec_may_open();
}

static const struct file_operations control_fops = {
	.owner = THIS_MODULE,
	.open = control_open,
	.unlocked_ioctl = control_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice control = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = FLIGHTREC_CONTROL,
	.fops = &control_fops,
	.mode = 0600,
};

int __init flightrec_control_init(void)
{
	int err = flightrec_lifetime_init();

	if (err)
		return err;
	err = misc_register(&control);
	if (err)
		flightrec_lifetime_exit();
	return err;
}

void __init flightrec_control_start(void)
{
	adapt_quota();
	mutex_lock(&lock);
	ready = true;
	mutex_unlock(&lock);
}

void flightrec_control_exit(void)
{
	misc_deregister(&control);
	flightrec_lifetime_exit();
}
