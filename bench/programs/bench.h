/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the programs of the benchmark have in common.
 *
 * Results go to standard output, a line each, for bench/guest.py:
 *
 *   result NAME BYTES VALUE
 *
 * Anything that goes wrong ends the program with a reason: a figure that
 * nobody can trust must not exist.
 */
#ifndef BENCH_H
#define BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "../../src/uapi/flightrec.h"

#define SIZE_MAX_BYTES	1024
#define SAMPLES		11

extern const size_t bench_sizes[4];

/* Says where and why, and ends the program. */
#define DIE(...) bench_die(__FILE__, __LINE__, __VA_ARGS__)
#define NEED(cond) do { if (!(cond)) DIE("%s", #cond); } while (0)

__attribute__((format(printf, 3, 4), noreturn))
void bench_die(const char *file, int line, const char *fmt, ...);

void bench_result(const char *name, size_t bytes, double value);

/*
 * The clock of the count: with -icount shift=0 the emulated machine lives one
 * nanosecond per instruction and its time stamp counter runs at 1 GHz, so the
 * difference of two readings is the number of instructions between them, of
 * user space and kernel together.
 */
static inline uint64_t now_instructions(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high) :: "memory");
	return (uint64_t)high << 32 | low;
}

/* System calls without the C library's share, which differs between calls. */
static inline long sys6(long nr, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall" : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

static inline long sys3(long nr, long a, long b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret)
			 : "a"(nr), "D"(a), "S"(b), "d"(c)
			 : "rcx", "r11", "memory");
	return ret;
}

/* What one operation works on; each op uses what it needs. */
struct state {
	size_t bytes;
	int fd;
	int fd2;
	char *buf;
	char *into;
	uint64_t mark;		/* what has arrived before; see op.arrived */
	void *more;
};

/**
 * struct op - an operation that is measured
 * @per_run: how many operations one run() does
 * @open: prepares @state, whose bytes and buffers are set
 * @run: does it; must be lean, it is measured
 * @reset: between batches, not measured; may be NULL
 * @arrived: how many payloads the receiving side has ever got; may be NULL
 * @full: has the buffer wrapped, so that each write drops something? may be NULL
 * @parts: the records that a payload of so many bytes takes; NULL means one
 */
struct op {
	const char *name;
	unsigned int per_run;
	void (*open)(struct state *state);
	void (*run)(struct state *state);
	void (*reset)(struct state *state);
	uint64_t (*arrived)(struct state *state);
	bool (*full)(struct state *state);
	unsigned int (*parts)(const struct state *state);
};

extern const struct op bench_ops[];
extern const size_t bench_ops_count;

const struct op *bench_op(const char *name);
struct state *bench_open(const struct op *op, size_t bytes);
void bench_close(struct state *state);

/* Instructions of @runs runs, those of the loop itself included. */
uint64_t bench_batch(const struct op *op, struct state *state, unsigned int runs);

/* Instructions of one operation, those of the loop taken off. */
double bench_count(const struct op *op, struct state *state, unsigned int runs);

/* Waits until nothing else runs on this machine. */
void bench_settle(void);

double bench_median(double *values, size_t n);
uint64_t bench_number_in(const char *path, const char *key);
void bench_put(const char *path, const char *text);

/* io_uring by hand, so that no library is needed: uring.c. */
void uring_open(struct state *state);
void uring_write(struct state *state, unsigned int n);

/* The programs: the first argument chooses. */
int count_main(int argc, char **argv);
int readers_main(int argc, char **argv);
int reading_main(int argc, char **argv);
int memory_main(int argc, char **argv);
int journald_main(int argc, char **argv);
int wall_main(int argc, char **argv);
int online_main(int argc, char **argv);
int once_main(int argc, char **argv);

#endif
