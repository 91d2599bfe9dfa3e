/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration of Limine as text. */
#ifndef KMODKEEP_LIMINE_H
#define KMODKEEP_LIMINE_H

#include "guard/boot/labels.h"

struct limine_macro {
	char *name, *value;
};

/* Zero, with labels.find, labels.h and old set, before it is read. */
struct limine {
	struct labels labels;
	unsigned char *depths;	/* of each label, 1 at the top */
	bool *open;		/* of each: what is below it is shown */
	struct limine_macro *macros;
	size_t macro_count;
	char *chosen;		/* default_entry; NULL: not set */
	bool old;		/* the form before version 8 */
	bool remembers;		/* the last choice */
	bool unclear;		/* it has what is not read here */
};

/* 0 or -ENOMEM; to be freed in both cases. */
int limine_read(struct limine *x, const char *bytes, size_t len);
void limine_free(struct limine *x);
/* The default; NULL: it is none that boots, or it cannot be told. */
const struct label *limine_chosen(const struct limine *x);

#endif
