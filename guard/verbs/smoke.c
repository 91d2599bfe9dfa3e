// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb smoke: drivers are loaded and tried out. */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/verbs/verbs.h"
#include "guard/verdict/smoke.h"

static const char usage[] =
"Usage: kmodkeep smoke [DRIVER]\n"
"Loads the modules of each driver whose drop-in says 'load = yes' (or of the\n"
"one named, that has a drop-in), runs its smoke test, and leaves the result in /var/lib/kmodkeep/smoke/DRIVER.json.\n"
"One line each: DRIVER: RESULT: why.\n"
"\n"
"  --root DIR     read the drop-ins of the system installed under DIR, where\n"
"                 nothing can be loaded: the result is not-applicable\n"
"\n"
"Exit code: 0 all passed or not applicable, 1 some failed, 2 wrong usage,\n"
"3 could not tell.\n";

static int one(const struct smoke *s, const struct driver *d)
{
	struct smoke_outcome out;
	int err, code;

	/* That it cannot be written is said once, with the result. */
	smoke_record_start(s, d);
	err = d->broken ? smoke_broken(&out) : smoke_driver(s, d, &out);
	if (err)
		return complain_errno(err, d->name);
	printf("%s: %s: %s", d->name, smoke_word(out.result),
	       out.report.message);
	if (out.report.next_step)
		printf(". Next: %s", out.report.next_step);
	putchar('\n');
	code = out.result == SMOKE_FAILED ? EXIT_NO : EXIT_YES;
	err = smoke_record(s, d, &out);
	report_free(&out.report);
	if (err) {
		complain_errno(err, "the result could not be recorded");
		code = code ? code : EXIT_UNSURE;
	}
	return code;
}

static int all(const struct smoke *s, const char *only)
{
	struct drivers drivers;
	int code = EXIT_YES, ret;
	size_t found = 0;
	int err = drivers_read(s->h, &drivers, complain_message, NULL);

	if (err)
		return complain_errno(err, "drivers");
	for (size_t i = 0; i < drivers.count; i++) {
		if (only && strcmp(only, drivers.list[i].name))
			continue;
		found++;
		/* To load it may change the host: only where it is asked for. */
		if (!drivers.list[i].load && !drivers.list[i].broken && !only)
			continue;
		ret = one(s, &drivers.list[i]);
		if (ret && code != EXIT_NO)
			code = ret;
	}
	if (!found && only)
		code = complain(EXIT_NO, "no driver '%s' is registered in "
				"/usr/lib/kmodkeep/drivers.d or "
				"/etc/kmodkeep/drivers.d", only);
	else if (!found)
		puts("kmodkeep: no driver has load = yes in its drop-in, so nothing is tested");
	drivers_free(&drivers);
	return code;
}

int verb_smoke(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct signers policy = { 0 };
	struct smoke s = { .policy = &policy };
	const char *root = NULL;
	struct host *h = NULL;
	struct trust *t = NULL;
	int c, err, code;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'r': root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		default: return complain_option("smoke", argv, c);
		}
	}
	if (argc - optind > 1)
		return complain(EXIT_USAGE, "smoke: unexpected argument '%s'", argv[optind + 1]);
	err = host_new(root, &h);
	if (!err)
		err = trust_new(h, &t);
	if (!err)
		err = signers_of_host(h, &policy);
	if (err) {
		code = h ? complain_errno(err, "smoke") :
			   complain_root(err, root, "smoke");
		goto out;
	}
	s.h = h;
	s.t = t;
	s.kernel = host_running_kernel(h);
	s.modprobe = host_is_live(h) ? "modprobe" : NULL;
	code = all(&s, argv[optind]);
out:
	signers_free(&policy);
	trust_free(t);
	host_free(h);
	return code;
}
