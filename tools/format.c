// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A record as a line for people: format.h.
 */
#include "format.h"

#include <langinfo.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"
#include "utf8.h"

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

bool output_parse(const char *text, enum output *output)
{
	static const char * const names[] = { "short", "iso", "cat", "json", "export" };
	size_t i;

	/* The journal's name of it. */
	if (!strcmp(text, "short-iso"))
		text = "iso";
	for (i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (!strcmp(text, names[i])) {
			*output = i;
			return true;
		}
	return false;
}

bool colour_wanted(FILE *out)
{
	const char *none = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	return isatty(fileno(out)) && !(none && *none) && term && strcmp(term, "dumb");
}

/*
 * Does the locale's terminal take the bytes of UTF-8 for something else? The plain
 * "C" locale says nothing about the terminal, and consoles are UTF-8.
 */
static bool terminal_is_8_bit(void)
{
	static int known = -1;
	const char *set;

	if (known < 0) {
		set = nl_langinfo(CODESET);
		known = strcmp(set, "UTF-8") && strcmp(set, "ANSI_X3.4-1968");
	}
	return known;
}

/*
 * What is seen as it is. Not: C0 and C1, the soft hyphen, line separators, marks that
 * turn the direction of writing, the byte order mark, annotations, tags, and what is
 * no character.
 */
static bool printable(uint32_t c)
{
	if (c < 0x80)
		return c >= ' ' && c != 0x7f;
	if (c < 0xa0 || c == 0xad || c == 0x61c || c == 0xfeff || terminal_is_8_bit())
		return false;
	return !(c >= 0x200b && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) &&
	       !(c >= 0x2060 && c <= 0x206f) && !(c >= 0xfdd0 && c <= 0xfdef) &&
	       !(c >= 0xfff0 && c <= 0xfffb) && !(c >= 0xe0000 && c <= 0xe0fff) &&
	       (c & 0xfffe) != 0xfffe;
}

void print_escaped(FILE *out, const char *text, size_t len)
{
	size_t run, n;
	uint32_t c;

	while (len) {
		for (run = 0; run < len; run += n) {
			n = utf8_get(text + run, len - run, &c);
			if (!n || !printable(c))
				break;
		}
		if (run)
			fwrite(text, 1, run, out);
		text += run;
		len -= run;
		if (!len)
			break;
		/* All bytes of a character, so that none of them can start another. */
		for (n = n ? n : 1; n; n--, text++, len--)
			fprintf(out, "\\x%02x", (unsigned char)*text);
	}
}

static void set_colour(FILE *out, const struct format *format, const char *colour)
{
	if (format->colour)
		fputs(colour, out);
}

static void note(FILE *out, const struct format *format, const char *fmt, va_list args)
{
	char text[512];
	int len;

	len = vsnprintf(text, sizeof(text), fmt, args);
	set_colour(out, format, YELLOW);
	fputs("# ", out);
	print_escaped(out, text, len < (int)sizeof(text) ? len : (int)sizeof(text) - 1);
	set_colour(out, format, PLAIN);
	fputc('\n', out);
}

/* A line "# ..." between records, for people only; control characters are escaped. */
__attribute__((format(printf, 3, 4)))
static void format_note(FILE *out, const struct format *format, const char *fmt, ...)
{
	va_list args;

	if (!output_for_people(format->output))
		return;
	va_start(args, fmt);
	note(out, format, fmt, args);
	va_end(args);
}

static void print_lost(FILE *out, const struct format *format, const char *channel,
		       uint64_t lost, const char *word)
{
	format_note(out, format, "%s %llu record%s%s%s", word, (unsigned long long)lost,
		    lost == 1 ? "" : "s", format->channel_width ? " of channel " : "",
		    format->channel_width ? channel : "");
}

void format_lost(FILE *out, const struct format *format, const char *channel, uint64_t lost)
{
	print_lost(out, format, channel, lost, "lost");
}

static void print_entry_lost(FILE *out, const struct format *format, const struct entry *entry,
			     uint64_t lost)
{
	print_lost(out, format, entry->channel, lost, entry->found ? "missing" : "lost");
}

/* Who wrote it, and in which container; the kernel in a colour of its own. */
static void print_writer(FILE *out, const struct format *format, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;
	char label[CONTAINER_LABEL_MAX];
	bool kernel = record->origin == FLIGHTREC_ORIGIN_KERNEL;

	if (kernel)
		set_colour(out, format, CYAN);
	if (record->flags & FLIGHTREC_F_INTERRUPT) {
		fputs("[interrupt]", out);
	} else {
		print_escaped(out, record->comm, strnlen(record->comm, sizeof(record->comm)));
		fprintf(out, "[%u]", record->tgid);
	}
	if (kernel)
		set_colour(out, format, PLAIN);
	if (!entry->container)
		return;
	container_label(entry->container, label, sizeof(label));
	fputs(" in ", out);
	print_escaped(out, label, strlen(label));
}

/* Without the newline that many writers end with. */
static void print_text(FILE *out, const struct flightrec_record *record)
{
	const char *payload = flightrec_payload(record);
	size_t len = record->len;

	if (len && payload[len - 1] == '\n')
		len--;
	print_escaped(out, payload, len);
	fputc('\n', out);
}

static void print_line(FILE *out, const struct format *format, const struct entry *entry)
{
	const struct flightrec_record *record = entry->record;
	const char *colour = record->severity < 8 ? colours[record->severity] : "";
	enum clock_style clock = format->output == OUTPUT_ISO ? CLOCK_ISO : format->clock;
	char when[CLOCK_TEXT_MAX];

	clock_text(when, clock, record->boot_ns, record->wall_ns,
		   clock == CLOCK_RELATIVE ? boot_now() : 0);
	fprintf(out, "%s ", when);
	if (format->channel_width)
		fprintf(out, "%-*s ", format->channel_width, entry->channel);
	set_colour(out, format, colour);
	fprintf(out, "%-7s", severity_name(record->severity));
	if (*colour)
		set_colour(out, format, PLAIN);
	fputc(' ', out);
	print_writer(out, format, entry);
	fputs(": ", out);
	print_text(out, record);
}

/* What is wrong with a record from a crash. */
static void print_faults(FILE *out, const struct format *format,
			 const struct flightrec_recovered *found)
{
	if (found->flags & FLIGHTREC_RECOVERED_CONFLICT)
		format_note(out, format, "another record claims the number of the one above");
	if (found->flags & FLIGHTREC_RECOVERED_CUT)
		format_note(out, format, "cut: %u of %u bytes", found->record->len,
			    found->full_len);
}

void format_entry(FILE *out, const struct format *format, const struct entry *entry)
{
	switch (format->output) {
	case OUTPUT_JSON:
		print_json(out, entry);
		return;
	case OUTPUT_EXPORT:
		print_export(out, entry);
		return;
	case OUTPUT_CAT:
		print_text(out, entry->record);
		return;
	default:
		if (entry->lost)
			print_entry_lost(out, format, entry, entry->lost);
		print_line(out, format, entry);
		if (entry->found)
			print_faults(out, format, entry->found);
	}
}

void format_entry_turned(FILE *out, const struct format *format, const struct entry *entry,
			 bool reverse)
{
	struct entry alone = *entry;

	if (!reverse || !output_for_people(format->output)) {
		format_entry(out, format, entry);
		return;
	}
	alone.lost = 0;
	format_entry(out, format, &alone);
	if (entry->lost)
		print_entry_lost(out, format, entry, entry->lost);
}
