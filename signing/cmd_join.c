// SPDX-License-Identifier: GPL-2.0-or-later
/* manifest join: modules and the signatures of one or more signers become one file. */
#include <errno.h>
#include <getopt.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/say.h"
#include "guard/host/host.h"
#include "guard/module/modsig.h"
#include "guard/trust/cert.h"
#include "guard/trust/trust.h"
#include "guard/verdict/verify.h"
#include "signing/keyverb.h"
#include "signing/manifestverb.h"

static const char usage[] =
"Usage: kmodkeep manifest join --signatures DIR --cert FILE --output DIR\n"
"                              [OPTION...] MANIFEST\n"
"Puts signatures behind the modules beside MANIFEST: FILE and FILE.p7s of each\n"
"--signatures become FILE in --output, signed by all of them, without a key. Each\n"
"signature must be by one of the certificates, and each certificate must have\n"
"signed; each file is verified before it is written.\n"
"\n"
"  --signatures DIR  what a signer gave; again for a second signer (up to 4)\n"
"  --cert FILE    the certificate of a signer; again for a second one (up to 4)\n"
"  --output DIR   where the signed modules go\n"
"  --root DIR     verify for the kernels of the system installed under DIR\n"
"\n"
"Exit code: 0 all joined, 1 not, 2 wrong usage, 3 could not tell.\n";

#define SIGNERS_MAX 4
#define MESSAGE_MAX (64u << 10)

struct options {
	const char *root, *output, *manifest;
	const char *dirs[SIGNERS_MAX], *cert_files[SIGNERS_MAX];
	size_t dir_count, cert_count;
};

struct joining {
	const struct options *o;
	struct host *h;
	struct manifest m;
	X509 *certs[SIGNERS_MAX];
	struct trust *trusts[SIGNERS_MAX];	/* kernels that know one of these */
};

static int add(const char **list, size_t *count, const char *value,
	       const char *option)
{
	if (*count == SIGNERS_MAX)
		return complain(EXIT_USAGE, "manifest join: %s may be given %d times",
				option, SIGNERS_MAX);
	list[(*count)++] = value;
	return EXIT_YES;
}

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "signatures", required_argument, NULL, 's' },
		{ "cert", required_argument, NULL, 'c' },
		{ "output", required_argument, NULL, 'o' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, code = EXIT_YES;

	while (!code && (c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 's':
			code = add(o->dirs, &o->dir_count, optarg, "--signatures");
			break;
		case 'c':
			code = add(o->cert_files, &o->cert_count, optarg, "--cert");
			break;
		case 'o': o->output = optarg; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option("manifest join", argv, c);
		}
	}
	if (!code && (!o->dir_count || !o->cert_count || !o->output))
		return complain(EXIT_USAGE, "manifest join: --signatures, --cert and "
				"--output must be given");
	if (!code && argc - optind != 1)
		return complain(EXIT_USAGE, "manifest join: name one manifest");
	o->manifest = argv[optind];
	return code;
}

static int read_certs(struct joining *j)
{
	for (size_t i = 0; i < j->o->cert_count; i++) {
		const char *path = j->o->cert_files[i];
		int err = cert_read(path, &j->certs[i]);

		if (!err)
			err = trust_new_pinned(path, &j->trusts[i]);
		if (err == -EBADMSG)
			return complain(EXIT_NO, "%s is not a certificate. Next: name "
					"the file of a certificate, in DER or PEM form",
					path);
		if (err)
			return complain_errno(err, path);
	}
	return EXIT_YES;
}

/* Where the modules come from must stay as it was built. */
static int make_output(const struct joining *j)
{
	struct stat from, to;

	if (mkdir(j->o->output, 0755) < 0 && errno != EEXIST)
		return complain(EXIT_NO, "%s: %s", j->o->output, strerror(errno));
	if (stat(j->m.folder, &from) < 0 || stat(j->o->output, &to) < 0)
		return complain(EXIT_NO, "%s: %s", j->o->output, strerror(errno));
	if (from.st_dev == to.st_dev && from.st_ino == to.st_ino)
		return complain(EXIT_USAGE, "manifest join: --output is the folder of "
				"the manifest, whose modules stay as they are. Next: "
				"name another one");
	return EXIT_YES;
}

/* What is wrong with a signer of a message; NULL: nothing. */
static const char *fault(const struct joining *j, const struct modsig *sig, size_t i,
			 const struct buf *bytes, unsigned int *signed_by)
{
	if (modsig_signer(sig, i)->has_attributes)
		return "has signed attributes, which no kernel accepts";
	for (size_t c = 0; c < j->o->cert_count; c++) {
		int err;

		if (!modsig_names(sig, i, j->certs[c]))
			continue;
		err = modsig_check(sig, i, j->certs[c], bytes->data);
		if (err == -EKEYREJECTED)
			return "is a signature over other bytes, or by another key";
		if (err)
			return "is made with an algorithm that is not known here";
		*signed_by |= 1u << c;
		return NULL;
	}
	return "is by none of the certificates given";
}

