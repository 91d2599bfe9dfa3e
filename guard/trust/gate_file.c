// SPDX-License-Identifier: GPL-2.0-or-later
/* Checks the signature of a fleet's gate file, and takes its text apart. */
#include "guard/trust/gate_file.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
/* Behind pem.h, or it declares less. */
#include <openssl/cms.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define FIRST_LINE "kmodkeep-gate 1"
#define BEGIN_CMS "-----BEGIN CMS-----"
#define AHEAD 300		/* seconds that another clock may be ahead */
#define NAME_MAX_LEN 64
#define PACKAGES_MAX 4096
/* For PEM that says it is encrypted: else OpenSSL asks at the terminal, and waits. */
#define NO_PASSWORD ((void *)"")

void gate_file_free(struct gate_file *g)
{
	free(g->rollout);
	free(g->packages);
	memset(g, 0, sizeof(*g));
}

void gate_refusal_free(struct gate_refusal *r)
{
	free(r->why);
	memset(r, 0, sizeof(*r));
}

static int refuse(struct gate_refusal *r, const char *word, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct gate_refusal *r, const char *word, const char *fmt, ...)
{
	va_list args;

	r->word = word;
	va_start(args, fmt);
	if (vasprintf(&r->why, fmt, args) < 0)
		r->why = NULL;
	va_end(args);
	return -EBADMSG;
}

/* ---- the signature */

static STACK_OF(X509) *read_certs(const void *pem, size_t len)
{
	STACK_OF(X509) *list = sk_X509_new_null();
	BIO *bio = BIO_new_mem_buf(pem, len);
	X509 *cert;

	while (list && bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NO_PASSWORD)))
		if (!sk_X509_push(list, cert))
			X509_free(cert);
	BIO_free(bio);
	ERR_clear_error();
	return list;
}

/* Is one who signed out of its time? The name of nobody else counts. */
static int check_signers(CMS_ContentInfo *cms, time_t now,
			 struct gate_refusal *r)
{
	STACK_OF(X509) *signers = CMS_get0_signers(cms);
	int err = 0;

	for (int i = 0; !err && i < sk_X509_num(signers); i++) {
		X509 *cert = sk_X509_value(signers, i);

		if (X509_cmp_time(X509_get0_notAfter(cert), &now) != 1)
			err = refuse(r, "certificate-expired",
				     "the certificate that signed it has expired. Next: give this host the new one");
		else if (X509_cmp_time(X509_get0_notBefore(cert), &now) != -1)
			err = refuse(r, "certificate-not-yet",
				     "the certificate that signed it is not valid yet: is this host's clock wrong?");
	}
	sk_X509_free(signers);
	return err;
}

/* The text that was signed goes to out. No certificate out of the file itself counts. */
static int check_cms(CMS_ContentInfo *cms, STACK_OF(X509) *certs, time_t now,
		     BIO *out, struct gate_refusal *r)
{
	if (CMS_verify(cms, certs, NULL, NULL, out, CMS_BINARY | CMS_NOINTERN |
		       CMS_NO_SIGNER_CERT_VERIFY) != 1)
		return refuse(r, "wrong-key",
			      "no certificate of this host has signed it, or it was changed since");
	return check_signers(cms, now, r);
}

static int check_signature(const void *data, size_t len,
			   STACK_OF(X509) *certs, time_t now, BIO *out,
			   struct gate_refusal *r)
{
	BIO *in = BIO_new_mem_buf(data, len);
	CMS_ContentInfo *cms = in ? PEM_read_bio_CMS(in, NULL, NULL, NO_PASSWORD) :
				    NULL;
	int err;

	if (!in)
		err = -ENOMEM;
	else if (cms)
		err = check_cms(cms, certs, now, out, r);
	else if (memmem(data, len, BEGIN_CMS, strlen(BEGIN_CMS)))
		err = refuse(r, "cut", "it is cut or damaged");
	else
		err = refuse(r, "unsigned", "it is not signed");
	CMS_ContentInfo_free(cms);
	BIO_free(in);
	ERR_clear_error();
	return err;
}

/* ---- the text */

static bool set_number(const char *value, long long max, long long *out)
{
	size_t len = strspn(value, "0123456789");

	if (!len || len > 12 || value[len])
		return false;
	*out = strtoll(value, NULL, 10);
	return *out <= max;
}

static bool is_name(const char *s, size_t len, const char *others)
{
	if (!len || !isalnum((unsigned char)*s))
		return false;
	for (size_t i = 0; i < len; i++)
		if (!isalnum((unsigned char)s[i]) && !strchr(others, s[i]))
			return false;
	return true;
}

/* apt takes "NAME-" for the wish to remove it; no option begins a name either. */
static bool are_packages(const char *s)
{
	for (;;) {
		size_t len = strcspn(s, " ="), more;

		if (!is_name(s, len, "+-._:") || s[len - 1] == '-')
			return false;
		s += len;
		if (*s == '=') {
			more = strcspn(++s, " ");
			if (!is_name(s, more, "+-.~:"))
				return false;
			s += more;
		}
		if (!*s++)
			return true;
	}
}

