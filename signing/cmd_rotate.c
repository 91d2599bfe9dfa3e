// SPDX-License-Identifier: GPL-2.0-or-later
/* key rotate: from one signing key to another, step by step. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/json.h"
#include "guard/base/say.h"
#include "guard/base/script.h"
#include "guard/base/util.h"
#include "guard/host/dkms_config.h"
#include "guard/host/kernels.h"
#include "guard/trust/cert.h"
#include "guard/trust/firmware_ca.h"
#include "signing/keystate.h"
#include "signing/keyverb.h"
#include "signing/newkey.h"
#include "signing/progress.h"
#include "signing/rotation.h"

static const char usage[] =
"Usage: kmodkeep key rotate begin [--password-stdin] [--dry-run]\n"
"       kmodkeep key rotate status [--json]\n"
"       kmodkeep key rotate continue | finish | abort [--dry-run]\n"
"Changes the key that modules of this host are signed with, so that at every\n"
"moment each module that should load does.\n"
"\n"
"  begin     make a new key, sign every installed module by both, and ask for\n"
"            the new key's enrolment\n"
"  status    how far it is, for each kernel and its initramfs\n"
"  continue  do again what the step at hand asks for, such as after a kernel\n"
"            update\n"
"  finish    once the new key is enrolled: sign by it alone, and put the old one\n"
"            aside; again, once the old one is out of the firmware's list: end\n"
"  abort     go back to the old key\n"
"\n"
"  --password-stdin  the one-time password for the enrolment\n"
"  --dry-run         say what would be done, and do nothing\n"
"  --json            machine-readable output\n"
"  --root DIR        the system installed under DIR\n"
"\n"
"Every step can be repeated, and goes on where it was interrupted.\n"
"Exit code: 0 done, or nothing is left to do; 1 not, or something is left to do;\n"
"2 wrong usage, 3 could not tell.\n";

struct options {
	const char *step, *root;
	bool json, dry_run, password_stdin;
};

struct rotating {
	const struct options *o;
	struct host *h;
	struct rotation r;
	struct progress p;
	struct keystate *old, *new;	/* the enrolment of each */
};

static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "password-stdin", no_argument, NULL, 'p' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	static const char *const steps[] = {
		"begin", "status", "continue", "finish", "abort",
	};
	int c;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'j': o->json = true; break;
		case 'n': o->dry_run = true; break;
		case 'p': o->password_stdin = true; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option("key rotate", argv, c);
		}
	}
	if (optind + 1 != argc)
		return complain(EXIT_USAGE, "key rotate: name one step: begin, "
				"status, continue, finish or abort");
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (!strcmp(steps[i], argv[optind])) {
			o->step = steps[i];
			return EXIT_YES;
		}
	return complain(EXIT_USAGE, "key rotate: unknown step '%s'; see kmodkeep key "
			"rotate --help", argv[optind]);
}

static void say_failed(const char *path, int err)
{
	if (err == -ENOKEY)
		complain(0, "%s: only the key that goes has signed it, and the "
			 "other cannot sign; left as it is", path);
	else if (err == -EKEYREJECTED || err == -EBADMSG)
		complain(0, "%s: it does not fit its signature; left as it is. "
			 "Next: build it again", path);
	else if (err == -EPROTO)
		complain(0, "%s: it has a signature that no kernel takes beside "
			 "another one; left as it is", path);
	else
		complain(0, "%s: %s; left as it is", path, strerror(-err));
}

static int read_states(struct rotating *g)
{
	int err = 0;

	if (g->r.phase == ROTATION_NONE)
		return 0;
	err = keystate_read_x509(g->h, g->r.old_cert, &g->old);
	if (!err && g->r.new_cert)
		err = keystate_read_x509(g->h, g->r.new_cert, &g->new);
	if (!err)
		err = progress_read(&g->r, &g->p);
	return err;
}

static void free_states(struct rotating *g)
{
	progress_free(&g->p);
	keystate_free(g->old);
	keystate_free(g->new);
	g->old = g->new = NULL;
}

static int refresh(struct rotating *g)
{
	free_states(g);
	return read_states(g);
}

static bool is_enrolled(const struct keystate *s)
{
	return s && s->enrolment == ENROLMENT_ENROLLED;
}

/* Is the key trusted, or does nothing here ask whether it is? */
static bool is_good_enough(const struct keystate *s)
{
	return s && (s->enrolment == ENROLMENT_ENROLLED ||
		     s->enrolment == ENROLMENT_NOT_APPLICABLE ||
		     s->demand == DEMAND_NO);
}

