// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts, for each kernel, the modules that each of two keys has signed. */
#include "signing/progress.h"

#include <errno.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/base/util.h"
#include "guard/host/kernels.h"
#include "guard/module/copies.h"
#include "guard/module/modfile.h"
#include "guard/verdict/early.h"

void progress_free(struct progress *p)
{
	host_modules_free(&p->modules);
	for (size_t i = 0; i < p->count; i++)
		free(p->kernels[i].kernel);
	free(p->kernels);
	memset(p, 0, sizeof(*p));
}

static struct kernel_progress *of_kernel(struct progress *p,
					 const char *release)
{
	struct kernel_progress *list;

	for (size_t i = 0; i < p->count; i++)
		if (!strcmp(p->kernels[i].kernel, release))
			return &p->kernels[i];
	list = realloc(p->kernels, (p->count + 1) * sizeof(*list));
	if (!list)
		return NULL;
	p->kernels = list;
	memset(&list[p->count], 0, sizeof(*list));
	list[p->count].kernel = strdup(release);
	return list[p->count].kernel ? &list[p->count++] : NULL;
}

static int count_files(const struct rotation *r, struct progress *p)
{
	enum goal_state *states = calloc(p->modules.count + 1, sizeof(*states));
	int err = states ? 0 : -ENOMEM;

	if (!err)
		rotation_look(r, &p->modules, states);
	for (size_t i = 0; i < p->modules.count && !err; i++) {
		struct kernel_progress *k =
			of_kernel(p, p->modules.list[i].kernel);

		if (k)
			k->files.n[states[i]]++;
		else
			err = -ENOMEM;
	}
	free(states);
	return err;
}

/* "snd_dummy" of ".../snd-dummy.ko.xz"; malloc'ed. */
static char *module_name(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *name = strdup(slash ? slash + 1 : path);

	if (name)
		name[strcspn(name, ".")] = '\0';
	for (char *p = name; p && *p; p++)
		if (*p == '-')
			*p = '_';
	return name;
}

/* The names of all modules, each once; NULL at the end. */
static char **module_names(const struct host_modules *m, size_t *count)
{
	char **names = calloc(m->count + 1, sizeof(*names));

	*count = 0;
	for (size_t i = 0; names && i < m->count; i++) {
		char *name = module_name(m->list[i].path);
		bool known = !name;

		for (size_t n = 0; n < *count && !known; n++)
			known = !strcmp(names[n], name);
		if (known)
			free(name);
		else
			names[(*count)++] = name;
	}
	return names;
}

static void count_copies(const struct sign_goal *goal, struct copies *c,
			 struct kernel_progress *k)
{
	k->has_initramfs = true;
	if (c->err)
		k->initramfs_error = strerror(-c->err);
	for (size_t i = 0; i < c->count; i++) {
		struct modfile m;
		enum goal_state state = GOAL_DAMAGED;

		/* Not loaded on this kernel. */
		if (c->list[i].other || c->list[i].link)
			continue;
		if (!modfile_take(&c->list[i].bytes, &m)) {
			state = sign_state_of(goal, &m.bytes);
			modfile_free(&m);
		}
		k->copies.n[state]++;
	}
}

static int read_initramfs(const struct rotation *r, struct progress *p,
			  const struct kernels *kernels, const struct next_boot *next)
{
	struct archives *list = calloc(kernels->count + 1, sizeof(*list));
	struct copies *copies = calloc(kernels->count + 1, sizeof(*copies));
	struct sign_goal goal = rotation_goal(r);
	size_t names_count = 0, n = 0;
	char **names = module_names(&p->modules, &names_count);
	int err = list && copies && names ? 0 : -ENOMEM;

	for (size_t i = 0; !err && i < kernels->count; i++) {
		err = boot_archives(next, &kernels->list[i], &list[n]);
		if (!err && list[n].count)
			n++;
		else
			boot_archives_free(&list[n]);
	}
	if (!err)
		err = copies_read(NULL, NULL, list, n, names, names_count, true,
				  copies);
	for (size_t i = 0; !err && i < n; i++) {
		struct kernel_progress *k = of_kernel(p, list[i].release);

		if (k)
			count_copies(&goal, &copies[i], k);
		else
			err = -ENOMEM;
	}
	for (size_t i = 0; list && copies && i < n; i++) {
		copies_free(&copies[i]);
		boot_archives_free(&list[i]);
	}
	for (size_t i = 0; names && i < names_count; i++)
		free(names[i]);
	free(names);
	free(copies);
	free(list);
	return err;
}

