// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec collect: at boot, what is left of the boots before goes into
 * /var/lib/flightrec/boots, with a report. flightrec save: at an orderly shutdown,
 * what is in memory goes there.
 *
 * Places are looked through one after the other; of each, the records of each boot are
 * merged with those that are kept already, and then it is noted in sources.json that
 * the place was looked at. A run that is killed anywhere leaves whole files, and no
 * note of what it had not finished; the next one looks again, and finds the same.
 */
#include "collect.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "timeline.h"
#include "tool.h"

static const char help[] =
	"Usage: flightrec collect [--boots N] [--size MIB] [PLACE...]\n"
	"Keep what is left of the boots before this one in /var/lib/flightrec/boots, with a\n"
	"report on each. Meant to be run at boot; does nothing twice.\n\n"
	"      --boots N    keep at most N boots (default: 20)\n"
	"      --size MIB   keep at most so much of each boot, the newest (default: 64)\n"
	"  -h, --help       this text\n\n"
	"PLACE is a directory or a file, as for \"flightrec recover\"; without it: memory\n"
	"that a reset left alone, /sys/fs/pstore, /var/lib/systemd/pstore, /var/crash.\n";

static const char save_help[] =
	"Usage: flightrec save [--size MIB]\n"
	"Keep what all channels hold in /var/lib/flightrec/boots. Meant to be run late at an\n"
	"orderly shutdown.\n\n"
	"      --size MIB   keep at most so much, the newest (default: 64)\n"
	"  -h, --help       this text\n";

#ifndef FLIGHTREC_MOTD
#define FLIGHTREC_MOTD "/run/motd.d"
#endif
/* Where prometheus-node-exporter looks for files, if it is there. */
#ifndef FLIGHTREC_METRICS
#define FLIGHTREC_METRICS "/var/lib/prometheus/node-exporter"
#endif
#ifndef FLIGHTREC_CRASH_PLACES
#define FLIGHTREC_CRASH_PLACES "/proc/flightrec/previous.image", "/sys/fs/pstore", "/var/lib/systemd/pstore", "/var/crash"
#endif

#define SIZE_MAX_MIB (1024 * 1024)
#define SOURCES_MAX 4096

static uint64_t wall_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* This boot: the next run knows that it ran, also if nothing is left of it. */
static void begin_this(struct collection *c)
{
	struct utsname system;
	struct boot boot;
	int err;

	load_one(&boot, c->now);
	if (!boot.problem && !json_text(boot.json, "state")[0]) {
		uname(&system);
		json_set_text(boot.json, "state", "running");
		json_set_text(boot.json, "kernel", system.release);
		json_set_number(boot.json, "first_seen_ns", wall_now());
		err = boot_store(&boot);
		if (err)
			failed(c, BOOTS_DIR, err);
	}
	json_object_put(boot.json);
}

/* ---- bounds */

static void remove_boot(struct collection *c, const char *name)
{
	static const char *const files[] = { "boot.json", "report.txt", "records.jsonl.zst", "boot.json.new",
					     "report.txt.new", "records.jsonl.zst.new" };
	char path[512];
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(*files); i++) {
		snprintf(path, sizeof(path), BOOTS_DIR "/%s/%s", name, files[i]);
		if (unlink(path) && errno != ENOENT)
			failed(c, path, -errno);
	}
	snprintf(path, sizeof(path), BOOTS_DIR "/%s", name);
	if (rmdir(path) && errno != ENOENT)
		failed(c, path, -errno);
}

static void prune(struct collection *c)
{
	int i, over;

	reload(c);
	over = c->nboots - (int)c->keep_boots;
	for (i = 0; i < c->nboots && over > 0; i++) {
		if (!strcmp(c->boots[i].name, c->now))
			continue;
		remove_boot(c, c->boots[i].name);
		over--;
	}
	if (i)
		reload(c);
}

/* Of places that are gone nothing needs to be remembered. */
static void forget_sources(struct collection *c)
{
	struct json_object_iter it;
	struct json_object *kept = json_object_new_object();
	int n = 0;

	json_object_object_foreachC(c->sources, it)
		if (!access(it.key, F_OK) && n++ < SOURCES_MAX)
			json_object_object_add(kept, it.key, json_object_get(it.val));
	json_object_put(c->sources);
	c->sources = kept;
}

/* ---- where it is said */

