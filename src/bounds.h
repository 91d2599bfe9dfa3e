/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a channel may be like, at load and later.
 */
#ifndef FLIGHTREC_BOUNDS_H
#define FLIGHTREC_BOUNDS_H

#include <linux/types.h>

/* A ring of so many blocks for each possible CPU, in bytes, whole KiB. */
u64 flightrec_bytes_per_cpu(unsigned int blocks);

/* How large a channel is where nobody says so, in bytes. */
u64 flightrec_default_bytes(void);

/* All channels together, in bytes. */
u64 flightrec_bytes_limit(void);

/* Does it give somebody a right, and only rights that a node can give? */
bool flightrec_mode_ok(umode_t mode);

/* One of the two channels that always exist? */
bool flightrec_name_fixed(const char *name);

#endif
