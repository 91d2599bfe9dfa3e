/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The verifier: will this kernel load this module, and if not, why? The smoke
 * test, the build hooks and the verbs all ask here.
 */
#ifndef KMODKEEP_VERIFY_H
#define KMODKEEP_VERIFY_H

#include <json-c/json.h>
#include <stdbool.h>

#include "host.h"
#include "modfile.h"
#include "trust.h"

/* Stable words; scripts and metrics depend on them. */
enum verdict {
	VERDICT_OK,
	VERDICT_MISSING,
	VERDICT_KERNEL_INCOMPLETE,
	VERDICT_WRONG_KERNEL,
	VERDICT_UNSIGNED,
	VERDICT_UNTRUSTED_KEY,
	VERDICT_TAMPERED,
	VERDICT_UNSUPPORTED_SIGNATURE,
	VERDICT_PENDING_ENROLMENT,
	VERDICT_REVOKED,
	VERDICT_STALE_INITRAMFS,
	VERDICT_STALE_LOADED,
	VERDICT_NOT_APPLICABLE,
	VERDICT_UNKNOWN,
	VERDICT_COUNT
};

const char *verdict_word(enum verdict v);
/* false if word is none of them. */
bool verdict_parse(const char *word, enum verdict *out);
/* The exit code that a verdict alone stands for. */
int verdict_exit(enum verdict v);

struct report {
	enum verdict verdict;
	char *message;		/* why, one line */
	char *next_step;	/* what to do, one line; NULL if nothing */
	char *kernel;		/* the release asked about; NULL if none */
	char *signer;		/* the signer that decided; NULL if none */
	const struct trust_cert *cert;	/* its own, where known; of the trust */
	char sha256[65];	/* of the whole file, decompressed; "" unread */
	bool waived;		/* ok only because no signature is demanded */
	struct modinfo info;
};

void report_free(struct report *r);
/* Sets verdict, message and next step (NULL: none). 0 or -ENOMEM. */
int report_set(struct report *r, enum verdict v, const char *next,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
struct json_object *report_json(const struct report *r, const char *subject);

/*
 * Judges a file for a kernel release (NULL: the running one or, for an image,
 * the one that the file was built for). 0, or -ENOMEM; all else is a verdict.
 */
int verify_file(const struct host *h, const struct trust *t, const char *path,
		const char *kernel, struct report *r);

/* The same for a file that was read. */
int verify_modfile(const struct host *h, const struct trust *t,
		   const struct modfile *m, const char *kernel,
		   struct report *r);

/* The same for the bytes of an uncompressed file. */
int verify_bytes(const struct host *h, const struct trust *t,
		 const struct buf *bytes, const char *kernel,
		 struct report *r);

/*
 * Finds the file of a module by name or alias as modprobe does. 0 and *path
 * (malloc'ed; NULL: built into the kernel), -ENOENT, or what went wrong.
 */
int module_find(const struct host *h, const char *kernel, const char *name,
		char **path);
/* module_find() and verify_file() in one; *path may be NULL afterwards. */
int verify_module(const struct host *h, const struct trust *t,
		  const char *name, const char *kernel, char **path,
		  struct report *r);

#endif
