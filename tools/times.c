// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Times: times.h.
 */
#include "times.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

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

static void iso_text(char text[CLOCK_TEXT_MAX], uint64_t wall_ns)
{
	time_t seconds = wall_ns / SECOND;
	struct tm tm;
	size_t len;

	wall_text(text, wall_ns, "%FT%T", 6);
	len = strlen(text);
	/* strftime() leaves out the colon that ISO 8601 has in its long form. */
	if (localtime_r(&seconds, &tm))
		snprintf(text + len, CLOCK_TEXT_MAX - len, "%c%02ld:%02ld",
			 tm.tm_gmtoff < 0 ? '-' : '+', labs(tm.tm_gmtoff) / 3600,
			 labs(tm.tm_gmtoff) / 60 % 60);
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
	case CLOCK_ISO:
		iso_text(text, wall_ns);
		break;
	default:
		wall_text(text, wall_ns, "%F %T", 6);
	}
}

/* ---- reading; systemd.time(7) is the reference */

/* Longer than any record can be away: a thousand years. Sums of it do not overflow. */
#define SPAN_MAX (365250ULL * 86400)

/* As there: "m" is a minute, "M" a month. */
static const struct {
	const char *name;
	double seconds;
} units[] = {
	{ "usec", 1e-6 }, { "us", 1e-6 }, { "\xc2\xb5s", 1e-6 }, { "msec", 1e-3 }, { "ms", 1e-3 },
	{ "seconds", 1 }, { "second", 1 }, { "sec", 1 }, { "s", 1 },
	{ "minutes", 60 }, { "minute", 60 }, { "min", 60 }, { "months", 2629800 },
	{ "month", 2629800 }, { "M", 2629800 }, { "m", 60 },
	{ "hours", 3600 }, { "hour", 3600 }, { "hr", 3600 }, { "h", 3600 },
	{ "days", 86400 }, { "day", 86400 }, { "d", 86400 },
	{ "weeks", 604800 }, { "week", 604800 }, { "w", 604800 },
	{ "years", 31557600 }, { "year", 31557600 }, { "y", 31557600 },
};

static const char *skip_spaces(const char *text)
{
	return text + strspn(text, " \t");
}

/* "12.5": digits, and a fraction of them; no exponent, no sign. NULL if there is none. */
static const char *decimal(const char *text, double *value)
{
	size_t whole = strspn(text, "0123456789");
	size_t len = whole;
	char copy[40];

	if (whole && text[whole] == '.')
		len += 1 + strspn(text + whole + 1, "0123456789");
	if (!whole || len >= sizeof(copy))
		return NULL;
	memcpy(copy, text, len);
	copy[len] = '\0';
	*value = strtod(copy, NULL);
	return text + len;
}

static const char *unit(const char *text, double *seconds)
{
	size_t i, len;

	for (i = 0; i < sizeof(units) / sizeof(*units); i++) {
		len = strlen(units[i].name);
		if (strncmp(text, units[i].name, len) || isalpha((unsigned char)text[len]))
			continue;
		*seconds = units[i].seconds;
		return text + len;
	}
	return NULL;
}

/*
 * "1h 30min", as far as it goes: what follows it, or NULL. With @bare a number alone
 * is seconds.
 */
static const char *span(const char *text, bool bare, uint64_t *ns)
{
	double sum = 0, value, seconds;
	const char *next, *end = NULL;

	for (text = skip_spaces(text); *text; text = skip_spaces(end)) {
		next = decimal(text, &value);
		if (!next)
			break;
		text = skip_spaces(next);
		end = unit(text, &seconds);
		if (!end) {
			if (!bare || isalpha((unsigned char)*text))
				return NULL;
			seconds = 1;
			end = text;
		}
		sum += value * seconds;
		if (sum > SPAN_MAX)
			return NULL;
	}
	*ns = sum * SECOND;
	return end;
}

/* "+5min", "-2h", "1h 30min ago", "3d left", "90s". */
static bool relative_parse(const char *text, uint64_t now, uint64_t *then)
{
	char sign = *text == '+' || *text == '-' ? *text++ : 0;
	const char *end, *word;
	uint64_t ns;

	end = span(text, true, &ns);
	if (!end)
		return false;
	word = skip_spaces(end);
	if (!sign && !strcmp(word, "ago"))
		sign = '-';
	else if (!sign && !strcmp(word, "left"))
		sign = '+';
	else if (*word || (!sign && !span(text, false, &ns)))
		return false;
	*then = sign == '+' ? now + ns : now > ns ? now - ns : 0;
	return true;
}

/* "Z", "UTC", "+02:00", "Europe/Berlin": to be put into TZ; false if it is none. */
static bool zone_parse(const char *text, char *zone, size_t size)
{
	char path[128];
	int hours, minutes = 0, used = 0;

	if (!strcmp(text, "Z") || !strcmp(text, "UTC")) {
		snprintf(zone, size, "UTC0");
		return true;
	}
	if (*text == '+' || *text == '-') {
		if ((sscanf(text + 1, "%2d:%2d%n", &hours, &minutes, &used) != 2 &&
		     sscanf(text + 1, "%2d%2d%n", &hours, &minutes, &used) != 2 &&
		     sscanf(text + 1, "%2d%n", &hours, &used) != 1) ||
		    text[1 + used] || hours > 24 || minutes > 59)
			return false;
		/* In TZ, west is positive. */
		snprintf(zone, size, "<utc>%c%02d:%02d", *text == '+' ? '-' : '+', hours, minutes);
		return true;
	}
	if (!isalpha((unsigned char)*text) || strstr(text, "..") || strlen(text) >= 64 ||
	    strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+-") !=
	    strlen(text))
		return false;
	snprintf(path, sizeof(path), "/usr/share/zoneinfo/%s", text);
	if (access(path, F_OK))
		return false;
	snprintf(zone, size, ":%s", text);
	return true;
}

