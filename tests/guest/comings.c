// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Channels are created, resized and removed without end while others write, also through
 * io_uring by a thread of the kernel, read, wait and list, and a CPU goes off and comes back.
 * Runs with the core loaded, on two CPUs or more, as root. Lasts UNLOAD_SECONDS (3).
 */
#include "harness.h"

#include <linux/io_uring.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#define NAMES 3
#define STEADY "steady"
#define LAST_CPU "/sys/devices/system/cpu/cpu%ld/online"

/* What all share. */
static struct {
	bool stop;
	unsigned long long written, ends, refused, resized, steady, polled, plugged;
} *shared;

static const char *name_of(int round)
{
	static char name[16];

	snprintf(name, sizeof(name), "come-%d", round % NAMES);
	return name;
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static int run_seconds(void)
{
	const char *seconds = getenv("UNLOAD_SECONDS");

	return seconds ? atoi(seconds) : 3;
}

static void count(unsigned long long *what)
{
	__atomic_fetch_add(what, 1, __ATOMIC_RELAXED);
}

/* -1 if it is not there, or just about to come or to go. */
static int try_open(const char *folder, int round, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", folder, name_of(round));
	fd = open(path, flags);
	if (fd < 0 && errno != ENOENT && errno != ENXIO && errno != EINVAL)
		FAIL("open %s: %s", path, strerror(errno));
	return fd;
}

static void changer(int round)
{
	static int fd = -1;
	struct flightrec_channel_setup setup = {};

	if (fd < 0)
		fd = open("/dev/flightrec-control", O_RDWR);
	CHECK(fd >= 0);
	strcpy(setup.name, name_of(round));
	if (!ioctl(fd, FLIGHTREC_IOC_REMOVE, &setup))
		return;
	CHECK_EQ(errno, ENOENT);
	setup.size = 256 << 10;
	if (ioctl(fd, FLIGHTREC_IOC_CREATE, &setup))
		CHECK(errno == EEXIST || errno == EBUSY || errno == ENOMEM || errno == ERANGE);
}

/* Of a channel that stays, too. */
static void resizer(int round)
{
	static int fd = -1;
	struct flightrec_channel_setup setup = { .size = (128 << round % 5) * 1024ULL };

	if (fd < 0)
		fd = open("/dev/flightrec-control", O_RDWR);
	CHECK(fd >= 0);
	strcpy(setup.name, round % 2 ? name_of(round / 2) : STEADY);
	if (!ioctl(fd, FLIGHTREC_IOC_RESIZE, &setup))
		count(&shared->resized);
	else
		CHECK(errno == ENOENT || errno == EBUSY || errno == ENOMEM || errno == ERANGE);
}

/* No write fails, whatever the ring is. */
static void steady_writer(int round)
{
	static int fd = -1;
	struct {
		int pid, round;
	} text = { getpid(), round };

	if (fd < 0) {
		fd = guest_open(STEADY, O_WRONLY);
		CHECK(!ioctl(fd, FLIGHTREC_IOC_SET_FLAGS, &(__u32) { FLIGHTREC_FL_RAW }));
	}
	CHECK_EQ(write(fd, &text, sizeof(text)), sizeof(text));
	count(&shared->steady);
}

/* One entry at a time, which a thread of the kernel takes without a system call. */
static struct {
	int fd;
	_Atomic unsigned int *sq_tail, *sq_flags, *cq_head, *cq_tail;
	struct io_uring_sqe *sqe;
	struct io_uring_cqe *cqe;
} poller_ring;

static void *map_ring(size_t size, off_t what)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			poller_ring.fd, what);

	CHECK(at != MAP_FAILED);
	return at;
}

static void set_up_poller(int file)
{
	struct io_uring_params params = { .flags = IORING_SETUP_SQPOLL, .sq_thread_idle = 20 };
	char *sq, *cq;

	poller_ring.fd = syscall(SYS_io_uring_setup, 1, &params);
	CHECK(poller_ring.fd >= 0);
	sq = map_ring(params.sq_off.array + sizeof(int), IORING_OFF_SQ_RING);
	cq = map_ring(params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
		      IORING_OFF_CQ_RING);
	poller_ring.sqe = map_ring(sizeof(struct io_uring_sqe), IORING_OFF_SQES);
	poller_ring.sq_tail = (void *)(sq + params.sq_off.tail);
	poller_ring.sq_flags = (void *)(sq + params.sq_off.flags);
	poller_ring.cq_head = (void *)(cq + params.cq_off.head);
	poller_ring.cq_tail = (void *)(cq + params.cq_off.tail);
	poller_ring.cqe = (void *)(cq + params.cq_off.cqes);
	CHECK_EQ(params.cq_entries, 2);
	/* Before 5.11 the thread takes registered files alone. */
	CHECK_EQ(syscall(SYS_io_uring_register, poller_ring.fd, IORING_REGISTER_FILES, &file, 1),
		 0);
}

