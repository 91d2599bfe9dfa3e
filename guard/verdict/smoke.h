/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Loads a driver, tries it out, and leaves what came out in a file. */
#ifndef KMODKEEP_SMOKE_H
#define KMODKEEP_SMOKE_H

#include "guard/host/dropin.h"
#include "guard/verdict/report.h"
#include "guard/verdict/signers.h"

enum smoke_result { SMOKE_PASSED, SMOKE_FAILED, SMOKE_NOT_APPLICABLE };

struct smoke {
	const struct host *h;
	const struct trust *t;
	const struct signers *policy;	/* who must have signed what is loaded */
	const char *kernel;
	const char *modprobe;	/* what loads a module; NULL: nothing can */
};

struct smoke_outcome {
	enum smoke_result result;
	struct report report;	/* of the module that failed, else the first */
};

const char *smoke_word(enum smoke_result r);

/* 0 or -ENOMEM; all else is an outcome. */
int smoke_driver(const struct smoke *s, const struct driver *d,
		 struct smoke_outcome *out);
/* The outcome for a driver whose drop-in file cannot be used. */
int smoke_broken(struct smoke_outcome *out);
/* A run that is killed, or takes the machine down, leaves this: it failed. */
int smoke_record_start(const struct smoke *s, const struct driver *d);
/* Writes /var/lib/kmodkeep/smoke/<driver>.json in one step. */
int smoke_record(const struct smoke *s, const struct driver *d,
		 const struct smoke_outcome *out);

#endif
