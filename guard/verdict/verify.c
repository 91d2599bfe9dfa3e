// SPDX-License-Identifier: GPL-2.0-or-later
/* Judges one module file for one kernel: fit, signature, key. */
#include "guard/verdict/verify.h"

#include <elf.h>
#include <errno.h>
#include <glob.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/objects.h>
#include <openssl/obj_mac.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/firmware.h"
#include "guard/module/modsig.h"
#include "guard/module/vermagic.h"
#include "guard/trust/cert.h"
#include "guard/trust/enrol_request.h"
#include "guard/trust/firmware_ca.h"
#include "guard/trust/key_places.h"

/* What verify_bytes() works with, to keep its steps short. */
struct judging {
	const struct host *h;
	const struct trust *t;
	const struct buf *bytes;
	const struct modsig *sig;
	struct kernel_rules rules;
	enum demand demand;
	unsigned char hash[32];	/* of the whole file */
	bool running;
	bool intact;	/* the content was checked against its signature */
	bool unknown_crypto;	/* unsupported, but no kernel minds the form */
	struct report *r;
};

/* The verdict on one signer, before the demands of the host. */
struct opinion {
	enum verdict verdict;
	const struct trust_cert *cert;
	const char *why, *next;	/* next: NULL for what the verdict asks for */
	bool fatal;	/* whatever the other signers are */
	bool intact;	/* the content is what a certificate signed */
	X509 *leaf;	/* that certificate, of the message; NULL: cert's own */
};

static enum answer worse_answer(enum answer a, enum answer b)
{
	return a == ANSWER_NO || b == ANSWER_NO ? ANSWER_NO :
	       a == ANSWER_YES ? b : a;
}

/* Names a kernel can check; else it says ENOPKG, "unsupported crypto". */
static enum answer kernel_knows(const struct kernel_rules *rules, int hash_nid,
				int key_nid)
{
	enum answer hash = ANSWER_YES;

	switch (hash_nid) {
	case NID_sha1:
		hash = rules->sha1;
		break;
	case NID_sha224:
	case NID_sha256:
		break;
	case NID_sha384:
	case NID_sha512:
		hash = rules->sha512;
		break;
	case NID_sha3_256:
	case NID_sha3_384:
	case NID_sha3_512:
		if (!rules->sha3)
			return ANSWER_NO;
		break;
	default:
		return ANSWER_NO;
	}
	switch (key_nid) {
	case NID_rsaEncryption:
		return hash;
	case NID_X9_62_id_ecPublicKey:
	case NID_ecdsa_with_SHA1:
	case NID_ecdsa_with_SHA224:
	case NID_ecdsa_with_SHA256:
	case NID_ecdsa_with_SHA384:
	case NID_ecdsa_with_SHA512:
		return worse_answer(hash, rules->ecdsa);
	default:
		return ANSWER_NO;
	}
}

/* The certificate of a signer; a trusted one if several share its name. */
static const struct trust_cert *find_cert(const struct judging *j, size_t i)
{
	const struct trust_cert *found = NULL;
	const char *why;

	for (size_t c = 0; c < trust_certs(j->t); c++) {
		const struct trust_cert *cert = trust_cert(j->t, c);

		if (!modsig_names(j->sig, i, cert->x509))
			continue;
		found = cert;
		if (trust_standing(j->t, cert, &j->rules, j->running, &why) ==
		    STANDING_TRUSTED)
			break;
	}
	return found;
}

static enum verdict verdict_of_standing(enum standing s)
{
	switch (s) {
	case STANDING_TRUSTED:
		return VERDICT_OK;
	case STANDING_PENDING:
		return VERDICT_PENDING_ENROLMENT;
	case STANDING_REVOKED:
		return VERDICT_REVOKED;
	case STANDING_UNTRUSTED:
		return VERDICT_UNTRUSTED_KEY;
	default:
		return VERDICT_UNKNOWN;
	}
}

