// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb sign. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/firmware.h"
#include "guard/trust/cert.h"
#include "signing/sign.h"
#include "signing/verbs.h"

static const char usage[] =
"Usage: kmodkeep sign [OPTION...] FILE...\n"
"Signs module files (.ko, .ko.gz, .ko.xz, .ko.zst) in place, once: any\n"
"signature that is there already is replaced.\n"
"\n"
"  --key FILE --cert FILE  sign with this pair (PEM key, DER or PEM\n"
"                 certificate) instead of the host's signing key\n"
"  --hash H       sha256, sha384, sha512 (default: what the kernel was\n"
"                 built with, else sha256)\n"
"  --kernel V     the kernel it is for (default: the one it was built for)\n"
"  --if-needed    leave a file that bears the right signature or, without\n"
"                 --key, that of a key that the kernel trusts; succeed with a\n"
"                 note where the host has no key, or an unfit one but needs no\n"
"                 signatures (for build hooks)\n"
"  --root DIR     the system installed under DIR: its key, its kernels\n"
"\n"
"Exit code: 0 signed, 1 not, 2 wrong usage, 3 could not tell.\n";

struct options {
	const char *root, *key, *cert;
	struct signing s;
};

/* EXIT_YES to go on, -1 after --help, else the code to end with. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "key", required_argument, NULL, 'k' },
		{ "cert", required_argument, NULL, 'c' },
		{ "hash", required_argument, NULL, 'H' },
		{ "kernel", required_argument, NULL, 'V' },
		{ "if-needed", no_argument, NULL, 'n' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
		switch (c) {
		case 'k': o->key = optarg; break;
		case 'c': o->cert = optarg; break;
		case 'H': o->s.hash = optarg; break;
		case 'V': o->s.kernel = optarg; break;
		case 'n': o->s.if_needed = true; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return EXIT_USAGE;
		}
	}
	if (!o->key != !o->cert)
		return complain(EXIT_USAGE, "sign: --key needs --cert, and "
				"--cert needs --key");
	if (optind == argc)
		return complain(EXIT_USAGE, "sign: no file named");
	return EXIT_YES;
}

/* EXIT_YES with *key set, -1: nothing to do, else the code to end with. */
static int get_key(const struct options *o, const struct host *h,
		   struct signkey **key)
{
	int err;

	if (o->key)
		err = signkey_given(o->key, o->cert, key);
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

static int one(const struct signing *s, const char *path, const char *by)
{
	enum sign_result result;
	char hash[32];
	int err = sign_file(s, path, &result, hash);

	switch (err) {
	case 0:
		if (result == SIGN_DONE)
			printf("%s: signed by '%s' (%s)\n", path, by, hash);
		else if (result == SIGN_TRUSTED)
			printf("%s: already signed by another key that this "
			       "host trusts\n", path);
		else
			printf("%s: already signed by '%s'\n", path, by);
		return EXIT_YES;
	case -ENOEXEC:
	case -EBADMSG:
		return complain(EXIT_NO, "%s: not a kernel module, or a "
				"damaged one; nothing changed", path);
	case -ENOPKG:
		return complain(EXIT_NO, "%s: hash '%s' is not known here; "
				"nothing changed. Next: --hash sha256", path,
				hash);
	default:
		return complain(EXIT_NO, "%s: %s; nothing changed", path,
				strerror(-err));
	}
}

int verb_sign(int argc, char **argv)
{
	struct options o = { 0 };
	struct signkey *key = NULL;
	struct trust *t = NULL;
	struct host *h = NULL;
	char *by = NULL;
	int err, code = parse(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	err = host_new(o.root, &h);
	if (!err && !o.key)
		err = trust_new(h, &t);
	if (err) {
		code = h ? complain_errno(err, "sign") :
			   complain_root(err, o.root, "sign");
		goto out;
	}
	o.s.trust = t;
	code = get_key(&o, h, &key);
	if (code) {
		code = code < 0 ? EXIT_YES : code;
		goto out;
	}
	by = cert_name(key->cert);
	o.s.h = h;
	o.s.key = key;
	for (int i = optind; i < argc; i++)
		if (one(&o.s, argv[i], by ? by : "?"))
			code = EXIT_NO;
out:
	free(by);
	signkey_free(key);
	trust_free(t);
	host_free(h);
	return code;
}
