// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A writer on CPU 1, which the host stops for good in the middle of its write,
 * and a panic on CPU 0. Runs with the core loaded. Says "== ADDRESS FROZEN",
 * where flightrec_write() is and a byte of the writer's memory, waits for a line on
 * standard input, and writes. Once the writer is stopped the host sets the byte.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <sched.h>

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK(!sched_setaffinity(0, sizeof(set), &set));
}

/* Once the other CPU is frozen, nothing but plain system calls until the panic. */
static void panic_beside_a_frozen_cpu(void)
{
	int trigger = open("/proc/sysrq-trigger", O_WRONLY);
	int fd = guest_open("default", O_WRONLY);
	volatile char *frozen;
	char line;

	frozen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(trigger >= 0 && frozen != MAP_FAILED);
	pin(0);
	guest_say("== %llx %lx", guest_symbol("flightrec_write"), (unsigned long)frozen);
	CHECK_EQ(read(0, &line, 1), 1);
	if (!fork()) {
		pin(1);
		*frozen = 0;	/* the page must be there */
		guest_write(fd, "stopped in the middle");
		FAIL("the write has ended");
	}
	while (!*frozen)
		guest_sleep_ms(20);
	guest_write(fd, "after the frozen one");
	guest_write(trigger, "c");
}

static const struct guest_case cases[] = {
	{ "frozen", panic_beside_a_frozen_cpu },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, 1, 300);
}
