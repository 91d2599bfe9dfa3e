// SPDX-License-Identifier: GPL-2.0-or-later
/* Which file a module name stands for, through libkmod as modprobe does. */
#include "guard/verdict/lookup.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/verdict/modprobe.h"
#include "guard/verdict/symbols.h"
#include "guard/verdict/verify.h"

int module_find(const struct host *h, const char *kernel, const char *name,
		char **path)
{
	struct modprobe m;
	int err = modprobe_plan(h, kernel, name, &m);

	*path = NULL;
	if (err)
		return err;
	*path = m.file;
	err = m.file || m.builtin ? 0 : -ENOENT;
	m.file = NULL;
	modprobe_free(&m);
	return err;
}

static bool kernel_has(const struct host *h, const char *kernel,
		       const char *what)
{
	char *rel, *path;
	bool there;

	if (asprintf(&rel, "/lib/modules/%s/%s", kernel, what) < 0)
		return false;
	path = host_path(h, rel);
	free(rel);
	there = path && path_exists(path);
	free(path);
	return there;
}

/* In an image a link that leads out of it means a file of the image. */
static int read_found(const struct host *h, const char *path, struct modfile *m)
{
	char *real = host_is_live(h) ? NULL : host_resolve(h, path + strlen(host_root(h)));
	int err = host_is_live(h) ? modfile_read(path, m) : real ? modfile_read(real, m) : -ENOENT;

	free(real);
	return err;
}

/*
 * A depmod that was ended half-way leaves the index of names, which comes first, and none of
 * aliases, or the one from before. A device then loads nothing, and no name is asked for.
 */
static int judge_alias(const struct host *h, const char *kernel, const char *path,
		       struct report *r)
{
	const char *alias = r->info.alias;
	/* What is in brackets is a pattern, and no name that it fits. */
	int knows = alias && !strchr(alias, '[') ?
		    modprobe_knows_alias(h, kernel, path, alias) : 1;

	return knows ? knows < 0 ? knows : 0 :
	       report_cause(r, VERDICT_UNKNOWN, CAUSE_NOT_INDEXED,
			    "the module index of kernel %s does not lead from the alias '%s' to it, "
			    "so a device may not load it: depmod was not finished", kernel, alias);
}

/* As verify_file(), and with the symbols and aliases that the index of that kernel has. */
static int judge_found(const struct host *h, const struct trust *t,
		       const char *path, const char *kernel, struct report *r)
{
	struct modfile m;
	int err = read_found(h, path, &m);

	if (err)
		return err == -ENOMEM ? err :
		       verify_unread(err, r);
	err = verify_modfile(h, t, &m, kernel, r);
	if (!err && r->verdict == VERDICT_OK)
		err = symbols_judge(h, kernel, &m.bytes, r);
	if (!err && r->verdict == VERDICT_OK)
		err = judge_alias(h, kernel, path, r);
	modfile_free(&m);
	return err;
}

int verify_module(const struct host *h, const struct trust *t,
		  const char *name, const char *kernel, char **path,
		  struct report *r)
{
	int err;

	*path = NULL;
	if (!kernel)
		kernel = host_running_kernel(h);
	/* Without it nothing can be looked up: not the module's fault. */
	if (!kernel_has(h, kernel, "modules.dep.bin"))
		return report_set(r, VERDICT_KERNEL_INCOMPLETE,
				  "install or reinstall that kernel's package",
				  "no module index in /lib/modules/%s",
				  *kernel ? kernel : "(name a kernel with "
				  "--kernel)");
	err = module_find(h, kernel, name, path);
	if (err == -ENOMEM)
		return err;
	if (err == -ENOENT && !kernel_has(h, kernel, "build/."))
		return report_cause(r, VERDICT_MISSING, CAUSE_NO_HEADERS,
				  "no such module for kernel %s, and no headers "
				  "to build it with", kernel);
	if (err == -ENOENT)
		return report_cause(r, VERDICT_MISSING, CAUSE_NOT_BUILT,
				  "no such module for kernel %s", kernel);
	if (err)
		return report_cause(r, VERDICT_UNKNOWN, CAUSE_NOT_INDEXED,
				  "cannot be looked up: %s", strerror(-err));
	if (!*path)
		return report_set(r, VERDICT_NOT_APPLICABLE, NULL,
				  "built into kernel %s", kernel);
	return judge_found(h, t, *path, kernel, r);
}
