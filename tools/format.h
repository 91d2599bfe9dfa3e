/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How a record is printed: the one place of it, for all commands and for whatever
 * the record is from. format.c has the lines for people, json.c and export.c the
 * forms for programs.
 *
 * Records are untrusted: whatever is in them, a line stays a line, moves no cursor
 * and is valid in its format.
 */
#ifndef TOOLS_FORMAT_H
#define TOOLS_FORMAT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include <flightrec.h>

#include "containers.h"
#include "times.h"

enum output {
	OUTPUT_SHORT,	/* time, severity, writer, text: for people */
	OUTPUT_ISO,	/* the same, the time as ISO 8601 with the offset from UTC */
	OUTPUT_CAT,	/* the text alone */
	OUTPUT_JSON,	/* an object on each line; docs/json.md */
	OUTPUT_EXPORT,	/* the journal's export format, for systemd-journal-remote */
};

/**
 * struct entry - a record in a timeline; points to what others own
 * @record: from a channel, or recovered
 * @channel: the channel's name; only [a-z0-9_-]
 * @boot_id: 32 hexadecimal digits, or the first 8 where no more is known; NULL if
 *	nothing is known
 * @lost: records of the channel that are not there between the one printed before
 *	and this one; @record->lost unless records in between were filtered out
 * @found: what a record after a crash has in addition; NULL for one of a channel
 * @cgroup_path, @unit, @container: of the writer's control group; NULL where they are not
 *	known or not wanted
 */
struct entry {
	const struct flightrec_record *record;
	const char *channel;
	const char *boot_id;
	uint64_t lost;
	const struct flightrec_recovered *found;
	const char *cgroup_path;
	const char *unit;
	const struct container *container;
};

/**
 * struct format - what is printed, and how
 * @output: the form
 * @clock: how times are printed by OUTPUT_SHORT; not CLOCK_AUTO
 * @colour: with colours; see colour_wanted()
 * @channel_width: columns for the channel's name; 0 leaves it out, where all is of
 *	one channel
 */
struct format {
	enum output output;
	enum clock_style clock;
	bool colour;
	int channel_width;
};

/* "short", "iso", "cat", "json", "export"; false if it is none. */
bool output_parse(const char *text, enum output *output);

/* Is this a form for people, in which notes and headings may stand? */
static inline bool output_for_people(enum output output)
{
	return output == OUTPUT_SHORT || output == OUTPUT_ISO;
}

/* Are colours wanted on @out? */
bool colour_wanted(FILE *out);

/*
 * One record, after a line "# lost N records" where entry->lost says so; of one
 * after a crash also what is wrong with it. Errors of @out are seen by ferror(3).
 */
void format_entry(FILE *out, const struct format *format, const struct entry *entry);

/* The same where the newest comes first: a loss stands below the record that it was before. */
void format_entry_turned(FILE *out, const struct format *format, const struct entry *entry,
			 bool reverse);

/* The loss alone, where the record that brought it is not shown; nothing for programs. */
void format_lost(FILE *out, const struct format *format, const char *channel, uint64_t lost);

/*
 * Prints text so that it stays on its line and moves no cursor: control characters,
 * what is not UTF-8, and marks that turn the direction of writing come out as \xHH.
 */
void print_escaped(FILE *out, const char *text, size_t len);

/* How json-c prints on a line; a slash needs no escape. */
#define JSON_STYLE (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

/* format_entry() for OUTPUT_JSON and OUTPUT_EXPORT. */
void print_json(FILE *out, const struct entry *entry);
void print_export(FILE *out, const struct entry *entry);

#endif
