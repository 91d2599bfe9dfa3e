// SPDX-License-Identifier: GPL-2.0-or-later
/* Counts the signers of a file that a policy wants, and looks them up in logs. */
#include "guard/verdict/signers.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "guard/module/modsig.h"
#include "guard/trust/cert.h"

#if OPENSSL_VERSION_NUMBER < 0x30000000L
#define EVP_PKEY_eq EVP_PKEY_cmp
#endif

int signers_add_cert(struct signers *s, const char *path)
{
	int err;

	if (s->count == ARRAY_SIZE(s->certs))
		return -E2BIG;
	err = cert_read(path, &s->certs[s->count]);
	if (!err)
		s->count++;
	return err;
}

int signers_add_log(struct signers *s, const char *path, char **why)
{
	int err;

	*why = NULL;
	if (s->log_count == ARRAY_SIZE(s->logs))
		return -E2BIG;
	err = signlog_read(path, &s->logs[s->log_count], why);
	if (!err)
		s->log_count++;
	return err;
}

void signers_free(struct signers *s)
{
	for (size_t i = 0; i < s->count; i++)
		X509_free(s->certs[i]);
	for (size_t i = 0; i < s->log_count; i++)
		signlog_free(&s->logs[i]);
	free(s->unread);
	memset(s, 0, sizeof(*s));
}

/* Not known is neither signed nor not signed as required. */
static int unread(struct signers *s, char *why)
{
	s->unread = why;
	return why ? 0 : -ENOMEM;
}

int signers_of_host(const struct host *h, struct signers *s)
{
	struct signing_conf c;
	unsigned int line;
	int err = signing_policy_read(h, &c, &line);

	if (err == -ENOMEM)
		return err;
	if (err == -EINVAL && !line)
		return unread(s, strdup(SIGNING_CONF ": require_signers is more than there "
					"are signers, or not there"));
	if (err == -EINVAL)
		return unread(s, text_of(SIGNING_CONF ", line %u: not as it may be", line));
	if (err)
		return unread(s, text_of(SIGNING_CONF ": %s", strerror(-err)));
	s->required = c.required;
	for (size_t i = 0; i < c.signer_count && !err && !s->unread; i++) {
		char *path = host_path(h, c.signers[i]);

		err = path ? signers_add_cert(s, path) : -ENOMEM;
		if (err && err != -ENOMEM)
			err = unread(s, text_of(SIGNING_CONF ": the certificate %s cannot be "
						"read: %s", path, err == -EBADMSG ?
						"it is none" : strerror(-err)));
		free(path);
	}
	signing_conf_free(&c);
	return err;
}

/* The file's bytes, if they are still those that were judged. */
static int read_same(const char *path, const struct report *r, struct modfile *m)
{
	unsigned char hash[32];
	char hex[65];
	int err = modfile_read(path, m);

	if (err)
		return err;
	if (EVP_Digest(m->bytes.data, m->bytes.len, hash, NULL, EVP_sha256(),
		       NULL) != 1)
		err = -ENOMEM;
	hex_encode(hash, sizeof(hash), hex);
	if (!err && strcmp(hex, r->sha256))
		err = -ESTALE;
	if (err)
		modfile_free(m);
	return err;
}

static bool has_signed(const struct modsig *sig, X509 *cert, const struct buf *bytes)
{
	for (size_t i = 0; i < modsig_signers(sig); i++)
		if (modsig_names(sig, i, cert) &&
		    !modsig_signer(sig, i)->has_attributes &&
		    !modsig_check(sig, i, cert, bytes->data))
			return true;
	return false;
}

static bool same_key(X509 *a, X509 *b)
{
	unsigned char one[EVP_MAX_MD_SIZE], other[EVP_MAX_MD_SIZE];
	unsigned int n, m;

	/* A point of a curve can be written in two ways. -2: cannot be compared. */
	int same = EVP_PKEY_eq(X509_get0_pubkey(a), X509_get0_pubkey(b));

	/* What cannot be told apart counts once. */
	return same == 1 || same == -2 ||
	       X509_pubkey_digest(a, EVP_sha256(), one, &n) != 1 ||
	       X509_pubkey_digest(b, EVP_sha256(), other, &m) != 1 ||
	       (n == m && !memcmp(one, other, n));
}

