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

/* UEFI 2.10, 32.4.1. */
static enum efi_sig sig_type(const unsigned char guid[16])
{
	static const unsigned char types[EFI_SIG_OTHER][16] = {
		[EFI_SIG_X509] = { 0xa1, 0x59, 0xc0, 0xa5, 0xe4, 0x94, 0xa7, 0x4a,
			0x87, 0xb5, 0xab, 0x15, 0x5c, 0x2b, 0xf0, 0x72 },
		[EFI_SIG_SHA1] = { 0x12, 0xa5, 0x6c, 0x82, 0x10, 0xcf, 0xc9, 0x4a,
			0xb1, 0x87, 0xbe, 0x01, 0x49, 0x66, 0x31, 0xbd },
		[EFI_SIG_SHA224] = { 0x33, 0x52, 0x6e, 0x0b, 0x5c, 0xa6, 0xc9, 0x44,
			0x94, 0x07, 0xd9, 0xab, 0x83, 0xbf, 0xc8, 0xbd },
		[EFI_SIG_SHA256] = { 0x26, 0x16, 0xc4, 0xc1, 0x4c, 0x50, 0x92, 0x40,
			0xac, 0xa9, 0x41, 0xf9, 0x36, 0x93, 0x43, 0x28 },
		[EFI_SIG_SHA384] = { 0x07, 0x53, 0x3e, 0xff, 0xd0, 0x9f, 0xc9, 0x48,
			0x85, 0xf1, 0x8a, 0xd5, 0x6c, 0x70, 0x1e, 0x01 },
		[EFI_SIG_SHA512] = { 0xae, 0x0f, 0x3e, 0x09, 0xc4, 0xa6, 0x50, 0x4f,
			0x9f, 0x1b, 0xd4, 0x1e, 0x2b, 0x89, 0xc1, 0x9a },
		[EFI_SIG_X509_SHA256] = { 0x92, 0xa4, 0xd2, 0x3b, 0xc0, 0x96, 0x79, 0x40,
			0xb4, 0x20, 0xfc, 0xf9, 0x8e, 0xf1, 0x03, 0xed },
		[EFI_SIG_X509_SHA384] = { 0x6e, 0x87, 0x76, 0x70, 0xc2, 0x80, 0xe6, 0x4e,
			0xaa, 0xd2, 0x28, 0xb3, 0x49, 0xa6, 0x86, 0x5b },
		[EFI_SIG_X509_SHA512] = { 0x63, 0xbf, 0x6d, 0x44, 0x02, 0x25, 0xda, 0x4c,
			0xbc, 0xfa, 0x24, 0x65, 0xd2, 0xb0, 0xfe, 0x9d },
	};

