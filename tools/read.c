// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec read: the records of channels in one timeline, from a place on, and as
 * they come.
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "archive.h"
#include "cgroups.h"
#include "cursor.h"
#include "filter.h"
#include "follow.h"
#include "format.h"
#include "past.h"
#include "spool.h"
#include "timeline.h"

static const char help[] =
	"Usage: flightrec read [-c CHANNEL]... [OPTION...]\n"
	"Print the records of channels in the order of time, the oldest first, and each\n"
	"loss in its place.\n\n"
	"  -c, --channel CHANNEL  which; may be given again (default: default)\n"
	"  -a, --all              all channels\n"
	"  -b, --boot BOOT        of a boot before: -1 the last one, -2, or the beginning of\n"
	"                         its id; \"flightrec boots\" lists them\n"
	"  -f, --follow           go on with new records as they come\n"
	"  -n, --lines N          only the newest N of the records\n"
	"  -r, --reverse          the newest first\n"
	FILTER_HELP
	FILTER_GROUP_HELP
	"  -o, --output FORMAT    short, iso, cat (only the text), json, or export (for\n"
	"                         systemd-journal-remote)\n"
	"  -j, --json             the same as -o json\n"
	"  -t, --time STYLE       relative, wall or boot (default: relative on a terminal,\n"
	"                         else wall)\n"
	"      --utc              times of day in UTC\n"
	"      --cursor-file FILE go on where the last reader with this file stopped\n"
	"  -h, --help             this text\n";

enum { OPT_CURSOR = OPT_FILTER_END, OPT_UTC };

struct reading {
	struct timeline timeline;
	struct filter filter;
	struct format format;
	struct cursor *cursor;		/* or NULL */
	const char *cursor_path;
	const char *boot;		/* one before this one, or NULL */
	bool all, follow, reverse, limited, missing;
	unsigned long long newest;	/* with limited: how many */
	FILE *out;
};

static int channel_failed(const struct channel *channel, int err)
{
	complain("channel %s: %s", channel->name, flightrec_explain(err));
	return EXIT_NO;
}

/* Can the driver find the newest ones, since all of them are wanted? */
static bool newest_by_number(const struct reading *reading)
{
	return reading->limited && !filter_selects(&reading->filter) &&
	       !reading->filter.since_set && !reading->filter.until_set;
}

static int seek_channel(struct reading *reading, struct channel *channel)
{
	struct flightrec_info info;
	int err = 0;

	if (newest_by_number(reading))
		err = flightrec_seek_last(channel->handle, reading->newest);
	else if (reading->filter.since_set)
		err = flightrec_seek_time(channel->handle, reading->filter.since.boot_ns);
	/* So that it is known where to go on, should the channel be let go. */
	if (!err && reading->limited && !reading->newest) {
		err = flightrec_info(channel->handle, &info, sizeof(info));
		channel->last_seq = err ? 0 : info.next_seq - 1;
	}
	return err ? channel_failed(channel, err) : EXIT_YES;
}

static int seek(struct reading *reading)
{
	struct timeline *timeline = &reading->timeline;
	int status = EXIT_YES;
	size_t i;

	for (i = 0; i < timeline->count && !status; i++) {
		status = seek_channel(reading, &timeline->channels[i]);
		if (!status && reading->cursor)
			status = cursor_seek(reading->cursor, timeline, &timeline->channels[i]);
	}
	return status;
}

static void name_group(const struct reading *reading, struct entry *entry)
{
	if (reading->format.output != OUTPUT_CAT)
		cgroups_name(entry);
}

/* ---- printing at once, as the records come */

/* Takes the record that a channel has next: is there an entry to be printed? */
static bool take_entry(struct reading *reading, struct channel *channel, struct entry *entry)
{
	*entry = (struct entry) {
		.record = channel->head,
		.channel = channel->name,
		.boot_id = *reading->timeline.boot_id ? reading->timeline.boot_id : NULL,
	};
	timeline_take(channel);
	channel->lost += entry->record->lost;
	if (!filter_wants(&reading->filter, entry))
		return false;
	entry->lost = channel->lost;
	channel->lost = 0;
	return true;
}

