/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the sources of flightrec-events share. The core knows nothing of it.
 */
#ifndef FLIGHTREC_EVENT_H
#define FLIGHTREC_EVENT_H

#include <linux/kmsg_dump.h>
#include <linux/workqueue.h>

#include "compat/compat.h"
#include "event_line.h"
#include "kevent.h"

/* Severities of syslog(3). */
#define SEV_CRIT	2
#define SEV_ERR		3
#define SEV_WARNING	4
#define SEV_NOTICE	5
#define SEV_INFO	6
#define SEV_DEBUG	7

/**
 * struct event_source - where events come from
 * @start: begin to deliver; 0 or -errno: -EOPNOTSUPP where this kernel does not
 *	let modules have it. May sleep.
 * @stop: after it nothing is delivered; only called if @start succeeded
 */
struct event_source {
	int (*start)(void);
	void (*stop)(void);
};

extern const struct event_source event_cpu;
extern const struct event_source event_fs;
extern const struct event_source event_hang;
extern const struct event_source event_heartbeat;
extern const struct event_source event_mce;
extern const struct event_source event_module;
extern const struct event_source event_net;
extern const struct event_source event_oom;
extern const struct event_source event_oops;
extern const struct event_source event_pci;
extern const struct event_source event_reboot;
extern const struct event_source event_suspend;
extern const struct event_source event_thermal;
extern const struct event_source event_usb;

/**
 * struct event_probe - a function that a tracepoint calls
 * @name: the tracepoint's
 * @call: the function; its arguments are the tracepoint's
 * @at: where it is registered; NULL: nowhere
 */
struct event_probe {
	const char *name;
	void *call;
	struct tracepoint *at;
};

/*
 * Register it at a tracepoint of the kernel itself; -ENOENT: it has none of that
 * name. And the reverse, wherever the tracepoint is: after it the function does
 * not run. Both may sleep.
 */
int event_probe(struct event_probe *probe);
void event_unprobe(struct event_probe *probe);

/**
 * struct event_log - a function that is called for lines of the kernel's log
 * @probe: its name is "console", its function the same
 * @line: the function: nothing, the line as event_log_line() takes it, and its length. In any
 *	context, and must not print
 */
struct event_log {
	struct event_probe probe;
	void (*line)(void *data, const char *text, size_t len);
	/* private: event_log.c's */
	struct delayed_work work;
#if FLIGHTREC_LOG_IS_READ
	struct kmsg_dump_iter at;
#endif
};

#define EVENT_LOG(function)						\
	{ .probe = { "console", (void *)(function) }, .line = (function) }

/*
 * Call it for lines from here on, at once or, where FLIGHTREC_LOG_IS_READ, within about a
 * second: 0 or -errno. And the reverse: after it the function does not run. Both may sleep.
 */
int event_log_start(struct event_log *log);
void event_log_stop(struct event_log *log);

/* May this source record one more? What may not is counted. Any context. */
bool event_allowed(enum flightrec_source source);

/* Record an event, if there were not too many. Any context. */
#define event_emit(source, severity, fmt, ...)				\
	do {								\
		if (event_allowed(source))				\
			flightrec_emit(source, severity, fmt, ##__VA_ARGS__); \
	} while (0)

#endif
