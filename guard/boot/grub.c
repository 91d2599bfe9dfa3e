// SPDX-License-Identifier: GPL-2.0-only
/* GRUB: grub.cfg, custom.cfg, grubenv, and entries of the Boot Loader Specification. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/boot/bls.h"
#include "guard/boot/grub_cfg.h"
#include "guard/boot/loader.h"

#define CFG_MAX (1u << 20)
#define ENV_MAX (64u << 10)

static const char *const directories[] = { "/boot/grub", "/boot/grub2" };

/* What GRUB reads, in one place. */
struct grub {
	const char *dir;
	struct grub_menu menu;
	struct bls bls;
	struct buf env;
};

static int read_in(const struct host *h, const char *dir, const char *name,
		   size_t max, struct buf *out)
{
	char *rel, *path;
	int err;

	if (asprintf(&rel, "%s/%s", dir, name) < 0)
		return -ENOMEM;
	path = host_path(h, rel);
	free(rel);
	err = path ? file_read(path, max, out) : -ENOMEM;
	free(path);
	return err;
}

static const char *find_directory(const struct host *h)
{
	for (size_t i = 0; i < ARRAY_SIZE(directories); i++) {
		char *rel, *path;
		bool there;

		if (asprintf(&rel, "%s/grub.cfg", directories[i]) < 0)
			return NULL;
		path = host_path(h, rel);
		there = path && path_exists(path);
		free(path);
		free(rel);
		if (there)
			return directories[i];
	}
	return NULL;
}

static bool is_here(const struct host *h)
{
	return find_directory(h) != NULL;
}

static void grub_close(struct grub *g)
{
	grub_menu_free(&g->menu);
	bls_free(&g->bls);
	buf_free(&g->env);
}

static int read_bls(const struct host *h, struct grub *g)
{
	char *dir = host_path(h, "/boot/loader/entries");
	int err = dir ? bls_read(&g->bls, dir) : -ENOMEM;

	free(dir);
	bls_sort_grub(&g->bls);
	return err;
}

/* 0, -ENOMEM, or why it cannot be read. */
static int grub_open(const struct host *h, struct grub *g)
{
	struct buf text = { 0 };
	int err;

	memset(g, 0, sizeof(*g));
	g->dir = find_directory(h);
	if (!g->dir)
		return -ENOENT;
	err = read_in(h, g->dir, "grub.cfg", CFG_MAX, &text);
	if (!err)
		err = grub_menu_add(&g->menu, (char *)text.data, text.len);
	buf_free(&text);
	/* What the administrator adds; grub.cfg reads it at its end. */
	if (!err && !read_in(h, g->dir, "custom.cfg", CFG_MAX, &text)) {
		err = grub_menu_add(&g->menu, (char *)text.data, text.len);
		buf_free(&text);
	}
	if (!err) {
		err = read_in(h, g->dir, "grubenv", ENV_MAX, &g->env);
		if (err == -ENOENT)
			err = 0;
	}
	if (!err && g->menu.bls)
		err = read_bls(h, g);
	if (err)
		grub_close(g);
	return err;
}

/* Names the kernel of an entry, or says why not; *release: NULL then. */
static int name_kernel(const struct kernels *k, const char *image,
		       const char *title, const char **release, char **why)
{
	const struct kernel *kernel = image ? kernels_by_image(k, image) : NULL;

	*release = kernel ? kernel->release : NULL;
	if (kernel)
		return 0;
	free(*why);
	if (asprintf(why, image ? "the default entry '%s' boots %s, which is no "
		     "kernel installed here" : "the default entry '%s' boots "
		     "no Linux kernel", title, image) < 0) {
		*why = NULL;
		return -ENOMEM;
	}
	return 0;
}

/* What a default leads to: *release and *entry, or *why not. 0 or -ENOMEM. */
static int follow(const struct grub *g, const struct kernels *k,
		  const char *spec, const char **release, const char **entry,
		  char **why)
{
	int at;

	*release = *entry = NULL;
	if (g->menu.bls) {
		char *end;
		unsigned long n = strtoul(spec, &end, 10);

		at = bls_match(&g->bls, spec);
		if (at < 0)
			at = !*end && n < g->bls.count ? (int)n : 0;
		if (g->bls.count) {
			*entry = g->bls.list[at].id;
			return name_kernel(k, g->bls.list[at].image, *entry,
					   release, why);
		}
	}
	at = grub_resolve(&g->menu, spec);
	if (at >= 0) {
		const struct grub_entry *e = &g->menu.list[at];

		*entry = e->id ? e->id : e->title;
		return name_kernel(k, e->image, e->title, release, why);
	}
	free(*why);
	*why = strdup(at == -ENOENT ? "grub.cfg has no entry" :
		      "which entry is the default depends on a condition in "
		      "grub.cfg");
	return *why ? 0 : -ENOMEM;
}

