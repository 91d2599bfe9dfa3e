// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What no program should do and what takes years to happen: every ioctl with
 * wrong sizes and pointers, seeks to nowhere, all bytes through procfs, numbers
 * near where they wrap. Runs as storm.c does.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <stdint.h>
#include <sys/prctl.h>

static int open_at_end(const char *channel)
{
	int fd = guest_open(channel, O_RDWR | O_NONBLOCK);

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	return fd;
}

static const unsigned long known[] = {
	FLIGHTREC_IOC_GET_INFO, FLIGHTREC_IOC_SEEK_SEQ, FLIGHTREC_IOC_SEEK_TIME,
	FLIGHTREC_IOC_CLEAR, FLIGHTREC_IOC_SET_FLAGS, FLIGHTREC_IOC_SET_FILTER,
};

static bool is_known(unsigned long request)
{
	size_t i;

	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		if (known[i] == request)
			return true;
	/* These two may be longer, or as the first version had them. */
	return (_IOC_NR(request) == 0 && _IOC_DIR(request) == _IOC_READ &&
		_IOC_SIZE(request) >= FLIGHTREC_INFO_MIN) ||
	       (_IOC_NR(request) == 5 && _IOC_DIR(request) == _IOC_WRITE &&
		_IOC_SIZE(request) >= sizeof(struct flightrec_filter));
}

/* Every number, direction and size but those that there are. */
static void every_unknown_request(void)
{
	static const unsigned int sizes[] = {
		0, 1, 2, 4, 7, 8, 9, 12, 16, 56, 64, 72, 4096, 16383
	};
	static char argument[16384];
	int fd = open_at_end("default");
	unsigned int nr, dir, i;
	unsigned long request;

	for (nr = 0; nr < 256; nr++)
		for (dir = 0; dir < 4; dir++)
			for (i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
				request = _IOC(dir, 0xf1, nr, sizes[i]);
				if (is_known(request))
					continue;
				CHECK_ERRNO(ioctl(fd, request, argument), ENOTTY);
			}
	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		CHECK_ERRNO(ioctl(fd, known[i] ^ 0x100, argument), ENOTTY);
}

/* Nothing of it may have an effect: neither on the cursor nor on the flags. */
static void bad_pointers(void)
{
	char *page =
		mmap(NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	const uintptr_t pointers[] = {
		0, 1, 8, (uintptr_t)page + 4096 - 3, (uintptr_t)page + 4096, 0x8000000000000000,
		0xffff888000000000, 0xffffffff81000000, (uintptr_t)-4, (uintptr_t)-1,
	};
	struct flightrec_info info;
	struct guest_record record;
	int fd = open_at_end("default");
	size_t i, j;

	CHECK(page != MAP_FAILED);
	memset(page, 1, 4096);
	CHECK(!mprotect(page + 4096, 4096, PROT_NONE));
	CHECK(!mprotect(page + 8192, 4096, PROT_READ));
	guest_write(fd, "here");
	for (i = 0; i < sizeof(known) / sizeof(*known); i++)
		for (j = 0; j < sizeof(pointers) / sizeof(*pointers); j++)
			if (known[i] != FLIGHTREC_IOC_CLEAR)
				CHECK_ERRNO(ioctl(fd, known[i], pointers[j]), EFAULT);
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_GET_INFO, page + 8192), EFAULT);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK_EQ(info.flags, 0);
	guest_read(fd, &record);
	CHECK(!memcmp(record.payload, "here", 4));
	/* CLEAR has no argument, and a pointer need not be aligned. */
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, page + 1), 0);
	CHECK(!memcmp(page + 1, &(__u32){ FLIGHTREC_ABI_VERSION }, 4));
}

static void seek_to_nowhere(void)
{
	static const __u64 beyond[] = { 1, 2, 1ULL << 32, 1ULL << 63, 0 };
	int fd = open_at_end("default");
	struct flightrec_info info;
	struct guest_record record;
	__u64 to;
	int i;

	guest_write(fd, "here");
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	for (i = 0; i < 5; i++) {
		to = beyond[i] ? info.next_seq + beyond[i] : ~0ULL;
		CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &to), EINVAL);
	}
	to = 0;
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &to), EINVAL);
	/* Refused, so it is where it was. */
	guest_read(fd, &record);
	CHECK(!memcmp(record.payload, "here", 4));
	to = 1;
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &to), 0);
	guest_read(fd, &record);
	CHECK_EQ(record.head.seq, record.head.lost + 1);
	for (to = ~0ULL; to > 1ULL << 62; to >>= 1) {
		CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_TIME, &to), 0);
		CHECK_ERRNO(read(fd, &record, sizeof(record)), EAGAIN);
	}
	to = 0;
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_TIME, &to), 0);
	guest_read(fd, &record);
	CHECK_EQ(record.head.lost, 0);
}

