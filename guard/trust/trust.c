// SPDX-License-Identifier: GPL-2.0-or-later
/* Gathers the certificates that a host knows, and judges each for a kernel. */
#include "guard/trust/trust.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/efivars.h"
#include "guard/host/firmware.h"
#include "guard/trust/cert.h"
#include "guard/trust/key_places.h"

/* The hash of a revoked certificate. */
struct revoked {
	enum efi_sig type;
	unsigned char hash[EVP_MAX_MD_SIZE];
};

struct trust {
	struct trust_cert *certs;
	size_t count;
	unsigned char (*hashes)[32];
	size_t hash_count;
	struct revoked *revoked;
	size_t revoked_count;
	struct ring ring;
	unsigned int leaving;	/* CERT_ bits: MokManager may take all of these away */
	bool pinned;
	enum secure_boot secure_boot;
	char *gap;
};

/* Takes over the reference to x509. path: NULL, or its file. */
static int add_cert(struct trust *t, X509 *x509, unsigned int from,
		    const char *path)
{
	struct trust_cert *certs;

	for (size_t i = 0; i < t->count; i++)
		if (!X509_cmp(t->certs[i].x509, x509)) {
			t->certs[i].from |= from;
			X509_free(x509);
			if (path && !t->certs[i].path) {
				t->certs[i].path = strdup(path);
				return t->certs[i].path ? 0 : -ENOMEM;
			}
			return 0;
		}
	certs = realloc(t->certs, (t->count + 1) * sizeof(*certs));
	if (!certs) {
		X509_free(x509);
		return -ENOMEM;
	}
	t->certs = certs;
	certs[t->count++] = (struct trust_cert){ x509, from,
						 path ? strdup(path) : NULL };
	return !path || certs[t->count - 1].path ? 0 : -ENOMEM;
}

struct loading {
	struct trust *t;
	unsigned int from;
};

/* The time that stands behind it, from which it is revoked, means nothing to kernels. */
static int add_revoked(struct trust *t, enum efi_sig type, const unsigned char *data)
{
	struct revoked *more = realloc(t->revoked, (t->revoked_count + 1) * sizeof(*more));

	if (!more)
		return -ENOMEM;
	t->revoked = more;
	more[t->revoked_count].type = type;
	memcpy(more[t->revoked_count++].hash, data, EVP_MD_size(efi_sig_md(type)));
	return 0;
}

static void note_gap(struct trust *t, const char *what, int err)
{
	if (!t->gap && asprintf(&t->gap, "%s: %s", what, strerror(-err)) < 0)
		t->gap = NULL;
}

/* Is it DER of one whole object? A kernel may read one that OpenSSL does not, for odd names. */
static bool is_whole(const unsigned char *der, size_t len)
{
	const unsigned char *p = der;
	long size;
	int tag, class;
	bool is = len <= LONG_MAX &&
		  ASN1_get_object(&p, &size, &tag, &class, len) == V_ASN1_CONSTRUCTED &&
		  tag == V_ASN1_SEQUENCE && (size_t)size == len - (p - der);

	ERR_clear_error();
	return is;
}

static int add_entry(void *arg, enum efi_sig type, const unsigned char *data,
		     size_t len)
{
	struct loading *l = arg;
	struct trust *t = l->t;

	if (type == EFI_SIG_X509) {
		const unsigned char *p = data;
		X509 *x509 = d2i_X509(NULL, &p, len);

		ERR_clear_error();
		if (x509)
			return add_cert(t, x509, l->from, NULL);
		/* A kernel skips what is none at all, too. */
		if (is_whole(data, len))
			note_gap(t, "a certificate in the firmware's lists", -EBADMSG);
		return 0;
	}
	if (type == EFI_SIG_SHA256 && len == 32 &&
	    l->from & (CERT_MOKX | CERT_DBX)) {
		void *bigger = realloc(t->hashes, (t->hash_count + 1) * 32);

		if (!bigger)
			return -ENOMEM;
		t->hashes = bigger;
		memcpy(t->hashes[t->hash_count++], data, 32);
	}
	if (type >= EFI_SIG_X509_SHA256 && type <= EFI_SIG_X509_SHA512 &&
	    l->from & (CERT_MOKX | CERT_DBX) && len >= (size_t)EVP_MD_size(efi_sig_md(type)))
		return add_revoked(t, type, data);
	return 0;
}

