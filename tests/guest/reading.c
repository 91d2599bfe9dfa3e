// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reading many records at a time, and without waiting, by each call that can;
 * io_uring by hand, so that no library is needed. Runs as abi.c does.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <linux/io_uring.h>
#include <stdint.h>
#include <sys/syscall.h>

#define MANY 600

static int open_at_end(int flags)
{
	int fd = guest_open("default", O_RDWR | flags);

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	return fd;
}

/* Record @i has a length of its own and can be told from all others. */
static size_t fill(char *out, int i)
{
	size_t len = 1 + i * 37 % 300;

	memset(out, 'A' + i % 26, len);
	return len;
}

static void write_many(int fd)
{
	char out[400];
	int i;

	for (i = 0; i < MANY; i++)
		CHECK_EQ(write(fd, out, fill(out, i)), 1 + i * 37 % 300);
}

/* Checks the records in a buffer, from number @i of them on; how many there are. */
static int check_many(const char *buf, size_t bytes, int i)
{
	const struct flightrec_record *record;
	char want[400];
	size_t at;
	int n = 0;

	for (at = 0; at < bytes; at += record->size, n++) {
		record = (const void *)(buf + at);
		CHECK(bytes - at >= sizeof(*record) && bytes - at >= record->size);
		CHECK_EQ(record->lost, 0);
		CHECK_EQ(record->reserved, 0);
		CHECK_EQ(record->len, fill(want, i + n));
		CHECK(!memcmp((const char *)record + record->header_size, want, record->len));
	}
	return n;
}

/* Two pages, of which only the first may be written to; returns its end. */
static char *map_edge(size_t bytes)
{
	char *at = mmap(NULL, bytes + 4096, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(at != MAP_FAILED);
	CHECK(!mprotect(at + bytes, 4096, PROT_NONE));
	return at + bytes;
}

/* Each read faults after some more bytes: what it returns is whole, the rest comes next. */
static void fault_in_the_middle(void)
{
	char *edge = map_edge(65536);
	int fd = open_at_end(O_NONBLOCK);
	int done = 0, faults = 0, step;
	size_t room;
	ssize_t n;

	write_many(fd);
	for (step = 1; done < MANY; step++) {
		room = 8 * (1 + step * 7919 % (step % 16 ? 80 : 4000));
		n = read(fd, edge - room, 1 << 20);
		if (n < 0) {
			CHECK_EQ(errno, EFAULT);
			faults++;
			/* Too little for the next record, which is still there. */
			CHECK(room < 400);
		} else {
			CHECK(n > 0 && n <= (ssize_t)room);
			done += check_many(edge - room, n, done);
		}
	}
	CHECK_EQ(done, MANY);
	CHECK(faults > 0);
	CHECK_ERRNO(read(fd, edge - 4096, 4096), EAGAIN);
}

static void many_by_one_call(void)
{
	static char buf[1 << 20];
	int fd = open_at_end(O_NONBLOCK);
	ssize_t n;

	write_many(fd);
	n = read(fd, buf, sizeof(buf));
	CHECK_EQ(check_many(buf, n, 0), MANY);
	CHECK_ERRNO(read(fd, buf, sizeof(buf)), EAGAIN);
}

/* Each buffer size: as many as fit, and never a part. */
static void as_many_as_fit(void)
{
	static char buf[20000];
	int fd = open_at_end(O_NONBLOCK);
	int done = 0;
	size_t room;
	ssize_t n;

	write_many(fd);
	for (room = 400; done < MANY; room = 400 + (room * 3 + 7) % 19000) {
		n = read(fd, buf, room);
		CHECK(n > 0 && n <= (ssize_t)room);
		done += check_many(buf, n, done);
		/* The next one, of at most 392 bytes, did not fit. */
		CHECK(done == MANY || n + 392 > (ssize_t)room);
	}
}

static void readv_is_one_buffer(void)
{
	static char buf[16384];
	struct iovec parts[64];
	int fd = open_at_end(O_NONBLOCK);
	ssize_t n;
	int i;

	write_many(fd);
	/* Smaller than any record. */
	for (i = 0; i < 64; i++)
		parts[i] = (struct iovec) { buf + 61 * i, 61 };
	n = readv(fd, parts, 64);
	CHECK(n > 3000 && n <= 61 * 64);
	CHECK(check_many(buf, n, 0) > 5);
}

static void without_waiting(void)
{
	struct guest_record record;
	struct iovec whole = { &record, sizeof(record) };
	int fd = open_at_end(0);

	CHECK_ERRNO(preadv2(fd, &whole, 1, -1, RWF_NOWAIT), EAGAIN);
	CHECK_EQ(pwritev2(fd, &(struct iovec) { "nowait", 6 }, 1, -1, RWF_NOWAIT), 6);
	CHECK_EQ(preadv2(fd, &whole, 1, -1, RWF_NOWAIT), sizeof(record.head) + 8);
	CHECK(!memcmp(record.payload, "nowait", 6));
	CHECK_ERRNO(preadv2(fd, &whole, 1, -1, RWF_NOWAIT), EAGAIN);
	/* A position is another matter. */
	CHECK_ERRNO(preadv2(fd, &whole, 1, 0, 0), ESPIPE);
	CHECK_ERRNO(pwritev2(fd, &whole, 1, 0, 0), ESPIPE);
}

/* Each record's own time leads to it, in a channel that has lost many. */
static void seek_to_each_time(void)
{
	static char buf[1 << 20], out[700];
	int fd = guest_open("small", O_RDWR | O_NONBLOCK);
	struct guest_record got;
	ssize_t n, at;
	int i;

	for (i = 0; i < 2000; i++)
		CHECK_EQ(write(fd, out, 1 + i % 700), 1 + i % 700);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	n = read(fd, buf, sizeof(buf));
	for (at = 0, i = 0; at < n; at += ((struct flightrec_record *)(buf + at))->size, i++) {
		const struct flightrec_record *record = (const void *)(buf + at);
		__u64 when = record->boot_ns;

		CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_TIME, &when), 0);
		guest_read(fd, &got);
		/* Several may have the same time. */
		CHECK(got.head.boot_ns == when && got.head.seq <= record->seq);
		CHECK_EQ(got.head.lost, 0);
	}
	CHECK(i > 50);
}

