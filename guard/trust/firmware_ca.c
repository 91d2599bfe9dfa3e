// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads db, KEK and dbx, and the signatures of the programs that boot this host. */
#include "guard/trust/firmware_ca.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/base/util.h"
#include "guard/host/bootfile.h"
#include "guard/host/efivars.h"
#include "guard/host/firmware.h"
#include "guard/trust/cert.h"

#define IMAGE_MAX (64u << 20)
#define SIGNATURES_MAX 16
#define CHAIN_MAX 8
#define CERTS_MAX 256

const char *ca_state_word(enum ca_state s)
{
	static const char *const words[] = {
		"not-applicable", "unknown", "own", "2011", "2023", "both",
	};

	return words[s];
}

/* ---- the lists of the firmware ---- */

struct list {
	X509 *certs[CERTS_MAX];
	size_t count;
	bool others;	/* entries that are no certificates, or too many */
	int err;	/* of reading; -ENOENT: there is none */
};

static int take(void *arg, enum efi_sig type, const unsigned char *data, size_t len)
{
	struct list *l = arg;
	X509 *x509 = type == EFI_SIG_X509 ? d2i_X509(NULL, &data, len) : NULL;

	ERR_clear_error();
	if (x509 && l->count < CERTS_MAX) {
		l->certs[l->count++] = x509;
		return 0;
	}
	X509_free(x509);
	l->others = true;
	return 0;
}

static void read_list(const struct host *h, const char *name, const char *guid,
		      struct list *l)
{
	struct buf b;

	memset(l, 0, sizeof(*l));
	l->err = efivar_read(h, name, guid, &b);
	/* Firmware without such a list, if its variables can be read at all. */
	if (l->err == -ENOENT && !efivars_readable(h))
		l->err = -ENODATA;
	if (l->err)
		return;
	l->err = efi_siglist_walk(&b, take, l);
	buf_free(&b);
}

static void free_list(struct list *l)
{
	for (size_t i = 0; i < l->count; i++)
		X509_free(l->certs[i]);
}

/*
 * Microsoft's authorities, by the SHA-256 of their SubjectPublicKeyInfo (DER): anyone can
 * make a certificate of the same name. Those of 2011 were read from db and KEK of
 * /usr/share/OVMF/OVMF_VARS_4M.ms.fd (Debian's ovmf 2022.11-6+deb12u2, which has none of
 * 2023), those of 2023 from virt/firmware/certs/ of python3-virt-firmware 24.11-2, which
 * has the same ones of 2011.
 */
static const char
	/* Microsoft Corporation UEFI CA 2011 */
	UEFI_2011[] = "2c627ccbb690409550ad6e2d46a03eb10aa6d62d272a5dc3c86a8863ae19b2bb",
	/* Microsoft UEFI CA 2023 */
	UEFI_2023[] = "f0f6d23f74457473749a72d5aa55b9efe491dd0bc3068905b019940abe8b5cc3",
	/* Microsoft Corporation KEK CA 2011 */
	KEK_2011[] = "8b0efb708d89cc30580fb810aee3bd1dd33f84e07b5ac7f0a43c428df286b899",
	/* Microsoft Corporation KEK 2K CA 2023 */
	KEK_2023[] = "0f5b9c6e752dc238a09810a1e58cf25d82c532bffd34e82480195e8243892e1a",
	/* Microsoft Windows Production PCA 2011 */
	WINDOWS_2011[] = "96fcf444012a77ea14f34f349c469c85e2749fce709e0bcdf2e5eab431cdccae";

/* X509_pubkey_digest() hashes the bare key, without its algorithm: not what is meant. */
static int key_hash(X509 *cert, char hex[2 * SHA256_DIGEST_LENGTH + 1])
{
	unsigned char hash[SHA256_DIGEST_LENGTH], *der = NULL;
	int len = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(cert), &der);
	bool done = len > 0 && EVP_Digest(der, len, hash, NULL, EVP_sha256(), NULL) == 1;

	OPENSSL_free(der);
	if (!done) {
		ERR_clear_error();
		return -ENOMEM;
	}
	hex_encode(hash, sizeof(hash), hex);
	return 0;
}

