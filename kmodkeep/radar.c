// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a radar has found out about this host's drivers on kernels that are not
 * here; preflight --radar asks. A radar builds the sources that it was given. It
 * knows nothing of this host, so an answer of it counts only for the very source
 * that is here, by its digest, for the very version of the kernel's package, and for
 * this machine's kind, which a release need not name.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/json.h"
#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/discover.h"
#include "guard/verdict/doctor.h"
#include "kmodkeep/verbs.h"

#define RADAR_MAX (4u << 20)	/* bytes of the file */
#define DEPTH_MAX 32		/* of folders of a source */
#define DAY 86400
#define DIGEST_LEN 64

static const char usage[] =
"Usage: kmodkeep radar FILE KERNEL=VERSION... [--root DIR]\n"
"For kmodkeep preflight: what a radar's FILE says of each driver of this host on\n"
"kernel release KERNEL, whose package has VERSION.\n"
"\n"
"Exit code: 0 each builds, 1 one does not, 2 wrong usage, 3 could not tell.\n";

/* ---- the digest of a source, as the radar makes it */

static int add_field(EVP_MD_CTX *c, const void *data, size_t len)
{
	unsigned char size[8];

	for (size_t i = 0; i < sizeof(size); i++)
		size[i] = (unsigned long long)len >> (56 - 8 * i);
	return EVP_DigestUpdate(c, size, sizeof(size)) &&
	       EVP_DigestUpdate(c, data, len) ? 0 : -ENOMEM;
}

/* A file that changes meanwhile has no digest. */
static int add_file(EVP_MD_CTX *c, const char *path)
{
	struct buf b;
	int err = file_read(path, 256u << 20, &b);

	if (err)
		return err;
	err = add_field(c, b.data ? (void *)b.data : "", b.len);
	buf_free(&b);
	return err;
}

static int add_link(EVP_MD_CTX *c, const char *path)
{
	char target[PATH_MAX];
	ssize_t n = readlink(path, target, sizeof(target));

	if (n < 0)
		return -errno;
	return (size_t)n < sizeof(target) ? add_field(c, target, n) :
					    -ENAMETOOLONG;
}

static int not_dots(const struct dirent *e)
{
	return strcmp(e->d_name, ".") && strcmp(e->d_name, "..");
}

static int add_folder(EVP_MD_CTX *c, const char *top, const char *rel,
		      unsigned int depth);

/* Name, kind, content; what is neither file nor link counts as a folder. */
static int add_entry(EVP_MD_CTX *c, const char *top, const char *rel,
		     unsigned int depth)
{
	char *path = text_of("%s/%s", top, rel);
	struct stat st;
	int err;

	if (!path)
		return -ENOMEM;
	err = lstat(path, &st) < 0 ? -errno : add_field(c, rel, strlen(rel));
	if (!err && S_ISLNK(st.st_mode)) {
		err = add_field(c, "l", 1);
		err = err ? err : add_link(c, path);
	} else if (!err && S_ISREG(st.st_mode)) {
		err = add_field(c, st.st_mode & S_IXUSR ? "x" : "f", 1);
		err = err ? err : add_file(c, path);
	} else if (!err) {
		err = add_field(c, "d", 1);
		err = err ? err : add_field(c, "", 0);
		if (!err && S_ISDIR(st.st_mode))
			err = add_folder(c, top, rel, depth + 1);
	}
	free(path);
	return err;
}

/* rel: "" for the top. */
static int add_folder(EVP_MD_CTX *c, const char *top, const char *rel,
		      unsigned int depth)
{
	char *path = text_of("%s/%s", top, rel);
	struct dirent **list = NULL;
	int n, err = 0;

	if (depth > DEPTH_MAX) {
		free(path);
		return -ELOOP;
	}
	n = path ? scandir(path, &list, not_dots, dirent_by_bytes) : -1;
	if (n < 0)
		err = path ? -errno : -ENOMEM;
	for (int i = 0; i < n; i++) {
		char *one = text_of("%s%s%s", rel, *rel ? "/" : "",
				    list[i]->d_name);

		if (!err)
			err = one ? add_entry(c, top, one, depth) : -ENOMEM;
		free(one);
		free(list[i]);
	}
	free(list);
	free(path);
	return err;
}

static int digest_tree(const char *top, char hex[DIGEST_LEN + 1])
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *c = EVP_MD_CTX_new();
	int err = c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) ? 0 : -ENOMEM;

	if (!err)
		err = add_folder(c, top, "", 0);
	if (!err && !EVP_DigestFinal_ex(c, hash, NULL))
		err = -ENOMEM;
	EVP_MD_CTX_free(c);
	if (!err)
		hex_encode(hash, DIGEST_LEN / 2, hex);
	return err;
}

