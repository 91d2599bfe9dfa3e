// SPDX-License-Identifier: GPL-2.0-or-later
/* manifest create and check, and the way to the other steps of signing elsewhere. */
#include <errno.h>
#include <getopt.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/json.h"
#include "guard/base/say.h"
#include "guard/host/host.h"
#include "signing/keyverb.h"
#include "signing/manifest.h"
#include "signing/manifestverb.h"
#include "signing/verbs.h"

static const char usage[] =
"Usage: kmodkeep manifest create OPTION... MODULE...   by the builder: what was\n"
"                                        built\n"
"       kmodkeep manifest check MANIFEST [OTHER]   is it so, and have two\n"
"                                        builders made the same?\n"
"       kmodkeep manifest sign OPTION... MANIFEST   by the signer: signatures\n"
"                                        alone, and a line in a log\n"
"       kmodkeep manifest join OPTION... MANIFEST   modules and signatures\n"
"                                        become signed modules\n"
"       kmodkeep manifest STEP --help    says more\n";

static const char create_usage[] =
"Usage: kmodkeep manifest create --output FILE --kernel-package NAME=VERSION\n"
"                                [OPTION...] MODULE...\n"
"Writes down what was built for one kernel: the manifest that signers check. The\n"
"modules are neither signed nor compressed, and lie beside FILE.\n"
"\n"
"  --output FILE  the manifest\n"
"  --kernel-package NAME=VERSION  the package of the kernel that was built against\n"
"  --builder NAME  who builds (default: the name of this machine)\n"
"  --compiler TEXT  which compiler made them (default: what the modules say)\n"
"  --pahole VERSION  which pahole wrote their BTF; needed where they have some\n"
"  --hash H       what that kernel checks signatures with (default: by its\n"
"                 configuration)\n"
"  --root DIR     the system installed under DIR has that configuration\n"
"\n"
"Exit code: 0 written, 1 not, 2 wrong usage, 3 could not tell.\n";

static const char check_usage[] =
"Usage: kmodkeep manifest check MANIFEST [OTHER]\n"
"Are the modules beside MANIFEST what it says, and has OTHER's builder, who is\n"
"another one, made the same, bit for bit?\n"
"\n"
"Exit code: 0 yes, 1 no, 2 wrong usage, 3 could not tell.\n";

int manifest_open(const char *path, struct manifest *m)
{
	char *why = NULL;
	int err = manifest_read(path, m, &why);
	int code = EXIT_YES;

	if (err == -EBADMSG)
		code = complain(EXIT_NO, "%s: not a manifest that can be used: %s. "
				"Next: docs/manifest.md says what may be in it",
				path, why);
	else if (err)
		code = complain(EXIT_UNSURE, "%s: %s", path, strerror(-err));
	free(why);
	return code;
}

int manifest_take(const struct manifest *m, const struct manifest_module *module,
		  struct buf *bytes)
{
	char *why = NULL;
	int err = manifest_module_read(m, module, bytes, &why);
	int code = EXIT_YES;

	if (err == -EBADMSG)
		code = complain(EXIT_NO, "%s. Next: build it again, and find out who "
				"changed it", why);
	else if (err)
		code = complain(err == -ENOENT ? EXIT_NO : EXIT_UNSURE, "%s/%s: %s",
				m->folder, module->file, strerror(-err));
	free(why);
	return code;
}

int manifest_check_all(const struct manifest *m)
{
	int code = EXIT_YES;

	for (size_t i = 0; i < m->count && !code; i++) {
		struct buf bytes = { 0 };

		code = manifest_take(m, &m->list[i], &bytes);
		buf_free(&bytes);
	}
	return code;
}

int manifest_agreed(const struct manifest *a, const struct manifest *b)
{
	char *why = NULL;
	int err = manifests_agree(a, b, &why);
	int code = EXIT_YES;

	if (err == -EBADMSG)
		code = complain(EXIT_NO, "%s. Next: sign neither; let both build "
				"again from the same sources, with the same compiler "
				"and headers", why);
	else if (err)
		code = complain_errno(err, "manifest");
	free(why);
	return code;
}

/* Do all files lie in the folder of the manifest to be? */
static int only_beside(const char *output, char *const *files, size_t n)
{
	struct stat folder, st;

	for (size_t i = 0; i <= n; i++) {
		char *copy = strdup(i ? files[i - 1] : output);
		int failed = copy ? stat(dirname(copy), i ? &st : &folder) : -1;

		free(copy);
		if (failed)
			return complain(EXIT_NO, "%s: its folder: %s",
					i ? files[i - 1] : output, strerror(errno));
		if (i && (st.st_dev != folder.st_dev || st.st_ino != folder.st_ino))
			return complain(EXIT_NO, "%s does not lie beside %s. Next: "
					"put modules and manifest into one folder",
					files[i - 1], output);
	}
	return EXIT_YES;
}

struct creating {
	const char *root, *output, *package;
	struct manifest_facts facts;
	char **files;
	size_t count;
};

