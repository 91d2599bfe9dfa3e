// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec channel: channels that are created, resized and removed while the driver runs.
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static const char help[] =
	"Usage: flightrec channel create [-s KIB] [-m MODE] [-g GROUP] [--no-crash] NAME\n"
	"       flightrec channel resize -s KIB NAME\n"
	"       flightrec channel remove NAME...\n"
	"       flightrec channel list\n"
	"Create, resize and remove channels without reloading the driver; those at the next\n"
	"load are named in modprobe.d. Records of other channels are not touched; of one\n"
	"that is resized the newest that fit are kept.\n\n"
	"  -s, --size KIB     how much it keeps (default: as the driver's size_kb)\n"
	"  -m, --mode MODE    permissions of its nodes, octal, 0002 to 0666\n"
	"  -g, --group GROUP  their group, by name or number; without --mode and --group the\n"
	"                     rules of udev say who may read and write\n"
	"      --no-crash     a crash does not print its records\n"
	"  -h, --help         this text\n";

/* ---- create */

static void explain_size(const struct flightrec_channel_setup *setup, uint64_t asked)
{
	const char *name = setup->name;

	if (!setup->size)
		complain("channel %s: all channels together have at most a quarter of memory, and too little of that is left; remove one, and end who has it open",
			 name);
	else
		complain("channel %s: %" PRIu64 " KiB are too %s; %s %" PRIu64, name, asked / 1024,
			 (uint64_t)setup->size > asked ? "few" : "many",
			 (uint64_t)setup->size > asked ? "the least is" :
			 "of a quarter of memory, which all have together, there are left",
			 (uint64_t)setup->size / 1024);
}

static void explain_memory(const char *name)
{
	complain("channel %s: so much memory is not free at this moment; try again, or with less", name);
}

/* Of an error, what it means and what helps; @asked is the size that was wanted. */
static void explain_create(const struct flightrec_channel_setup *setup, uint64_t asked, int err)
{
	const char *name = setup->name;

	switch (-err) {
	case EEXIST:
		complain("channel %s: there is one of that name", name);
		break;
	case EBUSY:
		complain("channel %s: the one that had that name is still being removed: something reads /proc/flightrec/%s",
			 name, name);
		break;
	case ERANGE:
		explain_size(setup, asked);
		break;
	case ENOSPC:
		complain("channel %s: there are as many channels as there can be; remove one", name);
		break;
	case ENOMEM:
		explain_memory(name);
		break;
	case EINVAL:
		complain("\"%s\" is not a name that a channel can have: 1 to %d of a-z, 0-9, \"_\" and \"-\", and not \"stats\"",
			 name, FLIGHTREC_NAME_MAX - 1);
		break;
	default:
		complain("channel %s: %s", name, flightrec_explain(err));
	}
}

/* Errors of any request: 3 where the driver could not be asked. */
static int status_of(int err)
{
	switch (-err) {
	case EINVAL:
		return EXIT_USAGE;
	case ENODEV:
	case EOPNOTSUPP:
	case EACCES:
	case EPERM:
		return EXIT_UNKNOWN;
	default:
		return EXIT_NO;
	}
}

/* What keeps somebody from the node is the same as what keeps them from the request. */
static int as_root(int err)
{
	if (err != -EACCES && err != -EPERM)
		return 0;
	complain("channels are created, resized and removed by root (CAP_SYS_ADMIN), outside of containers");
	return EXIT_UNKNOWN;
}

static int create(struct flightrec_channel_setup *setup, const char *name)
{
	uint64_t asked = setup->size;
	int err;

	if (strlen(name) >= sizeof(setup->name)) {
		complain("\"%s\" is not a name that a channel can have: it is longer than %d",
			 name, FLIGHTREC_NAME_MAX - 1);
		return EXIT_USAGE;
	}
	memcpy(setup->name, name, strlen(name));
	err = flightrec_channel_create(setup);
	if (!err || as_root(err))
		return err ? EXIT_UNKNOWN : EXIT_YES;
	explain_create(setup, asked, err);
	return status_of(err);
}

/* ---- resize */

static void explain_resize(const struct flightrec_channel_setup *setup, uint64_t asked, int err)
{
	const char *name = setup->name;

	switch (-err) {
	case EBUSY:
		complain("channel %s: not resized: \"kernel\", \"selftest\" and channels in memory that a reset leaves alone have the size that they got when the driver was loaded",
			 name);
		break;
	case ERANGE:
		explain_size(setup, asked);
		break;
	case ENOMEM:
		explain_memory(name);
		break;
	case EINVAL:
		complain("\"%s\" is not the name of a channel", name);
		break;
	default:
		complain("channel %s: %s", name, flightrec_explain(err));
	}
}

static int resize(struct flightrec_channel_setup *setup, const char *name)
{
	uint64_t asked = setup->size;
	int err;

	if (!setup->size || setup->features) {
		complain("channel resize: name the new size, with --size KIB, and nothing else");
		return EXIT_USAGE;
	}
	if (strlen(name) >= sizeof(setup->name)) {
		complain("\"%s\" is not the name of a channel", name);
		return EXIT_USAGE;
	}
	memcpy(setup->name, name, strlen(name));
	err = flightrec_channel_resize(setup);
	if (!err || as_root(err))
		return err ? EXIT_UNKNOWN : EXIT_YES;
	explain_resize(setup, asked, err);
	return status_of(err);
}

/* ---- remove */

static int remove_one(const char *name)
{
	int err = flightrec_channel_remove(name);

	if (!err || as_root(err))
		return err ? EXIT_UNKNOWN : EXIT_YES;
	if (err == -EBUSY)
		complain("channel %s: not removed: \"kernel\" and \"selftest\" always exist, and channels in memory that a reset leaves alone are fixed when the driver is loaded",
			 name);
	else if (err == -EINVAL)
		complain("\"%s\" is not the name of a channel", name);
	else
		complain("channel %s: %s", name, flightrec_explain(err));
	return status_of(err);
}

