// SPDX-License-Identifier: GPL-2.0-or-later
/* The record and the steps of a change of the signing key. */
#include "signing/rotation.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/json.h"
#include "guard/base/parallel.h"
#include "guard/base/util.h"
#include "signing/newkey.h"

#define SCHEMA 1
#define CERT_MAX 16384

static const char *const words[] = { "none", "both", "new", "back" };

static const struct key_place own = {
	"own", KEY_DIR "/signing.key", KEY_DIR "/signing.der"
};
static const struct key_place next_place = {
	"own", NEXT_KEY_DIR "/signing.key", NEXT_KEY_DIR "/signing.der"
};
static const struct key_place old_place = {
	"own", OLD_KEY_DIR "/signing.key", OLD_KEY_DIR "/signing.der"
};

const char *rotation_word(enum rotation_phase p)
{
	return words[p];
}

static void sha256_of(X509 *cert, char hex[65])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	unsigned int len = 0;

	hex[0] = '\0';
	if (X509_digest(cert, EVP_sha256(), hash, &len) == 1)
		hex_encode(hash, len, hex);
}

static X509 *cert_from_hex(const char *hex)
{
	size_t len = strlen(hex) / 2;
	unsigned char der[CERT_MAX];
	const unsigned char *p = der;
	X509 *cert;

	if (!len || len > sizeof(der))
		return NULL;
	for (size_t i = 0; i < len; i++) {
		unsigned int byte;

		if (sscanf(hex + 2 * i, "%2x", &byte) != 1)
			return NULL;
		der[i] = byte;
	}
	cert = d2i_X509(NULL, &p, len);
	ERR_clear_error();
	return cert;
}

static char *cert_to_hex(X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	char *hex = len > 0 ? malloc(2 * (size_t)len + 1) : NULL;

	if (hex)
		hex_encode(der, len, hex);
	OPENSSL_free(der);
	return hex;
}

static bool has_fingerprint(const struct signkey *k, const char *sha256)
{
	char hex[65];

	if (!k || !k->cert)
		return false;
	sha256_of(k->cert, hex);
	return !strcmp(hex, sha256);
}

/* The pair of a place, if its certificate is this one; problem may be set. */
static int pair_at(const struct host *h, const struct key_place *p,
		   const char *sha256, struct signkey **out)
{
	int err = signkey_at(h, p, out);

	if (err)
		return err == -ENOENT || err == -EACCES ? 0 : err;
	err = signkey_load(h, *out);
	if (err == -ENOMEM || !has_fingerprint(*out, sha256)) {
		signkey_free(*out);
		*out = NULL;
	}
	return err == -ENOMEM ? err : 0;
}

/* The first of these places that has it. */
static int find_pair(const struct host *h, const struct key_place *const *places,
		     const char *sha256, struct signkey **out)
{
	int err = 0;

	for (; !err && !*out && *places; places++)
		err = pair_at(h, *places, sha256, out);
	return err;
}

static int find_pairs(struct rotation *r)
{
	static const struct key_place *const new_places[] = {
		&next_place, &own, NULL
	};
	const struct key_place *old_places[] = { &own, &old_place, NULL, NULL };
	struct key_place of_dkms;
	struct dkms_pair pair;
	char sha256[65];
	int err = dkms_pair_read(r->h, &pair);

	if (err)
		return err;
	of_dkms = (struct key_place){ pair.origin, pair.key, pair.cert };
	if (strcmp(r->old_origin, "own"))
		old_places[2] = &of_dkms;
	for (const struct key_place *p = key_places; p->cert; p++)
		if (strcmp(p->origin, "own") &&
		    !strcmp(p->origin, r->old_origin))
			old_places[0] = p;
	sha256_of(r->old_cert, sha256);
	err = find_pair(r->h, old_places, sha256, &r->old_pair);
	dkms_pair_free(&pair);
	if (!err)
		err = find_pair(r->h, new_places, r->new_sha256, &r->new_pair);
	if (!err && r->new_pair) {
		r->new_cert = r->new_pair->cert;
		X509_up_ref(r->new_cert);
	}
	return err;
}

static int parse(struct rotation *r, struct json_object *doc)
{
	const char *phase = json_string(doc, "phase");
	const char *cert = json_string(doc, "old_certificate");
	const char *origin = json_string(doc, "old_origin");
	const char *started = json_string(doc, "started");
	const char *sha256 = json_string(doc, "new_fingerprint");

	if (json_int(doc, "schema") != SCHEMA || !phase || !cert || !origin ||
	    !sha256 || strlen(sha256) != 64)
		return -EBADMSG;
	for (size_t i = 1; i < ARRAY_SIZE(words); i++)
		if (!strcmp(words[i], phase))
			r->phase = i;
	r->old_cert = cert_from_hex(cert);
	if (r->phase == ROTATION_NONE || !r->old_cert)
		return -EBADMSG;
	snprintf(r->new_sha256, sizeof(r->new_sha256), "%s", sha256);
	r->old_origin = strdup(origin);
	r->started = strdup(started ? started : "");
	return r->old_origin && r->started ? 0 : -ENOMEM;
}

