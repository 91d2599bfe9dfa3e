// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb doctor: each driver on each kernel, for people and as JSON. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/json.h"
#include "guard/base/say.h"
#include "guard/base/script.h"
#include "guard/base/util.h"
#include "guard/host/discover.h"
#include "guard/verbs/verbs.h"
#include "guard/verdict/beside.h"
#include "guard/verdict/doctor.h"
#include "guard/verdict/doctor_json.h"
#include "guard/verdict/room.h"

static const char usage[] =
"Usage: kmodkeep doctor [OPTION...]\n"
"       kmodkeep doctor --image DIR|FILE [--cert FILE | --no-secure-boot] [OPTION...]\n"
"       kmodkeep doctor --drivers [--root DIR]\n"
"Will each guarded module load on each kernel, and what boots next? One line\n"
"each: KERNEL: MODULE: VERDICT: why.\n"
"\n"
"  --all          ask about all installed kernels\n"
"  --next-boot    ask about the kernel that boots next\n"
"  --kernel V     ask about kernel release V\n"
"                 (default: the running one and the one that boots next)\n"
"  --module M     ask about this module, or the modules of this driver\n"
"  --drivers      only list the drivers: NAME DKMS-NAME (or -) KNOWN-FROM\n"
"  --json         machine-readable output\n"
"  --root DIR     ask about the system installed under DIR\n"
"  --image DIR|FILE\n"
"                 ask about an image that boots on other machines: all its kernels.\n"
"                 FILE: tar, squashfs, or a raw disk with ext4\n"
"  --cert FILE    with --image: a certificate that is enrolled there, where Secure\n"
"                 Boot is on; may be repeated\n"
"  --no-secure-boot\n"
"                 with --image: there is no Secure Boot there\n"
"\n"
"Exit code: 0 all will load, 1 some will not, 2 wrong usage, 3 could not tell.\n";

struct options {
	const char *root, *kernel, *module, *image;
	const char *certs[16];
	size_t cert_count;
	bool all, next, json, drivers, no_secure_boot;
};

/* EXIT_YES to go on, else the code to end with; --help ends with -1. */
static int parse(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "next-boot", no_argument, NULL, 'n' },
		{ "kernel", required_argument, NULL, 'k' },
		{ "module", required_argument, NULL, 'm' },
		{ "json", no_argument, NULL, 'j' },
		{ "drivers", no_argument, NULL, 'd' },
		{ "root", required_argument, NULL, 'r' },
		{ "image", required_argument, NULL, 'i' },
		{ "cert", required_argument, NULL, 'c' },
		{ "no-secure-boot", no_argument, NULL, 's' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'a': o->all = true; break;
		case 'n': o->next = true; break;
		case 'k': o->kernel = optarg; break;
		case 'm': o->module = optarg; break;
		case 'j': o->json = true; break;
		case 'd': o->drivers = true; break;
		case 'r': o->root = optarg; break;
		case 'i': o->image = optarg; break;
		case 's': o->no_secure_boot = true; break;
		case 'c':
			if (o->cert_count == ARRAY_SIZE(o->certs))
				return complain(EXIT_USAGE, "doctor: at most %zu certificates can be given",
						o->cert_count);
			o->certs[o->cert_count++] = optarg;
			break;
		case 'h': fputs(usage, stdout); return -1;
		default: return complain_option("doctor", argv, c);
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "doctor: unexpected argument '%s'",
				argv[optind]);
	if (o->all + o->next + !!o->kernel > 1)
		return complain(EXIT_USAGE, "doctor: --all, --next-boot and "
				"--kernel exclude each other");
	if (o->kernel && (!*o->kernel || strchr(o->kernel, '/')))
		return complain(EXIT_USAGE, "doctor: '%s' is no kernel release",
				o->kernel);
	if (!o->image && (o->cert_count || o->no_secure_boot))
		return complain(EXIT_USAGE, "doctor: --cert and --no-secure-boot are for --image");
	if (!!o->cert_count + o->no_secure_boot > 1)
		return complain(EXIT_USAGE, "doctor: --cert and --no-secure-boot exclude each other");
	if (o->image && (o->root || o->drivers))
		return complain(EXIT_USAGE, "doctor: --image and --%s exclude each other",
				o->root ? "root" : "drivers");
	if (o->image && !o->next && !o->kernel)
		o->all = true;
	return EXIT_YES;
}

static int open_image(const struct options *o, dropin_error_fn *report, struct doctor **out)
{
	enum image kind = o->cert_count ? IMAGE_FOR_SECURE_BOOT :
			  o->no_secure_boot ? IMAGE_WITHOUT_SECURE_BOOT : IMAGE_FOR_ANY;
	struct host *h;
	int err = host_new_image(o->image, kind, &h);

	if (!err)
		err = doctor_of(h, report, NULL, out);
	if (err)
		return complain_errno(err, o->image);
	for (size_t i = 0; i < o->cert_count; i++) {
		err = trust_enroll((*out)->t, o->certs[i]);
		if (err)
			return complain_errno(err, o->certs[i]);
	}
	if (!(*out)->kernels.count)
		return complain(EXIT_UNSURE, "doctor: %s has no kernel with a boot image", o->image);
	return EXIT_YES;
}

static int unpack_and_ask(const struct options *o, int argc, char **argv)
{
	char **words = calloc(argc + 2, sizeof(*words));
	int code;

	if (!words)
		return complain_errno(-ENOMEM, "doctor");
	words[0] = argv[0];
	words[1] = (char *)o->image;
	memcpy(words + 2, argv + 1, (argc - 1) * sizeof(*words));
	code = run_script("doctor-image", argc + 1, words);
	free(words);
	return code;
}

