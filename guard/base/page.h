/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Text for a terminal of 80 columns. */
#ifndef KMODKEEP_PAGE_H
#define KMODKEEP_PAGE_H

#define PAGE_WIDTH 80

/*
 * Prints a label and a text beside it; what does not fit goes on below, at the
 * same column. Words longer than the page stand alone.
 */
void page_item(const char *label, int column, const char *text);

#endif
