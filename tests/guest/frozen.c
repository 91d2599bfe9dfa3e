// SPDX-License-Identifier: GPL-2.0-only
/*
 * A writer on CPU 1, which the host stops for good in the middle of its write,
 * and a panic on CPU 0. Runs with the core loaded. Says "== ADDRESS", that of
 * flightrec_write(), waits for a line on standard input, and writes.
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
	volatile bool *written;
	char line;

	written = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	CHECK(trigger >= 0 && written != MAP_FAILED);
	pin(0);
	printf("== %llx\n", guest_symbol("flightrec_write"));
	fflush(stdout);
	CHECK_EQ(read(0, &line, 1), 1);
	if (!fork()) {
		pin(1);
		guest_write(fd, "stopped in the middle");
		*written = true;
		_exit(0);
	}
	guest_sleep_ms(3000);
	if (*written)
		FAIL("the write has ended");
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
