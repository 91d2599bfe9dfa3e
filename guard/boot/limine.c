// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Limine: limine.conf with "/Entry" and "key: value", and limine.cfg of versions before 8
 * with ":Entry" and "KEY=value". A tree of entries, of which a number counts those that
 * are to be seen, and a path names one.
 */
#include "guard/boot/limine.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "guard/base/util.h"
#include "guard/boot/loader.h"
#include "guard/host/bootfile.h"
#include "guard/host/mounts.h"

#define CONF_MAX (1u << 20)
#define MACROS_MAX 64
#define VALUE_MAX 8192

/* Where the partition with it may be mounted, and where it lies there. */
static const char *const partitions[] = { "/boot/efi", "/efi", "/boot", NULL };
static const char *const tops[] = { "/boot/efi", "/efi", "/boot", "" };
static const char *const names[] = {
	"/EFI/limine/limine.conf", "/EFI/BOOT/limine.conf", "/limine/limine.conf",
	"/limine.conf", "/EFI/limine/limine.cfg", "/EFI/BOOT/limine.cfg",
	"/limine/limine.cfg", "/limine.cfg",
};

void limine_free(struct limine *x)
{
	labels_free(&x->labels);
	for (size_t i = 0; i < x->macro_count; i++) {
		free(x->macros[i].name);
		free(x->macros[i].value);
	}
	free(x->macros);
	free(x->depths);
	free(x->open);
	free(x->chosen);
}

/* "boot():/x", "boot:///x" of old, "guid(ID):/x", "guid://ID/x": what is in the middle, and /x. */
static const char *split(const char *name, char id[64])
{
	const char *from = name + strcspn(name, "(:"), *path;
	size_t n;

	if (*from == '(') {
		path = strstr(from, "):/");
		n = path ? path - from - 1 : 0;
		from++;
		path = path ? path + 2 : NULL;
	} else {
		if (strncmp(from, "://", 3))
			return NULL;
		from += 3;
		path = strchr(from, '/');
		n = path ? path - from : 0;
	}
	if (!path || n >= 64)
		return NULL;
	memcpy(id, from, n);
	id[n] = '\0';
	return path;
}

