// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The signature parser: what it reads, and what it refuses without harm. The linker wraps
 * two calls of OpenSSL, which refuse SHA-1 where a test has them do so.
 */
#include "fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/module/modsig.h"
#include "guard/trust/cert.h"

static struct buf module, signed_by_one;
static bool refuses_sha1;

int __real_EVP_DigestVerifyInit(EVP_MD_CTX *ctx, EVP_PKEY_CTX **pctx, const EVP_MD *md, ENGINE *e,
				EVP_PKEY *key);
int __wrap_EVP_DigestVerifyInit(EVP_MD_CTX *ctx, EVP_PKEY_CTX **pctx, const EVP_MD *md, ENGINE *e,
				EVP_PKEY *key);
int __real_X509_verify(X509 *cert, EVP_PKEY *key);
int __wrap_X509_verify(X509 *cert, EVP_PKEY *key);

int __wrap_EVP_DigestVerifyInit(EVP_MD_CTX *ctx, EVP_PKEY_CTX **pctx, const EVP_MD *md, ENGINE *e,
				EVP_PKEY *key)
{
	return refuses_sha1 && EVP_MD_nid(md) == NID_sha1 ? 0 :
	       __real_EVP_DigestVerifyInit(ctx, pctx, md, e, key);
}

int __wrap_X509_verify(X509 *cert, EVP_PKEY *key)
{
	int hash = NID_undef;

	OBJ_find_sigid_algs(X509_get_signature_nid(cert), &hash, NULL);
	return refuses_sha1 && hash == NID_sha1 ? 0 : __real_X509_verify(cert, key);
}

static int setup(void **state)
{
	const struct pair *one[] = { rsa_pair("one") };

	(void)state;
	make_module(&module);
	sign_with(&module, one, 1, CMS_NOATTR | CMS_DETACHED, "sha256",
		  &signed_by_one);
	return 0;
}

static int parse_copy(const struct buf *b, size_t len, size_t at, int value)
{
	struct modsig *s = NULL;
	/* Exactly as large as it says, so that ASan sees any read beyond. */
	unsigned char *copy = malloc(len ? len : 1);
	int err;

	memcpy(copy, b->data, len);
	if (at < len)
		copy[at] = value;
	err = modsig_parse(copy, len, &s);
	modsig_free(s);
	free(copy);
	return err;
}

#define WHOLE(b) &(b), (b).len
#define AS_IS SIZE_MAX, 0

static void unsigned_file(void **state)
{
	struct buf empty = { (unsigned char *)"", 0 };

	(void)state;
	assert_int_equal(parse_copy(WHOLE(module), AS_IS), -ENODATA);
	assert_int_equal(parse_copy(WHOLE(empty), AS_IS), -ENODATA);
}

static void good_signature(void **state)
{
	struct modsig *s;

	(void)state;
	assert_int_equal(modsig_parse(signed_by_one.data, signed_by_one.len,
				      &s), 0);
	assert_int_equal(modsig_content_len(s), module.len);
	assert_int_equal(modsig_signers(s), 1);
	assert_string_equal(modsig_signer(s, 0)->name, "one");
	assert_string_equal(modsig_signer(s, 0)->hash, "sha256");
	assert_false(modsig_signer(s, 0)->has_attributes);
	assert_true(modsig_names(s, 0, rsa_pair("one")->cert));
	assert_false(modsig_names(s, 0, rsa_pair("two")->cert));
	assert_int_equal(modsig_check(s, 0, rsa_pair("one")->cert,
				      signed_by_one.data), 0);
	assert_int_equal(modsig_check(s, 0, rsa_pair("two")->cert,
				      signed_by_one.data), -EKEYREJECTED);
	signed_by_one.data[100] ^= 1;
	assert_int_equal(modsig_check(s, 0, rsa_pair("one")->cert,
				      signed_by_one.data), -EKEYREJECTED);
	signed_by_one.data[100] ^= 1;
	modsig_free(s);
}

