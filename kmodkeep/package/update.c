// SPDX-License-Identifier: GPL-2.0-or-later
/* Preflight's questions about an update, for the host's package manager. */
#include "kmodkeep/package/update.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/tree.h"

/* Texts, and a host to speak of: nothing is done to a package. NULL: has said why. */
static const struct manager *begin(const struct host *h, struct transaction *x)
{
	*x = (struct transaction){ .h = h, .lock = -1 };
	if (host_has(h, "/usr/bin/apt-get"))
		x->manager = &manager_apt;
	else if (host_has(h, "/usr/bin/dnf"))
		x->manager = &manager_dnf;
	else
		complain(0, "preflight: neither apt nor dnf is here, so what "
			    "would be installed is not known");
	return x->manager;
}

static int end(struct transaction *x, int code)
{
	transaction_close(x);
	return code;
}

/* It becomes a part of paths, and of what a package manager is asked. */
static bool is_release(const char *s)
{
	return *s && *s != '-' && *s != '.' && strlen(s) < 128 &&
	       s[strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			   "0123456789.+~_-")] == '\0';
}

static int refuse(const char *kernel)
{
	return complain(EXIT_USAGE, "preflight: '%s' is no kernel release",
			kernel);
}

int update_manager(const struct host *h, char **words)
{
	struct transaction x;
	const struct manager *m = begin(h, &x);

	(void)words;
	if (m)
		printf("%s\n%s\n%s\n%s\n", m->name, m->programs,
		       m->radar_programs, m->keep_kernel(&x));
	return end(&x, m ? EXIT_YES : EXIT_UNSURE);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int update_candidates(const struct host *h, char **words)
{
	struct transaction x;
	struct words found = { 0 };
	const struct manager *m = begin(h, &x);
	bool known = m && m->candidates(&x, &found);

	(void)words;
	if (known && found.count)
		qsort(found.list, found.count, sizeof(*found.list), by_bytes);
	for (size_t i = 0; known && i < found.count; i++) {
		if (i && !strcmp(found.list[i], found.list[i - 1]))
			continue;
		/* One that is not understood is none the less installed. */
		if (!is_release(found.list[i]))
			known = complain(0, "preflight: %s would install the "
					 "kernel '%s', which is no release",
					 m->name, found.list[i]);
		else
			puts(found.list[i]);
	}
	words_free(&found);
	return end(&x, known ? EXIT_YES : EXIT_UNSURE);
}

int update_version(const struct host *h, char **words)
{
	struct transaction x;
	const struct manager *m;
	const char *version = NULL;

	if (!is_release(words[0]))
		return refuse(words[0]);
	m = begin(h, &x);
	if (m)
		version = m->version_of(&x, words[0]);
	if (version)
		puts(version);
	return end(&x, version ? EXIT_YES : EXIT_UNSURE);
}

/* Headers name each other by where they would be installed. */
static int move_names(struct transaction *x, const char *file, const char *root)
{
	static const char installed[] = "/usr/src/linux-";
	struct buf b;
	const char *data = "", *p, *next;
	int err = file_read(file, 1u << 20, &b);

	if (err)
		return err;
	p = text(x, "%.*s", (int)b.len, (char *)b.data);
	buf_free(&b);
	for (; (next = strstr(p, installed)); p = next + strlen(installed))
		data = text(x, "%s%.*s%s%s", data, (int)(next - p), p, root,
			    installed);
	data = text(x, "%s%s", data, p);
	return file_replace(file, data, strlen(data), 0644);
}

static bool move_all_names(struct transaction *x, const char *root)
{
	struct words all = entries_of(x, text(x, "%s/usr/src", root));
	bool good = true;

	for (size_t i = 0; i < all.count && good; i++) {
		const char *file = text(x, "%s/usr/src/%s/Makefile", root,
					all.list[i]);
		int err = is_file(file) ? move_names(x, file, root) : 0;

		if (err)
			complain_errno(err, file);
		good = !err;
	}
	words_free(&all);
	return good;
}

int update_headers(const struct host *h, char **words)
{
	const char *kernel = words[0], *dir = words[1], *where = NULL;
	struct transaction x;
	const struct manager *m;
	int err;

	if (!is_release(kernel))
		return refuse(kernel);
	m = begin(h, &x);
	err = m ? tree_make(dir) : 0;
	if (err)
		complain_errno(err, dir);
	else if (m)
		where = m->fetch_headers(&x, kernel, dir);
	if (where && !move_all_names(&x, text(&x, "%s/root", dir)))
		where = NULL;
	if (m)
		puts(where ? where : m->look_for_headers(&x, kernel));
	return end(&x, where ? EXIT_YES : EXIT_UNSURE);
}
