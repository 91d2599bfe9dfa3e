/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The configuration of extlinux as text. */
#ifndef KMODKEEP_EXTLINUX_H
#define KMODKEEP_EXTLINUX_H

#include "guard/boot/labels.h"

/* Zero, with labels.find and labels.h set, before it is read. */
struct extlinux {
	struct labels labels;
	char *chosen;		/* name of the default; NULL: the first */
	bool unclear;		/* it includes what is not read here */
};

/* 0 or -ENOMEM; to be freed in both cases. */
int extlinux_read(struct extlinux *x, const char *bytes, size_t len);
void extlinux_free(struct extlinux *x);
/* The default; NULL: there is no such label. */
const struct label *extlinux_chosen(const struct extlinux *x);

#endif
