// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Feeds the parsers of what builders, signers and boot loaders write: manifests, logs,
 * detached signatures, EFI programs with their signatures, and SBAT's rows and levels. The
 * first byte says which one is meant.
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/host/bootfile.h"
#include "guard/module/modsig.h"
#include "guard/trust/authenticode.h"
#include "guard/trust/sbat.h"
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

static int check(void *arg, const struct pe_signature *s)
{
	if (!s->issuer || ++*(size_t *)arg > PE_SIGNATURES_MAX ||
	    (s->state == PE_SIG_GOOD && !s->signer))
		abort();
	/* A chain may lead to any certificate that it brings. */
	for (int i = 0; s->certs && i < sk_X509_num(s->certs) && i < PE_CERTS_MAX; i++)
		pe_signature_leads_to(s, sk_X509_value(s->certs, i));
	return 0;
}

static void program(const uint8_t *data, size_t size)
{
	const struct buf image = { (unsigned char *)data, size };
	unsigned char hash[EVP_MAX_MD_SIZE];
	size_t count = 0;
	int err = pe_hash(&image, EVP_sha256(), hash);

	/* What has no hash has no signatures either. */
	if (pe_signatures_walk(&image, check, &count) == 0 && err && count)
		abort();
}

static void compare(const struct buf *section, const struct buf *level)
{
	struct sbat_refusal r;
	char date[16];
	int is = sbat_compare(section, level, &r);

	if (is == 1 && (!*r.name || r.has >= r.needs))
		abort();
	if ((is == -EINVAL) == sbat_level_valid(level))
		abort();
	/* What is the same is not applied again. */
	if (is >= 0 && level->len >= 18 && !memcmp(level->data, "sbat,", 5) &&
	    !sbat_level_kept(level, level))
		abort();
	sbat_level_kept(section, level);
	sbat_level_date(level, date);
}

/* A section and a level, of each a half; what shim brings; a file that has both. */
static void sbat(const uint8_t *data, size_t size)
{
	struct buf all = { (unsigned char *)data, size }, section = all, level = all, a, b;
	const char *path;

	section.len = size / 2;
	level.data += section.len;
	level.len -= section.len;
	compare(&section, &level);
	if (!sbat_levels_of(&all, &a, &b)) {
		compare(&section, &a);
		compare(&section, &b);
	}
	path = put(data, size);
	if (path && !boot_file_content(path, ".sbatlevel", SBAT_MAX, &a)) {
		compare(&a, &level);
		buf_free(&a);
	}
	if (path && !boot_file_content(path, ".sbat", SBAT_MAX, &a)) {
		compare(&a, &level);
		buf_free(&a);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	switch (data[0] % 5) {
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
		program(data + 1, size - 1);
		break;
	case 4:
		sbat(data + 1, size - 1);
		break;
	}
	return 0;
}
