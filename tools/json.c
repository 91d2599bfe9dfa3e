// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A record as a line of JSON. Members may be added, none changes its meaning:
 * docs/json.md.
 */
#include "tool.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* Only text goes into a JSON string as it is. */
static bool valid_utf8(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;
	size_t i, n;

	while (len) {
		n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 :
		    s[0] < 0xf0 ? 3 : s[0] < 0xf5 ? 4 : 0;
		if (!n || n > len || !s[0])
			return false;
		for (i = 1; i < n; i++)
			if ((s[i] & 0xc0) != 0x80)
				return false;
		if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
		    (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
			return false;
		s += n;
		len -= n;
	}
	return true;
}

static void add(struct json_object *object, const char *key, struct json_object *value)
{
	/* Out of memory: a line with a member less would be a lie. */
	if (!value || json_object_object_add(object, key, value))
		abort();
}

static void add_number(struct json_object *object, const char *key, uint64_t value)
{
	add(object, key, json_object_new_uint64(value));
}

static void add_hex(struct json_object *object, const char *key, const char *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char hex[2 * FLIGHTREC_PAYLOAD_MAX];
	size_t i;

	for (i = 0; i < len; i++) {
		hex[2 * i] = digits[(unsigned char)bytes[i] >> 4];
		hex[2 * i + 1] = digits[bytes[i] & 15];
	}
	add(object, key, json_object_new_string_len(hex, 2 * len));
}

static void add_stamp(struct json_object *object, const struct flightrec_record *record)
{
	size_t comm_len = strnlen(record->comm, sizeof(record->comm));

	add_number(object, "seq", record->seq);
	add_number(object, "lost", record->lost);
	add_number(object, "boot_ns", record->boot_ns);
	add_number(object, "wall_ns", record->wall_ns);
	add_number(object, "severity", record->severity);
	add(object, "origin", json_object_new_string(record->origin == FLIGHTREC_ORIGIN_KERNEL ?
						      "kernel" : "user"));
	add(object, "interrupt", json_object_new_boolean(!!(record->flags & FLIGHTREC_F_INTERRUPT)));
	add_number(object, "pid", record->pid);
	add_number(object, "tgid", record->tgid);
	add_number(object, "uid", record->uid);
	add_number(object, "euid", record->euid);
	add_number(object, "cpu", record->cpu);
	if (valid_utf8(record->comm, comm_len))
		add(object, "comm", json_object_new_string_len(record->comm, comm_len));
}

static void add_recovered(struct json_object *object, const struct flightrec_recovered *found)
{
	add(object, "boot_id", json_object_new_string(found->boot_id));
	add(object, "verified", json_object_new_boolean(0));
	add(object, "source", json_object_new_string(found->flags & FLIGHTREC_RECOVERED_TEXT ?
						      "text" : "memory"));
	add(object, "cut", json_object_new_boolean(!!(found->flags & FLIGHTREC_RECOVERED_CUT)));
	add(object, "conflict",
	    json_object_new_boolean(!!(found->flags & FLIGHTREC_RECOVERED_CONFLICT)));
	add_number(object, "full_len", found->full_len);
}

void print_record_json(FILE *out, const char *channel, const struct flightrec_record *record,
		       const struct flightrec_recovered *found)
{
	struct json_object *object = json_object_new_object();
	const char *payload = flightrec_payload(record);
	/* A driver of a later version may allow more. */
	size_t len = record->len < FLIGHTREC_PAYLOAD_MAX ? record->len : FLIGHTREC_PAYLOAD_MAX;

	if (!object)
		abort();
	add(object, "channel", json_object_new_string(channel));
	add_stamp(object, record);
	if (found)
		add_recovered(object, found);
	if (valid_utf8(payload, len))
		add(object, "text", json_object_new_string_len(payload, len));
	else
		add_hex(object, "payload_hex", payload, len);
	fprintf(out, "%s\n", json_object_to_json_string_ext(object, JSON_STYLE));
	json_object_put(object);
}
