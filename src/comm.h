/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A task's name as a stamp has it: without a lock, so that it may be torn, and
 * with nothing behind its end.
 */
#ifndef FLIGHTREC_COMM_H
#define FLIGHTREC_COMM_H

#include <linux/compiler.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <asm/word-at-a-time.h>

#include "compat/compat.h"

#define FLIGHTREC_COMM_WORDS	(TASK_COMM_LEN / sizeof(unsigned long))
static_assert(TASK_COMM_LEN == 16);

/* Not get_task_comm(), which locks; by words, because a byte at a time costs more. */
static __always_inline void flightrec_comm_words(unsigned long *words, const char *comm)
{
	const struct word_at_a_time constants = WORD_AT_A_TIME_CONSTANTS;
	unsigned long zeroes;
	int i;

	for (i = 0; i < FLIGHTREC_COMM_WORDS; i++) {
		data_race(__builtin_memcpy(&words[i], comm + i * sizeof(*words),
					   sizeof(*words)));
		if (FLIGHTREC_COMM_PADDED || !has_zero(words[i], &zeroes, &constants))
			continue;
		zeroes = prep_zero_mask(words[i], zeroes, &constants);
		words[i] &= zero_bytemask(create_zero_mask(zeroes));
		while (++i < FLIGHTREC_COMM_WORDS)
			words[i] = 0;
	}
	/* Where it is padded, nobody ever stores anything but a zero there. */
	if (!FLIGHTREC_COMM_PADDED)
		((char *)words)[TASK_COMM_LEN - 1] = 0;
}

#endif
