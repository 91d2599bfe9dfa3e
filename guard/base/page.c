// SPDX-License-Identifier: GPL-2.0-or-later
/* Labels and texts wrapped for a terminal of 80 columns. */
#include "guard/base/page.h"

#include <stdio.h>
#include <string.h>

void page_item(const char *label, int column, const char *text)
{
	int at = printf("%s", label);

	if (at >= column)
		at += printf(" ");
	at += printf("%*s", column > at ? column - at : 0, "");
	while (*text) {
		int len = strcspn(text, " \n");

		if (at > column && at + 1 + len > PAGE_WIDTH)
			at = printf("\n%*s", column, "") - 1;
		else if (at > column)
			at += printf(" ");
		at += printf("%.*s", len, text);
		text += len;
		while (*text == ' ' || *text == '\n')
			text++;
	}
	putchar('\n');
}
