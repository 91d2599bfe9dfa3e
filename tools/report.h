/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What is said of a boot, in words; report.c has them, html.c puts them on a page,
 * boots.c has the commands that print them.
 */
#ifndef TOOLS_REPORT_H
#define TOOLS_REPORT_H

#include "archive.h"

/* Members of boot.json; NULL if they are not there. */
struct json_object *report_end(const struct boot *boot);
struct json_object *report_records(const struct boot *boot);

/* Did it end as somebody wanted? */
bool report_orderly(const struct boot *boot);

/* The cause, and the time with how it is known: plain text, escaped for a terminal. */
void report_cause(FILE *out, const struct boot *boot);
void report_when(FILE *out, const struct boot *boot);
/* The time of day here, to the second, with its zone. */
void report_time(FILE *out, uint64_t wall_ns);

/*
 * From now on control groups are those of this boot, and containers have the names that
 * were recorded with it. Was a container seen in it, or is that not known?
 */
bool report_names(const struct boot *boot);

/* Calls @line for each thing that is not there, with why. */
void report_missing(const struct boot *boot, void (*line)(void *arg, const char *text), void *arg);

/* The report for people: 0, or an error of the archive; errors of @out are ferror()'s. */
int report_text(FILE *out, const struct boot *boot);
/* "died 2026-01-31 14:30:05: Kernel panic - ..." in one line. */
void report_line(FILE *out, const struct boot *boot);
/* html.c: the same as one page. */
int report_html(FILE *out, const struct boot *boot);

/* How a boot ended, as flightrec recover prints it; @wall_ns 0: not known. */
void ending_print(FILE *out, const struct flightrec_death *death, uint64_t wall_ns);

#endif
