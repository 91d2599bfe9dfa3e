/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the sources of flightrec-events share. The core knows nothing of it.
 */
#ifndef FLIGHTREC_EVENT_H
#define FLIGHTREC_EVENT_H

#include "kevent.h"

/* Severities of syslog(3). */
#define SEV_CRIT	2
#define SEV_WARNING	4
#define SEV_NOTICE	5
#define SEV_INFO	6
#define SEV_DEBUG	7

/**
 * struct event_source - where events come from
 * @start: begin to deliver; 0 or -errno. May sleep.
 * @stop: after it nothing is delivered; only called if @start succeeded
 */
struct event_source {
	int (*start)(void);
	void (*stop)(void);
};

extern const struct event_source event_cpu;
extern const struct event_source event_heartbeat;
extern const struct event_source event_module;
extern const struct event_source event_net;
extern const struct event_source event_oom;
extern const struct event_source event_oops;
extern const struct event_source event_reboot;
extern const struct event_source event_suspend;

/* May this source record one more? What may not is counted. Any context. */
bool event_allowed(enum flightrec_source source);

/* Record an event, if there were not too many. Any context. */
#define event_emit(source, severity, fmt, ...)				\
	do {								\
		if (event_allowed(source))				\
			flightrec_emit(source, severity, fmt, ##__VA_ARGS__); \
	} while (0)

#endif
