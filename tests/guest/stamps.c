// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The stamps are the writer's, whoever opened the descriptor; and several
 * writers and readers at once. Runs as abi.c does.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <sched.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

static int open_at_end(void)
{
	int fd = guest_open("default", O_RDWR | O_NONBLOCK);

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	return fd;
}

/* Runs @writer in a child that inherited @fd, and reads what it wrote. */
static pid_t written_by_child(int fd, void (*writer)(int fd),
			      struct guest_record *record)
{
	int status;
	pid_t pid;

	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		writer(fd);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	guest_read(fd, record);
	return pid;
}

static void plain(int fd)
{
	CHECK_EQ(write(fd, "x", 1), 1);
}

static void own_stamps(void)
{
	struct timespec boot, wall;
	struct guest_record record;
	int fd = open_at_end();

	prctl(PR_SET_NAME, "stamp test");
	plain(fd);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	clock_gettime(CLOCK_REALTIME, &wall);
	guest_read(fd, &record);
	CHECK_EQ(record.head.pid, getpid());
	CHECK_EQ(record.head.tgid, getpid());
	CHECK_EQ(record.head.uid, 0);
	CHECK_EQ(record.head.euid, 0);
	CHECK_EQ(record.head.origin, FLIGHTREC_ORIGIN_USER);
	CHECK_EQ(record.head.flags, 0);
	CHECK(!strcmp(record.head.comm, "stamp test"));
	CHECK(boot.tv_sec - (long long)(record.head.boot_ns / 1000000000) <= 2);
	CHECK(llabs(wall.tv_sec - (long long)(record.head.wall_ns / 1000000000)) <= 2);
	CHECK(record.head.cpu < 64);
}

/* When this process was started, in clock ticks, which are 10 ms. */
static unsigned long long own_start_ticks(void)
{
	char *text = guest_slurp("/proc/self/stat");
	char *at = strrchr(text, ')');
	unsigned long long ticks;
	int field;

	CHECK(at);
	for (field = 2; field < 22; field++)
		CHECK((at = strchr(at + 1, ' ')));
	ticks = strtoull(at, NULL, 10);
	free(text);
	return ticks;
}

static void start_of_the_process(void)
{
	struct guest_record record;
	int fd = open_at_end();

	plain(fd);
	guest_read(fd, &record);
	CHECK_EQ(record.head.start_ns / 10000000, own_start_ticks());
	CHECK(record.head.start_ns && record.head.start_ns < record.head.boot_ns);
}

static void exec_writer(int fd)
{
	CHECK_EQ(dup2(fd, 3), 3);
	plain(3);
	execl("/proc/self/exe", "writer", "--write-to-3", NULL);
	FAIL("execl: %s", strerror(errno));
}

static void another_program_is_the_same_process(void)
{
	struct guest_record before, after;
	int fd = open_at_end();
	pid_t pid = written_by_child(fd, exec_writer, &before);

	guest_read(fd, &after);
	CHECK_EQ(before.head.tgid, pid);
	CHECK_EQ(after.head.tgid, pid);
	CHECK(strcmp(before.head.comm, after.head.comm));
	CHECK_EQ(after.head.start_ns, before.head.start_ns);
}

#define CGROUPS "/run/cgroup-stamps"

static void join_group(void)
{
	int fd = open(CGROUPS "/writers/cgroup.procs", O_WRONLY);

	CHECK(fd >= 0 && write(fd, "0", 1) == 1);
	close(fd);
}

static void in_group(int fd)
{
	join_group();
	plain(fd);
}

static void control_group_of_the_writer(void)
{
	struct guest_record record;
	struct stat root, group;
	int fd = open_at_end();

	CHECK(!mkdir(CGROUPS, 0700));
	CHECK(!mount("cgroup2", CGROUPS, "cgroup2", 0, NULL));
	CHECK(!mkdir(CGROUPS "/writers", 0700));
	CHECK(!stat(CGROUPS, &root) && !stat(CGROUPS "/writers", &group));
	plain(fd);
	guest_read(fd, &record);
	CHECK_EQ(record.head.cgroup, root.st_ino);
	written_by_child(fd, in_group, &record);
	CHECK_EQ(record.head.cgroup, group.st_ino);
	/* Of a group that is gone the number does not come back. */
	CHECK(!rmdir(CGROUPS "/writers"));
	CHECK(!mkdir(CGROUPS "/writers", 0700));
	written_by_child(fd, in_group, &record);
	CHECK(record.head.cgroup != group.st_ino);
	CHECK(!stat(CGROUPS "/writers", &group));
	CHECK_EQ(record.head.cgroup, group.st_ino);
	CHECK(!rmdir(CGROUPS "/writers"));
	CHECK(!umount(CGROUPS));
}

