// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verb adopt: a host as it is, with drivers of others, is put into kmodkeep's
 * care. All is found anew by each run, and what is done already is left out, so one
 * that was interrupted is completed by the next; --undo takes back what is kmodkeep's
 * alone. A signature that is there is kept beside the new one.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/ask.h"
#include "guard/base/lock.h"
#include "guard/base/say.h"
#include "guard/base/script.h"
#include "guard/base/util.h"
#include "guard/host/discover.h"
#include "guard/pin/state.h"
#include "guard/repair/perform.h"
#include "guard/trust/cert.h"
#include "guard/trust/firmware_ca.h"
#include "guard/verdict/verify.h"
#include "kmodkeep/policy.h"
#include "kmodkeep/verbs.h"
#include "signing/dkms_key.h"
#include "signing/keystate.h"
#include "signing/modules.h"
#include "signing/newkey.h"
#include "signing/rotation.h"
#include "signing/sign.h"

#define LOCK GUARD_DIR "/adopt.lock"
#define LOCK_SECONDS 600
#define KEY_SECONDS 300

static const char usage[] =
"Usage: kmodkeep adopt DRIVER | --all [--policy WORD] [--dry-run] [--yes]\n"
"                      [--password-stdin] [--root DIR]\n"
"       kmodkeep adopt DRIVER | --all --undo [--root DIR]\n"
"Takes drivers of others into care, as they are: chooses the key of this host,\n"
"signs with it what no kernel would load, on all kernels and in dkms's tree, has\n"
"dkms sign with it from now on (--all), sets their policy, and asks for one\n"
"enrolment. Shows first what it would do. What is done already is left alone.\n"
"\n"
"  --all             all out-of-tree drivers; only so dkms is told of the key,\n"
"                    since that holds for all that it builds\n"
"  --policy WORD     pin-last-good (default) or warn\n"
"  --dry-run         say what would be done, and do nothing\n"
"  --yes             do not ask; without a terminal nothing is done otherwise\n"
"  --password-stdin  the one-time password for the enrolment\n"
"  --undo            take back the policies and what dkms was told; signatures\n"
"                    stay, so that drivers go on loading\n"
"  --root DIR        the system installed under DIR, with --dry-run alone\n"
"\n"
"Exit code: 0 done, 1 not, or something is left to do, 2 wrong usage, 3 could not\n"
"tell.\n";

struct options {
	const char *root, *driver;
	bool all, dry_run, yes, password_stdin, undo;
	enum policy policy;
};

struct adopting {
	const struct options *o;
	int lock;			/* < 0: not taken; what is started keeps it */
	struct doctor *d;
	struct signkey *key;		/* NULL: one has to be made */
	struct keystate *state;		/* of that key; NULL as above */
	enum dkms_key dkms;
	struct host_modules modules;
	bool *unsigned_yet;		/* as modules: it has to be signed */
	size_t sign_count;
	size_t unread;			/* module files that could not be judged */
};

/* EXIT_YES to go on, -1 after --help, else the code to end with. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "policy", required_argument, NULL, 'P' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "yes", no_argument, NULL, 'y' },
		{ "password-stdin", no_argument, NULL, 'p' },
		{ "undo", no_argument, NULL, 'u' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	o->policy = POLICY_PIN_LAST_GOOD;
	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'a': o->all = true; break;
		case 'P':
			if (strcmp(optarg, "warn") && strcmp(optarg, "pin-last-good"))
				return complain(EXIT_USAGE, "adopt: --policy is warn or "
						"pin-last-good, not '%s'", optarg);
			o->policy = *optarg == 'w' ? POLICY_WARN : POLICY_PIN_LAST_GOOD;
			break;
		case 'n': o->dry_run = true; break;
		case 'y': o->yes = true; break;
		case 'p': o->password_stdin = true; break;
		case 'u': o->undo = true; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option("adopt", argv, c);
		}
	}
	if (argc - optind > 1 || o->all == (argc - optind == 1))
		return complain(EXIT_USAGE, "adopt: name one driver, or all of them with "
				"--all; kmodkeep status lists them");
	if (o->undo && o->dry_run)
		return complain(EXIT_USAGE, "adopt: --undo and --dry-run exclude each other");
	o->driver = o->all ? NULL : argv[optind];
	return EXIT_YES;
}

static void forget(struct adopting *a)
{
	free(a->unsigned_yet);
	a->unsigned_yet = NULL;
	host_modules_free(&a->modules);
	keystate_free(a->state);
	a->state = NULL;
	signkey_free(a->key);
	a->key = NULL;
	doctor_free(a->d);
	a->d = NULL;
	a->sign_count = a->unread = 0;
}

static bool is_wanted(const struct adopting *a, const struct driver *d)
{
	return !d->broken && (a->o->all || !strcmp(d->name, a->o->driver));
}

/* Is it a file of a driver that is asked about? */
static bool is_of_driver(const struct adopting *a, const char *path)
{
	const char *base = strrchr(path, '/');
	char *name = strdup(base ? base + 1 : path), *end = name ? strstr(name, ".ko") : NULL;
	bool is = false;

	if (end)
		*end = '\0';
	for (size_t i = 0; name && i < a->d->drivers.count; i++)
		for (size_t m = 0; m < a->d->drivers.list[i].module_count; m++)
			is |= is_wanted(a, &a->d->drivers.list[i]) &&
			      same_module(a->d->drivers.list[i].modules[m], name);
	free(name);
	return is;
}

