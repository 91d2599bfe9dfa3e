// SPDX-License-Identifier: GPL-2.0-only
/*
 * When to print, and that only one does. An oops and a panic have a set of
 * buffers each: the panic may have stopped the CPU that was printing an oops.
 * It then goes on where that one was.
 *
 * Not a kmsg dumper: on a panic those run after the notifiers, of which pvpanic's
 * stops the machine, and in the order in which they were registered, so that
 * pstore may have stored the log before ours would add to it.
 *
 * Where the text stands: an oops' set follows the registers and the backtrace on
 * x86; on arm64 the die notifiers run before those are printed, so it precedes them.
 */
#include <linux/atomic.h>
#include <linux/kdebug.h>
#include <linux/kernel.h>
#include <linux/minmax.h>
#include <linux/moduleparam.h>
#include <linux/notifier.h>
#include <linux/printk.h>
#include <linux/ptrace.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/string.h>

#include "bootid.h"
#include "channel.h"
#include "compat/compat.h"
#include "crash.h"
#include "crash_text.h"

/* Of a value that makes no sense, what the log gets. */
#define SHOWN_MAX 64

/* After those that record the oops, or find that it was none. */
#define DIE_PRIORITY	INT_MIN

/* Before all others; see register_first(). */
#define PANIC_PRIORITY	INT_MAX

struct printer {
	const char *reason;
	atomic_t busy;
	struct flightrec_crash_set set;
	struct flightrec_crash_channel *first, **end;
};

static struct printer oops = { .reason = "oops", .end = &oops.first };
static struct printer panicked = { .reason = "panic", .end = &panicked.first };
static atomic_t sets = ATOMIC_INIT(0);

/* Of a set. */
static unsigned int text_kb = 4;

static int set_text_kb(const char *val, const struct kernel_param *kp)
{
	unsigned int kb;

	if (kstrtouint(val, 0, &kb) || kb < FLIGHTREC_CRASH_TEXT_MIN >> 10 ||
	    kb > FLIGHTREC_CRASH_TEXT_MAX >> 10) {
		pr_err("flightrec: parameter crash_kb: \"%*pE\" is not a number of KiB, %d to %d\n",
		       (int)min_t(size_t, strcspn(val, "\n"), SHOWN_MAX), val,
		       FLIGHTREC_CRASH_TEXT_MIN >> 10, FLIGHTREC_CRASH_TEXT_MAX >> 10);
		return -EINVAL;
	}
	WRITE_ONCE(text_kb, kb);
	return 0;
}

static int get_text_kb(char *buffer, const struct kernel_param *kp)
{
	return scnprintf(buffer, PAGE_SIZE, "%u\n", READ_ONCE(text_kb));
}

const struct kernel_param_ops flightrec_crash_kb_ops = {
	.set = set_text_kb,
	.get = get_text_kb,
};

static void print_line(const char *line, size_t len)
{
	pr_alert("%s\n", line);
}

static void print_set(struct printer *printer)
{
	/* Left busy by a CPU that was stopped, or entered from itself. */
	if (atomic_cmpxchg_acquire(&printer->busy, 0, 1))
		return;
	printer->set.boot_id = flightrec_boot_id();
	printer->set.number = atomic_inc_return(&sets);
	printer->set.reason = printer->reason;
	printer->set.bytes = READ_ONCE(text_kb) << 10;
	printer->set.print = print_line;
	flightrec_crash_print(&printer->set, READ_ONCE(printer->first));
	atomic_set_release(&printer->busy, 0);
}

/*
 * Traps of user space come here, too: int3 and ud2 as other values, on some
 * architectures more as this one.
 */
static int on_die(struct notifier_block *nb, unsigned long value, void *data)
{
	const struct die_args *args = data;

	if (value == DIE_OOPS && args->regs && !user_mode(args->regs))
		print_set(&oops);
	return NOTIFY_DONE;
}

static int on_panic(struct notifier_block *nb, unsigned long value, void *data)
{
	print_set(&panicked);
	return NOTIFY_DONE;
}

static struct notifier_block die_nb = {
	.notifier_call = on_die,
	.priority = DIE_PRIORITY,
};

static struct notifier_block panic_nb = {
	.notifier_call = on_panic,
	.priority = PANIC_PRIORITY,
};

/* A printer may be at work: if it finds the new one, it finds it whole. */
static void add_to(struct printer *printer, struct flightrec_crash_channel *link,
		   struct flightrec_channel *channel)
{
	link->name = channel->name;
	link->ring = rcu_dereference_protected(channel->ring, true);
	link->from = &channel->printed_to;
	smp_store_release(printer->end, link);
	printer->end = &link->next;
}

/* A printer that is at it goes on to the next one. */
static void take_from(struct printer *printer, struct flightrec_crash_channel *link)
{
	struct flightrec_crash_channel **at = &printer->first;

	while (*at && *at != link)
		at = &(*at)->next;
	if (!*at)
		return;
	WRITE_ONCE(*at, link->next);
	if (printer->end == &link->next)
		printer->end = at;
}

void flightrec_crash_add(struct flightrec_channel *channel)
{
	add_to(&oops, &channel->in_oops, channel);
	add_to(&panicked, &channel->in_panic, channel);
}

void flightrec_crash_del(struct flightrec_channel *channel)
{
	take_from(&oops, &channel->in_oops);
	take_from(&panicked, &channel->in_panic);
}

void flightrec_crash_follow(struct flightrec_channel *channel, const struct flightrec_ring *ring)
{
	smp_store_release(&channel->in_oops.ring, ring);
	smp_store_release(&channel->in_panic.ring, ring);
}

/*
 * Make @nb the first in the chain. The highest priority is not enough: pvpanic,
 * which most virtual machines have and whose notifier makes the hypervisor stop
 * the machine, has it too, and of equals the one that was registered first is
 * called first. This is what atomic_notifier_chain_register() does for a priority
 * above all others, under the same lock; the chain stays in order, since none is
 * above @nb's, and those that are registered later go behind it.
 */
static void __init register_first(struct atomic_notifier_head *chain,
				  struct notifier_block *nb)
{
	unsigned long flags;

	spin_lock_irqsave(&chain->lock, flags);
	RCU_INIT_POINTER(nb->next, rcu_dereference_protected(chain->head,
							     lockdep_is_held(&chain->lock)));
	rcu_assign_pointer(chain->head, nb);
	spin_unlock_irqrestore(&chain->lock, flags);
}

void __init flightrec_crash_start(void)
{
	/* Fails only for a block that is registered already. */
	register_die_notifier(&die_nb);
	register_first(&panic_notifier_list, &panic_nb);
}

void flightrec_crash_stop(void)
{
	atomic_notifier_chain_unregister(&panic_notifier_list, &panic_nb);
	unregister_die_notifier(&die_nb);
}
