// SPDX-License-Identifier: GPL-2.0-only
/* Reads the boot's identifier once, at load; makes one where there is none. */
#define pr_fmt(fmt) "flightrec: " fmt

#include <linux/err.h>
#include <linux/fs.h>
#include <linux/init.h>
#include <linux/printk.h>
#include <linux/uuid.h>

#include "bootid.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"

static uuid_t boot_id;
static_assert(sizeof(boot_id) == FLIGHTREC_BOOT_ID_BYTES);

/* The kernel exports it by this file only. */
static int __init read_boot_id(uuid_t *id)
{
	char text[UUID_STRING_LEN + 1] = "";
	struct file *file;
	loff_t pos = 0;
	ssize_t n;

	file = filp_open(BOOT_ID_FILE, O_RDONLY, 0);
	if (IS_ERR(file))
		return PTR_ERR(file);
	n = kernel_read(file, text, UUID_STRING_LEN, &pos);
	filp_close(file, NULL);
	return n < 0 ? n : uuid_parse(text, id);
}

void __init flightrec_boot_id_init(void)
{
	int err = read_boot_id(&boot_id);

	if (!err)
		return;
	/* So that records of this boot at least are not taken for another one's. */
	uuid_gen(&boot_id);
	pr_warn("cannot read " BOOT_ID_FILE ": %pe; records recovered after a crash will have the random identifier %pUb instead\n",
		ERR_PTR(err), &boot_id);
}

const u8 *flightrec_boot_id(void)
{
	return boot_id.b;
}
