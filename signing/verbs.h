/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs of the key's life. Each gets its own arguments with argv[0]
 * the verb, and returns an exit code (EXIT_ in guard/base/util.h).
 */
#ifndef KMODKEEP_SIGNING_VERBS_H
#define KMODKEEP_SIGNING_VERBS_H

int verb_key(int argc, char **argv);
int verb_sign(int argc, char **argv);
int verb_manifest(int argc, char **argv);
int verb_log(int argc, char **argv);

#endif
