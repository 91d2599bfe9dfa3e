// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A place where something may be left of a crash: its files, and what is taken from them
 * into the boots that are kept.
 */
#include "collect.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

#define PATHS_MAX 4096

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

void failed(struct collection *c, const char *what, int err)
{
	complain("%s: %s", what, strerror(-err));
	c->status = EXIT_NO;
}

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
		json_object_object_add(p->print, entry->fts_path,
				       print_of(entry->fts_path, entry->fts_statp));
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
		json_set_number(source, counts[i].key,
				flightrec_recover_count(p->recover, counts[i].what));
	json_object_object_add(source, "problems", json_object_get(p->problems));
	/* Its report is to be made again. */
	json_object_object_add(boot->json, "stale", json_object_new_boolean(1));
	json_object_object_add(child(boot->json, "sources"), p->name, source);
}

bool too_new(struct collection *c, const struct boot *boot)
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
						st.st_mtim.tv_sec * 1000000000ULL +
							st.st_mtim.tv_nsec);
			note_source(&boot, p);
			err = boot_store(&boot);
		}
		json_object_put(boot.json);
	}
	return err;
}

void reload(struct collection *c)
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
void look_through(struct collection *c, const char *path, bool named)
{
	char *paths[] = { (char *)path, NULL };
	struct stat st;
	FTSENT *entry;
	FTS *walk;

	if (stat(path, &st)) {
		/* None of the usual places has to be there. */
		if (named || errno != ENOENT)
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

