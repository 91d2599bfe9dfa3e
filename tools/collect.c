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
#include "archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <getopt.h>
#include <inttypes.h>
#include <linux/watchdog.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

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
#ifndef FLIGHTREC_WATCHDOGS
#define FLIGHTREC_WATCHDOGS "/sys/class/watchdog"
#endif
#ifndef FLIGHTREC_CRASH_PLACES
#define FLIGHTREC_CRASH_PLACES "/proc/flightrec/previous.image", "/sys/fs/pstore", "/var/lib/systemd/pstore", "/var/crash"
#endif

#define SIZE_MAX_MIB (1024 * 1024)
#define SOURCES_MAX 4096
#define PATHS_MAX 4096

struct collection {
	unsigned long long keep_boots, keep_mib;
	char now[33];
	struct json_object *sources;	/* path: fingerprint of what was taken in */
	struct boot *boots;
	int nboots;
	int status;
};

static void failed(struct collection *c, const char *what, int err)
{
	complain("%s: %s", what, strerror(-err));
	c->status = EXIT_NO;
}

static uint64_t wall_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * 1000000000ULL + ts.tv_nsec;
}

/* ---- a boot's boot.json in the making */

static void load_one(struct boot *boot, const char *name)
{
	memset(boot, 0, sizeof(*boot));
	snprintf(boot->name, sizeof(boot->name), "%s", name);
	boot_load(boot);
	/* What cannot be read is made anew; not so what a later version wrote. */
	if (!boot->json) {
		boot->json = json_object_new_object();
		boot->problem = NULL;
		json_set_number(boot->json, "version", ARCHIVE_VERSION);
		json_set_text(boot->json, "boot_id", name);
	}
}

/* A member that is an object, made if it is not there. */
static struct json_object *child(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_object)) {
		value = json_object_new_object();
		json_object_object_add(object, key, value);
	}
	return value;
}

static struct json_object *deaths_of(struct boot *boot)
{
	struct json_object *value;

	if (!json_object_object_get_ex(boot->json, "deaths", &value) ||
	    !json_object_is_type(value, json_type_array)) {
		value = json_object_new_array();
		json_object_object_add(boot->json, "deaths", value);
	}
	return value;
}

/* A text of the log as JSON can have it: what is not ASCII is escaped. */
static void set_log_text(struct json_object *object, const char *key, const char *text)
{
	char *out = NULL;
	size_t len = 0;
	FILE *file = open_memstream(&out, &len);

	if (!file)
		return;
	for (; *text; text++)
		if ((unsigned char)*text < 0x7f && ((unsigned char)*text >= ' ' || *text == '\n' || *text == '\t'))
			fputc(*text, file);
		else
			fprintf(file, "\\x%02x", (unsigned char)*text);
	fclose(file);
	json_set_text(object, key, out);
	free(out);
}

#define DEATHS_KEPT 32

/* Once, however often it is found. */
static void add_death(struct boot *boot, const struct flightrec_death *death)
{
	struct json_object *all = deaths_of(boot), *one = json_object_new_object(), *known;
	size_t i;

	json_set_text(one, "kind", death->kind);
	set_log_text(one, "cause", death->cause);
	set_log_text(one, "trouble", death->trouble);
	set_log_text(one, "backtrace", death->backtrace);
	json_set_number(one, "log_ns", death->log_ns);
	json_set_number(one, "wall_ns", death->wall_ns);
	json_object_object_add(one, "fatal", json_object_new_boolean(death->fatal));
	for (i = 0; i < json_object_array_length(all); i++) {
		known = json_object_array_get_idx(all, i);
		if (!strcmp(json_text(known, "cause"), json_text(one, "cause")) &&
		    !strcmp(json_text(known, "kind"), death->kind) &&
		    json_number(known, "log_ns") == death->log_ns &&
		    json_number(known, "wall_ns") == death->wall_ns) {
			json_object_put(one);
			return;
		}
	}
	if (i < DEATHS_KEPT)
		json_object_array_add(all, one);
	else
		json_object_put(one);
}

