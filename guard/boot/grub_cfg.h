/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What GRUB would boot: grub.cfg is run as GRUB runs it, with the variables of
 * the environment block, as far as it sets variables and makes menu entries.
 * What depends on something that is not known here is marked, and a question
 * whose answer depends on it has none.
 */
#ifndef KMODKEEP_GRUB_H
#define KMODKEEP_GRUB_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/base/util.h"
#include "guard/boot/bls.h"
#include "guard/boot/grub_script.h"

struct grub_entry {
	char *title, *id;	/* id: NULL if it has none */
	char *image;		/* path of the kernel; NULL: boots no Linux */
	char *initrd;		/* paths, with blanks between; NULL: none */
	char *cmdline;		/* of the kernel; NULL as image */
	int parent;		/* index of its submenu, -1: the top */
	bool submenu;
	bool chained;		/* the image is another program, or a unified kernel */
	bool conditional;	/* it may not be there */
	bool unclear;		/* which kernel it boots depends on a condition */
};

struct grub_menu {
	struct grub_entry *list;
	size_t count;
	char *chosen;		/* the variable "default" at the end */
	struct grub_vars written;	/* what is saved for the boot after */
	bool unclear;		/* something in it is beyond what is known here */
	bool bls;		/* entries come from loader/entries */
};

/* How the script is run. */
struct grub_run {
	struct grub_files files;
	/* Text of a file that it sources; -ENOENT: it cannot be seen. */
	int (*read)(void *arg, const char *path, struct buf *out);
	/* Entries of the Boot Loader Specification, in GRUB's order. */
	const struct bls *(*entries)(void *arg);
	/* Set before the first command. */
	const struct grub_vars *start;
	/* The environment block; a name given here is taken from there. */
	const struct grub_vars *saved;
};

/* Runs a text; out is zeroed first. 0 or -ENOMEM. */
int grub_menu_read(struct grub_menu *out, const char *text, size_t len,
		   const struct grub_run *how);
void grub_menu_free(struct grub_menu *m);

/*
 * Adds the variables of an environment block. 0 or -ENOMEM; what is no such
 * block has none.
 */
int grub_env_read(const struct buf *env, struct grub_vars *out);

/*
 * The entry that a default like "0", "1>2" or "submenu-id>entry-id" leads to,
 * as GRUB finds it: what does not exist is the first entry. -ENOENT: nothing in
 * the menu; -EAGAIN: it depends on a condition. Else the index.
 */
int grub_resolve(const struct grub_menu *m, const char *spec);

/*
 * Like "submenu-id>entry-id", for an entry with this index; malloc'ed. NULL:
 * an identifier is missing, so only a position could name it.
 */
char *grub_path(const struct grub_menu *m, int index);

#endif