	for (enum efi_sig type = 0; type < EFI_SIG_OTHER; type++)
		if (!memcmp(guid, types[type], 16))
			return type;
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

#define NODE_MESSAGING 3
#define NODE_MAC 11
#define NODE_ISCSI 19	/* a disk, wherever it is */
#define NODE_URI 24
#define NODE_MEDIA 4
#define NODE_PARTITION 1
#define NODE_FILE_PATH 4
#define NODE_END 0x7f
#define PARTITION_LEN 42	/* of its node, with the header */

/* UTF-16 up to its end or to a zero, as printable ASCII; malloc'ed. */
static char *ascii_of(const unsigned char *p, size_t bytes, char blank)
{
	char *text = calloc(1, bytes / 2 + 1);

	for (size_t i = 0; text && 2 * i + 1 < bytes; i++) {
		uint16_t c = le16(p + 2 * i);

		if (!c)
			break;
		text[i] = c == ' ' ? blank : c > ' ' && c < 0x7f ? c : '?';
	}
	return text;
}

/* What the kernel calls it: PARTUUID, of a partition of either kind; malloc'ed. */
static char *partition_name(const unsigned char *node)
{
	const unsigned char *id = node + 24;
	char rest[17];

	/* One byte for the number is not all that there is room for; nobody has more. */
	if (node[41] == 1)
		return text_of("%08x-%02x", le32(id), le32(node + 4) & 0xff);
	hex_encode(id + 8, 8, rest);
	return node[41] == 2 ? text_of("%08x-%04x-%04x-%.4s-%s", le32(id), le16(id + 4),
				       le16(id + 6), rest, rest + 4) : NULL;
}

/* A node of the device path (UEFI 2.10, chapter 10). 0 or -ENOMEM. */
static int take_node(struct load_option *o, const unsigned char *p, size_t len)
{
	char **field = p[0] != NODE_MEDIA ? NULL : p[1] == NODE_PARTITION && len >= PARTITION_LEN ?
		       &o->partition : p[1] == NODE_FILE_PATH ? &o->file : NULL;

	if (p[0] == NODE_MESSAGING && (p[1] == NODE_MAC || p[1] == NODE_URI))
		o->network = true;
	else if (p[0] == NODE_MESSAGING && p[1] == NODE_ISCSI)
		o->network = false;
	if (!field || *field)
		return 0;
	if (field == &o->partition) {
		*field = partition_name(p);
		return 0;
	}
	/* Odd names are not ours; a mark keeps them from matching. */
	*field = ascii_of(p + 4, len - 4, '?');
	for (char *c = *field; c && *c; c++)
		if (*c == '\\')
			*c = '/';
	return *field ? 0 : -ENOMEM;
}

/* UEFI 2.10, 3.1.3: attributes, length of the device path, title, device path, data. */
static int parse_load_option(const struct buf *b, struct load_option *o)
{
	const unsigned char *p = b->data + 6, *end = b->data + b->len, *paths;
	uint32_t attributes;
	size_t n;
	int err = 0;

	if (b->len < 6)
		return -EBADMSG;
	attributes = le32(b->data);
	o->active = attributes & 1;
	o->boots = !(attributes & 0x1f00);
	for (paths = p; end - paths >= 2 && le16(paths); paths += 2)
		;
	if (end - paths < 2 || end - paths - 2 < le16(b->data + 4))
		return -EBADMSG;
	o->title = ascii_of(p, paths - p, ' ');
	p = paths + 2;
	end = p + le16(b->data + 4);
	for (; !err; p += n) {
		if (end - p < 4)
			return -EBADMSG;
		n = le16(p + 2);
		if (p[0] == NODE_END)
			break;
		if (n < 4 || n > (size_t)(end - p))
			return -EBADMSG;
		err = take_node(o, p, n);
	}
	o->more.len = b->data + b->len - end;
	o->more.data = malloc(o->more.len + 1);
	if (o->more.data)
		memcpy(o->more.data, end, o->more.len);
	return err ? err : o->more.data && o->title ? 0 : -ENOMEM;
}

void load_option_free(struct load_option *o)
{
	free(o->title);
	free(o->partition);
	free(o->file);
	buf_free(&o->more);
	memset(o, 0, sizeof(*o));
}

int efi_load_option(const struct host *h, uint16_t number, struct load_option *out)
{
	char name[16];
	struct buf b;
	int err;

	memset(out, 0, sizeof(*out));
	snprintf(name, sizeof(name), "Boot%04X", number);
	err = efivar_read(h, name, EFI_GLOBAL_GUID, &b);
	if (err)
		return err;
	err = parse_load_option(&b, out);
	if (err)
		load_option_free(out);
	buf_free(&b);
	return err;
}

int efi_numbers(const struct host *h, const char *name, uint16_t *list, size_t max)
{
	struct buf b;
	int n = efivar_read(h, name, EFI_GLOBAL_GUID, &b);

	if (n)
		return n;
	n = b.len % 2 || b.len / 2 > max ? -EBADMSG : (int)(b.len / 2);
	for (int i = 0; i < n; i++)
		list[i] = le16(b.data + 2 * i);
	buf_free(&b);
	return n;
}

const char *const efi_removable[] = {
	"/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/BOOTAA64.EFI", "/EFI/BOOT/BOOTIA32.EFI", NULL
};

bool efi_boot_option(const struct host *h, struct load_option *out)
{
	uint16_t number;

	return efi_numbers(h, "BootCurrent", &number, 1) == 1 && !efi_load_option(h, number, out);
}

char *efi_boot_file(const struct host *h)
{
	struct load_option o;
	char *file;

	if (!efi_boot_option(h, &o))
		return NULL;
	file = o.file;
	o.file = NULL;
	load_option_free(&o);
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
