// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Which records are wanted: filter.h.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "filter.h"

#include <pcre2.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "cgroups.h"
#include "tool.h"
#include "utf8.h"

static int wrong(const char *value, const char *what)
{
	complain("\"%s\" is not %s", value, what);
	return EXIT_USAGE;
}

/* "err": that and worse; "warning..err": from the one to the other, in any order. */
static int add_severities(struct filter *filter, const char *value)
{
	const char *dots = strstr(value, "..");
	char first[16];
	int from, to, i;

	if (dots && (size_t)(dots - value) < sizeof(first)) {
		snprintf(first, sizeof(first), "%.*s", (int)(dots - value), value);
		from = severity_parse(first);
		to = severity_parse(dots + 2);
	} else {
		from = 0;
		to = dots ? -1 : severity_parse(value);
	}
	if (from < 0 || to < 0)
		return wrong(value, "a severity or a range of them: try err, or warning..err");
	for (i = from < to ? from : to; i <= (from < to ? to : from); i++)
		filter->severities |= 1u << i;
	return EXIT_YES;
}

static void *grown(void *array, size_t count, size_t size)
{
	void *more = reallocarray(array, count + 1, size);

	/* A filter with a member less would be another one. */
	if (!more)
		abort();
	return more;
}

static void add_number(struct numbers *numbers, uint32_t value)
{
	numbers->values = grown(numbers->values, numbers->count, sizeof(*numbers->values));
	numbers->values[numbers->count++] = value;
}

static int add_pid(struct filter *filter, const char *value)
{
	unsigned long long number;

	if (!number_parse(value, 0, UINT32_MAX, &number))
		return wrong(value, "the number of a process");
	add_number(&filter->pids, number);
	return EXIT_YES;
}

static int add_uid(struct filter *filter, const char *value)
{
	unsigned long long number;
	struct passwd *user;

	if (!number_parse(value, 0, UINT32_MAX, &number)) {
		user = getpwnam(value);
		if (!user)
			return wrong(value, "a user of this host, nor the number of one");
		number = user->pw_uid;
	}
	add_number(&filter->uids, number);
	return EXIT_YES;
}

/* The kernel keeps 15 bytes of a name: a longer one is that of a program, cut. */
static int add_comm(struct filter *filter, const char *value)
{
	filter->comms = grown(filter->comms, filter->ncomms, sizeof(*filter->comms));
	filter->comms[filter->ncomms++] = value;
	return EXIT_YES;
}

/* As systemctl(1) has it, a name without a kind is a service's. */
static char *unit_name(const char *value)
{
	char *name;

	if (asprintf(&name, "%s%s", value, strchr(value, '.') ? "" : ".service") < 0)
		abort();
	return name;
}

static int add_group(struct filter *filter, const char *value, bool unit)
{
	struct group_wanted group = { .unit = unit };
	unsigned long long number;

	if (unit && *value && !strchr(value, '/'))
		group.name = unit_name(value);
	else if (unit)
		return wrong(value, "the name of a unit: try ssh.service");
	else if (number_parse(value, 1, ~0ULL, &number))
		group.id = number;
	else if (*value == '/')
		group.name = strdup(value);
	else
		return wrong(value, "a control group: a path like /system.slice, or a number");
	if (!group.id && !group.name)
		abort();
	filter->groups = grown(filter->groups, filter->ngroups, sizeof(*filter->groups));
	filter->groups[filter->ngroups++] = group;
	filter->groups_named |= group.name != NULL;
	return EXIT_YES;
}

static int add_container(struct filter *filter, const char *value)
{
	struct group_wanted group = { .container = true, .name = strdup(value) };

	if (!group.name)
		abort();
	/* Of Kubernetes there are slashes in it. */
	if (!*value || *value == '/' || value[strlen(value) - 1] == '/') {
		free(group.name);
		return wrong(value, "the name of a container, or its id");
	}
	filter->groups = grown(filter->groups, filter->ngroups, sizeof(*filter->groups));
	filter->groups[filter->ngroups++] = group;
	filter->groups_named = true;
	return EXIT_YES;
}

static int add_field(struct filter *filter, const char *value)
{
	return fields_add(&filter->fields, value) ? EXIT_YES :
						    wrong(value, "a field: NAME=VALUE");
}

