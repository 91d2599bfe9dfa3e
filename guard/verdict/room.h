/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Is there room for the files of one more kernel where the boot loader reads them? */
#ifndef KMODKEEP_ROOM_H
#define KMODKEEP_ROOM_H

#include "guard/verdict/doctor.h"

/*
 * One line for people if there is not; malloc'ed, NULL: there is, or that cannot be
 * told. A kernel that is yet to come is reckoned as large as the newest that is here.
 */
char *room_warning(const struct doctor *d);

#endif
