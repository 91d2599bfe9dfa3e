// SPDX-License-Identifier: GPL-2.0-or-later
/* The record of the last request to enrol a key; signing/key-enroll writes it. */
#include "guard/trust/enrol_request.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/util.h"

#define ENROL_RECORD "/var/lib/kmodkeep/enrol-request"

/* Value of a line "key=value"; malloc'ed, NULL: there is none. */
static char *recorded(const struct host *h, const char *key)
{
	char *path = host_path(h, ENROL_RECORD), *value = NULL, *line, *save;
	struct buf b = { 0 };
	char text[1024];
	size_t n = strlen(key);

	if (path && file_read(path, sizeof(text) - 1, &b) == 0) {
		memcpy(text, b.data, b.len);
		text[b.len] = '\0';
		for (line = strtok_r(text, "\n", &save); line && !value;
		     line = strtok_r(NULL, "\n", &save))
			if (!strncmp(line, key, n) && line[n] == '=')
				value = strdup(line + n + 1);
	}
	buf_free(&b);
	free(path);
	return value;
}

static bool is_of(const char *fingerprint, X509 *cert)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
	unsigned int len = 0;

	if (X509_digest(cert, EVP_sha256(), hash, &len) == 1)
		hex_encode(hash, len, hex);
	return *hex && !strcmp(fingerprint, hex);
}

bool enrol_request_declined(const struct host *h, X509 *cert)
{
	char *what = recorded(h, "fingerprint");
	char *when = recorded(h, "boot_id");
	char *now = host_boot_id(h);
	bool declined = what && when && now && is_of(what, cert) && strcmp(when, now);

	free(what);
	free(when);
	free(now);
	return declined;
}

int enrol_request_settle(const struct host *h, const struct trust *t)
{
	struct kernel_rules rules = rules_for(host_running_kernel(h));
	char *what = recorded(h, "fingerprint"), *path;
	bool granted = false;
	int err = 0;

	for (size_t i = 0; what && !granted && i < trust_certs(t); i++) {
		const struct trust_cert *c = trust_cert(t, i);

		granted = trust_enrolled(t, c, &rules) && is_of(what, c->x509);
	}
	free(what);
	if (!granted)
		return 0;
	path = host_path(h, ENROL_RECORD);
	if (!path)
		return -ENOMEM;
	if (unlink(path) && errno != ENOENT)
		err = -errno;
	free(path);
	return err;
}
