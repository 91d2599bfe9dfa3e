// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Any record is a line of JSON that says the same.
 */
#include "fuzz.h"

#include <json-c/json.h>
#include <stdio.h>

#include "format.h"

static void check_payload(struct json_object *object, const struct flightrec_record *record)
{
	struct json_object *text;
	const char *hex;
	uint32_t i;
	unsigned int byte;

	if (json_object_object_get_ex(object, "text", &text)) {
		if ((uint32_t)json_object_get_string_len(text) != record->len ||
		    memcmp(json_object_get_string(text), flightrec_payload(record), record->len))
			abort();
		return;
	}
	if (!json_object_object_get_ex(object, "payload_hex", &text) ||
	    (uint32_t)json_object_get_string_len(text) != 2 * record->len)
		abort();
	hex = json_object_get_string(text);
	for (i = 0; i < record->len; i++)
		if (sscanf(hex + 2 * i, "%2x", &byte) != 1 ||
		    byte != (unsigned char)flightrec_payload(record)[i])
			abort();
}

static void check_line(const char *line, size_t len, const struct flightrec_record *record)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *object, *member;
	size_t i;

	json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
	for (i = 0; i + 1 < len; i++)
		if ((unsigned char)line[i] < ' ')
			abort();
	if (line[len - 1] != '\n')
		abort();
	object = json_tokener_parse_ex(tokener, line, (int)len);
	if (!object || !json_object_object_get_ex(object, "seq", &member) ||
	    json_object_get_uint64(member) != record->seq)
		abort();
	check_payload(object, record);
	json_object_put(object);
	json_tokener_free(tokener);
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
	char *line = NULL;
	size_t len = 0;
	FILE *out;

	if (size)
		memcpy(given.bytes, data, size < sizeof(given) ? size : sizeof(given));
	given.record.header_size = sizeof(given.record);
	given.record.len = size <= sizeof(given.record) ? 0 :
			   size < sizeof(given) ? size - sizeof(given.record) :
			   FLIGHTREC_PAYLOAD_MAX;
	found.flags = given.record.size & 7;
	out = open_memstream(&line, &len);
	print_json(out, &(struct entry) {
		.record = &given.record, .channel = "default", .lost = given.record.lost,
		.boot_id = found.boot_id, .found = found.flags ? &found : NULL,
	});
	fclose(out);
	check_line(line, len, &given.record);
	free(line);
	return 0;
}
