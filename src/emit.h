/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Records that the kernel writes, in the channel "kernel". kevent.h is what other modules
 * know of it.
 */
#ifndef FLIGHTREC_EMIT_H
#define FLIGHTREC_EMIT_H

#include <linux/bits.h>
#include <linux/compiler.h>

#include "channel.h"
#include "kevent.h"

/* From here on records go to @channel; NULL: nowhere. Waits for nobody. */
void flightrec_emit_to(struct flightrec_channel *channel);

/* Sources whose events are recorded, a bit each; requests.c sets it as it is asked. */
extern unsigned long flightrec_sources_wanted;

static inline bool flightrec_event_wanted(enum flightrec_source source)
{
	return READ_ONCE(flightrec_sources_wanted) & BIT(source);
}

/**
 * flightrec_emit_text - record a text of the kernel's
 * @severity: 0 (emergency) to 7 (debug)
 * @text: @len bytes
 * @len: at most FLIGHTREC_PAYLOAD_MAX
 *
 * Any context, NMI too.
 *
 * Return: 0, -ENOENT before the driver is ready, or -ENOBUFS.
 */
int flightrec_emit_text(u8 severity, const char *text, u32 len);

#endif
