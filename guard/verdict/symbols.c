// SPDX-License-Identifier: GPL-2.0-or-later
/* Compares a module's symbols with Module.symvers, System.map, /proc/kallsyms and the index. */
#include "guard/verdict/symbols.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/module/vermagic.h"
#include "guard/verdict/modprobe.h"

#define TABLE_MAX (64u << 20)
#define NAME_SHOWN 64

/* What a line of Module.symvers says; the strings end with a tab or the line. */
struct export {
	unsigned long crc;
	const char *module, *type, *space;
};

/*
 * The lines by the symbol in them: 26000 in each kernel's, of which a driver wants
 * a hundred, so that a line is taken apart when it is asked for.
 */
struct table {
	char *text;
	uint32_t *slots;	/* of names in text, 0: free */
	size_t mask, count;
	bool from_map;		/* System.map, kallsyms: that it is there, and no more */
};

static void table_free(void *arg)
{
	struct table *t = arg;

	free(t->slots);
	free(t->text);
	free(t);
}

static size_t name_length(const struct table *t, const char *name)
{
	return strcspn(name, t->from_map ? "\n" : "\t\n");
}

static size_t slot_of(const struct table *t, const char *name, size_t len)
{
	uint32_t hash = 2166136261u;

	for (size_t i = 0; i < len; i++)
		hash = (hash ^ (unsigned char)name[i]) * 16777619u;
	return (hash ^ hash >> 15) & t->mask;
}

/* "0xCRC<tab>NAME<tab>MODULE<tab>TYPE[<tab>NAMESPACE]", or "ADDRESS r __ksymtab_NAME" */
static const char *name_in(const struct table *t, const char *line, const char *end)
{
	static const char mark[] = " __ksymtab_";
	const char *p = t->from_map ? memmem(line, end - line, mark, strlen(mark)) :
				      memchr(line, '\t', end - line);

	/* Of kallsyms: what a module has, "NAME<tab>[MODULE]", is the index's affair. */
	if (p && t->from_map && memchr(p, '\t', end - p))
		return NULL;
	return p ? p + (t->from_map ? strlen(mark) : 1) : NULL;
}

static int fill(struct table *t, const struct buf *b)
{
	size_t lines = 1, room = 64;
	const char *line, *end, *name;

	free(t->text);
	free(t->slots);
	t->count = 0;

	/* No name is at 0: a line begins with something else. */
	t->text = strndup((char *)b->data, b->len);
	for (line = t->text; line && (line = strchr(line, '\n')); line++)
		lines++;
	while (room < 2 * lines)
		room *= 2;
	t->mask = room - 1;
	t->slots = calloc(room, sizeof(*t->slots));
	if (!t->text || !t->slots)
		return -ENOMEM;
	for (line = t->text; *line; line = end + (*end == '\n')) {
		size_t at;

		end = strchrnul(line, '\n');
		name = name_in(t, line, end);
		if (!name)
			continue;
		at = slot_of(t, name, name_length(t, name));
		while (t->slots[at])
			at = (at + 1) & t->mask;
		t->slots[at] = name - t->text;
		t->count++;
	}
	return 0;
}

/* *b: the text; found through the links of the root asked about. */
static bool read_from(const struct host *h, const char *kernel,
		      const char *pattern_dir, const char *name, struct buf *b)
{
	char *rel = text_of("%s%s%s", pattern_dir, kernel, name);
	char *path = rel ? host_resolve(h, rel) : NULL;
	bool read = path && !file_read(path, TABLE_MAX, b);

	free(rel);
	free(path);
	return read;
}

static bool find(const struct table *t, const char *name, struct export *e);

/*
 * What the running kernel says of itself. A kernel without CONFIG_KALLSYMS_ALL lists no
 * exports, so one that each kernel has must be among them.
 */
