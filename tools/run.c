// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec run: starts a program and records each line that it, or what it starts,
 * prints.
 *
 * The stamp of a record is that of its writer, which is this process. So
 * the program's output is a socket, not a pipe: of each piece that comes through it
 * the kernel says which process and user wrote it. That stands in front of the text,
 * "COMM[PID]: ". Lines of different processes are put together apart from each other, and
 * a record never has parts of two.
 *
 * What cannot be recorded is printed on standard error, where it would have been
 * without this program. So a driver that is missing stops nobody, and loses nothing.
 * While nothing is printed the channel is closed, or the driver could never be
 * unloaded.
 */
#include "tool.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "times.h"

static const char help[] =
	"Usage: flightrec run [-c CHANNEL] [-p SEVERITY] [-t TAG] [--] PROGRAM [ARGUMENT...]\n"
	"Run PROGRAM, and record each line that it prints, with the name and the number of\n"
	"the process that wrote it in front. Signals are passed on to it; the exit status is\n"
	"that of PROGRAM.\n\n"
	"  -c, --channel CHANNEL    where to (default: default)\n"
	"  -p, --priority SEVERITY  of lines that do not begin with \"<N>\" (default: info)\n"
	"  -t, --tag TAG            the name of the writer, at most 15 bytes (default:\n"
	"                           PROGRAM's)\n"
	"  -h, --help               this text\n\n"
	"COMM[PID]>: goes on in the next record of that process, COMM[PID]+: is the rest.\n"
	"What cannot be recorded is printed on standard error.\n";

/* As env(1), nice(1) and others have it. */
enum { EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127 };

/* "COMM[PID uid UID]+>: " at its longest, with room. */
#define WHO_MAX 64
#define TEXT_MAX (FLIGHTREC_PAYLOAD_MAX - 3 - WHO_MAX)

/* Processes whose lines are put together at the same time. */
#define WRITERS 32

/* Half a line is recorded after so long; the channel is closed; a refusal is said again. */
#define IDLE_NS 1000000000ULL

/* A quota that is used up, or no memory: tried again so often, 10 ms apart. */
#define TRIES 100

/**
 * struct writer - a process that prints
 * @line, @len: what it printed of a line
 * @goes_on: pieces of the line are recorded already
 * @severity: of the line, once a piece was recorded
 * @at: when it printed last, on the boot clock
 */
struct writer {
	pid_t pid;
	uid_t uid;
	char comm[16];
	char line[TEXT_MAX];
	size_t len;
	bool goes_on;
	int severity;
	uint64_t at;
};

struct run {
	const char *channel;
	int severity;
	struct flightrec *handle;	/* open while lines come */
	uint64_t used, refused;		/* when it was, or could not be opened */
	int said;			/* the error that was said last */
	unsigned long long printed;	/* lines that went to standard error */
	int socket, signals;
	pid_t child;
	int status;			/* of waitpid(), with @ended */
	bool ended;
	struct writer writers[WRITERS];
};

/* ---- signals */

