// SPDX-License-Identifier: GPL-2.0-or-later
/* Signs a module file in place: unpack, sign, verify, pack, rename. */
#include "signing/sign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/module/modfile.h"
#include "guard/module/modsig.h"
#include "guard/verdict/verify.h"

/*
 * What the kernel was built with is what it can surely check early: others
 * may be modules that the initramfs lacks.
 */
static int choose_hash(const struct signing *s, const struct buf *elf,
		       char hash[32])
{
	struct modinfo info;
	char *release, *value = NULL;
	int err;

	err = modinfo_read(elf->data, elf->len, &info);
	if (err)
		return err;
	release = s->kernel ? strdup(s->kernel) : modinfo_release(&info);
	modinfo_free(&info);
	if (!s->hash && release)
		value = host_kernel_config(s->h, release,
					   "CONFIG_MODULE_SIG_HASH");
	snprintf(hash, 32, "%s", s->hash ? s->hash : value && *value ? value :
				 "sha256");
	free(release);
	free(value);
	return 0;
}

/* One signature, by one signer, which is this certificate, and it fits. */
static bool bears(const struct buf *bytes, X509 *cert)
{
	struct modsig *sig;
	size_t content;
	bool right;

	if (modsig_parse(bytes->data, bytes->len, &sig))
		return false;
	content = modsig_content_len(sig);
	right = modsig_signers(sig) == 1 && modsig_names(sig, 0, cert) &&
		!modsig_signer(sig, 0)->has_attributes &&
		modsig_check(sig, 0, cert, bytes->data) == 0 &&
		modsig_strip(bytes->data, content) == content;
	modsig_free(sig);
	return right;
}

/* Reads the file to be, exactly as it will lie on the disk. */
static int check_packed(const struct buf *packed, enum compression type,
			X509 *cert)
{
	struct buf plain;
	int err;

	if (type == COMPRESS_NONE)
		return bears(packed, cert) ? 0 : -EIO;
	err = decompress(type, packed->data, packed->len, SIZE_MAX, &plain);
	if (err)
		return err;
	err = bears(&plain, cert) ? 0 : -EIO;
	buf_free(&plain);
	return err;
}

/* 1: signed by a key that is really trusted here, not just let through. */
static int is_trusted(const struct signing *s, const struct buf *bytes)
{
	struct report r = { 0 };
	int ret = 0;

	if (s->trust)
		ret = verify_bytes(s->h, s->trust, bytes, s->kernel, &r);
	if (!ret && s->trust)
		ret = r.verdict == VERDICT_OK && !r.waived;
	report_free(&r);
	return ret;
}

static int write_signed(const char *path, const struct modfile *m,
			const struct signkey *key, const char *hash)
{
	struct buf signed_elf = { 0 }, packed = { 0 };
	const struct buf *final = &signed_elf;
	int err;

	err = modsig_make(m->bytes.data,
			  modsig_strip(m->bytes.data, m->bytes.len),
			  key->cert, key->key, hash, &signed_elf);
	if (err)
		return err;
	if (m->type != COMPRESS_NONE) {
		err = compress_bytes(m->type, signed_elf.data, signed_elf.len,
				     &packed);
		final = &packed;
	}
	if (!err)
		err = check_packed(final, m->type, key->cert);
	if (!err)
		err = file_replace(path, final->data, final->len, 0644);
	buf_free(&signed_elf);
	buf_free(&packed);
	return err;
}

int sign_file(const struct signing *s, const char *path,
	      enum sign_result *result, char hash_used[32])
{
	struct modfile m;
	char *real = realpath(path, NULL);
	int err;

	/* The file itself is replaced, not a link that leads to it. */
	if (!real)
		return -errno;
	err = modfile_read(real, &m);
	if (err) {
		free(real);
		return err;
	}
	err = choose_hash(s, &m.bytes, hash_used);
	if (err)
		goto out;
	*result = SIGN_NOT_NEEDED;
	/* Every kernel can read what is written here: such a file is packed again. */
	if (s->if_needed && !m.signed_outside && !m.kernel_refuses &&
	    bears(&m.bytes, s->key->cert))
		goto out;
	if (s->if_needed && !m.signed_outside && !m.kernel_refuses) {
		*result = SIGN_TRUSTED;
		err = is_trusted(s, &m.bytes);
		if (err)
			goto out;
	}
	*result = SIGN_DONE;
	err = write_signed(real, &m, s->key, hash_used);
out:
	modfile_free(&m);
	free(real);
	return err > 0 ? 0 : err;
}