static void set_sum(struct boot *boot, const struct archive_sum *sum)
{
	struct json_object *records = json_object_new_object();

	json_set_number(records, "count", sum->records);
	json_set_number(records, "lost", sum->lost);
	json_set_number(records, "left_out", sum->left_out);
	json_set_number(records, "first_wall_ns", sum->first_wall_ns);
	json_set_number(records, "last_wall_ns", sum->last_wall_ns);
	json_set_number(records, "last_boot_ns", sum->last_boot_ns);
	json_object_object_add(records, "memory", json_object_new_boolean(sum->memory));
	set_log_text(records, "last_kernel", sum->last_kernel);
	json_object_object_add(boot->json, "records", records);
}

/* ---- merging */

/* Keys of records that were written last; the same ones lie near each other in time. */
#define RECENT 65536

struct recent {
	uint64_t ring[RECENT];
	uint64_t table[2 * RECENT];	/* a key, or 0 */
	size_t at;
};

static uint64_t key_of(const struct flightrec_recovered *found)
{
	const struct flightrec_record *r = found->record;
	uint64_t words[] = { r->seq, r->boot_ns, r->pid, found->full_len };
	uint64_t key = 0xcbf29ce484222325ULL;
	const unsigned char *byte;
	size_t i;

	for (byte = (const unsigned char *)found->channel; *byte; byte++)
		key = (key ^ *byte) * 0x100000001b3ULL;
	for (i = 0; i < sizeof(words) / sizeof(*words); i++) {
		key = (key ^ words[i]) * 0x9e3779b97f4a7c15ULL;
		key ^= key >> 29;
	}
	/* Two that claim one number are two. */
	if (found->flags & FLIGHTREC_RECOVERED_CONFLICT)
		key = ~key;
	return key ? key : 1;
}

static uint64_t *slot_of(struct recent *recent, uint64_t key)
{
	size_t i = key % (2 * RECENT);

	while (recent->table[i] && recent->table[i] != key)
		i = (i + 1) % (2 * RECENT);
	return &recent->table[i];
}

/* Linear probing: what follows moves up. */
static void forget(struct recent *recent, uint64_t key)
{
	size_t hole = slot_of(recent, key) - recent->table;
	size_t i = hole, home;

	if (!recent->table[hole])
		return;
	for (;;) {
		recent->table[hole] = 0;
		do {
			i = (i + 1) % (2 * RECENT);
			if (!recent->table[i])
				return;
			home = recent->table[i] % (2 * RECENT);
		} while (hole <= i ? hole < home && home <= i : hole < home || home <= i);
		recent->table[hole] = recent->table[i];
		hole = i;
	}
}

/* False: it was there already. */
static bool remember(struct recent *recent, uint64_t key)
{
	uint64_t *slot = slot_of(recent, key);

	if (*slot)
		return false;
	if (recent->ring[recent->at]) {
		forget(recent, recent->ring[recent->at]);
		slot = slot_of(recent, key);
	}
	*slot = key;
	recent->ring[recent->at] = key;
	recent->at = (recent->at + 1) % RECENT;
	return true;
}

/* Two rows of records of one boot; each has the next one, or NULL. */
struct merge {
	struct archive *kept;
	const struct flightrec_recovered *old, *found;
	int (*next)(void *arg, const struct flightrec_recovered **found);
	void *arg;
};

static bool old_first(const struct merge *m)
{
	const struct flightrec_record *a = m->old->record, *b = m->found->record;

	if (!strcmp(m->old->channel, m->found->channel) && a->seq != b->seq)
		return a->seq < b->seq;
	if (a->boot_ns != b->boot_ns)
		return a->boot_ns < b->boot_ns;
	/* Of the same record the longer one: text may have a part only. */
	return a->len >= b->len;
}

/* Of what is kept and damaged, what comes before the damage stays. */
static int next_old(struct merge *m, bool *damaged)
{
	int got = m->kept ? archive_next(m->kept, &m->old) : 0;

	*damaged |= got == -EBADMSG;
	if (got <= 0)
		m->old = NULL;
	return got == -EBADMSG || got > 0 ? 0 : got;
}

