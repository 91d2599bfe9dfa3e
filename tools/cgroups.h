/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Control groups by the number that a record has of its writer's: what they are called,
 * and the units of systemd and the containers that they belong to.
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

#include "containers.h"
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
 * The container that a group belongs to; NULL if it belongs to none, or its path is not
 * known. Its name is looked for again if it was not known before. Valid until the next call.
 */
const struct container *cgroups_container(uint64_t id);

/*
 * Is it @wanted: its name, of Kubernetes also "namespace/pod", or the first digits of its
 * id, at least CONTAINER_ID_SHOWN?
 */
bool cgroups_is_container(const struct container *container, const char *wanted);

/* What was recorded of a boot before this one: the container with @id is called @name. */
void cgroups_learn_container(const char *id, const char *name);

/* Calls @tell for each group of a container, its name looked for, until that returns false. */
void cgroups_each_container(bool (*tell)(void *arg, const struct container *container), void *arg);

/*
 * Names the group of an entry's writer, if that is known. Valid until the next call of
 * any of these.
 */
void cgroups_name(struct entry *entry);

/* Closes the channel that names are read from, until the next is asked for. What is known stays. */
void cgroups_let_go(void);

void cgroups_free(void);

#endif
