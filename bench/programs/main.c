// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One static program with all that is measured in a guest: "bench WHAT ...".
 */
#include "bench.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

const size_t bench_sizes[4] = { 16, 64, 256, SIZE_MAX_BYTES };

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} programs[] = {
	{ "count", count_main, "instructions of each operation" },
	{ "readers", readers_main, "a write beside readers that are open, or wait" },
	{ "reading", reading_main, "instructions per record read" },
	{ "memory", memory_main, "bytes per channel, descriptor and module" },
	{ "journald", journald_main, "instructions of a message to journald, until it is stored" },
	{ "wall", wall_main, "nanoseconds of each operation, 1 and 2 writers" },
	{ "online", online_main, "bring the other CPUs up" },
	{ "once", once_main, "OP BYTES: one operation again and again, to be traced" },
};

void bench_die(const char *file, int line, const char *fmt, ...)
{
	int err = errno;
	va_list args;

	fflush(stdout);
	fprintf(stderr, "bench: %s:%d: ", strrchr(file, '/') + 1, line);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fprintf(stderr, " (errno %d: %s)\n", err, strerror(err));
	exit(1);
}

void bench_result(const char *name, size_t bytes, double value)
{
	if (value != value || value - value != 0)
		DIE("%s, %zu bytes: %f is no figure", name, bytes, value);
	printf("result %s %zu %.2f\n", name, bytes, value);
	fflush(stdout);
}

static int usage(void)
{
	size_t i;

	fprintf(stderr, "usage: bench WHAT [ARGUMENT...]\n");
	for (i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		fprintf(stderr, "  %-8s %s\n", programs[i].name, programs[i].help);
	return 2;
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2)
		return usage();
	for (i = 0; i < sizeof(programs) / sizeof(*programs); i++)
		if (!strcmp(argv[1], programs[i].name))
			return programs[i].run(argc - 1, argv + 1);
	return usage();
}
