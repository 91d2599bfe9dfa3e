/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which records are wanted: the options of all commands that print records.
 *
 * An option that is given several times wants either; different options all have to
 * agree. A filter that is all zero wants everything.
 */
#ifndef TOOLS_FILTER_H
#define TOOLS_FILTER_H

#include <getopt.h>

#include "fields.h"
#include "format.h"
#include "times.h"

struct numbers {
	uint32_t *values;
	size_t count;
};

/* A control group by its number, its path, or the name of a unit or a container. */
struct group_wanted {
	uint64_t id;		/* or 0 */
	char *name;
	bool unit, container;
};

struct filter {
	unsigned int severities;	/* bits 0 to 7; 0: all */
	struct numbers pids, uids;
	const char **comms;
	size_t ncomms;
	struct group_wanted *groups;
	size_t ngroups;
	bool groups_named;		/* one of them is wanted by a name */
	uint64_t nameless;		/* records left out since the name of theirs is not known */
	uint64_t unnamed;		/* or the name of their container */
	struct fields fields;
	const char *pattern;
	bool case_set, ignore_case;	/* not set: capitals matter if the pattern has some */
	void *code, *match;		/* the pattern, compiled */
	bool since_set, until_set;
	struct moment since, until;
};

/* Values of getopt_long() for what has no letter. */
enum {
	OPT_PID = 0x100, OPT_UID, OPT_COMM, OPT_CASE, OPT_UNIT, OPT_CGROUP, OPT_CONTAINER,
	OPT_FIELD,
	OPT_FILTER_END,		/* a command's own begin here */
};

#define FILTER_LETTERS "p:g:S:s:U:"
#define FILTER_OPTIONS \
	{ "priority", required_argument, NULL, 'p' }, \
	{ "severity", required_argument, NULL, 'p' }, \
	{ "grep", required_argument, NULL, 'g' }, \
	{ "case-sensitive", optional_argument, NULL, OPT_CASE }, \
	{ "pid", required_argument, NULL, OPT_PID }, \
	{ "uid", required_argument, NULL, OPT_UID }, \
	{ "comm", required_argument, NULL, OPT_COMM }, \
	{ "field", required_argument, NULL, OPT_FIELD }, \
	{ "since", required_argument, NULL, 'S' }, \
	{ "until", required_argument, NULL, 'U' }
/* For commands whose records are of one boot: then it is known what a number means. */
#define FILTER_GROUP_OPTIONS \
	{ "unit", required_argument, NULL, OPT_UNIT }, \
	{ "cgroup", required_argument, NULL, OPT_CGROUP }, \
	{ "container", required_argument, NULL, OPT_CONTAINER }
#define FILTER_GROUP_HELP \
	"      --unit UNIT        of a process of this unit of systemd, ended ones too\n" \
	"      --cgroup CGROUP    of this control group, or below: its path, or its number\n" \
	"      --container NAME   of this container or machine: its name, or its id\n"
#define FILTER_HELP \
	"  -p, --priority SEVERITY  of this severity and worse, or \"A..B\": 0 to 7, or\n" \
	"                         emerg alert crit err warning notice info debug\n" \
	"  -g, --grep PATTERN     whose text matches the regular expression (PCRE2);\n" \
	"                         capitals matter if it has some\n" \
	"      --case-sensitive[=NO]  whether they do\n" \
	"      --pid PID          of this process or thread\n" \
	"      --uid USER         of this user, name or number\n" \
	"      --comm NAME        of a writer that calls itself so\n" \
	"      --field NAME=VALUE whose text is JSON with such a member\n" \
	"  -S, --since TIME       not before: 5m, 1h30m ago; yesterday; 14:30;\n" \
	"                         \"2026-01-31 14:30:05\"; see systemd.time(7)\n" \
	"  -U, --until TIME       not after\n"

/*
 * Takes an option of FILTER_OPTIONS: 0, EXIT_USAGE after saying what is wrong with
 * @value, or -1 if @opt is none of them.
 */
int filter_option(struct filter *filter, int opt, const char *value);

/* To be called after the last option: 0, or EXIT_USAGE after saying what is wrong. */
int filter_ready(struct filter *filter);

/*
 * What of it the driver can do, so that a reader is not woken for other records: @kernel
 * wants all that the filter wants. False if there is nothing.
 */
bool filter_in_kernel(const struct filter *filter, struct flightrec_filter *kernel);

/* Is there anything that the filter does not want, the times left aside? */
bool filter_selects(const struct filter *filter);

/*
 * Is it wanted? Times are those of the boot clock for a record of a channel, of the
 * wall clock for one that was found after a crash.
 */
bool filter_wants(struct filter *filter, const struct entry *entry);

/* Says how many were left out because nobody knows the names of their groups. */
void filter_say_nameless(const struct filter *filter);

void filter_free(struct filter *filter);

#endif
