// SPDX-License-Identifier: GPL-2.0-or-later
/* key status, and the way to the other verbs of keys. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/base/page.h"
#include "guard/base/say.h"
#include "guard/base/script.h"
#include "guard/base/util.h"
#include "guard/host/efivars.h"
#include "guard/host/firmware.h"
#include "guard/host/tpm.h"
#include "guard/trust/firmware_ca.h"
#include "guard/trust/trust.h"
#include "signing/keystate.h"
#include "signing/keyverb.h"
#include "signing/rotation.h"
#include "signing/verbs.h"

static const char usage[] =
"Usage: kmodkeep key create [--own]      make this host's signing key, or\n"
"                                        adopt the one that dkms or Ubuntu has\n"
"       kmodkeep key enroll [--again]    ask for it to be trusted at the next\n"
"                                        boot\n"
"       kmodkeep key rotate STEP         change to a new key: begin, status,\n"
"                                        continue, finish, abort\n"
"       kmodkeep key revoke [--mokx]     take a key out of this host's trust\n"
"       kmodkeep key retire              destroy private keys that are no longer\n"
"                                        trusted\n"
"       kmodkeep key status [--json]     where this host stands\n"
"       kmodkeep key VERB --help         says more\n";

static const char status_usage[] =
"Usage: kmodkeep key status [--json | --shell | --how-to-remove] [--first]\n"
"                           [--cert FILE] [--root DIR]\n"
"\n"
"  --json           machine-readable output\n"
"  --shell          lines of name=value, for scripts (do not eval them)\n"
"  --how-to-remove  print how to take the key out of this host's trust\n"
"  --first          about the key that create and enroll are about, even where\n"
"                   another one is enrolled and signs\n"
"  --cert FILE      about this certificate, wherever its key is\n"
"  --root DIR       the system installed under DIR\n"
"\n"
"Exit code: 0 nothing is left to do, 1 something is, 2 wrong usage,\n"
"3 could not tell.\n";

static const char *or_none(const char *s)
{
	return s ? s : "";
}

static const char *yes_no(bool b)
{
	return b ? "yes" : "no";
}

static const char *origin_text(const struct keystate *s)
{
	if (!strcmp(s->key->origin, "own"))
		return "made by kmodkeep";
	if (!strcmp(s->key->origin, "given"))
		return "given; its key is not looked for";
	if (!strcmp(s->key->origin, "token"))
		return "in a token, by /etc/kmodkeep/signing.conf";
	return !strcmp(s->key->origin, "dkms") ? "adopted from dkms" :
						 "adopted from Ubuntu";
}

static void print_program(const char *what, const struct boot_program *p)
{
	if (p->path)
		printf("  %-12s%s\n              signed by %s\n", what, p->path,
		       p->signers ? p->signers : "nobody, or it could not be read");
}

/* Microsoft's change of authorities, where there is EFI. */
static void print_firmware(const struct host *h)
{
	struct firmware_ca f;

	if (firmware_ca_read(h, &f))
		return;
	if (f.db != CA_NOT_APPLICABLE) {
		printf("Firmware:     Microsoft's authorities of %s in db, of %s in KEK%s\n",
		       ca_state_word(f.db), ca_state_word(f.kek),
		       f.dbx_2011 ? ", 2011 revoked in dbx" : "");
		print_program("starts", &f.first);
		print_program("then", &f.second);
		if (firmware_ca_meaning(&f))
			page_item("", 14, firmware_ca_meaning(&f));
		if (firmware_ca_next_step(&f))
			page_item("", 14, firmware_ca_next_step(&f));
	}
	firmware_ca_free(&f);
}

