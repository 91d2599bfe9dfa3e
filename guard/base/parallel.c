// SPDX-License-Identifier: GPL-2.0-or-later
/* A pool of threads for work on independent things: files of several kernels. */
#include "guard/base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

/* Each may hold a dictionary of some 64 MiB. */
#define THREADS_MAX 8

struct work {
	size_t n;
	void (*fn)(void *arg, size_t i);
	void *arg;
	atomic_size_t next;
};

unsigned int parallel_cpus(void)
{
	cpu_set_t set;
	int n = 1;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		n = CPU_COUNT(&set);
	return n > THREADS_MAX ? THREADS_MAX : n;
}

static void *take_turns(void *arg)
{
	struct work *w = arg;
	size_t i;

	while ((i = atomic_fetch_add(&w->next, 1)) < w->n)
		w->fn(w->arg, i);
	return NULL;
}

void parallel_each(size_t n, void (*fn)(void *arg, size_t i), void *arg)
{
	struct work w = { .n = n, .fn = fn, .arg = arg };
	pthread_t helpers[THREADS_MAX];
	unsigned int started = 0, cpus = parallel_cpus();

	/* Where no more threads are to be had, this one does it all. */
	while (started + 1 < cpus && started + 1 < n &&
	       !pthread_create(&helpers[started], NULL, take_turns, &w))
		started++;
	take_turns(&w);
	while (started)
		pthread_join(helpers[--started], NULL);
}
