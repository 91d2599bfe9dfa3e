// SPDX-License-Identifier: GPL-2.0-only
/*
 * flightrec-events: kernel events as records in the channel "kernel". Knows
 * the core through kevent.h alone; which sources are wanted is decided there.
 */
#define pr_fmt(fmt) "flightrec-events: " fmt

#include <linux/init.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/netdevice.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/timekeeping.h>
#include <linux/timer.h>
#include <net/net_namespace.h>

#include "compat/compat.h"
#include "kevent.h"

#define HEARTBEAT_MAX_S 86400

/* Severities of syslog(3). */
#define SEV_NOTICE	5
#define SEV_INFO	6
#define SEV_DEBUG	7

static unsigned int heartbeat_s = 60;
static void heartbeat(struct timer_list *timer);
static DEFINE_TIMER(heartbeat_timer, heartbeat);
static bool running;	/* under the parameter lock */

/*
 * Registering for interfaces, and the reverse, replays an up or a down of each
 * that is up: those are no events.
 */
static bool replaying;

static void heartbeat(struct timer_list *timer)
{
	unsigned int period = READ_ONCE(heartbeat_s);

	flightrec_emit(FLIGHTREC_SOURCE_HEARTBEAT, SEV_DEBUG,
		       "heartbeat uptime_s=%lld", ktime_get_boottime_seconds());
	mod_timer(&heartbeat_timer, jiffies + period * HZ);
}

static int set_heartbeat(const char *val, const struct kernel_param *kp)
{
	unsigned int period;
	int err;

	err = kstrtouint(val, 0, &period);
	if (err)
		return err;
	if (!period || period > HEARTBEAT_MAX_S) {
		pr_err("parameter heartbeat_s: %u is not within 1 to %d\n",
		       period, HEARTBEAT_MAX_S);
		return -EINVAL;
	}
	WRITE_ONCE(heartbeat_s, period);
	if (running)
		mod_timer(&heartbeat_timer, jiffies + period * HZ);
	return 0;
}

static const struct kernel_param_ops heartbeat_ops = {
	.set = set_heartbeat,
	.get = param_get_uint,
};

module_param_cb(heartbeat_s, &heartbeat_ops, &heartbeat_s, 0644);
MODULE_PARM_DESC(heartbeat_s, "seconds between heartbeats, 1 to 86400 (default: 60)");

static int on_module(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct module *mod = data;

	if (action == MODULE_STATE_LIVE)
		flightrec_emit(FLIGHTREC_SOURCE_MODULE, SEV_INFO,
			       "module load name=%s", mod->name);
	else if (action == MODULE_STATE_GOING)
		flightrec_emit(FLIGHTREC_SOURCE_MODULE, SEV_INFO,
			       "module unload name=%s", mod->name);
	return NOTIFY_DONE;
}

/* Only the initial namespace's: any user can make others and flood us. */
static int on_netdev(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct net_device *dev = netdev_notifier_info_to_dev(data);

	if (READ_ONCE(replaying) || !net_eq(dev_net(dev), &init_net))
		return NOTIFY_DONE;
	if (action == NETDEV_UP)
		flightrec_emit(FLIGHTREC_SOURCE_NET, SEV_INFO,
			       "net up dev=%s ifindex=%d", dev->name, dev->ifindex);
	else if (action == NETDEV_DOWN)
		flightrec_emit(FLIGHTREC_SOURCE_NET, SEV_INFO,
			       "net down dev=%s ifindex=%d", dev->name, dev->ifindex);
	return NOTIFY_DONE;
}

static int on_reboot(struct notifier_block *nb, unsigned long action, void *data)
{
	const char *what = action == SYS_RESTART ? "restart" :
			   action == SYS_HALT ? "halt" : "power-off";

	flightrec_emit(FLIGHTREC_SOURCE_REBOOT, SEV_NOTICE, "reboot action=%s", what);
	return NOTIFY_DONE;
}

static struct notifier_block module_nb = { .notifier_call = on_module };
static struct notifier_block netdev_nb = { .notifier_call = on_netdev };
static struct notifier_block reboot_nb = { .notifier_call = on_reboot };

static int watch_interfaces(void)
{
	int err;

	WRITE_ONCE(replaying, true);
	err = register_netdevice_notifier(&netdev_nb);
	WRITE_ONCE(replaying, false);
	return err;
}

static void unwatch_interfaces(void)
{
	WRITE_ONCE(replaying, true);
	unregister_netdevice_notifier(&netdev_nb);
}

static int __init events_init(void)
{
	int err;

	err = register_module_notifier(&module_nb);
	if (err)
		return err;
	err = watch_interfaces();
	if (err)
		goto err_module;
	err = register_reboot_notifier(&reboot_nb);
	if (err)
		goto err_netdev;
	kernel_param_lock(THIS_MODULE);
	running = true;
	mod_timer(&heartbeat_timer, jiffies + heartbeat_s * HZ);
	kernel_param_unlock(THIS_MODULE);
	return 0;

err_netdev:
	unwatch_interfaces();
err_module:
	unregister_module_notifier(&module_nb);
	return err;
}

static void __exit events_exit(void)
{
	kernel_param_lock(THIS_MODULE);
	running = false;
	kernel_param_unlock(THIS_MODULE);
	timer_delete_sync(&heartbeat_timer);
	unregister_reboot_notifier(&reboot_nb);
	unwatch_interfaces();
	unregister_module_notifier(&module_nb);
}

module_init(events_init);
module_exit(events_exit);

MODULE_DESCRIPTION("Kernel events as records of flightrec");
MODULE_AUTHOR("The flightrec developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(FLIGHTREC_VERSION);
MODULE_ALIAS(FLIGHTREC_EVENTS_ALIAS);
FLIGHTREC_IMPORT();