/* The certificate of the old key as a file, for mokutil; malloc'ed. */
static char *old_file(const struct rotating *g)
{
	unsigned char *der = NULL;
	char *path;
	int len;

	if (g->r.old_pair)
		return strdup(g->r.old_pair->cert_path);
	path = host_path(g->h, "/var/lib/kmodkeep/old-certificate.der");
	len = i2d_X509(g->r.old_cert, &der);
	if (path && len > 0)
		file_replace(path, der, len, 0644);
	OPENSSL_free(der);
	return path;
}

/*
 * Does dkms sign with the old key by itself? Modules without kmodkeep's hooks
 * would then bear it alone again after the next build.
 */
static bool dkms_uses_old(const struct rotating *g)
{
	struct dkms_config c;
	const char *value;
	bool sure, uses;

	if (!strcmp(g->r.old_origin, "own") || dkms_config_read(g->h, &c))
		return false;
	value = dkms_config_get(&c, "mok_certificate", &sure);
	uses = !value || strcmp(value, KEY_DIR "/signing.der");
	dkms_config_free(&c);
	return uses;
}

#define NAME_NEW_PAIR "set mok_signing_key=" KEY_DIR "/signing.key and " \
		      "mok_certificate=" KEY_DIR "/signing.der in " \
		      "/etc/dkms/framework.conf"

static char *next_of_enrolment(const struct rotating *g)
{
	const char *cert = g->r.new_pair ? g->r.new_pair->cert_path : "?";

	if (g->new->enrolment == ENROLMENT_PENDING && !g->new->without_shim)
		return strdup("reboot and choose \"Enroll MOK\" in the blue "
			      "menu; then: kmodkeep key rotate finish");
	if (g->new->enrolment == ENROLMENT_UNKNOWN)
		return strdup("ask again as root, with efivarfs mounted");
	return firmware_enrol_step(g->h, cert, g->new->enrolment == ENROLMENT_DECLINED);
}

static char *next_of_old(const struct rotating *g)
{
	char *file, *next;

	if (g->old->delete_pending)
		return strdup("reboot and choose \"Delete MOK\" in the blue "
			      "menu; then: kmodkeep key rotate finish");
	if (!is_enrolled(g->old))
		return strdup("kmodkeep key rotate finish");
	file = old_file(g);
	next = file ? text_of("kmodkeep key revoke --cert %s", file) : NULL;
	free(file);
	return next;
}

/* What to do now; malloc'ed, NULL: nothing. */
static char *next_step(const struct rotating *g)
{
	const char *stale = progress_stale_initramfs(&g->p, g->r.phase);

	if (g->r.phase == ROTATION_NONE)
		return NULL;
	if (!g->r.new_pair || g->r.new_pair->problem)
		return strdup("kmodkeep key rotate abort");
	if (g->r.phase == ROTATION_BACK)
		return strdup("kmodkeep key rotate abort");
	if (progress_left(&g->p, g->r.phase))
		return strdup("kmodkeep key rotate continue");
	if (g->r.phase == ROTATION_BOTH && !is_good_enough(g->new))
		return next_of_enrolment(g);
	if (stale)
		return text_of("update-initramfs -u -k %s (or dracut --force "
			       "--kver %s); then: kmodkeep key rotate finish",
			       stale, stale);
	if (g->r.phase == ROTATION_BOTH)
		return strdup("kmodkeep key rotate finish");
	if (dkms_uses_old(g))
		return strdup(NAME_NEW_PAIR "; then: kmodkeep key rotate finish");
	return next_of_old(g);
}

static void print_key(const char *label, const struct keystate *s,
		      const struct signkey *k)
{
	printf("%-13s '%s', %s%s%s%s%s\n", label, s && s->name ? s->name : "?",
	       s ? enrolment_word(s->enrolment) : "not there",
	       s && s->delete_pending ? ", its removal waits for a reboot" : "",
	       !k ? "; its private key is not on this host" :
	       k->problem ? "; it cannot sign: " : "",
	       k && k->problem ? k->problem : "",
	       k && !k->problem && !k->key ? "; it cannot be read" : "");
}

