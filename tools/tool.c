// SPDX-License-Identifier: GPL-2.0-or-later
/* What the commands share: opening a channel, messages, numbers and severities. */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

void (*sigpipe_before)(int);

void complain(const char *fmt, ...)
{
	va_list args;

	fputs("flightrec: ", stderr);
	va_start(args, fmt);
	vfprintf(stderr, fmt, args);
	va_end(args);
	fputc('\n', stderr);
}

int surplus(const char *command, const char *argument)
{
	complain("unexpected argument '%s'; see \"flightrec %s --help\"", argument, command);
	return EXIT_USAGE;
}

int bad_option(const char *command, char **argv, int opt)
{
	/* A short option is in optopt; of a long one only its word is known. */
	const char *word = argv[optind - 1];
	char letter[] = { '-', (char)optopt, '\0' };

	bool with_value = opt == '?' && optopt && !strncmp(word, "--", 2) && strchr(word, '=');

	if (strncmp(word, "--", 2) || (opt == '?' && optopt && !with_value))
		word = letter;
	complain(opt == ':' ? "option '%s' needs a value; see \"flightrec %s --help\"" :
		 with_value ? "option '%s' takes no value; see \"flightrec %s --help\"" :
		 "unknown option '%s'; see \"flightrec %s --help\"", word, command);
	return EXIT_USAGE;
}

int channel_once(const char *command, const char **channel, const char *name)
{
	if (*channel) {
		complain("two channels, '%s' and '%s': give one; see \"flightrec %s --help\"",
			 *channel, name, command);
		return EXIT_USAGE;
	}
	*channel = name;
	return EXIT_YES;
}

int flush_output(int *status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return 0;
	if (errno == EPIPE) {
		*status = EXIT_YES;
	} else {
		complain("standard output: %s", strerror(errno));
		*status = EXIT_NO;
	}
	return -1;
}

/* Of a refusal, which group helps; none where it is not a matter of groups. */
const char *channel_explain(const char *channel, unsigned int flags, int err)
{
	if (err != -EACCES)
		return flightrec_explain(err);
	if (flags & FLIGHTREC_OPEN_WRITE && !strcmp(channel, KERNEL_CHANNEL))
		return "only the kernel writes to it";
	if (!geteuid())
		return "permission denied, though this is root: the capability CAP_DAC_OVERRIDE is missing, or a security module forbids it";
	return flags & FLIGHTREC_OPEN_WRITE ?
	       "permission denied: writing needs the group flightrec-write" :
	       "permission denied: reading needs the group flightrec";
}

int channel_open(struct flightrec **handle, const char *channel, unsigned int flags)
{
	int err = flightrec_open(handle, channel, flags);

	if (!err)
		return EXIT_YES;
	if (err == -EINVAL) {
		complain("\"%s\" is not the name of a channel: it has 1 to %d of a-z, 0-9, \"_\" and \"-\"",
			 channel, FLIGHTREC_NAME_MAX - 1);
		return EXIT_USAGE;
	}
	complain("channel %s: %s", channel, channel_explain(channel, flags, err));
	return EXIT_UNKNOWN;
}

static const char * const severities[] = {
	"emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
};

/* What syslog(3) and other tools call some of them, too. */
static const struct {
	const char *name;
	int severity;
} aliases[] = {
	{ "panic", 0 }, { "emergency", 0 }, { "critical", 2 }, { "error", 3 }, { "warn", 4 },
	{ "information", 6 },
};

const char *severity_name(unsigned int severity)
{
	return severity < 8 ? severities[severity] : "unknown";
}

int severity_parse(const char *text)
{
	int i;

	if (text[0] >= '0' && text[0] <= '7' && !text[1])
		return text[0] - '0';
	for (i = 0; i < 8; i++)
		if (!strcasecmp(text, severities[i]))
			return i;
	for (i = 0; i < (int)(sizeof(aliases) / sizeof(*aliases)); i++)
		if (!strcasecmp(text, aliases[i].name))
			return aliases[i].severity;
	return -1;
}

bool number_parse(const char *text, unsigned long long min,
		  unsigned long long max, unsigned long long *value)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*value = strtoull(text, &end, 10);
	return !errno && !*end && *value >= min && *value <= max;
}
