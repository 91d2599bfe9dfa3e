/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What ring.c needs of its surroundings, so that the same file compiles in
 * the kernel and in a user-space test. The kernel's names and meanings are
 * the reference; the user-space half maps them on the compiler's atomics.
 */
#ifndef FLIGHTREC_RING_PORT_H
#define FLIGHTREC_RING_PORT_H

#ifdef __KERNEL__

#include <linux/errno.h>
#include <linux/math64.h>
#include <linux/string.h>
#include <linux/types.h>
#include <asm/barrier.h>
#include <asm/processor.h>

static inline u64 ring_mod(u64 pos, u64 n)
{
	u64 rem;

	div64_u64_rem(pos, n, &rem);
	return rem;
}

#else

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

#define READ_ONCE(x)		__atomic_load_n(&(x), __ATOMIC_RELAXED)
#define WRITE_ONCE(x, v)	__atomic_store_n(&(x), (v), __ATOMIC_RELAXED)
#define smp_load_acquire(p)	__atomic_load_n((p), __ATOMIC_ACQUIRE)
#define smp_store_release(p, v)	__atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define smp_rmb()		__atomic_thread_fence(__ATOMIC_ACQUIRE)
#define smp_wmb()		__atomic_thread_fence(__ATOMIC_RELEASE)
#define cpu_relax()		do { } while (0)

static inline u64 ring_mod(u64 pos, u64 n)
{
	return pos % n;
}

#endif
#endif
