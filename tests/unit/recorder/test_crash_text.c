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
#define LINES_MAX 128

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
/* What a set may have; how far the next record's clocks go. */
static u32 set_bytes;
static s64 step_back, shift_wall;

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
	step_back = shift_wall = 0;
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
		.len = len, .boot_ns = clock += 1234567 - step_back,
		.wall_ns = clock + (1ULL << 60) + shift_wall,
		.severity = len % 8, .pid = 4000000000U, .tgid = 17, .uid = 1000,
		.euid = 0, .cpu = len % CPUS,
		.origin = len % 3 ? FLIGHTREC_ORIGIN_KERNEL : FLIGHTREC_ORIGIN_USER,
		.flags = len % 3 == 2 ? FLIGHTREC_F_INTERRUPT : 0,
		.cgroup = 1ULL << 33 | len % 2, .start_ns = len % 5 ? 77 : 0,
	};

	step_back = 0;
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
		.bytes = set_bytes, .print = keep_line,
	};
	for (i = 0; i < n; i++)
		channels[i] = (struct flightrec_crash_channel) {
			.next = i + 1 < n ? &channels[i + 1] : NULL,
			.name = names[i], .ring = &rings[i], .from = &printed_to[i],
		};
	flightrec_crash_print(set, channels);
	assert_true(bytes <= set_bytes);
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

/* The records of a set, as its lines have them. */
static struct got {
	u32 channel;
	u64 seq;
	bool whole;
} got[LINES_MAX * 200];
static u32 ngot;

/* Is the stamp that a record has in a line the one that was written? */
static void check_stamp(const struct flightrec_stamp *have, const struct flightrec_stamp *want)
{
	assert_true(want->boot_ns == have->boot_ns && want->wall_ns == have->wall_ns &&
		    want->severity == have->severity && want->origin == have->origin &&
		    want->flags == have->flags && want->pid == have->pid &&
		    want->tgid == have->tgid && want->uid == have->uid &&
		    want->euid == have->euid && want->cpu == have->cpu &&
		    want->cgroup == have->cgroup && want->start_ns == have->start_ns);
	assert_memory_equal(have->comm, want->comm, sizeof(have->comm));
}

/* A word with a letter: what changes with the record that follows. */
static void take_change(const char *word, const char *end, struct flightrec_stamp *stamp)
{
	unsigned long long n = *word == 'N' ? 0 : strtoull(word + 1, NULL, 10);

	switch (*word) {
	case '+': stamp->seq += n; break;
	case 'S': stamp->severity = n; break;
	case 'O': stamp->origin = n; break;
	case 'F': stamp->flags = n; break;
	case 'P': stamp->pid = stamp->tgid = n; break;
	case 'Q': stamp->tgid = n; break;
	case 'U': stamp->uid = stamp->euid = n; break;
	case 'V': stamp->euid = n; break;
	case 'C': stamp->cpu = n; break;
	case 'G': stamp->cgroup = n; break;
	case 'B': stamp->start_ns = n; break;
	case 'W': stamp->wall_ns += strtoll(word + 1, NULL, 10); break;
	case 'N':
		memset(stamp->comm, 0, sizeof(stamp->comm));
		assert_in_range(unescape(word + 1, end, (u8 *)stamp->comm), 0, 16);
		break;
	default: fail();
	}
}

/* Of a payload: the quote that ends it. */
static char *closing(char *at)
{
	for (; *at != '"'; at++)
		at += *at == '\\';
	return at;
}

/* A line of records against what was written. */
static void check_line(const char *line)
{
	char *text = checked(line), name[32], *at, *end;
	unsigned long long seq, boot_ns, wall_ns, full;
	struct flightrec_stamp stamp = { 0 };
	const struct written *want;
	u8 payload[1000];
	u32 channel = 0;
	s64 step;
	int used, n;

	assert_int_equal(sscanf(text, "G 01234567 %31s %llu %llu %llu%n", name, &seq, &boot_ns,
				&wall_ns, &used), 4);
	while (strcmp(names[channel], name))
		assert_true(++channel < CHANNELS);
	stamp.seq = seq - 1;
	stamp.boot_ns = boot_ns;
	stamp.wall_ns = wall_ns;
	for (at = text + used; *at; at = end) {
		stamp.seq++;
		for (at++; *at != '-' && (*at < '0' || *at > '9'); at = end + 1) {
			end = strchr(at, ' ');
			take_change(at, end, &stamp);
		}
		step = strtoll(at, &end, 10);
		assert_int_equal(*end, '"');
		at = end + 1;
		end = closing(at);
		n = unescape(at, end, payload);
		stamp.boot_ns += step;
		stamp.wall_ns += step;
		want = &written[channel][stamp.seq];
		check_stamp(&stamp, &want->stamp);
		full = *++end == '+' ? strtoull(end, &end, 10) : (unsigned long long)n;
		assert_true(full == want->stamp.len && n >= 0 && n <= (int)full);
		assert_memory_equal(payload, want->payload, n);
		got[ngot++] = (struct got){ channel, stamp.seq, n == (int)full };
	}
	free(text);
}

