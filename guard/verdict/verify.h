/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The verifier: will this kernel load this module, and if not, why? The smoke
 * test, the build hooks and the verbs all ask here.
 */
#ifndef KMODKEEP_VERIFY_H
#define KMODKEEP_VERIFY_H

#include "guard/host/host.h"
#include "guard/verdict/report.h"

/*
 * Judges a file for a kernel release (NULL: the running one or, for an image,
 * the one that the file was built for). 0, or -ENOMEM; all else is a verdict.
 */
int verify_file(const struct host *h, const struct trust *t, const char *path,
		const char *kernel, struct report *r);

/* The verdict on a file that modfile_read() could not read, but for -ENOMEM. */
int verify_unread(int err, struct report *r);

/* The same for a file that was read. */
int verify_modfile(const struct host *h, const struct trust *t,
		   const struct modfile *m, const char *kernel,
		   struct report *r);

/* The same for the bytes of an uncompressed file. */
int verify_bytes(const struct host *h, const struct trust *t,
		 const struct buf *bytes, const char *kernel,
		 struct report *r);

#endif
