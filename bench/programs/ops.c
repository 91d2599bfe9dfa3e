// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The operations: flightrec and everything that it is compared with.
 */
#include "bench.h"

#include <fcntl.h>
#include <mqueue.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define TRACING "/sys/kernel/tracing/"

/* printk's buffer holds a record of 1024 bytes with its prefix: half is safe. */
#define KMSG_MAX 512

static int must_open(const char *path, int flags)
{
	int fd = open(path, flags, 0600);

	if (fd < 0)
		DIE("open %s", path);
	return fd;
}

static void must_be(long got, long want, const struct state *state)
{
	if (__builtin_expect(got != want, 0))
		DIE("%zu bytes: a call returned %ld, not %ld", state->bytes, got, want);
}

static void write_it(struct state *state)
{
	must_be(sys3(SYS_write, state->fd, (long)state->buf, state->bytes),
		state->bytes, state);
}

/* The payload as two parts, a short head and the rest, as a program that adds a prefix has it. */
static void writev_parts(struct state *state, int parts)
{
	struct iovec parts_of[2] = {
		{ state->buf, parts == 1 ? state->bytes : 8 },
		{ state->buf + 8, state->bytes - 8 },
	};

	must_be(sys3(SYS_writev, state->fd, (long)parts_of, parts), state->bytes, state);
}

static void writev_one(struct state *state) { writev_parts(state, 1); }
static void writev_two(struct state *state) { writev_parts(state, 2); }
static void uring_one(struct state *state) { uring_write(state, 1); }
static void uring_many(struct state *state) { uring_write(state, 32); }

static void run_getppid(struct state *state)
{
	(void)state;
	sys3(SYS_getppid, 0, 0, 0);
}

static void open_nothing(struct state *state) { state->fd = -1; }
static void open_null(struct state *state) { state->fd = must_open("/dev/null", O_WRONLY); }

static void open_null_uring(struct state *state)
{
	open_null(state);
	uring_open(state);
}

/* ---- trace_marker */

/* A line "key: number" in a file; a missing one ends the program. */
uint64_t bench_number_in(const char *path, const char *key)
{
	char line[256];
	size_t len = strlen(key);
	FILE *file = fopen(path, "r");

	if (!file)
		DIE("open %s", path);
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, key, len) || line[len] != ':')
			continue;
		fclose(file);
		return strtoull(line + len + 1, NULL, 10);
	}
	DIE("%s has no \"%s\"", path, key);
}

void bench_put(const char *path, const char *text)
{
	int fd = must_open(path, O_WRONLY);

	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		DIE("write %s to %s", text, path);
	close(fd);
}

/* As large as flightrec's channel, and empty, so that overwriting shows when it is full. */
static void trace_on(void)
{
	bench_put(TRACING "buffer_size_kb", "1024");
	bench_put(TRACING "trace", " ");
	bench_put(TRACING "tracing_on", "1");
}

static void open_marker(struct state *state)
{
	trace_on();
	state->fd = must_open(TRACING "trace_marker", O_WRONLY);
}

static void open_marker_raw(struct state *state)
{
	trace_on();
	state->fd = must_open(TRACING "trace_marker_raw", O_WRONLY);
}

/* Of all CPUs: which one writes is the scheduler's choice. */
static uint64_t marker_count(const char *what)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF), cpu;
	char stats[128];
	uint64_t sum = 0;

	for (cpu = 0; cpu < cpus; cpu++) {
		snprintf(stats, sizeof(stats), TRACING "per_cpu/cpu%ld/stats", cpu);
		sum += bench_number_in(stats, what);
	}
	return sum;
}

static uint64_t marker_arrived(struct state *state)
{
	(void)state;
	return marker_count("entries") + marker_count("overrun");
}

static bool marker_full(struct state *state)
{
	(void)state;
	return marker_count("overrun") > 0;
}

/* ---- /dev/kmsg: what is too long for one record goes as several */

static unsigned int kmsg_parts(const struct state *state)
{
	return (state->bytes + KMSG_MAX - 1) / KMSG_MAX;
}

static void run_kmsg(struct state *state)
{
	size_t done, n;

	for (done = 0; done < state->bytes; done += n) {
		n = state->bytes - done < KMSG_MAX ? state->bytes - done : KMSG_MAX;
		must_be(sys3(SYS_write, state->fd, (long)state->buf + done, n), n, state);
	}
}

