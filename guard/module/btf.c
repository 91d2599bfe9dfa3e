// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A module's BTF counts its names on from the end of its kernel's. The kernel's
 * size stands nowhere, but each of the module's own names is used, the last one
 * too: where its use and its place differ, there the kernel's names end.
 */
#include "guard/module/btf.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "guard/module/modfile.h"

#define BTF_MAGIC 0xeb9f

struct btf {
	const unsigned char *types, *names;
	size_t types_size, names_size;
	bool swap;
};

static uint32_t word(const struct btf *b, const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return b->swap ? __builtin_bswap32(v) : v;
}

/* struct btf_header: magic, version, flags, then six words. */
static bool open_btf(const unsigned char *p, size_t size, struct btf *b)
{
	uint32_t header, type_at, str_at;
	uint16_t magic;

	memset(b, 0, sizeof(*b));
	if (size < 24)
		return false;
	memcpy(&magic, p, sizeof(magic));
	b->swap = magic == __builtin_bswap16(BTF_MAGIC);
	if (!b->swap && magic != BTF_MAGIC)
		return false;
	header = word(b, p + 4);
	type_at = word(b, p + 8);
	b->types_size = word(b, p + 12);
	str_at = word(b, p + 16);
	b->names_size = word(b, p + 20);
	if (header > size || type_at > size - header ||
	    b->types_size > size - header - type_at ||
	    str_at > size - header || b->names_size > size - header - str_at)
		return false;
	b->types = p + header + type_at;
	b->names = p + header + str_at;
	return b->names_size > 1 && !b->names[b->names_size - 1];
}

/* What follows a type of each kind: members of so many bytes, or one block. */
static const struct {
	unsigned char each, once;
	bool named;
} kinds[] = {
	[1] = { 0, 4, false },		/* INT */
	[2] = { 0, 0, false },		/* PTR */
	[3] = { 0, 12, false },		/* ARRAY */
	[4] = { 12, 0, true },		/* STRUCT */
	[5] = { 12, 0, true },		/* UNION */
	[6] = { 8, 0, true },		/* ENUM */
	[7] = { 0, 0, false },		/* FWD, and up to FUNC as short */
	[8] = { 0, 0, false }, [9] = { 0, 0, false }, [10] = { 0, 0, false },
	[11] = { 0, 0, false }, [12] = { 0, 0, false },
	[13] = { 8, 0, true },		/* FUNC_PROTO */
	[14] = { 0, 4, false },		/* VAR */
	[15] = { 12, 0, false },	/* DATASEC */
	[16] = { 0, 0, false },		/* FLOAT */
	[17] = { 0, 4, false },		/* DECL_TAG */
	[18] = { 0, 0, false },		/* TYPE_TAG */
	[19] = { 12, 0, true },		/* ENUM64 */
};

/* Calls fn for each use of a name; false: a kind that is not known here. */
static bool walk(const struct btf *b, bool (*fn)(void *arg, uint32_t at),
		 void *arg)
{
	const unsigned char *p = b->types;
	size_t left = b->types_size;

	while (left) {
		uint32_t info, kind, count;
		size_t more;

		if (left < 12)
			return false;
		info = word(b, p + 4);
		kind = info >> 24 & 0x1f;
		count = info & 0xffff;
		if (!kind || kind >= sizeof(kinds) / sizeof(*kinds))
			return false;
		more = kinds[kind].once + (size_t)kinds[kind].each * count;
		if (left - 12 < more || !fn(arg, word(b, p)))
			return false;
		for (size_t i = 0; kinds[kind].named && i < count; i++)
			if (!fn(arg, word(b, p + 12 + i * kinds[kind].each)))
				return false;
		p += 12 + more;
		left -= 12 + more;
	}
	return true;
}

static bool take_last(void *arg, uint32_t at)
{
	uint32_t *last = arg;

	*last = at > *last ? at : *last;
	return true;
}

struct check {
	const struct btf *b;
	uint32_t base;
};

/* Of the module's own names each use is at the start of one. */
static bool is_start(void *arg, uint32_t at)
{
	const struct check *c = arg;

	if (at < c->base)
		return true;
	at -= c->base;
	return at < c->b->names_size && (!at || !c->b->names[at - 1]);
}

long long btf_base_size(const unsigned char *elf, size_t len)
{
	const unsigned char *p, *last_name;
	struct check check;
	uint32_t last = 0;
	struct btf b;
	size_t size;

	p = module_section(elf, len, ".BTF.base", &size);
	if (p)
		return -1;
	p = module_section(elf, len, ".BTF", &size);
	if (!p || !open_btf(p, size, &b) || !walk(&b, take_last, &last))
		return -1;
	last_name = memrchr(b.names, '\0', b.names_size - 1);
	last_name = last_name ? last_name + 1 : b.names;
	if (last <= (uint32_t)(last_name - b.names))
		return -1;
	check = (struct check){ &b, last - (last_name - b.names) };
	return walk(&b, is_start, &check) ? (long long)check.base : -1;
}