static int replace_text(const char *dir, const char *file, const char *text)
{
	char path[512], new[520];
	int fd, err;

	snprintf(path, sizeof(path), "%s/%s", dir, file);
	snprintf(new, sizeof(new), "%s.new", path);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	/* For everybody, whatever the unit's umask is. */
	err = fchmod(fd, 0644) || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ?
	      -(errno ? errno : EIO) : 0;
	close(fd);
	if (!err && rename(new, path))
		err = -errno;
	if (err)
		unlink(new);
	return err;
}

static void write_motd(struct collection *c)
{
	const struct boot *boot = boot_before(c);
	char *text = NULL;
	size_t len = 0;
	FILE *out;
	int err;

	if (!boot || (!report_end(boot) || report_orderly(boot))) {
		if (unlink(FLIGHTREC_MOTD "/flightrec") && errno != ENOENT)
			failed(c, FLIGHTREC_MOTD "/flightrec", -errno);
		return;
	}
	out = open_memstream(&text, &len);
	if (!out)
		return;
	fputs("flightrec: ", out);
	report_line(out, boot);
	fputc('\n', out);
	fclose(out);
	mkdir(FLIGHTREC_MOTD, 0755);
	err = replace_text(FLIGHTREC_MOTD, "flightrec", text);
	if (err)
		failed(c, FLIGHTREC_MOTD "/flightrec", err);
	free(text);
}

static int crashed(const struct collection *c)
{
	int i, n = 0;

	for (i = 0; i < c->nboots; i++)
		n += report_end(&c->boots[i]) && !report_orderly(&c->boots[i]);
	return n;
}

static void write_metrics(struct collection *c)
{
	const struct boot *boot = boot_before(c);
	struct json_object *end, *records;
	char text[2048];
	int err, n = 0;

	if (access(FLIGHTREC_METRICS, F_OK))
		return;
	if (boot) {
		end = child(boot->json, "end");
		records = child(boot->json, "records");
		n = snprintf(text, sizeof(text),
			     "# HELP flightrec_previous_boot_crashed Whether the boot before this one did not end in order.\n"
			     "# TYPE flightrec_previous_boot_crashed gauge\n"
			     "flightrec_previous_boot_crashed{kind=\"%s\"} %d\n"
			     "# HELP flightrec_previous_boot_end_seconds When it ended, since 1970.\n"
			     "# TYPE flightrec_previous_boot_end_seconds gauge\n"
			     "flightrec_previous_boot_end_seconds %" PRIu64 "\n"
			     "# HELP flightrec_previous_boot_records Records of it that are kept.\n"
			     "# TYPE flightrec_previous_boot_records gauge\n"
			     "flightrec_previous_boot_records %" PRIu64 "\n",
			     json_text(end, "kind"), (report_end(boot) && !report_orderly(boot)),
			     json_number(end, "wall_ns") / 1000000000, json_number(records, "count"));
	}
	snprintf(text + n, sizeof(text) - n,
		 "# HELP flightrec_boots_kept Boots that are kept.\n# TYPE flightrec_boots_kept gauge\n"
		 "flightrec_boots_kept %d\n"
		 "# HELP flightrec_boots_crashed Those of them that did not end in order.\n"
		 "# TYPE flightrec_boots_crashed gauge\nflightrec_boots_crashed %d\n"
		 "# HELP flightrec_collect_failed Whether the last run could not keep something.\n"
		 "# TYPE flightrec_collect_failed gauge\nflightrec_collect_failed %d\n",
		 c->nboots, crashed(c), c->status != EXIT_YES);
	err = replace_text(FLIGHTREC_METRICS, "flightrec.prom", text);
	if (err)
		failed(c, FLIGHTREC_METRICS "/flightrec.prom", err);
}

/* ---- the commands */

static void collect(struct collection *c, char **places)
{
	static const char *const usual[] = { FLIGHTREC_CRASH_PLACES };
	size_t i;

	c->sources = json_object_from_file(FLIGHTREC_STATE "/sources.json");
	if (!json_object_is_type(c->sources, json_type_object)) {
		json_object_put(c->sources);
		c->sources = json_object_new_object();
	}
	forget_sources(c);
	reload(c);
	for (i = 0; !*places && i < sizeof(usual) / sizeof(*usual); i++)
		look_through(c, usual[i], false);
	for (; *places; places++)
		look_through(c, *places, true);
	finish_all(c);
	begin_this(c);
	prune(c);
	write_motd(c);
	write_metrics(c);
	json_object_put(c->sources);
	boots_free(c->boots, c->nboots);
}

