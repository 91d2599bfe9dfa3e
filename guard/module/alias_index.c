// SPDX-License-Identifier: GPL-2.0-or-later
/* Walks down the tree of modules.alias.bin, one character after the other. */
#include "guard/module/alias_index.h"

#include <stdint.h>
#include <string.h>

/* As shared/util and libkmod have it (libkmod-index.c); numbers are big-endian. */
#define MAGIC 0xb007f457
#define VERSION 0x00020001
#define OFFSET 0x0fffffff
#define HAS_PREFIX 0x80000000
#define HAS_VALUES 0x40000000
#define HAS_CHILDREN 0x20000000

struct walk {
	const unsigned char *data;
	size_t len, at;
	bool damaged;
};

static uint32_t number(struct walk *w)
{
	const unsigned char *p = w->data + w->at;

	if (w->len - w->at < 4) {
		w->damaged = true;
		return 0;
	}
	w->at += 4;
	return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3];
}

/* "": also where it has no end. */
static const char *text(struct walk *w)
{
	const char *p = (const char *)w->data + w->at;
	size_t n = strnlen(p, w->len - w->at);

	if (n == w->len - w->at) {
		w->damaged = true;
		return "";
	}
	w->at += n + 1;
	return p;
}

/* The child of a node for a character: its place and what it has; 0: none. Goes behind them. */
static uint32_t child_of(struct walk *w, unsigned char c)
{
	unsigned char first, last;
	uint32_t child = 0;

	if (w->len - w->at < 2) {
		w->damaged = true;
		return 0;
	}
	first = w->data[w->at++];
	last = w->data[w->at++];
	for (unsigned int i = first; i <= last && !w->damaged; i++) {
		uint32_t one = number(w);

		if (c && i == c)
			child = one;
	}
	return child;
}

static bool has_value(struct walk *w, const char *module)
{
	uint32_t n = number(w);
	bool has = false;

	for (uint32_t i = 0; i < n && !w->damaged && !has; i++) {
		number(w);	/* its priority */
		has = !strcmp(text(w), module) && !w->damaged;
	}
	return has;
}

/* A dash is an underscore there. */
static bool begins(const char **key, const char *with)
{
	const char *p = *key;

	for (; *with; p++, with++)
		if ((*p == '-' ? '_' : *p) != *with)
			return false;
	*key = p;
	return true;
}

bool alias_index_has(const unsigned char *index, size_t len, const char *alias, const char *module)
{
	struct walk w = { .data = index, .len = len };
	bool known = number(&w) == MAGIC && number(&w) == VERSION;
	uint32_t node = known ? number(&w) : 0;

	/* Each step takes a character of the key, so that it ends. */
	while (!w.damaged && (node & OFFSET) && (node & OFFSET) < len) {
		char next;
		uint32_t child;

		w.at = node & OFFSET;
		if ((node & HAS_PREFIX) && !begins(&alias, text(&w)))
			return false;
		next = *alias == '-' ? '_' : *alias;
		child = node & HAS_CHILDREN ? child_of(&w, next) : 0;
		if (!next)
			return (node & HAS_VALUES) && !w.damaged && has_value(&w, module);
		alias++;
		node = child;
	}
	return false;
}
