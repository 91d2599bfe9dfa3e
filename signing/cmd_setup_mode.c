// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * key enroll --via setup-mode: firmware without a platform key takes lists of keys from
 * the system that runs, without a person at the console. The platform key comes last:
 * until then the firmware stays in Setup Mode, and a run that was ended is gone on with
 * by the next.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/efivars.h"
#include "guard/host/firmware.h"
#include "guard/host/kernels.h"
#include "guard/trust/cert.h"
#include "guard/trust/firmware_ca.h"
#include "guard/trust/rules.h"
#include "signing/authvar.h"
#include "signing/keystate.h"
#include "signing/keyverb.h"
#include "signing/newkey.h"
#include "signing/signkey.h"

#define DB_CERTS_MAX 8

static const char usage[] =
"Usage: kmodkeep key enroll --via setup-mode [--cert FILE] [OPTION...]\n"
"Puts this host's signing key, or the certificate FILE, into the firmware's list db,\n"
"without a password and a boot menu, and ends the firmware's Setup Mode, in which it\n"
"must be: delete the platform key (PK) in the firmware's set-up before.\n"
"\n"
"  --db-cert FILE    one more certificate for db, up to 8\n"
"  --without-vendor  keep nothing of the lists db and KEK that are there, or that the\n"
"                    firmware has for new ones: neither shim nor the programs on\n"
"                    plug-in cards start then, unless their signer is given\n"
"  --platform-key FILE --platform-cert FILE  the platform key, by which later changes\n"
"                    are signed: PEM key or pkcs11:... (default: one that is made and\n"
"                    destroyed, so that later changes need Setup Mode again)\n"
"  --pin-file FILE   the token's PIN, in a file with mode 0600\n"
"  --force           even if the firmware would not start what it started now, or\n"
"                    that is not known\n"
"  --dry-run         only say what would be written\n"
"  --output DIR      write dbx.auth, db.auth, KEK.auth and PK.auth into DIR, for the\n"
"                    firmware's own set-up to read, instead of into the firmware\n"
"  --root DIR        with --dry-run or --output: the system installed under DIR\n"
"\n"
"Exit code: 0 enrolled, or not needed here; 1 not; 2 wrong usage; 3 could not tell.\n";

struct options {
	const char *root, *cert, *platform_key, *platform_cert, *pin_file, *output;
	const char *db_certs[DB_CERTS_MAX];
	size_t db_count;
	bool without_vendor, force, dry_run;
};

/* In the order of writing: what is revoked first, what ends Setup Mode last. */
enum { DBX, DB, KEK, PK, LISTS };

static const struct {
	struct authvar var;
	const char *defaults;	/* what the firmware has for a new list */
} lists[LISTS] = {
	[DBX] = { { "dbx", EFI_SECURITY_GUID }, "dbxDefault" },
	[DB] = { { "db", EFI_SECURITY_GUID }, "dbDefault" },
	[KEK] = { { "KEK", EFI_GLOBAL_GUID }, "KEKDefault" },
	[PK] = { { "PK", EFI_GLOBAL_GUID }, NULL },
};

struct plan {
	struct {
		struct buf now, want, update;
		size_t kept;
		bool write;
	} list[LISTS];
	struct signkey *platform;	/* NULL: a key that is made for this */
	X509 *pk_cert;
	EVP_PKEY *pk_key;
	bool own_pk;			/* the two are not platform's */
};

