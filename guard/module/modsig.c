// SPDX-License-Identifier: GPL-2.0-or-later
/* Takes apart the signature that ends a module, makes one, and checks it. */
#include "guard/module/modsig.h"

#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/cms.h>
#include <openssl/err.h>
#include <openssl/objects.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/trust/cert.h"

static const char MAGIC[] = "~Module signature appended~\n";
#define MAGIC_LEN (sizeof(MAGIC) - 1)

/* struct module_signature of the kernel; only these fields may be non-zero. */
struct trailer {
	uint8_t algo, hash, id_type, signer_len, key_id_len, pad[3];
	uint8_t sig_len[4];	/* big endian */
};
_Static_assert(sizeof(struct trailer) == 12, "the kernel's layout");
#define ID_TYPE_PKCS7 2

/* Two or three are real; a crafted message may hold thousands. */
#define SIGNERS_MAX 16
#define CERTS_MAX 64

struct modsig {
	CMS_ContentInfo *cms;
	STACK_OF(X509) *certs;	/* NULL: it brings none along */
	size_t content_len;
	size_t count;
	struct modsig_signer signers[SIGNERS_MAX];
};

/* Where the CMS message lies: 0, -ENODATA, -EBADMSG or -ENOPKG. */
static int find_message(const unsigned char *file, size_t len, size_t *start,
			size_t *size)
{
	struct trailer t;
	size_t sig_len;

	if (len < MAGIC_LEN ||
	    memcmp(file + len - MAGIC_LEN, MAGIC, MAGIC_LEN))
		return -ENODATA;
	len -= MAGIC_LEN;
	if (len < sizeof(t))
		return -EBADMSG;
	len -= sizeof(t);
	memcpy(&t, file + len, sizeof(t));
	sig_len = (size_t)t.sig_len[0] << 24 | t.sig_len[1] << 16 |
		  t.sig_len[2] << 8 | t.sig_len[3];
	if (sig_len == 0 || sig_len >= len || sig_len > INT_MAX)
		return -EBADMSG;
	*start = len - sig_len;
	*size = sig_len;
	if (t.id_type != ID_TYPE_PKCS7)
		return -ENOPKG;
	if (t.algo || t.hash || t.signer_len || t.key_id_len || t.pad[0] ||
	    t.pad[1] || t.pad[2])
		return -EBADMSG;
	return 0;
}

size_t modsig_strip(const unsigned char *file, size_t len)
{
	size_t start, size;
	int err;

	for (;;) {
		err = find_message(file, len, &start, &size);
		if (err == -ENODATA)
			return len;
		if (err == -EBADMSG)
			/* The length is a lie: only the magic is known. */
			return len - MAGIC_LEN;
		len = start;
	}
}

static int describe(struct modsig_signer *s, CMS_SignerInfo *si)
{
	ASN1_OCTET_STRING *key_id = NULL;
	ASN1_INTEGER *serial = NULL;
	X509_ALGOR *hash, *key;
	X509_NAME *issuer = NULL;
	const ASN1_OBJECT *oid;

	if (!CMS_SignerInfo_get0_signer_id(si, &key_id, &issuer, &serial))
		return -EBADMSG;
	if (key_id && ASN1_STRING_length(key_id) > 0) {
		size_t n = ASN1_STRING_length(key_id);

		s->key_id = malloc(2 * n + 1);
		if (!s->key_id)
			return -ENOMEM;
		hex_encode(ASN1_STRING_get0_data(key_id), n, s->key_id);
		if (asprintf(&s->name, "key ID %.40s", s->key_id) < 0) {
			s->name = NULL;
			return -ENOMEM;
		}
	} else if (issuer && serial) {
		s->issuer = name_text(issuer);
		s->name = s->issuer ? strdup(s->issuer) : NULL;
		if (!s->name)
			return -ENOMEM;
	} else {
		return -EBADMSG;
	}

	CMS_SignerInfo_get0_algs(si, NULL, NULL, &hash, &key);
	X509_ALGOR_get0(&oid, NULL, NULL, hash);
	s->hash_nid = OBJ_obj2nid(oid);
	s->hash = OBJ_nid2ln(s->hash_nid);
	X509_ALGOR_get0(&oid, NULL, NULL, key);
	s->key_nid = OBJ_obj2nid(oid);
	s->has_attributes = CMS_signed_get_attr_count(si) > 0;
	return 0;
}

