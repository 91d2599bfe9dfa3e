// SPDX-License-Identifier: GPL-2.0-only
/* The smallest module that does something: what is signed in the table test. */
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/module.h>

static int __init table_init(void)
{
	pr_info("table: loaded\n");
	return 0;
}

static void __exit table_exit(void)
{
	pr_info("table: unloaded\n");
}

module_init(table_init);
module_exit(table_exit);

MODULE_DESCRIPTION("What the table of signatures is about");
MODULE_LICENSE("GPL");
MODULE_VERSION("1");
