// SPDX-License-Identifier: GPL-2.0-or-later
/* Which key dkms signs with, and how it is told of another. */
#include "signing/dkms_key.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/util.h"
#include "guard/host/dkms_config.h"

#define MARK "# Written by kmodkeep adopt"
#define PROGRAM_MAX (4u << 20)

/* A path below the host's root, without that. */
static const char *on_host(const struct host *h, const char *path)
{
	const char *root = host_root(h);
	size_t n = strlen(root);

	if (n > 1 && !strncmp(path, root, n) && path[n] == '/')
		return path + n;
	return path;
}

/* dkms is a script: older ones do not have the name of the folder in it. */
static bool reads_drop_ins(const char *program)
{
	struct buf text = { 0 };
	bool reads = !file_read(program, PROGRAM_MAX, &text) &&
		     memmem(text.data, text.len, "framework.conf.d", 16);

	buf_free(&text);
	return reads;
}

/* What it does by itself: Debian's has a key of its own, Ubuntu's takes shim's. */
static bool is_default(const struct signkey *k)
{
	return !strcmp(k->origin, "dkms") || !strcmp(k->origin, "ubuntu");
}

int dkms_key_is(const struct host *h, const struct signkey *k, enum dkms_key *out)
{
	static const char *const names[] = { "dkms", NULL };
	char *program = host_tool(h, names);
	struct dkms_config c;
	const char *key;
	bool sure;
	int err;

	*out = DKMS_KEY_NONE;
	if (!program)
		return 0;
	err = dkms_config_read(h, &c);
	if (err) {
		free(program);
		return err;
	}
	key = dkms_config_get(&c, "mok_signing_key", &sure);
	if (!sure)
		*out = DKMS_KEY_UNSURE;
	else if (key ? !strcmp(key, on_host(h, k->key_path)) : is_default(k))
		*out = DKMS_KEY_SAME;
	else
		*out = reads_drop_ins(program) ? DKMS_KEY_OTHER : DKMS_KEY_DEAF;
	dkms_config_free(&c);
	free(program);
	return 0;
}

int dkms_key_set(const struct host *h, const struct signkey *k)
{
	char *dir = host_path(h, "/etc/dkms/framework.conf.d");
	char *path = host_path(h, DKMS_DROP_IN);
	char *text;
	int err = dir && path ? 0 : -ENOMEM;

	if (!strncmp(k->key_path, "pkcs11:", 7))
		err = -ENOTSUP;
	text = text_of(MARK ": dkms signs what it builds with this key, which this\n"
		       "# host's firmware trusts. To undo it: kmodkeep adopt --undo\n"
		       "mok_signing_key=\"%s\"\nmok_certificate=\"%s\"\n",
		       on_host(h, k->key_path), on_host(h, k->cert_path));
	if (!err && !text)
		err = -ENOMEM;
	if (!err && mkdir(dir, 0755) < 0 && errno != EEXIST)
		err = -errno;
	if (!err)
		err = file_replace(path, text, strlen(text), 0644);
	free(dir);
	free(path);
	free(text);
	return err;
}

int dkms_key_unset(const struct host *h)
{
	char *path = host_path(h, DKMS_DROP_IN), *line = NULL;
	int ret = path ? file_read_line(path, &line) : -ENOMEM;

	if (!ret)
		ret = strncmp(line, MARK, strlen(MARK)) ? -EEXIST :
		      unlink(path) < 0 ? -errno : 1;
	else if (ret == -ENOENT || ret == -ENOTDIR)
		ret = 0;
	free(line);
	free(path);
	return ret;
}
