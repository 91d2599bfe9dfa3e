// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A PE image and its signatures (Microsoft's "Windows Authenticode Portable Executable
 * Signature Format"). Each is a PKCS#7 message about an SpcIndirectDataContent, whose last
 * part is the hash of the image.
 */
#include "guard/trust/authenticode.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHAIN_MAX 8

static uint32_t le32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint16_t le16(const unsigned char *p)
{
	return p[0] | p[1] << 8;
}

/* ---- the image ---- */

#define PE_AT 0x3c
#define SECTIONS_AT 6		/* their number, behind "PE\0\0" */
#define OPTIONAL_SIZE_AT 20
#define OPTIONAL_AT 24		/* after "PE\0\0" and the COFF header */
#define HEADERS_AT 60		/* their size, in the optional header */
#define CHECKSUM_AT 64
#define DIRECTORY_32 96		/* of data directories, in the optional header */
#define DIRECTORY_64 112
#define CERTIFICATES (4 * 8)	/* the entry for certificates, among those */
#define SECTION 40		/* bytes of a section's header */
#define SECTION_SIZE_AT 16
#define SECTION_DATA_AT 20

/* Offsets in the file. */
struct pe {
	const unsigned char *data;
	size_t len;
	size_t headers;		/* their size */
	size_t checksum;
	size_t directory;	/* the entry for certificates; 0: there is none */
	size_t table, size;	/* of certificates; size 0: there are none */
	size_t sections, count;	/* their headers */
	unsigned char sha256[EVP_MAX_MD_SIZE];	/* of what is signed, if there are signatures */
};

/* 0 or -EBADMSG */
static int open_pe(const struct buf *image, struct pe *pe)
{
	const unsigned char *p = image->data;
	size_t at, directories;

	*pe = (struct pe){ .data = p, .len = image->len };
	if (pe->len < PE_AT + 4 || p[0] != 'M' || p[1] != 'Z')
		return -EBADMSG;
	at = le32(p + PE_AT);
	if (at > pe->len || pe->len - at < OPTIONAL_AT + DIRECTORY_64 + CERTIFICATES + 8 ||
	    memcmp(p + at, "PE\0\0", 4))
		return -EBADMSG;
	switch (le16(p + at + OPTIONAL_AT)) {
	case 0x10b: directories = at + OPTIONAL_AT + DIRECTORY_32; break;
	case 0x20b: directories = at + OPTIONAL_AT + DIRECTORY_64; break;
	default: return -EBADMSG;
	}
	pe->headers = le32(p + at + OPTIONAL_AT + HEADERS_AT);
	pe->checksum = at + OPTIONAL_AT + CHECKSUM_AT;
	pe->count = le16(p + at + SECTIONS_AT);
	pe->sections = at + OPTIONAL_AT + le16(p + at + OPTIONAL_SIZE_AT);
	if (pe->headers > pe->len || pe->headers < directories + CERTIFICATES + 8 ||
	    pe->sections > pe->len || pe->count > (pe->len - pe->sections) / SECTION)
		return -EBADMSG;
	/* How many directories there are stands before the first. */
	if (le32(p + directories - 4) <= CERTIFICATES / 8)
		return 0;
	pe->directory = directories + CERTIFICATES;
	pe->table = le32(p + pe->directory);
	pe->size = le32(p + pe->directory + 4);
	return !pe->size || (pe->table <= pe->len && pe->size <= pe->len - pe->table) ?
	       0 : -EBADMSG;
}

static int by_place(const void *a, const void *b)
{
	uint32_t x = le32(*(const unsigned char *const *)a + SECTION_DATA_AT);
	uint32_t y = le32(*(const unsigned char *const *)b + SECTION_DATA_AT);

	return x < y ? -1 : x > y;
}

static bool add(EVP_MD_CTX *ctx, const struct pe *pe, size_t from, size_t to)
{
	return EVP_DigestUpdate(ctx, pe->data + from, to - from) == 1;
}

/*
 * In the order of their places. *sum, the bytes hashed, is also where firmware takes the
 * rest of the file to begin; it never exceeds the file, which bounds the work.
 */
static int add_sections(EVP_MD_CTX *ctx, const struct pe *pe, size_t *sum)
{
	const unsigned char **order = calloc(pe->count + 1, sizeof(*order));
	int err = order ? 0 : -ENOMEM;

	for (size_t i = 0; order && i < pe->count; i++)
		order[i] = pe->data + pe->sections + i * SECTION;
	if (order)
		qsort(order, pe->count, sizeof(*order), by_place);
	for (size_t i = 0; !err && i < pe->count; i++) {
		size_t size = le32(order[i] + SECTION_SIZE_AT);
		size_t at = le32(order[i] + SECTION_DATA_AT);

		if (!size)
			continue;
		if (at > pe->len || size > pe->len - at || size > pe->len - *sum)
			err = -EBADMSG;
		else if (!add(ctx, pe, at, at + size))
			err = -ENOMEM;
		*sum += size;
	}
	free(order);
	return err;
}

