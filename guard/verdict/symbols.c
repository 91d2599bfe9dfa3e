// SPDX-License-Identifier: GPL-2.0-or-later
/* Compares a module's symbols with Module.symvers, System.map and the index. */
#include "guard/verdict/symbols.h"

#include <errno.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/module/vermagic.h"
#include "guard/verdict/modprobe.h"

#define TABLE_MAX (64u << 20)
#define NAME_SHOWN 64

/* One line of Module.symvers; the strings are those of the table's text. */
struct export {
	unsigned long crc;
	const char *module, *type, *space;
};

struct table {
	char *text;
	struct export *exports;
	size_t count;
	struct hsearch_data names;
	bool indexed;
	bool from_map;		/* System.map: that it is there, and no more */
};

static void table_free(void *arg)
{
	struct table *t = arg;

	if (t->indexed)
		hdestroy_r(&t->names);
	free(t->exports);
	free(t->text);
	free(t);
}

static bool enter(struct table *t, char *name, struct export *e)
{
	ENTRY entry = { name, e }, *there;

	return hsearch_r(entry, ENTER, &there, &t->names);
}

/* "0xCRC<tab>NAME<tab>MODULE<tab>TYPE[<tab>NAMESPACE]", since Linux 5.6. */
static void take_symvers(struct table *t, char *line)
{
	char *crc = strsep(&line, "\t"), *name = strsep(&line, "\t");
	struct export *e = &t->exports[t->count];

	e->module = strsep(&line, "\t");
	e->type = strsep(&line, "\t");
	e->space = line ? line : "";
	if (name && e->type && !strncmp(e->type, "EXPORT_", 7)) {
		e->crc = strtoul(crc, NULL, 16);
		t->count += enter(t, name, e);
	}
}

/* "ADDRESS r __ksymtab_NAME" */
static void take_map(struct table *t, char *line)
{
	static const char mark[] = " __ksymtab_";
	static const struct export any = { 0, "vmlinux", "", "" };
	char *name = strstr(line, mark);
	struct export *e = &t->exports[t->count];

	if (name) {
		*e = any;
		t->count += enter(t, name + strlen(mark), e);
	}
}

static int fill(struct table *t, struct buf *b)
{
	size_t lines = 1;
	char *rest, *line;

	t->text = strndup((char *)b->data, b->len);
	for (const char *p = t->text; p && (p = strchr(p, '\n')); p++)
		lines++;
	t->exports = calloc(lines, sizeof(*t->exports));
	t->indexed = hcreate_r(lines + lines / 2, &t->names);
	if (!t->text || !t->exports || !t->indexed)
		return -ENOMEM;
	for (rest = t->text; (line = strsep(&rest, "\n"));)
		if (t->from_map)
			take_map(t, line);
		else
			take_symvers(t, line);
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

static int table_read(const struct host *h, const char *kernel,
		      struct table **out)
{
	struct table *t = calloc(1, sizeof(*t));
	struct buf b = { 0 };
	int err = t ? 0 : -ENOMEM;

	*out = t;
	if (t && !read_from(h, kernel, "/lib/modules/", "/build/Module.symvers", &b))
		t->from_map = read_from(h, kernel, "/boot/System.map-", "", &b) ||
			      read_from(h, kernel, "/lib/modules/", "/System.map", &b);
	if (t && b.data)
		err = fill(t, &b);
	buf_free(&b);
	if (err && t)
		table_free(t);
	return err;
}

static const struct export *find(struct table *t, const char *name)
{
	ENTRY entry = { (char *)name, NULL }, *there = NULL;

	return t->indexed && hsearch_r(entry, FIND, &there, &t->names) ?
	       there->data : NULL;
}

/* Headers of another build of that release tell nothing of this kernel. */
static bool is_of_kernel(const struct host *h, const char *kernel,
			 struct table *t)
{
	const struct export *layout = find(t, "module_layout");
	long long own = vermagic_layout(h, kernel);

	return t->from_map || !layout || !layout->crc || own < 0 ||
	       (unsigned long long)own == layout->crc;
}

/* NULL: nothing is known of that kernel's symbols; *err: -ENOMEM. */
static struct table *table_of(const struct host *h, const char *kernel, int *err)
{
	struct table *t = host_recall(h, "symbols", kernel);

	*err = 0;
	if (!t) {
		*err = table_read(h, kernel, &t);
		/* Debian's System.map says in one line that it is elsewhere. */
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
	char why[2 * NAME_SHOWN + 160];
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
	size_t n = strlen(space);

	for (; list && *list; list += strcspn(list, "\n") + 1)
		if (strcspn(list, "\n") == n && !memcmp(list, space, n))
			return true;
	return false;
}

static void want(void *arg, const char *name, bool weak)
{
	struct wants *w = arg;
	const struct export *e;
	bool in_index;

	if (weak || *w->why || is_of_linker(name))
		return;
	e = find(w->table, name);
	in_index = (!e || strcmp(e->module, "vmlinux")) &&
		   modprobe_exports(w->h, w->kernel, name);
	if (!e && !in_index)
		snprintf(w->why, sizeof(w->why), "it needs the symbol %.*s, which "
			 "kernel %.64s does not have", NAME_SHOWN, name, w->kernel);
	if (!e)
		return;
	if (strcmp(e->module, "vmlinux") && !in_index) {
		w->missing = true;
		snprintf(w->why, sizeof(w->why), "it needs the symbol %.*s of the "
			 "module %.*s, which is not there", NAME_SHOWN, name,
			 NAME_SHOWN, e->module);
	} else if (strstr(e->type, "_GPL") && !is_gpl(w->info->license)) {
		snprintf(w->why, sizeof(w->why), "it needs the symbol %.*s, which "
			 "the kernel gives to modules under the GPL only",
			 NAME_SHOWN, name);
	} else if (*e->space && strncmp(e->space, "module:", 7) &&
		   !w->loose_spaces && !imports(w->info->imports, e->space)) {
		snprintf(w->why, sizeof(w->why), "it needs the symbol %.*s of the "
			 "namespace %.*s, which it does not import", NAME_SHOWN,
			 name, NAME_SHOWN, e->space);
	}
}

static void compare(void *arg, unsigned long crc, const char *name)
{
	struct wants *w = arg;
	const struct export *e = *name && !*w->why ? find(w->table, name) : NULL;

	if (e && e->crc && e->crc != crc)
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
		return 0;
	if (!*w.why)
		return 0;
	make_printable(w.why);
	return report_set(r, w.missing ? VERDICT_MISSING : VERDICT_WRONG_KERNEL,
			  w.missing ? "install the package that has that module "
			  "for this kernel, then: depmod" :
			  "build it for that kernel: dkms install --force, with "
			  "its headers installed", "%s", w.why);
}
