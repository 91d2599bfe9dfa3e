/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzzers share: recovering from bytes as from a file.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include <flightrec.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Reads all bytes of a record that may be looked at. */
static inline void touch(const struct flightrec_record *record)
{
	volatile unsigned char sum = 0;
	uint32_t i;

	if (record->len > FLIGHTREC_PAYLOAD_MAX && record->len > record->size)
		abort();
	for (i = 0; i < record->len; i++)
		sum += flightrec_payload(record)[i];
	for (i = 0; i < sizeof(record->comm); i++)
		sum += record->comm[i];
	(void)sum;
}

/* Checks what the library promises of its results. */
static inline void recover_from(const uint8_t *data, size_t size)
{
	const struct flightrec_recovered *found;
	struct flightrec_recover *recover;
	char channel[FLIGHTREC_NAME_MAX] = "";
	char boot_id[33] = "";
	const struct flightrec_death *death;
	bool by_time = size % 2;
	uint64_t seq = 0;
	size_t i;
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || flightrec_recover_new(&recover))
		abort();
	flightrec_recover_add(recover, fd);
	close(fd);
	if (by_time)
		flightrec_recover_set_order(recover, FLIGHTREC_RECOVER_BY_TIME);
	for (i = 0; flightrec_recover_death(recover, i, &death); i++)
		if ((death->boot_id[0] && strlen(death->boot_id) != 32) || !death->kind[0] ||
		    strlen(death->cause) + strlen(death->trouble) +
		    strlen(death->backtrace) > 65536)
			abort();
	while (flightrec_recover_next(recover, &found) > 0) {
		touch(found->record);
		if (!found->record->seq || found->record->len > found->full_len ||
		    (strlen(found->boot_id) != 32 && strlen(found->boot_id) != 8))
			abort();
		/* Two channels may have the same name, but then they come one after the other. */
		if (!by_time && found->flags & FLIGHTREC_RECOVERED_CONFLICT &&
		    (strcmp(channel, found->channel) || strcmp(boot_id, found->boot_id) ||
		     seq != found->record->seq))
			abort();
		strcpy(channel, found->channel);
		strcpy(boot_id, found->boot_id);
		seq = found->record->seq;
	}
	flightrec_recover_free(recover);
}

#endif
