// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Channels that are created, resized and removed while the driver runs. Runs as abi.c does, as
 * root, and leaves the channels that it found.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <linux/netlink.h>
#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#define NODE "/dev/flightrec/run"

static struct flightrec_channel_setup setup_of(const char *name, unsigned long long kb)
{
	struct flightrec_channel_setup setup = { .size = kb * 1024 };

	strncpy(setup.name, name, sizeof(setup.name) - 1);
	return setup;
}

static int control(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = open("/dev/flightrec-control", O_RDWR | O_CLOEXEC);
	CHECK(fd >= 0);
	return fd;
}

static int create(struct flightrec_channel_setup *setup)
{
	return ioctl(control(), FLIGHTREC_IOC_CREATE, setup);
}

static int removed(const char *name)
{
	struct flightrec_channel_setup setup = setup_of(name, 0);

	return ioctl(control(), FLIGHTREC_IOC_REMOVE, &setup);
}

static int resize(struct flightrec_channel_setup *setup)
{
	return ioctl(control(), FLIGHTREC_IOC_RESIZE, setup);
}

static void make(const char *name)
{
	struct flightrec_channel_setup setup = setup_of(name, 256);

	CHECK_EQ(create(&setup), 0);
}

static void check_text(int fd, const char *text)
{
	struct guest_record record;

	guest_read(fd, &record);
	CHECK_EQ(record.head.len, strlen(text));
	CHECK(!memcmp(record.payload, text, strlen(text)));
}

static int kernel_events(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_KOBJECT_UEVENT);

	CHECK(fd >= 0);
	CHECK(!bind(fd, (struct sockaddr *)&address, sizeof(address)));
	return fd;
}

/* Waits for an event of the channel "run", and for a variable in it. */
static void await_event(int fd, const char *action, const char *variable)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char event[8192], want[64];
	bool ours, named;
	ssize_t n, at;

	snprintf(want, sizeof(want), "ACTION=%s", action);
	do {
		CHECK_EQ(poll(&p, 1, 30000), 1);
		n = recv(fd, event, sizeof(event) - 1, 0);
		CHECK(n > 0);
		event[n] = '\0';
		ours = named = false;
		for (at = 0; at < n; at += strlen(event + at) + 1) {
			ours |= !strcmp(event + at, "DEVNAME=flightrec/run");
			named |= !strcmp(event + at, variable);
		}
	} while (!ours || strncmp(event, action, strlen(action)));
	if (!named)
		FAIL("the event has no %s", variable);
}

/* It is like one that was there at load: nodes with their access, stats, an event. */
static void channel_comes_and_goes(void)
{
	struct flightrec_channel_setup setup = setup_of("run", 300);
	int events = kernel_events();
	struct flightrec_info info;
	struct stat st;
	char *stats;
	int fd;

	setup.features = FLIGHTREC_CHANNEL_MODE | FLIGHTREC_CHANNEL_GID;
	setup.mode = 0640;
	setup.gid = 7;
	CHECK_EQ(create(&setup), 0);
	CHECK_EQ(setup.size, 300 * 1024);
	await_event(events, "add", "FLIGHTREC_ACCESS=given");
	CHECK(!stat(NODE, &st));
	CHECK(S_ISCHR(st.st_mode));
	CHECK_EQ(st.st_mode & 0777, 0640);
	CHECK_EQ(st.st_gid, 7);
	CHECK(!stat("/proc/flightrec/run", &st));
	CHECK_EQ(st.st_mode & 0777, 0640);
	CHECK_EQ(st.st_gid, 7);
	CHECK_EQ(guest_stat("run", "size_kb"), 300);
	fd = guest_open("run", O_RDWR);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK(!strcmp(info.name, "run"));
	CHECK_EQ(info.features, FLIGHTREC_FEATURE_REMOVAL | FLIGHTREC_FEATURE_RESIZE);
	guest_write(fd, "first");
	check_text(fd, "first");
	CHECK(strstr(guest_slurp("/proc/flightrec/run"), ": first\n"));
	CHECK_EQ(removed("run"), 0);
	await_event(events, "remove", "FLIGHTREC_ACCESS=given");
	CHECK(access(NODE, F_OK) && errno == ENOENT);
	CHECK(access("/proc/flightrec/run", F_OK) && errno == ENOENT);
	stats = guest_slurp("/proc/flightrec/stats");
	CHECK(!strstr(stats, "channel=run "));
	/* Without a size and access: as at load. */
	setup = setup_of("run", 0);
	CHECK_EQ(create(&setup), 0);
	CHECK(setup.size >= 1 << 20);
	await_event(events, "add", "FLIGHTREC_ACCESS=default");
	CHECK(!stat(NODE, &st));
	CHECK_EQ(st.st_mode & 0777, 0600);
	CHECK_EQ(removed("run"), 0);
}

