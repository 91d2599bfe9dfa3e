// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Crash text, read back from what was printed: the parser here knows nothing
 * of the formatter but the format's description.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#include "crash_text.h"
#include "uapi/flightrec.h"

#include <cmocka.h>

#define CPUS 4
#define CHANNELS 3
#define LINES_MAX 64

static const u8 boot_id[16] = {
	0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef,
	0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10,
};

static const char * const names[CHANNELS] = { "kernel", "default", "app" };

static struct flightrec_ring rings[CHANNELS];
static struct flightrec_ring_cpu cpus[CHANNELS][2 * CPUS];
static u64 *memory[CHANNELS], *indices[CHANNELS];
static u64 printed_to[CHANNELS];
static u32 sets;

/* What was written, to compare with: by channel and number. */
#define WRITTEN_MAX 600
static struct written {
	struct flightrec_stamp stamp;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
} written[CHANNELS][WRITTEN_MAX];

static char *lines[LINES_MAX];
static u32 nlines;
static size_t bytes;

static void keep_line(const char *line, size_t len)
{
	assert_int_equal(strlen(line), len);
	assert_true(len <= FLIGHTREC_CRASH_LINE_MAX);
	assert_true(nlines < LINES_MAX);
	lines[nlines++] = strdup(line);
	bytes += len + 1;
}

static void forget_lines(void)
{
	while (nlines)
		free(lines[--nlines]);
	bytes = 0;
}

static int setup(void **state)
{
	u32 nblocks = flightrec_ring_blocks_in(flightrec_ring_min_bytes(CPUS) * 4);
	u32 i;

	(void)state;
	memset(cpus, 0, sizeof(cpus));
	for (i = 0; i < CHANNELS; i++) {
		memory[i] = calloc(nblocks, FLIGHTREC_RING_BLOCK_BYTES);
		indices[i] = malloc(flightrec_ring_index_bytes(nblocks));
		assert_int_equal(flightrec_ring_init(&rings[i], &(struct flightrec_ring_setup) {
			.blocks = memory[i], .index = indices[i], .cpus = cpus[i],
			.nblocks = nblocks, .ncpus = CPUS,
			.name = names[i], .boot_id = boot_id,
		}), 0);
		printed_to[i] = 0;
	}
	sets = 0;
	return 0;
}

static int teardown(void **state)
{
	u32 i;

	(void)state;
	forget_lines();
	for (i = 0; i < CHANNELS; i++) {
		free(memory[i]);
		free(indices[i]);
	}
	return 0;
}

static u64 append(u32 channel, const void *payload, u32 len, const char *comm)
{
	static u64 clock = 1000000000;
	struct flightrec_stamp stamp = {
		.len = len, .boot_ns = clock += 1234567, .wall_ns = clock + (1ULL << 60),
		.severity = len % 8, .pid = 4000000000U, .tgid = 17, .uid = 1000,
		.euid = 0, .cpu = len % CPUS,
		.origin = len % 3 ? FLIGHTREC_ORIGIN_KERNEL : FLIGHTREC_ORIGIN_USER,
		.flags = len % 3 == 2 ? FLIGHTREC_F_INTERRUPT : 0,
	};

	strncpy(stamp.comm, comm, sizeof(stamp.comm));
	assert_int_equal(flightrec_ring_append(&rings[channel], stamp.cpu, &stamp,
					       payload), 0);
	assert_true(stamp.seq < WRITTEN_MAX);
	written[channel][stamp.seq].stamp = stamp;
	memcpy(written[channel][stamp.seq].payload, payload, len);
	return stamp.seq;
}

static u64 append_text(u32 channel, const char *text)
{
	return append(channel, text, strlen(text), "a program");
}

