// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Control groups by their numbers: cgroups.h.
 */
#include "cgroups.h"

#include <errno.h>
#include <fts.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>

#include "tool.h"

/* Tests have a place of their own, of an ordinary kind. */
#ifndef FLIGHTREC_CGROUP
#define FLIGHTREC_CGROUP "/sys/fs/cgroup"
#define FLIGHTREC_CGROUP_MAGIC CGROUP2_SUPER_MAGIC
#endif

/* For a number that is not known, look again, but not more often than this. */
#define LOOK_AGAIN_S 1
/* For a container without a name: its files are larger. */
#define NAME_AGAIN_S 10

/**
 * struct group - one whose path is known
 * @container: that it belongs to, or NULL
 * @is_parsed: @container says whether it does
 * @asked: when its name was looked for
 */
struct group {
	uint64_t id;
	char *path;
	struct container *container;
	bool is_parsed;
	time_t asked;
};

/* A container of a boot before this one, with the name that was recorded. */
struct named {
	char id[CONTAINER_ID_DIGITS + 1];
	char *name;
};

static struct {
	struct group *groups;	/* by id */
	size_t count;
	bool past;
	time_t looked;
	struct flightrec *kernel;
	struct named *named;
	size_t nnamed;
} known;

static size_t place_of(uint64_t id)
{
	size_t low = 0, high = known.count, mid;

	while (low < high) {
		mid = low + (high - low) / 2;
		if (known.groups[mid].id < id)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static void add(uint64_t id, const char *path, size_t len)
{
	size_t at = place_of(id);
	struct group *more;

	if (!id || (at < known.count && known.groups[at].id == id))
		return;
	if (!(known.count & (known.count - 1))) {
		more = reallocarray(known.groups, known.count ? 2 * known.count : 1, sizeof(*more));
		if (!more)
			abort();
		known.groups = more;
	}
	memmove(&known.groups[at + 1], &known.groups[at], (known.count - at) * sizeof(*more));
	known.groups[at] = (struct group) { .id = id, .path = strndup(path, len) };
	if (!known.groups[at].path)
		abort();
	known.count++;
}

/* ---- groups that are there */

static bool is_hierarchy(const char *path)
{
#ifdef FLIGHTREC_CGROUP_MAGIC
	struct statfs fs;

	return !statfs(path, &fs) && (unsigned int)fs.f_type == FLIGHTREC_CGROUP_MAGIC;
#else
	return *path;
#endif
}

/* Groups come and go meanwhile: what cannot be looked at is not there. */
static void look_at_folders(void)
{
	static char whole[] = FLIGHTREC_CGROUP, beside[] = FLIGHTREC_CGROUP "/unified";
	char *found = is_hierarchy(whole) ? whole : is_hierarchy(beside) ? beside : NULL;
	char *roots[] = { found, NULL };
	size_t len;
	FTSENT *entry;
	FTS *walk;

	if (!roots[0])
		return;
	len = strlen(roots[0]);
	walk = fts_open(roots, FTS_PHYSICAL | FTS_XDEV | FTS_NOCHDIR, NULL);
	if (!walk)
		abort();
	while ((entry = fts_read(walk)))
		if (entry->fts_info == FTS_D)
			add(entry->fts_statp->st_ino,
			    entry->fts_path[len] ? entry->fts_path + len : "/",
			    entry->fts_path[len] ? entry->fts_pathlen - len : 1);
	fts_close(walk);
}

/* ---- groups that the driver has named */

void cgroups_learn(const char *channel, const struct flightrec_record *record)
{
	static const char first[] = "cgroup id=", second[] = " path=/";
	const char *text = flightrec_payload(record), *end = text + record->len;
	uint64_t id = 0;

	if (record->origin != FLIGHTREC_ORIGIN_KERNEL || strcmp(channel, "kernel") ||
	    record->len < sizeof(first) + sizeof(second) ||
	    memcmp(text, first, sizeof(first) - 1))
		return;
	for (text += sizeof(first) - 1; text < end && *text >= '0' && *text <= '9'; text++) {
		if (id > (UINT64_MAX - 9) / 10)
			return;
		id = id * 10 + (*text - '0');
	}
	if ((size_t)(end - text) < sizeof(second) - 1 || memcmp(text, second, sizeof(second) - 1))
		return;
	text += sizeof(second) - 2;
	add(id, text, end - text);
}

/* Whoever may not read that channel knows only of groups that are there. */
static void read_kernel_channel(void)
{
	const struct flightrec_record *record;

	if (!known.kernel &&
	    flightrec_open(&known.kernel, "kernel", FLIGHTREC_OPEN_READ | FLIGHTREC_OPEN_NONBLOCK))
		return;
	while (flightrec_next(known.kernel, &record) > 0)
		cgroups_learn("kernel", record);
}

/* ---- */

void cgroups_of_past_boot(void)
{
	cgroups_free();
	known.past = true;
}

static void look(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (known.past || (known.looked && now.tv_sec - known.looked < LOOK_AGAIN_S))
		return;
	known.looked = now.tv_sec ? now.tv_sec : 1;
	look_at_folders();
	read_kernel_channel();
}

static struct group *group_of(uint64_t id)
{
	size_t at = place_of(id);

	if (!id)
		return NULL;
	if (at == known.count || known.groups[at].id != id) {
		look();
		at = place_of(id);
	}
	return at < known.count && known.groups[at].id == id ? &known.groups[at] : NULL;
}

const char *cgroups_path(uint64_t id)
{
	struct group *group = group_of(id);

	return group ? group->path : NULL;
}

/* ---- containers */

void cgroups_learn_container(const char *id, const char *name)
{
	struct named *more;

	if (strlen(id) != CONTAINER_ID_DIGITS || !container_full_name_ok(name))
		return;
	more = reallocarray(known.named, known.nnamed + 1, sizeof(*more));
	if (!more)
		abort();
	known.named = more;
	strcpy(more[known.nnamed].id, id);
	more[known.nnamed].name = strdup(name);
	if (!more[known.nnamed++].name)
		abort();
}

/*
 * What was recorded of that boot counts; what there is now may have got another name. Root
 * recorded it: a user who has made a group with the id of another one's container gets no name.
 */
static void find_name(struct container *container)
{
	bool recorded = container->id[0] && (!container->of_user || !container->uid);
	size_t i;

	for (i = 0; i < known.nnamed && recorded; i++)
		if (!strcmp(known.named[i].id, container->id))
			strcpy(container->name, known.named[i].name);
	container_find_name(container);
}

static const struct container *container_of_group(struct group *group)
{
	struct container container;
	struct timespec now;

	if (!group->is_parsed && container_of(group->path, &container)) {
		group->container = malloc(sizeof(container));
		if (!group->container)
			abort();
		*group->container = container;
	}
	group->is_parsed = true;
	if (!group->container || group->container->name[0])
		return group->container;
	clock_gettime(CLOCK_MONOTONIC, &now);
	if (!group->asked || (!known.past && now.tv_sec - group->asked >= NAME_AGAIN_S)) {
		group->asked = now.tv_sec ? now.tv_sec : 1;
		find_name(group->container);
	}
	return group->container;
}

const struct container *cgroups_container(uint64_t id)
{
	struct group *group = group_of(id);

	return group ? container_of_group(group) : NULL;
}

bool cgroups_is_container(const struct container *container, const char *wanted)
{
	size_t len = strlen(wanted);

	if (len >= CONTAINER_ID_SHOWN && !strncmp(container->id, wanted, len))
		return true;
	return len && !strncmp(container->name, wanted, len) &&
	       (!container->name[len] || container->name[len] == '/');
}

void cgroups_each_container(bool (*tell)(void *arg, const struct container *container), void *arg)
{
	const struct container *container;
	bool more = true;
	size_t i;

	for (i = 0; i < known.count && more; i++) {
		container = container_of_group(&known.groups[i]);
		more = !container || tell(arg, container);
	}
}

/* ---- units */

bool cgroups_within(const char *path, const char *name, bool unit)
{
	size_t len = strlen(name), part;

	if (!unit) {
		while (len && name[len - 1] == '/')
			len--;
		return !strncmp(path, name, len) && (!path[len] || path[len] == '/');
	}
	for (; *path; path += part) {
		path += strspn(path, "/");
		part = strcspn(path, "/");
		if (part == len && !memcmp(path, name, len))
			return true;
	}
	return false;
}

static bool ends_in(const char *part, size_t len, const char *end)
{
	size_t n = strlen(end);

	return len > n && !memcmp(part + len - n, end, n);
}

/*
 * The unit that a path belongs to, as systemd has it: the first folder that is not a
 * slice's, but names a unit; else the last slice. Empty if there is none.
 */
static void unit_of(const char *path, char *unit, size_t size)
{
	static const char * const kinds[] = { ".service", ".scope", ".socket", ".mount", ".swap" };
	size_t part, i;

	for (*unit = '\0'; *path; path += part) {
		path += strspn(path, "/");
		part = strcspn(path, "/");
		if (part >= size)
			continue;
		if (ends_in(path, part, ".slice")) {
			snprintf(unit, size, "%.*s", (int)part, path);
			continue;
		}
		for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
			if (ends_in(path, part, kinds[i])) {
				snprintf(unit, size, "%.*s", (int)part, path);
				return;
			}
		return;
	}
}

void cgroups_name(struct entry *entry)
{
	static char unit[256];
	struct group *group = group_of(flightrec_cgroup(entry->record));

	if (!group)
		return;
	entry->cgroup_path = group->path;
	entry->container = container_of_group(group);
	unit_of(entry->cgroup_path, unit, sizeof(unit));
	if (*unit)
		entry->unit = unit;
}

void cgroups_let_go(void)
{
	flightrec_close(known.kernel);
	known.kernel = NULL;
}

void cgroups_free(void)
{
	while (known.count) {
		free(known.groups[--known.count].container);
		free(known.groups[known.count].path);
	}
	free(known.groups);
	while (known.nnamed)
		free(known.named[--known.nnamed].name);
	free(known.named);
	known.named = NULL;
	known.groups = NULL;
	cgroups_let_go();
	known.looked = 0;
}
