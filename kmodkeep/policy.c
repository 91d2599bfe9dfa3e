// SPDX-License-Identifier: GPL-2.0-or-later
/* Writes a driver's policy where the administrator would. */
#include "kmodkeep/policy.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/util.h"

#define MARK "# Written by kmodkeep adopt"
#define DROP_IN_MAX 65536

static char *path_of(const struct host *h, const char *dir, const struct driver *d)
{
	char *rel = text_of("%s/%s.conf", dir, d->name), *path;

	path = rel ? host_path(h, rel) : NULL;
	free(rel);
	return path;
}

const char *policy_word(enum policy policy)
{
	return policy == POLICY_WARN ? "warn" : "pin-last-good";
}

static int is_ours(const char *path)
{
	char *line = NULL;
	struct stat st;
	int ret;

	/* An empty file or a link to /dev/null switches the driver off. */
	if (lstat(path, &st) < 0)
		return errno == ENOENT || errno == ENOTDIR ? 1 : -errno;
	if (!S_ISREG(st.st_mode))
		return 0;
	ret = file_read_line(path, &line);
	if (!ret)
		ret = !strncmp(line, MARK, strlen(MARK));
	free(line);
	return ret;
}

int policy_is_ours(const struct host *h, const struct driver *d)
{
	char *path = path_of(h, "/etc/kmodkeep/drivers.d", d);
	int ret = path ? is_ours(path) : -ENOMEM;

	free(path);
	return ret;
}

/* The lines of a drop-in in dir, without comments and policy. 0 or -errno. */
static int copy_lines(FILE *out, const struct host *h, const char *dir, const struct driver *d)
{
	char *path = path_of(h, dir, d), *text = NULL, *rest, *line;
	struct buf b = { 0 };
	int err = path ? file_read(path, DROP_IN_MAX, &b) : -ENOMEM;

	if (!err) {
		text = strndup((char *)b.data, b.len);
		err = text ? 0 : -ENOMEM;
	}
	for (rest = text; rest && (line = strsep(&rest, "\n"));) {
		const char *key = line + strspn(line, " \t");
		size_t n = strcspn(key, " \t=");

		if (*line && *key != '#' && (n != 6 || strncmp(key, "policy", 6)))
			fprintf(out, "%s\n", line);
	}
	buf_free(&b);
	free(text);
	free(path);
	return err;
}

static void describe(FILE *out, const struct driver *d)
{
	if (d->dkms) {
		fprintf(out, "dkms = %s\n", d->dkms);
		return;
	}
	fputs("modules =", out);
	for (size_t i = 0; i < d->module_count; i++)
		fprintf(out, " %s", d->modules[i]);
	fputc('\n', out);
}

static char *make_text(const struct host *h, const struct driver *d, enum policy policy, int *err)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	*err = f ? 0 : -ENOMEM;
	if (*err)
		return NULL;
	fputs(MARK ". To undo it: kmodkeep adopt --undo\n", f);
	/* What an administrator added to the file stays in it. */
	*err = copy_lines(f, h, "/etc/kmodkeep/drivers.d", d);
	if (*err == -ENOENT || *err == -ENOTDIR)
		*err = copy_lines(f, h, "/usr/lib/kmodkeep/drivers.d", d);
	if (*err == -ENOENT || *err == -ENOTDIR) {
		describe(f, d);
		*err = 0;
	}
	fprintf(f, "policy = %s\n", policy_word(policy));
	if (fclose(f) && !*err)
		*err = -ENOMEM;
	if (*err) {
		free(text);
		return NULL;
	}
	return text;
}

int policy_set(const struct host *h, const struct driver *d, enum policy policy)
{
	char *etc = host_path(h, "/etc/kmodkeep");
	char *dir = host_path(h, "/etc/kmodkeep/drivers.d");
	char *path = path_of(h, "/etc/kmodkeep/drivers.d", d);
	int err = etc && dir && path ? is_ours(path) : -ENOMEM;
	char *text = NULL;

	err = err < 0 ? err : err ? 0 : -EEXIST;
	if (!err)
		text = make_text(h, d, policy, &err);
	if (!err) {
		mkdir(etc, 0755);
		mkdir(dir, 0755);
		err = file_replace(path, text, strlen(text), 0644);
	}
	free(text);
	free(etc);
	free(dir);
	free(path);
	return err;
}

int policy_unset(const struct host *h, const struct driver *d)
{
	char *path = path_of(h, "/etc/kmodkeep/drivers.d", d);
	/* Only *.conf is read; lines that an administrator added are not lost. */
	char *aside = path ? text_of("%s.undone", path) : NULL;
	int ret = aside ? is_ours(path) : -ENOMEM;

	if (ret == 1 && !path_exists(path))
		ret = 0;
	else if (ret == 1 && rename(path, aside) < 0)
		ret = -errno;
	free(aside);
	free(path);
	return ret;
}
