// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec recover: records out of what a crash left behind.
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <getopt.h>
#include <inttypes.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "format.h"

static const char help[] =
	"Usage: flightrec recover [-c CHANNEL] [-b BOOT] [--json] [FILE...]\n"
	"Find records after a crash, sorted by boot and channel. Nothing proves that they\n"
	"are genuine.\n\n"
	"  -c, --channel CHANNEL  only this one\n"
	"  -b, --boot BOOT        only the boot whose id begins so\n"
	"  -t, --time STYLE       wall or boot (default: wall)\n"
	"  -j, --json             a JSON object on each line, the last one a summary\n"
	"  -q, --quiet            no progress, no summary\n"
	"  -h, --help             this text\n\n"
	"FILE is what pstore kept (also in parts), a log of the kernel or of a console,\n"
	"or an image of memory: vmcore (ELF), makedumpfile's compressed or flattened form,\n"
	"LiME, raw. Its content decides. \"-\" is standard input. Of a directory all files\n"
	"below it are looked at; without FILE: /sys/fs/pstore, /var/lib/systemd/pstore and\n"
	"/var/crash.\n";

struct recovery {
	struct flightrec_recover *recover;
	const char *channel, *boot;
	struct format format;
	bool quiet, progress, incomplete;
	uint64_t printed;
	int status;		/* EXIT_UNKNOWN once a file could not be used */
	unsigned int percent;
};

static const struct {
	enum flightrec_recover_count what;
	const char *key;	/* in JSON */
	const char *text;	/* after the number */
} counts[] = {
	{ FLIGHTREC_RECOVER_UNPUBLISHED, "unpublished", "unpublished: their writers had not finished" },
	{ FLIGHTREC_RECOVER_DAMAGED, "damaged", "damaged: lines, or pieces of memory, that make no sense" },
	{ FLIGHTREC_RECOVER_CONFLICTS, "conflicts", "claim a number that another has: forged, damaged, or the driver was loaded again" },
	{ FLIGHTREC_RECOVER_MISSING_LINES, "missing_lines", "were printed at the crash and are not in these files" },
	{ FLIGHTREC_RECOVER_CLEARED, "cleared", "had been cleared and are not shown" },
	{ FLIGHTREC_RECOVER_DUPLICATES, "duplicates", "found more than once, shown once" },
	{ FLIGHTREC_RECOVER_OTHER_VERSION, "other_version", "of a version that this program does not know: use a newer one" },
	{ FLIGHTREC_RECOVER_UNREADABLE, "unreadable_pages", "pages of memory that the dump should have could not be read" },
	{ FLIGHTREC_RECOVER_OVERFLOW, "overflow", "not looked at: more than memory is set aside for" },
	{ FLIGHTREC_RECOVER_BLOCKS, "blocks", NULL },
	{ FLIGHTREC_RECOVER_TEXT_LINES, "text_lines", NULL },
};

#define COUNTS (sizeof(counts) / sizeof(*counts))

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
	struct recovery *recovery = arg;
	unsigned int percent = total ? (double)done / total * 100 : 0;

	if (!recovery->progress || percent == recovery->percent)
		return;
	recovery->percent = percent;
	fprintf(stderr, "\r%3u %% of %.1f GiB", percent > 100 ? 100 : percent, total / 1073741824.0);
	fflush(stderr);
}

static void end_progress(struct recovery *recovery)
{
	if (recovery->progress && recovery->percent)
		fputs("\r\033[K", stderr);
	recovery->percent = 0;
}

/* A pipe has no second look: its content goes into a file that has no name. */
static int seekable(int fd)
{
	static char buffer[1024 * 1024];
	FILE *copy;
	ssize_t n;
	int made;

	if (lseek(fd, 0, SEEK_CUR) >= 0)
		return fd;
	copy = tmpfile();
	if (!copy)
		return -1;
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		if (fwrite(buffer, 1, n, copy) != (size_t)n)
			n = -1, errno = ENOSPC;
	made = n < 0 || fflush(copy) ? -1 : dup(fileno(copy));
	fclose(copy);
	close(fd);
	return made;
}

