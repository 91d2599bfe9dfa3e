// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What the files of the boot loaders share: what they fill in of the next boot, what the
 * loader left with the firmware, and its own tool, the one of the system asked about.
 */
#include "guard/boot/loader.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/run.h"
#include "guard/base/util.h"
#include "guard/host/efivars.h"

#define PATIENCE 60

/* No entry has so many; a damaged one may. */
#define ARCHIVES_MAX 32

int next_boot_say(struct next_boot *out, const char *fmt, ...)
{
	va_list ap;
	int n;

	free(out->why);
	va_start(ap, fmt);
	n = vasprintf(&out->why, fmt, ap);
	va_end(ap);
	if (n >= 0)
		return 0;
	out->why = NULL;
	return -ENOMEM;
}

void boot_files_free(struct boot_files *f)
{
	for (size_t i = 0; i < f->count; i++)
		free(f->archives[i]);
	free(f->archives);
	free(f->kernel);
	free(f->image);
	memset(f, 0, sizeof(*f));
}

static int add_archive(struct boot_files *f, char *file)
{
	char **more = file ? realloc(f->archives, (f->count + 1) * sizeof(*more)) : NULL;

	if (!file) {
		f->unclear = true;
		return 0;
	}
	if (!more) {
		free(file);
		return -ENOMEM;
	}
	f->archives = more;
	more[f->count++] = file;
	return 0;
}

int boot_files_archives(struct boot_files *f, const char *names,
			char *(*find)(const void *arg, const char *name), const void *arg)
{
	char *all = strdup(names ? names : ""), *rest = all, *name;
	int err = all ? 0 : -ENOMEM;

	while (!err && (name = strsep(&rest, " \t")))
		if (*name && f->count >= ARCHIVES_MAX)
			f->unclear = true;
		else if (*name)
			err = add_archive(f, find(arg, name));
	free(all);
	return err;
}

int next_boot_add(struct next_boot *out, struct boot_files *f)
{
	struct boot_files *more;

	for (size_t i = 0; i < out->menu_count; i++)
		if (!strcmp(out->menu[i].kernel, f->kernel)) {
			boot_files_free(f);
			return 0;
		}
	more = realloc(out->menu, (out->menu_count + 1) * sizeof(*more));
	if (!more) {
		boot_files_free(f);
		return -ENOMEM;
	}
	out->menu = more;
	more[out->menu_count++] = *f;
	return 0;
}

char *loader_variable(const struct host *h, const char *name)
{
	return host_may_act(h) ? efivar_text(h, name, LOADER_GUID) : NULL;
}

int loader_run_tool(char *const argv[], char said[LOADER_SAID])
{
	struct run_result run;
	int err = run_program(argv, PATIENCE, &run);

	snprintf(said, LOADER_SAID, "%.80s: %.170s", strrchr(argv[0], '/') + 1, err ? strerror(-err) :
		 run.timed_out ? "it does not end" :
		 *run.last_line ? run.last_line : "it failed");
	return !err && run.exit_code == 0 ? 0 : -EIO;
}

char *loader_command(const struct host *h, const char *const *tools, const char *word,
		     const char *entry)
{
	char *tool = strchr(entry, '\'') ? NULL : host_tool(h, tools), *text = NULL;

	if (tool)
		text = text_of("%s %s%s'%s'", strrchr(tool, '/') + 1, word, *word ? " " : "",
			       entry);
	free(tool);
	return text;
}

void next_boot_free(struct next_boot *n)
{
	free(n->kernel);
	free(n->entry);
	free(n->why);
	free(n->program);
	free(n->saved);
	free(n->obstacle);
	free(n->later);
	free(n->cmdline);
	boot_files_free(&n->files);
	for (size_t i = 0; i < n->menu_count; i++)
		boot_files_free(&n->menu[i]);
	free(n->menu);
	memset(n, 0, sizeof(*n));
}

char *loader_no_entry(const struct host *h, const struct kernels *k, const char *release)
{
	(void)h;
	(void)k;
	(void)release;
	return NULL;
}

int loader_no_default(const struct host *h, const char *entry, char said[LOADER_SAID])
{
	(void)h;
	(void)entry;
	(void)said;
	return -ENOENT;
}
