/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What GRUB would boot: the menu entries of grub.cfg, the variables kept in
 * grubenv, and how the default is chosen. The script is not run: what depends
 * on a condition is marked, and a question whose answer depends on it has none.
 */
#ifndef KMODKEEP_GRUB_H
#define KMODKEEP_GRUB_H

#include <stdbool.h>
#include <stddef.h>

#include "guard/base/util.h"

struct grub_entry {
	char *title, *id;	/* id: NULL if it has none */
	char *image;		/* path of the kernel; NULL: boots no Linux */
	int parent;		/* index of its submenu, -1: the top */
	bool submenu;
	bool conditional;	/* inside "if": it may not be there */
};

struct grub_menu {
	struct grub_entry *list;
	size_t count;
	char *fallback;		/* "set default" to a fixed text; NULL: none */
	bool saved;		/* "set default" to ${saved_entry} */
	bool once;		/* ${next_entry} goes first */
	bool unclear;		/* the default is set in ways not known here */
	bool bls;		/* entries come from loader/entries */
};

/* Adds what a text says to a zeroed or already filled menu. 0 or -ENOMEM. */
int grub_menu_add(struct grub_menu *m, const char *text, size_t len);
void grub_menu_free(struct grub_menu *m);

/* A variable of grubenv; malloc'ed, NULL if it is not set or empty. */
char *grub_env_get(const struct buf *env, const char *name);

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