static void made_here_is_as_made_there(void **state)
{
	const struct modsig_key one = { rsa_pair("one")->cert, rsa_pair("one")->key };
	struct buf made;

	(void)state;
	assert_int_equal(modsig_change(module.data, module.len, NULL, 0, &one, 1, "sha256", &made),
			 0);
	/* RSA with this padding gives one signature: byte by byte the same. */
	assert_int_equal(made.len, signed_by_one.len);
	assert_memory_equal(made.data, signed_by_one.data, made.len);
	buf_free(&made);
	assert_int_equal(modsig_change(module.data, module.len, NULL, 0, &one, 1, "md17", &made),
			 -ENOPKG);
}

static void every_trailer_field(void **state)
{
	size_t t = signed_by_one.len - 28 - 12;

	(void)state;
	assert_int_equal(parse_copy(WHOLE(signed_by_one), t, 1), -EBADMSG);
	assert_int_equal(parse_copy(WHOLE(signed_by_one), t + 1, 1), -EBADMSG);
	assert_int_equal(parse_copy(WHOLE(signed_by_one), t + 2, 1), -ENOPKG);
	assert_int_equal(parse_copy(WHOLE(signed_by_one), t + 3, 1), -EBADMSG);
	assert_int_equal(parse_copy(WHOLE(signed_by_one), t + 4, 1), -EBADMSG);
	for (size_t pad = 5; pad < 8; pad++)
		assert_int_equal(parse_copy(WHOLE(signed_by_one), t + pad, 1),
				 -EBADMSG);
	/* Lengths beyond the file, up to the top bit. */
	for (size_t i = 8; i < 11; i++)
		assert_int_equal(parse_copy(WHOLE(signed_by_one), t + i, 0xff),
				 -EBADMSG);
	assert_int_equal(parse_copy(WHOLE(signed_by_one),
				    signed_by_one.len - 1, 'x'), -ENODATA);
}

static void length_at_the_edges(void **state)
{
	static const unsigned char der[] = { 0x30, 0x00 };
	struct buf b = { 0 };

	(void)state;
	add_trailer(&b, der, 0);		/* nothing but a trailer */
	assert_int_equal(parse_copy(WHOLE(b), AS_IS), -EBADMSG);
	buf_free(&b);
	add_trailer(&b, der, sizeof(der));	/* no content before it */
	assert_int_equal(parse_copy(WHOLE(b), AS_IS), -EBADMSG);
	buf_free(&b);
	/* The magic alone, and with half a trailer. */
	b.data = (unsigned char *)"123456~Module signature appended~\n";
	b.len = 34;
	assert_int_equal(parse_copy(WHOLE(b), AS_IS), -EBADMSG);
	b.data += 6;
	b.len -= 6;
	assert_int_equal(parse_copy(WHOLE(b), AS_IS), -EBADMSG);
}

static void every_truncation(void **state)
{
	(void)state;
	for (size_t len = 0; len < signed_by_one.len; len++)
		assert_int_equal(parse_copy(&signed_by_one, len, AS_IS),
				 -ENODATA);
}

static void message_cut_or_padded(void **state)
{
	size_t start = module.len;
	size_t size = signed_by_one.len - 40 - start;

	(void)state;
	for (size_t n = 1; n < size; n++) {
		struct buf b = { malloc(start), start };

		memcpy(b.data, module.data, start);
		add_trailer(&b, signed_by_one.data + start, n);
		assert_int_equal(parse_copy(WHOLE(b), AS_IS), -EBADMSG);
		buf_free(&b);
	}
	/* Bytes after the message, inside the length: no kernel made that. */
	{
		struct buf b = { malloc(start), start };
		unsigned char *longer = calloc(1, size + 7);

		memcpy(b.data, module.data, start);
		memcpy(longer, signed_by_one.data + start, size);
		add_trailer(&b, longer, size + 7);
		assert_int_equal(parse_copy(WHOLE(b), AS_IS), -EBADMSG);
		buf_free(&b);
		free(longer);
	}
}