/* Of what the kernel trusts only names are known here: name or key_id may be among them. */
static struct opinion judge_unseen(const struct judging *j, const char *key_id,
				   const char *name)
{
	const struct ring *ring = trust_ring(j->t);
	struct opinion o = { .verdict = VERDICT_UNKNOWN };

	if (trust_pinned(j->t)) {
		o.verdict = VERDICT_UNTRUSTED_KEY;
		o.why = "which is not the certificate given";
	} else if ((key_id && ring_by_id(ring, key_id)) ||
		   (name && ring_by_subject(ring, name))) {
		o.why = "a name that the kernel trusts, but its certificate "
			"cannot be read, so the content could not be checked";
	} else if (j->r->info.intree && !(j->running && ring->readable)) {
		/* Each kernel brings a key of its own, for its own modules. */
		o.why = "which may be the key built into that kernel";
	} else if (trust_gap(j->t)) {
		o.why = "not found, but not everything could be read";
	} else {
		o.verdict = VERDICT_UNTRUSTED_KEY;
		o.why = "a key that this host does not know";
	}
	return o;
}

/* ---- certificates that the signature brings along ---- */

/* A certificate that is known here; issued: the one that issued cert. */
static const struct trust_cert *known_cert(const struct judging *j, X509 *cert,
					   bool issued)
{
	for (size_t i = 0; i < trust_certs(j->t); i++) {
		const struct trust_cert *c = trust_cert(j->t, i);

		if (issued ? cert_issued(c->x509, cert) : cert_same(c->x509, cert))
			return c;
	}
	return NULL;
}

/* The one below is what its key must have signed; NULL: the module itself. */
static bool has_signed(const struct judging *j, size_t i, X509 *by, X509 *below)
{
	EVP_PKEY *key = X509_get0_pubkey(by);
	bool has = below ? cert_signed_by(below, key) :
			   !modsig_check(j->sig, i, by, j->bytes->data);

	ERR_clear_error();
	return has;
}

/* Which of two places in a chain decides: revoked, then what makes it trusted. */
static bool decides(const struct opinion *a, const struct opinion *b)
{
	static const enum verdict order[] = {
		VERDICT_TAMPERED, VERDICT_REVOKED, VERDICT_OK,
		VERDICT_PENDING_ENROLMENT, VERDICT_UNKNOWN, VERDICT_UNTRUSTED_KEY,
	};

	for (size_t i = 0; i < ARRAY_SIZE(order); i++)
		if (a->verdict == order[i] || b->verdict == order[i])
			return b->verdict != order[i];
	return false;
}

static void consider(const struct judging *j, size_t i, struct opinion *best,
		     const struct trust_cert *c, X509 *below, bool *trusted)
{
	struct opinion o = { .cert = c, .intact = true, .leaf = best->leaf };

	if (!has_signed(j, i, c->x509, below)) {
		/* To kernels the end: they look no further. */
		o.verdict = VERDICT_TAMPERED;
		o.fatal = true;
	} else {
		o.verdict = verdict_of_standing(
			trust_standing(j->t, c, &j->rules, j->running, &o.why));
	}
	*trusted = o.verdict == VERDICT_OK || o.fatal;
	if (decides(&o, best))
		*best = o;
}

/* Is what a certificate is signed with known to the kernel? */
static enum answer knows_cert(const struct judging *j, X509 *cert, X509 *issuer)
{
	int hash = NID_undef;
	EVP_PKEY *key = X509_get0_pubkey(issuer);

	if (!key || !OBJ_find_sigid_algs(X509_get_signature_nid(cert), &hash, NULL))
		return ANSWER_NO;
	return kernel_knows(&j->rules, hash, EVP_PKEY_base_id(key));
}

static bool ring_has_issuer(const struct judging *j, X509 *cert)
{
	char *name = name_text(X509_get_issuer_name(cert));
	bool has = name && cert_names_issuer(cert) &&
		   ring_by_subject(trust_ring(j->t), name);

	free(name);
	return has;
}

