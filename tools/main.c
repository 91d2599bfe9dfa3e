// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of commands, and the program: it finds the command that is named. */
#include "tool.h"

#include <locale.h>
#include <signal.h>
#include <string.h>

static const struct command commands[] = {
	{ "write", command_write, "record a text, or each line of standard input" },
	{ "read", command_read, "print records, the oldest first" },
	{ "run", command_run, "run a program, and record each line that it prints" },
	{ "channel", command_channel, "create, remove and list channels" },
	{ "stats", command_stats, "print what each channel has recorded and refused" },
	{ "recover", command_recover, "find records after a crash: in pstore, logs, memory dumps" },
	{ "collect", command_collect, "keep what is left of the boots before this one" },
	{ "save", command_save, "keep what is in memory, at an orderly shutdown" },
	{ "boots", command_boots, "list the boots that are kept" },
	{ "report", command_report, "print how a boot ended" },
};

#define COMMANDS (sizeof(commands) / sizeof(*commands))

static void usage(FILE *out)
{
	size_t i;

	fputs("Usage: flightrec COMMAND [OPTION...]\n"
	      "Record events in kernel memory, and read them.\n\n", out);
	for (i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-8s %s\n", commands[i].name, commands[i].help);
	fputs("\nflightrec COMMAND --help says more. Exit status: 0 yes, 1 failed or none,\n"
	      "2 wrong usage, 3 could not tell. See flightrec(1).\n", out);
}

int main(int argc, char **argv)
{
	static char name[32];
	size_t i;

	setlocale(LC_CTYPE, "");
	/* A closed pipe is seen where it is written to: see flush_output(). */
	sigpipe_before = signal(SIGPIPE, SIG_IGN);
	if (argc < 2) {
		usage(stderr);
		return EXIT_USAGE;
	}
	/* "help COMMAND" is "COMMAND --help". */
	if (!strcmp(argv[1], "help") && argc == 3) {
		argv[1] = argv[2];
		argv[2] = (char *)"--help";
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		usage(stdout);
		return EXIT_YES;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		puts("flightrec " FLIGHTREC_VERSION);
		return EXIT_YES;
	}
	for (i = 0; i < COMMANDS; i++)
		if (!strcmp(argv[1], commands[i].name)) {
			/* getopt's messages begin with it. */
			snprintf(name, sizeof(name), "flightrec %s", argv[1]);
			argv[1] = name;
			return commands[i].run(argc - 1, argv + 1);
		}
	complain("unknown command '%s'; see \"flightrec --help\"", argv[1]);
	return EXIT_USAGE;
}
