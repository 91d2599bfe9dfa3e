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

static const struct guest_case cases[] = {
	{ "read-fault-in-the-middle", fault_in_the_middle },
	{ "read-many-by-one-call", many_by_one_call },
	{ "read-as-many-as-fit", as_many_as_fit },
	{ "readv-is-one-buffer", readv_is_one_buffer },
	{ "read-without-waiting", without_waiting },
	{ "seek-to-each-time", seek_to_each_time },
	{ "seek-wakes-sleepers", seek_wakes_sleepers },
	{ "uring-writes-at-once", uring_writes_at_once },
	{ "uring-read-waits", uring_read_waits },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 120);
}