/* What is left of a message, or of one part of it. */
struct span {
	const unsigned char *at, *end;
};

/*
 * Takes the first element away, if it begins with this byte; what is in it goes into in.
 * As kernels read it: the length takes at most two bytes, and is told beforehand.
 */
static bool take(struct span *from, int first, struct span *in)
{
	const unsigned char *p = from->at;
	int tag, class, form;
	long len;

	if (p >= from->end || *p != first)
		return false;
	form = ASN1_get_object(&p, &len, &tag, &class, from->end - p);
	ERR_clear_error();
	/* An error, or a length that is not told. */
	if (form & 0x81 || p - from->at > 4)
		return false;
	from->at = p + len;
	/* The last: it may be the same span. */
	*in = (struct span) { p, p + len };
	return true;
}

static bool take_version(struct span *from, int *version)
{
	struct span value;

	if (!take(from, V_ASN1_INTEGER, &value) || value.end - value.at != 1)
		return false;
	*version = *value.at;
	return true;
}

/*
 * What kernels ask of the form, and OpenSSL does not: version 1 names its signers by
 * issuer and serial number, version 3 by key identifiers, all of them; certificates are
 * X.509's; and there are no lists of revocations.
 */
static bool form_known(const unsigned char *der, size_t size)
{
	static const int SEQ = V_ASN1_SEQUENCE | V_ASN1_CONSTRUCTED;
	static const int SET = V_ASN1_SET | V_ASN1_CONSTRUCTED;
	static const int NUMBER_0 = V_ASN1_CONTEXT_SPECIFIC | V_ASN1_CONSTRUCTED;
	struct span all = { der, der + size }, in, part;
	int version, own;

	if (size > 65535 ||
	    !take(&all, SEQ, &all) ||
	    !take(&all, V_ASN1_OBJECT, &in) ||
	    !take(&all, NUMBER_0, &all) ||
	    !take(&all, SEQ, &all) ||
	    !take_version(&all, &version) || (version != 1 && version != 3) ||
	    !take(&all, SET, &in) ||	/* the hashes' names */
	    !take(&all, SEQ, &in))	/* the content's type */
		return false;
	if (take(&all, NUMBER_0, &in))
		while (in.at < in.end)
			if (!take(&in, SEQ, &part))
				return false;
	if (!take(&all, SET, &in) || all.at != all.end)
		return false;
	while (in.at < in.end)
		if (!take(&in, SEQ, &part) || !take_version(&part, &own) ||
		    own != version || part.at >= part.end ||
		    *part.at != (own == 1 ? SEQ : V_ASN1_CONTEXT_SPECIFIC))
			return false;
	return true;
}

static int parse_message(struct modsig *s, const unsigned char *der,
			 size_t size)
{
	STACK_OF(CMS_SignerInfo) *infos;
	const unsigned char *end = der;
	int err;

	s->cms = d2i_CMS_ContentInfo(NULL, &end, size);
	if (!s->cms || end != der + size)
		return -EBADMSG;
	if (OBJ_obj2nid(CMS_get0_type(s->cms)) != NID_pkcs7_signed)
		return -EBADMSG;
	/* Kernels want plain data that the message does not carry itself. */
	if (OBJ_obj2nid(CMS_get0_eContentType(s->cms)) != NID_pkcs7_data)
		return -ENOPKG;
	if (CMS_is_detached(s->cms) != 1 || !form_known(der, size))
		return -ENOPKG;
	infos = CMS_get0_SignerInfos(s->cms);
	if (!infos || sk_CMS_SignerInfo_num(infos) < 1)
		return -EBADMSG;
	if (sk_CMS_SignerInfo_num(infos) > SIGNERS_MAX)
		return -EBADMSG;
	s->certs = CMS_get1_certs(s->cms);
	if (s->certs && sk_X509_num(s->certs) > CERTS_MAX)
		return -EBADMSG;
	for (int i = 0; i < sk_CMS_SignerInfo_num(infos); i++) {
		s->count = i + 1;
		err = describe(&s->signers[i],
			       sk_CMS_SignerInfo_value(infos, i));
		if (err)
			return err;
	}
	return 0;
}

