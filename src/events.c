// SPDX-License-Identifier: GPL-2.0-only
/*
 * flightrec-events: kernel events as records in the channel "kernel". Knows
 * the core through kevent.h alone; which sources are wanted is decided there.
 *
 * Here is what the sources have in common: the order of their start and its
 * reverse, and that none records too much. A user who can cause events
 * could otherwise make the channel forget all others.
 */
#define pr_fmt(fmt) "flightrec-events: " fmt

#include <linux/atomic.h>
#include <linux/init.h>
#include <linux/irq_work.h>
#include <linux/jiffies.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/timekeeping.h>
#include <linux/timer.h>

#include "compat/compat.h"
#include "event.h"

#define RATE_MAX	10000
#define BURST_MAX	100000

static const char * const names[] = FLIGHTREC_SOURCE_NAMES;

static const struct event_source * const sources[] = {
	[FLIGHTREC_SOURCE_MODULE] = &event_module,
	[FLIGHTREC_SOURCE_NET] = &event_net,
	[FLIGHTREC_SOURCE_REBOOT] = &event_reboot,
	[FLIGHTREC_SOURCE_HEARTBEAT] = &event_heartbeat,
	[FLIGHTREC_SOURCE_OOM] = &event_oom,
	[FLIGHTREC_SOURCE_OOPS] = &event_oops,
	[FLIGHTREC_SOURCE_SUSPEND] = &event_suspend,
	[FLIGHTREC_SOURCE_CPU] = &event_cpu,
	[FLIGHTREC_SOURCE_HANG] = &event_hang,
	[FLIGHTREC_SOURCE_FS] = &event_fs,
	[FLIGHTREC_SOURCE_MCE] = &event_mce,
	[FLIGHTREC_SOURCE_THERMAL] = &event_thermal,
	[FLIGHTREC_SOURCE_PCI] = &event_pci,
	[FLIGHTREC_SOURCE_USB] = &event_usb,
	[FLIGHTREC_SOURCE_CGROUP] = NULL,	/* the core's own */
	[FLIGHTREC_SOURCE_OTHER] = NULL,	/* others' */
};

static_assert(ARRAY_SIZE(sources) == FLIGHTREC_SOURCES);

static bool started[FLIGHTREC_SOURCES];

static int set_limit(const char *val, const struct kernel_param *kp, unsigned int most)
{
	unsigned int limit;
	int err = kstrtouint(val, 0, &limit);

	if (err)
		return err;
	if (!limit || limit > most) {
		pr_err("parameter %s: %u is not within 1 to %u\n", kp->name, limit, most);
		return -EINVAL;
	}
	WRITE_ONCE(*(unsigned int *)kp->arg, limit);
	return 0;
}

static int set_rate(const char *val, const struct kernel_param *kp)
{
	return set_limit(val, kp, RATE_MAX);
}

static int set_burst(const char *val, const struct kernel_param *kp)
{
	return set_limit(val, kp, BURST_MAX);
}

static const struct kernel_param_ops rate_ops = {
	.set = set_rate,
	.get = param_get_uint,
};

static const struct kernel_param_ops burst_ops = {
	.set = set_burst,
	.get = param_get_uint,
};

static unsigned int rate = 20;
module_param_cb(rate, &rate_ops, &rate, 0644);
MODULE_PARM_DESC(rate, "events a second that each source may record for long, 1 to 10000 (default: 20)");

static unsigned int burst = 100;
module_param_cb(burst, &burst_ops, &burst, 0644);
MODULE_PARM_DESC(burst, "events that each source may record at once, 1 to 100000 (default: 100)");

/* Of each source: when all events so far are paid for, at "rate"; what was not recorded. */
static struct {
	atomic64_t paid_until_ns;
	atomic_t suppressed;
} limits[FLIGHTREC_SOURCES];

static void tell_suppressed(struct timer_list *timer)
{
	int id, n;

	for (id = 0; id < FLIGHTREC_SOURCES; id++) {
		n = atomic_xchg(&limits[id].suppressed, 0);
		if (n)
			flightrec_emit(id, SEV_WARNING, "%s suppressed events=%d",
				       names[id], n);
	}
}

static DEFINE_TIMER(tell_timer, tell_suppressed);

/* Timers cannot be started from an NMI, and this can. */
static void tell_soon(struct irq_work *work)
{
	mod_timer(&tell_timer, jiffies + HZ);
}

static struct irq_work tell_work;

bool event_allowed(enum flightrec_source source)
{
	atomic64_t *word = &limits[source].paid_until_ns;
	u64 cost = NSEC_PER_SEC / READ_ONCE(rate);
	u64 now = ktime_get_mono_fast_ns();
	s64 until = atomic64_read(word);
	u64 from;

	do {
		from = max_t(u64, until, now);
		if (from - now >= cost * READ_ONCE(burst)) {
			if (atomic_inc_return(&limits[source].suppressed) == 1)
				irq_work_queue(&tell_work);
			return false;
		}
	} while (!atomic64_try_cmpxchg(word, &until, from + cost));
	return true;
}

static int __init events_init(void)
{
	int id, err;

	init_irq_work(&tell_work, tell_soon);
	for (id = 0; id < FLIGHTREC_SOURCES; id++) {
		if (!sources[id])
			continue;
		err = sources[id]->start();
		started[id] = !err;
		if (err == -EOPNOTSUPP)
			pr_info("source \"%s\": not to be had on this kernel\n", names[id]);
		else if (err)
			pr_err("source \"%s\" cannot be had, and is off: %pe\n",
			       names[id], ERR_PTR(err));
	}
	return 0;
}

static void __exit events_exit(void)
{
	int id;

	for (id = FLIGHTREC_SOURCES - 1; id >= 0; id--)
		if (started[id])
			sources[id]->stop();
	irq_work_sync(&tell_work);
	timer_delete_sync(&tell_timer);
	tell_suppressed(NULL);
}

module_init(events_init);
module_exit(events_exit);

MODULE_DESCRIPTION("Kernel events as records of flightrec");
MODULE_AUTHOR("The flightrec developers");
MODULE_LICENSE("GPL");
MODULE_VERSION(FLIGHTREC_VERSION);
MODULE_ALIAS(FLIGHTREC_EVENTS_ALIAS);
FLIGHTREC_IMPORT();
