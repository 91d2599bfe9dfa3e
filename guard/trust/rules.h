/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What kernels of each distribution do with keys and revocations. */
#ifndef KMODKEEP_RULES_H
#define KMODKEEP_RULES_H

enum answer { ANSWER_NO, ANSWER_YES, ANSWER_UNVERIFIED };

struct kernel_rules {
	const char *family;
	enum answer mok;	/* modules signed by a machine owner key */
	enum answer db;		/* modules signed by a key of the firmware's db */
	enum answer mokx_cert;	/* a certificate in MokListX revokes modules */
	enum answer mokx_hash;	/* the hash of a module in MokListX revokes it */
	enum answer ecdsa;	/* ECDSA signatures are understood */
	enum answer sha1;	/* signatures of SHA-1 digests are */
	enum answer sha512;	/* those of SHA-384 and SHA-512 are */
	int sha3;
};

struct host;

/* For a kernel release, like "6.1.0-30-amd64". */
struct kernel_rules rules_for(const char *release);
/* The same with what the configuration of that kernel on the host says. */
struct kernel_rules rules_on(const struct host *h, const char *release);

#endif
