/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The few things that every JSON output needs. */
#ifndef KMODKEEP_JSON_H
#define KMODKEEP_JSON_H

#include <json-c/json.h>
#include <stdbool.h>

/* Adds a string; null where there is none, so that every key is always there. */
void json_add(struct json_object *o, const char *key, const char *value);
void json_add_bool(struct json_object *o, const char *key, bool value);
void json_add_int(struct json_object *o, const char *key, long long value);

/* The object as text, owned by it. */
const char *json_text(struct json_object *o);

/* An object from text of 4 MiB at most; NULL if it is not one. */
struct json_object *json_parse(const void *text, size_t len);
/* An object from a file of kmodkeep's; NULL if it is not one. */
struct json_object *json_read(const char *path);
/* NULL, 0 and false stand for what is not there, or of another type. */
const char *json_string(struct json_object *o, const char *key);
long long json_int(struct json_object *o, const char *key);
bool json_flag(struct json_object *o, const char *key);

#endif