/* The set, all of it; @unpublished as it says. */
static void check_set(const char *reason, u32 *unpublished)
{
	char want[200], *text;
	unsigned int printed, said;
	u32 i;

	snprintf(want, sizeof(want), "B 2 0123456789abcdeffedcba9876543210 %u %s",
		 sets, reason);
	text = checked(lines[0]);
	assert_string_equal(text, want);
	free(text);
	text = checked(lines[nlines - 1]);
	snprintf(want, sizeof(want), "E 01234567 %u %%u %%u", sets);
	assert_int_equal(sscanf(text, want, &printed, &said), 2);
	ngot = 0;
	for (i = 1; i < nlines - 1; i++)
		check_line(lines[i]);
	assert_int_equal(printed, ngot);
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
	check_set("panic", NULL);
}

static void a_line_byte_by_byte(void **state)
{
	(void)state;
	append(1, "say \"\\\" \n", 9, "my prog");
	append(1, "say \"\\\" \r", 9, "my prog");
	append(1, "brief", 5, "");
	print("oops");
	assert_int_equal(nlines, 3);
	check_set("oops", NULL);
	assert_int_equal(strncmp(lines[1], "flightrec: G 01234567 default 1 ", 32), 0);
	assert_non_null(strstr(lines[1], " S1 P4000000000 Q17 U1000 V0 C1 G8589934593 B77 Nmy\\x20prog"
			       " 0\"say \\\"\\\\\\\" \\x0a\" 1234567\"say \\\"\\\\\\\" \\x0d\""
			       " S5 O1 F1 B0 N 1234567\"brief\" "));
}

static void odd_names(void **state)
{
	(void)state;
	append(0, "x", 1, "-");
	append(0, "x", 1, "");
	append(0, "x", 1, "\"\\ \x80\xff\n\1sixteen");
	print("oops");
	check_set("oops", NULL);
	assert_int_equal(ngot, 3);
}

/* Clocks that went back, and numbers that are not there. */
static void steps_of_all_kinds(void **state)
{
	(void)state;
	append_text(0, "a");
	step_back = 5000000;
	append_text(0, "b");
	shift_wall = -7;
	append_text(0, "c");
	rings[0].next_seq.counter += 3;
	append_text(0, "d");
	print("oops");
	check_set("oops", &(u32){ 0 });
	assert_int_equal(ngot, 4);
	assert_non_null(strstr(lines[1], " -3765433\"b\" W-7 1234567\"c\" +3 1234567\"d\" "));
}

static void only_the_newest_oldest_first(void **state)
{
	u64 last = 0;
	u32 i;

	(void)state;
	for (i = 0; i < 500; i++)
		last = append_text(0, "one of many records in this channel");
	print("panic");
	check_set("panic", NULL);
	assert_true(bytes > set_bytes - 100);
	for (i = ngot; i > 0; i--) {
		assert_true(got[i - 1].whole);
		assert_int_equal(got[i - 1].seq, last--);
	}
}

/* What stands beside a payload: of records of one writer, and of two in turn. */
static void little_beside_the_payloads(void **state)
{
	static const char text[] = "event 1234567890";
	u32 kinds, i;

	for (kinds = 1; kinds <= 2; kinds++) {
		teardown(state);
		setup(state);
		for (i = 0; i < 500; i++)
			append(0, text, sizeof(text) - kinds % 2 - i % kinds,
			       i % kinds ? "one" : "another");
		print("panic");
		check_set("panic", NULL);
		assert_true(bytes / ngot - strlen(text) <= (kinds == 1 ? 16 : 52));
	}
}

