// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads a certificate, and what is said of it to people. */
#include "guard/trust/cert.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define MODULE_SIGNING_OID "1.3.6.1.4.1.2312.16.1.2"
static const char MODULE_SIGNING_ONLY[] = "module signing only";

/* More of a name, which others chose, is not shown. */
#define NAME_SHOWN 255

/* text with no character that ends it early or does something else than show, and not too long. */
static char *shown(const unsigned char *text, size_t len)
{
	bool whole = len <= NAME_SHOWN;
	char *out;

	if (!whole)
		len = NAME_SHOWN;
	while (!whole && len && (text[len] & 0xc0) == 0x80)	/* within a character */
		len--;
	out = malloc(len + sizeof("..."));
	if (!out)
		return NULL;
	for (size_t i = 0; i < len; i++)
		out[i] = text[i] ? text[i] : '?';
	strcpy(out + len, whole ? "" : "...");
	make_printable(out);
	return out;
}

/* The last common name, as in the kernel's description of a key; NULL: there is none. */
static const ASN1_STRING *common_name(X509_NAME *n)
{
	int at = -1, last = -1;

	while ((at = X509_NAME_get_index_by_NID(n, NID_commonName, at)) >= 0)
		last = at;
	return last < 0 ? NULL : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(n, last));
}

char *name_text(const X509_NAME *name)
{
	X509_NAME *n = (X509_NAME *)name;	/* 1.1's prototypes lack const */
	const ASN1_STRING *cn = common_name(n);
	unsigned char *utf8 = NULL;
	int len = cn ? ASN1_STRING_to_UTF8(&utf8, cn) : 0;
	char line[256], *text = NULL;

	if (len > 0)
		text = shown(utf8, len);
	else if (X509_NAME_oneline(n, line, sizeof(line)))	/* escapes what is no text */
		text = shown((unsigned char *)line, strlen(line));
	OPENSSL_free(utf8);
	ERR_clear_error();
	return text;
}

char *cert_name(X509 *cert)
{
	return name_text(X509_get_subject_name(cert));
}

int cert_read(const char *path, X509 **out)
{
	struct buf b;
	const unsigned char *p;
	int err = file_read(path, 1 << 20, &b);
	BIO *bio;

	if (err)
		return err;
	p = b.data;
	*out = d2i_X509(NULL, &p, b.len);
	if (!*out) {
		bio = BIO_new_mem_buf(b.data, b.len);
		/* A password beforehand: else OpenSSL may ask at the terminal for one. */
		*out = bio ? PEM_read_bio_X509(bio, NULL, NULL, (void *)"") : NULL;
		BIO_free(bio);
	}
	ERR_clear_error();
	buf_free(&b);
	return *out ? 0 : -EBADMSG;
}

static const char *usage_word(const ASN1_OBJECT *usage, char *oid, size_t len)
{
	OBJ_obj2txt(oid, len, usage, 1);
	if (!strcmp(oid, MODULE_SIGNING_OID))
		return MODULE_SIGNING_ONLY;
	return OBJ_obj2nid(usage) == NID_undef ? oid :
	       OBJ_nid2sn(OBJ_obj2nid(usage));
}

char *cert_usage(X509 *cert)
{
	EXTENDED_KEY_USAGE *eku;
	char text[256] = "", oid[64];
	size_t len = 0;

	eku = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
	for (int i = 0; eku && i < sk_ASN1_OBJECT_num(eku); i++)
		if (len < sizeof(text))
			len += snprintf(text + len, sizeof(text) - len,
					"%s%s", len ? ", " : "",
					usage_word(sk_ASN1_OBJECT_value(eku, i),
						   oid, sizeof(oid)));
	EXTENDED_KEY_USAGE_free(eku);
	ERR_clear_error();
	return strdup(*text ? text : "any");
}