/* EXIT_YES with a->key, or NULL where one has to be made; else the code to end with. */
static int choose_key(struct adopting *a)
{
	const struct host *h = a->d->h;
	struct rotation r;
	int err = rotation_read(h, &r);
	bool rotating = err || r.phase != ROTATION_NONE;

	if (!err)
		rotation_free(&r);
	if (rotating)
		return complain(EXIT_NO, "the key of this host is being changed. Next: kmodkeep "
				"key rotate status");
	err = signkey_find(h, a->d->t, &a->key);
	if (err == -ENOENT)
		return EXIT_YES;
	if (!err)
		err = signkey_load(h, a->key);
	if (err == -EKEYREJECTED && strcmp(a->key->origin, "own") &&
	    strcmp(a->key->origin, "token")) {
		printf("kmodkeep: the key of %s is left alone: %s\n", a->key->origin,
		       a->key->problem);
		signkey_free(a->key);
		a->key = NULL;
		return EXIT_YES;
	}
	if (err == -EKEYREJECTED)
		return complain(EXIT_NO, "%s. Next: %s", a->key->problem, a->key->next_step);
	if (err)
		return complain(EXIT_UNSURE, "the signing key cannot be read: %s. Next: run it as "
				"root", strerror(-err));
	err = dkms_key_is(h, a->key, &a->dkms);
	if (!err)
		err = keystate_read_x509(h, a->key->cert, &a->state);
	return err ? complain_errno(err, "adopt") : EXIT_YES;
}

/* 1: it has to be signed; 0: not, as it is trusted or bears the signature; -errno. */
static int wants_signature(const struct adopting *a, const struct host_module *m)
{
	struct report r = { 0 };
	size_t others;
	int ret = verify_file(a->d->h, a->d->t, m->path, m->kernel, &r);

	if (ret)
		return ret;
	/* The kernel's own of the same name is the kernel's affair. */
	if (strstr(m->path, "/kernel/") && r.info.intree && *r.info.intree == 'Y')
		ret = 0;
	else if (r.verdict == VERDICT_OK && !r.waived)
		ret = 0;
	else if (r.verdict == VERDICT_TAMPERED)
		ret = -EBADMSG;
	else
		ret = !a->key ? 1 : sign_by(m->path, a->key->cert, &others) == 1 ? 0 : 1;
	report_free(&r);
	return ret;
}

static int find_modules(struct adopting *a)
{
	int err = host_modules_read(a->d->h, &a->modules);

	if (err)
		return complain_errno(err, "adopt");
	if (a->modules.gap)
		return complain(EXIT_UNSURE, "adopt: not all modules were found: %s; nothing "
				"changed", a->modules.gap);
	a->unsigned_yet = calloc(a->modules.count + 1, sizeof(bool));
	if (!a->unsigned_yet)
		return complain_errno(-ENOMEM, "adopt");
	for (size_t i = 0; i < a->modules.count; i++) {
		int wants = is_of_driver(a, a->modules.list[i].path) ?
			    wants_signature(a, &a->modules.list[i]) : 0;

		if (wants == -ENOMEM)
			return complain_errno(wants, "adopt");
		if (wants < 0) {
			complain(0, "%s: damaged, or changed after it was signed; it is left as "
				 "it is. Next: kmodkeep repair", a->modules.list[i].path);
			a->unread++;
		}
		a->unsigned_yet[i] = wants > 0;
		a->sign_count += wants > 0;
	}
	return EXIT_YES;
}