static bool is_asked(const struct doctor *d, const struct options *o,
		     const struct kernel *k)
{
	bool next = d->next.kernel && !strcmp(d->next.kernel, k->release);

	if (o->kernel)
		return !strcmp(k->release, o->kernel);
	if (o->all)
		return true;
	return next || (k->running && !o->next);
}

static int ask(struct doctor *d, const struct options *o)
{
	const struct kernel **list;
	size_t n = 0;
	int err;

	if (o->kernel && !doctor_kernel(d, o->kernel))
		return complain(EXIT_UNSURE, "kernel %s: there are too many kernels",
				o->kernel);
	list = calloc(d->kernels.count + 1, sizeof(*list));
	err = list ? 0 : -ENOMEM;
	for (size_t i = 0; i < d->kernels.count && list; i++)
		if (is_asked(d, o, &d->kernels.list[i]))
			list[n++] = &d->kernels.list[i];
	if (!err)
		err = doctor_ask(d, list, n, o->module);
	free(list);
	return err ? complain_errno(err, "doctor") : EXIT_YES;
}

/* Once for all modules of a driver. */
static void print_beside(const struct doctor *d, size_t i)
{
	const struct finding *f = &d->findings[i];
	bool said = i && f[-1].driver == f->driver && f[-1].kernel == f->kernel;
	char *text = NULL;

	if (!said && beside_warning(d, f, &text))
		complain_errno(-ENOMEM, "doctor");
	if (text)
		printf("warning: %s\n", text);
	free(text);
}

static void print_findings(const struct doctor *d)
{
	char *room = room_warning(d);

	for (size_t i = 0; i < d->count; i++) {
		const struct finding *f = &d->findings[i];

		printf("%s: %s: %s: %s", f->kernel->release, f->module,
		       verdict_word(f->report.verdict), f->report.message);
		if (f->note)
			printf(" (no loss: %s)",
			       f->report.verdict == VERDICT_NOT_FOR_KERNEL ?
			       "the running kernel has no out-of-tree build of it" :
			       "no kernel here has an out-of-tree build of it");
		if (f->report.next_step)
			printf(". Next: %s", f->report.next_step);
		putchar('\n');
	}
	for (size_t i = 0; i < d->count; i++)
		print_beside(d, i);
	for (size_t i = 0; i < d->unfinished.count; i++)
		printf("package %s: %s. Next: read why, then: "
		       "dpkg --configure -a\n", d->unfinished.list[i].name,
		       d->unfinished.list[i].state);
	/* Of an image all kernels were asked about. */
	if (d->place == PLACE_IMAGE && !d->next.kernel && d->count)
		;
	else if (d->next.kernel)
		printf("next boot: %s (%s)\n", d->next.kernel, d->next.why);
	else
		printf("next boot: unknown: %s\n", d->next.why);
	if (trust_gap(d->t))
		printf("not seen: %s\n", trust_gap(d->t));
	if (room)
		printf("warning: %s\n", room);
	free(room);
}

static int exit_code(const struct doctor *d, const struct options *o)
{
	int code = EXIT_YES;

	for (size_t i = 0; i < d->count; i++) {
		int one = d->findings[i].note ? EXIT_YES :
			  verdict_exit(d->findings[i].report.verdict);

		if (one == EXIT_NO)
			return one;
		code = one ? one : code;
	}
	/* Half of the question was what boots next. */
	if (!o->all && !o->kernel && !d->next.kernel &&
	    (o->next || (d->place == PLACE_HOST && !host_is_immutable(d->h))))
		code = EXIT_UNSURE;
	return code;
}

/* For scripts: names of drivers and of dkms have no blanks. */
static void list_drivers(const struct doctor *d)
{
	for (size_t i = 0; i < d->drivers.count; i++) {
		const struct driver *one = &d->drivers.list[i];
		char *from = driver_sources(one);

		if (!one->broken)
			printf("%s %s %s\n", one->name,
			       one->dkms ? one->dkms : "-", from ? from : "");
		free(from);
	}
}

int verb_doctor(int argc, char **argv)
{
	struct options o = { 0 };
	struct json_object *doc;
	struct doctor *d = NULL;
	struct stat st;
	int err, code = parse(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	/* It unpacks the file, and asks this verb about the folder. */
	if (o.image && !stat(o.image, &st) && !S_ISDIR(st.st_mode))
		return unpack_and_ask(&o, argc, argv);
	if (o.image) {
		code = open_image(&o, complain_message, &d);
		if (code)
			goto out;
	} else {
		err = doctor_new(o.root, complain_message, NULL, &d);
		if (err)
			return complain_root(err, o.root, "doctor");
	}
	if (o.drivers) {
		list_drivers(d);
		code = d->broken || d->unseen ? EXIT_UNSURE : EXIT_YES;
		goto out;
	}
	code = ask(d, &o);
	if (code)
		goto out;
	if (o.module && !d->count) {
		code = complain(EXIT_UNSURE, "doctor: no kernel is installed "
				"here to ask about '%s'", o.module);
		goto out;
	}
	if (o.json) {
		doc = doctor_json(d);
		puts(json_text(doc));
		json_object_put(doc);
	} else {
		if (!d->drivers.count && !o.module)
			puts("no out-of-tree driver was found");
		print_findings(d);
	}
	code = exit_code(d, &o);
	if ((d->broken || d->unseen) && code == EXIT_YES)
		code = EXIT_UNSURE;
out:
	doctor_free(d);
	return code;
}
