/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One certificate. */
#ifndef KMODKEEP_CERT_H
#define KMODKEEP_CERT_H

#include <openssl/x509.h>
#include <stdbool.h>

#include "guard/host/efivars.h"

/* Reads DER or PEM. 0, -EBADMSG or the error of reading. */
int cert_read(const char *path, X509 **out);

/* The common name, or all of it, printable; malloc'ed. */
char *name_text(const X509_NAME *name);
char *cert_name(X509 *cert);

/* Its extended key usages for people; malloc'ed. */
char *cert_usage(X509 *cert);

/* Does nothing keep shim from booting what this key signed? */
bool cert_boots_kernels(X509 *cert);

/*
 * Did a certificate issue another, as kernels look for it: by the authority key
 * identifier alone, whole names and numbers? Signatures are not checked here.
 */
bool cert_issued(X509 *issuer, X509 *cert);
/* Does it say who issued it, in the way in which kernels look for that? */
bool cert_names_issuer(X509 *cert);
/* Does it say that it issued itself? */
bool cert_names_itself(X509 *cert);
/*
 * Is sig the signature of a SHA-1 digest by this key? 0, -EKEYREJECTED (no), or -ENOPKG: not
 * by a key of this kind. OpenSSL itself may be told to refuse SHA-1, as on EL, and kernels
 * go on taking it.
 */
int sha1_check(EVP_PKEY *key, const unsigned char digest[20], const ASN1_STRING *sig);
/* Has that key signed it? */
bool cert_signed_by(X509 *cert, EVP_PKEY *key);
/* Is it the end of its chain, by kernels' reading? Its signature is checked. */
bool cert_is_root(X509 *cert);
/*
 * Is it the certificate of this issuer with this serial number, or of this key identifier?
 * Byte by byte, as kernels compare: OpenSSL takes "CN=A" for "CN=a".
 */
bool cert_has_serial(X509 *cert, const X509_NAME *issuer, const ASN1_INTEGER *serial);
bool cert_has_key_id(X509 *cert, const ASN1_OCTET_STRING *id);
/* The hash of what its issuer signed of it, as in lists of revoked ones. 0 or -ENOMEM. */
int cert_tbs_hash(X509 *cert, const EVP_MD *md, unsigned char hash[EVP_MAX_MD_SIZE]);
/* Of what kind of hash an entry of the firmware's lists is; NULL: it is none. */
const EVP_MD *efi_sig_md(enum efi_sig type);
/* The same to kernels: issuer, serial number and key identifier. */
bool cert_same(X509 *a, X509 *b);

#endif