/*
 * The walk of pkcs7_verify() and pkcs7_validate_trust(): from the signer's own
 * certificate up, through those in the message, to the first that is a trusted key
 * or that a trusted key issued. Usages and dates are not looked at there. known: does
 * the kernel know the signer's own algorithm?
 */
static struct opinion judge_chain(const struct judging *j, size_t i, X509 *leaf,
				  enum answer known)
{
	char *name = name_text(X509_get_subject_name(leaf));
	struct opinion best = judge_unseen(j, NULL, name);
	X509 *at = leaf, *below = NULL, *up;
	const struct trust_cert *c;
	bool trusted = false;

	free(name);
	best.leaf = leaf;
	best.intact = true;
	for (int depth = 0; !trusted && depth < 64; depth++, below = at, at = up) {
		c = known_cert(j, at, false);
		if (c)
			consider(j, i, &best, c, below, &trusted);
		if (trusted || cert_is_root(at))
			break;
		up = modsig_issuer(j->sig, at);
		if (up) {
			known = worse_answer(known, knows_cert(j, at, up));
			if (known != ANSWER_NO && !has_signed(j, i, up, at)) {
				best.verdict = VERDICT_TAMPERED;
				best.fatal = true;
			}
			if (known == ANSWER_NO || best.fatal)
				break;
			continue;
		}
		c = known_cert(j, at, true);
		if (c) {
			known = worse_answer(known, knows_cert(j, at, c->x509));
			if (known != ANSWER_NO)
				consider(j, i, &best, c, at, &trusted);
		} else if (ring_has_issuer(j, at) &&
			   best.verdict == VERDICT_UNTRUSTED_KEY) {
			best.verdict = VERDICT_UNKNOWN;
			best.why = "by a chain that ends at a name that the kernel "
				   "trusts, whose certificate cannot be read";
		}
		break;
	}
	if (known == ANSWER_NO && best.verdict != VERDICT_REVOKED) {
		best.verdict = VERDICT_UNSUPPORTED_SIGNATURE;
		best.why = "with a chain of certificates that this kernel cannot check";
	} else if (known == ANSWER_UNVERIFIED && best.verdict == VERDICT_OK) {
		best.verdict = VERDICT_UNKNOWN;
		best.why = "by a chain of certificates with ECDSA or SHA-1, which this kernel "
			   "may not know";
	}
	return best;
}

static struct opinion judge_signer(const struct judging *j, size_t i)
{
	const struct modsig_signer *s = modsig_signer(j->sig, i);
	struct opinion o = { .verdict = VERDICT_UNSUPPORTED_SIGNATURE };
	enum answer known = kernel_knows(&j->rules, s->hash_nid, s->key_nid);
	X509 *leaf = modsig_embedded(j->sig, i);
	int err;

	if (s->has_attributes) {
		o.fatal = true;
		o.why = "with signed attributes, which no kernel accepts";
		return o;
	}
	if (leaf && trust_revokes(j->t, leaf)) {
		o.verdict = VERDICT_UNKNOWN;
		o.why = "the hash of whose certificate is in the revocation list";
		o.next = "sign it with another key";
		return o;
	}
	if (leaf && known != ANSWER_NO) {
		err = modsig_check(j->sig, i, leaf, j->bytes->data);
		if (!err)
			return judge_chain(j, i, leaf, known);
		if (err == -EKEYREJECTED) {
			o.verdict = VERDICT_TAMPERED;
			o.fatal = true;
			return o;
		}
	}
	o.cert = find_cert(j, i);
	if (!o.cert && known != ANSWER_NO)
		return judge_unseen(j, s->key_id, s->issuer);
	if (o.cert) {
		err = modsig_check(j->sig, i, o.cert->x509, j->bytes->data);
		if (err == -EKEYREJECTED) {
			o.verdict = VERDICT_TAMPERED;
			return o;
		}
		if (err == 0 && known != ANSWER_NO) {
			o.verdict = verdict_of_standing(
				trust_standing(j->t, o.cert, &j->rules,
					       j->running, &o.why));
			if (o.verdict == VERDICT_OK && known != ANSWER_YES) {
				bool sha1 = s->hash_nid == NID_sha1;

				o.verdict = VERDICT_UNKNOWN;
				o.why = sha1 ? "with SHA-1, which was taken out of "
					       "Linux 6.7 and put back later" :
					"with ECDSA, which is a module of that "
					"kernel or not in a configuration that "
					"can be read";
				o.next = sha1 ? "sign it with SHA-256: kmodkeep sign" :
						"sign it with an RSA key";
			}
			return o;
		}
	}
	o.why = "with an algorithm that this kernel does not know";
	return o;
}

