// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What is kept of a boot, for people: all that is said of it is put into words here,
 * once for text and for HTML.
 */
#include "report.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cgroups.h"
#include "tool.h"

/* Records that a report shows. */
#define NEWEST 50

struct json_object *report_end(const struct boot *boot)
{
	struct json_object *end = NULL;

	json_object_object_get_ex(boot->json, "end", &end);
	return end;
}

struct json_object *report_records(const struct boot *boot)
{
	struct json_object *records = NULL;

	json_object_object_get_ex(boot->json, "records", &records);
	return records;
}

static const struct {
	const char *kind;
	bool orderly;
	const char *text;	/* where the kernel's own words are not there */
} kinds[] = {
	{ "reboot", true, "an orderly reboot" },
	{ "power-off", true, "powered off in order" },
	{ "halt", true, "halted in order" },
	{ "shutdown", true, "an orderly shutdown" },
	{ "dump", false, "a crash: there is a dump of its memory, and no log beside it" },
	{ "oops", false, "an oops of the kernel" },
	{ "unknown", false, "unknown: a reset, a power cut, a watchdog, or a hang that was ended" },
};

static const char *kind_text(const char *kind)
{
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].kind, kind))
			return kinds[i].text;
	return kind;
}

bool report_orderly(const struct boot *boot)
{
	const char *kind = json_text(report_end(boot), "kind");
	size_t i;

	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
		if (!strcmp(kinds[i].kind, kind))
			return kinds[i].orderly;
	return false;
}

static bool flag(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) && json_object_get_boolean(value);
}

void report_cause(FILE *out, const struct boot *boot)
{
	struct json_object *end = report_end(boot);
	const char *cause = json_text(end, "cause");

	if (!end) {
		fputs(strcmp(json_text(boot->json, "state"), "ended") ? "it runs, or has not been looked at" :
									"unknown", out);
		return;
	}
	if (*cause && !report_orderly(boot)) {
		if (!flag(end, "fatal"))
			fputs("unknown; the kernel's last trouble was: ", out);
		print_escaped(out, cause, strlen(cause));
	} else {
		fputs(kind_text(json_text(end, "kind")), out);
	}
}

/* The time of day here, with its zone. */
void report_time(FILE *out, uint64_t wall_ns)
{
	time_t seconds = wall_ns / 1000000000;
	char text[64] = "?";
	struct tm tm;

	if (localtime_r(&seconds, &tm))
		strftime(text, sizeof(text), "%F %T %Z", &tm);
	fputs(text, out);
}

static const struct {
	const char *when, *text;
} whens[] = {
	{ "dump", "when the dump was begun" },
	{ "log", "by the clock of the kernel's log" },
	{ "file", "when the log was stored" },
	{ "after-last-record", "of the last record; it may have run on" },
};

void report_when(FILE *out, const struct boot *boot)
{
	struct json_object *end = report_end(boot);
	const char *when = json_text(end, "when");
	size_t i;

	if (!json_number(end, "wall_ns")) {
		fputs("not known", out);
		return;
	}
	report_time(out, json_number(end, "wall_ns"));
	for (i = 0; i < sizeof(whens) / sizeof(*whens); i++)
		if (!strcmp(whens[i].when, when))
			fprintf(out, " (%s)", whens[i].text);
}

void report_line(FILE *out, const struct boot *boot)
{
	struct json_object *end = report_end(boot);
	uint64_t count = json_number(report_records(boot), "count");

	fprintf(out, "boot %.8s %s", boot->name, report_orderly(boot) ? "ended" : "died");
	if (json_number(end, "wall_ns")) {
		fputc(' ', out);
		report_time(out, json_number(end, "wall_ns"));
	}
	fputs(": ", out);
	report_cause(out, boot);
	fprintf(out, "; %" PRIu64 " record%s. See: flightrec report %.8s", count, count == 1 ? "" : "s",
		boot->name);
}

bool report_names(const struct boot *boot)
{
	struct json_object *containers;
	struct json_object_iter it;

	cgroups_of_past_boot();
	if (!json_object_object_get_ex(boot->json, "containers", &containers) ||
	    !json_object_is_type(containers, json_type_object))
		return true;
	json_object_object_foreachC(containers, it)
		if (json_object_is_type(it.val, json_type_string))
			cgroups_learn_container(it.key, json_object_get_string(it.val));
	return json_object_object_length(containers);
}

/* ---- what is missing */

static uint64_t sum_of(const struct boot *boot, const char *key)
{
	struct json_object *sources;
	struct json_object_iter it;
	uint64_t sum = 0;

	if (json_object_object_get_ex(boot->json, "sources", &sources))
		json_object_object_foreachC(sources, it)
			sum += json_number(it.val, key);
	return sum;
}

static const struct {
	const char *key, *text;
} gaps[] = {
	{ "unpublished", "whose writers had not finished" },
	{ "damaged", "lines, or pieces of memory, that make no sense" },
	{ "missing_lines", "were printed at the end and did not get into the files" },
	{ "unreadable_pages", "pages of memory that the dump should have could not be read" },
	{ "other_version", "of a version that this program does not know: use a newer one" },
	{ "overflow", "not looked at: more than memory is set aside for" },
	{ "conflicts", "claim a number that another has: forged, damaged, or the driver was loaded again" },
};

static void problems_of(const struct boot *boot, void (*line)(void *arg, const char *text),
			void *arg)
{
	struct json_object *sources, *problems;
	struct json_object_iter it;
	size_t i;

	if (!json_object_object_get_ex(boot->json, "sources", &sources))
		return;
	json_object_object_foreachC(sources, it)
		if (json_object_object_get_ex(it.val, "problems", &problems) &&
		    json_object_is_type(problems, json_type_array))
			for (i = 0; i < json_object_array_length(problems); i++)
				line(arg, json_object_get_string(
						json_object_array_get_idx(problems, i)));
}

