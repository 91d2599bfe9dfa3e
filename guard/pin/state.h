/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the guard remembers from one run to the next: state.json. */
#ifndef KMODKEEP_STATE_H
#define KMODKEEP_STATE_H

#include <json-c/json.h>

#include "guard/verdict/safety.h"

#define BOOTED_MAX 16

/*
 * How far it is: what is going to be done is recorded before it is done, so that
 * one who comes after a sudden end can tell its own change from somebody's.
 */
enum pin_stage { PIN_SET, PIN_SETTING, PIN_LIFTING };

/* The boot loader's default, held on one kernel. */
struct pin {
	enum pin_stage stage;
	char *from;		/* PIN_SETTING: what the default is until then */
	char *kernel;		/* NULL: there is no pin */
	char *entry;		/* what the default was set to */
	char *previous;		/* what it was before; NULL: nothing was set */
	char *instead_of;	/* the kernel that would not serve */
	char *why;
	long long since;	/* seconds since 1970 */
	char *revocations;	/* as of then, see guard_revocations() */
	bool held;		/* by hand: whatever instead_of serves */
};

/* A kernel that was seen running, under these revocation lists. */
struct booted {
	char *kernel, *revocations;
};

struct guard_state {
	struct pin pin;
	struct booted booted[BOOTED_MAX];
	size_t booted_count;
	char *boot_id;	/* of the boot in which it was written */
	char *released;	/* the pin against this kernel was released */
	/* As the first guard of this boot found it, see outside.h; NULL: never yet. */
	struct json_object *outside;
	struct json_object *changes;	/* of this boot to the one before; or NULL */
};

/* 0 or -ENOMEM; a state that is missing or damaged is an empty one. */
int guard_state_read(const struct host *h, struct guard_state *out);
void guard_state_free(struct guard_state *s);
void pin_free(struct pin *p);
/* In one step; safety NULL: it is not known yet. 0 or -errno. */
int guard_state_write(const struct doctor *d, const struct guard_state *s,
		      const struct safety *safety, const char *problem);
/* Notes that a kernel runs under the lists of now. */
int guard_note_boot(struct guard_state *s, const char *kernel,
		    const char *revocations);

/* The changes in words, one after the other: false: no more. */
bool guard_change(const struct guard_state *s, size_t i, const char **word, const char **message,
		  const char **next);

/* A digest of all that the firmware and shim revoke; malloc'ed, "" if nothing. */
char *guard_revocations(const struct host *h);

#endif
