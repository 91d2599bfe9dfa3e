/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The copies of modules in a kernel's initramfs. Reading that takes a second,
 * so what was found is remembered for as long as its files stay the same.
 */
#ifndef KMODKEEP_COPIES_H
#define KMODKEEP_COPIES_H

#include "guard/base/util.h"
#include "guard/host/host.h"
#include "guard/module/inside.h"
#include "guard/module/own.h"

struct copy {
	char *module;		/* with underscores */
	char *path;		/* in the archive; NULL if remembered */
	char *link;		/* what it leads to, being a symbolic link; or NULL */
	bool other;		/* in the folder of another kernel: counts if led to */
	char sha256[65];	/* decompressed */
	bool listed;		/* in the index of the initramfs */
	bool kernel_refuses;	/* to unpack it, where it does that itself */
	struct buf bytes;	/* as in the archive; empty if remembered */
};

struct copies {
	struct copy *list;
	size_t count;
	struct inside inside;	/* without its modules if there is no host to compare with */
	struct own_modules own;
	char own_stamp[65];	/* of their files on disk; "": not known */
	int err;		/* why the initramfs could not be read */
	const char *unread;	/* which of its files; of struct archives */
};

/* The files of one kernel's initramfs, in the order in which they are unpacked. */
struct archives {
	const char *release;
	char *const *files;
	size_t count;		/* 0: it boots without one */
};

struct copies_cache;

/* What earlier runs found; never fails for good: then nothing is known. */
struct copies_cache *copies_cache_open(const struct host *h);
/* Writes down what is new, if this user may. */
void copies_cache_close(struct copies_cache *c);

/*
 * Looks for these modules in the initramfs of each of n kernels, several at
 * once. h: whose modules the kernel's own are compared with; NULL: they are not.
 * fresh: read a file also if it is remembered, to have the bytes.
 * 0 or -ENOMEM.
 */
int copies_read(const struct host *h, struct copies_cache *cache,
		const struct archives *kernels, size_t n, char *const *modules, size_t count,
		bool fresh, struct copies *out);
void copies_free(struct copies *c);

const struct copy *copies_find(const struct copies *c, const char *module);

/* "some/snd-dummy.ko.xz" is a file of the module snd_dummy. */
bool is_file_of(const char *path, const char *module);

#endif
