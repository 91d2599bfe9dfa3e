// SPDX-License-Identifier: GPL-2.0-or-later
/* JSON output with every key always there, and what is read back from own files. */
#include "guard/base/json.h"

#include <limits.h>
#include <string.h>

#include "guard/base/util.h"

#define FILE_MAX (4u << 20)

void json_add(struct json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, value && *value ?
			       json_object_new_string(value) : NULL);
}

void json_add_bool(struct json_object *o, const char *key, bool value)
{
	json_object_object_add(o, key, json_object_new_boolean(value));
}

void json_add_int(struct json_object *o, const char *key, long long value)
{
	json_object_object_add(o, key, json_object_new_int64(value));
}

const char *json_text(struct json_object *o)
{
	return json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
					      JSON_C_TO_STRING_NOSLASHESCAPE);
}

/* Is what follows the object nothing but white space? */
static bool is_blank(const char *text, size_t len)
{
	while (len && strchr(" \t\r\n", *text) && *text) {
		text++;
		len--;
	}
	return !len;
}

struct json_object *json_parse(const void *text, size_t len)
{
	struct json_tokener *tokener = json_tokener_new();
	struct json_object *o = NULL;
	size_t end;

	if (tokener && len <= FILE_MAX)
		o = json_tokener_parse_ex(tokener, text, len);
	end = o ? json_tokener_get_parse_end(tokener) : 0;
	if (tokener &&
	    (json_tokener_get_error(tokener) != json_tokener_success ||
	     !json_object_is_type(o, json_type_object) ||
	     !is_blank((const char *)text + end, len - end))) {
		json_object_put(o);
		o = NULL;
	}
	if (tokener)
		json_tokener_free(tokener);
	return o;
}

struct json_object *json_read(const char *path)
{
	struct json_object *o = NULL;
	struct buf text;

	if (!file_read(path, FILE_MAX, &text)) {
		o = json_parse(text.data, text.len);
		buf_free(&text);
	}
	return o;
}

static struct json_object *get(struct json_object *o, const char *key,
			       enum json_type type)
{
	struct json_object *value;

	if (!json_object_is_type(o, json_type_object) ||
	    !json_object_object_get_ex(o, key, &value) ||
	    !json_object_is_type(value, type))
		return NULL;
	return value;
}

const char *json_string(struct json_object *o, const char *key)
{
	struct json_object *value = get(o, key, json_type_string);

	return value ? json_object_get_string(value) : NULL;
}

long long json_int(struct json_object *o, const char *key)
{
	struct json_object *value = get(o, key, json_type_int);

	return value ? json_object_get_int64(value) : 0;
}

bool json_flag(struct json_object *o, const char *key)
{
	struct json_object *value = get(o, key, json_type_boolean);

	return value && json_object_get_boolean(value);
}
