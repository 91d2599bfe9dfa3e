// SPDX-License-Identifier: GPL-2.0-or-later
/* GRUB: grub.cfg, custom.cfg, grubenv, and entries of the Boot Loader Specification. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/util.h"
#include "guard/boot/bls.h"
#include "guard/boot/grub_cfg.h"
#include "guard/boot/loader.h"
#include "guard/host/bootfile.h"
#include "guard/host/efivars.h"
#include "guard/host/mounts.h"

#define CFG_MAX (1u << 20)
#define ENV_MAX (64u << 10)

/* In the order of preference; EL 8 has its own on the EFI partition. */
static const char *const directories[] = { "/boot/grub", "/boot/grub2" };
static const char *const vendors[] = { "/boot/efi/EFI", "/efi/EFI" };

/* What GRUB reads, in one place. */
struct grub {
	const struct host *h;
	char *dir;		/* of grub.cfg */
	struct buf text;
	struct bls bls;
	int bls_err;		/* why its folder cannot be read */
	struct grub_vars env;
	struct grub_menu menu;
};

static int read_in(const struct host *h, const char *dir, const char *name,
		   size_t max, struct buf *out)
{
	char *rel = text_of("%s/%s", dir, name);
	char *path = rel ? host_path(h, rel) : NULL;
	int err = path ? file_read(path, max, out) : -ENOMEM;

	free(rel);
	free(path);
	return err;
}

static bool has_menu(const struct host *h, const char *dir)
{
	char *rel = text_of("%s/grub.cfg", dir);
	bool there = rel && host_has(h, rel);

	free(rel);
	return there;
}

/* A grub.cfg that only says where the real one is. */
static bool is_stub(const struct host *h, const char *dir)
{
	struct buf text = { 0 };
	bool stub = true;

	if (!read_in(h, dir, "grub.cfg", CFG_MAX, &text))
		stub = memmem(text.data, text.len, "configfile", 10) &&
		       !memmem(text.data, text.len, "menuentry", 9) &&
		       !memmem(text.data, text.len, "blscfg", 6);
	buf_free(&text);
	return stub;
}

/* The folder of a whole menu on the EFI partition; malloc'ed, NULL: none. */
static char *vendor_directory(const struct host *h)
{
	char *started = host_may_act(h) ? efi_boot_directory(h) : NULL, *found = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(vendors) && !found; i++) {
		char *path = host_path(h, vendors[i]);
		DIR *d = path ? opendir(path) : NULL;
		struct dirent *e;

		while (d && (e = readdir(d))) {
			char *dir = e->d_name[0] == '.' ? NULL :
				    text_of("%s/%s", vendors[i], e->d_name);
			bool ours = dir && started && !strncasecmp(started, "/EFI/", 5) &&
				    !strcasecmp(started + 5, e->d_name);

			if (!dir || !has_menu(h, dir) || is_stub(h, dir) ||
			    (found && !ours)) {
				free(dir);
				continue;
			}
			free(found);
			found = dir;
		}
		if (d)
			closedir(d);
		free(path);
	}
	free(started);
	return found;
}

/* malloc'ed; NULL: there is none. */
static char *find_directory(const struct host *h)
{
	bool efi = host_has(h, "/sys/firmware/efi");
	char *vendor = vendor_directory(h);

	/* Started by the firmware, GRUB looks beside itself first. */
	for (size_t i = 0; i < ARRAY_SIZE(directories) && !(vendor && efi); i++)
		if (has_menu(h, directories[i])) {
			free(vendor);
			return strdup(directories[i]);
		}
	return vendor;
}

static bool is_here(const struct host *h)
{
	char *dir = find_directory(h);
	bool here = dir != NULL;

	free(dir);
	return here;
}

static void grub_close(struct grub *g)
{
	grub_menu_free(&g->menu);
	grub_vars_free(&g->env);
	bls_free(&g->bls);
	buf_free(&g->text);
	free(g->dir);
}

