// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec read: the records of a channel, from a place on, and as they come.
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "follow.h"

static const char help[] =
	"Usage: flightrec read [-c CHANNEL] [-f] [-n N | --since TIME] [--json]\n"
	"Print the records of a channel, the oldest first.\n\n"
	"  -c, --channel CHANNEL  which (default: default)\n"
	"  -f, --follow           go on with new records as they come\n"
	"  -n, --lines N          start with the newest N records\n"
	"  -s, --since TIME       start there: 90s, 5m, 2h, 3d ago; 14:30;\n"
	"                         2026-01-31; \"2026-01-31 14:30:05\"; @SECONDS since 1970\n"
	"  -t, --time STYLE       relative, wall or boot (default: relative on a terminal,\n"
	"                         else wall)\n"
	"  -j, --json             a JSON object on each line\n"
	"  -h, --help             this text\n";

struct request {
	bool limited, since;
	unsigned long long newest;	/* with limited: how many */
	uint64_t boot_ns;		/* with since */
};

static int seek(struct follow *follow, const struct request *request)
{
	int err = 0;

	if (request->limited)
		err = flightrec_seek_last(follow->handle, request->newest);
	else if (request->since)
		err = flightrec_seek_time(follow->handle, request->boot_ns);
	if (!err)
		return EXIT_YES;
	complain("channel %s: %s", follow->channel, flightrec_explain(err));
	return EXIT_NO;
}

/* Everything that is there now: 0, or why there will be no more. */
static int print_available(struct follow *follow, const struct style *style, int *status)
{
	const struct flightrec_record *record;
	int got;

	while ((got = flightrec_next(follow->handle, &record)) > 0) {
		follow->last_seq = record->seq;
		if (style->json) {
			print_record_json(stdout, follow->channel, record, NULL);
		} else {
			if (record->lost)
				print_lost(stdout, style, record->lost, "lost");
			print_record(stdout, style, record);
		}
		/* Nobody listens any more: why read on? */
		if (ferror(stdout))
			break;
	}
	if (flush_output(status))
		return -EPIPE;
	return got == -EAGAIN || got == -EINTR || got >= 0 ? 0 : got;
}

static int print_all(struct follow *follow, const struct style *style, bool go_on)
{
	int status = EXIT_YES;
	int err;

	for (;;) {
		err = print_available(follow, style, &status);
		if (err == -EPIPE)
			return status;
		if (err && !(go_on && follow_gone(err))) {
			complain("channel %s: %s", follow->channel, flightrec_explain(err));
			return EXIT_NO;
		}
		if (!go_on)
			return EXIT_YES;
		status = err ? follow_reopen(follow, err) : follow_wait(follow);
		if (status != FOLLOW_ON)
			return status;
		status = EXIT_YES;
	}
}

static int read_channel(const char *channel, const struct request *request,
			const struct style *style, bool go_on)
{
	struct follow follow = { .channel = channel };
	int status;

	status = follow_open(&follow);
	if (status)
		return status;
	status = seek(&follow, request);
	if (!status)
		status = print_all(&follow, style, go_on);
	flightrec_close(follow.handle);
	return status;
}

static enum clock_style default_clock(bool go_on)
{
	if (!isatty(STDOUT_FILENO))
		return CLOCK_WALL;
	/* What has just come is always "now". */
	return go_on ? CLOCK_SHORT : CLOCK_RELATIVE;
}

int command_read(int argc, char **argv)
{
	static const struct option options[] = {
		{ "channel", required_argument, NULL, 'c' },
		{ "follow", no_argument, NULL, 'f' },
		{ "lines", required_argument, NULL, 'n' },
		{ "since", required_argument, NULL, 's' },
		{ "time", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct request request = { .limited = false };
	struct style style = { .clock = CLOCK_AUTO };
	const char *channel = NULL;
	bool go_on = false;
	int opt;

	while ((opt = getopt_long(argc, argv, ":c:fn:s:t:jh", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			if (channel_once("read", &channel, optarg))
				return EXIT_USAGE;
			break;
		case 'f':
			go_on = true;
			break;
		case 'n':
			request.limited = true;
			if (!number_parse(optarg, 0, ~0ULL, &request.newest)) {
				complain("\"%s\" is not a number of records", optarg);
				return EXIT_USAGE;
			}
			break;
		case 's':
			request.since = true;
			if (!since_parse(optarg, &request.boot_ns)) {
				complain("\"%s\" is not a time: try 5m, 14:30 or \"2026-01-31 14:30\"",
					 optarg);
				return EXIT_USAGE;
			}
			break;
		case 't':
			if (!clock_style_parse(optarg, &style.clock)) {
				complain("\"%s\" is not relative, wall or boot", optarg);
				return EXIT_USAGE;
			}
			break;
		case 'j':
			style.json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_YES;
		default:
			return bad_option("read", argv, opt);
		}
	}
	if (optind < argc)
		return surplus("read", argv[optind]);
	if (request.limited && request.since) {
		complain("--lines and --since both say where to start: give one of them");
		return EXIT_USAGE;
	}
	if (style.clock == CLOCK_AUTO)
		style.clock = default_clock(go_on);
	style.colour = colour_wanted(stdout);
	return read_channel(channel ? channel : "default", &request, &style, go_on);
}
