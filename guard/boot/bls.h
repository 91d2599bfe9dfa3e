/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Boot Loader Specification entries, as systemd-boot and Fedora's GRUB read
 * them: files of "key value" lines in loader/entries.
 */
#ifndef KMODKEEP_BLS_H
#define KMODKEEP_BLS_H

#include <stdbool.h>
#include <stddef.h>

struct bls_entry {
	char *file;		/* its name, with the counter of attempts */
	char *id;		/* as file, without that counter */
	char *title, *version, *sort_key, *machine_id, *image;
	char *efi;		/* a program to start instead of a kernel */
	char *initrd;		/* all of them, with blanks between */
	char *options;		/* all lines of them, one after the other */
	char *dir;		/* where its paths start; NULL: not noted */
	bool unified;		/* a unified kernel image */
	bool bad;		/* its boot attempts are used up */
};

struct bls {
	struct bls_entry *list;
	size_t count;
};

/* Adds the files of a directory; one that does not exist has none. */
int bls_read(struct bls *b, const char *dir);
/* Adds one entry from its text. 0 or -ENOMEM. */
int bls_add(struct bls *b, const char *id, const char *text, size_t len);
void bls_free(struct bls *b);

/* systemd-boot's order of its menu. */
void bls_sort(struct bls *b);
/*
 * Fedora's GRUB: by the name of the file, taken for NAME-VERSION-RELEASE of a
 * package and compared as rpm does, the newest first. The machine ID in front is
 * the name, and counts first.
 */
void bls_sort_grub(struct bls *b);

/* The first whose id matches a pattern of loader.conf; -1: none. */
int bls_match(const struct bls *b, const char *pattern);

/* Order of versions as the Boot Loader Specification and systemd have it. */
int bls_version_compare(const char *a, const char *b);

/* The value of a key of loader.conf; malloc'ed, NULL if it is not there. */
char *bls_setting(const char *text, size_t len, const char *key);

#endif