static void channel_create_refuses(void)
{
	static const struct {
		int err;
		struct flightrec_channel_setup setup;
	} bad[] = {
		{ EINVAL, { .name = "" } },
		{ EINVAL, { .name = "Upper" } },
		{ EINVAL, { .name = "../run" } },
		{ EINVAL, { .name = "stats" } },
		{ EEXIST, { .name = "default" } },
		{ EEXIST, { .name = "kernel" } },
		{ EEXIST, { .name = "selftest" } },
		{ EINVAL, { .name = "run", .size = (1 << 20) + 1 } },
		{ EINVAL, { .name = "run", .features = 8 } },
		{ EINVAL, { .name = "run", .reserved = 1 } },
		{ EINVAL, { .name = "run", .features = FLIGHTREC_CHANNEL_MODE } },
		{ EINVAL, { .name = "run", .features = FLIGHTREC_CHANNEL_MODE, .mode = 01600 } },
		{ EINVAL, { .name = "run", .features = FLIGHTREC_CHANNEL_MODE, .mode = 0200600 } },
		{ EINVAL, { .name = "run", .features = FLIGHTREC_CHANNEL_GID, .gid = -1 } },
	};
	struct flightrec_channel_setup setup;
	struct {
		struct flightrec_channel_setup known;
		unsigned long long later;
	} longer = { .known = setup_of("run", 256), .later = 1 };
	unsigned int size = sizeof(longer);
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		setup = bad[i].setup;
		errno = 0;
		if (create(&setup) != -1 || errno != bad[i].err)
			FAIL("%zu: errno %d, expected %d", i, errno, bad[i].err);
	}
	memset(setup.name, 'a', sizeof(setup.name));
	setup.features = 0;
	CHECK_ERRNO(create(&setup), EINVAL);
	CHECK_ERRNO(ioctl(control(), FLIGHTREC_IOC_CREATE, NULL), EFAULT);
	CHECK_ERRNO(ioctl(control(), FLIGHTREC_IOC_CLEAR), ENOTTY);
	CHECK_ERRNO(ioctl(control(), _IOC(_IOC_WRITE, 0xf1, 16, 8), &setup), ENOTTY);
	/* What is not known here must be 0. */
	CHECK_ERRNO(ioctl(control(), _IOC(_IOC_READ | _IOC_WRITE, 0xf1, 16, size), &longer), E2BIG);
	CHECK(access(NODE, F_OK));
	longer.later = 0;
	CHECK_EQ(ioctl(control(), _IOC(_IOC_READ | _IOC_WRITE, 0xf1, 16, size), &longer), 0);
	CHECK_EQ(removed("run"), 0);
}

/* The nearest size is told, and can be had. */
static void channel_size_has_bounds(void)
{
	struct flightrec_channel_setup setup = setup_of("run", 1);
	unsigned long long least;

	CHECK_ERRNO(create(&setup), ERANGE);
	least = setup.size;
	CHECK(least >= 3 * 16384 && least < 256 * 1024);
	CHECK_EQ(create(&setup), 0);
	CHECK_EQ(setup.size, least);
	CHECK_EQ(removed("run"), 0);
	setup.size = least - 1024;
	CHECK_ERRNO(create(&setup), ERANGE);
	CHECK_EQ(setup.size, least);
	setup.size = 1ULL << 62;
	CHECK_ERRNO(create(&setup), ERANGE);
	CHECK(setup.size > 1 << 20 && setup.size < 1ULL << 40);
	CHECK_EQ(setup.size % 1024, 0);
}

/* Memory of a removed channel counts until its last descriptor is closed. */
static void channel_memory_is_counted_while_open(void)
{
	struct flightrec_channel_setup setup = setup_of("run", 1ULL << 40), half;
	int fd;

	CHECK_ERRNO(create(&setup), ERANGE);
	half = setup_of("run", setup.size * 3 / 4 / 1024);
	CHECK_EQ(create(&half), 0);
	fd = guest_open("run", O_RDWR);
	CHECK_EQ(removed("run"), 0);
	CHECK_ERRNO(create(&half), ERANGE);
	CHECK(half.size <= setup.size / 4 + 1024);
	close(fd);
	half = setup_of("run", setup.size * 3 / 4 / 1024);
	CHECK_EQ(create(&half), 0);
	CHECK_EQ(removed("run"), 0);
}

