/* SPDX-License-Identifier: GPL-2.0-only */
/* The memory of channels' rings. All but the sum may sleep. */
#ifndef FLIGHTREC_MEMORY_H
#define FLIGHTREC_MEMORY_H

#include <linux/types.h>

struct flightrec_config;
struct flightrec_ring;

/**
 * flightrec_memory_new - make an empty ring
 * @config: the channel that it is for; its size and its name count
 *
 * Return: the ring, or an ERR_PTR: -ENOMEM.
 */
struct flightrec_ring *flightrec_memory_new(const struct flightrec_config *config);

/* Nobody uses it any more. */
void flightrec_memory_free(struct flightrec_ring *ring);

/* Bytes of all rings that there are, those of removed channels with open descriptors included. */
u64 flightrec_memory_bytes(void);

#endif
