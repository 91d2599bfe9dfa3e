// SPDX-License-Identifier: GPL-2.0-only
#include "flightrec.h"

#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#define STATS "/proc/flightrec/stats"

static const char help[] =
	"Usage: flightrec stats [--json]\n"
	"Print what each channel has recorded, dropped and refused.\n\n"
	"  -j, --json  a JSON object on each line, one per channel\n"
	"  -h, --help  this text\n";

/* One "key=value" as a JSON member: a number where it is one. */
static void add_member(struct json_object *object, char *pair)
{
	char *value = strchr(pair, '=');
	unsigned long long number;

	if (!value)
		return;
	*value++ = '\0';
	json_object_object_add(object, pair,
			       number_parse(value, 0, INT64_MAX, &number) ?
			       json_object_new_int64((int64_t)number) :
			       json_object_new_string(value));
}

static void print_json(char *line)
{
	struct json_object *object = json_object_new_object();
	char *save = NULL;
	char *pair;

	for (pair = strtok_r(line, " \n", &save); pair;
	     pair = strtok_r(NULL, " \n", &save))
		add_member(object, pair);
	puts(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN));
	json_object_put(object);
}

/* A heading, and a line for each key but the channel's name. */
static void print_people(char *line)
{
	char *save = NULL;
	char *pair, *value;

	for (pair = strtok_r(line, " \n", &save); pair;
	     pair = strtok_r(NULL, " \n", &save)) {
		value = strchr(pair, '=');
		if (!value)
			continue;
		*value++ = '\0';
		if (!strcmp(pair, "channel"))
			printf("%s\n", value);
		else
			printf("  %-24s %s\n", pair, value);
	}
}

int command_stats(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool json = false;
	char *line = NULL;
	size_t size = 0;
	FILE *stats;
	int opt;

	while ((opt = getopt_long(argc, argv, "jh", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_YES;
		default:
			return EXIT_USAGE;
		}
	}
	stats = fopen(STATS, "re");
	if (!stats) {
		complain(STATS ": %s; is the driver loaded? see \"modprobe flightrec\"",
			 strerror(errno));
		return EXIT_UNKNOWN;
	}
	while (getline(&line, &size, stats) > 0) {
		/* The last line is the driver's own, not a channel's. */
		if (json && !strncmp(line, "channel=", 8))
			print_json(line);
		else if (!json)
			print_people(line);
	}
	free(line);
	fclose(stats);
	return EXIT_YES;
}