/* What the terminal sent has reached the program as well. */
static void take_signal(struct run *run)
{
	struct signalfd_siginfo info;

	if (read(run->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (run->child <= 0 || run->ended)
		return;
	if (info.ssi_signo == SIGCHLD)
		run->ended = waitpid(run->child, &run->status, WNOHANG) == run->child;
	else if (info.ssi_code != SI_KERNEL)
		kill(run->child, info.ssi_signo);
}

/* Waits, but not for signals. */
static void pause_a_little(struct run *run)
{
	struct pollfd polled = { .fd = run->signals, .events = POLLIN };

	if (poll(&polled, 1, 10) > 0)
		take_signal(run);
}

/* ---- recording */

/* 0, or an error; the channel is not tried again before a second is over. */
static int open_channel(struct run *run)
{
	int err;

	if (run->handle)
		return 0;
	if (run->refused && boot_now() - run->refused < IDLE_NS)
		return run->said;
	err = flightrec_open(&run->handle, run->channel, FLIGHTREC_OPEN_WRITE);
	run->refused = err ? boot_now() : 0;
	return err;
}

static void close_channel(struct run *run)
{
	flightrec_close(run->handle);
	run->handle = NULL;
}

static bool may_pass(int err)
{
	return err == -EDQUOT || err == -ENOMEM || err == -ENOBUFS || err == -EAGAIN ||
	       err == -EINTR;
}

static int try_record(struct run *run, const struct iovec parts[3])
{
	int err = open_channel(run), i;
	ssize_t n = 0;

	for (i = 0; !err && i < TRIES; i++) {
		n = flightrec_writev(run->handle, parts, 3);
		if (n >= 0 || !may_pass(n))
			break;
		pause_a_little(run);
	}
	run->used = boot_now();
	if (!err && n < 0 && !may_pass(n))
		close_channel(run);
	return err ? err : n < 0 ? (int)n : 0;
}

static void say_refused(struct run *run, int err)
{
	if (run->said != err)
		complain("channel %s: %s; what the program prints is not recorded and comes here",
			 run->channel, channel_explain(run->channel, FLIGHTREC_OPEN_WRITE, err));
	run->said = err;
}

static void record(struct run *run, int severity, const char *who, const char *text, size_t len)
{
	const char prefix[3] = { '<', '0' + severity, '>' };
	struct iovec parts[3] = {
		{ (void *)prefix, sizeof(prefix) },
		{ (void *)who, strlen(who) },
		{ (void *)text, len },
	};
	int err = try_record(run, parts);

	if (!err) {
		run->said = 0;
		return;
	}
	say_refused(run, err);
	run->printed++;
	fwrite(text, 1, len, stderr);
	fputc('\n', stderr);
}

/* ---- lines */

/* Of a name, which is a claim, what cannot be taken for the end of it. */
static void clean(char *name)
{
	for (; *name; name++)
		if (*name <= ' ' || *name >= 0x7f || strchr("[]:<>", *name))
			*name = '_';
}

/* What the process is called now; one that has ended keeps its name. */
static void look_at(struct writer *writer)
{
	char path[32], name[sizeof(writer->comm)];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/comm", (int)writer->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, name, sizeof(name));
	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	/* It ends in a newline. */
	name[n - 1] = '\0';
	clean(name);
	strcpy(writer->comm, name);
}

/* Bytes at the end of a text that are the beginning of a character of UTF-8. */
static size_t cut_character(const char *text, size_t len)
{
	size_t back, need;
	unsigned char c;

	for (back = 1; back <= 3 && back <= len; back++) {
		c = text[len - back];
		if ((c & 0xc0) == 0x80)
			continue;
		need = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
		return need > back ? back : 0;
	}
	return 0;
}

/* Records what a writer has of a line; @more: the rest of it comes later. */
static void end_piece(struct run *run, struct writer *writer, bool more)
{
	size_t rest = more ? cut_character(writer->line, writer->len) : 0;
	size_t len, skip = 0;
	char who[WHO_MAX], user[24] = "";

	/* Nothing but that: then as it is. */
	if (rest == writer->len)
		rest = 0;
	len = writer->len - rest;
	if (!writer->goes_on) {
		writer->severity = run->severity;
		if (len >= 3 && writer->line[0] == '<' && writer->line[2] == '>' &&
		    writer->line[1] >= '0' && writer->line[1] <= '7') {
			writer->severity = writer->line[1] - '0';
			skip = 3;
		}
	}
	if (writer->uid != getuid())
		snprintf(user, sizeof(user), " uid %u", writer->uid);
	snprintf(who, sizeof(who), "%s[%d%s]%s%s: ", writer->comm, (int)writer->pid, user,
		 writer->goes_on ? "+" : "", more ? ">" : "");
	record(run, writer->severity, who, writer->line + skip, len - skip);
	memmove(writer->line, writer->line + len, rest);
	writer->len = rest;
	writer->goes_on = more;
}

/* The one of a process; of all that are taken, the one that was silent for longest goes. */
static struct writer *writer_of(struct run *run, const struct ucred *who)
{
	struct writer *oldest = &run->writers[0], *writer;

	for (writer = run->writers; writer < run->writers + WRITERS; writer++) {
		if (writer->at && writer->pid == who->pid && writer->uid == who->uid)
			return writer;
		if (writer->at < oldest->at)
			oldest = writer;
	}
	if (oldest->len)
		end_piece(run, oldest, false);
	*oldest = (struct writer) { .pid = who->pid, .uid = who->uid, .comm = "?" };
	return oldest;
}

static void take_bytes(struct run *run, const struct ucred *who, const char *bytes, size_t len)
{
	struct writer *writer = writer_of(run, who);
	const char *end;
	size_t n;

	look_at(writer);
	writer->at = boot_now();
	while (len) {
		end = memchr(bytes, '\n', len);
		n = end ? (size_t)(end - bytes) : len;
		if (n > TEXT_MAX - writer->len)
			n = TEXT_MAX - writer->len;
		memcpy(writer->line + writer->len, bytes, n);
		writer->len += n;
		bytes += n;
		len -= n;
		if (len && *bytes == '\n') {
			end_piece(run, writer, false);
			bytes++;
			len--;
		} else if (len) {
			end_piece(run, writer, true);
		}
	}
}

/* Half a line is better than none, should the machine die now. */
static void end_pieces(struct run *run, bool all)
{
	uint64_t now = boot_now();
	struct writer *writer;

	for (writer = run->writers; writer < run->writers + WRITERS; writer++)
		if (writer->len && (all || now - writer->at >= IDLE_NS))
			end_piece(run, writer, !all);
	if (run->handle && now - run->used >= IDLE_NS)
		close_channel(run);
}

static bool anything_open(const struct run *run)
{
	const struct writer *writer;

	for (writer = run->writers; writer < run->writers + WRITERS; writer++)
		if (writer->len)
			return true;
	return run->handle;
}

/* ---- the program */

/* Takes what was printed: true, or false if there is nothing now; at the end @socket is -1. */
static bool take_output(struct run *run)
{
	static char bytes[65536];
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(sizeof(struct ucred))];
	} control;
	struct iovec part = { bytes, sizeof(bytes) };
	struct msghdr message = {
		.msg_iov = &part,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	struct ucred who = { .pid = run->child, .uid = getuid() };
	struct cmsghdr *head;
	ssize_t n = recvmsg(run->socket, &message, MSG_CMSG_CLOEXEC);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n <= 0) {
		close(run->socket);
		run->socket = -1;
		return false;
	}
	head = CMSG_FIRSTHDR(&message);
	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_CREDENTIALS)
		memcpy(&who, CMSG_DATA(head), sizeof(who));
	take_bytes(run, &who, bytes, n);
	return true;
}