/* The default that lasts, as grub.cfg has it; malloc'ed. */
static char *lasting(const struct grub *g, const char *saved)
{
	if (!g->menu.saved)
		return strdup(g->menu.fallback ? g->menu.fallback : "0");
	return strdup(saved ? saved : "");
}

static int fill(const struct grub *g, const struct kernels *k,
		const char *saved, struct next_boot *out)
{
	char *once = g->menu.once ? grub_env_get(&g->env, "next_entry") : NULL;
	char *last = lasting(g, saved ? saved : out->saved);
	const char *release, *entry, *later;
	int err = -ENOMEM;

	if (!last || follow(g, k, last, &later, &entry, &out->why))
		goto out;
	release = later;
	out->once = once != NULL;
	if (once && follow(g, k, once, &release, &entry, &out->why))
		goto out;
	out->entry = entry ? strdup(entry) : NULL;
	out->later = later ? strdup(later) : NULL;
	out->kernel = release ? strdup(release) : NULL;
	err = (entry && !out->entry) || (later && !out->later) ||
	      (release && !out->kernel) ? -ENOMEM : 0;
	if (!err && release)
		err = next_boot_say(out, once ? "GRUB, chosen for one boot: %s" :
				    g->menu.saved && *last ?
				    "GRUB, its saved default: %s" :
				    "GRUB, its default: %s", out->entry);
out:
	free(once);
	free(last);
	return err;
}

static int next_boot(const struct host *h, const struct kernels *k,
		     const char *saved, struct next_boot *out)
{
	struct grub g;
	int err = grub_open(h, &g);

	if (err == -ENOMEM)
		return err;
	if (err)
		return next_boot_say(out, "GRUB's configuration cannot be "
				     "read: %s", strerror(-err));
	out->saved = grub_env_get(&g.env, "saved_entry");
	if (!g.menu.saved)
		out->obstacle = strdup("GRUB does not keep its default: set "
				       "GRUB_DEFAULT=saved in /etc/default/grub "
				       "and run update-grub");
	if (g.menu.unclear)
		err = next_boot_say(out, "grub.cfg chooses its default in a way "
				    "that is not known here");
	else
		err = fill(&g, k, saved, out);
	grub_close(&g);
	return err;
}

static char *entry_for(const struct host *h, const struct kernels *k,
		       const char *release)
{
	struct grub g;
	char *path = NULL;

	if (grub_open(h, &g))
		return NULL;
	for (size_t i = 0; i < g.bls.count && !path; i++) {
		const struct bls_entry *e = &g.bls.list[i];
		const struct kernel *is = e->image ?
			kernels_by_image(k, e->image) : NULL;

		/* GRUB's name for it has no ending. */
		if (is && !strcmp(is->release, release))
			path = strndup(e->id, strlen(e->id) - strlen(".conf"));
	}
	for (size_t i = 0; i < g.menu.count && !path; i++) {
		const struct grub_entry *e = &g.menu.list[i];
		const struct kernel *is = e->image ?
			kernels_by_image(k, e->image) : NULL;

		/*
		 * The one at the top is always the newest kernel: only an
		 * identifier with the release in it goes on meaning this one.
		 */
		if (is && !strcmp(is->release, release) && !e->conditional &&
		    e->id && strstr(e->id, release) && !strstr(e->id, "recovery"))
			path = grub_path(&g.menu, i);
	}
	grub_close(&g);
	return path;
}

static int set_default(const struct host *h, const char *entry, char said[LOADER_SAID])
{
	static const char *const setters[] = {
		"grub-set-default", "grub2-set-default", NULL,
	};
	static const char *const editors[] = {
		"grub-editenv", "grub2-editenv", NULL,
	};
	char *tool = host_tool(h, entry ? setters : editors);
	char *boot = host_path(h, "/boot");
	char *env = host_path(h, "/boot/grub/grubenv");
	char *option = text_of("--boot-directory=%s", boot ? boot : "");
	int err = -ENOENT;

	if (env && !path_exists(env)) {
		free(env);
		env = host_path(h, "/boot/grub2/grubenv");
	}
	if (tool && option && env)
		err = loader_run_tool(entry ? (char *[]){ tool, option,
						   (char *)entry, NULL } :
			       (char *[]){ tool, env, (char *)"unset",
					   (char *)"saved_entry", NULL }, said);
	free(tool);
	free(boot);
	free(env);
	free(option);
	return err;
}

const struct loader_ops grub_loader = {
	.name = "grub",
	.info = "GRUB",
	.is_here = is_here,
	.next_boot = next_boot,
	.entry_for = entry_for,
	.set_default = set_default,
};