static int read_running(const struct host *h, const char *kernel, struct table *t)
{
	struct export e;
	struct buf b = { 0 };
	int err = 0;

	if (strcmp(kernel, host_running_kernel(h)) || !read_from(h, "", "/proc/kallsyms", "", &b))
		return 0;
	t->from_map = true;
	err = fill(t, &b);
	buf_free(&b);
	if (!err && !find(t, "kfree", &e))
		t->count = 0;
	return err;
}

static int table_read(const struct host *h, const char *kernel,
		      struct table **out)
{
	struct table *t = calloc(1, sizeof(*t));
	struct buf b = { 0 };
	int err = t ? 0 : -ENOMEM;

	*out = t;
	if (t && symvers_read(h, kernel, &b))
		t->from_map = read_from(h, kernel, "/boot/System.map-", "", &b) ||
			      read_from(h, kernel, "/lib/modules/", "/System.map", &b);
	if (t && b.data)
		err = fill(t, &b);
	/* Debian's System.map says in one line that it is elsewhere. */
	if (!err && !t->count)
		err = read_running(h, kernel, t);
	buf_free(&b);
	if (err && t)
		table_free(t);
	return err;
}

static const char *next_field(const char *p)
{
	p += strcspn(p, "\t\n");
	return *p == '\t' ? p + 1 : "";
}

static bool field_is(const char *field, const char *text)
{
	size_t n = strlen(text);

	return !strncmp(field, text, n) && (!field[n] || strchr("\t\n", field[n]));
}

static bool find(const struct table *t, const char *name, struct export *e)
{
	size_t len = strlen(name), at;
	const char *p;

	memset(e, 0, sizeof(*e));
	if (!t->slots)
		return false;
	for (at = slot_of(t, name, len); t->slots[at]; at = (at + 1) & t->mask) {
		p = t->text + t->slots[at];
		if (strncmp(p, name, len) || name_length(t, p) != len)
			continue;
		if (t->from_map) {
			e->module = "vmlinux";
			e->type = e->space = "";
			return true;
		}
		e->module = next_field(p);
		e->type = next_field(e->module);
		e->space = next_field(e->type);
		while (p > t->text && p[-1] != '\n')
			p--;
		e->crc = strtoul(p, NULL, 16);
		/* Before Linux 5.6 the order was another. */
		return !strncmp(e->type, "EXPORT_", 7);
	}
	return false;
}

/* Headers of another build of that release tell nothing of this kernel. */
static bool is_of_kernel(const struct host *h, const char *kernel,
			 const struct table *t)
{
	long long own = vermagic_layout(h, kernel);
	struct export layout;

	return t->from_map || !find(t, "module_layout", &layout) || !layout.crc ||
	       own < 0 || (unsigned long long)own == layout.crc;
}

/* NULL: nothing is known of that kernel's symbols; *err: -ENOMEM. */
static struct table *table_of(const struct host *h, const char *kernel, int *err)
{
	struct table *t = host_recall(h, "symbols", kernel);

	*err = 0;
	if (!t) {
		*err = table_read(h, kernel, &t);
		if (!*err && (!t->count || !is_of_kernel(h, kernel, t)))
			t->count = 0;
		if (!*err)
			*err = host_remember(h, "symbols", kernel, t, table_free);
	}
	return *err || !t->count ? NULL : t;
}

struct wants {
	const struct host *h;
	const char *kernel;
	struct table *table;
	const struct modinfo *info;
	bool loose_spaces;	/* the kernel does not mind a missing import */
	char why[512];
	bool missing;		/* a module has it that is not there */
};

/* As license_is_gpl_compatible() of the kernel. */
static bool is_gpl(const char *license)
{
	static const char *const all[] = {
		"GPL", "GPL v2", "GPL and additional rights", "Dual BSD/GPL",
		"Dual MIT/GPL", "Dual MPL/GPL",
	};

	for (size_t i = 0; license && i < ARRAY_SIZE(all); i++)
		if (!strcmp(license, all[i]))
			return true;
	return false;
}