/* What a path of the script is on this host: malloc'ed, or NULL. */
static char *real_path(const struct grub *g, const char *path)
{
	static const char *const tops[] = { "", "/boot", "/boot/efi", "/efi" };
	size_t home = strlen(GRUB_HOME);
	char *rel, *real = NULL;

	if (strchr(path, GRUB_UNKNOWN) || strstr(path, ".."))
		return NULL;
	if (!strncmp(path, GRUB_HOME "/", home + 1)) {
		rel = text_of("%s%s", g->dir, path + home);
		real = rel ? host_path(g->h, rel) : NULL;
		free(rel);
		return real;
	}
	/* Without a device it is in the root or on /boot, whichever GRUB found. */
	for (size_t i = 0; i < ARRAY_SIZE(tops) && *path == '/'; i++) {
		rel = text_of("%s%s", tops[i], path);
		if (rel && host_has(g->h, rel))
			real = host_path(g->h, rel);
		free(rel);
		if (real)
			break;
	}
	return real;
}

static enum grub_truth file_has(void *arg, const char *path, bool not_empty)
{
	const struct grub *g = arg;
	char *real = real_path(g, path);
	struct stat st;
	/* Elsewhere it may be on a device that is not mounted. */
	enum grub_truth t = GRUB_OPEN;

	if (real && stat(real, &st) == 0)
		t = !not_empty || st.st_size ? GRUB_YES : GRUB_NO;
	else if (real && (errno == ENOENT || errno == ENOTDIR))
		t = GRUB_NO;
	free(real);
	return t;
}

static int file_text(void *arg, const char *path, struct buf *out)
{
	const struct grub *g = arg;
	char *real = real_path(g, path);
	int err = real ? file_read(real, CFG_MAX, out) : -ENOENT;

	free(real);
	return err;
}

static const struct bls *entries(void *arg)
{
	return &((struct grub *)arg)->bls;
}

/* What GRUB itself sets before it reads its configuration. */
static int first_variables(const struct host *h, struct grub_vars *v)
{
	static const char *const features[] = {
		"feature_menuentry_id", "feature_timeout_style",
		"feature_default_font_path", "feature_all_video_module",
		"feature_menuentry_options", "feature_platform_search_hint",
		"feature_chainloader_bpb", "feature_ntldr", "feature_nativedisk_cmd",
		"feature_200_final",
	};
	static const char *const unknown[] = {
		"root", "cmdpath", "grub_cpu", "boot", "lockdown", "shim_lock",
		"check_signatures", "secureboot", "gfxmode", "terminal_output",
		"net_default_server", "net_default_ip", "net_default_interface",
	};
	int err = grub_vars_set(v, "prefix", GRUB_HOME);

	if (!err)
		err = grub_vars_set(v, "config_directory", GRUB_HOME);
	if (!err)
		err = grub_vars_set(v, "config_file", GRUB_HOME "/grub.cfg");
	if (!err)
		err = grub_vars_set(v, "grub_platform", host_has(h, "/sys/firmware/efi") ?
				    "efi" : GRUB_UNKNOWN_TEXT);
	for (size_t i = 0; i < ARRAY_SIZE(features) && !err; i++)
		err = grub_vars_set(v, features[i], "y");
	for (size_t i = 0; i < ARRAY_SIZE(unknown) && !err; i++)
		err = grub_vars_set(v, unknown[i], GRUB_UNKNOWN_TEXT);
	return err;
}

/* Runs the script anew, with the environment block as it is now. 0 or -ENOMEM. */
static int run_menu(struct grub *g)
{
	struct grub_vars start = { 0 };
	struct grub_run how = {
		.files = { file_has, g }, .read = file_text, .entries = entries,
		.start = &start, .saved = &g->env,
	};
	int err = first_variables(g->h, &start);

	grub_menu_free(&g->menu);
	if (!err)
		err = grub_menu_read(&g->menu, (char *)g->text.data, g->text.len, &how);
	grub_vars_free(&start);
	return err;
}

static int read_bls(struct grub *g)
{
	char *dir = host_path(g->h, "/boot/loader/entries");
	int err = dir ? bls_read(&g->bls, dir) : -ENOMEM;

	free(dir);
	bls_sort_grub(&g->bls);
	return err;
}

