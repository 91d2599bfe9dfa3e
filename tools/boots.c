// SPDX-License-Identifier: GPL-2.0-or-later
/* flightrec boots and flightrec report: which boots are kept, and how one of them ended. */
#include "report.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "tool.h"

/* ---- flightrec report */

static const char help[] =
	"Usage: flightrec report [BOOT] [--html]\n"
	"Print how a boot ended: cause, time, the last records of all channels, the\n"
	"kernel's backtrace, and what is missing.\n\n"
	"  -b, --boot BOOT  the same as BOOT alone\n"
	"      --html       as one page of HTML, with all records\n"
	"  -h, --help       this text\n\n"
	"BOOT is the beginning of its id, -1 the one before this one, -2 the one before\n"
	"that; without it: the last one that has ended. \"flightrec boots\" lists them.\n";

static int load(struct boot **boots, int *count)
{
	*count = boots_load(boots);
	if (*count >= 0)
		return EXIT_YES;
	complain("%s: %s", BOOTS_DIR, strerror(-*count));
	return *count == -EACCES ? EXIT_UNKNOWN : EXIT_NO;
}

static int print_report(const char *name, bool html)
{
	char now[33] = "";
	struct boot *boots;
	int count, at, err;
	int status = load(&boots, &count);

	if (status)
		return status;
	at = boots_find(boots, count, name);
	status = at < 0 ? EXIT_NO : EXIT_YES;
	boot_id_now(now);
	if (!status && !strcmp(boots[at].name, now)) {
		complain("boot %.8s: it runs, and has no end to report; its records: flightrec read --all",
			 now);
		status = EXIT_NO;
	} else if (!status && boots[at].problem) {
		complain("%s/%s: %s", BOOTS_DIR, boots[at].name, boots[at].problem);
		status = EXIT_UNKNOWN;
	} else if (!status) {
		err = html ? report_html(stdout, &boots[at]) : report_text(stdout, &boots[at]);
		if (err)
			complain("%s/%s: %s", BOOTS_DIR, boots[at].name, strerror(-err));
		status = err ? EXIT_NO : EXIT_YES;
	}
	boots_free(boots, count);
	if (!status)
		flush_output(&status);
	return status;
}

/* "-1" is a boot, no option; behind -b it is taken as any value. */
static const char *take_offset(int *argc, char **argv)
{
	int i;

	for (i = 1; i < *argc; i++)
		if (argv[i][0] == '-' && argv[i][1] && strcmp(argv[i - 1], "-b") &&
		    strcmp(argv[i - 1], "--boot") &&
		    strspn(argv[i] + 1, "0123456789") == strlen(argv[i] + 1)) {
			const char *offset = argv[i];

			memmove(argv + i, argv + i + 1, (*argc - i) * sizeof(*argv));
			--*argc;
			return offset;
		}
	return NULL;
}

int command_report(int argc, char **argv)
{
	static const struct option options[] = {
		{ "boot", required_argument, NULL, 'b' },
		{ "html", no_argument, NULL, 'H' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *name = take_offset(&argc, argv);
	bool html = false;
	int opt;

	while ((opt = getopt_long(argc, argv, ":b:h", options, NULL)) != -1) {
		switch (opt) {
		case 'b':
			if (name)
				return surplus("report", optarg);
			name = optarg;
			break;
		case 'H':
			html = true;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_YES;
		default:
			return bad_option("report", argv, opt);
		}
	}
	if (optind < argc && !name)
		name = argv[optind++];
	if (optind < argc)
		return surplus("report", argv[optind]);
	return print_report(name, html);
}

/* ---- flightrec boots */

static const char boots_help[] =
	"Usage: flightrec boots [--json]\n"
	"List the boots that are kept, oldest first: number, id, end, records, cause.\n\n"
	"  -j, --json   a JSON object on each line, as in boot.json\n"
	"  -h, --help   this text\n";

static void print_boot(const struct boot *boot, int offset)
{
	printf("%3d %-8.8s ", offset, boot->name);
	if (boot->problem) {
		printf("%s\n", boot->problem);
		return;
	}
	if (json_number(report_end(boot), "wall_ns"))
		report_time(stdout, json_number(report_end(boot), "wall_ns"));
	else
		printf("%-23s", "-");
	printf(" %7" PRIu64 "  ", json_number(report_records(boot), "count"));
	if (offset)
		report_cause(stdout, boot);
	else
		fputs("this one, which runs", stdout);
	putchar('\n');
}

int command_boots(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int status, count, opt, i, before;
	struct boot *boots;
	bool json = false;
	char now[33] = "";

	while ((opt = getopt_long(argc, argv, ":jh", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			json = true;
			break;
		case 'h':
			fputs(boots_help, stdout);
			return EXIT_YES;
		default:
			return bad_option("boots", argv, opt);
		}
	}
	if (optind < argc)
		return surplus("boots", argv[optind]);
	status = load(&boots, &count);
	if (status)
		return status;
	boot_id_now(now);
	before = count && !strcmp(boots[count - 1].name, now) ? count - 1 : count;
	for (i = 0; i < count; i++) {
		if (!json)
			print_boot(&boots[i], i - before);
		else if (boots[i].json)
			puts(json_object_to_json_string_ext(boots[i].json, JSON_STYLE));
	}
	status = count ? EXIT_YES : EXIT_NO;
	if (!count)
		complain("no boot is kept yet: flightrec collect, run at boot, keeps them");
	boots_free(boots, count);
	flush_output(&status);
	return status;
}
