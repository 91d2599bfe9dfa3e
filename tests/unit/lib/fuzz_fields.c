// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Whatever a payload is, looking for members in it ends, and finds none in what is no
 * object.
 */
#include "fuzz.h"

#include "fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char * const wanted[] = { "disk=sda", "at.cpu=7", "at.cpu=true", "at=null", "a.b.c=" };
	union {
		struct flightrec_record record;
		char bytes[FLIGHTREC_READ_MIN];
	} given = { .record.header_size = sizeof(given.record) };
	struct fields fields = { 0 };
	size_t i;
	bool found = false;

	given.record.len = size < FLIGHTREC_PAYLOAD_MAX ? size : FLIGHTREC_PAYLOAD_MAX;
	if (size)
		memcpy(given.bytes + sizeof(given.record), data, given.record.len);
	for (i = 0; i < sizeof(wanted) / sizeof(*wanted); i++) {
		if (!fields_add(&fields, wanted[i]))
			abort();
		found |= fields_match(&fields, &given.record);
	}
	if (found && data[0] != '{')
		abort();
	fields_free(&fields);
	return 0;
}