/* Limine stops where a file has not the BLAKE2b that is written behind its name. */
static bool has_hash(const char *file, const char *hash)
{
	unsigned char bytes[1 << 14], digest[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	FILE *f = fopen(file, "re");
	unsigned int len = 0;
	bool good = c && f && EVP_DigestInit_ex(c, EVP_blake2b512(), NULL) == 1;
	size_t n;

	while (good && (n = fread(bytes, 1, sizeof(bytes), f)))
		good = EVP_DigestUpdate(c, bytes, n) == 1;
	good = good && !ferror(f) && EVP_DigestFinal_ex(c, digest, &len) == 1;
	if (good)
		hex_encode(digest, len, hex);
	if (f)
		fclose(f);
	EVP_MD_CTX_free(c);
	return good && !strcasecmp(hex, hash);
}

/* Files of one name that are not the same: which of them it is cannot be told. */
static char *only_one(const struct host *h, const char *const *places, const char *path, size_t n)
{
	char *found = NULL;

	for (; *places; places++) {
		char *rel = text_of("%s%.*s", *places, (int)n, path);
		char *file = rel && host_has(h, rel) ? host_path(h, rel) : NULL;

		free(rel);
		if (file && found && !boot_file_same_bytes(found, file)) {
			free(found);
			free(file);
			return NULL;
		}
		if (file) {
			free(found);
			found = file;
		}
	}
	return found;
}

/* A file in the partition of the configuration, or in one that is named. */
static char *named_file(const struct labels *l, const char *name)
{
	/* It may be a folder of the root file system, or a partition that is mounted there. */
	static const char *const boot[] = { "/boot", "", NULL };
	const char *only[] = { NULL, NULL }, *path;
	char id[64], *mount = NULL, *found = NULL;
	size_t n;

	path = *name == '$' ? NULL : split(name, id);
	if (!path || strstr(path, ".."))
		return NULL;
	n = strcspn(path, "#");
	if (!strncmp(name, "boot", 4)) {
		/* A number is one of the drive's partitions: which, is not known. */
		for (size_t i = 0; i < 2; i++)
			if (!strncmp(l->place, partitions[i], strlen(partitions[i])))
				only[0] = partitions[i];
		return *id ? NULL : only_one(l->h, only[0] ? only : boot, path, n);
	}
	if (!strncmp(name, "guid", 4) || !strncmp(name, "uuid", 4) || !strncmp(name, "fslabel", 7))
		mount = mount_of(l->h, id);
	if (mount) {
		only[0] = strcmp(mount, "/") ? mount : "";
		found = only_one(l->h, only, path, n);
	}
	free(mount);
	return found;
}

static char *file_of(const void *arg, const char *name)
{
	const char *hash = strchr(name, '#');
	char *file = named_file(arg, name);

	if (!file || !hash || has_hash(file, hash + 1))
		return file;
	free(file);
	return NULL;
}

static const char *macro(const struct limine *x, const char *name, size_t n)
{
	for (size_t i = 0; i < x->macro_count; i++)
		if (strlen(x->macros[i].name) == n && !memcmp(x->macros[i].name, name, n))
			return x->macros[i].value;
	return NULL;
}

static int add_macro(struct limine *x, const char *name, size_t n, const char *value)
{
	struct limine_macro *more = x->macro_count == MACROS_MAX ? NULL :
		realloc(x->macros, (x->macro_count + 1) * sizeof(*more));

	if (!more) {
		x->unclear = true;
		return x->macro_count == MACROS_MAX ? 0 : -ENOMEM;
	}
	x->macros = more;
	more[x->macro_count] = (struct limine_macro){ strndup(name, n), strdup(value) };
	x->macro_count++;
	return more[x->macro_count - 1].name && more[x->macro_count - 1].value ? 0 : -ENOMEM;
}

/* With its macros replaced, which is done once; false: one of them is not known. */
static bool expand(const struct limine *x, const char *from, char out[VALUE_MAX])
{
	size_t len = 0;

	while (*from && len < VALUE_MAX - 1) {
		const char *end = strncmp(from, "${", 2) ? NULL : strchr(from, '}'), *value;

		if (!end) {
			out[len++] = *from++;
			continue;
		}
		value = macro(x, from + 2, end - from - 2);
		if (!value || strlen(value) >= VALUE_MAX - len)
			return false;
		memcpy(out + len, value, strlen(value));
		len += strlen(value);
		from = end + 1;
	}
	out[len] = '\0';
	return !*from;
}

/* "//+Name": how deep it is, and whether what is below it is to be seen. */
static int add_entry(struct limine *x, const char *line, char mark)
{
	size_t depth = 0, at = x->labels.count;
	bool *open;
	unsigned char *depths;

	while (line[depth] == mark)
		depth++;
	if (depth > 255 || at == LABELS_MAX) {
		x->labels.full = true;
		return 0;
	}
	depths = realloc(x->depths, at + 1);
	if (depths)
		x->depths = depths;
	open = realloc(x->open, (at + 1) * sizeof(*open));
	if (open)
		x->open = open;
	if (!depths || !open)
		return -ENOMEM;
	depths[at] = depth;
	open[at] = line[depth] == '+';
	line += depth + open[at];
	return labels_add(&x->labels, line + strspn(line, " \t"));
}

static int take_option(struct limine *x, const char *key, const char *value)
{
	struct labels *all = &x->labels;
	struct label *l = all->count ? &all->list[all->count - 1] : NULL;

	/* What is of no entry stands before the first, and the first line of a key counts. */
	if (!l && !x->chosen && !strcasecmp(key, "default_entry"))
		return label_set(&x->chosen, value);
	if (!l && !strcasecmp(key, "remember_last_entry")) {
		x->remembers |= !strcasecmp(value, "yes");
		return 0;
	}
	/* It hides an entry, and so moves those behind it. */
	x->unclear |= !strncasecmp(key, "if_", 3);
	if (!l)
		return 0;
	if (!strcasecmp(key, "protocol")) {
		l->unified = !strcasecmp(value, "efi") || !strcasecmp(value, "uefi") ||
			     !strcasecmp(value, "efi_chainload");
		l->other = !l->unified && strcasecmp(value, "linux");
		return 0;
	}
	if (!strcasecmp(key, "path") || !strcasecmp(key, "kernel_path") ||
	    !strcasecmp(key, "image_path"))
		return l->image ? 0 : label_set(&l->image, value);
	if (!strcasecmp(key, "module_path")) {
		l->unclear |= strpbrk(value, " \t") != NULL;
		return label_append(&l->initrds, value);
	}
	if (!strcasecmp(key, "cmdline") || !strcasecmp(key, "kernel_cmdline"))
		return l->cmdline ? 0 : label_set(&l->cmdline, value);
	return 0;
}

static int take_line(struct limine *x, char *line)
{
	char mark = x->old ? ':' : '/', between = x->old ? '=' : ':', *end, *value;
	char whole[VALUE_MAX];
	size_t n;

	line += strspn(line, " \t");
	for (n = strlen(line); n && strchr(" \t\r", line[n - 1]); n--)
		line[n - 1] = '\0';
	if (!*line || *line == '#')
		return 0;
	/* "${NAME}=value" is so in both. */
	end = strncmp(line, "${", 2) ? NULL : strstr(line, "}=");
	if (end)
		return add_macro(x, line + 2, end - line - 2, end + 2);
	if (!expand(x, line, whole)) {
		x->unclear = true;
		return 0;
	}
	if (*whole == mark)
		return add_entry(x, whole, mark);
	value = strchr(whole, between);
	if (!value)
		return 0;
	for (end = value; end > whole && isspace((unsigned char)end[-1]); end--)
		;
	*end = '\0';
	value++;
	return take_option(x, whole, value + strspn(value, " \t"));
}

int limine_read(struct limine *x, const char *bytes, size_t len)
{
	char *text = strndup(bytes, len), *rest = text, *line;
	int err = text ? 0 : -ENOMEM;

	while (!err && (line = strsep(&rest, "\n")))
		err = take_line(x, line);
	free(text);
	return err;
}

static bool is_folder(const struct limine *x, size_t i)
{
	return i + 1 < x->labels.count && x->depths[i + 1] > x->depths[i];
}

/* Those in folders that are closed are not counted. */
static const struct label *by_number(const struct limine *x, unsigned long number)
{
	unsigned int shown = 255;

	for (size_t i = 0; i < x->labels.count; i++) {
		if (x->depths[i] > shown)
			continue;
		shown = is_folder(x, i) && !x->open[i] ? x->depths[i] : 255;
		if (!--number)
			return is_folder(x, i) ? NULL : &x->labels.list[i];
	}
	return NULL;
}

/* "Folder/Entry"; what has marks that need a backslash, or a number behind, is not told. */
static const struct label *by_path(const struct limine *x, const char *path)
{
	const struct label *found = NULL;

	for (size_t i = 0; i < x->labels.count && !strpbrk(path, "\\#"); i++) {
		const char *rest = path;
		size_t end = strlen(path), at = i;
		bool same = true;

		/* From its end, up to the folder that is in none. */
		for (unsigned int depth = x->depths[i]; same; depth = x->depths[at]) {
			size_t n = strlen(x->labels.list[at].name);

			same = end >= n && !strncmp(rest + end - n, x->labels.list[at].name, n);
			end -= same ? n : 0;
			if (!same || depth <= 1)
				break;
			same = end && rest[end - 1] == '/';
			end -= same;
			while (at && x->depths[at] >= depth)
				at--;
			same &= x->depths[at] < depth;
		}
		if (!same || end || is_folder(x, i))
			continue;
		if (found)
			return NULL;
		found = &x->labels.list[i];
	}
	return found;
}

const struct label *limine_chosen(const struct limine *x)
{
	char *end;
	unsigned long number = x->chosen ? strtoul(x->chosen, &end, 10) : 1;

	if (!x->labels.count)
		return NULL;
	if (x->chosen && (!*x->chosen || *end))
		return by_path(x, x->chosen);
	return by_number(x, number ? number : 1);
}

/* Where its configuration is; two that differ make it unclear. malloc'ed, or NULL. */
static char *find_conf(const struct host *h, bool *several)
{
	char *found = NULL;

	*several = false;
	for (size_t i = 0; i < ARRAY_SIZE(tops) * ARRAY_SIZE(names); i++) {
		char *rel = text_of("%s%s", tops[i / ARRAY_SIZE(names)],
				    names[i % ARRAY_SIZE(names)]);
		char *path = rel && host_has(h, rel) ? host_path(h, rel) : NULL;
		char *was = path && found ? host_path(h, found) : NULL;

		if (was)
			*several |= !boot_file_same_bytes(was, path);
		if (path && !found) {
			found = rel;
			rel = NULL;
		}
		free(was);
		free(path);
		free(rel);
	}
	return found;
}

static bool is_here(const struct host *h)
{
	bool several;
	char *conf = find_conf(h, &several);
	bool here = conf != NULL;

	free(conf);
	return here;
}

/* x is the caller's to free if it is 0. */
static int open_conf(const struct host *h, const char *conf, struct limine *x)
{
	char *path = conf ? host_path(h, conf) : NULL;
	struct buf b = { 0 };
	int err = path ? file_read(path, CONF_MAX, &b) : -ENOENT;

	*x = (struct limine){
		.labels = { .h = h, .place = conf, .find = file_of },
		.old = conf && str_ends_with(conf, ".cfg"),
	};
	if (!err)
		err = limine_read(x, (char *)b.data, b.len);
	if (err)
		limine_free(x);
	buf_free(&b);
	free(path);
	return err;
}

static int judge(const struct limine *x, const struct kernels *k, struct next_boot *out)
{
	const struct label *one = limine_chosen(x);

	if (x->unclear)
		return next_boot_say(out, "%s has conditions or macros that are not read by "
				     "kmodkeep", x->labels.place);
	if (x->remembers)
		return next_boot_say(out, "Limine boots what was chosen last, which only it knows: "
				     "take remember_last_entry out of %s", x->labels.place);
	if (!one)
		return next_boot_say(out, "%s has no entry that its default_entry (%s) means: set "
				     "it to one that boots a kernel", x->labels.place,
				     x->chosen ? x->chosen : "1");
	return labels_fill(&x->labels, k, one, out);
}

static int next_boot(const struct host *h, const struct kernels *k,
		     const char *saved, struct next_boot *out)
{
	bool several;
	char *conf = find_conf(h, &several);
	struct limine x;
	int err = open_conf(h, conf, &x);

	(void)saved;
	out->obstacle = strdup("the default of Limine is a line of its configuration, which "
			       "kmodkeep leaves alone");
	if (err == -ENOMEM || !out->obstacle) {
		if (!err)
			limine_free(&x);
		free(conf);
		return -ENOMEM;
	}
	if (err) {
		err = next_boot_say(out, "the configuration of Limine cannot be read: %s",
				    strerror(-err));
	} else {
		err = several ? next_boot_say(out, "Limine has several configurations, %s and "
					      "another one: take away the one that it does not "
					      "read", conf) : judge(&x, k, out);
		limine_free(&x);
	}
	free(conf);
	return err;
}

static int choice(const struct host *h, const struct kernels *k, const char *release,
		  struct boot_choice *out)
{
	bool several;
	char *conf = find_conf(h, &several);
	struct limine x;
	int err = open_conf(h, conf, &x);

	if (!err) {
		out->menu = labels_choice(&x.labels, k, release);
		limine_free(&x);
	}
	free(conf);
	return err;
}

static const char *const watched[] = {
	"{/boot/efi,/efi,/boot,}{/EFI/limine,/EFI/BOOT,/limine,}/limine.{conf,cfg}", NULL
};

const struct loader_ops limine_loader = {
	.name = "limine",
	.info = "Limine",
	.watched = watched,
	.partitions = partitions,
	.is_here = is_here,
	.next_boot = next_boot,
	.entry_for = loader_no_entry,
	.choice = choice,
	.set_default = loader_no_default,
};
