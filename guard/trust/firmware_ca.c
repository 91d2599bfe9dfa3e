// SPDX-License-Identifier: GPL-2.0-or-later
/* Reads db, KEK and dbx, and asks by them who signed the programs that boot this host. */
#include "guard/trust/firmware_ca.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/base/util.h"
#include "guard/host/bootfile.h"
#include "guard/host/efivars.h"
#include "guard/host/esp.h"
#include "guard/host/firmware.h"
#include "guard/trust/authenticode.h"
#include "guard/trust/cert.h"

#define IMAGE_MAX (256u << 20)	/* a unified image has an initramfs in it */
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
	struct buf read;	/* if it is kept here */
	const struct buf *raw;
	X509 *certs[CERTS_MAX];
	size_t count;
	bool hashes;	/* of programs */
	bool unread;	/* entries of an unknown kind, damaged certificates, or too many */
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
	l->hashes |= type >= EFI_SIG_SHA1 && type <= EFI_SIG_SHA512;
	l->unread |= type == EFI_SIG_X509 || type == EFI_SIG_OTHER;
	return 0;
}

static void parse_list(const struct buf *raw, struct list *l)
{
	memset(l, 0, sizeof(*l));
	l->raw = raw;
	l->err = efi_siglist_walk(raw, take, l);
}

static void read_list(const struct host *h, const char *name, const char *guid,
		      struct list *l)
{
	struct buf b = { 0 };
	int err = efivar_read(h, name, guid, &b);

	parse_list(&b, l);
	l->read = b;
	l->raw = &l->read;
	/* Firmware without such a list, if its variables can be read at all. */
	if (err)
		l->err = err == -ENOENT && !efivars_readable(h) ? -ENODATA : err;
}

static void free_list(struct list *l)
{
	for (size_t i = 0; i < l->count; i++)
		X509_free(l->certs[i]);
	buf_free(&l->read);
}

/* A program or a certificate whose hash is looked for. Each kind is made once. */
struct hashes {
	enum efi_sig first, last;	/* the kinds that are of it */
	int (*make)(const void *of, const EVP_MD *md, unsigned char *hash);
	const void *of;
	bool made[EFI_SIG_OTHER];
	unsigned char hash[EFI_SIG_OTHER][EVP_MAX_MD_SIZE];
	bool found, unsure;
};

static const unsigned char from_ever[16];	/* a time of EFI */

static int compare_hash(void *arg, enum efi_sig type, const unsigned char *data, size_t len)
{
	struct hashes *s = arg;
	size_t size, time = s->first == EFI_SIG_X509_SHA256 ? sizeof(from_ever) : 0;
	int err;

	if (type < s->first || type > s->last)
		return 0;
	size = EVP_MD_size(efi_sig_md(type));
	if (!s->made[type]) {
		err = s->make(s->of, efi_sig_md(type), s->hash[type]);
		if (err)
			return err;
		s->made[type] = true;
	}
	if (len != size + time)
		s->unsure = true;
	else if (memcmp(data, s->hash[type], size))
		return 0;
	/* Revoked from a day on: what was signed before is trusted, if its time stamp holds. */
	else if (time && memcmp(data + size, from_ever, time))
		s->unsure = true;
	else
		s->found = true;
	return 0;
}

static int hash_image(const void *image, const EVP_MD *md, unsigned char *hash)
{
	return pe_hash(image, md, hash);
}

static int hash_cert(const void *cert, const EVP_MD *md, unsigned char *hash)
{
	return cert_tbs_hash((X509 *)cert, md, hash);
}

/* Is it in the list by its hash? 0, or -errno of hashing; a damaged list is said elsewhere. */
static int find_hash(const struct list *l, struct hashes *s, bool *found, bool *unsure)
{
	int err = l->err ? 0 : efi_siglist_walk(l->raw, compare_hash, s);

	*found |= s->found;
	*unsure |= s->unsure;
	return err;
}

