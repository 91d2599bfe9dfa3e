/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Runs the command of a step, with the host's programs and within a time. */
#ifndef KMODKEEP_PERFORM_H
#define KMODKEEP_PERFORM_H

#include "guard/base/run.h"
#include "guard/repair/plan.h"

struct performing {
	const struct host *h;
	int lock_fd;	/* what is started keeps it: a later run waits for its end */
	int log_fd;	/* all that is written goes there; -1: nowhere */
};

/*
 * 0, or -EIO with why not in said, a line for people. Waits for another package
 * manager first where the step is one's.
 */
int perform(const struct performing *p, const struct step *s, char said[256]);

#endif
