/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What other commands take from flightrec recover: the boot before.
 */
#ifndef TOOLS_RECOVER_H
#define TOOLS_RECOVER_H

#include "filter.h"

/*
 * Prints what memory that a reset left alone has of the boot before: of @channel, or of
 * all if it is NULL. Returns an exit status.
 */
int recover_previous(const char *channel, const struct filter *filter,
		     const struct format *format);

#endif
