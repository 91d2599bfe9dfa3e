// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of causes: what a person is told, and what repair runs. */
#include "guard/verdict/advice.h"

#include <ctype.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define DKMS_REBUILD "dkms build --force %d/%v -k %k" ADVICE_AND \
		     "dkms install --force %d/%v -k %k"
/*
 * apt must not solve a conflict by taking something away, nor take a name that no
 * package has for a pattern of others.
 */
#define APT_INSTALL "apt-get -o APT::Cmd::Pattern-Only=true --no-remove -y install "

/* %k kernel, %d driver in dkms, %v its version, %f file, %c the command. */
static const struct row {
	const char *word;
	const char *text;	/* with a command */
	const char *general;	/* without one */
	const char *command, *dnf;	/* dnf: instead, where that is used */
	bool builds, packages;
} rows[] = {
	[CAUSE_NONE] = { NULL, "", "", NULL, NULL, false, false },
	[CAUSE_HALF_ADDED] = {
		"half-added", "have dkms take in its source: %c", "", "dkms add %d/%v", NULL,
		false, false },
	[CAUSE_INTERRUPTED] = {
		"interrupted", "have dpkg go on where it was ended: %c", "",
		"dpkg --configure -a", NULL, false, true },
	[CAUSE_NO_HEADERS] = {
		"no-headers",
		"install the headers of that kernel (%c), then: dkms autoinstall",
		"install the headers of that kernel, then: dkms autoinstall",
		APT_INSTALL "linux-headers-%k", "dnf -y install kernel-devel-%k",
		false, true },
	[CAUSE_NO_COMPILER] = {
		"no-compiler", "install a compiler: %c", "install gcc and make",
		APT_INSTALL "gcc make", "dnf -y install gcc make", false, true },
	[CAUSE_DAMAGED] = {
		"damaged",
		"rebuild it and sign it again: %c, or reinstall its package",
		"rebuild it and sign it again: dkms build --force, or reinstall its "
		"package", DKMS_REBUILD, NULL, true, false },
	[CAUSE_WRONG_KERNEL] = {
		"wrong-kernel",
		"build it for that kernel: %c, with its headers installed",
		"build it for that kernel: dkms autoinstall -k, with its headers "
		"installed", DKMS_REBUILD, NULL, true, false },
	[CAUSE_NOT_BUILT] = {
		"not-built", "build it: %c", "build it: dkms autoinstall",
		"dkms install %d/%v -k %k", NULL, true, false },
	[CAUSE_NOT_INSTALLED] = {
		"not-installed", "it is built: %c", "it is built: dkms install",
		"dkms install %d/%v -k %k", NULL, false, false },
	[CAUSE_FILE_GONE] = {
		"file-gone", "dkms says that it is installed: %c",
		"dkms says that it is installed: dkms install --force",
		"dkms install --force %d/%v -k %k", NULL, false, false },
	[CAUSE_OTHER_TAKEN] = {
		"other-taken", "depmod %k, then if that does not help: %c",
		"depmod, then if that does not help: dkms install --force",
		"dkms install --force %d/%v -k %k", NULL, false, false },
	[CAUSE_NOT_INDEXED] = {
		"not-indexed", "%c; if that does not help, look at /etc/depmod.d",
		"run: depmod -a", "depmod %k", NULL, false, false },
	[CAUSE_UNSIGNED] = {
		"unsigned", "sign it: %c", "sign it: kmodkeep sign",
		"kmodkeep sign %f", NULL, false, false },
	[CAUSE_SIGNATURE] = {
		"signature", "sign it again: %c", "sign it again: kmodkeep sign",
		"kmodkeep sign %f", NULL, false, false },
	[CAUSE_OTHER_KEY] = {
		"other-key", "sign it with this host's key: %c",
		"sign it with this host's key: kmodkeep sign",
		"kmodkeep sign %f", NULL, false, false },
	[CAUSE_COMPRESSION] = {
		"compression", "pack it again: %c, or xz --check=crc32",
		"pack it again: kmodkeep sign --if-needed, or xz --check=crc32",
		"kmodkeep sign --if-needed %f", NULL, false, false },
	[CAUSE_UNFINISHED] = {
		"unfinished", "%c", "", "dpkg --configure -a", NULL, false, true },
	/* guard/verdict/early.c knows what makes an initramfs here. */
	[CAUSE_INITRAMFS] = { "initramfs", "", "", NULL, NULL, false, false },
	[CAUSE_NOT_ENROLLED] = {
		"not-enrolled", "", "enrol this host's key: kmodkeep key enroll",
		NULL, NULL, false, false },
	[CAUSE_PENDING] = {
		"pending", "", "reboot and choose \"Enroll MOK\" in the blue menu",
		NULL, NULL, false, false },
	/* What serves is said instead: guard/verdict/doctor.c. */
	[CAUSE_BUILD_FAILED] = { "build-failed", "", "", NULL, NULL, true, false },
};
_Static_assert(ARRAY_SIZE(rows) == CAUSE_COUNT, "a row for each");

const char *cause_word(enum cause c)
{
	return rows[c].word;
}

bool cause_builds(enum cause c)
{
	return rows[c].builds && rows[c].command;
}

bool cause_packages(enum cause c)
{
	return rows[c].packages;
}

/* Names of drivers come from files: none may become an option or two words. */
static bool is_plain(const char *value)
{
	if (!*value || *value == '-')
		return false;
	for (; *value; value++)
		if (!isalnum((unsigned char)*value) && !strchr("._+:~/@-", *value))
			return false;
	return true;
}

static const char *value_of(char what, const struct subject *s, const char *command)
{
	switch (what) {
	case 'k': return s->kernel;
	case 'd': return s->driver;
	case 'v': return s->version;
	case 'f': return s->file;
	default: return command;
	}
}

/* NULL with errno ENODATA: a value is missing, or unfit for a command. */
static char *fill(const char *pattern, const struct subject *s, const char *command)
{
	char *out = NULL;
	size_t size;
	FILE *f = open_memstream(&out, &size);
	bool whole = true;

	if (!f)
		return NULL;
	for (; *pattern && whole; pattern++) {
		const char *value;

		if (*pattern != '%') {
			fputc(*pattern, f);
			continue;
		}
		value = value_of(*++pattern, s, command);
		whole = value && (value == command || is_plain(value));
		if (whole)
			fputs(value, f);
	}
	if (fclose(f) || !whole) {
		free(out);
		errno = whole ? ENOMEM : ENODATA;
		return NULL;
	}
	return out;
}

char *advice_command(enum cause c, const struct subject *s)
{
	const struct row *row = &rows[c];
	bool dnf = row->dnf && s->manager == PACKAGES_DNF;

	if (!row->command || (row->packages && s->manager == PACKAGES_UNKNOWN) ||
	    (row->packages && s->manager == PACKAGES_DNF && !dnf))
		return NULL;
	return fill(dnf ? row->dnf : row->command, s, NULL);
}

char *advice_text(enum cause c, const struct subject *s, const char *command)
{
	return command ? fill(rows[c].text, s, command) : strdup(rows[c].general);
}
