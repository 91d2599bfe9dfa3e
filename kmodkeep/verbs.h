/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs of the front itself. Each gets its own arguments with argv[0]
 * the verb, and returns an exit code (EXIT_ in guard/base/util.h).
 */
#ifndef KMODKEEP_VERBS_H
#define KMODKEEP_VERBS_H

int verb_status(int argc, char **argv);
int verb_adopt(int argc, char **argv);
int verb_preflight(int argc, char **argv);
/* For preflight: not in the usage text. */
int verb_radar(int argc, char **argv);
int verb_state(int argc, char **argv);
int verb_gate(int argc, char **argv);
int verb_pull(int argc, char **argv);
int verb_fleet(int argc, char **argv);

#endif
