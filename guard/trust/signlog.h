/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log of a signer: what was signed, for whom. One JSON object a line; each names
 * the SHA-256 of the line before it, so that no line can be changed, taken out or
 * put in between without all later ones being made anew. That the end was cut off
 * shows only to a reader who knows a later line's hash.
 */
#ifndef KMODKEEP_SIGNLOG_H
#define KMODKEEP_SIGNLOG_H

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define SIGNLOG_DEFAULT "/var/lib/kmodkeep/signing.log"

struct signlog_line {
	char hash[65];		/* of this line */
	char content[65];	/* of what was signed; all in hexadecimal */
	char signature[65];	/* of the signature's value */
};

struct signlog {
	struct signlog_line *list;
	size_t count;
	long long size;		/* bytes of the file that was read */
};

/*
 * Reads a log and checks its chain. 0; -ENOENT; -EBADMSG with *why (malloc'ed), which
 * names the line; -ENOMEM; or the error of reading.
 */
int signlog_read(const char *path, struct signlog *out, char **why);
void signlog_free(struct signlog *l);

/* Does some line say that this content got this signature? */
bool signlog_has(const struct signlog *l, const char *content,
		 const char *signature);
/* Is this the hash of one of its lines? */
bool signlog_passes(const struct signlog *l, const char *hash);
/* The hash of the last line, or 64 zeros. */
const char *signlog_head(const struct signlog *l);

/* A log to be added to; nobody else adds to it meanwhile. */
struct signlog_writer;

/* Makes it, mode 0600, if it is not there. Errors as signlog_read() and lock_take(). */
int signlog_open(const char *path, struct signlog_writer **out, char **why);
/*
 * Adds a line with these keys, which it takes over, and those of the chain and the
 * time. It is on the disk when this returns 0. -errno: the log is as it was.
 */
int signlog_add(struct signlog_writer *w, struct json_object *entry);
void signlog_close(struct signlog_writer *w);

#endif
