/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel module as a file: its compression and what .modinfo says. */
#ifndef KMODKEEP_MODFILE_H
#define KMODKEEP_MODFILE_H

#include "guard/base/util.h"
#include "guard/module/compress.h"

struct modfile {
	enum compression type;
	struct buf bytes;	/* decompressed: ELF, then any signature */
	bool signed_outside;	/* a signature follows the compressed stream */
	bool kernel_refuses;	/* to unpack it, where it does that itself */
};

/*
 * -EBADMSG: damaged compression; -EFBIG: no module is that large; -EAGAIN: it changed
 * while it was read.
 */
int modfile_read(const char *path, struct modfile *out);
/* The same from the bytes of a file, which it takes over. */
int modfile_take(struct buf *raw, struct modfile *out);
void modfile_free(struct modfile *m);

struct modinfo {
	char *name;
	char *version;
	char *srcversion;
	char *vermagic;
	char *intree;	/* "Y" in modules built with their kernel */
	char *depends;	/* modules that it needs, separated by commas */
	char *license;
	char *imports;	/* symbol namespaces, each with a line break */
	bool has_alias;	/* so that a device or a request loads it */
	char *alias;	/* the first of them; NULL: none */
};

/* -ENOEXEC: not an ELF file with a .modinfo section. Fields may be NULL. */
int modinfo_read(const unsigned char *elf, size_t len, struct modinfo *out);
void modinfo_free(struct modinfo *i);

/* Calls fn for each symbol that the module was built against, if it says so. */
void modversions_walk(const unsigned char *elf, size_t len,
		      void (*fn)(void *arg, unsigned long crc,
				 const char *name), void *arg);

/*
 * Calls fn for each symbol that the module wants from others. weak: it loads
 * without it, too. -ENOEXEC: a damaged file, or one without a symbol table.
 */
int module_wants_walk(const unsigned char *elf, size_t len,
		      void (*fn)(void *arg, const char *name, bool weak),
		      void *arg);

/* A section of an ELF file; NULL: there is none. */
const unsigned char *module_section(const unsigned char *elf, size_t len,
				    const char *name, size_t *size);

/* The kernel release, the first word of vermagic; malloc'ed, NULL if none. */
char *modinfo_release(const struct modinfo *i);

#endif
