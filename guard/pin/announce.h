/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where the guard says what it found, besides the terminal. */
#ifndef KMODKEEP_ANNOUNCE_H
#define KMODKEEP_ANNOUNCE_H

#include "guard/pin/state.h"

/* The line of the day, metrics: best effort, errors are returned. */
int guard_write_motd(const struct host *h, const struct guard_state *state,
		     const struct safety *s);
int guard_write_metrics(const struct doctor *d, const struct guard_state *s,
			const struct safety *safety, const char *file);
/* Keeps apt and dnf5 from removing the pinned kernel; kernel NULL: no more. */
int guard_keep_package(const struct host *h, const char *kernel);

#endif
