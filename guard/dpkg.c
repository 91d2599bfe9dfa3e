// SPDX-License-Identifier: GPL-2.0-only
#include "dpkg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define STATUS_MAX (256u << 20)
#define PACKAGES_MAX 100

static const char *const unfinished[] = {
	"half-configured", "half-installed", "unpacked", "triggers-awaited",
	"triggers-pending",
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

/* One paragraph: its Package and Status lines. */
struct paragraph {
	const char *name, *status;
	size_t name_len, status_len;
};

static const char *state_of(const struct paragraph *p)
{
	/* "want flag state" */
	const char *state = p->status, *end = p->status + p->status_len;

	for (int i = 0; i < 2 && state; i++) {
		state = memchr(state, ' ', end - state);
		state = state ? state + 1 : NULL;
	}
	if (!state)
		return NULL;
	for (size_t i = 0; i < ARRAY_SIZE(unfinished); i++)
		if ((size_t)(end - state) == strlen(unfinished[i]) &&
		    !memcmp(state, unfinished[i], end - state))
			return unfinished[i];
	return NULL;
}

static int take(struct packages *out, const struct paragraph *p)
{
	const char *state = p->name && p->status ? state_of(p) : NULL;
	const char *kind = state ? kind_of(p->name, p->name_len) : NULL;
	struct package *list, *one;

	/* Triggers that wait are no trouble of a kernel. */
	if (!kind || !strncmp(state, "triggers-", 9) ||
	    out->count == PACKAGES_MAX)
		return 0;
	list = realloc(out->list, (out->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	out->list = list;
	one = &list[out->count++];
	one->name = strndup(p->name, p->name_len);
	one->state = strdup(state);
	one->why = strdup(kind);
	if (!one->name || !one->state || !one->why)
		return -ENOMEM;
	make_printable(one->name);
	return 0;
}

static void take_line(struct paragraph *p, const char *line, size_t len)
{
	if (len > 9 && !memcmp(line, "Package: ", 9)) {
		p->name = line + 9;
		p->name_len = len - 9;
	} else if (len > 8 && !memcmp(line, "Status: ", 8)) {
		p->status = line + 8;
		p->status_len = len - 8;
	}
}

int dpkg_parse(const struct buf *status, struct packages *out)
{
	const char *p = (const char *)status->data, *end = p + status->len;
	struct paragraph now = { 0 };
	int err = 0;

	memset(out, 0, sizeof(*out));
	while (p < end && !err) {
		const char *newline = memchr(p, '\n', end - p);
		size_t len = (newline ? newline : end) - p;

		if (!len) {
			err = take(out, &now);
			memset(&now, 0, sizeof(now));
		} else {
			take_line(&now, p, len);
		}
		p += len + 1;
	}
	if (!err)
		err = take(out, &now);
	if (err)
		packages_free(out);
	return err;
}

int dpkg_unfinished(const struct host *h, struct packages *out)
{
	char *path = host_path(h, "/var/lib/dpkg/status");
	struct buf status = { 0 };
	int err;

	memset(out, 0, sizeof(*out));
	if (!path)
		return -ENOMEM;
	err = file_read(path, STATUS_MAX, &status);
	free(path);
	if (!err)
		err = dpkg_parse(&status, out);
	else if (err != -ENOMEM)
		err = 0;
	buf_free(&status);
	return err;
}
