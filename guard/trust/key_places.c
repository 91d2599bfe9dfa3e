// SPDX-License-Identifier: GPL-2.0-or-later
/* The places of signing keys: this program's own, Ubuntu's, dkms's default. */
#include "guard/trust/key_places.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/dkms_config.h"
#include "guard/host/host.h"
#include "guard/trust/signing_conf.h"

#define AKMODS_CERT "/etc/pki/akmods/certs/public_key.der"

const struct key_place key_places[] = {
	{ "own", KEY_DIR "/signing.key", KEY_DIR "/signing.der" },
	{ "own", NEXT_KEY_DIR "/signing.key", NEXT_KEY_DIR "/signing.der" },
	{ "ubuntu", "/var/lib/shim-signed/mok/MOK.priv",
	  "/var/lib/shim-signed/mok/MOK.der" },
	{ "dkms", "/var/lib/dkms/mok.key", "/var/lib/dkms/mok.pub" },
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

int other_certs(const struct host *h, int (*fn)(void *arg, const char *path),
		void *arg)
{
	struct dkms_config c;
	const char *value;
	char *path = NULL;
	bool sure;
	int err = dkms_config_read(h, &c);

	if (err)
		return err;
	/* A guess does no harm: the certificate only names who signed. */
	value = dkms_config_get(&c, "mok_certificate", &sure);
	if (value && *value == '/') {
		path = for_running_kernel(h, value);
		err = path ? fn(arg, path) : -ENOMEM;
	}
	free(path);
	dkms_config_free(&c);
	if (!err)
		err = token_cert(h, fn, arg);
	return err ? err : fn(arg, AKMODS_CERT);
}
