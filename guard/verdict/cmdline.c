// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The parameters of a kernel's command line that decide whether modules load.
 */
#include "guard/verdict/cmdline.h"

#include <stddef.h>
#include <string.h>

#include "guard/base/param.h"

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
			same = param_same(list[at + i], module[i]);
		if (same)
			return true;
		at += part + 1;
	}
	return false;
}

static bool has_value(const struct param *p, const char *value)
{
	return p->value && p->value_len == strlen(value) && !memcmp(p->value, value, p->value_len);
}

/* As the kernel reads a switch: none is on. */
static bool is_on(const struct param *p)
{
	return !p->value || (p->value_len && strchr("1yYtT", *p->value)) ||
	       (p->value_len > 1 && strchr("oO", *p->value) && strchr("nN", p->value[1]));
}

enum cmdline_refusal cmdline_refuses(const char *line, const char *module)
{
	bool refused = false, none = false, alias = false, early = false, kernels = true;
	struct param p;

	while (param_next(&line, &p)) {
		kernels &= !param_is_end(&p);
		/* Of several, the kernel takes the last. */
		if (kernels && param_is(&p, "module_blacklist"))
			refused = p.value && listed(p.value, p.value_len, module);
		else if (kernels && param_is(&p, "nomodule"))
			none = is_on(&p);
		else if (param_is(&p, "modprobe.blacklist") && p.value)
			alias |= listed(p.value, p.value_len, module);
		else if ((param_is(&p, "rd.driver.blacklist") || param_is(&p, "rdblacklist")) && p.value)
			early |= listed(p.value, p.value_len, module);
	}
	return none ? CMDLINE_NO_MODULES : refused ? CMDLINE_MODULE : alias ? CMDLINE_ALIAS :
	       early ? CMDLINE_EARLY : CMDLINE_LOADS;
}

bool cmdline_loads_first(const char *line, const char *module)
{
	struct param p;

	while (param_next(&line, &p))
		if (param_is(&p, "rd.driver.pre") && p.value &&
		    (!module || listed(p.value, p.value_len, module)))
			return true;
	return false;
}

bool cmdline_enforces(const char *line)
{
	struct param p;

	/* Neither can be taken back by what follows. */
	while (param_next(&line, &p) && !param_is_end(&p))
		if ((param_is(&p, "lockdown") && (has_value(&p, "integrity") ||
					    has_value(&p, "confidentiality"))) ||
		    (param_is(&p, "module.sig_enforce") && is_on(&p)))
			return true;
	return false;
}
