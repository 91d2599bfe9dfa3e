// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lines in a log. As they are, and with their checks made right, so that the
 * fuzzer gets behind them.
 */
#include "fuzz.h"

#include <stdio.h>
#include <zlib.h>

/* Puts the right check at the end of each line that has room for one. */
static void set_checks(char *text, size_t size)
{
	char *at = text, *end;
	char *line, check[10];

	while ((line = memmem(at, text + size - at, "flightrec: ", 11))) {
		line += 11;
		end = memchr(line, '\n', text + size - line);
		at = line;
		if (!end)
			return;
		if (end - line < 10)
			continue;
		snprintf(check, sizeof(check), " %08x",
			 (unsigned int)crc32(0, (unsigned char *)line, end - 9 - line));
		memcpy(end - 9, check, 9);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)	/* then there may be no data either */
		return 0;
	char *text = malloc(size + 1);

	recover_from(data, size);
	memcpy(text, data, size);
	set_checks(text, size);
	recover_from((uint8_t *)text, size);
	free(text);
	return 0;
}
