// SPDX-License-Identifier: GPL-2.0-only
#include "nextboot.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "efivars.h"
#include "loader.h"
#include "util.h"

const char *loader_word(enum loader l)
{
	static const char *const words[] = { "unknown", "grub", "systemd-boot" };

	return words[l];
}

int next_boot_say(struct next_boot *out, const char *fmt, ...)
{
	va_list ap;
	int n;

	free(out->why);
	va_start(ap, fmt);
	n = vasprintf(&out->why, fmt, ap);
	va_end(ap);
	if (n >= 0)
		return 0;
	out->why = NULL;
	return -ENOMEM;
}

void next_boot_free(struct next_boot *n)
{
	free(n->kernel);
	free(n->entry);
	free(n->why);
	free(n->saved);
	free(n->obstacle);
	free(n->later);
	memset(n, 0, sizeof(*n));
}

/* The loader that started this boot says its name, if it is one of these. */
static enum loader started_by(const struct host *h)
{
	char *name = efivar_text(h, "LoaderInfo", LOADER_GUID);
	enum loader l = LOADER_UNKNOWN;

	if (name && !strncmp(name, "systemd-boot", 12))
		l = LOADER_SYSTEMD_BOOT;
	else if (name && !strncmp(name, "GRUB", 4))
		l = LOADER_GRUB;
	free(name);
	return l;
}

static enum loader find_loader(const struct host *h)
{
	enum loader l = started_by(h);

	if (l != LOADER_UNKNOWN)
		return l;
	if (grub_is_here(h))
		return LOADER_GRUB;
	return sdboot_is_here(h) ? LOADER_SYSTEMD_BOOT : LOADER_UNKNOWN;
}

/* Somebody asked the firmware for something else the next time. */
static bool firmware_goes_elsewhere(const struct host *h)
{
	struct buf next, current;
	bool other;

	if (efivar_read(h, "BootNext", EFI_GLOBAL_GUID, &next))
		return false;
	other = true;
	if (!efivar_read(h, "BootCurrent", EFI_GLOBAL_GUID, &current)) {
		other = next.len < 2 || current.len < 2 ||
			memcmp(next.data, current.data, 2);
		buf_free(&current);
	}
	buf_free(&next);
	return other;
}

int next_boot_read(const struct host *h, const struct kernels *k,
		   const char *saved, struct next_boot *out)
{
	int err = 0;

	memset(out, 0, sizeof(*out));
	out->loader = find_loader(h);
	if (out->loader == LOADER_GRUB)
		err = grub_next_boot(h, k, saved, out);
	else if (out->loader == LOADER_SYSTEMD_BOOT)
		err = sdboot_next_boot(h, k, saved, out);
	else
		err = next_boot_say(out, "no boot loader is found that is "
				    "known here: neither grub.cfg nor entries "
				    "of systemd-boot can be read");
	if (!err && firmware_goes_elsewhere(h)) {
		free(out->kernel);
		out->kernel = NULL;
		err = next_boot_say(out, "the firmware is asked to start "
				    "something else at the next boot "
				    "(BootNext)");
	}
	if (err)
		next_boot_free(out);
	return err;
}

char *next_boot_entry_for(const struct host *h, const struct kernels *k,
			  enum loader loader, const char *release)
{
	if (loader == LOADER_GRUB)
		return grub_entry_for(h, k, release);
	if (loader == LOADER_SYSTEMD_BOOT)
		return sdboot_entry_for(h, k, release);
	return NULL;
}
