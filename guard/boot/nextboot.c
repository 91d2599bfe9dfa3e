// SPDX-License-Identifier: GPL-2.0-or-later
/* Chooses the boot loader of the host and asks it what boots next. */
#include "guard/boot/nextboot.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/util.h"
#include "guard/boot/efi_start.h"
#include "guard/boot/kexec.h"
#include "guard/boot/loader.h"
#include "guard/boot/root_fs.h"
#include "guard/host/bootfile.h"

#define TABLE_MAX (1u << 20)

/*
 * In the order of preference where the firmware does not say which one ran; the others
 * are asked then. proxmox-boot-tool's copies are what boots, whatever is in /boot.
 */
static const struct loader_ops *const loaders[] = {
	&proxmox_loader, &grub_loader, &sd_boot_loader, &zfsbootmenu_loader,
	&limine_loader, &refind_loader, &extlinux_loader, &raspberry_loader,
};

const char *loader_word(const struct loader_ops *l)
{
	return l ? l->name : "unknown";
}

const struct boot_files *next_boot_files(const struct next_boot *n, const char *release)
{
	if (n->kernel && !strcmp(n->kernel, release))
		return &n->files;
	for (size_t i = 0; i < n->menu_count; i++)
		if (!strcmp(n->menu[i].kernel, release))
			return &n->menu[i];
	return NULL;
}

/* The loader that started this boot gives its name to the firmware. */
static const struct loader_ops *started_by(const struct host *h)
{
	char *name = loader_variable(h, "LoaderInfo");
	const struct loader_ops *l = NULL;

	/* The copies have the same loaders in front of them. */
	if (proxmox_loader.is_here(h))
		l = &proxmox_loader;
	for (size_t i = 0; name && !l && i < ARRAY_SIZE(loaders); i++)
		if (!strncmp(name, loaders[i]->info, strlen(loaders[i]->info)))
			l = loaders[i];
	free(name);
	return l;
}

static const struct loader_ops *find_loader(const struct host *h)
{
	const struct loader_ops *l = started_by(h);

	for (size_t i = 0; !l && i < ARRAY_SIZE(loaders); i++)
		if (loaders[i]->is_here(h))
			l = loaders[i];
	return l;
}

/* The loader that the firmware starts next in place of this one, if its menu is read here. */
static const struct loader_ops *started_next(const struct host *h, const struct efi_start *s)
{
	for (size_t i = 0; s->other && s->program && !s->once && i < ARRAY_SIZE(loaders); i++)
		if (loaders[i]->reads_same &&
		    loaders[i]->reads_same(h, s->program, s->mount) == MENU_SAME)
			return loaders[i];
	return NULL;
}

/* Is it certain that the firmware starts this loader, with the menu that is read here? */
static bool is_started(const struct host *h, const struct efi_start *s,
		       const struct loader_ops *l)
{
	return !s->other && s->program && l && l->reads_same &&
	       l->reads_same(h, s->program, s->mount) == MENU_SAME;
}

/* Without a loader between them: what the loaders have here does not count. */
static bool starts_kernel(const struct efi_start *s)
{
	char *release = s->program ? boot_file_release(s->program) : NULL;
	bool kernel = release || (s->program && boot_file_has(s->program, ".linux"));

	free(release);
	return kernel;
}

/* What the firmware makes of the answer. 0 or -ENOMEM. */
static int ask_firmware(const struct host *h, const struct efi_start *s, bool other,
			struct next_boot *out)
{
	const struct loader_ops *l = out->loader;
	char *why = out->why;
	int err;

	if (!other && s->program && l && l->reads_same &&
	    l->reads_same(h, s->program, s->mount) == MENU_OTHER) {
		free(out->kernel);
		out->kernel = NULL;
		return next_boot_say(out, "%s, which the firmware starts, reads another menu than is "
				     "here, as of another system on this machine, or what is hidden "
				     "below the mount of /boot: look at efibootmgr -v, and put first "
				     "what reads this one: efibootmgr -o", s->program);
	}
	if (other || starts_kernel(s)) {
		free(out->kernel);
		out->kernel = NULL;
		return next_boot_say(out, "%s%s%s", other ? s->other : "the firmware starts ",
				     other ? "" : s->program, other ? "" : " itself, without a boot "
				     "loader, and what it is told is not read: look at efibootmgr -v");
	}
	if (!s->note || !out->kernel)
		return 0;
	out->why = NULL;
	err = next_boot_say(out, "%s; the firmware tries %s before, which had nothing to boot the "
			    "last time", why, s->note);
	free(why);
	return err;
}