/* A list that cannot be compared is one that was not read. */
static bool has_key(struct list *l, const char *key)
{
	char hex[2 * SHA256_DIGEST_LENGTH + 1];

	for (size_t i = 0; i < l->count; i++) {
		int err = key_hash(l->certs[i], hex);

		if (err)
			l->err = err;
		else if (!strcmp(hex, key))
			return true;
	}
	return false;
}

/* Those for boot loaders of others than Microsoft, and those for the lists. */
static enum ca_state state_of(struct list *l, const char *of_2011, const char *of_2023)
{
	bool old = has_key(l, of_2011), new = has_key(l, of_2023);

	if (l->err && l->err != -ENOENT)
		return CA_UNKNOWN;
	return old && new ? CA_BOTH : old ? CA_2011 : new ? CA_2023 : CA_OWN;
}

/* ---- signatures of a PE image ---- */

static uint32_t le32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint16_t le16(const unsigned char *p)
{
	return p[0] | p[1] << 8;
}

#define PE_AT 0x3c
#define OPTIONAL_AT 24		/* after "PE\0\0" and the COFF header */
#define DIRECTORY_32 96		/* of data directories, in the optional header */
#define DIRECTORY_64 112
#define CERTIFICATES (4 * 8)	/* the entry for certificates, among those */
#define WIN_CERT_HEADER 8
#define WIN_CERT_PKCS7 2

/* Where the table of certificates is; -ENODATA: there is none. */
static int find_table(const struct buf *image, size_t *at, size_t *size)
{
	const unsigned char *p = image->data;
	size_t pe, directory;

	if (image->len < PE_AT + 4 || p[0] != 'M' || p[1] != 'Z')
		return -EBADMSG;
	pe = le32(p + PE_AT);
	if (pe > image->len || image->len - pe < OPTIONAL_AT + DIRECTORY_64 +
	    CERTIFICATES + 8 || memcmp(p + pe, "PE\0\0", 4))
		return -EBADMSG;
	switch (le16(p + pe + OPTIONAL_AT)) {
	case 0x10b: directory = pe + OPTIONAL_AT + DIRECTORY_32; break;
	case 0x20b: directory = pe + OPTIONAL_AT + DIRECTORY_64; break;
	default: return -EBADMSG;
	}
	/* How many directories there are stands before the first. */
	if (le32(p + directory - 4) <= CERTIFICATES / 8)
		return -ENODATA;
	*at = le32(p + directory + CERTIFICATES);
	*size = le32(p + directory + CERTIFICATES + 4);
	if (!*size)
		return -ENODATA;
	return *at <= image->len && *size <= image->len - *at ? 0 : -EBADMSG;
}

static X509_NAME *issuer_of(PKCS7 *p7, X509_NAME *subject)
{
	STACK_OF(X509) *certs = p7->d.sign->cert;

	for (int i = 0; certs && i < sk_X509_num(certs); i++) {
		X509 *c = sk_X509_value(certs, i);

		if (!X509_NAME_cmp(X509_get_subject_name(c), subject))
			return X509_get_issuer_name(c);
	}
	return NULL;
}

/* The issuer that a signature names, those above it, and at last the signer. */
static int walk_message(PKCS7 *p7, size_t number,
			int (*fn)(void *arg, size_t signature, const void *issuer),
			void *arg)
{
	STACK_OF(PKCS7_SIGNER_INFO) *infos = PKCS7_get_signer_info(p7);
	PKCS7_SIGNER_INFO *si = infos && sk_PKCS7_SIGNER_INFO_num(infos) ?
				sk_PKCS7_SIGNER_INFO_value(infos, 0) : NULL;
	X509_NAME *name = si && si->issuer_and_serial ?
			  si->issuer_and_serial->issuer : NULL;
	X509 *signer = name ? PKCS7_cert_from_signer_info(p7, si) : NULL;
	int err = name ? 0 : -EBADMSG;

	for (int depth = 0; name && !err && depth < CHAIN_MAX; depth++) {
		X509_NAME *above = issuer_of(p7, name);

		err = fn(arg, number, name);
		name = above && X509_NAME_cmp(above, name) ? above : NULL;
	}
	/* db may have the certificate of the signer itself. */
	if (!err && signer)
		err = fn(arg, number, X509_get_subject_name(signer));
	return err;
}

