// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a crash needs of user space: "traps" runs into traps that are no
 * oopses, "resize" gives the channel another ring, "park" stops a CPU of the kernel for good in the middle of a write, and
 * panics.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <sched.h>

/* In the driver's table of channels: the first after the two fixed. */
#define DEFAULT_CHANNEL 2

static void int3(void)
{
	__asm__ volatile("int3");
	_exit(1);
}

static void ud2(void)
{
	__asm__ volatile("ud2");
	_exit(1);
}

static void divide(void)
{
	volatile int zero = 0;

	zero = 12345 / zero;
	_exit(1);
}

static void ends_by(void (*trap)(void), int sig)
{
	int status;
	pid_t pid = fork();

	if (!pid) {
		CHECK(!setuid(65534));
		trap();
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(WTERMSIG(status), sig);
}

static void traps(void)
{
	ends_by(int3, SIGTRAP);
	ends_by(ud2, SIGILL);
	ends_by(divide, SIGFPE);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	CHECK(!sched_setaffinity(0, sizeof(set), &set));
}

static void write_and_park(int trouble)
{
	char command[128];
	int fd = guest_open("default", O_WRONLY);

	pin(1);
	snprintf(command, sizeof(command), "park %llx %d %d", guest_symbol("flightrec_channels"),
		 DEFAULT_CHANNEL, getpid());
	guest_write(trouble, command);
	guest_write(fd, "never-published");
	FAIL("the write has ended");
}

/*
 * Once the other CPU is parked, whatever waits for all CPUs waits for ever:
 * nothing but plain system calls from there to the panic.
 */
static void panic_beside_a_parked_cpu(void)
{
	int trouble = open("/proc/guest-trouble", O_RDWR);
	int trigger = open("/proc/sysrq-trigger", O_WRONLY);
	int fd = guest_open("default", O_WRONLY);
	char parked = '0';

	CHECK(trouble >= 0 && trigger >= 0);
	pin(0);
	if (!fork())
		write_and_park(trouble);
	while (parked != '1') {
		CHECK_EQ(read(trouble, &parked, 1), 1);
		guest_sleep_ms(20);
	}
	guest_write(fd, "after the parked one");
	guest_write(trigger, "c");
}

/* What is written from here on is in another ring. */
static void resize(void)
{
	struct flightrec_channel_setup setup = { .size = 2 << 20, .name = "default" };
	int fd = open("/dev/flightrec-control", O_RDWR);

	CHECK(fd >= 0);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_RESIZE, &setup), 0);
}

static const struct guest_case traps_only[] = { { "traps", traps } };
static const struct guest_case park_only[] = { { "park", panic_beside_a_parked_cpu } };
static const struct guest_case resize_only[] = { { "resize", resize } };

int main(int argc, char **argv)
{
	const struct guest_case *cases = traps_only;

	if (argc == 3 && !strcmp(argv[2], "park"))
		cases = park_only;
	else if (argc == 3 && !strcmp(argv[2], "resize"))
		cases = resize_only;
	return guest_main(2, argv, cases, 1, 60);
}