static void print_channels(const char *reason, u32 n)
{
	struct flightrec_crash_channel channels[CHANNELS];
	/* Of its own size, for the sanitizer. */
	struct flightrec_crash_set *set = calloc(1, sizeof(*set));
	u32 i;

	forget_lines();
	*set = (struct flightrec_crash_set) {
		.boot_id = boot_id, .number = ++sets, .reason = reason,
		.print = keep_line,
	};
	for (i = 0; i < n; i++)
		channels[i] = (struct flightrec_crash_channel) {
			.next = i + 1 < n ? &channels[i + 1] : NULL,
			.name = names[i], .ring = &rings[i], .from = &printed_to[i],
		};
	flightrec_crash_print(set, channels);
	assert_true(bytes <= FLIGHTREC_CRASH_TEXT_MAX);
	free(set);
}

static void print(const char *reason)
{
	print_channels(reason, CHANNELS);
}

/* Undo the escapes of a field; its length, or -1. */
static int unescape(const char *from, const char *end, u8 *to)
{
	unsigned int byte;
	int n = 0;

	for (; from < end; n++) {
		if (*from != '\\') {
			if (*from < ' ' || *from > '~' || *from == '"')
				return -1;
			to[n] = *from++;
		} else if (from[1] == '\\' || from[1] == '"') {
			to[n] = from[1];
			from += 2;
		} else if (from[1] == 'x' && sscanf(from + 2, "%2x", &byte) == 1) {
			to[n] = byte;
			from += 4;
		} else {
			return -1;
		}
	}
	return n;
}

/* The text between "flightrec: " and the check, whose value must be right. */
static char *checked(const char *line)
{
	const char *at = line + strlen("flightrec: ");
	size_t len = strlen(at) - 9;
	unsigned int check;

	assert_int_equal(strncmp(line, "flightrec: ", 11), 0);
	assert_int_equal(at[len], ' ');
	assert_int_equal(sscanf(at + len + 1, "%8x", &check), 1);
	assert_int_equal(check, crc32(0, (const u8 *)at, len));
	return strndup(at, len);
}

/* A record's line against what was written; its number. @whole: not cut. */
static u64 check_record(const char *line, u32 *channel, bool *whole)
{
	char *text = checked(line), name[32], comm[65], origin, mark;
	unsigned long long seq, boot_ns, wall_ns;
	unsigned int id, severity, pid, tgid, uid, euid, cpu, len;
	u8 payload[1000], got_comm[65];
	const struct written *want;
	int at, n;

	assert_int_equal(sscanf(text, "R %8x %31s %llu %llu %llu %u %c %u %u %u %u %u %u %c %64s %n",
				&id, name, &seq, &boot_ns, &wall_ns, &severity,
				&origin, &pid, &tgid, &uid, &euid, &cpu, &len,
				&mark, comm, &at), 15);
	assert_int_equal(id, 0x01234567);
	for (*channel = 0; strcmp(names[*channel], name);)
		assert_true(++*channel < CHANNELS);
	want = &written[*channel][seq];
	assert_true(want->stamp.seq == seq && want->stamp.boot_ns == boot_ns &&
		    want->stamp.wall_ns == wall_ns && want->stamp.severity == severity &&
		    want->stamp.pid == pid && want->stamp.tgid == tgid &&
		    want->stamp.uid == uid && want->stamp.euid == euid &&
		    want->stamp.cpu == cpu && want->stamp.len == len);
	assert_int_equal(origin, want->stamp.origin == FLIGHTREC_ORIGIN_USER ? 'u' :
			 want->stamp.flags ? 'i' : 'k');
	n = !strcmp(comm, "-") ? 0 : unescape(comm, comm + strlen(comm), got_comm);
	assert_int_equal(n, strnlen(want->stamp.comm, 16));
	assert_memory_equal(got_comm, want->stamp.comm, n);
	assert_int_equal(text[at], '"');
	assert_int_equal(text[strlen(text) - 1], '"');
	n = unescape(text + at + 1, text + strlen(text) - 1, payload);
	*whole = mark == '=';
	assert_true(*whole ? n == (int)len : mark == '+' && n >= 0 && n < (int)len);
	assert_memory_equal(payload, want->payload, n);
	free(text);
	return seq;
}

