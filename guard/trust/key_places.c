// SPDX-License-Identifier: GPL-2.0-or-later
/* The places of signing keys: this program's own, Ubuntu's, dkms's default. */
#include "guard/trust/key_places.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/dkms_config.h"
#include "guard/host/host.h"
#include "guard/trust/signing_conf.h"

#define AKMODS_CERT "/etc/pki/akmods/certs/public_key.der"

#define OS_RELEASE_MAX (64u << 10)

enum { UBUNTU_PLACE = 2, DKMS_PLACE = 3 };

const struct key_place key_places[] = {
	{ "own", KEY_DIR "/signing.key", KEY_DIR "/signing.der" },
	{ "own", NEXT_KEY_DIR "/signing.key", NEXT_KEY_DIR "/signing.der" },
	[UBUNTU_PLACE] = { "ubuntu", "/var/lib/shim-signed/mok/MOK.priv",
			   "/var/lib/shim-signed/mok/MOK.der" },
	[DKMS_PLACE] = { "dkms", "/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub" },
	{ NULL, NULL, NULL },
};

/* The path that dkms uses for the running kernel; malloc'ed. */
static char *for_running_kernel(const struct host *h, const char *path)
{
	const char *name = strstr(path, "$kernelver");

	return name ? text_of("%.*s%s%s", (int)(name - path), path,
			      host_running_kernel(h), name + 10) :
		      strdup(path);
}

/* The certificate of the token key that this host signs with. */
static int token_cert(const struct host *h,
		      int (*fn)(void *arg, const char *path), void *arg)
{
	struct signing_conf c;
	unsigned int line;
	int err = signing_conf_read(h, &c, &line);

	if (err)	/* what is wrong with it, its key says */
		return err == -ENOMEM ? err : 0;
	err = fn(arg, c.certificate);
	signing_conf_free(&c);
	return err;
}

static bool is_ubuntu(const struct host *h)
{
	char *path = host_path(h, "/etc/os-release");
	struct buf text = { 0 };
	bool is = path && !file_read(path, OS_RELEASE_MAX, &text) &&
		  ((text.len >= 10 && !memcmp(text.data, "ID=ubuntu\n", 10)) ||
		   memmem(text.data, text.len, "\nID=ubuntu\n", 11));

	buf_free(&text);
	free(path);
	return is;
}

static int fill_pair(const struct host *h, const struct dkms_config *c, struct dkms_pair *out)
{
	const struct key_place *fallback = &key_places[DKMS_PLACE];
	const struct dkms_setting *set = dkms_config_find(c, "mok_signing_key");
	bool sure_key, sure_cert;
	const char *key = dkms_config_get(c, "mok_signing_key", &sure_key);
	const char *cert = dkms_config_get(c, "mok_certificate", &sure_cert);

	/* There dkms takes both from shim's package, if it has no key of its own. */
	if (!key && is_ubuntu(h)) {
		fallback = &key_places[UBUNTU_PLACE];
		cert = NULL;
	}
	out->origin = fallback->origin;
	out->sure = sure_key && sure_cert;
	out->key = for_running_kernel(h, key ? key : fallback->key);
	out->cert = for_running_kernel(h, cert ? cert : fallback->cert);
	out->where = key && set ? strdup(set->where) : NULL;
	return out->key && out->cert && (!key || !set || out->where) ? 0 : -ENOMEM;
}

int dkms_pair_read(const struct host *h, struct dkms_pair *out)
{
	struct dkms_config c;
	int err = dkms_config_read(h, &c);

	memset(out, 0, sizeof(*out));
	if (err)
		return err;
	err = fill_pair(h, &c, out);
	dkms_config_free(&c);
	if (err)
		dkms_pair_free(out);
	return err;
}

void dkms_pair_free(struct dkms_pair *p)
{
	free(p->key);
	free(p->cert);
	free(p->where);
	memset(p, 0, sizeof(*p));
}

int other_certs(const struct host *h, int (*fn)(void *arg, const char *path),
		void *arg)
{
	struct dkms_pair pair;
	int err = dkms_pair_read(h, &pair);

	if (err)
		return err;
	/* A guess does no harm: the certificate only names who signed. */
	if (*pair.cert == '/')
		err = fn(arg, pair.cert);
	dkms_pair_free(&pair);
	if (!err)
		err = token_cert(h, fn, arg);
	return err ? err : fn(arg, AKMODS_CERT);
}