int pe_signers_walk(const struct buf *image,
		    int (*fn)(void *arg, size_t signature, const void *issuer),
		    void *arg)
{
	size_t at, size, number = 0;
	int err = find_table(image, &at, &size);

	if (err == -ENODATA)
		return 0;
	while (!err && size >= WIN_CERT_HEADER && number < SIGNATURES_MAX) {
		const unsigned char *p = image->data + at, *der;
		size_t len = le32(p);
		PKCS7 *p7;

		if (len < WIN_CERT_HEADER || len > size)
			return -EBADMSG;
		der = p + WIN_CERT_HEADER;
		if (le16(p + 6) == WIN_CERT_PKCS7) {
			p7 = d2i_PKCS7(NULL, &der, len - WIN_CERT_HEADER);
			err = p7 && PKCS7_type_is_signed(p7) ?
			      walk_message(p7, number++, fn, arg) : -EBADMSG;
			PKCS7_free(p7);
			ERR_clear_error();
		}
		len = (len + 7) & ~(size_t)7;
		at += len;
		size -= len < size ? len : size;
	}
	return err;
}

struct looking {
	const struct list *db, *dbx;
	struct boot_program *program;
	size_t last;		/* the signature that was named last, from 1 */
	bool trusted, revoked;
};

static bool names_one(const struct list *l, const X509_NAME *name)
{
	for (size_t i = 0; i < l->count; i++)
		if (!X509_NAME_cmp(X509_get_subject_name(l->certs[i]), name))
			return true;
	return false;
}

static int look(void *arg, size_t signature, const void *issuer)
{
	struct looking *l = arg;
	char *name, *was = l->program->signers;

	if (names_one(l->db, issuer))
		l->trusted = true;
	/* One of several signatures is enough for that. */
	if (names_one(l->dbx, issuer))
		l->revoked = true;
	if (signature + 1 == l->last)
		return 0;
	l->last = signature + 1;
	name = name_text(issuer);
	l->program->signers = name ? text_of("%s%s%s", was ? was : "",
					     was ? ", " : "", name) : NULL;
	free(was);
	free(name);
	return l->program->signers ? 0 : -ENOMEM;
}

/* Takes over path. */
static int judge(struct boot_program *program, char *path, const struct list *db,
		 const struct list *dbx)
{
	struct looking l = { .db = db, .dbx = dbx, .program = program };
	struct buf image;
	int err = path ? file_read(path, IMAGE_MAX, &image) : -ENOENT;

	if (err == -ENOENT) {
		free(path);
		return 0;
	}
	program->path = path;
	if (err)
		return err == -ENOMEM ? err : 0;
	err = pe_signers_walk(&image, look, &l);
	buf_free(&image);
	if (err == -ENOMEM)
		return err;
	/* A list that was not read, or an image's own hash in db: it may boot. */
	program->boots = err || db->err || (dbx->err && dbx->err != -ENOENT) ?
			 BOOTS_UNKNOWN : l.revoked ? BOOTS_NO : l.trusted ? BOOTS_YES :
			 db->others ? BOOTS_UNKNOWN : BOOTS_NO;
	return 0;
}

/* ---- what boots here ---- */

/* Where the EFI partition has this file, by its path there; malloc'ed. */
static char *on_partition(const struct host *h, const char *file)
{
	static const char *const places[] = { "/boot/efi", "/efi", "/boot" };

	for (size_t i = 0; file && i < ARRAY_SIZE(places); i++) {
		char *rel = text_of("%s%s", places[i], file);
		char *path = rel && host_has(h, rel) ? host_path(h, rel) : NULL;

		free(rel);
		if (path)
			return path;
	}
	return NULL;
}

/* By its name: that of the path for removable disks may be anything's. */
static bool is_shim(const char *file)
{
	const char *name = strrchr(file, '/');

	return name && (!strncasecmp(name, "/shim", 5) ||
			!strncasecmp(name, "/boot", 5));
}