static int parse_create(int argc, char **argv, struct creating *o)
{
	static const struct option longs[] = {
		{ "output", required_argument, NULL, 'o' },
		{ "kernel-package", required_argument, NULL, 'k' },
		{ "builder", required_argument, NULL, 'b' },
		{ "compiler", required_argument, NULL, 'c' },
		{ "pahole", required_argument, NULL, 'p' },
		{ "hash", required_argument, NULL, 'H' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'o': o->output = optarg; break;
		case 'k': o->package = optarg; break;
		case 'b': o->facts.builder = optarg; break;
		case 'c': o->facts.compiler = optarg; break;
		case 'p': o->facts.pahole = optarg; break;
		case 'H': o->facts.hash = optarg; break;
		case 'r': o->root = optarg; break;
		case 'h': fputs(create_usage, stdout); return -1;
		default: return complain_option("manifest create", argv, c);
		}
	}
	o->files = argv + optind;
	o->count = argc - optind;
	if (!o->output || !o->package || !o->count)
		return complain(EXIT_USAGE, "manifest create: --output, "
				"--kernel-package and modules must be named");
	return EXIT_YES;
}

/* The hash that the kernel of the first module is configured for; malloc'ed. */
static int find_hash(const struct creating *o, char **hash)
{
	char *kernel = manifest_kernel_of(o->files[0]);
	struct host *h = NULL;
	int code = EXIT_YES, err;

	if (!kernel)
		return complain(EXIT_NO, "%s: no module that says for which kernel "
				"it was built", o->files[0]);
	err = host_new(o->root, &h);
	if (err)
		code = complain_root(err, o->root, "manifest create");
	else
		*hash = host_kernel_config(h, kernel, "CONFIG_MODULE_SIG_HASH");
	if (!code && !(*hash && **hash))
		code = complain(EXIT_NO, "the configuration of kernel %s is not here, "
				"or names no hash for signatures. Next: install its "
				"headers, or name the hash with --hash", kernel);
	free(kernel);
	host_free(h);
	return code;
}

static int write_manifest(const struct creating *o,
			  const struct manifest_facts *facts)
{
	struct json_object *doc = NULL;
	char *why = NULL, *text;
	int err = manifest_make(facts, o->files, o->count, &doc, &why);
	int code = EXIT_YES;

	if (err == -EBADMSG)
		code = complain(EXIT_NO, "%s; no manifest was written", why);
	else if (err)
		code = complain_errno(err, "manifest create");
	free(why);
	if (code)
		return code;
	text = text_of("%s\n", json_text(doc));
	err = text ? file_replace(o->output, text, strlen(text), 0644) : -ENOMEM;
	free(text);
	json_object_put(doc);
	if (err)
		return complain(EXIT_NO, "%s: %s; not written", o->output,
				strerror(-err));
	printf("%s: %zu modules by '%s'\n", o->output, o->count, facts->builder);
	return EXIT_YES;
}

static int create(int argc, char **argv)
{
	struct creating o = { 0 };
	char machine[256] = "", *hash = NULL, *package = NULL, *equals;
	int code = parse_create(argc, argv, &o);

	if (code)
		return code < 0 ? EXIT_YES : code;
	package = strdup(o.package);
	equals = package ? strchr(package, '=') : NULL;
	if (!equals || equals == package || !equals[1]) {
		free(package);
		return complain(EXIT_USAGE, "manifest create: --kernel-package: '%s' "
				"is not NAME=VERSION", o.package);
	}
	*equals = '\0';
	o.facts.package = package;
	o.facts.version = equals + 1;
	if (!o.facts.builder && !gethostname(machine, sizeof(machine) - 1))
		o.facts.builder = machine;
	code = only_beside(o.output, o.files, o.count);
	if (!code && !o.facts.hash) {
		code = find_hash(&o, &hash);
		o.facts.hash = hash;
	}
	if (!code)
		code = write_manifest(&o, &o.facts);
	free(hash);
	free(package);
	return code;
}

static int check(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct manifest m = { 0 }, other = { 0 };
	const char *second = NULL;
	int c, code;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		if (c != 'h')
			return complain_option("manifest check", argv, c);
		fputs(check_usage, stdout);
		return EXIT_YES;
	}
	if (optind == argc || argc - optind > 2)
		return complain(EXIT_USAGE, "manifest check: name one manifest, or "
				"two");
	if (argc - optind == 2)
		second = argv[optind + 1];
	code = manifest_open(argv[optind], &m);
	if (!code)
		code = manifest_check_all(&m);
	if (!code)
		printf("%s: %zu modules for kernel %s are what it says\n",
		       argv[optind], m.count, m.kernel);
	if (!code && second)
		code = manifest_open(second, &other);
	if (!code && second)
		code = manifest_agreed(&m, &other);
	if (!code && second)
		printf("the builders '%s' and '%s' made the same\n", m.builder,
		       other.builder);
	manifest_free(&m);
	manifest_free(&other);
	return code;
}

int verb_manifest(int argc, char **argv)
{
	static const struct {
		const char *name;
		int (*run)(int argc, char **argv);
	} steps[] = {
		{ "create", create }, { "check", check },
		{ "sign", manifest_sign }, { "join", manifest_join },
	};

	if (argc < 2) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h")) {
		fputs(usage, stdout);
		return EXIT_YES;
	}
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++)
		if (!strcmp(argv[1], steps[i].name))
			return steps[i].run(argc - 1, argv + 1);
	return complain(EXIT_USAGE, "unknown step 'manifest %s'; see kmodkeep manifest "
			"--help", argv[1]);
}