static int set_case(struct filter *filter, const char *value)
{
	if (!value || !strcasecmp(value, "yes") || !strcasecmp(value, "true") || !strcmp(value, "1"))
		filter->ignore_case = 0;
	else if (!strcasecmp(value, "no") || !strcasecmp(value, "false") || !strcmp(value, "0"))
		filter->ignore_case = 1;
	else
		return wrong(value, "yes or no");
	filter->case_set = true;
	return EXIT_YES;
}

static int set_moment(const char *value, struct moment *moment, bool *set)
{
	if (!moment_parse(value, moment))
		return wrong(value, "a time: try 5m, yesterday, 14:30 or \"2026-01-31 14:30\"");
	*set = true;
	return EXIT_YES;
}

int filter_option(struct filter *filter, int opt, const char *value)
{
	switch (opt) {
	case 'p':
		return add_severities(filter, value);
	case 'g':
		if (filter->pattern) {
			complain("two patterns, '%s' and '%s': give one, as \"A|B\"",
				 filter->pattern, value);
			return EXIT_USAGE;
		}
		filter->pattern = value;
		return EXIT_YES;
	case 's': /* before --since had the journal's letter */
	case 'S':
		return set_moment(value, &filter->since, &filter->since_set);
	case 'U':
		return set_moment(value, &filter->until, &filter->until_set);
	case OPT_PID:
		return add_pid(filter, value);
	case OPT_UID:
		return add_uid(filter, value);
	case OPT_COMM:
		return add_comm(filter, value);
	case OPT_UNIT:
	case OPT_CGROUP:
		return add_group(filter, value, opt == OPT_UNIT);
	case OPT_CONTAINER:
		return add_container(filter, value);
	case OPT_FIELD:
		return add_field(filter, value);
	case OPT_CASE:
		return set_case(filter, value);
	default:
		return -1;
	}
}

static bool has_capitals(const char *text)
{
	while (*text && !(*text >= 'A' && *text <= 'Z'))
		/* "\S" and "\W" are no capitals. */
		text += *text == '\\' && text[1] ? 2 : 1;
	return *text;
}

int filter_ready(struct filter *filter)
{
	bool utf8;
	PCRE2_SIZE at;
	char why[128];
	int err;

	if (filter->since_set && filter->until_set &&
	    filter->since.wall_ns > filter->until.wall_ns) {
		complain("--since is later than --until: nothing can be between them");
		return EXIT_USAGE;
	}
	if (!filter->pattern)
		return EXIT_YES;
	if (!filter->case_set)
		filter->ignore_case = !has_capitals(filter->pattern);
	utf8 = utf8_valid(filter->pattern, strlen(filter->pattern));
	filter->code = pcre2_compile((PCRE2_SPTR)filter->pattern, PCRE2_ZERO_TERMINATED,
				     (utf8 ? PCRE2_UTF | PCRE2_MATCH_INVALID_UTF : 0) |
				     (filter->ignore_case ? PCRE2_CASELESS : 0) |
				     PCRE2_NEVER_BACKSLASH_C, &err, &at, NULL);
	if (!filter->code) {
		pcre2_get_error_message(err, (PCRE2_UCHAR *)why, sizeof(why));
		complain("the pattern \"%s\" is wrong at its byte %zu: %s", filter->pattern,
			 at + 1, why);
		return EXIT_USAGE;
	}
	/* Where there is no compiler for this processor, matching is slower. */
	pcre2_jit_compile(filter->code, PCRE2_JIT_COMPLETE);
	filter->match = pcre2_match_data_create(1, NULL);
	if (!filter->match)
		abort();
	return EXIT_YES;
}

bool filter_in_kernel(const struct filter *filter, struct flightrec_filter *kernel)
{
	*kernel = (struct flightrec_filter) { .features = 0 };
	if (filter->severities) {
		kernel->features |= FLIGHTREC_FILTER_SEVERITY;
		kernel->severity = 31 - __builtin_clz(filter->severities & 0xff);
	}
	if (filter->uids.count == 1) {
		kernel->features |= FLIGHTREC_FILTER_UID;
		kernel->uid = filter->uids.values[0];
	}
	if (filter->pids.count == 1) {
		kernel->features |= FLIGHTREC_FILTER_PID;
		kernel->pid = filter->pids.values[0];
	}
	if (filter->ngroups == 1 && filter->groups[0].id) {
		kernel->features |= FLIGHTREC_FILTER_CGROUP;
		kernel->cgroup = filter->groups[0].id;
	}
	return kernel->features;
}