static int merge_rows(struct merge *m, struct archive_writer *writer, bool *damaged)
{
	struct recent *recent = calloc(1, sizeof(*recent));
	const struct flightrec_recovered *one;
	int err = recent ? next_old(m, damaged) : -ENOMEM;
	bool old;

	while (!err && (m->old || m->found)) {
		old = m->old && (!m->found || old_first(m));
		one = old ? m->old : m->found;
		if (remember(recent, key_of(one)))
			err = archive_add(writer, one);
		if (!err)
			err = old ? next_old(m, damaged) : m->next(m->arg, &m->found);
	}
	free(recent);
	return err;
}

/* What may be used for one boot: the limit, and never more than a quarter of what is free. */
static uint64_t limit_of(const struct collection *c)
{
	uint64_t limit = c->keep_mib << 20;
	struct statvfs fs;

	if (!statvfs(FLIGHTREC_STATE, &fs) && (uint64_t)fs.f_bavail * fs.f_frsize / 4 < limit)
		limit = (uint64_t)fs.f_bavail * fs.f_frsize / 4;
	return limit;
}

/* Merges a row with what is kept of the boot; records and boot->json are new then. */
static int merge_into(struct collection *c, struct boot *boot, struct merge *m)
{
	struct archive_writer *writer;
	struct archive_sum sum;
	bool damaged = false;
	int err = archive_open(&m->kept, boot->name);

	if (err == -ENOENT)
		err = 0;
	if (!err)
		err = archive_create(&writer, boot->name, limit_of(c));
	if (!err) {
		err = merge_rows(m, writer, &damaged);
		if (err)
			archive_abort(writer);
		else
			err = archive_commit(writer, &sum);
	}
	archive_close(m->kept);
	if (damaged)
		json_object_object_add(boot->json, "archive_damaged", json_object_new_boolean(1));
	if (!err)
		set_sum(boot, &sum);
	return err;
}

/* ---- a place and what is in it */

struct place {
	const char *name;
	char *paths[PATHS_MAX];		/* by the number of flightrec_recover_add() */
	size_t npaths;
	struct flightrec_recover *recover;
	struct json_object *print;	/* what tells whether a file changed */
	struct json_object *problems;
	bool changed;
	/* The row of one boot. */
	const struct flightrec_recovered *found;
	char boot[33];
	bool more;			/* of another boot */
	char only_boot[33];		/* whose records were found; "" none, "*" several */
};

static struct json_object *print_of(const char *path, const struct stat *st)
{
	char text[128] = "";

	/* The driver's image of the boot before is the same as long as this one runs. */
	if (!strncmp(path, "/proc/", 6)) {
		boot_id_now(text);
		return json_object_new_string(text);
	}
	snprintf(text, sizeof(text), "%ju %ju.%09ld %ju", (uintmax_t)st->st_size,
		 (uintmax_t)st->st_mtim.tv_sec, (long)st->st_mtim.tv_nsec, (uintmax_t)st->st_ino);
	return json_object_new_string(text);
}

/* kdump calls a dump so while it writes it. */
static bool unfinished(const char *path)
{
	size_t len = strlen(path), end = strlen("incomplete");

	return len > end && !strcmp(path + len - end, "incomplete");
}

static void add_problem(struct place *p, const char *path, const char *problem)
{
	char *text;

	if (asprintf(&text, "%s: %s", path, problem) < 0)
		return;
	complain("%s", text);
	json_object_array_add(p->problems, json_object_new_string(text));
	free(text);
}

/* All regular files below a path, by name; links are not followed. */
static int by_name(const FTSENT **a, const FTSENT **b)
{
	return strcmp((*a)->fts_name, (*b)->fts_name);
}

static void list_files(struct place *p, const char *path, bool deep)
{
	char *paths[] = { (char *)path, NULL };
	FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
	FTSENT *entry;

	while (walk && (entry = fts_read(walk))) {
		if (entry->fts_info == FTS_D && entry->fts_level && !deep)
			fts_set(walk, entry, FTS_SKIP);
		if (entry->fts_info == FTS_DNR || entry->fts_info == FTS_ERR)
			add_problem(p, entry->fts_path, strerror(entry->fts_errno));
		if (entry->fts_info != FTS_F || p->npaths >= PATHS_MAX)
			continue;
		if (unfinished(entry->fts_name)) {
			add_problem(p, entry->fts_path, "it is being written, or was never finished: left for the next run");
			continue;
		}
		p->paths[p->npaths++] = strdup(entry->fts_path);
		json_object_object_add(p->print, entry->fts_path, print_of(entry->fts_path, entry->fts_statp));
	}
	if (walk)
		fts_close(walk);
}

