// SPDX-License-Identifier: GPL-2.0-or-later
/* Lists of labels, and what the default one of them boots. */
#include "guard/boot/labels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/bootfile.h"

void labels_free(struct labels *l)
{
	for (size_t i = 0; i < l->count; i++) {
		free(l->list[i].name);
		free(l->list[i].image);
		free(l->list[i].initrds);
		free(l->list[i].cmdline);
	}
	free(l->list);
	l->list = NULL;
	l->count = 0;
}

int label_set(char **field, const char *value)
{
	char *new = strdup(value);

	if (!new)
		return -ENOMEM;
	free(*field);
	*field = new;
	make_printable(new);
	return 0;
}

int label_append(char **field, const char *value)
{
	char *all = text_of("%s%s%s", *field ? *field : "", *field ? " " : "", value);
	int err = all ? label_set(field, all) : -ENOMEM;

	free(all);
	return err;
}

int labels_add(struct labels *l, const char *name)
{
	struct label *list;

	if (l->count == LABELS_MAX) {
		l->full = true;
		return 0;
	}
	list = realloc(l->list, (l->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	l->list = list;
	memset(&list[l->count], 0, sizeof(*list));
	return label_set(&list[l->count++].name, name);
}

/* A unified image says itself which kernel it has. */
static const struct kernel *unified_kernel(const struct kernels *k, const char *file)
{
	char *says = boot_file_release(file);
	const struct kernel *is;

	if (!says)
		says = boot_file_section(file, ".uname");
	is = says ? kernels_find(k, says) : NULL;
	free(says);
	return is;
}

/* NULL: none that is installed here. */
static const struct kernel *labels_kernel(const struct labels *l, const struct kernels *k,
					  const struct label *one)
{
	char *file = one->image && !one->other ? l->find(l, one->image) : NULL;
	/* The name of a file that is not found says nothing of what is in it. */
	const struct kernel *is = !file ? NULL : one->unified ? unified_kernel(k, file) :
				  kernels_by_file(k, file, one->image);

	free(file);
	return is;
}

static int take_files(const struct labels *l, const struct label *one, const char *release,
		      struct boot_files *f)
{
	int err = boot_files_archives(f, one->initrds, l->find, l);

	f->kernel = strdup(release);
	f->image = l->find(l, one->image);
	/* A program may as well be another loader. */
	f->unified = one->unified && f->image && boot_file_has(f->image, ".linux");
	f->unclear |= one->unclear;
	return f->kernel ? err : -ENOMEM;
}

static int take_menu(const struct labels *l, const struct kernels *k, struct next_boot *out)
{
	int err = 0;

	for (size_t i = 0; i < l->count && !err; i++) {
		const struct kernel *is = labels_kernel(l, k, &l->list[i]);
		struct boot_files f = { 0 };

		if (!is)
			continue;
		err = take_files(l, &l->list[i], is->release, &f);
		if (!err)
			err = next_boot_add(out, &f);
		else
			boot_files_free(&f);
	}
	return err;
}

static int take_cmdline(const struct labels *l, const struct label *one, struct next_boot *out)
{
	char *file = one->unified && !one->cmdline ? l->find(l, one->image) : NULL;

	out->cmdline = file ? boot_file_section(file, ".cmdline") : NULL;
	free(file);
	return out->cmdline ? 0 : label_set(&out->cmdline, one->cmdline ? one->cmdline : "");
}

int labels_fill(const struct labels *l, const struct kernels *k, const struct label *one,
		struct next_boot *out)
{
	const struct kernel *is = labels_kernel(l, k, one);
	int err;

	if (l->full)
		return next_boot_say(out, "%s has more entries than are read by kmodkeep",
				     l->place);
	err = label_set(&out->entry, one->name);
	if (!err)
		err = take_menu(l, k, out);
	if (err || !is)
		return err ? err : next_boot_say(out, "the default label '%s' of %s boots no "
						 "kernel that is installed here", one->name,
						 l->place);
	err = label_set(&out->kernel, is->release);
	if (!err)
		err = label_set(&out->later, is->release);
	if (!err)
		err = take_cmdline(l, one, out);
	if (!err)
		err = take_files(l, one, is->release, &out->files);
	return err ? err : next_boot_say(out, "the default label of %s: %s", l->place, one->name);
}

char *labels_choice(const struct labels *l, const struct kernels *k, const char *release)
{
	for (size_t i = 0; i < l->count; i++) {
		const struct kernel *is = labels_kernel(l, k, &l->list[i]);

		if (is && !strcmp(is->release, release))
			return strdup(l->list[i].name);
	}
	return NULL;
}
