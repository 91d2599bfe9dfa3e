// SPDX-License-Identifier: GPL-2.0-only
/* Records that the kernel writes: kevent.h, and emit.h for the core itself. */
#include <linux/kernel.h>
#include <linux/module.h>
#include <linux/string.h>

#include "compat/compat.h"
#include "emit.h"

/* Bytes of an event's text at most. */
#define EVENT_MAX 256

unsigned long flightrec_sources_wanted = BIT(FLIGHTREC_SOURCES) - 1;

static struct flightrec_channel *event_channel;

void flightrec_emit_to(struct flightrec_channel *channel)
{
	/* Pairs with the acquire in flightrec_emit_text(). */
	smp_store_release(&event_channel, channel);
}

int flightrec_emit_text(u8 severity, const char *text, u32 len)
{
	/* Pairs with the release in flightrec_emit_to(). */
	struct flightrec_channel *channel = smp_load_acquire(&event_channel);
	struct flightrec_stamp stamp;
	int err;

	if (!channel)
		return -ENOENT;
	flightrec_stamp_fill(&stamp, FLIGHTREC_ORIGIN_KERNEL, severity, len);
	err = flightrec_channel_append(channel, &stamp, text);
	if (!err)
		flightrec_channel_wake_later(channel, severity);
	return err;
}

int flightrec_emit(enum flightrec_source source, u8 severity,
		   const char *fmt, ...)
{
	char text[EVENT_MAX];
	va_list args;
	int len;

	if (!flightrec_event_wanted(source))
		return -ENOENT;
	va_start(args, fmt);
	len = vscnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	return flightrec_emit_text(severity, text, len);
}
FLIGHTREC_EXPORT(flightrec_emit);

int flightrec_note(const char *source, u8 severity, const char *fmt, ...)
{
	size_t name = strspn(source, "abcdefghijklmnopqrstuvwxyz0123456789_-");
	char text[EVENT_MAX];
	va_list args;
	int len;

	if (!name || source[name] || name >= FLIGHTREC_NAME_MAX || severity > 7)
		return -EINVAL;
	if (!flightrec_event_wanted(FLIGHTREC_SOURCE_OTHER))
		return -ENOENT;
	len = scnprintf(text, sizeof(text), "%s ", source);
	va_start(args, fmt);
	len += vscnprintf(text + len, sizeof(text) - len, fmt, args);
	va_end(args);
	return flightrec_emit_text(severity, text, len);
}
FLIGHTREC_EXPORT(flightrec_note);