int progress_read(const struct rotation *r, struct progress *out)
{
	struct kernels kernels = { 0 };
	struct next_boot next = { 0 };
	int err;

	memset(out, 0, sizeof(*out));
	err = host_modules_read(r->h, &out->modules);
	if (!err)
		err = count_files(r, out);
	if (!err)
		err = kernels_read(r->h, &kernels);
	if (!err)
		err = next_boot_read(r->h, &kernels, NULL, &next);
	if (!err)
		err = read_initramfs(r, out, &kernels, &next);
	next_boot_free(&next);
	kernels_free(&kernels);
	if (err)
		progress_free(out);
	return err;
}

/* What a phase does not leave as it is. */
static size_t left_of(const struct tally *t, enum rotation_phase phase)
{
	switch (phase) {
	case ROTATION_BOTH:
		return t->n[GOAL_FIRST] + t->n[GOAL_SECOND];
	case ROTATION_NEW:
		return t->n[GOAL_FIRST] + t->n[GOAL_BOTH];
	case ROTATION_BACK:
		return t->n[GOAL_SECOND] + t->n[GOAL_BOTH];
	default:
		return 0;
	}
}

size_t progress_left(const struct progress *p, enum rotation_phase phase)
{
	size_t left = 0;

	for (size_t i = 0; i < p->count; i++)
		left += left_of(&p->kernels[i].files, phase);
	return left;
}

const char *progress_stale_initramfs(const struct progress *p,
				     enum rotation_phase phase)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct kernel_progress *k = &p->kernels[i];

		if (phase != ROTATION_BACK && k->has_initramfs &&
		    (k->initramfs_error || k->copies.n[GOAL_FIRST]))
			return k->kernel;
	}
	return NULL;
}

static void print_tally(const char *where, const struct tally *t)
{
	printf("  %-12s%zu by both keys, %zu by the old alone, %zu by the new "
	       "alone, %zu by neither%s", where, t->n[GOAL_BOTH],
	       t->n[GOAL_FIRST], t->n[GOAL_SECOND], t->n[GOAL_OTHER],
	       t->n[GOAL_DAMAGED] ? "" : "\n");
	if (t->n[GOAL_DAMAGED])
		printf(", %zu damaged\n", t->n[GOAL_DAMAGED]);
}

void progress_print(const struct progress *p)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct kernel_progress *k = &p->kernels[i];

		printf("Kernel %s\n", k->kernel);
		print_tally("modules", &k->files);
		if (k->initramfs_error)
			printf("  initramfs   it could not be read: %s\n",
			       k->initramfs_error);
		else if (k->has_initramfs)
			print_tally("initramfs", &k->copies);
	}
	if (p->modules.gap)
		printf("Not read:     %s\n", p->modules.gap);
}

static struct json_object *tally_json(const struct tally *t)
{
	struct json_object *o = json_object_new_object();

	json_add_int(o, "both", t->n[GOAL_BOTH]);
	json_add_int(o, "old", t->n[GOAL_FIRST]);
	json_add_int(o, "new", t->n[GOAL_SECOND]);
	json_add_int(o, "neither", t->n[GOAL_OTHER]);
	json_add_int(o, "damaged", t->n[GOAL_DAMAGED]);
	return o;
}

struct json_object *progress_json(const struct progress *p)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < p->count; i++) {
		const struct kernel_progress *k = &p->kernels[i];
		struct json_object *o = json_object_new_object();

		json_add(o, "kernel", k->kernel);
		json_object_object_add(o, "modules", tally_json(&k->files));
		json_object_object_add(o, "initramfs",
				       k->has_initramfs && !k->initramfs_error ?
				       tally_json(&k->copies) : NULL);
		json_add(o, "initramfs_error", k->initramfs_error);
		json_object_array_add(list, o);
	}
	return list;
}
