// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Nanoseconds of each operation, with one writer and with two at the same
 * time, each with descriptors of its own. Depends on the machine and on what
 * else runs on it: reported, never a verdict. The best of a few rounds, which
 * is the one that was disturbed least.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define BYTES 64
#define ROUNDS 5
#define ROUND_NS 10000000ULL
#define WRITERS_MAX 2

struct writer {
	const struct op *op;
	struct state *state;
	unsigned int runs;
	uint64_t ns;
};

static pthread_barrier_t together;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

static uint64_t spend(const struct op *op, struct state *state, unsigned int runs)
{
	uint64_t start = now_ns();
	unsigned int i;

	for (i = 0; i < runs; i++)
		op->run(state);
	return now_ns() - start;
}

static void *writer_thread(void *arg)
{
	struct writer *writer = arg;

	pthread_barrier_wait(&together);
	writer->ns = spend(writer->op, writer->state, writer->runs);
	return NULL;
}

/* How many runs make a round. */
static unsigned int calibrate(const struct op *op, struct state *state)
{
	unsigned int runs = 1;
	uint64_t ns;

	while ((ns = spend(op, state, runs)) < ROUND_NS / 4)
		runs *= 2;
	runs = runs * (double)ROUND_NS / ns;
	return runs ? runs : 1;	/* the first one may have been kept from running */
}

/* Nanoseconds of an operation as each of @n writers sees it, in one round. */
static double one_round(struct writer *writers, int n)
{
	pthread_t threads[WRITERS_MAX];
	double sum = 0;
	int i;

	NEED(!pthread_barrier_init(&together, NULL, n));
	for (i = 0; i < n; i++) {
		if (writers[i].op->reset)
			writers[i].op->reset(writers[i].state);
		NEED(!pthread_create(&threads[i], NULL, writer_thread, &writers[i]));
	}
	for (i = 0; i < n; i++) {
		NEED(!pthread_join(threads[i], NULL));
		sum += (double)writers[i].ns / writers[i].runs / writers[i].op->per_run;
	}
	pthread_barrier_destroy(&together);
	return sum / n;
}

static void time_op(const struct op *op, int n)
{
	struct writer writers[WRITERS_MAX];
	double best = 0, ns;
	char name[64];
	int i;

	for (i = 0; i < n; i++) {
		writers[i].op = op;
		writers[i].state = bench_open(op, BYTES);
		writers[i].runs = i ? writers[0].runs : calibrate(op, writers[0].state);
	}
	for (i = 0; i < ROUNDS; i++) {
		ns = one_round(writers, n);
		if (!i || ns < best)
			best = ns;
	}
	snprintf(name, sizeof(name), "wall_%s_%d", op->name, n);
	bench_result(name, BYTES, best);
	for (i = 0; i < n; i++)
		bench_close(writers[i].state);
}

static const char *const timed[] = {
	"null", "trace_marker", "kmsg", "pipe", "dgram", "mqueue", "tmpfs",
	"flightrec_write", "flightrec_writev", "flightrec_uring",
};

int wall_main(int argc, char **argv)
{
	int n;
	size_t i;

	(void)argc;
	(void)argv;
	for (i = 0; i < sizeof(timed) / sizeof(*timed); i++)
		for (n = 1; n <= WRITERS_MAX; n++)
			time_op(bench_op(timed[i]), n);
	return 0;
}