static int find_image(const struct list *l, const struct buf *image, enum efi_sig first,
		      enum efi_sig last, bool *found, bool *unsure)
{
	struct hashes s = { .first = first, .last = last, .make = hash_image, .of = image };

	return find_hash(l, &s, found, unsure);
}

static int find_cert(const struct list *l, X509 *cert, bool *found, bool *unsure)
{
	struct hashes s = { .first = EFI_SIG_X509_SHA256, .last = EFI_SIG_X509_SHA512,
			    .make = hash_cert, .of = cert };

	return find_hash(l, &s, found, unsure);
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
	/* What was not read may be the other one. */
	if (l->unread && !(old && new))
		return CA_UNKNOWN;
	return old && new ? CA_BOTH : old ? CA_2011 : new ? CA_2023 : CA_OWN;
}

/* dbx has its certificate, or the hash of one that db has. 0 or -ENOMEM */
static int read_revoked(struct list *db, struct list *dbx, bool *out)
{
	static const char *const of_2011[] = { UEFI_2011, WINDOWS_2011 };
	char hex[2 * SHA256_DIGEST_LENGTH + 1];
	bool unsure = false;
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(of_2011); i++)
		*out |= has_key(dbx, of_2011[i]);
	for (size_t i = 0; i < db->count && !err; i++) {
		err = key_hash(db->certs[i], hex);
		if (!err && (!strcmp(hex, UEFI_2011) || !strcmp(hex, WINDOWS_2011)))
			err = find_cert(dbx, db->certs[i], out, &unsure);
	}
	return err;
}

/* ---- will it be started? ---- */

struct looking {
	const struct list *db, *dbx;
	struct boot_program *program;
	bool trusted, revoked;
	bool unsure;		/* firmware may see it otherwise */
};

/*
 * Are the certificates that a signature brings in dbx by their hashes? Firmware asks that of a
 * signature that it has not verified, and may refuse one without its signer. 0 or -ENOMEM.
 */
static int find_brought(struct looking *l, const struct pe_signature *s)
{
	int count = s->certs ? sk_X509_num(s->certs) : 0, err = 0;

	l->unsure |= !s->signer || count > PE_CERTS_MAX;
	for (int i = 0; i < count && i < PE_CERTS_MAX && !err; i++)
		err = find_cert(l->dbx, sk_X509_value(s->certs, i), &l->revoked, &l->unsure);
	return err;
}

/* One of several signatures is enough to be trusted, and to be revoked. 0 or -ENOMEM. */
static int follow_chain(struct looking *l, const struct pe_signature *s)
{
	int err = 0;

	for (size_t i = 0; i < l->dbx->count && !l->revoked; i++)
		l->revoked = pe_signature_leads_to(s, l->dbx->certs[i]);
	for (size_t i = 0; i < l->db->count && !err; i++)
		if (pe_signature_leads_to(s, l->db->certs[i])) {
			l->trusted = true;
			err = find_cert(l->dbx, l->db->certs[i], &l->revoked, &l->unsure);
		}
	return err;
}

static int look(void *arg, const struct pe_signature *s)
{
	struct looking *l = arg;
	char *name = name_text(s->issuer), *was = l->program->signers;
	int err = find_brought(l, s);

	l->program->signers = name ? text_of("%s%s%s", was ? was : "", was ? ", " : "", name) :
				     NULL;
	free(was);
	free(name);
	if (!err && s->state == PE_SIG_GOOD)
		err = follow_chain(l, s);
	l->unsure |= s->state == PE_SIG_UNDECIDED;
	l->program->signed_as_is |= s->state != PE_SIG_BAD;
	return l->program->signers ? err : -ENOMEM;
}