/* ---- what the radar says */

struct radar {
	struct json_object *doc, *drivers;
	const char *machine;	/* as uname(2) has it */
	int worst;
};

static void answer(struct radar *r, int code, const char *kernel,
		   const char *driver, char *text)
{
	if (code == EXIT_NO || (code && r->worst != EXIT_NO))
		r->worst = code;
	if (text)
		make_printable(text);
	printf("%s: %s: %s\n", kernel, driver,
	       text ? text : "unknown: out of memory");
	free(text);
}

/* Is the word "SUITE:RELEASE" or "SUITE:RELEASE=VERSION" about this release? */
static bool is_about(const char *word, const char *release)
{
	const char *colon = strchr(word, ':');
	size_t len = strlen(release);

	return colon && !strncmp(colon + 1, release, len) &&
	       (!colon[1 + len] || colon[1 + len] == '=');
}

/* From the best to the worst; what is no known word can be anything. */
static int rank(const char *verdict)
{
	static const char *const words[] = {
		"builds", "cannot-tell", "not-for-this-kernel", "does-not-build",
	};

	for (size_t i = 0; verdict && i < ARRAY_SIZE(words); i++)
		if (!strcmp(verdict, words[i]))
			return i;
	return 1;
}

/* Of several suites with this kernel, the worst. NULL: it knows none. */
static struct json_object *cell_of(struct radar *r, const char *digest,
				   const char *kernel, const char *version,
				   bool *knows_source)
{
	size_t n = json_object_array_length(r->drivers);
	struct json_object *found = NULL;

	*knows_source = false;
	for (size_t i = 0; i < n; i++) {
		struct json_object *one = json_object_array_get_idx(r->drivers, i);
		const char *source = json_string(one, "source");
		struct json_object *cells;

		if (!source || strcmp(source, digest) ||
		    !json_object_object_get_ex(one, "kernels", &cells) ||
		    !json_object_is_type(cells, json_type_object))
			continue;
		*knows_source = true;
		json_object_object_foreach(cells, word, cell) {
			const char *its = json_string(cell, "kernel_package_version");
			const char *machine = json_string(cell, "machine");

			if (is_about(word, kernel) && its && !strcmp(its, version) &&
			    machine && !strcmp(machine, r->machine) &&
			    (!found || rank(json_string(cell, "verdict")) >
				       rank(json_string(found, "verdict"))))
				found = cell;
		}
	}
	return found;
}

/* A module that the host has, and that build has not made; NULL: none. */
static const char *not_made(const struct driver *d, struct json_object *cell)
{
	struct json_object *made;

	if (!json_object_object_get_ex(cell, "modules", &made) ||
	    !json_object_is_type(made, json_type_array))
		return "a module that it names";
	for (size_t i = 0; i < d->module_count; i++) {
		bool found = false;

		for (size_t j = 0; j < json_object_array_length(made); j++) {
			const char *name = json_object_get_string(
				json_object_array_get_idx(made, j));

			found = found || (name && same_module(name, d->modules[i]));
		}
		if (!found)
			return d->modules[i];
	}
	return NULL;
}

static void judge(struct radar *r, const struct driver *d, const char *version,
		  struct json_object *cell, const char *kernel)
{
	const char *verdict = json_string(cell, "verdict");
	const char *error = json_string(cell, "error"), *absent;

	switch (rank(verdict)) {
	case 0:
		absent = not_made(d, cell);
		if (absent)
			answer(r, EXIT_UNSURE, kernel, d->name,
			       text_of("unknown: version %s builds, but %s did not "
				       "come out of it", version, absent));
		else
			answer(r, EXIT_YES, kernel, d->name,
			       text_of("builds: version %s", version));
		break;
	case 2:
		answer(r, EXIT_NO, kernel, d->name,
		       text_of("not-made-for-kernel: version %s: its dkms.conf "
			       "excludes this kernel", version));
		break;
	case 3:
		answer(r, EXIT_NO, kernel, d->name,
		       text_of("missing: version %s does not build: %s. Next: wait "
			       "for a version that does, and keep the kernel",
			       version, error ? error : "no reason is given"));
		break;
	default:
		answer(r, EXIT_UNSURE, kernel, d->name,
		       text_of("unknown: the radar could not tell: %s",
			       error ? error : "no reason is given"));
	}
}

/* What an administrator adds to a driver's dkms.conf, the radar has not seen. */
static char *own_conf(const struct host *h, const char *dkms)
{
	char *dir = host_path(h, "/etc/dkms"), *found = NULL;
	DIR *d = dir ? opendir(dir) : NULL;
	size_t len = strlen(dkms);
	struct dirent *e;

	while (d && !found && (e = readdir(d)))
		if (!strncmp(e->d_name, dkms, len) &&
		    strchr(".-", e->d_name[len]) && str_ends_with(e->d_name, ".conf"))
			found = text_of("/etc/dkms/%s", e->d_name);
	if (d)
		closedir(d);
	free(dir);
	return found;
}

