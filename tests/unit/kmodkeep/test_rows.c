// SPDX-License-Identifier: GPL-2.0-or-later
/* Rows of SBAT are read as shim reads them, and the later level is the one that holds. */
#include "fixture.h"

#include <errno.h>
#include <string.h>

#include "guard/trust/sbat.h"

#define R ",a,b,c,d\n"	/* the columns that nobody compares */
#define LEVEL "sbat,1,2024010900\nshim,4\ngrub,3\ngrub.debian,4\n"

static struct buf text(const char *s, size_t len)
{
	return (struct buf){ (unsigned char *)s, len };
}

#define TEXT(s) text(s, sizeof(s) - 1)

static void rows_are_read_as_shim_reads_them(void **state)
{
	static const struct {
		const char *section;
		size_t len;
		int is;
		const char *name;
		unsigned int has, needs;
	} cases[] = {
#define CASE(s, result) { .section = s, .len = sizeof(s) - 1, .is = result }
#define REFUSED(s, ...) { s, sizeof(s) - 1, 1, __VA_ARGS__ }
		CASE("sbat,1" R "grub,3" R, 0),
		REFUSED("sbat,1" R "grub,2" R, "grub", 2, 3),
		REFUSED("grub,3" R "grub.debian,3" R, "grub.debian", 3, 4),
		CASE("grub,3" R "grub.debian,4" R "grub.ubuntu,1" R, 0),
		CASE("grub,10" R, 0),
		CASE("grub,65535" R, 0),
		CASE("systemd-boot,1" R, 0),
		REFUSED("sbat,0" R, "sbat", 0, 1),
		/* The name is the whole column. */
		CASE("grub ,1" R " grub,1" R "GRUB,1" R "gru,1" R "grub2,1" R, 0),
		CASE("grub, 3" R, 0),
		REFUSED("grub,\t2" R, "grub", 2, 3),
		REFUSED("grub,02" R, "grub", 2, 3),
		CASE("grub,3x" R, 0),
		REFUSED("grub,x3" R, "grub", 0, 3),
		REFUSED("grub,-3" R, "grub", 0, 3),
		REFUSED("grub,3" R "grub,1" R, "grub", 1, 3),
		/* Ends of rows, of the text. */
		REFUSED("\n\r\ngrub,3,a,b,c,d\r\n\r\ngrub,2,a,b,c,d", "grub", 2, 3),
		REFUSED("\xef\xbb\xbfgrub,2" R, "grub", 2, 3),
		CASE("grub,3" R "\0grub,1" R, 0),
		REFUSED("grub,3" R "\n\0grub,1" R, "grub", 1, 3),
		CASE("grub,3" R "\n\0\0grub,1" R, 0),
		CASE("grub,3,a,b,c,d\0\ngrub,1" R, 0),
		/* Columns behind the last. */
		REFUSED("grub,2,a,b,c,d,,,\n", "grub", 2, 3),
		CASE("grub,3,a,b,c,d,\n", 0),
		/* Damaged, wherever it is. */
		CASE("grub,2" R "words\n", -EBADMSG),
		CASE("grub,3,a,b,c\n", -EBADMSG),
		CASE("grub,3,a,b,c,\n", -EBADMSG),
		CASE(",3" R, -EBADMSG),
		CASE("grub,,a,b,c,d\n", -EBADMSG),
		CASE("grub,3,a,,c,d\n", -EBADMSG),
		CASE("grub,3" R "x", -EBADMSG),
		/* Not every shim takes it alike. */
		CASE("grub,65536" R, -ERANGE),
		CASE("grub,99999999999999999999999999" R, -ERANGE),
		CASE("", -ERANGE),
		CASE("\n\n", -ERANGE),
		CASE("\0grub,3" R, -ERANGE),
	};
	struct buf level = TEXT(LEVEL);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf section = text(cases[i].section, cases[i].len);
		struct sbat_refusal r;

		if (sbat_compare(&section, &level, &r) != cases[i].is)
			fail_msg("\"%s\"", cases[i].section);
		if (cases[i].is != 1)
			continue;
		assert_string_equal(r.name, cases[i].name);
		assert_int_equal(r.has, cases[i].has);
		assert_int_equal(r.needs, cases[i].needs);
	}
}

static void first_row_of_a_level_counts(void **state)
{
	struct buf section = TEXT("grub,3" R), level = TEXT(LEVEL "grub,9\n");
	struct sbat_refusal r;

	(void)state;
	assert_int_equal(sbat_compare(&section, &level, &r), 0);
}

static void levels_that_shim_cannot_read(void **state)
{
	static const char *const bad[] = {
		"", "\n", "sbat", "sbat,1,2024010900\ngrub\n", "sbat,1,2024010900\ngrub,\n",
		"sbat,1,2024010900\n,3\n", "sbat,1,\n", "sbat,1,2024010900\ngrub,70000\n",
	};
	struct buf section = TEXT("grub,3" R);
	struct sbat_refusal r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct buf level = text(bad[i], strlen(bad[i]));

		assert_false(sbat_level_valid(&level));
		assert_int_equal(sbat_compare(&section, &level, &r), -EINVAL);
	}
}

static void the_later_level_holds(void **state)
{
	static const char old[] = "sbat,1,2024010900\nshim,4\n", new[] = "sbat,1,2025021800\ngrub,5\n";
	static const struct {
		const char *held, *candidate;
		bool kept;
	} cases[] = {
		{ old, new, false }, { new, old, true }, { new, new, true },
		{ "sbat,1,2025021799\ngrub,1\n", new, false },
		{ "sbat,1,2025021801\ngrub,1\n", new, true },
		/* Only ten digits of the date count, and a later version before it. */
		{ "sbat,1,20250218001\ngrub,1\n", new, true },
		{ "sbat,2,2020010100\ngrub,1\n", new, true },
		{ "sbat,10,2020010100\ngrub,1\n", new, true },
		{ "sbat,1,2099010100\ngrub,1\n", "sbat,2,2020010100\ngrub,1\n", true },
		/* Too short, or of another kind: shim writes its own. */
		{ "sbat,1,2099\na,1\n", new, false }, { "", new, false },
		{ "SBAT,1,2099010100\ngrub,1\n", new, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct buf held = text(cases[i].held, strlen(cases[i].held));
		struct buf candidate = text(cases[i].candidate, strlen(cases[i].candidate));

		if (sbat_level_kept(&held, &candidate) != cases[i].kept)
			fail_msg("%s", cases[i].held);
	}
}

static void date_of_a_level(void **state)
{
	struct buf level = TEXT(LEVEL), none = TEXT("sbat,1"), forged = TEXT("sbat,1,\033[2J");
	char date[16];

	(void)state;
	sbat_level_date(&level, date);
	assert_string_equal(date, "2024010900");
	sbat_level_date(&none, date);
	assert_string_equal(date, "?");
	sbat_level_date(&forged, date);
	assert_string_equal(date, "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_read_as_shim_reads_them),
		cmocka_unit_test(first_row_of_a_level_counts),
		cmocka_unit_test(levels_that_shim_cannot_read),
		cmocka_unit_test(the_later_level_holds),
		cmocka_unit_test(date_of_a_level),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