int rotation_read(const struct host *h, struct rotation *r)
{
	char *path = host_path(h, ROTATION_RECORD);
	struct json_object *doc;
	struct stat st;
	int err = 0;

	memset(r, 0, sizeof(*r));
	r->h = h;
	if (!path)
		return -ENOMEM;
	if (lstat(path, &st) < 0) {
		err = errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
		free(path);
		return err;
	}
	doc = json_read(path);
	free(path);
	err = doc ? parse(r, doc) : -EBADMSG;
	json_object_put(doc);
	if (!err)
		err = find_pairs(r);
	if (err)
		rotation_free(r);
	return err;
}

void rotation_free(struct rotation *r)
{
	free(r->old_origin);
	free(r->started);
	X509_free(r->old_cert);
	X509_free(r->new_cert);
	signkey_free(r->old_pair);
	signkey_free(r->new_pair);
	memset(r, 0, sizeof(*r));
}

int rotation_write(struct rotation *r, enum rotation_phase phase)
{
	char *path = host_path(r->h, ROTATION_RECORD);
	char *cert = cert_to_hex(r->old_cert);
	struct json_object *doc = json_object_new_object();
	int err = -ENOMEM;

	if (path && cert && doc) {
		const char *text;

		json_object_object_add(doc, "schema",
				       json_object_new_int(SCHEMA));
		json_add(doc, "phase", words[phase]);
		json_add(doc, "started", r->started);
		json_add(doc, "old_origin", r->old_origin);
		json_add(doc, "old_certificate", cert);
		json_add(doc, "new_fingerprint", r->new_sha256);
		text = json_text(doc);
		err = file_replace(path, text, strlen(text), 0644);
	}
	if (!err)
		r->phase = phase;
	json_object_put(doc);
	free(cert);
	free(path);
	return err;
}

/* What an earlier run made before it was killed is as good as a new one. */
static int new_pair(struct rotation *r, char **what)
{
	int err = newkey_prepare(r->h, what);

	if (!err)
		err = newkey_make(r->h, NEXT_KEY_DIR, what);
	if (err && err != -EEXIST)
		return err;
	free(*what);
	*what = host_path(r->h, NEXT_KEY_DIR);
	err = signkey_at(r->h, &next_place, &r->new_pair);
	if (!err)
		err = signkey_load(r->h, r->new_pair);
	if (err)
		return err;
	r->new_cert = r->new_pair->cert;
	X509_up_ref(r->new_cert);
	sha256_of(r->new_cert, r->new_sha256);
	return 0;
}

int rotation_begin(struct rotation *r, const struct signkey *old, char **what)
{
	time_t now = time(NULL);
	char when[24];
	struct tm tm;
	int err;

	*what = NULL;
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	r->started = strdup(when);
	r->old_origin = strdup(old->origin);
	r->old_cert = old->cert;
	X509_up_ref(r->old_cert);
	if (!r->started || !r->old_origin)
		return -ENOMEM;
	err = new_pair(r, what);
	if (!err) {
		free(*what);
		*what = host_path(r->h, ROTATION_RECORD);
		err = rotation_write(r, ROTATION_BOTH);
	}
	if (!err) {
		signkey_free(r->new_pair);
		r->new_pair = NULL;
		X509_free(r->new_cert);
		r->new_cert = NULL;
		err = find_pairs(r);
	}
	return err;
}

static bool is_there(const struct host *h, const char *dir)
{
	return host_has(h, dir);
}

static int move(const struct host *h, const char *from, const char *to,
		char **what)
{
	char *a = host_path(h, from), *b = host_path(h, to);
	char *parent = host_path(h, "/var/lib/kmodkeep");
	int fd, err = a && b && parent ? 0 : -ENOMEM;

	if (!err && rename(a, b) < 0)
		err = -errno;
	if (!err) {
		fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd < 0 || fsync(fd) < 0)
			err = -errno;
		if (fd >= 0)
			close(fd);
	}
	if (err && !*what && a) {
		*what = a;
		a = NULL;
	}
	free(a);
	free(b);
	free(parent);
	return err;
}

/* Is the pair in this directory the new one? */
static bool is_new_at(const struct rotation *r, const struct key_place *p)
{
	struct signkey *k = NULL;
	bool is = !pair_at(r->h, p, r->new_sha256, &k) && k;

	signkey_free(k);
	return is;
}

