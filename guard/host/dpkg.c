// SPDX-License-Identifier: GPL-2.0-or-later
/* Asks dpkg which packages were left half-way. */
#include "guard/host/dpkg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/run.h"
#include "guard/base/say.h"

#define LISTING_MAX (64u << 20)
#define PACKAGES_MAX 100
#define QUERY_SECONDS 60

static const char *const unfinished[] = {
	"half-configured", "half-installed", "unpacked",
};

void packages_free(struct packages *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->list[i].name);
		free(p->list[i].state);
		free(p->list[i].why);
	}
	free(p->list);
	memset(p, 0, sizeof(*p));
}

/* What one kind of package is to a driver; NULL: nothing. */
static const char *kind_of(const char *name, size_t len)
{
	static const char *const kernels[] = {
		"linux-image-", "linux-headers-", "linux-modules-",
		"linux-binary-", "linux-base-",
	};

	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++)
		if (len > strlen(kernels[i]) &&
		    !memcmp(name, kernels[i], strlen(kernels[i])))
			return "kernel";
	if (len > 5 && !memcmp(name + len - 5, "-dkms", 5))
		return "driver";
	return NULL;
}

static const char *state_of(const char *text, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(unfinished); i++)
		if (len == strlen(unfinished[i]) &&
		    !memcmp(text, unfinished[i], len))
			return unfinished[i];
	return NULL;
}

static int take(struct packages *out, const char *line, size_t len)
{
	const char *tab = memchr(line, '\t', len);
	size_t name_len = tab ? (size_t)(tab - line) : 0;
	const char *state = tab ? state_of(tab + 1, len - name_len - 1) : NULL;
	const char *kind = state ? kind_of(line, name_len) : NULL;
	struct package *list, *one;

	if (!kind || out->count == PACKAGES_MAX)
		return 0;
	list = realloc(out->list, (out->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	out->list = list;
	one = &list[out->count++];
	one->name = strndup(line, name_len);
	one->state = strdup(state);
	one->why = strdup(kind);
	if (!one->name || !one->state || !one->why)
		return -ENOMEM;
	make_printable(one->name);
	return 0;
}

int dpkg_parse(const struct buf *listing, struct packages *out)
{
	const char *p = (const char *)listing->data, *end = p + listing->len;
	int err = 0;

	memset(out, 0, sizeof(*out));
	while (p < end && !err) {
		const char *newline = memchr(p, '\n', end - p);
		size_t len = (newline ? newline : end) - p;

		err = take(out, p, len);
		p += len + 1;
	}
	if (err)
		packages_free(out);
	return err;
}

int dpkg_unfinished(const struct host *h, struct packages *out)
{
	char *root = text_of("--root=%s", host_root(h));
	/* An option only where it is needed: dpkg of Debian 11 lacks it. */
	char *argv[] = {
		(char *)"dpkg-query", (char *)"-W",
		(char *)"--showformat=${Package}\\t${db:Status-Status}\\n",
		host_is_live(h) ? NULL : root, NULL,
	};
	struct buf listing = { 0 };
	int err;

	memset(out, 0, sizeof(*out));
	if (!root)
		return -ENOMEM;
	err = run_output(argv, QUERY_SECONDS, LISTING_MAX, &listing);
	free(root);
	/* Without dpkg, or packages, there is nothing unfinished. */
	if (!err)
		err = dpkg_parse(&listing, out);
	else if (err == -ETIMEDOUT)
		complain(0, "dpkg-query did not end within %d seconds, so it "
			 "is not known which packages are unfinished. Next: "
			 "run dpkg-query -W, and see what it waits for",
			 QUERY_SECONDS);
	else if (err != -ENOMEM)
		err = 0;
	buf_free(&listing);
	return err;
}