static void add_files(struct place *p)
{
	size_t i, n = 0;
	const char *problem;
	int fd, err;

	for (i = 0; i < p->npaths; i++) {
		fd = open(p->paths[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
		err = fd < 0 ? -errno : flightrec_recover_add(p->recover, fd);
		problem = flightrec_recover_problem(p->recover);
		if (fd < 0 || (err && !problem))
			add_problem(p, p->paths[i], strerror(-err));
		else if (problem)
			add_problem(p, p->paths[i], problem);
		if (fd < 0) {
			free(p->paths[i]);
			continue;
		}
		close(fd);
		p->paths[n++] = p->paths[i];
	}
	p->npaths = n;
}

/* A dump that grew while it was read was read in part. */
static void look_again(struct place *p)
{
	struct json_object *now;
	struct stat st;
	size_t i;

	for (i = 0; i < p->npaths; i++) {
		now = stat(p->paths[i], &st) ? NULL : print_of(p->paths[i], &st);
		if (!now || strcmp(json_object_get_string(now), json_text(p->print, p->paths[i]))) {
			p->changed = true;
			add_problem(p, p->paths[i], "it changed while it was read: left for the next run");
		}
		json_object_put(now);
	}
}

/* The next one of the boot at hand. */
static int next_found(void *arg, const struct flightrec_recovered **found)
{
	struct place *p = arg;
	int got = flightrec_recover_next(p->recover, &p->found);

	if (got <= 0)
		p->found = NULL;
	p->more = got > 0 && strcmp(p->found->boot_id, p->boot);
	*found = p->more ? NULL : p->found;
	return got < 0 ? got : 0;
}

/* Which boot that is kept has an id of which only the beginning is known? */
static void full_name(const struct collection *c, const char *id, char name[BOOT_NAME_MAX])
{
	int i, found = -1;

	for (i = 0; i < c->nboots; i++)
		if (!strncmp(c->boots[i].name, id, strlen(id)))
			found = found < 0 ? i : c->nboots;
	if (!strncmp(c->now, id, strlen(id)))
		id = c->now;
	snprintf(name, BOOT_NAME_MAX, "%s", found >= 0 && found < c->nboots ? c->boots[found].name : id);
}

static const struct {
	enum flightrec_recover_count what;
	const char *key;
} counts[] = {
	{ FLIGHTREC_RECOVER_UNPUBLISHED, "unpublished" },
	{ FLIGHTREC_RECOVER_DAMAGED, "damaged" },
	{ FLIGHTREC_RECOVER_CONFLICTS, "conflicts" },
	{ FLIGHTREC_RECOVER_MISSING_LINES, "missing_lines" },
	{ FLIGHTREC_RECOVER_OTHER_VERSION, "other_version" },
	{ FLIGHTREC_RECOVER_UNREADABLE, "unreadable_pages" },
	{ FLIGHTREC_RECOVER_OVERFLOW, "overflow" },
};

/* What a place said of this boot, under the place's name: the same run gives the same. */
static void note_source(struct boot *boot, const struct place *p)
{
	struct json_object *source = json_object_new_object();
	size_t i;

	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++)
		json_set_number(source, counts[i].key, flightrec_recover_count(p->recover, counts[i].what));
	json_object_object_add(source, "problems", json_object_get(p->problems));
	/* Its report is to be made again. */
	json_object_object_add(boot->json, "stale", json_object_new_boolean(1));
	json_object_object_add(child(boot->json, "sources"), p->name, source);
}

static bool too_new(struct collection *c, const struct boot *boot)
{
	if (!boot->problem)
		return false;
	complain("%s/%s: %s", BOOTS_DIR, boot->name, boot->problem);
	c->status = EXIT_NO;
	return true;
}

/* The records of one boot after the other: 0 or an error. */
static int take_records(struct collection *c, struct place *p)
{
	struct boot boot;
	struct merge m;
	char name[BOOT_NAME_MAX];
	int got = flightrec_recover_next(p->recover, &p->found);
	int err = got < 0 ? got : 0;

	if (got <= 0)
		p->found = NULL;
	while (!err && p->found) {
		snprintf(p->boot, sizeof(p->boot), "%s", p->found->boot_id);
		full_name(c, p->boot, name);
		strcpy(p->only_boot, p->only_boot[0] ? "*" : p->boot);
		load_one(&boot, name);
		m = (struct merge) { .found = p->found, .next = next_found, .arg = p };
		if (too_new(c, &boot)) {
			/* Left alone; what follows may be of another one. */
			while (!err && m.found)
				err = next_found(p, &m.found);
		} else {
			err = merge_into(c, &boot, &m);
			if (!err) {
				note_source(&boot, p);
				err = boot_store(&boot);
			}
		}
		json_object_put(boot.json);
	}
	return err;
}

/* The boot that ran before this one, where just one is known to have been running. */
static const char *running_before(const struct collection *c)
{
	const char *name = NULL;
	int i;

	for (i = 0; i < c->nboots; i++)
		if (c->boots[i].json && !c->boots[i].problem && strcmp(c->boots[i].name, c->now) &&
		    strcmp(json_text(c->boots[i].json, "state"), "ended"))
			name = name ? "" : c->boots[i].name;
	return name && *name ? name : NULL;
}

/* Whose death it is: as the log says, or the records beside it, or what ran before. */
static void owner_of(const struct collection *c, const struct place *p,
		     const struct flightrec_death *death, char name[BOOT_NAME_MAX])
{
	const char *before = running_before(c);
	struct stat st = { 0 };

	if (death->boot_id[0]) {
		full_name(c, death->boot_id, name);
	} else if (p->only_boot[0] && p->only_boot[0] != '*') {
		full_name(c, p->only_boot, name);
	} else if (before) {
		snprintf(name, BOOT_NAME_MAX, "%s", before);
	} else {
		if (death->file < p->npaths && stat(p->paths[death->file], &st))
			st.st_mtime = 0;
		snprintf(name, BOOT_NAME_MAX, "unknown-%ju", (uintmax_t)st.st_mtime);
	}
}

static int take_deaths(struct collection *c, struct place *p)
{
	const struct flightrec_death *death;
	char name[BOOT_NAME_MAX];
	struct boot boot;
	struct stat st;
	size_t i;
	int err = 0;

	for (i = 0; !err && flightrec_recover_death(p->recover, i, &death); i++) {
		owner_of(c, p, death, name);
		load_one(&boot, name);
		if (!too_new(c, &boot)) {
			add_death(&boot, death);
			/* The file's own time: the last resort for when it was. */
			if (death->file < p->npaths && !stat(p->paths[death->file], &st))
				json_set_number(boot.json, "file_ns",
						st.st_mtim.tv_sec * 1000000000ULL + st.st_mtim.tv_nsec);
			note_source(&boot, p);
			err = boot_store(&boot);
		}
		json_object_put(boot.json);
	}
	return err;
}

static void reload(struct collection *c)
{
	boots_free(c->boots, c->nboots);
	c->nboots = boots_load(&c->boots);
	if (c->nboots < 0) {
		failed(c, BOOTS_DIR, c->nboots);
		c->nboots = 0;
		c->boots = NULL;
	}
}

static int store_sources(struct collection *c)
{
	const char *text = json_object_to_json_string_ext(c->sources, JSON_STYLE);

	return text ? state_replace(NULL, "sources.json", text, strlen(text)) : -ENOMEM;
}

static void say_why_not(struct collection *c, const struct place *p, int err)
{
	complain("%s: it could not be kept in %s: %s; the records are still in %s%s", p->name, BOOTS_DIR,
		 strerror(-err), p->name, err == -ENOSPC ? ". Next: free some space, then: flightrec collect" :
		 err == -EROFS ? ". Next: mount it writable, then: flightrec collect" : "");
	c->status = EXIT_NO;
}

static void take_place(struct collection *c, struct place *p)
{
	int err;

	p->problems = p->problems ? p->problems : json_object_new_array();
	err = flightrec_recover_set_order(p->recover, FLIGHTREC_RECOVER_BY_TIME);
	if (!err)
		err = take_records(c, p);
	if (!err)
		err = take_deaths(c, p);
	if (!err)
		look_again(p);
	if (!err && !p->changed) {
		json_object_object_add(c->sources, p->name, json_object_get(p->print));
		err = store_sources(c);
	}
	if (err)
		say_why_not(c, p, err);
	reload(c);
}

static void free_place(struct place *p)
{
	while (p->npaths)
		free(p->paths[--p->npaths]);
	flightrec_recover_free(p->recover);
	json_object_put(p->print);
	json_object_put(p->problems);
	free(p);
}

static struct place *new_place(const char *name)
{
	struct place *p = calloc(1, sizeof(*p));

	if (!p || flightrec_recover_new(&p->recover)) {
		free(p);
		return NULL;
	}
	p->name = name;
	p->print = json_object_new_object();
	p->problems = json_object_new_array();
	return p;
}

/* The files directly in a directory, or with @deep all below. */
static void look_at(struct collection *c, const char *path, bool deep)
{
	struct place *p = new_place(path);
	struct json_object *known;

	if (!p) {
		failed(c, path, -ENOMEM);
		return;
	}
	list_files(p, path, deep);
	if (p->npaths && !(json_object_object_get_ex(c->sources, path, &known) &&
			   json_object_equal(known, p->print))) {
		add_files(p);
		take_place(c, p);
	}
	free_place(p);
}

/* A crash has a directory of its own, as systemd-pstore and kdump make them. */
static void look_through(struct collection *c, const char *path)
{
	char *paths[] = { (char *)path, NULL };
	struct stat st;
	FTSENT *entry;
	FTS *walk;

	if (stat(path, &st)) {
		if (errno != ENOENT)
			failed(c, path, -errno);
		return;
	}
	look_at(c, path, false);
	if (!S_ISDIR(st.st_mode))
		return;
	walk = fts_open(paths, FTS_PHYSICAL | FTS_COMFOLLOW | FTS_NOCHDIR, by_name);
	while (walk && (entry = fts_read(walk))) {
		if (entry->fts_info != FTS_D || !entry->fts_level)
			continue;
		look_at(c, entry->fts_path, true);
		fts_set(walk, entry, FTS_SKIP);
	}
	if (walk)
		fts_close(walk);
}

/* ---- the end of a boot */

/* The boot before this one, if it is kept. */
static const struct boot *boot_before(const struct collection *c)
{
	int i = c->nboots - 1;

	while (i >= 0 && (!strcmp(c->boots[i].name, c->now) || !c->boots[i].json || c->boots[i].problem))
		i--;
	return i < 0 ? NULL : &c->boots[i];
}

/* The death that ended it: the last fatal one; else trouble, if nothing came after it. */
static struct json_object *last_death(struct boot *boot)
{
	struct json_object *all = deaths_of(boot), *one, *best = NULL, *fatal;
	bool best_fatal = false, is_fatal;
	size_t i;

	for (i = 0; i < json_object_array_length(all); i++) {
		one = json_object_array_get_idx(all, i);
		is_fatal = json_object_object_get_ex(one, "fatal", &fatal) &&
			   json_object_get_boolean(fatal);
		if (!best || is_fatal > best_fatal ||
		    (is_fatal == best_fatal && strcmp(json_text(one, "kind"), "dump") &&
		     (!strcmp(json_text(best, "kind"), "dump") ||
		      json_number(one, "log_ns") >= json_number(best, "log_ns")))) {
			best = one;
			best_fatal = is_fatal;
		}
	}
	return best;
}

static uint64_t dump_time(struct boot *boot)
{
	struct json_object *all = deaths_of(boot);
	size_t i;

	for (i = 0; i < json_object_array_length(all); i++)
		if (json_number(json_object_array_get_idx(all, i), "wall_ns"))
			return json_number(json_object_array_get_idx(all, i), "wall_ns");
	return 0;
}

/* When it was; what is said of it in "when". */
static void set_time(struct boot *boot, struct json_object *end, uint64_t log_ns)
{
	struct json_object *records = child(boot->json, "records");
	uint64_t last_wall = json_number(records, "last_wall_ns");
	uint64_t last_boot = json_number(records, "last_boot_ns");
	uint64_t dump = dump_time(boot), wall = 0;
	const char *when = "unknown";

	if (dump) {
		wall = dump;
		when = "dump";
	} else if (log_ns && last_wall > last_boot) {
		/* The log's clock stands still in suspend: it was not before the last record. */
		wall = last_wall - last_boot + log_ns;
		if (wall < last_wall)
			wall = last_wall;
		when = "log";
	} else if (log_ns && json_number(boot->json, "file_ns")) {
		wall = json_number(boot->json, "file_ns");
		when = "file";
	} else if (last_wall) {
		wall = last_wall;
		when = "after-last-record";
	} else if (json_number(boot->json, "file_ns")) {
		wall = json_number(boot->json, "file_ns");
		when = "file";
	}
	json_set_number(end, "wall_ns", wall);
	json_set_text(end, "when", when);
}

/*
 * Did a watchdog start this boot? Its hardware says so (WDIOF_CARDRESET), if its driver
 * asks it.
 */
static bool watchdog_fired(char name[64])
{
	struct dirent *entry;
	char path[512], text[16];
	DIR *dir = opendir(FLIGHTREC_WATCHDOGS);
	bool fired = false;
	FILE *file;

	while (dir && !fired && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), FLIGHTREC_WATCHDOGS "/%.255s/bootstatus", entry->d_name);
		file = fopen(path, "re");
		if (!file)
			continue;
		fired = fgets(text, sizeof(text), file) && strtoul(text, NULL, 0) & WDIOF_CARDRESET;
		fclose(file);
		if (fired)
			snprintf(name, 64, "%.63s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return fired;
}

/* Nothing of the kernel's own: the last word in its channel, as "oops at=...", or the watchdog's. */
static void guess_end(struct json_object *end, const char *kernel, bool before_this)
{
	char watchdog[64], cause[128];

	json_object_object_add(end, "fatal", json_object_new_boolean(0));
	if (before_this && watchdog_fired(watchdog)) {
		snprintf(cause, sizeof(cause), "the watchdog %s reset the machine", watchdog);
		json_set_text(end, "kind", "watchdog");
		json_set_text(end, "cause", cause);
		json_object_object_add(end, "fatal", json_object_new_boolean(1));
	} else if (!strncmp(kernel, "oops ", 5)) {
		json_set_text(end, "kind", "oops");
		json_set_text(end, "cause", kernel);
	} else {
		json_set_text(end, "kind", "unknown");
		json_set_text(end, "cause", "");
	}
}

static void set_end(struct boot *boot, bool before_this)
{
	struct json_object *death = last_death(boot), *end = json_object_new_object();
	const char *kernel = json_text(child(boot->json, "records"), "last_kernel");
	const char *action = strncmp(kernel, "reboot action=", 14) ? NULL : kernel + 14;
	struct json_object *fatal;

	if (death && json_object_object_get_ex(death, "fatal", &fatal) &&
	    !json_object_get_boolean(fatal) && (action || !strcmp(json_text(boot->json, "state"), "saved")))
		death = NULL;		/* it lived on, to an orderly end */
	if (death) {
		json_set_text(end, "kind", json_text(death, "kind"));
		json_set_text(end, "cause", json_text(death, "cause"));
		json_set_text(end, "trouble", json_text(death, "trouble"));
		json_set_text(end, "backtrace", json_text(death, "backtrace"));
		json_object_object_add(end, "fatal", json_object_new_boolean(
			json_object_object_get_ex(death, "fatal", &fatal) && json_object_get_boolean(fatal)));
	} else if (action) {
		json_set_text(end, "kind", !strncmp(action, "restart", 7) ? "reboot" :
					   !strncmp(action, "halt", 4) ? "halt" : "power-off");
		json_object_object_add(end, "fatal", json_object_new_boolean(1));
	} else if (!strcmp(json_text(boot->json, "state"), "saved")) {
		json_set_text(end, "kind", "shutdown");
		json_object_object_add(end, "fatal", json_object_new_boolean(1));
	} else {
		guess_end(end, kernel, before_this);
	}
	set_time(boot, end, death ? json_number(death, "log_ns") : 0);
	json_object_object_add(boot->json, "end", end);
}

static bool is_orderly(const struct boot *boot)
{
	struct json_object *end;
	const char *kind;

	if (!json_object_object_get_ex(boot->json, "end", &end))
		return true;
	kind = json_text(end, "kind");
	return !strcmp(kind, "reboot") || !strcmp(kind, "power-off") || !strcmp(kind, "halt") ||
	       !strcmp(kind, "shutdown");
}

static int store_report(const struct boot *boot)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int err = out ? report_text(out, boot) : -ENOMEM;

	if (out && fclose(out))
		err = -ENOMEM;
	if (!err)
		err = state_replace(boot->name, "report.txt", text, len);
	free(text);
	return err;
}

