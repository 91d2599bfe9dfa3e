/* SPDX-License-Identifier: GPL-2.0-only */
/* One boot loader each: what next_boot_read() is made of. */
#ifndef KMODKEEP_LOADER_H
#define KMODKEEP_LOADER_H

#include "nextboot.h"

#define LOADER_GUID "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"

bool grub_is_here(const struct host *h);
int grub_next_boot(const struct host *h, const struct kernels *k,
		   const char *saved, struct next_boot *out);
char *grub_entry_for(const struct host *h, const struct kernels *k,
		     const char *release);

bool sdboot_is_here(const struct host *h);
int sdboot_next_boot(const struct host *h, const struct kernels *k,
		     const char *saved, struct next_boot *out);
char *sdboot_entry_for(const struct host *h, const struct kernels *k,
		       const char *release);

/* Sets why (once); returns 0 or -ENOMEM. */
int next_boot_say(struct next_boot *out, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#endif
