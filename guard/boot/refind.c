// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * rEFInd: stanzas of refind.conf, and kernels that it finds itself, with the options of
 * refind_linux.conf beside them. Which of several that it finds comes first depends on
 * their times and on what was booted last, so that is not told.
 */
#include "guard/boot/refind.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "guard/base/util.h"
#include "guard/host/bootfile.h"
#include "guard/host/mounts.h"

#define CONF_MAX (1u << 20)
#define WORDS_MAX 16

static const char *const partitions[] = { "/boot/efi", "/efi", "/boot", NULL };
static const char *const names[] = { "/EFI/refind/refind.conf", "/EFI/BOOT/refind.conf" };

static void stanza_free(struct refind *x)
{
	free(x->now.name);
	free(x->now.image);
	free(x->now.initrds);
	free(x->now.cmdline);
	free(x->volume);
	memset(&x->now, 0, sizeof(x->now));
	x->volume = NULL;
	x->disabled = false;
}

void refind_free(struct refind *x)
{
	labels_free(&x->labels);
	stanza_free(x);
	free(x->selection);
	free(x->scanfor);
}

/* Words with blanks or commas between; a quotation mark that is doubled is one. */
static size_t split(char *line, char *words[WORDS_MAX])
{
	size_t n = 0;
	char *to;

	while (n < WORDS_MAX) {
		bool quoted;

		line += strspn(line, " \t\r,=");
		if (!*line || *line == '#')
			break;
		quoted = *line == '"';
		line += quoted;
		words[n++] = to = line;
		while (*line && (quoted || !strchr(" \t\r,=#", *line))) {
			if (*line == '"' && quoted && line[1] != '"')
				break;
			line += *line == '"' && quoted;
			*to++ = *line++;
		}
		if (!*line || *line == '#') {
			*to = '\0';
			break;
		}
		line++;
		*to = '\0';
	}
	return n;
}

/* "initrd=\x" of the options, and the "initrd" of the stanza. */
static int add_initrd(struct refind *x, const char *name, size_t n)
{
	char *one = text_of("%s:%s%.*s", x->volume ? x->volume : "",
			    n && strchr("\\/", *name) ? "" : "/", (int)n, name);
	int err = one ? 0 : -ENOMEM;

	for (char *p = one; p && *p; p++) {
		x->now.unclear |= *p == ' ' || *p == '\t';
		if (*p == '\\')
			*p = '/';
	}
	if (!err)
		err = label_append(&x->now.initrds, one);
	free(one);
	return err;
}

static int close_stanza(struct refind *x)
{
	struct label *l;
	char *initrd = x->now.initrds, *image = NULL;
	int err = 0;

	x->now.initrds = NULL;
	if (x->disabled || !x->now.image || !x->now.name) {
		free(initrd);
		stanza_free(x);
		return 0;
	}
	image = text_of("%s:%s%s", x->volume ? x->volume : "",
			strchr("\\/", *x->now.image) ? "" : "/", x->now.image);
	for (char *p = image; p && *p; p++)
		if (*p == '\\')
			*p = '/';
	if (initrd)
		err = add_initrd(x, initrd, strlen(initrd));
	for (const char *p = x->now.cmdline; p && (p = strstr(p, "initrd=")) && !err; p++)
		if (p == x->now.cmdline || p[-1] == ' ')
			err = add_initrd(x, p + 7, strcspn(p + 7, " "));
	if (!err)
		err = image ? labels_add(&x->labels, x->now.name) : -ENOMEM;
	l = err || x->labels.full ? NULL : &x->labels.list[x->labels.count - 1];
	if (l) {
		free(l->name);
		*l = x->now;
		free(l->image);
		l->image = image;
		l->unified = str_ends_with(image, ".efi");
		image = NULL;
		memset(&x->now, 0, sizeof(x->now));
	}
	free(initrd);
	free(image);
	stanza_free(x);
	return err;
}

static int take_inside(struct refind *x, char *words[], size_t n)
{
	const char *key = words[0], *value = n > 1 ? words[1] : "";

	if (!strcasecmp(key, "loader"))
		return label_set(&x->now.image, value);
	if (!strcasecmp(key, "initrd"))
		return label_set(&x->now.initrds, value);
	if (!strcasecmp(key, "options"))
		return label_set(&x->now.cmdline, value);
	if (!strcasecmp(key, "volume"))
		return label_set(&x->volume, value);
	x->disabled |= !strcasecmp(key, "disabled") &&
		       (n < 2 || (strcasecmp(value, "false") && strcasecmp(value, "off") &&
				  strcmp(value, "0")));
	/* It starts another entry of the firmware. */
	x->now.unclear |= !strcasecmp(key, "firmware_bootnum");
	return 0;
}