/* Under systemd a message's severity stands before it. */
static void say(const struct boot *boot)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);

	if (!out)
		return;
	report_line(out, boot);
	fclose(out);
	printf("%sflightrec: %s\n", !getenv("JOURNAL_STREAM") ? "" : is_orderly(boot) ? "<6>" : "<2>", text);
	free(text);
}

static void finish(struct collection *c, struct boot *boot)
{
	bool was_ended = !strcmp(json_text(boot->json, "state"), "ended");
	struct json_object *before = NULL;
	int err;

	if (was_ended && json_object_object_get_ex(boot->json, "end", &before))
		json_object_get(before);
	/* How it was said to end stays where the end is looked at again. */
	if (!strcmp(json_text(boot->json, "state"), "saved"))
		json_object_object_add(boot->json, "saved", json_object_new_boolean(1));
	else if (was_ended && json_object_object_get_ex(boot->json, "saved", NULL))
		json_set_text(boot->json, "state", "saved");
	json_object_object_del(boot->json, "stale");
	set_end(boot, boot == boot_before(c));
	err = store_report(boot);
	json_set_text(boot->json, "state", "ended");
	if (!err)
		err = boot_store(boot);
	if (err)
		failed(c, boot->name, err);
	if (!was_ended || !before ||
	    strcmp(json_text(before, "cause"), json_text(child(boot->json, "end"), "cause")))
		say(boot);
	json_object_put(before);
}