static int add_image(EVP_MD_CTX *ctx, const struct pe *pe)
{
	size_t sum = pe->headers, end = pe->len - pe->size, past = pe->checksum + 4;
	bool done = add(ctx, pe, 0, pe->checksum);
	int err;

	if (done && pe->directory) {
		done = add(ctx, pe, past, pe->directory);
		past = pe->directory + 8;
	}
	if (!done || !add(ctx, pe, past, pe->headers))
		return -ENOMEM;
	err = add_sections(ctx, pe, &sum);
	if (err)
		return err;
	if (sum > end)
		return -EBADMSG;
	return add(ctx, pe, sum, end) ? 0 : -ENOMEM;
}

static int hash_of(const struct pe *pe, const EVP_MD *md, unsigned char *hash)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	int err = ctx && EVP_DigestInit_ex(ctx, md, NULL) == 1 ? add_image(ctx, pe) : -ENOMEM;

	if (!err && EVP_DigestFinal_ex(ctx, hash, NULL) != 1)
		err = -ENOMEM;
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

int pe_hash(const struct buf *image, const EVP_MD *md, unsigned char *hash)
{
	struct pe pe;
	int err = open_pe(image, &pe);

	return err ? err : hash_of(&pe, md, hash);
}

/* ---- a signature ---- */

#define INDIRECT_DATA "1.3.6.1.4.1.311.2.1.4"

/* SpcIndirectDataContent, with its tag; NULL: the message is about something else. */
static const ASN1_STRING *content_of(PKCS7 *p7)
{
	PKCS7 *inner = p7->d.sign->contents;
	char oid[32];

	OBJ_obj2txt(oid, sizeof(oid), inner->type, 1);
	return !strcmp(oid, INDIRECT_DATA) && inner->d.other &&
	       inner->d.other->type == V_ASN1_SEQUENCE ? inner->d.other->value.sequence : NULL;
}

/* Steps over the header of a SEQUENCE that is in [*p, end); its length, or -1. */
static long enter(const unsigned char **p, const unsigned char *end)
{
	long len;
	int tag, class, ret = ASN1_get_object(p, &len, &tag, &class, end - *p);

	/* 0x80: damaged; 1: it does not say how long it is, which DER forbids. */
	return ret & 0x81 || tag != V_ASN1_SEQUENCE || class != V_ASN1_UNIVERSAL ? -1 : len;
}

/*
 * What is signed is inside of the outermost header. There, the hash of the image comes
 * last, after a part that firmware does not look at.
 */
static X509_SIG *digest_in(const ASN1_STRING *content, const unsigned char **body, long *len)
{
	const unsigned char *p = ASN1_STRING_get0_data(content);
	const unsigned char *end = p + ASN1_STRING_length(content), *rest;
	X509_SIG *digest;
	long skip;

	*len = enter(&p, end);
	if (*len < 0 || *len != end - p)
		return NULL;
	*body = rest = p;
	skip = enter(&rest, end);
	if (skip < 0 || skip > end - rest)
		return NULL;
	rest += skip;
	digest = d2i_X509_SIG(NULL, &rest, end - rest);
	if (digest && rest == end)
		return digest;
	X509_SIG_free(digest);
	return NULL;
}

static bool is_sha256(const X509_ALGOR *algorithm)
{
	const ASN1_OBJECT *object;

	X509_ALGOR_get0(&object, NULL, NULL, algorithm);
	return OBJ_obj2nid(object) == NID_sha256;
}

/* What any firmware verifies: RSA, in the form of PKCS#1 v1.5, with SHA-256. */
static bool is_usual(const PKCS7_SIGNER_INFO *si, X509 *signer)
{
	EVP_PKEY *key = X509_get0_pubkey(signer);
	const ASN1_OBJECT *object;
	int how;

	X509_ALGOR_get0(&object, NULL, NULL, si->digest_enc_alg);
	how = OBJ_obj2nid(object);
	return key && EVP_PKEY_base_id(key) == EVP_PKEY_RSA && is_sha256(si->digest_alg) &&
	       (how == NID_rsaEncryption || how == NID_sha256WithRSAEncryption);
}

/* What PKCS7_verify() does without a chain; that leaves memory behind if it fails early. */
static bool is_signed_by(PKCS7 *p7, PKCS7_SIGNER_INFO *si, X509 *signer,
			 const unsigned char *body, long len)
{
	BIO *bio = BIO_new_mem_buf(body, len);
	BIO *hashing = bio ? PKCS7_dataInit(p7, bio) : NULL;
	unsigned char part[512];
	bool is = false;

	if (hashing) {
		while (BIO_read(hashing, part, sizeof(part)) > 0)
			;
		is = PKCS7_signatureVerify(hashing, p7, si, signer) == 1;
		BIO_free_all(hashing);
	} else {
		BIO_free(bio);
	}
	return is;
}

