// SPDX-License-Identifier: GPL-2.0-or-later
/* Gathers what key status says: the pair, its enrolment, the firmware. */
#include "signing/keystate.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guard/base/util.h"
#include "guard/host/efivars.h"
#include "guard/host/firmware.h"
#include "guard/trust/cert.h"
#include "guard/trust/enrol_request.h"
#include "guard/trust/firmware_ca.h"
#include "guard/trust/trust.h"

const char *enrolment_word(enum enrolment e)
{
	static const char *const words[] = {
		"enrolled", "pending", "declined", "not-enrolled",
		"not-applicable", "unknown",
	};

	return words[e];
}

static void fingerprint(X509 *cert, const EVP_MD *md, char *hex)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	if (X509_digest(cert, md, hash, &len) == 1)
		hex_encode(hash, len, hex);
}

static int describe(struct keystate *s)
{
	X509 *cert = s->key->cert;
	struct tm tm;

	s->name = cert_name(cert);
	s->usage = cert_usage(cert);
	if (!s->name || !s->usage)
		return -ENOMEM;
	fingerprint(cert, EVP_sha256(), s->sha256);
	fingerprint(cert, EVP_sha1(), s->sha1);
	s->boots_kernels = cert_boots_kernels(cert);
	if (ASN1_TIME_to_tm(X509_get0_notAfter(cert), &tm) == 1)
		strftime(s->expires, sizeof(s->expires), "%Y-%m-%d", &tm);
	return 0;
}

static void read_enrolment(const struct host *h, struct keystate *s,
			   const struct trust *t)
{
	struct kernel_rules rules = rules_for(host_running_kernel(h));
	const struct trust_cert *c;
	const char *why;

	if (s->place != PLACE_HOST || s->secure_boot == SB_NO_EFI) {
		s->enrolment = ENROLMENT_NOT_APPLICABLE;
		return;
	}
	c = s->key && s->key->cert ? trust_find(t, s->key->cert) : NULL;
	s->other_pending = trust_any_pending(t) &&
			   !(c && c->from & CERT_PENDING);
	if (!c) {
		/* The host's own are always in the list, if they can be read. */
		s->enrolment = s->key && !s->key->cert ? ENROLMENT_UNKNOWN :
			       s->key && trust_gap(t) ? ENROLMENT_UNKNOWN :
			       s->key && enrol_request_declined(h, s->key->cert) ?
			       ENROLMENT_DECLINED : ENROLMENT_NOT_ENROLLED;
		return;
	}
	if (trust_enrolled(t, c, &rules)) {
		s->enrolment = ENROLMENT_ENROLLED;
		return;
	}
	switch (trust_standing(t, c, &rules, true, &why)) {
	case STANDING_PENDING:
		s->enrolment = ENROLMENT_PENDING;
		break;
	case STANDING_UNSURE:
		s->enrolment = ENROLMENT_UNKNOWN;
		break;
	default:
		s->enrolment = enrol_request_declined(h, c->x509) ?
			       ENROLMENT_DECLINED : ENROLMENT_NOT_ENROLLED;
	}
}

struct looking {
	X509 *cert;
	bool found;
};

static int compare(void *arg, enum efi_sig type, const unsigned char *data,
		   size_t len)
{
	struct looking *l = arg;
	X509 *x509;

	if (type != EFI_SIG_X509)
		return 0;
	x509 = d2i_X509(NULL, &data, len);
	ERR_clear_error();
	l->found |= x509 && !X509_cmp(x509, l->cert);
	X509_free(x509);
	return 0;
}

/* Is the certificate in this list of what MokManager can be told to do? */
static bool is_listed(const struct host *h, const char *name, X509 *cert)
{
	struct looking l = { cert, false };
	struct buf list;

	if (mok_request_is_half(h, name) ||
	    efivar_read(h, name, SHIM_GUID, &list))
		return false;
	efi_siglist_walk(&list, compare, &l);
	buf_free(&list);
	return l.found;
}