bool cert_boots_kernels(X509 *cert)
{
	EXTENDED_KEY_USAGE *eku;
	bool limited = false;
	char oid[64];

	/* shim refuses to boot what is signed with this one usage. */
	eku = X509_get_ext_d2i(cert, NID_ext_key_usage, NULL, NULL);
	for (int i = 0; eku && i < sk_ASN1_OBJECT_num(eku); i++)
		limited |= usage_word(sk_ASN1_OBJECT_value(eku, i), oid,
				      sizeof(oid)) == MODULE_SIGNING_ONLY;
	EXTENDED_KEY_USAGE_free(eku);
	ERR_clear_error();
	return !limited;
}

/* Byte by byte, as kernels do: OpenSSL's comparison knows no case. */
static bool same_name(const X509_NAME *a, const X509_NAME *b)
{
	const unsigned char *x, *y;
	size_t n, m;

	return X509_NAME_get0_der((X509_NAME *)a, &x, &n) &&
	       X509_NAME_get0_der((X509_NAME *)b, &y, &m) && n == m &&
	       !memcmp(x, y, n);
}

bool cert_has_key_id(X509 *cert, const ASN1_OCTET_STRING *id)
{
	const ASN1_OCTET_STRING *own = X509_get0_subject_key_id(cert);

	return own && id && !ASN1_OCTET_STRING_cmp(own, id);
}

bool cert_has_serial(X509 *cert, const X509_NAME *issuer, const ASN1_INTEGER *serial)
{
	return same_name(X509_get_issuer_name(cert), issuer) &&
	       !ASN1_INTEGER_cmp(X509_get0_serialNumber(cert), serial);
}

/* The name in an authority key identifier that has a serial number beside it. */
static const X509_NAME *authority_name(const AUTHORITY_KEYID *a)
{
	for (int i = 0; a->serial && a->issuer && i < sk_GENERAL_NAME_num(a->issuer); i++) {
		const GENERAL_NAME *n = sk_GENERAL_NAME_value(a->issuer, i);

		if (n->type == GEN_DIRNAME)
			return n->d.directoryName;
	}
	return NULL;
}

static bool is_authority(const AUTHORITY_KEYID *a, X509 *issuer)
{
	const X509_NAME *name = authority_name(a);

	if (name)
		return cert_has_serial(issuer, name, a->serial) &&
		       (!a->keyid || cert_has_key_id(issuer, a->keyid));
	return cert_has_key_id(issuer, a->keyid);
}

bool cert_issued(X509 *issuer, X509 *cert)
{
	AUTHORITY_KEYID *a = X509_get_ext_d2i(cert, NID_authority_key_identifier,
					      NULL, NULL);
	bool is = a && is_authority(a, issuer);

	AUTHORITY_KEYID_free(a);
	ERR_clear_error();
	return is;
}

bool cert_names_issuer(X509 *cert)
{
	AUTHORITY_KEYID *a = X509_get_ext_d2i(cert, NID_authority_key_identifier,
					      NULL, NULL);
	bool names = a && (a->keyid || authority_name(a));

	AUTHORITY_KEYID_free(a);
	ERR_clear_error();
	return names;
}

bool cert_names_itself(X509 *cert)
{
	AUTHORITY_KEYID *a = X509_get_ext_d2i(cert, NID_authority_key_identifier,
					      NULL, NULL);
	bool names = same_name(X509_get_subject_name(cert), X509_get_issuer_name(cert)) &&
		     (!cert_names_issuer(cert) || is_authority(a, cert));

	AUTHORITY_KEYID_free(a);
	ERR_clear_error();
	return names;
}

bool cert_same(X509 *a, X509 *b)
{
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(a);

	return cert_has_serial(a, X509_get_issuer_name(b), X509_get0_serialNumber(b)) &&
	       (!id || cert_has_key_id(b, id));
}

