/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Authenticode: who signed a program of EFI, verified as EDK II's DxeImageVerificationLib
 * does it. The bytes are not trusted: all is bounded by the size of the image and by the
 * limits here.
 */
#ifndef KMODKEEP_AUTHENTICODE_H
#define KMODKEEP_AUTHENTICODE_H

#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "guard/base/util.h"

/* More signatures, or more certificates in one of them, are not looked at. */
#define PE_SIGNATURES_MAX 16
#define PE_CERTS_MAX 32

/*
 * The hash of a PE image that its signatures are about: without its checksum and its
 * signatures. hash: room for EVP_MAX_MD_SIZE bytes. 0; -EBADMSG: it is no PE image, or its
 * parts do not fit together; or -ENOMEM.
 */
int pe_hash(const struct buf *image, const EVP_MD *md, unsigned char *hash);

/* Valid while it is shown. */
struct pe_signature {
	const X509_NAME *issuer;	/* of the certificate that it names */
	X509 *signer;			/* NULL: the signature does not bring it along */
	STACK_OF(X509) *certs;		/* those that it brings; may be NULL */
	/*
	 * Does the signer's key vouch for this image? Not decided: an algorithm or a form that
	 * not all firmware takes, or more than is looked at. All firmware takes RSA with SHA-256.
	 */
	enum { PE_SIG_BAD, PE_SIG_GOOD, PE_SIG_UNDECIDED } state;
};

/*
 * Calls fn for each signature in turn, until it returns other than 0, which is returned.
 * -EBADMSG: it is no PE image, or its signatures are damaged, of a kind that is not read, or
 * too many; signatures before that were shown. 0, or -ENOMEM.
 */
typedef int pe_signature_fn(void *arg, const struct pe_signature *s);
int pe_signatures_walk(const struct buf *image, pe_signature_fn *fn, void *arg);

/*
 * Does the chain of a good signature lead to this certificate, which may be that of the
 * signer, or anywhere above? Times and usages do not count for firmware. Whatever cannot be
 * built or verified is no.
 */
bool pe_signature_leads_to(const struct pe_signature *s, X509 *anchor);

#endif
