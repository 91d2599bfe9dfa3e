/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which kernel the boot loader starts next, if nobody touches its menu. */
#ifndef KMODKEEP_NEXTBOOT_H
#define KMODKEEP_NEXTBOOT_H

#include <time.h>

#include "guard/host/kernels.h"

/* Room for what the tool of a boot loader says of a failure. */
#define LOADER_SAID 256

struct loader_ops;

/* What an entry of the menu loads: files of this host, with its root. */
struct boot_files {
	char *kernel;		/* release */
	char *image;		/* NULL: not known which file it is */
	char **archives;	/* of the initramfs, in the order of unpacking */
	size_t count;
	bool unified;		/* the image has an initramfs of its own in it */
	bool unclear;		/* there are archives that are not known */
};

struct next_boot {
	const struct loader_ops *loader;	/* NULL: none that is known here */
	char *kernel;	/* release; NULL: it could not be told */
	char *entry;	/* what the loader calls the entry; NULL as above */
	char *why;	/* how it was chosen, or what could not be told */
	bool once;	/* for the next boot alone */
	char *program;	/* of EFI, that the firmware starts; NULL: not known, or not to be seen */
	bool said;	/* program is that of firmware_starts in guard.conf: nobody checked it */
	char *saved;	/* the default kept by the loader's tool; NULL: none */
	char *obstacle;	/* why that default cannot be set; NULL: it can */
	/* The one after that: without what holds for the next boot alone. */
	char *later;
	/* Of the entry that boots; NULL: not known. */
	char *cmdline;	/* of the kernel, without what cannot be known of it */
	struct boot_files files;
	/* Of other kernels, by the first entry of each. */
	struct boot_files *menu;
	size_t menu_count;
};

/*
 * saved: the default to reckon with in place of the one that is kept ("" is
 * none), to see what would boot without a pin; NULL: what is there.
 */
int next_boot_read(const struct host *h, const struct kernels *k,
		   const char *saved, struct next_boot *out);
void next_boot_free(struct next_boot *n);

/* What is loaded for a kernel; NULL: no entry of it is known. */
const struct boot_files *next_boot_files(const struct next_boot *n, const char *release);

/* The name in the table, as "grub", or "unknown" for NULL. */
const char *loader_word(const struct loader_ops *l);

/*
 * What to set as the default for a kernel, so that it means that kernel also
 * after others were installed; malloc'ed. NULL: there is no such entry.
 */
char *next_boot_entry_for(const struct host *h, const struct kernels *k,
			  const struct loader_ops *loader,
			  const char *release);

/*
 * Sets the default of the boot loader through its own tool; entry NULL: none.
 * 0; -ENOENT: there is no such tool; -EPERM: it is not the running system; or
 * -EIO with what the tool said in said.
 */
int next_boot_set_default(const struct host *h, const struct loader_ops *loader,
			  const char *entry, char said[LOADER_SAID]);

/* Was something that a boot loader reads here changed after that moment, by the times of files? */
bool next_boot_changed(const struct host *h, struct timespec since);

/* How a person boots a kernel; texts for people, malloc'ed, NULL: not known. */
struct boot_choice {
	char *menu;	/* what to choose in the menu, "SUBMENU > ENTRY" */
	char *once;	/* the command that has it booted the next time alone */
};
int boot_choice_read(const struct host *h, const struct kernels *k,
		     const struct loader_ops *loader, const char *release,
		     struct boot_choice *out);
void boot_choice_free(struct boot_choice *c);

#endif
