// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Writes through io_uring, without its library. One submission queue entry is
 * one write; all of a run are submitted, and their completions waited for, by
 * one io_uring_enter().
 */
#include "bench.h"

#include <linux/io_uring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ENTRIES 32

struct uring {
	int fd;
	unsigned int *sq_tail, *sq_mask, *sq_array;
	unsigned int *cq_head, *cq_tail, *cq_mask;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

static void *map(int fd, size_t size, off_t what)
{
	void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, what);

	NEED(at != MAP_FAILED);
	return at;
}

void uring_open(struct state *state)
{
	struct uring *ring = calloc(1, sizeof(*ring));
	struct io_uring_params params;
	char *sq, *cq;

	NEED(ring);
	memset(&params, 0, sizeof(params));
	ring->fd = syscall(SYS_io_uring_setup, ENTRIES, &params);
	if (ring->fd < 0)
		DIE("io_uring_setup");
	sq = map(ring->fd, params.sq_off.array + params.sq_entries * sizeof(int),
		 IORING_OFF_SQ_RING);
	cq = map(ring->fd, params.cq_off.cqes + params.cq_entries * sizeof(*ring->cqes),
		 IORING_OFF_CQ_RING);
	ring->sqes = map(ring->fd, params.sq_entries * sizeof(*ring->sqes), IORING_OFF_SQES);
	ring->sq_tail = (unsigned int *)(sq + params.sq_off.tail);
	ring->sq_mask = (unsigned int *)(sq + params.sq_off.ring_mask);
	ring->sq_array = (unsigned int *)(sq + params.sq_off.array);
	ring->cq_head = (unsigned int *)(cq + params.cq_off.head);
	ring->cq_tail = (unsigned int *)(cq + params.cq_off.tail);
	ring->cq_mask = (unsigned int *)(cq + params.cq_off.ring_mask);
	ring->cqes = (struct io_uring_cqe *)(cq + params.cq_off.cqes);
	state->more = ring;
	state->fd2 = ring->fd;
}

static void submit(struct uring *ring, const struct state *state)
{
	unsigned int tail = *ring->sq_tail;
	unsigned int at = tail & *ring->sq_mask;
	struct io_uring_sqe *sqe = &ring->sqes[at];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = IORING_OP_WRITE;
	sqe->fd = state->fd;
	sqe->addr = (uintptr_t)state->buf;
	sqe->len = state->bytes;
	ring->sq_array[at] = at;
	__atomic_store_n(ring->sq_tail, tail + 1, __ATOMIC_RELEASE);
}

static void complete(struct uring *ring, const struct state *state)
{
	unsigned int head = *ring->cq_head;
	int res;

	if (head == __atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE))
		DIE("io_uring: no completion");
	res = ring->cqes[head & *ring->cq_mask].res;
	if (res != (int)state->bytes)
		DIE("io_uring: a write of %zu bytes returned %d", state->bytes, res);
	__atomic_store_n(ring->cq_head, head + 1, __ATOMIC_RELEASE);
}

void uring_write(struct state *state, unsigned int n)
{
	struct uring *ring = state->more;
	unsigned int i;
	long got;

	for (i = 0; i < n; i++)
		submit(ring, state);
	got = sys6(SYS_io_uring_enter, ring->fd, n, n, IORING_ENTER_GETEVENTS, 0, 0);
	if (got != n)
		DIE("io_uring_enter: %ld of %u submitted", got, n);
	for (i = 0; i < n; i++)
		complete(ring, state);
}
