/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The change from one signing key to another, without a moment in which a
 * module that should load does not:
 *
 *	none -> both -> new -> none      begin, finish, the old key is gone
 *	        both -> back -> none     abort
 *	        new  -> back -> none     abort
 *
 * both: all modules are signed by the old and the new key, so that each kernel
 * loads them whichever of the two it trusts. new: by the new one alone. back:
 * by the old one alone. The record says which, and is written before the first
 * file is touched; every step can be repeated.
 *
 * Pairs: keys is the old one, keys.next the new one; in "new", keys is the new
 * one and keys.old the old one. A key that was adopted from dkms or Ubuntu
 * stays where it is.
 */
#ifndef KMODKEEP_ROTATION_H
#define KMODKEEP_ROTATION_H

#include "signing/modules.h"
#include "signing/sign.h"
#include "signing/signkey.h"

#define ROTATION_RECORD "/var/lib/kmodkeep/rotation.json"

enum rotation_phase {
	ROTATION_NONE, ROTATION_BOTH, ROTATION_NEW, ROTATION_BACK,
};

struct rotation {
	const struct host *h;
	enum rotation_phase phase;
	char *old_origin;	/* "own", "dkms" or "ubuntu" */
	char *started;
	X509 *old_cert, *new_cert;	/* new: NULL before begin */
	char new_sha256[65];
	/* The pairs as they lie; NULL: not there. problem: it cannot sign. */
	struct signkey *old_pair, *new_pair;
};

const char *rotation_word(enum rotation_phase p);

/*
 * Reads the record and the pairs; without a record the phase is none. 0;
 * -EBADMSG: the record is damaged; or -errno.
 */
int rotation_read(const struct host *h, struct rotation *r);
void rotation_free(struct rotation *r);

/* Writes the record with another phase. */
int rotation_write(struct rotation *r, enum rotation_phase phase);

/*
 * Makes the new pair, unless it is there, and writes the record for the change
 * from old, which must have a certificate. On an error *what (malloc'ed, may
 * be NULL) is the path.
 */
int rotation_begin(struct rotation *r, const struct signkey *old, char **what);

/* Puts the pairs where the phase wants them. */
int rotation_settle(struct rotation *r, char **what);

/* Ends it: the record goes. The pair that is not wanted was moved before. */
int rotation_end(struct rotation *r);

/* The keys that sign new modules now: 0 with *n of them, or -ENOKEY. */
int rotation_keys(const struct rotation *r,
		  const struct signkey *keys[SIGN_KEYS_MAX], size_t *n);

/* What the phase asks of each file. */
struct sign_goal rotation_goal(const struct rotation *r);

/* The files of one kernel, or of all: how many are signed by whom. */
struct rotation_count {
	size_t both, old, new, damaged, other;
	size_t stuck;	/* in need of a key that cannot sign */
	size_t failed;
	size_t changed;
};

/*
 * Signs what is not yet signed as the phase wants. fail: called for each file
 * that could not be, with its error. 0 or -ENOMEM.
 */
int rotation_sign(const struct rotation *r, const struct host_modules *m,
		  struct rotation_count *total,
		  void (*fail)(const char *path, int err));

/* Who has signed each file; states has room for m->count. */
void rotation_look(const struct rotation *r, const struct host_modules *m,
		   enum goal_state *states);

#endif
