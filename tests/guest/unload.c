// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The driver is loaded and unloaded without end while others come and go:
 * each unload is refused or safe. Runs with the modules in /modules, none of
 * them loaded. Lasts UNLOAD_SECONDS (3).
 */
#include "harness.h"

#include <sys/epoll.h>

#define CORE "/modules/flightrec.ko"
#define PARAMS "channels=default,small size_kb=256,256 events=none quota=67108864"

static volatile bool *stop;

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* -1 if it is not there, or just about to come or to go. */
static int try_open(const char *path, int flags)
{
	int fd = open(path, flags);

	if (fd < 0 && errno != ENOENT && errno != ENXIO && errno != ENODEV && errno != EINVAL)
		FAIL("open %s: %s", path, strerror(errno));
	return fd;
}

static void writer(int round)
{
	int fd = try_open("/dev/flightrec/default", O_WRONLY), i;

	for (i = 0; fd >= 0 && i < 1 + round % 50; i++)
		guest_write(fd, "while others unload");
	close(fd);
}

static void reader(int round)
{
	static char buf[16384];
	int fd = try_open("/dev/flightrec/default", O_RDONLY | O_NONBLOCK);
	struct flightrec_info info;

	if (fd < 0)
		return;
	CHECK(read(fd, buf, sizeof(buf)) > 0 || errno == EAGAIN);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	if (round % 8 == 0)
		CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	close(fd);
}

/* Leaves its descriptor to a set that goes a moment later. */
static void poller(int round)
{
	struct epoll_event event = { .events = EPOLLIN };
	struct pollfd p = { .events = POLLIN };
	int set = epoll_create1(0);

	p.fd = try_open("/dev/flightrec/default", O_RDONLY);
	if (p.fd >= 0) {
		CHECK(!lseek(p.fd, 0, SEEK_END));
		CHECK(poll(&p, 1, round % 4) >= 0);
		CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, p.fd, &event));
		CHECK(epoll_wait(set, &event, 1, round % 3) >= 0);
		close(p.fd);
	}
	close(set);
}

static void proc_user(int round)
{
	static const char * const files[] = {
		"/proc/flightrec/default", "/proc/flightrec/stats", "/proc/flightrec/selftest",
	};
	int fd = try_open(files[round % 3], O_RDONLY);
	char buf[4096];

	if (fd < 0)
		return;
	CHECK(read(fd, buf, sizeof(buf)) >= 0);
	close(fd);
	fd = try_open("/proc/flightrec/default", O_WRONLY);
	if (fd >= 0)
		guest_write(fd, "by procfs");
	close(fd);
}

/* Parameters are written while the module comes and goes. */
static void tuner(int round)
{
	int fd = try_open("/sys/module/flightrec/parameters/quota", O_WRONLY);

	if (fd >= 0 && write(fd, round % 2 ? "0" : "67108864", round % 2 ? 1 : 8) < 0)
		CHECK(errno == ENODEV || errno == ENOENT);
	close(fd);
}

static void (* const users[])(int round) = { writer, reader, poller, proc_user, tuner };

#define USERS (sizeof(users) / sizeof(*users))

static pid_t start_user(size_t i)
{
	pid_t pid = fork();
	int round;

	CHECK(pid >= 0);
	if (pid)
		return pid;
	for (round = 0; !*stop; round++) {
		users[i](round);
		if (round % 16 == 0)
			guest_sleep_ms(1 + i);
	}
	exit(0);
}

static void unload_storm(void)
{
	const char *seconds = getenv("UNLOAD_SECONDS");
	long long until = now_ms() + 1000LL * (seconds ? atoi(seconds) : 3);
	int loads = 0, unloads = 0, refused = 0, status, err;
	pid_t pids[USERS];
	size_t i;

	stop = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(stop != MAP_FAILED);
	for (i = 0; i < USERS; i++)
		pids[i] = start_user(i);
	while (now_ms() < until || unloads < 3) {
		err = guest_load(CORE, PARAMS);
		CHECK(!err);
		loads++;
		while ((err = guest_unload("flightrec"))) {
			CHECK(err == -EAGAIN || err == -EBUSY);
			refused++;
			usleep(200);
		}
		unloads++;
	}
	*stop = true;
	for (i = 0; i < USERS; i++) {
		CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
		CHECK_EQ(status, 0);
	}
	printf("# %d loads, %d unloads, %d refused\n", loads, unloads, refused);
	CHECK(refused > 0);
	CHECK(access("/proc/flightrec", F_OK) == -1);
	CHECK(access("/dev/flightrec/default", F_OK) == -1);
}

static const struct guest_case cases[] = {
	{ "unload-storm", unload_storm },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 600);
}