/*
 * One trusted signer is enough, but a kernel refuses the module if any signer
 * that it knows does not fit or is revoked: the first of these found counts.
 */
static const enum verdict by_weight[] = {
	VERDICT_TAMPERED, VERDICT_REVOKED, VERDICT_OK,
	VERDICT_PENDING_ENROLMENT, VERDICT_UNKNOWN,
	VERDICT_UNSUPPORTED_SIGNATURE, VERDICT_UNTRUSTED_KEY,
};

static size_t weight(const struct opinion *o)
{
	size_t i = 0;

	if (o->fatal)
		return 0;
	while (i < ARRAY_SIZE(by_weight) && by_weight[i] != o->verdict)
		i++;
	return i + 1;
}

/* Is some key of this host enrolled, and so the one to sign with? */
static bool host_has_enrolled_key(const struct judging *j)
{
	const char *why;

	for (size_t i = 0; i < trust_certs(j->t); i++) {
		const struct trust_cert *c = trust_cert(j->t, i);

		if (c->from & CERT_HOST && c->from & CERT_MOK &&
		    trust_standing(j->t, c, &j->rules, j->running, &why) ==
		    STANDING_TRUSTED)
			return true;
	}
	return false;
}

/*
 * What to do about a key of this host that is not enrolled: whatever built the
 * module goes on signing with it, so it is that key that has to be enrolled,
 * unless the module can be signed with one that is.
 */
static int say_not_enrolled(struct judging *j, const struct opinion *o)
{
	const char *path = o->cert->path;
	bool other = host_has_enrolled_key(j), own = !path || strstr(path, KEY_DIR);
	bool again = enrol_request_declined(j->h, o->cert->x509);
	enum cause cause = other ? CAUSE_OTHER_KEY : CAUSE_NOT_ENROLLED;
	char *next, *step;
	int err;

	if (own && (other || !(again || firmware_without_shim(j->h))))
		return report_cause(j->r, o->verdict, cause, "signed by '%s', %s",
				    j->r->signer, o->why);
	step = firmware_enrol_step(j->h, own && again ? NULL : path, again);
	next = !step ? NULL :
	       text_of("enrol the key that signed it: %s%s", step, other ?
		       "; or sign it with this host's key that is enrolled: kmodkeep sign" :
		       "");
	free(step);
	err = next ? report_set(j->r, o->verdict, next, "signed by '%s', %s%s", j->r->signer, o->why,
				again ? ": it was asked for, and not confirmed at the boot menu" :
					"") : -ENOMEM;
	j->r->cause = cause;
	free(next);
	return err;
}

/* The signer, and the key that a chain of certificates leads to. */
static char *signer_text(const struct judging *j, const struct opinion *o)
{
	char *way = o->leaf && o->cert && !cert_same(o->leaf, o->cert->x509) ?
		    cert_name(o->cert->x509) : NULL;
	char *text = way ? text_of("%s' by way of '%s", j->r->signer, way) :
			   strdup(j->r->signer);

	free(way);
	return text;
}

