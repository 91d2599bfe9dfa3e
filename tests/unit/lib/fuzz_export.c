// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any record is one entry of the journal's export format: a payload can neither end
 * it nor add a field.
 */
#include "fuzz.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "format.h"

/* The value at @at, and where the next field begins; aborts if there is none. */
static size_t field(const char *text, size_t len, size_t at, size_t *name_len,
		    const char **value, size_t *value_len)
{
	uint64_t size;
	size_t end = at;

	while (end < len && (isupper((unsigned char)text[end]) || text[end] == '_' ||
			     isdigit((unsigned char)text[end])))
		end++;
	*name_len = end - at;
	if (!*name_len || end >= len)
		abort();
	if (text[end] == '=') {
		*value = text + end + 1;
		for (*value_len = 0; end + 1 + *value_len < len && (*value)[*value_len] != '\n'; )
			++*value_len;
		end += 1 + *value_len;
	} else {
		if (text[end] != '\n' || len - end < 1 + sizeof(size))
			abort();
		memcpy(&size, text + end + 1, sizeof(size));
		*value = text + end + 1 + sizeof(size);
		*value_len = size;
		if (size > len - end - 1 - sizeof(size))
			abort();
		end += 1 + sizeof(size) + size;
	}
	if (end >= len || text[end] != '\n')
		abort();
	return end + 1;
}

static void check(const char *text, size_t len, const struct flightrec_record *record)
{
	size_t at = 0, name_len, value_len, messages = 0, payload_len = record->len;
	const char *payload = flightrec_payload(record), *value;
	size_t begin;

	if (payload_len && payload[payload_len - 1] == '\n')
		payload_len--;
	while (at < len && text[at] != '\n') {
		begin = at;
		at = field(text, len, at, &name_len, &value, &value_len);
		if (name_len != 7 || memcmp(text + begin, "MESSAGE", 7))
			continue;
		messages++;
		if (value_len != payload_len || memcmp(value, payload, payload_len))
			abort();
	}
	/* The empty line that ends it is the last byte. */
	if (at + 1 != len || messages != 1)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	union {
		struct flightrec_record record;
		char bytes[FLIGHTREC_READ_MIN];
	} given = { .bytes = "" };
	struct flightrec_recovered found = {
		.record = &given.record, .channel = "default", .boot_id = "0123abcd",
	};
	struct entry entry = {
		.record = &given.record, .channel = "default", .boot_id = found.boot_id,
	};
	char *text = NULL;
	size_t len = 0;
	FILE *out;

	if (size)
		memcpy(given.bytes, data, size < sizeof(given) ? size : sizeof(given));
	given.record.header_size = sizeof(given.record);
	given.record.len = size <= sizeof(given.record) ? 0 :
			   size < sizeof(given) ? size - sizeof(given.record) :
			   FLIGHTREC_PAYLOAD_MAX;
	found.flags = given.record.size & 7;
	entry.lost = given.record.lost;
	entry.found = found.flags ? &found : NULL;
	out = open_memstream(&text, &len);
	print_export(out, &entry);
	fclose(out);
	check(text, len, &given.record);
	free(text);
	return 0;
}
