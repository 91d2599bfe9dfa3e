// SPDX-License-Identifier: GPL-2.0-or-later
/* The words of a GRUB script, its variables, and how the one goes into the other. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/boot/grub_script.h"

/* A variable put into itself again and again doubles: no real value is so long. */
#define VALUE_MAX (16u << 10)

const char *grub_vars_get(const struct grub_vars *v, const char *name, size_t len)
{
	for (size_t i = 0; i < v->count; i++)
		if (!strncmp(v->list[i].name, name, len) && !v->list[i].name[len])
			return v->list[i].value;
	return "";
}

int grub_vars_set(struct grub_vars *v, const char *name, const char *value)
{
	struct grub_var *list, new;

	new.value = strdup(value);
	if (!new.value)
		return -ENOMEM;
	for (size_t i = 0; i < v->count; i++)
		if (!strcmp(v->list[i].name, name)) {
			free(v->list[i].value);
			v->list[i].value = new.value;
			return 0;
		}
	if (v->count == GRUB_VARS_MAX) {
		free(new.value);
		return -E2BIG;
	}
	new.name = strdup(name);
	list = new.name ? realloc(v->list, (v->count + 1) * sizeof(*list)) : NULL;
	if (!list) {
		free(new.name);
		free(new.value);
		return -ENOMEM;
	}
	v->list = list;
	list[v->count++] = new;
	return 0;
}

void grub_vars_free(struct grub_vars *v)
{
	for (size_t i = 0; i < v->count; i++) {
		free(v->list[i].name);
		free(v->list[i].value);
	}
	free(v->list);
	memset(v, 0, sizeof(*v));
}

int grub_vars_copy(struct grub_vars *to, const struct grub_vars *from)
{
	int err = 0;

	memset(to, 0, sizeof(*to));
	for (size_t i = 0; i < from->count && !err; i++)
		err = grub_vars_set(to, from->list[i].name, from->list[i].value);
	if (err)
		grub_vars_free(to);
	return err;
}

int grub_vars_merge(struct grub_vars *v, const struct grub_vars *other)
{
	int err = 0;

	for (size_t i = 0; i < v->count && !err; i++) {
		const char *name = v->list[i].name;

		if (strcmp(v->list[i].value, grub_vars_get(other, name, strlen(name))))
			err = grub_vars_set(v, name, GRUB_UNKNOWN_TEXT);
	}
	for (size_t i = 0; i < other->count && !err; i++) {
		const char *name = other->list[i].name;

		if (strcmp(other->list[i].value, grub_vars_get(v, name, strlen(name))))
			err = grub_vars_set(v, name, GRUB_UNKNOWN_TEXT);
	}
	return err;
}

static int add_token(struct grub_tokens *out, size_t *room, struct grub_token t)
{
	if (out->count == *room) {
		struct grub_token *list;

		*room = *room ? 2 * *room : 256;
		list = realloc(out->list, *room * sizeof(*list));
		if (!list)
			return -ENOMEM;
		out->list = list;
	}
	out->list[out->count++] = t;
	return 0;
}

/* Where the word that starts at p ends. */
static const char *word_end(const char *p, const char *end)
{
	char quote = 0;

	for (; p < end; p++) {
		if (*p == '\\' && quote != '\'' && p + 1 < end)
			p++;
		else if (quote)
			quote = *p == quote ? 0 : quote;
		else if (*p == '\'' || *p == '"')
			quote = *p;
		else if (isspace((unsigned char)*p) || *p == ';')
			break;
	}
	return p;
}

bool grub_token_is(const struct grub_token *t, const char *word)
{
	return t->kind == GRUB_WORD && t->len == strlen(word) &&
	       !memcmp(t->text, word, t->len);
}

