// SPDX-License-Identifier: GPL-2.0-or-later
/* systemd-boot: loader.conf, entries and unified kernel images on its partition. */
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/boot/bls.h"
#include "guard/boot/sd_boot.h"
#include "guard/host/bootfile.h"

#define CONF_MAX (64u << 10)

/* Where the EFI system partition may be mounted, and what else is read. */
static const char *const partitions[] = { "/efi", "/boot/efi", "/boot", NULL };

struct sdboot {
	struct bls bls;
	char *fallback;		/* "default" of loader.conf */
	char *preferred;	/* "preferred" of it, of newer ones */
	bool here;
	int err;		/* of what could not be read */
};

static int read_partition(const struct host *h, const char *rel,
			  struct sdboot *s)
{
	struct buf conf = { 0 };
	char *dir = host_path(h, rel), *path;
	size_t before = s->bls.count;
	int err = -ENOMEM;

	if (!dir || asprintf(&path, "%s/loader/loader.conf", dir) < 0) {
		free(dir);
		return -ENOMEM;
	}
	err = file_read(path, CONF_MAX, &conf);
	free(path);
	if (!err && !s->fallback)
		s->fallback = bls_setting((char *)conf.data, conf.len,
					  "default");
	if (!err && !s->preferred)
		s->preferred = bls_setting((char *)conf.data, conf.len,
					   "preferred");
	s->here |= !err;
	/* Its default may be another one than the first entry. */
	if (err && err != -ENOENT && err != -ENOTDIR)
		s->err = err;
	buf_free(&conf);
	err = asprintf(&path, "%s/loader/entries", dir) < 0 ? -ENOMEM :
	      bls_read(&s->bls, path);
	if (err != -ENOMEM)
		free(path);
	if (!err) {
		err = asprintf(&path, "%s/EFI/Linux", dir) < 0 ? -ENOMEM :
		      bls_read(&s->bls, path);
		if (err != -ENOMEM)
			free(path);
	}
	/* Paths of an entry start where the entry is. */
	for (size_t i = before; i < s->bls.count && err != -ENOMEM; i++) {
		s->bls.list[i].dir = strdup(dir);
		if (!s->bls.list[i].dir)
			err = -ENOMEM;
	}
	free(dir);
	if (err && err != -ENOMEM) {
		s->err = err;
		err = 0;
	}
	return err;
}

static void sdboot_close(struct sdboot *s)
{
	bls_free(&s->bls);
	free(s->fallback);
	free(s->preferred);
}

static int sdboot_open(const struct host *h, const char *const *places, struct sdboot *s)
{
	int err = 0;

	memset(s, 0, sizeof(*s));
	for (; *places && !err; places++)
		err = read_partition(h, *places, s);
	if (err)
		sdboot_close(s);
	else
		bls_sort(&s->bls);
	return err;
}

static bool is_here(const struct host *h)
{
	struct sdboot s;
	bool here;

	if (sdboot_open(h, partitions, &s))
		return false;
	here = s.here && s.bls.count;
	sdboot_close(&s);
	return here;
}

/* Pop!_OS has changed its systemd-boot to match names without ".conf", too. */
static bool takes_short_names(const struct host *h)
{
	char *path = host_path(h, "/etc/os-release");
	struct buf text = { 0 };
	bool pop = path && !file_read(path, CONF_MAX, &text) &&
		   memmem(text.data, text.len, "\nID=pop\n", 8);

	buf_free(&text);
	free(path);
	return pop;
}

static int match(const struct host *h, const struct sdboot *s, const char *wanted)
{
	int at = bls_match(&s->bls, wanted);
	char *whole;

	if (at >= 0 || !takes_short_names(h))
		return at;
	whole = text_of("%s.conf", wanted);
	at = whole ? bls_match(&s->bls, whole) : -1;
	free(whole);
	return at;
}

/* The entry that a default means; "@saved" is the one booted last. */
static int find_default(const struct host *h, const struct sdboot *s,
			const char *wanted)
{
	char *last;
	int at;

	if (strcmp(wanted, "@saved"))
		return match(h, s, wanted);
	last = loader_variable(h, "LoaderEntryLastBooted");
	at = last ? bls_match(&s->bls, last) : -1;
	free(last);
	return at;
}