/* EXIT_YES to go on, -1 after --help, else the code to end with. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "via", required_argument, NULL, 'v' },
		{ "cert", required_argument, NULL, 'c' },
		{ "db-cert", required_argument, NULL, 'd' },
		{ "without-vendor", no_argument, NULL, 'w' },
		{ "platform-key", required_argument, NULL, 'k' },
		{ "platform-cert", required_argument, NULL, 'P' },
		{ "pin-file", required_argument, NULL, 'p' },
		{ "force", no_argument, NULL, 'f' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "output", required_argument, NULL, 'o' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'v': break;
		case 'c': o->cert = optarg; break;
		case 'd':
			if (o->db_count == DB_CERTS_MAX)
				return complain(EXIT_USAGE, "key enroll: --db-cert "
						"may be given %d times", DB_CERTS_MAX);
			o->db_certs[o->db_count++] = optarg;
			break;
		case 'w': o->without_vendor = true; break;
		case 'k': o->platform_key = optarg; break;
		case 'P': o->platform_cert = optarg; break;
		case 'p': o->pin_file = optarg; break;
		case 'f': o->force = true; break;
		case 'n': o->dry_run = true; break;
		case 'o': o->output = optarg; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option("key enroll", argv, c);
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "key enroll: unexpected argument '%s'",
				argv[optind]);
	if (!o->platform_key != !o->platform_cert)
		return complain(EXIT_USAGE, "key enroll: --platform-key needs "
				"--platform-cert, and the other way round");
	return EXIT_YES;
}

static void plan_free(struct plan *p)
{
	for (size_t i = 0; i < LISTS; i++) {
		buf_free(&p->list[i].now);
		buf_free(&p->list[i].want);
		buf_free(&p->list[i].update);
	}
	signkey_free(p->platform);
	if (p->own_pk) {
		X509_free(p->pk_cert);
		EVP_PKEY_free(p->pk_key);
	}
}

static int count_one(void *arg, enum efi_sig type, const unsigned char *data, size_t len)
{
	(void)type;
	(void)data;
	(void)len;
	++*(size_t *)arg;
	return 0;
}

/* 0, also where there is no such list; -EBADMSG: it is none; or the error of reading. */
static int read_list(const struct host *h, const char *name, const char *guid,
		     struct buf *out, size_t *entries)
{
	int err = efivar_read(h, name, guid, out);

	*entries = 0;
	if (err == -ENOENT)
		return efivars_readable(h) ? 0 : -ENODATA;
	return err ? err : efi_siglist_walk(out, count_one, entries);
}

static int copy(struct buf *to, const struct buf *from)
{
	to->data = malloc(from->len + 1);
	if (!to->data)
		return -ENOMEM;
	if (from->len)
		memcpy(to->data, from->data, from->len);
	to->len = from->len;
	return 0;
}

/* What is there and what of it stays: a list that is empty is begun with its default. */
static int read_lists(const struct host *h, const struct options *o, struct plan *p,
		      const char **name)
{
	int err = 0;

	for (size_t i = 0; i < PK && !err; i++) {
		size_t entries, vendors = 0;
		struct buf defaults = { 0 };
		const char *guid = lists[i].var.guid;

		*name = lists[i].var.name;
		err = read_list(h, *name, guid, &p->list[i].now, &entries);
		if (!err && !entries) {
			*name = lists[i].defaults;
			err = read_list(h, *name, EFI_GLOBAL_GUID, &defaults, &vendors);
		}
		/* What is revoked stays so, in either's list. */
		if (!err && (!o->without_vendor || i == DBX)) {
			err = copy(&p->list[i].want, entries ? &p->list[i].now : &defaults);
			p->list[i].kept = entries ? entries : vendors;
		}
		buf_free(&defaults);
	}
	return err;
}

static int add(struct buf *list, X509 *cert)
{
	return siglist_has(list, cert) ? 0 : siglist_add(list, cert);
}

