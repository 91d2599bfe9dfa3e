// SPDX-License-Identifier: GPL-2.0-only
/*
 * Parameters, the channels as they are wanted, and the order of init and its reverse.
 */
#define pr_fmt(fmt) "flightrec: " fmt

#include <linux/init.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/slab.h>
#include <linux/uidgid.h>

#include "bootid.h"
#include "bounds.h"
#include "channel.h"
#include "chardev.h"
#include "clock.h"
#include "control.h"
#include "crash.h"
#include "kevent.h"
#include "lifetime.h"
#include "procfs.h"
#include "quota.h"
#include "region.h"
#include "requests.h"
#include "table.h"

#define USER_CHANNELS_MAX (FLIGHTREC_CHANNELS_MAX - 2)
#define SPARSE_CPU_BLOCKS 4	/* for each possible CPU; with fewer, retention suffers much */

static char *names[USER_CHANNELS_MAX] = { "default" };
static unsigned int names_count = 1;
module_param_array_named(channels, names, charp, &names_count, 0444);
MODULE_PARM_DESC(channels, "names of the channels that user space writes (default: default)");

static unsigned int sizes_kb[USER_CHANNELS_MAX];
static unsigned int sizes_count;
module_param_array_named(size_kb, sizes_kb, uint, &sizes_count, 0444);
MODULE_PARM_DESC(size_kb, "KiB kept by each channel, in the order of channels (default: 1024, or 18 blocks of 16 KiB per possible CPU if that is more)");

/* Of a value that makes no sense, what the log gets. */
#define SHOWN_MAX 64

/* Octal text only: a mode in another base is a mistake that opens a node to others. */
static int set_octal(const char *val, const struct kernel_param *kp)
{
	if (strspn(val, "01234567") != strlen(val) || kstrtou16(val, 8, kp->arg)) {
		pr_err("parameter mode: \"%*pE\" is not an octal number like 0640\n",
		       (int)strnlen(val, SHOWN_MAX), val);
		return -EINVAL;
	}
	return 0;
}

static int get_octal(char *buffer, const struct kernel_param *kp)
{
	/* The array's own get() makes a comma of the newline. */
	return scnprintf(buffer, PAGE_SIZE, "%#o\n", *(u16 *)kp->arg);
}

static const struct kernel_param_ops param_ops_octal = {
	.set = set_octal,
	.get = get_octal,
};

#define param_check_octal(name, p) __param_check(name, p, u16)

static u16 modes[USER_CHANNELS_MAX];
static unsigned int modes_count;
module_param_array_named(mode, modes, octal, &modes_count, 0444);
MODULE_PARM_DESC(mode, "permissions of each channel's nodes, octal digits with or without a leading 0 (default: 0600)");

static unsigned int gids[USER_CHANNELS_MAX];
static unsigned int gids_count;
module_param_array_named(gid, gids, uint, &gids_count, 0444);
MODULE_PARM_DESC(gid, "numeric group of each channel's nodes (default: 0)");

static bool in_crash_text[USER_CHANNELS_MAX];
static unsigned int in_crash_text_count;
module_param_array_named(crash, in_crash_text, bool, &in_crash_text_count, 0444);
MODULE_PARM_DESC(crash, "print each channel's newest records on an oops and on a panic (default: Y)");

module_param_cb(crash_kb, &flightrec_crash_kb_ops, NULL, 0644);
MODULE_PARM_DESC(crash_kb, "KiB of text that a crash prints, 1 to 64 (default: 4)");

module_param_cb(events, &flightrec_events_ops, NULL, 0644);
MODULE_PARM_DESC(events, "kernel events to record: " FLIGHTREC_SOURCE_WORDS "or none (default: all)");

module_param_cb(quota, &flightrec_quota_ops, NULL, 0644);
MODULE_PARM_DESC(quota, "bytes per second that each user may write, 0 for any number (default: a quarter of the smallest channel)");

static int __init check_counts(void)
{
	const struct {
		const char *name;
		unsigned int count;
	} arrays[] = {
		{ "size_kb", sizes_count },
		{ "mode", modes_count },
		{ "gid", gids_count },
		{ "crash", in_crash_text_count },
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(arrays); i++) {
		if (arrays[i].count <= names_count)
			continue;
		pr_err("parameter %s has %u values for %u channels\n",
		       arrays[i].name, arrays[i].count, names_count);
		return -EINVAL;
	}
	return 0;
}

