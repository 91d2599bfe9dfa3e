// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * journald by its native socket: a datagram per message, which a daemon reads,
 * completes with what it finds about the sender, and stores. Counted is the time
 * that both have run, in nanoseconds, which are instructions (see bench.h): the
 * waiting in between, and whatever else a full system does, is not.
 *
 * Every message is looked for in the journal afterwards.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <ctype.h>
#include <dirent.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SOCKET "/run/systemd/journal/socket"
#define DAEMON "systemd-journal"	/* as much of its name as a task has */
#define MESSAGES 128
#define BATCHES 3

static const struct timespec moment = { 0, 20000000 };

static int connect_journald(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	NEED(fd >= 0);
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		DIE("connect " SOCKET);
	return fd;
}

static int find_daemon(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char path[300], name[32];
	FILE *file;
	int pid = 0;

	NEED(proc);
	while (!pid && (entry = readdir(proc))) {
		if (!isdigit(entry->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/%s/comm", entry->d_name);
		file = fopen(path, "r");
		if (!file)
			continue;	/* it has ended meanwhile */
		if (fgets(name, sizeof(name), file) && !strcmp(name, DAEMON "\n"))
			pid = atoi(entry->d_name);
		fclose(file);
	}
	closedir(proc);
	if (!pid)
		DIE("no process \"" DAEMON "\"");
	return pid;
}

/* Nanoseconds that a process has run. */
static uint64_t time_of(int pid)
{
	unsigned long long ns;
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/schedstat", pid);
	file = fopen(path, "r");
	if (!file)
		DIE("open %s", path);
	NEED(fscanf(file, "%llu", &ns) == 1);
	fclose(file);
	return ns;
}

static uint64_t own_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* Until nothing is left in the socket, and the daemon sleeps for good. */
static void wait_stored(int fd, int daemon)
{
	uint64_t before, now = time_of(daemon);
	int left, quiet = 0;

	while (quiet < 3) {
		before = now;
		nanosleep(&moment, NULL);
		now = time_of(daemon);
		NEED(!ioctl(fd, SIOCOUTQ, &left));
		quiet = left || now != before ? 0 : quiet + 1;
	}
}

static void send_batch(int fd, const char *message, size_t size)
{
	long got;
	int i;

	for (i = 0; i < MESSAGES; i++) {
		got = sys6(SYS_sendto, fd, (long)message, size, 0, 0, 0);
		if (got != (long)size)
			DIE("a message of %zu bytes: sendto returned %ld", size, got);
	}
}

/* How many messages of this process the journal has. */
static unsigned int stored(void)
{
	char command[128];
	unsigned int n = 0;
	FILE *listing;

	snprintf(command, sizeof(command), "journalctl --quiet --output=cat _PID=%d | wc -l", getpid());
	listing = popen(command, "r");
	NEED(listing && fscanf(listing, "%u", &n) == 1);
	NEED(!pclose(listing));
	return n;
}

static void measure(size_t bytes, int daemon)
{
	double sender[BATCHES], whole[BATCHES];
	char message[SIZE_MAX_BYTES + 32];
	int fd = connect_journald();
	int size, i;

	size = sprintf(message, "PRIORITY=6\nMESSAGE=%0*d\n", (int)bytes, 0);
	for (i = -1; i < BATCHES; i++) {	/* the first warms up */
		uint64_t own = own_time(), other = time_of(daemon);

		send_batch(fd, message, size);
		own = own_time() - own;
		wait_stored(fd, daemon);
		other = time_of(daemon) - other;
		if (i < 0)
			continue;
		sender[i] = (double)own / MESSAGES;
		whole[i] = (double)(own + other) / MESSAGES;
	}
	if (stored() != (BATCHES + 1) * MESSAGES)
		DIE("%zu bytes: %u messages of %u in the journal", bytes, stored(),
		    (BATCHES + 1) * MESSAGES);
	bench_result("journald", bytes, bench_median(whole, BATCHES));
	bench_result("journald_sender", bytes, bench_median(sender, BATCHES));
	close(fd);
}

/* bench journald: a process for each size, because the journal is asked by process. */
int journald_main(int argc, char **argv)
{
	int daemon = find_daemon();
	int size, status;
	pid_t child;

	(void)argc;
	(void)argv;
	bench_settle();
	for (size = 0; size < 4; size++) {
		child = fork();
		NEED(child >= 0);
		if (!child) {
			measure(bench_sizes[size], daemon);
			exit(0);
		}
		NEED(waitpid(child, &status, 0) == child && !status);
	}
	return 0;
}