static int add_wanted(const struct options *o, const struct keystate *s, struct plan *p)
{
	int err = add(&p->list[DB].want, s->key->cert);

	if (err)
		return complain_errno(err, "key enroll");
	for (size_t i = 0; i < o->db_count; i++) {
		X509 *cert = NULL;

		err = cert_read(o->db_certs[i], &cert);
		if (err == -EBADMSG)
			return complain(EXIT_NO, "%s is not a certificate; nothing changed",
					o->db_certs[i]);
		if (!err)
			err = add(&p->list[DB].want, cert);
		X509_free(cert);
		if (err)
			return complain_errno(err, o->db_certs[i]);
	}
	err = p->platform ? add(&p->list[KEK].want, p->platform->cert) : 0;
	for (size_t i = 0; i < PK && !err; i++) {
		const struct buf *now = &p->list[i].now, *want = &p->list[i].want;

		p->list[i].write = now->len != want->len ||
				   (want->len && memcmp(now->data, want->data, now->len));
	}
	p->list[PK].write = true;
	return err ? complain_errno(err, "key enroll") : EXIT_YES;
}

static int load_platform(const struct host *h, const struct options *o, struct plan *p)
{
	int err;

	if (!o->platform_key)
		return EXIT_YES;
	err = signkey_given(o->platform_key, o->platform_cert, o->pin_file, &p->platform);
	if (!err)
		err = signkey_load(h, p->platform);
	if (err == -EKEYREJECTED)
		return complain(EXIT_NO, "%s; nothing changed. Next: %s", p->platform->problem,
				p->platform->next_step);
	return err ? complain_errno(err, o->platform_key) : EXIT_YES;
}

/* Is the firmware as it must be? EXIT_YES; -1: there is no need; or the code to end with. */
static int check_firmware(const struct host *h, const struct options *o,
			  const struct keystate *s, const struct plan *p)
{
	int setup = efivar_flag(h, "SetupMode", EFI_GLOBAL_GUID);

	if (siglist_has(&p->list[DBX].want, s->key->cert))
		return complain(EXIT_NO, "the firmware's list dbx revokes the key '%s'; nothing "
				"changed. Next: use another key", s->name);
	if (setup == 0 && siglist_has(&p->list[DB].now, s->key->cert)) {
		printf("kmodkeep: the key '%s' is in the firmware's list db\n", s->name);
		return -1;
	}
	if (setup < 0)
		return complain(EXIT_UNSURE, "the firmware does not say whether it is in Setup Mode "
				"(SetupMode: %s); nothing changed. Next: mount efivarfs on "
				"/sys/firmware/efi/efivars, and run it as root", strerror(-setup));
	if (setup != 1)
		return complain(EXIT_NO, "the firmware is not in Setup Mode; nothing changed. Next: "
				"delete the platform key (PK) alone in the firmware's set-up, then "
				"again; or kmodkeep key enroll");
	if (!o->dry_run && !o->output && efivars_read_only(h))
		return complain(EXIT_NO, "/sys/firmware/efi/efivars is mounted read-only; nothing "
				"changed. Next: mount -o remount,rw /sys/firmware/efi/efivars");
	return EXIT_YES;
}

/* Would it still start what it started now? A firmware that starts nothing is lost. */
static int check_start(const struct host *h, const struct options *o, const struct plan *p)
{
	struct boot_program program = { 0 };
	int code = EXIT_YES, err;

	if (!p->list[DB].kept && !o->db_count && !o->without_vendor)
		return complain(EXIT_NO, "the firmware has no list of its vendor to keep, and with "
				"this key alone in db neither shim nor the programs on plug-in cards "
				"start; nothing changed. Next: --db-cert FILE for each certificate that "
				"they need, or --without-vendor");
	err = firmware_starts(h, &p->list[DB].want, &p->list[DBX].want, &program);
	if (err)
		code = complain_errno(err, "key enroll");
	else if (program.boots == BOOTS_NO && !o->force)
		code = complain(EXIT_NO, "%s, which the firmware starts, is signed by %s, whom its list "
				"db would not have, or its list dbx revokes it: with Secure Boot on the next boot would stop there; "
				"nothing changed. Next: update shim, --db-cert FILE, or --force", program.path,
				program.signers ? program.signers : "nobody");
	else if (program.boots == BOOTS_UNKNOWN && !o->force)
		code = complain(EXIT_UNSURE, "whether the firmware would still start %s is not known: "
				"%s; nothing changed. Next: mount the EFI partition, look at it, and "
				"--force", program.path ? program.path : "what it started now",
				program.path ? "its signers were not read" : "it was not found");
	boot_program_free(&program);
	return code;
}

