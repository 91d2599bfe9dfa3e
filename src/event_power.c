// SPDX-License-Identifier: GPL-2.0-only
/*
 * The machine, or a part of it, goes off and comes back: reboot, suspend,
 * processors.
 */
#include <linux/cpuhotplug.h>
#include <linux/notifier.h>
#include <linux/reboot.h>
#include <linux/suspend.h>

#include "event.h"

static int on_reboot(struct notifier_block *nb, unsigned long action, void *data)
{
	const char *what = action == SYS_RESTART ? "restart" :
			   action == SYS_HALT ? "halt" : "power-off";

	event_emit(FLIGHTREC_SOURCE_REBOOT, SEV_NOTICE, "reboot action=%s", what);
	return NOTIFY_DONE;
}

static struct notifier_block reboot_nb = { .notifier_call = on_reboot };

static int start_reboot(void)
{
	return register_reboot_notifier(&reboot_nb);
}

static void stop_reboot(void)
{
	unregister_reboot_notifier(&reboot_nb);
}

const struct event_source event_reboot = {
	.start = start_reboot,
	.stop = stop_reboot,
};

static const char *suspend_action(unsigned long action)
{
	switch (action) {
	case PM_SUSPEND_PREPARE:
		return "suspend";
	case PM_POST_SUSPEND:
		return "resume";
	case PM_HIBERNATION_PREPARE:
		return "hibernate";
	case PM_POST_HIBERNATION:
		return "resume-from-hibernation";
	case PM_RESTORE_PREPARE:
		return "restore";
	case PM_POST_RESTORE:
		return "restore-failed";
	}
	return NULL;
}

static int on_suspend(struct notifier_block *nb, unsigned long action, void *data)
{
	const char *what = suspend_action(action);

	if (what)
		event_emit(FLIGHTREC_SOURCE_SUSPEND, SEV_NOTICE,
			   "suspend action=%s", what);
	return NOTIFY_DONE;
}

static struct notifier_block suspend_nb = { .notifier_call = on_suspend };

static int start_suspend(void)
{
	return register_pm_notifier(&suspend_nb);
}

static void stop_suspend(void)
{
	unregister_pm_notifier(&suspend_nb);
}

const struct event_source event_suspend = {
	.start = start_suspend,
	.stop = stop_suspend,
};

static int on_cpu_online(unsigned int cpu)
{
	event_emit(FLIGHTREC_SOURCE_CPU, SEV_NOTICE, "cpu online cpu=%u", cpu);
	return 0;
}

static int on_cpu_offline(unsigned int cpu)
{
	event_emit(FLIGHTREC_SOURCE_CPU, SEV_NOTICE, "cpu offline cpu=%u", cpu);
	return 0;
}

static int cpu_state;

static int start_cpu(void)
{
	/* Without calls for those that are online already: no events. */
	cpu_state = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "flightrec:events",
					      on_cpu_online, on_cpu_offline);
	return cpu_state < 0 ? cpu_state : 0;
}

static void stop_cpu(void)
{
	cpuhp_remove_state_nocalls(cpu_state);
}

const struct event_source event_cpu = { .start = start_cpu, .stop = stop_cpu };