/* Losses that no printed record has said. */
static void say_lost(struct reading *reading)
{
	struct channel *channel;
	size_t i;

	for (i = 0; i < reading->timeline.count; i++) {
		channel = &reading->timeline.channels[i];
		if (!channel->lost)
			continue;
		if (output_for_people(reading->format.output)) {
			format_lost(reading->out, &reading->format, channel->name, channel->lost);
			channel->lost = 0;
		} else if (!reading->cursor) {
			/* A cursor file keeps it for the next record. */
			complain("channel %s: %llu records were lost after the last one printed",
				 channel->name, (unsigned long long)channel->lost);
			channel->lost = 0;
		}
	}
}

/* How long something may wait that nothing wakes us for. */
#define PAUSE_MS 1000

/* Everything that is written so far goes out: 0, or -1 with the exit status. */
static int flush_reading(struct reading *reading, int *status)
{
	int err;

	/* Of records that are not wanted, there may be many a second. */
	if (reading->cursor && reading->follow && cursor_may_wait(reading->cursor, PAUSE_MS))
		return 0;
	err = reading->cursor ? cursor_write(reading->cursor, &reading->timeline, status) :
				flush_output(status);
	if (reading->cursor)
		reading->out = cursor_output(reading->cursor);
	return err;
}

/* Everything that is there now: 0, -EPIPE with the exit status, or an error of *from. */
static int print_available(struct reading *reading, struct channel **from, int *status)
{
	bool people = output_for_people(reading->format.output);
	struct entry entry;
	int got;

	while ((got = timeline_next(&reading->timeline, from)) > 0) {
		if (take_entry(reading, *from, &entry)) {
			name_group(reading, &entry);
			format_entry(reading->out, &reading->format, &entry);
		} else if (people && (*from)->lost) {
			/* In its place, though the record that brought it is not shown. */
			format_lost(reading->out, &reading->format, (*from)->name, (*from)->lost);
			(*from)->lost = 0;
		}
		if (reading->cursor && cursor_due(reading->cursor) &&
		    flush_reading(reading, status))
			return -EPIPE;
		/* Nobody listens any more: why read on? */
		if (ferror(reading->out))
			break;
	}
	if (flush_reading(reading, status))
		return -EPIPE;
	return got < 0 ? got : 0;
}

static int print_until_now(struct reading *reading)
{
	struct channel *channel;
	int status = EXIT_YES;
	int err = timeline_stop_here(&reading->timeline, &channel);

	if (!err)
		err = print_available(reading, &channel, &status);
	if (err == -EPIPE)
		return status;
	if (err)
		return channel_failed(channel, err);
	say_lost(reading);
	flush_reading(reading, &status);
	return status;
}

/*
 * An earlier driver has no filters, and wakes us more often. Again after a reload. Not with a
 * cursor file: what the driver passes over, the next reader would count as lost.
 */
static bool filter_in_driver(struct reading *reading)
{
	struct flightrec_filter filter;
	size_t i;

	if (reading->cursor || !filter_in_kernel(&reading->filter, &filter))
		return false;
	for (i = 0; i < reading->timeline.count; i++)
		if (reading->timeline.channels[i].handle)
			flightrec_set_filter(reading->timeline.channels[i].handle, &filter,
					     sizeof(filter));
	return true;
}

static int print_on_and_on(struct reading *reading)
{
	struct channel *channel = NULL;
	int status = EXIT_YES;
	bool filtered, pause;
	int err;

	for (;;) {
		filtered = filter_in_driver(reading);
		err = print_available(reading, &channel, &status);
		if (err == -EPIPE)
			return status;
		if (err && !follow_gone(err))
			return channel_failed(channel, err);
		/* A sleeper whom all passes cannot tell what nobody wanted from a loss. */
		pause = filtered || (reading->cursor && cursor_waits(reading->cursor));
		status = err ? follow_reopen(&reading->timeline, channel, err) :
			       follow_wait(&reading->timeline, pause ? PAUSE_MS : -1);
		if (status != FOLLOW_ON)
			return status;
		status = EXIT_YES;
	}
}

/* ---- all of it first, where the end of it matters */

static int spool_channel(struct reading *reading, struct channel *channel, struct spool *spool)
{
	struct entry entry;
	int err;

	while ((err = channel_next(channel)) > 0) {
		if (!take_entry(reading, channel, &entry))
			continue;
		err = spool_add(spool, &entry);
		if (err) {
			complain("temporary file: %s", strerror(-err));
			return EXIT_NO;
		}
	}
	return err ? channel_failed(channel, err) : EXIT_YES;
}

