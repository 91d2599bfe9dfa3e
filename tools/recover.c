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

#include "filter.h"
#include "format.h"
#include "report.h"

static const char help[] =
	"Usage: flightrec recover [-c CHANNEL] [-b BOOT] [-o FORMAT] [FILE...]\n"
	"Find records after a crash: of each boot, all channels in one timeline, then how\n"
	"it ended. Nothing proves that they are genuine.\n\n"
	"  -c, --channel CHANNEL  only this one\n"
	"  -b, --boot BOOT        only the boot whose id begins so\n"
	FILTER_HELP
	"  -o, --output FORMAT    short, iso, cat, json or export (default: short)\n"
	"  -t, --time STYLE       wall or boot (default: wall)\n"
	"  -j, --json             the same as -o json; the last line is a summary\n"
	"  -q, --quiet            no progress, no summary\n"
	"  -h, --help             this text\n\n"
	"FILE is what pstore kept (also in parts), a log of the kernel or of a console,\n"
	"or an image of memory: vmcore (ELF), makedumpfile's compressed or flattened form,\n"
	"LiME, raw. Its content decides. \"-\" is standard input. Of a directory all files\n"
	"below it are looked at; without FILE: the memory of the boot before, if a reset\n"
	"left it alone, /sys/fs/pstore, /var/lib/systemd/pstore and /var/crash.\n";

struct recovery {
	struct flightrec_recover *recover;
	const char *channel, *boot;
	struct format format;
	struct filter filter;
	bool quiet, progress, incomplete;
	bool usual;		/* no file was named */
	uint64_t printed, found;
	/* The boot at hand: its newest record, and whether it is the only one. */
	char at_boot[33];
	uint64_t last_boot_ns, last_wall_ns;
	unsigned int boots;
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

/* Says why it could not be looked at, if that is not because there is none. */
static void add_previous(struct recovery *recovery)
{
	int err = flightrec_recover_add_previous(recovery->recover);

	if (!err || err == -ENOENT || err == -ENODEV)
		return;
	complain("the memory of the boot before: %s", flightrec_recover_problem(recovery->recover) ?:
		 strerror(-err));
	recovery->status = EXIT_UNKNOWN;
}

static char *const usual_places[] = { FLIGHTREC_CRASH_PLACES };

static void add_usual_places(struct recovery *recovery)
{
	size_t i;

	add_previous(recovery);
	recovery->usual = true;
	for (i = 0; i < sizeof(usual_places) / sizeof(*usual_places); i++)
		if (!access(usual_places[i], F_OK))
			add_path(recovery, usual_places[i]);
}

static void say_none(const struct recovery *recovery)
{
	size_t i;

	fputs("flightrec: no record found", stderr);
	for (i = 0; recovery->usual && i < sizeof(usual_places) / sizeof(*usual_places); i++)
		fprintf(stderr, "%s %s", i ? "," : " in", usual_places[i]);
	fputs(recovery->usual ? ", nor memory of the boot before; what flightrec collect has kept: flightrec boots\n" :
				"\n", stderr);
}

/* ---- how a boot ended */

static bool same_boot(const char *one, const char *two)
{
	size_t len = strlen(one) < strlen(two) ? strlen(one) : strlen(two);

	return len >= 8 && !strncmp(one, two, len);
}

static void print_ending(struct recovery *recovery, const struct flightrec_death *death)
{
	uint64_t wall = death->wall_ns;

	/* The log's clock stands still in suspend: it was not before the last record. */
	if (!wall && death->log_ns && recovery->last_wall_ns > recovery->last_boot_ns) {
		wall = recovery->last_wall_ns - recovery->last_boot_ns + death->log_ns;
		if (wall < recovery->last_wall_ns)
			wall = recovery->last_wall_ns;
	}
	ending_print(stdout, death, wall);
}

/* What the files say of the end of a boot; those of no boot are of the only one that is there. */
static void print_deaths(struct recovery *recovery, const char *boot_id, bool and_nameless)
{
	const struct flightrec_death *death;
	size_t i;

	for (i = 0; flightrec_recover_death(recovery->recover, i, &death); i++)
		if (death->boot_id[0] ? same_boot(death->boot_id, boot_id) : and_nameless)
			print_ending(recovery, death);
}

/* Those of boots of which there is no record. */
static void print_other_deaths(struct recovery *recovery)
{
	const struct flightrec_death *death;
	size_t i;

	recovery->last_wall_ns = recovery->last_boot_ns = 0;
	for (i = 0; flightrec_recover_death(recovery->recover, i, &death); i++) {
		if (recovery->boot && !same_boot(recovery->boot, death->boot_id))
			continue;
		if (recovery->boots == 1 && (!death->boot_id[0] ||
					     same_boot(death->boot_id, recovery->at_boot)))
			continue;
		if (recovery->boots > 1 && death->boot_id[0])
			continue;
		printf("== boot %s\n", death->boot_id[0] ? death->boot_id : "whose id is not known");
		print_ending(recovery, death);
	}
}

static void print_heading(struct recovery *recovery, const struct flightrec_recovered *found)
{
	if (!strcmp(recovery->at_boot, found->boot_id))
		return;
	if (recovery->at_boot[0]) {
		print_deaths(recovery, recovery->at_boot, false);
		putchar('\n');
	}
	strcpy(recovery->at_boot, found->boot_id);
	recovery->boots++;
	printf("== boot %s, unverified\n", found->boot_id);
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
	recovery->last_boot_ns = found->record->boot_ns;
	recovery->last_wall_ns = found->record->wall_ns;
	recovery->found++;
	if (!filter_wants(&recovery->filter, &entry))
		return;
	format_entry(stdout, &recovery->format, &entry);
	recovery->printed++;
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
		if (ferror(stdout))
			break;
	}
	if (!got && output_for_people(recovery->format.output)) {
		if (recovery->at_boot[0])
			print_deaths(recovery, recovery->at_boot, recovery->boots == 1);
		print_other_deaths(recovery);
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
		say_none(recovery);
	for (i = 0; i < COUNTS; i++) {
		n = flightrec_recover_count(recovery->recover, counts[i].what);
		if (n && counts[i].text)
			fprintf(stderr, "  %" PRIu64 " %s\n", n, counts[i].text);
	}
}

/* Bytes of a log, as a JSON string has to have them. */
static struct json_object *log_text(const char *text)
{
	struct json_object *string;
	char *plain = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&plain, &len);