int modsig_parse(const unsigned char *file, size_t len, struct modsig **out)
{
	size_t start, size;
	struct modsig *s;
	int err;

	err = find_message(file, len, &start, &size);
	if (err)
		return err;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->content_len = start;
	err = parse_message(s, file + start, size);
	ERR_clear_error();
	if (err)
		modsig_free(s);
	else
		*out = s;
	return err;
}

int modsig_parse_detached(const unsigned char *der, size_t size, size_t len,
			  struct modsig **out)
{
	struct modsig *s;
	int err;

	if (!size || size > INT_MAX)
		return -EBADMSG;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->content_len = len;
	err = parse_message(s, der, size);
	ERR_clear_error();
	if (err)
		modsig_free(s);
	else
		*out = s;
	return err;
}

void modsig_free(struct modsig *s)
{
	if (!s)
		return;
	for (size_t i = 0; i < s->count; i++) {
		free(s->signers[i].name);
		free(s->signers[i].issuer);
		free(s->signers[i].key_id);
	}
	sk_X509_pop_free(s->certs, X509_free);
	CMS_ContentInfo_free(s->cms);
	free(s);
}

size_t modsig_content_len(const struct modsig *s)
{
	return s->content_len;
}

size_t modsig_signers(const struct modsig *s)
{
	return s->count;
}

const struct modsig_signer *modsig_signer(const struct modsig *s, size_t i)
{
	return &s->signers[i];
}

static CMS_SignerInfo *signer_info(const struct modsig *s, size_t i)
{
	return sk_CMS_SignerInfo_value(CMS_get0_SignerInfos(s->cms), i);
}

bool modsig_names(const struct modsig *s, size_t i, X509 *cert)
{
	ASN1_OCTET_STRING *key_id = NULL;
	ASN1_INTEGER *serial = NULL;
	X509_NAME *issuer = NULL;

	if (!CMS_SignerInfo_get0_signer_id(signer_info(s, i), &key_id, &issuer, &serial))
		return false;
	return key_id ? cert_has_key_id(cert, key_id) : cert_has_serial(cert, issuer, serial);
}

size_t modsig_certs(const struct modsig *s)
{
	return s->certs ? sk_X509_num(s->certs) : 0;
}

X509 *modsig_cert(const struct modsig *s, size_t i)
{
	return sk_X509_value(s->certs, i);
}

X509 *modsig_embedded(const struct modsig *s, size_t i)
{
	/* A signer that is named by a key identifier has no issuer. */
	for (int n = 0; s->certs && s->signers[i].issuer &&
	     n < sk_X509_num(s->certs); n++)
		if (modsig_names(s, i, sk_X509_value(s->certs, n)))
			return sk_X509_value(s->certs, n);
	return NULL;
}

X509 *modsig_issuer(const struct modsig *s, X509 *cert)
{
	for (int n = 0; s->certs && n < sk_X509_num(s->certs); n++)
		if (cert_issued(sk_X509_value(s->certs, n), cert))
			return sk_X509_value(s->certs, n);
	return NULL;
}

