/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A kernel's command line, one parameter after the other. */
#ifndef KMODKEEP_PARAM_H
#define KMODKEEP_PARAM_H

#include <stdbool.h>
#include <stddef.h>

/* One parameter: its name, and its value (NULL: it has none); neither ends with a NUL. */
struct param {
	const char *name, *value;
	size_t name_len, value_len;
};

/* Takes the next one from *line, and *line behind it; false at the end. */
bool param_next(const char **line, struct param *p);
/* Are two characters of names the same? A dash is an underscore. */
bool param_same(char a, char b);
bool param_is(const struct param *p, const char *name);
/* Is it "--"? What is behind it is for init, and not for the kernel. */
bool param_is_end(const struct param *p);
/* The value of the last one of a name, to the end of the line; malloc'ed, NULL: none. */
char *param_value(const char *line, const char *name);

#endif
