// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads which token key this host signs with, never a PIN itself; and whose signatures it wants. */
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
	for (size_t i = 0; i < c->signer_count; i++)
		free(c->signers[i]);
	memset(c, 0, sizeof(*c));
}

static int require(struct signing_conf *c, const char *value)
{
	if (c->required || value[0] < '1' || value[0] > '0' + SIGNERS_REQUIRED_MAX ||
	    value[1])
		return -EINVAL;
	c->required = value[0] - '0';
	return 0;
}

static int add_signer(struct signing_conf *c, const char *value)
{
	if (*value != '/' || c->signer_count == SIGNERS_REQUIRED_MAX)
		return -EINVAL;
	c->signers[c->signer_count] = strdup(value);
	return c->signers[c->signer_count++] ? 0 : -ENOMEM;
}

static int set(struct signing_conf *c, const char *key, const char *value)
{
	char **where = !strcmp(key, "key") ? &c->key :
		       !strcmp(key, "certificate") ? &c->certificate :
		       !strcmp(key, "pin_file") ? &c->pin_file : NULL;

	if (!strcmp(key, "require_signers"))
		return require(c, value);
	if (!strcmp(key, "signer"))
		return add_signer(c, value);
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

static int read_file(const struct host *h, struct signing_conf *c, unsigned int *line)
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
	if (err)
		signing_conf_free(c);
	return err;
}

/* Frees it where there is an error. */
static int end(struct signing_conf *c, unsigned int *line, int err)
{
	*line = 0;
	if (err)
		signing_conf_free(c);
	return err;
}

int signing_conf_read(const struct host *h, struct signing_conf *c,
		      unsigned int *line)
{
	int err = read_file(h, c, line);

	if (err)
		return err;
	if (!c->key && !c->certificate && !c->pin_file)
		return end(c, line, -ENOENT);
	return end(c, line, c->key && c->certificate ? 0 : -EINVAL);
}

int signing_policy_read(const struct host *h, struct signing_conf *c,
			unsigned int *line)
{
	int err = read_file(h, c, line);

	if (err == -ENOENT)
		return 0;
	if (err)
		return err;
	return end(c, line, c->required > c->signer_count ||
		   (c->signer_count && !c->required) ? -EINVAL : 0);
}