int modsig_check(const struct modsig *s, size_t i, X509 *cert,
		 const unsigned char *content)
{
	ASN1_OCTET_STRING *sig;
	const EVP_MD *md = EVP_get_digestbynid(s->signers[i].hash_nid);
	EVP_PKEY *key = X509_get0_pubkey(cert);
	unsigned char digest[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx = NULL;
	int err = -ENOPKG;

	sig = CMS_SignerInfo_get0_signature(signer_info(s, i));
	if (!md || !key || !sig)
		goto out;
	if (s->signers[i].hash_nid == NID_sha1) {
		if (EVP_Digest(content, s->content_len, digest, NULL, md, NULL) == 1)
			err = sha1_check(key, digest, sig);
		goto out;
	}
	ctx = EVP_MD_CTX_new();
	if (!ctx) {
		err = -ENOMEM;
		goto out;
	}
	if (EVP_DigestVerifyInit(ctx, NULL, md, NULL, key) != 1 ||
	    EVP_DigestVerifyUpdate(ctx, content, s->content_len) != 1)
		goto out;
	err = EVP_DigestVerifyFinal(ctx, ASN1_STRING_get0_data(sig),
				    ASN1_STRING_length(sig)) == 1 ?
	      0 : -EKEYREJECTED;
out:
	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return err;
}

void modsig_value_sha256(const struct modsig *s, size_t i, char hex[65])
{
	ASN1_OCTET_STRING *sig =
		CMS_SignerInfo_get0_signature(signer_info(s, i));
	unsigned char hash[32];

	*hex = '\0';
	if (sig && EVP_Digest(ASN1_STRING_get0_data(sig), ASN1_STRING_length(sig),
			      hash, NULL, EVP_sha256(), NULL) == 1)
		hex_encode(hash, sizeof(hash), hex);
}

static int append(const unsigned char *content, size_t len,
		  const unsigned char *der, size_t size, struct buf *out)
{
	struct trailer t = {
		.id_type = ID_TYPE_PKCS7,
		.sig_len = { size >> 24, size >> 16, size >> 8, size },
	};
	unsigned char *p;

	out->len = len + size + sizeof(t) + MAGIC_LEN;
	out->data = p = malloc(out->len);
	if (!p)
		return -ENOMEM;
	memcpy(p, content, len);
	p += len;
	memcpy(p, der, size);
	p += size;
	memcpy(p, &t, sizeof(t));
	p += sizeof(t);
	memcpy(p, MAGIC, MAGIC_LEN);
	return 0;
}

/* As the kernel's sign-file: what it verifies, and nothing more. */
#define SIGN_FLAGS (CMS_NOCERTS | CMS_BINARY | CMS_NOATTR | CMS_NOSMIMECAP | \
		    CMS_DETACHED)

/* A message by these keys alone; *err says why it is NULL. */
static CMS_ContentInfo *sign_by(const unsigned char *content, size_t len,
				const struct modsig_key *keys, size_t n,
				unsigned int flags, const EVP_MD *md, int *err)
{
	CMS_ContentInfo *cms = CMS_sign(NULL, NULL, NULL, NULL,
					flags | CMS_PARTIAL);
	BIO *bio = BIO_new_mem_buf(content, len);
	bool done = cms && bio;

	for (size_t i = 0; done && i < n; i++)
		done = CMS_add1_signer(cms, keys[i].cert, keys[i].key, md,
				       flags);
	/* By nobody: a place for signers that are taken away. */
	done = done && (!n || CMS_final(cms, bio, NULL, flags) == 1);
	BIO_free(bio);
	if (done)
		return cms;
	CMS_ContentInfo_free(cms);
	*err = -EIO;
	return NULL;
}

/* A copy of a message that may be changed. */
static CMS_ContentInfo *copy_of(const struct modsig *s)
{
	unsigned char *der = NULL;
	const unsigned char *p;
	int size = i2d_CMS_ContentInfo(s->cms, &der);
	CMS_ContentInfo *copy = NULL;

	p = der;
	if (size > 0)
		copy = d2i_CMS_ContentInfo(NULL, &p, size);
	OPENSSL_free(der);
	return copy;
}

