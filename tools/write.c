// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec write: a text, or each line of standard input, as one record.
 */
#include "tool.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

/* Bytes of a name, its zero counted: TASK_COMM_LEN. */
#define TAG_MAX 16

static const char help[] =
	"Usage: flightrec write [-c CHANNEL] [-p SEVERITY] [-t TAG] [TEXT...]\n"
	"Record TEXT, or without one each line of standard input, as one event each.\n\n"
	"  -c, --channel CHANNEL    where to (default: default)\n"
	"  -p, --priority SEVERITY  0 to 7, or emerg alert crit err warning notice info\n"
	"                           debug; without it a leading \"<N>\" in a line counts\n"
	"  -t, --tag TAG            the name of the writer, at most 15 bytes (default:\n"
	"                           flightrec)\n"
	"  -h, --help               this text\n";

/* "<N>", or empty where a line may bring its own. */
static char prefix[4];

/*
 * Why lines were refused: each reason is said once at first, with its next step, and
 * in the end how many there were.
 */
#define REASONS 8
static struct {
	int err;
	unsigned long long count;
} refused[REASONS];

static void say_refused(int err, const char *why)
{
	size_t i;

	for (i = 0; i < REASONS - 1; i++)
		if (!refused[i].err || refused[i].err == err)
			break;
	if (refused[i].err != err)
		complain("not recorded: %s", why);
	refused[i].err = err;
	refused[i].count++;
}

static void say_how_many(void)
{
	size_t i;

	for (i = 0; i < REASONS && refused[i].err; i++)
		if (refused[i].count > 1)
			complain("%llu lines were not recorded: %s", refused[i].count,
				 strerror(-refused[i].err));
}

static int record(struct flightrec *handle, const char *text, size_t len)
{
	struct iovec parts[2] = {
		{ prefix, strlen(prefix) },
		{ (void *)text, len },
	};
	ssize_t n;

	/* Zero bytes are no event: an empty line is one of a single newline. */
	if (!len)
		parts[1] = (struct iovec) { (void *)"\n", 1 };
	n = flightrec_writev(handle, parts, 2);
	if (n < 0)
		say_refused((int)n, n == -ENODEV ? "the channel was removed" :
			    flightrec_explain((int)n));
	return n < 0 ? -1 : 0;
}

/*
 * Reads a line without its end: its length, or -1 at the end of all. Of one
 * that is too long for a record the rest is dropped but counted, so that no
 * input can take all memory.
 */
static ssize_t next_line(char *line)
{
	ssize_t len = 0;
	int c;

	while ((c = getc_unlocked(stdin)) != EOF && c != '\n') {
		if (len < FLIGHTREC_PAYLOAD_MAX)
			line[len] = c;
		len++;
	}
	return c == EOF && !len ? -1 : len;
}

/* Goes on after a line that was refused, so that one does not cost the rest. */
static int record_lines(struct flightrec *handle)
{
	static char line[FLIGHTREC_PAYLOAD_MAX];
	int status = EXIT_YES;
	char why[96];
	ssize_t n;

	while ((n = next_line(line)) >= 0) {
		if (n + strlen(prefix) > FLIGHTREC_PAYLOAD_MAX) {
			snprintf(why, sizeof(why), "a line of %zd bytes is too long; at most %d with its severity",
				 n, FLIGHTREC_PAYLOAD_MAX);
			say_refused(-EMSGSIZE, why);
			status = EXIT_NO;
		} else if (record(handle, line, n)) {
			status = EXIT_NO;
		}
	}
	if (ferror(stdin)) {
		complain("standard input: %s", strerror(errno));
		status = EXIT_NO;
	}
	say_how_many();
	return status;
}

static int record_words(struct flightrec *handle, char **words)
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
	status = record(handle, text, size) ? EXIT_NO : EXIT_YES;
	free(text);
	return status;
}

/*
 * The stamp has what the thread calls itself, which is a claim anyway: so the tag is
 * seen by every reader, and costs nothing of the payload.
 */
static int set_tag(const char *tag)
{
	if (!*tag || strlen(tag) >= TAG_MAX) {
		complain("\"%s\" is no tag: it has 1 to %d bytes, as the kernel keeps them", tag,
			 TAG_MAX - 1);
		return EXIT_USAGE;
	}
	if (prctl(PR_SET_NAME, tag)) {
		complain("tag \"%s\": %s", tag, strerror(errno));
		return EXIT_NO;
	}
	return EXIT_YES;
}

int command_write(int argc, char **argv)
{
	static const struct option options[] = {
		{ "channel", required_argument, NULL, 'c' },
		{ "priority", required_argument, NULL, 'p' },
		{ "severity", required_argument, NULL, 'p' },
		{ "tag", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *channel = NULL;
	int severity = -1;
	struct flightrec *handle;
	int opt, status = EXIT_YES;

	while ((opt = getopt_long(argc, argv, ":c:p:t:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			if (channel_once("write", &channel, optarg))
				return EXIT_USAGE;
			break;
		case 'p':
			severity = severity_parse(optarg);
			if (severity < 0) {
				complain("\"%s\" is not a severity: 0 to 7, or a name as err or info",
					 optarg);
				return EXIT_USAGE;
			}
			memcpy(prefix, (char[]) { '<', '0' + severity, '>', '\0' }, 4);
			break;
		case 't':
			status = set_tag(optarg);
			if (status)
				return status;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_YES;
		default:
			return bad_option("write", argv, opt);
		}
	}
	status = channel_open(&handle, channel ? channel : "default", FLIGHTREC_OPEN_WRITE);
	if (status)
		return status;
	status = optind < argc ? record_words(handle, argv + optind) : record_lines(handle);
	flightrec_close(handle);
	return status;
}
