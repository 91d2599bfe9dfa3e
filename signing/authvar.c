// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes signed updates of the firmware's lists, and has efivarfs take them. */
#include "signing/authvar.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <openssl/err.h>
#include <openssl/pkcs7.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "guard/host/efivars.h"

/* Kept, seen at boot and at run time, replaced only by what is signed, in order of time. */
#define ATTRIBUTES (0x01 | 0x02 | 0x04 | 0x20)

/* EFI_CERT_X509_GUID, EFI_CERT_TYPE_PKCS7_GUID, and who put an entry into a list. */
static const unsigned char type_x509[16] = {
	0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a,
	0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
};
static const unsigned char type_pkcs7[16] = {
	0x9d, 0xd2, 0xaf, 0x4a, 0xdf, 0x68, 0xee, 0x49,
	0x8a, 0xa9, 0x34, 0x7d, 0x37, 0x56, 0x65, 0xa7,
};
static const unsigned char owner[16] = "kmodkeep-signing";

static int append(struct buf *b, const void *data, size_t len)
{
	unsigned char *longer = realloc(b->data, b->len + len + 1);

	if (!longer)
		return -ENOMEM;
	b->data = longer;
	if (len)	/* of nothing, data may be NULL */
		memcpy(longer + b->len, data, len);
	b->len += len;
	return 0;
}

static int append_number(struct buf *b, uint32_t n, size_t size)
{
	unsigned char le[4] = { n, n >> 8, n >> 16, n >> 24 };

	return append(b, le, size);
}

int siglist_add(struct buf *list, X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der), err = len > 0 ? 0 : -ENOMEM;
	size_t was = list->len;

	if (!err)
		err = append(list, type_x509, sizeof(type_x509));
	if (!err)
		err = append_number(list, 28 + sizeof(owner) + len, 4);
	if (!err)
		err = append_number(list, 0, 4);	/* no header */
	if (!err)
		err = append_number(list, sizeof(owner) + len, 4);
	if (!err)
		err = append(list, owner, sizeof(owner));
	if (!err)
		err = append(list, der, len);
	OPENSSL_free(der);
	if (err)
		list->len = was;
	return err;
}

struct wanted {
	const unsigned char *der;
	size_t len;
};

static int is_it(void *arg, enum efi_sig type, const unsigned char *data, size_t len)
{
	const struct wanted *w = arg;

	return type == EFI_SIG_X509 && len == w->len && !memcmp(data, w->der, len);
}

bool siglist_has(const struct buf *list, X509 *cert)
{
	unsigned char *der = NULL;
	int len = i2d_X509(cert, &der);
	struct wanted w = { der, len > 0 ? len : 0 };
	bool has = len > 0 && efi_siglist_walk(list, is_it, &w) == 1;

	OPENSSL_free(der);
	return has;
}

/* "8be4df61-93ca-11d2-aa0d-00e098032b8c": the first three parts are little-endian. */
static int append_guid(struct buf *b, const char *text)
{
	static const unsigned char order[16] = {
		3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15,
	};
	unsigned char read[16], guid[16];
	size_t n = 0;

	for (; n < 16; n++) {
		unsigned int byte = 0;

		text += *text == '-';
		if (sscanf(text, "%2x", &byte) != 1)
			return -EINVAL;
		read[n] = byte;
		text += 2;
	}
	for (n = 0; n < 16; n++)
		guid[n] = read[order[n]];
	return append(b, guid, sizeof(guid));
}

/* EFI_TIME; what it has besides the second must be zero here. */
static int append_time(struct buf *b, time_t when)
{
	unsigned char t[16] = { 0 };
	struct tm tm;

	if (!gmtime_r(&when, &tm))
		return -EINVAL;
	t[0] = (tm.tm_year + 1900) & 0xff;
	t[1] = (tm.tm_year + 1900) >> 8;
	t[2] = tm.tm_mon + 1;
	t[3] = tm.tm_mday;
	t[4] = tm.tm_hour;
	t[5] = tm.tm_min;
	t[6] = tm.tm_sec;
	return append(b, t, sizeof(t));
}

/* What is signed: name, GUID, attributes, time, lists. */
static int signed_bytes(const struct authvar *v, const struct buf *lists, time_t when,
			struct buf *out)
{
	int err = 0;

