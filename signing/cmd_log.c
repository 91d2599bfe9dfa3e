// SPDX-License-Identifier: GPL-2.0-or-later
/* log verify: is the log of a signer whole? */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/host.h"
#include "guard/trust/signlog.h"
#include "signing/keyverb.h"
#include "signing/verbs.h"

static const char usage[] =
"Usage: kmodkeep log verify [--head HASH] [--root DIR] [FILE]\n"
"Is the log of what was signed whole, so that no line was changed, taken out or put\n"
"in between? Prints how many lines it has, and the hash of the last one. Kept\n"
"elsewhere, that hash shows later that the end was not cut off.\n"
"\n"
"  FILE           the log (default: /var/lib/kmodkeep/signing.log)\n"
"  --head HASH    one line must have this hash, as it was printed before\n"
"  --root DIR     the default log is below DIR\n"
"\n"
"Exit code: 0 whole, 1 not, 2 wrong usage, 3 could not tell.\n";

static int judge(const char *path, const char *head)
{
	struct signlog log = { 0 };
	char *why = NULL;
	int err = signlog_read(path, &log, &why);
	int code = EXIT_YES;

	if (err == -EBADMSG)
		code = complain(EXIT_NO, "%s: %s. Next: compare it with a copy, and "
				"trust no signature since then", path, why);
	else if (err)
		code = complain(EXIT_UNSURE, "%s: %s", path, strerror(-err));
	else if (head && !signlog_passes(&log, head))
		code = complain(EXIT_NO, "%s: none of its %zu lines has the hash %s: its "
				"end was cut off, or it was made anew. Next: compare it "
				"with a copy", path, log.count, head);
	else
		printf("%s: whole, %zu lines, head %s\n", path, log.count,
		       signlog_head(&log));
	free(why);
	signlog_free(&log);
	return code;
}

static int log_verify(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "head", required_argument, NULL, 'd' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *head = NULL, *root = NULL;
	struct host *h = NULL;
	char *path;
	int c, code, err;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'd': head = optarg; break;
		case 'r': root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		default: return complain_option("log verify", argv, c);
		}
	}
	if (argc - optind > 1)
		return complain(EXIT_USAGE, "log verify: '%s' is one word too many",
				argv[optind + 1]);
	if (head && (strlen(head) != 64 || strspn(head, "0123456789abcdef") != 64))
		return complain(EXIT_USAGE, "log verify: --head: '%s' is not the hash of "
				"a line", head);
	err = host_new(root, &h);
	if (err)
		return complain_root(err, root, "log verify");
	path = optind < argc ? strdup(argv[optind]) : host_path(h, SIGNLOG_DEFAULT);
	code = path ? judge(path, head) : complain_errno(-ENOMEM, "log verify");
	free(path);
	host_free(h);
	return code;
}

int verb_log(int argc, char **argv)
{
	if (argc >= 2 && (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h"))) {
		fputs(usage, stdout);
		return EXIT_YES;
	}
	if (argc >= 2 && !strcmp(argv[1], "verify"))
		return log_verify(argc - 1, argv + 1);
	fputs(usage, stderr);
	return EXIT_USAGE;
}
