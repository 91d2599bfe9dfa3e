/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What ring.c needs of its surroundings, so that the same file compiles in
 * the kernel and in a user-space test. The kernel's names and meanings are
 * the reference; the user-space half maps them on the compiler's atomics.
 */
#ifndef FLIGHTREC_RING_PORT_H
#define FLIGHTREC_RING_PORT_H

#ifdef __KERNEL__

#include <linux/atomic.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/init.h>
#include <linux/log2.h>
#include <linux/math64.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/string.h>
#include <linux/types.h>
#ifdef CONFIG_X86_64
#include <asm/special_insns.h>
#else
#include <linux/libnvdimm.h>
#endif

static inline u64 ring_div(u64 n, u32 by, u32 *rem)
{
	return div_u64_rem(n, by, rem);
}

/* In loops of readers and of init: let others run now and then. */
static inline void ring_relax(void)
{
	cond_resched();
}

/* Shall the reading task die, so that it is of no use to go on? */
static inline bool ring_interrupted(void)
{
	return fatal_signal_pending(current);
}

/*
 * Have lines of the cache written to memory, soon, and without waiting for it. Where
 * the kernel has no way to do that, they go there when it pleases the processor.
 */
static __always_inline void ring_write_back(void *from, size_t bytes)
{
#ifdef CONFIG_X86_64
	unsigned long line = (unsigned long)from & ~63UL;
	unsigned long end = (unsigned long)from + bytes;

	do
		clwb((void *)line);
	while ((line += 64) < end);
#else
	arch_wb_cache_pmem(from, bytes);
#endif
}

#else

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef uint64_t u64;
typedef int64_t s64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;

typedef struct {
	s64 counter;
} atomic64_t;

#define __init
#define noinline		__attribute__((__noinline__))
#define __cold			__attribute__((__cold__))

#ifndef __always_inline	/* glibc has it */
#define __always_inline		inline __attribute__((always_inline))
#endif
#define likely(x)		__builtin_expect(!!(x), 1)
#define unlikely(x)		__builtin_expect(!!(x), 0)

/*
 * Before each access to shared words and each barrier: a test that defines this
 * sees them in order, and does at one of them what another CPU might.
 */
#ifndef RING_STEP
#define RING_STEP(kind, address) ((void)0)
#endif

#define READ_ONCE(x) \
	(RING_STEP(LOAD, &(x)), __atomic_load_n(&(x), __ATOMIC_RELAXED))
#define WRITE_ONCE(x, v) \
	(RING_STEP(STORE, &(x)), __atomic_store_n(&(x), (v), __ATOMIC_RELAXED))
#define smp_load_acquire(p) \
	(RING_STEP(ACQUIRE, (p)), __atomic_load_n((p), __ATOMIC_ACQUIRE))
#define smp_store_release(p, v) \
	(RING_STEP(RELEASE, (p)), __atomic_store_n((p), (v), __ATOMIC_RELEASE))
#define smp_rmb() \
	(RING_STEP(RMB, NULL), __atomic_thread_fence(__ATOMIC_ACQUIRE))
#define smp_wmb() \
	(RING_STEP(WMB, NULL), __atomic_thread_fence(__ATOMIC_RELEASE))
#define smp_mb() \
	(RING_STEP(FULL, NULL), __atomic_thread_fence(__ATOMIC_SEQ_CST))

#define atomic64_read(a)	READ_ONCE((a)->counter)
#define atomic64_set(a, v)	WRITE_ONCE((a)->counter, (v))
#define atomic64_read_acquire(a) smp_load_acquire(&(a)->counter)
#define atomic64_fetch_add(v, a) \
	(RING_STEP(FULL, (a)), \
	 __atomic_fetch_add(&(a)->counter, (v), __ATOMIC_SEQ_CST))
#define atomic64_add(v, a) \
	(RING_STEP(STORE, (a)), \
	 (void)__atomic_fetch_add(&(a)->counter, (v), __ATOMIC_RELAXED))
#define atomic64_add_return_release(v, a) \
	(RING_STEP(RELEASE, (a)), \
	 __atomic_add_fetch(&(a)->counter, (v), __ATOMIC_RELEASE))
/* As in the kernel, a full barrier where it succeeds. */
#define atomic64_try_cmpxchg(a, old, new) \
	(RING_STEP(FULL, (a)), \
	 __atomic_compare_exchange_n(&(a)->counter, (old), (new), 0, \
				     __ATOMIC_SEQ_CST, __ATOMIC_RELAXED) && \
	 (__atomic_thread_fence(__ATOMIC_SEQ_CST), true))

static inline u64 ring_div(u64 n, u32 by, u32 *rem)
{
	*rem = n % by;
	return n / by;
}

/* A test may count it. */
#ifndef RING_RELAX
#define RING_RELAX() ((void)0)
#endif

static inline void ring_relax(void)
{
	RING_RELAX();
}

/* A test may define what makes a reader give up. */
#ifndef RING_INTERRUPTED
#define RING_INTERRUPTED() false
#endif

static inline bool ring_interrupted(void)
{
	return RING_INTERRUPTED();
}

static inline void ring_write_back(void *from, size_t bytes)
{
	(void)from;
	(void)bytes;
}

static inline u64 roundup_pow_of_two(u64 n)
{
	u64 power = 1;

	while (power < n)
		power <<= 1;
	return power;
}

static inline unsigned int ilog2(u64 n)
{
	return 63 - __builtin_clzll(n);
}

#endif
#endif
