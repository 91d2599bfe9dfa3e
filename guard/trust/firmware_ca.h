/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which of Microsoft's certificate authorities a firmware trusts, those of 2011 or of
 * 2023, and who has signed what boots here. Nothing new is signed by those of 2011
 * since they expired; firmware that knows them alone boots no new shim.
 */
#ifndef KMODKEEP_FIRMWARE_CA_H
#define KMODKEEP_FIRMWARE_CA_H

#include <json-c/json.h>

#include "guard/host/host.h"

enum ca_state {
	CA_NOT_APPLICABLE,	/* no EFI */
	CA_UNKNOWN,		/* what the firmware trusts could not be read */
	CA_OWN,			/* none of Microsoft's keys, whatever names say */
	CA_2011, CA_2023, CA_BOTH,
};
/* Stable words: not-applicable, unknown, own, 2011, 2023, both. */
const char *ca_state_word(enum ca_state s);

/* A program on the EFI partition, and who signed it. */
struct boot_program {
	char *path;		/* NULL: not found */
	char *missing;		/* what the firmware calls it, if it is not found; NULL: nothing */
	char *signers;		/* names of the issuers, "A, B"; NULL: not read or none */
	/*
	 * Will this firmware start it, with Secure Boot on? By its signatures, db and dbx, as
	 * EDK II has it. Unknown: one of these could not be read, or is not understood.
	 */
	enum { BOOTS_UNKNOWN, BOOTS_YES, BOOTS_NO } boots;
	bool signed_as_is;	/* some signature is of it, as it is now, or may be */
};

struct firmware_ca {
	enum ca_state db;	/* who may sign what boots */
	enum ca_state kek;	/* who may change db and dbx */
	bool enforces;		/* Secure Boot is on, or may be, whatever shim was told */
	/* dbx has one of Microsoft's of 2011 for boot loaders, or the hash of one that db has. */
	bool dbx_2011;
	/*
	 * shim, or what else the firmware starts, and what that starts beside it. shim has keys
	 * of its own besides db, so of the second it is only certain that it does not start what
	 * nobody has signed.
	 */
	struct boot_program first, second;
};

/* 0 or -ENOMEM; all else is in the state. */
int firmware_ca_read(const struct host *h, struct firmware_ca *out);
void firmware_ca_free(struct firmware_ca *f);
void boot_program_free(struct boot_program *p);

/*
 * Would firmware with these lists db and dbx start what it started for this boot? In
 * *out: its path, its signers, the answer. 0 or -ENOMEM.
 */
struct buf;
int firmware_starts(const struct host *h, const struct buf *db, const struct buf *dbx,
		    struct boot_program *out);

/* Would this host's firmware start this file, with Secure Boot on? 0 or -ENOMEM. */
int firmware_starts_file(const struct host *h, const char *path, struct boot_program *out);

/* What that starts beside itself, if it is shim, as in struct firmware_ca. 0 or -ENOMEM. */
int firmware_second_file(const struct host *h, const char *path, struct boot_program *out);

/*
 * Is it certain that this boot did not come through shim? Its program is named otherwise,
 * or is seen to be a kernel, a unified image or systemd-boot, and nothing is there of what
 * shim leaves behind. Then nobody reads a request for MokManager.
 */
bool firmware_without_shim(const struct host *h);

/* Is this file shim? By its name and by what is in it; what cannot be read is by its name. */
bool firmware_is_shim(const char *path);
/*
 * What shim starts beside itself, of the same architecture: "/a/grubx64.efi" for the file
 * "/a/shimx64.efi" and the name "grub", or "/a/grub.efi". malloc'ed; NULL: it is not there.
 */
char *beside_shim(const char *file, const char *name);

#define ENROL_WITHOUT_SHIM \
	"this host boots without shim, so no menu asks for a key: put it into the firmware's db, " \
	"by kmodkeep key enroll --via setup-mode (after the platform key alone was deleted in the " \
	"firmware's set-up), by --via varstore --db or --via redfish from another machine, by the " \
	"firmware's set-up itself, or by what manages db here, such as sbctl"
/*
 * What asks for a key to be trusted here; cert: the file of its certificate, NULL: the key
 * of this host. malloc'ed.
 */
char *firmware_enrol_step(const struct host *h, const char *cert, bool again);

/* One line for people on what it means; NULL: nothing to say. */
const char *firmware_ca_meaning(const struct firmware_ca *f);
/* What to do; NULL: nothing. */
const char *firmware_ca_next_step(const struct firmware_ca *f);
/* The same where the firmware would refuse a program. */
const char *firmware_ca_refused_step(void);
struct json_object *firmware_ca_json(const struct firmware_ca *f);

#endif
