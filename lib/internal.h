/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the files of the library share.
 */
#ifndef FLIGHTREC_INTERNAL_H
#define FLIGHTREC_INTERNAL_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "flightrec.h"

#define EXPORT __attribute__((visibility("default")))

/* Tests build the library with places of their own. */
#ifndef FLIGHTREC_DEV
#define FLIGHTREC_DEV "/dev/flightrec"
#endif
#ifndef FLIGHTREC_CONTROL
#define FLIGHTREC_CONTROL "/dev/flightrec-control"
#endif
#ifndef FLIGHTREC_PROC
#define FLIGHTREC_PROC "/proc/flightrec"
#endif

/*
 * Tests let ordinary files stand for channels. Elsewhere such a file is a mistake
 * in which events would be lost: flightrec_open() refuses it.
 */
#ifndef FLIGHTREC_FILES_ARE_CHANNELS
#define FLIGHTREC_FILES_ARE_CHANNELS 0
#endif

/* Is @name fit for a channel? It is one path component then. */
bool flightrec_name_ok(const char *name);

/* flightrec_stats_get() from a text of at most @len bytes: 0 or -ENOMEM. */
int stats_parse(struct flightrec_stats **stats, const char *text, size_t len);

#endif
