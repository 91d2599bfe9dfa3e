/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What preflight asks about an update of kernels, of whichever package manager the
 * host has. Each prints its answer, and returns an exit code; EXIT_UNSURE with one
 * line said. words are those of the command line after the question's name.
 */
#ifndef KMODKEEP_PACKAGE_UPDATE_H
#define KMODKEEP_PACKAGE_UPDATE_H

#include "guard/host/host.h"

/*
 * A line each: the package manager's name, the programs that preflight takes of it,
 * those that it takes with a radar, and how to have it keep a kernel.
 */
int update_manager(const struct host *h, char **words);
/* A line for each release of a kernel that would be installed. */
int update_candidates(const struct host *h, char **words);
/* KERNEL: the version of its package. */
int update_version(const struct host *h, char **words);
/*
 * KERNEL DIR: makes DIR, and fetches the kernel's headers into it; where they are.
 * With EXIT_UNSURE, how to look why they cannot be had.
 */
int update_headers(const struct host *h, char **words);

#endif
