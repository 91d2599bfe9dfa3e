// SPDX-License-Identifier: GPL-2.0-or-later
/* Gathers what modprobe of an initramfs is told, from the files of its archives. */
#include "guard/module/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/module/modfile.h"
#include "guard/module/own.h"

/* Of all settings together; those of a host have 100 KiB. */
#define BYTES_MAX (4u << 20)
#define FILES_MAX 4096
#define GONE_MAX (256u << 10)
#define OTHERS_MAX (128u << 10)
#define LINKS_MAX 8
#define INDEX "modules.dep.bin"

struct inside_file {
	char *path;
	struct buf content;	/* of a link: where it leads */
	bool link;
};

/* As modprobe.d(5): of one name the first counts, and the names are sorted. */
static const char *const config_dirs[] = {
	"etc/modprobe.d/", "run/modprobe.d/", "usr/local/lib/modprobe.d/",
	"usr/lib/modprobe.d/", "lib/modprobe.d/",
};
/* Of initramfs-tools: modprobe is told each name. systemd minds a blacklist. */
static const char *const forced_dirs[] = { "conf/modules" };
/* Of dracut, which has a command line of its own, before that of the kernel. */
static const char *const cmdline_dirs[] = { "etc/cmdline", "etc/cmdline.d/" };
#define DRACUT "/dracut-lib.sh"
/* A file system in a file, where dracut puts all of an initramfs in one. */
static const char *const packed[] = {
	"squash-root.img", "squash/root.img", "squashfs-root.img", "erofs-root.img",
};

static const char *plain(const char *path)
{
	while (*path == '/' || !strncmp(path, "./", 2))
		path += *path == '/' ? 1 : 2;
	return path;
}

/* libkmod reads both, and no file that is hidden. */
static bool is_setting(const char *name)
{
	return *name != '.' && (str_ends_with(name, ".conf") || str_ends_with(name, ".alias"));
}

static bool is_packed(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(packed); i++)
		if (!strcmp(path, packed[i]))
			return true;
	return false;
}

/* The name of a file right in one of those folders; NULL: it is in none. */
static const char *name_in(const char *path, const char *const *dirs, size_t n, size_t *which)
{
	for (size_t i = 0; i < n; i++) {
		size_t len = strlen(dirs[i]);

		*which = i;
		if (!strncmp(path, dirs[i], len) && !strchr(path + len, '/') &&
		    (!path[len] || is_setting(path + len)))
			return path + len;
	}
	return NULL;
}

static bool is_index(const char *path, const char *release)
{
	const char *of = strstr(path, "lib/modules/");
	size_t n = strlen(release);

	of = of ? of + strlen("lib/modules/") : "";
	return !strncmp(of, release, n) && of[n] == '/' && !strcmp(of + n + 1, INDEX);
}

bool inside_wants(const char *path, const char *release)
{
	path = plain(path);
	/* What a link in such a folder leads to may be anywhere; and a folder may be a link. */
	return str_ends_with(path, ".conf") || str_ends_with(path, ".alias") ||
	       !strcmp(path, "conf/modules") || !strcmp(path, "etc/cmdline") ||
	       str_ends_with(path, "/modprobe.d") || str_ends_with(path, DRACUT) ||
	       is_packed(path) || is_index(path, release);
}

static int note(struct inside *in, const char *what)
{
	if (in->unsure)
		return 0;
	in->unsure = strdup(what);
	if (!in->unsure)
		return -ENOMEM;
	make_printable(in->unsure);
	return 0;
}

static struct inside_file *find(const struct inside *in, const char *path)
{
	for (size_t i = 0; i < in->count; i++)
		if (!strcmp(in->files[i].path, path))
			return &in->files[i];
	return NULL;
}

/* The place of a file, made empty; NULL: there is no memory. */
static struct inside_file *place_for(struct inside *in, const char *path)
{
	struct inside_file *f = find(in, path), *more;

	if (f) {
		in->bytes -= f->content.len;
		buf_free(&f->content);
		f->link = false;
		return f;
	}
	more = realloc(in->files, (in->count + 1) * sizeof(*more));
	if (!more)
		return NULL;
	in->files = more;
	f = &more[in->count];
	*f = (struct inside_file){ .path = strdup(path) };
	if (!f->path)
		return NULL;
	in->count++;
	return f;
}

