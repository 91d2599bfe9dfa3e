// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * /proc/flightrec/<channel>: what it lists, and what it takes. Runs as abi.c
 * does.
 */
#include "harness.h"

static int count_lines(int fd)
{
	char buf[512];
	ssize_t n, i;
	int lines = 0;

	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		for (i = 0; i < n; i++)
			lines += buf[i] == '\n';
	CHECK_EQ(n, 0);
	return lines;
}

/* An open listing, read again from its start, has what is there then. */
static void proc_listing_read_again(void)
{
	int list = open("/proc/flightrec/default", O_RDONLY);
	int fd = guest_open("default", O_RDWR);
	int i;

	CHECK(list >= 0);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	CHECK_EQ(count_lines(list), 1);
	for (i = 0; i < 5; i++) {
		guest_write(fd, "again");
		CHECK_EQ(count_lines(list), 2 + i);
		CHECK_EQ(count_lines(list), 2 + i);
	}
}

/* What is overwritten before it is read is said, at the end of the listing too. */
static void proc_listing_says_what_it_lost(void)
{
	int list = open("/proc/flightrec/small", O_RDONLY);
	int fd = guest_open("small", O_WRONLY);
	char out[1000] = "", first[64], *text;
	unsigned long long lost;
	int i;

	CHECK(list >= 0);
	for (i = 0; i < 20; i++)
		CHECK_EQ(write(fd, out, sizeof(out)), sizeof(out));
	CHECK(read(list, first, sizeof(first)) > 0);
	for (i = 0; i < 1000; i++)
		CHECK_EQ(write(fd, out, sizeof(out)), sizeof(out));
	text = calloc(1, 1 << 20);
	for (i = 0; read(list, text + i, 4096) > 0; i = strlen(text))
		;
	text = strstr(text, "# lost ");
	CHECK(text);
	lost = strtoull(text + strlen("# lost "), NULL, 10);
	CHECK(lost > 0);
	CHECK(!strcmp(strchr(text, '\n'), "\n"));
}

static void proc_lists_and_appends(void)
{
	char *text, *line;
	int fd;

	fd = guest_open("default", O_RDWR);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	guest_write(fd, "<4>tab\there esc\x1b[31m c1 \xc2\x9b utf8 \xc3\xa9 bad \xff back\\ nl\nend");
	fd = open("/proc/flightrec/default", O_WRONLY);
	CHECK(fd >= 0);
	guest_write(fd, "from proc\n");
	CHECK_ERRNO(write(fd, (void *)8, 9), EFAULT);
	CHECK_ERRNO(write(fd, text = calloc(1, 5000), 5000), EMSGSIZE);
	CHECK_EQ(write(fd, "", 0), 0);
	text = guest_slurp("/proc/flightrec/default");
	line = strchr(text, '\n') + 1;
	if (!strstr(line, " 4 user 0 ") ||
	    !strstr(line, ": tab\\x09here esc\\x1b[31m c1 \\xc2\\x9b utf8 \xc3\xa9 bad \\xff back\\x5c nl\\x0aend\n"))
		FAIL("line is: %s", line);
	line = strchr(line, '\n') + 1;
	if (strcmp(strstr(line, ": ") ?: "", ": from proc\n"))
		FAIL("line is: %s", line);
}

/* More than one page, so that the listing is read in several pieces. */
static void proc_lists_all(void)
{
	static char out[FLIGHTREC_PAYLOAD_MAX];
	unsigned long long seq = 0, last = 0;
	int fd = guest_open("default", O_RDWR), lines = 0, i;
	char *text, *at;

	memset(out, 1, sizeof(out));
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	for (i = 0; i < 150; i++)
		CHECK_EQ(write(fd, out, 1 + i * 27), 1 + i * 27);
	text = guest_slurp("/proc/flightrec/default");
	for (at = text; *at; at = strchr(at, '\n') + 1) {
		CHECK(*at != '#');
		seq = strtoull(at, NULL, 10);
		CHECK(!last || seq == last + 1);
		last = seq;
		lines++;
	}
	CHECK_EQ(lines, 151);
}

static const struct guest_case cases[] = {
	{ "proc-listing-read-again", proc_listing_read_again },
	{ "proc-listing-says-what-it-lost", proc_listing_says_what_it_lost },
	{ "proc-lists-and-appends", proc_lists_and_appends },
	{ "proc-lists-all", proc_lists_all },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 120);
}
