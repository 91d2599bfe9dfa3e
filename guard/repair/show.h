/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A plan for people, and as JSON. */
#ifndef KMODKEEP_SHOW_H
#define KMODKEEP_SHOW_H

#include <json-c/json.h>

#include "guard/repair/plan.h"

#define SHOW_COLUMN 14

/* The first steps with their reasons, and of what is left to a person the first, too. */
void show_plan(const struct plan *p, size_t max);
/* Arrays of objects with "command", "cause", "why", and of texts. */
struct json_object *show_steps_json(const struct plan *p);
struct json_object *show_others_json(const struct plan *p);

#endif
