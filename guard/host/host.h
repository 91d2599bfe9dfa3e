/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The host asked about: its file tree (the running one, or an image named by
 * --root), and what kind of place it is.
 */
#ifndef KMODKEEP_HOST_H
#define KMODKEEP_HOST_H

#include <stdbool.h>

struct host;

/* root NULL or "/": the running system. One thread uses it at a time. */
int host_new(const char *root, struct host **out);
void host_free(struct host *h);

/* What is known of the machines that an image is for. */
enum image { IMAGE_NOT, IMAGE_FOR_ANY, IMAGE_FOR_SECURE_BOOT, IMAGE_WITHOUT_SECURE_BOOT };
/*
 * An image that boots on other machines, at root, which may be "/". Nothing counts of
 * the machine that looks at it: /proc, /sys, /run and /dev have nothing then, and marks
 * of the container in which it was built make it no container.
 */
int host_new_image(const char *root, enum image kind, struct host **out);
/* IMAGE_NOT: it is a host. */
enum image host_image(const struct host *h);

/* root + path, malloc'ed; path starts with a slash. */
char *host_path(const struct host *h, const char *path);
/*
 * The same with all links followed below the root, absolute ones too, so that an
 * image's links do not lead out of it. NULL: it is not there.
 */
char *host_resolve(const struct host *h, const char *path);
const char *host_root(const struct host *h);

/* Is this the running system, so that its kernel and keyrings count? */
bool host_is_live(const struct host *h);

/*
 * May its programs be run, its boot loader be set, and do the variables of the
 * firmware speak of it? Only of the running system: a folder may hold anything,
 * and the firmware is that of the machine that looks at it.
 */
bool host_may_act(const struct host *h);

enum place { PLACE_HOST, PLACE_CONTAINER, PLACE_CHROOT, PLACE_IMAGE };
enum place host_place(const struct host *h);
const char *place_word(enum place p);

/* Does it boot whole file systems, and not kernels out of packages? */
bool host_is_immutable(const struct host *h);

/* Is there such a file or directory below root? path starts with a slash. */
bool host_has(const struct host *h, const char *path);

/* Release of the running kernel; "" for an image that runs none of its own. */
const char *host_running_kernel(const struct host *h);

/* First line of a file under root, NULL if it cannot be read; malloc'ed. */
char *host_line(const struct host *h, const char *path);
/* The same of a file of a module in sysfs, where dashes in its name are underscores. */
char *host_module_line(const struct host *h, const char *module, const char *file);
/* Is it loaded now, whichever build? By the name that it was built with. */
bool host_module_loaded(const struct host *h, const char *module);
char *host_boot_id(const struct host *h);
/* When the running system booted, in seconds since 1970; 0: not known. */
long long host_boot_time(const struct host *h);
/* NULL for an image that has not got its own yet. */
char *host_machine_id(const struct host *h);
/*
 * Tells machines apart without giving the machine ID away, which is nobody's
 * business outside of the host: see machine-id(5). malloc'ed; NULL: it has none.
 */
char *host_machine_digest(const struct host *h);

/* The first of these programs that it has, names end with NULL; malloc'ed. */
char *host_tool(const struct host *h, const char *const *names);

/*
 * What was read of a host and is asked for again: a value that others keep here
 * under a kind and a key, mostly a kernel's release. It is freed with the host.
 */
void *host_recall(const struct host *h, const char *kind, const char *key);
/* Takes over value, also where it fails. 0 or -ENOMEM. */
int host_remember(const struct host *h, const char *kind, const char *key,
		  void *value, void (*forget)(void *value));

/* Value of CONFIG_name of a kernel without quotes; NULL if not known. */
char *host_kernel_config(const struct host *h, const char *kernel,
			 const char *name);

#endif