static int __init check_name(unsigned int i)
{
	unsigned int j;

	if (!flightrec_name_ok(names[i])) {
		pr_err("parameter channels: \"%s\" is not a name: 1 to %d of a-z, 0-9, _ and -, and not \"stats\"\n",
		       names[i], FLIGHTREC_NAME_MAX - 1);
		return -EINVAL;
	}
	if (flightrec_name_fixed(names[i])) {
		pr_err("parameter channels: \"%s\" is reserved and always exists\n",
		       names[i]);
		return -EINVAL;
	}
	for (j = 0; j < i; j++) {
		if (strcmp(names[i], names[j]))
			continue;
		pr_err("parameter channels: \"%s\" is named twice\n", names[i]);
		return -EINVAL;
	}
	return 0;
}

/* The longest texts, freed with the code that prints them: those of pr_err() are kept. */
static const char too_large[] __initconst = KERN_ERR pr_fmt(
	"parameter size_kb: %u for channel \"%s\" is too large; the most is %llu\n");
static const char too_small[] __initconst = KERN_ERR pr_fmt(
	"parameter size_kb: %u for channel \"%s\" is too small; with %u possible CPUs the least is %llu\n");
static const char little[] __initconst = KERN_NOTICE pr_fmt(
	"parameter size_kb: %u for channel \"%s\" is little for %u possible CPUs: the newest records of one may be overwritten before older ones of others; %llu or more avoids most of it\n");
static const char more_than_memory[] __initconst = KERN_ERR pr_fmt(
	"parameter size_kb: %llu KiB for all channels is more than a quarter of memory, %llu KiB\n");

static int __init configure_size(struct flightrec_config *config, unsigned int i)
{
	config->bytes = flightrec_default_bytes();
	if (i >= sizes_count)
		return 0;
	config->bytes = sizes_kb[i] * 1024ULL;
	if (config->bytes > flightrec_ring_max_bytes()) {
		printk(too_large, sizes_kb[i], config->name, flightrec_ring_max_bytes() >> 10);
		return -EINVAL;
	}
	if (config->bytes >= flightrec_min_bytes()) {
		if (config->bytes < flightrec_bytes_per_cpu(SPARSE_CPU_BLOCKS))
			printk(little, sizes_kb[i], config->name, num_possible_cpus(),
			       flightrec_bytes_per_cpu(SPARSE_CPU_BLOCKS) >> 10);
		return 0;
	}
	printk(too_small, sizes_kb[i], config->name, num_possible_cpus(),
	       flightrec_min_bytes() >> 10);
	return -EINVAL;
}

static int __init configure_access(struct flightrec_config *config, unsigned int i)
{
	config->mode = 0600;
	config->gid = GLOBAL_ROOT_GID;
	config->access_given = i < modes_count || i < gids_count;
	if (i < modes_count) {
		config->mode = modes[i];
		if (!flightrec_mode_ok(modes[i])) {
			pr_err("parameter mode: 0%o for channel \"%s\" is not within 0002 to 0666\n",
			       modes[i], config->name);
			return -EINVAL;
		}
	}
	if (i < gids_count) {
		config->gid = make_kgid(&init_user_ns, gids[i]);
		if (!gid_valid(config->gid)) {
			pr_err("parameter gid: %u for channel \"%s\" is not a group\n",
			       gids[i], config->name);
			return -EINVAL;
		}
	}
	return 0;
}

static int __init configure(struct flightrec_config *config, unsigned int i)
{
	int err;

	config->name = names[i];
	config->user_writes = true;
	config->crash_text = i >= in_crash_text_count || in_crash_text[i];
	err = check_name(i);
	if (!err)
		err = configure_size(config, i);
	if (!err)
		err = configure_access(config, i);
	return err;
}

/* All channels as wanted: the two that always exist, then the user's. */
static int __init configure_all(struct flightrec_config *configs)
{
	u64 limit = flightrec_bytes_limit();
	u64 total = 0;
	unsigned int i;
	int err;

	err = check_counts();
	if (err)
		return err;
	configs[0] = (struct flightrec_config) {
		.name = "kernel", .bytes = flightrec_default_bytes(), .mode = 0400,
		.crash_text = true,
	};
	configs[1] = (struct flightrec_config) {
		.name = "selftest", .bytes = flightrec_min_bytes(), .mode = 0600,
		.user_writes = true,
	};
	for (i = 0; i < names_count; i++) {
		err = configure(&configs[2 + i], i);
		if (err)
			return err;
	}
	for (i = 0; i < names_count + 2; i++)
		total += configs[i].bytes;
	if (total <= limit)
		return 0;
	printk(more_than_memory, total >> 10, limit >> 10);
	return -ENOMEM;
}

/*
 * All channels but the smoke test's go into memory that a reset leaves alone, if there
 * is such. Only then is anything written to it.
 */
