// SPDX-License-Identifier: GPL-2.0-only
/*
 * What hangs: tasks that wait for long and cannot be interrupted, and processors
 * that run one task for long.
 *
 * Of a processor nothing tells but the kernel's log: see event_log.c.
 */
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/printk.h>
#include <trace/events/sched.h>

#include "event.h"

static void on_hung(void *data, struct task_struct *task)
{
	char comm[TASK_COMM_LEN] = "";

	check_trace_callback_type_sched_process_hang(on_hung);
	/* As in channel.c: without the lock, the name may be torn. */
	memcpy(comm, task->comm, sizeof(comm) - 1);
	event_emit(FLIGHTREC_SOURCE_HANG, SEV_ERR, "hang task pid=%d tgid=%d comm=%s",
		   task_pid_nr(task), task_tgid_nr(task), comm);
}

static struct event_probe hung = { "sched_process_hang", (void *)on_hung };

static void on_line(void *data, const char *text, size_t len)
{
	static const char lockup[] = "watchdog: BUG: soft lockup - ";

	check_trace_callback_type_console(on_line);
	text = event_log_line(text, &len);
	if (len > strlen(lockup) && !memcmp(text, lockup, strlen(lockup)))
		event_emit(FLIGHTREC_SOURCE_HANG, SEV_CRIT, "hang lockup %.*s",
			   (int)(len - strlen(lockup)), text + strlen(lockup));
}

static struct event_log log = EVENT_LOG(on_line);

static int start(void)
{
	int err = event_log_start(&log);

	if (err)
		return err;
	/* A kernel may look for lockups alone. */
	err = event_probe(&hung);
	if (!err || err == -ENOENT)
		return 0;
	event_log_stop(&log);
	return err;
}

static void stop(void)
{
	if (hung.at)
		event_unprobe(&hung);
	event_log_stop(&log);
}

const struct event_source event_hang = { .start = start, .stop = stop };