/* A file of the partition, whether it is there or not; malloc'ed. */
static char *named_file(const void *entry, const char *rel)
{
	const struct bls_entry *e = entry;

	return e->dir && rel && !strstr(rel, "..") ?
	       text_of("%s%s%s", e->dir, *rel == '/' ? "" : "/", rel) : NULL;
}

static char *file_of(const struct bls_entry *e, const char *rel)
{
	char *path = named_file(e, rel);

	if (path && path_exists(path))
		return path;
	free(path);
	return NULL;
}

/* The unified image that an entry starts; malloc'ed. */
static char *unified_file(const struct bls_entry *e)
{
	char *rel, *path;

	if (e->efi)
		return named_file(e, e->efi);
	rel = text_of("/EFI/Linux/%s", e->file);
	path = rel ? named_file(e, rel) : NULL;
	free(rel);
	return path;
}

/*
 * May it mean an entry that is not read here? systemd-boot makes some itself, of other
 * systems and of the firmware, and one of each profile of a unified image ("x.efi@1").
 */
static bool is_unread(const struct host *h, const char *wanted)
{
	static const char *const made[] = {
		"auto-windows", "auto-osx", "auto-efi-shell", "auto-efi-default",
		"auto-reboot-to-firmware-setup", "auto-reboot", "auto-poweroff",
	};
	char *last = strcmp(wanted, "@saved") ? NULL : loader_variable(h, "LoaderEntryLastBooted");
	const char *is = last ? last : wanted;
	bool unread = strcmp(is, "@saved") && strchr(is, '@');

	for (size_t i = 0; i < ARRAY_SIZE(made) && !unread; i++)
		unread = !fnmatch(is, made[i], FNM_CASEFOLD);
	free(last);
	return unread;
}

/* In the order in which systemd-boot asks; 0 (the first) if none says, -1: it is not read. */
static int choose(const struct host *h, const struct sdboot *s,
		  const char *saved)
{
	const char *wanted[] = { saved && *saved ? saved : NULL, s->fallback };

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		int at = wanted[i] ? find_default(h, s, wanted[i]) : -1;

		if (at >= 0 || (wanted[i] && is_unread(h, wanted[i])))
			return at;
	}
	return 0;
}

/* Has it several profiles, each with sections of its own that count before the common ones? */
static bool has_profiles(const struct bls_entry *e)
{
	char *file = e->unified ? unified_file(e) : NULL;
	bool has = file && boot_file_has(file, ".profile");

	free(file);
	return has;
}

/* What the image itself says counts more than what it is called. */
static const char *release_of(const struct kernels *k,
			      const struct bls_entry *e)
{
	char *file = e->unified ? unified_file(e) : file_of(e, e->image);
	char *says = e->unified && file ? boot_file_release(file) : NULL;
	const struct kernel *is = NULL;

	if (!says && e->unified && file)
		says = boot_file_section(file, ".uname");
	if (says)
		is = kernels_find(k, says);
	else if (e->image)
		is = kernels_by_file(k, file, e->image);
	for (size_t i = 0; !says && e->unified && !is && i < k->count; i++)
		if (strstr(e->id, k->list[i].release))
			is = &k->list[i];
	free(file);
	free(says);
	return is ? is->release : NULL;
}

/* What is loaded: the partition's copies, or what is in the unified image. */
static int take_files(const struct bls_entry *e, const char *release, struct boot_files *f)
{
	int err = 0;

	f->kernel = strdup(release);
	f->unified = e->unified;
	f->image = e->unified ? unified_file(e) : named_file(e, e->image);
	if (!e->unified)
		err = boot_files_archives(f, e->initrd, named_file, e);
	return f->kernel ? err : -ENOMEM;
}

static int is_addon(const struct dirent *e)
{
	return str_ends_with(e->d_name, ".addon.efi");
}

/* Adds the command line of an addon; malloc'ed, line is given up. */
static char *add_addon(char *line, const char *addon)
{
	char *more = boot_file_section(addon, ".cmdline");
	char *all = more ? text_of("%s%s%s", line ? line : "", line ? " " : "", more) : line;

	if (more)
		free(line);
	free(more);
	return all;
}