static void open_kmsg(struct state *state)
{
	state->fd = must_open("/dev/kmsg", O_WRONLY);
	state->fd2 = must_open("/dev/kmsg", O_RDONLY | O_NONBLOCK);
	state->mark = 0;
}

/* The number of a record written now, less those written only to ask. */
static uint64_t kmsg_arrived(struct state *state)
{
	char line[2048] = "";
	uint64_t seq;

	NEED(lseek(state->fd2, 0, SEEK_END) == 0);
	NEED(write(state->fd, "where?\n", 7) == 7);
	NEED(read(state->fd2, line, sizeof(line) - 1) > 0);
	NEED(strchr(line, ','));
	seq = strtoull(strchr(line, ',') + 1, NULL, 10);
	return seq - state->mark++;
}

/* ---- pipe, datagrams, message queue: there and back */

static void open_pipe(struct state *state)
{
	int fds[2];

	NEED(!pipe(fds));
	state->fd = fds[1];
	state->fd2 = fds[0];
}

static void run_pipe(struct state *state)
{
	write_it(state);
	must_be(sys3(SYS_read, state->fd2, (long)state->into, SIZE_MAX_BYTES),
		state->bytes, state);
}

static void open_dgram(struct state *state)
{
	int fds[2];

	NEED(!socketpair(AF_UNIX, SOCK_DGRAM, 0, fds));
	state->fd = fds[1];
	state->fd2 = fds[0];
}

static void run_dgram(struct state *state)
{
	must_be(sys6(SYS_sendto, state->fd, (long)state->buf, state->bytes, 0, 0, 0),
		state->bytes, state);
	must_be(sys6(SYS_recvfrom, state->fd2, (long)state->into, SIZE_MAX_BYTES, 0, 0, 0),
		state->bytes, state);
}

static void open_mqueue(struct state *state)
{
	struct mq_attr attr = { .mq_maxmsg = 10, .mq_msgsize = SIZE_MAX_BYTES };
	char name[32];

	snprintf(name, sizeof(name), "/bench-%d-%p", getpid(), (void *)state);
	state->fd = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
	NEED(state->fd >= 0);
	NEED(!mq_unlink(name));
}

static void run_mqueue(struct state *state)
{
	must_be(sys6(SYS_mq_timedsend, state->fd, (long)state->buf, state->bytes, 0, 0, 0),
		0, state);
	must_be(sys6(SYS_mq_timedreceive, state->fd, (long)state->into, SIZE_MAX_BYTES,
		     0, 0, 0), state->bytes, state);
}

/* ---- tmpfs: a log file that grows */

static void open_tmpfs(struct state *state)
{
	char name[] = "/tmp/bench-XXXXXX";

	close(mkstemp(name));
	state->fd = must_open(name, O_WRONLY | O_APPEND);
	NEED(!unlink(name));
}

static void reset_tmpfs(struct state *state)
{
	NEED(!ftruncate(state->fd, 0));
}

/* ---- flightrec */

static struct flightrec_info flightrec_info(const struct state *state)
{
	struct flightrec_info info;

	NEED(!ioctl(state->fd, FLIGHTREC_IOC_GET_INFO, &info));
	return info;
}

static void open_flightrec(struct state *state)
{
	/* Only who may read is told the numbers by which a full ring is known. */
	state->fd = must_open("/dev/flightrec/default", O_RDWR);
	state->mark = flightrec_info(state).next_seq;
}

static void open_flightrec_uring(struct state *state)
{
	open_flightrec(state);
	uring_open(state);
}

static uint64_t flightrec_arrived(struct state *state)
{
	return flightrec_info(state).next_seq;
}

/* Of records of this size only: what is dropped is then like what is written. */
static bool flightrec_full(struct state *state)
{
	return flightrec_info(state).oldest_seq > state->mark;
}

#define FLIGHTREC_OP(name_, n, open_, run_) \
	{ .name = name_, .per_run = n, .open = open_, .run = run_, \
	  .arrived = flightrec_arrived, .full = flightrec_full }

