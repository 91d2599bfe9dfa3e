// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Feeds the parsers of what administrators, packages and firmware write:
 * drop-ins, the guard's settings and its state, a kernel's configuration,
 * variables that say what was booted, the symbols that a module wants, and the
 * configuration of dkms. The
 * first byte says which one is meant; what is read from files lies in a folder.
 */
#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/host/dkms_config.h"
#include "guard/host/dropin.h"
#include "guard/host/efivars.h"
#include "guard/host/guard_conf.h"
#include "guard/pin/state.h"
#include "guard/module/vermagic.h"

#define KERNEL "6.1.0-30-amd64"
#define EFIVARS "/sys/firmware/efi/efivars/"
#define BOOT_CURRENT EFIVARS "BootCurrent-" EFI_GLOBAL_GUID
#define BOOT_0001 EFIVARS "Boot0001-" EFI_GLOBAL_GUID
#define DAY (24 * 3600LL)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static char root[] = "/tmp/fuzz-settings-XXXXXX";
static struct host *h;

static void put(const char *rel, const void *data, size_t len)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s%s", root, rel);
	for (char *p = path + strlen(root) + 1; (p = strchr(p, '/')); p++) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	f = fopen(path, "w");
	if (!f || fwrite(data, 1, len, f) != len || fclose(f))
		abort();
}

static void tidy(void)
{
	char command[64];

	host_free(h);
	snprintf(command, sizeof(command), "rm -rf %s", root);
	if (system(command))
		abort();
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	static const char symvers[] =
		"0x00000001\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n"
		"0xffffffff\ta\tvmlinux\tEXPORT_SYMBOL\t\n";

	(void)argc;
	(void)argv;
	if (!mkdtemp(root) || host_new(root, &h))
		abort();
	atexit(tidy);
	put("/lib/modules/" KERNEL "/build/Module.symvers", symvers,
	    sizeof(symvers) - 1);
	put("/lib/modules/" KERNEL "/modules.dep", "kernel/own.ko:\n", 15);
	put(BOOT_CURRENT, "\7\0\0\0\1\0", 6);
	return 0;
}

/* What is said about a file cannot be mistaken for more than one line. */
static void reported(void *arg, const char *message)
{
	for (const char *p = message; *p; p++)
		if (iscntrl((unsigned char)*p))
			abort();
	++*(unsigned int *)arg;
}

static void drop_in(char *text)
{
	struct driver d = { .timeout = 1 };
	unsigned int errors = 0;

	if (driver_parse(&d, "x.conf", text, reported, &errors))
		abort();
	if (d.broken ? !errors : !d.module_count && !d.dkms && !d.ignore)
		abort();
	if (d.module_count > 64 || !d.timeout || d.timeout > 3600)
		abort();
	for (size_t i = 0; i < d.module_count; i++)
		if (!*d.modules[i] || strpbrk(d.modules[i], "/. \t%\"'"))
			abort();
	if ((d.smoke_test && *d.smoke_test != '/') ||
	    (d.dkms && strchr(d.dkms, '/')))
		abort();
	driver_free(&d);
}

static void settings(char *text)
{
	struct guard_conf c = { .pin_max_age = DAY };
	unsigned int errors = 0;

	guard_conf_parse(&c, "guard.conf", text, reported, &errors);
	if (c.pin_max_age < DAY || c.pin_max_age > 365 * DAY ||
	    (c.prometheus && *c.prometheus != '/'))
		abort();
	guard_conf_free(&c);
}

static void state(const void *data, size_t size)
{
	struct guard_state s;

	put(GUARD_STATE, data, size);
	if (guard_state_read(h, &s))
		abort();
	if (s.booted_count > BOOTED_MAX ||
	    (s.pin.kernel && (!s.pin.entry || !s.pin.instead_of)))
		abort();
	if (guard_note_boot(&s, KERNEL, "lists") || !s.booted_count ||
	    s.booted_count > BOOTED_MAX ||
	    strcmp(s.booted[s.booted_count - 1].kernel, KERNEL))
		abort();
	guard_state_free(&s);
}

static void configuration(const void *data, size_t size)
{
	put("/boot/config-" KERNEL, data, size);
	free(host_kernel_config(h, KERNEL, "CONFIG_MODULE_SIG_FORCE"));
	free(host_kernel_config(h, KERNEL, "CONFIG_MODULE_SIG_HASH"));
}

static void booted(const void *data, size_t size)
{
	char *text;

	put(BOOT_0001, data, size);
	free(efi_boot_directory(h));
	text = efivar_text(h, "Boot0001", EFI_GLOBAL_GUID);
	for (const char *p = text; p && *p; p++)
		if (iscntrl((unsigned char)*p))
			abort();
	free(text);
}

static void symbols(const uint8_t *data, size_t size)
{
	const struct buf elf = { (unsigned char *)data, size };
	struct modinfo info;
	enum answer fits;
	char *why = NULL;

	if (modinfo_read(data, size, &info))
		return;
	/* Settings like its own, so that the symbols are looked at. */
	put("/lib/modules/" KERNEL "/kernel/own.ko", data, size);
	if (!vermagic_fits(h, KERNEL, &elf, &info, &fits, &why) &&
	    fits == ANSWER_NO && !why)
		abort();
	free(why);
	modinfo_free(&info);
}

static void dkms(const char *text)
{
	struct dkms_config c = { 0 };
	bool sure;

	if (dkms_config_parse(&c, "framework.conf", text))
		abort();
	for (size_t i = 0; i < c.count; i++)
		if (!*c.list[i].key || !c.list[i].value)
			abort();
	dkms_config_get(&c, "mok_signing_key", &sure);
	if (c.gap)
		reported(&(unsigned int){ 0 }, c.gap);
	dkms_config_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	if (!text)
		abort();
	switch (data[0] % 7) {
	case 0:
		drop_in(text);
		break;
	case 1:
		settings(text);
		break;
	case 2:
		state(data + 1, size - 1);
		break;
	case 3:
		configuration(data + 1, size - 1);
		break;
	case 4:
		booted(data + 1, size - 1);
		break;
	case 5:
		symbols(data + 1, size - 1);
		break;
	case 6:
		dkms(text);
		break;
	}
	free(text);
	return 0;
}