static int add_variable(struct trust *t, const struct host *h,
			const char *name, const char *guid, unsigned int from)
{
	struct loading l = { t, from };
	struct buf b;
	int err = efivar_read(h, name, guid, &b);

	if (err == -ENOENT)
		return 0;
	if (!err) {
		err = efi_siglist_walk(&b, add_entry, &l);
		buf_free(&b);
	}
	if (err && err != -ENOMEM) {
		note_gap(t, name, err);
		err = 0;
	}
	return err;
}

/* A list too long for one variable goes on in NameRT1, NameRT2, ... */
static int add_mirrored(struct trust *t, const struct host *h,
			const char *name, unsigned int from)
{
	char part[32];
	int err = add_variable(t, h, name, SHIM_GUID, from);

	for (int i = 1; i < 10 && !err; i++) {
		snprintf(part, sizeof(part), "%s%d", name, i);
		err = add_variable(t, h, part, SHIM_GUID, from);
	}
	return err;
}

struct host_certs {
	struct trust *t;
	const struct host *h;
};

static int add_host_cert(void *arg, const char *rel)
{
	struct host_certs *c = arg;
	char *path = host_path(c->h, rel);
	X509 *x509;
	int err = 0;

	if (!path)
		return -ENOMEM;
	if (cert_read(path, &x509) == 0)
		err = add_cert(c->t, x509, CERT_HOST, path);
	free(path);
	return err;
}

static int add_host_certs(struct trust *t, const struct host *h)
{
	struct host_certs c = { t, h };
	int err = 0;

	for (size_t i = 0; key_places[i].cert && !err; i++)
		err = add_host_cert(&c, key_places[i].cert);
	return err ? err : other_certs(h, add_host_cert, &c);
}

/* Is there a variable of shim's? What cannot be read may be there. */
static bool waits(const struct host *h, const char *name)
{
	struct buf b;
	int err = efivar_read(h, name, SHIM_GUID, &b);

	if (!err)
		buf_free(&b);
	return err != -ENOENT;
}

/*
 * What mokutil left for MokManager, which asks for it at the next boot: --reset is a
 * password without a list, --untrust-mok and --ignore-db are variables of their own.
 */
static unsigned int leaving(const struct host *h)
{
	bool reset = waits(h, "MokAuth") && !waits(h, "MokNew");

	return (reset || waits(h, "MokListTrustedNew") ? CERT_MOK : 0) |
	       (waits(h, "MokDB") ? CERT_DB : 0);
}

bool mok_request_is_half(const struct host *h, const char *list)
{
	const char *password = !strcmp(list, "MokNew") ? "MokAuth" :
			       !strcmp(list, "MokDel") ? "MokDelAuth" :
							 "MokXAuth";

	return waits(h, list) && !waits(h, password);
}

/* Told to ignore db, shim leaves that variable, and kernels do not load db. */
static int add_db(struct trust *t, const struct host *h)
{
	int ignored = efivar_flag(h, "MokIgnoreDB", SHIM_GUID);

	if (ignored >= 0)
		return 0;
	if (ignored != -ENOENT)
		t->leaving |= CERT_DB;
	return add_variable(t, h, "db", EFI_SECURITY_GUID, CERT_DB);
}

