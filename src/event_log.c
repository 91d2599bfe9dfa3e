// SPDX-License-Identifier: GPL-2.0-only
/*
 * Lines of the kernel's log, for sources of which nothing else tells: by its tracepoint, or,
 * where a probe there does harm, read once a second. What is printed in the last second
 * before a death is not recorded then; it is in the kernel's own text.
 */
#include <linux/kmsg_dump.h>
#include <linux/timer.h>
#include <linux/workqueue.h>

#include "event.h"

#if FLIGHTREC_LOG_IS_READ

/* A kernel that prints without end holds no worker for ever. */
#define LINES_AT_ONCE 4096

/* Longer than what any source looks for, and its values. */
#define LINE_BYTES 256

static void look_later(struct event_log *log)
{
	queue_delayed_work(system_power_efficient_wq, &log->work, round_jiffies_relative(HZ));
}

static void look(struct work_struct *work)
{
	struct event_log *log = container_of(work, struct event_log, work.work);
	char line[LINE_BYTES];
	unsigned int lines = 0;
	size_t len;

	while (lines++ < LINES_AT_ONCE &&
	       kmsg_dump_get_line(&log->at, false, line, sizeof(line), &len))
		log->line(NULL, line, len);
	look_later(log);
}

int event_log_start(struct event_log *log)
{
	kmsg_dump_rewind(&log->at);
	/* What was printed before is none of ours. */
	while (kmsg_dump_get_line(&log->at, false, NULL, 0, NULL))
		cond_resched();
	INIT_DELAYED_WORK(&log->work, look);
	look_later(log);
	return 0;
}

void event_log_stop(struct event_log *log)
{
	cancel_delayed_work_sync(&log->work);
}

#else

int event_log_start(struct event_log *log)
{
	return event_probe(&log->probe);
}

void event_log_stop(struct event_log *log)
{
	event_unprobe(&log->probe);
}

#endif
