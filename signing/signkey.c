// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds the key pair of the host and refuses one that must not be used. */
#include "signing/signkey.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/util.h"
#include "guard/trust/cert.h"
#include "guard/trust/signing_conf.h"
#include "guard/trust/trust.h"
#include "signing/token.h"

/* Those of key_places, dkms's own, and an end. */
#define PLACES_MAX 8

static int make(const char *origin, char *key, char *cert,
		struct signkey **out)
{
	struct signkey *k = calloc(1, sizeof(*k));

	if (!k || !key || !cert) {
		free(k);
		free(key);
		free(cert);
		return -ENOMEM;
	}
	k->origin = origin;
	k->key_path = key;
	k->cert_path = cert;
	*out = k;
	return 0;
}

/* A dangling link counts as there: it must be refused, not passed over. */
static int present(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0)
		return 1;
	return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
}

int signkey_at(const struct host *h, const struct key_place *p,
	       struct signkey **out)
{
	char *key = token_is(p->key) ? strdup(p->key) : host_path(h, p->key);
	char *cert = host_path(h, p->cert);
	int k, c;

	if (!key || !cert) {
		free(key);
		free(cert);
		return -ENOMEM;
	}
	c = present(cert);
	k = token_is(key) ? c : present(key);
	if (k > 0 || c > 0)
		return make(p->origin, key, cert, out);
	free(key);
	free(cert);
	return k < 0 ? k : c < 0 ? c : -ENOENT;
}

/* 1: what lies there can sign and is enrolled; 0: not; or -ENOMEM. */
static int is_enrolled(const struct host *h, const struct trust *t,
		       const struct key_place *p)
{
	struct kernel_rules rules = rules_for(host_running_kernel(h));
	const struct trust_cert *cert;
	struct signkey *k = NULL;
	int err = signkey_at(h, p, &k);

	if (!err)
		err = signkey_load(h, k);
	if (!err) {
		cert = trust_find(t, k->cert);
		err = cert && trust_enrolled(t, cert, &rules);
	}
	signkey_free(k);
	return err < 0 && err != -ENOMEM ? 0 : err;
}

static int refuse(struct signkey *k, const char *next, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static int refuse(struct signkey *k, const char *next, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&k->problem, fmt, ap) < 0)
		k->problem = NULL;
	va_end(ap);
	k->next_step = strdup(next);
	return k->problem && k->next_step ? -EKEYREJECTED : -ENOMEM;
}

/* The key of signing.conf: -ENOENT: it names none. */
static int from_conf(const struct host *h, struct signkey **out)
{
	struct signing_conf c;
	unsigned int line;
	int err = signing_conf_read(h, &c, &line);
	char *cert;

	if (err == -EINVAL) {
		err = make("token", strdup(TOKEN_SCHEME), strdup(""), out);
		return err ? err : line ?
		       refuse(*out, "correct it; kmodkeep(8) says how",
			      SIGNING_CONF ", line %u: none of \"key\", "
			      "\"certificate\", \"pin_file\", "
			      "\"require_signers\" and \"signer\", or not the "
			      "value of one", line) :
		       refuse(*out, "add it", SIGNING_CONF " has no key or no "
			      "certificate");
	}
	if (err)
		return err;
	cert = host_path(h, c.certificate);
	err = make("token", c.key, cert, out);
	c.key = NULL;
	if (!err && c.pin_file) {
		(*out)->pin_file = host_path(h, c.pin_file);
		err = (*out)->pin_file ? 0 : -ENOMEM;
	}
	signing_conf_free(&c);
	return err;
}

static int find_in(const struct host *h, const struct trust *t,
		   const struct key_place *const *places, struct signkey **out)
{
	const struct key_place *const *p;
	int ret;

	for (p = places; t && *p; p++) {
		ret = is_enrolled(h, t, *p);
		if (ret)
			return ret < 0 ? ret : signkey_at(h, *p, out);
	}
	for (p = places; *p; p++) {
		ret = signkey_at(h, *p, out);
		if (ret != -ENOENT)
			return ret;
	}
	return -ENOENT;
}

int signkey_find(const struct host *h, const struct trust *t,
		 struct signkey **out)
{
	const struct key_place *places[PLACES_MAX] = { NULL };
	struct key_place of_dkms;
	struct dkms_pair pair;
	size_t n = 0;
	int ret;

	ret = from_conf(h, out);
	if (ret == -EKEYREJECTED)
		return 0;	/* problem says why; signkey_load() gives it */
	if (ret != -ENOENT)
		return ret;
	ret = dkms_pair_read(h, &pair);
	if (ret)
		return ret;
	/* What dkms signs with goes before places where it no longer looks. */
	of_dkms = (struct key_place){ pair.origin, pair.key, pair.cert };
	for (const struct key_place *p = key_places; p->cert; p++) {
		if (strcmp(p->origin, "own") && n && !strcmp(places[n - 1]->origin, "own"))
			places[n++] = &of_dkms;
		places[n++] = p;
	}
	ret = find_in(h, t, places, out);
	dkms_pair_free(&pair);
	return ret;
}

int signkey_given(const char *key, const char *cert, const char *pin_file,
		  struct signkey **out)
{
	int err = make("given", strdup(key), strdup(cert), out);

	if (!err && pin_file) {
		(*out)->pin_file = strdup(pin_file);
		err = (*out)->pin_file ? 0 : -ENOMEM;
	}
	return err;
}

void signkey_free(struct signkey *k)
{
	if (!k)
		return;
	X509_free(k->cert);
	EVP_PKEY_free(k->key);
	free(k->key_path);
	free(k->cert_path);
	free(k->pin_file);
	free(k->problem);
	free(k->next_step);
	free(k);
}

