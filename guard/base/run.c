// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Programs that are run, each in a process group of its own, so that one that
 * does not end is ended with all that it started.
 */
#include "guard/base/run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/util.h"

#define SYSTEM_PATH "PATH=/usr/sbin:/usr/bin:/sbin:/bin"

/* A file without a name that holds the text, to be read from its start; -1: failed. */
static int input_file(const char *text)
{
	size_t len = strlen(text);
	int fd = memfd_create("input", 0);

	if (fd >= 0 && (write(fd, text, len) != (ssize_t)len || lseek(fd, 0, SEEK_SET) < 0)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static void child(char *const argv[], const struct run_how *how, int output)
{
	static char *const environment[] = {
		(char *)SYSTEM_PATH, (char *)"LC_ALL=C", NULL,
	};
	int input = how->input ? input_file(how->input) : open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	/* A signal of the terminal does not reach the group that it has now. */
	if (how->ends_with_caller)
		prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (input < 0 || dup2(input, 0) < 0 || dup2(output, 2) < 0 ||
	    dup2(how->output_fd ? how->output_fd : output, 1) < 0)
		_exit(126);
	if (how->keep_fd >= 0)
		fcntl(how->keep_fd, F_SETFD, 0);
	if (how->dir && chdir(how->dir) < 0) {
		dprintf(2, "%s: %s\n", how->dir, strerror(errno));
		_exit(126);
	}
	if (how->callers_environment) {
		putenv((char *)"LC_ALL=C");
		execvp(argv[0], argv);
	} else {
		/* execvpe() searches the path of this process. */
		putenv((char *)SYSTEM_PATH);
		execvpe(argv[0], argv, environment);
	}
	dprintf(2, "%s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

/* Where in a line the output stands. */
struct place {
	bool starts;		/* before its first character that is no blank */
	bool indented;
};

/*
 * Keeps the last line that has something in it, as output comes in. One that
 * starts with a blank goes on with the one before it: dpkg names each package
 * that failed in a line of its own.
 */
static void keep_last_line(char line[256], struct place *at, const char *p,
			   size_t n)
{
	size_t len = strlen(line);

	for (; n--; p++) {
		if (*p == '\n' || *p == '\r' || !*p) {
			*at = (struct place){ .starts = true };
			continue;
		}
		if (at->starts && (*p == ' ' || *p == '\t')) {
			at->indented = true;
			continue;
		}
		if (at->starts && !at->indented)
			len = 0;
		else if (at->starts && len && len < 255)
			line[len++] = ' ';
		at->starts = false;
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

/* A full disk does not stop the program: it says itself what it minds. */
static void copy_to_log(int fd, const char *p, ssize_t n)
{
	while (fd >= 0 && n > 0) {
		ssize_t done = write(fd, p, n);

		if (done < 0 && errno != EINTR)
			return;
		p += done > 0 ? done : 0;
		n -= done > 0 ? done : 0;
	}
}

/* Reads what is there; false at the end of the output. */
static bool drain(int fd, int log_fd, struct run_result *out, struct place *at)
{
	char chunk[4096];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) > 0) {
		keep_last_line(out->last_line, at, chunk, n);
		copy_to_log(log_fd, chunk, n);
	}
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/*
 * Until the program ends, not until its output does: something it left in the
 * background may hold that open for ever.
 */
static bool wait_for(pid_t pid, int fd, int log_fd, double until,
		     struct run_result *out, int *status)
{
	struct pollfd p[] = {
		{ .fd = fd, .events = POLLIN },
		/* Readable when it ends; older kernels are asked now and then. */
		{ .fd = syscall(SYS_pidfd_open, pid, 0), .events = POLLIN },
	};
	struct place at = { .starts = true };
	bool done = false;

	do {
		poll(p, 2, 100);
		if (p[0].fd >= 0 && !drain(fd, log_fd, out, &at))
			p[0].fd = -1;
		done = waitpid(pid, status, WNOHANG) == pid;
	} while (!done && now() < until);
	if (done)
		drain(fd, log_fd, out, &at);
	if (p[1].fd >= 0)
		close(p[1].fd);
	return done;
}

int run_program(char *const argv[], unsigned int seconds,
		struct run_result *out)
{
	const struct run_how how = {
		.seconds = seconds, .log_fd = -1, .keep_fd = -1,
	};

	return run_program_as(argv, &how, out);
}

int run_program_as(char *const argv[], const struct run_how *how,
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
		child(argv, how, pipefd[1]);
	err = pid < 0 ? -errno : 0;
	close(pipefd[1]);
	if (err) {
		close(pipefd[0]);
		return err;
	}
	setpgid(pid, pid);
	if (!wait_for(pid, pipefd[0], how->log_fd, now() + how->seconds, out,
		      &status)) {
		out->timed_out = 1;
		kill(-pid, SIGKILL);
		/* One stuck in the kernel does not die: leave it there. */
		wait_for(pid, pipefd[0], how->log_fd, now() + 5, out, &status);
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

	setpgid(0, 0);
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

/* Milliseconds that are left; 0: none. */
static int time_left(double until)
{
	double left = (until - now()) * 1000;

	return left > 0 ? (int)left + 1 : 0;
}

static int read_output(int fd, double until, size_t max, struct buf *out)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
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
		if (!time_left(until))
			return -ETIMEDOUT;
		if (poll(&p, 1, time_left(until)) <= 0)
			continue;
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

/* One that closed its output may still not end; one in the kernel cannot. */
static int wait_until(pid_t pid, double until, int *status)
{
	while (waitpid(pid, status, WNOHANG) != pid) {
		if (!time_left(until))
			return -ETIMEDOUT;
		poll(NULL, 0, 10);
	}
	return 0;
}

int run_output(char *const argv[], unsigned int seconds, size_t max,
	       struct buf *out)
{
	double until = now() + seconds;
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
	err = pid < 0 ? -errno : read_output(pipefd[0], until, max, out);
	close(pipefd[0]);
	if (pid > 0) {
		setpgid(pid, pid);
		if (!err)
			err = wait_until(pid, until, &status);
		if (err) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
			wait_until(pid, now() + 5, &status);
		}
	}
	if (!err && !(WIFEXITED(status) && WEXITSTATUS(status) == 0))
		err = WIFEXITED(status) && WEXITSTATUS(status) == 127 ?
		      -ENOENT : -EIO;
	if (err)
		buf_free(out);
	return err;
}
