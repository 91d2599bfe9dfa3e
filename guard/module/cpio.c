// SPDX-License-Identifier: GPL-2.0-or-later
/* A reader of newc archives that takes hostile input in pieces. */
#include "guard/module/cpio.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HEADER 110
#define NAME_MAX_CPIO 4096
#define FILE_MAX (512u << 20)

enum part { PART_HEADER, PART_NAME, PART_DATA, PART_END };

struct cpio {
	struct cpio_reader reader;
	enum part part;
	uint64_t offset;	/* in this archive */
	uint64_t left;		/* of this part, with its padding */
	size_t have;
	unsigned char head[HEADER];
	char name[NAME_MAX_CPIO];
	uint32_t name_size, mode, links, size;
	struct buf content;	/* of a file that is wanted */
};

static void expect_header(struct cpio *c)
{
	c->part = PART_HEADER;
	c->left = HEADER;
	c->have = 0;
}

int cpio_new(const struct cpio_reader *reader, struct cpio **out)
{
	struct cpio *c = calloc(1, sizeof(*c));

	if (!c)
		return -ENOMEM;
	c->reader = *reader;
	c->part = PART_END;
	*out = c;
	return 0;
}

void cpio_free(struct cpio *c)
{
	if (!c)
		return;
	buf_free(&c->content);
	free(c);
}

bool cpio_ended(const struct cpio *c)
{
	return c->part == PART_END;
}

static int field(const struct cpio *c, int number, uint32_t *value)
{
	const unsigned char *p = c->head + 6 + 8 * number;

	*value = 0;
	for (int i = 0; i < 8; i++) {
		const char *digits = "0123456789abcdef";
		const char *at = strchr(digits, p[i] >= 'A' && p[i] <= 'F' ?
					p[i] + 32 : p[i]);

		if (!at || !p[i])
			return -EBADMSG;
		*value = *value << 4 | (at - digits);
	}
	return 0;
}

/* Bytes up to the next multiple of four. */
static uint64_t padding(const struct cpio *c, uint64_t length)
{
	return -(c->offset + length) & 3;
}

static int end_header(struct cpio *c)
{
	if (memcmp(c->head, "070701", 6) && memcmp(c->head, "070702", 6))
		return -EBADMSG;
	if (field(c, 1, &c->mode) || field(c, 4, &c->links) || field(c, 6, &c->size) ||
	    field(c, 11, &c->name_size))
		return -EBADMSG;
	if (!c->name_size || c->name_size > NAME_MAX_CPIO)
		return -EBADMSG;
	c->part = PART_NAME;
	c->have = 0;
	c->left = c->name_size + padding(c, c->name_size);
	return 0;
}

static int end_data(struct cpio *c)
{
	int err = 0;

	if (c->content.data && S_ISLNK(c->mode)) {
		/* keep() leaves room for one more. */
		c->content.data[c->content.len] = '\0';
		err = c->reader.link(c->reader.arg, c->name, (char *)c->content.data);
	} else if (c->content.data) {
		err = c->reader.found(c->reader.arg, c->name, &c->content);
	}
	buf_free(&c->content);
	expect_header(c);
	return err;
}

static bool is_kept(const struct cpio *c)
{
	return S_ISREG(c->mode) ||
	       (S_ISLNK(c->mode) && c->reader.link && c->size < NAME_MAX_CPIO);
}

static int end_name(struct cpio *c)
{
	if (c->name[c->name_size - 1])
		return -EBADMSG;
	if (!strcmp(c->name, "TRAILER!!!")) {
		c->part = PART_END;
		return 0;
	}
	c->part = PART_DATA;
	c->have = 0;
	c->left = c->size + padding(c, c->size);
	if (c->size && is_kept(c) && c->reader.want(c->reader.arg, c->name)) {
		if (c->size > FILE_MAX)
			return -EFBIG;
		/* A lie about the size costs no more than was sent. */
		c->content.len = 0;
		c->content.data = malloc(1);
		if (!c->content.data)
			return -ENOMEM;
	}
	if (!c->size && S_ISREG(c->mode) && c->reader.empty &&
	    c->reader.want(c->reader.arg, c->name)) {
		int err = c->reader.empty(c->reader.arg, c->name, c->links > 1);

		if (err)
			return err;
	}
	return c->left ? 0 : end_data(c);
}

static int keep(struct cpio *c, const unsigned char *p, size_t n)
{
	size_t room = c->size - c->content.len;
	unsigned char *bigger;

	if (!c->content.data)
		return 0;
	if (n > room)
		n = room;
	bigger = realloc(c->content.data, c->content.len + n + 1);
	if (!bigger)
		return -ENOMEM;
	memcpy(bigger + c->content.len, p, n);
	c->content.data = bigger;
	c->content.len += n;
	return 0;
}

static int take(struct cpio *c, const unsigned char *p, size_t n)
{
	size_t room = 0;

	if (c->part == PART_DATA)
		return keep(c, p, n);
	if (c->part == PART_HEADER) {
		memcpy(c->head + c->have, p, n);
	} else {
		room = c->have < c->name_size ? c->name_size - c->have : 0;
		memcpy(c->name + c->have, p, n < room ? n : room);
	}
	c->have += n;
	return 0;
}

int cpio_feed(struct cpio *c, const unsigned char *p, size_t n, size_t *used)
{
	size_t all = n;
	int err = 0;

	if (c->part == PART_END) {
		c->offset = 0;
		expect_header(c);
	}
	while (n && !err && c->part != PART_END) {
		size_t now = n < c->left ? n : c->left;

		err = take(c, p, now);
		p += now;
		n -= now;
		c->left -= now;
		c->offset += now;
		if (err || c->left)
			continue;
		if (c->part == PART_HEADER)
			err = end_header(c);
		else if (c->part == PART_NAME)
			err = end_name(c);
		else
			err = end_data(c);
	}
	*used = all - n;
	return err;
}