struct uring {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array, *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static void *uring_map(int fd, size_t size, off_t what)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);

	CHECK(at != MAP_FAILED);
	return at;
}

static void uring_open(struct uring *ring)
{
	struct io_uring_params params = { 0 };
	char *sq, *cq;

	ring->fd = syscall(SYS_io_uring_setup, 8, &params);
	CHECK(ring->fd >= 0);
	sq = uring_map(ring->fd, params.sq_off.array + params.sq_entries * 4, IORING_OFF_SQ_RING);
	cq = uring_map(ring->fd, params.cq_off.cqes + params.cq_entries * sizeof(*ring->cqes),
		       IORING_OFF_CQ_RING);
	ring->sqes = uring_map(ring->fd, params.sq_entries * sizeof(*ring->sqes), IORING_OFF_SQES);
	ring->sq_tail = (unsigned int *)(sq + params.sq_off.tail);
	ring->sq_mask = (unsigned int *)(sq + params.sq_off.ring_mask);
	ring->sq_array = (unsigned int *)(sq + params.sq_off.array);
	ring->cq_head = (unsigned int *)(cq + params.cq_off.head);
	ring->cq_tail = (unsigned int *)(cq + params.cq_off.tail);
	ring->cq_mask = (unsigned int *)(cq + params.cq_off.ring_mask);
	ring->cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
}

static void uring_submit(struct uring *ring, int opcode, int fd, void *buf, unsigned int len)
{
	unsigned int at = *ring->sq_tail & *ring->sq_mask;

	ring->sqes[at] = (struct io_uring_sqe) {
		.opcode = opcode, .fd = fd, .addr = (uintptr_t)buf, .len = len, .off = -1,
	};
	ring->sq_array[at] = at;
	__atomic_store_n(ring->sq_tail, *ring->sq_tail + 1, __ATOMIC_RELEASE);
	CHECK_EQ(syscall(SYS_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0), 1);
}

