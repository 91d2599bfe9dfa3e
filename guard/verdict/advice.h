/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * From a cause to what is done about it: the words that a person reads and the
 * command that repair runs come from the same row of one table.
 */
#ifndef KMODKEEP_ADVICE_H
#define KMODKEEP_ADVICE_H

#include <stdbool.h>

/* Commands are run one after the other, the next only if the one before worked. */
#define ADVICE_AND " && "

/* Stable words; scripts depend on them. In the order in which they are dealt with. */
enum cause {
	CAUSE_NONE,		/* nothing is to be done, or no word is known for it */
	CAUSE_HALF_ADDED,	/* dkms was ended while it took in a source */
	CAUSE_INTERRUPTED,	/* dpkg was ended in the middle of its work */
	CAUSE_NO_HEADERS,
	CAUSE_NO_COMPILER,
	CAUSE_DAMAGED,
	CAUSE_WRONG_KERNEL,
	CAUSE_NOT_BUILT,
	CAUSE_NOT_INSTALLED,	/* dkms has built it */
	CAUSE_FILE_GONE,	/* dkms has installed it, and it is not there */
	CAUSE_OTHER_TAKEN,	/* modprobe takes another file of that name */
	CAUSE_NOT_INDEXED,
	CAUSE_UNSIGNED,
	CAUSE_SIGNATURE,	/* of a kind that the kernel does not take */
	CAUSE_OTHER_KEY,	/* signed by one that is not trusted */
	CAUSE_COMPRESSION,
	CAUSE_UNFINISHED,	/* dpkg left a package unconfigured */
	CAUSE_INITRAMFS,
	/* Only a person can do something about these. */
	CAUSE_NOT_ENROLLED,
	CAUSE_PENDING,
	CAUSE_BUILD_FAILED,
	CAUSE_COUNT
};

/* What it is about; NULL: not known. */
struct subject {
	const char *kernel, *driver, *version, *file;	/* driver: its name in dkms */
	enum { PACKAGES_UNKNOWN, PACKAGES_APT, PACKAGES_DNF } manager;
};

/* NULL for CAUSE_NONE. */
const char *cause_word(enum cause c);
/* Must dkms build something for it, with the kernel's headers and a compiler? */
bool cause_builds(enum cause c);
/* Does a package manager do it, which others may hold locked? */
bool cause_packages(enum cause c);

/*
 * The command, words with single blanks between; malloc'ed. NULL: only a person
 * can do it, or something is not known, or has characters that no name has.
 */
char *advice_command(enum cause c, const struct subject *s);
/* What to do, for people; malloc'ed. command NULL: in general words. */
char *advice_text(enum cause c, const struct subject *s, const char *command);

#endif
