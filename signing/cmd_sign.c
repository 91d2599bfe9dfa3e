// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb sign. */
#include <errno.h>
#include <getopt.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/firmware.h"
#include "guard/trust/cert.h"
#include "signing/newkey.h"
#include "signing/rotation.h"
#include "signing/sign.h"
#include "signing/verbs.h"

static const char usage[] =
"Usage: kmodkeep sign [OPTION...] FILE...\n"
"Signs module files (.ko, .ko.gz, .ko.xz, .ko.zst) in place, once: any\n"
"signature that is there already is replaced. While the host's key is changed\n"
"(kmodkeep key rotate), both keys sign.\n"
"\n"
"  --add          keep the signers that are there, and add what is missing\n"
"  --key FILE --cert FILE  sign with this pair (PEM key, DER or PEM\n"
"                 certificate) instead of the host's signing key; a key in a\n"
"                 token is named by its URI, pkcs11:...\n"
"  --pin-file FILE  the token's PIN, in a file with mode 0600 (default: the\n"
"                 systemd credential kmodkeep-pin)\n"
"  --hash H       sha256, sha384, sha512 (default: what the kernel was\n"
"                 built with, else sha256)\n"
"  --kernel V     the kernel it is for (default: the one it was built for)\n"
"  --if-needed    leave a file that bears the right signature or, without\n"
"                 --key, that of a key that the kernel trusts; succeed with a\n"
"                 note where the host has no key, or an unfit one but needs no\n"
"                 signatures (for build hooks)\n"
"  --dry-run      say what would be done, and do nothing\n"
"  --root DIR     the system installed under DIR: its key, its kernels\n"
"\n"
"Exit code: 0 signed, 1 not, 2 wrong usage, 3 could not tell.\n";

struct options {
	const char *root, *key, *cert, *pin_file;
	struct signing s;
};

/* Who signs: the keys of a rotation, or one. */
struct signers {
	struct rotation rotation;
	struct signkey *key;
};

/* EXIT_YES to go on, -1 after --help, else the code to end with. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "key", required_argument, NULL, 'k' },
		{ "cert", required_argument, NULL, 'c' },
		{ "pin-file", required_argument, NULL, 'p' },
		{ "hash", required_argument, NULL, 'H' },
		{ "kernel", required_argument, NULL, 'V' },
		{ "if-needed", no_argument, NULL, 'n' },
		{ "add", no_argument, NULL, 'a' },
		{ "dry-run", no_argument, NULL, 'd' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'k': o->key = optarg; break;
		case 'c': o->cert = optarg; break;
		case 'p': o->pin_file = optarg; break;
		case 'H': o->s.hash = optarg; break;
		case 'V': o->s.kernel = optarg; break;
		case 'n': o->s.if_needed = true; break;
		case 'a': o->s.add = true; break;
		case 'd': o->s.dry_run = true; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option("sign", argv, c);
		}
	}
	if (!o->key != !o->cert)
		return complain(EXIT_USAGE, "sign: --key needs --cert, and "
				"--cert needs --key");
	if (optind == argc)
		return complain(EXIT_USAGE, "sign: no file is named");
	return EXIT_YES;
}

/* EXIT_YES with *key set, -1: nothing to do, else the code to end with. */
static int get_key(const struct options *o, const struct host *h,
		   struct signkey **key)
{
	int err;

	if (o->key)
		err = signkey_given(o->key, o->cert, o->pin_file, key);
	else
		err = signkey_find(h, o->s.trust, key);
	if (err == -ENOENT && o->s.if_needed) {
		puts("kmodkeep: this host has no signing key; the modules "
		     "stay as they are. Next: kmodkeep key create");
		return -1;
	}
	if (err == -ENOENT)
		return complain(EXIT_NO, "sign: this host has no signing key. "
				"Next: kmodkeep key create");
	if (!err)
		err = signkey_load(h, *key);
	/* An unsigned module loads there, so its build must not fail. */
	if (err == -EKEYREJECTED && o->s.if_needed && !o->key &&
	    host_demands_signature(h) == DEMAND_NO)
		return complain(-1, "warning: the modules stay as they are, for "
				"which this host demands no signature: %s. "
				"Next: %s", (*key)->problem,
				(*key)->next_step);
	if (err == -EKEYREJECTED)
		return complain(EXIT_NO, "sign: %s. Next: %s",
				(*key)->problem, (*key)->next_step);
	if (err == -EACCES)
		return complain(EXIT_UNSURE, "sign: the signing key cannot be "
				"read by this user. Next: run it as root");
	return err ? complain_errno(err, "sign") : EXIT_YES;
}

/* EXIT_YES with the keys in o->s, -1: nothing to do, else the code to end with. */
static int get_keys(struct options *o, const struct host *h,
		    struct signers *by)
{
	int code, err = o->key ? 0 : rotation_read(h, &by->rotation);

