// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb verify: will the kernel load these files? */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/firmware.h"
#include "guard/trust/cert.h"
#include "guard/verbs/verbs.h"
#include "guard/verdict/lookup.h"
#include "guard/verdict/verify.h"

static const char usage[] =
"Usage: kmodkeep verify [OPTION...] FILE...\n"
"       kmodkeep verify [OPTION...] --module NAME\n"
"Will the kernel load these modules? One line each: FILE: VERDICT: why.\n"
"\n"
"  --kernel V     ask about kernel release V (default: the running one)\n"
"  --cert FILE    trust exactly this certificate, whatever the host trusts\n"
"  --accept WORD[,WORD...]  verdicts that count as success, besides ok\n"
"  --accept-signer FILE  untrusted-key and pending-enrolment count as success\n"
"                 where this certificate signed; may be given twice\n"
"  --module NAME  the module of this name, where modprobe would find it\n"
"  --json         machine-readable output\n"
"  --root DIR     ask about the system installed under DIR\n"
"\n"
"Exit code: 0 all ok, 1 some not, 2 wrong usage, 3 could not tell.\n";

/* The keys of a host while one is changed for another. */
#define SIGNERS_MAX 2

struct options {
	const char *root, *kernel, *cert, *module;
	const char *signer_files[SIGNERS_MAX];
	X509 *signers[SIGNERS_MAX];
	size_t signer_count;
	bool accept[VERDICT_COUNT];
	bool json;
};

static int parse_accept(struct options *o, char *list)
{
	char *save = NULL;

	for (char *w = strtok_r(list, ",", &save); w;
	     w = strtok_r(NULL, ",", &save)) {
		enum verdict v;

		if (!verdict_parse(w, &v))
			return complain(EXIT_USAGE,
					"--accept: '%s' is no verdict", w);
		o->accept[v] = true;
	}
	return EXIT_YES;
}

static int add_signer(struct options *o, const char *file)
{
	if (o->signer_count == SIGNERS_MAX)
		return complain(EXIT_USAGE, "verify: --accept-signer may be given "
				"%d times", SIGNERS_MAX);
	o->signer_files[o->signer_count++] = file;
	return EXIT_YES;
}

/* EXIT_YES to go on, else the code to end with; --help ends with -1. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "kernel", required_argument, NULL, 'k' },
		{ "cert", required_argument, NULL, 'c' },
		{ "accept", required_argument, NULL, 'a' },
		{ "accept-signer", required_argument, NULL, 's' },
		{ "module", required_argument, NULL, 'm' },
		{ "json", no_argument, NULL, 'j' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, code = EXIT_YES;

	while (!code && (c = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
		switch (c) {
		case 'k': o->kernel = optarg; break;
		case 'c': o->cert = optarg; break;
		case 's': code = add_signer(o, optarg); break;
		case 'm': o->module = optarg; break;
		case 'j': o->json = true; break;
		case 'r': o->root = optarg; break;
		case 'a': code = parse_accept(o, optarg); break;
		case 'h': fputs(usage, stdout); return -1;
		default: return EXIT_USAGE;
		}
	}
	if (!code && !o->module == (optind == argc))
		return complain(EXIT_USAGE,
				"verify: name files or --module, one of them");
	return code;
}

static void print_line(const char *subject, const struct report *r)
{
	printf("%s: %s: %s", subject, verdict_word(r->verdict), r->message);
	if (r->next_step)
		printf(". Next: %s", r->next_step);
	putchar('\n');
}

static int worse(int a, int b)
{
	if (a == EXIT_NO || b == EXIT_NO)
		return EXIT_NO;
	return a ? a : b;
}

static bool is_accepted(const struct options *o, const struct report *r)
{
	if (o->accept[r->verdict])
		return true;
	if (r->verdict != VERDICT_UNTRUSTED_KEY &&
	    r->verdict != VERDICT_PENDING_ENROLMENT)
		return false;
	for (size_t i = 0; r->cert && i < o->signer_count; i++)
		if (!X509_cmp(r->cert->x509, o->signers[i]))
			return true;
	return false;
}

/* Judges one file or module and prints or collects what came out. */
static int one(const struct options *o, const struct host *h,
	       const struct trust *t, const char *name,
	       struct json_object *results)
{
	struct report r = { 0 };
	char *path = NULL, *subject;
	int err, code;

	if (o->module)
		err = verify_module(h, t, name, o->kernel, &path, &r);
	else
		err = verify_file(h, t, name, o->kernel, &r);
	subject = strdup(path ? path : name);
	if (err || !subject) {
		code = complain_errno(err, name);
		goto out;
	}
	make_printable(subject);
	code = is_accepted(o, &r) ? EXIT_YES : verdict_exit(r.verdict);
	if (results)
		json_object_array_add(results, report_json(&r, subject));
	else
		print_line(subject, &r);
out:
	free(subject);
	free(path);
	report_free(&r);
	return code;
}

static int complain_certificate(int err, const char *path)
{
	if (err == -EBADMSG)
		return complain(EXIT_UNSURE, "%s is not a certificate. Next: name "
				"the file of a certificate, in DER or PEM form",
				path);
	return complain_errno(err, path);
}

int verb_verify(int argc, char **argv)
{
	struct options o = { 0 };
	struct json_object *doc = NULL, *results = NULL;
	struct host *h = NULL;
	struct trust *t = NULL;
	int err, code = parse(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	err = host_new(o.root, &h);
	if (!err)
		err = o.cert ? trust_new_pinned(o.cert, &t) : trust_new(h, &t);
	if (err) {
		code = !h ? complain_root(err, o.root, "verify") :
		       o.cert ? complain_certificate(err, o.cert) :
				complain_errno(err, "verify");
		goto out;
	}
	for (size_t i = 0; i < o.signer_count; i++) {
		err = cert_read(o.signer_files[i], &o.signers[i]);
		if (err) {
			code = complain_certificate(err, o.signer_files[i]);
			goto out;
		}
	}
	if (o.json) {
		doc = json_object_new_object();
		results = json_object_new_array();
		json_object_object_add(doc, "schema", json_object_new_int(1));
		json_add(doc, "secure_boot",
			 secure_boot_word(host_secure_boot(h)));
		json_object_object_add(doc, "results", results);
	}
	if (o.module)
		code = one(&o, h, t, o.module, results);
	for (int i = optind; i < argc; i++)
		code = worse(code, one(&o, h, t, argv[i], results));
	if (doc)
		puts(json_text(doc));
out:
	json_object_put(doc);
	for (size_t i = 0; i < o.signer_count; i++)
		X509_free(o.signers[i]);
	trust_free(t);
	host_free(h);
	return code;
}
