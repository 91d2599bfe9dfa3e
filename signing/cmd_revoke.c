// SPDX-License-Identifier: GPL-2.0-or-later
/* key revoke: what each kernel makes of it, then the request; and key retire. */
#include <errno.h>
#include <fnmatch.h>
#include <dirent.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/say.h"
#include "guard/base/script.h"
#include "guard/base/util.h"
#include "guard/host/kernels.h"
#include "guard/trust/cert.h"
#include "guard/trust/rules.h"
#include "signing/keystate.h"
#include "signing/keyverb.h"
#include "signing/newkey.h"
#include "signing/rotation.h"

static const char revoke_usage[] =
"Usage: kmodkeep key revoke --cert FILE [--mokx] [--force] [--password-stdin]\n"
"                           [--dry-run]\n"
"Takes a certificate out of this host's trust at the next boot: says first what\n"
"each kernel will make of that, then asks MokManager, where somebody at the\n"
"console must confirm it with a one-time password.\n"
"\n"
"  --mokx            put it into the list of revoked keys (MOKX) instead of\n"
"                    deleting it; few kernels look there for modules\n"
"  --force           even if modules are signed by it alone\n"
"  --password-stdin  read the password from standard input (8 to 64 characters)\n"
"  --dry-run         only print the plan\n"
"  --root DIR        refused: the firmware belongs to the system that runs\n"
"\n"
"Exit code: 0 asked for, or done; 1 not; 2 wrong usage; 3 could not tell.\n";

static const char retire_usage[] =
"Usage: kmodkeep key retire [--dry-run] [--root DIR]\n"
"Destroys the private keys that rotations have put aside and that this host\n"
"trusts no more. Their certificates are kept.\n"
"\n"
"Exit code: 0 done, or there is none; 1 some are still trusted; 2 wrong usage;\n"
"3 could not tell.\n";

struct options {
	const char *root, *cert;
	bool mokx, force, dry_run, password_stdin;
};

