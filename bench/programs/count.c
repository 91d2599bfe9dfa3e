// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Counting: batches of operations between two readings of the clock, less
 * the same loop around nothing. The median of several batches is free of the
 * timer tick, which hits one batch in some; what an operation does only now
 * and then (a new page, a new block) is shared out over the batch.
 *
 * Whether each payload arrived is checked afterwards: dropping is cheap.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS 512
#define COSTLY 20000	/* instructions; of such operations fewer will do */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

double bench_median(double *values, size_t n)
{
	qsort(values, n, sizeof(*values), by_value);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* The loop is one function for all, so that what is taken off is exact. */
__attribute__((noinline))
uint64_t bench_batch(const struct op *op, struct state *state, unsigned int runs)
{
	void (*run)(struct state *) = op->run;
	uint64_t start = now_instructions();
	unsigned int i;

	for (i = 0; i < runs; i++)
		run(state);
	return now_instructions() - start;
}

static void run_nothing(struct state *state)
{
	(void)state;
}

static const struct op nothing = { .name = "nothing", .per_run = 1, .run = run_nothing };

static double median_batch(const struct op *op, struct state *state, unsigned int runs)
{
	double samples[SAMPLES];
	int i;

	for (i = -1; i < SAMPLES; i++) {	/* the first warms up */
		uint64_t spent;

		if (op->reset)
			op->reset(state);
		spent = bench_batch(op, state, runs);
		if (i >= 0)
			samples[i] = spent;
	}
	return bench_median(samples, SAMPLES);
}

double bench_count(const struct op *op, struct state *state, unsigned int runs)
{
	unsigned int parts = op->parts ? op->parts(state) : 1;
	uint64_t wanted = (uint64_t)(SAMPLES + 1) * runs * op->per_run * parts;
	uint64_t before = op->arrived ? op->arrived(state) : 0;
	double spent = median_batch(op, state, runs) - median_batch(&nothing, state, runs);
	uint64_t got = op->arrived ? op->arrived(state) - before : wanted;

	if (got != wanted)
		DIE("%s, %zu bytes: %llu written, %llu arrived", op->name, state->bytes,
		    (unsigned long long)wanted, (unsigned long long)got);
	return spent / runs / op->per_run;
}

/* Clock ticks that this machine's CPUs have been busy, and all, since boot. */
static void ticks(unsigned long long *busy, unsigned long long *all)
{
	unsigned long long t[8] = { 0 };
	FILE *file = fopen("/proc/stat", "r");
	int i;

	NEED(file);
	NEED(fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &t[0], &t[1], &t[2],
		    &t[3], &t[4], &t[5], &t[6], &t[7]) == 8);
	fclose(file);
	*all = 0;
	for (i = 0; i < 8; i++)
		*all += t[i];
	*busy = *all - t[3] - t[4];
}

/*
 * Some kernels still have work to do in the background when user space has
 * begun, which would take its turns between the operations. Idle time costs
 * nothing: without a task the emulated clock jumps to the next timer.
 */
void bench_settle(void)
{
	unsigned long long busy, all, busy2, all2;
	struct timespec second = { 1, 0 };
	int tries;

	for (tries = 0; tries < 120; tries++) {
		ticks(&busy, &all);
		nanosleep(&second, NULL);
		ticks(&busy2, &all2);
		if ((busy2 - busy) * 50 <= all2 - all)
			return;
	}
	DIE("the guest does not become idle");
}

/*
 * In a process of its own: a process that has once used io_uring may share its
 * descriptors with kernel threads, and then every call that takes one costs more.
 */
static void count_op(const struct op *op, size_t bytes)
{
	unsigned int runs = RUNS / op->per_run;
	struct state *state;
	pid_t child = fork();
	int status;

	NEED(child >= 0);
	if (!child) {
		state = bench_open(op, bytes);
		if (bench_batch(op, state, 2) > 2 * COSTLY * op->per_run)
			runs = runs > 64 ? 64 : 2;
		bench_result(op->name, bytes, bench_count(op, state, runs));
		exit(0);
	}
	NEED(waitpid(child, &status, 0) == child);
	if (status)
		DIE("%s, %zu bytes: status %#x", op->name, bytes, status);
}

/* bench count [OP...] */
int count_main(int argc, char **argv)
{
	size_t op, size;
	int i;

	bench_settle();
	for (size = 0; size < 4; size++) {
		for (op = 0; argc == 1 && op < bench_ops_count; op++)
			count_op(&bench_ops[op], bench_sizes[size]);
		for (i = 1; i < argc; i++)
			count_op(bench_op(argv[i]), bench_sizes[size]);
	}
	return 0;
}

/*
 * bench once OP BYTES: warms up, then runs the operation for ever. A debugger
 * stops it at once_here() and follows it, instruction by instruction, up to
 * once_done().
 */
__attribute__((noinline))
static void once_here(void)
{
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline))
static void once_done(void)
{
	__asm__ volatile("nop" ::: "memory");
}

int once_main(int argc, char **argv)
{
	const struct op *op;
	struct state *state;
	int i;

	NEED(argc == 3);
	op = bench_op(argv[1]);
	state = bench_open(op, atoi(argv[2]));
	for (i = 0; ; i++) {
		if (op->reset)
			op->reset(state);
		if (i == RUNS) {
			printf("once: ready\n");
			fflush(stdout);
		}
		if (i >= RUNS)
			once_here();
		op->run(state);
		if (i >= RUNS)
			once_done();
	}
}