/* Waits for a completion, at most @ms; false if there is none. */
static bool uring_done(struct uring *ring, int ms, int *res)
{
	struct pollfd p = { .fd = ring->fd, .events = POLLIN };

	if (*ring->cq_head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) &&
	    poll(&p, 1, ms) != 1)
		return false;
	CHECK(*ring->cq_head != __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE));
	*res = ring->cqes[*ring->cq_head & *ring->cq_mask].res;
	__atomic_store_n(ring->cq_head, *ring->cq_head + 1, __ATOMIC_RELEASE);
	return true;
}

/* By the submitter itself: a worker would be the one in the stamps. */
static void uring_writes_at_once(void)
{
	static char large[4096];
	struct guest_record record;
	struct uring ring;
	int fd = open_at_end(O_NONBLOCK);
	int res, i;

	uring_open(&ring);
	for (i = 0; i < 100; i++) {
		unsigned int len = i % 2 ? 5 : sizeof(large);

		uring_submit(&ring, IORING_OP_WRITE, fd, large, len);
		CHECK(uring_done(&ring, 0, &res));
		CHECK_EQ(res, len);
		guest_read(fd, &record);
		CHECK_EQ(record.head.pid, getpid());
		CHECK_EQ(record.head.len, len);
	}
	uring_submit(&ring, IORING_OP_WRITE, fd, (void *)8, 5);
	CHECK(uring_done(&ring, 0, &res));
	CHECK_EQ(res, -EFAULT);
}

static void uring_read_waits(void)
{
	struct guest_record record;
	struct uring ring;
	int fd = open_at_end(0);
	int res, i;

	uring_open(&ring);
	for (i = 0; i < 3; i++) {
		uring_submit(&ring, IORING_OP_READ, fd, &record, sizeof(record));
		CHECK(!uring_done(&ring, 100, &res));
		guest_write(fd, "at last");
		CHECK(uring_done(&ring, 30000, &res));
		CHECK_EQ(res, sizeof(record.head) + 8);
		CHECK(!memcmp(record.payload, "at last", 7));
	}
	guest_write(fd, "there");
	uring_submit(&ring, IORING_OP_READ, fd, &record, sizeof(record));
	CHECK(uring_done(&ring, 0, &res));
	CHECK_EQ(res, sizeof(record.head) + 8);
}

/* A seek back wakes who sleeps at the end, in read(2) and in poll(2). */
static void seek_wakes_sleepers(void)
{
	static const char text[] = "there before";
	struct guest_record record;
	struct pollfd poll_fd;
	int fd, way, status;
	pid_t pid;

	for (way = 0; way < 2; way++) {
		fd = open_at_end(0);
		guest_write(fd, text);
		CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
		pid = fork();
		CHECK(pid >= 0);
		if (!pid) {
			poll_fd = (struct pollfd) { .fd = fd, .events = POLLIN };
			if (way)
				_exit(poll(&poll_fd, 1, 20000) != 1);
			_exit(read(fd, &record, sizeof(record)) <= 0);
		}
		guest_sleep_ms(300);
		CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
		CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, 0);
		close(fd);
	}
}

/* ---- filters */

static void set_filter(int fd, const struct flightrec_filter *filter)
{
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SET_FILTER, filter), 0);
}

static void expect(int fd, const char *text)
{
	struct guest_record record;

	guest_read(fd, &record);
	record.payload[record.head.len] = '\0';
	if (strcmp(record.payload, text))
		FAIL("\"%s\", expected \"%s\"", record.payload, text);
	CHECK_EQ(record.head.lost, 0);
}

static unsigned long long waiting(int fd)
{
	struct flightrec_info info;

	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK_EQ(info.filters, FLIGHTREC_FILTER_ALL);
	CHECK_EQ(info.features, FLIGHTREC_FEATURE_REMOVAL | FLIGHTREC_FEATURE_RESIZE);
	return info.waiting;
}