/* The wall clock is set: the stamps follow, the boot clock's do not. */
static void wall_clock_steps(void)
{
	static const long steps[] = { 100000, -300000, 200000 };
	struct guest_record before, after;
	struct timespec wall;
	int fd = open_at_end();
	size_t i;

	for (i = 0; i < 3; i++) {
		plain(fd);
		clock_gettime(CLOCK_REALTIME, &wall);
		wall.tv_sec += steps[i];
		CHECK(!clock_settime(CLOCK_REALTIME, &wall));
		guest_sleep_ms(20);
		plain(fd);
		clock_gettime(CLOCK_REALTIME, &wall);
		guest_read(fd, &before);
		guest_read(fd, &after);
		CHECK(after.head.boot_ns > before.head.boot_ns);
		CHECK(after.head.boot_ns - before.head.boot_ns < 20000000000ULL);
		CHECK(llabs((long long)(after.head.wall_ns - before.head.wall_ns) -
			    steps[i] * 1000000000LL) < 20000000000LL);
		CHECK(llabs(wall.tv_sec * 1000000000LL + wall.tv_nsec -
			    (long long)after.head.wall_ns) < 2000000000LL);
	}
}

static void forked_writer(void)
{
	struct guest_record record;
	int fd = open_at_end();
	pid_t pid = written_by_child(fd, plain, &record);

	CHECK_EQ(record.head.pid, pid);
	CHECK_EQ(record.head.tgid, pid);
}

static void renamed(int fd)
{
	prctl(PR_SET_NAME, "renamed");
	plain(fd);
}

static void renamed_writer(void)
{
	static const char want[16] = "renamed";
	struct guest_record record;

	/* Nothing of the longer name before may follow the shorter one. */
	prctl(PR_SET_NAME, "a name of fifteen");
	written_by_child(open_at_end(), renamed, &record);
	CHECK(!memcmp(record.head.comm, want, sizeof(want)));
}

static void dropped(int fd)
{
	CHECK(!setresuid(1000, 1001, 1002));
	plain(fd);
}

static void writer_that_changed_user(void)
{
	struct guest_record record;

	written_by_child(open_at_end(), dropped, &record);
	CHECK_EQ(record.head.uid, 1000);
	CHECK_EQ(record.head.euid, 1001);
}

/*
 * A set-user-ID program that a user starts with a descriptor of its own: this
 * program itself, which then writes to descriptor 3.
 */
static void exec_setuid(int fd)
{
	CHECK_EQ(dup2(fd, 3), 3);
	CHECK(!setresuid(1000, 1000, 1000));
	execl("/tmp/setuid-writer", "setuid-writer", "--write-to-3", NULL);
	FAIL("execl: %s", strerror(errno));
}

static void copy_self(void)
{
	static char block[65536];
	int from = open("/proc/self/exe", O_RDONLY);
	int to = open("/tmp/setuid-writer", O_WRONLY | O_CREAT | O_TRUNC, 0700);
	ssize_t n;

	CHECK(from >= 0 && to >= 0);
	while ((n = read(from, block, sizeof(block))) > 0)
		CHECK_EQ(write(to, block, n), n);
	CHECK_EQ(n, 0);
	CHECK(!fchmod(to, 04755));
	close(from);
	close(to);
}

static void setuid_writer(void)
{
	struct guest_record record;

	copy_self();
	written_by_child(open_at_end(), exec_setuid, &record);
	CHECK_EQ(record.head.uid, 1000);
	CHECK_EQ(record.head.euid, 0);
	CHECK(!strcmp(record.head.comm, "setuid-writer"));
}

static int thread_fd;

static int in_thread(void *arg)
{
	(void)arg;
	return write(thread_fd, "t", 1) == 1 ? 0 : 1;
}

