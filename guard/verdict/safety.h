/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The one question: is the next boot safe for all guarded drivers? */
#ifndef KMODKEEP_SAFETY_H
#define KMODKEEP_SAFETY_H

#include "guard/verdict/doctor.h"

struct safety {
	enum answer safe;
	char *line;	/* one line for people */
	char *brief;	/* the same without the reason; NULL: line has none */
	char *next;	/* what to do; NULL: nothing */
};

/* Asks the doctor about the next boot if it was not asked. 0 or -ENOMEM. */
int safety_judge(struct doctor *d, struct safety *out);
void safety_free(struct safety *s);
/* The exit code that it stands for. */
int safety_exit(enum answer safe);
const char *safety_word(enum answer safe);

/* Have the drivers' findings on a kernel been made? */
bool safety_asked(const struct doctor *d, const struct kernel *k);

#endif
