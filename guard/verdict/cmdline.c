// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parameters of a kernel's command line that decide whether modules load. It is
 * taken apart as the kernel does: blanks part, except in double quotes; in names a
 * dash is an underscore; what is behind "--" is for init. kmod and dracut, which read
 * it as well, do not stop there.
 */
#include "guard/verdict/cmdline.h"

#include <stddef.h>
#include <string.h>

static bool same_character(char a, char b)
{
	return a == b || (strchr("-_", a) && strchr("-_", b) && a && b);
}

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
			same = same_character(list[at + i], module[i]);
		if (same)
			return true;
		at += part + 1;
	}
	return false;
}

/* One parameter: its name, and its value (NULL: it has none). */
struct parameter {
	const char *name, *value;
	size_t name_len, value_len;
};

/* Takes the next one from *line, and *line behind it; false at the end. */
static bool next_parameter(const char **line, struct parameter *p)
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
	*p = (struct parameter){ .name = at, .name_len = (equals ? equals : end) - at };
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

static bool is(const struct parameter *p, const char *name)
{
	size_t n = strlen(name);

	if (p->name_len != n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (!same_character(p->name[i], name[i]))
			return false;
	return true;
}

static bool has_value(const struct parameter *p, const char *value)
{
	return p->value && p->value_len == strlen(value) && !memcmp(p->value, value, p->value_len);
}

/* As the kernel reads a switch: none is on. */
static bool is_on(const struct parameter *p)
{
	return !p->value || (p->value_len && strchr("1yYtT", *p->value)) ||
	       (p->value_len > 1 && strchr("oO", *p->value) && strchr("nN", p->value[1]));
}

static bool is_end(const struct parameter *p)
{
	return !p->value && p->name_len == 2 && !memcmp(p->name, "--", 2);
}

enum cmdline_refusal cmdline_refuses(const char *line, const char *module)
{
	bool refused = false, none = false, alias = false, early = false, kernels = true;
	struct parameter p;

	while (next_parameter(&line, &p)) {
		kernels &= !is_end(&p);
		/* Of several, the kernel takes the last. */
		if (kernels && is(&p, "module_blacklist"))
			refused = p.value && listed(p.value, p.value_len, module);
		else if (kernels && is(&p, "nomodule"))
			none = is_on(&p);
		else if (is(&p, "modprobe.blacklist") && p.value)
			alias |= listed(p.value, p.value_len, module);
		else if ((is(&p, "rd.driver.blacklist") || is(&p, "rdblacklist")) && p.value)
			early |= listed(p.value, p.value_len, module);
	}
	return none ? CMDLINE_NO_MODULES : refused ? CMDLINE_MODULE : alias ? CMDLINE_ALIAS :
	       early ? CMDLINE_EARLY : CMDLINE_LOADS;
}

bool cmdline_enforces(const char *line)
{
	struct parameter p;

	/* Neither can be taken back by what follows. */
	while (next_parameter(&line, &p) && !is_end(&p))
		if ((is(&p, "lockdown") && (has_value(&p, "integrity") ||
					    has_value(&p, "confidentiality"))) ||
		    (is(&p, "module.sig_enforce") && is_on(&p)))
			return true;
	return false;
}
