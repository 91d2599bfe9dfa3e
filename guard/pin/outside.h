/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What was changed from outside of this system between two boots: by the firmware
 * or its update, by another system, in MokManager. Each boot is compared with the
 * one before it, as its first guard has found it.
 */
#ifndef KMODKEEP_OUTSIDE_H
#define KMODKEEP_OUTSIDE_H

#include <json-c/json.h>

#include "guard/host/host.h"
#include "guard/trust/trust.h"

/* How this boot finds the host; what cannot be read is null. NULL: no memory. */
struct json_object *outside_read(const struct host *h);
/*
 * Objects with "change" (a stable word), "message" and "next_step"; an empty array
 * where nothing has changed, or was is NULL. A key of this host's that was enrolled
 * is no surprise. NULL: no memory.
 */
struct json_object *outside_compare(struct json_object *was, struct json_object *now,
				    const struct trust *t);

#endif
