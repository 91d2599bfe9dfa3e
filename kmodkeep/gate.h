/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host last made of the fleet's gate file. */
#ifndef KMODKEEP_GATE_H
#define KMODKEEP_GATE_H

#include <json-c/json.h>

#include "guard/host/host.h"

/* The record, which the caller owns; NULL: this host asks no gate. */
struct json_object *gate_record(const struct host *h);

#endif
