/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SBAT, by which shim revokes whole generations of boot programs. A program has rows of
 * components, each with its generation, in its section .sbat. A level has rows of the lowest
 * generation of each that is started. Both are CSV; what is done with odd bytes is what shim
 * does (rhboot/shim: SBAT.md, sbat.c, csv.c). The bytes are not trusted: all is bounded by
 * their size.
 */
#ifndef KMODKEEP_SBAT_H
#define KMODKEEP_SBAT_H

#include "guard/base/util.h"

/* No section and no level that shim was ever given is near to it. */
#define SBAT_MAX (16u << 10)

/* What a level asks of a component. */
struct sbat_refusal {
	char name[64];		/* printable */
	unsigned int has, needs;
};

/*
 * Does a level let a program with this section start? 0: yes; 1: no, for what is then in *out;
 * -EBADMSG: the section is damaged, which shim refuses; -ERANGE: a generation beyond what
 * shim compares, or nothing in the section, which not every shim takes alike; -EINVAL: the
 * level is damaged.
 */
int sbat_compare(const struct buf *section, const struct buf *level, struct sbat_refusal *out);

/* Can shim read a level? Without one, it stops. */
bool sbat_level_valid(const struct buf *level);
/* Does shim keep the level that is held, with another one to apply? The later date wins. */
bool sbat_level_kept(const struct buf *held, const struct buf *candidate);
/* The date of a level, as "2024010900", or "?". */
void sbat_level_date(const struct buf *level, char date[16]);

/*
 * The levels in the section .sbatlevel of shim 15.7 and later: what it applies by itself, and
 * what it does if it is asked to (SbatPolicy). They point into section. 0 or -EBADMSG.
 */
int sbat_levels_of(const struct buf *section, struct buf *automatic, struct buf *latest);

#endif
