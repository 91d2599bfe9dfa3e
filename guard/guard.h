/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The guard: judges the next boot after each change, remembers what it saw, and
 * keeps the boot loader on a kernel that serves, where the policy is so.
 */
#ifndef KMODKEEP_GUARD_H
#define KMODKEEP_GUARD_H

#include "doctor.h"
#include "safety.h"

#define GUARD_SCHEMA 1
#define GUARD_DIR "/var/lib/kmodkeep"
#define GUARD_STATE GUARD_DIR "/state.json"
#define GUARD_CONF "/etc/kmodkeep/guard.conf"
#define BOOTED_MAX 16

/* The boot loader's default, held on one kernel. */
struct pin {
	char *kernel;		/* NULL: there is no pin */
	char *entry;		/* what the default was set to */
	char *previous;		/* what it was before; NULL: nothing was set */
	char *instead_of;	/* the kernel that would not serve */
	char *why;
	long long since;	/* seconds since 1970 */
	char *revocations;	/* as of then, see guard_revocations() */
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
};

struct guard_conf {
	char *prometheus;	/* file to write metrics to; NULL: none */
	long long pin_max_age;	/* seconds */
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

int guard_conf_read(const struct host *h, dropin_error_fn *report, void *arg,
		    struct guard_conf *out);
/* Takes apart the text of the file; the defaults are set already. */
void guard_conf_parse(struct guard_conf *c, const char *file, char *text,
		      dropin_error_fn *report, void *arg);
void guard_conf_free(struct guard_conf *c);

/* A digest of all that the firmware and shim revoke; malloc'ed, "" if nothing. */
char *guard_revocations(const struct host *h);

/*
 * Sets, moves or lifts the pin as the findings on all kernels ask for.
 * *changed: the boot loader's default is another one now. *said: what was done,
 * or why nothing could be; NULL: nothing was to be done. 0 or -ENOMEM.
 */
int pin_keep(struct doctor *d, struct guard_state *s,
	     const struct guard_conf *conf, bool *changed, char **said);
/* Lifts it. 0, or *said says why not and -EIO. */
int pin_lift(struct doctor *d, struct guard_state *s, bool *changed,
	     char **said);

/*
 * Sets the default of the boot loader through its own tool; entry NULL: none.
 * 0, -ENOENT (no tool), or -EIO with what the tool said in said.
 */
int loader_set_default(const struct host *h, enum loader l, const char *entry,
		       char said[256]);

/* The line of the day, metrics: best effort, errors are returned. */
int guard_write_motd(const struct host *h, const struct safety *s);
int guard_write_metrics(const struct doctor *d, const struct guard_state *s,
			const struct safety *safety, const char *file);
/* Keeps apt and dnf5 from removing the pinned kernel; kernel NULL: no more. */
int guard_keep_package(const struct host *h, const char *kernel);

#endif
