// SPDX-License-Identifier: GPL-2.0-only
/*
 * Records of the kernel from every context at once, through the function that
 * the driver exports; and channels bent into states that take years to reach.
 * Knows the driver's inside, so it is built with it. /proc/guest-storm takes
 * one command a write; addresses are those of the driver's static variables,
 * from /proc/kallsyms:
 *
 *   into EVENT_CHANNEL CHANNELS N   events go to channel N, not to "kernel"
 *   text START END                  where the driver's code is
 *   start KINDS PERIOD_US           a mask of enum kind; timers' period
 *   stop                            returns once nothing is emitted any more
 *   renumber CHANNELS N FIRST       empty the channel; its next number is FIRST
 *
 * and reads as a line for each that emits, "KIND CPU RECORDED REFUSED", then
 * "nmis TOTAL INSIDE", how many met the driver's code. Each record is
 *
 *   KIND CPU N FILL
 *
 * with N counting from 0 for each kind and CPU, of refused ones none, and
 * (N * 7 + CPU) % 150 letters of an endless alphabet from letter N % 26 on.
 * For emits to be taken, the parameter "events" must name "cpu".
 */
#include <linux/delay.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/percpu.h>
#include <linux/proc_fs.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/timer.h>
#include <linux/uaccess.h>
#ifdef CONFIG_X86
#include <asm/nmi.h>
#endif

#include "channel.h"
#include "compat/compat.h"
#include "kevent.h"
#include "ring_write.h"

enum kind { TASK, TIMER, HRTIMER, IRQ_WORK, NMI, KINDS };

static const char * const names[KINDS] = { "task", "timer", "hrtimer", "irqwork", "nmi" };

struct storm_cpu {
	u64 recorded[KINDS];
	u64 refused[KINDS];
	struct task_struct *task;
	struct timer_list timer;
	struct hrtimer hrtimer;
	struct irq_work work;
};

static DEFINE_PER_CPU(struct storm_cpu, storm_cpus);
static DEFINE_MUTEX(lock);
static bool running;
static unsigned long kinds;
static u64 period_ns;
static unsigned long text_start, text_end;
static atomic64_t nmis, nmis_inside;

static const char alphabet[] =
	"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
	"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"
	"abcdefghijklmnopqrstuvwxyz";

/* On the CPU that @storm is of, and not on another in between. */
static void emit(struct storm_cpu *storm, enum kind kind)
{
	unsigned int cpu = raw_smp_processor_id();
	u64 n = storm->recorded[kind];

	if (!READ_ONCE(running) || !(READ_ONCE(kinds) & BIT(kind)))
		return;
	if (flightrec_emit(FLIGHTREC_SOURCE_CPU, 5, "%s %u %llu %.*s", names[kind], cpu, n,
			   (int)((n * 7 + cpu) % 150), alphabet + n % 26))
		storm->refused[kind]++;
	else
		storm->recorded[kind]++;
}

static void on_timer(struct timer_list *timer)
{
	struct storm_cpu *storm = this_cpu_ptr(&storm_cpus);

	emit(storm, TIMER);
	if (READ_ONCE(running))
		mod_timer(timer, jiffies + 1);
}

static enum hrtimer_restart on_hrtimer(struct hrtimer *timer)
{
	struct storm_cpu *storm = container_of(timer, struct storm_cpu, hrtimer);

	emit(storm, HRTIMER);
	if (READ_ONCE(kinds) & BIT(IRQ_WORK))
		irq_work_queue(&storm->work);
	if (!READ_ONCE(running))
		return HRTIMER_NORESTART;
	/* From now on, not from when it was due: a slow machine shall not drown. */
	hrtimer_set_expires(timer, ktime_add_ns(ktime_get(), period_ns));
	return HRTIMER_RESTART;
}

static void on_work(struct irq_work *work)
{
	emit(container_of(work, struct storm_cpu, work), IRQ_WORK);
}

static int task(void *data)
{
	int i;

	while (!kthread_should_stop()) {
		for (i = 0; i < 30; i++)
			emit(data, TASK);
		usleep_range(100, 300);
	}
	return 0;
}

#ifdef CONFIG_X86
/* There from init to exit: whoever injects NMIs is never told in time to stop. */
static int on_nmi(unsigned int type, struct pt_regs *regs)
{
	if (!READ_ONCE(running))
		return NMI_HANDLED;
	atomic64_inc(&nmis);
	if (regs->ip >= text_start && regs->ip < text_end)
		atomic64_inc(&nmis_inside);
	emit(this_cpu_ptr(&storm_cpus), NMI);
	return NMI_HANDLED;
}

static int start_nmis(void)
{
	return register_nmi_handler(NMI_LOCAL, on_nmi, 0, "guest-storm");
}

static void stop_nmis(void)
{
	unregister_nmi_handler(NMI_LOCAL, "guest-storm");
}
#else
static int start_nmis(void)
{
	return 0;
}

static void stop_nmis(void)
{
}
#endif

static void start_hrtimer(void *unused)
{
	hrtimer_start(this_cpu_ptr(&storm_cpus.hrtimer), ns_to_ktime(period_ns),
		      HRTIMER_MODE_REL_PINNED_HARD);
}