/* The hash, and the signature over it. */
static void verify(const struct pe *pe, PKCS7 *p7, PKCS7_SIGNER_INFO *si,
		   struct pe_signature *s)
{
	const ASN1_STRING *content = content_of(p7);
	const unsigned char *body;
	const ASN1_OCTET_STRING *has;
	const X509_ALGOR *algorithm;
	X509_SIG *digest;
	long len;

	if (sk_PKCS7_SIGNER_INFO_num(p7->d.sign->signer_info) != 1 ||
	    sk_X509_ALGOR_num(p7->d.sign->md_algs) != 1 ||
	    (s->certs && sk_X509_num(s->certs) > PE_CERTS_MAX))
		return;
	s->state = PE_SIG_BAD;
	digest = s->signer && content ? digest_in(content, &body, &len) : NULL;
	if (!digest)
		return;
	X509_SIG_get0(digest, &algorithm, &has);
	if (!is_sha256(algorithm) || !is_usual(si, s->signer))
		s->state = PE_SIG_UNDECIDED;
	else if (ASN1_STRING_length(has) == EVP_MD_size(EVP_sha256()) &&
		 !memcmp(ASN1_STRING_get0_data(has), pe->sha256, ASN1_STRING_length(has)) &&
		 is_signed_by(p7, si, s->signer, body, len))
		s->state = PE_SIG_GOOD;
	X509_SIG_free(digest);
}

static int show_message(const struct pe *pe, PKCS7 *p7, pe_signature_fn *fn, void *arg)
{
	STACK_OF(PKCS7_SIGNER_INFO) *infos = PKCS7_get_signer_info(p7);
	PKCS7_SIGNER_INFO *si = infos && sk_PKCS7_SIGNER_INFO_num(infos) ?
				sk_PKCS7_SIGNER_INFO_value(infos, 0) : NULL;
	struct pe_signature s = { .state = PE_SIG_UNDECIDED };

	if (!si || !si->issuer_and_serial || !si->issuer_and_serial->issuer)
		return -EBADMSG;
	s.issuer = si->issuer_and_serial->issuer;
	s.certs = p7->d.sign->cert;
	s.signer = PKCS7_cert_from_signer_info(p7, si);
	verify(pe, p7, si, &s);
	return fn(arg, &s);
}

#define WIN_CERT_HEADER 8
#define WIN_CERT_PKCS7 2
#define WIN_CERT_GUID 0xef1	/* may be PKCS#7 as well, which firmware looks at */

int pe_signatures_walk(const struct buf *image, pe_signature_fn *fn, void *arg)
{
	struct pe pe;
	int err = open_pe(image, &pe);
	size_t at = pe.table, size = pe.size;

	if (!err && size)
		err = hash_of(&pe, EVP_sha256(), pe.sha256);
	for (size_t number = 0; !err && size; number++) {
		const unsigned char *p = pe.data + at, *der = p + WIN_CERT_HEADER;
		size_t len = size > WIN_CERT_HEADER ? le32(p) : 0;
		/* Each entry is filled up to a multiple of 8, which counts to the table. */
		size_t whole = (len + 7) & ~(size_t)7;
		PKCS7 *p7;

		if (len <= WIN_CERT_HEADER || whole > size || number == PE_SIGNATURES_MAX)
			return -EBADMSG;
		if (le16(p + 6) == WIN_CERT_PKCS7) {
			p7 = d2i_PKCS7(NULL, &der, len - WIN_CERT_HEADER);
			err = p7 && PKCS7_type_is_signed(p7) && p7->d.sign && p7->d.sign->contents ?
			      show_message(&pe, p7, fn, arg) : -EBADMSG;
			PKCS7_free(p7);
			ERR_clear_error();
		} else if (le16(p + 6) == WIN_CERT_GUID) {
			err = -EBADMSG;
		}
		at += whole;
		size -= whole;
	}
	return err;
}

/* ---- its chain ---- */

bool pe_signature_leads_to(const struct pe_signature *s, X509 *anchor)
{
	X509_STORE *store = X509_STORE_new();
	X509_STORE_CTX *ctx = X509_STORE_CTX_new();
	bool leads = false;

	if (store && ctx && s->signer && X509_STORE_add_cert(store, anchor) == 1 &&
	    X509_STORE_CTX_init(ctx, store, s->signer, s->certs) == 1) {
		X509_VERIFY_PARAM *param = X509_STORE_CTX_get0_param(ctx);

		X509_VERIFY_PARAM_set_flags(param, X509_V_FLAG_PARTIAL_CHAIN |
					    X509_V_FLAG_NO_CHECK_TIME);
		X509_VERIFY_PARAM_set_purpose(param, X509_PURPOSE_ANY);
		X509_VERIFY_PARAM_set_depth(param, CHAIN_MAX);
		leads = X509_verify_cert(ctx) == 1;
	}
	X509_STORE_CTX_free(ctx);
	X509_STORE_free(store);
	ERR_clear_error();
	return leads;
}