static int take_outside(struct refind *x, char *words[], size_t n)
{
	int err = 0;

	x->unclear |= !strcasecmp(words[0], "include");
	if (!strcasecmp(words[0], "default_selection")) {
		/* A list, or times of the day. */
		x->unclear |= n > 2;
		return n > 1 ? label_set(&x->selection, words[1]) : 0;
	}
	if (!strcasecmp(words[0], "scanfor")) {
		free(x->scanfor);
		x->scanfor = NULL;
		for (size_t i = 1; i < n && !err; i++)
			err = label_append(&x->scanfor, words[i]);
	}
	return err;
}

static int take_line(struct refind *x, char *line)
{
	char *words[WORDS_MAX];
	size_t n = split(line, words);
	bool opens = n && !strcmp(words[n - 1], "{");

	if (!n)
		return 0;
	if (!strcmp(words[0], "}")) {
		x->depth -= x->depth > 0;
		return x->depth ? 0 : close_stanza(x);
	}
	if (x->depth == 1 && !opens)
		return take_inside(x, words, n);
	if (!x->depth && !strcasecmp(words[0], "menuentry")) {
		stanza_free(x);
		x->depth = 1;
		/* Its brace has to be on the same line. */
		x->unclear |= !opens;
		return label_set(&x->now.name, n > 1 ? words[1] : "");
	}
	x->depth += opens;
	return x->depth ? 0 : take_outside(x, words, n);
}

int refind_read(struct refind *x, const char *bytes, size_t len)
{
	char *text = strndup(bytes, len), *rest = text, *line;
	int err = text ? 0 : -ENOMEM;

	while (!err && (line = strsep(&rest, "\n")))
		err = take_line(x, line);
	x->unclear |= x->depth != 0;
	free(text);
	return err;
}

/* What comes first in this list comes first in the menu. */
static bool stanzas_first(const struct refind *x)
{
	return x->scanfor && !strncasecmp(x->scanfor, "manual", 6) &&
	       (!x->scanfor[6] || x->scanfor[6] == ' ');
}

const struct label *refind_chosen(const struct refind *x)
{
	const char *wanted = x->selection;

	if (!stanzas_first(x) || x->labels.full || x->unclear)
		return NULL;
	if (!wanted && !strcasecmp(x->scanfor, "manual") && x->labels.count == 1)
		return x->labels.list;
	/* One character is the first one of a title, or a number; "+" is what was booted last. */
	if (!wanted || strlen(wanted) < 2 || strchr("+", *wanted) || strchr(wanted, ','))
		return NULL;
	for (size_t i = 0; i < x->labels.count; i++)
		if (strcasestr(x->labels.list[i].name, wanted))
			return x->labels.list[i].unclear ? NULL : &x->labels.list[i];
	return NULL;
}

char *refind_options(const char *bytes, size_t len)
{
	char *text = strndup(bytes, len), *rest = text, *line, *found = NULL;
	char *words[WORDS_MAX];
	bool any = false;

	while (!any && (line = strsep(&rest, "\n"))) {
		size_t n = split(line, words);

		any = n > 0;
		found = n > 1 ? strdup(words[1]) : NULL;
	}
	if (found)
		make_printable(found);
	free(text);
	return found;
}

/* Where refind.conf is; malloc'ed. */
static char *find_conf(const struct host *h)
{
	for (size_t i = 0; partitions[i]; i++)
		for (size_t j = 0; j < ARRAY_SIZE(names); j++) {
			char *rel = text_of("%s%s", partitions[i], names[j]);

			if (rel && host_has(h, rel))
				return rel;
			free(rel);
		}
	return NULL;
}

static bool is_here(const struct host *h)
{
	char *conf = find_conf(h);
	bool here = conf != NULL;

	free(conf);
	return here;
}

/* "VOLUME:/x"; without a volume it is in the partition of the configuration. */
static char *file_of(const void *arg, const char *name)
{
	const struct labels *l = arg;
	const char *path = strstr(name, ":/");
	char *volume = path ? strndup(name, path - name) : NULL, *mount = NULL, *rel, *file;

	if (volume && *volume) {
		mount = mount_of(l->h, volume);
	} else if (volume) {
		for (size_t i = 0; partitions[i] && !mount; i++)
			if (!strncmp(l->place, partitions[i], strlen(partitions[i])))
				mount = strdup(partitions[i]);
	}
	rel = mount && !strstr(path, "..") ?
	      text_of("%s%s", strcmp(mount, "/") ? mount : "", path + 1) : NULL;
	file = rel && host_has(l->h, rel) ? host_path(l->h, rel) : NULL;
	free(rel);
	free(mount);
	free(volume);
	return file;
}

