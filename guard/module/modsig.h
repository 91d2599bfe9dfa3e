/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The signature at the end of a module:
 *
 *	content | CMS message (DER) | 12-byte trailer | magic line
 *
 * The CMS message is detached (it covers the content, without carrying it)
 * and may name several signers, by issuer and serial number or by key
 * identifier. All input is hostile: every length is checked before use.
 */
#ifndef KMODKEEP_MODSIG_H
#define KMODKEEP_MODSIG_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "guard/base/util.h"

struct modsig;

/*
 * 0, -ENODATA (no signature), -EBADMSG (damaged), -ENOPKG (a kind of signature
 * that no kernel takes) or -ENOMEM. Keeps no pointer to file.
 */
int modsig_parse(const unsigned char *file, size_t len, struct modsig **out);
void modsig_free(struct modsig *s);

/* How many bytes, from the start of the file, the signature covers. */
size_t modsig_content_len(const struct modsig *s);

/* Length of a file without any signature at its end, also several. */
size_t modsig_strip(const unsigned char *file, size_t len);

struct modsig_signer {
	char *name;		/* issuer's CN or "key ID hex", for people */
	char *issuer;		/* issuer's CN; NULL with a key identifier */
	char *key_id;		/* hex; NULL with issuer and serial number */
	const char *hash;	/* "sha256", or what OpenSSL calls it */
	int hash_nid, key_nid;
	bool has_attributes;	/* signed attributes: every kernel refuses */
};

size_t modsig_signers(const struct modsig *s);
const struct modsig_signer *modsig_signer(const struct modsig *s, size_t i);

/* Is cert the one that this signer names? */
bool modsig_names(const struct modsig *s, size_t i, X509 *cert);

/* The certificates that the message brings along, in any order. */
size_t modsig_certs(const struct modsig *s);
X509 *modsig_cert(const struct modsig *s, size_t i);

/*
 * The certificate of a signer that the message brings along, which kernels look
 * for by issuer and serial number alone; NULL: none.
 */
X509 *modsig_embedded(const struct modsig *s, size_t i);
/* The certificate in the message that issued this one; NULL: none. */
X509 *modsig_issuer(const struct modsig *s, X509 *cert);

/*
 * Does the signature fit the content and the key of cert? 0, -EKEYREJECTED
 * (no), or -ENOPKG (an algorithm that cannot be checked here).
 */
int modsig_check(const struct modsig *s, size_t i, X509 *cert,
		 const unsigned char *content);

/* The SHA-256 of a signer's signature value, in hexadecimal. */
void modsig_value_sha256(const struct modsig *s, size_t i, char hex[65]);

struct modsig_key {
	X509 *cert;
	EVP_PKEY *key;	/* of that certificate */
};

/*
 * Makes content + a signature by each of n keys and by those signers of old
 * (NULL: none) whose bit in drop is not set; what they signed must be content.
 * hash: an EVP name, for the n keys. -ENOPKG: not known; -EPROTO: the signers
 * that stay are named by key identifiers, and a certificate has none: kernels
 * take no mixture; -EINVAL: nobody would be left.
 */
int modsig_change(const unsigned char *content, size_t len,
		  const struct modsig *old, unsigned int drop,
		  const struct modsig_key *keys, size_t n, const char *hash,
		  struct buf *out);

/*
 * The message alone (DER), as it comes from a signer elsewhere. Kinds of errors as
 * modsig_change().
 */
int modsig_detached(const unsigned char *content, size_t len, X509 *cert,
		    EVP_PKEY *key, const char *hash, struct buf *out);
/* Takes apart such a message, of content of len bytes. As modsig_parse(). */
int modsig_parse_detached(const unsigned char *der, size_t size, size_t len,
			  struct modsig **out);
/*
 * Makes content + one signature that has the signers of all n messages, without
 * a key. Nothing is checked here. -EPROTO: kernels take no such mixture (named in
 * two ways, signed attributes), or it cannot be made here: two hashes,
 * certificates in the message, one signer twice.
 */
int modsig_join(const unsigned char *content, size_t len,
		struct modsig *const *from, size_t n, struct buf *out);

#endif
