/* SPDX-License-Identifier: GPL-2.0-or-later */
#ifndef KMODKEEP_DOCTOR_JSON_H
#define KMODKEEP_DOCTOR_JSON_H

#include <json-c/json.h>

#include "guard/verdict/doctor.h"

#define DOCTOR_SCHEMA 1

struct json_object *doctor_json(const struct doctor *d);

#endif
