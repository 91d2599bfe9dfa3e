// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Prints what moment_parse() makes of its argument, in nanoseconds since 1970, after
 * checking that both clocks say the same of it.
 */
#include "times.c"

int main(int argc, char **argv)
{
	uint64_t boot, wall, ago;
	struct moment moment;

	if (argc != 2 || !moment_parse(argv[1], &moment)) {
		fprintf(stderr, "no time\n");
		return 1;
	}
	boot = boot_now();
	wall = now_of(CLOCK_REALTIME);
	ago = wall > moment.wall_ns ? wall - moment.wall_ns : 0;
	if (moment.wall_ns <= wall && ago < boot &&
	    (moment.boot_ns > boot - ago + SECOND || moment.boot_ns + SECOND < boot - ago)) {
		fprintf(stderr, "the clocks differ\n");
		return 1;
	}
	printf("%llu\n", (unsigned long long)moment.wall_ns);
	return 0;
}