/* As much as the setting says. */
static void sets_of_other_sizes(void **state)
{
	struct flightrec_stamp before_it;
	u32 i, before = 0;

	(void)state;
	for (set_bytes = FLIGHTREC_CRASH_TEXT_MIN; set_bytes <= FLIGHTREC_CRASH_TEXT_MAX;
	     set_bytes *= 4) {
		teardown(state);
		setup(state);
		for (i = 0; i < WRITTEN_MAX - 1; i++)
			append_text(0, "one of many records in this channel, of which some are longer "
				    "than others, so that the lines are not all alike" + i % 70);
		print("panic");
		check_set("panic", NULL);
		assert_true(ngot > before);
		assert_true(bytes > set_bytes - 350 ||
			    flightrec_ring_fetch(&rings[0], got[0].seq - 1, &before_it, NULL, 0));
		assert_int_equal(got[ngot - 1].seq, WRITTEN_MAX - 1);
		before = ngot;
	}
}

/* Two want everything, one little: it gets all it wants, they share the rest. */
static void equal_shares(void **state)
{
	size_t taken[CHANNELS] = { 0 };
	u32 i;

	(void)state;
	append_text(2, "little");
	for (i = 0; i < 300; i++) {
		append_text(0, "much much much");
		append_text(1, "much much much");
	}
	print("panic");
	check_set("panic", NULL);
	for (i = 1; i < nlines - 1; i++) {
		ngot = 0;
		check_line(lines[i]);
		taken[got[0].channel] += strlen(lines[i]) + 1;
	}
	assert_true(taken[2] > 0);
	assert_true(taken[0] > 1600 && taken[1] > 1600);
	assert_true(taken[0] + 200 > taken[1] && taken[1] + 200 > taken[0]);
}

static void cut_to_a_line(void **state)
{
	static u8 big[FLIGHTREC_RING_PAYLOAD_MAX];
	u32 i;

	(void)state;
	memset(big, 'x', sizeof(big));
	append(0, big, sizeof(big), "p");
	memset(big, '\n', sizeof(big));
	append(1, big, sizeof(big), "p");
	memset(big, '"', sizeof(big));
	append(2, big, sizeof(big), "p");
	print("panic");
	assert_int_equal(nlines, 5);
	check_set("panic", NULL);
	/* Not a byte of the line is given away. */
	assert_int_equal(strlen(lines[1]), FLIGHTREC_CRASH_LINE_MAX);
	assert_int_equal(ngot, 3);
	for (i = 0; i < ngot; i++)
		assert_false(got[i].whole);
}

static void later_sets_print_what_is_newer(void **state)
{
	(void)state;
	append_text(0, "before");
	append_text(1, "before");
	print("oops");
	assert_int_equal(nlines, 4);
	append_text(1, "after");
	print("panic");
	assert_int_equal(nlines, 3);
	check_set("panic", NULL);
	assert_true(ngot == 1 && got[0].seq == 2 && got[0].channel == 1);
	print("panic");
	assert_int_equal(nlines, 2);
}

/* Numbers taken by writers that were stopped before they published. */
static void unpublished_is_skipped_and_counted(void **state)
{
	u32 unpublished;

	(void)state;
	append_text(0, "one");
	rings[0].next_seq.counter++;
	append_text(0, "three");
	rings[0].next_seq.counter++;
	rings[1].next_seq.counter++;
	print("panic");
	check_set("panic", &unpublished);
	assert_int_equal(unpublished, 3);
	assert_true(ngot == 2 && got[0].seq == 1 && got[1].seq == 3);
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
	u32 round, i, n, len;
	u8 payload[FLIGHTREC_RING_PAYLOAD_MAX];
	char comm[17] = "";
	u64 last[CHANNELS];

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
		check_set("oops", NULL);
		memset(last, 0, sizeof(last));
		for (i = 0; i < ngot; i++) {
			assert_true(!last[got[i].channel] ||
				    got[i].seq == last[got[i].channel] + 1);
			last[got[i].channel] = got[i].seq;
		}
		for (i = 0; i < CHANNELS; i++)
			assert_true(!last[i] ||
				    last[i] == flightrec_ring_next(&rings[i]) - 1);
	}
}

static int usual(void **state)
{
	set_bytes = 4096;
	return setup(state);
}

#define CASE(f) cmocka_unit_test_setup_teardown(f, usual, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_to_print),
		CASE(a_line_byte_by_byte),
		CASE(odd_names),
		CASE(steps_of_all_kinds),
		CASE(only_the_newest_oldest_first),
		CASE(little_beside_the_payloads),
		CASE(sets_of_other_sizes),
		CASE(equal_shares),
		CASE(cut_to_a_line),
		CASE(later_sets_print_what_is_newer),
		CASE(unpublished_is_skipped_and_counted),
		CASE(cleared_is_not_printed),
		CASE(any_records),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
