// SPDX-License-Identifier: GPL-2.0-only
/*
 * Network interfaces up and down, of the initial namespace only: any user can
 * make others and flood us.
 */
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <net/net_namespace.h>

#include "event.h"

/*
 * Registering for interfaces, and the reverse, replays an up or a down of each
 * that is up: those are no events.
 */
static bool replaying;

static int on_netdev(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct net_device *dev = netdev_notifier_info_to_dev(data);

	if (READ_ONCE(replaying) || !net_eq(dev_net(dev), &init_net))
		return NOTIFY_DONE;
	if (action == NETDEV_UP)
		event_emit(FLIGHTREC_SOURCE_NET, SEV_INFO,
			   "net up dev=%s ifindex=%d", dev->name, dev->ifindex);
	else if (action == NETDEV_DOWN)
		event_emit(FLIGHTREC_SOURCE_NET, SEV_INFO,
			   "net down dev=%s ifindex=%d", dev->name, dev->ifindex);
	return NOTIFY_DONE;
}

static struct notifier_block netdev_nb = { .notifier_call = on_netdev };

static int start(void)
{
	int err;

	WRITE_ONCE(replaying, true);
	err = register_netdevice_notifier(&netdev_nb);
	WRITE_ONCE(replaying, false);
	return err;
}

static void stop(void)
{
	WRITE_ONCE(replaying, true);
	unregister_netdevice_notifier(&netdev_nb);
}

const struct event_source event_net = { .start = start, .stop = stop };
