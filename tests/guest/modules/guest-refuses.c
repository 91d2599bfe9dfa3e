// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module whose init fails.
 */
#include <linux/errno.h>
#include <linux/module.h>

static int __init refuses_init(void)
{
	return -ENODEV;
}
module_init(refuses_init);

MODULE_DESCRIPTION("A module whose init fails");
MODULE_LICENSE("GPL");