/* Reads which drivers there are. EXIT_YES, or the code to end with. */
static int find_drivers(struct adopting *a)
{
	bool known = a->o->all;
	int err;

	forget(a);
	err = doctor_new(a->o->root, complain_message, NULL, &a->d);
	if (err)
		return complain_root(err, a->o->root, "adopt");
	if (a->d->broken || a->d->unseen)
		return complain(EXIT_UNSURE, "adopt: a driver may be left out; nothing changed. "
				"Next: mend what is named above");
	for (size_t i = 0; i < a->d->drivers.count; i++)
		known |= is_wanted(a, &a->d->drivers.list[i]);
	if (!known)
		return complain(EXIT_USAGE, "adopt: no driver of this host is called '%s'; "
				"kmodkeep status lists them", a->o->driver);
	return EXIT_YES;
}

/* Reads the host as it is now. */
static int look(struct adopting *a)
{
	int code = find_drivers(a);

	if (!code)
		code = choose_key(a);
	return code ? code : find_modules(a);
}

/* Only with all drivers: it holds for everything that dkms builds. */
static bool tells_dkms(const struct adopting *a)
{
	return a->o->all && a->dkms == DKMS_KEY_OTHER && strncmp(a->key->key_path, "pkcs11:", 7);
}

static bool asks_enrolment(const struct adopting *a)
{
	return a->state && a->state->secure_boot == SB_ON &&
	       a->state->enrolment == ENROLMENT_NOT_ENROLLED;
}

/* What the key alone has signed does not load then. */
static bool is_declined(const struct adopting *a)
{
	return a->state && a->state->secure_boot == SB_ON &&
	       a->state->enrolment == ENROLMENT_DECLINED;
}

static bool is_installed(const struct adopting *a, const char *module)
{
	for (size_t i = 0; i < a->modules.count; i++) {
		const char *base = strrchr(a->modules.list[i].path, '/');
		char *name = base ? strndup(base + 1, strcspn(base + 1, ".")) : NULL;
		bool is = name && !a->modules.list[i].in_dkms && same_module(name, module);

		free(name);
		if (is)
			return true;
	}
	return false;
}

/*
 * A drop-in asks for all modules of its driver: one that no kernel here has, and that
 * is no loss without the drop-in, would be one with it. Its name must be one, too.
 */
static bool can_have_drop_in(const struct adopting *a, const struct driver *d)
{
	bool can = strspn(d->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				   "0123456789_-") == strlen(d->name) && *d->name != '-';

	for (size_t i = 0; can && !(d->sources & SOURCE_DROPIN) && i < d->module_count; i++)
		can = is_installed(a, d->modules[i]);
	return can;
}

/*
 * 1: it is to be written; 0: it is right; -EEXIST: an administrator's says otherwise;
 * -ENOTSUP: none can be written.
 */
static int wants_policy(const struct adopting *a, const struct driver *d)
{
	int ours;

	if (!is_wanted(a, d) || d->policy == a->o->policy)
		return 0;
	if (!can_have_drop_in(a, d))
		return -ENOTSUP;
	ours = policy_is_ours(a->d->h, d);
	return ours < 0 ? ours : ours ? 1 : -EEXIST;
}

/* What is left to a person, whatever is done. */
static void print_notes(const struct adopting *a)
{
	for (size_t i = 0; i < a->d->drivers.count; i++) {
		const char *name = a->d->drivers.list[i].name;
		int wants = wants_policy(a, &a->d->drivers.list[i]);

		if (wants == -EEXIST)
			printf("kmodkeep: /etc/kmodkeep/drivers.d/%s.conf is left alone. Next: to "
			       "have it so, write 'policy = %s' into it\n", name,
			       policy_word(a->o->policy));
		else if (wants == -ENOTSUP)
			printf("kmodkeep: the policy of %s stays as it is: it has modules that no "
			       "kernel here has, or a name that a file cannot have. Next: write "
			       "the modules that are wanted, and the policy, into a file in "
			       "/etc/kmodkeep/drivers.d\n", name);
	}
	if (!a->key)
		return;
	if (a->state->boots_kernels)
		printf("kmodkeep: warning: the certificate of %s can also boot kernels, so root "
		       "could sign and boot any kernel here. Next: kmodkeep key rotate "
		       "begin, which makes a key of kmodkeep's; both are trusted until all "
		       "modules are signed anew\n", a->key->cert_path);
	if (a->dkms == DKMS_KEY_UNSURE)
		puts("kmodkeep: which key dkms signs with only its shell can tell. Next: look at "
		     "mok_signing_key in /etc/dkms/framework.conf");
	else if (a->dkms == DKMS_KEY_DEAF)
		puts("kmodkeep: this dkms is too old to be told of the key: what it builds is not "
		     "signed with it. Next: after each kernel update: kmodkeep adopt --all");
	else if (a->dkms == DKMS_KEY_OTHER && !tells_dkms(a))
		puts("kmodkeep: dkms goes on signing with another key what it builds. Next: to have "
		     "all drivers signed with this one: kmodkeep adopt --all");
	if (a->state->secure_boot == SB_ON && a->state->enrolment == ENROLMENT_DECLINED)
		puts("kmodkeep: the enrolment was asked for, and not confirmed. Next: kmodkeep key "
		     "enroll --again");
	else if (a->state->enrolment == ENROLMENT_PENDING)
		puts("kmodkeep: the key waits for its enrolment. Next: reboot and choose \"Enroll "
		     "MOK\" in the blue menu");
}

