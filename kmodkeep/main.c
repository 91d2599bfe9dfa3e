// SPDX-License-Identifier: GPL-2.0-or-later
/* The front: finds the verb and hands over. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/verbs/verbs.h"
#include "kmodkeep/package/verbs.h"
#include "kmodkeep/verbs.h"
#include "signing/verbs.h"

static const struct {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
} verbs[] = {
	{ "doctor", verb_doctor, "will each driver load on each kernel?" },
	{ "status", verb_status, "one page: is the next boot safe?" },
	{ "next", verb_next, "the next boot on one screen, and the way out" },
	{ "repair", verb_repair, "do what the findings ask for, step by step" },
	{ "adopt", verb_adopt, "take drivers of others into care, as they are" },
	{ "guard", verb_guard, "after each change: is the next boot safe?" },
	{ "notice", verb_notice, "tell a person, by mail or on the desktop" },
	{ "preflight", verb_preflight, "may this kernel update be installed?" },
	{ "pin", verb_pin, "the kernel that pin-last-good holds on to" },
	{ "verify", verb_verify, "will the kernel load these modules?" },
	{ "sign", verb_sign, "sign modules with this host's key" },
	{ "key", verb_key, "create, enroll, status: the host's signing key" },
	{ "manifest", verb_manifest, "modules built here and signed elsewhere" },
	{ "log", verb_log, "what a signer has signed, for whom" },
	{ "smoke", verb_smoke, "load and try out the drivers that may be loaded" },
	{ "state", verb_state, "what a fleet wants to know of this host" },
	{ "gate", verb_gate, "may this host take the fleet's update now?" },
	{ "pull", verb_pull, "ask the gate, and do what it says" },
	{ "fleet", verb_fleet, "roll-outs and reports of many hosts" },
	/* For maintainer scripts and preflight: not in the usage text. */
	{ "package", verb_package, NULL },
	{ "radar", verb_radar, NULL },
};

static void print_usage(FILE *to)
{
	fputs("Usage: kmodkeep VERB [OPTION...]\n"
	      "Keeps out-of-tree drivers signed, trusted and loadable.\n\n", to);
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (verbs[i].help)
			fprintf(to, "  %-9s %s\n", verbs[i].name,
				verbs[i].help);
	fputs("\nkmodkeep VERB --help says more, kmodkeep(8) all.\n"
	      "Exit codes: 0 yes or done, 1 no or failed, 2 wrong usage, "
	      "3 could not tell.\n", to);
}

/* A full disk must not look like success, nor like an answer that was given. */
static int finish(int code)
{
	int err = fflush(stdout) ? errno : ferror(stdout) ? EIO : 0;

	if (!err)
		return code;
	complain_errno(-err, "the answer could not be written");
	return code == EXIT_YES ? EXIT_UNSURE : code;
}

/*
 * Where the caller has closed one of them, the next file that is opened would get its
 * number: what is written to the one would be lost, or be in the other.
 */
static int have_standard_files(void)
{
	/* To write there fails as before: an answer that went nowhere is none. */
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDONLY) != fd)
			return -errno;
	return 0;
}

int main(int argc, char **argv)
{
	static char name[32];
	int err = have_standard_files();

	if (err)
		return complain(EXIT_UNSURE, "/dev/null: %s", strerror(-err));
	if (argc < 2) {
		print_usage(stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		print_usage(stdout);
		return EXIT_YES;
	}
	if (!strcmp(argv[1], "--version")) {
		puts("kmodkeep " KMODKEEP_VERSION);
		return EXIT_YES;
	}
	for (size_t i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(argv[1], verbs[i].name)) {
			int code;

			/* getopt's messages begin with it. */
			snprintf(name, sizeof(name), "kmodkeep %s", argv[1]);
			argv[1] = name;
			code = verbs[i].run(argc - 1, argv + 1);

			return finish(code);
		}
	return complain(EXIT_USAGE, "unknown verb '%s'; see kmodkeep --help",
			argv[1]);
}
