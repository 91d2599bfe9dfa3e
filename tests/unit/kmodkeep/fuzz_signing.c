// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Feeds the parsers of what builders, signers and boot loaders write: manifests, logs,
 * detached signatures, and the signatures of EFI programs. The first byte says which
 * one is meant.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/module/modsig.h"
#include "guard/trust/firmware_ca.h"
#include "guard/trust/signlog.h"
#include "signing/manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *put(const void *data, size_t len)
{
	static char path[] = "/tmp/fuzz-signing-XXXXXX";
	static FILE *f;

	if (!f) {
		int fd = mkstemp(path);

		f = fd < 0 ? NULL : fdopen(fd, "w");
	}
	if (!f || freopen(path, "w", f) != f || fwrite(data, 1, len, f) != len ||
	    fflush(f))
		abort();
	return path;
}

static void manifest(const uint8_t *data, size_t size)
{
	struct manifest m;
	char *why;
	int err = manifest_read(put(data, size), &m, &why);

	if (err == -EBADMSG && (!why || strchr(why, '\n')))
		abort();
	for (size_t i = 0; !err && i < m.count; i++)
		if (strchr(m.list[i].file, '/') || m.list[i].file[0] == '.')
			abort();
	free(why);
	if (!err)
		manifest_free(&m);
}

static void signer_log(const uint8_t *data, size_t size)
{
	struct signlog l;
	char *why;
	int err = signlog_read(put(data, size), &l, &why);

	if ((err == -EBADMSG) != (why != NULL))
		abort();
	free(why);
	if (!err)
		signlog_free(&l);
}

static void message(const uint8_t *data, size_t size)
{
	struct modsig *sig, *both[2];
	struct buf out = { 0 };
	char hex[65];

	if (modsig_parse_detached(data, size, 4, &sig))
		return;
	for (size_t i = 0; i < modsig_signers(sig); i++)
		modsig_value_sha256(sig, i, hex);
	both[0] = both[1] = sig;
	if (!modsig_join((const unsigned char *)"text", 4, both, 2, &out))
		abort();	/* one signer twice */
	modsig_join((const unsigned char *)"text", 4, both, 1, &out);
	buf_free(&out);
	modsig_free(sig);
}

static int count(void *arg, size_t signature, const void *issuer)
{
	if (!issuer || signature < *(size_t *)arg)
		abort();
	*(size_t *)arg = signature;
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t last = 0;

	if (!size)
		return 0;
	switch (data[0] % 4) {
	case 0:
		manifest(data + 1, size - 1);
		break;
	case 1:
		signer_log(data + 1, size - 1);
		break;
	case 2:
		message(data + 1, size - 1);
		break;
	case 3:
		pe_signers_walk(&(struct buf){ (unsigned char *)data + 1, size - 1 },
				count, &last);
		break;
	}
	return 0;
}
