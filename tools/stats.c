// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec stats: what the driver counts for each channel, as a table, as JSON or as
 * metrics.
 */
#include "tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "format.h"

static const char help[] =
	"Usage: flightrec stats [--watch[=SECONDS]] [--all] [--json | --metrics]\n"
	"Print what each channel has recorded, overwritten and refused.\n\n"
	"  -a, --all              with the channel of the smoke tests\n"
	"  -w, --watch[=SECONDS]  again and again, with records per second (default: 1)\n"
	"  -j, --json             a JSON object on each line, one per channel\n"
	"      --metrics          counters for Prometheus's text-file collector\n"
	"  -h, --help             this text\n";

/* The channel of the smoke tests says nothing about the host. */
static bool listed(const char *channel, bool all)
{
	return all || strcmp(channel, SELFTEST_CHANNEL);
}

/* ---- JSON */

/* A value as a JSON number where it is one. */
static struct json_object *json_value(const char *value)
{
	unsigned long long number;

	return number_parse(value, 0, UINT64_MAX, &number) ? json_object_new_uint64(number) :
							     json_object_new_string(value);
}

static void print_stats_json(const struct flightrec_stats *stats)
{
	struct json_object *object;
	const char *key, *value;
	size_t line, i;

	for (line = 0; flightrec_stats_channel(stats, line); line++) {
		object = json_object_new_object();
		for (i = 0; flightrec_stats_member(stats, line, i, &key, &value); i++)
			json_object_object_add(object, key, json_value(value));
		puts(json_object_to_json_string_ext(object, JSON_STYLE));
		json_object_put(object);
	}
}

/* ---- for people */

static uint64_t number_of(const struct flightrec_stats *stats, size_t line, const char *key)
{
	uint64_t number;

	return flightrec_stats_number(stats, line, key, &number) ? 0 : number;
}

/* A size in bytes, in binary units as the rings are: "256K", "1.5M". */
static const char *size_text(char text[24], uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	double scaled = bytes;
	unsigned int unit = 0;

	for (; scaled >= 1023.5; scaled /= 1024)
		unit++;
	snprintf(text, 24, "%.*f%c", scaled < 9.95 && scaled != (int)scaled ? 1 : 0, scaled,
		 units[unit]);
	return text;
}

/* A number of records, at most five characters: "9999", "10K", "1.5M". */
static const char *short_number(char text[24], uint64_t number)
{
	static const char units[] = " KMGTPE";
	double scaled = number;
	unsigned int unit = 0;

	if (number < 10000) {
		snprintf(text, 24, "%llu", (unsigned long long)number);
		return text;
	}
	for (; scaled >= 999.5; scaled /= 1000)
		unit++;
	snprintf(text, 24, "%.*f%c", scaled < 9.95 ? 1 : 0, scaled, units[unit]);
	return text;
}

static uint64_t rejected_of(const struct flightrec_stats *stats, size_t line)
{
	const char *key, *value;
	uint64_t sum = 0;
	size_t i;

	for (i = 0; flightrec_stats_member(stats, line, i, &key, &value); i++)
		if (!strncmp(key, "rejected_", 9))
			sum += number_of(stats, line, key);
	return sum;
}

/* One metric of all channels; the names of channels need no escapes, and are few. */
static void print_metric(const struct flightrec_stats *stats, const char *name, const char *what,
			 uint64_t (*value)(const struct flightrec_stats *stats, size_t line))
{
	const char *channel;
	size_t line;

	printf("# HELP %s %s\n# TYPE %s counter\n", name, what, name);
	for (line = 0; (channel = flightrec_stats_channel(stats, line)); line++) {
		if (listed(channel, false))
			printf("%s{channel=\"%s\"} %" PRIu64 "\n", name, channel, value(stats, line));
	}
}

static uint64_t records_of(const struct flightrec_stats *stats, size_t line)
{
	return number_of(stats, line, "records");
}

static uint64_t overwritten_of(const struct flightrec_stats *stats, size_t line)
{
	return number_of(stats, line, "overwritten");
}

static void print_metrics(const struct flightrec_stats *stats)
{
	print_metric(stats, "flightrec_records_total", "Records since the driver was loaded.", records_of);
	print_metric(stats, "flightrec_overwritten_total", "Records whose place newer ones took.", overwritten_of);
	print_metric(stats, "flightrec_rejected_total", "Records that were refused.", rejected_of);
}

/* Why records were refused, where there were any. */
static void print_reasons(const struct flightrec_stats *stats, size_t line)
{
	const char *key, *value, *before = "  refused: ";
	size_t i;

	for (i = 0; flightrec_stats_member(stats, line, i, &key, &value); i++) {
		if (strncmp(key, "rejected_", 9) || !strcmp(value, "0"))
			continue;
		printf("%s%s %s", before, key + 9, value);
		before = ", ";
	}
	if (before[0] == ',')
		putchar('\n');
}

static void print_channel(const struct flightrec_stats *stats, size_t line, int width,
			  const struct flightrec_stats *before, double seconds)
{
	uint64_t records = number_of(stats, line, "records");
	char text[6][24], age[CLOCK_TEXT_MAX];
	uint64_t earlier;

	printf("%-*s %5s", width, flightrec_stats_channel(stats, line),
	       size_text(text[0], number_of(stats, line, "size_kb") * 1024));
	printf(" %7s", short_number(text[1], records));
	if (before) {
		earlier = number_of(before, line, "records");
		printf(" %6s", short_number(text[2], records > earlier ?
					    (records - earlier) / seconds + 0.5 : 0));
	}
	duration_text(age, number_of(stats, line, "oldest_age_ms") * 1000000);
	printf(" %6s %11s %7s %7s %6s\n", short_number(text[3], number_of(stats, line, "retained")),
	       short_number(text[4], number_of(stats, line, "overwritten")),
	       short_number(text[5], rejected_of(stats, line)),
	       short_number(text[0], number_of(stats, line, "readers")),
	       number_of(stats, line, "retained") ? age : "-");
	print_reasons(stats, line);
}

