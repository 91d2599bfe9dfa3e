// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a module that is not the driver's own records events: kevent.h is all that it
 * knows. Its init tells of itself, and fails if what must be refused is not.
 */
#include <linux/errno.h>
#include <linux/module.h>

#include "compat/compat.h"
#include "kevent.h"

static int refused(int got, int want)
{
	return got == want ? 0 : -ERANGE;
}

static int __init source_init(void)
{
	int err;

	err = flightrec_note("guest-source", 4, "value=%d name=%s", 42, "answer");
	if (!err)
		err = refused(flightrec_note("", 4, "x"), -EINVAL);
	if (!err)
		err = refused(flightrec_note("Two words", 4, "x"), -EINVAL);
	if (!err)
		err = refused(flightrec_note("a23456789-123456789-123456789-12", 4, "x"), -EINVAL);
	if (!err)
		err = refused(flightrec_note("guest-source", 8, "x"), -EINVAL);
	return err;
}

static void __exit source_exit(void)
{
	/* Longer than a record of the kernel's: cut. */
	flightrec_note("guest-source", 5, "%0300d", 7);
}

module_init(source_init);
module_exit(source_exit);

MODULE_DESCRIPTION("A module that records events with flightrec_note()");
MODULE_LICENSE("GPL");
FLIGHTREC_IMPORT();