/*
 * Puts the signers of from into cms. OpenSSL would sign for all signers anew,
 * whose keys are not here; so each is added unsigned, which also names its hash
 * in the message, and then exchanged for the signed one.
 */
static bool take_over(CMS_ContentInfo *cms, CMS_ContentInfo *from,
		      const struct modsig_key *keys, size_t n,
		      unsigned int flags, const EVP_MD *md)
{
	STACK_OF(CMS_SignerInfo) *to = CMS_get0_SignerInfos(cms);
	STACK_OF(CMS_SignerInfo) *done = CMS_get0_SignerInfos(from);

	for (size_t i = 0; i < n; i++) {
		CMS_SignerInfo *signed_one = sk_CMS_SignerInfo_value(done, i);
		CMS_SignerInfo *blank;
		int last;

		blank = CMS_add1_signer(cms, keys[i].cert, keys[i].key, md,
					flags | CMS_PARTIAL);
		last = sk_CMS_SignerInfo_num(to) - 1;
		if (!blank || !signed_one ||
		    sk_CMS_SignerInfo_value(to, last) != blank)
			return false;
		sk_CMS_SignerInfo_set(to, last, signed_one);
		sk_CMS_SignerInfo_set(done, i, blank);
	}
	return true;
}

/* Moves the signers of the bits out of cms and into bin, to be freed with it. */
static bool drop_signers(CMS_ContentInfo *cms, unsigned int bits,
			 CMS_ContentInfo *bin)
{
	STACK_OF(CMS_SignerInfo) *from = CMS_get0_SignerInfos(cms);
	STACK_OF(CMS_SignerInfo) *to = CMS_get0_SignerInfos(bin);

	for (int i = sk_CMS_SignerInfo_num(from) - 1; i >= 0; i--)
		if (bits & 1u << i) {
			CMS_SignerInfo *si = sk_CMS_SignerInfo_delete(from, i);

			if (!sk_CMS_SignerInfo_push(to, si)) {
				sk_CMS_SignerInfo_insert(from, si, i);
				return false;
			}
		}
	return true;
}

/* Kernels want all signers named in the same way. */
static int naming(const struct modsig *old, unsigned int drop,
		  const struct modsig_key *keys, size_t n,
		  unsigned int *flags)
{
	bool by_id = false;

	for (size_t i = 0; old && i < old->count; i++)
		by_id |= !(drop & 1u << i) && old->signers[i].key_id;
	*flags = SIGN_FLAGS | (by_id ? CMS_USE_KEYID : 0);
	for (size_t i = 0; by_id && i < n; i++)
		if (!X509_get0_subject_key_id(keys[i].cert))
			return -EPROTO;
	return 0;
}

int modsig_change(const unsigned char *content, size_t len,
		  const struct modsig *old, unsigned int drop,
		  const struct modsig_key *keys, size_t n, const char *hash,
		  struct buf *out)
{
	const EVP_MD *md = EVP_get_digestbyname(hash);
	CMS_ContentInfo *cms = NULL, *fresh;
	unsigned char *der = NULL;
	unsigned int flags;
	int size, err;

	if (!md)
		return -ENOPKG;
	if (len > INT_MAX)
		return -EFBIG;
	err = naming(old, drop, keys, n, &flags);
	if (err)
		return err;
	fresh = sign_by(content, len, keys, n, flags, md, &err);
	if (!fresh)
		goto out;
	err = -EIO;
	if (old) {
		cms = copy_of(old);
		if (!cms || !take_over(cms, fresh, keys, n, flags, md) ||
		    !drop_signers(cms, drop, fresh))
			goto out;
	}
	if (sk_CMS_SignerInfo_num(CMS_get0_SignerInfos(cms ? cms : fresh)) < 1) {
		err = -EINVAL;
		goto out;
	}
	size = i2d_CMS_ContentInfo(cms ? cms : fresh, &der);
	if (size > 0)
		err = append(content, len, der, size, out);
out:
	ERR_clear_error();
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	CMS_ContentInfo_free(fresh);
	return err;
}

