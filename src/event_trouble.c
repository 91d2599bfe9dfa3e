// SPDX-License-Identifier: GPL-2.0-only
/*
 * Trouble: processes killed for lack of memory, and oopses.
 */
#include <linux/err.h>
#include <linux/kdebug.h>
#include <linux/notifier.h>
#include <linux/ptrace.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

#include "compat/oom.h"
#include "event.h"

/*
 * The tracepoint, because the OOM notifier is not called where a memory cgroup
 * is the one that lacks memory.
 */
static void on_victim(pid_t pid, uid_t uid, const char *comm)
{
	/* The name last: it is the task's own, and may have anything in it. */
	event_emit(FLIGHTREC_SOURCE_OOM, SEV_WARNING, "oom kill pid=%d uid=%u comm=%s",
		   pid, uid, comm);
}

FLIGHTREC_MARK_VICTIM_PROBE(probe_victim, on_victim);

static struct event_probe victim = { "mark_victim", (void *)probe_victim };

static int start_oom(void)
{
	return event_probe(&victim);
}

static void stop_oom(void)
{
	event_unprobe(&victim);
}

const struct event_source event_oom = { .start = start_oom, .stop = stop_oom };

/* Any user can run into a trap: those come here, too, and are none. */
static int on_die(struct notifier_block *nb, unsigned long value, void *data)
{
	const struct die_args *args = data;

	if (value == DIE_OOPS && args->regs && !user_mode(args->regs))
		event_emit(FLIGHTREC_SOURCE_OOPS, SEV_CRIT, "oops at=%pS error=%#lx what=%s",
			   (void *)instruction_pointer(args->regs), args->err, args->str);
	return NOTIFY_DONE;
}

static struct notifier_block die_nb = { .notifier_call = on_die };

static int start_oops(void)
{
	return register_die_notifier(&die_nb);
}

static void stop_oops(void)
{
	unregister_die_notifier(&die_nb);
}

const struct event_source event_oops = { .start = start_oops, .stop = stop_oops };