/* The others go all the same; the status is that of the first one that did not. */
static int remove_all(char **names)
{
	int status = EXIT_YES, one;

	for (; *names; names++) {
		one = remove_one(*names);
		status = status ? status : one;
	}
	return status;
}

/* ---- list */

static void print_access(const char *name)
{
	char path[sizeof(FLIGHTREC_DEV) + 1 + FLIGHTREC_NAME_MAX];
	struct group *group;
	struct stat st;

	snprintf(path, sizeof(path), FLIGHTREC_DEV "/%s", name);
	if (stat(path, &st)) {
		puts("     -  -");
		return;
	}
	group = getgrgid(st.st_gid);
	if (group)
		printf("  %04o  %s\n", st.st_mode & 0777, group->gr_name);
	else
		printf("  %04o  %u\n", st.st_mode & 0777, st.st_gid);
}

static int list(void)
{
	int width = strlen("CHANNEL"), status = EXIT_YES;
	struct flightrec_stats *stats;
	const char *channel;
	uint64_t kb;
	size_t line;
	int err;

	err = flightrec_stats_get(&stats);
	if (err) {
		complain("%s", flightrec_explain(err));
		return EXIT_UNKNOWN;
	}
	for (line = 0; (channel = flightrec_stats_channel(stats, line)); line++)
		if ((int)strlen(channel) > width)
			width = strlen(channel);
	printf("%-*s %9s  %4s  %s\n", width, "CHANNEL", "KIB", "MODE", "GROUP");
	for (line = 0; (channel = flightrec_stats_channel(stats, line)); line++) {
		if (flightrec_stats_number(stats, line, "size_kb", &kb))
			kb = 0;
		printf("%-*s %9" PRIu64, width, channel, kb);
		print_access(channel);
	}
	flightrec_stats_free(stats);
	flush_output(&status);
	return status;
}

/* ---- the command line */

static bool take_mode(struct flightrec_channel_setup *setup, const char *text)
{
	size_t len = strlen(text);

	if (!len || len > 5 || strspn(text, "01234567") != len)
		return false;
	setup->mode = strtoul(text, NULL, 8);
	setup->features |= FLIGHTREC_CHANNEL_MODE;
	return setup->mode && !(setup->mode & ~0666U);
}

static bool take_group(struct flightrec_channel_setup *setup, const char *text)
{
	struct group *group = getgrnam(text);
	unsigned long long number;

	if (!group && !number_parse(text, 0, UINT32_MAX - 1, &number))
		return false;
	setup->gid = group ? group->gr_gid : number;
	setup->features |= FLIGHTREC_CHANNEL_GID;
	return true;
}

/* An option of "create" or "resize": EXIT_YES, or EXIT_USAGE after saying what is wrong. */
static int take_option(struct flightrec_channel_setup *setup, int opt)
{
	unsigned long long kb;

	switch (opt) {
	case 's':
		if (!number_parse(optarg, 1, UINT64_MAX >> 10, &kb)) {
			complain("--size: \"%s\" is not a number of KiB", optarg);
			return EXIT_USAGE;
		}
		setup->size = kb << 10;
		break;
	case 'm':
		if (!take_mode(setup, optarg)) {
			complain("--mode: \"%s\" is not an octal number within 0002 to 0666", optarg);
			return EXIT_USAGE;
		}
		break;
	case 'g':
		if (!take_group(setup, optarg)) {
			complain("--group: \"%s\" is not a group", optarg);
			return EXIT_USAGE;
		}
		break;
	case 'C':
		setup->features |= FLIGHTREC_CHANNEL_NO_CRASH;
		break;
	}
	return EXIT_YES;
}

int command_channel(int argc, char **argv)
{
	static const struct option options[] = {
		{ "size", required_argument, NULL, 's' },
		{ "mode", required_argument, NULL, 'm' },
		{ "group", required_argument, NULL, 'g' },
		{ "no-crash", no_argument, NULL, 'C' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct flightrec_channel_setup setup = { 0 };
	bool with_options = false;
	const char *what;
	int opt, names;

	while ((opt = getopt_long(argc, argv, ":s:m:g:h", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(help, stdout);
			return EXIT_YES;
		}
		if (opt == ':' || opt == '?')
			return bad_option("channel", argv, opt);
		with_options = true;
		if (take_option(&setup, opt))
			return EXIT_USAGE;
	}
	if (optind == argc) {
		complain("channel: create, resize, remove or list? See \"flightrec channel --help\"");
		return EXIT_USAGE;
	}
	what = argv[optind++];
	names = argc - optind;
	if (!strcmp(what, "create") && names == 1)
		return create(&setup, argv[optind]);
	if (!strcmp(what, "resize") && names == 1)
		return resize(&setup, argv[optind]);
	if (with_options && strcmp(what, "create") && strcmp(what, "resize")) {
		complain("channel: options are for \"create\" and \"resize\"; see \"flightrec channel --help\"");
		return EXIT_USAGE;
	}
	if (!strcmp(what, "remove") && names)
		return remove_all(argv + optind);
	if (!strcmp(what, "list") && !names)
		return list();
	if (!strcmp(what, "create") || !strcmp(what, "resize") || !strcmp(what, "remove"))
		complain("channel %s: name %s; see \"flightrec channel --help\"", what,
			 !strcmp(what, "remove") ? "the channels" : "one channel");
	else if (!strcmp(what, "list"))
		return surplus("channel", argv[optind]);
	else
		complain("channel: unknown '%s'; see \"flightrec channel --help\"", what);
	return EXIT_USAGE;
}
