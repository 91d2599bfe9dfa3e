// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lines of the kernel's log, with what kernels of all ages put before them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "event_line.h"

#include <cmocka.h>

/* In memory of just that size, for the sanitizer. */
static void expect(const char *text, const char *want)
{
	size_t len = strlen(text);
	char *copy = malloc(len);
	const char *line;

	memcpy(copy, text, len);
	line = event_log_line(copy, &len);
	assert_true(line >= copy && line + len <= copy + strlen(text));
	assert_int_equal(len, strlen(want));
	assert_memory_equal(line, want, len);
	free(copy);
}

static void what_the_kernel_puts_before_goes(void **state)
{
	(void)state;
	expect("EXT4-fs (sda1): re-mounted", "EXT4-fs (sda1): re-mounted");
	expect("[    1.234567] EXT4-fs (sda1): re-mounted\n", "EXT4-fs (sda1): re-mounted");
	expect("[    1.234567][    T1] EXT4-fs (sda1): re-mounted\n", "EXT4-fs (sda1): re-mounted");
	expect("[12345.678901][   C12] watchdog: BUG\n[12345.678901][   C12] more\n",
	       "watchdog: BUG");
	expect("[    T1] no time\n", "no time");
	expect("text [in] brackets", "text [in] brackets");
}

static void what_is_cut_stays_within_bounds(void **state)
{
	(void)state;
	expect("", "");
	expect("\n", "");
	expect("[", "[");
	expect("[]", "");
	expect("[] ", "");
	expect("[1.2][", "[");
	expect("[1.2\n] text", "[1.2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_kernel_puts_before_goes),
		cmocka_unit_test(what_is_cut_stays_within_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
