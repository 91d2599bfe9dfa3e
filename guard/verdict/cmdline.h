/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the command line of a kernel does to modules. */
#ifndef KMODKEEP_CMDLINE_H
#define KMODKEEP_CMDLINE_H

#include <stdbool.h>

/* What keeps a module from being loaded; the strongest that is there. */
enum cmdline_refusal {
	CMDLINE_LOADS,
	CMDLINE_EARLY,		/* rd.driver.blacklist=: in dracut's initramfs */
	CMDLINE_ALIAS,		/* modprobe.blacklist=: unless asked for by its name */
	CMDLINE_MODULE,		/* module_blacklist=: the kernel refuses it */
	CMDLINE_NO_MODULES,	/* nomodule: the kernel refuses all */
};

enum cmdline_refusal cmdline_refuses(const char *line, const char *module);
/* Does dracut load it by its name, whatever is blacklisted (rd.driver.pre=)? NULL: any module. */
bool cmdline_loads_first(const char *line, const char *module);
/* Does it demand trusted signatures (lockdown=, module.sig_enforce)? */
bool cmdline_enforces(const char *line);

#endif
