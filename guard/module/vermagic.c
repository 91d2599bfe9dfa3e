// SPDX-License-Identifier: GPL-2.0-or-later
/* Compares what a module was built for with what a kernel is. */
#include "guard/module/vermagic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define SYMVERS_MAX (64u << 20)
#define LINES_MAX 50000

/* The first module in the index that came with the kernel; malloc'ed. */
static char *own_module(const struct host *h, const char *kernel)
{
	char *rel = text_of("/lib/modules/%s/modules.dep", kernel);
	char *path = rel ? host_path(h, rel) : NULL;
	FILE *f = path ? fopen(path, "re") : NULL;
	char *line = NULL, *found = NULL;
	size_t room = 0;

	for (int i = 0; f && !found && i < LINES_MAX &&
	     getline(&line, &room, f) > 0; i++) {
		line[strcspn(line, ":\n")] = '\0';
		if (!strncmp(line, "kernel/", 7))
			found = text_of("%s/lib/modules/%s/%s",
					host_is_live(h) ? "" : host_root(h),
					kernel, line);
	}
	if (f)
		fclose(f);
	free(line);
	free(rel);
	free(path);
	return found;
}

/* What stands for the layout of a kernel's structures among its symbols. */
static void take_layout(void *arg, unsigned long crc, const char *name)
{
	if (!strcmp(name, "module_layout"))
		*(long long *)arg = (long long)crc;
}

static long long layout_of(const struct buf *elf)
{
	long long crc = -1;

	modversions_walk(elf->data, elf->len, take_layout, &crc);
	return crc;
}

/*
 * What a kernel wants to see; malloc'ed, NULL if it cannot be told. *layout: the
 * version of its module_layout, -1 without versions.
 */
static char *vermagic_of(const struct host *h, const char *kernel,
			 long long *layout)
{
	char *path = own_module(h, kernel), *magic = NULL;
	struct modinfo info;
	struct modfile m;

	if (path && !modfile_read(path, &m)) {
		if (!modinfo_read(m.bytes.data, m.bytes.len, &info)) {
			magic = info.vermagic;
			info.vermagic = NULL;
			*layout = layout_of(&m.bytes);
			modinfo_free(&info);
		}
		modfile_free(&m);
	}
	free(path);
	return magic;
}

/* "6.1.0 SMP preempt ": what comes after the release, without its last blanks. */
static char *settings_of(const char *vermagic)
{
	const char *p = vermagic + strcspn(vermagic, " ");
	size_t len;

	p += strspn(p, " ");
	len = strlen(p);
	while (len && p[len - 1] == ' ')
		len--;
	return strndup(p, len);
}

struct symbols {
	const struct buf *symvers;
	size_t count, differ, unknown;
	char first[64];		/* of those that differ */
};

/* "0xCRC<tab>NAME<tab>..." */
static const char *find_symbol(const struct buf *b, const char *name)
{
	const char *p = (const char *)b->data, *end = p + b->len;
	size_t n = strlen(name);

	while ((p = memmem(p, end - p, name, n))) {
		if (p - (const char *)b->data >= 11 && p[-1] == '\t' &&
		    p + n < end && p[n] == '\t' && p[-11] == '0')
			return p - 11;
		p += n;
	}
	return NULL;
}

static void look_up(void *arg, unsigned long crc, const char *name)
{
	struct symbols *s = arg;
	const char *line = *name ? find_symbol(s->symvers, name) : NULL;

	s->count++;
	if (!line) {
		s->unknown++;
	} else if (strtoul(line, NULL, 16) != crc) {
		if (!s->differ++)
			snprintf(s->first, sizeof(s->first), "%s", name);
	}
}

static int compare_symbols(const struct host *h, const char *kernel,
			   const struct buf *elf, const char *built_for,
			   enum answer *fits, char **why)
{
	char *rel = text_of("/lib/modules/%s/build/Module.symvers", kernel);
	char *path = rel ? host_path(h, rel) : NULL;
	struct buf text = { 0 };
	struct symbols s = { .symvers = &text };
	int err = path ? file_read(path, SYMVERS_MAX, &text) : -ENOMEM;

	free(rel);
	free(path);
	if (!err)
		modversions_walk(elf->data, elf->len, look_up, &s);
	buf_free(&text);
	*fits = err || s.unknown ? ANSWER_UNVERIFIED : ANSWER_YES;
	if (s.differ) {
		make_printable(s.first);
		*fits = ANSWER_NO;
		*why = text_of("built for %s, and the kernel's symbol %s is "
			       "another one", built_for, s.first);
	} else {
		*why = text_of(*fits == ANSWER_YES ?
			       "built for %s, and all symbols have the same "
			       "versions" : "built for %s; whether its symbols "
			       "fit cannot be told without the headers",
			       built_for);
	}
	return err == -ENOMEM || !*why ? -ENOMEM : 0;
}

static void count(void *arg, unsigned long crc, const char *name)
{
	(void)crc;
	(void)name;
	++*(size_t *)arg;
}

int vermagic_fits(const struct host *h, const char *kernel,
		  const struct buf *elf, const struct modinfo *info,
		  enum answer *fits, char **why)
{
	char *built_for = modinfo_release(info), *wanted = NULL;
	char *mine = NULL, *theirs = NULL;
	bool same = built_for && !strcmp(built_for, kernel);
	long long own_layout = -1, layout = layout_of(elf);
	size_t versions = 0;
	int err = 0;

	*fits = ANSWER_NO;
	*why = NULL;
	if (!built_for) {
		*why = strdup("it does not say for which kernel it was built");
		return *why ? 0 : -ENOMEM;
	}
	wanted = vermagic_of(h, kernel, &own_layout);
	mine = settings_of(info->vermagic);
	theirs = wanted ? settings_of(wanted) : NULL;
	modversions_walk(elf->data, elf->len, count, &versions);
	if (mine && theirs && strcmp(mine, theirs)) {
		*why = text_of("built for settings '%s', and the kernel's are "
			       "'%s'", mine, theirs);
		err = *why ? 0 : -ENOMEM;
	} else if (layout >= 0 && own_layout >= 0 && layout != own_layout) {
		/* Each module asks for this symbol, so no headers are needed. */
		*why = text_of("built for %s with other headers: the version of "
			       "module_layout is 0x%08llx, and the kernel's own "
			       "modules have 0x%08llx", built_for,
			       (unsigned long long)layout,
			       (unsigned long long)own_layout);
		err = *why ? 0 : -ENOMEM;
	} else if (same) {
		*fits = ANSWER_YES;
	} else if (versions && theirs && strstr(theirs, "modversions")) {
		err = compare_symbols(h, kernel, elf, built_for, fits, why);
	} else {
		*why = text_of("built for %s, not for %s", built_for, kernel);
		err = *why ? 0 : -ENOMEM;
	}
	free(built_for);
	free(wanted);
	free(mine);
	free(theirs);
	return err;
}
