// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Requests through io_uring, by its bare system calls.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#include <linux/io_uring.h>
#include <sys/syscall.h>

#define ENTRIES		8
#define IN_FLIGHT_MAX	16	/* more of them wait: begin anew, which cancels them */

struct fuzz_ring {
	int fd;
	unsigned int in_flight;
	struct io_uring_params params;
	char *rings;
	size_t rings_size, sqes_size;
	struct io_uring_sqe *sqes;
};

static _Atomic uint32_t *word(struct fuzz_ring *ring, uint32_t offset)
{
	return (_Atomic uint32_t *)(ring->rings + offset);
}

static void set_up(struct fuzz_ring *ring)
{
	struct io_uring_params *p = &ring->params;
	size_t sq, cq;

	memset(ring, 0, sizeof(*ring));
	ring->fd = syscall(SYS_io_uring_setup, ENTRIES, p);
	CHECK(ring->fd >= 0);
	CHECK(p->features & IORING_FEAT_SINGLE_MMAP);
	sq = p->sq_off.array + p->sq_entries * sizeof(uint32_t);
	cq = p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe);
	ring->rings_size = sq > cq ? sq : cq;
	ring->sqes_size = p->sq_entries * sizeof(struct io_uring_sqe);
	ring->rings = mmap(NULL, ring->rings_size, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, ring->sqes_size, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQES);
	CHECK(ring->rings != MAP_FAILED && ring->sqes != MAP_FAILED);
}

static void tear_down(struct fuzz_ring *ring)
{
	munmap(ring->rings, ring->rings_size);
	munmap(ring->sqes, ring->sqes_size);
	close(ring->fd);
}

static void take_completions(struct fuzz_ring *ring)
{
	_Atomic uint32_t *head = word(ring, ring->params.cq_off.head);
	uint32_t tail = atomic_load(word(ring, ring->params.cq_off.tail));

	ring->in_flight -= tail - atomic_load(head);
	atomic_store(head, tail);
}

static bool fills_memory(uint8_t opcode)
{
	return opcode == IORING_OP_READ || opcode == IORING_OP_READV;
}

void fuzz_uring(struct fuzz_thread *thread, int fd, const struct fuzz_call *call)
{
	static const uint8_t opcodes[] = {
		IORING_OP_READ, IORING_OP_WRITE, IORING_OP_WRITE, IORING_OP_READV,
		IORING_OP_WRITEV, IORING_OP_POLL_ADD, IORING_OP_FSYNC, IORING_OP_SPLICE,
	};
	struct fuzz_ring *ring = thread->ring;
	struct io_uring_sqe *sqe;
	uint32_t tail, index;

	if (thread->child)
		return;		/* the ring is the parent's */
	if (!ring) {
		ring = thread->ring = malloc(sizeof(*ring));
		set_up(ring);
	} else if (ring->in_flight >= IN_FLIGHT_MAX) {
		tear_down(ring);
		set_up(ring);
	}
	tail = atomic_load(word(ring, ring->params.sq_off.tail));
	index = tail & (ring->params.sq_entries - 1);
	sqe = &ring->sqes[index];
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = opcodes[call->value % sizeof(opcodes)];
	/* One in eight by a worker. */
	sqe->flags = call->flags & 7 ? 0 : IOSQE_ASYNC;
	sqe->fd = fd;
	/* Not the other calls' memory: their results and payloads are checked. */
	sqe->addr = (uintptr_t)fuzz_buffer(fills_memory(sqe->opcode) ? thread->async_in :
					   thread->async_out, call);
	sqe->len = call->len;
	sqe->off = call->value & 256 ? 0 : (uint64_t)-1;
	if (sqe->opcode == IORING_OP_POLL_ADD)
		sqe->poll32_events = POLLIN | POLLOUT;
	*word(ring, ring->params.sq_off.array + index * sizeof(uint32_t)) = index;
	atomic_store(word(ring, ring->params.sq_off.tail), tail + 1);
	if (syscall(SYS_io_uring_enter, ring->fd, 1, 0, 0, NULL, 0) == 1) {
		ring->in_flight++;
		thread->succeeded[call->op]++;
	}
	take_completions(ring);
}

void fuzz_uring_end(struct fuzz_thread *thread)
{
	if (thread->ring && !thread->child)
		tear_down(thread->ring);
	thread->ring = NULL;
}