static void add_file(struct recovery *recovery, const char *path)
{
	const char *name = strcmp(path, "-") ? path : "standard input";
	int fd = name == path ? open(path, O_RDONLY | O_CLOEXEC) : dup(STDIN_FILENO);
	const char *problem;
	int err;

	if (fd >= 0)
		fd = seekable(fd);
	err = fd < 0 ? -errno : flightrec_recover_add(recovery->recover, fd);
	if (fd >= 0)
		close(fd);
	end_progress(recovery);
	problem = flightrec_recover_problem(recovery->recover);
	recovery->incomplete |= problem != NULL;
	if (fd >= 0 && problem)
		complain("%s: %s: %s", name, flightrec_recover_format(recovery->recover), problem);
	else if (err == -EINVAL)
		complain("%s: neither a file nor a block device", name);
	else if (err)
		complain("%s: %s", name, strerror(-err));
	if (err)
		recovery->status = EXIT_UNKNOWN;
}

/* Of two names the one that sorts first, so that the order is always the same. */
static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

/*
 * Adds the regular files below a directory, whatever the depth, as systemd-pstore
 * and kdump make one for each crash. Links in it are not followed: they may lead
 * anywhere.
 */
static void add_directory(struct recovery *recovery, char *path)
{
	char *paths[] = { path, NULL };
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
	FTSENT *entry;

	errno = walk ? 0 : errno;
	while (walk && (entry = fts_read(walk))) {
		if (entry->fts_info == FTS_F) {
			add_file(recovery, entry->fts_path);
		} else if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR ||
			   entry->fts_info == FTS_NS) {
			complain("%s: %s", entry->fts_path, strerror(entry->fts_errno));
			recovery->status = EXIT_UNKNOWN;
		}
		errno = 0;
	}
	if (errno) {
		complain("%s: %s", path, strerror(errno));
		recovery->status = EXIT_UNKNOWN;
	}
	if (walk)
		fts_close(walk);
}

static void add_path(struct recovery *recovery, char *path)
{
	struct stat st;

	if (strcmp(path, "-") && !stat(path, &st) && S_ISDIR(st.st_mode))
		add_directory(recovery, path);
	else
		add_file(recovery, path);
}

/* Where distributions put what is left of a crash; tests have places of their own. */
#ifndef FLIGHTREC_CRASH_PLACES
#define FLIGHTREC_CRASH_PLACES "/sys/fs/pstore", "/var/lib/systemd/pstore", "/var/crash"
#endif

static void add_usual_places(struct recovery *recovery)
{
	static char *const places[] = { FLIGHTREC_CRASH_PLACES };
	size_t i;

	for (i = 0; i < sizeof(places) / sizeof(*places); i++)
		if (!access(places[i], F_OK))
			add_path(recovery, places[i]);
}

/* "== boot 0123…, channel default" where either changes. */
static void print_heading(struct recovery *recovery, const struct flightrec_recovered *found)
{
	static char boot[33], channel[FLIGHTREC_NAME_MAX];

	if (!strcmp(boot, found->boot_id) && !strcmp(channel, found->channel))
		return;
	snprintf(boot, sizeof(boot), "%s", found->boot_id);
	snprintf(channel, sizeof(channel), "%s", found->channel);
	printf("%s== channel %s, boot %s, unverified\n", recovery->printed ? "\n" : "",
	       channel, boot);
}

static void print_found(struct recovery *recovery, const struct flightrec_recovered *found)
{
	struct entry entry = {
		.record = found->record,
		.channel = found->channel,
		.boot_id = found->boot_id,
		.lost = found->record->lost,
		.found = found,
	};

	if (output_for_people(recovery->format.output))
		print_heading(recovery, found);
	format_entry(stdout, &recovery->format, &entry);
}