static int look_all(struct looking *l, const struct buf *image)
{
	int err = pe_signatures_walk(image, look, l);

	if (!err)
		err = find_image(l->db, image, EFI_SIG_SHA256, EFI_SIG_SHA256, &l->trusted,
				 &l->unsure);
	/* EDK II compares other hashes only if a signature is made with them. */
	if (!err && !l->trusted)
		err = find_image(l->db, image, EFI_SIG_SHA1, EFI_SIG_SHA512, &l->unsure,
				 &l->unsure);
	if (!err)
		err = find_image(l->dbx, image, EFI_SIG_SHA1, EFI_SIG_SHA512, &l->revoked,
				 &l->unsure);
	return err;
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
	err = look_all(&l, &image);
	buf_free(&image);
	if (err == -ENOMEM)
		return err;
	program->boots = err || db->err || (dbx->err && dbx->err != -ENOENT) ? BOOTS_UNKNOWN :
			 l.revoked ? BOOTS_NO :
			 l.unsure || (l.trusted ? dbx : db)->unread ? BOOTS_UNKNOWN :
			 l.trusted ? BOOTS_YES : BOOTS_NO;
	return 0;
}

/* ---- what boots here ---- */

/* By its name: that of the path for removable disks may be anything's. */
static bool is_shim(const char *file)
{
	const char *name = strrchr(file, '/');

	return name && (!strncasecmp(name, "/shim", 5) ||
			!strncasecmp(name, "/boot", 5));
}

/*
 * What this boot started from, and in *path where that is to be seen, or NULL; without a
 * file the firmware takes that for removable disks.
 */
static char *started_file(const struct host *h, char **path)
{
	struct load_option o;
	char *file;

	*path = NULL;
	if (!efi_boot_option(h, &o))
		return NULL;
	file = o.file;
	o.file = NULL;
	if (file)
		*path = esp_file(h, o.partition, file, NULL);
	for (size_t i = 0; !file && efi_removable[i]; i++) {
		*path = esp_file(h, o.partition, efi_removable[i], NULL);
		file = *path ? strdup(efi_removable[i]) : NULL;
	}
	load_option_free(&o);
	return file;
}

/* A kernel, a unified image, systemd-boot: none of them is shim, whatever it is named. */
static bool is_another_file(const char *path)
{
	char *release = boot_file_release(path);
	bool is = release || boot_file_has(path, ".linux") || boot_file_has(path, ".sdmagic");

	free(release);
	return is;
}

bool firmware_is_shim(const char *path)
{
	struct buf b;
	int err;

	if (is_another_file(path))
		return false;
	/* What each shim since version 0.9 has, and nothing else. */
	err = boot_file_content(path, ".vendor_cert", 1u << 20, &b);
	buf_free(&b);
	if (!err || err == -EFBIG || err == -EEXIST)
		return true;
	/* The place of removable disks may have GRUB itself. */
	return is_shim(path) && (err != -ENOENT || strcasestr(strrchr(path, '/'), "/shim"));
}