/* Two renames; between them the new pair signs from where it is. */
static int settle_new(struct rotation *r, char **what)
{
	int err = 0;

	if (!is_new_at(r, &next_place))
		return 0;
	if (is_there(r->h, KEY_DIR))
		err = move(r->h, KEY_DIR, OLD_KEY_DIR, what);
	return err ? err : move(r->h, NEXT_KEY_DIR, KEY_DIR, what);
}

static int settle_back(struct rotation *r, char **what)
{
	int err = 0;

	if (is_new_at(r, &own))
		err = move(r->h, KEY_DIR, NEXT_KEY_DIR, what);
	if (!err && is_there(r->h, OLD_KEY_DIR) && !is_there(r->h, KEY_DIR))
		err = move(r->h, OLD_KEY_DIR, KEY_DIR, what);
	return err;
}

int rotation_settle(struct rotation *r, char **what)
{
	int err = 0;

	*what = NULL;
	if (r->phase == ROTATION_NEW)
		err = settle_new(r, what);
	else if (r->phase == ROTATION_BACK)
		err = settle_back(r, what);
	if (err)
		return err;
	signkey_free(r->old_pair);
	signkey_free(r->new_pair);
	X509_free(r->new_cert);
	r->old_pair = r->new_pair = NULL;
	r->new_cert = NULL;
	return find_pairs(r);
}

int rotation_end(struct rotation *r)
{
	char *path = host_path(r->h, ROTATION_RECORD), *aside, *what = NULL;
	int err = path ? 0 : -ENOMEM;

	/* Never used again, but it may be enrolled already: it is kept. */
	if (!err && r->phase == ROTATION_BACK && is_there(r->h, NEXT_KEY_DIR)) {
		aside = text_of(KEY_DIR ".aborted-%.16s", r->new_sha256);
		err = aside ? move(r->h, NEXT_KEY_DIR, aside, &what) : -ENOMEM;
		free(aside);
		free(what);
	}
	if (!err && unlink(path) < 0 && errno != ENOENT)
		err = -errno;
	free(path);
	if (!err)
		r->phase = ROTATION_NONE;
	return err;
}

static const struct signkey *usable(const struct signkey *k)
{
	return k && k->key && !k->problem ? k : NULL;
}

int rotation_keys(const struct rotation *r,
		  const struct signkey *keys[SIGN_KEYS_MAX], size_t *n)
{
	*n = 0;
	if (r->phase != ROTATION_NEW && usable(r->old_pair))
		keys[(*n)++] = r->old_pair;
	if (r->phase != ROTATION_BACK && usable(r->new_pair))
		keys[(*n)++] = r->new_pair;
	return *n ? 0 : -ENOKEY;
}

struct sign_goal rotation_goal(const struct rotation *r)
{
	return (struct sign_goal){
		.h = r->h,
		.cert = { r->old_cert, r->new_cert },
		.key = { usable(r->old_pair), usable(r->new_pair) },
		.wanted = { r->phase != ROTATION_NEW,
			    r->phase != ROTATION_BACK },
	};
}

struct job {
	const struct sign_goal *goal;
	const struct host_modules *m;
	enum goal_state *states;	/* where they are only looked at */
	int *results;
};

static void sign_one(void *arg, size_t i)
{
	const struct job *j = arg;

	j->results[i] = sign_reach(j->goal, j->m->list[i].path);
}

static void look_at_one(void *arg, size_t i)
{
	const struct job *j = arg;

	j->states[i] = sign_state(j->goal, j->m->list[i].path);
}

void rotation_look(const struct rotation *r, const struct host_modules *m,
		   enum goal_state *states)
{
	struct sign_goal goal = rotation_goal(r);
	struct job j = { .goal = &goal, .m = m, .states = states };

	parallel_each(m->count, look_at_one, &j);
}

int rotation_sign(const struct rotation *r, const struct host_modules *m,
		  struct rotation_count *total,
		  void (*fail)(const char *path, int err))
{
	struct sign_goal goal = rotation_goal(r);
	int *results = calloc(m->count + 1, sizeof(*results));
	struct job j = { .goal = &goal, .m = m, .results = results };

	memset(total, 0, sizeof(*total));
	if (!results)
		return -ENOMEM;
	parallel_each(m->count, sign_one, &j);
	for (size_t i = 0; i < m->count; i++) {
		int result = results[i];

		/* Replaced while it was read: by dkms, which signs as well. */
		if (result == -ESTALE || result == -ENOENT)
			result = sign_reach(&goal, m->list[i].path);
		total->changed += result > 0;
		if (result == -ENOKEY)
			total->stuck++;
		else if (result < 0 && result != -ENOENT)
			total->failed++;
		if (result < 0 && result != -ENOENT)
			fail(m->list[i].path, result);
	}
	free(results);
	return 0;
}