/* Is there a line of fstab, or of mountinfo, with this mount point in its field? */
static bool has_mount(const struct buf *table, int field, const char *where)
{
	char *text = strndup((char *)table->data, table->len), *rest = text, *line;
	bool has = false;

	while (!has && (line = strsep(&rest, "\n"))) {
		char *save, *word = *line == '#' ? NULL : strtok_r(line, " \t", &save);

		for (int i = 0; i < field && word; i++)
			word = strtok_r(NULL, " \t", &save);
		for (size_t n = word ? strlen(word) : 0; n > 1 && word[n - 1] == '/'; n--)
			word[n - 1] = '\0';
		has = word && !strcmp(word, where);
	}
	free(text);
	return has;
}

static int read_table(const struct host *h, const char *rel, struct buf *out)
{
	char *path = host_path(h, rel);
	int err = path ? file_read(path, TABLE_MAX, out) : -ENOMEM;

	free(path);
	return err;
}

/*
 * A partition that the loader reads and that is not mounted: what lies in its place is
 * not what boots. NULL: there is none, or it cannot be told, as of a folder.
 */
static const char *unmounted(const struct host *h, const struct loader_ops *l)
{
	struct buf wanted = { 0 }, mounted = { 0 };
	const char *found = NULL;

	if (!read_table(h, "/etc/fstab", &wanted) &&
	    !read_table(h, "/proc/self/mountinfo", &mounted) && mounted.len)
		for (size_t i = 0; l->partitions && l->partitions[i] && !found; i++)
			if (has_mount(&wanted, 1, l->partitions[i]) &&
			    !has_mount(&mounted, 4, l->partitions[i]))
				found = l->partitions[i];
	buf_free(&wanted);
	buf_free(&mounted);
	return found;
}

/* The link that has systemd install packages in that boot, and reboot; NULL: there is none. */
static const char *pending_update(const struct host *h)
{
	static const char *const links[] = { "/system-update", "/etc/system-update", NULL };
	const char *found = NULL;

	for (size_t i = 0; links[i] && !found; i++) {
		char *path = host_path(h, links[i]);
		struct stat st;

		/* Wherever it leads to. */
		found = path && !lstat(path, &st) ? links[i] : NULL;
		free(path);
	}
	return found;
}

/* What nobody's menu says makes it unknown. 0 or -ENOMEM. */
static int look_around(const struct host *h, struct next_boot *out)
{
	const char *hidden = out->loader ? unmounted(h, out->loader) : NULL;
	const char *update = pending_update(h);
	int err;

	if (hidden) {
		free(out->kernel);
		out->kernel = NULL;
		return next_boot_say(out, "%s is in /etc/fstab and is not mounted, so what boots "
				     "is not to be seen: mount it", hidden);
	}
	if (update && out->kernel) {
		free(out->kernel);
		out->kernel = NULL;
		return next_boot_say(out, "%s has the next boot install updates and reboot, and what "
				     "they bring is not looked into: try a kernel in them before by "
				     "kmodkeep preflight, or ask again after that", update);
	}
	err = kexec_look(h, out);
	return err ? err : root_fs_look(h, out);
}

/*
 * Nothing says which loader started this host, and files of several are here: only what
 * they agree about is known. 0 or -ENOMEM.
 */
static int ask_others(const struct host *h, const struct kernels *k, struct next_boot *out)
{
	/* It writes that it started, so it did not. */
	bool efi = host_may_act(h) && host_has(h, "/sys/firmware/efi/efivars");
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(loaders) && out->kernel && !err; i++) {
		struct next_boot other = { .loader = loaders[i] };

		if (loaders[i] == out->loader || (efi && loaders[i] == &sd_boot_loader) ||
		    !loaders[i]->is_here(h))
			continue;
		err = loaders[i]->next_boot(h, k, NULL, &other);
		if (!err && (!other.kernel || strcmp(other.kernel, out->kernel))) {
			err = next_boot_say(out, "files of %s and of %s are here, they boot other "
					    "kernels, and nothing says which of them starts: take "
					    "away those of the other one", out->loader->name,
					    loaders[i]->name);
			free(out->kernel);
			out->kernel = NULL;
		}
		next_boot_free(&other);
	}
	return err == -ENOMEM ? err : 0;
}

