// SPDX-License-Identifier: GPL-2.0-only
/*
 * Filled during init, then constant until the module goes.
 */
#include <linux/moduleparam.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>

#include "table.h"

static bool containers;
module_param(containers, bool, 0644);
MODULE_PARM_DESC(containers, "let processes outside the initial pid namespace open channels (default: N)");

static struct flightrec_channel *channels[FLIGHTREC_CHANNELS_MAX];
static unsigned int count;

/* Nobody gets at a channel before init can no longer fail. */
static bool ready;

struct flightrec_channel *flightrec_channel_at(unsigned int id)
{
	/* Pairs with the release in flightrec_table_publish(). */
	if (!smp_load_acquire(&ready) || id >= count)
		return NULL;
	return channels[id];
}

int flightrec_may_open(void)
{
	if (READ_ONCE(containers) || task_active_pid_ns(current) == &init_pid_ns)
		return 0;
	return -EPERM;
}

void __init flightrec_table_add(struct flightrec_channel *channel)
{
	channels[count++] = channel;
}

void __init flightrec_table_publish(void)
{
	smp_store_release(&ready, true);
}