/* 0, or the exit status if that is the end. */
static int print_records(struct recovery *recovery)
{
	const struct flightrec_recovered *found;
	int status = EXIT_YES;
	int got;

	while ((got = flightrec_recover_next(recovery->recover, &found)) > 0) {
		if ((recovery->channel && strcmp(recovery->channel, found->channel)) ||
		    (recovery->boot && strncmp(recovery->boot, found->boot_id,
					       strlen(recovery->boot))))
			continue;
		print_found(recovery, found);
		recovery->printed++;
		if (ferror(stdout))
			break;
	}
	if (flush_output(&status))
		return status ? status : -1;
	if (got < 0) {
		complain("%s", strerror(-got));
		return EXIT_NO;
	}
	return 0;
}

static void print_summary(const struct recovery *recovery)
{
	uint64_t n;
	size_t i;

	if (recovery->printed)
		fprintf(stderr, "flightrec: %" PRIu64 " record%s recovered, none of them verified\n",
			recovery->printed, recovery->printed == 1 ? "" : "s");
	else
		fprintf(stderr, "flightrec: no record found\n");
	for (i = 0; i < COUNTS; i++) {
		n = flightrec_recover_count(recovery->recover, counts[i].what);
		if (n && counts[i].text)
			fprintf(stderr, "  %" PRIu64 " %s\n", n, counts[i].text);
	}
}

static void print_summary_json(const struct recovery *recovery)
{
	struct json_object *line = json_object_new_object();
	struct json_object *summary = json_object_new_object();
	size_t i;

	/* Whoever may write to a log or to memory can forge a record. */
	json_object_object_add(summary, "verified", json_object_new_boolean(0));
	json_object_object_add(summary, "records", json_object_new_uint64(recovery->printed));
	for (i = 0; i < COUNTS; i++)
		json_object_object_add(summary, counts[i].key, json_object_new_uint64(
			flightrec_recover_count(recovery->recover, counts[i].what)));
	json_object_object_add(line, "summary", summary);
	puts(json_object_to_json_string_ext(line, JSON_STYLE));
	json_object_put(line);
}

static int recover_files(struct recovery *recovery, char **files)
{
	int status;

	flightrec_recover_progress(recovery->recover, show_progress, recovery);
	if (!*files)
		add_usual_places(recovery);
	for (; *files; files++)
		add_path(recovery, *files);
	status = print_records(recovery);
	if (status)
		return status < 0 ? EXIT_YES : status;
	if (recovery->format.output == OUTPUT_JSON) {
		print_summary_json(recovery);
		if (flush_output(&status))
			return status;
	} else if (!recovery->quiet) {
		print_summary(recovery);
	}
	/* A file that could not be used may have had what is missing. */
	if (recovery->status)
		return recovery->status;
	if (recovery->printed)
		return EXIT_YES;
	return recovery->incomplete ||
	       flightrec_recover_count(recovery->recover, FLIGHTREC_RECOVER_OTHER_VERSION) ?
	       EXIT_UNKNOWN : EXIT_NO;
}

int command_recover(int argc, char **argv)
{
	static const struct option options[] = {
		{ "channel", required_argument, NULL, 'c' },
		{ "boot", required_argument, NULL, 'b' },
		{ "time", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct recovery recovery = { .format.clock = CLOCK_WALL };
	int opt, status;

	while ((opt = getopt_long(argc, argv, ":c:b:t:jqh", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			if (channel_once("recover", &recovery.channel, optarg))
				return EXIT_USAGE;
			break;
		case 'b':
			recovery.boot = optarg;
			break;
		case 't':
			if (!clock_style_parse(optarg, &recovery.format.clock) ||
			    recovery.format.clock == CLOCK_RELATIVE) {
				complain("\"%s\" is not wall or boot", optarg);
				return EXIT_USAGE;
			}
			break;
		case 'j':
			recovery.format.output = OUTPUT_JSON;
			break;
		case 'q':
			recovery.quiet = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_YES;
		default:
			return bad_option("recover", argv, opt);
		}
	}
	if (flightrec_recover_new(&recovery.recover)) {
		complain("no memory");
		return EXIT_NO;
	}
	recovery.format.colour = colour_wanted(stdout);
	recovery.progress = !recovery.quiet && isatty(STDERR_FILENO);
	status = recover_files(&recovery, argv + optind);
	flightrec_recover_free(recovery.recover);
	return status;
}