static void print_list(const struct options *o, const struct plan *p, size_t i)
{
	const char *name = lists[i].var.name;

	if (!p->list[i].write)
		printf("  %-4s as it is, %zu entries\n", name, p->list[i].kept);
	else if (!p->list[i].want.len)
		printf("  %-4s nothing any more\n", name);
	else if (i == DBX)
		printf("  %-4s the firmware's %zu entries for a new one\n", name, p->list[i].kept);
	else
		printf("  %-4s %zu entries that are kept, and %s\n", name, p->list[i].kept,
		       i == DB ? o->db_count ? "this key, and those given" : "this key" :
				 "the platform key");
}

static void print_plan(const struct host *h, const struct options *o, const struct keystate *s,
		       const struct plan *p)
{
	struct kernels kernels = { 0 };

	printf("To enrol the key '%s' the firmware %s:\n", s->name,
	       o->dry_run ? "would be given" : "is given");
	for (size_t i = 0; i < PK; i++)
		print_list(o, p, i);
	printf("  %-4s %s\n", "PK", p->platform ? "the key given" :
	       "a key that is made now and then destroyed: later changes need Setup Mode again");
	if (!kernels_read(h, &kernels))
		for (size_t i = 0; i < kernels.count; i++)
			printf("  kernel %s %s\n", kernels.list[i].release,
			       rules_on(h, kernels.list[i].release).db == ANSWER_YES ?
			       "takes modules that a key in db has signed" :
			       "was not tested: it may not take modules that a key in db has signed");
	kernels_free(&kernels);
	if (strcmp(s->key->origin, "given"))
		puts("Warning: the firmware starts whatever a key in db has signed, and does not look at "
		     "its usage.\n         The private key is this host's, so root here can sign a boot "
		     "loader.");
	fflush(stdout);
}

/* A platform key without a name that anybody looks for, which lives in memory alone. */
static int get_platform(const struct host *h, struct plan *p)
{
	int err = 0;

	if (p->platform) {
		p->pk_cert = p->platform->cert;
		p->pk_key = p->platform->key;
	} else {
		err = newkey_in_memory(h, &p->pk_key, &p->pk_cert);
		p->own_pk = !err;
	}
	return err ? err : siglist_add(&p->list[PK].want, p->pk_cert);
}

static int sign_all(const struct host *h, struct plan *p)
{
	time_t now = time(NULL);
	int err = get_platform(h, p);

	for (size_t i = 0; i < LISTS && !err; i++)
		if (p->list[i].write)
			err = authvar_sign(&lists[i].var, &p->list[i].want, p->pk_cert, p->pk_key,
					   now, &p->list[i].update);
	return err;
}

static int write_files(const struct options *o, const struct plan *p)
{
	int code = EXIT_YES;

	if (mkdir(o->output, 0755) < 0 && errno != EEXIST)
		return complain_errno(-errno, o->output);
	for (size_t i = 0; i < LISTS && !code; i++) {
		char *path = text_of("%s/%s.auth", o->output, lists[i].var.name);
		int err = path ? 0 : -ENOMEM;

		if (!err && p->list[i].write)
			err = file_replace(path, p->list[i].update.data,
					   p->list[i].update.len, 0644);
		code = err ? complain_errno(err, path ? path : o->output) : EXIT_YES;
		free(path);
	}
	if (!code)
		printf("kmodkeep: written into %s. Next: have the firmware read them, dbx.auth first and "
		       "PK.auth last\n", o->output);
	return code;
}