static bool has_dkms(const struct host *h)
{
	static const char *const names[] = { "dkms", NULL };
	char *tool = host_tool(h, names);

	free(tool);
	return tool != NULL;
}

/* Says what is to be done, with numbers; returns how much that is. */
static size_t print_plan(const struct adopting *a)
{
	size_t n = 0;

	if (a->key)
		printf("kmodkeep: the key of this host: %s (%s)\n", a->key->key_path,
		       enrolment_word(a->state->enrolment));
	else
		printf("%3zu. make a signing key of this host's own in " KEY_DIR "\n", ++n);
	if (a->key ? tells_dkms(a) : a->o->all && has_dkms(a->d->h))
		printf("%3zu. tell dkms to sign all that it builds with that key, in\n"
		       "     " DKMS_DROP_IN "\n", ++n);
	if (a->sign_count)
		printf("%3zu. sign %zu module file%s with it, and have the initramfs made again\n"
		       "     where it has one of these\n", ++n, a->sign_count,
		       a->sign_count == 1 ? "" : "s");
	for (size_t i = 0; i < a->d->drivers.count; i++)
		if (wants_policy(a, &a->d->drivers.list[i]) == 1)
			printf("%3zu. set the policy of %s to %s, in\n"
			       "     /etc/kmodkeep/drivers.d/%s.conf\n", ++n,
			       a->d->drivers.list[i].name, policy_word(a->o->policy),
			       a->d->drivers.list[i].name);
	if (asks_enrolment(a) || (!a->key && host_secure_boot(a->d->h) == SB_ON))
		printf("%3zu. ask for the key's enrolment at the next boot\n", ++n);
	return n;
}

static int make_key(struct adopting *a)
{
	static const char *const words[] = { "key", "create", "--own", NULL };
	struct run_result run;
	int err = run_self(words, a->o->root, KEY_SECONDS, &run);

	if (err)
		return complain_errno(err, "key create");
	if (run.exit_code)
		return complain(EXIT_NO, "no key was made: %s. Next: kmodkeep key create",
				run.timed_out ? "it did not end in time" : run.last_line);
	puts(run.last_line);
	return look(a);
}

static int sign_one(const struct adopting *a, const struct host_module *m)
{
	struct signing s = {
		.h = a->d->h, .keys = { a->key }, .count = 1, .kernel = m->kernel, .add = true,
	};
	enum sign_result result;
	char hash[32];
	int err = sign_file(&s, m->path, &result, hash);

	/* No kernel takes what is there beside another one: it was of no use. */
	if (err == -EPROTO) {
		s.add = false;
		err = sign_file(&s, m->path, &result, hash);
	}
	return err;
}

static int sign_all(struct adopting *a)
{
	size_t failed = 0;

	for (size_t i = 0; i < a->modules.count; i++) {
		int err = a->unsigned_yet[i] ? sign_one(a, &a->modules.list[i]) : 0;

		if (err) {
			complain(0, "%s: it could not be signed: %s", a->modules.list[i].path,
				 strerror(-err));
			failed++;
		}
	}
	if (a->sign_count)
		printf("kmodkeep: %zu module file%s signed\n", a->sign_count - failed,
		       a->sign_count - failed == 1 ? " was" : "s were");
	return failed ? EXIT_NO : EXIT_YES;
}

