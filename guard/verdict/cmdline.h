/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command line of a kernel does to modules. */
#ifndef KMODKEEP_CMDLINE_H
#define KMODKEEP_CMDLINE_H

#include <stdbool.h>

/* Does module_blacklist= keep the kernel from loading it at all? */
bool cmdline_refuses(const char *line, const char *module);
/* Does it demand trusted signatures (lockdown=, module.sig_enforce)? */
bool cmdline_enforces(const char *line);

#endif