/* The addons in a folder, in the order of their names. 0 or -ENOMEM. */
static int add_addons(char **line, const char *dir)
{
	struct dirent **names;
	int n = scandir(dir, &names, is_addon, alphasort), err = 0;

	for (int i = 0; i < n; i++) {
		char *path = text_of("%s/%s", dir, names[i]->d_name);

		if (path)
			*line = add_addon(*line, path);
		else
			err = -ENOMEM;
		free(path);
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return err;
}

/* What a unified image has, and the addons of all images and of this one. */
static int unified_cmdline(const struct bls_entry *e, const char *file, char **line)
{
	char *all = text_of("%s/loader/addons", e->dir ? e->dir : "");
	char *own = text_of("%s.extra.d", file);
	int err = all && own ? 0 : -ENOMEM;

	*line = boot_file_section(file, ".cmdline");
	if (!err)
		err = add_addons(line, all);
	if (!err)
		err = add_addons(line, own);
	free(all);
	free(own);
	return err;
}

static int take_cmdline(const struct bls_entry *e, struct next_boot *out)
{
	char *file = e->unified ? unified_file(e) : NULL;
	int err = 0;

	if (file)
		err = unified_cmdline(e, file, &out->cmdline);
	else if (!e->unified)
		out->cmdline = strdup(e->options ? e->options : "");
	free(file);
	return err ? err : e->unified || out->cmdline ? 0 : -ENOMEM;
}

/* What the other entries load, for the kernels that are not the next. */
static int take_menu(const struct kernels *k, const struct sdboot *s, struct next_boot *out)
{
	int err = 0;

	for (size_t i = 0; i < s->bls.count && !err; i++) {
		const struct bls_entry *e = &s->bls.list[i];
		const char *release = e->bad ? NULL : release_of(k, e);
		struct boot_files f = { 0 };

		if (!release)
			continue;
		err = take_files(e, release, &f);
		if (!err)
			err = next_boot_add(out, &f);
		else
			boot_files_free(&f);
	}
	return err;
}

/*
 * Since version 260 there is an entry that goes before the default, as long as its
 * attempts are not used up. Which of several settings counts is not known here.
 */
static bool prefers_another(const struct host *h, const struct kernels *k,
			    const struct sdboot *s, const char *release)
{
	char *of_firmware = loader_variable(h, "LoaderEntryPreferred");
	const char *wanted[] = { of_firmware, s->preferred };
	bool another = false;

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		int at = wanted[i] ? find_default(h, s, wanted[i]) : -1;
		const char *is = at < 0 ? NULL : release_of(k, &s->bls.list[at]);

		another |= at >= 0 && (!is || !release || strcmp(is, release) != 0);
	}
	free(of_firmware);
	return another;
}

static int fill(const struct host *h, const struct kernels *k,
		const char *saved, const struct sdboot *s,
		struct next_boot *out)
{
	char *once = loader_variable(h, "LoaderEntryOneShot");
	int last = choose(h, s, saved ? saved : out->saved);
	int at = once ? bls_match(&s->bls, once) : -1;
	bool unread = once ? at < 0 : last < 0;
	const char *release, *later = last < 0 ? NULL : release_of(k, &s->bls.list[last]);
	const struct bls_entry *e;

	out->once = at >= 0;
	free(once);
	if (unread)
		return next_boot_say(out, "systemd-boot is told to start an entry that is not read here, "
				     "as of another system or of the firmware: bootctl set-default, "
				     "bootctl set-oneshot");
	e = &s->bls.list[at < 0 ? last : at];
	if (has_profiles(e))
		return next_boot_say(out, "%s has several profiles, which are not read", e->id);
	release = release_of(k, e);
	if (prefers_another(h, k, s, later))
		return next_boot_say(out, "systemd-boot has a preferred entry of another kernel "
				     "than its default, and only newer ones mind it");
	if (take_cmdline(e, out) || take_menu(k, s, out) ||
	    (release && take_files(e, release, &out->files)))
		return -ENOMEM;
	out->entry = strdup(e->id);
	out->kernel = release ? strdup(release) : NULL;
	out->later = later ? strdup(later) : NULL;
	if (!out->entry || (release && !out->kernel) ||
	    (later && !out->later))
		return -ENOMEM;
	if (!release)
		return next_boot_say(out, "systemd-boot's default entry '%s' "
				     "boots no kernel that is installed here",
				     e->id);
	return next_boot_say(out, out->once ? "systemd-boot, chosen for one "
			     "boot: %s" : "systemd-boot, its default: %s",
			     e->id);
}