static int with_lock(struct collection *c, void (*run)(struct collection *c, char **args),
		     char **args)
{
	int err = boot_id_now(c->now);
	int lock;

	if (err) {
		complain("/proc/sys/kernel/random/boot_id: %s", strerror(-err));
		return EXIT_UNKNOWN;
	}
	lock = state_lock();
	if (lock == -EWOULDBLOCK) {
		complain("%s: another run has been at it for two minutes; try again later", FLIGHTREC_STATE);
		return EXIT_NO;
	}
	if (lock < 0) {
		complain("%s cannot be written: %s; what is left of a crash stays where it is", FLIGHTREC_STATE,
			 strerror(-lock));
		return EXIT_NO;
	}
	run(c, args);
	close(lock);
	return c->status;
}

enum { OPT_BOOTS = 0x200, OPT_SIZE };

static int parse(int argc, char **argv, struct collection *c, const char *text, bool places)
{
	static const struct option options[] = {
		{ "boots", required_argument, NULL, OPT_BOOTS },
		{ "size", required_argument, NULL, OPT_SIZE },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *command = places ? "collect" : "save";
	int opt;

	*c = (struct collection) { .keep_boots = 20, .keep_mib = 64 };
	while ((opt = getopt_long(argc, argv, ":h", places ? options : options + 1, NULL)) != -1) {
		switch (opt) {
		case OPT_BOOTS:
			if (!number_parse(optarg, 1, 1000, &c->keep_boots)) {
				complain("--boots %s: not a number from 1 to 1000", optarg);
				return EXIT_USAGE;
			}
			break;
		case OPT_SIZE:
			if (!number_parse(optarg, 1, SIZE_MAX_MIB, &c->keep_mib)) {
				complain("--size %s: not a number of MiB from 1 to %d", optarg, SIZE_MAX_MIB);
				return EXIT_USAGE;
			}
			break;
		case 'h':
			fputs(text, stdout);
			return -1;
		default:
			return bad_option(command, argv, opt);
		}
	}
	if (!places && optind < argc)
		return surplus(command, argv[optind]);
	return 0;
}

int command_collect(int argc, char **argv)
{
	struct collection c;
	int status = parse(argc, argv, &c, help, true);

	if (status)
		return status < 0 ? EXIT_YES : status;
	return with_lock(&c, collect, argv + optind);
}

/* ---- save */

/* What the channels hold, as if it had been recovered. */
struct live {
	struct timeline timeline;
	struct channel *from;
	struct flightrec_recovered found;
};

static int next_live(void *arg, const struct flightrec_recovered **found)
{
	struct live *live = arg;
	int got;

	if (live->from)
		timeline_take(live->from);
	got = timeline_next(&live->timeline, &live->from);
	*found = NULL;
	if (got <= 0) {
		live->from = NULL;
		return got;
	}
	live->found = (struct flightrec_recovered) {
		.record = live->from->head, .channel = live->from->name,
		.boot_id = live->timeline.boot_id, .full_len = live->from->head->len,
	};
	*found = &live->found;
	return 0;
}

static void save(struct collection *c, char **unused)
{
	struct live live = { .from = NULL };
	struct merge m = { .next = next_live, .arg = &live };
	struct channel *bad = NULL;
	struct boot boot;
	bool missing = false;
	int err;

	(void)unused;
	c->status = timeline_name_all(&live.timeline);
	if (!c->status)
		c->status = timeline_open(&live.timeline, true, &missing);
	if (c->status)
		return;
	begin_this(c);
	load_one(&boot, c->now);
	err = too_new(c, &boot) ? 0 : timeline_stop_here(&live.timeline, &bad);
	if (!err && !boot.problem)
		err = next_live(&live, &m.found);
	if (!err && !boot.problem)
		err = merge_into(c, &boot, &m);
	if (!err && !boot.problem) {
		json_set_text(boot.json, "state", "saved");
		err = boot_store(&boot);
	}
	if (err)
		complain("%s: the channels could not be saved: %s", BOOTS_DIR, flightrec_explain(err));
	if (err || missing)
		c->status = EXIT_NO;
	json_object_put(boot.json);
	timeline_close(&live.timeline);
}

int command_save(int argc, char **argv)
{
	struct collection c;
	int status = parse(argc, argv, &c, save_help, false);

	if (status)
		return status < 0 ? EXIT_YES : status;
	return with_lock(&c, save, NULL);
}
