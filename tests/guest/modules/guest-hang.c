// SPDX-License-Identifier: GPL-2.0-only
/*
 * What hangs for real, for the seconds that the parameter says: the task that
 * loads this, or with "lockup" its processor.
 */
#include <linux/delay.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/preempt.h>
#include <linux/sched.h>

static bool lockup;
module_param(lockup, bool, 0);
static unsigned int seconds = 6;
module_param(seconds, uint, 0);

static int __init hang_init(void)
{
	ktime_t end = ktime_add_ms(ktime_get(), 1000 * seconds);

	if (!lockup) {
		schedule_timeout_uninterruptible(seconds * HZ);
		return 0;
	}
	preempt_disable();
	while (ktime_before(ktime_get(), end))
		udelay(100);
	preempt_enable();
	return 0;
}

static void __exit hang_exit(void)
{
}

module_init(hang_init);
module_exit(hang_exit);

MODULE_DESCRIPTION("A task or a processor that hangs for a while");
MODULE_LICENSE("GPL");
