// SPDX-License-Identifier: GPL-2.0-or-later
/* Entries of the Boot Loader Specification, and the two orders that they have. */
#include "guard/boot/bls.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define ENTRIES_MAX 256
#define ENTRY_MAX (64u << 10)
#define VALUE_MAX ENTRY_MAX

/* The value of "key value" if the line is of that key. */
static char *value_of(const char *line, size_t len, const char *key)
{
	size_t n = strlen(key);
	char *value;

	while (len && (*line == ' ' || *line == '\t')) {
		line++;
		len--;
	}
	if (len <= n || memcmp(line, key, n) ||
	    (line[n] != ' ' && line[n] != '\t'))
		return NULL;
	while (n < len && (line[n] == ' ' || line[n] == '\t'))
		n++;
	while (len > n && strchr(" \t\r", line[len - 1]))
		len--;
	if (len - n > VALUE_MAX)
		len = n + VALUE_MAX;
	value = strndup(line + n, len - n);
	for (char *p = value; p && (p = strchr(p, '\t'));)
		*p = ' ';
	if (value)
		make_printable(value);
	return value;
}

char *bls_setting(const char *text, size_t len, const char *key)
{
	const char *end = text + len;
	char *found = NULL;

	/* The last line of a key counts. */
	while (text < end) {
		const char *newline = memchr(text, '\n', end - text);
		size_t n = (newline ? newline : end) - text;
		char *value = value_of(text, n, key);

		if (value) {
			free(found);
			found = value;
		}
		text += n + 1;
	}
	return found;
}

/* All lines of a key in one; malloc'ed, NULL if there is none. */
static char *all_of(const char *text, size_t len, const char *key)
{
	const char *end = text + len;
	char *all = NULL;

	while (text < end) {
		const char *newline = memchr(text, '\n', end - text);
		size_t n = (newline ? newline : end) - text;
		char *value = value_of(text, n, key);

		if (value && all) {
			char *more = text_of("%s %s", all, value);

			free(value);
			value = more;
		}
		if (value) {
			free(all);
			all = value;
		}
		text += n + 1;
	}
	return all;
}

/*
 * Counters of attempts: NAME+LEFT[-DONE].conf. Takes them out of the id, which
 * does not have them. True: no attempt is left.
 */
static bool take_counter(char *id)
{
	char *plus = strrchr(id, '+'), *end;
	unsigned long left;

	if (!plus || plus[1] < '0' || plus[1] > '9')
		return false;
	left = strtoul(plus + 1, &end, 10);
	if (*end == '-' && end[1] >= '0' && end[1] <= '9')
		strtoul(end + 1, &end, 10);
	if (strcmp(end, ".conf") && strcmp(end, ".efi"))
		return false;
	memmove(plus, end, strlen(end) + 1);
	return !left;
}

static void entry_free(struct bls_entry *e)
{
	free(e->file);
	free(e->id);
	free(e->efi);
	free(e->initrd);
	free(e->options);
	free(e->dir);
	free(e->title);
	free(e->version);
	free(e->sort_key);
	free(e->machine_id);
	free(e->image);
}