static void step_wall_clock(long seconds)
{
	struct timespec wall;

	CHECK(!clock_gettime(CLOCK_REALTIME, &wall));
	wall.tv_sec += seconds;
	CHECK(!clock_settime(CLOCK_REALTIME, &wall));
	guest_sleep_ms(20);
}

/* Times are the boot clock's: whoever sets the wall clock changes no seek. */
static void seek_over_clock_steps(void)
{
	static const long steps[] = { 1000000, -3000000, 2000000 };
	struct guest_record written[4], got;
	int fd = open_at_end("default"), i;
	__u64 when;

	for (i = 0; i < 4; i++) {
		if (i)
			step_wall_clock(steps[i - 1]);
		guest_write(fd, "between steps");
		guest_read(fd, &written[i]);
	}
	CHECK(written[2].head.wall_ns < written[0].head.wall_ns);
	for (i = 0; i < 4; i++) {
		when = written[i].head.boot_ns;
		CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_TIME, &when), 0);
		guest_read(fd, &got);
		CHECK_EQ(got.head.seq, written[i].head.seq);
		/* Each was written at least 20 ms after the one before. */
		when -= 10000000;
		CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_TIME, &when), 0);
		guest_read(fd, &got);
		CHECK(!i || got.head.seq == written[i].head.seq);
	}
}

