/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the steps of the verb manifest share. They return exit codes, and have said why. */
#ifndef KMODKEEP_MANIFESTVERB_H
#define KMODKEEP_MANIFESTVERB_H

#include "signing/manifest.h"

int manifest_sign(int argc, char **argv);
int manifest_join(int argc, char **argv);

int manifest_open(const char *path, struct manifest *m);
/* The bytes of a module, checked. */
int manifest_take(const struct manifest *m, const struct manifest_module *module,
		  struct buf *bytes);
/* Are all modules what the manifest says? */
int manifest_check_all(const struct manifest *m);
int manifest_agreed(const struct manifest *a, const struct manifest *b);

#endif
