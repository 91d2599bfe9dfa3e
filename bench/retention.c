// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * How much of a ring's memory holds the newest records without a gap: the driver's
 * own ring, compiled in user space, with so many CPUs that write in turn.
 *
 *   retention CPUS BLOCKS     a line "LOAD WORST MEAN" for each load, in per cent
 *
 * "even": all CPUs alike. "skewed": CPU n half as often as CPU n - 1, none less
 * often than one in 4096. "random": a speed of 1 to 2048 for each, drawn anew
 * as often as the ring was written over once.
 */
#include <stdio.h>
#include <stdlib.h>

#include "ring.h"

#define ROUNDS	12	/* times that the ring is written over; the first 4 are not looked at */
#define LOOKS	16	/* in each of the others */
#define LEN	64

static u64 weight_of(const char *load, u32 cpu)
{
	if (load[0] == 'e')
		return 1;
	if (load[0] == 's')
		return cpu < 12 ? 4096 >> cpu : 1;
	return 1ULL << rand() % 12;
}

static u64 weigh(const char *load, u64 *sums, u32 ncpus)
{
	u64 sum = 0;
	u32 cpu;

	for (cpu = 0; cpu < ncpus; cpu++) {
		sum += weight_of(load, cpu);
		sums[cpu] = sum;
	}
	return sum;
}

static u32 next_cpu(const u64 *sums, u64 sum, u32 ncpus)
{
	u64 turn = (u64)rand() % sum;
	u32 low = 0, high = ncpus - 1, middle;

	while (low < high) {
		middle = (low + high) / 2;
		if (turn < sums[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Records back from the newest to the first that is gone. */
static u64 newest(const struct flightrec_ring *ring)
{
	u64 seq = flightrec_ring_next(ring), n = 0;
	struct flightrec_stamp stamp;

	while (seq > 1 && !flightrec_ring_fetch(ring, --seq, &stamp, NULL, 0))
		n++;
	return n;
}

static int measure(const char *load, u32 ncpus, u32 nblocks)
{
	const u64 per_block = (FLIGHTREC_RING_BLOCK_BYTES - sizeof(struct flightrec_block)) /
			      (sizeof(struct flightrec_stamp) + LEN);
	const u64 capacity = nblocks * per_block;
	u64 *sums = calloc(ncpus, sizeof(*sums));
	struct flightrec_ring_cpu *cpus = aligned_alloc(64, 2 * ncpus * sizeof(*cpus));
	u64 *blocks = calloc(nblocks, FLIGHTREC_RING_BLOCK_BYTES);
	u64 *index = malloc(flightrec_ring_index_bytes(nblocks));
	struct flightrec_ring ring;
	double share, worst = 100, total = 0;
	u64 n, sum = 0, looks = 0;
	u8 payload[LEN] = { 0 };

	if (!sums || !cpus || !blocks || !index)
		return -ENOMEM;
	memset(cpus, 0, 2 * ncpus * sizeof(*cpus));
	if (flightrec_ring_init(&ring, &(struct flightrec_ring_setup) {
			.blocks = blocks, .index = index, .cpus = cpus, .nblocks = nblocks,
			.ncpus = ncpus, .name = "retention", .boot_id = payload }))
		return -EINVAL;
	srand(1);
	for (n = 0; n < ROUNDS * capacity; n++) {
		struct flightrec_stamp stamp = { .len = LEN };

		if (n % capacity == 0)
			sum = weigh(load, sums, ncpus);
		if (flightrec_ring_append(&ring, next_cpu(sums, sum, ncpus), &stamp, payload))
			return -ENOBUFS;
		if (n < 4 * capacity || n % (capacity / LOOKS))
			continue;
		share = 100.0 * newest(&ring) / capacity;
		worst = share < worst ? share : worst;
		total += share;
		looks++;
	}
	printf("%s %.1f %.1f\n", load, worst, total / looks);
	free(sums);
	free(cpus);
	free(blocks);
	free(index);
	return 0;
}

int main(int argc, char **argv)
{
	static const char * const loads[] = { "even", "skewed", "random" };
	u32 ncpus = argc == 3 ? atoi(argv[1]) : 0, nblocks = argc == 3 ? atoi(argv[2]) : 0, i;

	if (!ncpus || nblocks < ncpus + 2) {
		fprintf(stderr, "usage: retention CPUS BLOCKS, at least two blocks more than CPUs\n");
		return 2;
	}
	for (i = 0; i < 3; i++)
		if (measure(loads[i], ncpus, nblocks)) {
			fprintf(stderr, "retention: %s: no memory, or a record was refused\n", loads[i]);
			return 1;
		}
	return 0;
}