int next_boot_read(const struct host *h, const struct kernels *k,
		   const char *saved, struct next_boot *out)
{
	const struct loader_ops *next;
	struct efi_start start;
	int err;

	memset(out, 0, sizeof(*out));
	out->loader = find_loader(h);
	/* After that: looking for their files mounts what is mounted when it is used. */
	err = efi_start_read(h, &start);
	if (err)
		return err;
	next = started_next(h, &start);
	if (next)
		out->loader = next;
	if (out->loader)
		err = out->loader->next_boot(h, k, saved, out);
	else
		err = next_boot_say(out, "no boot loader is found that is "
				    "known here: neither grub.cfg nor entries "
				    "of systemd-boot can be read");
	if (!err && out->kernel && !next && !started_by(h) && !is_started(h, &start, out->loader))
		err = ask_others(h, k, out);
	if (!err)
		err = look_around(h, out);
	if (!err)
		err = ask_firmware(h, &start, start.other && !next, out);
	if (!err && out->kernel) {
		out->program = start.program;
		out->said = start.said;
		start.program = NULL;
	}
	efi_start_free(&start);
	if (err)
		next_boot_free(out);
	return err;
}

char *next_boot_entry_for(const struct host *h, const struct kernels *k,
			  const struct loader_ops *loader, const char *release)
{
	return loader ? loader->entry_for(h, k, release) : NULL;
}

int next_boot_set_default(const struct host *h, const struct loader_ops *loader,
			  const char *entry, char said[LOADER_SAID])
{
	if (!host_may_act(h)) {
		snprintf(said, LOADER_SAID, "%s is not the running system, and nothing is "
			 "set or run in another one", host_root(h));
		return -EPERM;
	}
	snprintf(said, LOADER_SAID, "the boot loader's tool is not installed");
	return loader ? loader->set_default(h, entry, said) : -ENOENT;
}

void boot_choice_free(struct boot_choice *c)
{
	free(c->menu);
	free(c->once);
	memset(c, 0, sizeof(*c));
}

int boot_choice_read(const struct host *h, const struct kernels *k,
		     const struct loader_ops *loader, const char *release,
		     struct boot_choice *out)
{
	int err = 0;

	memset(out, 0, sizeof(*out));
	if (loader && loader->choice)
		err = loader->choice(h, k, release, out);
	if (err)
		boot_choice_free(out);
	/* A menu that cannot be read tells nothing. */
	return err == -ENOMEM ? err : 0;
}

static bool later(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec > b.tv_sec : a.tv_nsec > b.tv_nsec;
}

/* The host's root in front of a pattern stands for itself. Malloc'ed; NULL: no memory. */
static char *pattern_of(const struct host *h, const char *watched)
{
	const char *root = host_is_live(h) ? "" : host_root(h);
	char *pattern = malloc(2 * strlen(root) + strlen(watched) + 1), *to = pattern;

	for (; pattern && *root; *to++ = *root++)
		if (strchr("*?[]{},\\", *root))
			*to++ = '\\';
	if (pattern)
		strcpy(to, watched);
	return pattern;
}

static bool any_later(const struct host *h, const char *watched, struct timespec since)
{
	char *pattern = pattern_of(h, watched);
	glob_t found = { 0 };
	int err = pattern ? glob(pattern, GLOB_BRACE | GLOB_NOSORT, NULL, &found) : GLOB_NOSPACE;
	bool is = err && err != GLOB_NOMATCH;
	struct stat st;

	for (size_t i = 0; !err && !is && i < found.gl_pathc; i++)
		/* One that was renamed into place was written before. */
		is = !stat(found.gl_pathv[i], &st) &&
		     (later(st.st_mtim, since) || later(st.st_ctim, since));
	globfree(&found);
	free(pattern);
	return is;
}

bool next_boot_changed(const struct host *h, struct timespec since)
{
	/* An initramfs that another package had made again shows in its folder. */
	if (any_later(h, "/boot", since))
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(loaders); i++)
		for (const char *const *w = loaders[i]->watched; w && *w; w++)
			if (any_later(h, *w, since))
				return true;
	return false;
}
