/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A reboot that does not go through the firmware. */
#ifndef KMODKEEP_KEXEC_H
#define KMODKEEP_KEXEC_H

#include "guard/boot/loader.h"

/*
 * Takes the answer back where a reboot starts, or may start, another kernel than the
 * boot loader would. 0 or -ENOMEM.
 */
int kexec_look(const struct host *h, struct next_boot *out);

#endif
