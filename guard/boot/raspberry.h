/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config.txt of the Raspberry Pi as text. */
#ifndef KMODKEEP_RASPBERRY_H
#define KMODKEEP_RASPBERRY_H

#include "guard/boot/loader.h"

enum match { MATCH_NO, MATCH_YES, MATCH_UNSURE };

struct raspberry {
	const struct host *h;
	char *model;
	char *kernel, *initramfs, *cmdline, *prefix, *bits;
	bool automatic;		/* the initramfs has a name that follows the kernel's */
	enum match section;	/* do its lines count? */
	bool unclear;		/* it has what is not read here */
};

/* c: zero but for the model. 0 or -ENOMEM; to be freed in both cases. */
int raspberry_read(struct raspberry *c, const char *bytes, size_t len);
void raspberry_free(struct raspberry *c);

#endif
