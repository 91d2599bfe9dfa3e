/* SPDX-License-Identifier: GPL-2.0-only */
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
#ifndef FLIGHTREC_PROC
#define FLIGHTREC_PROC "/proc/flightrec"
#endif

/* Is @name fit for a channel? It is one path component then. */
bool flightrec_name_ok(const char *name);

#endif
