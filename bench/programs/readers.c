// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a write costs beside readers: descriptors that are open and idle,
 * processes that wait in poll(2), and an epoll set that nobody waits on.
 */
#include "bench.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CHANNEL "/dev/flightrec/default"
#define MANY 100

/* Long enough to see what happens once in a millisecond. */
#define WINDOW_INSTRUCTIONS 10000000ULL
#define WINDOW_WRITES 50

static const int numbers[] = { 0, 1, 10, MANY };

static int open_reader(int flags)
{
	int fd = open(CHANNEL, O_RDONLY | flags);

	if (fd < 0)
		DIE("open " CHANNEL);
	NEED(lseek(fd, 0, SEEK_END) == 0);
	return fd;
}

static void count_idle(const struct op *op, size_t bytes, int n)
{
	struct state *state = bench_open(op, bytes);
	int fds[MANY], i;
	char name[64];

	for (i = 0; i < n; i++)
		fds[i] = open_reader(0);
	snprintf(name, sizeof(name), "idle_readers_%d", n);
	bench_result(name, bytes, bench_count(op, state, 512));
	for (i = 0; i < n; i++)
		close(fds[i]);
	bench_close(state);
}

/* How often readers of the channel have been woken. */
static uint64_t wakeups(void)
{
	FILE *file = fopen("/proc/flightrec/stats", "r");
	char line[1024], *at = NULL;

	NEED(file);
	while (!at && fgets(line, sizeof(line), file))
		if (!strncmp(line, "channel=default ", 16))
			at = strstr(line, " wakeups=");
	fclose(file);
	NEED(at);
	return strtoull(at + 9, NULL, 10);
}

/* Instructions of this task alone, as nanoseconds that it has run. */
static uint64_t own_instructions(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/**
 * struct window - what happened in a while of writing without a pause
 * @writer: the writer's own instructions per write, those to wake others included
 * @all: instructions per write, whatever ran meanwhile
 * @wakeups: wake-ups per millisecond, the first one not counted
 */
struct window {
	double writer;
	double all;
	double wakeups;
};

static struct window over_a_window(const struct op *op, struct state *state)
{
	uint64_t woken = wakeups(), own = own_instructions();
	uint64_t start = now_instructions(), spent;
	unsigned int n = 0;

	do {
		op->run(state);
		n++;
		spent = now_instructions() - start;
	} while (spent < WINDOW_INSTRUCTIONS || n < WINDOW_WRITES);
	own = own_instructions() - own;
	woken = wakeups() - woken;
	return (struct window){
		.writer = (double)own / n,
		.all = (double)spent / n,
		.wakeups = woken ? (woken - 1) * 1e6 / spent : 0,
	};
}

static void count_epoll(const struct op *op, size_t bytes)
{
	struct state *state = bench_open(op, bytes);
	struct epoll_event event = { .events = EPOLLIN };
	int set = epoll_create1(0);
	int fds[MANY], i;

	NEED(set >= 0);
	for (i = 0; i < MANY; i++) {
		fds[i] = open_reader(0);
		NEED(!epoll_ctl(set, EPOLL_CTL_ADD, fds[i], &event));
	}
	bench_result("epoll_set_of_100", bytes, over_a_window(op, state).all);
	for (i = 0; i < MANY; i++)
		close(fds[i]);
	close(set);
	bench_close(state);
}

__attribute__((noreturn))
static void follow(void)
{
	static char into[65536];
	struct pollfd wait = { .fd = open_reader(O_NONBLOCK), .events = POLLIN };

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		poll(&wait, 1, -1);
		while (read(wait.fd, into, sizeof(into)) > 0)
			;
	}
}

static void count_waiting(const struct op *op, size_t bytes, int n)
{
	struct timespec settle = { 0, 50000000 };
	struct state *state = bench_open(op, bytes);
	pid_t children[MANY];
	struct window window;
	char name[64];
	int i;

	for (i = 0; i < n; i++) {
		children[i] = fork();
		NEED(children[i] >= 0);
		if (!children[i])
			follow();
	}
	nanosleep(&settle, NULL);	/* all of them are in poll now */
	window = over_a_window(op, state);
	snprintf(name, sizeof(name), "waiting_readers_%d", n);
	bench_result(name, bytes, window.all);
	snprintf(name, sizeof(name), "waiting_writer_%d", n);
	bench_result(name, bytes, window.writer);
	snprintf(name, sizeof(name), "waiting_wakeups_%d", n);
	bench_result(name, bytes, window.wakeups);
	for (i = 0; i < n; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	bench_close(state);
}

int readers_main(int argc, char **argv)
{
	const struct op *op = bench_op("flightrec_write");
	size_t size, i;

	(void)argc;
	(void)argv;
	bench_settle();
	for (size = 1; size < 3; size++)	/* 64 and 256 bytes */
		for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
			count_idle(op, bench_sizes[size], numbers[i]);
	for (i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		count_waiting(op, bench_sizes[1], numbers[i]);
	count_epoll(op, bench_sizes[1]);
	return 0;
}
