/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Files and directory trees, as the steps of the engine need them. Each call can
 * be repeated after it was interrupted. Functions return 0 or -errno.
 */
#ifndef KMODKEEP_PACKAGE_TREE_H
#define KMODKEEP_PACKAGE_TREE_H

#include <stdbool.h>

/* Makes a directory and those above it. */
int tree_make(const char *path);
/* Removes what is there with all that is in it; nothing there is no error. */
int tree_remove(const char *path);
/* Makes TO a tree of hard links to the files of FROM. */
int tree_link(const char *from, const char *to);
/* Renames, or copies and removes where TO is on another file system. */
int tree_move(const char *from, const char *to);

/*
 * Makes the symbolic link lead to target. It never leads to nothing meanwhile:
 * one dangling link stops dkms from building any driver.
 */
int link_point(const char *link, const char *target);

/* Copies a file to a place where at no moment there is less than a whole one. */
int file_put(const char *file, const char *place);
/* Do both have the same bytes? false also where one cannot be read. */
bool files_equal(const char *a, const char *b);

bool is_directory(const char *path);
bool is_file(const char *path);
bool is_link(const char *path);

#endif
