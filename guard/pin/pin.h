/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Keeps the boot loader on a kernel that serves, where the policy is so. */
#ifndef KMODKEEP_PIN_H
#define KMODKEEP_PIN_H

#include "guard/host/guard_conf.h"
#include "guard/pin/state.h"

/*
 * Sets, moves or lifts the pin as the findings on all kernels ask for.
 * *changed: the boot loader's default is another one now. *said: what was done,
 * or why nothing could be; NULL: nothing was to be done. 0 or -ENOMEM.
 */
int pin_keep(struct doctor *d, struct guard_state *s,
	     const struct guard_conf *conf, bool *changed, char **said);
/*
 * Pins by hand: KERNEL boots until one is installed that is newer than what would boot now.
 * *said: what was done, or why not. 0; -EIO: it cannot be done; or -ENOMEM.
 */
int pin_hold(struct doctor *d, struct guard_state *s, const char *kernel,
	     bool *changed, char **said);
/* Lifts it. 0, or *said says why not and -EIO. */
int pin_lift(struct doctor *d, struct guard_state *s, bool *changed,
	     char **said);

#endif
