/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What modprobe, and udev with it, does for a module's name on a kernel: with the
 * host's modprobe.d, the kernel's index, and nothing run. libkmod plans it; here
 * the plan is read, and the install lines in it.
 */
#ifndef KMODKEEP_MODPROBE_H
#define KMODKEEP_MODPROBE_H

#include <stddef.h>

#include "guard/host/host.h"

struct modprobe {
	char *file;		/* that it inserts in the end; NULL: none */
	bool builtin;		/* it is part of the kernel */
	/* A line that keeps it from being loaded, or leaves that to a shell. */
	char *line;
	bool refused, unclear;	/* line: never; nobody but a shell can tell */
	bool by_name_only;	/* refused where its name is asked for: alias */
	bool blacklisted;	/* refused for what asks by an alias */
	/* Files of the modules that must be loaded before. */
	char **needs;
	size_t need_count;
	bool more_needs;	/* than are in needs */
};

/*
 * 0; -ENOENT: nothing has that name; -ENOMEM, or why the index cannot be read.
 * Softdeps are left out: modprobe goes on where one fails.
 */
int modprobe_plan(const struct host *h, const char *kernel, const char *name,
		  struct modprobe *out);
void modprobe_free(struct modprobe *m);

/*
 * The same with these lines in place of the host's modprobe.d, as an initramfs has its own. What
 * they lead to is made once for a kernel.
 */
int modprobe_plan_inside(const struct host *h, const char *kernel, const char *config,
			 const char *name, struct modprobe *out);

enum modprobe_fate { FATE_LOADS, FATE_UNCLEAR, FATE_REFUSED };

/*
 * Calls fn for each module that an alias leads to, with what becomes of it. config: as above,
 * NULL: the host's. path: NULL, if no file of that kernel is called so. 0, -errno of the
 * configuration, or what fn returns if not 0.
 */
int modprobe_asked(const struct host *h, const char *kernel, const char *config, const char *alias,
		   int (*fn)(void *arg, const char *module, const char *path,
			     enum modprobe_fate fate), void *arg);

/* Is a name in a blacklist line? 1, 0, or -errno. config: as above. */
int modprobe_blacklists(const struct host *h, const char *kernel, const char *config,
			const char *name);

/* Do alias lines of the host's lead from this name of a device to the module? 1, 0, or -errno. */
int modprobe_maps(const struct host *h, const char *kernel, const char *device, const char *module);

/*
 * What differs between these lines (as above) and the host's, of modules that are there at all, as
 * has() says: they let another module be loaded, or only what alias lines of the host lead to is
 * another. A word of enum modprobe_rules, or -errno.
 */
enum modprobe_rules { RULES_SAME, RULES_LET, RULES_OTHER_ALIASES };
int modprobe_compare_rules(const struct host *h, const char *kernel, const char *config,
			   bool (*has)(void *arg, const char *module), void *arg);

/* Does an alias line of the host's lead to one of these names (NULL ends them)? 1, 0, or -errno. */
int modprobe_aliases_any(const struct host *h, const char *kernel, const char *const *names);

/* Has config an option for a module that the host's has not? 1, 0, or -errno. */
int modprobe_more_options(const struct host *h, const char *kernel, const char *config,
			  const char *module);

/*
 * Does that kernel's index lead from an alias of a module, as modinfo has it, to its file (as
 * modprobe_plan() gives it), so that a device loads it? 1, 0 or -ENOMEM.
 */
int modprobe_knows_alias(const struct host *h, const char *kernel, const char *file,
			 const char *alias);

/*
 * What the kernel's own request for a name loads, as "crypto-sha512": its files are in needs,
 * beside what refused, unclear, blacklisted and builtin say. Returns as modprobe_plan().
 */
int modprobe_request(const struct host *h, const char *kernel, const char *name,
		     struct modprobe *out);

/* Does some module of that kernel's index export the symbol? */
bool modprobe_exports(const struct host *h, const char *kernel,
		      const char *symbol);

/* A file or folder of its configuration that cannot be read; "": none, NULL: no memory. */
const char *modprobe_config_unread(const struct host *h);

/* When modprobe's configuration changed last, in seconds; 0: there is none. */
long long modprobe_config_changed(const struct host *h);

/* Does systemd-modules-load load it, which minds a blacklist? */
bool modprobe_at_boot(const struct host *h, const char *module);

#endif