static int read_environment(struct grub *g)
{
	struct buf env = { 0 };
	int err = read_in(g->h, g->dir, "grubenv", ENV_MAX, &env);

	if (!err)
		err = grub_env_read(&env, &g->env);
	buf_free(&env);
	return err == -ENOENT ? 0 : err;
}

/*
 * All that is read in a folder, which is taken over, and the menu as of now. 0, -ENOMEM,
 * or why it cannot be.
 */
static int open_in(const struct host *h, char *dir, struct grub *g)
{
	int err;

	memset(g, 0, sizeof(*g));
	g->h = h;
	g->dir = dir;
	if (!g->dir)
		return -ENOENT;
	err = read_in(h, g->dir, "grub.cfg", CFG_MAX, &g->text);
	if (!err)
		err = read_environment(g);
	if (!err) {
		g->bls_err = read_bls(g);
		err = g->bls_err == -ENOMEM ? -ENOMEM : run_menu(g);
	}
	/* It matters only where the menu is made from it. */
	if (!err && g->menu.bls)
		err = g->bls_err;
	if (err)
		grub_close(g);
	return err;
}

static int grub_open(const struct host *h, struct grub *g)
{
	return open_in(h, find_directory(h), g);
}

static char *saved_value(const struct grub_vars *v, const char *name)
{
	const char *value = grub_vars_get(v, name, strlen(name));

	return *value ? strdup(value) : NULL;
}

/* The entry that the menu starts by itself, or *why not. 0 or -ENOMEM. */
static int follow(const struct grub *g, const struct grub_entry **entry, char **why)
{
	const struct grub_menu *m = &g->menu;
	bool open = strchr(m->chosen, GRUB_UNKNOWN);
	int at = m->unclear || open ? -EAGAIN : grub_resolve(m, m->chosen);

	*entry = at >= 0 && !m->list[at].unclear ? &m->list[at] : NULL;
	if (*entry)
		return 0;
	free(*why);
	*why = m->unclear ? strdup("grub.cfg chooses its default in a way that is not "
				   "known here") :
	       at == -ENOENT ? strdup("grub.cfg has no entry") :
	       at >= 0 ? text_of("which kernel the default entry '%s' boots depends on a "
				 "condition in grub.cfg", m->list[at].title) :
	       strdup("which entry is the default depends on a condition in grub.cfg");
	return *why ? 0 : -ENOMEM;
}

/* A file that an entry loads, on this host; NULL: not found. */
static char *loaded_file(const void *grub, const char *path)
{
	const char *end = path ? strrchr(path, ')') : NULL;

	return path ? real_path(grub, end ? end + 1 :
				path[0] == GRUB_UNKNOWN ? path + 1 : path) : NULL;
}

/* The kernel that an entry boots; NULL: none that is installed. */
static const struct kernel *kernel_of(const struct grub *g, const struct kernels *k,
				      const struct grub_entry *e)
{
	char *file = loaded_file(g, e->image), *says;
	const struct kernel *is = NULL;

	if (e->chained) {
		says = file ? boot_file_section(file, ".uname") : NULL;
		is = says ? kernels_find(k, says) : NULL;
		free(says);
	} else if (e->image) {
		is = kernels_by_file(k, file, e->image);
	}
	free(file);
	return is;
}

/* Names the kernel of an entry, or says why not; *release: NULL then. */
static int name_kernel(const struct grub *g, const struct kernels *k,
		       const struct grub_entry *e, const char **release, char **why)
{
	const struct kernel *kernel = e ? kernel_of(g, k, e) : NULL;

	*release = kernel ? kernel->release : NULL;
	if (kernel || !e)
		return 0;
	free(*why);
	*why = e->image && !e->chained ? text_of("the default entry '%s' boots %s, which is no kernel "
				  "installed here", e->title, e->image) :
			  text_of("the default entry '%s' boots no Linux kernel", e->title);
	return *why ? 0 : -ENOMEM;
}

static void take_text(char **field, const char *text, int *err)
{
	*field = text ? strdup(text) : NULL;
	if (text && !*field)
		*err = -ENOMEM;
}

static int take_files(const struct grub *g, const struct grub_entry *e,
		      const char *release, struct boot_files *f)
{
	int err;

	f->kernel = strdup(release);
	f->image = loaded_file(g, e->image);
	f->unified = e->chained;
	err = boot_files_archives(f, e->initrd, loaded_file, g);
	return f->kernel ? err : -ENOMEM;
}