/* Is it one well-formed character of UTF-8 that is no control? Its bytes, or 0. */
static int good_char(const unsigned char *at)
{
	unsigned int code;
	int more, i;

	if (*at < 0x80)
		return *at >= 0x20 && *at != 0x7f;
	more = *at >= 0xf0 ? 3 : *at >= 0xe0 ? 2 : 1;
	if (*at < 0xc2 || *at > 0xf4)
		return 0;
	code = *at & (0x3f >> more);
	for (i = 1; i <= more; i++) {
		if ((at[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (at[i] & 0x3f);
	}
	if (code < 0xa0 || (more == 2 && code < 0x800) || (more == 3 && code < 0x10000) ||
	    code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff))
		return 0;
	return more + 1;
}

/* A listing is lines of such characters, whatever was written. */
static int check_listing(const char *channel)
{
	char path[64];
	unsigned char *text, *at;
	int lines = 0, n;

	snprintf(path, sizeof(path), "/proc/flightrec/%s", channel);
	text = (unsigned char *)guest_slurp(path);
	for (at = text; *at; at += n) {
		n = *at == '\n' ? 1 : good_char(at);
		lines += *at == '\n';
		if (!n)
			FAIL("byte 0x%02x 0x%02x 0x%02x in line %d", at[0], at[1], at[2], lines + 1);
	}
	free(text);
	return lines;
}

static void any_bytes_through_procfs(void)
{
	static const char * const names[] = {
		"\x1b]0;title\a", "new\nline", "\xff\xfe", "cr\rcr", "\xc2\x9b" "31m", "a: b",
	};
	int fd = guest_open("default", O_RDWR), i, j, records = 1;
	unsigned char out[300];
	size_t len;

	prctl(PR_SET_NAME, "plain");
	srand(7);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	for (i = 0; i < 256; i++, records++) {
		memset(out, i, 5);
		CHECK_EQ(write(fd, out, 1 + i % 5), 1 + i % 5);
	}
	for (i = 0; i < 1500; i++, records++) {
		for (j = 0; j < 300; j++)
			out[j] = rand() % (i % 2 ? 256 : 128) + (i % 2 ? 0 : 128);
		len = 1 + rand() % sizeof(out);
		CHECK_EQ(write(fd, out, len), len);
	}
	for (i = 0; i < 6; i++, records++) {
		prctl(PR_SET_NAME, names[i]);
		guest_write(fd, "by a task with a name");
	}
	CHECK_EQ(check_listing("default"), records);
}

static void renumber(unsigned long long first)
{
	int fd = open("/proc/guest-storm", O_WRONLY);
	char text[128];

	CHECK(fd >= 0);
	/* The second of the driver's channels: "selftest". */
	snprintf(text, sizeof(text), "renumber %llx 1 %llu", guest_symbol("flightrec_channels"), first);
	guest_write(fd, text);
	close(fd);
}

/*
 * A reader from before @first on, one from the oldest, and a seek by time see
 * the same numbers, dense, over the edge that lies @before records after it.
 */
static void cross(unsigned long long edge, int before, int after)
{
	struct flightrec_info info;
	struct guest_record record;
	unsigned long long first = edge - before, sum = 0;
	int fd, late, i;
	__u64 to;

	renumber(first);
	fd = guest_open("selftest", O_RDWR | O_NONBLOCK);
	for (i = 0; i < before + after; i++) {
		guest_write(fd, "over the edge");
		if (i % 3)
			continue;
		while (guest_next(fd, &record)) {
			CHECK_EQ(record.head.seq, first + sum + record.head.lost);
			sum += record.head.lost + 1;
		}
	}
	while (guest_next(fd, &record))
		sum += record.head.lost + 1;
	CHECK_EQ(sum, before + after);
	late = guest_open("selftest", O_RDONLY | O_NONBLOCK);
	CHECK_EQ(ioctl(late, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK_EQ(info.next_seq, edge + after);
	guest_read(late, &record);
	CHECK_EQ(record.head.seq, info.oldest_seq);
	CHECK(info.oldest_seq >= first);
	to = edge;
	CHECK_EQ(ioctl(late, FLIGHTREC_IOC_SEEK_SEQ, &to), 0);
	guest_read(late, &record);
	CHECK_EQ(record.head.seq, edge);
	to = record.head.boot_ns;
	CHECK_EQ(ioctl(late, FLIGHTREC_IOC_SEEK_TIME, &to), 0);
	guest_read(late, &record);
	CHECK_EQ(record.head.boot_ns, to);
	CHECK_EQ(ioctl(late, FLIGHTREC_IOC_CLEAR), 0);
	CHECK_EQ(lseek(late, 0, SEEK_SET), 0);
	guest_read(late, &record);
	CHECK_EQ(record.head.seq, edge + after);
	CHECK(!guest_next(late, &record));
	check_listing("selftest");
	CHECK_EQ(guest_stat("selftest", "retained"), 1);
	close(fd);
	close(late);
}

/* Where tags wrap in the index, and where numbers outgrow 32 bits and a sign. */
static void numbers_grow(void)
{
	int shift;

	for (shift = 20; shift < 32; shift++)
		cross(1ULL << shift, 100, 100);
	cross(1ULL << 32, 300, 300);
	cross(1ULL << 48, 300, 300);
	/* The documented end. */
	cross((1ULL << 63) - 400, 300, 300);
}

/* Beyond the documented end nothing promises order; but nobody oopses or hangs. */
static void numbers_end(void)
{
	static const unsigned long long ends[] = { 1ULL << 63, 0 };
	static char buf[16384];
	int fd, i, j;

	for (i = 0; i < 2; i++) {
		renumber(ends[i] - 50);
		fd = guest_open("selftest", O_RDWR | O_NONBLOCK);
		for (j = 0; j < 300; j++) {
			guest_write(fd, "beyond the end");
			CHECK(read(fd, buf, sizeof(buf)) > 0 || errno == EAGAIN);
		}
		guest_stat("selftest", "retained");
		free(guest_slurp("/proc/flightrec/selftest"));
		close(fd);
	}
	renumber(1);
	cross(1000, 10, 10);
}

/* The most demanding: each CPU fills its block with three records. */
#define EACH 400

static void write_largest(int writer)
{
	int fd = guest_open("selftest", O_WRONLY), i;
	static char out[FLIGHTREC_PAYLOAD_MAX];

	for (i = 0; i < EACH; i++) {
		memset(out, 'a' + (writer * 7 + i) % 26, sizeof(out));
		CHECK_EQ(write(fd, out, sizeof(out)), sizeof(out));
	}
	_exit(0);
}

static void largest_in_the_smallest(void)
{
	struct pollfd p = { .events = POLLIN };
	struct guest_record record;
	int i, j, status, most = 0;
	unsigned long long sum = 0;

	p.fd = open_at_end("selftest");
	for (i = 0; i < 4; i++)
		if (!fork())
			write_largest(i);
	while (sum < 4 * EACH) {
		CHECK_EQ(poll(&p, 1, 60000), 1);
		/* What there was may be overwritten already, and the next not be whole yet. */
		if (!guest_next(p.fd, &record))
			continue;
		sum += record.head.lost + 1;
		CHECK_EQ(record.head.len, FLIGHTREC_PAYLOAD_MAX);
		for (j = 1; j < FLIGHTREC_PAYLOAD_MAX; j++)
			CHECK_EQ(record.payload[j], record.payload[0]);
	}
	CHECK_EQ(sum, 4 * EACH);
	for (i = 0; i < 4; i++) {
		CHECK(wait(&status) > 0);
		CHECK_EQ(status, 0);
	}
	/* One block is left when all CPUs but one idle with an open one. */
	CHECK_EQ(lseek(p.fd, 0, SEEK_SET), 0);
	while (guest_next(p.fd, &record))
		most++;
	CHECK(most >= 3);
	CHECK_EQ(guest_stat("selftest", "rejected_busy"), 0);
}

static const struct guest_case cases[] = {
	{ "ioctl-every-unknown-request", every_unknown_request },
	{ "ioctl-bad-pointers", bad_pointers },
	{ "seek-to-nowhere", seek_to_nowhere },
	{ "seek-over-clock-steps", seek_over_clock_steps },
	{ "any-bytes-through-procfs", any_bytes_through_procfs },
	{ "largest-in-the-smallest", largest_in_the_smallest },
	{ "numbers-grow", numbers_grow },
	{ "numbers-end", numbers_end },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 300);
}