/* The set's frame; @unpublished as it says. */
static void check_frame(const char *reason, u32 *unpublished)
{
	char want[200], *text;
	unsigned int printed, said;

	snprintf(want, sizeof(want), "B 1 0123456789abcdeffedcba9876543210 %u %s",
		 sets, reason);
	text = checked(lines[0]);
	assert_string_equal(text, want);
	free(text);
	text = checked(lines[nlines - 1]);
	snprintf(want, sizeof(want), "E 01234567 %u %%u %%u", sets);
	assert_int_equal(sscanf(text, want, &printed, &said), 2);
	assert_int_equal(printed, nlines - 2);
	if (unpublished)
		*unpublished = said;
	else
		assert_int_equal(said, 0);
	free(text);
}

static void nothing_to_print(void **state)
{
	(void)state;
	print("panic");
	assert_int_equal(nlines, 2);
	check_frame("panic", NULL);
}

static void a_line_byte_by_byte(void **state)
{
	(void)state;
	append(1, "say \"\\\" \n", 9, "my prog");
	print("oops");
	assert_int_equal(nlines, 3);
	assert_int_equal(strncmp(lines[1], "flightrec: R 01234567 default 1 ", 32), 0);
	assert_non_null(strstr(lines[1], " 1 u 4000000000 17 1000 0 1 9 = my\\x20prog \"say \\\"\\\\\\\" \\x0a\" "));
}

static void odd_names(void **state)
{
	u32 channel;
	bool whole;

	(void)state;
	append(0, "x", 1, "-");
	append(0, "x", 1, "");
	append(0, "x", 1, "\"\\ \x80\xff\n\1sixteen");
	print("oops");
	assert_int_equal(nlines, 5);
	assert_non_null(strstr(lines[1], " = \\x2d \"x\""));
	assert_non_null(strstr(lines[2], " = - \"x\""));
	check_record(lines[1], &channel, &whole);
	check_record(lines[3], &channel, &whole);
}

static void only_the_newest_oldest_first(void **state)
{
	u64 seq, last = 0;
	u32 i, channel;
	bool whole;

	(void)state;
	for (i = 0; i < 500; i++)
		last = append_text(0, "one of many records in this channel");
	print("panic");
	check_frame("panic", NULL);
	assert_true(bytes > FLIGHTREC_CRASH_TEXT_MAX - 400);
	for (i = nlines - 2; i > 0; i--) {
		seq = check_record(lines[i], &channel, &whole);
		assert_true(whole);
		assert_int_equal(seq, last--);
	}
}

/* Two want everything, one little: it gets all it wants, they share the rest. */
static void equal_shares(void **state)
{
	size_t taken[CHANNELS] = { 0 };
	u32 i, channel;
	bool whole;

	(void)state;
	append_text(2, "little");
	for (i = 0; i < 300; i++) {
		append_text(0, "much much much");
		append_text(1, "much much much");
	}
	print("panic");
	check_frame("panic", NULL);
	for (i = 1; i < nlines - 1; i++) {
		check_record(lines[i], &channel, &whole);
		taken[channel] += strlen(lines[i]) + 1;
	}
	assert_true(taken[2] > 0);
	assert_true(taken[0] > 1600 && taken[1] > 1600);
	assert_true(taken[0] + 200 > taken[1] && taken[1] + 200 > taken[0]);
}

