// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Feeds the parsers of hostile input: module signatures, ELF, EFI lists. Half
 * of the inputs are put into a frame with a right trailer, so that the message
 * inside is reached and not only the trailer's checks.
 */
#include <openssl/x509.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guard/module/compress.h"
#include "guard/host/efivars.h"
#include "guard/module/modfile.h"
#include "guard/module/modsig.h"

static int touch_alias(void *arg, const char *alias)
{
	(void)arg;
	return strlen(alias) > 4096;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int touch(void *arg, enum efi_sig type, const unsigned char *data,
		 size_t len)
{
	const unsigned char *p = data;

	(void)arg;
	if (type == EFI_SIG_X509)
		X509_free(d2i_X509(NULL, &p, len));
	return 0;
}

static void parse(const uint8_t *data, size_t size)
{
	struct modsig *s;
	size_t stripped = modsig_strip(data, size);

	if (stripped > size)
		abort();
	if (modsig_parse(data, size, &s))
		return;
	if (modsig_content_len(s) >= size || !modsig_signers(s))
		abort();
	for (size_t i = 0; i < modsig_signers(s); i++)
		if (!modsig_signer(s, i)->name)
			abort();
	modsig_free(s);
}

static void parse_framed(const uint8_t *data, size_t size)
{
	static const char magic[] = "~Module signature appended~\n";
	const unsigned char trailer[12] = {
		[2] = 2, [8] = size >> 24, size >> 16, size >> 8, size,
	};
	size_t whole = 16 + size + sizeof(trailer) + 28;
	unsigned char *b = malloc(whole);

	memset(b, 'x', 16);
	memcpy(b + 16, data, size);
	memcpy(b + 16 + size, trailer, sizeof(trailer));
	memcpy(b + whole - 28, magic, 28);
	parse(b, whole);
	free(b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf list, out;
	struct modinfo info;
	enum compression type;

	parse(data, size);
	parse_framed(data, size);
	if (!modinfo_read(data, size, &info))
		modinfo_free(&info);
	modinfo_aliases(data, size, touch_alias, NULL);
	list.data = (unsigned char *)data;
	list.len = size;
	efi_siglist_walk(&list, touch, NULL);
	type = compression_of(data, size);
	if (type != COMPRESS_NONE &&
	    !decompress(type, data, size, 1 << 20, &out))
		buf_free(&out);
	return 0;
}
