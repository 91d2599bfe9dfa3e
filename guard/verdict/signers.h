/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * More than a kernel asks for: so many of these signers, each in a log. A kernel is
 * content with one signer that it trusts.
 */
#ifndef KMODKEEP_SIGNERS_H
#define KMODKEEP_SIGNERS_H

#include <openssl/x509.h>

#include "guard/host/host.h"
#include "guard/module/modfile.h"
#include "guard/trust/signlog.h"
#include "guard/trust/signing_conf.h"
#include "guard/verdict/report.h"

#define SIGNER_LOGS_MAX 4

struct signers {
	X509 *certs[SIGNERS_REQUIRED_MAX];
	size_t count, required;		/* required 0: any signer will do */
	struct signlog logs[SIGNER_LOGS_MAX];
	size_t log_count;		/* 0: no line in a log is needed */
	char *unread;			/* why it is not known who must have signed; NULL: it is */
};

/*
 * Adds a certificate, or a log whose chain is checked. 0; -EBADMSG: it is none (*why,
 * malloc'ed, or NULL); -E2BIG: too many; or the error of reading.
 */
int signers_add_cert(struct signers *s, const char *path);
int signers_add_log(struct signers *s, const char *path, char **why);
/*
 * As signing.conf of the host has it; none there: nothing is required. 0, also where
 * it cannot be read (s->unread), or -ENOMEM.
 */
int signers_of_host(const struct host *h, struct signers *s);
void signers_free(struct signers *s);

/*
 * Is a file that was judged signed as required? 1; 0: not, or it is not known what is
 * required, and r says so; or -ENOMEM. Different certificates on one key count as one.
 */
int signers_check(const struct signers *s, const char *path, struct report *r);
/* The same of a file that was read. */
int signers_check_modfile(const struct signers *s, const struct modfile *m,
			  struct report *r);

#endif