/* What the linker makes, and no symbol of anybody. */
static bool is_of_linker(const char *name)
{
	static const char *const of_powerpc[] = {
		"_restgpr", "_savegpr", "_rest32gpr_", "_save32gpr_",
		"_restvr_", "_savevr_",
	};

	if (!strcmp(name, "_GLOBAL_OFFSET_TABLE_") || !strcmp(name, ".TOC.") ||
	    !strcmp(name, "__this_module"))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(of_powerpc); i++)
		if (!strncmp(name, of_powerpc[i], strlen(of_powerpc[i])))
			return true;
	return false;
}

static bool imports(const char *list, const char *space)
{
	size_t n = strcspn(space, "\t\n");

	for (; list && *list; list += strcspn(list, "\n") + 1)
		if (strcspn(list, "\n") == n && !memcmp(list, space, n))
			return true;
	return false;
}

static void want(void *arg, const char *name, bool weak)
{
	struct wants *w = arg;
	struct export e;
	bool listed, of_kernel;

	if (weak || *w->why || is_of_linker(name))
		return;
	listed = find(w->table, name, &e);
	of_kernel = listed && field_is(e.module, "vmlinux");
	if (!of_kernel && !modprobe_exports(w->h, w->kernel, name)) {
		w->missing = listed;
		if (listed)
			snprintf(w->why, sizeof(w->why), "it needs the symbol %.*s of "
				 "the module %.*s, which is not there", NAME_SHOWN,
				 name, (int)strcspn(e.module, "\t\n"), e.module);
		else
			snprintf(w->why, sizeof(w->why), "it needs the symbol %.*s, "
				 "which kernel %.64s does not have", NAME_SHOWN, name,
				 w->kernel);
	} else if (listed && !strncmp(e.type, "EXPORT_SYMBOL_GPL", 17) && !is_gpl(w->info->license)) {
		snprintf(w->why, sizeof(w->why), "it needs the symbol %.*s, which "
			 "the kernel gives to modules under the GPL only",
			 NAME_SHOWN, name);
	} else if (listed && strcspn(e.space, "\t\n") && strncmp(e.space, "module:", 7) &&
		   !w->loose_spaces && !imports(w->info->imports, e.space)) {
		snprintf(w->why, sizeof(w->why), "it needs the symbol %.*s of the "
			 "namespace %.*s, which it does not import", NAME_SHOWN,
			 name, (int)strcspn(e.space, "\t\n"), e.space);
	}
}

static void compare(void *arg, unsigned long crc, const char *name)
{
	struct wants *w = arg;
	struct export e;

	if (*name && !*w->why && find(w->table, name, &e) && e.crc && e.crc != crc)
		snprintf(w->why, sizeof(w->why), "it was built with other headers: "
			 "the kernel's symbol %.*s is another one", NAME_SHOWN, name);
}

int symbols_judge(const struct host *h, const char *kernel,
		  const struct buf *elf, struct report *r)
{
	struct wants w = { .h = h, .kernel = kernel, .info = &r->info };
	char *loose;
	int err;

	w.table = table_of(h, kernel, &err);
	if (!w.table)
		return err;
	loose = host_kernel_config(h, kernel,
				   "CONFIG_MODULE_ALLOW_MISSING_NAMESPACE_IMPORTS");
	w.loose_spaces = loose != NULL;
	free(loose);
	if (!w.table->from_map)
		modversions_walk(elf->data, elf->len, compare, &w);
	/* A module without a table of symbols cannot be loaded at all. */
	if (!*w.why && module_wants_walk(elf->data, elf->len, want, &w))
		return report_cause(r, VERDICT_TAMPERED, CAUSE_DAMAGED,
				    "its table of symbols is damaged, or was stripped away");
	if (!*w.why)
		return 0;
	make_printable(w.why);
	if (w.missing)
		return report_set(r, VERDICT_MISSING, "install the package that has that "
				  "module for this kernel, then: depmod", "%s", w.why);
	return report_cause(r, VERDICT_WRONG_KERNEL, CAUSE_WRONG_KERNEL, "%s", w.why);
}
