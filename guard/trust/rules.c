// SPDX-License-Identifier: GPL-2.0-or-later
/* The table of kernel families: which keys and revocation lists each looks at. */
#include "guard/trust/rules.h"

#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/efivars.h"
#include "guard/host/host.h"

#define V(major, minor) ((major) * 1000 + (minor))

/*
 * The first row that matches counts. A key enrolled as MOK is trusted by the
 * kernels of every family here (in .machine or .platform), so that has no column;
 * of the others only a configuration tells. Seen in guests: Debian, Ubuntu 6.8;
 * from the sources: the others.
 */
static const struct {
	const char *family, *glob;
	int from, before;
	enum answer db, mokx_cert, mokx_hash;
} table[] = {
	/* Rebuilt kernels with names like those of a distribution's. */
	{ "unknown", "*@(liquorix|xanmod|cachyos|zen|tkg)*", 0, INT_MAX,
	  ANSWER_UNVERIFIED, ANSWER_UNVERIFIED, ANSWER_UNVERIFIED },
	{ "Fedora", "*.fc[0-9]*", 0, INT_MAX,
	  ANSWER_YES, ANSWER_NO, ANSWER_NO },
	{ "RHEL", "*.el10*", 0, INT_MAX,
	  ANSWER_YES, ANSWER_NO, ANSWER_NO },
	{ "RHEL", "*.el[0-9]*", 0, INT_MAX,
	  ANSWER_YES, ANSWER_NO, ANSWER_UNVERIFIED },
	{ "SUSE", "*-default", 0, INT_MAX,
	  ANSWER_YES, ANSWER_UNVERIFIED, ANSWER_YES },
	{ "Ubuntu", "*-generic*", 0, INT_MAX,
	  ANSWER_YES, ANSWER_YES, ANSWER_NO },
	{ "Ubuntu", "*-lowlatency*", 0, INT_MAX,
	  ANSWER_YES, ANSWER_YES, ANSWER_NO },
	{ "Debian", "*-@(amd64|arm64|686|686-pae|armmp|riscv64)", 0, V(7, 0),
	  ANSWER_YES, ANSWER_NO, ANSWER_YES },
	{ "Debian", "*-@(amd64|arm64|686|686-pae|armmp|riscv64)", V(7, 0),
	  INT_MAX, ANSWER_YES, ANSWER_NO, ANSWER_NO },
	{ "unknown", "*", 0, INT_MAX,
	  ANSWER_UNVERIFIED, ANSWER_UNVERIFIED, ANSWER_UNVERIFIED },
};

struct kernel_rules rules_for(const char *release)
{
	struct kernel_rules r = { .family = "unknown",
				  .mok = ANSWER_UNVERIFIED };
	int major = 0, minor = 0, version;

	if (sscanf(release, "%3d.%3d", &major, &minor) < 2)
		major = minor = 0;
	version = V(major, minor);
	for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
		if (version < table[i].from || version >= table[i].before ||
		    fnmatch(table[i].glob, release, FNM_EXTMATCH))
			continue;
		r.family = table[i].family;
		r.mok = strcmp(r.family, "unknown") ? ANSWER_YES :
						      ANSWER_UNVERIFIED;
		r.db = table[i].db;
		r.mokx_cert = table[i].mokx_cert;
		r.mokx_hash = table[i].mokx_hash;
		break;
	}
	/* Version 0.0 is one that could not be read: assume a recent kernel. */
	r.ecdsa = !version || version >= V(5, 13) ? ANSWER_UNVERIFIED :
						    ANSWER_NO;
	r.sha3 = !version || version >= V(6, 7);
	/* Linux 6.7 took it out, and 6.9 and later updates of 6.7 and 6.8 put it back. */
	r.sha1 = version >= V(6, 7) && version < V(6, 9) ? ANSWER_UNVERIFIED : ANSWER_YES;
	r.sha512 = ANSWER_YES;
	return r;
}

static bool is_set(const struct host *h, const char *release, const char *name)
{
	char *value = host_kernel_config(h, release, name);
	bool set = value != NULL;

	free(value);
	return set;
}

/*
 * Machine owner keys come into .machine, which is linked to the keys for modules,
 * or into .platform, where only patched kernels look for modules' keys: those of
 * the families in the table. .machine takes them only where shim passed on
 * MokListTrustedRT, which its owner can switch off. With neither ring nobody looks
 * at them. Before 5.0 there was no ring of its own for them.
 */
static enum answer mok_by_config(const struct host *h, const char *release,
				 const struct kernel_rules *r)
{
	int major = 0;

	if (sscanf(release, "%3d.", &major) != 1 || major < 5)
		return r->mok;
	if (is_set(h, release, "CONFIG_INTEGRITY_MACHINE_KEYRING"))
		return r->mok == ANSWER_YES ||
		       (is_set(h, release, "CONFIG_SECONDARY_TRUSTED_KEYRING") &&
			!is_set(h, release,
				"CONFIG_INTEGRITY_CA_MACHINE_KEYRING") &&
			efivar_flag(h, "MokListTrustedRT", SHIM_GUID) >= 0) ?
		       ANSWER_YES : ANSWER_UNVERIFIED;
	return is_set(h, release, "CONFIG_INTEGRITY_PLATFORM_KEYRING") ?
	       r->mok : ANSWER_NO;
}

/*
 * As a module (=m) ECDSA may or may not be there when it is needed. Every
 * configuration has CONFIG_MODULES: without that line there is none to read.
 */
struct kernel_rules rules_on(const struct host *h, const char *release)
{
	struct kernel_rules r = rules_for(release);
	char *ecdsa, *readable;

	readable = host_kernel_config(h, release, "CONFIG_MODULES");
	if (readable) {
		r.mok = mok_by_config(h, release, &r);
		/* One that is a module is loaded when it is asked for. */
		if (!is_set(h, release, "CONFIG_CRYPTO_SHA1"))
			r.sha1 = ANSWER_NO;
		if (!is_set(h, release, "CONFIG_CRYPTO_SHA512"))
			r.sha512 = ANSWER_NO;
	}
	if (r.ecdsa == ANSWER_NO) {
		free(readable);
		return r;
	}
	ecdsa = host_kernel_config(h, release, "CONFIG_CRYPTO_ECDSA");
	if (ecdsa && !strcmp(ecdsa, "y"))
		r.ecdsa = ANSWER_YES;
	else if (!ecdsa && readable)
		r.ecdsa = ANSWER_NO;
	free(ecdsa);
	free(readable);
	return r;
}
