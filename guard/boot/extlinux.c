// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * extlinux.conf, as U-Boot and SYSLINUX read it: labels with a kernel each, one of
 * them the default. What U-Boot's own environment may put before it is not seen.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "guard/base/util.h"
#include "guard/boot/loader.h"

#define CONF_MAX (256u << 10)
#define LABELS_MAX 256

/* The folders of its configuration, and what the files are called there. */
static const char *const places[] = {
	"/boot/extlinux/extlinux.conf", "/extlinux/extlinux.conf",
	"/boot/syslinux/syslinux.cfg",
};

struct label {
	char *name, *image, *initrds, *cmdline;
};

struct extlinux {
	const struct host *h;
	const char *place;
	struct label *list;
	size_t count;
	char *chosen;		/* name of the default; NULL: the first */
	bool unclear;		/* it includes what is not read here */
};

static void extlinux_close(struct extlinux *x)
{
	for (size_t i = 0; i < x->count; i++) {
		free(x->list[i].name);
		free(x->list[i].image);
		free(x->list[i].initrds);
		free(x->list[i].cmdline);
	}
	free(x->list);
	free(x->chosen);
}

static int set(char **field, const char *value)
{
	free(*field);
	*field = strdup(value);
	if (!*field)
		return -ENOMEM;
	make_printable(*field);
	return 0;
}

static int add_label(struct extlinux *x, const char *name)
{
	struct label *list = realloc(x->list, (x->count + 1) * sizeof(*list));

	if (!list)
		return -ENOMEM;
	x->list = list;
	memset(&list[x->count], 0, sizeof(*list));
	return set(&list[x->count++].name, name);
}

/* "initrd=a,b" of an old APPEND line names archives, too. */
static int take_initrds(struct label *l)
{
	char *at = l->cmdline && !l->initrds ? strstr(l->cmdline, "initrd=") : NULL;
	char *list = at && (at == l->cmdline || at[-1] == ' ') ?
		     strndup(at + 7, strcspn(at + 7, " ")) : NULL;
	int err = list ? set(&l->initrds, list) : 0;

	free(list);
	for (char *p = l->initrds; p && *p; p++)
		if (*p == ',')
			*p = ' ';
	return err;
}

static int take_line(struct extlinux *x, char *line)
{
	char *key = line + strspn(line, " \t"), *value = key + strcspn(key, " \t");
	struct label *l = x->count ? &x->list[x->count - 1] : NULL;

	if (*value)
		*value++ = '\0';
	value += strspn(value, " \t");
	value[strcspn(value, "\r")] = '\0';
	for (size_t n = strlen(value); n && strchr(" \t", value[n - 1]); n--)
		value[n - 1] = '\0';
	if (!strcasecmp(key, "label"))
		return x->count < LABELS_MAX ? add_label(x, value) : 0;
	if (!strcasecmp(key, "default") || !strcasecmp(key, "ontimeout"))
		return set(&x->chosen, value);
	if (!strcasecmp(key, "menu") && l && !strcasecmp(value, "default"))
		return set(&x->chosen, l->name);
	if (!strcasecmp(key, "include") || (!strcasecmp(key, "menu") &&
					    !strncasecmp(value, "include", 7)))
		x->unclear = true;
	if (l && (!strcasecmp(key, "linux") || !strcasecmp(key, "kernel")))
		return set(&l->image, value);
	if (l && !strcasecmp(key, "initrd"))
		return set(&l->initrds, value);
	if (l && !strcasecmp(key, "append"))
		return set(&l->cmdline, value);
	/* A tree of devices may be in the kernel's own image: FIT is not read. */
	x->unclear |= l && !strcasecmp(key, "fit");
	return 0;
}

static int extlinux_open(const struct host *h, struct extlinux *x)
{
	char *text = NULL, *rest, *line;
	struct buf b = { 0 };
	int err = -ENOENT;

	*x = (struct extlinux){ .h = h };
	for (size_t i = 0; i < ARRAY_SIZE(places) && err == -ENOENT; i++) {
		char *path = host_path(h, places[i]);

		x->place = places[i];
		err = path ? file_read(path, CONF_MAX, &b) : -ENOMEM;
		free(path);
	}
	if (!err) {
		text = strndup((char *)b.data, b.len);
		err = text ? 0 : -ENOMEM;
	}
	buf_free(&b);
	for (rest = text; !err && (line = strsep(&rest, "\n")); )
		err = take_line(x, line);
	free(text);
	for (size_t i = 0; i < x->count && !err; i++)
		err = take_initrds(&x->list[i]);
	if (err)
		extlinux_close(x);
	return err;
}

