// SPDX-License-Identifier: GPL-2.0-or-later
/* manifest sign: the bytes come in, a signature alone goes out, and a log says so. */
#include <errno.h>
#include <getopt.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/json.h"
#include "guard/base/say.h"
#include "guard/host/host.h"
#include "guard/module/modsig.h"
#include "guard/trust/cert.h"
#include "guard/trust/signlog.h"
#include "signing/keyverb.h"
#include "signing/manifestverb.h"
#include "signing/newkey.h"
#include "signing/signkey.h"

static const char usage[] =
"Usage: kmodkeep manifest sign --agrees OTHER --for WHO --key KEY --cert FILE\n"
"                              --output DIR [OPTION...] MANIFEST\n"
"Signs the modules beside MANIFEST, if they are what it says and the builder of\n"
"OTHER made the same. For each module FILE, DIR gets FILE.p7s, the signature alone,\n"
"after the log got a line.\n"
"\n"
"  --agrees OTHER  the manifest of the second builder\n"
"  --for WHO      who asked for it, for the log\n"
"  --key KEY --cert FILE  sign with this pair: a PEM key or a URI pkcs11:...\n"
"  --pin-file FILE  the token's PIN, in a file with mode 0600 (default: the\n"
"                 systemd credential kmodkeep-pin)\n"
"  --output DIR   where the signatures go\n"
"  --log FILE     the log (default: /var/lib/kmodkeep/signing.log)\n"
"  --root DIR     the default log is below DIR\n"
"\n"
"Exit code: 0 all signed, 1 not, 2 wrong usage, 3 could not tell.\n";

struct options {
	const char *root, *agrees, *who, *key, *cert, *pin_file, *output, *log;
	const char *manifest;
};

/* All that a signature needs. */
struct detaching {
	const struct options *o;
	struct manifest m, other;
	struct signkey *key;
	struct signlog_writer *log;
	char fingerprint[65];
};

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "agrees", required_argument, NULL, 'a' },
		{ "for", required_argument, NULL, 'f' },
		{ "key", required_argument, NULL, 'k' },
		{ "cert", required_argument, NULL, 'c' },
		{ "pin-file", required_argument, NULL, 'p' },
		{ "output", required_argument, NULL, 'o' },
		{ "log", required_argument, NULL, 'l' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'a': o->agrees = optarg; break;
		case 'f': o->who = optarg; break;
		case 'k': o->key = optarg; break;
		case 'c': o->cert = optarg; break;
		case 'p': o->pin_file = optarg; break;
		case 'o': o->output = optarg; break;
		case 'l': o->log = optarg; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option("manifest sign", argv, c);
		}
	}
	if (!o->agrees || !o->who || !o->key || !o->cert || !o->output)
		return complain(EXIT_USAGE, "manifest sign: --agrees, --for, --key, "
				"--cert and --output must be given");
	if (argc - optind != 1)
		return complain(EXIT_USAGE, "manifest sign: name one manifest");
	o->manifest = argv[optind];
	return EXIT_YES;
}

static int load_key(const struct host *h, struct detaching *d)
{
	unsigned char hash[32];
	int err = signkey_given(d->o->key, d->o->cert, d->o->pin_file, &d->key);

	if (!err)
		err = signkey_load(h, d->key);
	if (err == -EKEYREJECTED)
		return complain(EXIT_NO, "%s; nothing was signed. Next: %s",
				d->key->problem, d->key->next_step);
	if (err == -EACCES)
		return complain(EXIT_UNSURE, "manifest sign: the signing key cannot be "
				"read by this user. Next: run it as its owner");
	if (err)
		return complain_errno(err, "manifest sign");
	if (X509_digest(d->key->cert, EVP_sha256(), hash, NULL) != 1)
		return complain_errno(-ENOMEM, "manifest sign");
	hex_encode(hash, sizeof(hash), d->fingerprint);
	return EXIT_YES;
}

static int open_log(const struct host *h, struct detaching *d)
{
	char *path = d->o->log ? strdup(d->o->log) : host_path(h, SIGNLOG_DEFAULT);
	char *why = NULL;
	int err = path ? signlog_open(path, &d->log, &why) : -ENOMEM;
	int code = EXIT_YES;

	if (err == -EBADMSG)
		code = complain(EXIT_NO, "the log %s: %s; nothing was signed. Next: "
				"compare it with a copy", path, why);
	else if (err == -ETIMEDOUT)
		code = EXIT_NO;		/* which was said */
	else if (err)
		code = complain(EXIT_NO, "the log %s: %s; nothing was signed. Next: "
				"name one with --log, in a folder that only you can "
				"write to", path ? path : "", strerror(-err));
	free(why);
	free(path);
	return code;
}

