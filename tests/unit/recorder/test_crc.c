// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The check of what is left after a crash, against known values and zlib.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <zlib.h>

#include "crc.h"

#include <cmocka.h>

static void known_values(void **state)
{
	(void)state;
	assert_int_equal(flightrec_crc32("", 0), 0);
	assert_int_equal(flightrec_crc32("a", 1), 0xe8b7be43U);
	assert_int_equal(flightrec_crc32("123456789", 9), 0xcbf43926U);
}

static void as_zlib(void **state)
{
	unsigned int seed = 1;
	u8 bytes[300];
	size_t len, i;

	(void)state;
	for (len = 0; len <= sizeof(bytes); len++) {
		for (i = 0; i < len; i++)
			bytes[i] = (u8)rand_r(&seed);
		assert_int_equal(flightrec_crc32(bytes, len), crc32(0, bytes, len));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(as_zlib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