static void several_signers(void **state)
{
	const struct pair *two[] = { rsa_pair("one"), ec_pair("curve") };
	struct modsig *s;
	struct buf b;

	(void)state;
	sign_with(&module, two, 2, CMS_NOATTR | CMS_DETACHED, "sha512", &b);
	assert_int_equal(modsig_parse(b.data, b.len, &s), 0);
	assert_int_equal(modsig_signers(s), 2);
	for (size_t i = 0; i < 2; i++) {
		bool first = modsig_names(s, i, two[0]->cert);
		X509 *cert = first ? two[0]->cert : two[1]->cert;

		assert_true(modsig_names(s, i, cert));
		assert_int_equal(modsig_check(s, i, cert, b.data), 0);
	}
	modsig_free(s);
	buf_free(&b);
}

/* A certificate that another one signed by SHA-1. */
static X509 *issued_by_sha1(const struct pair *issuer)
{
	X509 *cert = X509_dup(rsa_pair("leaf")->cert);

	X509_set_issuer_name(cert, X509_get_subject_name(issuer->cert));
	assert_true(X509_sign(cert, issuer->key, EVP_sha1()) > 0);
	return cert;
}

/*
 * As the policy of EL has it: OpenSSL makes and checks no signature of a SHA-1 digest. The
 * kernel does, so the answer has to be the same.
 */
static void openssl_that_refuses_sha1(void **state)
{
	const struct pair *two[] = { rsa_pair("one"), ec_pair("curve") };
	struct modsig *s;
	struct buf b;

	(void)state;
	sign_with(&module, two, 2, CMS_NOATTR | CMS_DETACHED, "sha1", &b);
	refuses_sha1 = true;
	assert_int_equal(modsig_parse(b.data, b.len, &s), 0);
	for (size_t i = 0; i < 2; i++) {
		bool first = modsig_names(s, i, two[0]->cert);
		const struct pair *by = first ? two[0] : two[1], *other = rsa_pair("two");

		assert_int_equal(modsig_check(s, i, by->cert, b.data), 0);
		b.data[70] ^= 1;
		assert_int_equal(modsig_check(s, i, by->cert, b.data), -EKEYREJECTED);
		b.data[70] ^= 1;
		assert_int_equal(modsig_check(s, i, first ? other->cert : two[1]->cert, b.data),
				 first ? -EKEYREJECTED : 0);
	}
	modsig_free(s);
	buf_free(&b);
	for (size_t i = 0; i < 2; i++) {
		X509 *cert = issued_by_sha1(two[i]);

		assert_true(cert_signed_by(cert, two[i]->key));
		assert_false(cert_signed_by(cert, rsa_pair("two")->key));
		X509_free(cert);
	}
	refuses_sha1 = false;
}

static void key_identifier(void **state)
{
	const struct pair *one[] = { rsa_pair("one") };
	struct modsig *s;
	struct buf b;

	(void)state;
	sign_with(&module, one, 1, CMS_NOATTR | CMS_DETACHED | CMS_USE_KEYID,
		  "sha256", &b);
	assert_int_equal(modsig_parse(b.data, b.len, &s), 0);
	assert_null(modsig_signer(s, 0)->issuer);
	assert_int_equal(strlen(modsig_signer(s, 0)->key_id), 40);
	assert_true(modsig_names(s, 0, one[0]->cert));
	assert_int_equal(modsig_check(s, 0, one[0]->cert, b.data), 0);
	modsig_free(s);
	buf_free(&b);
}

/* The place of the n-th such bytes behind the content of b. */
static size_t place(const struct buf *b, const void *bytes, size_t len, int n)
{
	size_t at = module.len;

	for (;; at++) {
		assert_true(at + len <= b->len);
		if (!memcmp(b->data + at, bytes, len) && !n--)
			return at;
	}
}

/* OpenSSL takes them; each kernel says EINVAL or EBADMSG. */
static void versions(void **state)
{
	static const unsigned char BY_SERIAL[] = { 2, 1, 1 }, BY_KEY_ID[] = { 2, 1, 3 };
	const struct pair *one[] = { rsa_pair("one") };
	struct buf b;
	size_t at;

	(void)state;
	sign_with(&module, one, 1, CMS_NOATTR | CMS_DETACHED | CMS_USE_KEYID,
		  "sha256", &b);
	for (int n = 0; n < 2; n++) {
		at = place(&signed_by_one, BY_SERIAL, 3, n) + 2;
		assert_int_equal(parse_copy(WHOLE(signed_by_one), at, 3), -ENOPKG);
		assert_int_equal(parse_copy(WHOLE(signed_by_one), at, 0), -ENOPKG);
		at = place(&b, BY_KEY_ID, 3, n) + 2;
		assert_int_equal(parse_copy(WHOLE(b), at, 1), -ENOPKG);
		assert_int_equal(parse_copy(WHOLE(b), at, 2), -ENOPKG);
	}
	buf_free(&b);
}

