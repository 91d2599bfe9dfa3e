// SPDX-License-Identifier: GPL-2.0-or-later
/* Compares what a module was built for with what a kernel is. */
#include "guard/module/vermagic.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/module/btf.h"

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

/* What a kernel's own modules say of it. */
struct own {
	char *vermagic;		/* NULL: it cannot be told */
	long long layout;	/* -1: its symbols have no versions */
	long long btf_base;	/* -1: not known */
};

static void own_free(void *arg)
{
	struct own *own = arg;

	free(own->vermagic);
	free(own);
}

/* NULL without memory. */
static const struct own *own_of(const struct host *h, const char *kernel)
{
	struct own *own = host_recall(h, "vermagic", kernel);
	char *path;
	struct modinfo info;
	struct modfile m;

	if (own)
		return own;
	own = calloc(1, sizeof(*own));
	if (!own)
		return NULL;
	own->layout = own->btf_base = -1;
	path = own_module(h, kernel);
	if (path && !modfile_read(path, &m)) {
		if (!modinfo_read(m.bytes.data, m.bytes.len, &info)) {
			own->vermagic = info.vermagic;
			info.vermagic = NULL;
			own->layout = layout_of(&m.bytes);
			own->btf_base = btf_base_size(m.bytes.data, m.bytes.len);
			modinfo_free(&info);
		}
		modfile_free(&m);
	}
	free(path);
	return host_remember(h, "vermagic", kernel, own, own_free) ? NULL : own;
}

long long vermagic_layout(const struct host *h, const char *kernel)
{
	const struct own *own = own_of(h, kernel);

	return own ? own->layout : -1;
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

static int read_packed(const struct host *h, const char *rel, struct buf *out)
{
	char *path = rel ? host_resolve(h, rel) : NULL;
	struct buf raw = { 0 };
	int err = path ? file_read(path, SYMVERS_MAX, &raw) : -ENOENT;
	enum compression type = err ? COMPRESS_NONE : compression_of(raw.data, raw.len);

	free(path);
	if (!err && type != COMPRESS_NONE) {
		err = decompress(type, raw.data, raw.len, SYMVERS_MAX, out);
		buf_free(&raw);
	} else if (!err) {
		*out = raw;
	}
	return err;
}

/* EL, Fedora and SUSE have the list in the kernel's package, with no headers. */
int symvers_read(const struct host *h, const char *kernel, struct buf *out)
{
	static const char *const places[][3] = {
		{ "/lib/modules/", "/build/Module.symvers", "" },
		{ "/lib/modules/", "/symvers", ".xz" }, { "/lib/modules/", "/symvers", ".gz" },
		{ "/lib/modules/", "/symvers", ".zst" },
		{ "/boot/symvers-", "", ".xz" }, { "/boot/symvers-", "", ".gz" },
	};
	int err = -ENOENT;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < ARRAY_SIZE(places) && err && err != -ENOMEM; i++) {
		char *rel = text_of("%s%s%s%s", places[i][0], kernel, places[i][1], places[i][2]);

		err = rel ? read_packed(h, rel, out) : -ENOMEM;
		free(rel);
	}
	return err;
}

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
	struct buf text = { 0 };
	struct symbols s = { .symvers = &text };
	int err = symvers_read(h, kernel, &text);

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

/*
 * Since 6.18 or so distributions leave MODULE_ALLOW_BTF_MISMATCH off, and a module
 * whose BTF does not fit is refused. One with a base of its own (.BTF.base) is
 * fitted when it is loaded.
 */
static bool is_of_other_base(const struct host *h, const char *kernel,
			     const struct own *own, const struct buf *elf)
{
	char *minds = host_kernel_config(h, kernel,
					 "CONFIG_DEBUG_INFO_BTF_MODULES");
	char *allows = host_kernel_config(h, kernel,
					  "CONFIG_MODULE_ALLOW_BTF_MISMATCH");
	long long base = minds && !allows && own->btf_base >= 0 ?
			 btf_base_size(elf->data, elf->len) : -1;

	free(minds);
	free(allows);
	return base >= 0 && base != own->btf_base;
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
	char *built_for = modinfo_release(info);
	char *mine = NULL, *theirs = NULL;
	const struct own *own = own_of(h, kernel);
	bool same = built_for && !strcmp(built_for, kernel);
	long long layout = layout_of(elf);
	size_t versions = 0;
	int err = 0;

	*fits = ANSWER_NO;
	*why = NULL;
	if (!own) {
		free(built_for);
		return -ENOMEM;
	}
	if (!built_for) {
		*why = strdup("it does not say for which kernel it was built");
		return *why ? 0 : -ENOMEM;
	}
	mine = settings_of(info->vermagic);
	theirs = own->vermagic ? settings_of(own->vermagic) : NULL;
	modversions_walk(elf->data, elf->len, count, &versions);
	if (mine && theirs && strcmp(mine, theirs)) {
		*why = text_of("built for settings '%s', and the kernel's are "
			       "'%s'", mine, theirs);
		err = *why ? 0 : -ENOMEM;
	} else if (layout >= 0 && own->layout >= 0 && layout != own->layout) {
		/* Each module asks for this symbol, so no headers are needed. */
		*why = text_of("built for %s with other headers: the version of "
			       "module_layout is 0x%08llx, and the kernel's own "
			       "modules have 0x%08llx", built_for,
			       (unsigned long long)layout,
			       (unsigned long long)own->layout);
		err = *why ? 0 : -ENOMEM;
	} else if (same && is_of_other_base(h, kernel, own, elf)) {
		/* Type information is split: what the kernel has is left out. */
		*why = text_of("built with headers of another build of %s: its type "
			       "information (BTF) leaves out other types than this "
			       "kernel has, and this kernel refuses that", built_for);
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
	free(mine);
	free(theirs);
	return err;
}
