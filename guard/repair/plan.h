/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What would make the next boot safe: the findings' commands, each once, in the
 * order in which they help. Nothing is done here.
 */
#ifndef KMODKEEP_PLAN_H
#define KMODKEEP_PLAN_H

#include "guard/verdict/safety.h"

struct step {
	enum cause cause;
	char *command;
	char *why;			/* for people: the finding, or the need for it */
	const struct finding *finding;	/* NULL: it is not about a module */
};

struct plan {
	struct step *list;	/* the first is the first to do */
	size_t count;
	/* What only a person can do, for people. */
	char **others;
	size_t other_count;
	/* The kernel that boots next, and the one that a pin keeps from it. */
	const struct kernel *kernels[2];
	size_t kernel_count;
};

/*
 * Asks the doctor about the kernels that count if it was not asked. A kernel that
 * serves is left alone; so is a command that would reach one. Findings belong to d.
 * 0 or -ENOMEM.
 */
int plan_make(struct doctor *d, struct plan *out);
void plan_free(struct plan *p);
/* NULL: it has no such command. */
const struct step *plan_find(const struct plan *p, const char *command);

#endif
