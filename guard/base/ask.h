/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Questions to the person at the terminal. */
#ifndef KMODKEEP_ASK_H
#define KMODKEEP_ASK_H

#include <stdbool.h>

/* Is there somebody to ask? */
bool ask_possible(void);
/* The question, and whether the answer is yes; no answer within ten minutes is no. */
bool ask_yes(const char *question);

#endif