/* EXIT_YES to go on, -1 after --help, else the code to end with. */
static int parse(int argc, char **argv, const char *verb, const char *usage,
		 struct options *o)
{
	static const struct option longs[] = {
		{ "cert", required_argument, NULL, 'c' },
		{ "mokx", no_argument, NULL, 'x' },
		{ "force", no_argument, NULL, 'f' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "password-stdin", no_argument, NULL, 'p' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	bool retire = usage == retire_usage;
	int c;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		if (retire && strchr("cxfp", c)) {
			complain(0, "%s: unknown option '%s'", verb,
				 argv[optind - 1]);
			return EXIT_USAGE;
		}
		switch (c) {
		case 'c': o->cert = optarg; break;
		case 'x': o->mokx = true; break;
		case 'f': o->force = true; break;
		case 'n': o->dry_run = true; break;
		case 'p': o->password_stdin = true; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option(verb, argv, c);
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "%s: unexpected argument '%s'", verb,
				argv[optind]);
	if (!retire && !o->cert)
		return complain(EXIT_USAGE, "key revoke: --cert is missing. "
				"Next: name the certificate of the key to "
				"revoke");
	return EXIT_YES;
}

/* The modules of one kernel that the certificate has signed. */
struct affected {
	size_t alone, with_others;
};

static struct affected count(const struct host_modules *m, const char *kernel,
			     X509 *cert)
{
	struct affected a = { 0 };

	for (size_t i = 0; i < m->count; i++) {
		size_t others;

		if (strcmp(m->list[i].kernel, kernel) || m->list[i].in_dkms ||
		    sign_by(m->list[i].path, cert, &others) <= 0)
			continue;
		if (others)
			a.with_others++;
		else
			a.alone++;
	}
	return a;
}

static const char *effect(const struct keystate *s, bool mokx,
			  enum answer minds, size_t with_others)
{
	if (s->demand == DEMAND_NO)
		return "nothing is rejected: this host demands no signature";
	if (!mokx)
		return with_others ?
		       "modules signed by it alone are rejected; those with "
		       "another trusted signer load" :
		       "modules signed by it alone are rejected";
	switch (minds) {
	case ANSWER_YES:
		return "every module with its signature is rejected, also "
		       "if another key has signed it too";
	case ANSWER_NO:
		return "nothing is rejected: this kernel does not look at that "
		       "list for keys of modules";
	default:
		return "not known: this kernel was not tested";
	}
}

/* Prints the plan; *lost: modules that will not load then. */
static int print_plan(const struct host *h, const struct keystate *s,
		      const struct options *o, size_t *lost)
{
	struct host_modules modules = { 0 };
	struct kernels kernels = { 0 };
	int err = kernels_read(h, &kernels);

	*lost = 0;
	if (!err)
		err = host_modules_read(h, &modules);
	if (!err)
		printf("To %s the key '%s' means:\n", o->mokx ? "revoke" :
		       "delete", s->name);
	for (size_t i = 0; !err && i < kernels.count; i++) {
		const char *v = kernels.list[i].release;
		enum answer minds = rules_on(h, v).mokx_cert;
		struct affected a = count(&modules, v, s->key->cert);

		printf("  %s: %s (%zu signed by it alone, %zu with others)\n", v,
		       effect(s, o->mokx, minds, a.with_others), a.alone,
		       a.with_others);
		if (s->demand != DEMAND_NO && (!o->mokx || minds != ANSWER_NO))
			*lost += a.alone + (o->mokx ? a.with_others : 0);
	}
	if (!err && modules.gap)
		printf("  not read: %s\n", modules.gap);
	host_modules_free(&modules);
	kernels_free(&kernels);
	return err;
}

/* EXIT_YES: to be asked for; -1: there is no need; or the code to end with. */
static int check(const struct host *h, const struct keystate *s,
		 const struct options *o)
{
	size_t lost;
	int err;

	if (s->key && s->key->problem)
		return complain(EXIT_NO, "%s. Next: %s", s->key->problem,
				s->key->next_step);
	if (s->secure_boot == SB_NO_EFI) {
		puts("kmodkeep: not applicable: no EFI here, so no list of keys");
		return -1;
	}
	if (s->enrolment == ENROLMENT_UNKNOWN)
		return complain(EXIT_UNSURE, "whether the key is enrolled could "
				"not be read. Next: mount efivarfs, and run it "
				"as root");
	if (!o->mokx && s->enrolment != ENROLMENT_ENROLLED) {
		printf("kmodkeep: the key '%s' is not enrolled: there is nothing "
		       "to delete\n", s->name);
		return -1;
	}
	if (s->without_shim)
		return complain(EXIT_NO, "this host boots without shim, so no menu would ask "
				"for it. Next: take the key out of the firmware's db, by its "
				"set-up or by what put it there");
	if (!o->mokx && !s->in_mok)
		return complain(EXIT_NO, "the key '%s' is in the firmware's db, which MokManager "
				"does not change. Next: take it out there, by the firmware's "
				"set-up or by what put it there; or key revoke --mokx", s->name);
	if (o->mokx && s->revoked) {
		printf("kmodkeep: the key '%s' is in the list of revoked keys\n",
		       s->name);
		return -1;
	}
	err = print_plan(h, s, o, &lost);
	if (err)
		return complain_errno(err, "key revoke");
	fflush(stdout);
	if (lost && !o->force && !o->dry_run)
		return complain(EXIT_NO, "%zu module files would no longer "
				"load; nothing was asked for. Next: kmodkeep "
				"key rotate begin, or --force", lost);
	return o->dry_run ? -1 : EXIT_YES;
}

static int hand_over(const struct options *o)
{
	char *args[10] = { "revoke", "--cert", (char *)o->cert };
	int n = 3;

	if (o->mokx)
		args[n++] = "--mokx";
	if (o->password_stdin)
		args[n++] = "--password-stdin";
	if (o->root) {
		args[n++] = "--root";
		args[n++] = (char *)o->root;
	}
	return run_script("key-revoke", n, args);
}

int key_revoke(int argc, char **argv)
{
	struct options o = { 0 };
	struct keystate *s = NULL;
	struct host *h = NULL;
	int err, fd = -1, code;

	code = parse(argc, argv, "key revoke", revoke_usage, &o);
	if (code)
		return code < 0 ? EXIT_YES : code;
	code = keyverb_open("key revoke", o.root, &h, &fd);
	if (!code) {
		err = keystate_read_cert(h, o.cert, &s);
		code = err ? complain_errno(err, "key revoke") : check(h, s, &o);
	}
	if (!code)
		code = hand_over(&o);
	keystate_free(s);
	keyverb_close(h, fd);
	return code < 0 ? EXIT_YES : code;
}

/* What a retire that was killed has left: it destroys the key first, the rest in any order. */
static int remove_rest(const char *path, bool dry_run)
{
	int err = dry_run ? 0 : newkey_remove(path);

	if (err)
		return keyverb_failed(err, path);
	printf("kmodkeep: %s %s, which has neither a key nor a certificate\n",
	       dry_run ? "would remove" : "removed", path);
	return EXIT_YES;
}

/* One directory of keys that was put aside: path is below the host's root. */
static int retire_one(const struct host *h, const char *dir, bool dry_run)
{
	char *rel_key = text_of("%s/signing.key", dir);
	char *rel_cert = text_of("%s/signing.der", dir);
	char *path = host_path(h, dir), *cert = NULL, *kept = NULL;
	struct keystate *s = NULL;
	struct buf der = { 0 };
	int code = EXIT_YES, err = rel_key && rel_cert && path ? 0 : -ENOMEM;

	if (!err && !host_has(h, rel_key) && !host_has(h, rel_cert)) {
		code = remove_rest(path, dry_run);
		goto out;
	}
	cert = err ? NULL : host_path(h, rel_cert);
	if (!err)
		err = cert ? keystate_read_cert(h, cert, &s) : -ENOMEM;
	if (err) {
		code = complain_errno(err, "key retire");
	} else if (s->key->problem) {
		code = complain(EXIT_NO, "%s; %s is left alone. Next: look at "
				"it, and remove it by hand", s->key->problem,
				path);
	} else if (s->enrolment == ENROLMENT_ENROLLED) {
		code = complain(EXIT_NO, "the key '%s' in %s is still trusted "
				"here. Next: kmodkeep key revoke --cert %s",
				s->name, path, cert);
	} else if (s->enrolment == ENROLMENT_UNKNOWN) {
		code = complain(EXIT_UNSURE, "whether the key '%s' is enrolled "
				"could not be read", s->name);
	} else if (dry_run) {
		printf("kmodkeep: would destroy the private key of '%s' in %s\n",
		       s->name, path);
	} else {
		kept = text_of("%s/var/lib/kmodkeep/retired-%.16s.der",
			       host_is_live(h) ? "" : host_root(h), s->sha256);
		err = kept ? file_read(cert, 1 << 20, &der) : -ENOMEM;
		if (!err)
			err = file_replace(kept, der.data, der.len, 0644);
		if (!err)
			err = newkey_remove(path);
		code = err ? keyverb_failed(err, path) : EXIT_YES;
		if (!err)
			printf("kmodkeep: the private key of '%s' was destroyed; "
			       "its certificate is %s\n", s->name, kept);
	}
out:
	buf_free(&der);
	keystate_free(s);
	free(kept);
	free(cert);
	free(path);
	free(rel_key);
	free(rel_cert);
	return code;
}

static int retire(const struct host *h, const struct options *o)
{
	char *parent = host_path(h, "/var/lib/kmodkeep");
	DIR *d = parent ? opendir(parent) : NULL;
	struct rotation r;
	struct dirent *e;
	int code = EXIT_YES, err = rotation_read(h, &r);
	size_t seen = 0;

	if (err)
		code = complain_errno(err, ROTATION_RECORD);
	while (!code && d && (e = readdir(d))) {
		bool old = !strcmp(e->d_name, "keys.old");
		char *dir;
		int one;

		if (!old && fnmatch("keys.aborted-*", e->d_name, 0))
			continue;
		seen++;
		if (old && r.phase != ROTATION_NONE) {
			code = complain(EXIT_NO, "the old key may still have to "
					"come back: a rotation is under way. "
					"Next: kmodkeep key rotate status");
			break;
		}
		dir = text_of("/var/lib/kmodkeep/%s", e->d_name);
		one = dir ? retire_one(h, dir, o->dry_run) : EXIT_UNSURE;
		free(dir);
		if (one)
			code = one;
	}
	if (!seen && !code)
		puts("kmodkeep: no key was put aside; nothing to retire");
	if (d)
		closedir(d);
	free(parent);
	if (!err)
		rotation_free(&r);
	return code;
}

int key_retire(int argc, char **argv)
{
	struct options o = { 0 };
	struct host *h = NULL;
	int fd = -1, code;

	code = parse(argc, argv, "key retire", retire_usage, &o);
	if (code)
		return code < 0 ? EXIT_YES : code;
	code = keyverb_open("key retire", o.root, &h, &fd);
	if (!code)
		code = retire(h, &o);
	keyverb_close(h, fd);
	return code < 0 ? EXIT_YES : code;
}
