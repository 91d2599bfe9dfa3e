/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Records of a boot before this one: what flightrec collect and flightrec save keep,
 * and of the last one what is still in memory that a reset left alone.
 */
#ifndef TOOLS_PAST_H
#define TOOLS_PAST_H

#include "filter.h"
#include "timeline.h"

/**
 * struct past - what of it is printed
 * @boot: as the user named it; see past_boot_is_now()
 * @wanted: the channels, none of them open; NULL: all
 * @limited, @newest: only the newest ones
 */
struct past {
	const char *boot;
	const struct timeline *wanted;
	struct filter *filter;
	struct format format;
	bool reverse, limited;
	unsigned long long newest;
};

/* Is it this boot: "0", or its id, or enough of the id's beginning? */
bool past_boot_is_now(const char *boot);

/* Prints them: an exit status. */
int past_read(const struct past *past);

#endif
