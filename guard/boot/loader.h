/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A boot loader is a file here and an entry in the table of nextboot.c. All that
 * is known about one loader stands in its file.
 */
#ifndef KMODKEEP_LOADER_H
#define KMODKEEP_LOADER_H

#include "guard/boot/nextboot.h"

/* Which menu a program reads: the one that is read here, or that of another system. */
enum menu { MENU_UNKNOWN, MENU_SAME, MENU_OTHER };

struct loader_ops {
	/* Stable word for JSON and for people. */
	const char *name;
	/* How LoaderInfo, which the loader itself writes, begins. */
	const char *info;
	/* What decides what boots: patterns of glob(3) with braces; ends with NULL. */
	const char *const *watched;
	/* Where what it reads is mounted, if that is a partition; ends with NULL. */
	const char *const *partitions;
	/* Does the host have what this loader reads? */
	bool (*is_here)(const struct host *h);
	/*
	 * Of a program of EFI that is this loader, in a partition that is mounted there;
	 * unknown also if it is another loader. NULL: that is not told.
	 */
	enum menu (*reads_same)(const struct host *h, const char *program, const char *mount);
	/* Fills in all but loader; see next_boot_read(). 0 or -errno. */
	int (*next_boot)(const struct host *h, const struct kernels *k,
			 const char *saved, struct next_boot *out);
	/* See next_boot_entry_for(). */
	char *(*entry_for)(const struct host *h, const struct kernels *k,
			   const char *release);
	/* See boot_choice_read(); NULL: its menu is not read. 0 or -errno. */
	int (*choice)(const struct host *h, const struct kernels *k, const char *release,
		      struct boot_choice *out);
	/* See next_boot_set_default(). */
	int (*set_default)(const struct host *h, const char *entry,
			   char said[LOADER_SAID]);
};

extern const struct loader_ops grub_loader, sd_boot_loader, extlinux_loader, raspberry_loader,
	limine_loader, refind_loader, proxmox_loader;
/* One that is named alone, see named.c. */
extern const struct loader_ops zfsbootmenu_loader;

/* entry_for and set_default of a loader whose default is not set by kmodkeep: NULL, -ENOENT. */
char *loader_no_entry(const struct host *h, const struct kernels *k, const char *release);
int loader_no_default(const struct host *h, const char *entry, char said[LOADER_SAID]);

/* What a loader left with the firmware; malloc'ed, NULL if it is not there. */
char *loader_variable(const struct host *h, const char *name);

/*
 * Adds the archives that an entry names, with blanks between them (NULL: none);
 * find() gives the file of one, or NULL. 0 or -ENOMEM.
 */
int boot_files_archives(struct boot_files *f, const char *names,
			char *(*find)(const void *arg, const char *name), const void *arg);
/* Takes them over, if they are the first of their kernel. 0 or -ENOMEM. */
int next_boot_add(struct next_boot *out, struct boot_files *f);
void boot_files_free(struct boot_files *f);

/* Sets why, in place of what it was. 0 or -ENOMEM. */
int next_boot_say(struct next_boot *out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/*
 * "TOOL WORD 'ENTRY'", of the first of these tools that the host has, for a shell;
 * malloc'ed, NULL: it has none, or the entry has a quotation mark.
 */
char *loader_command(const struct host *h, const char *const *tools, const char *word,
		     const char *entry);

/*
 * Runs the loader's own tool, argv[0] a path, for a minute at most. 0, or -EIO
 * with what the tool wrote last in said.
 */
int loader_run_tool(char *const argv[], char said[LOADER_SAID]);

#endif