/* Its bytes as they were read: OpenSSL's own i2d_re_X509_tbs() would write them anew. */
static bool hash_first_part(const unsigned char *der, int len, const EVP_MD *md,
			    unsigned char *hash)
{
	const unsigned char *p = der, *part;
	long size;
	int tag, class;

	if (ASN1_get_object(&p, &size, &tag, &class, len) & 0x80)
		return false;
	part = p;
	return !(ASN1_get_object(&p, &size, &tag, &class, der + len - p) & 0x80) &&
	       EVP_Digest(part, p + size - part, hash, NULL, md, NULL) == 1;
}

int cert_tbs_hash(X509 *cert, const EVP_MD *md, unsigned char hash[EVP_MAX_MD_SIZE])
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	bool done = len > 0 && hash_first_part(der, len, md, hash);

	OPENSSL_free(der);
	ERR_clear_error();
	return done ? 0 : -ENOMEM;
}

/* What PKCS #1 has in front of such a digest. */
static const unsigned char sha1_prefix[] = {
	0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14,
};

static int sha1_check_rsa(EVP_PKEY_CTX *ctx, const unsigned char digest[20],
			  const unsigned char *sig, size_t len)
{
	unsigned char *said = NULL;
	size_t size = 0, at = sizeof(sha1_prefix);
	int err = -EKEYREJECTED;

	if (EVP_PKEY_verify_recover_init(ctx) != 1 ||
	    EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_PADDING) != 1 ||
	    EVP_PKEY_verify_recover(ctx, NULL, &size, sig, len) != 1)
		return -ENOPKG;
	said = malloc(size);
	if (!said)
		return -ENOMEM;
	if (EVP_PKEY_verify_recover(ctx, said, &size, sig, len) == 1 && size == at + 20 &&
	    !memcmp(said, sha1_prefix, at) && !memcmp(said + at, digest, 20))
		err = 0;
	free(said);
	return err;
}

int sha1_check(EVP_PKEY *key, const unsigned char digest[20], const ASN1_STRING *sig)
{
	const unsigned char *p = ASN1_STRING_get0_data(sig);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new(key, NULL);
	int len = ASN1_STRING_length(sig), err = -ENOPKG;

	if (ctx && EVP_PKEY_base_id(key) == EVP_PKEY_RSA)
		err = sha1_check_rsa(ctx, digest, p, len);
	else if (ctx && EVP_PKEY_base_id(key) == EVP_PKEY_EC && EVP_PKEY_verify_init(ctx) == 1)
		err = EVP_PKEY_verify(ctx, p, len, digest, 20) == 1 ? 0 : -EKEYREJECTED;
	EVP_PKEY_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

bool cert_signed_by(X509 *cert, EVP_PKEY *key)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	const ASN1_BIT_STRING *sig;
	int hash = NID_undef;
	bool is;

	X509_get0_signature(&sig, NULL, cert);
	OBJ_find_sigid_algs(X509_get_signature_nid(cert), &hash, NULL);
	if (hash == NID_sha1)
		is = key && !cert_tbs_hash(cert, EVP_sha1(), digest) &&
		     !sha1_check(key, digest, sig);
	else
		is = key && X509_verify(cert, key) == 1;
	ERR_clear_error();
	return is;
}

bool cert_is_root(X509 *cert)
{
	return cert_names_itself(cert) && cert_signed_by(cert, X509_get0_pubkey(cert));
}

const EVP_MD *efi_sig_md(enum efi_sig type)
{
	switch (type) {
	case EFI_SIG_SHA1: return EVP_sha1();
	case EFI_SIG_SHA224: return EVP_sha224();
	case EFI_SIG_SHA256: case EFI_SIG_X509_SHA256: return EVP_sha256();
	case EFI_SIG_SHA384: case EFI_SIG_X509_SHA384: return EVP_sha384();
	case EFI_SIG_SHA512: case EFI_SIG_X509_SHA512: return EVP_sha512();
	default: return NULL;
	}
}
