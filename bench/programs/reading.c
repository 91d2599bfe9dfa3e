// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a record costs to read: many by one call, or one by one; written by
 * one CPU, or by all CPUs in turn, so that no two neighbours in the channel
 * come from the same one.
 *
 * Every record is checked after it was counted: none lost, in order, with the
 * payload it was written with, from the CPU whose turn it was.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHANNEL "/dev/flightrec/default"
#define RECORDS_MAX 800
#define FILL (640 << 10)		/* bytes at most: the channel must hold all */
#define BATCH 65536
#define LAPS 3
#define CPUS_MAX 64

static char bulk[FILL + BATCH];
static unsigned int records;	/* how many of this size */
static unsigned int turn;	/* number of the record that is to be written next */
static size_t payload_bytes;
static long cpus;

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	NEED(!sched_setaffinity(0, sizeof(set), &set));
}

static void write_record(int fd, unsigned int i)
{
	char payload[SIZE_MAX_BYTES];

	memset(payload, 'a' + i % 23, payload_bytes);
	NEED(write(fd, payload, payload_bytes) == (ssize_t)payload_bytes);
}

/* One of the writers: record i is written by CPU i modulo their number. */
static void *write_in_turn(void *arg)
{
	unsigned int me = (uintptr_t)arg;
	unsigned int i;
	int fd = open(CHANNEL, O_WRONLY);

	NEED(fd >= 0);
	pin(me);
	for (i = me; i < records; i += cpus) {
		/* "pause" is where an emulated CPU lets the next one run. */
		while (__atomic_load_n(&turn, __ATOMIC_ACQUIRE) != i)
			__asm__ volatile("pause");
		write_record(fd, i);
		__atomic_store_n(&turn, i + 1, __ATOMIC_RELEASE);
	}
	close(fd);
	return NULL;
}

static void write_all(void)
{
	pthread_t writers[CPUS_MAX];
	long i;

	turn = 0;
	for (i = 0; i < cpus; i++)
		NEED(!pthread_create(&writers[i], NULL, write_in_turn, (void *)i));
	for (i = 0; i < cpus; i++)
		NEED(!pthread_join(writers[i], NULL));
}

static void check_record(const struct flightrec_record *record, unsigned int i)
{
	static uint64_t last;
	const char *payload = (const char *)record + record->header_size;
	char want = 'a' + i % 23;

	if (record->lost || record->len != payload_bytes || record->cpu != i % cpus ||
	    (i && record->seq != last + 1) || payload[0] != want ||
	    payload[payload_bytes - 1] != want)
		DIE("record %u of %zu bytes: lost %llu, %u bytes, CPU %u, number %llu after %llu",
		    i, payload_bytes, (unsigned long long)record->lost, record->len,
		    record->cpu, (unsigned long long)record->seq, (unsigned long long)last);
	last = record->seq;
}

static void check_all(size_t got)
{
	size_t at = 0;
	unsigned int i;

	for (i = 0; at < got; i++) {
		struct flightrec_record *record = (void *)(bulk + at);

		check_record(record, i);
		at += record->size;
	}
	if (i != records)
		DIE("%u of %u records read", i, records);
}

/* Instructions per record, all records read by calls of @room bytes. */
static double read_all(int fd, size_t room)
{
	size_t got = 0;
	uint64_t start;
	double spent;
	long n;

	start = now_instructions();
	while ((n = sys3(SYS_read, fd, (long)bulk + got, room)) > 0)
		got += n;
	spent = now_instructions() - start;
	NEED(n == -11);	/* EAGAIN: that was all */
	check_all(got);
	return spent / records;
}

static void measure(const char *name, size_t room)
{
	double samples[LAPS];
	int fd, i;

	for (i = -1; i < LAPS; i++) {	/* the first warms up */
		double cost;

		fd = open(CHANNEL, O_RDONLY | O_NONBLOCK);
		NEED(fd >= 0);
		NEED(lseek(fd, 0, SEEK_END) == 0);
		write_all();
		pin(0);
		cost = read_all(fd, room);
		close(fd);
		if (i >= 0)
			samples[i] = cost;
	}
	bench_result(name, payload_bytes, bench_median(samples, LAPS));
}

/* bench reading */
int reading_main(int argc, char **argv)
{
	char name[64];
	size_t size, record;

	(void)argc;
	(void)argv;
	bench_settle();
	memset(bulk, 1, sizeof(bulk));	/* no page faults while counting */
	cpus = sysconf(_SC_NPROCESSORS_ONLN);
	NEED(cpus >= 1 && cpus <= CPUS_MAX);
	for (size = 0; size < 4; size++) {
		payload_bytes = bench_sizes[size];
		record = (sizeof(struct flightrec_record) + payload_bytes + 7) & ~7UL;
		records = FILL / record < RECORDS_MAX ? FILL / record : RECORDS_MAX;
		snprintf(name, sizeof(name), "flightrec_read_batched%s",
			 cpus > 1 ? "_interleaved" : "");
		measure(name, BATCH);
		if (cpus > 1)
			continue;
		measure("flightrec_read_single", record);
	}
	return 0;
}