static void filter_by_severity(void)
{
	struct flightrec_filter filter = { .features = FLIGHTREC_FILTER_SEVERITY, .severity = 3 };
	int fd = open_at_end(O_NONBLOCK);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct guest_record record;

	CHECK_EQ(waiting(fd), 0);
	set_filter(fd, &filter);
	guest_write(fd, "<7>debug");
	CHECK_EQ(poll(&p, 1, 0), 0);
	guest_write(fd, "<3>error");
	guest_write(fd, "plain");
	guest_write(fd, "<0>emergency");
	guest_write(fd, "<4>warning");
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(waiting(fd), 4);
	expect(fd, "error");
	expect(fd, "emergency");
	CHECK_EQ(poll(&p, 1, 0), 0);
	CHECK_EQ(waiting(fd), 0);
	CHECK(!guest_next(fd, &record));
	/* It was polled: it would not be woken for what is less urgent. */
	filter.features = 0;
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SET_FILTER, &filter), EBUSY);
	filter.features = FLIGHTREC_FILTER_SEVERITY;
	filter.severity = 5;
	set_filter(fd, &filter);
	guest_write(fd, "<5>notice");
	expect(fd, "notice");
}

/* Who writes as user 1234 and says which process that was. */
static pid_t write_as_user(int fd)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		CHECK(!setresuid(1234, 0, 0));
		guest_write(fd, "of a user");
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	return pid;
}

static void filter_by_writer(void)
{
	struct flightrec_filter filter = { .features = FLIGHTREC_FILTER_UID, .uid = 1234 };
	int fd = open_at_end(O_NONBLOCK);
	struct guest_record record;
	pid_t pid;

	guest_write(fd, "one");
	pid = write_as_user(fd);
	guest_write(fd, "two");
	set_filter(fd, &filter);
	expect(fd, "of a user");
	CHECK(!guest_next(fd, &record));
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	filter = (struct flightrec_filter) { .features = FLIGHTREC_FILTER_PID, .pid = pid };
	set_filter(fd, &filter);
	guest_read(fd, &record);
	CHECK_EQ(record.head.uid, 1234);
	CHECK(!guest_next(fd, &record));
	filter = (struct flightrec_filter) {
		.features = FLIGHTREC_FILTER_CGROUP | FLIGHTREC_FILTER_UID,
		.cgroup = record.head.cgroup, .uid = 1234,
	};
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	set_filter(fd, &filter);
	guest_read(fd, &record);
	CHECK_EQ(record.head.pid, pid);
	filter.cgroup++;
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	set_filter(fd, &filter);
	CHECK(!guest_next(fd, &record));
}

static void stamps_without_payloads(void)
{
	struct flightrec_filter filter = { .features = FLIGHTREC_FILTER_STAMPS };
	int fd = open_at_end(O_NONBLOCK);
	struct flightrec_record got[3];

	guest_write(fd, "some text");
	guest_write(fd, "more of it");
	set_filter(fd, &filter);
	CHECK_ERRNO(read(fd, got, sizeof(*got) - 8), EINVAL);
	CHECK_EQ(read(fd, got, sizeof(got)), 2 * sizeof(*got));
	CHECK_EQ(got[0].size, sizeof(*got));
	CHECK_EQ(got[0].len, 0);
	CHECK_EQ(got[0].flags, FLIGHTREC_F_STAMP);
	CHECK_EQ(got[0].pid, getpid());
	CHECK_EQ(got[1].seq, got[0].seq + 1);
	filter.features = 0;
	set_filter(fd, &filter);
	guest_write(fd, "whole");
	expect(fd, "whole");
}

#define FLOOD 4000	/* more than "small" holds */