static int print_spool(struct reading *reading, struct spool *spool)
{
	struct entry entry;
	int status = EXIT_YES;
	int err = spool_sort(spool, reading->limited ? reading->newest : UINT64_MAX,
			     reading->reverse);

	if (err) {
		complain("temporary file: %s", strerror(-err));
		return EXIT_NO;
	}
	while (!ferror(stdout) && spool_next(spool, &entry)) {
		name_group(reading, &entry);
		format_entry_turned(stdout, &reading->format, &entry, reading->reverse);
	}
	flush_output(&status);
	return status;
}

static int print_newest(struct reading *reading)
{
	struct spool *spool;
	struct channel *channel;
	int err = timeline_stop_here(&reading->timeline, &channel);
	int status = EXIT_YES;
	size_t i;

	if (err)
		return channel_failed(channel, err);
	err = spool_new(&spool);
	if (err) {
		complain("temporary file: %s", strerror(-err));
		return EXIT_NO;
	}
	for (i = 0; i < reading->timeline.count && !status; i++)
		status = spool_channel(reading, &reading->timeline.channels[i], spool);
	if (!status)
		status = print_spool(reading, spool);
	if (!status)
		say_lost(reading);
	spool_free(spool);
	return status;
}

/* ---- the command */

static int print_records(struct reading *reading)
{
	bool history_first = reading->reverse ||
			     (reading->limited && reading->newest &&
			      (reading->timeline.count > 1 || !newest_by_number(reading)));
	int status = EXIT_YES;

	if (history_first)
		status = print_newest(reading);
	else if (!reading->follow)
		return print_until_now(reading);
	if (status || !reading->follow)
		return status;
	timeline_go_on(&reading->timeline);
	return print_on_and_on(reading);
}

static void set_channel_width(struct reading *reading)
{
	size_t i;

	for (i = 0; reading->timeline.count > 1 && i < reading->timeline.count; i++)
		if ((int)strlen(reading->timeline.channels[i].name) > reading->format.channel_width)
			reading->format.channel_width = strlen(reading->timeline.channels[i].name);
}

static int read_channels(struct reading *reading)
{
	int status = EXIT_YES;

	if (reading->all)
		status = timeline_name_all(&reading->timeline);
	else if (!reading->timeline.count)
		timeline_name(&reading->timeline, "default");
	if (!status && reading->cursor_path)
		status = cursor_open(&reading->cursor, reading->cursor_path);
	if (!status)
		status = timeline_open(&reading->timeline, reading->all, &reading->missing);
	set_channel_width(reading);
	if (!status && reading->cursor)
		status = cursor_complete(reading->cursor);
	if (!status)
		status = seek(reading);
	if (status)
		return status;
	reading->out = reading->cursor ? cursor_output(reading->cursor) : stdout;
	if (reading->follow)
		follow_start();
	status = print_records(reading);
	filter_say_nameless(&reading->filter);
	cgroups_free();
	return status ? status : reading->missing ? EXIT_UNKNOWN : EXIT_YES;
}

static enum clock_style default_clock(const struct reading *reading)
{
	if (!isatty(STDOUT_FILENO))
		return CLOCK_WALL;
	/* What has just come is always "now". */
	return reading->follow ? CLOCK_SHORT : CLOCK_RELATIVE;
}

/* One that is none of the filter's: 0, EXIT_USAGE, or -1 where it is the help's or unknown. */
static int take_option(struct reading *reading, int opt, const char *value)
{
	switch (opt) {
	case 'c':
		timeline_name(&reading->timeline, value);
		return EXIT_YES;
	case 'a':
		reading->all = true;
		return EXIT_YES;
	case 'b':
		reading->boot = past_boot_is_now(value) ? NULL : value;
		if (boot_name_ok(value))
			return EXIT_YES;
		complain("\"%s\" is not a boot: 0 is this one, -1 the one before; or its id", value);
		return EXIT_USAGE;
	case 'f':
		reading->follow = true;
		return EXIT_YES;
	case 'r':
		reading->reverse = true;
		return EXIT_YES;
	case 'n':
		reading->limited = strcmp(value, "all") != 0;
		if (!reading->limited || number_parse(value, 0, ~0ULL - 1, &reading->newest))
			return EXIT_YES;
		complain("\"%s\" is not a number of records", value);
		return EXIT_USAGE;
	case 'o':
		if (output_parse(value, &reading->format.output))
			return EXIT_YES;
		complain("\"%s\" is not short, iso, cat, json or export", value);
		return EXIT_USAGE;
	case 'j':
		reading->format.output = OUTPUT_JSON;
		return EXIT_YES;
	case 't':
		if (clock_style_parse(value, &reading->format.clock))
			return EXIT_YES;
		complain("\"%s\" is not relative, wall or boot; a writer's name or tag is \"--comm %s\"",
			 value, value);
		return EXIT_USAGE;
	case OPT_UTC:
		setenv("TZ", "UTC0", 1);
		return EXIT_YES;
	case OPT_CURSOR:
		reading->cursor_path = value;
		return EXIT_YES;
	default:
		return -1;
	}
}

