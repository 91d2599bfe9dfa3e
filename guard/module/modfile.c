// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads a module file, unpacks it, and takes apart .modinfo. */
#include "guard/module/modfile.h"

#include <elf.h>
#include <endian.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/module/modsig.h"

/* Debug symbols make modules large; nothing real comes near this. */
#define MODULE_MAX (512u << 20)

int modfile_take(struct buf *raw, struct modfile *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	out->type = compression_of(raw->data, raw->len);
	if (out->type == COMPRESS_NONE) {
		out->bytes = *raw;
		memset(raw, 0, sizeof(*raw));
		return 0;
	}
	out->kernel_refuses = compress_kernel_refuses(raw->data, raw->len);
	out->signed_outside = modsig_strip(raw->data, raw->len) != raw->len;
	err = decompress(out->type, raw->data,
			 modsig_strip(raw->data, raw->len), MODULE_MAX,
			 &out->bytes);
	buf_free(raw);
	return err;
}

/* What was read in parts of two files may look like one that is good. */
static bool changed(const struct stat *was, const char *path)
{
	struct stat is;

	return stat(path, &is) < 0 || is.st_dev != was->st_dev || is.st_ino != was->st_ino ||
	       is.st_size != was->st_size || is.st_mtim.tv_sec != was->st_mtim.tv_sec ||
	       is.st_mtim.tv_nsec != was->st_mtim.tv_nsec ||
	       is.st_ctim.tv_sec != was->st_ctim.tv_sec ||
	       is.st_ctim.tv_nsec != was->st_ctim.tv_nsec;
}

int modfile_read(const char *path, struct modfile *out)
{
	struct stat was;
	struct buf raw;
	int err;

	memset(out, 0, sizeof(*out));
	err = stat(path, &was) < 0 ? -errno : was.st_size > MODULE_MAX ? -EFBIG :
	      file_read(path, MODULE_MAX, &raw);
	if (!err && changed(&was, path)) {
		buf_free(&raw);
		err = -EAGAIN;
	}
	return err ? err : modfile_take(&raw, out);
}

void modfile_free(struct modfile *m)
{
	buf_free(&m->bytes);
}

/* The few ELF fields needed, of either class and byte order. */
struct elf {
	const unsigned char *data;
	size_t len;
	bool is64, big;
};

static uint64_t get(const struct elf *e, const unsigned char *p, size_t size)
{
	uint64_t v = 0;

	for (size_t i = 0; i < size; i++)
		v = v << 8 | p[e->big ? i : size - 1 - i];
	return v;
}