/* What was overwritten counts as lost, whatever it was; what was passed over does not. */
static void filter_and_losses(void)
{
	struct flightrec_filter filter = { .features = FLIGHTREC_FILTER_SEVERITY, .severity = 3 };
	int fd = guest_open("small", O_RDWR | O_NONBLOCK);
	struct guest_record record;
	struct flightrec_info info;
	__u64 from;
	int i;

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	from = info.next_seq;
	set_filter(fd, &filter);
	for (i = 0; i < FLOOD; i++)
		guest_write(fd, "<7>a record that is not wanted, of some length, and so on");
	/* What is still there is passed over, and what is lost is not forgotten. */
	CHECK(!guest_next(fd, &record));
	guest_write(fd, "<3>wanted");
	guest_read(fd, &record);
	CHECK_EQ(record.head.seq, from + FLOOD);
	CHECK(record.head.lost > 0 && record.head.lost < FLOOD);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK_EQ(info.waiting, 0);
	guest_write(fd, "<3>next");
	expect(fd, "next");
}

static void read_urgent(int fd)
{
	struct guest_record record;

	guest_read(fd, &record);
	_exit(memcmp(record.payload, "at last", 7) != 0);
}

static long long switches(pid_t pid)
{
	char path[64], *text, *at;
	long long n;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	text = guest_slurp(path);
	at = strstr(text, "\nvoluntary_ctxt_switches:");
	CHECK(at);
	n = atoll(at + strlen("\nvoluntary_ctxt_switches:"));
	free(text);
	return n;
}

static char state_of(pid_t pid)
{
	char path[64], *text, state;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	text = guest_slurp(path);
	state = strrchr(text, ')')[2];
	free(text);
	return state;
}

/* A reader of errors sleeps on while others are written, and is woken by one. */
static void urgent_reader_sleeps_on(void)
{
	struct flightrec_filter filter = { .features = FLIGHTREC_FILTER_SEVERITY, .severity = 3 };
	int fd = open_at_end(0), status, i;
	long long before, wakeups;
	pid_t pid;

	set_filter(fd, &filter);
	pid = fork();
	if (!pid)
		read_urgent(fd);
	while (state_of(pid) != 'S')
		guest_sleep_ms(5);
	before = switches(pid);
	wakeups = guest_stat("default", "wakeups");
	for (i = 0; i < 200; i++) {
		guest_write(fd, "<7>debug");
		guest_write(fd, "plain");
	}
	guest_sleep_ms(50);
	CHECK_EQ(switches(pid), before);
	CHECK_EQ(guest_stat("default", "wakeups"), wakeups);
	guest_write(fd, "<2>at last");
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
}

static void woken(int sig)
{
	(void)sig;
}

/* Nothing is wanted, and others write faster than it passes over that: a signal ends it. */
static void read_nothing(int fd)
{
	struct sigaction action = { .sa_handler = woken };
	struct guest_record record;

	CHECK(!sigaction(SIGALRM, &action, NULL));
	alarm(1);
	CHECK_ERRNO(read(fd, &record, sizeof(record)), EINTR);
	_exit(0);
}

static void signal_ends_filtered_read(void)
{
	struct flightrec_filter filter = { .features = FLIGHTREC_FILTER_UID, .uid = 4321 };
	int fd = open_at_end(0), status, i;
	pid_t reader, writers[3];

	set_filter(fd, &filter);
	for (i = 0; i < 3; i++) {
		writers[i] = fork();
		/* Not as root, whose quota the next cases need. */
		if (!writers[i] && setresuid(1234, 1234, 1234))
			_exit(1);
		while (!writers[i])
			if (write(fd, "x", 1) != 1 && errno != EDQUOT)
				_exit(1);
	}
	reader = fork();
	if (!reader)
		read_nothing(fd);
	CHECK_EQ(waitpid(reader, &status, 0), reader);
	CHECK_EQ(status, 0);
	for (i = 0; i < 3; i++) {
		CHECK(!kill(writers[i], SIGKILL));
		CHECK_EQ(waitpid(writers[i], &status, 0), writers[i]);
		CHECK(WIFSIGNALED(status));
	}
}

/*
 * A poll that begins while the filter is given up is woken for what is less urgent, or
 * the filter stays.
 */