const struct op bench_ops[] = {
	{ .name = "getppid", .per_run = 1, .open = open_nothing, .run = run_getppid },
	{ .name = "null", .per_run = 1, .open = open_null, .run = write_it },
	{ .name = "null_writev1", .per_run = 1, .open = open_null, .run = writev_one },
	{ .name = "null_writev", .per_run = 1, .open = open_null, .run = writev_two },
	{ .name = "null_uring1", .per_run = 1, .open = open_null_uring, .run = uring_one },
	{ .name = "null_uring", .per_run = 32, .open = open_null_uring, .run = uring_many },
	{ .name = "trace_marker", .per_run = 1, .open = open_marker, .run = write_it,
	  .arrived = marker_arrived, .full = marker_full },
	{ .name = "trace_marker_raw", .per_run = 1, .open = open_marker_raw, .run = write_it,
	  .arrived = marker_arrived, .full = marker_full },
	{ .name = "kmsg", .per_run = 1, .open = open_kmsg, .run = run_kmsg,
	  .arrived = kmsg_arrived, .parts = kmsg_parts },
	{ .name = "pipe", .per_run = 1, .open = open_pipe, .run = run_pipe },
	{ .name = "dgram", .per_run = 1, .open = open_dgram, .run = run_dgram },
	{ .name = "mqueue", .per_run = 1, .open = open_mqueue, .run = run_mqueue },
	{ .name = "tmpfs", .per_run = 1, .open = open_tmpfs, .run = write_it,
	  .reset = reset_tmpfs },
	FLIGHTREC_OP("flightrec_write", 1, open_flightrec, write_it),
	FLIGHTREC_OP("flightrec_writev1", 1, open_flightrec, writev_one),
	FLIGHTREC_OP("flightrec_writev", 1, open_flightrec, writev_two),
	FLIGHTREC_OP("flightrec_uring1", 1, open_flightrec_uring, uring_one),
	FLIGHTREC_OP("flightrec_uring", 32, open_flightrec_uring, uring_many),
};

/* For the profile: what one call reads, PROFILED_RECORDS at a time. */
#define PROFILED_RECORDS 64

static void open_reading(struct state *state)
{
	open_flightrec(state);
	state->fd2 = must_open("/dev/flightrec/default", O_RDONLY | O_NONBLOCK);
	state->more = malloc(65536);
	NEED(state->more);
	NEED(lseek(state->fd2, 0, SEEK_END) == 0);
}

static void reset_reading(struct state *state)
{
	int i;

	for (i = 0; i < PROFILED_RECORDS; i++)
		write_it(state);
}

static void run_reading(struct state *state)
{
	long n = sys3(SYS_read, state->fd2, (long)state->more, 65536);

	NEED(n >= (long)(PROFILED_RECORDS * state->bytes));
}

static const struct op reading = {
	.name = "flightrec_read", .per_run = PROFILED_RECORDS, .open = open_reading,
	.reset = reset_reading, .run = run_reading,
};

const size_t bench_ops_count = sizeof(bench_ops) / sizeof(*bench_ops);

const struct op *bench_op(const char *name)
{
	size_t i;

	for (i = 0; i < bench_ops_count; i++)
		if (!strcmp(bench_ops[i].name, name))
			return &bench_ops[i];
	if (!strcmp(reading.name, name))
		return &reading;
	DIE("no operation \"%s\"", name);
}

struct state *bench_open(const struct op *op, size_t bytes)
{
	struct state *state = calloc(1, sizeof(*state));
	size_t i;

	NEED(state);
	state->bytes = bytes;
	state->fd = -1;
	state->fd2 = -1;
	state->buf = malloc(SIZE_MAX_BYTES);
	state->into = malloc(SIZE_MAX_BYTES);
	NEED(state->buf && state->into);
	for (i = 0; i < SIZE_MAX_BYTES; i++) {
		state->buf[i] = 'a' + i % 23;
		state->into[i] = 0;
	}
	state->buf[bytes - 1] = '\n';	/* printk keeps a record without it open */
	op->open(state);
	/* A recorder lives with a full buffer, dropping the oldest with each write. */
	while (op->full && !op->full(state))
		for (i = 0; i < 256; i++)
			write_it(state);
	return state;
}

void bench_close(struct state *state)
{
	if (state->fd >= 0)
		close(state->fd);
	if (state->fd2 >= 0)
		close(state->fd2);
	free(state->buf);
	free(state->into);
	free(state);
}
