// SPDX-License-Identifier: GPL-2.0-or-later
/* GRUB's menu: what a default leads to in it, and its environment block. */
#include "guard/boot/grub_cfg.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 16

void grub_menu_free(struct grub_menu *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free(m->list[i].title);
		free(m->list[i].id);
		free(m->list[i].image);
		free(m->list[i].initrd);
		free(m->list[i].cmdline);
	}
	free(m->list);
	free(m->chosen);
	grub_vars_free(&m->written);
	memset(m, 0, sizeof(*m));
}

/* In the block, a backslash stands before one, and before the end of a line. */
static char *unescape(const char *p, size_t len)
{
	char *value = malloc(len + 1), *out = value;

	for (size_t i = 0; value && i < len; i++) {
		if (p[i] == '\\' && i + 1 < len)
			i++;
		*out++ = p[i] == GRUB_UNKNOWN || !p[i] ? '?' : p[i];
	}
	if (value)
		*out = '\0';
	return value;
}

int grub_env_read(const struct buf *env, struct grub_vars *out)
{
	static const char head[] = "# GRUB Environment Block\n";
	const char *p = (const char *)env->data, *end = p + env->len;
	int err = 0;

	if (env->len < sizeof(head) - 1 || memcmp(p, head, sizeof(head) - 1))
		return 0;
	while (p < end && !err) {
		const char *line = memchr(p, '\n', end - p);
		size_t len = (line ? line : end) - p;
		const char *equals = memchr(p, '=', len);

		if (*p != '#' && equals && equals > p) {
			char *name = strndup(p, equals - p);
			char *value = unescape(equals + 1, p + len - equals - 1);

			err = name && value ? grub_vars_set(out, name, value) : -ENOMEM;
			free(name);
			free(value);
		}
		p += len + 1;
	}
	return err == -E2BIG ? 0 : err;
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

static bool is_unseen(const struct grub_entry *e)
{
	return strchr(e->title, GRUB_UNKNOWN) || (e->id && strchr(e->id, GRUB_UNKNOWN));
}

/* The entry of one menu that a part names; its first one if there is none. */
static int resolve_part(const struct grub_menu *m, int parent,
			const char *spec, size_t len)
{
	bool number = len && strspn(spec, "0123456789") >= len;
	unsigned long want = number && len < 6 ? strtoul(spec, NULL, 10) : 0;
	int first = -ENOENT;
	unsigned long position = 0;
	bool unseen = false;

	for (size_t i = 0; i < m->count; i++) {
		const struct grub_entry *e = &m->list[i];

		if (e->parent != parent)
			continue;
		if (e->conditional && number)
			return -EAGAIN;
		/* It may be the first, and one of an unknown name the one. */
		if (first == -ENOENT)
			first = e->conditional ? -EAGAIN : (int)i;
		unseen |= !number && is_unseen(e);
		if (number ? position++ == want :
		    (names(spec, len, e->title) ||
		     (e->id && names(spec, len, e->id))))
			return e->conditional || unseen ? -EAGAIN : (int)i;
	}
	return unseen && len ? -EAGAIN : first;
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