static void read_requests(const struct host *h, struct keystate *s,
			  const struct trust *t)
{
	const struct trust_cert *c = trust_find(t, s->key->cert);

	s->delete_pending = is_listed(h, "MokDel", s->key->cert);
	s->mokx_pending = is_listed(h, "MokXNew", s->key->cert);
	s->revoked = (c && c->from & (CERT_MOKX | CERT_DBX)) ||
		     (s->key->cert && trust_revokes(t, s->key->cert));
	s->in_mok = c && c->from & CERT_MOK;
	s->in_db = c && c->from & CERT_DB;
}

/* A pair of which only the certificate is known. */
static int from_x509(X509 *cert, struct signkey **out)
{
	struct signkey *k = calloc(1, sizeof(*k));

	if (k) {
		k->origin = "given";
		k->key_path = strdup("");
		k->cert_path = strdup("");
		k->cert = cert;
		X509_up_ref(cert);
	}
	*out = k;
	return k && k->key_path && k->cert_path ? 0 : -ENOMEM;
}

static int read_state(const struct host *h, bool first, const char *cert,
		      X509 *x509, struct keystate **out)
{
	struct keystate *s = calloc(1, sizeof(*s));
	struct trust *t = NULL;
	int err;

	if (!s)
		return -ENOMEM;
	s->place = host_place(h);
	s->secure_boot = host_secure_boot(h);
	s->demand = host_demands_signature(h);
	s->without_shim = firmware_without_shim(h);
	err = trust_new(h, &t);
	if (!err)
		s->key_error = x509 ? from_x509(x509, &s->key) :
			       cert ? signkey_cert_only(cert, &s->key) :
			       signkey_find(h, first ? NULL : t, &s->key);
	if (!err && !s->key_error && !cert && !x509)
		s->key_error = signkey_load(h, s->key);
	if (!err && s->key_error == -ENOMEM)
		err = -ENOMEM;
	if (!err && s->key && s->key->cert)
		err = describe(s);
	if (!err)
		read_enrolment(h, s, t);
	if (!err && s->key && s->key->cert)
		read_requests(h, s, t);
	trust_free(t);
	if (err)
		keystate_free(s);
	else
		*out = s;
	return err;
}

int keystate_read(const struct host *h, bool first, struct keystate **out)
{
	return read_state(h, first, NULL, NULL, out);
}

int keystate_read_cert(const struct host *h, const char *cert,
		       struct keystate **out)
{
	return read_state(h, false, cert, NULL, out);
}

int keystate_read_x509(const struct host *h, X509 *cert,
		       struct keystate **out)
{
	return read_state(h, false, NULL, cert, out);
}

void keystate_free(struct keystate *s)
{
	if (!s)
		return;
	signkey_free(s->key);
	free(s->name);
	free(s->usage);
	free(s);
}

const char *keystate_next_step(const struct keystate *s)
{
	if (s->place != PLACE_HOST)
		return NULL;
	if (s->key && s->key->problem)
		return s->key->next_step;
	if (s->demand == DEMAND_NO)
		return NULL;
	if (s->key_error == -ENOENT)
		return "kmodkeep key create";
	switch (s->enrolment) {
	case ENROLMENT_ENROLLED:
	case ENROLMENT_NOT_APPLICABLE:
		return NULL;
	case ENROLMENT_PENDING:
		return s->without_shim ? ENROL_WITHOUT_SHIM :
		       "reboot and choose \"Enroll MOK\" in the blue menu";
	case ENROLMENT_DECLINED:
		return s->without_shim ? ENROL_WITHOUT_SHIM :
					 "kmodkeep key enroll --again";
	case ENROLMENT_NOT_ENROLLED:
		return s->without_shim ? ENROL_WITHOUT_SHIM :
					 "kmodkeep key enroll";
	default:
		return s->in_db && !s->in_mok ?
		       "the key is in the firmware's db; whether this kernel takes such keys "
		       "for modules is not known: kmodkeep smoke DRIVER tries it" :
		       "ask again as root, with efivarfs mounted";
	}
}

int keystate_exit(const struct keystate *s)
{
	if (s->key && s->key->problem)
		return EXIT_NO;
	if (!keystate_next_step(s))
		return EXIT_YES;
	if (s->demand == DEMAND_UNKNOWN || s->enrolment == ENROLMENT_UNKNOWN)
		return EXIT_UNSURE;
	return EXIT_NO;
}
