// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How a boot ended, as far as anything says it; and its report.
 */
#include "collect.h"

#include <dirent.h>
#include <errno.h>
#include <linux/watchdog.h>
#include <stdlib.h>
#include <string.h>

#include "cgroups.h"
#include "report.h"
#include "tool.h"

/* Tests have a place of their own. */
#ifndef FLIGHTREC_WATCHDOGS
#define FLIGHTREC_WATCHDOGS "/sys/class/watchdog"
#endif

/* The boot before this one, if it is kept. */
const struct boot *boot_before(const struct collection *c)
{
	int i = c->nboots - 1;

	while (i >= 0 &&
	       (!strcmp(c->boots[i].name, c->now) || !c->boots[i].json || c->boots[i].problem))
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

/* Enough for a boot of any host; a path names most of the others. */
#define CONTAINERS_MAX 4096

static bool store_container(void *arg, const struct container *container)
{
	const char *key = container->id[0] ? container->id : container->name;
	struct json_object *containers = arg;

	/* A user can make a group with that id, whose name is not known: it takes none away. */
	if (container->name[0] || !json_object_object_get_ex(containers, key, NULL))
		json_set_text(containers, key, container->name);
	return json_object_object_length(containers) < CONTAINERS_MAX;
}

/* Whoever reads this boot later may no longer find the files that have the names. */
static void store_containers(struct boot *boot)
{
	cgroups_each_container(store_container, child(boot->json, "containers"));
	cgroups_free();
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
	printf("%sflightrec: %s\n", !getenv("JOURNAL_STREAM") ? "" : report_orderly(boot) ? "<6>" : "<2>", text);
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
	store_containers(boot);
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

void finish_all(struct collection *c)
{
	int i;

	for (i = 0; i < c->nboots; i++)
		if (unfinished_boot(c, &c->boots[i]))
			finish(c, &c->boots[i]);
}

