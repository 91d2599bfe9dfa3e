// SPDX-License-Identifier: GPL-2.0-only
#include "flightrec.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static const char help[] =
	"Usage: flightrec read [-c CHANNEL] [-f] [-n N] [--json]\n"
	"Print the records of a channel, the oldest first.\n\n"
	"  -c, --channel CHANNEL  which (default: default)\n"
	"  -f, --follow           go on with new records as they come\n"
	"  -n, --lines N          start with the newest N records\n"
	"  -j, --json             a JSON object on each line\n"
	"  -h, --help             this text\n";

/* Records in one read(2). */
#define BATCH (64 * 1024)

struct reading {
	const char *channel;
	bool follow;
	bool json;
	bool limited;
	unsigned long long newest;	/* with limited: how many */
};

/* Goes to the newest @count records. */
static int seek_newest(int fd, unsigned long long count)
{
	struct flightrec_info info;
	__u64 seq;

	if (ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info))
		return -1;
	if (!count)
		return lseek(fd, 0, SEEK_END);
	if (info.next_seq - info.oldest_seq <= count)
		return 0;
	seq = info.next_seq - count;
	return ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &seq);
}

/* Everything that is there now; -1 if reading failed or nobody listens. */
static int print_available(int fd, const struct reading *reading)
{
	static char batch[BATCH] __attribute__((aligned(8)));
	const struct flightrec_record *record;
	ssize_t n, at;

	while ((n = read(fd, batch, sizeof(batch))) > 0) {
		for (at = 0; at < n; at += record->size) {
			record = (const void *)(batch + at);
			if (reading->json)
				print_record_json(stdout, record);
			else
				print_record(stdout, record);
		}
	}
	if (errno != EAGAIN) {
		complain("channel %s: %s", reading->channel, strerror(errno));
		return -1;
	}
	if (fflush(stdout)) {
		complain("standard output: %s", strerror(errno));
		return -1;
	}
	return 0;
}

static int print_all(int fd, const struct reading *reading)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (reading->limited && seek_newest(fd, reading->newest)) {
		complain("channel %s: %s", reading->channel, strerror(errno));
		return EXIT_NO;
	}
	for (;;) {
		if (print_available(fd, reading))
			return EXIT_NO;
		if (!reading->follow)
			return EXIT_YES;
		if (poll(&p, 1, -1) < 0 && errno != EINTR) {
			complain("poll: %s", strerror(errno));
			return EXIT_NO;
		}
	}
}

int command_read(int argc, char **argv)
{
	static const struct option options[] = {
		{ "channel", required_argument, NULL, 'c' },
		{ "follow", no_argument, NULL, 'f' },
		{ "lines", required_argument, NULL, 'n' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct reading reading = { .channel = "default" };
	int opt, fd, status;

	while ((opt = getopt_long(argc, argv, "c:fn:jh", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			reading.channel = optarg;
			break;
		case 'f':
			reading.follow = true;
			break;
		case 'n':
			reading.limited = true;
			if (!number_parse(optarg, 0, ~0ULL, &reading.newest)) {
				complain("\"%s\" is not a number of records", optarg);
				return EXIT_USAGE;
			}
			break;
		case 'j':
			reading.json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_YES;
		default:
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		complain("\"%s\" is one argument too many; see \"flightrec read --help\"",
			 argv[optind]);
		return EXIT_USAGE;
	}
	fd = channel_open(reading.channel, O_RDONLY | O_NONBLOCK);
	if (fd < 0)
		return EXIT_UNKNOWN;
	status = print_all(fd, &reading);
	close(fd);
	return status;
}