int grub_lex(const char *text, size_t len, struct grub_tokens *out)
{
	const char *p = text, *end = text + len;
	size_t room = 0;
	int err = 0;

	memset(out, 0, sizeof(*out));
	while (p < end && !err) {
		struct grub_token t = { GRUB_LINE_END, p, 1 };

		if (*p == '#') {
			while (p < end && *p != '\n')
				p++;
			continue;
		}
		if (*p == '\\' && p + 1 < end && p[1] == '\n') {
			p += 2;
			continue;
		}
		if (*p != '\n' && *p != ';') {
			if (isspace((unsigned char)*p)) {
				p++;
				continue;
			}
			t.kind = GRUB_WORD;
			t.len = word_end(p, end) - p;
			if (t.len == 1 && (*p == '{' || *p == '}'))
				t.kind = *p == '{' ? GRUB_OPENING : GRUB_CLOSING;
		}
		err = add_token(out, &room, t);
		p += t.len;
	}
	if (err) {
		free(out->list);
		out->list = NULL;
	}
	return err;
}

struct text {
	char *data;
	size_t len, room;
};

static bool put(struct text *t, const char *s, size_t n)
{
	if (t->len + n > VALUE_MAX) {
		/* Too long to be meant: its end is not known. */
		s = GRUB_UNKNOWN_TEXT;
		n = t->len < VALUE_MAX + 1 ? 1 : 0;
	}
	if (t->len + n + 1 > t->room) {
		size_t room = 2 * (t->len + n + 1);
		char *data = realloc(t->data, room);

		if (!data)
			return false;
		t->data = data;
		t->room = room;
	}
	memcpy(t->data + t->len, s, n);
	t->len += n;
	t->data[t->len] = '\0';
	return true;
}

static bool in_name(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* "$name" or "${name}" at p; its length, 0 if it is a mere dollar sign. */
static size_t variable(const char *p, const char *end, const char **name, size_t *len)
{
	const char *from = p + 1, *to;
	bool braces = from < end && *from == '{';

	from += braces;
	to = from;
	while (to < end && in_name(*to))
		to++;
	/* "$?", "$@", "$#", "$*": of one character. */
	if (to == from && to < end && strchr("?@#*", *to))
		to++;
	*name = from;
	*len = to - from;
	if (!*len || (braces && (to == end || *to != '}')))
		return 0;
	return to - p + braces;
}

/* The arguments of a function and the last status are not kept. */
static const char *value_of(const struct grub_vars *v, const char *name, size_t len)
{
	if (!in_name(*name) || isdigit((unsigned char)*name))
		return GRUB_UNKNOWN_TEXT;
	return grub_vars_get(v, name, len);
}

static bool put_plain(struct text *t, char c)
{
	return put(t, c == GRUB_UNKNOWN || !c ? "?" : &c, 1);
}

char *grub_expand(const char *p, size_t len, const struct grub_vars *v, bool *vanishes)
{
	struct text t = { 0 };
	const char *end = p + len, *name;
	bool ok = put(&t, "", 0), quoted = false;
	char quote = 0;

	while (ok && p < end) {
		size_t n, name_len;

		if (*p == quote) {
			quote = 0;
			p++;
		} else if (!quote && (*p == '\'' || *p == '"')) {
			quote = *p++;
			quoted = true;
		} else if (*p == '\\' && quote != '\'' && p + 1 < end) {
			/* In double quotes it stands before few characters. */
			if (quote && !strchr("$\"\\\n", p[1]))
				ok = put_plain(&t, *p);
			if (p[1] != '\n')
				ok = ok && put_plain(&t, p[1]);
			p += 2;
		} else if (*p == '$' && quote != '\'' &&
			   (n = variable(p, end, &name, &name_len))) {
			const char *value = value_of(v, name, name_len);

			ok = put(&t, value, strlen(value));
			p += n;
		} else {
			ok = put_plain(&t, *p++);
		}
	}
	if (!ok) {
		free(t.data);
		return NULL;
	}
	*vanishes = !t.len && !quoted;
	return t.data;
}
