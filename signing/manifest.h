/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a builder says it has built (docs/manifest.md). The text is a stranger's: it
 * is checked whole before anything in it is used.
 */
#ifndef KMODKEEP_MANIFEST_H
#define KMODKEEP_MANIFEST_H

#include <json-c/json.h>

#include "guard/base/util.h"
#include "guard/module/modfile.h"

struct manifest_module {
	const char *file, *name, *vermagic;
	const char *srcversion;		/* NULL: it has none */
	const char *sha256;		/* lower-case hexadecimal */
	long long size;
};

struct manifest {
	struct json_object *doc;	/* owns all texts */
	char *folder;			/* where it and the modules lie */
	const char *kernel, *package, *version, *hash, *compiler, *builder;
	const char *pahole;		/* NULL: none */
	struct manifest_module *list;
	size_t count;
};

/*
 * 0; -EBADMSG with *why (malloc'ed): it is no manifest, or one that says something
 * that none may say; -ENOMEM; or the error of reading.
 */
int manifest_read(const char *path, struct manifest *out, char **why);
void manifest_free(struct manifest *m);

/*
 * The bytes of a module, if they are what the manifest says: size, hash, a module,
 * not signed, of this name for this kernel. -EBADMSG with *why, -ENOMEM, or the
 * error of reading.
 */
int manifest_module_read(const struct manifest *m,
			 const struct manifest_module *module,
			 struct buf *out, char **why);

/* Have two builders made the same? 0, -EBADMSG with *why, or -ENOMEM. */
int manifests_agree(const struct manifest *a, const struct manifest *b,
		    char **why);

/* What a manifest says of all modules alike. */
struct manifest_facts {
	const char *package, *version, *hash, *compiler, *pahole, *builder;
};

/*
 * The text of a manifest of these files, which lie in one folder; *out is the
 * caller's to put. f: compiler NULL: as the first module says. -EBADMSG with
 * *why, -ENOMEM, or the error of reading.
 */
int manifest_make(const struct manifest_facts *f, char *const *files, size_t n,
		  struct json_object **out, char **why);
/* The release that a module was built for; malloc'ed, NULL: none can be told. */
char *manifest_kernel_of(const char *file);

#endif