/* Two certificates on one key are one signer. */
static bool is_new_key(const struct signers *s, size_t i, const bool *counted)
{
	for (size_t k = 0; k < i; k++)
		if (counted[k] && same_key(s->certs[k], s->certs[i]))
			return false;
	return true;
}

static int say(struct report *r, const char *next, char *why)
{
	int err = why ? report_set(r, VERDICT_UNTRUSTED_KEY, next, "%s", why) :
			-ENOMEM;

	free(why);
	r->cause = CAUSE_NONE;
	r->cert = NULL;
	return err;
}

static int check_count(const struct signers *s, const struct modsig *sig,
		       const struct buf *bytes, struct report *r)
{
	bool counted[SIGNERS_REQUIRED_MAX] = { false };
	char *missing = NULL;
	size_t have = 0;
	int err;

	for (size_t i = 0; i < s->count; i++) {
		char *was = missing, *name;

		if (sig && has_signed(sig, s->certs[i], bytes)) {
			counted[i] = is_new_key(s, i, counted);
			have += counted[i];
			continue;
		}
		name = cert_name(s->certs[i]);
		missing = text_of("%s%s'%s'", was ? was : "", was ? ", " : "",
				  name ? name : "?");
		free(was);
		free(name);
	}
	if (have >= s->required) {
		free(missing);
		return 1;
	}
	err = say(r, "have it signed by those who have not, and join the signatures: "
		  "kmodkeep manifest join",
		  text_of("signed by %zu of the %zu signers that are required, %s%s", have,
			  s->required, missing ? "not by " : "since two have one key",
			  missing ? missing : ""));
	free(missing);
	return err;
}

static int check_logs(const struct signers *s, const struct modsig *sig,
		      const struct buf *bytes, struct report *r)
{
	unsigned char hash[32];
	char content[65], signature[65];

	if (!sig)
		return say(r, "have it signed: kmodkeep manifest sign",
			   strdup("no signature, so no line of a log is about it"));
	if (EVP_Digest(bytes->data, modsig_content_len(sig), hash, NULL, EVP_sha256(),
		       NULL) != 1)
		return -ENOMEM;
	hex_encode(hash, sizeof(hash), content);
	for (size_t i = 0; i < modsig_signers(sig); i++) {
		bool found = false;

		modsig_value_sha256(sig, i, signature);
		for (size_t l = 0; l < s->log_count && !found; l++)
			found = signlog_has(&s->logs[l], content, signature);
		if (!found)
			return say(r, "find out who signed it, and how",
				   text_of("the signature by '%s' is in no log that was "
					   "given", modsig_signer(sig, i)->name));
	}
	return 1;
}

int signers_check_modfile(const struct signers *s, const struct modfile *m,
			  struct report *r)
{
	struct modsig *sig = NULL;
	int ret = 0;

	if (s->unread)
		return report_set(r, VERDICT_UNKNOWN, "correct it, or ask again as root",
				  "who must have signed it is not known: %s", s->unread);
	/* A signature behind a compressed file is none to kernels. */
	if (!m->signed_outside)
		ret = modsig_parse(m->bytes.data, m->bytes.len, &sig);
	if (ret != -ENOMEM)
		ret = s->required ? check_count(s, sig, &m->bytes, r) : 1;
	if (ret == 1 && s->log_count)
		ret = check_logs(s, sig, &m->bytes, r);
	modsig_free(sig);
	return ret;
}

int signers_check(const struct signers *s, const char *path, struct report *r)
{
	struct modfile m;
	int ret;

	if (!s->required && !s->log_count && !s->unread)
		return 1;
	ret = path ? read_same(path, r, &m) : -ENOENT;
	if (ret == -ENOMEM)
		return ret;
	if (ret)
		return report_set(r, VERDICT_UNKNOWN, "ask again", "who signed it could "
				  "not be read: %s", ret == -ESTALE ?
				  "it was changed meanwhile" : strerror(-ret));
	ret = signers_check_modfile(s, &m, r);
	modfile_free(&m);
	return ret;
}
