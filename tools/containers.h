/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Containers by the paths of their control groups: containers.c knows the paths of each
 * runtime, names.c the files in which runtimes keep the names. No daemon is asked.
 *
 * A path is made by whoever the group was delegated to: of containers in one another the
 * outermost counts, so that what is one cannot pass itself off as a neighbour. Containers of a
 * user are said to be so, and only that user's files have their names.
 */
#ifndef TOOLS_CONTAINERS_H
#define TOOLS_CONTAINERS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Hexadecimal digits of an id, and those that people see. */
#define CONTAINER_ID_DIGITS 64
#define CONTAINER_ID_SHOWN 12

/**
 * struct container - what is known of one
 * @runtime: "docker", "podman", "cri-o", "containerd", "kubernetes" where its runtime
 *	cannot be told, "systemd-nspawn", "machine" for another one of machinectl(1),
 *	"lxc", or "unknown"
 * @id: all digits; empty for a runtime whose containers have names alone
 * @name: letters, digits, '.', '_', '-'; of Kubernetes "namespace/pod/container", or
 *	"namespace/pod" for what holds the pod. Empty where it is not known
 * @pod: the uid of its pod of Kubernetes, with dashes, or empty
 * @of_user: it is rootless
 * @uid: of that user
 */
struct container {
	const char *runtime;
	char id[CONTAINER_ID_DIGITS + 1];
	char name[256];
	char pod[64];
	bool of_user;
	uid_t uid;
};

/* Is that the group of a container, or below one? No file is looked at. */
bool container_of(const char *path, struct container *container);

/* Can it be a name that a runtime gives? Or, of several with '/' between them, one of ours? */
bool container_name_ok(const char *name, size_t len);
bool container_full_name_ok(const char *name);

/* Fills in the name, from files of this host, if it is not known. */
void container_find_name(struct container *container);

/*
 * The name that docker's config.v2.json, or containers.json of podman and CRI-O, has of
 * @id, into @name of @size bytes; any bytes may be given.
 */
bool container_name_in(const char *text, size_t len, const char *id, char *name, size_t size);

/* For people: the name, or the runtime and the id's first digits. */
#define CONTAINER_LABEL_MAX 320
void container_label(const struct container *container, char *label, size_t size);

#endif