int trust_new(const struct host *h, struct trust **out)
{
	struct trust *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->secure_boot = host_secure_boot(h);
	t->leaving = leaving(h);
	if (t->secure_boot == SB_UNKNOWN && host_image(h) != IMAGE_NOT)
		t->gap = strdup("what the firmware trusts where this image will boot");
	else if (t->secure_boot == SB_UNKNOWN)
		note_gap(t, "EFI variables", -ENODATA);
	err = add_mirrored(t, h, "MokListRT", CERT_MOK);
	if (!err && t->secure_boot == SB_ON)
		err = add_mirrored(t, h, "MokListXRT", CERT_MOKX);
	if (!err)
		err = add_db(t, h);
	if (!err)
		err = add_variable(t, h, "dbx", EFI_SECURITY_GUID, CERT_DBX);
	if (!err && !mok_request_is_half(h, "MokNew"))
		err = add_variable(t, h, "MokNew", SHIM_GUID, CERT_PENDING);
	if (!err)
		err = add_variable(t, h, "MokDel", SHIM_GUID, CERT_REMOVAL);
	if (!err)
		err = add_variable(t, h, "MokXNew", SHIM_GUID, CERT_REMOVAL);
	if (!err)
		err = add_host_certs(t, h);
	if (!err && host_is_live(h))
		err = ring_read(&t->ring);
	if (err)
		trust_free(t);
	else
		*out = t;
	return err;
}

int trust_pin(struct trust *t, const char *cert_file)
{
	X509 *x509;
	int err = cert_read(cert_file, &x509);

	return err ? err : add_cert(t, x509, CERT_PINNED, NULL);
}

int trust_enroll(struct trust *t, const char *cert_file)
{
	X509 *x509;
	int err = cert_read(cert_file, &x509);

	return err ? err : add_cert(t, x509, CERT_MOK | CERT_PINNED, NULL);
}

int trust_new_pinned(const char *cert_file, struct trust **out)
{
	struct trust *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return -ENOMEM;
	t->pinned = true;
	err = trust_pin(t, cert_file);
	if (err)
		trust_free(t);
	else
		*out = t;
	return err;
}

void trust_free(struct trust *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++) {
		X509_free(t->certs[i].x509);
		free(t->certs[i].path);
	}
	ring_free(&t->ring);
	free(t->certs);
	free(t->hashes);
	free(t->revoked);
	free(t->gap);
	free(t);
}

size_t trust_certs(const struct trust *t)
{
	return t->count;
}

const struct trust_cert *trust_cert(const struct trust *t, size_t i)
{
	return &t->certs[i];
}

const struct trust_cert *trust_find(const struct trust *t, X509 *cert)
{
	for (size_t i = 0; i < t->count; i++)
		if (!X509_cmp(t->certs[i].x509, cert))
			return &t->certs[i];
	return NULL;
}

/* The kernel names a key by its identifier or, without one, by its serial. */
static const struct ring_key *in_ring(const struct trust *t, X509 *cert)
{
	const ASN1_OCTET_STRING *id = X509_get0_subject_key_id(cert);
	const ASN1_INTEGER *serial = X509_get0_serialNumber(cert);
	const ASN1_STRING *s = id ? (const ASN1_STRING *)id :
				    (const ASN1_STRING *)serial;
	char hex[2 * 64 + 1];

	if (ASN1_STRING_length(s) > 64)
		return NULL;
	hex_encode(ASN1_STRING_get0_data(s), ASN1_STRING_length(s), hex);
	return ring_by_id(&t->ring, hex);
}

/* Is it trusted by way of such a list alone? */
static bool leaves(const struct trust *t, const struct trust_cert *cert)
{
	unsigned int from = cert->from & (CERT_MOK | CERT_DB);
	const struct ring_key *key = from ? NULL : in_ring(t, cert->x509);

	return from ? !(from & ~t->leaving) : t->leaving && key && !key->of_kernel;
}

bool trust_revokes(const struct trust *t, X509 *cert)
{
	unsigned char hash[EVP_MAX_MD_SIZE];

	for (size_t i = 0; i < t->revoked_count; i++) {
		const EVP_MD *md = efi_sig_md(t->revoked[i].type);

		/* Without memory nothing says that it is not. */
		if (cert_tbs_hash(cert, md, hash) ||
		    !memcmp(hash, t->revoked[i].hash, EVP_MD_size(md)))
			return true;
	}
	return false;
}

