// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Random numbers, and the memory that calls read from and write to.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#define PAGE		FUZZ_PAGE
#define BUFFER_PAGES	4	/* then one without access */
#define FILL_PERIOD	128

uint64_t fuzz_random(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

/* Bytes that repeat; never a newline, which procfs takes away at the end. */
static uint8_t line[FILL_PERIOD + FLIGHTREC_PAYLOAD_MAX];

__attribute__((constructor))
static void make_line(void)
{
	uint32_t i;

	for (i = 0; i < sizeof(line); i++)
		line[i] = 0x80 | i % FILL_PERIOD * 7;
}

/*
 * What a payload of LEN bytes of thread TID goes on with: a stretch of one line, so
 * that filling is one copy and checking one comparison.
 */
const uint8_t *fuzz_fill(uint32_t tid, uint32_t len)
{
	return line + (tid * 31 + len) % FILL_PERIOD;
}

/*
 * Some pages, one that cannot be used, one that may only be read, one that cannot be
 * used. A page unmapped would be a place for the next mapping, such as a ring of
 * io_uring, and calls with these buffers would write into it.
 */
char *fuzz_make_area(uint64_t random)
{
	size_t size = (BUFFER_PAGES + 3) * PAGE, i;
	char *area = mmap(NULL, size, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(area != MAP_FAILED);
	for (i = 0; i < size; i++)
		area[i] = fuzz_random(&random);
	memcpy(area, "<3>", 3);
	CHECK(!mprotect(area + BUFFER_PAGES * PAGE, PAGE, PROT_NONE));
	CHECK(!mprotect(area + (BUFFER_PAGES + 1) * PAGE, PAGE, PROT_READ));
	CHECK(!mprotect(area + (BUFFER_PAGES + 2) * PAGE, PAGE, PROT_NONE));
	return area;
}

/* Buffers of all kinds: most are good, some end within, some are nowhere. */
void *fuzz_buffer(char *area, const struct fuzz_call *call)
{
	static char *const nowhere[] = {
		NULL, (char *)8, (char *)0x7ffffffff000, (char *)0x8000000000000000,
		(char *)0xffff888000100000, (char *)0xffffffff81000000,
		(char *)0xfffffffffffff000, (char *)-1L,
	};

	switch (call->place % 16) {
	case 0:
		return nowhere[call->place / 16 % 8];
	case 1: case 2: case 3:		/* may reach into a page without access */
		return area + BUFFER_PAGES * PAGE - call->place / 16 % (call->len + 9);
	case 4:				/* a page that may only be read */
		return area + (BUFFER_PAGES + 1) * PAGE + call->place / 16 % PAGE;
	default:
		return area + call->place / 16 % PAGE;
	}
}

bool fuzz_buffer_is_good(const struct fuzz_call *call)
{
	/* Short enough to end before the page without access. */
	return call->place % 16 > 4 && call->len <= (BUFFER_PAGES - 1) * PAGE;
}
