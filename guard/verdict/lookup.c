// SPDX-License-Identifier: GPL-2.0-or-later
/* Which file a module name stands for, through libkmod as modprobe does. */
#include "guard/verdict/lookup.h"

#include <errno.h>
#include <libkmod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/verdict/verify.h"

static void quiet(void *data, int priority, const char *file, int line,
		  const char *fn, const char *format, va_list args)
{
	(void)data;
	(void)priority;
	(void)file;
	(void)line;
	(void)fn;
	(void)format;
	(void)args;
}

int module_find(const struct host *h, const char *kernel, const char *name,
		char **path)
{
	const char *no_config = NULL;
	struct kmod_list *list = NULL;
	struct kmod_module *mod;
	struct kmod_ctx *ctx;
	char *rel, *dir;
	int err;

	*path = NULL;
	if (asprintf(&rel, "/lib/modules/%s", kernel) < 0)
		return -ENOMEM;
	dir = host_path(h, rel);
	free(rel);
	if (!dir)
		return -ENOMEM;
	/* Blacklists and options do not change which file it is. */
	ctx = kmod_new(dir, &no_config);
	free(dir);
	if (!ctx)
		return -ENOMEM;
	kmod_set_log_fn(ctx, quiet, NULL);
	err = kmod_module_new_from_lookup(ctx, name, &list);
	if (err >= 0 && !list)
		err = -ENOENT;
	if (err >= 0) {
		const char *file;

		mod = kmod_module_get_module(list);
		file = kmod_module_get_path(mod);
		err = 0;
		if (file) {
			*path = strdup(file);
			err = *path ? 0 : -ENOMEM;
		}
		kmod_module_unref(mod);
	}
	kmod_module_unref_list(list);
	kmod_unref(ctx);
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
		return report_set(r, VERDICT_MISSING,
				  "install the headers of that kernel, then: "
				  "dkms autoinstall",
				  "no such module for kernel %s, and no headers "
				  "to build it with", kernel);
	if (err == -ENOENT)
		return report_set(r, VERDICT_MISSING,
				  "build it: dkms autoinstall",
				  "no such module for kernel %s", kernel);
	if (err)
		return report_set(r, VERDICT_UNKNOWN, "run: depmod -a",
				  "cannot be looked up: %s", strerror(-err));
	if (!*path)
		return report_set(r, VERDICT_NOT_APPLICABLE, NULL,
				  "built into kernel %s", kernel);
	return verify_file(h, t, *path, kernel, r);
}
