// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Boot loaders whose menu is not read here: they are named, so that the answer is
 * not that of another loader that happens to be installed as well.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/boot/loader.h"

static bool any_of(const struct host *h, const char *const *paths)
{
	for (; *paths; paths++)
		if (host_has(h, *paths))
			return true;
	return false;
}

static int say_unread(struct next_boot *out, const char *name, const char *look)
{
	out->obstacle = text_of("the default of %s cannot be set by kmodkeep", name);
	return out->obstacle ? next_boot_say(out, "%s boots this host, and its menu is not "
					     "read by kmodkeep: look at %s", name, look) : -ENOMEM;
}

#define NAMED(variable, word, title, begins, look, ...)				\
static bool variable##_is_here(const struct host *h)				\
{										\
	static const char *const paths[] = { __VA_ARGS__, NULL };		\
										\
	return any_of(h, paths);						\
}										\
										\
static int variable##_next_boot(const struct host *h, const struct kernels *k,	\
				const char *saved, struct next_boot *out)	\
{										\
	(void)h;								\
	(void)k;								\
	(void)saved;								\
	return say_unread(out, title, look);					\
}										\
										\
const struct loader_ops variable##_loader = {					\
	.name = word,								\
	.info = begins,								\
	.is_here = variable##_is_here,						\
	.next_boot = variable##_next_boot,					\
	.entry_for = loader_no_entry,						\
	.set_default = loader_no_default,					\
}

/* What it boots is in properties of the pool, which no file has. */
NAMED(zfsbootmenu, "zfsbootmenu", "ZFSBootMenu", "ZFSBootMenu",
	"zpool get bootfs, and zfs get org.zfsbootmenu:kernel of that",
	"/etc/zfsbootmenu/config.yaml", "/boot/efi/EFI/ZBM", "/boot/efi/EFI/zbm",
	"/efi/EFI/ZBM");
