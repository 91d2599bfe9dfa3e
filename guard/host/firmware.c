// SPDX-License-Identifier: GPL-2.0-or-later
/* Secure Boot, lockdown and module.sig_enforce, as this host has them. */
#include "guard/host/firmware.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/host/efivars.h"
#include "guard/host/guard_conf.h"

#define BOOT_PARAMETERS "/sys/kernel/boot_params/data"
#define BOOT_PARAMETER_SECURE_BOOT 0x1ec	/* Documentation/arch/x86/zero-page.rst */
enum { BOOTED_NOT_SECURELY = 2, BOOTED_SECURELY = 3 };

/* What the kernel was told when it started, where it cannot ask the firmware. */
static enum secure_boot as_started(const struct host *h)
{
	char *path = host_path(h, BOOT_PARAMETERS);
	struct buf b = { 0 };
	int told = 0;

	if (path && !file_read(path, 1 << 16, &b) && b.len > BOOT_PARAMETER_SECURE_BOOT)
		told = b.data[BOOT_PARAMETER_SECURE_BOOT];
	buf_free(&b);
	free(path);
	return told == BOOTED_SECURELY ? SB_ON : told == BOOTED_NOT_SECURELY ? SB_OFF :
									      SB_UNKNOWN;
}

/* What the administrator says. */
static enum secure_boot as_said(const struct host *h)
{
	struct guard_conf conf;
	bool known = !guard_conf_read(h, NULL, NULL, &conf) && conf.firmware_secure_boot;
	enum secure_boot sb = !known ? SB_UNKNOWN :
			      !strcmp(conf.firmware_secure_boot, "yes") ? SB_ON : SB_OFF;

	guard_conf_free(&conf);
	return sb;
}

enum secure_boot host_secure_boot(const struct host *h)
{
	int on, setup, shim_off;
	enum secure_boot sb;

	if (host_image(h) != IMAGE_NOT)
		return host_image(h) == IMAGE_FOR_SECURE_BOOT ? SB_ON :
		       host_image(h) == IMAGE_WITHOUT_SECURE_BOOT ? SB_OFF : SB_UNKNOWN;
	if (!host_has(h, "/sys/firmware/efi"))
		return SB_NO_EFI;
	on = efivar_flag(h, "SecureBoot", EFI_GLOBAL_GUID);
	/* EFI firmware that cannot do Secure Boot has no such variable. */
	if (on == -ENOENT && efivars_readable(h))
		return SB_OFF;
	if (on == -ENOENT) {
		sb = as_started(h);
		return sb == SB_UNKNOWN ? as_said(h) : sb;
	}
	if (on < 0)
		return SB_UNKNOWN;
	setup = efivar_flag(h, "SetupMode", EFI_GLOBAL_GUID);
	shim_off = efivar_flag(h, "MokSBStateRT", SHIM_GUID);
	return on && setup != 1 && shim_off != 1 ? SB_ON : SB_OFF;
}

const char *secure_boot_word(enum secure_boot s)
{
	static const char *const words[] = { "no-efi", "off", "on", "unknown" };

	return words[s];
}

/* Does MokManager ask at the next boot whether shim checks signatures? Or may it? */
static bool change_waits(const struct host *h)
{
	struct buf b;
	int err = efivar_read(h, "MokSB", SHIM_GUID, &b);

	if (!err)
		buf_free(&b);
	return err != -ENOENT;
}

enum demand host_demands_signature(const struct host *h)
{
	enum secure_boot sb = host_secure_boot(h);
	char *line;
	bool yes = false;

	if (sb == SB_ON)
		return DEMAND_YES;
	line = host_line(h, "/sys/module/module/parameters/sig_enforce");
	if (line)
		yes = line[0] == 'Y';
	free(line);
	line = host_line(h, "/sys/kernel/security/lockdown");
	if (line)
		yes |= strstr(line, "[integrity]") ||
		       strstr(line, "[confidentiality]");
	free(line);
	if (yes)
		return DEMAND_YES;
	return sb == SB_UNKNOWN || change_waits(h) ? DEMAND_UNKNOWN : DEMAND_NO;
}
