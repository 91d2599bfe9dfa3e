// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Records in a buffer, and the driver's statistics.
 */
#include "fuzz.h"
#include "internal.h"

static void decode(const uint8_t *data, size_t size)
{
	const struct flightrec_record *record;
	/* Of exactly that size, for the sanitizer. */
	char *buffer = malloc(size);
	size_t offset = 0;

	memcpy(buffer, data, size);
	while (flightrec_decode(buffer, size, &offset, &record) > 0)
		touch(record);
	if (offset > size)
		abort();
	free(buffer);
}

static void statistics(const uint8_t *data, size_t size)
{
	struct flightrec_stats *stats;
	const char *key, *value;
	uint64_t number;
	size_t line, i;

	if (stats_parse(&stats, (const char *)data, size))
		abort();
	for (line = 0; flightrec_stats_member(stats, line, 0, &key, &value); line++) {
		flightrec_stats_channel(stats, line);
		flightrec_stats_number(stats, line, "records", &number);
		for (i = 0; flightrec_stats_member(stats, line, i, &key, &value); i++)
			if (strlen(key) + strlen(value) > size)
				abort();
	}
	flightrec_stats_free(stats);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)	/* then there may be no data either */
		return 0;
	decode(data, size);
	statistics(data, size < 4096 ? size : 4096);
	return 0;
}