static int take_entry(const struct grub *g, const struct grub_entry *e,
		      const char *release, struct next_boot *out)
{
	char *p;
	int err = 0;

	if (!e)
		return 0;
	take_text(&out->entry, e->id ? e->id : e->title, &err);
	take_text(&out->kernel, release, &err);
	if (e->chained && release) {
		char *file = loaded_file(g, e->image);

		out->cmdline = file ? boot_file_section(file, ".cmdline") : NULL;
		free(file);
	} else {
		take_text(&out->cmdline, e->cmdline, &err);
	}
	/* What a variable of the device would have put in is left out. */
	for (p = out->cmdline; p && (p = strchr(p, GRUB_UNKNOWN)); )
		memmove(p, p + 1, strlen(p));
	for (p = out->cmdline; p && *p && p[strlen(p) - 1] == ' '; )
		p[strlen(p) - 1] = '\0';
	if (out->entry)
		make_printable(out->entry);
	if (!err && release)
		err = take_files(g, e, release, &out->files);
	return err;
}

/* What other entries load, for the kernels that are not the next. */
static int take_menu(const struct grub *g, const struct kernels *k, struct next_boot *out)
{
	int err = 0;

	for (size_t i = 0; i < g->menu.count && !err; i++) {
		const struct grub_entry *e = &g->menu.list[i];
		const struct kernel *is = e->unclear ? NULL : kernel_of(g, k, e);
		struct boot_files f = { 0 };

		if (!is)
			continue;
		err = take_files(g, e, is->release, &f);
		if (!err)
			err = next_boot_add(out, &f);
		else
			boot_files_free(&f);
	}
	return err;
}

/* The boot after: the environment block as this one leaves it. */
static int boot_once(struct grub *g)
{
	static const char *const kept[] = { "saved_entry", "prev_saved_entry" };
	int err = grub_vars_set(&g->env, "next_entry", "");

	for (size_t i = 0; i < ARRAY_SIZE(kept) && !err; i++)
		for (size_t w = 0; w < g->menu.written.count && !err; w++)
			if (!strcmp(g->menu.written.list[w].name, kept[i]))
				err = grub_vars_set(&g->env, kept[i],
						    g->menu.written.list[w].value);
	return err ? err : run_menu(g);
}

static int fill(struct grub *g, const struct kernels *k, struct next_boot *out)
{
	const struct grub_entry *e;
	const char *release;
	char *chosen = strdup(g->menu.chosen);
	bool lasts, kept = *grub_vars_get(&g->env, "saved_entry", strlen("saved_entry"));
	int err = chosen ? follow(g, &e, &out->why) : -ENOMEM;

	if (!err)
		err = name_kernel(g, k, e, &release, &out->why);
	if (!err)
		err = take_entry(g, e, release, out);
	if (!err)
		err = take_menu(g, k, out);
	if (!err)
		err = boot_once(g);
	if (!err) {
		char *why = NULL;

		lasts = !strcmp(chosen, g->menu.chosen);
		err = follow(g, &e, &why);
		if (!err)
			err = name_kernel(g, k, e, &release, &why);
		if (!err)
			take_text(&out->later, release, &err);
		out->once = !lasts;
		free(why);
	}
	free(chosen);
	if (!err && out->kernel)
		err = next_boot_say(out, out->once ? "GRUB, chosen for one boot: %s" :
				    kept ? "GRUB, its saved default: %s" :
				    "GRUB, its default: %s", out->entry);
	return err;
}

/*
 * Two folders with a menu, as after a change of distribution: which of them GRUB reads
 * stands in GRUB itself, so they have to agree. 0 or -ENOMEM.
 */