	if (!out)
		abort();
	for (; *text; text += *text == '\n') {
		print_escaped(out, text, strcspn(text, "\n"));
		text += strcspn(text, "\n");
		if (*text)
			fputc('\n', out);
	}
	fclose(out);
	string = json_object_new_string(plain);
	free(plain);
	return string;
}

static struct json_object *deaths_json(const struct recovery *recovery)
{
	struct json_object *all = json_object_new_array(), *one;
	const struct flightrec_death *death;
	size_t i;

	for (i = 0; flightrec_recover_death(recovery->recover, i, &death); i++) {
		one = json_object_new_object();
		json_object_object_add(one, "boot_id", json_object_new_string(death->boot_id));
		json_object_object_add(one, "kind", json_object_new_string(death->kind));
		json_object_object_add(one, "cause", log_text(death->cause));
		json_object_object_add(one, "trouble", log_text(death->trouble));
		json_object_object_add(one, "backtrace", log_text(death->backtrace));
		json_object_object_add(one, "log_ns", json_object_new_uint64(death->log_ns));
		json_object_object_add(one, "wall_ns", json_object_new_uint64(death->wall_ns));
		json_object_object_add(one, "fatal", json_object_new_boolean(death->fatal));
		json_object_array_add(all, one);
	}
	return all;
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
	json_object_object_add(summary, "deaths", deaths_json(recovery));
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
	flightrec_recover_set_order(recovery->recover, FLIGHTREC_RECOVER_BY_TIME);
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
		FILTER_OPTIONS,
		{ "output", required_argument, NULL, 'o' },
		{ "time", required_argument, NULL, 't' },
		{ "json", no_argument, NULL, 'j' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct recovery recovery = { .format = { .clock = CLOCK_WALL, .channel_width = 8 } };
	int opt, status;

	while ((opt = getopt_long(argc, argv, ":c:b:t:o:jqh" FILTER_LETTERS, options, NULL)) != -1) {
		status = filter_option(&recovery.filter, opt, optarg);
		if (status > 0)
			return status;
		if (!status)
			continue;
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
		case 'o':
			if (!output_parse(optarg, &recovery.format.output)) {
				complain("\"%s\" is not short, iso, cat, json or export", optarg);
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
	status = filter_ready(&recovery.filter);
	if (status)
		return status;
	if (flightrec_recover_new(&recovery.recover)) {
		complain("no memory");
		return EXIT_NO;
	}
	recovery.format.colour = colour_wanted(stdout);
	recovery.progress = !recovery.quiet && isatty(STDERR_FILENO);
	status = recover_files(&recovery, argv + optind);
	flightrec_recover_free(recovery.recover);
	filter_free(&recovery.filter);
	return status;
}
