// SPDX-License-Identifier: GPL-2.0-or-later
/* Module files: compression, the ELF section with the names, replacing. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/module/compress.h"
#include "guard/module/modfile.h"

static const enum compression types[] = {
	COMPRESS_GZ, COMPRESS_XZ, COMPRESS_ZST,
};

static void there_and_back(void **state)
{
	struct buf plain, packed, again;

	(void)state;
	make_module(&plain);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(compress_bytes(types[i], plain.data,
						plain.len, &packed), 0);
		assert_int_equal(compression_of(packed.data, packed.len),
				 types[i]);
		assert_int_equal(decompress(types[i], packed.data, packed.len,
					    SIZE_MAX, &again), 0);
		assert_int_equal(again.len, plain.len);
		assert_memory_equal(again.data, plain.data, plain.len);
		buf_free(&again);
		buf_free(&packed);
	}
	buf_free(&plain);
}

static void damaged_streams(void **state)
{
	uint32_t seed = 4711;
	struct buf plain, packed, out;

	(void)state;
	make_module(&plain);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(compress_bytes(types[i], plain.data,
						plain.len, &packed), 0);
		for (size_t cut = 0; cut < packed.len; cut++)
			assert_int_equal(decompress(types[i], packed.data, cut,
						    SIZE_MAX, &out), -EBADMSG);
		packed.data = realloc(packed.data, packed.len + 1);
		packed.data[packed.len] = 0;
		assert_int_equal(decompress(types[i], packed.data,
					    packed.len + 1, SIZE_MAX, &out),
				 -EBADMSG);
		/* Some changes are in bytes without a meaning: no crash. */
		for (int n = 0; n < 2000; n++) {
			struct buf b = { malloc(packed.len), packed.len };

			memcpy(b.data, packed.data, b.len);
			b.data[next_random(&seed) % b.len] =
				next_random(&seed);
			if (!decompress(types[i], b.data, b.len, 1 << 20,
					&out))
				buf_free(&out);
			buf_free(&b);
		}
		buf_free(&packed);
	}
	buf_free(&plain);
}

static void bombs_are_stopped(void **state)
{
	struct buf zeros = { calloc(1, 4 << 20), 4 << 20 }, packed, out;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		assert_int_equal(compress_bytes(types[i], zeros.data,
						zeros.len, &packed), 0);
		assert_true(packed.len < zeros.len / 100);
		assert_int_equal(decompress(types[i], packed.data, packed.len,
					    1 << 20, &out), -EFBIG);
		assert_int_equal(decompress(types[i], packed.data, packed.len,
					    4 << 20, &out), 0);
		buf_free(&out);
		buf_free(&packed);
	}
	buf_free(&zeros);
}

static void names_of_every_layout(void **state)
{
	static const char info[] =
		"license=GPL\0name=sample\0version=1\0version=2\0"
		"vermagic=" KERNEL " SMP \0srcversion=ABC\0intree=Y";

	(void)state;
	for (int layout = 0; layout < 4; layout++) {
		struct modinfo i;
		struct buf b;
		char *release;

		make_elf(&b, layout & 1, layout & 2, info, sizeof(info));
		assert_int_equal(modinfo_read(b.data, b.len, &i), 0);
		assert_string_equal(i.name, "sample");
		assert_string_equal(i.version, "1");
		assert_string_equal(i.srcversion, "ABC");
		assert_string_equal(i.intree, "Y");
		release = modinfo_release(&i);
		assert_string_equal(release, KERNEL);
		free(release);
		modinfo_free(&i);
		buf_free(&b);
	}
}

static void names_cannot_forge_lines(void **state)
{
	static const char info[] = "name=a\nb: ok\x1b[2J";
	struct modinfo i;
	struct buf b;

	(void)state;
	make_elf(&b, true, false, info, sizeof(info));
	assert_int_equal(modinfo_read(b.data, b.len, &i), 0);
	assert_string_equal(i.name, "a?b: ok?[2J");
	modinfo_free(&i);
	buf_free(&b);
}

