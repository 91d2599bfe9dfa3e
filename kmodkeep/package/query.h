/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How an adapter asks the programs of its package manager, for preflight. */
#ifndef KMODKEEP_PACKAGE_QUERY_H
#define KMODKEEP_PACKAGE_QUERY_H

#include "kmodkeep/package/transaction.h"

/* Seconds: an answer from what is here, after an index was fetched at most; packages. */
#define ANSWER_SECONDS 900
#define DOWNLOAD_SECONDS 3600
#define UNPACK_SECONDS 900

struct question {
	const char *what;	/* what fails, for the line that says so */
	const char *next;	/* what to do then; NULL: the caller says it */
	unsigned int seconds;
	const char *dir;	/* where the program runs; NULL: here */
	const char *file;	/* takes its standard output; NULL: out does */
};

/* Texts of the transaction. */
struct said {
	const char *out, *err;	/* its standard output, and its messages */
};

/*
 * Runs argv (ended by NULL) with the caller's environment, and ends it when this
 * process is ended. false, with one line said: it failed, took too long, or wrote
 * more than fits or what is no text.
 */
bool query(struct transaction *x, const struct question *q,
	 const struct words *argv, struct said *a);

/* Adds words, the last one NULL. */
void words_add_all(struct words *w, ...) __attribute__((sentinel));
/* The next line of *text, which is changed; NULL: there is none. */
char *next_line(char **text);

#endif