/* What this boot started from; without a file the firmware takes that for removable disks. */
static char *started_file(const struct host *h)
{
	static const char *const removable[] = {
		"/EFI/BOOT/BOOTX64.EFI", "/EFI/BOOT/BOOTAA64.EFI", "/EFI/BOOT/BOOTIA32.EFI",
	};
	struct load_option o;
	uint16_t number;
	char *file;

	if (efi_numbers(h, "BootCurrent", &number, 1) != 1 || efi_load_option(h, number, &o))
		return NULL;
	file = o.file;
	o.file = NULL;
	load_option_free(&o);
	for (size_t i = 0; !file && i < ARRAY_SIZE(removable); i++) {
		char *path = on_partition(h, removable[i]);

		file = path ? strdup(removable[i]) : NULL;
		free(path);
	}
	return file;
}

/* A kernel, a unified image, systemd-boot: none of them is shim, whatever it is named. */
static bool is_another(const struct host *h, const char *file)
{
	char *path = strstr(file, "..") ? NULL : on_partition(h, file);
	char *release = path ? boot_file_release(path) : NULL;
	bool is = release || (path && (boot_file_has(path, ".linux") ||
				       boot_file_has(path, ".sdmagic")));

	free(release);
	free(path);
	return is;
}

bool firmware_without_shim(const struct host *h)
{
	static const char *const left[] = {
		"MokListRT", "MokListXRT", "MokListTrustedRT", "SbatLevelRT",
	};
	char *file = efivars_readable(h) ? started_file(h) : NULL;
	bool without = file && (!is_shim(file) || is_another(h, file));

	for (size_t i = 0; without && i < ARRAY_SIZE(left); i++) {
		struct buf b;
		int err = efivar_read(h, left[i], SHIM_GUID, &b);

		if (!err)
			buf_free(&b);
		without = err == -ENOENT;
	}
	free(file);
	return without;
}

char *firmware_enrol_step(const struct host *h, const char *cert, bool again)
{
	if (firmware_without_shim(h))
		return strdup(ENROL_WITHOUT_SHIM);
	return text_of("kmodkeep key enroll%s%s%s", again ? " --again" : "",
		       cert ? " --cert " : "", cert ? cert : "");
}

/* What shim starts beside itself, of the same architecture: grubx64.efi. */
static char *beside_shim(const char *file)
{
	const char *slash = strrchr(file, '/');
	static const char *const kinds[] = { "x64", "aa64", "ia32" };

	for (size_t i = 0; slash && i < ARRAY_SIZE(kinds); i++)
		if (strcasestr(slash, kinds[i]))
			return text_of("%.*s/grub%s.efi", (int)(slash - file), file,
				       kinds[i]);
	return NULL;
}

static int read_programs(const struct host *h, const struct list *db,
			 const struct list *dbx, struct firmware_ca *f)
{
	const struct list none = { .count = 0 };
	char *file = efi_boot_file(h), *second;
	int err;

	if (!file || strstr(file, "..")) {
		free(file);
		return 0;
	}
	err = judge(&f->first, on_partition(h, file), db, dbx);
	if (!err && is_shim(file)) {
		second = beside_shim(file);
		/* shim has keys of its own besides db: who signed it is all that is told. */
		err = judge(&f->second, on_partition(h, second), &none, &none);
		f->second.boots = BOOTS_UNKNOWN;
		free(second);
	}
	free(file);
	return err;
}

void firmware_ca_free(struct firmware_ca *f)
{
	free(f->first.path);
	free(f->first.signers);
	free(f->second.path);
	free(f->second.signers);
	memset(f, 0, sizeof(*f));
}

int firmware_ca_read(const struct host *h, struct firmware_ca *out)
{
	struct list db, kek, dbx;
	int err;

	memset(out, 0, sizeof(*out));
	if (host_secure_boot(h) == SB_NO_EFI)
		return 0;
	/* What shim was told not to check says nothing of what the firmware does. */
	out->enforces = efivar_flag(h, "SecureBoot", EFI_GLOBAL_GUID) == 1 &&
			efivar_flag(h, "SetupMode", EFI_GLOBAL_GUID) != 1;
	read_list(h, "db", EFI_SECURITY_GUID, &db);
	read_list(h, "dbx", EFI_SECURITY_GUID, &dbx);
	read_list(h, "KEK", EFI_GLOBAL_GUID, &kek);
	out->db = state_of(&db, UEFI_2011, UEFI_2023);
	out->kek = state_of(&kek, KEK_2011, KEK_2023);
	out->dbx_2011 = has_key(&dbx, UEFI_2011) || has_key(&dbx, WINDOWS_2011);
	err = read_programs(h, &db, &dbx, out);
	free_list(&db);
	free_list(&dbx);
	free_list(&kek);
	if (err)
		firmware_ca_free(out);
	return err;
}

