/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The fuzzer's parts: fuzz_calls.c draws calls and makes them, fuzz.c runs
 * threads of them beside a reader that must miss nothing.
 */
#ifndef GUEST_FUZZ_H
#define GUEST_FUZZ_H

#include "harness.h"

#include <stdatomic.h>
#include <stdint.h>

#define FUZZ_PAGE	4096
#define FUZZ_SLOTS	8	/* descriptors of a thread */
#define FUZZ_SHARED	4	/* descriptors that all threads use, and close */

/* All of a call that is drawn; it depends on nothing but the seed. */
struct fuzz_call {
	uint32_t op;
	uint32_t slot;
	uint32_t target;
	uint32_t flags;
	uint32_t len;
	uint32_t place;
	uint64_t value;
};

struct fuzz_slot {
	int fd;		/* -1: none */
	bool device;	/* below /dev/flightrec, so that results are known */
};

struct fuzz_ring;

/* A thread that makes calls. */
struct fuzz_thread {
	unsigned int index;
	uint32_t uid;
	uint64_t random;
	unsigned long calls;		/* to make */
	_Atomic unsigned long made;
	unsigned long succeeded[32];	/* by operation */
	struct fuzz_slot slots[FUZZ_SLOTS];
	int pipe[2];
	struct fuzz_ring *ring;
	char *in, *out;			/* what reads write to, what writes read from */
	char *async_in, *async_out;	/* the same for requests that may be under way */
	uint64_t mark;			/* begins payloads that the reader can check */
	bool child;
	char *wrong;			/* the first result that must not be; its children's too */
};

/* A payload that says itself what it must be. */
struct fuzz_payload {
	uint64_t mark;
	uint32_t tid;
	uint32_t len;
	uint8_t fill[FLIGHTREC_PAYLOAD_MAX - 16];
};

/* In fuzz_calls.c. */
void fuzz_prepare(struct fuzz_thread *thread);
void fuzz_draw(struct fuzz_thread *thread, struct fuzz_call *call);
void fuzz_make(struct fuzz_thread *thread, const struct fuzz_call *call);
void fuzz_end(struct fuzz_thread *thread);
size_t fuzz_operations(void);
const char *fuzz_operation(unsigned int op, bool *must_succeed);

/* In fuzz_buffers.c. */
uint64_t fuzz_random(uint64_t *state);
const uint8_t *fuzz_fill(uint32_t tid, uint32_t len);
char *fuzz_make_area(uint64_t random);
void *fuzz_buffer(char *area, const struct fuzz_call *call);
bool fuzz_buffer_is_good(const struct fuzz_call *call);

/* In fuzz_uring.c: one request, whose completion is taken some time later. */
void fuzz_uring(struct fuzz_thread *thread, int fd, const struct fuzz_call *call);
void fuzz_uring_end(struct fuzz_thread *thread);

#endif
