/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * GRUB's script language, as far as it decides what boots. Values are text; a
 * part that cannot be known here (a device, an answer of the firmware) is the
 * character GRUB_UNKNOWN in it. A condition is true, false or open; after an open
 * one, only the variables on which its branches differ are unknown.
 */
#ifndef KMODKEEP_GRUB_SCRIPT_H
#define KMODKEEP_GRUB_SCRIPT_H

#include <stdbool.h>
#include <stddef.h>

#define GRUB_UNKNOWN '\1'
#define GRUB_UNKNOWN_TEXT "\1"
/* The folder of grub.cfg: $prefix and $config_directory. */
#define GRUB_HOME "(grub)"

enum grub_truth { GRUB_NO, GRUB_YES, GRUB_OPEN };

static inline enum grub_truth grub_not(enum grub_truth t)
{
	return t == GRUB_OPEN ? t : t == GRUB_NO ? GRUB_YES : GRUB_NO;
}

/* Variables. What is not set is "". At most GRUB_VARS_MAX. */
#define GRUB_VARS_MAX 256

struct grub_var {
	char *name, *value;
};

struct grub_vars {
	struct grub_var *list;
	size_t count;
};

const char *grub_vars_get(const struct grub_vars *v, const char *name, size_t len);
/* 0, -ENOMEM, or -E2BIG: there are too many. */
int grub_vars_set(struct grub_vars *v, const char *name, const char *value);
int grub_vars_copy(struct grub_vars *to, const struct grub_vars *from);
/* Keeps in v what both say, and makes unknown what they differ on. */
int grub_vars_merge(struct grub_vars *v, const struct grub_vars *other);
void grub_vars_free(struct grub_vars *v);

/* Words of a script, as they are written; the text stays with the caller. */
enum grub_token_kind { GRUB_WORD, GRUB_LINE_END, GRUB_OPENING, GRUB_CLOSING };

struct grub_token {
	enum grub_token_kind kind;
	const char *text;	/* of a word, with its quotes */
	size_t len;
};

struct grub_tokens {
	struct grub_token *list;
	size_t count;
};

/* 0 or -ENOMEM. free(out->list). */
int grub_lex(const char *text, size_t len, struct grub_tokens *out);
bool grub_token_is(const struct grub_token *t, const char *word);

/*
 * A word without quotes, with the values of its variables; malloc'ed, NULL
 * without memory. *vanishes: it is empty and was not quoted, so it is no word.
 */
char *grub_expand(const char *text, size_t len, const struct grub_vars *v,
		  bool *vanishes);

/* How files that a script names are seen. */
struct grub_files {
	/* Is it there (and, not_empty, does it hold anything)? */
	enum grub_truth (*has)(void *arg, const char *path, bool not_empty);
	void *arg;
};

/* "[ words ]" or "test words", without the brackets. */
enum grub_truth grub_test(char *const *words, size_t count,
			  const struct grub_files *files);

#endif
