// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * /proc/flightrec/stats: lines of key=value, where "channel" comes first in
 * the line of a channel. Keys are not known here, so that a driver can have
 * new ones.
 */
#include "internal.h"

#include <ctype.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* More than a driver with all its channels prints. */
#define TEXT_MAX (1024 * 1024)

struct pair {
	const char *key, *value;
	size_t line;
};

struct flightrec_stats {
	char *text;		/* what keys and values point into */
	struct pair *pairs;
	size_t npairs, nlines;
};

/* At most one pair for each '='. */
static size_t count_pairs(const char *text, size_t len)
{
	size_t n = 0;

	while (len--)
		n += *text++ == '=';
	return n;
}

/* Cuts @line, of which nothing else is left, into its pairs. */
static void split_line(struct flightrec_stats *stats, char *line)
{
	size_t before = stats->npairs;
	char *save = NULL;
	char *word, *value;

	for (word = strtok_r(line, " \t\r", &save); word; word = strtok_r(NULL, " \t\r", &save)) {
		value = strchr(word, '=');
		if (!value)
			continue;
		*value++ = '\0';
		stats->pairs[stats->npairs++] = (struct pair) { word, value, stats->nlines };
	}
	if (stats->npairs > before)
		stats->nlines++;
}

int stats_parse(struct flightrec_stats **out, const char *text, size_t len)
{
	struct flightrec_stats *stats = calloc(1, sizeof(*stats));
	char *line, *rest;

	if (!stats)
		return -ENOMEM;
	len = strnlen(text, len);
	stats->text = strndup(text, len);
	stats->pairs = calloc(count_pairs(text, len) + 1, sizeof(*stats->pairs));
	if (!stats->text || !stats->pairs) {
		flightrec_stats_free(stats);
		return -ENOMEM;
	}
	rest = stats->text;
	while ((line = strsep(&rest, "\n")))
		split_line(stats, line);
	*out = stats;
	return 0;
}

/* All of the file, or -errno. */
static ssize_t read_text(int fd, char *text, size_t size)
{
	size_t have = 0;
	ssize_t n;

	while (have < size) {
		n = read(fd, text + have, size - have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			break;
		have += n;
	}
	return have;
}

EXPORT int flightrec_stats_get(struct flightrec_stats **stats)
{
	int fd = open(FLIGHTREC_PROC "/stats", O_RDONLY | O_CLOEXEC);
	char *text;
	ssize_t n;

	if (fd < 0)
		return errno == ENOENT ? -ENODEV : -errno;
	text = malloc(TEXT_MAX);
	n = text ? read_text(fd, text, TEXT_MAX) : -ENOMEM;
	close(fd);
	if (n >= 0)
		n = stats_parse(stats, text, n);
	free(text);
	return (int)n;
}

EXPORT void flightrec_stats_free(struct flightrec_stats *stats)
{
	if (!stats)
		return;
	free(stats->text);
	free(stats->pairs);
	free(stats);
}

/* The first pair of a line; the end of the array if there is none. */
static const struct pair *first_of(const struct flightrec_stats *stats, size_t line)
{
	size_t i = 0;

	while (i < stats->npairs && stats->pairs[i].line < line)
		i++;
	return &stats->pairs[i];
}

EXPORT int flightrec_stats_member(const struct flightrec_stats *stats, size_t line, size_t member,
				  const char **key, const char **value)
{
	const struct pair *end = stats->pairs + stats->npairs;
	const struct pair *pair = first_of(stats, line);

	if (member >= (size_t)(end - pair) || pair[member].line != line)
		return 0;
	*key = pair[member].key;
	*value = pair[member].value;
	return 1;
}

EXPORT const char *flightrec_stats_channel(const struct flightrec_stats *stats, size_t line)
{
	const char *key, *value;

	if (flightrec_stats_member(stats, line, 0, &key, &value) && !strcmp(key, "channel"))
		return value;
	return NULL;
}

EXPORT int flightrec_stats_number(const struct flightrec_stats *stats, size_t line,
				  const char *wanted, uint64_t *number)
{
	const char *key, *value;
	size_t i;
	char *end;

	for (i = 0; flightrec_stats_member(stats, line, i, &key, &value); i++) {
		if (strcmp(key, wanted))
			continue;
		errno = 0;
		*number = strtoull(value, &end, 10);
		return !isdigit((unsigned char)*value) || *end || errno ? -EINVAL : 0;
	}
	return -ENOENT;
}