struct table {
	const unsigned char *data;
	size_t len;
};

static int is_in_table(void *arg, enum efi_sig type, const unsigned char *data, size_t len)
{
	const struct table *t = arg;

	return type == EFI_SIG_SHA256 && len == 32 && memmem(t->data, t->len, data, len);
}

/*
 * Is an image revoked by its own hash? Each of its signatures has that in it, and nothing
 * else there is the same by chance. 1, 0, or -errno.
 */
static int is_revoked(const char *path, const struct buf *dbx)
{
	struct buf image;
	size_t at, size;
	int ret = file_read(path, IMAGE_MAX, &image);

	if (ret)
		return ret;
	ret = find_table(&image, &at, &size);
	if (!ret) {
		struct table t = { image.data + at, size };

		ret = efi_siglist_walk(dbx, is_in_table, &t);
	}
	buf_free(&image);
	return ret;
}

int firmware_starts(const struct host *h, const struct buf *db, const struct buf *dbx,
		    struct boot_program *out)
{
	struct list trusted = { .err = 0 }, revoked = { .err = 0 };
	char *file = efi_boot_file(h);
	int err = 0;

	memset(out, 0, sizeof(*out));
	trusted.err = efi_siglist_walk(db, take, &trusted);
	revoked.err = efi_siglist_walk(dbx, take, &revoked);
	if (file && !strstr(file, ".."))
		err = judge(out, on_partition(h, file), &trusted, &revoked);
	if (!err && out->boots == BOOTS_YES) {
		int ret = is_revoked(out->path, dbx);

		out->boots = ret == 0 ? BOOTS_YES : ret == 1 ? BOOTS_NO : BOOTS_UNKNOWN;
	}
	free(file);
	free_list(&trusted);
	free_list(&revoked);
	return err;
}

const char *firmware_ca_meaning(const struct firmware_ca *f)
{
	if (f->first.boots == BOOTS_NO)
		return "the firmware trusts none of those who signed what it starts: with "
		       "Secure Boot on, the next boot stops there";
	switch (f->db) {
	case CA_2011:
		return "a shim that is signed by Microsoft's authority of 2023 alone does "
		       "not boot here, and new ones are";
	case CA_BOTH:
	case CA_2023:
		return f->kek == CA_2011 ?
		       "updates of db and dbx that are signed by Microsoft's authority of "
		       "2023 are refused here" : NULL;
	case CA_UNKNOWN:
		return "which of Microsoft's authorities the firmware trusts could not be "
		       "read";
	default:
		return NULL;
	}
}

const char *firmware_ca_next_step(const struct firmware_ca *f)
{
	if (f->first.boots == BOOTS_NO)
		return "before the reboot, install the boot loader that was there before, "
		       "or have the firmware trust the signer of this one";
	if (f->db == CA_UNKNOWN)
		return "ask again as root, with efivarfs mounted";
	if (f->db == CA_2011 || ((f->db == CA_BOTH || f->db == CA_2023) &&
				 f->kek == CA_2011))
		return "update the firmware, or have it take Microsoft's certificates of "
		       "2023: fwupdmgr update";
	return NULL;
}

static struct json_object *program_json(const struct boot_program *p)
{
	static const char *const words[] = { "unknown", "yes", "no" };
	struct json_object *o = json_object_new_object();

	json_add(o, "path", p->path);
	json_add(o, "signers", p->signers);
	json_add(o, "boots", words[p->boots]);
	return o;
}

struct json_object *firmware_ca_json(const struct firmware_ca *f)
{
	struct json_object *o = json_object_new_object();

	json_add(o, "db", ca_state_word(f->db));
	json_add(o, "kek", ca_state_word(f->kek));
	json_add_bool(o, "dbx_2011", f->dbx_2011);
	json_object_object_add(o, "first", program_json(&f->first));
	json_object_object_add(o, "second", program_json(&f->second));
	json_add(o, "message", firmware_ca_meaning(f));
	json_add(o, "next_step", firmware_ca_next_step(f));
	return o;
}