/* The copies in an initramfs have the signatures that the files had. */
static int make_initramfs(struct adopting *a)
{
	struct performing by = { .h = a->d->h, .lock_fd = a->lock, .log_fd = -1 };
	int code = EXIT_YES, err = doctor_ask_all(a->d);

	if (err)
		return complain_errno(err, "adopt");
	for (size_t i = 0; i < a->d->count; i++) {
		struct finding *f = &a->d->findings[i];
		struct step s = { .cause = CAUSE_INITRAMFS, .command = f->report.command };
		bool again = false;
		char said[256];

		if (f->report.cause != CAUSE_INITRAMFS || !s.command || !f->driver ||
		    !is_wanted(a, f->driver))
			continue;
		for (size_t j = 0; j < i; j++)
			again |= a->d->findings[j].report.cause == CAUSE_INITRAMFS &&
				 a->d->findings[j].report.command && a->d->findings[j].driver &&
				 is_wanted(a, a->d->findings[j].driver) &&
				 !strcmp(a->d->findings[j].report.command, s.command);
		if (again)
			continue;
		printf("kmodkeep: %s\n", s.command);
		if (perform(&by, &s, said))
			code = complain(EXIT_NO, "%s failed: %s. Next: kmodkeep repair", s.command,
					said);
	}
	return code;
}

/* Is a copy in an initramfs of before, or is that not known? Each is named. */
static bool initramfs_is_stale(struct adopting *a)
{
	bool some = doctor_ask_all(a->d) != 0;

	for (size_t i = 0; i < a->d->count; i++) {
		const struct finding *f = &a->d->findings[i];

		if (!f->driver || !is_wanted(a, f->driver) ||
		    f->report.verdict != VERDICT_STALE_INITRAMFS)
			continue;
		printf("kmodkeep: %s on kernel %s: %s. Next: %s\n", f->module, f->kernel->release,
		       f->report.message,
		       f->report.next_step ? f->report.next_step : "make the initramfs anew");
		some = true;
	}
	return some;
}

static int set_policies(struct adopting *a)
{
	int code = EXIT_YES;

	for (size_t i = 0; i < a->d->drivers.count; i++) {
		const struct driver *d = &a->d->drivers.list[i];
		int wants = wants_policy(a, d);
		int err = wants == 1 ? policy_set(a->d->h, d, a->o->policy) :
			  wants == -EEXIST || wants == -ENOTSUP ? 0 : wants;

		if (err)
			code = complain(EXIT_NO, "/etc/kmodkeep/drivers.d/%s.conf: %s", d->name,
					strerror(-err));
		else if (wants == 1)
			printf("kmodkeep: the policy of %s is %s\n", d->name,
			       policy_word(a->o->policy));
	}
	return code;
}

/* Last: it hands over, and does not come back. */
static int enrol(struct adopting *a)
{
	char *args[8] = { "enroll", "--cert", a->key->cert_path };
	int n = 3;

	if (!a->o->password_stdin && !ask_possible()) {
		char *next = firmware_enrol_step(a->d->h, NULL, false);

		printf("kmodkeep: nobody could be shown the password for the enrolment. Next: %s\n",
		       next ? next : "kmodkeep key enroll");
		free(next);
		return EXIT_NO;
	}
	if (a->o->password_stdin)
		args[n++] = "--password-stdin";
	if (!host_is_live(a->d->h)) {
		args[n++] = "--root";
		args[n++] = (char *)a->o->root;
	}
	return run_script("key-enroll", n, args);
}

static int act(struct adopting *a)
{
	int code = a->key ? EXIT_YES : make_key(a), worst = EXIT_YES, err;

	if (code)
		return code;
	/* First: what is built from here on is signed with it. */
	if (tells_dkms(a)) {
		err = dkms_key_set(a->d->h, a->key);
		if (err)
			return complain(EXIT_NO, DKMS_DROP_IN ": %s; nothing was signed",
					strerror(-err));
		puts("kmodkeep: dkms signs with this host's key from now on (" DKMS_DROP_IN "). To "
		     "undo it: kmodkeep adopt --all --undo");
	}
	worst = sign_all(a);
	code = look(a);
	if (code)
		return code;
	code = make_initramfs(a);
	worst = worst ? worst : code;
	code = set_policies(a);
	worst = worst ? worst : code;
	code = look(a);
	if (code)
		return code;
	if (tells_dkms(a))
		worst = complain(EXIT_NO, "dkms still takes another key, whatever " DKMS_DROP_IN
				 " says. Next: take mok_signing_key out of the other files there");
	print_notes(a);
	if (a->sign_count || a->unread || is_declined(a) || initramfs_is_stale(a))
		worst = EXIT_NO;
	fflush(stdout);
	if (asks_enrolment(a) && !worst)
		return enrol(a);
	puts(worst ? "kmodkeep: something is left to do. Next: kmodkeep adopt again" :
		     "kmodkeep: adopted");
	return worst;
}