static void cut_to_a_line(void **state)
{
	static u8 big[FLIGHTREC_RING_PAYLOAD_MAX];
	u32 channel;
	bool whole;

	(void)state;
	memset(big, 'x', sizeof(big));
	append(0, big, sizeof(big), "p");
	memset(big, '\n', sizeof(big));
	append(1, big, sizeof(big), "p");
	memset(big, '"', sizeof(big));
	append(2, big, sizeof(big), "p");
	print("panic");
	assert_int_equal(nlines, 5);
	check_frame("panic", NULL);
	check_record(lines[1], &channel, &whole);
	assert_false(whole);
	/* Not a byte of the line is given away. */
	assert_int_equal(strlen(lines[1]), FLIGHTREC_CRASH_LINE_MAX);
	check_record(lines[2], &channel, &whole);
	assert_false(whole);
	check_record(lines[3], &channel, &whole);
	assert_false(whole);
}

static void later_sets_print_what_is_newer(void **state)
{
	u32 channel;
	bool whole;

	(void)state;
	append_text(0, "before");
	append_text(1, "before");
	print("oops");
	assert_int_equal(nlines, 4);
	append_text(1, "after");
	print("panic");
	assert_int_equal(nlines, 3);
	check_frame("panic", NULL);
	assert_int_equal(check_record(lines[1], &channel, &whole), 2);
	assert_int_equal(channel, 1);
	print("panic");
	assert_int_equal(nlines, 2);
}

/* Numbers taken by writers that were stopped before they published. */
static void unpublished_is_skipped_and_counted(void **state)
{
	u32 channel, unpublished;
	bool whole;

	(void)state;
	append_text(0, "one");
	rings[0].next_seq.counter++;
	append_text(0, "three");
	rings[0].next_seq.counter++;
	rings[1].next_seq.counter++;
	print("panic");
	check_frame("panic", &unpublished);
	assert_int_equal(unpublished, 3);
	assert_int_equal(nlines, 4);
	assert_int_equal(check_record(lines[1], &channel, &whole), 1);
	assert_int_equal(check_record(lines[2], &channel, &whole), 3);
}

static void cleared_is_not_printed(void **state)
{
	(void)state;
	append_text(0, "secret");
	flightrec_ring_clear(&rings[0]);
	append_text(0, "records cleared");
	print("panic");
	assert_int_equal(nlines, 3);
	assert_null(strstr(lines[1], "secret"));
}

/* Any bytes of any length: what is printed can be read back, within bounds. */
static void any_records(void **state)
{
	unsigned int seed = 7;
	u32 round, i, n, channel, len;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	char comm[17] = "";
	u64 seq, last[CHANNELS];
	bool whole;

	(void)state;
	for (round = 0; round < 1500; round++) {
		teardown(state);
		setup(state);
		for (n = rand_r(&seed) % 60; n; n--) {
			len = rand_r(&seed) % (rand_r(&seed) % 8 ? 120 : 4097);
			for (i = 0; i < len; i++)
				payload[i] = rand_r(&seed) % 4 ? 'a' + rand_r(&seed) % 26 :
								 rand_r(&seed);
			for (i = 0; i < 16; i++)
				comm[i] = rand_r(&seed) % 8 ? 'A' + rand_r(&seed) % 26 :
							      rand_r(&seed);
			append(rand_r(&seed) % CHANNELS, payload, len, comm);
		}
		print_channels("oops", 1 + rand_r(&seed) % CHANNELS);
		check_frame("oops", NULL);
		memset(last, 0, sizeof(last));
		for (i = 1; i < nlines - 1; i++) {
			seq = check_record(lines[i], &channel, &whole);
			assert_true(!last[channel] || seq == last[channel] + 1);
			last[channel] = seq;
		}
		for (i = 0; i < CHANNELS; i++)
			assert_true(!last[i] ||
				    last[i] == flightrec_ring_next(&rings[i]) - 1);
	}
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_to_print),
		CASE(a_line_byte_by_byte),
		CASE(odd_names),
		CASE(only_the_newest_oldest_first),
		CASE(equal_shares),
		CASE(cut_to_a_line),
		CASE(later_sets_print_what_is_newer),
		CASE(unpublished_is_skipped_and_counted),
		CASE(cleared_is_not_printed),
		CASE(any_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
