// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Tasks that are stopped or killed in the middle of a call. Runs as abi.c
 * does.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <linux/userfaultfd.h>
#include <sched.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/syscall.h>

#define PAGE 4096

/* What both sides of a stall know. */
static struct {
	int uffd;		/* in the table of descriptors that they share */
	char *page;		/* in the child, the page whose absence stalls it */
	ssize_t result;
} *stall;

static int open_at_end(void)
{
	int fd = guest_open("default", O_RDWR | O_NONBLOCK);

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	return fd;
}

/* A page that is there, followed by one at which whoever touches it sleeps. */
static void make_stall(void)
{
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register range;
	char *pages;
	int fd;

	pages = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(pages != MAP_FAILED);
	memset(pages, 'a', PAGE);
	fd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	CHECK(fd >= 0);
	CHECK(!ioctl(fd, UFFDIO_API, &api));
	range = (struct uffdio_register) {
		.range = { (uintptr_t)pages + PAGE, PAGE }, .mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	CHECK(!ioctl(fd, UFFDIO_REGISTER, &range));
	stall->page = pages + PAGE;
	__atomic_store_n(&stall->uffd, fd, __ATOMIC_RELEASE);
}

struct call {
	int fd;
	ssize_t (*make)(int fd, char *edge);
};

static int in_child(void *arg)
{
	const struct call *call = arg;

	make_stall();
	stall->result = call->make(call->fd, stall->page);
	if (stall->result < 0)
		stall->result = -errno;
	return 0;
}

/*
 * A child in the middle of a call, asleep in a fault on its buffer. It has its
 * own memory, and our descriptors, among which is the one that wakes it.
 */
static pid_t stalled(struct call *call)
{
	static char stack[262144] __attribute__((aligned(16)));
	struct pollfd p = { .events = POLLIN };
	pid_t pid;

	stall = mmap(NULL, sizeof(*stall), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	CHECK(stall != MAP_FAILED);
	stall->uffd = -1;
	stall->result = 1000000;
	pid = clone(in_child, stack + sizeof(stack), CLONE_FILES | SIGCHLD, call);
	CHECK(pid > 0);
	while ((p.fd = __atomic_load_n(&stall->uffd, __ATOMIC_ACQUIRE)) < 0)
		guest_sleep_ms(5);
	CHECK_EQ(poll(&p, 1, 60000), 1);
	CHECK_EQ(p.revents, POLLIN);
	CHECK_EQ(stall->result, 1000000);
	return pid;
}

/* By that signal, or by itself, 0; returns what its call did. */
static ssize_t ends(pid_t pid, int sig)
{
	ssize_t result;
	int status;

	CHECK_EQ(waitpid(pid, &status, 0), pid);
	if (sig)
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == sig);
	else
		CHECK_EQ(status, 0);
	close(stall->uffd);
	result = stall->result;
	munmap(stall, sizeof(*stall));
	return result;
}

/* Give the stalled one the page that it waits for. */
static void let_go(void)
{
	static char page[PAGE];
	struct uffdio_copy copy = {
		.dst = (uintptr_t)stall->page, .src = (uintptr_t)page, .len = PAGE,
	};

	memset(page, 'b', PAGE);
	CHECK(!ioctl(stall->uffd, UFFDIO_COPY, &copy));
}

static ssize_t write_small(int fd, char *edge)
{
	return write(fd, edge - 100, 200);
}

static ssize_t write_large(int fd, char *edge)
{
	return write(fd, edge - 1500, 3000);
}

static ssize_t write_parts(int fd, char *edge)
{
	struct iovec parts[3] = { { "part ", 5 }, { edge - 50, 100 }, { edge - 10, 5 } };

	return writev(fd, parts, 3);
}

static ssize_t write_large_parts(int fd, char *edge)
{
	struct iovec parts[2] = { { edge - 2000, 1900 }, { edge, 2000 } };

	return writev(fd, parts, 2);
}

static ssize_t (* const writes[])(int fd, char *edge) = {
	write_small, write_large, write_parts, write_large_parts,
};

#define WRITES (sizeof(writes) / sizeof(*writes))

/* That somebody sleeps in a write is nothing to others, on all CPUs. */
static void others_go_on(int fd)
{
	struct guest_record record;
	unsigned long long seq = 0;
	cpu_set_t set;
	int i, cpu;

	for (i = 0; i < 400; i++) {
		cpu = i / 100 % (int)sysconf(_SC_NPROCESSORS_ONLN);
		CPU_ZERO(&set);
		CPU_SET(cpu, &set);
		CHECK(!sched_setaffinity(0, sizeof(set), &set));
		guest_write(fd, "others go on");
		guest_read(fd, &record);
		CHECK_EQ(record.head.pid, getpid());
		CHECK_EQ(record.head.lost, 0);
		CHECK(!seq || record.head.seq == seq + 1);
		seq = record.head.seq;
	}
}

static void stalled_writer_is_killed(void)
{
	struct guest_record record;
	int fd = open_at_end();
	long long records;
	pid_t pid;
	size_t i;

	for (i = 0; i < WRITES; i++) {
		pid = stalled(&(struct call) { fd, writes[i] });
		records = guest_stat("default", "records");
		others_go_on(fd);
		CHECK(!kill(pid, SIGKILL));
		ends(pid, SIGKILL);
		CHECK_EQ(guest_stat("default", "records"), records + 400);
		CHECK(!guest_next(fd, &record));
		others_go_on(fd);
	}
}

static void stalled_writer_goes_on(void)
{
	static const size_t lengths[WRITES] = { 200, 3000, 110, 3900 };
	struct guest_record record;
	int fd = open_at_end();
	pid_t pid;
	size_t i;

	for (i = 0; i < WRITES; i++) {
		pid = stalled(&(struct call) { fd, writes[i] });
		others_go_on(fd);
		let_go();
		guest_sleep_ms(1);
		while (!guest_next(fd, &record))
			guest_sleep_ms(5);
		CHECK_EQ(record.head.pid, pid);
		CHECK_EQ(record.head.len, lengths[i]);
		CHECK_EQ(record.head.lost, 0);
		/* Both pages, and stamped at the end, not when it fell asleep. */
		CHECK(memchr(record.payload, 'a', record.head.len));
		CHECK(memchr(record.payload, 'b', record.head.len));
		CHECK_EQ(ends(pid, 0), lengths[i]);
	}
}

static ssize_t write_proc(int fd, char *edge)
{
	(void)fd;
	return write(open("/proc/flightrec/default", O_WRONLY), edge - 100, 200);
}

/* The file that it had open is what keeps the module; the kill closes it. */
static void stalled_proc_writer_is_killed(void)
{
	int fd = open_at_end();
	long long records;
	pid_t pid;

	pid = stalled(&(struct call) { fd, write_proc });
	records = guest_stat("default", "records");
	others_go_on(fd);
	CHECK_EQ(guest_unload("flightrec"), -EAGAIN);
	CHECK(!kill(pid, SIGKILL));
	ends(pid, SIGKILL);
	CHECK_EQ(guest_stat("default", "records"), records + 400);
}

static ssize_t read_records(int fd, char *edge)
{
	return read(fd, edge - 200, 4096);
}

/* It sleeps with its descriptor locked; nobody else's is. */
static void stalled_reader_is_killed(void)
{
	int fd = open_at_end(), other = open_at_end();
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct guest_record record;
	pid_t pid;
	int i;

	for (i = 0; i < 10; i++)
		guest_write(fd, "for a reader that stalls");
	pid = stalled(&(struct call) { fd, read_records });
	for (i = 0; i < 10; i++)
		guest_read(other, &record);
	others_go_on(other);
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK(!kill(pid, SIGKILL));
	ends(pid, SIGKILL);
	/* One was delivered whole, before the page that was missing; or none. */
	guest_read(fd, &record);
	CHECK(record.head.lost <= 1);
	CHECK(!memcmp(record.payload, "for a reader", 12));
}

static void stalled_reader_goes_on(void)
{
	struct guest_record record;
	int fd = open_at_end();
	pid_t pid;
	int i;

	for (i = 0; i < 10; i++)
		guest_write(fd, "for a reader that stalls");
	pid = stalled(&(struct call) { fd, read_records });
	let_go();
	CHECK(ends(pid, 0) > 0);
	CHECK(!guest_next(fd, &record));
}

/* Waits for the next edge of what there is to read; 0 once it came. */
static void wait_for_edge(int epoll, int ready)
{
	struct epoll_event event;

	CHECK_EQ(epoll_wait(epoll, &event, 1, 60000), 1);
	CHECK_EQ(write(ready, "1", 1), 1);
	CHECK_EQ(epoll_wait(epoll, &event, 1, 60000), 1);
	_exit(0);
}

/*
 * Who may not wait is turned away while another task reads from the same descriptor
 * and sleeps in a fault; when that one is through, those who wait hear of it.
 */
static void nonblocking_read_beside_a_stalled_one(void)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET };
	int fd = open_at_end(), epoll = epoll_create1(0), i, status, ready[2];
	struct iovec whole = { (char[8192]){0}, 8192 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct guest_record record;
	static char large[1500];
	pid_t pid, waiter;
	char byte;

	for (i = 0; i < 6; i++)
		CHECK_EQ(write(fd, large, sizeof(large)), sizeof(large));
	CHECK(!pipe(ready));
	pid = stalled(&(struct call) { fd, read_records });
	CHECK_EQ(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
	waiter = fork();
	if (!waiter)
		wait_for_edge(epoll, ready[1]);
	CHECK_EQ(read(ready[0], &byte, 1), 1);
	guest_sleep_ms(200);
	CHECK_ERRNO(read(fd, &record, sizeof(record)), EAGAIN);
	CHECK_ERRNO(preadv2(fd, &whole, 1, -1, RWF_NOWAIT), EAGAIN);
	CHECK_EQ(poll(&p, 1, 0), 1);
	/* Nothing has come, and nobody has read: no edge yet. */
	CHECK_EQ(waitpid(waiter, &status, WNOHANG), 0);
	let_go();
	CHECK(ends(pid, 0) > 0);
	CHECK_EQ(waitpid(waiter, &status, 0), waiter);
	CHECK_EQ(status, 0);
	/* Two are left, or three: as many as did not fit. */
	for (i = 0; guest_next(fd, &record); i++)
		CHECK_EQ(record.head.lost, 0);
	CHECK(i > 1 && i < 6);
}

/* Until killed: records of all sizes that can be checked. */
static void write_for_ever(int fd)
{
	static char out[FLIGHTREC_PAYLOAD_MAX];
	unsigned int i;

	for (i = 0;; i++) {
		memset(out, 'A' + i % 26, sizeof(out));
		if (write(fd, out, 1 + i * 131 % sizeof(out)) < 0)
			_exit(errno);
	}
}

static void check_whole(const struct flightrec_record *record)
{
	const char *payload = (const char *)record + record->header_size;
	unsigned int i;

	for (i = 1; i < record->len; i++)
		CHECK_EQ(payload[i], payload[0]);
}

static void killed_in_mid_write(void)
{
	static char buf[65536] __attribute__((aligned(8)));
	int fd = guest_open("small", O_RDWR | O_NONBLOCK), round, i, status;
	const struct flightrec_record *record;
	struct flightrec_info info;
	unsigned long long seq;
	pid_t pids[4];
	ssize_t n, at;

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	seq = info.next_seq - 1;
	for (round = 0; round < 25; round++) {
		for (i = 0; i < 4; i++)
			if (!(pids[i] = fork()))
				write_for_ever(fd);
		usleep(3000 + round * 777);
		for (i = 0; i < 4; i++)
			CHECK(!kill(pids[i], SIGKILL));
		for (i = 0; i < 4; i++) {
			CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
			if (!WIFSIGNALED(status))
				FAIL("write: %s", strerror(WEXITSTATUS(status)));
		}
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			for (at = 0; at < n; at += record->size) {
				record = (const void *)(buf + at);
				CHECK_EQ(record->seq, seq + record->lost + 1);
				seq = record->seq;
				check_whole(record);
			}
	}
	/* All that was numbered could be read: nobody left one unpublished. */
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK_EQ(seq, info.next_seq - 1);
}

static const struct guest_case cases[] = {
	{ "stalled-writer-is-killed", stalled_writer_is_killed },
	{ "stalled-writer-goes-on", stalled_writer_goes_on },
	{ "stalled-proc-writer-is-killed", stalled_proc_writer_is_killed },
	{ "stalled-reader-is-killed", stalled_reader_is_killed },
	{ "stalled-reader-goes-on", stalled_reader_goes_on },
	{ "nonblocking-read-beside-a-stalled-one", nonblocking_read_beside_a_stalled_one },
	{ "killed-in-mid-write", killed_in_mid_write },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 300);
}
