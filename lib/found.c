// SPDX-License-Identifier: LGPL-2.1-or-later
/* What all that looks for records fills in: the record found, its boot, how far it is. */
#include "recover.h"

#include <stdlib.h>
#include <string.h>

/* More are not told apart: a forged file may claim any number. */
#define BOOT_SLOTS 16384

struct boot_seen {
	bool used;
	uint32_t boot;
	uint64_t boot_ns, wall_ns;
};

bool recover_boots_new(struct flightrec_recover *recover)
{
	recover->boots = calloc(BOOT_SLOTS, sizeof(struct boot_seen));
	return recover->boots;
}

void recover_progress(void *arg, uint64_t done)
{
	struct flightrec_recover *recover = arg;

	if (recover->progress)
		recover->progress(recover->progress_arg, done, recover->total);
}

void recover_found(struct flightrec_recover *recover, const char *boot_id, const char *channel,
		   uint32_t full_len, unsigned int flags, unsigned int file)
{
	strcpy(recover->channel, channel);
	strcpy(recover->boot_id, boot_id);
	recover->found = (struct flightrec_recovered) {
		.record = &recover->buffer.record,
		.channel = recover->channel,
		.boot_id = recover->boot_id,
		.full_len = full_len,
		.flags = flags,
		.file = file,
	};
}

static struct boot_seen *boot_slot(const struct flightrec_recover *recover, uint32_t boot)
{
	uint32_t slot = (boot ^ boot >> 16) % BOOT_SLOTS;

	while (recover->boots[slot].used && recover->boots[slot].boot != boot)
		slot = (slot + 1) % BOOT_SLOTS;
	return &recover->boots[slot];
}

void recover_boot_seen(struct flightrec_recover *recover, uint32_t boot, uint64_t boot_ns,
		       uint64_t wall_ns)
{
	struct boot_seen *seen = boot_slot(recover, boot);

	if (!seen->used && recover->nboots < BOOT_SLOTS / 2) {
		recover->nboots++;
		*seen = (struct boot_seen) { true, boot, boot_ns, wall_ns };
	} else if (seen->used && boot_ns >= seen->boot_ns) {
		seen->boot_ns = boot_ns;
		seen->wall_ns = wall_ns;
	}
}

uint64_t recover_boot_wall(const struct flightrec_recover *recover, uint32_t boot)
{
	return boot_slot(recover, boot)->wall_ns;
}

bool moment_before(const struct moment *a, const struct moment *b)
{
	if (a->boot_wall != b->boot_wall)
		return a->boot_wall < b->boot_wall;
	if (a->boot != b->boot)
		return a->boot < b->boot;
	return a->boot_ns < b->boot_ns;
}
