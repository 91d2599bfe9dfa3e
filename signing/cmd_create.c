// SPDX-License-Identifier: GPL-2.0-or-later
/* key create: makes this host's signing key, or adopts the one there is. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "signing/keystate.h"
#include "signing/keyverb.h"
#include "signing/newkey.h"

static const char usage[] =
"Usage: kmodkeep key create [--own] [--dry-run] [--root DIR]\n"
"Makes the key that this host signs modules with. Where dkms or Ubuntu has made\n"
"one already, that one is adopted; nothing is ever overwritten.\n"
"\n"
"  --own       make a key of kmodkeep's own, even where dkms or Ubuntu has one;\n"
"              dkms goes on with the other until its configuration names this one\n"
"  --dry-run   say what would be done, and do nothing\n"
"  --root DIR  for the system installed under DIR\n"
"\n"
"Exit code: 0 there is a key now (or none is needed here), 1 not, 2 wrong usage,\n"
"3 could not tell.\n";

struct options {
	const char *root;
	bool own, dry_run;
};

/* EXIT_YES to go on, -1 after --help, else the code to end with. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "own", no_argument, NULL, 'o' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'o': o->own = true; break;
		case 'n': o->dry_run = true; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option("key create", argv, c);
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "key create: unexpected argument "
				"'%s'", argv[optind]);
	return EXIT_YES;
}

/* -1: a key has to be made; else the code to end with, all said. */
static int look_for_a_key(const struct keystate *s, bool own)
{
	const struct signkey *k = s->key;

	if (!k)
		return s->key_error == -ENOENT ? -1 :
		       complain(EXIT_UNSURE, "the key directory cannot be "
				"read: %s. Next: run it as root",
				strerror(-s->key_error));
	if (!strcmp(k->origin, "own")) {
		if (k->problem)
			return complain(EXIT_NO, "%s. Next: %s", k->problem,
					k->next_step);
		printf("kmodkeep: this host has a signing key: %s\n",
		       k->key_path);
		return EXIT_YES;
	}
	if (!strcmp(k->origin, "token")) {
		if (k->problem)
			return complain(EXIT_NO, "%s. Next: %s", k->problem,
					k->next_step);
		printf("kmodkeep: this host signs with a key in a token: %s\n",
		       k->key_path);
		return EXIT_YES;
	}
	if (own)
		return -1;
	if (k->problem) {
		printf("kmodkeep: the key of %s is not fit to sign with and is "
		       "left alone: %s\n", k->origin, k->problem);
		return -1;
	}
	printf("kmodkeep: adopted the signing key of %s: %s\n", k->origin,
	       k->key_path);
	if (s->boots_kernels)
		puts("kmodkeep: warning: its certificate can also boot kernels, "
		     "so root could sign and boot any kernel here. "
		     "Next: kmodkeep key create --own; dkms goes on signing "
		     "with the other key until mok_signing_key and "
		     "mok_certificate in /etc/dkms/framework.conf name the new "
		     "pair");
	return EXIT_YES;
}

/* EXIT_YES: the place is fit for a pair; else said why not. */
static int prepare(const struct host *h)
{
	char *dir = host_path(h, KEY_DIR), *id = host_machine_id(h);
	char *key = host_path(h, KEY_DIR "/signing.key");
	char *cert = host_path(h, KEY_DIR "/signing.der");
	char *what = NULL, *aside = NULL;
	int code = EXIT_YES, err;
	struct stat st;

	if (!dir || !key || !cert)
		code = complain_errno(-ENOMEM, "key create");
	else if (!id)
		code = complain(EXIT_NO, "this system has no machine ID yet, "
				"and a key made now would be shared by all its "
				"copies. Next: create the key after its first "
				"boot");
	else if (lstat(dir, &st) == 0 && S_ISLNK(st.st_mode))
		code = complain(EXIT_NO, "%s is a symbolic link. Next: put a "
				"directory there", dir);
	if (code)
		goto out;
	err = newkey_prepare(h, &what);
	if (err)
		code = keyverb_failed(err, what);
	else if (lstat(key, &st) == 0 || lstat(cert, &st) == 0)
		code = complain(EXIT_NO, "a key appeared meanwhile; it is left "
				"alone. Next: kmodkeep key status");
	if (code)
		goto out;
	err = newkey_clear(h, KEY_DIR, &aside);
	if (err)
		code = keyverb_failed(err, dir);
	else if (aside)
		printf("kmodkeep: moved the old directory of keys to %s\n",
		       aside);
out:
	free(what);
	free(aside);
	free(dir);
	free(key);
	free(cert);
	free(id);
	return code;
}

/* Reads the pair that was made as every later verb will. */
static int say_made(const struct host *h)
{
	struct keystate *s = NULL;
	int code = EXIT_YES, err = keystate_read(h, true, &s);
	const char *next;

	if (err)
		return complain_errno(err, "key create");
	if (s->key_error)
		code = s->key && s->key->problem ?
		       complain(EXIT_NO, "%s. Next: %s", s->key->problem,
				s->key->next_step) :
		       complain_errno(s->key_error, "key create");
	if (!code) {
		next = keystate_next_step(s);
		printf("kmodkeep: made the signing key %s with the certificate "
		       "'%s'%s%s\n", s->key->key_path, s->name,
		       next ? ". Next: " : "", next ? next : "");
	}
	keystate_free(s);
	return code;
}

static int make(const struct host *h)
{
	char *what = NULL;
	int code = prepare(h), err;

	if (code)
		return code;
	err = newkey_make(h, KEY_DIR, &what);
	if (err == -EEXIST)
		code = complain(EXIT_NO, "%s appeared meanwhile; it is left "
				"alone. Next: kmodkeep key status", what);
	else if (err)
		code = keyverb_failed(err, what);
	free(what);
	return code ? code : say_made(h);
}

static int create(const struct host *h, const struct options *o)
{
	struct keystate *s = NULL;
	int code, err = keystate_read(h, true, &s);

	if (err)
		return complain_errno(err, "key create");
	code = look_for_a_key(s, o->own);
	keystate_free(s);
	if (code >= 0)
		return code;
	if (o->dry_run) {
		puts("kmodkeep: would make the signing key " KEY_DIR
		     "/signing.key and its certificate");
		return EXIT_YES;
	}
	return make(h);
}

int key_create(int argc, char **argv)
{
	struct options o = { 0 };
	struct host *h = NULL;
	int fd = -1, code = parse(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	code = keyverb_open("key create", o.root, &h, &fd);
	if (!code)
		code = create(h, &o);
	keyverb_close(h, fd);
	return code < 0 ? EXIT_YES : code;
}