/* Who removes one and makes a larger one is not refused for what the first one took. */
static void channel_memory_is_back_at_once(void)
{
	struct flightrec_channel_setup setup = setup_of("run", 1ULL << 50);
	unsigned long long most;
	int round;

	/* It goes on as soon as it is woken, in front of who wakes it. */
	CHECK(!sched_setscheduler(0, SCHED_FIFO, &(struct sched_param) { .sched_priority = 1 }));
	CHECK_ERRNO(create(&setup), ERANGE);
	most = setup.size;
	for (round = 0; round < 200; round++) {
		make("run");
		CHECK_EQ(removed("run"), 0);
		setup = setup_of("run", 1ULL << 50);
		CHECK_ERRNO(create(&setup), ERANGE);
		CHECK_EQ(setup.size, most);
	}
	CHECK(!sched_setscheduler(0, SCHED_OTHER, &(struct sched_param) {}));
}

static void channel_number_is_bounded(void)
{
	struct flightrec_channel_setup setup;
	char name[16];
	int n, i;

	for (n = 0; ; n++) {
		snprintf(name, sizeof(name), "many-%d", n);
		setup = setup_of(name, 128);
		if (create(&setup))
			break;
	}
	CHECK_EQ(errno, ENOSPC);
	/* With "kernel", "selftest", "default" and "small". */
	CHECK_EQ(n, 28);
	for (i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "many-%d", i);
		CHECK_EQ(removed(name), 0);
	}
	make("run");
	CHECK_EQ(removed("run"), 0);
}

static void channel_remove_refuses(void)
{
	struct flightrec_channel_setup setup = setup_of("default", 1024);

	CHECK_ERRNO(removed("kernel"), EBUSY);
	CHECK_ERRNO(removed("selftest"), EBUSY);
	CHECK_ERRNO(removed("run"), ENOENT);
	CHECK_ERRNO(removed(""), ENOENT);
	CHECK_ERRNO(ioctl(control(), FLIGHTREC_IOC_REMOVE, &setup), EINVAL);
	memset(&setup, 0, sizeof(setup));
	memset(setup.name, 'a', sizeof(setup.name));
	CHECK_ERRNO(ioctl(control(), FLIGHTREC_IOC_REMOVE, &setup), EINVAL);
	close(guest_open("default", O_RDWR));
}

static void give_size(const char *name, unsigned long long kb)
{
	struct flightrec_channel_setup setup = setup_of(name, kb);

	CHECK_EQ(resize(&setup), 0);
	CHECK_EQ(setup.size, kb * 1024);
	CHECK_EQ(guest_stat(name, "size_kb"), kb);
}

/* As write_numbered() wrote them, from @first to @last; nothing is lost in between. */
static void check_numbered(int fd, int first, int last)
{
	struct guest_record record;
	char text[32];

	for (; first <= last; first++) {
		guest_read(fd, &record);
		snprintf(text, sizeof(text), "number %d", first);
		CHECK_EQ(record.head.seq, first);
		CHECK_EQ(record.head.lost, 0);
		CHECK_EQ(record.head.len, strlen(text));
		CHECK(!memcmp(record.payload, text, strlen(text)));
	}
}

static void write_numbered(int fd, int first, int last)
{
	char text[32];

	for (; first <= last; first++) {
		snprintf(text, sizeof(text), "number %d", first);
		guest_write(fd, text);
	}
}

