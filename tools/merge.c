// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is found of a boot, merged with what is kept of it; and its boot.json in the
 * making.
 */
#include "collect.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "tool.h"

/* ---- a boot's boot.json in the making */

void load_one(struct boot *boot, const char *name)
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
struct json_object *child(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_object)) {
		value = json_object_new_object();
		json_object_object_add(object, key, value);
	}
	return value;
}

struct json_object *deaths_of(struct boot *boot)
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
		if ((unsigned char)*text < 0x7f &&
		    ((unsigned char)*text >= ' ' || *text == '\n' || *text == '\t'))
			fputc(*text, file);
		else
			fprintf(file, "\\x%02x", (unsigned char)*text);
	fclose(file);
	json_set_text(object, key, out);
	free(out);
}

#define DEATHS_KEPT 32

/* Once, however often it is found. */
void add_death(struct boot *boot, const struct flightrec_death *death)
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

static bool old_first(const struct merge *m)
{
	const struct flightrec_record *a = m->old->record, *b = m->found->record;

	if (!strcmp(m->old->channel, m->found->channel) && a->seq != b->seq)
		return a->seq < b->seq;
	if (a->boot_ns != b->boot_ns)
		return a->boot_ns < b->boot_ns;
	/* Of the same record the longer one: text may have a part only, and less of the stamp. */
	if (a->len != b->len)
		return a->len > b->len;
	return flightrec_start_ns(a) || !flightrec_start_ns(b);
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
int merge_into(struct collection *c, struct boot *boot, struct merge *m)
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