/* Reads and checks one message; *signed_by gets the bits of its certificates. */
static int read_message(const struct joining *j, const char *path,
			const struct buf *bytes, struct modsig **sig,
			unsigned int *signed_by)
{
	struct buf der = { 0 };
	const char *wrong = NULL;
	int err = file_read(path, MESSAGE_MAX, &der);

	if (err)
		return complain(EXIT_NO, "%s: %s. Next: ask the signer for it", path,
				strerror(-err));
	err = modsig_parse_detached(der.data, der.len, bytes->len, sig);
	buf_free(&der);
	if (err == -ENOMEM)
		return complain_errno(err, path);
	if (err)
		wrong = "is no detached signature (CMS in DER form)";
	for (size_t i = 0; !wrong && i < modsig_signers(*sig); i++)
		wrong = fault(j, *sig, i, bytes, signed_by);
	if (wrong)
		return complain(EXIT_NO, "%s %s; nothing was written for its module. "
				"Next: ask the signer for it again", path, wrong);
	return EXIT_YES;
}

/* As kernels that know one certificate each would judge the file. */
static int check_result(const struct joining *j, const char *file,
			const struct buf *all)
{
	for (size_t i = 0; i < j->o->cert_count; i++) {
		struct report r = { 0 };
		int code = EXIT_YES;
		int err = verify_bytes(j->h, j->trusts[i], all, j->m.kernel, &r);

		if (err)
			code = complain_errno(err, file);
		else if (r.verdict != VERDICT_OK)
			code = complain(EXIT_NO, "%s: joined, it would be '%s': %s; "
					"nothing was written", file,
					verdict_word(r.verdict), r.message);
		report_free(&r);
		if (code)
			return code;
	}
	return EXIT_YES;
}

static int join_messages(const struct joining *j, const char *file,
			 const struct buf *bytes, struct modsig *const *sigs)
{
	char *path = text_of("%s/%s", j->o->output, file);
	struct buf all = { 0 };
	int code, err = path ? modsig_join(bytes->data, bytes->len, sigs,
					   j->o->dir_count, &all) : -ENOMEM;

	if (err == -EPROTO)
		code = complain(EXIT_NO, "%s: these signatures cannot stand in one: two "
				"hashes, two ways to name a signer, one signer twice, "
				"or certificates inside; nothing was written. Next: "
				"let all sign alike", file);
	else if (err)
		code = complain_errno(err, file);
	else
		code = check_result(j, file, &all);
	if (!code) {
		err = file_replace(path, all.data, all.len, 0644);
		code = err ? complain(EXIT_NO, "%s: %s; not written", path,
				      strerror(-err)) : EXIT_YES;
	}
	if (!code)
		printf("%s: signed by %zu\n", path, j->o->cert_count);
	buf_free(&all);
	free(path);
	return code;
}

static int one(const struct joining *j, const struct manifest_module *module)
{
	struct modsig *sigs[SIGNERS_MAX] = { NULL };
	struct buf bytes = { 0 };
	unsigned int signed_by = 0;
	int code = manifest_take(&j->m, module, &bytes);

	for (size_t i = 0; i < j->o->dir_count && !code; i++) {
		char *path = text_of("%s/%s.p7s", j->o->dirs[i], module->file);

		code = path ? read_message(j, path, &bytes, &sigs[i], &signed_by) :
			      complain_errno(-ENOMEM, module->file);
		free(path);
	}
	for (size_t c = 0; c < j->o->cert_count && !code; c++)
		if (!(signed_by & 1u << c))
			code = complain(EXIT_NO, "%s: the signature by %s is missing; "
					"nothing was written. Next: ask that signer for "
					"it", module->file, j->o->cert_files[c]);
	if (!code)
		code = join_messages(j, module->file, &bytes, sigs);
	for (size_t i = 0; i < SIGNERS_MAX; i++)
		modsig_free(sigs[i]);
	buf_free(&bytes);
	return code;
}

int manifest_join(int argc, char **argv)
{
	struct options o = { 0 };
	struct joining j = { .o = &o };
	int err, code = parse(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	err = host_new(o.root, &j.h);
	if (err)
		return complain_root(err, o.root, "manifest join");
	code = manifest_open(o.manifest, &j.m);
	if (!code)
		code = read_certs(&j);
	if (!code)
		code = make_output(&j);
	for (size_t i = 0; i < j.m.count && !code; i++)
		code = one(&j, &j.m.list[i]);
	for (size_t i = 0; i < SIGNERS_MAX; i++) {
		X509_free(j.certs[i]);
		trust_free(j.trusts[i]);
	}
	manifest_free(&j.m);
	host_free(j.h);
	return code;
}
