// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads the version of a driver's user space where its drop-in says that it stands. */
#include "guard/host/userspace.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/run.h"

#define WORDS_MAX 16
#define SECONDS 10
#define TEXT_MAX (64u << 10)

/* "zfs-2.1.11-1" and "Driver Version: 535.183.01": from the first digit on. */
static char *version_in(const char *text, size_t len)
{
	size_t at = 0, n = 0;
	char *version;

	while (at < len && !isdigit((unsigned char)text[at]))
		at++;
	while (at + n < len && !isspace((unsigned char)text[at + n]))
		n++;
	version = n ? strndup(text + at, n) : NULL;
	if (version)
		make_printable(version);
	return version;
}

static int run(const struct driver *d, char **version)
{
	char *words = strdup(d->userspace), *rest = words, *word;
	char *argv[WORDS_MAX + 1] = { NULL };
	struct buf out = { 0 };
	size_t n = 0;
	int err;

	while (n < WORDS_MAX && (word = strsep(&rest, " \t")))
		if (*word)
			argv[n++] = word;
	err = words ? run_output(argv, SECONDS, TEXT_MAX, &out) : -ENOMEM;
	if (!err) {
		*version = version_in((char *)out.data, out.len);
		err = *version ? 0 : -EINVAL;
	}
	buf_free(&out);
	free(words);
	return err;
}

static int read_file(const char *path, char **version)
{
	const char *base = strrchr(path, '/');
	const char *so = base ? strstr(base, ".so.") : NULL;
	struct buf b = { 0 };
	int err;

	if (so) {
		*version = strdup(so + 4);
		return *version ? 0 : -ENOMEM;
	}
	err = file_read(path, TEXT_MAX, &b);
	if (!err) {
		*version = version_in((char *)b.data, b.len);
		err = *version ? 0 : -EINVAL;
	}
	buf_free(&b);
	return err;
}

int userspace_version(const struct host *h, const struct driver *d,
		      char **version)
{
	struct stat st;
	char *first, *path;
	bool program;
	int err = 0;

	*version = NULL;
	if (!d->userspace)
		return 0;
	first = strndup(d->userspace, strcspn(d->userspace, " \t"));
	path = first ? host_resolve(h, first) : NULL;
	program = path && !stat(path, &st) && S_ISREG(st.st_mode) &&
		  st.st_mode & S_IXUSR && !strstr(path, ".so.");
	if (!first)
		err = -ENOMEM;
	else if (path && program)
		/* An image's programs are not run. */
		err = host_is_live(h) ? run(d, version) : -EPERM;
	else if (path)
		err = read_file(path, version);
	free(first);
	free(path);
	return err;
}