static int say_signed_by(struct judging *j, const struct opinion *o,
			 const char *by)
{
	switch (o->verdict) {
	case VERDICT_OK:
		return report_set(j->r, o->verdict, NULL,
				  "signed by '%s', %s", by, o->why);
	case VERDICT_TAMPERED:
		return report_cause(j->r, o->verdict, CAUSE_DAMAGED,
				    "its content changed after '%s' signed it",
				  by);
	case VERDICT_PENDING_ENROLMENT:
		if (firmware_without_shim(j->h))
			return report_set(j->r, o->verdict, ENROL_WITHOUT_SHIM,
					  "signed by '%s', %s", by, o->why);
		return report_cause(j->r, o->verdict, CAUSE_PENDING,
				  "signed by '%s', %s", by, o->why);
	case VERDICT_REVOKED:
		return report_set(j->r, o->verdict,
				  "sign it with another key: kmodkeep sign",
				  "signed by '%s', %s", by, o->why);
	case VERDICT_UNTRUSTED_KEY:
		if (o->cert && o->cert->from & CERT_HOST &&
		    !(o->cert->from & CERT_MOK))
			return say_not_enrolled(j, o);
		if (!o->cert || !(o->cert->from & CERT_MOK))
			return report_cause(j->r, o->verdict, CAUSE_OTHER_KEY,
					    "signed by '%s', %s", by, o->why);
		return report_set(j->r, o->verdict,
				  j->rules.mok == ANSWER_NO ?
				  "boot a kernel of the distribution, or one "
				  "built with CONFIG_INTEGRITY_MACHINE_KEYRING" :
				  "turn Secure Boot on, or what demands "
				  "signatures off (module.sig_enforce, lockdown)",
				  "signed by '%s', %s", by, o->why);
	case VERDICT_UNSUPPORTED_SIGNATURE:
		return report_cause(j->r, o->verdict, CAUSE_SIGNATURE,
				  "signed by '%s' %s", by, o->why);
	default:
		return report_set(j->r, VERDICT_UNKNOWN, o->next ? o->next :
				  "ask again as root on the running host, or "
				  "name the certificate with --cert",
				  "signed by '%s', %s%s%s", by, o->why,
				  trust_gap(j->t) ? "; " : "",
				  trust_gap(j->t) ? trust_gap(j->t) : "");
	}
}

static int say_signer(struct judging *j, const struct opinion *o)
{
	char *by = signer_text(j, o);
	int err = by ? say_signed_by(j, o, by) : -ENOMEM;

	free(by);
	return err;
}

static bool is_final(enum verdict v)
{
	return v == VERDICT_TAMPERED || v == VERDICT_REVOKED;
}

/* Findings that a kernel acts on only where it demands a signature. */
static bool is_waived(const struct judging *j)
{
	switch (j->r->verdict) {
	case VERDICT_UNSIGNED:
	case VERDICT_UNTRUSTED_KEY:
	case VERDICT_PENDING_ENROLMENT:
		return j->demand == DEMAND_NO;
	case VERDICT_UNSUPPORTED_SIGNATURE:
		/* To the kernel as good as no signature at all. */
		return j->demand == DEMAND_NO && j->unknown_crypto;
	case VERDICT_UNKNOWN:
		return j->demand == DEMAND_NO && j->intact;
	default:
		return false;
	}
}

static int apply_demand(struct judging *j)
{
	char *was = j->r->message;
	enum verdict v = j->r->verdict;
	int err = 0;

	if (is_waived(j)) {
		j->r->message = NULL;
		j->r->waived = true;
		err = report_set(j->r, VERDICT_OK, NULL,
				 "%s; this host demands no signature (%s)",
				 was, host_secure_boot(j->h) == SB_NO_EFI ?
				 "no EFI here" : "Secure Boot is off");
		free(was);
	} else if (v == VERDICT_UNSIGNED && j->demand == DEMAND_UNKNOWN) {
		j->r->message = NULL;
		err = host_image(j->h) != IMAGE_NOT ?
		      report_set(j->r, VERDICT_UNKNOWN,
				 "sign it, and name the certificate with --cert; or, "
				 "with none where it boots, --no-secure-boot",
				 "%s; whether a signature is demanded where this "
				 "image boots is not known", was) :
		      report_set(j->r, VERDICT_UNKNOWN,
				 "ask again as root, with efivarfs mounted, and "
				 "without a request for MokManager about validation "
				 "(mokutil --sb-state)",
				 "%s; whether this host demands a signature is "
				 "not known", was);
		free(was);
	}
	return err;
}

