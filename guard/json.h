/* SPDX-License-Identifier: GPL-2.0-only */
/* The few things that every JSON output needs. */
#ifndef KMODKEEP_JSON_H
#define KMODKEEP_JSON_H

#include <json-c/json.h>

/* Adds a string; null where there is none, so that every key is always there. */
void json_add(struct json_object *o, const char *key, const char *value);

/* The object as text, owned by it. */
const char *json_text(struct json_object *o);

#endif