static void print_page(const struct host *h, const struct keystate *s)
{
	char *disk = s->demand == DEMAND_NO ? NULL : tpm_warning_of(h);
	const char *next = keystate_next_step(s);

	printf("Secure Boot:  %s%s%s\n", secure_boot_word(s->secure_boot),
	       s->place == PLACE_HOST ? "" : ", seen from a ",
	       s->place == PLACE_HOST ? "" : place_word(s->place));
	if (s->key)
		printf("Signing key:  %s (%s)\n", s->key->key_path,
		       origin_text(s));
	else
		printf("Signing key:  %s\n", s->key_error == -ENOENT ? "none" :
		       strerror(-s->key_error));
	if (s->name)
		printf("Certificate:  %s\n"
		       "  name        %s\n"
		       "  usage       %s\n"
		       "  expires     %s\n"
		       "  SHA-256     %s\n"
		       "  SHA-1       %s\n", s->key->cert_path, s->name,
		       s->usage, s->expires, s->sha256, s->sha1);
	if (s->name && s->boots_kernels)
		puts("Warning:      this key can also boot kernels: root "
		     "can sign one here.\n"
		     "              A key of kmodkeep's own cannot: "
		     "kmodkeep key create --own; dkms\n"
		     "              goes on signing with the other key until "
		     "mok_signing_key and\n"
		     "              mok_certificate in "
		     "/etc/dkms/framework.conf name the new pair");
	if (s->key && s->key->problem)
		printf("Problem:      %s\n", s->key->problem);
	else if (s->key_error == -EACCES)
		puts("Problem:      this user may not read the key");
	printf("Enrolment:    %s%s%s%s%s\n", enrolment_word(s->enrolment),
	       s->enrolment == ENROLMENT_DECLINED ?
	       " (asked for in an earlier boot, and not confirmed at the boot menu)" : "",
	       s->delete_pending ? ", to be deleted at the next boot" : "",
	       s->mokx_pending ? ", to be revoked at the next boot" : "",
	       s->revoked ? ", in the list of revoked keys" : "");
	print_firmware(h);
	if (disk)
		page_item("Encryption:", 14, disk);
	if (host_has(h, ROTATION_RECORD))
		puts("Rotation:     the key is being changed: kmodkeep key "
		     "rotate status");
	if (next)
		printf("Next:         %s\n", next);
	free(disk);
}

/* The certificate that signs too while the key is changed. */
static void print_rotation(const struct host *h)
{
	struct rotation r;

	if (rotation_read(h, &r))
		return;
	printf("rotation=%s\nnext_cert=%s\n", rotation_word(r.phase),
	       r.phase == ROTATION_BOTH && r.new_pair ?
	       r.new_pair->cert_path : "");
	rotation_free(&r);
}

static void print_shell(const struct host *h, const struct keystate *s)
{
	char *boot_dir = efi_boot_directory(h);
	char *boot_id = host_boot_id(h), *machine_id = host_machine_id(h);
	char *disk = tpm_warning_of(h);

	printf("place=%s\nsecure_boot=%s\nenrolment=%s\n",
	       place_word(s->place), secure_boot_word(s->secure_boot),
	       enrolment_word(s->enrolment));
	printf("origin=%s\nkey=%s\ncert=%s\n",
	       s->key ? s->key->origin :
			s->key_error == -ENOENT ? "none" : "unreadable",
	       s->key ? s->key->key_path : "", s->key ? s->key->cert_path : "");
	printf("problem=%s\nnext_step=%s\n",
	       s->key && s->key->problem ? s->key->problem : "",
	       or_none(keystate_next_step(s)));
	printf("name=%s\nfingerprint=%s\nboots_kernels=%s\n",
	       or_none(s->name), s->sha256, yes_no(s->boots_kernels));
	printf("without_shim=%s\n", yes_no(s->without_shim));
	printf("other_pending=%s\nnvram_free=%lld\nboot_dir=%s\n",
	       yes_no(s->other_pending), efivars_free(h), or_none(boot_dir));
	printf("nvram_read_only=%s\nmay_act=%s\n", yes_no(efivars_read_only(h)),
	       yes_no(host_may_act(h)));
	printf("delete_pending=%s\nmokx_pending=%s\nrevoked=%s\n",
	       yes_no(s->delete_pending), yes_no(s->mokx_pending),
	       yes_no(s->revoked));
	printf("half_requests=%s%s%s\n",
	       mok_request_is_half(h, "MokNew") ? " MokNew" : "",
	       mok_request_is_half(h, "MokDel") ? " MokDel" : "",
	       mok_request_is_half(h, "MokXNew") ? " MokXNew" : "");
	printf("boot_id=%s\nmachine_id=%s\ntpm_warning=%s\n",
	       or_none(boot_id), or_none(machine_id), or_none(disk));
	print_rotation(h);
	free(disk);
	free(boot_dir);
	free(boot_id);
	free(machine_id);
}