static void ask_one(struct radar *r, const struct doctor *host,
		    const struct driver *d, const char *kernel,
		    const char *kernel_version)
{
	char *version = NULL, *path = NULL, *conf = NULL;
	char digest[DIGEST_LEN + 1];
	struct json_object *cell;
	bool knows = false;
	int err;

	if (!d->dkms) {
		answer(r, EXIT_UNSURE, kernel, d->name,
		       text_of("unknown: not built by dkms, so no radar knows it"));
		return;
	}
	conf = own_conf(host->h, d->dkms);
	err = driver_source(host->h, d->dkms, &version, &path);
	if (!err)
		err = digest_tree(path, digest);
	if (err) {
		answer(r, EXIT_UNSURE, kernel, d->name,
		       text_of("unknown: its source: %s", strerror(-err)));
	} else if (conf) {
		answer(r, EXIT_UNSURE, kernel, d->name,
		       text_of("unknown: %s changes what dkms builds here, which no "
			       "radar has seen", conf));
	} else {
		cell = cell_of(r, digest, kernel, kernel_version, &knows);
		if (cell)
			judge(r, d, version, cell, kernel);
		else if (knows)
			answer(r, EXIT_UNSURE, kernel, d->name,
			       text_of("unknown: the radar does not know version %s "
				       "of this kernel for %s", kernel_version, r->machine));
		else
			answer(r, EXIT_UNSURE, kernel, d->name,
			       text_of("unknown: the radar does not know this source "
				       "of version %s", version));
	}
	free(version);
	free(path);
	free(conf);
}

/* Says how old it is. Only a time that has been can be believed. */
static int say_age(const struct radar *r)
{
	const char *text = json_string(r->doc, "time"), *end;
	struct tm tm = { 0 };
	time_t when, now = time(NULL);

	end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
	if (!end || *end)
		return complain(EXIT_UNSURE, "radar: it does not say when it was made");
	when = timegm(&tm);
	if (when > now + DAY)
		return complain(EXIT_UNSURE, "radar: it is of %s, which is in the "
				"future. Next: set the clock, or get another", text);
	complain(0, "the radar is of %s, %lld days ago", text,
		 when > now ? 0LL : (long long)(now - when) / DAY);
	return EXIT_YES;
}

static int radar_read(const char *path, struct radar *r)
{
	struct buf b;
	int err = file_read(path, RADAR_MAX, &b);

	if (err == -EFBIG)
		return complain(EXIT_UNSURE, "radar: %s: it is larger than 4 MiB", path);
	if (err)
		return complain_errno(err, path);
	r->doc = json_parse(b.data, b.len);
	buf_free(&b);
	if (!r->doc || json_int(r->doc, "schema") != 1 ||
	    !json_object_object_get_ex(r->doc, "drivers", &r->drivers) ||
	    !json_object_is_type(r->drivers, json_type_array))
		return complain(EXIT_UNSURE, "radar: %s: not what kmodkeep fleet radar "
				"prints (schema 1)", path);
	return say_age(r);
}

static int ask_all(struct radar *r, const char *root, char **words)
{
	struct doctor *d = NULL;
	struct utsname uts;
	int err;

	if (uname(&uts) < 0)
		return complain_errno(-errno, "uname");
	r->machine = uts.machine;
	err = doctor_new(root, complain_message, NULL, &d);
	if (err)
		return complain_root(err, root, "radar");
	for (; *words; words++) {
		char *version = strchr(*words, '=');

		*version++ = '\0';
		for (size_t i = 0; i < d->drivers.count; i++)
			if (!d->drivers.list[i].broken)
				ask_one(r, d, &d->drivers.list[i], *words, version);
	}
	if ((d->broken || d->unseen) && r->worst == EXIT_YES)
		r->worst = EXIT_UNSURE;
	doctor_free(d);
	return r->worst;
}

int verb_radar(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *root = NULL;
	struct radar r = { .worst = EXIT_YES };
	int c, code;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'r': root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		default: return complain_option("radar", argv, c);
		}
	}
	argv += optind;
	argc -= optind;
	code = argc < 2 ? EXIT_USAGE : EXIT_YES;
	for (int i = 1; i < argc; i++)
		if (*argv[i] == '=' || !strchr(argv[i], '='))
			code = EXIT_USAGE;
	if (code) {
		fputs(usage, stderr);
		return code;
	}
	code = radar_read(argv[0], &r);
	if (!code)
		code = ask_all(&r, root, argv + 1);
	json_object_put(r.doc);
	return code;
}
