// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A record as a line of JSON. Members may be added, none changes its meaning:
 * docs/json.md. Written without a library: there are millions of them, their form is
 * fixed, and their length has a bound.
 */
#include "format.h"

#include <string.h>

#include "utf8.h"

/* Of a control group's path and of a unit's name, in bytes; a longer one is left out. */
#define NAME_BYTES_MAX 4096
/* Each byte of a text as "\u0001"; and the members around them, with the name of the writer. */
#define LINE_MAX_BYTES \
	(6 * (FLIGHTREC_PAYLOAD_MAX + 16 + 2 * NAME_BYTES_MAX + sizeof(struct container)) + 1024)

static const char digits[] = "0123456789abcdef";

/* What stands behind the backslash; 'u': four digits; 0: the byte itself. */
static const char escapes[256] = {
	[0 ... 7] = 'u', ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', [0x0b] = 'u', ['\f'] = 'f',
	['\r'] = 'r', [0x0e ... 0x1f] = 'u', ['"'] = '"', ['\\'] = '\\',
};

/* All of these write at @at, and return what is behind. */

static inline char *put(char *at, const char *text, size_t len)
{
	memcpy(at, text, len);
	return at + len;
}

#define PUT(at, text) put(at, text, sizeof(text) - 1)

static char *put_number(char *at, uint64_t value)
{
	char text[20];
	size_t n = sizeof(text);

	do {
		text[--n] = '0' + value % 10;
		value /= 10;
	} while (value);
	return put(at, text + n, sizeof(text) - n);
}

static char *put_flag(char *at, bool value)
{
	return value ? PUT(at, "true") : PUT(at, "false");
}

/* At most six bytes for each of @text, which is UTF-8. */
static char *put_text(char *at, const char *text, size_t len)
{
	const unsigned char *byte = (const unsigned char *)text, *end = byte + len, *run;

	*at++ = '"';
	for (;; byte++) {
		for (run = byte; byte < end && !escapes[*byte]; byte++)
			;
		at = put(at, (const char *)run, byte - run);
		if (byte == end)
			break;
		*at++ = '\\';
		*at++ = escapes[*byte];
		if (escapes[*byte] == 'u') {
			at = PUT(at, "00");
			*at++ = digits[*byte >> 4];
			*at++ = digits[*byte & 15];
		}
	}
	*at++ = '"';
	return at;
}

static char *put_hex(char *at, const char *bytes, size_t len)
{
	size_t i;

	*at++ = '"';
	for (i = 0; i < len; i++) {
		*at++ = digits[(unsigned char)bytes[i] >> 4];
		*at++ = digits[bytes[i] & 15];
	}
	*at++ = '"';
	return at;
}

#define PUT_NUMBER(at, key, value) put_number(PUT(at, ",\"" key "\":"), value)

static bool is_short(const char *name)
{
	size_t len = strnlen(name, NAME_BYTES_MAX + 1);

	return len <= NAME_BYTES_MAX && utf8_valid(name, len);
}

static char *put_container(char *at, const struct container *container)
{
	at = put_text(PUT(at, ",\"container_runtime\":"), container->runtime,
		      strlen(container->runtime));
	if (container->id[0])
		at = put_text(PUT(at, ",\"container_id\":"), container->id, strlen(container->id));
	if (container->name[0])
		at = put_text(PUT(at, ",\"container\":"), container->name,
			      strlen(container->name));
	return at;
}

static char *put_stamp(char *at, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;
	size_t comm_len = strnlen(record->comm, sizeof(record->comm));

	at = PUT_NUMBER(at, "seq", record->seq);
	at = PUT_NUMBER(at, "lost", entry->lost);
	at = PUT_NUMBER(at, "boot_ns", record->boot_ns);
	at = PUT_NUMBER(at, "wall_ns", record->wall_ns);
	at = PUT_NUMBER(at, "severity", record->severity);
	at = record->origin == FLIGHTREC_ORIGIN_KERNEL ? PUT(at, ",\"origin\":\"kernel\"") :
							 PUT(at, ",\"origin\":\"user\"");
	at = put_flag(PUT(at, ",\"interrupt\":"), record->flags & FLIGHTREC_F_INTERRUPT);
	at = PUT_NUMBER(at, "pid", record->pid);
	at = PUT_NUMBER(at, "tgid", record->tgid);
	at = PUT_NUMBER(at, "uid", record->uid);
	at = PUT_NUMBER(at, "euid", record->euid);
	at = PUT_NUMBER(at, "cpu", record->cpu);
	if (flightrec_cgroup(record))
		at = PUT_NUMBER(at, "cgroup", flightrec_cgroup(record));
	if (entry->cgroup_path && is_short(entry->cgroup_path))
		at = put_text(PUT(at, ",\"cgroup_path\":"), entry->cgroup_path,
			      strlen(entry->cgroup_path));
	if (entry->unit && is_short(entry->unit))
		at = put_text(PUT(at, ",\"unit\":"), entry->unit, strlen(entry->unit));
	if (entry->container)
		at = put_container(at, entry->container);
	if (flightrec_start_ns(record))
		at = PUT_NUMBER(at, "start_ns", flightrec_start_ns(record));
	if (utf8_valid(record->comm, comm_len))
		at = put_text(PUT(at, ",\"comm\":"), record->comm, comm_len);
	return at;
}

static char *put_recovered(char *at, const struct flightrec_recovered *found)
{
	at = found->flags & FLIGHTREC_RECOVERED_TEXT ? PUT(at, ",\"source\":\"text\"") :
						       PUT(at, ",\"source\":\"memory\"");
	at = put_flag(PUT(at, ",\"cut\":"), found->flags & FLIGHTREC_RECOVERED_CUT);
	at = put_flag(PUT(at, ",\"conflict\":"), found->flags & FLIGHTREC_RECOVERED_CONFLICT);
	return PUT_NUMBER(at, "full_len", found->full_len);
}

/* A name that the library or the driver has checked: [a-z0-9_-], below FLIGHTREC_NAME_MAX. */
static char *put_name(char *at, const char *name)
{
	return put_text(at, name, strnlen(name, FLIGHTREC_NAME_MAX));
}

void print_json(FILE *out, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;
	const char *payload = flightrec_payload(record);
	/* A driver of a later version may allow more. */
	size_t len = record->len < FLIGHTREC_PAYLOAD_MAX ? record->len : FLIGHTREC_PAYLOAD_MAX;
	char line[LINE_MAX_BYTES], *at = line;

	at = put_name(PUT(at, "{\"channel\":"), entry->channel);
	at = put_stamp(at, entry);
	if (entry->boot_id)
		at = put_name(PUT(at, ",\"boot_id\":"), entry->boot_id);
	if (entry->found)
		at = put_recovered(at, entry->found);
	if (utf8_valid(payload, len))
		at = put_text(PUT(at, ",\"text\":"), payload, len);
	else
		at = put_hex(PUT(at, ",\"payload_hex\":"), payload, len);
	at = PUT(at, "}\n");
	fwrite(line, 1, at - line, out);
}
