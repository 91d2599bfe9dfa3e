// SPDX-License-Identifier: GPL-2.0-only
#include "guard/base/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/util.h"

#define SYSTEM_PATH "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

static void child(char *const argv[], int output)
{
	static char *const environment[] = {
		(char *)SYSTEM_PATH, (char *)"LC_ALL=C", NULL,
	};
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 ||
	    dup2(output, 2) < 0)
		_exit(126);
	/* execvpe() searches the path of this process. */
	putenv((char *)SYSTEM_PATH);
	execvpe(argv[0], argv, environment);
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Keeps the last line that has something in it, as output comes in. */
static void keep_last_line(char line[256], bool *ended, const char *p,
			   size_t n)
{
	size_t len = strlen(line);

	for (; n--; p++) {
		if (*p == '\n' || *p == '\r' || !*p) {
			*ended = true;
			continue;
		}
		if (*ended) {
			len = 0;
			*ended = false;
		}
		if (len < 255)
			line[len++] = *p;
		line[len] = '\0';
	}
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/* Reads what is there; false at the end of the output. */
static bool drain(int fd, struct run_result *out, bool *ended)
{
	char chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0)
		keep_last_line(out->last_line, ended, chunk, n);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/*
 * Until the program ends, not until its output does: something it left in the
 * background may hold that open for ever.
 */
static bool wait_for(pid_t pid, int fd, double until, struct run_result *out,
		     int *status)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool ended = false;

	for (;;) {
		poll(&p, 1, 100);
		if (p.fd >= 0 && !drain(fd, out, &ended))
			p.fd = -1;
		if (waitpid(pid, status, WNOHANG) == pid) {
			drain(fd, out, &ended);
			return true;
		}
		if (now() >= until)
			return false;
	}
}

int run_program(char *const argv[], unsigned int seconds,
		struct run_result *out)
{
	int pipefd[2], status = 0, err;
	pid_t pid;

	memset(out, 0, sizeof(*out));
	out->exit_code = -1;
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return -errno;
	fcntl(pipefd[0], F_SETFL, O_NONBLOCK);
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		child(argv, pipefd[1]);
	err = pid < 0 ? -errno : 0;
	close(pipefd[1]);
	if (err) {
		close(pipefd[0]);
		return err;
	}
	setpgid(pid, pid);
	if (!wait_for(pid, pipefd[0], now() + seconds, out, &status)) {
		out->timed_out = 1;
		kill(-pid, SIGKILL);
		/* One stuck in the kernel does not die: leave it there. */
		wait_for(pid, pipefd[0], now() + 5, out, &status);
	} else if (WIFEXITED(status)) {
		out->exit_code = WEXITSTATUS(status);
	} else if (WIFSIGNALED(status)) {
		out->signal = WTERMSIG(status);
	}
	kill(-pid, SIGKILL);
	close(pipefd[0]);
	make_printable(out->last_line);
	return 0;
}

static void quiet_child(char *const argv[], int output)
{
	int null = open("/dev/null", O_WRONLY);

	if (null < 0 || dup2(null, 2) < 0)
		_exit(126);
	close(null);
	null = open("/dev/null", O_RDONLY);
	if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0)
		_exit(126);
	putenv((char *)SYSTEM_PATH);
	putenv((char *)"LC_ALL=C");
	execvp(argv[0], argv);
	_exit(127);
}

static int read_output(int fd, size_t max, struct buf *out)
{
	size_t room = 0;

	for (;;) {
		unsigned char *bigger;
		ssize_t n;

		if (out->len == room) {
			room = room ? 2 * room : 65536;
			bigger = realloc(out->data, room);
			if (!bigger)
				return -ENOMEM;
			out->data = bigger;
		}
		n = read(fd, out->data + out->len, room - out->len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n ? -errno : 0;
		out->len += n;
		if (out->len > max)
			return -EFBIG;
	}
}

int run_output(char *const argv[], size_t max, struct buf *out)
{
	int pipefd[2], status = 0, err;
	pid_t pid;

	memset(out, 0, sizeof(*out));
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return -errno;
	fflush(NULL);
	pid = fork();
	if (pid == 0)
		quiet_child(argv, pipefd[1]);
	close(pipefd[1]);
	err = pid < 0 ? -errno : read_output(pipefd[0], max, out);
	close(pipefd[0]);
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (!err && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		err = WIFEXITED(status) && WEXITSTATUS(status) == 127 ?
		      -ENOENT : -EIO;
	if (err)
		buf_free(out);
	return err;
}