	for (const char *c = v->name; *c && !err; c++)
		err = append_number(out, *c, 2);
	if (!err)
		err = append_guid(out, v->guid);
	if (!err)
		err = append_number(out, ATTRIBUTES, 4);
	if (!err)
		err = append_time(out, when);
	if (!err)
		err = append(out, lists->data, lists->len);
	return err;
}

/* SignedData alone, without the ContentInfo around it: the form that all firmware takes. */
static int sign(const struct buf *bytes, X509 *cert, EVP_PKEY *key, unsigned char **der)
{
	const int flags = PKCS7_BINARY | PKCS7_DETACHED | PKCS7_NOATTR | PKCS7_PARTIAL;
	PKCS7 *p7 = PKCS7_sign(NULL, NULL, NULL, NULL, flags);
	BIO *in = BIO_new_mem_buf(bytes->data, bytes->len);
	int len = -1;

	if (p7 && in && PKCS7_sign_add_signer(p7, cert, key, EVP_sha256(), flags) &&
	    PKCS7_final(p7, in, flags) == 1)
		len = i2d_PKCS7_SIGNED(p7->d.sign, der);
	BIO_free(in);
	PKCS7_free(p7);
	ERR_clear_error();
	return len > 0 ? len : -EIO;
}

int authvar_sign(const struct authvar *v, const struct buf *lists, X509 *cert, EVP_PKEY *key,
		 time_t when, struct buf *out)
{
	struct buf bytes = { 0 };
	unsigned char *der = NULL;
	int len = 0, err = signed_bytes(v, lists, when, &bytes);

	memset(out, 0, sizeof(*out));
	if (!err) {
		len = sign(&bytes, cert, key, &der);
		err = len < 0 ? len : 0;
	}
	if (!err)
		err = append_time(out, when);
	/* WIN_CERTIFICATE_UEFI_GUID: length, revision and type, then the form of what follows. */
	if (!err)
		err = append_number(out, 8 + sizeof(type_pkcs7) + len, 4);
	if (!err)
		err = append_number(out, 0x0200, 2);
	if (!err)
		err = append_number(out, 0x0ef1, 2);
	if (!err)
		err = append(out, type_pkcs7, sizeof(type_pkcs7));
	if (!err)
		err = append(out, der, len);
	if (!err)
		err = append(out, lists->data, lists->len);
	OPENSSL_free(der);
	buf_free(&bytes);
	if (err)
		buf_free(out);
	return err;
}

/* efivarfs keeps what is in it from a mistaken rm; who means it says so. */
static int allow_change(const char *path, bool *was)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), flags, err = 0;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) {
		err = errno == ENOTTY ? 0 : -errno;
	} else if (flags & FS_IMMUTABLE_FL) {
		flags &= ~FS_IMMUTABLE_FL;
		*was = true;
		err = ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? -errno : 0;
	}
	close(fd);
	return err;
}

/* As it was; a variable that is gone needs no such thing. */
static void keep_from_change(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), flags;

	if (fd < 0)
		return;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		flags |= FS_IMMUTABLE_FL;
		/* What was written counts, and the next mount has it again. */
		(void)ioctl(fd, FS_IOC_SETFLAGS, &flags);
	}
	close(fd);
}

/* One write is one call of the firmware, which takes all of it or nothing. */
static int write_once(const char *path, const struct buf *whole)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644), err = 0;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, whole->data, whole->len);
	if (n < 0)
		err = -errno;
	else if ((size_t)n != whole->len)
		err = -EREMOTEIO;
	close(fd);
	return err;
}

int authvar_write(const struct host *h, const struct authvar *v, const struct buf *update,
		  const struct buf *lists)
{
	char *path = efivar_path(h, v->name, v->guid);
	struct buf whole = { 0 }, now;
	bool immutable = false;
	int err = path ? append_number(&whole, ATTRIBUTES, 4) : -ENOMEM;

	if (!err)
		err = append(&whole, update->data, update->len);
	if (!err)
		err = allow_change(path, &immutable);
	if (!err)
		err = write_once(path, &whole);
	if (immutable)
		keep_from_change(path);
	if (err == -EPERM)
		err = -EACCES;
	if (err)
		goto out;
	err = efivar_read(h, v->name, v->guid, &now);
	if (err == -ENOENT)	/* as wanted, or by no means */
		err = lists->len ? -EREMOTEIO : 0;
	else if (!err) {
		if (now.len != lists->len || memcmp(now.data, lists->data, now.len))
			err = -EREMOTEIO;
		buf_free(&now);
	}
out:
	buf_free(&whole);
	free(path);
	return err;
}