/* Who has it open goes on: readers at their place, sleepers, writers, numbers and counts. */
static void channel_resized_goes_on(void)
{
	struct flightrec_info info;
	struct guest_record record;
	struct pollfd p;
	int fd, other, polled;

	make("run");
	fd = guest_open("run", O_RDWR);
	other = guest_open("run", O_RDONLY);
	polled = guest_open("run", O_RDONLY | O_NONBLOCK);
	CHECK_EQ(lseek(polled, 0, SEEK_END), 0);
	write_numbered(fd, 1, 100);
	check_numbered(fd, 1, 40);
	give_size("run", 2048);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK_EQ(info.size, 2048 * 1024);
	CHECK_EQ(info.oldest_seq, 1);
	CHECK_EQ(info.next_seq, 101);
	CHECK_EQ(info.waiting, 60);
	CHECK_EQ(guest_stat("run", "records"), 100);
	CHECK_EQ(guest_stat("run", "retained"), 100);
	CHECK_EQ(guest_stat("run", "overwritten"), 0);
	CHECK_EQ(guest_stat("run", "bytes"), 9 * 8 + 90 * 9 + 10);
	p = (struct pollfd) { .fd = polled, .events = POLLIN };
	check_numbered(polled, 1, 100);
	CHECK_EQ(poll(&p, 1, 0), 0);
	write_numbered(fd, 101, 200);
	CHECK_EQ(poll(&p, 1, 30000), 1);
	check_numbered(fd, 41, 200);
	check_numbered(other, 1, 200);
	check_numbered(polled, 101, 200);
	/* Smaller again: the newest are kept, and what is gone is told. */
	write_numbered(fd, 201, 9000);
	CHECK_EQ(guest_stat("run", "overwritten"), 0);
	give_size("run", 256);
	guest_read(other, &record);
	CHECK(record.head.seq > 201);
	CHECK_EQ(record.head.lost, record.head.seq - 201);
	CHECK_EQ(guest_stat("run", "overwritten"), record.head.seq - 1);
	check_numbered(other, record.head.seq + 1, 9000);
	give_size("run", 256);
	CHECK(strstr(guest_slurp("/proc/flightrec/run"), ": number 9000\n"));
	CHECK_EQ(removed("run"), 0);
	CHECK_EQ(read(other, &record, sizeof(record)), 0);
	close(fd);
	close(other);
	close(polled);
}

static void await_sleep(pid_t pid)
{
	char path[32], *state;
	bool asleep;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	do {
		state = guest_slurp(path);
		asleep = strstr(state, ") S ");
		free(state);
		guest_sleep_ms(10);
	} while (!asleep);
}

/* A reader that sleeps is woken by what is written into the new ring. */
static void channel_resize_leaves_sleepers(void)
{
	struct guest_record record;
	int fd, status;
	pid_t pid;

	make("run");
	fd = guest_open("run", O_RDWR);
	pid = fork();
	if (!pid) {
		guest_read(fd, &record);
		_exit(record.head.seq != 1 || record.head.len != 5);
	}
	await_sleep(pid);
	give_size("run", 512);
	guest_write(fd, "awake");
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	close(fd);
	CHECK_EQ(removed("run"), 0);
}

static void channel_resize_refuses(void)
{
	struct flightrec_channel_setup setup = setup_of("kernel", 2048), most;
	unsigned long long kb;

	CHECK_ERRNO(resize(&setup), EBUSY);
	setup = setup_of("selftest", 2048);
	CHECK_ERRNO(resize(&setup), EBUSY);
	setup = setup_of("nowhere", 2048);
	CHECK_ERRNO(resize(&setup), ENOENT);
	make("run");
	setup = setup_of("run", 512);
	setup.features = FLIGHTREC_CHANNEL_MODE;
	CHECK_ERRNO(resize(&setup), EINVAL);
	setup = setup_of("run", 512);
	setup.size++;
	CHECK_ERRNO(resize(&setup), EINVAL);
	setup = setup_of("run", 1);
	CHECK_ERRNO(resize(&setup), ERANGE);
	CHECK(setup.size > 1024);
	most = setup_of("run", 1ULL << 50);
	CHECK_ERRNO(resize(&most), ERANGE);
	/* Both are there for a moment; then the larger one alone. */
	kb = most.size / 1024 / 4;
	give_size("run", kb);
	give_size("run", 256);
	setup = setup_of("run", 1ULL << 50);
	CHECK_ERRNO(resize(&setup), ERANGE);
	CHECK_EQ(setup.size, most.size);
	/* As at load. */
	setup = setup_of("run", 0);
	CHECK_EQ(resize(&setup), 0);
	CHECK(setup.size >= 1 << 20);
	CHECK_EQ(removed("run"), 0);
	setup = setup_of("run", 512);
	CHECK_ERRNO(resize(&setup), ENOENT);
}

/* A descriptor that root opened is no right for who gets it. */
static void channel_control_is_root_s(void)
{
	struct flightrec_channel_setup setup = setup_of("run", 256);
	struct stat st;

	CHECK(!stat("/dev/flightrec-control", &st));
	CHECK_EQ(st.st_mode & 0777, 0600);
	control();
	CHECK(!setgid(65534) && !setuid(65534));
	CHECK_ERRNO(create(&setup), EPERM);
	CHECK_ERRNO(removed("default"), EPERM);
	setup = setup_of("default", 1024);
	CHECK_ERRNO(resize(&setup), EPERM);
	CHECK_ERRNO(open("/dev/flightrec-control", O_RDWR), EACCES);
}