/* Names the signers that did not decide, as while a key is changed. */
static int say_others(struct judging *j, size_t decided)
{
	for (size_t i = 0; i < modsig_signers(j->sig); i++) {
		const struct trust_cert *cert = find_cert(j, i);
		char *name = cert ? cert_name(cert->x509) : NULL;
		char *was = j->r->message;

		if (i != decided) {
			j->r->message = text_of("%s; also signed by '%s'", was,
					name ? name :
					modsig_signer(j->sig, i)->name);
			free(was);
		}
		free(name);
		if (!j->r->message)
			return -ENOMEM;
	}
	return 0;
}

/* ANSWER_UNVERIFIED: nobody's key is here who could have signed it. */
static enum answer is_whole(const struct judging *j, X509 *cert)
{
	const struct trust_cert *c;
	X509 *up;

	for (size_t i = 0; i < trust_certs(j->t); i++)
		if (!X509_cmp(trust_cert(j->t, i)->x509, cert))
			return ANSWER_YES;
	if (cert_names_itself(cert))
		return has_signed(j, 0, cert, cert) ? ANSWER_YES : ANSWER_NO;
	up = modsig_issuer(j->sig, cert);
	if (up && has_signed(j, 0, up, cert))
		return ANSWER_YES;
	c = known_cert(j, cert, true);
	return c && has_signed(j, 0, c->x509, cert) ? ANSWER_YES : ANSWER_UNVERIFIED;
}

/*
 * Kernels refuse a message with any certificate in it that they cannot read, or whose
 * signature of itself is wrong, needed or not.
 */
static int judge_certs(struct judging *j)
{
	for (size_t i = 0; i < modsig_certs(j->sig); i++) {
		X509 *cert = modsig_cert(j->sig, i);
		enum answer whole = is_whole(j, cert);
		char *name;
		int err = 0;

		if (whole == ANSWER_YES)
			continue;
		name = cert_name(cert);
		if (!name)
			return -ENOMEM;
		if (whole == ANSWER_NO)
			err = report_cause(j->r, VERDICT_TAMPERED, CAUSE_DAMAGED,
					   "the certificate of '%s' in its signature is damaged",
					   name);
		else if (j->r->verdict == VERDICT_OK && j->demand != DEMAND_NO)
			err = report_set(j->r, VERDICT_UNKNOWN,
					 "sign it again, without certificates: kmodkeep sign",
					 "the certificate of '%s' in its signature could not "
					 "be checked", name);
		free(name);
		if (err || whole == ANSWER_NO)
			return err;
	}
	return 0;
}

static int judge_signature(struct judging *j)
{
	struct opinion best = { .verdict = VERDICT_UNTRUSTED_KEY, .why = "" };
	size_t lightest = SIZE_MAX, decided = 0;
	int err;

	for (size_t i = 0; i < modsig_signers(j->sig); i++) {
		struct opinion o = judge_signer(j, i);

		if (weight(&o) >= lightest)
			continue;
		lightest = weight(&o);
		best = o;
		decided = i;
		free(j->r->signer);
		j->r->signer = strdup(modsig_signer(j->sig, i)->name);
		if (!j->r->signer)
			return -ENOMEM;
	}
	/* The subject says more than the issuer where it is known. */
	if (best.cert || best.leaf) {
		free(j->r->signer);
		j->r->signer = cert_name(best.leaf ? best.leaf : best.cert->x509);
		if (!j->r->signer)
			return -ENOMEM;
	}
	j->r->cert = best.cert;
	j->intact = best.cert || best.intact;
	j->unknown_crypto = !best.fatal;
	err = say_signer(j, &best);
	err = err ? err : say_others(j, decided);
	return err || is_final(j->r->verdict) ? err : judge_certs(j);
}

