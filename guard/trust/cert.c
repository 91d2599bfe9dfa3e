// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads a certificate, and what is said of it to people. */
#include "guard/trust/cert.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "guard/base/util.h"

#define MODULE_SIGNING_OID "1.3.6.1.4.1.2312.16.1.2"
static const char MODULE_SIGNING_ONLY[] = "module signing only";

char *name_text(const X509_NAME *name)
{
	X509_NAME *n = (X509_NAME *)name;	/* 1.1's prototypes lack const */
	char text[256];

	if (X509_NAME_get_text_by_NID(n, NID_commonName, text,
				      sizeof(text)) <= 0 &&
	    !X509_NAME_oneline(n, text, sizeof(text)))
		return NULL;
	make_printable(text);
	return strdup(text);
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
		*out = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
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