/* A field of the 64- or 32-bit layout; the caller checked that it fits. */
#define FIELD(e, p, type, name)						\
	((e)->is64 ?							\
	 get(e, (p) + offsetof(Elf64_##type, name),			\
	     sizeof(((Elf64_##type *)0)->name)) :			\
	 get(e, (p) + offsetof(Elf32_##type, name),			\
	     sizeof(((Elf32_##type *)0)->name)))

static bool fits(const struct elf *e, uint64_t offset, uint64_t size)
{
	return offset <= e->len && size <= e->len - offset;
}

static int elf_open(const unsigned char *data, size_t len, struct elf *e)
{
	e->data = data;
	e->len = len;
	if (len < sizeof(Elf32_Ehdr) || memcmp(data, ELFMAG, SELFMAG))
		return -ENOEXEC;
	e->is64 = data[EI_CLASS] == ELFCLASS64;
	e->big = data[EI_DATA] == ELFDATA2MSB;
	if (e->is64 && len < sizeof(Elf64_Ehdr))
		return -ENOEXEC;
	return 0;
}

/* Finds a section by name; -ENOENT, or -ENOEXEC for a table out of bounds. */
static int elf_section(const struct elf *e, const char *name,
		       const unsigned char **start, size_t *size)
{
	uint64_t table = FIELD(e, e->data, Ehdr, e_shoff);
	uint64_t count = FIELD(e, e->data, Ehdr, e_shnum);
	uint64_t index = FIELD(e, e->data, Ehdr, e_shstrndx);
	uint64_t each = e->is64 ? sizeof(Elf64_Shdr) : sizeof(Elf32_Shdr);
	uint64_t names, names_size;
	const unsigned char *p;

	if (FIELD(e, e->data, Ehdr, e_shentsize) != each || index >= count ||
	    !fits(e, table, count * each))
		return -ENOEXEC;
	p = e->data + table + index * each;
	names = FIELD(e, p, Shdr, sh_offset);
	names_size = FIELD(e, p, Shdr, sh_size);
	if (!fits(e, names, names_size))
		return -ENOEXEC;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t at, from, bytes;

		p = e->data + table + i * each;
		at = FIELD(e, p, Shdr, sh_name);
		if (at >= names_size || names_size - at <= strlen(name) ||
		    memcmp(e->data + names + at, name, strlen(name) + 1))
			continue;
		from = FIELD(e, p, Shdr, sh_offset);
		bytes = FIELD(e, p, Shdr, sh_size);
		if (!fits(e, from, bytes))
			return -ENOEXEC;
		*start = e->data + from;
		*size = bytes;
		return 0;
	}
	return -ENOENT;
}

/* Keeps the first value of a key, as modinfo and the kernel do. */
static int take(char **field, const char *key, const char *entry, size_t len)
{
	size_t n = strlen(key);

	if (*field || len <= n || entry[n] != '=' || memcmp(entry, key, n))
		return 0;
	*field = strndup(entry + n + 1, len - n - 1);
	if (!*field)
		return -ENOMEM;
	make_printable(*field);
	return 0;
}

/* Keeps every value of a key, each with a line break behind it. */
static int add(char **field, const char *key, const char *entry, size_t len)
{
	size_t n = strlen(key), had = *field ? strlen(*field) : 0, more;
	char *longer;

	if (len <= n || entry[n] != '=' || memcmp(entry, key, n))
		return 0;
	more = len - n - 1;
	longer = realloc(*field, had + more + 2);
	if (!longer)
		return -ENOMEM;
	*field = longer;
	memcpy(longer + had, entry + n + 1, more);
	longer[had + more] = '\0';
	make_printable(longer + had);
	strcat(longer + had, "\n");
	return 0;
}

int modinfo_read(const unsigned char *elf, size_t len, struct modinfo *out)
{
	const unsigned char *p;
	struct elf e;
	size_t left;
	int err;

	memset(out, 0, sizeof(*out));
	err = elf_open(elf, len, &e);
	if (!err)
		err = elf_section(&e, ".modinfo", &p, &left);
	if (err)
		return -ENOEXEC;
	while (left && !err) {
		const char *entry = (const char *)p;
		size_t n = strnlen(entry, left);

		err = take(&out->name, "name", entry, n);
		if (!err)
			err = take(&out->version, "version", entry, n);
		if (!err)
			err = take(&out->srcversion, "srcversion", entry, n);
		if (!err)
			err = take(&out->vermagic, "vermagic", entry, n);
		if (!err)
			err = take(&out->intree, "intree", entry, n);
		if (!err)
			err = take(&out->depends, "depends", entry, n);
		if (!err)
			err = take(&out->license, "license", entry, n);
		if (!err)
			err = add(&out->imports, "import_ns", entry, n);
		if (!err)
			err = take(&out->alias, "alias", entry, n);
		out->has_alias |= n > 6 && !memcmp(entry, "alias=", 6);
		n += n < left;
		p += n;
		left -= n;
	}
	if (err)
		modinfo_free(out);
	return err;
}

const unsigned char *module_section(const unsigned char *elf, size_t len,
				    const char *name, size_t *size)
{
	const unsigned char *p;
	struct elf e;

	return elf_open(elf, len, &e) || elf_section(&e, name, &p, size) ?
	       NULL : p;
}

int module_wants_walk(const unsigned char *elf, size_t len,
		      void (*fn)(void *arg, const char *name, bool weak),
		      void *arg)
{
	const unsigned char *p, *names;
	size_t left, names_size, each;
	struct elf e;

	if (elf_open(elf, len, &e) || elf_section(&e, ".symtab", &p, &left) ||
	    elf_section(&e, ".strtab", &names, &names_size))
		return -ENOEXEC;
	each = e.is64 ? sizeof(Elf64_Sym) : sizeof(Elf32_Sym);
	for (; left >= each; left -= each, p += each) {
		uint64_t at = FIELD(&e, p, Sym, st_name);
		unsigned int bind = FIELD(&e, p, Sym, st_info) >> 4;

		if (FIELD(&e, p, Sym, st_shndx) != SHN_UNDEF || !at)
			continue;
		if (at >= names_size || !memchr(names + at, '\0', names_size - at))
			return -ENOEXEC;
		if (bind == STB_GLOBAL || bind == STB_WEAK)
			fn(arg, (const char *)names + at, bind == STB_WEAK);
	}
	return 0;
}

/* struct modversion_info: a long, and the name in what is left of 64 bytes. */
void modversions_walk(const unsigned char *elf, size_t len,
		      void (*fn)(void *arg, unsigned long crc,
				 const char *name), void *arg)
{
	const unsigned char *p;
	struct elf e;
	size_t left, word;

	if (elf_open(elf, len, &e) ||
	    elf_section(&e, "__versions", &p, &left))
		return;
	word = e.is64 ? 8 : 4;
	for (; left >= 64; left -= 64, p += 64) {
		char name[64] = "";

		memcpy(name, p + word, 64 - word - 1);
		fn(arg, get(&e, p, word), name);
	}
}

void modinfo_free(struct modinfo *i)
{
	free(i->name);
	free(i->version);
	free(i->srcversion);
	free(i->vermagic);
	free(i->intree);
	free(i->depends);
	free(i->license);
	free(i->imports);
	free(i->alias);
	memset(i, 0, sizeof(*i));
}

char *modinfo_release(const struct modinfo *i)
{
	if (!i->vermagic)
		return NULL;
	return strndup(i->vermagic, strcspn(i->vermagic, " "));
}
