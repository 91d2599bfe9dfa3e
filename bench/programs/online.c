// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Brings the other CPUs up, in a guest that was started with maxcpus=1.
 *
 * Under -icount QEMU gives a CPU all instructions up to the next timer, so one
 * that waits without "pause" starves those that it waits for; and up to 6.4 the
 * kernel waits for a new CPU in a loop around schedule(). So it gets a process
 * to schedule that pauses: at each pause QEMU goes to the next CPU.
 */
#include "bench.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

int online_main(int argc, char **argv)
{
	long cpus = sysconf(_SC_NPROCESSORS_CONF);
	pid_t pauser = fork();
	char path[64];
	long i;

	(void)argc;
	(void)argv;
	NEED(pauser >= 0);
	if (!pauser) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			__asm__ volatile("pause");
	}
	for (i = 1; i < cpus; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%ld/online", i);
		bench_put(path, "1");
	}
	NEED(!kill(pauser, SIGKILL));
	waitpid(pauser, NULL, 0);
	NEED(sysconf(_SC_NPROCESSORS_ONLN) == cpus);
	return 0;
}
