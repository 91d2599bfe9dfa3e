/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a module that records kernel events knows of the core: this header
 * and one exported function, in the symbol namespace FLIGHTREC.
 */
#ifndef FLIGHTREC_KEVENT_H
#define FLIGHTREC_KEVENT_H

#include <linux/types.h>

/*
 * The event sources, each a name in the core's parameter "events". requests.c
 * has the names, in this order.
 */
enum flightrec_source {
	FLIGHTREC_SOURCE_MODULE,	/* modules loaded and unloaded */
	FLIGHTREC_SOURCE_NET,		/* interfaces up and down */
	FLIGHTREC_SOURCE_REBOOT,	/* restart, halt, power off */
	FLIGHTREC_SOURCE_HEARTBEAT,	/* a timer: the kernel was alive */
	FLIGHTREC_SOURCES
};

/* The core asks for this alias when a source is named in "events". */
#define FLIGHTREC_EVENTS_ALIAS "flightrec-event-source"

/**
 * flightrec_emit - record an event in the channel "kernel"
 * @source: where it comes from; must be one of the enum
 * @severity: 0 (emergency) to 7 (debug)
 * @fmt: printf format; the text is cut at 255 bytes
 *
 * May be called from any context, an NMI too; never sleeps.
 *
 * Return: 0; -ENOENT if the administrator did not ask for this source;
 * -ENOBUFS as in flightrec_channel_append().
 */
__printf(3, 4)
int flightrec_emit(enum flightrec_source source, u8 severity,
		   const char *fmt, ...);

#endif
