// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How much a user may write. Runs as abi.c does; each case leaves the quota off.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <sched.h>

#define PARAMETER "/sys/module/flightrec/parameters/quota"
#define BURST_MIN 8192
#define SMALL 96	/* what a record of 8 bytes takes */
#define LARGE 4184	/* what one of 4096 bytes takes */

static char payload[FLIGHTREC_PAYLOAD_MAX];

static int try_quota(const char *text)
{
	int fd = open(PARAMETER, O_WRONLY);
	int err;

	CHECK(fd >= 0);
	err = write(fd, text, strlen(text)) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static void set_quota(const char *text)
{
	CHECK_EQ(try_quota(text), 0);
}

/* On one CPU, where what it has in advance does not count twice. */
static int open_writer(void)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(0, &set);
	CHECK(!sched_setaffinity(0, sizeof(set), &set));
	return guest_open("default", O_WRONLY);
}

/* Writes until refused, at most @most records of 8 bytes; returns how many. */
static int write_small(int fd, int most)
{
	int n;

	for (n = 0; n < most; n++) {
		if (write(fd, payload, 8) == 8)
			continue;
		CHECK_EQ(errno, EDQUOT);
		break;
	}
	return n;
}

static void one_byte_a_second(void)
{
	long long before = guest_stat("default", "rejected_quota");
	long long records = guest_stat("default", "records");
	int fd = open_writer();

	set_quota("1");
	CHECK_EQ(write(fd, payload, 4096), 4096);
	CHECK_ERRNO(write(fd, payload, 4096), EDQUOT);
	CHECK_EQ(write_small(fd, 1000), (BURST_MIN - LARGE) / SMALL);
	CHECK_ERRNO(write(fd, payload, 1), EDQUOT);
	set_quota("0");
	CHECK_EQ(guest_stat("default", "rejected_quota"), before + 3);
	/* Refused, so without a number. */
	CHECK_EQ(guest_stat("default", "records"),
		 records + 1 + (BURST_MIN - LARGE) / SMALL);
}

static void none(void)
{
	int fd = open_writer();
	int i;

	set_quota("0");
	for (i = 0; i < 5000; i++)
		CHECK_EQ(write(fd, payload, 4096), 4096);
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Ten small records in each ten milliseconds. */
static void refills(void)
{
	int fd = open_writer();
	long long from, ms;
	int n;

	set_quota("96000");
	from = now_ms();
	n = write_small(fd, 1000000);
	CHECK(n >= 1000);
	guest_sleep_ms(500);
	n += write_small(fd, 1000000);
	ms = now_ms() - from;
	set_quota("0");
	printf("# %d records in %lld ms\n", n, ms);
	CHECK(ms >= 500);
	/* A CPU may hold some in advance, and the clock is read in between. */
	CHECK(n >= 1000 + 450);
	CHECK(n <= 1000 + ms + 10);
}

static void become(unsigned int uid)
{
	CHECK(!setresuid(uid, -1, -1));
}

static void each_user_has_its_own(void)
{
	int fd = open_writer();

	set_quota("1");
	become(1000);
	CHECK_EQ(write_small(fd, 1000), BURST_MIN / SMALL);
	become(1001);
	CHECK_EQ(write_small(fd, 1000), BURST_MIN / SMALL);
	become(1000);
	CHECK_ERRNO(write(fd, payload, 1), EDQUOT);
	/* The real user counts: that is who started it. */
	become(0);
	CHECK(!seteuid(1001));
	CHECK_EQ(write(fd, payload, 1), 1);
	CHECK(!seteuid(0));
	set_quota("0");
}

/* Users who take turns on a CPU do not lose what it had for them in advance. */
static void taking_turns_costs_nothing(void)
{
	int fd = open_writer();
	int i, done[2] = { 0 };

	set_quota("1048576");
	for (i = 0; i < 16000; i++) {
		become(2000 + i % 2 * 8);
		done[i % 2] += write(fd, payload, 8) == 8;
	}
	set_quota("0");
	printf("# %d and %d of 8000\n", done[0], done[1]);
	CHECK_EQ(done[0], 8000);
	CHECK_EQ(done[1], 8000);
}

static void ten_thousand_users(void)
{
	int fd = open_writer();
	int i, done = 0;

	set_quota("1");
	for (i = 0; i < 10000; i++) {
		become(100000 + i);
		done += write(fd, payload, 4096) == 4096;
	}
	become(0);
	set_quota("0");
	printf("# %d of 10000 users\n", done);
	/* An account each, as long as there are some, and the shared one. */
	CHECK(done >= 32 && done <= 65);
}

/* Who clears is named, whatever that user has written. */
static void notes_of_the_kernel_are_free(void)
{
	int fd = open_writer();
	long long records;

	set_quota("1");
	write_small(fd, 1000);
	records = guest_stat("default", "records");
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	CHECK_EQ(guest_stat("default", "records"), records + 1);
	set_quota("0");
}

static void procfs_counts(void)
{
	int fd = open_writer();
	int proc = open("/proc/flightrec/default", O_WRONLY);

	CHECK(proc >= 0);
	set_quota("1");
	write_small(fd, 1000);
	CHECK_ERRNO(write(proc, "x", 1), EDQUOT);
	set_quota("0");
	CHECK_EQ(write(proc, "x", 1), 1);
}

static void bad_values(void)
{
	char *value;

	set_quota("12345");
	CHECK_EQ(try_quota("lots"), -EINVAL);
	CHECK_EQ(try_quota("-1"), -EINVAL);
	CHECK_EQ(try_quota("4294967296"), -ERANGE);
	value = guest_slurp(PARAMETER);
	CHECK(!strcmp(value, "12345\n"));
	set_quota("4294967295");
	set_quota("0");
}

static const struct guest_case cases[] = {
	{ "quota-one-byte-a-second", one_byte_a_second },
	{ "quota-none", none },
	{ "quota-refills", refills },
	{ "quota-each-user-has-its-own", each_user_has_its_own },
	{ "quota-taking-turns-costs-nothing", taking_turns_costs_nothing },
	{ "quota-ten-thousand-users", ten_thousand_users },
	{ "quota-notes-of-the-kernel-are-free", notes_of_the_kernel_are_free },
	{ "quota-procfs-counts", procfs_counts },
	{ "quota-bad-values", bad_values },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 120);
}