static int see_other_menu(const struct grub *g, const struct kernels *k, struct next_boot *out)
{
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(directories) && out->kernel && !err; i++) {
		struct next_boot other = { 0 };
		struct grub second;

		if (!strcmp(directories[i], g->dir) || !has_menu(g->h, directories[i]) ||
		    is_stub(g->h, directories[i]))
			continue;
		err = open_in(g->h, strdup(directories[i]), &second);
		if (!err) {
			err = fill(&second, k, &other);
			grub_close(&second);
		}
		if (err != -ENOMEM && (err || !other.kernel || strcmp(other.kernel, out->kernel))) {
			free(out->kernel);
			out->kernel = NULL;
			err = next_boot_say(out, "%s and %s both have a menu of GRUB, and they boot "
					    "other kernels: take away the one that is not used",
					    g->dir, directories[i]);
		}
		next_boot_free(&other);
	}
	return err;
}

/* Would another saved_entry boot something else? Asked with an unknown one. */
static int see_obstacle(struct grub *g, struct next_boot *out)
{
	int err = grub_vars_set(&g->env, "saved_entry", GRUB_UNKNOWN_TEXT);

	if (!err)
		err = run_menu(g);
	if (err || g->menu.unclear || strchr(g->menu.chosen, GRUB_UNKNOWN))
		return err;
	out->obstacle = strdup("GRUB does not keep its default: set GRUB_DEFAULT=saved in "
			       "/etc/default/grub and run update-grub");
	return out->obstacle ? 0 : -ENOMEM;
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
	out->saved = saved_value(&g.env, "saved_entry");
	if (saved) {
		err = grub_vars_set(&g.env, "saved_entry", saved);
		if (!err)
			err = run_menu(&g);
	}
	if (!err)
		err = fill(&g, k, out);
	if (!err)
		err = see_other_menu(&g, k, out);
	if (!err)
		err = see_obstacle(&g, out);
	grub_close(&g);
	return err;
}

/*
 * The entry of a kernel, and its path where that goes on meaning this kernel; -1:
 * there is none. The one at the top is always the newest kernel: only an identifier
 * with the release in it is kept to.
 */
static int find_entry(const struct grub *g, const struct kernels *k, const char *release,
		      char **path)
{
	int first = -1;

	*path = NULL;
	for (size_t i = 0; i < g->menu.count; i++) {
		const struct grub_entry *e = &g->menu.list[i];
		const struct kernel *is = kernel_of(g, k, e);

		if (!is || strcmp(is->release, release) || e->conditional || e->unclear ||
		    (e->id && strstr(e->id, "recovery")) || strstr(e->title, "recovery"))
			continue;
		if (first < 0)
			first = i;
		if (e->id && strstr(e->id, release) && !strchr(e->id, GRUB_UNKNOWN))
			*path = grub_path(&g->menu, i);
		/* It must lead there. */
		if (*path && grub_resolve(&g->menu, *path) == (int)i)
			return i;
		free(*path);
		*path = NULL;
	}
	return first;
}

static char *entry_for(const struct host *h, const struct kernels *k,
		       const char *release)
{
	struct grub g;
	char *path;

	if (grub_open(h, &g))
		return NULL;
	find_entry(&g, k, release, &path);
	grub_close(&g);
	return path;
}

/* "SUBMENU > ENTRY", as the titles stand on the screen; malloc'ed. */
static char *titles(const struct grub_menu *m, int at)
{
	char *text = strdup(m->list[at].title);

	while (text && (at = m->list[at].parent) >= 0) {
		char *longer = text_of("%s > %s", m->list[at].title, text);

		free(text);
		text = longer;
	}
	if (text)
		make_printable(text);
	return text;
}

/* GRUB is asked for one boot by a variable that its menu must look at. */
static int choice(const struct host *h, const struct kernels *k, const char *release,
		  struct boot_choice *out)
{
	static const char *const tools[] = { "grub-reboot", "grub2-reboot", NULL };
	struct grub g;
	char *path;
	int at, err = grub_open(h, &g);