int modsig_detached(const unsigned char *content, size_t len, X509 *cert,
		    EVP_PKEY *key, const char *hash, struct buf *out)
{
	const struct modsig_key one = { cert, key };
	const EVP_MD *md = EVP_get_digestbyname(hash);
	CMS_ContentInfo *cms;
	unsigned char *der = NULL;
	int size, err = -EIO;

	if (!md)
		return -ENOPKG;
	if (len > INT_MAX)
		return -EFBIG;
	cms = sign_by(content, len, &one, 1, SIGN_FLAGS, md, &err);
	size = cms ? i2d_CMS_ContentInfo(cms, &der) : 0;
	if (size > 0) {
		out->len = size;
		out->data = malloc(size);
		err = out->data ? 0 : -ENOMEM;
	}
	if (!err)
		memcpy(out->data, der, size);
	ERR_clear_error();
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	return err;
}

/* Do two signers carry the same name, so that kernels take them for one? */
static bool same_signer(const struct modsig_signer *a,
			const struct modsig_signer *b, CMS_SignerInfo *ia,
			CMS_SignerInfo *ib)
{
	ASN1_INTEGER *na = NULL, *nb = NULL;
	X509_NAME *a_issuer = NULL, *b_issuer = NULL;

	if (a->key_id || b->key_id)
		return a->key_id && b->key_id && !strcmp(a->key_id, b->key_id);
	CMS_SignerInfo_get0_signer_id(ia, NULL, &a_issuer, &na);
	CMS_SignerInfo_get0_signer_id(ib, NULL, &b_issuer, &nb);
	return !X509_NAME_cmp(a_issuer, b_issuer) && !ASN1_INTEGER_cmp(na, nb);
}

/* May the first n messages stand together in one? */
static int may_join(struct modsig *const *from, size_t n)
{
	const struct modsig_signer *first = &from[0]->signers[0];
	size_t total = 0;

	for (size_t m = 0; m < n; m++) {
		if (from[m]->certs && sk_X509_num(from[m]->certs) > 0)
			return -EPROTO;
		total += from[m]->count;
		for (size_t i = 0; i < from[m]->count; i++) {
			const struct modsig_signer *s = &from[m]->signers[i];

			if (s->has_attributes || s->hash_nid != first->hash_nid ||
			    !s->key_id != !first->key_id)
				return -EPROTO;
			for (size_t o = 0; o < m; o++)
				for (size_t k = 0; k < from[o]->count; k++)
					if (same_signer(s, &from[o]->signers[k],
							signer_info(from[m], i),
							signer_info(from[o], k)))
						return -EPROTO;
		}
	}
	return total <= SIGNERS_MAX ? 0 : -EPROTO;
}

int modsig_join(const unsigned char *content, size_t len,
		struct modsig *const *from, size_t n, struct buf *out)
{
	CMS_ContentInfo *cms = NULL;
	unsigned char *der = NULL;
	int size, err = n ? may_join(from, n) : -EINVAL;

	if (!err) {
		cms = copy_of(from[0]);
		err = cms ? 0 : -EIO;
	}
	for (size_t m = 1; m < n && !err; m++) {
		CMS_ContentInfo *other = copy_of(from[m]);
		unsigned int all = (1u << from[m]->count) - 1;

		err = other && drop_signers(other, all, cms) ? 0 : -EIO;
		CMS_ContentInfo_free(other);
	}
	size = err ? 0 : i2d_CMS_ContentInfo(cms, &der);
	if (!err)
		err = size > 0 ? append(content, len, der, size, out) : -EIO;
	ERR_clear_error();
	OPENSSL_free(der);
	CMS_ContentInfo_free(cms);
	return err;
}