/* Something was found since it was finished, or it was not finished yet. */
static bool unfinished_boot(const struct collection *c, const struct boot *boot)
{
	return boot->json && !boot->problem && strcmp(boot->name, c->now) &&
	       (strcmp(json_text(boot->json, "state"), "ended") ||
		json_object_object_get_ex(boot->json, "stale", NULL));
}

static void finish_all(struct collection *c)
{
	int i;

	for (i = 0; i < c->nboots; i++)
		if (unfinished_boot(c, &c->boots[i]))
			finish(c, &c->boots[i]);
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

	if (!boot || is_orderly(boot)) {
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
			     json_text(end, "kind"), !is_orderly(boot),
			     json_number(end, "wall_ns") / 1000000000, json_number(records, "count"));
	}
	snprintf(text + n, sizeof(text) - n,
		 "# HELP flightrec_boots_kept Boots that are kept.\n# TYPE flightrec_boots_kept gauge\n"
		 "flightrec_boots_kept %d\n"
		 "# HELP flightrec_collect_failed Whether the last run could not keep something.\n"
		 "# TYPE flightrec_collect_failed gauge\nflightrec_collect_failed %d\n",
		 c->nboots, c->status != EXIT_YES);
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
		look_through(c, usual[i]);
	for (; *places; places++)
		look_through(c, *places);
	finish_all(c);
	begin_this(c);
	prune(c);
	write_motd(c);
	write_metrics(c);
	json_object_put(c->sources);
	boots_free(c->boots, c->nboots);
}

static int with_lock(struct collection *c, void (*run)(struct collection *c, char **args), char **args)
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
