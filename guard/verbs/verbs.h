/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verbs of the guard. Each gets its own arguments with argv[0]
 * the verb, and returns an exit code (EXIT_ in guard/base/util.h).
 */
#ifndef KMODKEEP_GUARD_VERBS_H
#define KMODKEEP_GUARD_VERBS_H

int verb_doctor(int argc, char **argv);
int verb_guard(int argc, char **argv);
int verb_next(int argc, char **argv);
int verb_notice(int argc, char **argv);
int verb_repair(int argc, char **argv);
int verb_pin(int argc, char **argv);
int verb_verify(int argc, char **argv);
int verb_smoke(int argc, char **argv);

#endif