bool firmware_without_shim(const struct host *h)
{
	static const char *const left[] = {
		"MokListRT", "MokListXRT", "MokListTrustedRT", "SbatLevelRT",
	};
	char *path = NULL, *file = efivars_readable(h) ? started_file(h, &path) : NULL;
	bool without = file && (!is_shim(file) || (path && is_another_file(path)));

	for (size_t i = 0; without && i < ARRAY_SIZE(left); i++) {
		struct buf b;
		int err = efivar_read(h, left[i], SHIM_GUID, &b);

		if (!err)
			buf_free(&b);
		without = err == -ENOENT;
	}
	free(path);
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

/* A file in the folder of another; malloc'ed, NULL: it is not there. */
static char *in_folder_of(const char *file, const char *name, const char *kind)
{
	char *path = text_of("%.*s/%s%s.efi", (int)(strrchr(file, '/') - file), file, name, kind);

	if (path && !path_exists(path)) {
		free(path);
		path = NULL;
	}
	return path;
}

/* Builds of SUSE name no architecture: shim.efi, grub.efi, MokManager.efi. */
char *beside_shim(const char *file, const char *name)
{
	static const char *const kinds[] = { "x64", "aa64", "ia32" };
	const char *slash = strrchr(file, '/'), *kind = NULL;
	const char *plain = !strcmp(name, "mm") ? "MokManager" : !strcmp(name, "fb") ? "fallback" : name;
	char *path = NULL;

	for (size_t i = 0; slash && i < ARRAY_SIZE(kinds) && !kind; i++)
		kind = strcasestr(slash, kinds[i]) ? kinds[i] : NULL;
	if (slash && kind)
		path = in_folder_of(file, name, kind);
	if (slash && !path)
		path = in_folder_of(file, plain, "");
	for (size_t i = 0; slash && !kind && i < ARRAY_SIZE(kinds) && !path; i++)
		path = in_folder_of(file, name, kinds[i]);
	return path;
}

/* Takes over path. */
static int judge_second(const struct host *h, char *path, const struct list *db,
			const struct list *dbx, struct boot_program *out)
{
	struct list mok;
	int err = judge(out, path, db, dbx);

	read_list(h, "MokListRT", SHIM_GUID, &mok);
	if (out->boots != BOOTS_NO || out->signed_as_is || mok.hashes ||
	    (mok.err && mok.err != -ENOENT))
		out->boots = BOOTS_UNKNOWN;
	free_list(&mok);
	return err;
}

static int read_programs(const struct host *h, const struct list *db,
			 const struct list *dbx, struct firmware_ca *f)
{
	char *path, *file = started_file(h, &path);
	int err;

	if (!file || strstr(file, "..")) {
		free(path);
		free(file);
		return 0;
	}
	err = judge(&f->first, path, db, dbx);
	if (!err && !f->first.path) {
		f->first.missing = strdup(file);
		err = f->first.missing ? 0 : -ENOMEM;
	}
	if (!err && f->first.path && is_shim(file) && !is_another_file(f->first.path))
		err = judge_second(h, beside_shim(f->first.path, "grub"), db, dbx, &f->second);
	free(file);
	return err;
}

void boot_program_free(struct boot_program *p)
{
	free(p->path);
	free(p->signers);
	free(p->missing);
	memset(p, 0, sizeof(*p));
}

void firmware_ca_free(struct firmware_ca *f)
{
	boot_program_free(&f->first);
	boot_program_free(&f->second);
	memset(f, 0, sizeof(*f));
}

int firmware_ca_read(const struct host *h, struct firmware_ca *out)
{
	struct list db, kek, dbx;
	int on, err;

	memset(out, 0, sizeof(*out));
	if (host_secure_boot(h) == SB_NO_EFI)
		return 0;
	/*
	 * What shim was told not to check says nothing of what the firmware does. If it cannot be
	 * read, it may be on.
	 */
	on = efivar_flag(h, "SecureBoot", EFI_GLOBAL_GUID);
	out->enforces = on && on != -ENOENT &&
			efivar_flag(h, "SetupMode", EFI_GLOBAL_GUID) != 1;
	read_list(h, "db", EFI_SECURITY_GUID, &db);
	read_list(h, "dbx", EFI_SECURITY_GUID, &dbx);
	read_list(h, "KEK", EFI_GLOBAL_GUID, &kek);
	out->db = state_of(&db, UEFI_2011, UEFI_2023);
	out->kek = state_of(&kek, KEK_2011, KEK_2023);
	err = read_revoked(&db, &dbx, &out->dbx_2011);
	if (!err)
		err = read_programs(h, &db, &dbx, out);
	free_list(&db);
	free_list(&dbx);
	free_list(&kek);
	if (err)
		firmware_ca_free(out);
	return err;
}

int firmware_starts(const struct host *h, const struct buf *db, const struct buf *dbx,
		    struct boot_program *out)
{
	struct list trusted, revoked;
	char *path, *file = started_file(h, &path);
	int err = 0;

	memset(out, 0, sizeof(*out));
	parse_list(db, &trusted);
	parse_list(dbx, &revoked);
	if (path)
		err = judge(out, path, &trusted, &revoked);
	free(file);
	free_list(&trusted);
	free_list(&revoked);
	return err;
}

int firmware_starts_file(const struct host *h, const char *path, struct boot_program *out)
{
	struct list db, dbx;
	char *copy = strdup(path);
	int err = copy ? 0 : -ENOMEM;

	memset(out, 0, sizeof(*out));
	read_list(h, "db", EFI_SECURITY_GUID, &db);
	read_list(h, "dbx", EFI_SECURITY_GUID, &dbx);
	if (!err)
		err = judge(out, copy, &db, &dbx);
	free_list(&db);
	free_list(&dbx);
	return err;
}

/*
 * Both, one behind the other, as far as they can be read; NAME may be NULL. *unread: why one
 * that is there cannot be; 0. 0 or -ENOMEM.
 */
static int join_lists(const struct host *h, const char *name, const char *mok, struct buf *out,
		      int *unread)
{
	struct buf a = { 0 }, b = { 0 };
	int err = name ? efivar_read(h, name, EFI_SECURITY_GUID, &a) : -ENOENT;

	*unread = err == -ENOENT ? 0 : err;
	if (err != -ENOMEM)
		err = efivar_read(h, mok, SHIM_GUID, &b);
	if (!*unread && err != -ENOENT)
		*unread = err;
	*out = (struct buf){ err == -ENOMEM ? NULL : malloc(a.len + b.len + 1), a.len + b.len };
	if (out->data && a.len)
		memcpy(out->data, a.data, a.len);
	if (out->data && b.len)
		memcpy(out->data + a.len, b.data, b.len);
	buf_free(&a);
	buf_free(&b);
	if (out->data)
		return 0;
	out->len = 0;
	return -ENOMEM;
}

int firmware_shim_starts(const struct host *h, const char *path, struct boot_program *out)
{
	struct buf trusted = { 0 }, refused = { 0 };
	struct list db, dbx;
	char *copy = strdup(path);
	/* Told to ignore db, shim takes its own lists alone. */
	const char *db_name = efivar_flag(h, "MokIgnoreDB", SHIM_GUID) < 0 ? "db" : NULL;
	int db_err = 0, dbx_err = 0;
	int err = copy ? join_lists(h, db_name, "MokListRT", &trusted, &db_err) : -ENOMEM;

	memset(out, 0, sizeof(*out));
	if (!err)
		err = join_lists(h, "dbx", "MokListXRT", &refused, &dbx_err);
	parse_list(&trusted, &db);
	parse_list(&refused, &dbx);
	db.err = db_err ? db_err : db.err;
	dbx.err = dbx_err ? dbx_err : dbx.err;
	if (!err)
		err = judge(out, copy, &db, &dbx);
	else
		free(copy);
	free_list(&db);
	free_list(&dbx);
	buf_free(&trusted);
	buf_free(&refused);
	return err;
}

int firmware_second_file(const struct host *h, const char *path, struct boot_program *out)
{
	struct list db, dbx;
	char *second = is_shim(path) && !is_another_file(path) ? beside_shim(path, "grub") : NULL;
	int err = 0;

	memset(out, 0, sizeof(*out));
	if (!second)
		return 0;
	read_list(h, "db", EFI_SECURITY_GUID, &db);
	read_list(h, "dbx", EFI_SECURITY_GUID, &dbx);
	err = judge_second(h, second, &db, &dbx, out);
	free_list(&db);
	free_list(&dbx);
	return err;
}

const char *firmware_ca_meaning(const struct firmware_ca *f)
{
	if (f->first.boots == BOOTS_NO)
		return "the firmware trusts none of those who signed what it starts, or it was "
		       "changed after that: with Secure Boot on, the next boot stops there";
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

const char *firmware_ca_refused_step(void)
{
	return "before the reboot, install the boot loader that was there before, or have the "
	       "firmware trust the signer of this one";
}

const char *firmware_ca_next_step(const struct firmware_ca *f)
{
	if (f->first.boots == BOOTS_NO)
		return firmware_ca_refused_step();
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