static int start_cpu(unsigned int cpu)
{
	struct storm_cpu *storm = per_cpu_ptr(&storm_cpus, cpu);

	init_irq_work(&storm->work, on_work);
	timer_setup(&storm->timer, on_timer, TIMER_PINNED);
	flightrec_hrtimer_setup(&storm->hrtimer, on_hrtimer, CLOCK_MONOTONIC,
				HRTIMER_MODE_REL_PINNED_HARD);
	storm->timer.expires = jiffies + 1;
	add_timer_on(&storm->timer, cpu);
	storm->task = kthread_create(task, storm, "storm/%u", cpu);
	if (IS_ERR(storm->task))
		return PTR_ERR(storm->task);
	kthread_bind(storm->task, cpu);
	wake_up_process(storm->task);
	return 0;
}

static void stop(void)
{
	struct storm_cpu *storm;
	unsigned int cpu;

	if (!running)
		return;
	WRITE_ONCE(running, false);
	for_each_online_cpu(cpu) {
		storm = per_cpu_ptr(&storm_cpus, cpu);
		if (!IS_ERR_OR_NULL(storm->task))
			kthread_stop(storm->task);
		hrtimer_cancel(&storm->hrtimer);
		irq_work_sync(&storm->work);
		timer_delete_sync(&storm->timer);
	}
	/* NMIs under way end. */
	synchronize_rcu();
}

static int start(unsigned long mask, unsigned int period_us)
{
	unsigned int cpu;
	int err;

	if (running || period_us < 20)
		return -EINVAL;
	kinds = mask;
	period_ns = period_us * 1000ULL;
	atomic64_set(&nmis, 0);
	atomic64_set(&nmis_inside, 0);
	for_each_online_cpu(cpu)
		memset(per_cpu_ptr(&storm_cpus, cpu), 0, sizeof(struct storm_cpu));
	smp_store_release(&running, true);
	for_each_online_cpu(cpu) {
		err = start_cpu(cpu);
		if (err)
			return err;
	}
	on_each_cpu(start_hrtimer, NULL, true);
	return 0;
}

static struct flightrec_channel *channel_at(unsigned long table, unsigned int i)
{
	return ((struct flightrec_channel **)table)[i];
}

/*
 * While nobody writes or reads, as flightrec_ring_init() has it: each entry as if the
 * number before it had been there, and no block with numbers, nor open.
 */
static void renumber(struct flightrec_ring *ring, u64 first)
{
	u64 i, seq;

	for (i = 0; i < ring->nindex; i++) {
		seq = first + ((i - first) & (ring->nindex - 1));
		ring->index[i] = flightrec_ring_tag(ring, seq) - (1ULL << RING_ENTRY_TAG_SHIFT);
	}
	for (i = 0; i < ring->nblocks; i++) {
		ring->first[i] = 0;
		atomic64_set(&ring->last[i], 0);
		ring->group_first[i / RING_GROUP_BLOCKS] = 0;
	}
	for (i = 0; i < ring->ncpus; i++)
		ring->cpus[i].open = 0;
	ring->words[RING_BLOCK_CLEAR_SEQ] = first;
	atomic64_set(&ring->next_seq, first);
}

static int obey(const char *command)
{
	unsigned long target, table;
	unsigned int n, us;
	u64 first;

	if (sscanf(command, "into %lx %lx %u", &target, &table, &n) == 3) {
		smp_store_release((struct flightrec_channel **)target, channel_at(table, n));
		return 0;
	}
	if (sscanf(command, "renumber %lx %u %llu", &table, &n, &first) == 3) {
		renumber(rcu_dereference_protected(channel_at(table, n)->ring, true), first);
		return 0;
	}
	if (sscanf(command, "text %lx %lx", &text_start, &text_end) == 2)
		return 0;
	if (sscanf(command, "start %lx %u", &target, &us) == 2)
		return start(target, us);
	if (strcmp(command, "stop"))
		return -EINVAL;
	stop();
	return 0;
}

static ssize_t storm_write(struct file *file, const char __user *from, size_t count,
			   loff_t *pos)
{
	char command[128] = "";
	int err;

	if (count >= sizeof(command) || copy_from_user(command, from, count))
		return -EINVAL;
	mutex_lock(&lock);
	err = obey(strim(command));
	mutex_unlock(&lock);
	return err ?: count;
}

static int storm_show(struct seq_file *m, void *v)
{
	unsigned int cpu, kind;

	for_each_online_cpu(cpu) {
		struct storm_cpu *storm = per_cpu_ptr(&storm_cpus, cpu);

		for (kind = 0; kind < KINDS; kind++)
			seq_printf(m, "%s %u %llu %llu\n", names[kind], cpu,
				   storm->recorded[kind], storm->refused[kind]);
	}
	seq_printf(m, "nmis %llu %llu\n", (u64)atomic64_read(&nmis),
		   (u64)atomic64_read(&nmis_inside));
	return 0;
}

static int storm_open(struct inode *inode, struct file *file)
{
	return single_open(file, storm_show, NULL);
}

static const struct proc_ops storm_ops = {
	.proc_open = storm_open,
	.proc_read = seq_read,
	.proc_lseek = seq_lseek,
	.proc_release = single_release,
	.proc_write = storm_write,
};

static int __init storm_init(void)
{
	if (!proc_create("guest-storm", 0600, NULL, &storm_ops))
		return -ENOMEM;
	return start_nmis();
}

static void __exit storm_exit(void)
{
	remove_proc_entry("guest-storm", NULL);
	stop();
	stop_nmis();
}

module_init(storm_init);
module_exit(storm_exit);

MODULE_DESCRIPTION("Records from every context at once");
MODULE_LICENSE("GPL");
FLIGHTREC_IMPORT();