static int put(struct inside *in, const char *path, const void *data, size_t n, bool link)
{
	struct inside_file *f;

	path = plain(path);
	if (in->count == FILES_MAX || in->bytes + n > BYTES_MAX)
		return note(in, path);
	f = place_for(in, path);
	if (!f)
		return -ENOMEM;
	f->link = link;
	f->content = (struct buf){ malloc(n + 1), n };
	if (!f->content.data) {
		f->content.len = 0;
		return -ENOMEM;
	}
	if (n)
		memcpy(f->content.data, data, n);
	f->content.data[n] = '\0';
	in->bytes += n;
	return 0;
}

int inside_take(struct inside *in, const char *path, struct buf *content)
{
	int err;

	in->dracut |= str_ends_with(path, DRACUT);
	if (str_ends_with(path, "/" INDEX)) {
		buf_free(&in->index);
		in->index = *content;
		in->indexed = true;
		memset(content, 0, sizeof(*content));
		return 0;
	}
	err = is_packed(plain(path)) ? note(in, path) :
	      put(in, path, content->data, content->len, false);
	buf_free(content);
	return err;
}

int inside_take_link(struct inside *in, const char *path, const char *target)
{
	/* The folder itself is another one then. */
	return str_ends_with(path, "/modprobe.d") ? note(in, path) :
	       put(in, path, target, strlen(target), true);
}

int inside_take_empty(struct inside *in, const char *path, bool elsewhere)
{
	size_t which;

	path = plain(path);
	if (elsewhere && name_in(path, config_dirs, ARRAY_SIZE(config_dirs), &which))
		return note(in, path);
	return elsewhere ? 0 : put(in, path, NULL, 0, false);
}

/* ---- modules ---- */

/* Adds a line to a text. 0 or -ENOMEM. */
static int add_line(char **text, const char *line)
{
	char *more = text_of("%s%s\n", *text ? *text : "", line);

	if (!more)
		return -ENOMEM;
	free(*text);
	*text = more;
	return 0;
}

struct alias_of {
	struct inside *in;
	const char *module;
};

static int take_alias(void *arg, const char *alias)
{
	const struct alias_of *of = arg;
	struct inside *in = of->in;
	char *line;
	int err;

	if (in->gone && strlen(in->gone) > GONE_MAX)
		return note(in, of->module) ? -ENOMEM : 1;
	line = strchr(alias, '\n') ? NULL : text_of("%s %s", of->module, alias);
	err = line ? add_line(&in->gone, line) : 0;
	free(line);
	return err;
}

/* Nothing but the initramfs says then which devices it is for. */
static int take_gone(struct inside *in, const char *path, const struct buf *content)
{
	const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
	struct buf raw = { malloc(content->len + 1), content->len };
	char *name = strndup(base, strcspn(base, "."));
	struct alias_of of = { in, name };
	struct modfile m = { 0 };
	int err = raw.data && name ? 0 : -ENOMEM;

	for (char *p = name; p && *p; p++)
		*p = *p == '-' ? '_' : *p;
	if (err) {
		buf_free(&raw);
	} else {
		memcpy(raw.data, content->data, content->len);
		err = modfile_take(&raw, &m);
		if (!err)
			err = modinfo_aliases(m.bytes.data, m.bytes.len, take_alias, &of);
		/* What is damaged is not loaded. */
		err = err == -ENOMEM ? err : err == -EFBIG ? note(in, path) : 0;
		modfile_free(&m);
	}
	free(name);
	return err;
}

int inside_take_module(struct inside *in, const char *folder, const char *path,
		       const struct buf *content)
{
	int err = 0;

	if (strchr(path, '\n') || strstr(path, ".."))
		return note(in, path);
	if (strncmp(path, "kernel/", 7)) {
		if (in->others && strlen(in->others) > OTHERS_MAX)
			return note(in, path);
		err = add_line(&in->others, path);
	}
	return err || !content || own_module_there(folder, path) ? err :
	       take_gone(in, path, content);
}

bool inside_lists(const struct inside *in, const char *path)
{
	const unsigned char *from = in->index.data, *at;
	size_t left = in->index.len, n;
	char *entry = from ? text_of("%s:", path) : NULL;
	bool lists = false;

	n = entry ? strlen(entry) : 0;
	/*
	 * Its lines are in it as they are in the text, behind the number of their place: four
	 * bytes, big-endian, of which the last may be any, also a slash. No index has 65536.
	 */
	while (n && !lists && (at = memmem(from, left, entry, n))) {
		lists = at - in->index.data >= 4 && !at[-4] && !at[-3];
		left -= at + 1 - from;
		from = at + 1;
	}
	free(entry);
	return lists;
}

/* ---- the settings ---- */

