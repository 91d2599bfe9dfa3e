// SPDX-License-Identifier: GPL-2.0-or-later
/* /etc/kmodkeep/guard.conf: what the administrator wants of the guard. */
#include "guard/host/guard_conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define CONF_MAX (64u << 10)
#define DAY (24 * 3600LL)
#define DAYS_DEFAULT 14
#define DAYS_MAX 365

void guard_conf_free(struct guard_conf *c)
{
	free(c->prometheus);
	free(c->mail);
	free(c->gate);
	free(c->firmware_starts);
	free(c->firmware_secure_boot);
	memset(c, 0, sizeof(*c));
}

static char *trim(char *s)
{
	char *end;

	while (isspace((unsigned char)*s))
		s++;
	end = s + strlen(s);
	while (end > s && isspace((unsigned char)end[-1]))
		*--end = '\0';
	return s;
}

/* One address, with nothing in it that sendmail or a header takes for anything else. */
static bool is_address(const char *s)
{
	size_t len = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "0123456789.@+_=-");

	return len && !s[len] && len < 255 && *s != '-';
}

/* NULL, or what is wrong with the line. */
static const char *set(struct guard_conf *c, const char *key, const char *value)
{
	char *end;
	long days;

	if (!strcmp(key, "prometheus")) {
		if (*value != '/')
			return "prometheus must be the full path of a file";
		free(c->prometheus);
		c->prometheus = strdup(value);
		return NULL;
	}
	if (!strcmp(key, "mail")) {
		if (!is_address(value))
			return "mail must be one address, such as root or name@example.org";
		free(c->mail);
		c->mail = strdup(value);
		return NULL;
	}
	if (!strcmp(key, "pin_max_age")) {
		days = strtol(value, &end, 10);
		if (!*value || *end || days < 1 || days > DAYS_MAX)
			return "pin_max_age must be 1 to 365 days";
		c->pin_max_age = days * DAY;
		return NULL;
	}
	if (!strcmp(key, "discovery")) {
		if (strcmp(value, "yes") && strcmp(value, "no"))
			return "discovery is yes or no";
		c->discovery = !strcmp(value, "yes");
		return NULL;
	}
	if (!strcmp(key, "firmware_starts")) {
		if (*value != '/' || strstr(value, ".."))
			return "firmware_starts must be the full path of a file";
		free(c->firmware_starts);
		c->firmware_starts = strdup(value);
		return NULL;
	}
	if (!strcmp(key, "firmware_secure_boot")) {
		if (strcmp(value, "yes") && strcmp(value, "no"))
			return "firmware_secure_boot is yes or no";
		free(c->firmware_secure_boot);
		c->firmware_secure_boot = strdup(value);
		return NULL;
	}
	if (!strcmp(key, "gate")) {
		if (strncmp(value, "http://", 7) && strncmp(value, "https://", 8) &&
		    strncmp(value, "file:///", 8))
			return "gate must begin with http://, https:// or file:///";
		free(c->gate);
		c->gate = strdup(value);
		return NULL;
	}
	if (!strcmp(key, "gate_reboot")) {
		if (strcmp(value, "yes") && strcmp(value, "no"))
			return "gate_reboot is yes or no";
		c->gate_reboot = !strcmp(value, "yes");
		return NULL;
	}
	return "unknown setting, ignored";
}

void guard_conf_parse(struct guard_conf *c, const char *file, char *text,
		      dropin_error_fn *report, void *arg)
{
	for (unsigned int number = 1; text; number++) {
		char *line = trim(strsep(&text, "\n")), *equals;
		const char *wrong = "not of the form key = value";
		char *message;

		if (!*line || *line == '#')
			continue;
		equals = strchr(line, '=');
		if (equals) {
			*equals = '\0';
			wrong = set(c, trim(line), trim(equals + 1));
		}
		message = wrong ? text_of("%s:%u: %s", file, number, wrong) :
				  NULL;
		if (message && report)
			report(arg, message);
		free(message);
	}
}

int guard_conf_read(const struct host *h, dropin_error_fn *report, void *arg,
		    struct guard_conf *out)
{
	char *path = host_path(h, GUARD_CONF), *text = NULL;
	struct buf b = { 0 };
	int err;

	memset(out, 0, sizeof(*out));
	out->pin_max_age = DAYS_DEFAULT * DAY;
	out->discovery = true;
	err = path ? file_read(path, CONF_MAX, &b) : -ENOMEM;
	if (!err)
		text = strndup((char *)b.data, b.len);
	if (text)
		guard_conf_parse(out, path, text, report, arg);
	else if (err != -ENOMEM)
		err = 0;
	buf_free(&b);
	free(text);
	free(path);
	return err;
}
