// SPDX-License-Identifier: GPL-2.0-or-later
/* The parameters of a kernel's command line that decide whether modules load. */
#include "guard/verdict/cmdline.h"

#include <stddef.h>
#include <string.h>

/* Is the name in a list like "a,b-c" of the command line? */
static bool listed(const char *list, size_t len, const char *module)
{
	size_t n = strlen(module), at = 0;

	while (at < len) {
		size_t part = 0;
		bool same;

		while (at + part < len && list[at + part] != ',')
			part++;
		same = part == n;
		for (size_t i = 0; same && i < n; i++)
			same = list[at + i] == module[i] ||
			       (strchr("-_", list[at + i]) && strchr("-_", module[i]));
		if (same)
			return true;
		at += part + 1;
	}
	return false;
}

/* The parameter at *line, and *line behind it; 0 at the end. */
static size_t next_parameter(const char **line, const char **parameter)
{
	size_t len;

	*line += strspn(*line, " \t");
	*parameter = *line;
	len = strcspn(*line, " \t");
	*line += len;
	return len;
}

static bool is(const char *parameter, size_t len, const char *wanted)
{
	return len == strlen(wanted) && !memcmp(parameter, wanted, len);
}

bool cmdline_refuses(const char *line, const char *module)
{
	static const char key[] = "module_blacklist=";
	size_t n = strlen(key), len;
	const char *p;

	while ((len = next_parameter(&line, &p)))
		if (len > n && !memcmp(p, key, n) && listed(p + n, len - n, module))
			return true;
	return false;
}

bool cmdline_enforces(const char *line)
{
	static const char key[] = "module.sig_enforce";
	size_t n = strlen(key), len;
	const char *p;

	while ((len = next_parameter(&line, &p)))
		if (is(p, len, "lockdown=integrity") ||
		    is(p, len, "lockdown=confidentiality") || is(p, len, key) ||
		    (len > n + 1 && !memcmp(p, key, n) && p[n] == '=' &&
		     strchr("1yYtT", p[n + 1])))
			return true;
	return false;
}
