// SPDX-License-Identifier: GPL-2.0-only
/*
 * A heartbeat: until then the kernel was alive.
 */
#define pr_fmt(fmt) "flightrec-events: " fmt

#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/timekeeping.h>
#include <linux/timer.h>

#include "compat/compat.h"
#include "event.h"

#define HEARTBEAT_MAX_S 86400

static unsigned int heartbeat_s = 60;
static void heartbeat(struct timer_list *timer);
static DEFINE_TIMER(heartbeat_timer, heartbeat);
static bool running;	/* under the parameter lock */

static void heartbeat(struct timer_list *timer)
{
	unsigned int period = READ_ONCE(heartbeat_s);

	event_emit(FLIGHTREC_SOURCE_HEARTBEAT, SEV_DEBUG,
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

static int start(void)
{
	kernel_param_lock(THIS_MODULE);
	running = true;
	mod_timer(&heartbeat_timer, jiffies + heartbeat_s * HZ);
	kernel_param_unlock(THIS_MODULE);
	return 0;
}

static void stop(void)
{
	kernel_param_lock(THIS_MODULE);
	running = false;
	kernel_param_unlock(THIS_MODULE);
	timer_delete_sync(&heartbeat_timer);
}

const struct event_source event_heartbeat = { .start = start, .stop = stop };
