/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where this host stands with its signing key: one reading of everything. */
#ifndef KMODKEEP_KEYSTATE_H
#define KMODKEEP_KEYSTATE_H

#include "guard/host/firmware.h"
#include "signing/signkey.h"


enum enrolment {
	ENROLMENT_ENROLLED,
	ENROLMENT_PENDING,
	ENROLMENT_DECLINED,	/* asked for in an earlier boot, in vain */
	ENROLMENT_NOT_ENROLLED,
	ENROLMENT_NOT_APPLICABLE,
	ENROLMENT_UNKNOWN,
};

struct keystate {
	enum place place;
	enum secure_boot secure_boot;
	enum demand demand;
	struct signkey *key;	/* NULL: the host has none */
	int key_error;		/* of signkey_find() or signkey_load() */
	enum enrolment enrolment;
	char *name;		/* of the certificate; these need it read */
	char sha256[65], sha1[41];
	char *usage;		/* "codeSigning, module signing only" */
	bool boots_kernels;
	char expires[32];
	bool without_shim;	/* certainly: no request would be read */
	bool in_mok, in_db;	/* its certificate is a machine owner key; in db */
	bool other_pending;	/* some request waits that is not ours */
	bool delete_pending;	/* it goes at the next boot, if confirmed */
	bool mokx_pending;	/* so it goes into the list of revoked ones */
	bool revoked;		/* it is in that list */
};

const char *enrolment_word(enum enrolment e);

/*
 * first: about the first key in the order of places, which is the one to
 * enrol, even while another one is enrolled and signs. 0 or -ENOMEM; all else
 * is in the state.
 */
int keystate_read(const struct host *h, bool first, struct keystate **out);
/* The same about one certificate, wherever its key is. */
int keystate_read_cert(const struct host *h, const char *cert,
		       struct keystate **out);
/* The same about one that was read. */
int keystate_read_x509(const struct host *h, X509 *cert,
		       struct keystate **out);
void keystate_free(struct keystate *s);

/* One line on what to do now; NULL: nothing. */
const char *keystate_next_step(const struct keystate *s);
int keystate_exit(const struct keystate *s);

#endif