/* Revocation of one file, by the hash of all of it with its signature. */
static int judge_hash(struct judging *j)
{
	if (!trust_hash_listed(j->t, j->hash) ||
	    j->rules.mokx_hash == ANSWER_NO)
		return 0;
	return report_cause(j->r, j->rules.mokx_hash == ANSWER_YES ?
			  VERDICT_REVOKED : VERDICT_UNKNOWN, CAUSE_DAMAGED,
			  "the hash of this file is in the revocation list");
}

static int judge_trust(struct judging *j)
{
	struct modsig *sig = NULL;
	int err;

	err = modsig_parse(j->bytes->data, j->bytes->len, &sig);
	j->sig = sig;
	if (err == -ENODATA)
		err = report_cause(j->r, VERDICT_UNSIGNED, CAUSE_UNSIGNED, "no signature");
	else if (err == -EBADMSG)
		err = report_cause(j->r, VERDICT_TAMPERED, CAUSE_DAMAGED,
				 "its signature is damaged");
	else if (err == -ENOPKG)
		err = report_cause(j->r, VERDICT_UNSUPPORTED_SIGNATURE, CAUSE_SIGNATURE,
				 "a kind of signature that no kernel accepts");
	else if (!err)
		err = judge_signature(j);
	if (!err && j->r->verdict != VERDICT_TAMPERED)
		err = judge_hash(j);
	if (!err)
		err = apply_demand(j);
	modsig_free(sig);
	return err;
}

static int judge_kernel(struct judging *j)
{
	enum answer fits;
	char *why;
	int err = vermagic_fits(j->h, j->r->kernel, j->bytes, &j->r->info,
				&fits, &why);

	if (!err && fits == ANSWER_NO)
		err = report_cause(j->r, VERDICT_WRONG_KERNEL, CAUSE_WRONG_KERNEL, "%s", why);
	else if (!err && fits == ANSWER_UNVERIFIED &&
		 j->r->verdict == VERDICT_OK)
		err = report_set(j->r, VERDICT_UNKNOWN,
				 "install the headers of that kernel, and ask "
				 "again", "%s", why);
	free(why);
	return err;
}

static bool config_is_yes(const struct host *h, const char *kernel,
			  const char *name)
{
	char *value = host_kernel_config(h, kernel, name);
	bool yes = value && !strcmp(value, "y");

	free(value);
	return yes;
}

/* Something else than a module, or what is left of one. */
static int judge_other(const struct buf *bytes, struct report *r)
{
	bool elf = bytes->len >= SELFMAG &&
		   !memcmp(bytes->data, ELFMAG, SELFMAG);

	if (!bytes->len)
		return report_cause(r, VERDICT_TAMPERED, CAUSE_DAMAGED,
				  "an empty file");
	if (!elf)
		return report_cause(r, VERDICT_TAMPERED, CAUSE_DAMAGED,
				  "no kernel module: not an ELF file");
	return report_cause(r, VERDICT_TAMPERED, CAUSE_DAMAGED,
			  "no kernel module, or a damaged one: an ELF file "
			  "without a readable section .modinfo");
}

int verify_bytes(const struct host *h, const struct trust *t,
		 const struct buf *bytes, const char *kernel,
		 struct report *r)
{
	struct judging j = { .h = h, .t = t, .bytes = bytes, .r = r };
	char *built_for = NULL;
	int err;