static int refuse_file(struct signkey *k, const char *path, int err)
{
	if (err == -EACCES || err == -EPERM)
		return -EACCES;
	if (err == -ENOENT)
		return refuse(k, "restore the missing half from a backup, or "
			      "move the other one away and run: "
			      "kmodkeep key create",
			      "%s is missing: half a key pair", path);
	if (err == -ELOOP)
		return refuse(k, "put the file itself there, not a link to it",
			      "%s is a symbolic link", path);
	return refuse(k, "look at the file; kmodkeep leaves it alone",
		      "%s: %s", path, strerror(-err));
}

/* Owner, mode and kind of the open file, so that no swap can come between. */
static int check_private(struct signkey *k, int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return refuse(k, "put a plain file there",
			      "%s is not a plain file", k->key_path);
	if (st.st_mode & 077)
		return refuse(k, "chmod 600 it, and think about who may have "
			      "copied it: a new key is safer",
			      "%s can be read or written by group or others "
			      "(mode %04o)", k->key_path,
			      (unsigned int)st.st_mode & 07777);
	if (st.st_uid != geteuid() && st.st_uid != 0)
		return refuse(k, "chown it to root",
			      "%s belongs to user %u, not to root",
			      k->key_path, (unsigned int)st.st_uid);
	return 0;
}

/* Never asks on a terminal: signing runs from package scripts. */
static int no_passphrase(char *buf, int size, int rwflag, void *asked)
{
	(void)buf;
	(void)size;
	(void)rwflag;
	*(bool *)asked = true;
	return -1;
}

static int load_key(struct signkey *k)
{
	bool asked = false;
	FILE *f;
	int fd, err;

	fd = open(k->key_path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return refuse_file(k, k->key_path, -errno);
	err = check_private(k, fd);
	if (err) {
		close(fd);
		return err;
	}
	f = fdopen(fd, "r");
	if (!f) {
		err = -errno;
		close(fd);
		return err;
	}
	k->key = PEM_read_PrivateKey(f, NULL, no_passphrase, &asked);
	fclose(f);
	ERR_clear_error();
	if (k->key)
		return 0;
	if (asked)
		return refuse(k, "name another key with --key and --cert; "
			      "kmodkeep signs unattended and cannot ask",
			      "%s is protected by a passphrase", k->key_path);
	return refuse(k, "restore it from a backup",
		      "%s is not a private key in PEM form", k->key_path);
}

static int load_token(const struct host *h, struct signkey *k)
{
	char *dir = host_path(h, "/run/kmodkeep");
	char *refused = dir ? text_of("%s/token-refused", dir) : NULL;
	int err = -ENOMEM;

	if (refused) {
		mkdir(dir, 0755);
		err = token_load(k->key_path, k->pin_file, refused, &k->key,
				 &k->problem, &k->next_step);
	}
	free(refused);
	free(dir);
	return err;
}

static int load_cert(struct signkey *k)
{
	int err = cert_read(k->cert_path, &k->cert);

	if (err == -EBADMSG)
		return refuse(k, "restore it from a backup",
			      "%s is not a certificate", k->cert_path);
	return err ? refuse_file(k, k->cert_path, err) : 0;
}

/* A cloned disk must not sign with the key of the machine it came from. */
static int check_machine(const struct host *h, struct signkey *k)
{
	const char *slash = strrchr(k->key_path, '/');
	char *dir = strndup(k->key_path, slash - k->key_path);
	char *file = dir ? text_of("%s/machine-id", dir) : NULL;
	char *recorded = NULL, *here = host_machine_id(h), *next = NULL;
	int err = 0;

	if (!file) {
		err = -ENOMEM;
	} else if (file_read_line(file, &recorded)) {
		recorded = NULL;
		next = text_of("if this key was made on this host: "
			       "cp /etc/machine-id %s/", dir);
		err = refuse(k, next ? next : "",
			     "%s has no record of the machine it belongs to "
			     "(%s)", k->key_path, file);
	} else if (!here || strcmp(recorded, here)) {
		next = text_of("move %s away and run: kmodkeep key create", dir);
		err = refuse(k, next ? next : "",
			     "%s was made on another machine (is this a cloned "
			     "disk?)", k->key_path);
	}
	free(next);
	free(recorded);
	free(here);
	free(file);
	free(dir);
	return err;
}

int signkey_cert_only(const char *cert, struct signkey **out)
{
	struct signkey *k;
	int err = make("given", strdup(""), strdup(cert), &k);

	if (err)
		return err;
	*out = k;
	err = cert_read(cert, &k->cert);
	if (err == -EBADMSG)
		err = refuse(k, "name the file of a certificate, in DER or PEM "
			     "form", "%s is not a certificate", cert);
	else if (err && err != -ENOMEM)
		err = refuse(k, "look at its name", "%s: %s", cert,
			     strerror(-err));
	return err;
}

int signkey_load(const struct host *h, struct signkey *k)
{
	int err;

	if (k->problem)
		return -EKEYREJECTED;
	/* The certificate first: a user who may not read the key may read that. */
	err = load_cert(k);
	if (!err)
		err = token_is(k->key_path) ? load_token(h, k) : load_key(k);
	if (err)
		return err;
	if (X509_check_private_key(k->cert, k->key) != 1) {
		ERR_clear_error();
		return refuse(k, "put the certificate that belongs to the key "
			      "beside it",
			      "%s and %s do not belong together", k->key_path,
			      k->cert_path);
	}
	return strcmp(k->origin, "own") ? 0 : check_machine(h, k);
}
