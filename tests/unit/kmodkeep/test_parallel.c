// SPDX-License-Identifier: GPL-2.0-or-later
/* The same work on several things at once. */
#include "fixture.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "guard/base/parallel.h"

#define MANY 1000

static void count_one(void *arg, size_t i)
{
	atomic_fetch_add(&((atomic_uint *)arg)[i], 1);
}

static void each_is_done_once(void **state)
{
	atomic_uint counts[MANY] = { 0 };

	(void)state;
	parallel_each(0, count_one, NULL);
	parallel_each(MANY, count_one, counts);
	for (size_t i = 0; i < MANY; i++)
		assert_int_equal(atomic_load(&counts[i]), 1);
}

struct meeting {
	atomic_uint came;
	atomic_uint met;
};

/* Two that wait for each other: one after the other they never meet. */
static void meet(void *arg, size_t i)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct meeting *m = arg;

	(void)i;
	atomic_fetch_add(&m->came, 1);
	for (int tries = 0; tries < 20000 && atomic_load(&m->came) < 2; tries++)
		nanosleep(&pause, NULL);
	if (atomic_load(&m->came) == 2)
		atomic_fetch_add(&m->met, 1);
}

static void two_at_once(void **state)
{
	struct meeting m = { 0 };

	(void)state;
	if (parallel_cpus() < 2)
		skip();
	parallel_each(2, meet, &m);
	assert_int_equal(atomic_load(&m.met), 2);
}

static void same_thread(void *arg, size_t i)
{
	(void)i;
	assert_true(pthread_equal(*(pthread_t *)arg, pthread_self()));
}

static void one_cpu_takes_no_threads(void **state)
{
	pthread_t self = pthread_self();
	cpu_set_t old, one;
	int cpu = 0;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
	while (!CPU_ISSET(cpu, &old))
		cpu++;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(parallel_cpus(), 1);
	parallel_each(10, same_thread, &self);
	assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_is_done_once),
		cmocka_unit_test(two_at_once),
		cmocka_unit_test(one_cpu_takes_no_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