/* As steady_writer(); the one who writes is a thread of the kernel. */
static void steady_poller(int round)
{
	unsigned int head, wake;
	static struct {
		int pid, round;
	} text;

	if (!text.pid) {
		int fd = guest_open(STEADY, O_WRONLY);

		CHECK(!ioctl(fd, FLIGHTREC_IOC_SET_FLAGS, &(__u32) { FLIGHTREC_FL_RAW }));
		set_up_poller(fd);
		text.pid = getpid();
	}
	text.round = round;
	*poller_ring.sqe = (struct io_uring_sqe) {
		.opcode = IORING_OP_WRITE, .flags = IOSQE_FIXED_FILE,
		.addr = (uintptr_t)&text, .len = sizeof(text),
	};
	atomic_fetch_add(poller_ring.sq_tail, 1);
	wake = atomic_load(poller_ring.sq_flags) & IORING_SQ_NEED_WAKEUP ?
	       IORING_ENTER_SQ_WAKEUP : 0;
	head = atomic_load(poller_ring.cq_head);
	while (head == atomic_load(poller_ring.cq_tail))
		if (syscall(SYS_io_uring_enter, poller_ring.fd, 0, 1,
			    wake | IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			CHECK_EQ(errno, EINTR);
	CHECK_EQ(poller_ring.cqe[head % 2].res, sizeof(text));
	atomic_store(poller_ring.cq_head, head + 1);
	count(&shared->polled);
	count(&shared->steady);
}

static void plug(bool online)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), LAST_CPU, sysconf(_SC_NPROCESSORS_CONF) - 1);
	fd = open(path, O_WRONLY);
	CHECK(fd >= 0 && write(fd, online ? "1" : "0", 1) == 1);
	close(fd);
}

/*
 * A block that this CPU has open stays so until it is back, or others take it. Others wait
 * each time, half a minute on a busy machine under KASAN: hence not without end.
 */
static void plugger(int round)
{
	if (round >= 4 * run_seconds()) {
		guest_sleep_ms(20);
		return;
	}
	plug(false);
	guest_sleep_ms(5);
	plug(true);
	guest_sleep_ms(5);
	count(&shared->plugged);
}

/* Each number is delivered once or told as lost, and each writer's own count only grows. */
static void steady_reader(int round)
{
	static char buf[16384] __attribute__((aligned(8)));
	static struct {
		int pid, round;
	} seen[8];
	static unsigned long long seq;
	static int fd = -1;
	const struct flightrec_record *record;
	const int *text;
	ssize_t n, at;
	size_t i;

	if (fd < 0)
		fd = guest_open(STEADY, O_RDONLY | O_NONBLOCK);
	n = read(fd, buf, sizeof(buf));
	if (n < 0)
		CHECK_EQ(errno, EAGAIN);
	for (at = 0; at < n; at += record->size) {
		record = (const void *)(buf + at);
		CHECK(!seq || record->seq == seq + record->lost + 1);
		seq = record->seq;
		text = (const int *)((const char *)record + record->header_size);
		for (i = 0; seen[i].pid && seen[i].pid != text[0]; i++)
			CHECK(i < 7);
		CHECK(!seen[i].pid || text[1] > seen[i].round);
		seen[i].pid = text[0];
		seen[i].round = text[1];
	}
	if (round % 100 == 99)
		guest_sleep_ms(5);
}

/* Until it is refused: then all that follows is. */
static void writer(int round)
{
	int fd = try_open("/dev/flightrec", round, O_WRONLY), i;

	for (i = 0; fd >= 0 && i < 300; i++) {
		if (write(fd, "while it goes", 13) == 13) {
			count(&shared->written);
			continue;
		}
		CHECK_EQ(errno, ENODEV);
		CHECK_ERRNO(write(fd, "after it went", 13), ENODEV);
		count(&shared->refused);
		break;
	}
	close(fd);
}

/*
 * Reads until the end of the channel, or a while. Numbers go on without a gap that is not
 * told, and the end stays the end.
 */
static void reader(int round)
{
	static char buf[16384] __attribute__((aligned(8)));
	int fd = try_open("/dev/flightrec", round, O_RDONLY);
	const struct flightrec_record *record;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned long long seq = 0;
	ssize_t n, at;
	int i;

	for (i = 0; fd >= 0 && i < 20; i++) {
		CHECK(poll(&p, 1, 20) >= 0);
		if (!p.revents)
			continue;
		n = read(fd, buf, sizeof(buf));
		CHECK(n >= 0);
		for (at = 0; at < n; at += record->size) {
			record = (const void *)(buf + at);
			CHECK(!seq || record->seq == seq + record->lost + 1);
			seq = record->seq;
		}
		if (n)
			continue;
		CHECK_EQ(poll(&p, 1, 0), 1);
		CHECK_EQ(p.revents, POLLIN | POLLHUP);
		CHECK_EQ(read(fd, buf, sizeof(buf)), 0);
		count(&shared->ends);
		break;
	}
	close(fd);
}

