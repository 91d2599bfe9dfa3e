/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the front calls of the package engine. */
#ifndef KMODKEEP_PACKAGE_VERBS_H
#define KMODKEEP_PACKAGE_VERBS_H

/*
 * For maintainer scripts: "package VERB NAME VERSION". Gets its own arguments
 * with argv[0] the verb, returns an exit code (EXIT_ in guard/base/util.h).
 */
int verb_package(int argc, char **argv);

#endif
