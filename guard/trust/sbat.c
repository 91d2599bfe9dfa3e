// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads the rows of programs and of levels, and compares them. */
#include "guard/trust/sbat.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SECTION_COLUMNS 6
#define LEVEL_COLUMNS 3		/* the date is the third, in the first row */
#define LEVEL_NEEDED 2

struct column {
	const char *text;
	size_t len;
};

struct row {
	struct column columns[SECTION_COLUMNS];
	int count;
	bool empty;		/* one of the columns is */
};

/* Where the rows begin. */
static size_t first_row(const struct buf *b)
{
	return b->len >= 3 && !memcmp(b->data, "\xef\xbb\xbf", 3) ? 3 : 0;
}

static bool ends_row(char c)
{
	return c == '\r' || c == '\n';
}

/* Columns after the last that is wanted are not looked at. */
static void split(const char *p, const char *end, int most, struct row *r)
{
	memset(r, 0, sizeof(*r));
	for (bool more = true; more && r->count < most; p++) {
		const char *comma = memchr(p, ',', end - p);
		struct column *c = &r->columns[r->count++];

		c->text = p;
		c->len = (comma ? comma : end) - p;
		r->empty |= !c->len;
		more = comma;
		p += c->len;
	}
	/* Without a comma it is no column either. */
	if (r->count == 1 && r->columns[0].text + r->columns[0].len == end)
		r->count = 0;
}

/* false: there are no more. A NUL ends all, but for one directly after two ends of rows. */
static bool next_row(const struct buf *b, size_t *at, int most, struct row *r)
{
	const char *data = (const char *)b->data;
	size_t start;

	while (*at < b->len && data[*at]) {
		while (*at < b->len && ends_row(data[*at]))
			(*at)++;
		start = *at;
		while (*at < b->len && data[*at] && !ends_row(data[*at]))
			(*at)++;
		if (*at > start) {
			split(data + start, data + *at, most, r);
			*at = *at < b->len && data[*at] ? *at + 1 : b->len;
			return true;
		}
		(*at)++;
	}
	return false;
}

/* As atoi() of shim; -1: more than it compares, which are 16 bits. */
static long generation(const struct column *c)
{
	size_t i = 0;
	long n = 0;

	while (i < c->len && (c->text[i] == ' ' || c->text[i] == '\t'))
		i++;
	for (; i < c->len && c->text[i] >= '0' && c->text[i] <= '9'; i++) {
		n = n * 10 + (c->text[i] - '0');
		if (n > UINT16_MAX)
			return -1;
	}
	return n;
}

bool sbat_level_valid(const struct buf *level)
{
	size_t at = first_row(level), rows = 0;
	struct row r;

	for (; next_row(level, &at, LEVEL_COLUMNS, &r); rows++)
		if (r.count < LEVEL_NEEDED || r.empty || generation(&r.columns[1]) < 0)
			return false;
	/* Without rows shim would compare nothing: nobody makes such a level. */
	return rows && level->len <= SBAT_MAX;
}

/* 0, or as sbat_compare(). */
static int check_section(const struct buf *section)
{
	size_t at = first_row(section), rows = 0;
	bool beyond = false;
	struct row r;

	if (section->len > SBAT_MAX)
		return -ERANGE;
	for (; next_row(section, &at, SECTION_COLUMNS, &r); rows++) {
		if (r.count < SECTION_COLUMNS || r.empty)
			return -EBADMSG;
		beyond |= generation(&r.columns[1]) < 0;
	}
	return rows && !beyond ? 0 : -ERANGE;
}

/* What the level asks of a component, by its first row about it; -1: nothing. */
static long asked_of(const struct buf *level, const struct column *name)
{
	size_t at = first_row(level);
	struct row r;

	while (next_row(level, &at, LEVEL_COLUMNS, &r))
		if (r.columns[0].len == name->len &&
		    !memcmp(r.columns[0].text, name->text, name->len))
			return generation(&r.columns[1]);
	return -1;
}

int sbat_compare(const struct buf *section, const struct buf *level, struct sbat_refusal *out)
{
	size_t at = first_row(section);
	struct row r;
	int err;

	memset(out, 0, sizeof(*out));
	if (!sbat_level_valid(level))
		return -EINVAL;
	err = check_section(section);
	if (err)
		return err;
	while (next_row(section, &at, SECTION_COLUMNS, &r)) {
		long has = generation(&r.columns[1]), needs = asked_of(level, &r.columns[0]);

		if (has >= needs)
			continue;
		snprintf(out->name, sizeof(out->name), "%.*s",
			 (int)(r.columns[0].len < sizeof(out->name) ? r.columns[0].len :
			       sizeof(out->name) - 1), r.columns[0].text);
		make_printable(out->name);
		out->has = has;
		out->needs = needs;
		return 1;
	}
	return 0;
}

/* ---- which level holds ---- */

#define ORIGINAL "sbat,1,2021030218\n"	/* the first there was */
#define DATE_LEN 10

/* A column of the first row, up to the end of all: shim looks no further. */
static const char *field(const struct buf *b, int number, size_t *left)
{
	size_t i = 0;

	for (; i < b->len && b->data[i] && number; i++)
		number -= b->data[i] == ',';
	*left = b->len - i;
	return (const char *)b->data + i;
}

/* strncmp() of what may end before. */
static int compare(const char *a, size_t a_len, const char *b, size_t b_len, size_t most)
{
	for (size_t i = 0; i < most; i++) {
		unsigned char x = i < a_len ? a[i] : 0, y = i < b_len ? b[i] : 0;

		if (x != y || !x)
			return x - y;
	}
	return 0;
}

bool sbat_level_kept(const struct buf *held, const struct buf *candidate)
{
	size_t v, w, d, e;
	const char *version = field(held, 1, &v), *date = field(held, 2, &d);
	const char *new_version = field(candidate, 1, &w), *new_date = field(candidate, 2, &e);
	size_t len = v - d, new_len = w - e;

	if (held->len < strlen(ORIGINAL) || memcmp(held->data, "sbat,", 5))
		return false;
	if (len > new_len ||
	    (len == new_len && compare(version, v, new_version, w, new_len) > 0))
		return true;
	return compare(date, d, new_date, e, DATE_LEN) >= 0;
}

void sbat_level_date(const struct buf *level, char date[16])
{
	size_t left, len = 0;
	const char *from = field(level, 2, &left);

	while (len < left && len < DATE_LEN && from[len] >= '0' && from[len] <= '9')
		len++;
	snprintf(date, 16, "%.*s", len ? (int)len : 1, len ? from : "?");
}

/* ---- what shim brings ---- */

#define FORMAT_LEN 4	/* a number before the header */
#define HEADER_LEN 8	/* two places, from its start */

static uint32_t le32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static bool level_at(const struct buf *section, uint32_t at, struct buf *out)
{
	size_t left = section->len - FORMAT_LEN;
	const unsigned char *end;

	if (at < HEADER_LEN || at >= left)
		return false;
	out->data = section->data + FORMAT_LEN + at;
	end = memchr(out->data, 0, left - at);
	out->len = end ? (size_t)(end - out->data) : 0;
	return end && sbat_level_valid(out);
}

int sbat_levels_of(const struct buf *section, struct buf *automatic, struct buf *latest)
{
	const unsigned char *p = section->data;

	if (section->len < FORMAT_LEN + HEADER_LEN || le32(p) != 0 ||
	    !level_at(section, le32(p + FORMAT_LEN), automatic) ||
	    !level_at(section, le32(p + FORMAT_LEN + 4), latest))
		return -EBADMSG;
	return 0;
}
