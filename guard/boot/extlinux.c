// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * extlinux.conf, as U-Boot and SYSLINUX read it: labels with a kernel each, one of
 * them the default. What U-Boot's own environment may put before it is not seen.
 */
#include "guard/boot/extlinux.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "guard/base/util.h"

#define CONF_MAX (256u << 10)

/* The folders of its configuration, and what the files are called there. */
static const char *const places[] = {
	"/boot/extlinux/extlinux.conf", "/extlinux/extlinux.conf",
	"/boot/syslinux/syslinux.cfg",
};

void extlinux_free(struct extlinux *x)
{
	labels_free(&x->labels);
	free(x->chosen);
}

/* "initrd=a,b" of an old APPEND line names archives, too; of several the last counts. */
static int take_initrds(struct label *l)
{
	const char *at = NULL, *next = l->cmdline && !l->initrds ? l->cmdline : NULL;
	char *list;
	int err;

	for (; next && (next = strstr(next, "initrd=")); next++)
		if (next == l->cmdline || next[-1] == ' ')
			at = next;
	list = at ? strndup(at + 7, strcspn(at + 7, " ")) : NULL;
	if (at && !list)
		return -ENOMEM;
	err = list ? label_set(&l->initrds, list) : 0;

	free(list);
	for (char *p = l->initrds; p && *p; p++)
		if (*p == ',')
			*p = ' ';
	return err;
}

static int take_line(struct extlinux *x, char *line)
{
	char *key = line + strspn(line, " \t"), *value = key + strcspn(key, " \t");
	struct labels *all = &x->labels;
	struct label *l = all->count ? &all->list[all->count - 1] : NULL;

	if (*value)
		*value++ = '\0';
	value += strspn(value, " \t");
	value[strcspn(value, "\r")] = '\0';
	for (size_t n = strlen(value); n && strchr(" \t", value[n - 1]); n--)
		value[n - 1] = '\0';
	if (!strcasecmp(key, "label"))
		return labels_add(all, value);
	if (!strcasecmp(key, "default") || !strcasecmp(key, "ontimeout"))
		return label_set(&x->chosen, value);
	if (!strcasecmp(key, "menu") && l && !strcasecmp(value, "default"))
		return label_set(&x->chosen, l->name);
	if (!strcasecmp(key, "include") || (!strcasecmp(key, "menu") &&
					    !strncasecmp(value, "include", 7)))
		x->unclear = true;
	if (l && (!strcasecmp(key, "linux") || !strcasecmp(key, "kernel")))
		return label_set(&l->image, value);
	if (l && !strcasecmp(key, "initrd"))
		return label_set(&l->initrds, value);
	if (l && !strcasecmp(key, "append"))
		return label_set(&l->cmdline, value);
	/* A tree of devices may be in the kernel's own image: FIT is not read. */
	x->unclear |= l && !strcasecmp(key, "fit");
	return 0;
}

/* A file of the same file system, or beside the configuration. */
static char *file_of(const void *arg, const char *name)
{
	static const char *const tops[] = { "", "/boot" };
	const struct labels *l = arg;
	const char *slash = strrchr(l->place, '/');

	for (size_t i = 0; i < ARRAY_SIZE(tops); i++) {
		char *rel = *name == '/' ? text_of("%s%s", tops[i], name) :
			    text_of("%.*s/%s", (int)(slash - l->place), l->place, name);
		char *path = rel && host_has(l->h, rel) ? host_path(l->h, rel) : NULL;

		free(rel);
		if (path)
			return path;
	}
	return NULL;
}

int extlinux_read(struct extlinux *x, const char *bytes, size_t len)
{
	char *text = strndup(bytes, len), *rest = text, *line;
	int err = text ? 0 : -ENOMEM;

	while (!err && (line = strsep(&rest, "\n")))
		err = take_line(x, line);
	for (size_t i = 0; i < x->labels.count && !err; i++)
		err = take_initrds(&x->labels.list[i]);
	free(text);
	return err;
}

static int extlinux_open(const struct host *h, struct extlinux *x)
{
	struct buf b = { 0 };
	int err = -ENOENT;

	*x = (struct extlinux){ .labels = { .h = h, .find = file_of } };
	for (size_t i = 0; i < ARRAY_SIZE(places) && err == -ENOENT; i++) {
		char *path = host_path(h, places[i]);

		x->labels.place = places[i];
		err = path ? file_read(path, CONF_MAX, &b) : -ENOMEM;
		free(path);
	}
	if (!err)
		err = extlinux_read(x, (char *)b.data, b.len);
	buf_free(&b);
	if (err)
		extlinux_free(x);
	return err;
}

const struct label *extlinux_chosen(const struct extlinux *x)
{
	for (size_t i = 0; i < x->labels.count && x->chosen; i++)
		if (!strcmp(x->labels.list[i].name, x->chosen))
			return &x->labels.list[i];
	/* What is done about a name that is none differs from one program to the next. */
	return x->chosen ? NULL : x->labels.list;
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
			extlinux_free(&x);
		return -ENOMEM;
	}
	if (err)
		return next_boot_say(out, "the configuration of extlinux cannot be read: %s",
				     strerror(-err));
	if (x.unclear || !x.labels.count)
		err = next_boot_say(out, "%s has %s", x.labels.place, x.labels.count ?
				    "parts that are not read by kmodkeep" : "no label");
	else if (!extlinux_chosen(&x))
		err = next_boot_say(out, "%s has no label '%s', which is its default",
				    x.labels.place, x.chosen);
	else
		err = labels_fill(&x.labels, k, extlinux_chosen(&x), out);
	extlinux_free(&x);
	return err;
}

static bool is_here(const struct host *h)
{
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (host_has(h, places[i]))
			return true;
	return false;
}

/* Nothing can ask it for one boot. */
static int choice(const struct host *h, const struct kernels *k, const char *release,
		  struct boot_choice *out)
{
	struct extlinux x;
	int err = extlinux_open(h, &x);

	if (err)
		return err;
	out->menu = labels_choice(&x.labels, k, release);
	extlinux_free(&x);
	return 0;
}

static const char *const partitions[] = { "/boot", NULL };

static const char *const watched[] = {
	"{/boot,}/extlinux/extlinux.conf", "/boot/syslinux/syslinux.cfg", NULL
};

const struct loader_ops extlinux_loader = {
	.name = "extlinux",
	.info = "U-Boot",
	.watched = watched,
	.partitions = partitions,
	.is_here = is_here,
	.next_boot = next_boot,
	.entry_for = loader_no_entry,
	.choice = choice,
	.set_default = loader_no_default,
};