static void print_json(const struct host *h, const struct keystate *s)
{
	struct json_object *o = json_object_new_object();
	char *disk = tpm_warning_of(h);
	struct firmware_ca f;

	json_object_object_add(o, "schema", json_object_new_int(1));
	json_add(o, "place", place_word(s->place));
	json_add(o, "secure_boot", secure_boot_word(s->secure_boot));
	json_add(o, "enrolment", enrolment_word(s->enrolment));
	json_add(o, "origin", s->key ? s->key->origin : NULL);
	json_add(o, "key", s->key ? s->key->key_path : NULL);
	json_add(o, "certificate", s->key ? s->key->cert_path : NULL);
	json_add(o, "problem", s->key ? s->key->problem : NULL);
	json_add(o, "name", s->name);
	json_add(o, "usage", s->usage);
	json_add(o, "expires", s->expires);
	json_add(o, "fingerprint", s->sha256);
	json_add(o, "fingerprint_sha1", s->sha1);
	json_object_object_add(o, "boots_kernels", s->name ?
			json_object_new_boolean(s->boots_kernels) : NULL);
	json_add_bool(o, "delete_pending", s->delete_pending);
	json_add_bool(o, "mokx_pending", s->mokx_pending);
	json_add_bool(o, "revoked", s->revoked);
	json_add(o, "tpm_warning", disk);
	json_object_object_add(o, "firmware_ca", firmware_ca_read(h, &f) ? NULL :
			       firmware_ca_json(&f));
	firmware_ca_free(&f);
	json_add(o, "next_step", keystate_next_step(s));
	free(disk);
	puts(json_text(o));
	json_object_put(o);
}

/* Also what the package prints when it is purged. */
static void print_removal(const struct keystate *s)
{
	if (s->enrolment == ENROLMENT_PENDING) {
		printf("To withdraw the request to enrol the key '%s':\n"
		       "  mokutil --revoke-import\n", s->name);
	} else if (s->enrolment == ENROLMENT_ENROLLED && !s->in_mok) {
		printf("To take the key '%s' out of this host's trust:\n"
		       "  delete it from the firmware's db, where it was put\n"
		       "Modules signed with it will no longer load then.\n", s->name);
	} else if (s->enrolment == ENROLMENT_ENROLLED) {
		printf("To take the key '%s' out of this host's trust:\n"
		       "  mokutil --delete %s\n"
		       "  (think of a password, reboot, choose \"Delete MOK\" "
		       "in the blue menu, type it)\n"
		       "Modules signed with it will no longer load then.\n",
		       s->name, s->key->cert_path);
	}
}

static int status(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "shell", no_argument, NULL, 's' },
		{ "how-to-remove", no_argument, NULL, 'd' },
		{ "first", no_argument, NULL, 'f' },
		{ "cert", required_argument, NULL, 'c' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *root = NULL, *cert = NULL;
	struct keystate *s = NULL;
	struct host *h = NULL;
	int c, err, form = 0, code;
	bool first = false;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'f': first = true; break;
		case 'c': cert = optarg; break;
		case 'r': root = optarg; break;
		case 'h': fputs(status_usage, stdout); return EXIT_YES;
		case '?': case ':': return complain_option("key status", argv, c);
		default: form = c;
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "key status: unexpected argument '%s'",
				argv[optind]);
	if (cert && first)
		return complain(EXIT_USAGE, "key status: --cert and --first name "
				"different keys; give one of them");
	err = host_new(root, &h);
	if (err)
		return complain_root(err, root, "key status");
	err = cert ? keystate_read_cert(h, cert, &s) : keystate_read(h, first, &s);
	if (err) {
		host_free(h);
		return complain_errno(err, "key status");
	}
	code = keystate_exit(s);
	if (form == 'j')
		print_json(h, s);
	else if (form == 's')
		print_shell(h, s);
	else if (form == 'd')
		print_removal(s);
	else
		print_page(h, s);
	if (form == 's' || form == 'd')
		code = EXIT_YES;	/* they answer another question */
	keystate_free(s);
	host_free(h);
	return code;
}

/* Is it by this way that enroll shall go? */
static bool is_via(int argc, char **argv, const char *way)
{
	for (int i = 2; i + 1 < argc; i++)
		if (!strcmp(argv[i], "--via"))
			return !strcmp(argv[i + 1], way);
	return false;
}

int verb_key(int argc, char **argv)
{
	if (argc < 2) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		fputs(usage, stdout);
		return EXIT_YES;
	}
	if (!strcmp(argv[1], "status"))
		return status(argc - 1, argv + 1);
	if (!strcmp(argv[1], "create"))
		return key_create(argc - 1, argv + 1);
	if (!strcmp(argv[1], "rotate"))
		return key_rotate(argc - 1, argv + 1);
	if (!strcmp(argv[1], "revoke"))
		return key_revoke(argc - 1, argv + 1);
	if (!strcmp(argv[1], "retire"))
		return key_retire(argc - 1, argv + 1);
	if (!strcmp(argv[1], "enroll") && is_via(argc, argv, "setup-mode"))
		return key_setup_mode(argc - 1, argv + 1);
	if (!strcmp(argv[1], "enroll"))
		return run_script("key-enroll", argc - 1, argv + 1);
	return complain(EXIT_USAGE, "unknown verb 'key %s'; see kmodkeep key "
			"--help", argv[1]);
}
