// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A record as a line for people.
 */
#include "tool.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <wchar.h>
#include <wctype.h>

#define RED "\033[31m"
#define BOLD_RED "\033[1;31m"
#define YELLOW "\033[33m"
#define BOLD "\033[1m"
#define CYAN "\033[36m"
#define DIM "\033[2m"
#define PLAIN "\033[0m"

/* By severity. */
static const char * const colours[] = {
	BOLD_RED, BOLD_RED, BOLD_RED, RED, YELLOW, BOLD, "", DIM,
};

bool colour_wanted(FILE *out)
{
	const char *none = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return isatty(fileno(out)) && !(none && *none) && term && strcmp(term, "dumb");
}

void print_escaped(FILE *out, const char *text, size_t len)
{
	mbstate_t state;
	wchar_t wide;
	size_t n;

	while (len) {
		memset(&state, 0, sizeof(state));
		n = mbrtowc(&wide, text, len, &state);
		if (n && n <= len && iswprint(wide)) {
			fwrite(text, 1, n, out);
		} else {
			n = 1;
			fprintf(out, "\\x%02x", (unsigned char)*text);
		}
		text += n;
		len -= n;
	}
}

static void set_colour(FILE *out, const struct style *style, const char *colour)
{
	if (style->colour)
		fputs(colour, out);
}

void print_lost(FILE *out, const struct style *style, uint64_t lost, const char *why)
{
	set_colour(out, style, YELLOW);
	fprintf(out, "# %s %llu record%s\n", why, (unsigned long long)lost, lost == 1 ? "" : "s");
	set_colour(out, style, PLAIN);
}

/* Who wrote it; the kernel in a colour of its own. */
static void print_writer(FILE *out, const struct style *style,
			 const struct flightrec_record *record)
{
	bool kernel = record->origin == FLIGHTREC_ORIGIN_KERNEL;

	if (kernel)
		set_colour(out, style, CYAN);
	if (record->flags & FLIGHTREC_F_INTERRUPT) {
		fputs("[interrupt]", out);
	} else {
		print_escaped(out, record->comm, strnlen(record->comm, sizeof(record->comm)));
		fprintf(out, "[%u]", record->tgid);
	}
	if (kernel)
		set_colour(out, style, PLAIN);
}

void print_record(FILE *out, const struct style *style, const struct flightrec_record *record)
{
	const char *colour = record->severity < 8 ? colours[record->severity] : "";
	const char *payload = flightrec_payload(record);
	char when[CLOCK_TEXT_MAX];
	size_t len = record->len;

	clock_text(when, style->clock, record->boot_ns, record->wall_ns,
		   style->clock == CLOCK_RELATIVE ? boot_now() : 0);
	fprintf(out, "%s ", when);
	set_colour(out, style, colour);
	fprintf(out, "%-7s", severity_name(record->severity));
	if (*colour)
		set_colour(out, style, PLAIN);
	fputc(' ', out);
	print_writer(out, style, record);
	fputs(": ", out);
	if (len && payload[len - 1] == '\n')
		len--;
	print_escaped(out, payload, len);
	fputc('\n', out);
}
