// SPDX-License-Identifier: GPL-2.0-only
#include "guard/boot/bls.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/kernels.h"

#define ENTRIES_MAX 256
#define ENTRY_MAX (64u << 10)
#define VALUE_MAX 1024

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

/* Counters of attempts: NAME+LEFT[-DONE].conf. */
static bool used_up(const char *id)
{
	const char *plus = strrchr(id, '+');
	char *end;

	if (!plus || plus[1] < '0' || plus[1] > '9')
		return false;
	return strtoul(plus + 1, &end, 10) == 0 && (*end == '-' || *end == '.');
}

static void entry_free(struct bls_entry *e)
{
	free(e->id);
	free(e->title);
	free(e->version);
	free(e->sort_key);
	free(e->machine_id);
	free(e->image);
}

int bls_add(struct bls *b, const char *id, const char *text, size_t len)
{
	struct bls_entry *list, e = { 0 };
	char *efi;

	if (b->count == ENTRIES_MAX)
		return 0;
	list = realloc(b->list, (b->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	b->list = list;
	e.id = strdup(id);
	if (!e.id)
		return -ENOMEM;
	make_printable(e.id);
	e.title = bls_setting(text, len, "title");
	e.version = bls_setting(text, len, "version");
	e.sort_key = bls_setting(text, len, "sort-key");
	e.machine_id = bls_setting(text, len, "machine-id");
	e.image = bls_setting(text, len, "linux");
	efi = e.image ? NULL : bls_setting(text, len, "efi");
	e.unified = efi || str_ends_with(id, ".efi");
	free(efi);
	e.bad = used_up(id);
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
			order = -release_compare(a->version ? a->version : "",
						 b->version ? b->version : "");
		if (order)
			return order;
	}
	return -release_compare(a->id, b->id);
}

void bls_sort(struct bls *b)
{
	if (b->count)
		qsort(b->list, b->count, sizeof(*b->list), in_menu_order);
}

static int by_name(const void *x, const void *y)
{
	return -release_compare(((const struct bls_entry *)x)->id,
				((const struct bls_entry *)y)->id);
}

void bls_sort_grub(struct bls *b)
{
	if (b->count)
		qsort(b->list, b->count, sizeof(*b->list), by_name);
}

int bls_match(const struct bls *b, const char *pattern)
{
	for (size_t i = 0; i < b->count; i++) {
		const char *id = b->list[i].id;
		size_t n = strlen(pattern);

		if (!fnmatch(pattern, id, FNM_CASEFOLD))
			return i;
		/* The ending may be left out. */
		if (!strncmp(id, pattern, n) &&
		    (!strcmp(id + n, ".conf") || !strcmp(id + n, ".efi")))
			return i;
	}
	return -1;
}
