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
#include "guard/verdict/signers.h"
#include "guard/verdict/verify.h"

static const char usage[] =
"Usage: kmodkeep verify [OPTION...] FILE...\n"
"       kmodkeep verify [OPTION...] --module NAME\n"
"Will the kernel load these modules? One line each: FILE: VERDICT: why.\n"
"\n"
"  --kernel V     ask about kernel release V (default: the running one)\n"
"  --cert FILE    trust exactly this certificate, whatever the host trusts; again\n"
"                 for others (up to 4)\n"
"  --require-signers N  N of these certificates must have signed, 1 to 4; without\n"
"                 --cert, what /etc/kmodkeep/signing.conf requires holds\n"
"  --log FILE     each signature must be in this log of a signer, whose chain must\n"
"                 be whole; again for others (up to 4)\n"
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
	const char *root, *kernel, *module;
	const char *certs[SIGNERS_REQUIRED_MAX], *logs[SIGNER_LOGS_MAX];
	size_t cert_count, log_count;
	unsigned int required;
	struct signers policy;
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

static int add_file(const char **list, size_t *count, size_t max, const char *option,
		    const char *file)
{
	if (*count == max)
		return complain(EXIT_USAGE, "verify: %s may be given %zu times", option,
				max);
	list[(*count)++] = file;
	return EXIT_YES;
}

static int parse_required(struct options *o, const char *text)
{
	if (text[0] < '1' || text[0] > '0' + SIGNERS_REQUIRED_MAX || text[1])
		return complain(EXIT_USAGE, "verify: --require-signers: '%s' is not 1 to "
				"%d", text, SIGNERS_REQUIRED_MAX);
	o->required = text[0] - '0';
	return EXIT_YES;
}

/* EXIT_YES to go on, else the code to end with; --help ends with -1. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "kernel", required_argument, NULL, 'k' },
		{ "cert", required_argument, NULL, 'c' },
		{ "require-signers", required_argument, NULL, 'R' },
		{ "log", required_argument, NULL, 'l' },
		{ "accept", required_argument, NULL, 'a' },
		{ "accept-signer", required_argument, NULL, 's' },
		{ "module", required_argument, NULL, 'm' },
		{ "json", no_argument, NULL, 'j' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c, code = EXIT_YES;

	while (!code && (c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'k': o->kernel = optarg; break;
		case 'c':
			code = add_file(o->certs, &o->cert_count,
					SIGNERS_REQUIRED_MAX, "--cert", optarg);
			break;
		case 'l':
			code = add_file(o->logs, &o->log_count, SIGNER_LOGS_MAX,
					"--log", optarg);
			break;
		case 'R': code = parse_required(o, optarg); break;
		case 's': code = add_signer(o, optarg); break;
		case 'm': o->module = optarg; break;
		case 'j': o->json = true; break;
		case 'r': o->root = optarg; break;
		case 'a': code = parse_accept(o, optarg); break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option("verify", argv, c);
		}
	}
	if (!code && !o->module == (optind == argc))
		return complain(EXIT_USAGE,
				"verify: name files or --module, one of them");
	if (!code && o->required > o->cert_count)
		return complain(EXIT_USAGE, "verify: --require-signers %u needs %u "
				"certificates, by --cert", o->required, o->required);
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
	/* What more is required, no --accept waives. */
	if (!code && (err = signers_check(&o->policy, path ? path : name, &r)) != 1)
		code = err < 0 ? complain_errno(err, name) : verdict_exit(r.verdict);
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

static int read_trust(const struct options *o, const struct host *h,
		      struct trust **t)
{
	int err = o->cert_count ? trust_new_pinned(o->certs[0], t) : trust_new(h, t);

	if (err)
		return o->cert_count ? complain_certificate(err, o->certs[0]) :
				       complain_errno(err, "verify");
	for (size_t i = 1; i < o->cert_count; i++) {
		err = trust_pin(*t, o->certs[i]);
		if (err)
			return complain_certificate(err, o->certs[i]);
	}
	return EXIT_YES;
}

static int read_logs(struct options *o)
{
	for (size_t i = 0; i < o->log_count; i++) {
		char *why;
		int err = signers_add_log(&o->policy, o->logs[i], &why);
		int code = err == -EBADMSG ?
			   complain(EXIT_NO, "the log %s: %s. Next: trust no signature "
				    "since then", o->logs[i], why) :
			   err ? complain_errno(err, o->logs[i]) : EXIT_YES;

		free(why);
		if (code)
			return code;
	}
	return EXIT_YES;
}

/* What more than a kernel is asked for: by the command, or by the host. */
static int read_policy(struct options *o, const struct host *h)
{
	int code = EXIT_YES, err = 0;

	o->policy.required = o->required;
	for (size_t i = 0; i < o->cert_count && !err && o->required; i++)
		err = signers_add_cert(&o->policy, o->certs[i]);
	if (!o->cert_count)
		err = signers_of_host(h, &o->policy);
	if (o->policy.unread)
		code = complain(EXIT_UNSURE, "%s, so it is not known who must have signed. "
				"Next: correct it", o->policy.unread);
	else if (err)
		code = complain_errno(err, "verify");
	return code ? code : read_logs(o);
}

static int read_signers(struct options *o)
{
	for (size_t i = 0; i < o->signer_count; i++) {
		int err = cert_read(o->signer_files[i], &o->signers[i]);

		if (err)
			return complain_certificate(err, o->signer_files[i]);
	}
	return EXIT_YES;
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
	if (err)
		return complain_root(err, o.root, "verify");
	code = read_trust(&o, h, &t);
	if (!code)
		code = read_policy(&o, h);
	if (!code)
		code = read_signers(&o);
	if (code)
		goto out;
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
	signers_free(&o.policy);
	trust_free(t);
	host_free(h);
	return code;
}
