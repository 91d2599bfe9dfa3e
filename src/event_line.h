/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Lines of the kernel's log as a tracepoint passes them on. Also compiled in user space.
 */
#ifndef FLIGHTREC_EVENT_LINE_H
#define FLIGHTREC_EVENT_LINE_H

#include "ring_port.h"

/*
 * The first line of what the tracepoint "console" passes, of *@len bytes, without
 * the time that kernels before 5.19 put before it, and without who printed it, as those
 * with CONFIG_PRINTK_CALLER do: "[    1.234567][    T1] text". Its length goes to *@len.
 */
static inline const char *event_log_line(const char *text, size_t *len)
{
	const char *end = text + *len, *line = memchr(text, '\n', *len), *close;

	if (line)
		end = line;
	while (text < end && *text == '[') {
		close = memchr(text, ']', end - text);
		if (!close)
			break;
		text = close + 1;
	}
	/* Nothing but the text itself is passed since. */
	if (text < end && *text == ' ')
		text++;
	*len = end - text;
	return text;
}

#endif
