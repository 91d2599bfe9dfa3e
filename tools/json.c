// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A record as a line of JSON. Members may be added, none changes its meaning:
 * docs/json.md.
 */
#include "format.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "utf8.h"

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

static void add_stamp(struct json_object *object, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;
	size_t comm_len = strnlen(record->comm, sizeof(record->comm));

	add_number(object, "seq", record->seq);
	add_number(object, "lost", entry->lost);
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
	if (flightrec_cgroup(record))
		add_number(object, "cgroup", flightrec_cgroup(record));
	if (entry->cgroup_path && utf8_valid(entry->cgroup_path, strlen(entry->cgroup_path)))
		add(object, "cgroup_path", json_object_new_string(entry->cgroup_path));
	if (entry->unit && utf8_valid(entry->unit, strlen(entry->unit)))
		add(object, "unit", json_object_new_string(entry->unit));
	if (flightrec_start_ns(record))
		add_number(object, "start_ns", flightrec_start_ns(record));
	if (utf8_valid(record->comm, comm_len))
		add(object, "comm", json_object_new_string_len(record->comm, comm_len));
}

static void add_recovered(struct json_object *object, const struct flightrec_recovered *found)
{
	add(object, "source", json_object_new_string(found->flags & FLIGHTREC_RECOVERED_TEXT ?
						      "text" : "memory"));
	add(object, "cut", json_object_new_boolean(!!(found->flags & FLIGHTREC_RECOVERED_CUT)));
	add(object, "conflict",
	    json_object_new_boolean(!!(found->flags & FLIGHTREC_RECOVERED_CONFLICT)));
	add_number(object, "full_len", found->full_len);
}

void print_json(FILE *out, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;
	struct json_object *object = json_object_new_object();
	const char *payload = flightrec_payload(record);
	/* A driver of a later version may allow more. */
	size_t len = record->len < FLIGHTREC_PAYLOAD_MAX ? record->len : FLIGHTREC_PAYLOAD_MAX;

	if (!object)
		abort();
	add(object, "channel", json_object_new_string(entry->channel));
	add_stamp(object, entry);
	if (entry->boot_id)
		add(object, "boot_id", json_object_new_string(entry->boot_id));
	if (entry->found)
		add_recovered(object, entry->found);
	if (utf8_valid(payload, len))
		add(object, "text", json_object_new_string_len(payload, len));
	else
		add_hex(object, "payload_hex", payload, len);
	fprintf(out, "%s\n", json_object_to_json_string_ext(object, JSON_STYLE));
	json_object_put(object);
}