static void pump(struct run *run)
{
	while (run->socket >= 0 && !run->ended) {
		struct pollfd polled[] = {
			{ .fd = run->signals, .events = POLLIN },
			{ .fd = run->socket, .events = POLLIN },
		};

		if (poll(polled, 2, anything_open(run) ? (int)(IDLE_NS / 1000000) : -1) < 0 &&
		    errno != EINTR)
			break;
		if (polled[1].revents)
			take_output(run);
		if (polled[0].revents)
			take_signal(run);
		end_pieces(run, false);
	}
}

/* It closed its output, and goes on: only signals are left. */
static void wait_for_end(struct run *run)
{
	struct pollfd polled = { .fd = run->signals, .events = POLLIN };

	end_pieces(run, true);
	close_channel(run);
	while (!run->ended)
		if (poll(&polled, 1, -1) > 0)
			take_signal(run);
}

/*
 * The program has ended; all that it printed is there. What it left running may print for
 * ever: that is recorded by a process of its own, which ends with the last of them.
 */
static void after_the_end(struct run *run)
{
	struct writer *writer;
	int pieces = 0;

	while (run->socket >= 0 && pieces++ < 4096 && take_output(run))
		;
	for (writer = run->writers; writer < run->writers + WRITERS; writer++)
		if (writer->len)
			end_piece(run, writer, run->socket >= 0 && writer->pid != run->child);
	if (run->socket < 0 || fork())
		return;
	run->ended = false;
	run->child = 0;
	run->printed = 0;
	close_channel(run);
	pump(run);
	end_pieces(run, true);
	_exit(0);
}

/* ---- starting and ending */

static const int passed_on[] = { SIGHUP,  SIGINT,  SIGQUIT, SIGTERM,
				 SIGUSR1, SIGUSR2, SIGALRM, SIGWINCH };