	if (err)
		return complain(EXIT_NO, "sign: the record of the key rotation, "
				ROTATION_RECORD ", cannot be read: %s. Next: "
				"restore it, or remove it to sign with one key",
				strerror(-err));
	if (by->rotation.phase != ROTATION_NONE &&
	    !rotation_keys(&by->rotation, o->s.keys, &o->s.count))
		return EXIT_YES;
	code = get_key(o, h, &by->key);
	if (!code) {
		o->s.keys[0] = by->key;
		o->s.count = 1;
	}
	return code;
}

/* What kernels do not mind, but the owner of the key should know. */
static void warn_of(X509 *cert)
{
	uint32_t kind = X509_get_extension_flags(cert);
	char *name = cert_name(cert);

	if (X509_cmp_current_time(X509_get0_notAfter(cert)) < 0)
		complain(0, "note: the certificate '%s' has expired; kernels do "
			 "not look at that. Next: kmodkeep key rotate begin",
			 name ? name : "?");
	if ((kind & EXFLAG_KUSAGE &&
	     !(X509_get_key_usage(cert) & KU_DIGITAL_SIGNATURE)) ||
	    (kind & EXFLAG_XKUSAGE &&
	     !(X509_get_extended_key_usage(cert) & XKU_CODE_SIGN)))
		complain(0, "note: the certificate '%s' is not for signing code; "
			 "the kernels known here do not look at that",
			 name ? name : "?");
	free(name);
}

/* "'A'", or "'A' and 'B'"; malloc'ed. */
static char *name_signers(const struct signing *s)
{
	char *a = cert_name(s->keys[0]->cert);
	char *b = s->count > 1 ? cert_name(s->keys[1]->cert) : NULL;
	char *both = text_of("'%s'%s%s%s", a ? a : "?", b ? " and '" : "",
			     b ? b : "", b ? "'" : "");

	free(a);
	free(b);
	return both;
}

static int one(const struct signing *s, const char *path, const char *by)
{
	enum sign_result result;
	char hash[32];
	int err = sign_file(s, path, &result, hash);

	switch (err) {
	case 0:
		if (result == SIGN_DONE)
			printf("%s: %ssigned by %s (%s)%s\n", path,
			       s->dry_run ? "would be " : "", by, hash,
			       s->add ? ", besides who signed it before" : "");
		else if (result == SIGN_TRUSTED)
			printf("%s: already signed by another key that this "
			       "host trusts\n", path);
		else
			printf("%s: already signed by %s\n", path, by);
		return EXIT_YES;
	case -ENOEXEC:
	case -EBADMSG:
		return complain(EXIT_NO, "%s: not a kernel module, or a "
				"damaged one; nothing changed", path);
	case -ENOPKG:
		return complain(EXIT_NO, "%s: hash '%s' is not known here; "
				"nothing changed. Next: --hash sha256", path,
				hash);
	case -EAFNOSUPPORT:
		return complain(EXIT_NO, "%s: the kernel it is for does not know "
				"the algorithm of this key; nothing changed. "
				"Next: sign it with an RSA key", path);
	case -EKEYREJECTED:
		return complain(EXIT_NO, "%s: its content changed after it was "
				"signed, so no signer can be kept; nothing "
				"changed. Next: build it again", path);
	case -EPROTO:
		return complain(EXIT_NO, "%s: it has a signature that no kernel "
				"takes beside another one; nothing changed. "
				"Next: sign it without --add", path);
	case -ESTALE:
		return complain(EXIT_NO, "%s: another program replaced it "
				"meanwhile; what that wrote is left alone. "
				"Next: sign it again", path);
	case -EIO:
		return complain(EXIT_NO, "%s: what the key gave is no signature "
				"that fits, or reading failed; nothing changed",
				path);
	default:
		return complain(EXIT_NO, "%s: %s; nothing changed", path,
				strerror(-err));
	}
}

int verb_sign(int argc, char **argv)
{
	struct options o = { 0 };
	struct signers by = { 0 };
	struct trust *t = NULL;
	struct host *h = NULL;
	char *names = NULL;
	int err, code = parse(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	err = no_dumps();
	if (!err)
		err = host_new(o.root, &h);
	if (!err && !o.key)
		err = trust_new(h, &t);
	if (err) {
		code = h ? complain_errno(err, "sign") :
			   complain_root(err, o.root, "sign");
		goto out;
	}
	o.s.trust = t;
	code = get_keys(&o, h, &by);
	if (code) {
		code = code < 0 ? EXIT_YES : code;
		goto out;
	}
	for (size_t i = 0; i < o.s.count; i++)
		warn_of(o.s.keys[i]->cert);
	names = name_signers(&o.s);
	o.s.h = h;
	for (int i = optind; i < argc; i++)
		if (one(&o.s, argv[i], names ? names : "?"))
			code = EXIT_NO;
out:
	free(names);
	signkey_free(by.key);
	rotation_free(&by.rotation);
	trust_free(t);
	host_free(h);
	return code;
}