bool filter_selects(const struct filter *filter)
{
	return filter->severities || filter->pids.count || filter->uids.count || filter->ncomms ||
	       filter->ngroups || filter->pattern || filter->fields.count;
}

static bool among(const struct numbers *numbers, uint32_t one, uint32_t other)
{
	size_t i;

	for (i = 0; i < numbers->count; i++)
		if (numbers->values[i] == one || numbers->values[i] == other)
			return true;
	return !numbers->count;
}

static bool named(const struct filter *filter, const struct flightrec_record *record)
{
	size_t i;

	for (i = 0; i < filter->ncomms; i++)
		if (!strncmp(record->comm, filter->comms[i], sizeof(record->comm) - 1))
			return true;
	return !filter->ncomms;
}

static bool of_group(struct filter *filter, const struct flightrec_record *record)
{
	uint64_t id = flightrec_cgroup(record);
	const struct container *container;
	const char *path = NULL;
	bool unnamed = false;
	size_t i;

	for (i = 0; i < filter->ngroups; i++)
		if (filter->groups[i].id && filter->groups[i].id == id)
			return true;
	if (filter->groups_named)
		path = cgroups_path(id);
	container = path ? cgroups_container(id) : NULL;
	for (i = 0; path && i < filter->ngroups; i++) {
		const struct group_wanted *group = &filter->groups[i];

		if (!group->name)
			continue;
		if (group->container ? container && cgroups_is_container(container, group->name) :
				       cgroups_within(path, group->name, group->unit))
			return true;
		unnamed |= group->container && container && !container->name[0];
	}
	filter->unnamed += unnamed;
	/* What has no group belongs to no unit for certain: an interrupt. */
	filter->nameless += filter->groups_named && !path &&
			    !(record->flags & FLIGHTREC_F_INTERRUPT);
	return !filter->ngroups;
}

/*
 * A text on which the matcher gives up, its own bounds being reached, counts as one
 * that matches: better a line too many.
 */
static bool matches(const struct filter *filter, const struct flightrec_record *record)
{
	return pcre2_match(filter->code, (PCRE2_SPTR)flightrec_payload(record), record->len, 0, 0,
			   filter->match, NULL) != PCRE2_ERROR_NOMATCH;
}

bool filter_wants(struct filter *filter, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;

	if (filter->severities && !(filter->severities >> (record->severity & 7) & 1))
		return false;
	if (filter->since_set && (entry->found ? record->wall_ns < filter->since.wall_ns :
						 record->boot_ns < filter->since.boot_ns))
		return false;
	if (filter->until_set && (entry->found ? record->wall_ns > filter->until.wall_ns :
						 record->boot_ns > filter->until.boot_ns))
		return false;
	return among(&filter->pids, record->tgid, record->pid) &&
	       among(&filter->uids, record->uid, record->uid) && named(filter, record) &&
	       (!filter->pattern || matches(filter, record)) &&
	       fields_match(&filter->fields, record) && of_group(filter, record);
}

void filter_say_nameless(const struct filter *filter)
{
	if (filter->nameless)
		complain("left out: %llu whose control groups have ended, and the channel \"kernel\" has no name of them, or may not be read",
			 (unsigned long long)filter->nameless);
	if (filter->unnamed)
		complain("left out: %llu of containers whose names are not known any more, or may not be read; --container also takes 12 digits of an id",
			 (unsigned long long)filter->unnamed);
}

void filter_free(struct filter *filter)
{
	free(filter->pids.values);
	free(filter->uids.values);
	free(filter->comms);
	while (filter->ngroups)
		free(filter->groups[--filter->ngroups].name);
	free(filter->groups);
	fields_free(&filter->fields);
	pcre2_match_data_free(filter->match);
	pcre2_code_free(filter->code);
}