void report_missing(const struct boot *boot, void (*line)(void *arg, const char *text), void *arg)
{
	struct json_object *records = report_records(boot), *end = report_end(boot);
	uint64_t count = json_number(records, "count");
	char text[256];
	uint64_t n;
	size_t i;

	if (!count)
		line(arg, "All records: no memory of that boot and no log with records in it was found. "
			  "Next: reserved memory, kdump or pstore; see flightrec(1), \"After a crash\".");
	else if (!flag(records, "memory"))
		line(arg, "All but the newest records: only what the kernel printed when it died is there, "
			  "not the memory of the channels. Next: reserved memory or kdump; see flightrec(1), "
			  "\"After a crash\".");
	n = json_number(records, "lost");
	if (n && flag(records, "memory")) {
		snprintf(text, sizeof(text), "%" PRIu64 " records between those that are there; each gap "
			 "stands in its place.", n);
		line(arg, text);
	}
	n = json_number(records, "left_out");
	if (n) {
		snprintf(text, sizeof(text), "%" PRIu64 " of the oldest records: more than may be kept "
			 "of one boot (flightrec collect --size).", n);
		line(arg, text);
	}
	for (i = 0; i < sizeof(gaps) / sizeof(*gaps); i++) {
		n = sum_of(boot, gaps[i].key);
		if (!n)
			continue;
		snprintf(text, sizeof(text), "%" PRIu64 ": %s.", n, gaps[i].text);
		line(arg, text);
	}
	if (end && !report_orderly(boot) && !json_text(end, "backtrace")[0])
		line(arg, "The kernel's backtrace: no log of the kernel from then was found.");
	if (flag(boot->json, "archive_damaged"))
		line(arg, "A part of what was kept before: its file was damaged.");
	problems_of(boot, line, arg);
}

/* ---- as text */

static void print_missing(void *arg, const char *text)
{
	FILE **out = arg;

	if (!*out)
		return;
	fputs("  - ", *out);
	print_escaped(*out, text, strlen(text));
	fputc('\n', *out);
}

static void count_line(void *arg, const char *text)
{
	(void)text;
	++*(int *)arg;
}

static void print_trace(FILE *out, const char *text)
{
	size_t len;

	for (; *text; text += len + (text[len] != '\0')) {
		len = strcspn(text, "\n");
		fputs("  ", out);
		print_escaped(out, text, len);
		fputc('\n', out);
	}
}

void ending_print(FILE *out, const struct flightrec_death *death, uint64_t wall_ns)
{
	fputs(death->fatal ? "== died" : "== trouble", out);
	if (wall_ns) {
		fputc(' ', out);
		report_time(out, wall_ns);
	}
	if (death->log_ns)
		fprintf(out, " (%" PRIu64 ".%06" PRIu64 " s in the kernel's log)",
			death->log_ns / 1000000000, death->log_ns % 1000000000 / 1000);
	fputs(": ", out);
	if (death->cause[0])
		print_escaped(out, death->cause, strlen(death->cause));
	else
		fputs(kind_text(death->kind), out);
	fputc('\n', out);
	if (death->trouble[0]) {
		fputs("   before it: ", out);
		print_escaped(out, death->trouble, strlen(death->trouble));
		fputc('\n', out);
	}
	print_trace(out, death->backtrace);
}

static void print_head(FILE *out, const struct boot *boot)
{
	struct json_object *end = report_end(boot), *records = report_records(boot);
	const char *trouble = json_text(end, "trouble");

	fprintf(out, "How boot %s ended\n\n  Cause      ", boot->name);
	report_cause(out, boot);
	if (*trouble) {
		fputs("\n  Before it  ", out);
		print_escaped(out, trouble, strlen(trouble));
	}
	fputs("\n  When       ", out);
	report_when(out, boot);
	if (json_text(boot->json, "kernel")[0])
		fprintf(out, "\n  Kernel     %s", json_text(boot->json, "kernel"));
	fprintf(out, "\n  Records    %" PRIu64, json_number(records, "count"));
	if (json_number(records, "count")) {
		fputs(", from ", out);
		report_time(out, json_number(records, "first_wall_ns"));
		fputs(" to ", out);
		report_time(out, json_number(records, "last_wall_ns"));
	}
	fputs("\n  Nothing proves that what is left of a crash is genuine.\n", out);
}

int report_text(FILE *out, const struct boot *boot)
{
	struct format format = { .clock = CLOCK_WALL };
	const char *trace = json_text(report_end(boot), "backtrace");
	struct kept **tail;
	int missing = 0, i, n, width;

	report_names(boot);
	n = archive_tail(boot->name, NEWEST, &tail);
	if (n < 0)
		return n;
	print_head(out, boot);
	report_missing(boot, count_line, &missing);
	if (missing)
		fputs("\nWhat is missing\n\n", out);
	report_missing(boot, print_missing, &out);
	for (i = 0; i < n; i++) {
		width = strlen(tail[i]->channel);
		if (width > format.channel_width)
			format.channel_width = width;
	}
	fprintf(out, "\nThe last %d records of all channels\n\n", n);
	for (i = 0; i < n; i++) {
		struct entry entry = {
			.record = tail[i]->record, .channel = tail[i]->channel,
			.boot_id = tail[i]->boot_id,
			.lost = tail[i]->record->lost, .found = &tail[i]->found,
		};

		cgroups_name(&entry);
		format_entry(out, &format, &entry);
	}
	archive_tail_free(tail, n);
	if (*trace) {
		fputs("\nThe kernel's backtrace\n\n", out);
		print_trace(out, trace);
	}
	return 0;
}