	if (err)
		return err;
	at = find_entry(&g, k, release, &path);
	out->menu = at >= 0 && !strchr(g.menu.list[at].title, GRUB_UNKNOWN) ?
		    titles(&g.menu, at) : NULL;
	if (path && memmem(g.text.data, g.text.len, "next_entry", 10))
		out->once = loader_command(h, tools, "", path);
	free(path);
	grub_close(&g);
	return 0;
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

/* The folder that a stub names, on the device that it searched for; malloc'ed, NULL: none. */
static char *stub_folder(const struct buf *stub)
{
	char *text = strndup((char *)stub->data, stub->len), *folder = NULL;
	const char *at = text ? strstr(text, "prefix=") : NULL;
	size_t len = at ? strcspn(at, "\n)") : 0;

	if (at && at[len] == ')') {
		at += len + 1;
		at += strspn(at, "'\"");
		folder = strndup(at, strcspn(at, "'\" \t\n;"));
	}
	free(text);
	return folder;
}

/*
 * Is it our menu that a stub reads, if it finds this file system? Of btrfs, GRUB sees all
 * subvolumes as folders, and several systems may be in one, or what is hidden below the
 * mount of /boot. -ENOENT: no such device.
 */
static int is_in(const struct host *h, const char *id, const char *dir, const struct buf *stub)
{
	char *real = host_resolve(h, dir), *ours = NULL, *theirs = stub_folder(stub);
	int is = mount_path(h, id, real ? real + strlen(host_is_live(h) ? "" : host_root(h)) : dir,
			    &ours);

	/* Below the default subvolume, which is not known; or without a folder that can be read. */
	if (is == 1 && (!theirs || memmem(stub->data, stub->len, "btrfs_relative_path", 19)))
		is = theirs || str_ends_with(dir, ours);
	else if (is == 1)
		is = !strcmp(ours, theirs);
	free(theirs);
	free(ours);
	free(real);
	return is;
}

/* Does a stub search for the file system of our menu? Not told, where none is known. */
static enum menu leads_to_boot(const struct host *h, const char *dir, const struct buf *stub)
{
	static const char *const parts = "0123456789abcdefABCDEF-";
	char *text = strndup((char *)stub->data, stub->len), *rest = text, *word;
	enum menu leads = MENU_UNKNOWN;

	while (leads != MENU_SAME && (word = strsep(&rest, " \t\n'\"=,"))) {
		int at = strlen(word) >= 8 && strspn(word, parts) == strlen(word) ?
			 is_in(h, word, dir, stub) : -ENOENT;

		leads = at == 1 ? MENU_SAME : at == 0 ? MENU_OTHER : leads;
	}
	free(text);
	return leads;
}

/*
 * GRUB, or shim before it, looks at the grub.cfg beside it, which is ours, or leads to
 * ours, or to that of another system on this machine.
 */
static enum menu reads_same(const struct host *h, const char *program, const char *mount)
{
	const char *name = strrchr(program, '/') + 1;
	char *dir = find_directory(h), *path = dir ? host_path(h, dir) : NULL;
	char *beside = text_of("%.*sgrub.cfg", (int)(name - program), program);
	struct buf text = { 0 };
	enum menu same = MENU_UNKNOWN;

	(void)mount;
	if (path && beside && (!strncasecmp(name, "shim", 4) || !strncasecmp(name, "grub", 4) ||
			       !strncasecmp(name, "boot", 4)) &&
	    !file_read(beside, CFG_MAX, &text)) {
		if (memmem(text.data, text.len, "configfile", 10) &&
		    !memmem(text.data, text.len, "menuentry", 9))
			same = !memmem(text.data, text.len, "/grub2", 6) !=
			       !str_ends_with(dir, "/grub2") ? MENU_OTHER : leads_to_boot(h, dir, &text);
		else
			same = !strncmp(path, beside, strlen(path)) &&
			       !strcmp(beside + strlen(path), "/grub.cfg") ? MENU_SAME : MENU_OTHER;
	}
	buf_free(&text);
	free(beside);
	free(path);
	free(dir);
	return same;
}

static const char *const partitions[] = { "/boot", NULL };

static const char *const watched[] = {
	"/boot/grub*/{grub,custom}.cfg", "{/boot/efi,/efi}/EFI/*/grub.cfg", "/boot/loader/entries", NULL
};

const struct loader_ops grub_loader = {
	.name = "grub",
	.info = "GRUB",
	.watched = watched,
	.partitions = partitions,
	.reads_same = reads_same,
	.is_here = is_here,
	.next_boot = next_boot,
	.entry_for = entry_for,
	.choice = choice,
	.set_default = set_default,
};