/* A file of the same file system, or beside the configuration. */
static char *file_of(const void *arg, const char *name)
{
	static const char *const tops[] = { "", "/boot" };
	const struct extlinux *x = arg;
	const char *slash = strrchr(x->place, '/');

	for (size_t i = 0; i < ARRAY_SIZE(tops); i++) {
		char *rel = *name == '/' ? text_of("%s%s", tops[i], name) :
			    text_of("%.*s/%s", (int)(slash - x->place), x->place, name);
		char *path = rel && host_has(x->h, rel) ? host_path(x->h, rel) : NULL;

		free(rel);
		if (path)
			return path;
	}
	return NULL;
}

static const struct kernel *kernel_of(const struct extlinux *x, const struct kernels *k,
				      const struct label *l)
{
	char *file = l->image ? file_of(x, l->image) : NULL;
	const struct kernel *is = l->image ? kernels_by_file(k, file, l->image) : NULL;

	free(file);
	return is;
}

static int take_files(const struct extlinux *x, const struct label *l, const char *release,
		      struct boot_files *f)
{
	int err = boot_files_archives(f, l->initrds, file_of, x);

	f->kernel = strdup(release);
	f->image = file_of(x, l->image);
	return f->kernel ? err : -ENOMEM;
}

static int take_menu(const struct extlinux *x, const struct kernels *k, struct next_boot *out)
{
	int err = 0;

	for (size_t i = 0; i < x->count && !err; i++) {
		const struct kernel *is = kernel_of(x, k, &x->list[i]);
		struct boot_files f = { 0 };

		if (!is)
			continue;
		err = take_files(x, &x->list[i], is->release, &f);
		if (!err)
			err = next_boot_add(out, &f);
		else
			boot_files_free(&f);
	}
	return err;
}

static int fill(const struct extlinux *x, const struct kernels *k, struct next_boot *out)
{
	const struct label *l = x->list;
	const struct kernel *is;
	int err;

	for (size_t i = 0; i < x->count && x->chosen; i++)
		if (!strcmp(x->list[i].name, x->chosen)) {
			l = &x->list[i];
			break;
		}
	is = kernel_of(x, k, l);
	err = set(&out->entry, l->name);
	if (!err)
		err = take_menu(x, k, out);
	if (err || !is)
		return err ? err : next_boot_say(out, "the default label '%s' of %s boots no "
						 "kernel that is installed here", l->name,
						 x->place);
	err = set(&out->kernel, is->release);
	if (!err)
		err = set(&out->later, is->release);
	if (!err)
		err = set(&out->cmdline, l->cmdline ? l->cmdline : "");
	if (!err)
		err = take_files(x, l, is->release, &out->files);
	return err ? err : next_boot_say(out, "the default label of %s: %s", x->place, l->name);
}

static int next_boot(const struct host *h, const struct kernels *k,
		     const char *saved, struct next_boot *out)
{
	struct extlinux x;
	int err = extlinux_open(h, &x);

	(void)saved;
	out->obstacle = strdup("the default of extlinux or U-Boot cannot be set by kmodkeep");
	if (err == -ENOMEM || !out->obstacle) {
		if (!err)
			extlinux_close(&x);
		return -ENOMEM;
	}
	if (err)
		return next_boot_say(out, "the configuration of extlinux cannot be read: %s",
				     strerror(-err));
	if (x.unclear || !x.count)
		err = next_boot_say(out, "%s has %s", x.place, x.count ?
				    "parts that are not read by kmodkeep" : "no label");
	else
		err = fill(&x, k, out);
	extlinux_close(&x);
	return err;
}

static bool is_here(const struct host *h)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (host_has(h, places[i]))
			return true;
	return false;
}

static char *entry_for(const struct host *h, const struct kernels *k, const char *release)
{
	(void)h;
	(void)k;
	(void)release;
	return NULL;
}

/* Nothing can ask it for one boot. */
static int choice(const struct host *h, const struct kernels *k, const char *release,
		  struct boot_choice *out)
{
	struct extlinux x;
	int err = extlinux_open(h, &x);

	if (err)
		return err;
	for (size_t i = 0; i < x.count && !out->menu; i++) {
		const struct kernel *is = kernel_of(&x, k, &x.list[i]);

		if (is && !strcmp(is->release, release))
			out->menu = text_of("%s", x.list[i].name);
	}
	extlinux_close(&x);
	return 0;
}

static int set_default(const struct host *h, const char *entry, char said[LOADER_SAID])
{
	(void)h;
	(void)entry;
	(void)said;
	return -ENOENT;
}

static const char *const partitions[] = { "/boot", NULL };

const struct loader_ops extlinux_loader = {
	.name = "extlinux",
	.info = "U-Boot",
	.partitions = partitions,
	.is_here = is_here,
	.next_boot = next_boot,
	.entry_for = entry_for,
	.choice = choice,
	.set_default = set_default,
};
