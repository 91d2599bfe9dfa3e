// SPDX-License-Identifier: GPL-2.0-only
#include "flightrec.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/uio.h>
#include <unistd.h>

static const char help[] =
	"Usage: flightrec write [-c CHANNEL] [-p SEVERITY] [TEXT...]\n"
	"Record TEXT, or without one each line of standard input, as one event each.\n\n"
	"  -c, --channel CHANNEL    where to (default: default)\n"
	"  -p, --severity SEVERITY  0 to 7, or emerg alert crit err warning notice info\n"
	"                           debug; without it a leading \"<N>\" in a line counts\n"
	"  -h, --help               this text\n";

/* "<N>", or empty where a line may bring its own. */
static char prefix[4];

static int record(int fd, const char *text, size_t len)
{
	struct iovec parts[2] = {
		{ prefix, strlen(prefix) },
		{ (void *)text, len },
	};

	/* Zero bytes are no event: an empty line is one of a single newline. */
	if (!len)
		parts[1] = (struct iovec) { (void *)"\n", 1 };
	if (writev(fd, parts, 2) >= 0)
		return 0;
	if (errno == EMSGSIZE)
		complain("an event of %zu bytes is too long; at most %d with its severity",
			 len, FLIGHTREC_PAYLOAD_MAX);
	else
		complain("not recorded: %s", strerror(errno));
	return -1;
}

/* Goes on after a line that was refused, so that one does not cost the rest. */
static int record_lines(int fd)
{
	int status = EXIT_YES;
	char *line = NULL;
	size_t size = 0;
	ssize_t n;

	while ((n = getline(&line, &size, stdin)) > 0) {
		if (line[n - 1] == '\n')
			n--;
		if (record(fd, line, n))
			status = EXIT_NO;
	}
	free(line);
	if (ferror(stdin)) {
		complain("standard input: %s", strerror(errno));
		return EXIT_NO;
	}
	return status;
}

static int record_words(int fd, char **words)
{
	char *text = NULL;
	size_t size = 0;
	FILE *joined;
	int status;

	joined = open_memstream(&text, &size);
	if (!joined) {
		complain("no memory");
		return EXIT_NO;
	}
	for (; *words; words++)
		fprintf(joined, "%s%s", *words, words[1] ? " " : "");
	fclose(joined);
	status = record(fd, text, size) ? EXIT_NO : EXIT_YES;
	free(text);
	return status;
}

int command_write(int argc, char **argv)
{
	static const struct option options[] = {
		{ "channel", required_argument, NULL, 'c' },
		{ "severity", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *channel = "default";
	int severity = -1;
	int opt, fd, status;

	while ((opt = getopt_long(argc, argv, "c:p:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			channel = optarg;
			break;
		case 'p':
			severity = severity_parse(optarg);
			if (severity < 0) {
				complain("\"%s\" is not a severity", optarg);
				return EXIT_USAGE;
			}
			memcpy(prefix, (char[]) { '<', '0' + severity, '>', '\0' }, 4);
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_YES;
		default:
			return EXIT_USAGE;
		}
	}
	fd = channel_open(channel, O_WRONLY);
	if (fd < 0)
		return EXIT_UNKNOWN;
	status = optind < argc ? record_words(fd, argv + optind) : record_lines(fd);
	close(fd);
	return status;
}
