// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of channels, and who may open them.
 */
#include <linux/moduleparam.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "table.h"

static bool containers;
module_param(containers, bool, 0644);
MODULE_PARM_DESC(containers, "let processes outside the initial pid namespace open channels (default: N)");

struct flightrec_channel *flightrec_channels[FLIGHTREC_CHANNELS_MAX];

/* The table, against those who look for a channel to open. */
static DEFINE_SPINLOCK(lock);

static unsigned int next_minor;

static struct flightrec_channel *get_if(struct flightrec_channel *channel)
{
	if (!channel || !channel->visible)
		return NULL;
	refcount_inc(&channel->refs);
	return channel;
}

struct flightrec_channel *flightrec_table_at(unsigned int place)
{
	struct flightrec_channel *channel;

	spin_lock(&lock);
	channel = get_if(flightrec_channels[place]);
	spin_unlock(&lock);
	return channel;
}

static struct flightrec_channel *with_minor(unsigned int minor)
{
	unsigned int i;

	for (i = 0; i < FLIGHTREC_CHANNELS_MAX; i++)
		if (flightrec_channels[i] && flightrec_channels[i]->minor == minor)
			return flightrec_channels[i];
	return NULL;
}

struct flightrec_channel *flightrec_table_get(unsigned int minor)
{
	struct flightrec_channel *channel;

	spin_lock(&lock);
	channel = get_if(with_minor(minor));
	spin_unlock(&lock);
	return channel;
}

struct flightrec_channel *flightrec_table_find(const char *name)
{
	struct flightrec_channel *channel, *found = NULL;
	unsigned int i;

	spin_lock(&lock);
	for (i = 0; i < FLIGHTREC_CHANNELS_MAX && !found; i++) {
		channel = flightrec_channels[i];
		if (channel && !strcmp(channel->name, name))
			found = channel;
	}
	/* What is in the table has the table's reference. */
	if (found)
		refcount_inc(&found->refs);
	spin_unlock(&lock);
	return found;
}

/* A node that somebody kept of a channel that is gone must not open another one soon. */
static unsigned int new_minor(void)
{
	unsigned int minor;

	do
		minor = next_minor++ % FLIGHTREC_MINORS;
	while (with_minor(minor));
	return minor;
}

int flightrec_table_add(struct flightrec_channel *channel)
{
	unsigned int i;

	spin_lock(&lock);
	for (i = 0; i < FLIGHTREC_CHANNELS_MAX; i++)
		if (!flightrec_channels[i])
			break;
	if (i < FLIGHTREC_CHANNELS_MAX) {
		channel->minor = new_minor();
		flightrec_channels[i] = channel;
	}
	spin_unlock(&lock);
	return i < FLIGHTREC_CHANNELS_MAX ? 0 : -ENOSPC;
}

void flightrec_table_del(struct flightrec_channel *channel)
{
	unsigned int i;

	spin_lock(&lock);
	for (i = 0; i < FLIGHTREC_CHANNELS_MAX; i++)
		if (flightrec_channels[i] == channel)
			flightrec_channels[i] = NULL;
	spin_unlock(&lock);
}

void flightrec_table_show(struct flightrec_channel *channel, bool visible)
{
	spin_lock(&lock);
	channel->visible = visible;
	spin_unlock(&lock);
}

int flightrec_may_open(void)
{
	if (READ_ONCE(containers) || task_active_pid_ns(current) == &init_pid_ns)
		return 0;
	return -EPERM;
}
