/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The doctor's answer as JSON, for people's programs and for state.json. */
#ifndef KMODKEEP_DOCTOR_JSON_H
#define KMODKEEP_DOCTOR_JSON_H

#include <json-c/json.h>

#include "guard/verdict/doctor.h"

#define DOCTOR_SCHEMA 1

/* NULL: no memory. To be released with json_object_put(). */
struct json_object *doctor_json(const struct doctor *d);
/* What serves, and what did and is lost, for record_read(). */
struct json_object *record_json(const struct doctor *d);

#endif