static void print_page(const struct rotating *g, const char *next)
{
	static const char *const meaning[] = {
		"none is under way",
		"modules are signed by both keys",
		"modules are signed by the new key alone",
		"going back to the old key",
	};

	printf("Rotation:     %s\n", meaning[g->r.phase]);
	if (g->r.phase != ROTATION_NONE) {
		printf("Begun:        %s\n", g->r.started);
		print_key("Old key:", g->old, g->r.old_pair);
		print_key("New key:", g->new, g->r.new_pair);
		progress_print(&g->p);
	}
	if (next)
		printf("Next:         %s\n", next);
}

static struct json_object *key_json(const struct keystate *s,
				    const struct signkey *k)
{
	struct json_object *o = json_object_new_object();

	json_add(o, "name", s ? s->name : NULL);
	json_add(o, "fingerprint", s ? s->sha256 : NULL);
	json_add(o, "enrolment", s ? enrolment_word(s->enrolment) : NULL);
	json_add_bool(o, "delete_pending", s && s->delete_pending);
	json_add_bool(o, "can_sign", k && k->key && !k->problem);
	json_add(o, "problem", k ? k->problem : NULL);
	return o;
}

static void print_json(const struct rotating *g, const char *next)
{
	struct json_object *o = json_object_new_object();
	bool none = g->r.phase == ROTATION_NONE;

	json_add_int(o, "schema", 1);
	json_add(o, "phase", rotation_word(g->r.phase));
	json_add(o, "started", g->r.started);
	json_object_object_add(o, "old", none ? NULL :
			       key_json(g->old, g->r.old_pair));
	json_object_object_add(o, "new", none ? NULL :
			       key_json(g->new, g->r.new_pair));
	json_object_object_add(o, "kernels", progress_json(&g->p));
	json_add(o, "gap", g->p.modules.gap);
	json_add(o, "next_step", next);
	puts(json_text(o));
	json_object_put(o);
}

static int show(struct rotating *g)
{
	int err = refresh(g);
	char *next;

	if (err)
		return complain_errno(err, "key rotate");
	next = next_step(g);
	if (g->o->json)
		print_json(g, next);
	else
		print_page(g, next);
	free(next);
	return g->r.phase == ROTATION_NONE ? EXIT_YES :
	       g->p.modules.gap ? EXIT_UNSURE : EXIT_NO;
}

/* Brings all files to what the phase asks for. EXIT_YES: all are there. */
static int sign_all(struct rotating *g)
{
	struct rotation_count n;
	int err;

	if (g->p.modules.gap)
		return complain(EXIT_UNSURE, "key rotate: not all modules were "
				"found: %s; nothing changed", g->p.modules.gap);
	err = rotation_sign(&g->r, &g->p.modules, &n, say_failed);
	if (err)
		return complain_errno(err, "key rotate");
	printf("kmodkeep: %zu module file%s changed; %zu could not be\n",
	       n.changed, n.changed == 1 ? " was" : "s were",
	       n.failed + n.stuck);
	err = refresh(g);
	if (err)
		return complain_errno(err, "key rotate");
	return n.failed + n.stuck ? EXIT_NO : EXIT_YES;
}