/* Without a final NUL the last entry ends with the section. */
static void unterminated_section(void **state)
{
	struct modinfo i;
	struct buf b;

	(void)state;
	make_elf(&b, true, false, "name=abc", 6);
	assert_int_equal(modinfo_read(b.data, b.len, &i), 0);
	assert_string_equal(i.name, "a");
	modinfo_free(&i);
	buf_free(&b);
}

static void damaged_elf(void **state)
{
	uint32_t seed = 99;
	struct buf good;

	(void)state;
	make_module(&good);
	for (size_t len = 0; len < good.len; len++) {
		unsigned char *cut = malloc(len ? len : 1);
		struct modinfo i;

		memcpy(cut, good.data, len);
		assert_int_equal(modinfo_read(cut, len, &i), -ENOEXEC);
		free(cut);
	}
	for (int n = 0; n < 20000; n++) {
		unsigned char *b = malloc(good.len);
		struct modinfo i;

		memcpy(b, good.data, good.len);
		for (int k = 0; k < 3; k++)
			b[next_random(&seed) % good.len] =
				next_random(&seed) % 3 ? next_random(&seed) :
							 0xff;
		if (!modinfo_read(b, good.len, &i))
			modinfo_free(&i);
		free(b);
	}
	buf_free(&good);
}

static void replacing_keeps_the_mode(void **state)
{
	char *tree = make_tree(), path[128];
	struct stat st;
	struct buf b;

	(void)state;
	snprintf(path, sizeof(path), "%s/file", tree);
	put_text(tree, "/file", "old");
	chmod(path, 0640);
	assert_int_equal(file_replace(path, "new", 3, 0600), 0);
	assert_int_equal(file_read(path, 100, &b), 0);
	assert_memory_equal(b.data, "new", 3);
	buf_free(&b);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
	snprintf(path, sizeof(path), "%s/none/file", tree);
	assert_int_equal(file_replace(path, "new", 3, 0600), -ENOENT);
	remove_tree(tree);
}

static void only_plain_files_are_read(void **state)
{
	char *tree = make_tree(), path[128];
	struct buf b;

	(void)state;
	assert_int_equal(file_read(tree, 100, &b), -EISDIR);
	snprintf(path, sizeof(path), "%s/fifo", tree);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(file_read(path, 100, &b), -EINVAL);
	put_text(tree, "/long", "12345678901");
	snprintf(path, sizeof(path), "%s/long", tree);
	assert_int_equal(file_read(path, 10, &b), -EFBIG);
	assert_int_equal(file_read(path, 11, &b), 0);
	buf_free(&b);
	remove_tree(tree);
}

static void text_that_may_be_shown(void **state)
{
	static const struct {
		const char *in, *out;
	} texts[] = {
		{ "plain ~", "plain ~" },
		{ "a\nb\x1b[m\x7f", "a?b?[m?" },
		{ "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80",
		  "\xc3\xa4 \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xc2\x9b" "31m \x9b", "??31m ?" },	/* C1 */
		{ "\xc3", "?" },
		{ "\xe2\x82", "??" },
		{ "\xc0\xaf \xe0\x80\xaf", "?? ???" },	/* too long */
		{ "\xed\xa0\x80", "???" },			/* a surrogate */
		{ "\xf4\x90\x80\x80 \xff\xfe", "???? ??" },
		{ "a\xe2\x80\xae" "b\xe2\x80\xa8\xef\xbb\xbf", "a???b??????" },	/* turns, ends a line */
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		char *s = strdup(texts[i].in);

		make_printable(s);
		assert_string_equal(s, texts[i].out);
		free(s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_that_may_be_shown),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(damaged_streams),
		cmocka_unit_test(bombs_are_stopped),
		cmocka_unit_test(names_of_every_layout),
		cmocka_unit_test(names_cannot_forge_lines),
		cmocka_unit_test(unterminated_section),
		cmocka_unit_test(damaged_elf),
		cmocka_unit_test(replacing_keeps_the_mode),
		cmocka_unit_test(only_plain_files_are_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
