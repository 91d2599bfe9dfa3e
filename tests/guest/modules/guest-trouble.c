// SPDX-License-Identifier: GPL-2.0-only
/*
 * Trouble on request: write to /proc/guest-trouble. Knows the driver's
 * inside, so it is built with it.
 */
#define pr_fmt(fmt) "guest-trouble: " fmt

#include <linux/delay.h>
#include <linux/hw_breakpoint.h>
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/perf_event.h>
#include <linux/proc_fs.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/uaccess.h>

#include "channel.h"

static int oops(void)
{
	int * volatile nowhere = NULL;

	return *nowhere;
}

static pid_t to_park = -1;
static bool parked;
static struct perf_event * __percpu *watch;

/*
 * Called right after the number was taken and before the record is published,
 * with interrupts off: and there the CPU stays.
 */
static void on_number_taken(struct perf_event *event, struct perf_sample_data *data,
			    struct pt_regs *regs)
{
	if (task_pid_nr(current) != READ_ONCE(to_park))
		return;
	pr_info("CPU %d is parked\n", raw_smp_processor_id());
	WRITE_ONCE(parked, true);
	for (;;)
		cpu_relax();
}

/* That task stops in its next write to the channel; @table is the driver's. */
static int park(unsigned long table, unsigned int channel, pid_t pid)
{
	struct flightrec_channel **channels = (struct flightrec_channel **)table;
	struct perf_event_attr attr;

	hw_breakpoint_init(&attr);
	attr.bp_addr = (unsigned long)
		&rcu_dereference_protected(channels[channel]->ring, true)->next_seq;
	attr.bp_len = HW_BREAKPOINT_LEN_8;
	attr.bp_type = HW_BREAKPOINT_W;
	WRITE_ONCE(to_park, pid);
	watch = register_wide_hw_breakpoint(&attr, on_number_taken, NULL);
	return IS_ERR_VALUE((unsigned long __force)watch) ? -EIO : 0;
}

static bool held = true;

/* The last to be told of a reboot, which then gets no further. */
static int on_reboot(struct notifier_block *nb, unsigned long action, void *data)
{
	pr_info("the reboot is held\n");
	while (READ_ONCE(held))
		msleep(1000);
	return NOTIFY_DONE;
}

static struct notifier_block reboot_nb = {
	.notifier_call = on_reboot,
	.priority = INT_MIN,
};

static int obey(const char *command)
{
	unsigned long table;
	unsigned int channel;
	int pid;

	if (!strcmp(command, "oops\n"))
		return oops();
	if (!strcmp(command, "hold-reboot\n"))
		return register_reboot_notifier(&reboot_nb);
	if (sscanf(command, "park %lx %u %d", &table, &channel, &pid) == 3)
		return park(table, channel, pid);
	return -EINVAL;
}

static ssize_t trouble_write(struct file *file, const char __user *from,
			     size_t count, loff_t *pos)
{
	char command[64] = "";
	int err;

	if (count >= sizeof(command) || copy_from_user(command, from, count))
		return -EINVAL;
	err = obey(command);
	return err ?: count;
}

/* "1" once a CPU is parked. */
static ssize_t trouble_read(struct file *file, char __user *to, size_t count,
			    loff_t *pos)
{
	char answer = READ_ONCE(parked) ? '1' : '0';

	return count && !copy_to_user(to, &answer, 1) ? 1 : -EINVAL;
}

static const struct proc_ops trouble_ops = {
	.proc_read = trouble_read,
	.proc_write = trouble_write,
};

static int __init trouble_init(void)
{
	return proc_create("guest-trouble", 0600, NULL, &trouble_ops) ? 0 : -ENOMEM;
}

static void __exit trouble_exit(void)
{
	unregister_reboot_notifier(&reboot_nb);
	if (watch)
		unregister_wide_hw_breakpoint(watch);
	remove_proc_entry("guest-trouble", NULL);
}

module_init(trouble_init);
module_exit(trouble_exit);

MODULE_DESCRIPTION("Trouble on request");
MODULE_LICENSE("GPL");