/* Who built it, for whom, with which key: all but the chain. */
static struct json_object *entry_of(const struct detaching *d,
				    const struct manifest_module *module,
				    const char *signature)
{
	struct json_object *o = json_object_new_object();
	struct json_object *builders = json_object_new_array();
	char *who = strdup(d->o->who), *name = cert_name(d->key->cert);

	if (who)
		make_printable(who);
	json_add(o, "requester", who);
	json_add(o, "module", module->name);
	json_add(o, "sha256", module->sha256);
	json_add(o, "signature_sha256", signature);
	json_add(o, "certificate", d->fingerprint);
	json_add(o, "signer", name);
	json_add(o, "kernel", d->m.kernel);
	json_add(o, "kernel_package", d->m.package);
	json_add(o, "kernel_package_version", d->m.version);
	json_object_array_add(builders, json_object_new_string(d->m.builder));
	json_object_array_add(builders, json_object_new_string(d->other.builder));
	json_object_object_add(o, "builders", builders);
	free(name);
	free(who);
	return o;
}

/* Is it a signature by the key that fits these bytes? -EIO: it is not. */
static int check_signature(const struct detaching *d, const struct buf *bytes,
			   const struct buf *der, char signature[65])
{
	struct modsig *sig;
	int err = modsig_parse_detached(der->data, der->len, bytes->len, &sig);

	if (err)
		return err == -ENOMEM ? err : -EIO;
	if (modsig_signers(sig) != 1 || !modsig_names(sig, 0, d->key->cert) ||
	    modsig_check(sig, 0, d->key->cert, bytes->data))
		err = -EIO;
	modsig_value_sha256(sig, 0, signature);
	modsig_free(sig);
	return err;
}

/* The line in the log comes first: a signature without one must not get out. */
static int give_out(const struct detaching *d, const struct manifest_module *module,
		    const struct buf *bytes, const struct buf *der)
{
	char *path = text_of("%s/%s.p7s", d->o->output, module->file);
	char signature[65];
	int err = path ? check_signature(d, bytes, der, signature) : -ENOMEM;

	if (err) {
		free(path);
		return complain(EXIT_NO, "%s: what the key gave is no signature that "
				"fits; it was thrown away. Next: look at the token",
				module->file);
	}
	err = signlog_add(d->log, entry_of(d, module, signature));
	if (err) {
		free(path);
		return complain(EXIT_NO, "%s: the log could not be written (%s), so the "
				"signature was thrown away. Next: make room for the "
				"log", module->file, strerror(-err));
	}
	err = file_replace(path, der->data, der->len, 0644);
	if (!err)
		printf("%s: signed (%s)\n", path, d->m.hash);
	else
		complain(0, "%s: %s; the log has a line for it. Next: sign again", path,
			 strerror(-err));
	free(path);
	return err ? EXIT_NO : EXIT_YES;
}

static int one(const struct detaching *d, const struct manifest_module *module)
{
	struct buf bytes = { 0 }, der = { 0 };
	/* Read anew: what is checked here is what is signed. */
	int code = manifest_take(&d->m, module, &bytes);
	int err;

	if (code)
		return code;
	err = modsig_detached(bytes.data, bytes.len, d->key->cert, d->key->key,
			      d->m.hash, &der);
	if (err)
		code = complain(EXIT_NO, "%s: the key gave no signature (%s). Next: look "
				"at the key or the token", module->file,
				strerror(-err));
	else
		code = give_out(d, module, &bytes, &der);
	buf_free(&der);
	buf_free(&bytes);
	return code;
}

static int check_all(struct detaching *d)
{
	int code = manifest_open(d->o->manifest, &d->m);

	if (!code)
		code = manifest_open(d->o->agrees, &d->other);
	if (!code)
		code = manifest_agreed(&d->m, &d->other);
	if (!code)
		code = manifest_check_all(&d->m);
	return code;
}

int manifest_sign(int argc, char **argv)
{
	struct options o = { 0 };
	struct detaching d = { .o = &o };
	struct host *h = NULL;
	int err, code = parse(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	err = no_dumps();
	if (!err)
		err = host_new(o.root, &h);
	if (err)
		return complain_root(err, o.root, "manifest sign");
	code = check_all(&d);
	if (!code)
		code = load_key(h, &d);
	if (!code)
		code = open_log(h, &d);
	if (!code && mkdir(o.output, 0755) < 0 && errno != EEXIST)
		code = complain(EXIT_NO, "%s: %s; nothing was signed", o.output,
				strerror(errno));
	for (size_t i = 0; i < d.m.count && !code; i++)
		code = one(&d, &d.m.list[i]);
	signlog_close(d.log);
	signkey_free(d.key);
	manifest_free(&d.other);
	manifest_free(&d.m);
	host_free(h);
	return code;
}
