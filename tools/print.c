// SPDX-License-Identifier: GPL-2.0-only
/*
 * A record as a line, for people and as JSON.
 */
#include "flightrec.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>
#include <wctype.h>

void print_escaped(FILE *out, const char *text, size_t len)
{
	mbstate_t state;
	wchar_t wide;
	size_t n;

	while (len) {
		memset(&state, 0, sizeof(state));
		n = mbrtowc(&wide, text, len, &state);
		if (n && n <= len && iswprint(wide) && wide != L'\\') {
			fwrite(text, 1, n, out);
		} else {
			n = 1;
			fprintf(out, "\\x%02x", (unsigned char)*text);
		}
		text += n;
		len -= n;
	}
}

static const char *payload_of(const struct flightrec_record *record)
{
	return (const char *)record + record->header_size;
}

void print_record(FILE *out, const struct flightrec_record *record)
{
	time_t seconds = record->wall_ns / 1000000000;
	const char *payload = payload_of(record);
	size_t len = record->len;
	char when[32] = "";
	struct tm tm;

	if (record->lost)
		fprintf(out, "# lost %llu records\n", (unsigned long long)record->lost);
	if (localtime_r(&seconds, &tm))
		strftime(when, sizeof(when), "%F %T", &tm);
	fprintf(out, "%s.%06llu %-7s ", when,
		(unsigned long long)(record->wall_ns / 1000 % 1000000),
		severity_name(record->severity));
	if (record->flags & FLIGHTREC_F_INTERRUPT) {
		fputs("[interrupt]", out);
	} else {
		print_escaped(out, record->comm, strnlen(record->comm, sizeof(record->comm)));
		fprintf(out, "[%u]", record->tgid);
	}
	fputs(": ", out);
	if (len && payload[len - 1] == '\n')
		len--;
	print_escaped(out, payload, len);
	fputc('\n', out);
}

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

static void add_hex(struct json_object *object, const char *payload, size_t len)
{
	char *hex = malloc(2 * len + 1);
	size_t i;

	if (!hex)
		abort();
	for (i = 0; i < len; i++)
		sprintf(hex + 2 * i, "%02x", (unsigned char)payload[i]);
	json_object_object_add(object, "payload_hex",
			       json_object_new_string_len(hex, 2 * len));
	free(hex);
}

static void add_number(struct json_object *object, const char *key, __u64 value)
{
	/* json-c's unsigned integers are younger than Debian 11. */
	json_object_object_add(object, key, json_object_new_int64((int64_t)value));
}

void print_record_json(FILE *out, const struct flightrec_record *record)
{
	size_t comm_len = strnlen(record->comm, sizeof(record->comm));
	struct json_object *object = json_object_new_object();
	const char *payload = payload_of(record);

	add_number(object, "seq", record->seq);
	add_number(object, "lost", record->lost);
	add_number(object, "boot_ns", record->boot_ns);
	add_number(object, "wall_ns", record->wall_ns);
	add_number(object, "severity", record->severity);
	json_object_object_add(object, "origin",
			       json_object_new_string(record->origin ==
						      FLIGHTREC_ORIGIN_KERNEL ?
						      "kernel" : "user"));
	json_object_object_add(object, "interrupt",
			       json_object_new_boolean(record->flags &
						       FLIGHTREC_F_INTERRUPT));
	add_number(object, "pid", record->pid);
	add_number(object, "tgid", record->tgid);
	add_number(object, "uid", record->uid);
	add_number(object, "euid", record->euid);
	add_number(object, "cpu", record->cpu);
	if (valid_utf8(record->comm, comm_len))
		json_object_object_add(object, "comm",
				       json_object_new_string_len(record->comm, comm_len));
	if (valid_utf8(payload, record->len))
		json_object_object_add(object, "text",
				       json_object_new_string_len(payload, record->len));
	else
		add_hex(object, payload, record->len);
	fprintf(out, "%s\n", json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
	json_object_put(object);
}
