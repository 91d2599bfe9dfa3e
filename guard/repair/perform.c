// SPDX-License-Identifier: GPL-2.0-or-later
/* The commands of steps are run here: one after the other, none without a bound. */
#include "guard/repair/perform.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/say.h"
#include "guard/base/util.h"

#define WORDS_MAX 24
#define PACKAGE_SECONDS (30 * 60)
#define COMMAND_SECONDS (60 * 60)	/* dkms builds some drivers for half an hour */
#ifdef KMODKEEP_TESTING
#define LOCK_SECONDS 2
#else
#define LOCK_SECONDS 300
#endif

/* The process that has a file of a package manager locked; 0: none. */
static pid_t holder_of(const struct host *h, const char *file)
{
	struct flock l = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
	char *path = host_path(h, file);
	int fd = path ? open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK) : -1;
	pid_t pid = 0;

	if (fd >= 0 && !fcntl(fd, F_GETLK, &l) && l.l_type != F_UNLCK)
		pid = l.l_pid > 0 ? l.l_pid : 1;
	if (fd >= 0)
		close(fd);
	free(path);
	return pid;
}

/* dpkg ends at once where another one works; apt may wait for ever. */
static int await_others(const struct host *h, char said[256])
{
	static const char *const locks[] = {
		"/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock",
		"/usr/lib/sysimage/rpm/.rpm.lock", "/var/lib/rpm/.rpm.lock",
	};
	pid_t pid = 0;

	for (int second = 0; second < LOCK_SECONDS; second++) {
		pid = 0;
		for (size_t i = 0; i < ARRAY_SIZE(locks) && !pid; i++)
			pid = holder_of(h, locks[i]);
		if (!pid)
			return 0;
		if (second == 1)
			complain(0, "waiting for process %d, another package manager, for %d "
				 "seconds at most", (int)pid, LOCK_SECONDS);
		poll(NULL, 0, 1000);
	}
	snprintf(said, 256, "process %d, another package manager, was still at work after %d "
		 "seconds", (int)pid, LOCK_SECONDS);
	return -EIO;
}

/* This program, or the host's own; malloc'ed, NULL: it is not there. */
static char *program_of(const struct host *h, const char *name)
{
	const char *const names[] = { name, NULL };
	char self[PATH_MAX];
	ssize_t n;

	if (strcmp(name, "kmodkeep"))
		return host_tool(h, names);
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	if (n < 0)
		return NULL;
	self[n] = '\0';
	return strdup(self);
}

/* Splits words at their blanks; *count of them, at most WORDS_MAX. */
static void split(char *text, char **words, size_t *count)
{
	char *word, *rest = text;

	while (*count < WORDS_MAX && (word = strsep(&rest, " ")))
		if (*word)
			words[(*count)++] = word;
}

static int run_one(const struct performing *p, const struct step *s, char *command,
		   char said[256])
{
	struct run_how how = {
		.seconds = cause_packages(s->cause) ? PACKAGE_SECONDS : COMMAND_SECONDS,
		.log_fd = p->log_fd, .keep_fd = p->lock_fd,
	};
	/* Nobody can answer a question of a package's. */
	char *argv[WORDS_MAX + 6] = {
		(char *)"/usr/bin/env", (char *)"DEBIAN_FRONTEND=noninteractive",
	};
	void (*hangup)(int), (*interrupt)(int);
	struct run_result run;
	size_t n = 2;
	char *program;
	int err;

	split(command, argv, &n);
	program = n > 2 ? program_of(p->h, argv[2]) : NULL;
	if (!program) {
		snprintf(said, 256, "%.60s is not installed here", n > 2 ? argv[2] : command);
		return -EIO;
	}
	if (!host_is_live(p->h) && !strcmp(argv[2], "kmodkeep")) {
		argv[n++] = (char *)"--root";
		argv[n++] = (char *)host_root(p->h);
	}
	argv[2] = program;
	/* Who reads what it prints must outlive it: its next line would end it. */
	hangup = signal(SIGHUP, SIG_IGN);
	interrupt = signal(SIGINT, SIG_IGN);
	err = run_program_as(argv, &how, &run);
	signal(SIGHUP, hangup);
	signal(SIGINT, interrupt);
	free(program);
	if (!err && run.exit_code == 0)
		return 0;
	snprintf(said, 256, "%s", err ? strerror(-err) :
		 run.timed_out ? "it did not end in time, and was ended" :
		 *run.last_line ? run.last_line : "it failed without a word");
	return -EIO;
}

int perform(const struct performing *p, const struct step *s, char said[256])
{
	char *all = strdup(s->command), *rest = all, *end;
	int err = all ? 0 : -ENOMEM;

	*said = '\0';
	/* Their scripts run dkms and make an initramfs as well. */
	if (!err)
		err = await_others(p->h, said);
	while (!err && rest) {
		end = strstr(rest, ADVICE_AND);
		if (end)
			*end = '\0';
		err = run_one(p, s, rest, said);
		rest = end ? end + strlen(ADVICE_AND) : NULL;
	}
	free(all);
	return err;
}
