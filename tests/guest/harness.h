/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What each test program in a guest is made of: a table of named cases, each
 * run in a process of its own, so that one that changes its user, closes its
 * descriptors or hangs says nothing about the others.
 *
 * The verdicts go to the file named by argv[1], a line each: "ok NAME" or
 * "not ok NAME - reason". A 32-bit program puts "32-bit-" before its names.
 */
#ifndef GUEST_HARNESS_H
#define GUEST_HARNESS_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../../src/uapi/flightrec.h"

struct guest_case {
	const char *name;
	void (*run)(void);
};

/* Ends the case: not ok, with where and why. */
#define FAIL(...) guest_fail(__FILE__, __LINE__, __VA_ARGS__)

#define CHECK(cond)							\
	do {								\
		if (!(cond))						\
			FAIL("%s (errno %d: %s)", #cond, errno,		\
			     strerror(errno));				\
	} while (0)

/* The call must return -1 with that errno. */
#define CHECK_ERRNO(call, want)						\
	do {								\
		long got_;						\
		errno = 0;						\
		got_ = (long)(call);					\
		if (got_ != -1 || errno != (want))			\
			FAIL("%s: returned %ld, errno %d (%s), expected %s", \
			     #call, got_, errno, strerror(errno), #want); \
	} while (0)

#define CHECK_EQ(a, b)							\
	do {								\
		long long a_ = (long long)(a), b_ = (long long)(b);	\
		if (a_ != b_)						\
			FAIL("%s is %lld, expected %s = %lld", #a, a_, #b, b_); \
	} while (0)

__attribute__((format(printf, 3, 4), noreturn))
void guest_fail(const char *file, int line, const char *fmt, ...);

/* Runs all cases; main() returns its value. Limit of a case in seconds. */
int guest_main(int argc, char **argv, const struct guest_case *cases,
	       size_t count, unsigned int limit);

/* A record as read, with room for its payload. */
struct guest_record {
	struct flightrec_record head;
	char payload[FLIGHTREC_PAYLOAD_MAX + 96];	/* guest_next() may offer more */
};

/* Opens a channel's node or ends the case. */
int guest_open(const char *channel, int flags);

/* Writes a text, which must be taken whole. */
void guest_write(int fd, const char *text);

/* Reads exactly one record and checks its layout; false if there is none. */
bool guest_next(int fd, struct guest_record *record);

/* The same for a record that must be there. */
void guest_read(int fd, struct guest_record *record);

/* The value of KEY=number in the channel's line of /proc/flightrec/stats. */
long long guest_stat(const char *channel, const char *key);

/* A whole file, terminated; ends the case if it cannot be read. */
char *guest_slurp(const char *path);

/* insmod and rmmod: 0, or -errno. */
int guest_load(const char *file, const char *params);
int guest_unload(const char *name);

/* The address of a symbol of the driver, static ones too, from /proc/kallsyms. */
unsigned long long guest_symbol(const char *name);

/*
 * Says a line as a message of the kernel: on the console no other message tears it
 * apart. Ends the case if that fails.
 */
__attribute__((format(printf, 1, 2)))
void guest_say(const char *fmt, ...);

void guest_sleep_ms(unsigned int ms);

#endif
