// SPDX-License-Identifier: GPL-2.0-or-later
/* The transaction itself: where its things are, its texts, its lines. */
#include "kmodkeep/package/transaction.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/dkmstree.h"
#include "kmodkeep/package/manager.h"
#include "kmodkeep/package/tree.h"

struct texts {
	struct texts *next;
	char *text;
};

static void no_memory(void)
{
	complain(0, "no memory");
	fflush(stdout);
	_exit(EXIT_UNSURE);
}

char *text(struct transaction *x, const char *fmt, ...)
{
	struct texts *one = malloc(sizeof(*one));
	va_list ap;

	va_start(ap, fmt);
	if (!one || vasprintf(&one->text, fmt, ap) < 0)
		no_memory();
	va_end(ap);
	one->next = x->texts;
	x->texts = one;
	return one->text;
}

void say(const struct transaction *x, const char *fmt, ...)
{
	char *line;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&line, fmt, ap) < 0)
		no_memory();
	va_end(ap);
	make_printable(line);
	printf("%s %s: %s\n", x->name, x->version, line);
	/* A line tells of what is done when it is done. */
	fflush(stdout);
	free(line);
}

void words_add(struct words *w, char *word)
{
	char **list = realloc(w->list, (w->count + 1) * sizeof(*list));

	if (!list)
		no_memory();
	w->list = list;
	list[w->count++] = word;
}

void words_free(struct words *w)
{
	free(w->list);
	memset(w, 0, sizeof(*w));
}

struct words entries_of(struct transaction *x, const char *dir)
{
	struct dirent **names = NULL;
	struct words out = { 0 };
	int n = scandir(dir, &names, NULL, dirent_by_bytes);

	for (int i = 0; i < n; i++) {
		if (strcmp(names[i]->d_name, ".") &&
		    strcmp(names[i]->d_name, ".."))
			words_add(&out, text(x, "%s", names[i]->d_name));
		free(names[i]);
	}
	free(names);
	return out;
}

static char *below(struct transaction *x, const char *rel)
{
	char *path = host_path(x->h, rel), *kept;

	if (!path)
		no_memory();
	kept = text(x, "%s", path);
	free(path);
	return kept;
}

static void read_kernels(struct transaction *x)
{
	struct words all = entries_of(x, x->modules);

	for (size_t i = 0; i < all.count; i++) {
		const char *dir = text(x, "%s/%s", x->modules, all.list[i]);

		if (is_directory(text(x, "%s/kernel", dir)) ||
		    path_exists(text(x, "%s/build/include", dir)))
			words_add(&x->kernels, all.list[i]);
	}
	words_free(&all);
}

int transaction_open(const struct host *h, const struct manager *manager,
		     const char *name, const char *version, struct transaction *x)
{
	const char *script = getenv("DPKG_MAINTSCRIPT_PACKAGE");
	struct utsname uts;
	char *tree = NULL;
	int err;

	memset(x, 0, sizeof(*x));
	x->h = h;
	x->name = name;
	x->version = version;
	x->lock = -1;
	x->manager = manager;
	x->package = script ? script : text(x, "%s-dkms", name);
	err = uname(&uts) < 0 ? -errno : dkms_tree(h, &tree);
	if (err == -EINVAL)
		say(x, "nothing was done: %s sets dkms_tree by more than a "
		    "plain path. Next: write the path itself there, then %s",
		    tree ? tree : "dkms's configuration", x->manager->retry(x));
	else if (err)
		complain_errno(err, "package");
	if (!err) {
		snprintf(x->arch, sizeof(x->arch), "%s", uts.machine);
		x->tree = below(x, tree);
		x->entry = text(x, "%s/%s", x->tree, name);
		x->source = below(x, text(x, "/usr/src/%s-%s", name, version));
		x->state = below(x, text(x, "/var/lib/kmodkeep/dkms/%s", name));
		x->stage = text(x, "%s/stage", x->state);
		x->modules = below(x, "/lib/modules");
		read_kernels(x);
	}
	free(tree);
	return err;
}

void transaction_close(struct transaction *x)
{
	while (x->texts) {
		struct texts *one = x->texts;

		x->texts = one->next;
		free(one->text);
		free(one);
	}
	words_free(&x->kernels);
	trust_free(x->t);
	if (x->lock >= 0)
		close(x->lock);
	memset(x, 0, sizeof(*x));
}
