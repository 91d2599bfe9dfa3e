// SPDX-License-Identifier: GPL-2.0-only
/*
 * Channels come and go. The order in which one goes:
 *
 *   nobody can open it any more      the table
 *   its node goes                    udev
 *   no crash prints it               crash.c
 *   writes are refused               flightrec_channel_end(): after a grace period no write
 *                                    and no crash is under way, and readers see the end
 *   its file in /proc goes           waits for calls that are under way there, in which the
 *                                    caller's buffer may be slow: by a work item
 *   its place and its name are free
 *   the table's reference goes       the last descriptor frees the memory
 */
#include <linux/completion.h>
#include <linux/errno.h>
#include <linux/jiffies.h>
#include <linux/workqueue.h>

#include "channel.h"
#include "chardev.h"
#include "crash.h"
#include "lifetime.h"
#include "procfs.h"
#include "table.h"

static struct workqueue_struct *removals;

int __init flightrec_lifetime_init(void)
{
	/* Unbound: a removal that waits holds no other one up. */
	removals = alloc_workqueue("flightrec", WQ_UNBOUND, 0);
	return removals ? 0 : -ENOMEM;
}

void flightrec_lifetime_exit(void)
{
	destroy_workqueue(removals);
}

int flightrec_lifetime_add_nodes(struct flightrec_channel *channel)
{
	int err = flightrec_procfs_add(channel);

	if (err)
		return err;
	err = flightrec_chardev_add(channel);
	if (err) {
		flightrec_procfs_del(channel);
		channel->proc = NULL;
	}
	return err;
}

void flightrec_lifetime_del_nodes(struct flightrec_channel *channel)
{
	if (channel->node)
		flightrec_chardev_del(channel);
	if (channel->proc)
		flightrec_procfs_del(channel);
}

void flightrec_lifetime_show(struct flightrec_channel *channel)
{
	flightrec_table_show(channel, true);
	flightrec_chardev_announce(channel);
	if (channel->config.crash_text)
		flightrec_crash_add(channel);
}

static void finish_removal(struct work_struct *work)
{
	struct flightrec_channel *channel =
		container_of(work, struct flightrec_channel, removal);

	flightrec_procfs_del(channel);
	flightrec_table_del(channel);
	complete(&channel->removed);
	flightrec_channel_put(channel);
}

void flightrec_lifetime_remove(struct flightrec_channel *channel)
{
	flightrec_table_show(channel, false);
	flightrec_chardev_del(channel);
	flightrec_crash_del(channel);
	flightrec_channel_end(channel);
	init_completion(&channel->removed);
	INIT_WORK(&channel->removal, finish_removal);
	/* The table's reference goes with it. */
	queue_work(removals, &channel->removal);
	/* Only so that the name is free when it returns, and the work's reference is gone. */
	if (wait_for_completion_killable_timeout(&channel->removed, HZ) > 0)
		flush_work(&channel->removal);
}