enum standing trust_standing(const struct trust *t,
			     const struct trust_cert *cert,
			     const struct kernel_rules *rules, bool running,
			     const char **why)
{
	/* With Secure Boot off no kernel reads these lists. */
	bool lists = t->secure_boot == SB_ON;
	const struct ring_key *key;

	if (t->pinned) {
		*why = "the certificate given";
		return cert->from & CERT_PINNED ? STANDING_TRUSTED :
						  STANDING_UNTRUSTED;
	}
	if (cert->from & (CERT_MOKX | CERT_DBX)) {
		*why = "its certificate is in the revocation list";
		if (rules->mokx_cert == ANSWER_YES)
			return STANDING_REVOKED;
		if (rules->mokx_cert == ANSWER_UNVERIFIED)
			return STANDING_UNSURE;
	}
	/* Which kernels look at these hashes depends on where the certificate comes from. */
	if (lists && trust_revokes(t, cert->x509)) {
		*why = "the hash of whose certificate is in the revocation list";
		return STANDING_UNSURE;
	}
	/* MokManager asks at the next boot, and somebody may say yes. */
	if (cert->from & CERT_REMOVAL && lists &&
	    (cert->from & (CERT_MOK | CERT_DB) || in_ring(t, cert->x509))) {
		*why = "whose removal waits for the next boot, where MokManager asks for it";
		return STANDING_UNSURE;
	}
	if (lists && leaves(t, cert)) {
		*why = "which a request that waits for MokManager may take away at the next boot: "
		       "mokutil --reset, --untrust-mok or --ignore-db";
		return STANDING_UNSURE;
	}
	*why = cert->from & CERT_PINNED ? "the certificate given" : "enrolled on this host";
	if (cert->from & CERT_MOK && lists && rules->mok == ANSWER_YES)
		return STANDING_TRUSTED;
	if (cert->from & CERT_DB && lists && rules->db == ANSWER_YES) {
		*why = "in the firmware's list";
		return STANDING_TRUSTED;
	}
	key = in_ring(t, cert->x509);
	/* What is not the kernel's own came from MOK or db. */
	if (key && (key->of_kernel ? running : rules->mok == ANSWER_YES)) {
		*why = "in the kernel's keyring";
		return STANDING_TRUSTED;
	}
	if (cert->from & CERT_MOK && lists) {
		*why = rules->mok == ANSWER_NO ?
		       "enrolled, but by its configuration this kernel does "
		       "not look at machine owner keys" :
		       "enrolled, but whether this kernel looks at machine "
		       "owner keys is not known: it is none of the families "
		       "tested, and its configuration does not tell";
		return rules->mok == ANSWER_NO ? STANDING_UNTRUSTED :
						 STANDING_UNSURE;
	}
	if (cert->from & CERT_PENDING) {
		*why = "its enrolment waits for a reboot";
		return STANDING_PENDING;
	}
	*why = cert->from & CERT_MOK ?
	       "enrolled, but with Secure Boot off no kernel looks there" :
	       "not enrolled on this host";
	return t->gap || cert->from & CERT_DB ? STANDING_UNSURE :
						STANDING_UNTRUSTED;
}

bool trust_enrolled(const struct trust *t, const struct trust_cert *cert,
		    const struct kernel_rules *rules)
{
	const char *why;

	/* Whether that kernel looks there is another question. */
	if (cert->from & CERT_MOK &&
	    (t->secure_boot != SB_ON || !(cert->from & (CERT_MOKX | CERT_DBX))))
		return true;
	return trust_standing(t, cert, rules, true, &why) == STANDING_TRUSTED;
}

bool trust_hash_listed(const struct trust *t, const unsigned char hash[32])
{
	for (size_t i = 0; i < t->hash_count; i++)
		if (!memcmp(t->hashes[i], hash, 32))
			return true;
	return false;
}

bool trust_pinned(const struct trust *t)
{
	return t->pinned;
}

bool trust_any_pending(const struct trust *t)
{
	for (size_t i = 0; i < t->count; i++)
		if (t->certs[i].from & CERT_PENDING)
			return true;
	return false;
}

const struct ring *trust_ring(const struct trust *t)
{
	return &t->ring;
}

const char *trust_gap(const struct trust *t)
{
	return t->gap;
}