static void poll_beside_a_new_filter(void)
{
	struct flightrec_filter urgent = { .features = FLIGHTREC_FILTER_SEVERITY, .severity = 3 };
	struct flightrec_filter all = { .features = 0 };
	int i, fd, status, given_up, begin[2];
	struct pollfd p = { .events = POLLIN };
	pid_t pid;

	for (i = 0; i < 500; i++) {
		fd = open_at_end(0);
		set_filter(fd, &urgent);
		CHECK(!pipe(begin));
		pid = fork();
		if (!pid) {
			p.fd = fd;
			CHECK_EQ(write(begin[1], "", 1), 1);
			_exit(poll(&p, 1, 30000) != 1);
		}
		CHECK_EQ(read(begin[0], &status, 1), 1);
		given_up = !ioctl(fd, FLIGHTREC_IOC_SET_FILTER, &all);
		CHECK(given_up || errno == EBUSY);
		guest_write(fd, given_up ? "plain" : "<3>urgent");
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, 0);
		close(begin[0]);
		close(begin[1]);
		close(fd);
	}
}

static void bad_filters(void)
{
	struct {
		struct flightrec_filter filter;
		__u64 more;
	} longer = { .filter.features = FLIGHTREC_FILTER_UID, .filter.uid = 7 };
	struct flightrec_filter filter = { .features = FLIGHTREC_FILTER_ALL + 1 };
	const unsigned long long_request = _IOW(0xf1, 5, longer);
	char old[FLIGHTREC_INFO_MIN + 1];
	int fd = open_at_end(O_NONBLOCK);

	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SET_FILTER, &filter), EINVAL);
	filter = (struct flightrec_filter) { .severity = 8 };
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SET_FILTER, &filter), EINVAL);
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SET_FILTER, (void *)8), EFAULT);
	CHECK_ERRNO(ioctl(fd, _IOW(0xf1, 5, __u32), &filter), ENOTTY);
	CHECK_ERRNO(ioctl(guest_open("default", O_WRONLY), FLIGHTREC_IOC_SET_FILTER, &filter), EBADF);
	/* Of a later version: what it does not use may be there. */
	CHECK_EQ(ioctl(fd, long_request, &longer), 0);
	longer.more = 1;
	CHECK_ERRNO(ioctl(fd, long_request, &longer), E2BIG);
	/* The first version's request, and nothing behind its end. */
	memset(old, 'x', sizeof(old));
	CHECK_EQ(ioctl(fd, _IOC(_IOC_READ, 0xf1, 0, FLIGHTREC_INFO_MIN), old), 0);
	CHECK(!strcmp(old + FLIGHTREC_INFO_MIN - FLIGHTREC_NAME_MAX, "default"));
	CHECK_EQ(old[FLIGHTREC_INFO_MIN], 'x');
	CHECK_ERRNO(ioctl(fd, _IOC(_IOC_READ, 0xf1, 0, 8), old), ENOTTY);
}

static const struct guest_case cases[] = {
	{ "read-fault-in-the-middle", fault_in_the_middle },
	{ "read-many-by-one-call", many_by_one_call },
	{ "read-as-many-as-fit", as_many_as_fit },
	{ "readv-is-one-buffer", readv_is_one_buffer },
	{ "read-without-waiting", without_waiting },
	{ "seek-to-each-time", seek_to_each_time },
	{ "seek-wakes-sleepers", seek_wakes_sleepers },
	{ "filter-by-severity", filter_by_severity },
	{ "filter-by-writer", filter_by_writer },
	{ "filter-stamps-without-payloads", stamps_without_payloads },
	{ "filter-and-losses", filter_and_losses },
	{ "filter-urgent-reader-sleeps-on", urgent_reader_sleeps_on },
	{ "filter-signal-ends-a-read", signal_ends_filtered_read },
	{ "filter-poll-beside-a-new-one", poll_beside_a_new_filter },
	{ "filter-bad-ones", bad_filters },
	{ "uring-writes-at-once", uring_writes_at_once },
	{ "uring-read-waits", uring_read_waits },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 120);
}
