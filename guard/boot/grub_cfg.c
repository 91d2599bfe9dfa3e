// SPDX-License-Identifier: GPL-2.0-only
#include "guard/boot/grub_cfg.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES_MAX 1000
#define WORDS_MAX 64
#define DEPTH_MAX 16

/* One command of the script: its first words, without their quotes. */
struct command {
	char *words[WORDS_MAX];
	size_t count;
	bool brace;	/* ends with an unquoted { */
	bool closing;	/* an unquoted } */
};

struct parser {
	struct grub_menu *m;
	const char *p, *end;
	/* What each open brace belongs to: an entry's index, -1: nothing. */
	int open[DEPTH_MAX];
	int depth;		/* may be more than DEPTH_MAX */
	int ifs;
};

static bool at_end_of_command(const struct parser *p)
{
	return p->p >= p->end || *p->p == '\n' || *p->p == ';';
}

/* Reads a word; *bare: it was written without quotes. */
static char *read_word(struct parser *p, bool *bare)
{
	char *word = malloc(p->end - p->p + 1), *out = word;
	char quote = 0;

	*bare = true;
	for (; word && p->p < p->end; p->p++) {
		char c = *p->p;

		if (quote && c == quote) {
			quote = 0;
		} else if (!quote && (c == '\'' || c == '"')) {
			quote = c;
			*bare = false;
		} else if (c == '\\' && quote != '\'' && p->p + 1 < p->end) {
			if (*++p->p != '\n')
				*out++ = *p->p;
		} else if (!quote && (isspace((unsigned char)c) || c == ';')) {
			break;
		} else {
			*out++ = c;
		}
	}
	if (word) {
		char *fit;

		*out = '\0';
		fit = realloc(word, out - word + 1);
		word = fit ? fit : word;
	}
	return word;
}

static void command_free(struct command *c)
{
	for (size_t i = 0; i < c->count; i++)
		free(c->words[i]);
	memset(c, 0, sizeof(*c));
}

/* The next command; false at the end. -ENOMEM in *err. */
static bool read_command(struct parser *p, struct command *c, int *err)
{
	bool bare;

	memset(c, 0, sizeof(*c));
	while (p->p < p->end && (isspace((unsigned char)*p->p) || *p->p == ';'))
		p->p++;
	if (p->p >= p->end)
		return false;
	while (!at_end_of_command(p)) {
		char *word;

		if (isspace((unsigned char)*p->p)) {
			p->p++;
			continue;
		}
		if (*p->p == '#') {
			while (p->p < p->end && *p->p != '\n')
				p->p++;
			break;
		}
		word = read_word(p, &bare);
		if (!word) {
			*err = -ENOMEM;
			return false;
		}
		if (bare && (!strcmp(word, "{") || !strcmp(word, "}"))) {
			c->brace = *word == '{';
			c->closing = *word == '}';
			free(word);
			break;
		}
		if (c->count < WORDS_MAX)
			c->words[c->count++] = word;
		else
			free(word);
		/* "if", "then" and "else" are followed by another command. */
		if (c->count == 1 && bare &&
		    (!strcmp(word, "then") || !strcmp(word, "else")))
			break;
	}
	return true;
}

static int parent_of(const struct parser *p)
{
	for (int i = p->depth < DEPTH_MAX ? p->depth : DEPTH_MAX; i > 0; i--)
		if (p->open[i - 1] >= 0)
			return p->open[i - 1];
	return -1;
}

static const char *option_id(const struct command *c)
{
	for (size_t i = 2; i < c->count; i++) {
		if (!strncmp(c->words[i], "--id=", 5))
			return c->words[i] + 5;
		if (i + 1 < c->count &&
		    (!strcmp(c->words[i], "--id") ||
		     !strcmp(c->words[i], "$menuentry_id_option") ||
		     !strcmp(c->words[i], "${menuentry_id_option}")))
			return c->words[i + 1];
	}
	return NULL;
}

