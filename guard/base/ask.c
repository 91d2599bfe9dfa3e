// SPDX-License-Identifier: GPL-2.0-or-later
/* Asks, and waits for an answer, but not for ever. */
#include "guard/base/ask.h"

#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#define ANSWER_SECONDS 600

bool ask_possible(void)
{
	return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* By read(), not by stdio: poll() does not see what that has read ahead. */
bool ask_yes(const char *question)
{
	struct pollfd p = { .fd = STDIN_FILENO, .events = POLLIN };
	char answer[256];
	ssize_t n;

	printf("kmodkeep: %s [y/N] ", question);
	fflush(stdout);
	n = poll(&p, 1, ANSWER_SECONDS * 1000) > 0 ?
	    read(STDIN_FILENO, answer, sizeof(answer)) : 0;
	if (n <= 0)
		putchar('\n');
	return n > 0 && (*answer == 'y' || *answer == 'Y');
}