	if (EVP_Digest(bytes->data, bytes->len, j.hash, NULL, EVP_sha256(),
		       NULL) != 1)
		return -ENOMEM;
	hex_encode(j.hash, sizeof(j.hash), r->sha256);
	err = modinfo_read(bytes->data, bytes->len, &r->info);
	if (err == -ENOEXEC)
		return judge_other(bytes, r);
	if (err)
		return err;
	built_for = modinfo_release(&r->info);
	if (!kernel && host_is_live(h))
		kernel = host_running_kernel(h);
	if (!kernel)
		kernel = built_for ? built_for : "";
	r->kernel = strdup(kernel);
	if (!r->kernel) {
		free(built_for);
		return -ENOMEM;
	}
	j.rules = rules_on(h, kernel);
	j.running = !strcmp(kernel, host_running_kernel(h));
	j.demand = trust_pinned(t) || config_is_yes(h, kernel, "CONFIG_MODULE_SIG_FORCE") ?
		   DEMAND_YES : host_demands_signature(h);
	err = judge_trust(&j);
	if (!err && !is_final(r->verdict))
		err = judge_kernel(&j);
	free(built_for);
	return err;
}

/*
 * Does this host's kmod unpack modules itself? Since version 31 (a library beyond
 * 2.4.0) it leaves that to a kernel that can; Debian 12 has 30. A library that is
 * not found is taken for a new one.
 */
static bool kmod_unpacks(const struct host *h)
{
	static const char *const places[] = {
		"/usr/lib/*/libkmod.so.2.*", "/usr/lib64/libkmod.so.2.*",
		"/usr/lib/libkmod.so.2.*", "/lib/*/libkmod.so.2.*",
	};
	bool old = false, new = false;

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		char *pattern = host_path(h, places[i]);
		glob_t found = { 0 };

		if (pattern && !glob(pattern, 0, NULL, &found))
			for (size_t n = 0; n < found.gl_pathc; n++) {
				int minor = 0, patch = 0;

				sscanf(strstr(found.gl_pathv[n], "libkmod.so.2."),
				       "libkmod.so.2.%3d.%3d", &minor, &patch);
				if (minor > 4 || (minor == 4 && patch > 0))
					new = true;
				else
					old = true;
			}
		globfree(&found);
		free(pattern);
	}
	return old && !new;
}

int verify_modfile(const struct host *h, const struct trust *t,
		   const struct modfile *m, const char *kernel,
		   struct report *r)
{
	int err;

	if (m->signed_outside)
		return report_cause(r, VERDICT_UNSUPPORTED_SIGNATURE, CAUSE_SIGNATURE,
				  "signed after it was compressed, so the "
				  "kernel sees no signature");
	err = verify_bytes(h, t, &m->bytes, kernel, r);
	if (!err && r->verdict == VERDICT_OK && m->kernel_refuses &&
	    config_is_yes(h, r->kernel, "CONFIG_MODULE_DECOMPRESS") &&
	    config_is_yes(h, r->kernel, "CONFIG_MODULE_COMPRESS_XZ") &&
	    !kmod_unpacks(h))
		err = report_cause(r, VERDICT_UNSUPPORTED_COMPRESSION, CAUSE_COMPRESSION,
				 "compressed with an integrity check that this "
				 "kernel, which unpacks modules itself, does not "
				 "know; it knows CRC32 only");
	return err;
}

int verify_unread(int err, struct report *r)
{
	if (err == -ENOENT || err == -ENOTDIR)
		return report_set(r, VERDICT_MISSING,
				  "look at its name; to ask about an installed "
				  "module: kmodkeep verify --module NAME",
				  "no such file");
	if (err == -EBADMSG || err == -EFBIG)
		return report_cause(r, VERDICT_TAMPERED, CAUSE_DAMAGED,
				  "damaged: cannot be decompressed");
	if (err == -EAGAIN)
		return report_set(r, VERDICT_UNKNOWN, "ask again", "it changed while it was read");
	return report_set(r, VERDICT_UNKNOWN, err == -EACCES ?
			  "ask again as root" : "look at its name",
			  "cannot be read: %s", strerror(-err));
}

int verify_file(const struct host *h, const struct trust *t, const char *path,
		const char *kernel, struct report *r)
{
	struct modfile m;
	int err = modfile_read(path, &m);

	if (err == -ENOMEM)
		return err;
	if (err)
		return verify_unread(err, r);
	err = verify_modfile(h, t, &m, kernel, r);
	modfile_free(&m);
	return err;
}
