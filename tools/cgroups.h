/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control groups by the number that a record has of its writer's: what they are called,
 * and the units of systemd that they belong to.
 *
 * Groups that are there are folders of /sys/fs/cgroup, with their numbers as inodes.
 * Those that have ended are known from the driver's records in the channel "kernel". A
 * number means the same group throughout a boot, and nothing in another one.
 */
#ifndef TOOLS_CGROUPS_H
#define TOOLS_CGROUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "format.h"

/* Of a boot before this one: only what cgroups_learn() is given is known from here on. */
void cgroups_of_past_boot(void);

/* If it is the kernel's record of a group's path, remember it. */
void cgroups_learn(const char *channel, const struct flightrec_record *record);

/* The path of a group, from "/" on; NULL if it is not known. Valid until the next call. */
const char *cgroups_path(uint64_t id);

/*
 * Is @path the group @name, or below it? Or, with @unit, has it a folder of that name,
 * as units of systemd have?
 */
bool cgroups_within(const char *path, const char *name, bool unit);

/*
 * Names the group of an entry's writer, if that is known. Valid until the next call of
 * any of these.
 */
void cgroups_name(struct entry *entry);

void cgroups_free(void);

#endif