/* x is the caller's to free if it is 0. */
static int open_conf(const struct host *h, const char *conf, struct refind *x)
{
	char *path = conf ? host_path(h, conf) : NULL;
	struct buf b = { 0 };
	int err = path ? file_read(path, CONF_MAX, &b) : -ENOENT;

	*x = (struct refind){ .labels = { .h = h, .place = conf, .find = file_of } };
	if (!err)
		err = refind_read(x, (char *)b.data, b.len);
	if (err)
		refind_free(x);
	buf_free(&b);
	free(path);
	return err;
}

/* The options that stand beside a kernel; malloc'ed, NULL: none are known. */
static char *options_beside(const char *image)
{
	char *path = text_of("%.*s/refind_linux.conf", (int)(strrchr(image, '/') - image), image);
	struct buf b = { 0 };
	char *options = path && !file_read(path, CONF_MAX, &b) ?
			refind_options((char *)b.data, b.len) : NULL;

	buf_free(&b);
	free(path);
	return options;
}

/* The only kernel that it can find, with the initramfs beside it. */
static int fill_only(const struct kernel *is, struct next_boot *out)
{
	struct boot_files *f = &out->files;

	out->cmdline = options_beside(is->image);
	/* What is named there, or made up for this kernel, is not looked for. */
	if (!out->cmdline || strstr(out->cmdline, "initrd=") || strchr(out->cmdline, '%'))
		return next_boot_say(out, "rEFInd boots kernel %s with an initramfs or options "
				     "that are not known: write options without initrd= and %%v into "
				     "refind_linux.conf beside it", is->release);
	out->kernel = strdup(is->release);
	out->later = strdup(is->release);
	out->entry = strdup(strrchr(is->image, '/') + 1);
	f->kernel = strdup(is->release);
	f->image = strdup(is->image);
	f->archives = is->initramfs ? calloc(1, sizeof(*f->archives)) : NULL;
	if (f->archives) {
		f->archives[0] = strdup(is->initramfs);
		f->count = f->archives[0] != NULL;
	}
	if (!out->kernel || !out->later || !out->entry || !f->kernel || !f->image ||
	    (is->initramfs && !f->count))
		return -ENOMEM;
	return next_boot_say(out, "rEFInd, the only kernel that it finds: %s", out->entry);
}

static int judge(const struct refind *x, const struct kernels *k, struct next_boot *out)
{
	const struct label *one = refind_chosen(x);

	if (x->unclear)
		return next_boot_say(out, "%s includes another file, or has times of the day or "
				     "what is not read by kmodkeep", x->labels.place);
	if (one)
		return labels_fill(&x->labels, k, one, out);
	if (k->count == 1 && !x->labels.count && k->list[0].image &&
	    strstr(k->list[0].image, "/boot/"))
		return fill_only(&k->list[0], out);
	return next_boot_say(out, "which kernel rEFInd takes depends on their times and on what "
			     "was booted last: give one a menuentry in %s, with 'scanfor manual' and "
			     "a default_selection of its name", x->labels.place);
}

static int next_boot(const struct host *h, const struct kernels *k,
		     const char *saved, struct next_boot *out)
{
	char *conf = find_conf(h);
	struct refind x;
	int err = open_conf(h, conf, &x);

	(void)saved;
	out->obstacle = strdup("the default of rEFInd is a line of its configuration, which "
			       "kmodkeep leaves alone");
	if (!err) {
		err = out->obstacle ? judge(&x, k, out) : -ENOMEM;
		refind_free(&x);
	} else if (err != -ENOMEM) {
		err = !out->obstacle ? -ENOMEM :
		      next_boot_say(out, "the configuration of rEFInd cannot be read: %s",
				    strerror(-err));
	}
	free(conf);
	return err;
}

static int choice(const struct host *h, const struct kernels *k, const char *release,
		  struct boot_choice *out)
{
	char *conf = find_conf(h);
	struct refind x;
	int err = open_conf(h, conf, &x);

	if (!err) {
		out->menu = labels_choice(&x.labels, k, release);
		refind_free(&x);
	}
	free(conf);
	return err;
}

static const char *const watched[] = {
	"{/boot/efi,/efi,/boot}/EFI/{refind,BOOT}/refind.conf", "/boot/refind_linux.conf", NULL
};

const struct loader_ops refind_loader = {
	.name = "refind",
	.info = "rEFInd",
	.watched = watched,
	.partitions = partitions,
	.is_here = is_here,
	.next_boot = next_boot,
	.entry_for = loader_no_entry,
	.choice = choice,
	.set_default = loader_no_default,
};
