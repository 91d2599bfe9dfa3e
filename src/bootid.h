/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Which boot this is: what is recovered after a crash says so.
 */
#ifndef FLIGHTREC_BOOTID_H
#define FLIGHTREC_BOOTID_H

#include <linux/types.h>

#define FLIGHTREC_BOOT_ID_BYTES 16

/* First thing at load. May sleep. */
void flightrec_boot_id_init(void);

/*
 * The bytes of /proc/sys/kernel/random/boot_id in the order in which it is
 * printed; all 0 if it could not be read.
 */
const u8 *flightrec_boot_id(void);

#endif
