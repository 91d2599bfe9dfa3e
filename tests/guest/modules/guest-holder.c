// SPDX-License-Identifier: GPL-2.0-only
/*
 * Somebody who holds the node of the channel "default", and the driver's numbers, over its
 * unload, as others in the kernel may for any time: the last reference goes when this module
 * does, which is later than CONFIG_DEBUG_KOBJECT_RELEASE would have it. The nodes' class and
 * the node of control.c are made and released by the kernel whole. Wants the addresses of
 * chardev.c's two pointers.
 */
#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/errno.h>
#include <linux/kobject.h>
#include <linux/module.h>
#include <linux/moduleparam.h>

static unsigned long node_class, node_cdev;
module_param(node_class, ulong, 0);
module_param(node_cdev, ulong, 0);

static struct device *node;
static struct kobject *numbers;

static int __init holder_init(void)
{
	node = class_find_device_by_name(*(struct class **)node_class, "default");
	if (!node)
		return -ENODEV;
	numbers = kobject_get(&(*(struct cdev **)node_cdev)->kobj);
	return 0;
}

static void __exit holder_exit(void)
{
	kobject_put(numbers);
	put_device(node);
}

module_init(holder_init);
module_exit(holder_exit);

MODULE_DESCRIPTION("Holds a node of the driver over its unload");
MODULE_LICENSE("GPL");