/* Of one version, which does not go with the way in which they name their signer. */
static void versions_of_the_other_form(void **state)
{
	static const unsigned char BY_SERIAL[] = { 2, 1, 1 };
	struct buf b = { malloc(signed_by_one.len), signed_by_one.len };

	(void)state;
	memcpy(b.data, signed_by_one.data, b.len);
	b.data[place(&b, BY_SERIAL, 3, 0) + 2] = 3;
	b.data[place(&b, BY_SERIAL, 3, 0) + 2] = 3;
	assert_int_equal(parse_copy(WHOLE(b), AS_IS), -ENOPKG);
	buf_free(&b);
}

/* Kernels compare bytes: to them it is another name. */
static void name_of_other_case(void **state)
{
	struct modsig *s;
	size_t at = place(&signed_by_one, "one", 3, 0);

	(void)state;
	signed_by_one.data[at] = 'O';
	assert_int_equal(modsig_parse(signed_by_one.data, signed_by_one.len, &s), 0);
	assert_false(modsig_names(s, 0, rsa_pair("one")->cert));
	modsig_free(s);
	signed_by_one.data[at] = 'o';
}

static void signed_attributes(void **state)
{
	const struct pair *one[] = { rsa_pair("one") };
	struct modsig *s;
	struct buf b;

	(void)state;
	sign_with(&module, one, 1, CMS_DETACHED, "sha256", &b);
	assert_int_equal(modsig_parse(b.data, b.len, &s), 0);
	assert_true(modsig_signer(s, 0)->has_attributes);
	modsig_free(s);
	buf_free(&b);
}

static void content_inside(void **state)
{
	const struct pair *one[] = { rsa_pair("one") };
	struct buf b;

	(void)state;
	sign_with(&module, one, 1, CMS_NOATTR, "sha256", &b);
	assert_int_equal(parse_copy(WHOLE(b), AS_IS), -ENOPKG);
	buf_free(&b);
}

static void too_many_signers(void **state)
{
	const struct pair *many[17];
	struct buf b;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = ec_pair("curve");
	sign_with(&module, many, 17, CMS_NOATTR | CMS_DETACHED, "sha256", &b);
	assert_int_equal(parse_copy(WHOLE(b), AS_IS), -EBADMSG);
	buf_free(&b);
}

static void strip_all(void **state)
{
	const struct pair *one[] = { rsa_pair("one") };
	struct buf twice;

	(void)state;
	assert_int_equal(modsig_strip(module.data, module.len), module.len);
	assert_int_equal(modsig_strip(signed_by_one.data, signed_by_one.len),
			 module.len);
	sign_with(&signed_by_one, one, 1, CMS_NOATTR | CMS_DETACHED, "sha256",
		  &twice);
	assert_int_equal(modsig_strip(twice.data, twice.len), module.len);
	buf_free(&twice);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unsigned_file),
		cmocka_unit_test(good_signature),
		cmocka_unit_test(made_here_is_as_made_there),
		cmocka_unit_test(every_trailer_field),
		cmocka_unit_test(length_at_the_edges),
		cmocka_unit_test(every_truncation),
		cmocka_unit_test(message_cut_or_padded),
		cmocka_unit_test(several_signers),
		cmocka_unit_test(openssl_that_refuses_sha1),
		cmocka_unit_test(key_identifier),
		cmocka_unit_test(versions),
		cmocka_unit_test(versions_of_the_other_form),
		cmocka_unit_test(name_of_other_case),
		cmocka_unit_test(signed_attributes),
		cmocka_unit_test(content_inside),
		cmocka_unit_test(too_many_signers),
		cmocka_unit_test(strip_all),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