/* Who has it open gets what was recorded, then the end. */
static void channel_removed_is_read_to_its_end(void)
{
	struct flightrec_info info;
	struct pollfd p = { .events = POLLIN | POLLOUT };
	char buf[FLIGHTREC_READ_MIN];
	int fd, other, again;

	make("run");
	fd = guest_open("run", O_RDWR);
	other = guest_open("run", O_RDONLY | O_NONBLOCK);
	guest_write(fd, "one");
	guest_write(fd, "two");
	CHECK_EQ(removed("run"), 0);
	CHECK_ERRNO(write(fd, "three", 5), ENODEV);
	CHECK_ERRNO(writev(fd, &(struct iovec) { "three", 5 }, 1), ENODEV);
	CHECK_ERRNO(write(fd, buf, 4000), ENODEV);
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_CLEAR), ENODEV);
	p.fd = fd;
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(p.revents, POLLIN | POLLOUT | POLLHUP | POLLERR);
	p.fd = other;
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(p.revents & ~POLLOUT, POLLIN | POLLHUP);
	/* A new one of that name is another one. */
	make("run");
	again = guest_open("run", O_RDWR);
	guest_write(again, "anew");
	check_text(fd, "one");
	check_text(fd, "two");
	CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
	CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
	check_text(other, "one");
	CHECK_EQ(ioctl(other, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK_EQ(info.next_seq, 3);
	CHECK_EQ(lseek(other, 0, SEEK_END), 0);
	CHECK_EQ(read(other, buf, sizeof(buf)), 0);
	CHECK_EQ(lseek(other, 0, SEEK_SET), 0);
	check_text(other, "one");
	check_text(again, "anew");
	CHECK_EQ(removed("run"), 0);
}

/* Whoever waits is told, in each way of waiting. */
static void channel_removal_wakes_readers(void)
{
	enum { READ, POLL, EPOLL, FILTERED, WAYS };
	struct flightrec_filter urgent = { FLIGHTREC_FILTER_SEVERITY, 3, 0, 0, 0 };
	struct epoll_event event = { .events = EPOLLIN };
	struct pollfd p = { .events = POLLIN };
	char buf[FLIGHTREC_READ_MIN];
	pid_t pids[WAYS];
	int fd, i, set, status;

	make("run");
	for (i = 0; i < WAYS; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		fd = guest_open("run", O_RDONLY);
		if (i == FILTERED)
			CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SET_FILTER, &urgent), 0);
		p.fd = fd;
		if (i == POLL) {
			CHECK_EQ(poll(&p, 1, -1), 1);
			CHECK_EQ(p.revents, POLLIN | POLLHUP);
		} else if (i == EPOLL) {
			set = epoll_create1(0);
			CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
			CHECK_EQ(epoll_wait(set, &event, 1, -1), 1);
			CHECK_EQ(event.events, EPOLLIN | EPOLLHUP);
		}
		CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
		exit(0);
	}
	while (guest_stat("run", "readers") < WAYS)
		guest_sleep_ms(10);
	CHECK_EQ(removed("run"), 0);
	for (i = 0; i < WAYS; i++) {
		CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
		CHECK_EQ(status, 0);
	}
}