int sd_boot_read(const struct host *h, const struct kernels *k, const char *saved,
		 const char *const *places, struct next_boot *out)
{
	struct sdboot s;
	int err = sdboot_open(h, places, &s);

	if (err)
		return err;
	out->saved = loader_variable(h, "LoaderEntryDefault");
	if (s.err)
		err = next_boot_say(out, "systemd-boot's entries cannot be "
				    "read: %s", strerror(-s.err));
	else if (!s.bls.count)
		err = next_boot_say(out, "no entry of systemd-boot is found; "
				    "is its partition mounted?");
	else
		err = fill(h, k, saved, &s, out);
	sdboot_close(&s);
	return err;
}

static int next_boot(const struct host *h, const struct kernels *k,
		     const char *saved, struct next_boot *out)
{
	return sd_boot_read(h, k, saved, partitions, out);
}

static const struct bls_entry *find_entry(const struct sdboot *s, const struct kernels *k,
					  const char *release)
{
	for (size_t i = 0; i < s->bls.count; i++) {
		const char *is = release_of(k, &s->bls.list[i]);

		if (is && !strcmp(is, release) && !s->bls.list[i].bad)
			return &s->bls.list[i];
	}
	return NULL;
}

static char *entry_for(const struct host *h, const struct kernels *k,
		       const char *release)
{
	const struct bls_entry *e;
	struct sdboot s;
	char *id;

	if (sdboot_open(h, partitions, &s))
		return NULL;
	e = find_entry(&s, k, release);
	id = e ? strdup(e->id) : NULL;
	sdboot_close(&s);
	return id;
}

/* Titles that are the same have the version behind them on the screen. */
static int choice(const struct host *h, const struct kernels *k, const char *release,
		  struct boot_choice *out)
{
	static const char *const tools[] = { "bootctl", NULL };
	const struct bls_entry *e;
	struct sdboot s;
	int err = sdboot_open(h, partitions, &s);

	if (err)
		return err;
	e = find_entry(&s, k, release);
	if (e) {
		out->menu = text_of("%s (%s)", e->title ? e->title : e->id,
				    e->version ? e->version : release);
		if (out->menu)
			make_printable(out->menu);
		out->once = loader_command(h, tools, "set-oneshot", e->id);
	}
	sdboot_close(&s);
	return 0;
}

static int set_default(const struct host *h, const char *entry, char said[LOADER_SAID])
{
	static const char *const names[] = { "bootctl", NULL };
	char *tool = host_tool(h, names);
	char *argv[] = { tool, (char *)"set-default",
			 (char *)(entry ? entry : ""), NULL };
	int err = tool ? loader_run_tool(argv, said) : -ENOENT;

	free(tool);
	return err;
}

/* It reads the partition that it lies in. */
static enum menu reads_same(const struct host *h, const char *program, const char *mount)
{
	enum menu same = MENU_OTHER;

	if (!is_here(h) || strncasecmp(strrchr(program, '/') + 1, "systemd-boot", 12))
		return MENU_UNKNOWN;
	for (size_t i = 0; partitions[i]; i++)
		if (!strcmp(partitions[i], mount))
			same = MENU_SAME;
	return same;
}

static const char *const watched[] = {
	"{/efi,/boot/efi,/boot}/loader/{entries,loader.conf}", "{/efi,/boot/efi,/boot}/EFI/Linux", NULL
};

const struct loader_ops sd_boot_loader = {
	.name = "systemd-boot",
	.info = "systemd-boot",
	.watched = watched,
	.partitions = partitions,
	.reads_same = reads_same,
	.is_here = is_here,
	.next_boot = next_boot,
	.entry_for = entry_for,
	.choice = choice,
	.set_default = set_default,
};