/* Leaves its descriptor to a set that goes a moment later. */
static void poller(int round)
{
	struct epoll_event event = { .events = EPOLLIN };
	int set = epoll_create1(0), fd = try_open("/dev/flightrec", round, O_RDONLY);
	struct flightrec_info info;

	if (fd >= 0) {
		CHECK(!lseek(fd, 0, SEEK_END));
		CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
		CHECK(epoll_wait(set, &event, 1, round % 5) >= 0);
		CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
		if (ioctl(fd, FLIGHTREC_IOC_CLEAR))
			CHECK_EQ(errno, ENODEV);
		CHECK(mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0) == MAP_FAILED);
		close(fd);
	}
	close(set);
}

static void proc_user(int round)
{
	int fd = try_open("/proc/flightrec", round, O_RDWR);
	char buf[4096];

	if (fd >= 0) {
		CHECK(read(fd, buf, sizeof(buf)) >= 0 || errno == EIO);
		CHECK(write(fd, "by procfs", 9) == 9 || errno == EIO || errno == ENODEV);
		close(fd);
	}
	free(guest_slurp("/proc/flightrec/stats"));
}

static void (* const users[])(int round) = {
	changer, changer, writer, writer, reader, poller, proc_user,
	resizer, steady_writer, steady_writer, steady_reader, steady_poller, plugger,
};

#define USERS (sizeof(users) / sizeof(*users))

static pid_t start_user(size_t i)
{
	pid_t pid = fork();
	int round;

	CHECK(pid >= 0);
	if (pid)
		return pid;
	for (round = 0; !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); round++)
		users[i](round);
	exit(0);
}

static bool seen_enough(void)
{
	return __atomic_load_n(&shared->resized, __ATOMIC_RELAXED) > 10 &&
	       __atomic_load_n(&shared->polled, __ATOMIC_RELAXED) > 30 &&
	       __atomic_load_n(&shared->plugged, __ATOMIC_RELAXED) > 1 &&
	       __atomic_load_n(&shared->steady, __ATOMIC_RELAXED) > 1000 &&
	       __atomic_load_n(&shared->written, __ATOMIC_RELAXED) > 100 &&
	       __atomic_load_n(&shared->ends, __ATOMIC_RELAXED) > 3 &&
	       __atomic_load_n(&shared->refused, __ATOMIC_RELAXED) > 3;
}

/* Each minute, too: what stands still in these is stuck, and else the machine is slow. */
static void say_what_was_seen(void)
{
	printf("# %llu written, %llu refused, %llu ends, %llu resized, %llu steady, %llu of a thread, %llu times a CPU\n",
	       shared->written, shared->refused, shared->ends, shared->resized, shared->steady,
	       shared->polled, shared->plugged);
}

/* All memory is given back, and the channels that were there are as they were. */
static void channels_come_and_go(void)
{
	long long until = now_ms() + 1000LL * run_seconds(), next = now_ms() + 60000;
	struct flightrec_channel_setup setup = { .size = 1ULL << 62, .name = "come-0" };
	int fd = guest_open("small", O_RDWR), status, control;
	unsigned long long most;
	struct guest_record record;
	pid_t pids[USERS];
	size_t i;

	shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	control = open("/dev/flightrec-control", O_RDWR);
	CHECK(shared != MAP_FAILED && control >= 0);
	CHECK_ERRNO(ioctl(control, FLIGHTREC_IOC_CREATE, &setup), ERANGE);
	most = setup.size;
	setup = (struct flightrec_channel_setup) { .size = 256 << 10, .name = STEADY };
	CHECK_EQ(ioctl(control, FLIGHTREC_IOC_CREATE, &setup), 0);
	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	guest_write(fd, "untouched");
	for (i = 0; i < USERS; i++)
		pids[i] = start_user(i);
	while (now_ms() < until || !seen_enough()) {
		guest_sleep_ms(20);
		/* One that failed has said why; without it there may never be enough. */
		CHECK_EQ(waitpid(-1, &status, WNOHANG), 0);
		if (now_ms() < next)
			continue;
		say_what_was_seen();
		next += 60000;
	}
	__atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < USERS; i++) {
		CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
		CHECK_EQ(status, 0);
	}
	say_what_was_seen();
	setup = (struct flightrec_channel_setup) { .name = STEADY };
	CHECK_EQ(guest_stat(STEADY, "records"), shared->steady);
	CHECK_EQ(ioctl(control, FLIGHTREC_IOC_REMOVE, &setup), 0);
	for (i = 0; i < NAMES; i++) {
		setup = (struct flightrec_channel_setup) {};
		strcpy(setup.name, name_of(i));
		if (ioctl(control, FLIGHTREC_IOC_REMOVE, &setup))
			CHECK_EQ(errno, ENOENT);
	}
	guest_read(fd, &record);
	CHECK(!memcmp(record.payload, "untouched", 9));
	/* A removal that took more than a second may still be under way. */
	until = now_ms() + 60000;
	do {
		guest_sleep_ms(20);
		setup = (struct flightrec_channel_setup) { .size = 1ULL << 62, .name = "come-0" };
		CHECK_ERRNO(ioctl(control, FLIGHTREC_IOC_CREATE, &setup), ERANGE);
	} while (setup.size != most && now_ms() < until);
	CHECK_EQ(setup.size, most);
}

static const struct guest_case cases[] = {
	{ "channels-come-and-go", channels_come_and_go },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 3600);
}
