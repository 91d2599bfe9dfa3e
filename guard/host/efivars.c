// SPDX-License-Identifier: GPL-2.0-or-later
/* EFI variables and signature lists, read from efivarfs. Their bytes are not trusted. */
#include "guard/host/efivars.h"

#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>

#include "guard/host/host.h"

#define DIR_EFIVARS "/sys/firmware/efi/efivars"
#define DIR_MIRRORS "/sys/firmware/efi/mok-variables"
#define VARIABLE_MAX (4u << 20)

bool efivars_readable(const struct host *h)
{
	char *path = host_path(h, DIR_EFIVARS);
	DIR *d = path ? opendir(path) : NULL;
	struct dirent *e;
	bool any = false;

	while (d && !any && (e = readdir(d)))
		any = e->d_name[0] != '.';
	if (d)
		closedir(d);
	free(path);
	return any;
}

/*
 * What shim leaves behind for kernels without efivarfs, as those of PREEMPT_RT:
 * the data alone, without attributes.
 */
static int read_mirror(const struct host *h, const char *name, struct buf *out)
{
	char *rel = text_of(DIR_MIRRORS "/%s", name);
	char *path = rel ? host_path(h, rel) : NULL;
	int err = path ? file_read(path, VARIABLE_MAX, out) : -ENOMEM;

	free(rel);
	free(path);
	return err;
}

char *efivar_path(const struct host *h, const char *name, const char *guid)
{
	char *rel = text_of(DIR_EFIVARS "/%s-%s", name, guid);
	char *path = rel ? host_path(h, rel) : NULL;

	free(rel);
	return path;
}

int efivar_read(const struct host *h, const char *name, const char *guid,
		struct buf *out)
{
	char *path = efivar_path(h, name, guid);
	int err;

	if (!path)
		return -ENOMEM;
	err = file_read(path, VARIABLE_MAX, out);
	free(path);
	if (err == -ENOENT && !strcmp(guid, SHIM_GUID))
		return read_mirror(h, name, out);
	if (err)
		return err;
	/* An empty file is a variable that was just deleted. */
	if (out->len < 4) {
		buf_free(out);
		return -ENOENT;
	}
	out->len -= 4;
	memmove(out->data, out->data + 4, out->len);
	return 0;
}

int efivar_flag(const struct host *h, const char *name, const char *guid)
{
	struct buf b;
	int value = efivar_read(h, name, guid, &b);

	if (value)
		return value;
	value = b.len ? b.data[0] : -EBADMSG;
	buf_free(&b);
	return value;
}

char *efivar_text(const struct host *h, const char *name, const char *guid)
{
	struct buf b;
	char *text;

	if (efivar_read(h, name, guid, &b))
		return NULL;
	text = calloc(1, b.len / 2 + 1);
	for (size_t i = 0; text && 2 * i + 1 < b.len; i++) {
		unsigned int c = b.data[2 * i] | b.data[2 * i + 1] << 8;

		if (!c)
			break;
		text[i] = c >= ' ' && c < 0x7f ? c : '?';
	}
	buf_free(&b);
	if (text && !*text) {
		free(text);
		text = NULL;
	}
	return text;
}

long long efivars_free(const struct host *h)
{
	char *path = host_path(h, DIR_EFIVARS);
	struct statvfs st;
	long long left = -1;

	/* Before Linux 6.6 efivarfs reports no blocks at all. */
	if (path && statvfs(path, &st) == 0 && st.f_blocks)
		left = (long long)st.f_bavail * st.f_frsize;
	free(path);
	return left;
}

bool efivars_read_only(const struct host *h)
{
	char *path = host_path(h, DIR_EFIVARS);
	struct statvfs st;
	bool so = path && statvfs(path, &st) == 0 && st.f_flag & ST_RDONLY;

	free(path);
	return so;
}

static uint32_t le32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint16_t le16(const unsigned char *p)
{
	return p[0] | p[1] << 8;
}

static enum efi_sig sig_type(const unsigned char guid[16])
{
	static const unsigned char x509[] = {
		0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a,
		0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72,
	};
	static const unsigned char sha256[] = {
		0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40,
		0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28,
	};

	if (!memcmp(guid, x509, 16))
		return EFI_SIG_X509;
	if (!memcmp(guid, sha256, 16))
		return EFI_SIG_SHA256;
	return EFI_SIG_OTHER;
}

#define LIST_HEADER 28	/* type GUID and three sizes */
#define OWNER 16	/* GUID before the data of each entry */

int efi_siglist_walk(const struct buf *list, efi_sig_fn *fn, void *arg)
{
	const unsigned char *p = list->data;
	size_t left = list->len;

	while (left) {
		size_t size, header, each, at;
		enum efi_sig type;

		if (left < LIST_HEADER)
			return -EBADMSG;
		type = sig_type(p);
		size = le32(p + 16);
		header = le32(p + 20);
		each = le32(p + 24);
		if (size > left || size < LIST_HEADER ||
		    header > size - LIST_HEADER || each <= OWNER)
			return -EBADMSG;
		for (at = LIST_HEADER + header; size - at >= each; at += each) {
			int err = fn(arg, type, p + at + OWNER, each - OWNER);

			if (err)
				return err;
		}
		if (at != size)
			return -EBADMSG;
		p += size;
		left -= size;
	}
	return 0;
}

#define NODE_MEDIA 4
#define NODE_FILE_PATH 4
#define NODE_END 0x7f

/* The file path of a load option (UEFI 2.10, 3.1.3), as ASCII. */
static char *load_option_file(const struct buf *option)
{
	const unsigned char *p = option->data, *end = p + option->len;
	size_t paths, n;
	char *file;

	if (option->len < 6)
		return NULL;
	paths = le16(p + 4);
	for (p += 6; end - p >= 2 && le16(p); p += 2)
		;
	if (end - p < 2)
		return NULL;
	p += 2;
	if ((size_t)(end - p) > paths)
		end = p + paths;
	for (;; p += n) {
		if (end - p < 4 || p[0] == NODE_END)
			return NULL;
		n = le16(p + 2);
		if (n < 4 || n > (size_t)(end - p))
			return NULL;
		if (p[0] == NODE_MEDIA && p[1] == NODE_FILE_PATH)
			break;
	}
	file = calloc(1, n / 2);
	for (size_t i = 0; file && 4 + 2 * i + 1 < n; i++) {
		uint16_t c = le16(p + 4 + 2 * i);

		if (!c)
			break;
		/* Odd names are not ours; a mark keeps them from matching. */
		file[i] = c == '\\' ? '/' : c > ' ' && c < 0x7f ? c : '?';
	}
	return file;
}

char *efi_boot_file(const struct host *h)
{
	struct buf b;
	char name[16], *file;
	uint16_t number;

	if (efivar_read(h, "BootCurrent", EFI_GLOBAL_GUID, &b))
		return NULL;
	number = b.len >= 2 ? le16(b.data) : 0;
	if (b.len < 2) {
		buf_free(&b);
		return NULL;
	}
	buf_free(&b);
	snprintf(name, sizeof(name), "Boot%04X", number);
	if (efivar_read(h, name, EFI_GLOBAL_GUID, &b))
		return NULL;
	file = load_option_file(&b);
	buf_free(&b);
	return file;
}

char *efi_boot_directory(const struct host *h)
{
	char *file = efi_boot_file(h);
	char *slash = file ? strrchr(file, '/') : NULL;

	if (!slash) {
		free(file);
		return NULL;
	}
	*slash = '\0';
	return file;
}
