// SPDX-License-Identifier: GPL-2.0-or-later
/* Pieces of text for Prometheus's text-file collector. */
#include "guard/base/metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define LABEL_MAX 128

void metrics_add(char **text, char *more)
{
	char *longer = *text && more ? text_of("%s%s", *text, more) : NULL;

	free(*text);
	free(more);
	*text = longer;
}

char *metrics_label(const char *value)
{
	char *clean = strndup(value, LABEL_MAX), *out, *p, *c;

	out = clean ? malloc(2 * strlen(clean) + 1) : NULL;
	if (out) {
		/* Also where a character was cut through: a label is UTF-8. */
		make_printable(clean);
		for (p = out, c = clean; *c; c++) {
			if (*c == '\\' || *c == '"')
				*p++ = '\\';
			*p++ = *c;
		}
		*p = '\0';
	}
	free(clean);
	return out;
}

int metrics_write(const char *path, char *text)
{
	int err = text ? file_replace(path, text, strlen(text), 0644) : -ENOMEM;

	free(text);
	return err;
}

char *metrics_beside(const char *guards, const char *word)
{
	int stem = strlen(guards) - (str_ends_with(guards, ".prom") ? 5 : 0);

	return text_of("%.*s-%s.prom", stem, guards, word);
}
