/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that a reset leaves alone: one half has the records of the boot before, into
 * the other one this boot writes.
 */
#ifndef FLIGHTREC_REGION_H
#define FLIGHTREC_REGION_H

#include <linux/types.h>

/**
 * flightrec_region_open - find the memory that the parameter names, and what is in it
 *
 * Nothing is written to it yet. Once, at load, after flightrec_boot_id_init(). May sleep.
 *
 * Return: 0, also if there is none and none was asked for, or after a line in the log
 * -EINVAL (no such memory, or it belongs to something else), -ENOMEM.
 */
int flightrec_region_open(void);

/* The blocks that this boot may write; 0 if there is no such memory. */
u64 flightrec_region_blocks(void);

/* Wipe this boot's half, so that only what is taken from it will be found there. */
void flightrec_region_wipe(void);

/* The next @nblocks blocks of it, of which there are enough. */
u64 *flightrec_region_take(u32 nblocks);

/* Counts the boots that wrote into this memory; 0 if there is no such memory. */
u64 flightrec_region_generation(void);

/* When nobody uses the blocks any more. Harmless if nothing was opened. */
void flightrec_region_close(void);

/* Bytes of the previous boot's image; 0 if there is none. */
u64 flightrec_region_image_bytes(void);

/* As read(2) of that image: how many bytes, 0 at the end, or -EFAULT. */
ssize_t flightrec_region_image_read(char __user *buf, size_t count, loff_t *pos);

struct seq_file;

/* What /proc/flightrec/stats says of it: a part of a line. */
void flightrec_region_stats(struct seq_file *m);

#endif