static int undo(struct adopting *a)
{
	int code = EXIT_YES, ret = a->o->all ? dkms_key_unset(a->d->h) : 0;

	if (ret == 1)
		puts("kmodkeep: dkms signs with a key of its own choice again");
	else if (ret == -EEXIST)
		puts("kmodkeep: " DKMS_DROP_IN " is not as adopt wrote it, and is left alone");
	else if (ret < 0)
		code = complain(EXIT_NO, DKMS_DROP_IN ": %s", strerror(-ret));
	for (size_t i = 0; i < a->d->drivers.count; i++) {
		const struct driver *d = &a->d->drivers.list[i];

		ret = is_wanted(a, d) ? policy_unset(a->d->h, d) : 0;
		if (ret == 1)
			printf("kmodkeep: the policy of %s is its own again\n", d->name);
		else if (ret < 0)
			code = complain(EXIT_NO, "/etc/kmodkeep/drivers.d/%s.conf: %s", d->name,
					strerror(-ret));
	}
	if (!code)
		puts("kmodkeep: undone; signatures and the key stay, so that drivers go on loading");
	return code;
}

/* EXIT_YES with the lock, or the code to end with. */
static int begin(struct adopting *a)
{
	char *path;

	if (geteuid())
		return complain(EXIT_NO, "only root may do this. Next: run it as root");
	if (no_dumps())
		return complain(EXIT_NO, "adopt: dumps of this process could not be prevented; "
				"nothing changed");
	path = host_path(a->d->h, LOCK);
	a->lock = path ? lock_take(path, LOCK_SECONDS) : -ENOMEM;
	free(path);
	if (a->lock == -ETIMEDOUT)
		return EXIT_NO;
	return a->lock < 0 ? complain_errno(a->lock, LOCK) : EXIT_YES;
}

static int adopt(struct adopting *a)
{
	int code = find_drivers(a);
	size_t steps;
	bool left;

	if (code)
		return code;
	if (a->d->place != PLACE_HOST) {
		printf("kmodkeep: nothing is adopted in a %s\n", place_word(a->d->place));
		return EXIT_YES;
	}
	if (a->o->undo) {
		code = begin(a);
		return code ? code : undo(a);
	}
	code = look(a);
	if (code)
		return code;
	steps = print_plan(a);
	left = a->unread || is_declined(a) || (!steps && initramfs_is_stale(a));
	if (!steps || a->o->dry_run || (!a->o->yes && !ask_possible())) {
		print_notes(a);
		if (steps && !a->o->dry_run)
			puts("kmodkeep: nothing was done: there is no terminal to ask on. Next: "
			     "add --yes");
		if (!steps)
			puts(a->unread ? "kmodkeep: a damaged module is left to do" :
			     left ? "kmodkeep: something is left to do" :
				    "kmodkeep: adopted already");
		return steps || left ? EXIT_NO : EXIT_YES;
	}
	if (!a->o->yes && !ask_yes("do that?")) {
		puts("kmodkeep: nothing was done");
		return EXIT_NO;
	}
	code = begin(a);
	/* Another one may have been at work meanwhile. */
	if (!code)
		code = look(a);
	return code ? code : act(a);
}

int verb_adopt(int argc, char **argv)
{
	struct options o = { 0 };
	struct adopting a = { .o = &o, .lock = -1 };
	struct host *h = NULL;
	int err, code = parse(argc, argv, &o);
	bool may_act;

	if (code)
		return code < 0 ? EXIT_YES : code;
	err = host_new(o.root, &h);
	if (err)
		return complain_root(err, o.root, "adopt");
	may_act = host_may_act(h);
	host_free(h);
	if (!may_act && !o.dry_run)
		return complain(EXIT_USAGE, "adopt: %s is not the running system, and nothing is "
				"changed in another one. Next: add --dry-run, to see the steps",
				o.root);
	code = adopt(&a);
	forget(&a);
	if (a.lock >= 0)
		close(a.lock);
	return code;
}
