// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads which token key this host signs with; never a PIN itself. */
#include "guard/trust/signing_conf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define CONF_MAX (64u << 10)

void signing_conf_free(struct signing_conf *c)
{
	free(c->key);
	free(c->certificate);
	free(c->pin_file);
	memset(c, 0, sizeof(*c));
}

static int set(struct signing_conf *c, const char *key, const char *value)
{
	char **where = !strcmp(key, "key") ? &c->key :
		       !strcmp(key, "certificate") ? &c->certificate :
		       !strcmp(key, "pin_file") ? &c->pin_file : NULL;

	if (!where || *where || !*value)
		return -EINVAL;
	if (where == &c->key ? strncmp(value, "pkcs11:", 7) : *value != '/')
		return -EINVAL;
	*where = strdup(value);
	return *where ? 0 : -ENOMEM;
}

/* "key = value"; the value goes to the end of the line. */
static int parse_line(struct signing_conf *c, char *text)
{
	static const char blank[] = " \t\r";
	char *value, *end;

	text += strspn(text, blank);
	if (!*text || *text == '#')
		return 0;
	value = strchr(text, '=');
	if (!value)
		return -EINVAL;
	*value++ = '\0';
	text[strcspn(text, blank)] = '\0';
	value += strspn(value, blank);
	for (end = value + strlen(value); end > value &&
	     strchr(blank, end[-1]); end--)
		;
	*end = '\0';
	return set(c, text, value);
}

int signing_conf_read(const struct host *h, struct signing_conf *c,
		      unsigned int *line)
{
	char *path = host_path(h, SIGNING_CONF), *text, *save;
	struct buf b = { 0 };
	int err = path ? file_read(path, CONF_MAX, &b) : -ENOMEM;

	memset(c, 0, sizeof(*c));
	*line = 0;
	free(path);
	if (err)
		return err == -ENOTDIR ? -ENOENT : err;
	text = strndup((char *)b.data, b.len);
	buf_free(&b);
	if (!text)
		return -ENOMEM;
	for (char *l = text; l && !err; l = save) {
		save = strchr(l, '\n');
		if (save)
			*save++ = '\0';
		++*line;
		err = parse_line(c, l);
	}
	free(text);
	if (!err && (!c->key || !c->certificate)) {
		*line = 0;
		err = -EINVAL;
	}
	if (err)
		signing_conf_free(c);
	return err;
}
