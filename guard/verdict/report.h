/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A verdict on one module, in words that scripts and people read. */
#ifndef KMODKEEP_REPORT_H
#define KMODKEEP_REPORT_H

#include <json-c/json.h>
#include <stdbool.h>

#include "guard/module/modfile.h"
#include "guard/trust/trust.h"
#include "guard/verdict/advice.h"

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
	VERDICT_UNSUPPORTED_COMPRESSION,
	VERDICT_PENDING_ENROLMENT,
	VERDICT_REVOKED,
	VERDICT_STALE_INITRAMFS,
	VERDICT_STALE_LOADED,
	VERDICT_OTHER_VERSION,	/* than the driver's user space */
	VERDICT_NOT_FOR_KERNEL,	/* its driver says so: BUILD_EXCLUSIVE */
	VERDICT_BLOCKED,	/* good, but modprobe is told not to load it */
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
	enum cause cause;	/* the same as a word, where one is known */
	char *command;		/* that does it; NULL: only a person can */
	char *kernel;		/* the release asked about; NULL if none */
	char *signer;		/* the signer that decided; NULL if none */
	const struct trust_cert *cert;	/* its own, where known; of the trust */
	char sha256[65];	/* of the whole file, decompressed; "" unread */
	bool waived;		/* ok only because no signature is demanded */
	const char *hash;	/* of that signature, as OpenSSL calls it; NULL: none */
	const char *request;	/* what the kernel asks modprobe for to check it; NULL: nothing */
	struct modinfo info;
};

void report_free(struct report *r);
/* Sets verdict, message and next step (NULL: none). 0 or -ENOMEM. */
int report_set(struct report *r, enum verdict v, const char *next,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* The same with the words in general of a cause as the next step. */
int report_cause(struct report *r, enum verdict v, enum cause c, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/*
 * Sets the next step, and the command if it can be made, from the table of causes;
 * without one, what was said before in its place stays. s NULL: only the words in
 * general. 0 or -ENOMEM.
 */
int report_advise(struct report *r, enum cause c, const struct subject *s);
/* Takes next as the next step, which no cause has and only a person takes. 0 or -ENOMEM. */
int report_step(struct report *r, char *next);
/* Notes a command that is in the next step. 0 or -ENOMEM. */
int report_command(struct report *r, enum cause c, const char *command);
struct json_object *report_json(const struct report *r, const char *subject);

#endif