/* Of the driver's own counts, those that somebody should look after; false past the last line. */
static bool print_failures(const struct flightrec_stats *stats, size_t line)
{
	const char *key, *value;
	size_t i;

	for (i = 0; flightrec_stats_member(stats, line, i, &key, &value); i++)
		if (strstr(key, "_failures") && strcmp(value, "0"))
			printf("%s=%s: see the kernel's log\n", key, value);
	return i;
}

static void print_table(const struct flightrec_stats *stats, const struct flightrec_stats *before,
			double seconds, bool all)
{
	int width = strlen("CHANNEL");
	const char *channel;
	size_t line;

	for (line = 0; (channel = flightrec_stats_channel(stats, line)); line++)
		if (listed(channel, all) && (int)strlen(channel) > width)
			width = strlen(channel);
	printf("%-*s %5s %7s%s %6s %11s %7s %7s %6s\n", width, "CHANNEL", "SIZE", "RECORDS",
	       before ? "    /s " : "", "KEPT", "OVERWRITTEN", "REFUSED", "READERS", "OLDEST");
	for (line = 0; (channel = flightrec_stats_channel(stats, line)); line++)
		if (listed(channel, all))
			print_channel(stats, line, width, before, seconds);
	/* What follows is the driver's own. */
	while (print_failures(stats, line))
		line++;
}

/*
 * Files beside the channels: a shell's redirection has made them, where no channel of
 * that name was, and what was written there is no record.
 */
static void name_strays(void)
{
	DIR *dir = opendir(FLIGHTREC_DEV);
	struct dirent *found;
	struct stat st;

	while (dir && (found = readdir(dir))) {
		if (fstatat(dirfd(dir), found->d_name, &st, AT_SYMLINK_NOFOLLOW) ||
		    S_ISCHR(st.st_mode) || S_ISDIR(st.st_mode))
			continue;
		fflush(stdout);
		fputs("flightrec: " FLIGHTREC_DEV "/", stderr);
		print_escaped(stderr, found->d_name, strlen(found->d_name));
		fprintf(stderr, " is a file of %lld bytes, not a channel; what is written there is not"
			" recorded: remove it\n", (long long)st.st_size);
	}
	if (dir)
		closedir(dir);
}

/* ---- once, or again and again */

static int get(struct flightrec_stats **stats)
{
	int err = flightrec_stats_get(stats);

	if (!err)
		return EXIT_YES;
	complain("%s", flightrec_explain(err));
	return EXIT_UNKNOWN;
}

/* Channels may come and go between two looks; then there are no rates. */
static bool comparable(const struct flightrec_stats *a, const struct flightrec_stats *b)
{
	const char *one, *two;
	size_t line;

	if (!a || !b)
		return false;
	for (line = 0; ; line++) {
		one = flightrec_stats_channel(a, line);
		two = flightrec_stats_channel(b, line);
		if (!one || !two)
			return !one && !two;
		if (strcmp(one, two))
			return false;
	}
}

static int watch(unsigned int seconds, bool json, bool all)
{
	struct flightrec_stats *stats, *before = NULL;
	bool screen = isatty(STDOUT_FILENO) && !json;
	uint64_t now, then = 0;
	int status;

	for (;; then = now) {
		status = get(&stats);
		if (status)
			break;
		now = boot_now();
		if (screen)
			fputs("\033[H\033[2J", stdout);
		if (json)
			print_stats_json(stats);
		else
			print_table(stats, comparable(stats, before) ? before : NULL,
				    (now - then) / 1e9, all);
		flightrec_stats_free(before);
		before = stats;
		if (flush_output(&status))
			break;
		sleep(seconds);
	}
	flightrec_stats_free(before);
	return status;
}

static int once(bool json, bool metrics, bool all)
{
	struct flightrec_stats *stats;
	int status = get(&stats);

	if (status)
		return status;
	if (json)
		print_stats_json(stats);
	else if (metrics)
		print_metrics(stats);
	else
		print_table(stats, NULL, 1, all);
	flightrec_stats_free(stats);
	if (!flush_output(&status))
		name_strays();
	return status;
}

int command_stats(int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "watch", optional_argument, NULL, 'w' },
		{ "json", no_argument, NULL, 'j' },
		{ "metrics", no_argument, NULL, 'm' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	unsigned long long seconds = 0;
	bool json = false, metrics = false, all = false;
	int opt;

	while ((opt = getopt_long(argc, argv, ":aw::jh", options, NULL)) != -1) {
		switch (opt) {
		case 'w':
			seconds = 1;
			if (optarg && !number_parse(optarg, 1, 86400, &seconds)) {
				complain("\"%s\" is not a number of seconds", optarg);
				return EXIT_USAGE;
			}
			break;
		case 'a':
			all = true;
			break;
		case 'j':
			json = true;
			break;
		case 'm':
			metrics = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_YES;
		default:
			return bad_option("stats", argv, opt);
		}
	}
	/* "-w 5": a value that may be left out has to be joined, which few know. */
	if (seconds && optind < argc && number_parse(argv[optind], 1, 86400, &seconds))
		optind++;
	if (optind < argc)
		return surplus("stats", argv[optind]);
	if (metrics && (json || seconds)) {
		complain("stats: --metrics goes with neither --json nor --watch");
		return EXIT_USAGE;
	}
	return seconds ? watch(seconds, json, all) : once(json, metrics, all);
}