/* An entry or submenu; its index, -1 if there are too many, or -ENOMEM. */
static int add_entry(struct parser *p, const struct command *c, bool submenu)
{
	struct grub_menu *m = p->m;
	const char *id = option_id(c);
	struct grub_entry *list, *e;

	if (m->count == ENTRIES_MAX) {
		m->unclear = true;
		return -1;
	}
	list = realloc(m->list, (m->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	m->list = list;
	e = &list[m->count];
	memset(e, 0, sizeof(*e));
	e->title = strdup(c->words[1]);
	e->id = id ? strdup(id) : NULL;
	if (!e->title || (id && !e->id)) {
		free(e->title);
		return -ENOMEM;
	}
	make_printable(e->title);
	if (e->id)
		make_printable(e->id);
	e->parent = parent_of(p);
	e->submenu = submenu;
	e->conditional = p->ifs > 0;
	return m->count++;
}

static int set_default(struct grub_menu *m, const char *value)
{
	if (!strcmp(value, "${next_entry}")) {
		m->once = true;
		return 0;
	}
	if (!strcmp(value, "${saved_entry}")) {
		m->unclear |= m->fallback != NULL;
		m->saved = true;
		return 0;
	}
	if (strchr(value, '$') || m->saved ||
	    (m->fallback && strcmp(m->fallback, value)))
		m->unclear = true;
	free(m->fallback);
	m->fallback = strdup(value);
	return m->fallback ? 0 : -ENOMEM;
}

static bool is_linux(const char *word)
{
	return !strcmp(word, "linux") || !strcmp(word, "linux16") ||
	       !strcmp(word, "linuxefi");
}

static int obey(struct parser *p, const struct command *c)
{
	const char *word = c->count ? c->words[0] : "";
	int at = parent_of(p), err;

	if (c->count > 1 && is_linux(word) && at >= 0) {
		struct grub_entry *e = &p->m->list[at];

		/* Two kernels in one entry: whichever a condition selects. */
		if (e->image && strcmp(e->image, c->words[1]))
			e->conditional = true;
		free(e->image);
		e->image = strdup(c->words[1]);
		return e->image ? 0 : -ENOMEM;
	}
	if (at >= 0 && !p->m->list[at].submenu)
		return 0;
	if (!strcmp(word, "blscfg"))
		p->m->bls = true;
	for (size_t i = 1; !strcmp(word, "set") && i < c->count; i++)
		if (!strncmp(c->words[i], "default=", 8)) {
			err = set_default(p->m, c->words[i] + 8);
			if (err)
				return err;
		}
	return 0;
}

static int open_block(struct parser *p, const struct command *c)
{
	const char *word = c->count ? c->words[0] : "";
	bool submenu = !strcmp(word, "submenu");
	int index = -1;

	if (c->count > 1 && (submenu || !strcmp(word, "menuentry"))) {
		index = add_entry(p, c, submenu);
		if (index == -ENOMEM)
			return index;
	}
	if (p->depth < DEPTH_MAX)
		p->open[p->depth] = index;
	p->depth++;
	return 0;
}

/* "then" and "else" were cut off, so that "if" and "fi" are first words. */
static void follow_condition(struct parser *p, const struct command *c)
{
	const char *word = c->count ? c->words[0] : "";

	if (!strcmp(word, "if") || !strcmp(word, "while") ||
	    !strcmp(word, "for"))
		p->ifs++;
	else if ((!strcmp(word, "fi") || !strcmp(word, "done")) && p->ifs)
		p->ifs--;
}

int grub_menu_add(struct grub_menu *m, const char *text, size_t len)
{
	struct parser p = { .m = m, .p = text, .end = text + len };
	struct command c;
	int err = 0;

	while (!err && read_command(&p, &c, &err)) {
		follow_condition(&p, &c);
		if (c.brace)
			err = open_block(&p, &c);
		else
			err = obey(&p, &c);
		if (c.closing && p.depth)
			p.depth--;
		command_free(&c);
	}
	command_free(&c);
	return err;
}

void grub_menu_free(struct grub_menu *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free(m->list[i].title);
		free(m->list[i].id);
		free(m->list[i].image);
	}
	free(m->list);
	free(m->fallback);
	memset(m, 0, sizeof(*m));
}

char *grub_env_get(const struct buf *env, const char *name)
{
	static const char head[] = "# GRUB Environment Block\n";
	const char *p = (const char *)env->data, *end = p + env->len;
	size_t n = strlen(name);

	if (env->len < sizeof(head) - 1 || memcmp(p, head, sizeof(head) - 1))
		return NULL;
	while (p < end) {
		const char *line = memchr(p, '\n', end - p);
		size_t len = (line ? line : end) - p;

		if (len > n + 1 && !memcmp(p, name, n) && p[n] == '=')
			return strndup(p + n + 1, len - n - 1);
		p += len + 1;
	}
	return NULL;
}

/* Does a part of a default, up to the next single '>', name this text? */
static bool names(const char *spec, size_t len, const char *text)
{
	size_t i = 0;

	for (; i < len && *text; i++, text++) {
		if (spec[i] == '>')
			i++;	/* two of them stand for one */
		if (i >= len || spec[i] != *text)
			return false;
	}
	return i == len && !*text;
}

static size_t part_length(const char *spec)
{
	size_t i = 0;

	while (spec[i]) {
		if (spec[i] == '>' && spec[i + 1] != '>')
			break;
		i += spec[i] == '>' ? 2 : 1;
	}
	return i;
}

/* The entry of one menu that a part names; its first one if there is none. */
static int resolve_part(const struct grub_menu *m, int parent,
			const char *spec, size_t len)
{
	bool number = len && strspn(spec, "0123456789") >= len;
	unsigned long want = number && len < 6 ? strtoul(spec, NULL, 10) : 0;
	int first = -ENOENT;
	unsigned long position = 0;

	for (size_t i = 0; i < m->count; i++) {
		const struct grub_entry *e = &m->list[i];

		if (e->parent != parent)
			continue;
		if (e->conditional && (number || first == -ENOENT))
			return -EAGAIN;
		if (first == -ENOENT)
			first = i;
		if (number ? position++ == want :
		    (names(spec, len, e->title) ||
		     (e->id && names(spec, len, e->id))))
			return e->conditional ? -EAGAIN : (int)i;
	}
	return first;
}

int grub_resolve(const struct grub_menu *m, const char *spec)
{
	int at = -1;

	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		size_t len = part_length(spec);

		at = resolve_part(m, at, spec, len);
		if (at < 0 || !m->list[at].submenu)
			return at;
		spec += len;
		spec += *spec == '>';
	}
	return -ENOENT;
}

char *grub_path(const struct grub_menu *m, int index)
{
	const struct grub_entry *e = &m->list[index];
	char *above, *path;

	if (!e->id || strchr(e->id, '>'))
		return NULL;
	if (e->parent < 0)
		return strdup(e->id);
	above = grub_path(m, e->parent);
	if (!above || asprintf(&path, "%s>%s", above, e->id) < 0)
		path = NULL;
	free(above);
	return path;
}