static int __init put_into_region(struct flightrec_config *configs)
{
	u64 blocks = flightrec_region_blocks();
	u64 need = 0;
	unsigned int i;

	if (!blocks)
		return 0;
	for (i = 0; i < names_count + 2; i++) {
		configs[i].reserved = strcmp(configs[i].name, "selftest");
		if (configs[i].reserved)
			need += flightrec_ring_blocks_in(configs[i].bytes);
	}
	if (need > blocks) {
		pr_err("parameter reserved: %llu KiB are too few: the channels need %llu, half of them for the records of the boot before\n",
		       2 * blocks * (FLIGHTREC_RING_BLOCK_BYTES >> 10),
		       2 * need * (FLIGHTREC_RING_BLOCK_BYTES >> 10));
		return -EINVAL;
	}
	flightrec_region_wipe();
	return 0;
}

static void destroy_channels(void)
{
	struct flightrec_channel *channel;
	int i;

	for (i = FLIGHTREC_CHANNELS_MAX - 1; i >= 0; i--) {
		channel = flightrec_channels[i];
		if (!channel)
			continue;
		flightrec_table_del(channel);
		flightrec_channel_put(channel);
	}
}

static int __init create_channels(void)
{
	struct flightrec_config *configs;
	struct flightrec_channel *channel;
	unsigned int i;
	int err;

	configs = kcalloc(FLIGHTREC_CHANNELS_MAX, sizeof(*configs), GFP_KERNEL);
	if (!configs)
		return -ENOMEM;
	err = configure_all(configs);
	if (!err)
		err = put_into_region(configs);
	for (i = 0; !err && i < names_count + 2; i++) {
		channel = flightrec_channel_new(&configs[i]);
		if (IS_ERR(channel)) {
			err = PTR_ERR(channel);
			pr_err("cannot make channel \"%s\" of %llu KiB: %pe\n",
			       configs[i].name, configs[i].bytes >> 10, channel);
			break;
		}
		/* There is a place for each that was configured. */
		flightrec_table_add(channel);
	}
	kfree(configs);
	if (err)
		destroy_channels();
	return err;
}

static void hide_channels(void)
{
	int i;

	for (i = FLIGHTREC_CHANNELS_MAX - 1; i >= 0; i--)
		if (flightrec_channels[i])
			flightrec_lifetime_del_nodes(flightrec_channels[i]);
}

static int __init show_channels(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < names_count + 2; i++) {
		err = flightrec_lifetime_add_nodes(flightrec_channels[i]);
		if (err) {
			pr_err("no nodes for channel \"%s\": %pe\n", flightrec_channels[i]->name,
			       ERR_PTR(err));
			hide_channels();
			return err;
		}
	}
	return 0;
}

static int __init flightrec_init(void)
{
	unsigned int i;
	int err;

	flightrec_boot_id_init();
	flightrec_clock_init();
	/* What the administrator can get wrong comes before what others see. */
	err = flightrec_region_open();
	if (err)
		return err;
	err = flightrec_channels_init();
	if (err)
		goto err_region;
	err = create_channels();
	if (err)
		goto err_srcu;
	err = flightrec_chardev_init();
	if (err) {
		pr_err("no device numbers: %pe\n", ERR_PTR(err));
		goto err_channels;
	}
	err = flightrec_procfs_init();
	if (err) {
		pr_err("no /proc/flightrec: %pe\n", ERR_PTR(err));
		goto err_chardev;
	}
	err = show_channels();
	if (err)
		goto err_procfs;
	err = flightrec_control_init();
	if (err) {
		pr_err("no /dev/" FLIGHTREC_CONTROL ": %pe\n", ERR_PTR(err));
		goto err_nodes;
	}
	/* From here on nothing fails. */
	for (i = 0; i < names_count + 2; i++)
		flightrec_lifetime_show(flightrec_channels[i]);
	flightrec_control_start();
	flightrec_crash_start();
	flightrec_requests_start(flightrec_channels[0]);
	return 0;

err_nodes:
	hide_channels();
err_procfs:
	flightrec_procfs_exit();
err_chardev:
	flightrec_chardev_exit();
err_channels:
	destroy_channels();
err_srcu:
	flightrec_channels_exit();
err_region:
	flightrec_region_close();
	return err;
}

static void __exit flightrec_exit(void)
{
	flightrec_control_exit();
	flightrec_requests_stop();
	flightrec_crash_stop();
	hide_channels();
	flightrec_procfs_exit();
	flightrec_chardev_exit();
	destroy_channels();
	flightrec_channels_exit();
	flightrec_region_close();
}

module_init(flightrec_init);
module_exit(flightrec_exit);

MODULE_DESCRIPTION("Black-box recorder: events in memory, stamped by the kernel");
MODULE_AUTHOR("The flightrec developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(FLIGHTREC_VERSION);