/* What stands there without an option is a channel's name, more often than not. */
static int surplus_channel(const char *argument)
{
	complain("unexpected argument '%s': a channel is \"-c %s\"; see \"flightrec read --help\"",
		 argument, argument);
	return EXIT_USAGE;
}

/* Options that contradict each other: 0, or EXIT_USAGE after saying which. */
static int check_options(const struct reading *reading)
{
	const char *why = NULL;

	if (reading->all && reading->timeline.count)
		why = "--all and --channel: give one of them";
	else if (reading->follow && reading->reverse)
		why = "--follow and --reverse: there is no newest record to begin with; give one of them";
	else if (reading->follow && reading->filter.until_set)
		why = "--follow and --until: give one of them";
	else if (reading->cursor_path && (reading->reverse || reading->limited))
		why = "--cursor-file says where to begin: not with --lines or --reverse";
	else if (reading->boot && (reading->follow || reading->cursor_path))
		why = "--boot: nothing new comes of a boot that has ended; not with --follow or --cursor-file";
	else if (reading->boot && reading->format.clock == CLOCK_RELATIVE)
		why = "--boot and --time relative: how long ago is known of this boot only; try wall or boot";
	if (why)
		complain("%s", why);
	return why ? EXIT_USAGE : EXIT_YES;
}

static int read_past(struct reading *reading)
{
	struct past past = {
		.boot = reading->boot, .wanted = reading->all ? NULL : &reading->timeline,
		.filter = &reading->filter, .reverse = reading->reverse,
		.limited = reading->limited, .newest = reading->newest,
	};

	if (!reading->all && !reading->timeline.count)
		timeline_name(&reading->timeline, "default");
	set_channel_width(reading);
	past.format = reading->format;
	/* Which there are is seen as they come. */
	if (reading->all)
		past.format.channel_width = 8;
	return past_read(&past);
}

int command_read(int argc, char **argv)
{
	static const struct option options[] = {
		{ "channel", required_argument, NULL, 'c' },
		{ "all", no_argument, NULL, 'a' },
		{ "boot", required_argument, NULL, 'b' },
		{ "follow", no_argument, NULL, 'f' },
		{ "lines", required_argument, NULL, 'n' },
		{ "reverse", no_argument, NULL, 'r' },
		FILTER_OPTIONS,
		FILTER_GROUP_OPTIONS,
		{ "output", required_argument, NULL, 'o' },
		{ "json", no_argument, NULL, 'j' },
		{ "time", required_argument, NULL, 't' },
		{ "utc", no_argument, NULL, OPT_UTC },
		{ "cursor-file", required_argument, NULL, OPT_CURSOR },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct reading reading = { .format.clock = CLOCK_AUTO };
	int opt, status = EXIT_YES;

	while (!status && (opt = getopt_long(argc, argv, ":c:ab:fn:rs:o:jt:h" FILTER_LETTERS, options,
					     NULL)) != -1) {
		status = take_option(&reading, opt, optarg);
		if (status < 0)
			status = filter_option(&reading.filter, opt, optarg);
		if (status >= 0)
			continue;
		if (opt != 'h')
			return bad_option("read", argv, opt);
		fputs(help, stdout);
		return EXIT_YES;
	}
	if (!status && optind < argc)
		status = surplus_channel(argv[optind]);
	if (!status)
		status = check_options(&reading);
	if (!status)
		status = filter_ready(&reading.filter);
	if (!status) {
		if (reading.format.clock == CLOCK_AUTO)
			reading.format.clock = reading.boot ? CLOCK_WALL : default_clock(&reading);
		reading.format.colour = colour_wanted(stdout) && !reading.cursor_path;
		status = reading.boot ? read_past(&reading) : read_channels(&reading);
	}
	timeline_close(&reading.timeline);
	cursor_free(reading.cursor);
	filter_free(&reading.filter);
	return status;
}