static bool set_decision(struct gate_file *g, const char *value)
{
	static const char *const words[] = { "go-on", "stop", "go-back" };

	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (!strcmp(value, words[i])) {
			g->decision = i;
			return true;
		}
	return false;
}

static bool set_text(char **field, const char *value)
{
	*field = strdup(value);
	return *field;
}

static bool set(struct gate_file *g, int key, const char *value)
{
	long long share;

	switch (key) {
	case 0: return strlen(value) <= NAME_MAX_LEN &&
		       is_name(value, strlen(value), "-._") &&
		       set_text(&g->rollout, value);
	case 1: return set_number(value, 1LL << 38, &g->issued);
	case 2: return set_number(value, 1LL << 38, &g->expires);
	case 3: if (!set_number(value, GATE_SHARE_ALL, &share))
			return false;
		g->share = share;
		return true;
	case 4: return set_decision(g, value);
	default: return strlen(value) <= PACKAGES_MAX && are_packages(value) &&
			set_text(&g->packages, value);
	}
}

/* Every line once, and no other: what is not known here may matter. */
static int parse(struct gate_file *g, char *text, struct gate_refusal *r)
{
	static const char *const keys[] = {
		"rollout", "issued", "expires", "share", "decision", "packages",
	};
	unsigned int seen = 0, i;
	char *line = strsep(&text, "\n");

	if (strcmp(line, FIRST_LINE))
		return refuse(r, "other-schema",
			      "it does not begin with '" FIRST_LINE "'. Next: bring kmodkeep to the version of those who publish it");
	/* The last one ends with a newline. */
	while ((line = strsep(&text, "\n")) && (*line || text)) {
		char *value = strstr(line, " = ");

		if (value)
			*value = '\0';
		for (i = 0; i < ARRAY_SIZE(keys) && strcmp(line, keys[i]); i++)
			;
		if (!value || i == ARRAY_SIZE(keys) || seen & 1u << i ||
		    !set(g, i, value + 3)) {
			make_printable(line);
			return refuse(r, "malformed", "its line '%.40s' makes no sense", line);
		}
		seen |= 1u << i;
	}
	if (seen != (1u << ARRAY_SIZE(keys)) - 1)
		return refuse(r, "malformed", "it lacks a line");
	return 0;
}

static int check_times(const struct gate_file *g, time_t now,
		       struct gate_refusal *r)
{
	if (g->issued > now + AHEAD)
		return refuse(r, "from-the-future",
			      "it was made %lld seconds from now: is this host's clock wrong, or theirs?",
			      g->issued - now);
	if (g->expires <= now)
		return refuse(r, "expired",
			      "it expired %lld seconds ago. Next: see why there is no newer one, and this host's clock",
			      now - g->expires);
	return 0;
}

static int read_text(BIO *bio, time_t now, struct gate_file *g,
		     struct gate_refusal *r)
{
	char *data, *text;
	long len = BIO_get_mem_data(bio, &data);
	int err;

	if (len <= 0 || len > (long)GATE_FILE_MAX || memchr(data, '\0', len))
		return refuse(r, "malformed", "it is no text");
	text = strndup(data, len);
	if (!text)
		return -ENOMEM;
	err = parse(g, text, r);
	if (!err)
		err = check_times(g, now, r);
	free(text);
	return err;
}

int gate_file_open(const void *data, size_t len, const void *certs,
		   size_t certs_len, time_t now, struct gate_file *out,
		   struct gate_refusal *refusal)
{
	STACK_OF(X509) *list = read_certs(certs, certs_len);
	BIO *text = BIO_new(BIO_s_mem());
	int err = list && text ? 0 : -ENOMEM;

	memset(out, 0, sizeof(*out));
	memset(refusal, 0, sizeof(*refusal));
	if (!err && !sk_X509_num(list))
		err = refuse(refusal, "no-certificate",
			     "this host has no certificate to check it with");
	if (!err)
		err = check_signature(data, len, list, now, text, refusal);
	if (!err)
		err = read_text(text, now, out, refusal);
	if (err)
		gate_file_free(out);
	BIO_free(text);
	sk_X509_pop_free(list, X509_free);
	return err;
}

int gate_ring(const char *rollout, const char *machine)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	char *text = text_of("kmodkeep ring %s %s", rollout, machine);
	unsigned int len = 0;
	int ring = -1;

	if (text && EVP_Digest(text, strlen(text), hash, &len, EVP_sha256(),
			       NULL) == 1)
		ring = ((unsigned int)hash[0] << 24 | hash[1] << 16 |
			hash[2] << 8 | hash[3]) % GATE_SHARE_ALL;
	free(text);
	return ring;
}
