// SPDX-License-Identifier: GPL-2.0-only
/*
 * The table of channels, and who may open them.
 */
#include <linux/moduleparam.h>
#include <linux/pid_namespace.h>
#include <linux/sched.h>

#include "table.h"

static bool containers;
module_param(containers, bool, 0644);
MODULE_PARM_DESC(containers, "let processes outside the initial pid namespace open channels (default: N)");

struct flightrec_channel *flightrec_channels[FLIGHTREC_CHANNELS_MAX];
unsigned int flightrec_channel_count;

/* Nobody gets at a channel before init can no longer fail. */
static bool ready;

struct flightrec_channel *flightrec_channel_at(unsigned int id)
{
	/* Pairs with the release in flightrec_table_publish(). */
	if (!smp_load_acquire(&ready) || id >= flightrec_channel_count)
		return NULL;
	return flightrec_channels[id];
}

int flightrec_may_open(void)
{
	if (READ_ONCE(containers) || task_active_pid_ns(current) == &init_pid_ns)
		return 0;
	return -EPERM;
}

void __init flightrec_table_publish(void)
{
	smp_store_release(&ready, true);
}