/* Who only writes is told, too, and of nothing else. */
static void channel_removal_wakes_writers(void)
{
	struct epoll_event event = { .events = EPOLLOUT | EPOLLET };
	int fd, set;

	make("run");
	fd = guest_open("run", O_WRONLY);
	set = epoll_create1(EPOLL_CLOEXEC);
	CHECK(set >= 0 && !epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
	CHECK_EQ(epoll_wait(set, &event, 1, 0), 1);
	CHECK_EQ(event.events, EPOLLOUT);
	guest_write(fd, "text");
	CHECK_EQ(epoll_wait(set, &event, 1, 0), 0);
	CHECK_EQ(removed("run"), 0);
	/* No wait: epoll looks at a descriptor only when it was woken. */
	CHECK_EQ(epoll_wait(set, &event, 1, 0), 1);
	CHECK_EQ(event.events, EPOLLOUT | EPOLLHUP | EPOLLERR);
	close(set);
	close(fd);
}

/* A node that somebody kept opens no other channel later. */
static void channel_kept_node_opens_nothing(void)
{
	struct stat st;

	make("run");
	CHECK(!stat(NODE, &st));
	CHECK(!mknod("/run/kept", S_IFCHR | 0600, st.st_rdev));
	CHECK_EQ(removed("run"), 0);
	CHECK_ERRNO(open("/run/kept", O_RDONLY), ENXIO);
	make("run");
	CHECK_ERRNO(open("/run/kept", O_RDONLY), ENXIO);
	CHECK_EQ(removed("run"), 0);
	unlink("/run/kept");
}

/* Records and readers of other channels see nothing of it. */
static void channel_others_are_left_alone(void)
{
	int fd = guest_open("small", O_RDWR), i;

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	guest_write(fd, "before");
	for (i = 0; i < 3; i++) {
		make("run");
		guest_write(fd, "between");
		CHECK_EQ(removed("run"), 0);
	}
	check_text(fd, "before");
	for (i = 0; i < 3; i++)
		check_text(fd, "between");
}

struct slow_read {
	int fd;
	char *page;
};

static int read_slowly(void *arg)
{
	const struct slow_read *slow = arg;

	return read(slow->fd, slow->page, 4096) > 0 ? 0 : 1;
}

/* Where a call on its file in /proc takes for ever, a removal does not. */
static void channel_slow_reader_of_proc(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range;
	struct uffdio_zeropage zero;
	struct flightrec_channel_setup setup = setup_of("run", 256);
	struct pollfd p = { .events = POLLIN };
	static char stack[65536] __attribute__((aligned(16)));
	int fd, proc, uffd, status;
	struct slow_read slow;
	char *page;
	pid_t pid;

	make("run");
	fd = guest_open("run", O_RDWR);
	guest_write(fd, "text");
	proc = open("/proc/flightrec/run", O_RDONLY);
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	CHECK(proc >= 0 && page != MAP_FAILED && uffd >= 0);
	CHECK(!ioctl(uffd, UFFDIO_API, &api));
	range = (struct uffdio_register) {
		.range = { (uintptr_t)page, 4096 }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	CHECK(!ioctl(uffd, UFFDIO_REGISTER, &range));
	slow = (struct slow_read) { proc, page };
	/* It shares the memory, so its faults are ours to answer. */
	pid = clone(read_slowly, stack + sizeof(stack), CLONE_VM | SIGCHLD, &slow);
	CHECK(pid >= 0);
	p.fd = uffd;
	CHECK_EQ(poll(&p, 1, 30000), 1);
	CHECK_EQ(removed("run"), 0);
	CHECK_ERRNO(write(fd, "more", 4), ENODEV);
	CHECK_ERRNO(create(&setup), EBUSY);
	CHECK_ERRNO(removed("run"), ENOENT);
	zero = (struct uffdio_zeropage) { .range = { (uintptr_t)page, 4096 } };
	CHECK(!ioctl(uffd, UFFDIO_ZEROPAGE, &zero));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	while (create(&setup)) {
		CHECK_EQ(errno, EBUSY);
		guest_sleep_ms(10);
	}
	CHECK_ERRNO(read(proc, page, 4096), EIO);
	CHECK_EQ(removed("run"), 0);
}

static const struct guest_case cases[] = {
	{ "channel-comes-and-goes", channel_comes_and_goes },
	{ "channel-create-refuses", channel_create_refuses },
	{ "channel-size-has-bounds", channel_size_has_bounds },
	{ "channel-memory-is-counted-while-open", channel_memory_is_counted_while_open },
	{ "channel-memory-is-back-at-once", channel_memory_is_back_at_once },
	{ "channel-number-is-bounded", channel_number_is_bounded },
	{ "channel-remove-refuses", channel_remove_refuses },
	{ "channel-resized-goes-on", channel_resized_goes_on },
	{ "channel-resize-leaves-sleepers", channel_resize_leaves_sleepers },
	{ "channel-resize-refuses", channel_resize_refuses },
	{ "channel-control-is-root-s", channel_control_is_root_s },
	{ "channel-removed-is-read-to-its-end", channel_removed_is_read_to_its_end },
	{ "channel-removal-wakes-readers", channel_removal_wakes_readers },
	{ "channel-removal-wakes-writers", channel_removal_wakes_writers },
	{ "channel-kept-node-opens-nothing", channel_kept_node_opens_nothing },
	{ "channel-others-are-left-alone", channel_others_are_left_alone },
	{ "channel-slow-reader-of-proc", channel_slow_reader_of_proc },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 120);
}
