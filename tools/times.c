// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Times: how a record's is printed, and what --since understands.
 */
#include "tool.h"

#include <string.h>
#include <time.h>

#define SECOND 1000000000ULL

static uint64_t now_of(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * SECOND + ts.tv_nsec;
}

uint64_t boot_now(void)
{
	return now_of(CLOCK_BOOTTIME);
}

bool clock_style_parse(const char *text, enum clock_style *style)
{
	if (!strcmp(text, "relative"))
		*style = CLOCK_RELATIVE;
	else if (!strcmp(text, "wall"))
		*style = CLOCK_WALL;
	else if (!strcmp(text, "boot"))
		*style = CLOCK_BOOT;
	else
		return false;
	return true;
}

void duration_text(char text[CLOCK_TEXT_MAX], uint64_t ns)
{
	unsigned long long s = ns / SECOND;

	if (s < 10)
		snprintf(text, CLOCK_TEXT_MAX, "%llu.%llus", s,
			 (unsigned long long)(ns % SECOND / (SECOND / 10)));
	else if (s < 60)
		snprintf(text, CLOCK_TEXT_MAX, "%llus", s);
	else if (s < 3600)
		snprintf(text, CLOCK_TEXT_MAX, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, CLOCK_TEXT_MAX, "%lluh%02llum", s / 3600, s / 60 % 60);
	else if (s < 100 * 86400ULL)
		snprintf(text, CLOCK_TEXT_MAX, "%llud%02lluh", s / 86400, s / 3600 % 24);
	else
		snprintf(text, CLOCK_TEXT_MAX, "%llud", s / 86400);
}

static void wall_text(char text[CLOCK_TEXT_MAX], uint64_t wall_ns, const char *format,
		      unsigned int digits)
{
	time_t seconds = wall_ns / SECOND;
	unsigned long long fraction = wall_ns % SECOND;
	struct tm tm;
	unsigned int i;
	size_t n = 0;

	for (i = digits; i < 9; i++)
		fraction /= 10;
	/* A forged or damaged time may be no date at all. */
	if (localtime_r(&seconds, &tm))
		n = strftime(text, 32, format, &tm);
	snprintf(text + n, CLOCK_TEXT_MAX - n, ".%0*llu", (int)digits, fraction);
}

void clock_text(char text[CLOCK_TEXT_MAX], enum clock_style style, uint64_t boot_ns,
		uint64_t wall_ns, uint64_t now)
{
	char age[CLOCK_TEXT_MAX];

	switch (style) {
	case CLOCK_RELATIVE:
		/* Written after the time was taken: just now. */
		duration_text(age, now > boot_ns ? now - boot_ns : 0);
		snprintf(text, CLOCK_TEXT_MAX, "%6.40s", age);
		break;
	case CLOCK_SHORT:
		wall_text(text, wall_ns, "%T", 3);
		break;
	case CLOCK_BOOT:
		snprintf(text, CLOCK_TEXT_MAX, "%6llu.%06llu", (unsigned long long)(boot_ns / SECOND),
			 (unsigned long long)(boot_ns % SECOND / 1000));
		break;
	default:
		wall_text(text, wall_ns, "%F %T", 6);
	}
}

/* "90s" and so on: how long ago. */
static bool ago_parse(const char *text, uint64_t *ns)
{
	static const struct {
		char unit;
		unsigned long long seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	unsigned long long count;
	char digits[16];
	size_t len = strspn(text, "0123456789");
	size_t i;

	if (!len || len >= sizeof(digits) || strlen(text) != len + 1)
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	for (i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (text[len] == units[i].unit) {
			/* At most a thousand years, so that nothing overflows. */
			if (!number_parse(digits, 0, 365250ULL * 86400 / units[i].seconds, &count))
				return false;
			*ns = count * units[i].seconds * SECOND;
			return true;
		}
	return false;
}

/* A date, a time of day, or both, here. */
static bool date_parse(const char *text, uint64_t *wall_ns)
{
	static const char * const formats[] = {
		"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d",
		"%H:%M:%S", "%H:%M",
	};
	time_t now = time(NULL);
	const char *end;
	struct tm tm;
	time_t then;
	size_t i;

	for (i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		localtime_r(&now, &tm);
		tm.tm_hour = tm.tm_min = tm.tm_sec = 0;
		tm.tm_isdst = -1;
		end = strptime(text, formats[i], &tm);
		if (!end || *end)
			continue;
		then = mktime(&tm);
		if (then < 0)
			return false;
		*wall_ns = then * SECOND;
		return true;
	}
	return false;
}

bool since_parse(const char *text, uint64_t *boot_ns)
{
	uint64_t boot = boot_now(), wall = now_of(CLOCK_REALTIME);
	unsigned long long seconds;
	uint64_t ago, then;

	if (!ago_parse(text, &ago)) {
		if (text[0] == '@' && number_parse(text + 1, 0, UINT64_MAX / SECOND, &seconds))
			then = seconds * SECOND;
		else if (!date_parse(text, &then))
			return false;
		/* The boot clock never jumps; so what the time of day was then is a guess. */
		if (then > wall) {
			*boot_ns = boot + (then - wall);
			return true;
		}
		ago = wall - then;
	}
	*boot_ns = ago < boot ? boot - ago : 0;
	return true;
}
