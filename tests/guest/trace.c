// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The tracepoint flightrec:flightrec_record, as tracefs shows it. Runs as abi.c does.
 */
#include "harness.h"

#include <sys/mount.h>

#define TRACING "/sys/kernel/tracing/"
#define EVENT TRACING "events/flightrec/flightrec_record/"

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_TRUNC);

	if (fd < 0)
		FAIL("open %s: %s", path, strerror(errno));
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* Traces what comes, of what @filter wants. */
static void start(const char *filter)
{
	if (access(TRACING "trace", F_OK))
		CHECK(!mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, NULL));
	put(EVENT "filter", filter);
	put(TRACING "trace", "");
	put(EVENT "enable", "1");
}

static char *stop(void)
{
	put(EVENT "enable", "0");
	return guest_slurp(TRACING "trace");
}

static unsigned int count(const char *text, const char *what)
{
	unsigned int n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

static unsigned long long last_seq(int fd)
{
	struct flightrec_info info;

	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	return info.next_seq - 1;
}

/* One event for each record, with its number, and what is no letter escaped. */
static void trace_shows_each_record(void)
{
	int fd = guest_open("small", O_RDWR);
	char want[256], *text;
	int i;

	start("0");
	for (i = 0; i < 3; i++)
		guest_write(fd, "<3>one\ttwo\n");
	text = stop();
	CHECK_EQ(count(text, "flightrec_record: "), 3);
	for (i = 0; i < 3; i++) {
		snprintf(want, sizeof(want), "channel=small seq=%llu severity=3 origin=user "
			 "uid=0 pid=%d len=8 payload=one\\ttwo\\n\n", last_seq(fd) - 2 + i, getpid());
		if (!strstr(text, want))
			FAIL("no \"%s\" in \"%s\"", want, strstr(text, "flightrec_record"));
	}
}

/* In every way in which a record is written. */
static void trace_shows_other_writers(void)
{
	struct iovec parts[2] = { { "part", 4 }, { "s", 1 } };
	int fd = guest_open("small", O_RDWR);
	char *text;

	start("0");
	CHECK_EQ(writev(fd, parts, 2), 5);
	put("/proc/flightrec/small", "by procfs\n");
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	text = stop();
	CHECK_EQ(count(text, "channel=small "), 3);
	CHECK(strstr(text, " payload=parts\n"));
	CHECK(strstr(text, " len=9 payload=by procfs\n"));
	CHECK(strstr(text, " severity=5 origin=kernel uid=0 "));
	CHECK(strstr(text, " payload=records cleared\n"));
}

/* A long payload is cut, and its length is not. */
static void trace_cuts_a_long_payload(void)
{
	int fd = guest_open("small", O_WRONLY);
	char out[4000], *text, *at;

	memset(out, 'x', sizeof(out));
	start("0");
	CHECK_EQ(write(fd, out, sizeof(out)), sizeof(out));
	memset(out, 1, sizeof(out));
	CHECK_EQ(write(fd, out, sizeof(out)), sizeof(out));
	text = stop();
	at = strstr(text, " len=4000 payload=xx");
	CHECK(at);
	CHECK_EQ(strspn(strstr(at, "xx"), "x"), 512);
	/* Nor does it lose a line where each byte takes four. */
	CHECK_EQ(count(text, "\\001"), 512);
}

static void trace_filters(void)
{
	int fd = guest_open("small", O_WRONLY), other = guest_open("default", O_WRONLY);
	char *text;

	start("channel == \"small\" && severity < 4");
	guest_write(fd, "<2>wanted");
	guest_write(fd, "<5>harmless");
	guest_write(other, "<2>elsewhere");
	text = stop();
	CHECK_EQ(count(text, "flightrec_record: "), 1);
	CHECK(strstr(text, "payload=wanted\n"));
}

/* What was refused is no record, and nothing comes while it is off. */
static void trace_shows_nothing_else(void)
{
	static char out[FLIGHTREC_PAYLOAD_MAX + 1];
	int fd = guest_open("small", O_WRONLY);
	char *text;

	start("0");
	CHECK_ERRNO(write(fd, out, sizeof(out)), EMSGSIZE);
	CHECK_ERRNO(write(fd, (void *)1, 5), EFAULT);
	CHECK_EQ(write(fd, out, 0), 0);
	text = stop();
	CHECK(!strstr(text, "flightrec_record: "));
	guest_write(fd, "unseen");
	text = guest_slurp(TRACING "trace");
	CHECK(!strstr(text, "flightrec_record: "));
}

static const struct guest_case cases[] = {
	{ "trace-shows-each-record", trace_shows_each_record },
	{ "trace-shows-other-writers", trace_shows_other_writers },
	{ "trace-cuts-a-long-payload", trace_cuts_a_long_payload },
	{ "trace-filters", trace_filters },
	{ "trace-shows-nothing-else", trace_shows_nothing_else },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 60);
}