static void thread_of_a_process(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	struct guest_record record;
	pid_t tid;

	thread_fd = open_at_end();
	tid = clone(in_thread, stack + sizeof(stack),
		    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND |
		    CLONE_THREAD | CLONE_SYSVSEM, NULL);
	CHECK(tid > 0);
	while (read(thread_fd, &record, sizeof(record)) < 0)
		guest_sleep_ms(5);
	CHECK_EQ(record.head.pid, tid);
	CHECK_EQ(record.head.tgid, getpid());
	CHECK_EQ(record.head.start_ns / 10000000, own_start_ticks());
}

static int open_in_pidns(void *arg)
{
	int err = open("/dev/flightrec/default", O_WRONLY) < 0 ? errno : 0;

	(void)arg;
	if ((open("/proc/flightrec/default", O_WRONLY) < 0 ? errno : 0) != err ||
	    (open("/proc/flightrec/stats", O_RDONLY) < 0 ? errno : 0) != err)
		return 255;
	return err;
}

static int pidns_result(void)
{
	static char stack[65536] __attribute__((aligned(16)));
	int status;
	pid_t pid;

	pid = clone(open_in_pidns, stack + sizeof(stack),
		    CLONE_NEWPID | SIGCHLD, NULL);
	CHECK(pid > 0);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void containers_need_leave(void)
{
	int fd = open("/sys/module/flightrec/parameters/containers", O_WRONLY);

	CHECK_EQ(pidns_result(), EPERM);
	CHECK_EQ(write(fd, "Y", 1), 1);
	CHECK_EQ(pidns_result(), 0);
	CHECK_EQ(write(fd, "N", 1), 1);
	CHECK_EQ(pidns_result(), EPERM);
}

#define WRITERS 4
#define EACH 20000

/* A payload that says who it is and can be checked as a whole. */
static unsigned int fill(unsigned char *out, unsigned int writer, unsigned int i)
{
	unsigned int len = 8 + (i * 31 + writer * 7) % 300;

	memset(out, (i + writer) & 0xff, len);
	memcpy(out, &writer, 4);
	memcpy(out + 4, &i, 4);
	return len;
}

static void write_many(int fd, unsigned int writer)
{
	unsigned char out[400];
	unsigned int i, len;

	for (i = 0; i < EACH; i++) {
		len = fill(out, writer, i);
		if (write(fd, out, len) != (ssize_t)len)
			_exit(1);
	}
	_exit(0);
}

struct tally {
	unsigned long long delivered, lost, seq;
	unsigned int next[WRITERS];
	__u64 boot_ns;
};

static void check_record(struct tally *tally, const struct flightrec_record *head)
{
	const unsigned char *payload = (const unsigned char *)head + head->header_size;
	unsigned char want[400];
	unsigned int writer, i;

	memcpy(&writer, payload, 4);
	memcpy(&i, payload + 4, 4);
	CHECK(writer < WRITERS);
	CHECK_EQ(head->len, fill(want, writer, i));
	CHECK(!memcmp(want, payload, head->len));
	/*
	 * Numbers are dense, and each writer is in order. The clock is read
	 * before the number is taken, so that it may be a little off order.
	 */
	CHECK_EQ(head->seq, tally->seq + head->lost + 1);
	CHECK(head->boot_ns + 1000000000 >= tally->boot_ns);
	CHECK(i >= tally->next[writer]);
	tally->next[writer] = i + 1;
	tally->boot_ns = head->boot_ns;
	tally->seq = head->seq;
	tally->lost += head->lost;
	tally->delivered++;
}

/*
 * How often a read may get EAGAIN though poll saw something: the ring was overwritten
 * up to a record whose writer an interrupt, or the emulator, had stopped. Each of them
 * takes a round of the ring, so there are not more than rounds.
 */
#define ROUNDS (WRITERS * EACH * (88 + 8 + 300) / (64 * 1024))

static void read_all(int fd, struct tally *tally, bool slow)
{
	static char buf[32768] __attribute__((aligned(8)));
	unsigned long long total = (unsigned long long)WRITERS * EACH;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	unsigned int stopped = 0;
	ssize_t n, at;

	while (tally->delivered + tally->lost < total) {
		CHECK_EQ(poll(&p, 1, 60000), 1);
		n = read(fd, buf, slow ? FLIGHTREC_READ_MIN : sizeof(buf));
		if (n < 0 && errno == EAGAIN) {
			CHECK(stopped++ < ROUNDS);
			continue;
		}
		CHECK(n > 0);
		for (at = 0; at < n; at += ((struct flightrec_record *)(buf + at))->size)
			check_record(tally, (void *)(buf + at));
		if (slow)
			guest_sleep_ms(1);
	}
	CHECK_EQ(tally->delivered + tally->lost, total);
}

static void many_writers_and_readers(void)
{
	struct tally tally = { 0 };
	struct flightrec_info info;
	int fds[3], status, i;
	pid_t pids[WRITERS + 2];

	for (i = 0; i < 3; i++) {
		fds[i] = guest_open("small", O_RDWR | O_NONBLOCK);
		CHECK_EQ(lseek(fds[i], 0, SEEK_END), 0);
	}
	CHECK_EQ(ioctl(fds[0], FLIGHTREC_IOC_GET_INFO, &info), 0);
	tally.seq = info.next_seq - 1;
	for (i = 0; i < WRITERS + 2; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		if (i < WRITERS)
			write_many(guest_open("small", O_WRONLY), i);
		read_all(fds[i - WRITERS], &tally, i == WRITERS);
		_exit(0);
	}
	read_all(fds[2], &tally, false);
	for (i = 0; i < WRITERS + 2; i++) {
		CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
		CHECK_EQ(status, 0);
	}
}

#define BURST 20000

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/*
 * An epoll set that nobody waits on is a sleeper that every wake-up costs
 * something: at most one in a millisecond.
 */
static void wake_ups_are_limited(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	long long before, wakeups, from, ms;
	int fd = open_at_end(), set = epoll_create1(0);
	int i;

	CHECK(set >= 0);
	CHECK(!epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
	before = guest_stat("default", "wakeups");
	from = now_ms();
	for (i = 0; i < BURST; i++)
		plain(fd);
	guest_sleep_ms(20);
	ms = now_ms() - from;
	wakeups = guest_stat("default", "wakeups") - before;
	printf("# %lld wake-ups in %lld ms\n", wakeups, ms);
	if (wakeups < 2 || wakeups > ms + 2)
		FAIL("%lld wake-ups in %lld ms", wakeups, ms);
	/* Nobody sleeps, nobody is woken. */
	close(set);
	guest_sleep_ms(20);
	before = guest_stat("default", "wakeups");
	plain(fd);
	CHECK_EQ(guest_stat("default", "wakeups"), before);
}

/* However writes and wake-ups fall together, the last record reaches a sleeper. */
static void no_wake_up_is_forgotten(void)
{
	struct pollfd p = { .events = POLLIN };
	unsigned long long seq = 0, last;
	struct guest_record record;
	struct flightrec_info info;
	int status, fd, i;
	pid_t pid;

	p.fd = open_at_end();
	fd = guest_open("default", O_WRONLY);
	CHECK_EQ(ioctl(p.fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	last = info.next_seq + 2000 - 1;
	pid = fork();
	if (!pid) {
		for (i = 0; i < 2000; i++) {
			plain(fd);
			if (i % 7 == 0)
				usleep(i % 900);
		}
		_exit(0);
	}
	while (seq < last) {
		if (poll(&p, 1, 30000) != 1)
			FAIL("record %llu of %llu woke nobody", seq + 1, last);
		while (guest_next(p.fd, &record))
			seq = record.head.seq;
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static const struct guest_case cases[] = {
	{ "own-stamps", own_stamps },
	{ "wall-clock-steps", wall_clock_steps },
	{ "forked-writer", forked_writer },
	{ "renamed-writer", renamed_writer },
	{ "writer-that-changed-user", writer_that_changed_user },
	{ "setuid-writer", setuid_writer },
	{ "thread-of-a-process", thread_of_a_process },
	{ "stamps-start-of-the-process", start_of_the_process },
	{ "stamps-another-program-is-the-same-process", another_program_is_the_same_process },
	{ "stamps-control-group-of-the-writer", control_group_of_the_writer },
	{ "containers-need-leave", containers_need_leave },
	{ "wake-ups-are-limited", wake_ups_are_limited },
	{ "no-wake-up-is-forgotten", no_wake_up_is_forgotten },
	{ "many-writers-and-readers", many_writers_and_readers },
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--write-to-3"))
		return write(3, "x", 1) == 1 ? 0 : 1;
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 300);
}