/* Where a link leads to, from the top of the archive; malloc'ed, NULL: out of it. */
static char *target_of(const struct inside_file *f)
{
	const char *to = (const char *)f->content.data;
	const char *slash = strrchr(f->path, '/');
	char *all = *to == '/' ? strdup(to) :
		    text_of("%.*s/%s", (int)(slash ? slash - f->path : 0), f->path, to);
	char *out = all ? calloc(strlen(all) + 2, 1) : NULL, *rest = all, *word;

	while (out && (word = strsep(&rest, "/"))) {
		char *last = strrchr(out, '/');

		if (!*word || !strcmp(word, "."))
			continue;
		if (!strcmp(word, ".."))
			*(last ? last : out) = '\0';
		else
			strcat(strcat(out, *out ? "/" : ""), word);
	}
	free(all);
	return out;
}

/* By its path, or by that where lib is in usr. */
static const struct inside_file *find_merged(const struct inside *in, const char *path)
{
	const struct inside_file *f = find(in, path);
	char *merged;

	if (f || strncmp(path, "lib/", 4))
		return f;
	merged = text_of("usr/%s", path);
	f = merged ? find(in, merged) : NULL;
	free(merged);
	return f;
}

/* The file that a name stands for. -ENOENT: what it leads to is not in the archive; -ENOMEM. */
static int resolve(const struct inside *in, const struct inside_file *f,
		   const struct inside_file **out)
{
	static const struct inside_file nothing;

	for (int i = 0; f && f->link && i < LINKS_MAX; i++) {
		char *to = target_of(f);
		bool null = to && !strcmp(to, "dev/null");

		if (!to)
			return -ENOMEM;
		f = null ? &nothing : find_merged(in, to);
		free(to);
	}
	*out = f;
	return f && !f->link ? 0 : -ENOENT;
}

static const char *base_of(const struct inside_file *f)
{
	const char *slash = strrchr(f->path, '/');

	return slash ? slash + 1 : f->path;
}

struct entry {
	const struct inside_file *file;
	size_t rank;
};

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;
	int order = strcmp(base_of(x->file), base_of(y->file));

	return order ? order : x->rank < y->rank ? -1 : x->rank > y->rank;
}

static int add_text(struct inside *in, char **to, const struct inside_file *f)
{
	const struct inside_file *real;
	int err = resolve(in, f, &real);
	char *more;

	if (err == -ENOENT)
		return add_line(&in->dangling, f->path);
	if (err || (real->content.len && memchr(real->content.data, '\0', real->content.len)))
		return err == -ENOMEM ? err : note(in, f->path);
	/* Two: the last line of a file does not go on in the next one. */
	more = text_of("%s%.*s\n\n", *to ? *to : "", (int)real->content.len,
		       real->content.data ? (const char *)real->content.data : "");
	if (!more)
		return -ENOMEM;
	free(*to);
	*to = more;
	return 0;
}

/* What those folders say together, as one text. */
static int merge(struct inside *in, const char *const *dirs, size_t n, char **to)
{
	struct entry *list = calloc(in->count + 1, sizeof(*list));
	size_t count = 0;
	int err = list ? 0 : -ENOMEM;

	for (size_t i = 0; i < in->count && list; i++)
		if (name_in(in->files[i].path, dirs, n, &list[count].rank))
			list[count++].file = &in->files[i];
	if (count)
		qsort(list, count, sizeof(*list), compare);
	for (size_t i = 0; i < count && !err; i++)
		if (!i || strcmp(base_of(list[i].file), base_of(list[i - 1].file)))
			err = add_text(in, to, list[i].file);
	free(list);
	return err;
}

static void free_files(struct inside *in)
{
	for (size_t i = 0; i < in->count; i++) {
		free(in->files[i].path);
		buf_free(&in->files[i].content);
	}
	free(in->files);
	buf_free(&in->index);
	in->files = NULL;
	in->count = in->bytes = 0;
}

int inside_end(struct inside *in)
{
	int err = merge(in, config_dirs, ARRAY_SIZE(config_dirs), &in->config);

	if (!err)
		err = merge(in, forced_dirs, ARRAY_SIZE(forced_dirs), &in->forced);
	if (!err)
		err = merge(in, cmdline_dirs, ARRAY_SIZE(cmdline_dirs), &in->cmdline);
	for (char *p = in->cmdline; p && *p; p++)
		*p = *p == '\n' ? ' ' : *p;
	free_files(in);
	return err;
}

void inside_free(struct inside *in)
{
	free_files(in);
	free(in->config);
	free(in->others);
	free(in->gone);
	free(in->forced);
	free(in->cmdline);
	free(in->unsure);
	free(in->dangling);
	memset(in, 0, sizeof(*in));
}
