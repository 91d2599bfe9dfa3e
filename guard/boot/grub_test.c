// SPDX-License-Identifier: GPL-2.0-or-later
/* The command "test" of GRUB, also written "[": true, false, or open. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/boot/grub_script.h"

#define DEPTH_MAX 32

struct expression {
	char *const *words;
	size_t count, at;
	int depth;
	const struct grub_files *files;
};

static bool known(const char *s)
{
	return !strchr(s, GRUB_UNKNOWN);
}

static enum grub_truth truth(bool b)
{
	return b ? GRUB_YES : GRUB_NO;
}

static enum grub_truth not_empty(const char *s)
{
	/* One known character is enough. */
	return !*s ? GRUB_NO : s[strspn(s, GRUB_UNKNOWN_TEXT)] ? GRUB_YES : GRUB_OPEN;
}

/* The order of two values; false: not known. */
static bool compare(const char *op, const char *a, const char *b, int *order)
{
	char *end_a, *end_b;
	long long x, y;

	if (!known(a) || !known(b))
		return false;
	if (*op != '-') {
		*order = strcmp(a, b);
		return true;
	}
	errno = 0;
	x = strtoll(a, &end_a, 0);
	y = strtoll(b, &end_b, 0);
	if (errno || *end_a || *end_b || !*a || !*b)
		return false;
	*order = x < y ? -1 : x > y;
	return true;
}

/* GRUB_OPEN with *none: this is no operator between two words. */
static enum grub_truth between(const char *a, const char *op, const char *b, bool *none)
{
	static const struct {
		const char *op;
		bool less, equal, more;
	} table[] = {
		{ "=", 0, 1, 0 }, { "==", 0, 1, 0 }, { "!=", 1, 0, 1 },
		{ "<", 1, 0, 0 }, { "<=", 1, 1, 0 },
		{ ">", 0, 0, 1 }, { ">=", 0, 1, 1 },
		{ "-eq", 0, 1, 0 }, { "-ne", 1, 0, 1 },
		{ "-lt", 1, 0, 0 }, { "-le", 1, 1, 0 },
		{ "-gt", 0, 0, 1 }, { "-ge", 0, 1, 1 },
	};
	int order;

	*none = false;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		if (strcmp(op, table[i].op))
			continue;
		if (!compare(op, a, b, &order))
			return GRUB_OPEN;
		return truth(order < 0 ? table[i].less : order ? table[i].more :
								 table[i].equal);
	}
	/* By date, or with a number that is added: not known here. */
	*none = strcmp(op, "-nt") && strcmp(op, "-ot") && strcmp(op, "-pgt") &&
		strcmp(op, "-plt");
	return GRUB_OPEN;
}

static enum grub_truth any_of(struct expression *e);

static enum grub_truth about_one(struct expression *e, const char *op, const char *word)
{
	if (!strcmp(op, "-n"))
		return not_empty(word);
	if (!strcmp(op, "-z"))
		return grub_not(not_empty(word));
	if (!strcmp(op, "-d"))
		return GRUB_OPEN;
	return e->files ? e->files->has(e->files->arg, word, !strcmp(op, "-s")) :
			  GRUB_OPEN;
}

static enum grub_truth one(struct expression *e)
{
	const char *word = e->at < e->count ? e->words[e->at] : NULL;
	size_t left = e->count - e->at;
	enum grub_truth t;
	bool none;

	if (!word)
		return GRUB_NO;
	if (left >= 3) {
		t = between(word, e->words[e->at + 1], e->words[e->at + 2], &none);
		if (!none) {
			e->at += 3;
			return t;
		}
	}
	if (!strcmp(word, "!") && left > 1 && e->depth < DEPTH_MAX) {
		e->at++;
		e->depth++;
		t = one(e);
		e->depth--;
		return grub_not(t);
	}
	if (!strcmp(word, "(") && e->depth < DEPTH_MAX) {
		e->at++;
		e->depth++;
		t = any_of(e);
		e->depth--;
		if (e->at < e->count && !strcmp(e->words[e->at], ")"))
			e->at++;
		return t;
	}
	if (left >= 2 && word[0] == '-' && word[1] && !word[2] && strchr("nzdefs", word[1])) {
		e->at += 2;
		return about_one(e, word, e->words[e->at - 1]);
	}
	e->at++;
	return not_empty(word);
}

static bool take(struct expression *e, const char *op)
{
	if (e->at >= e->count || strcmp(e->words[e->at], op))
		return false;
	e->at++;
	return true;
}

static enum grub_truth all_of(struct expression *e)
{
	enum grub_truth t = one(e);

	while (take(e, "-a")) {
		enum grub_truth next = one(e);

		t = t == GRUB_NO || next == GRUB_NO ? GRUB_NO :
		    t == GRUB_YES && next == GRUB_YES ? GRUB_YES : GRUB_OPEN;
	}
	return t;
}

static enum grub_truth any_of(struct expression *e)
{
	enum grub_truth t = all_of(e);

	while (take(e, "-o")) {
		enum grub_truth next = all_of(e);

		t = t == GRUB_YES || next == GRUB_YES ? GRUB_YES :
		    t == GRUB_NO && next == GRUB_NO ? GRUB_NO : GRUB_OPEN;
	}
	return t;
}

enum grub_truth grub_test(char *const *words, size_t count,
			  const struct grub_files *files)
{
	struct expression e = { .words = words, .count = count, .files = files };
	enum grub_truth t = any_of(&e);

	/* What was not understood may turn it. */
	return e.at < e.count ? GRUB_OPEN : t;
}