static bool has_terminal(void)
{
	int fd = open("/dev/tty", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

/* Hands over to key enroll, where somebody can be told the password. */
static int ask_for_enrolment(struct rotating *g)
{
	char *cert = g->r.new_pair->cert_path;
	char *args[8] = { "enroll", "--cert", cert };
	int n = 3;

	if (g->o->password_stdin)
		args[n++] = "--password-stdin";
	if (g->o->root) {
		args[n++] = "--root";
		args[n++] = (char *)g->o->root;
	}
	return run_script("key-enroll", n, args);
}

static int say_next(struct rotating *g, int code)
{
	char *next = next_step(g);

	if (next)
		printf("kmodkeep: Next: %s\n", next);
	free(next);
	return code;
}

/* The old key, fit to sign or not: its certificate is what counts. */
static int find_old(struct rotating *g, struct signkey **old)
{
	struct trust *t = NULL;
	int err = trust_new(g->h, &t);

	if (err)
		return complain_errno(err, "key rotate");
	err = signkey_find(g->h, t, old);
	trust_free(t);
	if (err == -ENOENT)
		return complain(EXIT_NO, "this host has no signing key to "
				"change. Next: kmodkeep key create");
	if (err)
		return complain_errno(err, "key rotate");
	if (!strcmp((*old)->origin, "token"))
		return complain(EXIT_NO, "this host signs with a key in a token, "
				"which kmodkeep does not make. Next: make the "
				"second key there, enrol its certificate, and "
				"sign the modules with: kmodkeep sign --add");
	err = signkey_load(g->h, *old);
	if (err == -ENOMEM)
		return complain_errno(err, "key rotate");
	if (!(*old)->cert)
		return complain(EXIT_NO, "%s: modules that this key signed "
				"cannot be told without its certificate. Next: "
				"restore it, such as from mokutil --export",
				(*old)->problem ? (*old)->problem :
				(*old)->cert_path);
	if ((*old)->problem)
		printf("kmodkeep: note: %s; modules keep the signature that "
		       "they have of it\n", (*old)->problem);
	return EXIT_YES;
}

static int begin(struct rotating *g)
{
	struct signkey *old = NULL;
	char *what = NULL, *id;
	int code, err;

	if (g->r.phase != ROTATION_NONE) {
		printf("kmodkeep: a rotation is under way, begun %s\n",
		       g->r.started);
		code = sign_all(g);
		return say_next(g, code);
	}
	id = host_machine_id(g->h);
	code = id ? find_old(g, &old) :
	       complain(EXIT_NO, "this system has no machine ID yet, and a key "
			"made now would be shared by all its copies. Next: "
			"rotate after its first boot");
	free(id);
	if (code)
		goto out;
	if (host_has(g->h, OLD_KEY_DIR)) {
		code = complain(EXIT_NO, "the key of an earlier rotation is "
				"still in " OLD_KEY_DIR ". Next: kmodkeep key "
				"retire");
		goto out;
	}
	if (g->o->dry_run) {
		puts("kmodkeep: would make a new key in " NEXT_KEY_DIR ", sign "
		     "all modules that the old one has signed by both, and ask "
		     "for the new one's enrolment");
		goto out;
	}
	err = rotation_begin(&g->r, old, &what);
	if (err) {
		code = keyverb_failed(err, what);
		goto out;
	}
	printf("kmodkeep: made a new key beside %s\n", old->key_path);
	err = refresh(g);
	code = err ? complain_errno(err, "key rotate") : sign_all(g);
	if (!code && g->new->enrolment != ENROLMENT_ENROLLED &&
	    g->new->enrolment != ENROLMENT_PENDING &&
	    g->new->demand != DEMAND_NO &&
	    (g->o->password_stdin || has_terminal()))
		code = ask_for_enrolment(g);
	else
		code = say_next(g, code);
out:
	free(what);
	signkey_free(old);
	return code;
}

static int go_on(struct rotating *g)
{
	char *what = NULL;
	int code, err;

	if (g->r.phase == ROTATION_NONE)
		return complain(EXIT_NO, "no rotation is under way. Next: "
				"kmodkeep key rotate begin");
	if (g->o->dry_run) {
		printf("kmodkeep: would change %zu module files\n",
		       progress_left(&g->p, g->r.phase));
		return EXIT_YES;
	}
	err = rotation_settle(&g->r, &what);
	if (err)
		code = keyverb_failed(err, what);
	else
		code = sign_all(g);
	free(what);
	return say_next(g, code);
}

static int refuse_finish(struct rotating *g, const char *why)
{
	char *next = next_step(g);

	complain(0, "%s; nothing was taken away%s%s", why,
		 next ? ". Next: " : "", next ? next : "");
	free(next);
	return EXIT_NO;
}

/* The new key alone from here on; the old one can still come back. */
static int switch_over(struct rotating *g)
{
	char *what = NULL;
	int code, err;

	if (!g->r.new_pair || g->r.new_pair->problem || !g->r.new_pair->key)
		return refuse_finish(g, "the new key cannot sign");
	if (!is_good_enough(g->new))
		return refuse_finish(g, "the new key is not enrolled, so "
				     "modules signed by it alone would not load");
	if (g->o->dry_run) {
		puts("kmodkeep: would sign all modules by the new key alone, and "
		     "put the old one into " OLD_KEY_DIR);
		return EXIT_YES;
	}
	/* What was built since by something without our hooks. */
	code = sign_all(g);
	if (code)
		return say_next(g, code);
	if (progress_stale_initramfs(&g->p, g->r.phase))
		return refuse_finish(g, "an initramfs has a module that the new "
				     "key has not signed");
	err = rotation_write(&g->r, ROTATION_NEW);
	if (!err)
		err = rotation_settle(&g->r, &what);
	code = err ? keyverb_failed(err, what) : sign_all(g);
	free(what);
	return code;
}

static int finish(struct rotating *g)
{
	int code = EXIT_YES, err;

	if (g->r.phase == ROTATION_NONE)
		return complain(EXIT_NO, "no rotation is under way. Next: "
				"kmodkeep key rotate begin");
	if (g->r.phase == ROTATION_BACK)
		return complain(EXIT_NO, "this rotation is going back to the "
				"old key. Next: kmodkeep key rotate abort");
	if (g->r.phase == ROTATION_BOTH) {
		code = switch_over(g);
		if (code || g->o->dry_run)
			return code;
	} else {
		code = go_on(g);
		if (code || g->o->dry_run)
			return code;
	}
	if (progress_stale_initramfs(&g->p, ROTATION_NEW) ||
	    dkms_uses_old(g) || is_enrolled(g->old) || g->old->delete_pending)
		return say_next(g, EXIT_YES);
	if (g->old->enrolment == ENROLMENT_UNKNOWN)
		return say_next(g, EXIT_UNSURE);
	err = rotation_end(&g->r);
	if (err)
		return complain_errno(err, ROTATION_RECORD);
	printf("kmodkeep: done: the key '%s' signs alone, and the firmware "
	       "trusts the old one no more%s\n", g->new->name,
	       host_has(g->h, OLD_KEY_DIR) ? ". Next: kmodkeep key retire" : "");
	return EXIT_YES;
}

static int back(struct rotating *g)
{
	bool came_back = g->r.phase == ROTATION_NEW;
	char *what = NULL;
	int code, err;

	if (g->r.phase == ROTATION_NONE)
		return complain(EXIT_NO, "no rotation is under way; nothing to "
				"go back from");
	if (!is_good_enough(g->old) && is_enrolled(g->new))
		return complain(EXIT_NO, "the old key is not enrolled (any "
				"more) and the new one is: modules signed by "
				"the old one alone would not load; nothing "
				"changed. Next: kmodkeep key rotate finish");
	if (came_back && !(g->r.old_pair && g->r.old_pair->key &&
			   !g->r.old_pair->problem))
		return complain(EXIT_NO, "the old key cannot sign any more%s%s; "
				"nothing changed. Next: kmodkeep key rotate "
				"finish", g->r.old_pair ? ": " : "",
				g->r.old_pair && g->r.old_pair->problem ?
				g->r.old_pair->problem : "");
	if (g->o->dry_run) {
		puts("kmodkeep: would sign all modules by the old key alone, and "
		     "put the new one aside");
		return EXIT_YES;
	}
	err = rotation_write(&g->r, ROTATION_BACK);
	if (!err)
		err = rotation_settle(&g->r, &what);
	code = err ? keyverb_failed(err, what) : sign_all(g);
	free(what);
	if (code)
		return code;
	err = rotation_end(&g->r);
	if (err)
		return complain_errno(err, ROTATION_RECORD);
	puts("kmodkeep: back to the old key; the new one was put aside");
	if (g->old->delete_pending)
		puts("kmodkeep: the old key's removal waits for a reboot. "
		     "Next: mokutil --revoke-delete");
	else if (g->new && g->new->enrolment == ENROLMENT_PENDING)
		puts("kmodkeep: the new key's enrolment waits for a reboot. "
		     "Next: mokutil --revoke-import");
	return EXIT_YES;
}

static int run(struct rotating *g)
{
	int err = rotation_read(g->h, &g->r);

	if (err == -EBADMSG)
		return complain(EXIT_UNSURE, ROTATION_RECORD " is damaged. "
				"Next: restore it from a backup; the keys are "
				"in " KEY_DIR "*");
	if (!err)
		err = read_states(g);
	if (err)
		return complain_errno(err, "key rotate");
	if (!strcmp(g->o->step, "status"))
		return show(g);
	if (!strcmp(g->o->step, "begin"))
		return begin(g);
	if (!strcmp(g->o->step, "continue"))
		return go_on(g);
	return !strcmp(g->o->step, "finish") ? finish(g) : back(g);
}

int key_rotate(int argc, char **argv)
{
	struct options o = { 0 };
	struct rotating g = { .o = &o };
	int fd = -1, code = parse(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	code = keyverb_open("key rotate", o.root, &g.h, &fd);
	if (!code)
		code = run(&g);
	free_states(&g);
	rotation_free(&g.r);
	keyverb_close(g.h, fd);
	return code < 0 ? EXIT_YES : code;
}
