/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The gate file of a fleet: which hosts may take which update now. It is published
 * beside the packages, so it is believed only with the signature of a certificate that
 * the host was given before, and not from there.
 *
 * It is CMS in PEM, with the text inside:
 *
 *	kmodkeep-gate 1
 *	rollout = NAME
 *	issued = SECONDS	since 1970; larger in each file than in the one before
 *	expires = SECONDS
 *	share = N		of 10000 hosts
 *	decision = go-on | stop | go-back
 *	packages = NAME[=VERSION]...	VERSION: the lowest that counts as updated
 */
#ifndef KMODKEEP_GATE_FILE_H
#define KMODKEEP_GATE_FILE_H

#include <stddef.h>
#include <time.h>

#define GATE_FILE_MAX (64u << 10)	/* bytes */
#define GATE_SHARE_ALL 10000u

enum gate_decision { GATE_GO_ON, GATE_STOP, GATE_GO_BACK };

struct gate_file {
	char *rollout;
	char *packages;		/* single blanks between */
	long long issued;
	long long expires;
	unsigned int share;
	enum gate_decision decision;
};

/* Why a file is not believed: a word for programs, a text for people. */
struct gate_refusal {
	const char *word;
	char *why;		/* malloc'ed; NULL without memory */
};

/*
 * Reads the file in data, which nobody has looked at. certs is PEM, one certificate or
 * more: one of them, valid now, must have signed. 0; -EBADMSG: it is refused, see
 * refusal, which the caller frees; or -ENOMEM. out is to be freed on 0 alone.
 */
int gate_file_open(const void *data, size_t len, const void *certs,
		   size_t certs_len, time_t now, struct gate_file *out,
		   struct gate_refusal *refusal);
void gate_file_free(struct gate_file *g);
void gate_refusal_free(struct gate_refusal *r);

/*
 * Where a machine stands among 10000, otherwise for each roll-out, as apt spreads its
 * phased updates: it takes the update when the share is larger. machine is the digest
 * that kmodkeep state prints. -1: it could not be computed.
 */
int gate_ring(const char *rollout, const char *machine);

#endif
