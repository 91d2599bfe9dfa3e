/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The same work on several things at once, one thread for each CPU. */
#ifndef KMODKEEP_PARALLEL_H
#define KMODKEEP_PARALLEL_H

#include <stddef.h>

/* CPUs that this process may use, but no more than there is memory for. */
unsigned int parallel_cpus(void);

/*
 * Calls fn(arg, i) once for each i below n, in any order and several at once;
 * returns when all are done. fn shares nothing that it writes to.
 */
void parallel_each(size_t n, void (*fn)(void *arg, size_t i), void *arg);

#endif