int bls_add(struct bls *b, const char *id, const char *text, size_t len)
{
	struct bls_entry *list, e = { 0 };

	/* One that is left out may be the default. */
	if (b->count == ENTRIES_MAX)
		return -EOVERFLOW;
	list = realloc(b->list, (b->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	b->list = list;
	e.file = strdup(id);
	e.id = strdup(id);
	if (!e.id || !e.file) {
		free(e.file);
		free(e.id);
		return -ENOMEM;
	}
	make_printable(e.file);
	make_printable(e.id);
	e.bad = take_counter(e.id);
	e.title = bls_setting(text, len, "title");
	e.version = bls_setting(text, len, "version");
	e.sort_key = bls_setting(text, len, "sort-key");
	e.machine_id = bls_setting(text, len, "machine-id");
	e.image = bls_setting(text, len, "linux");
	e.initrd = all_of(text, len, "initrd");
	e.options = all_of(text, len, "options");
	e.efi = e.image ? NULL : bls_setting(text, len, "uki");
	if (!e.image && !e.efi)
		e.efi = bls_setting(text, len, "efi");
	e.unified = e.efi || str_ends_with(id, ".efi");
	list[b->count++] = e;
	return 0;
}

static int is_entry(const struct dirent *e)
{
	return e->d_name[0] != '.' && (str_ends_with(e->d_name, ".conf") ||
				       str_ends_with(e->d_name, ".efi"));
}

int bls_read(struct bls *b, const char *dir)
{
	struct dirent **names;
	int err = 0, n = scandir(dir, &names, is_entry, alphasort);

	if (n < 0)
		return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		struct buf text = { 0 };
		char *path;

		if (err) {
			free(names[i]);
			continue;
		}
		if (asprintf(&path, "%s/%s", dir, name) < 0) {
			err = -ENOMEM;
		} else {
			if (str_ends_with(name, ".conf"))
				err = file_read(path, ENTRY_MAX, &text);
			free(path);
			if (!err)
				err = bls_add(b, name, (char *)text.data,
					      text.len);
			else if (err == -EFBIG || err == -EINVAL)
				err = 0; /* no loader takes it either */
			buf_free(&text);
		}
		free(names[i]);
	}
	free(names);
	return err;
}

void bls_free(struct bls *b)
{
	for (size_t i = 0; i < b->count; i++)
		entry_free(&b->list[i]);
	free(b->list);
	memset(b, 0, sizeof(*b));
}

/* Rank of a character that separates: what is smaller comes first. */
static int rank(char c)
{
	return c == '~' ? 0 : !c ? 1 : c == '-' ? 2 : c == '^' ? 3 : c == '.' ? 4 : 5;
}

static bool digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Compares the numbers at both, and goes behind them. */
static int compare_numbers(const char **a, const char **b)
{
	size_t n, m;
	int order;

	*a += strspn(*a, "0");
	*b += strspn(*b, "0");
	n = strspn(*a, "0123456789");
	m = strspn(*b, "0123456789");
	order = n != m ? (n < m ? -1 : 1) : strncmp(*a, *b, n);
	*a += n;
	*b += m;
	return order;
}

static size_t letters(const char *s)
{
	size_t n = 0;

	while (letter(s[n]))
		n++;
	return n;
}

/* Compares the letters at both, capitals first, and goes behind them. */
static int compare_letters(const char **a, const char **b)
{
	size_t n = letters(*a), m = letters(*b);
	int order = strncmp(*a, *b, n < m ? n : m);

	if (!order && n != m)
		order = n < m ? -1 : 1;
	*a += n;
	*b += m;
	return order;
}

int bls_version_compare(const char *a, const char *b)
{
	for (;;) {
		int order;

		while (*a && !digit(*a) && !letter(*a) && !strchr("-.~^", *a))
			a++;
		while (*b && !digit(*b) && !letter(*b) && !strchr("-.~^", *b))
			b++;
		order = rank(*a) - rank(*b);
		if (order || !*a)
			return order;
		if (rank(*a) < 5) {
			a++;
			b++;
			continue;
		}
		order = digit(*a) || digit(*b) ? compare_numbers(&a, &b) :
						 compare_letters(&a, &b);
		if (order)
			return order;
	}
}

/* As rpm compares a version or a release; n: how many characters count. */
static int rpm_compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	const char *a_end = a + a_len, *b_end = b + b_len;

	while (a < a_end || b < b_end) {
		bool number;
		const char *x, *y;
		int order;

		while (a < a_end && !digit(*a) && !letter(*a) && *a != '~')
			a++;
		while (b < b_end && !digit(*b) && !letter(*b) && *b != '~')
			b++;
		if ((a < a_end && *a == '~') || (b < b_end && *b == '~')) {
			if (a == a_end || *a != '~')
				return 1;
			if (b == b_end || *b != '~')
				return -1;
			a++;
			b++;
			continue;
		}
		if (a == a_end || b == b_end)
			break;
		number = digit(*a);
		x = a;
		y = b;
		while (a < a_end && (number ? digit(*a) : letter(*a)))
			a++;
		while (b < b_end && (number ? digit(*b) : letter(*b)))
			b++;
		/* A number is newer than a word. */
		if (y == b)
			return number ? 1 : -1;
		while (number && x < a && *x == '0')
			x++;
		while (number && y < b && *y == '0')
			y++;
		if (number && a - x != b - y)
			return a - x < b - y ? -1 : 1;
		order = memcmp(x, y, a - x < b - y ? a - x : b - y);
		if (!order && a - x != b - y)
			order = a - x < b - y ? -1 : 1;
		if (order)
			return order;
	}
	return (a < a_end) - (b < b_end);
}

/* The part of a name behind its last dash, which it ends at then. */
static const char *last_part(const char *name, size_t *len, size_t *part_len)
{
	size_t at = *len;

	while (at && name[at - 1] != '-')
		at--;
	*part_len = *len - at;
	*len = at ? at - 1 : 0;
	return name + at;
}

static int by_package(const void *x, const void *y)
{
	const char *a = ((const struct bls_entry *)x)->file;
	const char *b = ((const struct bls_entry *)y)->file;
	size_t n = strlen(a), m = strlen(b), release_n, release_m, version_n, version_m;
	const char *release_a, *release_b, *version_a, *version_b;
	int order;

	n -= str_ends_with(a, ".conf") ? strlen(".conf") : 0;
	m -= str_ends_with(b, ".conf") ? strlen(".conf") : 0;
	release_a = last_part(a, &n, &release_n);
	release_b = last_part(b, &m, &release_m);
	version_a = last_part(a, &n, &version_n);
	version_b = last_part(b, &m, &version_m);
	order = rpm_compare(a, n, b, m);
	if (!order)
		order = rpm_compare(version_a, version_n, version_b, version_m);
	if (!order)
		order = rpm_compare(release_a, release_n, release_b, release_m);
	return -order;
}

void bls_sort_grub(struct bls *b)
{
	if (b->count)
		qsort(b->list, b->count, sizeof(*b->list), by_package);
}

static int compare_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "");
}

static int in_menu_order(const void *x, const void *y)
{
	const struct bls_entry *a = x, *b = y;
	int order;

	if (a->bad != b->bad)
		return a->bad - b->bad;
	if (!a->sort_key != !b->sort_key)
		return !a->sort_key - !b->sort_key;
	if (a->sort_key) {
		order = compare_text(a->sort_key, b->sort_key);
		if (!order)
			order = compare_text(a->machine_id, b->machine_id);
		if (!order)
			order = -bls_version_compare(a->version ? a->version : "",
						 b->version ? b->version : "");
		if (order)
			return order;
	}
	return -bls_version_compare(a->id, b->id);
}

void bls_sort(struct bls *b)
{
	if (b->count)
		qsort(b->list, b->count, sizeof(*b->list), in_menu_order);
}

int bls_match(const struct bls *b, const char *pattern)
{
	for (size_t i = 0; i < b->count; i++)
		if (!fnmatch(pattern, b->list[i].id, FNM_CASEFOLD))
			return i;
	return -1;
}