static const char *why_not(int err)
{
	switch (err) {
	case -EACCES: return "it refused it";
	case -EREMOTEIO: return "it took something else";
	case -ENOSPC: return "it has no room left";
	default: return strerror(-err);
	}
}

static int write_firmware(const struct host *h, const struct keystate *s, const struct plan *p)
{
	for (size_t i = 0; i < LISTS; i++) {
		int err = p->list[i].write ?
			  authvar_write(h, &lists[i].var, &p->list[i].update, &p->list[i].want) : 0;

		if (err)
			return complain(EXIT_NO, "the firmware's list %s: %s; it is still in Setup Mode. "
					"Next: update the firmware, or enrol the key in its set-up "
					"(--output DIR)", lists[i].var.name, why_not(err));
	}
	if (efivar_flag(h, "SetupMode", EFI_GLOBAL_GUID) != 0)
		return complain(EXIT_UNSURE, "the firmware took all lists, and does not say that its Setup "
				"Mode has ended. Next: reboot, then: kmodkeep key status");
	printf("kmodkeep: the key '%s' is enrolled in the firmware. Next: reboot, see that Secure Boot "
	       "is on, then: kmodkeep key status\n", s->name);
	return EXIT_YES;
}

static int enrol(const struct host *h, const struct options *o, const struct keystate *s,
		 struct plan *p)
{
	const char *name = "";
	int err, code;

	if (s->key_error == -ENOENT)
		return complain(EXIT_NO, "this host has no signing key. Next: kmodkeep key create");
	if (!s->key || !s->key->cert)
		return s->key && s->key->problem ?
		       complain(EXIT_NO, "%s. Next: %s", s->key->problem, s->key->next_step) :
		       complain(EXIT_UNSURE, "the key cannot be read. Next: run it as root");
	if (s->key->problem)
		return complain(EXIT_NO, "%s. Next: %s", s->key->problem, s->key->next_step);
	if (s->secure_boot == SB_NO_EFI) {
		puts("kmodkeep: not applicable: no EFI here, so modules need no enrolled key");
		return EXIT_YES;
	}
	err = read_lists(h, o, p, &name);
	if (err)
		return complain(EXIT_UNSURE, "the firmware's list %s cannot be read: %s; nothing changed. "
				"Next: run it as root, with efivarfs mounted", name,
				err == -EBADMSG ? "it is not well formed" : strerror(-err));
	code = load_platform(h, o, p);
	if (!code)
		code = check_firmware(h, o, s, p);
	if (!code)
		code = add_wanted(o, s, p);
	if (!code)
		code = check_start(h, o, p);
	if (code)
		return code < 0 ? EXIT_YES : code;
	print_plan(h, o, s, p);
	if (o->dry_run)
		return EXIT_YES;
	err = sign_all(h, p);
	if (err)
		return complain(EXIT_NO, "the lists could not be signed: %s; nothing changed",
				err == -EIO ? "the key gave no signature" : strerror(-err));
	return o->output ? write_files(o, p) : write_firmware(h, s, p);
}

int key_setup_mode(int argc, char **argv)
{
	struct options o = { 0 };
	struct plan p = { 0 };
	struct keystate *s = NULL;
	struct host *h = NULL;
	int err, fd = -1, code = parse(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	code = keyverb_open("key enroll", o.root, &h, &fd);
	if (!code && !o.dry_run && !o.output && !host_may_act(h))
		code = complain(EXIT_NO, "a key is enrolled on the system that runs, not on the one in "
				"%s. Next: --dry-run, --output DIR, or after it has booted", o.root);
	if (!code) {
		err = o.cert ? keystate_read_cert(h, o.cert, &s) : keystate_read(h, true, &s);
		code = err ? complain_errno(err, "key enroll") : enrol(h, &o, s, &p);
	}
	plan_free(&p);
	keystate_free(s);
	keyverb_close(h, fd);
	return code < 0 ? EXIT_YES : code;
}
