// SPDX-License-Identifier: GPL-2.0-or-later
/* What there is, before the engine changes anything. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "guard/base/util.h"
#include "guard/verdict/verify.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/transaction.h"
#include "kmodkeep/package/tree.h"

/* Less than this is full: a build writes more. */
#define ROOM_BYTES (1u << 20)

const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

const char *real_path(struct transaction *x, const char *path)
{
	char *real = realpath(path, NULL);
	const char *kept = text(x, "%s", real ? real : "");

	free(real);
	return kept;
}

const char *installed_version(struct transaction *x, const char *kernel)
{
	const char *link = text(x, "%s/kernel-%s-%s", x->entry, kernel,
				x->arch);
	char target[PATH_MAX];
	ssize_t n;

	if (!is_directory(text(x, "%s/module", link)))
		return NULL;
	n = readlink(link, target, sizeof(target) - 1);
	if (n <= 0)
		return NULL;
	target[n] = '\0';
	target[strcspn(target, "/")] = '\0';
	return text(x, "%s", target);
}

bool in_use(struct transaction *x, const char *version)
{
	for (size_t i = 0; i < x->kernels.count; i++) {
		const char *one = installed_version(x, x->kernels.list[i]);

		if (one && !strcmp(one, version))
			return true;
	}
	return false;
}

bool is_ours(struct transaction *x, const char *version)
{
	return !strcmp(version, x->version) ||
	       is_directory(text(x, "%s/%s/kept-source", x->entry, version));
}

/* dkms installs to updates/dkms on Debian, to extra or updates elsewhere. */
const char *module_file(struct transaction *x, const char *kernel,
			const char *name)
{
	static const char *const places[] = {
		"updates/dkms", "updates", "extra",
	};

	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		const char *path = text(x, "%s/%s/%s/%s", x->modules, kernel,
					places[i], name);

		if (is_file(path))
			return path;
	}
	return NULL;
}

struct words built_modules(struct transaction *x, const char *dir)
{
	const char *modules = text(x, "%s/module", dir);
	struct words all = entries_of(x, modules), out = { 0 };

	for (size_t i = 0; i < all.count; i++)
		if (all.list[i][0] != '.' && strstr(all.list[i], ".ko"))
			words_add(&out, text(x, "%s/%s", modules, all.list[i]));
	words_free(&all);
	return out;
}

const char *verify_line(struct transaction *x, const char *kernel,
			const char *file, int *code)
{
	struct report r = { 0 };
	const char *line;
	int err = x->t ? 0 : trust_new(x->h, &x->t);

	if (!err)
		err = verify_file(x->h, x->t, file, kernel, &r);
	if (err) {
		*code = EXIT_UNSURE;
		return text(x, "unknown: it could not be verified: %s",
			    strerror(-err));
	}
	*code = verdict_exit(r.verdict);
	line = text(x, "%s: %s%s%s", verdict_word(r.verdict), r.message,
		    r.next_step ? ". Next: " : "",
		    r.next_step ? r.next_step : "");
	report_free(&r);
	return line;
}

const char *trouble_of(struct transaction *x, int err, const char *path,
		       const char **next)
{
	const char *retry = x->manager->retry(x);

	if (err == -ENOSPC || err == -EDQUOT)
		*next = text(x, "make room there (df -h %s; df -i %s), then %s",
			     path, path, retry);
	else if (err == -EROFS)
		*next = text(x, "mount it writable, then %s", retry);
	else
		*next = text(x, "look at it, then %s", retry);
	return text(x, "%s could not be written: %s", path, strerror(-err));
}

/* A path that is there, on the file system where this one would be. */
static const char *standing(struct transaction *x, const char *path)
{
	char *p = text(x, "%s", path);

	while (!path_exists(p) && strrchr(p, '/') > p)
		*strrchr(p, '/') = '\0';
	return p;
}

const char *trouble_with_disk(struct transaction *x, const char **next,
			      const char *const *paths)
{
	for (; *paths; paths++) {
		const char *p = standing(x, *paths), *what = NULL;
		struct statvfs fs;

		if (statvfs(p, &fs) < 0)
			continue;
		if (fs.f_flag & ST_RDONLY)
			what = "is read-only";
		else if (fs.f_files && !fs.f_ffree)
			what = "has no inodes left";
		else if (fs.f_bfree * fs.f_frsize < ROOM_BYTES)
			what = "is full";
		if (!what)
			continue;
		trouble_of(x, fs.f_flag & ST_RDONLY ? -EROFS : -ENOSPC, p,
			   next);
		return text(x, "the file system of %s %s", p, what);
	}
	return NULL;
}