/* A name of a day of the week at @text, to be skipped: it is checked. -1 if there is none. */
static int weekday(const char **text)
{
	static const char * const days[] = {
		"Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday",
	};
	size_t len = 0;
	int i;

	while (isalpha((unsigned char)(*text)[len]))
		len++;
	for (i = 0; i < 7 && len; i++)
		if ((len == 3 || len == strlen(days[i])) && !strncasecmp(*text, days[i], len)) {
			*text = skip_spaces(*text + len + ((*text)[len] == ','));
			return i;
		}
	return -1;
}

static bool digits_at(const char *text, const char *shape)
{
	for (; *shape; shape++, text++)
		if (*shape == '9' ? !isdigit((unsigned char)*text) : *text != *shape)
			return false;
	return true;
}

/* A date, a time of day, or both, then maybe a zone: what follows the time. NULL: none. */
static const char *fields(const char *text, struct tm *tm, double *fraction)
{
	bool dated = true, timed = false;
	const char *end;

	*fraction = 0;
	if (digits_at(text, "9999-99-99"))
		end = strptime(text, "%Y-%m-%d", tm);
	else if (digits_at(text, "99-99-99"))
		end = strptime(text, "%y-%m-%d", tm);
	else
		end = text, dated = false;
	if (!end)
		return NULL;
	tm->tm_hour = tm->tm_min = tm->tm_sec = 0;
	text = dated && *end == 'T' ? end + 1 : skip_spaces(end);
	if (digits_at(text, "99:99:99") || digits_at(text, "9:99:99")) {
		end = strptime(text, "%H:%M:%S", tm);
		timed = true;
	} else if (digits_at(text, "99:99") || digits_at(text, "9:99")) {
		end = strptime(text, "%H:%M", tm);
		timed = true;
	} else if (text != end && text[-1] == 'T') {
		return NULL;
	}
	if (end && timed && *end == '.' && isdigit((unsigned char)end[1])) {
		*fraction = strtod(end, NULL);
		end += 1 + strspn(end + 1, "0123456789");
	}
	return dated || timed ? end : NULL;
}

/* In the zone that TZ has now. */
static bool date_here(const char *text, int day, const char **end, struct tm *tm, uint64_t *then)
{
	static const struct {
		const char *word;
		int days;
	} words[] = { { "today", 0 }, { "yesterday", -1 }, { "tomorrow", 1 } };
	double fraction = 0;
	time_t now = time(NULL), made;
	size_t i, len;

	tzset();
	localtime_r(&now, tm);
	*end = NULL;
	for (i = 0; i < sizeof(words) / sizeof(*words) && !*end; i++) {
		len = strlen(words[i].word);
		if (strncmp(text, words[i].word, len) || (text[len] && text[len] != ' '))
			continue;
		tm->tm_hour = tm->tm_min = tm->tm_sec = 0;
		tm->tm_mday += words[i].days;
		*end = text + len;
	}
	if (!*end)
		*end = fields(text, tm, &fraction);
	if (!*end)
		return false;
	tm->tm_isdst = -1;
	made = mktime(tm);
	if (made < 0 || (day >= 0 && tm->tm_wday != day))
		return false;
	*then = made * SECOND + (uint64_t)(fraction * 1e9);
	return true;
}

static void set_zone(const char *zone)
{
	if (zone)
		setenv("TZ", zone, 1);
	else
		unsetenv("TZ");
	tzset();
}

static bool date_parse(const char *text, uint64_t *then)
{
	char zone[80], *before = getenv("TZ");
	const char *end;
	struct tm tm;
	int day = weekday(&text);
	bool good;

	/* Here first, to see where the zone begins. */
	good = date_here(text, -1, &end, &tm, then);
	if (!good)
		return false;
	end = skip_spaces(end);
	if (!*end)
		return day < 0 || tm.tm_wday == day;
	if (!zone_parse(end, zone, sizeof(zone)))
		return false;
	before = before ? strdup(before) : NULL;
	set_zone(zone);
	good = date_here(text, day, &end, &tm, then);
	set_zone(before);
	free(before);
	return good;
}

bool moment_parse(const char *text, struct moment *moment)
{
	uint64_t boot = boot_now(), wall = now_of(CLOCK_REALTIME);
	double seconds;
	const char *end;
	uint64_t then;

	text = skip_spaces(text);
	if (!strcmp(text, "now")) {
		then = wall;
	} else if (*text == '@') {
		end = decimal(text + 1, &seconds);
		if (!end || *end || seconds > 1e10)
			return false;
		/* A double has not all digits of nanoseconds since 1970. */
		then = strtoull(text + 1, NULL, 10) * SECOND;
		then += (uint64_t)((seconds - (uint64_t)seconds) * 1e9);
	} else if (!relative_parse(text, wall, &then) && !date_parse(text, &then)) {
		return false;
	}
	moment->wall_ns = then;
	/* The boot clock never jumps; so what the time of day was then is a guess. */
	if (then > wall)
		moment->boot_ns = boot + (then - wall);
	else
		moment->boot_ns = wall - then < boot ? boot - (wall - then) : 0;
	return true;
}
