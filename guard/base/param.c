// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A command line is taken apart as the kernel does: blanks part, except in double quotes;
 * in names a dash is an underscore; what is behind "--" is for init. kmod, dracut and
 * initramfs-tools, which read it as well, do not stop there.
 */
#include "guard/base/param.h"

#include <stdlib.h>
#include <string.h>

bool param_same(char a, char b)
{
	return a == b || (strchr("-_", a) && strchr("-_", b) && a && b);
}

bool param_next(const char **line, struct param *p)
{
	const char *at = *line + strspn(*line, " \t\n"), *end = at, *equals = NULL;
	bool quoted = false;

	for (; *end && (quoted || !strchr(" \t\n", *end)); end++) {
		if (*end == '"')
			quoted = !quoted;
		else if (*end == '=' && !equals)
			equals = end;
	}
	*line = end;
	if (at == end)
		return false;
	/* Quotes stand around the whole, or around the value. */
	if (*at == '"') {
		at++;
		end -= end > at && end[-1] == '"';
	}
	*p = (struct param){ .name = at, .name_len = (equals ? equals : end) - at };
	if (!equals)
		return true;
	p->value = equals + 1;
	if (*p->value == '"' && p->value < end) {
		p->value++;
		end -= end > p->value && end[-1] == '"';
	}
	p->value_len = end - p->value;
	return true;
}

bool param_is(const struct param *p, const char *name)
{
	size_t n = strlen(name);

	if (p->name_len != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!param_same(p->name[i], name[i]))
			return false;
	return true;
}

bool param_is_end(const struct param *p)
{
	return !p->value && p->name_len == 2 && !memcmp(p->name, "--", 2);
}

char *param_value(const char *line, const char *name)
{
	char *value = NULL;
	struct param p;

	while (param_next(&line, &p))
		if (param_is(&p, name)) {
			free(value);
			value = strndup(p.value ? p.value : "", p.value ? p.value_len : 0);
		}
	return value;
}