/* From now on they come through a descriptor: it, or -1. @before: as they were. */
static int take_over_signals(sigset_t *before)
{
	sigset_t mask;
	size_t i;

	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	for (i = 0; i < sizeof(passed_on) / sizeof(*passed_on); i++)
		sigaddset(&mask, passed_on[i]);
	if (sigprocmask(SIG_BLOCK, &mask, before))
		return -1;
	/* One may have been taken while a record was tried again. */
	return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* In the child: becomes the program, or hands the reason to @report. */
static void become(char **program, int output, int report, const sigset_t *mask)
{
	int err;

	if (dup2(output, STDOUT_FILENO) >= 0 && dup2(output, STDERR_FILENO) >= 0) {
		sigprocmask(SIG_SETMASK, mask, NULL);
		signal(SIGPIPE, sigpipe_before);
		execvp(program[0], program);
	}
	err = errno;
	if (write(report, &err, sizeof(err)) != sizeof(err))
		_exit(EXIT_NOT_RUN);
	_exit(err == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN);
}

/* 0, or the exit status after saying why not. */
static int start(struct run *run, char **program)
{
	int ends[2], report[2], on = 1, err = 0;
	sigset_t before;

	run->signals = take_over_signals(&before);
	if (run->signals < 0 || pipe2(report, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) ||
	    setsockopt(ends[0], SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) ||
	    fcntl(ends[0], F_SETFL, O_NONBLOCK) || shutdown(ends[0], SHUT_WR)) {
		complain("%s: %s", program[0], strerror(errno));
		return EXIT_NOT_RUN;
	}
	run->socket = ends[0];
	run->child = fork();
	if (!run->child)
		become(program, ends[1], report[1], &before);
	err = run->child < 0 ? errno : 0;
	close(ends[1]);
	close(report[1]);
	if (!err && read(report[0], &err, sizeof(err)) != sizeof(err))
		err = 0;
	close(report[0]);
	if (!err)
		return 0;
	complain("%s: %s", program[0], strerror(err));
	return err == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
}

/* Ends as the program ended: who waits for this process sees no difference. */
static int end_as(int status)
{
	static const struct rlimit no_core;
	sigset_t mask;
	int number;

	if (WIFEXITED(status))
		return WEXITSTATUS(status);
	number = WTERMSIG(status);
	/* The program has left one, if there is one. */
	setrlimit(RLIMIT_CORE, &no_core);
	signal(number, SIG_DFL);
	sigemptyset(&mask);
	sigaddset(&mask, number);
	sigprocmask(SIG_UNBLOCK, &mask, NULL);
	raise(number);
	return 128 + number;
}

/* The stamp has this process's name: that of the program says more. */
static int set_name(const char *tag, const char *program)
{
	const char *slash = strrchr(program, '/');
	char name[16];

	if (tag && (!*tag || strlen(tag) >= sizeof(name))) {
		complain("\"%s\" is no tag: it has 1 to %zu bytes, as the kernel keeps them", tag,
			 sizeof(name) - 1);
		return EXIT_USAGE;
	}
	snprintf(name, sizeof(name), "%s", tag ? tag : slash ? slash + 1 : program);
	prctl(PR_SET_NAME, name);
	return EXIT_YES;
}

static int run_program(struct run *run, char **program)
{
	int err = open_channel(run);
	int status;

	if (err == -EINVAL)
		return channel_open(&run->handle, run->channel, FLIGHTREC_OPEN_WRITE);
	if (err)
		say_refused(run, err);
	status = start(run, program);
	if (status)
		return status;
	pump(run);
	if (!run->ended)
		wait_for_end(run);
	else
		after_the_end(run);
	close_channel(run);
	if (run->printed)
		complain("channel %s: %llu lines were not recorded, but printed here", run->channel,
			 run->printed);
	return end_as(run->status);
}

int command_run(int argc, char **argv)
{
	static const struct option options[] = {
		{ "channel", required_argument, NULL, 'c' },
		{ "priority", required_argument, NULL, 'p' },
		{ "severity", required_argument, NULL, 'p' },
		{ "tag", required_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static struct run run = { .severity = FLIGHTREC_SEVERITY_DEFAULT };
	const char *tag = NULL;
	int opt, status;

	/* "+": what follows the program is the program's. */
	while ((opt = getopt_long(argc, argv, "+:c:p:t:h", options, NULL)) != -1) {
		switch (opt) {
		case 'c':
			if (channel_once("run", &run.channel, optarg))
				return EXIT_USAGE;
			break;
		case 'p':
			run.severity = severity_parse(optarg);
			if (run.severity < 0) {
				complain("\"%s\" is not a severity: 0 to 7, or a name as err or info",
					 optarg);
				return EXIT_USAGE;
			}
			break;
		case 't':
			tag = optarg;
			break;
		case 'h':
			fputs(help, stdout);
			return EXIT_YES;
		default:
			return bad_option("run", argv, opt);
		}
	}
	if (optind == argc) {
		complain("run: no program is named; see \"flightrec run --help\"");
		return EXIT_USAGE;
	}
	if (!run.channel)
		run.channel = "default";
	status = set_name(tag, argv[optind]);
	return status ? status : run_program(&run, argv + optind);
}
