// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What reaches a terminal through procfs: a table, and any bytes at all.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include "escape.h"

#include <cmocka.h>

static void expect(const char *src, size_t len, bool space, const char *want)
{
	char out[256];
	size_t used, n;

	n = flightrec_escape(out, sizeof(out), (const u8 *)src, len, space, &used);
	assert_int_equal(used, len);
	assert_int_equal(n, strlen(want));
	assert_memory_equal(out, want, n);
}

#define SAME(s) expect(s, sizeof(s) - 1, false, s)
#define COMES_OUT(s, want) expect(s, sizeof(s) - 1, false, want)

static void table(void **state)
{
	(void)state;
	SAME("plain text, with ~ and !");
	SAME("\xc3\xa9 \xe2\x82\xac \xf0\x9f\x9a\x80");
	COMES_OUT("a\nb\tc\r", "a\\x0ab\\x09c\\x0d");
	COMES_OUT("\x1b[2J", "\\x1b[2J");
	COMES_OUT("\x7f\0z", "\\x7f\\x00z");
	COMES_OUT("back\\slash", "back\\x5cslash");
	COMES_OUT("\xc2\x9b" "31m", "\\xc2\\x9b31m");
	COMES_OUT("\xc2\xa0", "\xc2\xa0");
	COMES_OUT("\xff\xfe", "\\xff\\xfe");
	COMES_OUT("\xc0\xaf", "\\xc0\\xaf");
	COMES_OUT("\xe0\x80\x80", "\\xe0\\x80\\x80");
	COMES_OUT("\xed\xa0\x80", "\\xed\\xa0\\x80");
	COMES_OUT("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80");
	COMES_OUT("cut \xe2\x82", "cut \\xe2\\x82");
	expect("a b", 3, true, "a\\x20b");
}

/* Harmless, complete and within bounds for any input and any room. */
static void any_bytes(void **state)
{
	unsigned int seed = 1;
	u8 src[64];
	char *out;
	size_t room, used, n, i, in;
	int round;

	(void)state;
	for (round = 0; round < 200000; round++) {
		for (i = 0; i < sizeof(src); i++)
			src[i] = rand_r(&seed) % 3 ? 0x80 + rand_r(&seed) % 128 :
						     rand_r(&seed) % 256;
		room = FLIGHTREC_ESCAPE_MIN + rand_r(&seed) % 40;
		out = malloc(room);	/* of that size, for the sanitizer */
		for (in = 0; in < sizeof(src); in += used) {
			n = flightrec_escape(out, room, src + in, sizeof(src) - in,
					     round & 1, &used);
			assert_true(used > 0 && n <= room);
			for (i = 0; i < n; i++) {
				assert_true((u8)out[i] >= 0x20 && out[i] != 0x7f);
				if ((u8)out[i] == 0xc2)
					assert_true((u8)out[i + 1] >= 0xa0);
			}
		}
		free(out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table),
		cmocka_unit_test(any_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
