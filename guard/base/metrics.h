/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pieces of text for Prometheus's text-file collector. */
#ifndef KMODKEEP_METRICS_H
#define KMODKEEP_METRICS_H

/*
 * Series of one metric with labels whose values come from outside: no host makes
 * more of them, whatever is installed there.
 */
#define METRICS_SERIES_MAX 256

/* Adds to a text, and frees more; without memory the whole is lost: NULL. */
void metrics_add(char **text, char *more);
/* A value of a label, cut to what fits: what would end it is escaped. malloc'ed. */
char *metrics_label(const char *value);
/* Replaces the file in one step, and frees text (NULL: -ENOMEM). 0 or -errno. */
int metrics_write(const char *path, char *text);

/* The name of a file beside the guard's: NAME-word.prom for NAME.prom. malloc'ed. */
char *metrics_beside(const char *guards, const char *word);

#endif
