// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Payloads that are objects of JSON: fields.h.
 */
#include "fields.h"

#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

/* Levels of objects and arrays; a payload that has more is not looked into. */
#define DEPTH 32

bool fields_add(struct fields *fields, const char *text)
{
	const char *equals = strchr(text, '=');
	struct field *more;

	if (!equals || equals == text)
		return false;
	more = reallocarray(fields->wanted, fields->count + 1, sizeof(*more));
	/* A filter with a member less would be another one. */
	if (!more)
		abort();
	fields->wanted = more;
	more[fields->count++] = (struct field) { text, equals + 1, equals - text };
	if (!fields->tokener) {
		fields->tokener = json_tokener_new_ex(DEPTH);
		if (!fields->tokener)
			abort();
		json_tokener_set_flags(fields->tokener, JSON_TOKENER_STRICT);
	}
	return true;
}

/* NULL if the payload is no object, or more than one. */
static struct json_object *parse(struct json_tokener *tokener, const char *text, size_t len)
{
	struct json_object *object;

	while (len && strchr(" \t\r\n", text[len - 1]) && text[len - 1])
		len--;
	/* Most texts are none. */
	if (!len || text[0] != '{' || text[len - 1] != '}')
		return NULL;
	json_tokener_reset(tokener);
	object = json_tokener_parse_ex(tokener, text, (int)len);
	if (object && json_tokener_get_parse_end(tokener) == len)
		return object;
	json_object_put(object);
	return NULL;
}

/* The member of @name, which is not closed by a zero: false if there is none. */
static bool member(struct json_object *object, const char *name, size_t len,
		   struct json_object **value)
{
	char key[FLIGHTREC_PAYLOAD_MAX];

	if (len >= sizeof(key))
		return false;
	memcpy(key, name, len);
	key[len] = '\0';
	return json_object_object_get_ex(object, key, value);
}

static bool find(struct json_object *object, const char *name, size_t len,
		 struct json_object **value)
{
	const char *dot;

	while (!member(object, name, len, value)) {
		dot = memchr(name, '.', len);
		if (!dot || !member(object, name, dot - name, &object) ||
		    !json_object_is_type(object, json_type_object))
			return false;
		len -= dot + 1 - name;
		name = dot + 1;
	}
	return true;
}

static bool holds(struct json_object *object, const struct field *field)
{
	struct json_object *value;
	const char *text;
	size_t len;

	if (!find(object, field->name, field->name_len, &value))
		return false;
	if (json_object_is_type(value, json_type_string)) {
		text = json_object_get_string(value);
		len = json_object_get_string_len(value);
	} else {
		text = json_object_to_json_string_ext(value, JSON_C_TO_STRING_PLAIN |
						      JSON_C_TO_STRING_NOSLASHESCAPE);
		len = strlen(text);
	}
	return strlen(field->value) == len && !memcmp(text, field->value, len);
}

static bool same_name(const struct field *one, const struct field *other)
{
	return one->name_len == other->name_len && !memcmp(one->name, other->name, one->name_len);
}

bool fields_match(const struct fields *fields, const struct flightrec_record *record)
{
	struct json_object *object;
	bool all = true, any;
	size_t i, j;

	if (!fields->count)
		return true;
	object = parse(fields->tokener, flightrec_payload(record), record->len);
	if (!object)
		return false;
	for (i = 0; i < fields->count && all; i++) {
		any = false;
		for (j = 0; j < fields->count && !any; j++)
			any = same_name(&fields->wanted[i], &fields->wanted[j]) &&
			      holds(object, &fields->wanted[j]);
		all = any;
	}
	json_object_put(object);
	return all;
}

void fields_free(struct fields *fields)
{
	free(fields->wanted);
	if (fields->tokener)
		json_tokener_free(fields->tokener);
}
