// SPDX-License-Identifier: GPL-2.0-or-later
/* Has libkmod plan what modprobe would do, and reads the install lines of the plan. */
#include "guard/verdict/modprobe.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <libkmod.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/util.h"
#include "guard/module/alias_index.h"

/* The folders in which modprobe looks, the first of a file's name counts. */
static const char *const config_dirs[] = {
	"/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d",
	"/usr/lib/modprobe.d", "/lib/modprobe.d",
};
#define LINKS_MAX 64	/* of files in those folders, by alternatives */
#define NEEDS_MAX 256
#define FOLLOW_MAX 4	/* install lines that lead to each other */
#define LINE_MAX_SHOWN 200
#define INDEX_MAX (64u << 20)

static void quiet(void *data, int priority, const char *file, int line,
		  const char *fn, const char *format, va_list args)
{
	(void)data;
	(void)priority;
	(void)file;
	(void)line;
	(void)fn;
	(void)format;
	(void)args;
}

/* ---- one libkmod context for each kernel ---- */

/*
 * In an image the links that Debian's alternatives make are those of the image:
 * libkmod would follow them on the host that looks. What it cannot open it leaves
 * out, and it is told the right files beside.
 */
static size_t linked_files(const struct host *h, const char *dir, char **out,
			   size_t room)
{
	char *path = host_path(h, dir);
	DIR *d = path ? opendir(path) : NULL;
	struct dirent *e;
	size_t n = 0;

	while (d && n < room && (e = readdir(d))) {
		char *rel;

		if (e->d_name[0] == '.' || (e->d_type != DT_LNK && e->d_type != DT_UNKNOWN) ||
		    !str_ends_with(e->d_name, ".conf"))
			continue;
		rel = text_of("%s/%s", dir, e->d_name);
		out[n] = rel ? host_resolve(h, rel) : NULL;
		n += out[n] != NULL;
		free(rel);
	}
	if (d)
		closedir(d);
	free(path);
	return n;
}

static struct kmod_ctx *new_context(const struct host *h, const char *kernel)
{
	char *paths[ARRAY_SIZE(config_dirs) + LINKS_MAX + 1] = { NULL };
	char *rel = text_of("/lib/modules/%s", kernel);
	char *dir = rel ? host_path(h, rel) : NULL;
	struct kmod_ctx *ctx = NULL;
	size_t n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(config_dirs); i++) {
		paths[n] = host_path(h, config_dirs[i]);
		n += paths[n] != NULL;
	}
	for (size_t i = 0; !host_is_live(h) && i < ARRAY_SIZE(config_dirs); i++)
		n += linked_files(h, config_dirs[i], paths + n,
				  ARRAY_SIZE(paths) - 1 - n);
	paths[n] = NULL;
	if (dir)
		ctx = kmod_new(dir, (const char *const *)paths);
	if (ctx) {
		kmod_set_log_fn(ctx, quiet, NULL);
		/* An index that is not there is looked for again in each call. */
		kmod_load_resources(ctx);
	}
	for (size_t i = 0; i < n; i++)
		free(paths[i]);
	free(dir);
	free(rel);
	return ctx;
}

static void drop_context(void *ctx)
{
	kmod_unref(ctx);
}

/* A depmod in between makes a new one; the old one goes with the host. */
static struct kmod_ctx *context(const struct host *h, const char *kernel)
{
	struct kmod_ctx *ctx = host_recall(h, "libkmod", kernel);

	if (ctx && kmod_validate_resources(ctx) == KMOD_RESOURCES_OK)
		return ctx;
	ctx = new_context(h, kernel);
	if (!ctx || host_remember(h, "libkmod", kernel, ctx, drop_context))
		return NULL;
	return ctx;
}

/* libkmod reads files alone: one in memory. A descriptor, or -errno. */
static int file_of(const char *text)
{
	int fd = memfd_create("modprobe.d", MFD_CLOEXEC);
	size_t n = strlen(text), done = 0;
	ssize_t wrote;

	if (fd < 0)
		return -errno;
	while (done < n) {
		wrote = write(fd, text + done, n - done);
		if (wrote < 0 && errno != EINTR) {
			int err = -errno;

			close(fd);
			return err;
		}
		done += wrote > 0 ? wrote : 0;
	}
	return fd;
}

/* With config (NULL: the host's modprobe.d). *out is the host's. 0 or -errno. */
static int context_of(const struct host *h, const char *kernel, const char *config,
		      struct kmod_ctx **out)
{
	char name[32], *rel, *dir;
	const char *paths[] = { name, NULL };
	int fd, err = 0;

	*out = config ? host_recall(h, "libkmod, inside", kernel) : context(h, kernel);
	if (*out || !config)
		return *out ? 0 : -ENOMEM;
	fd = file_of(config);
	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	rel = text_of("/lib/modules/%s", kernel);
	dir = rel ? host_path(h, rel) : NULL;
	/* It says nothing of a file that it cannot open. */
	if (access(name, R_OK) < 0)
		err = -errno;
	else if (dir)
		*out = kmod_new(dir, paths);
	free(dir);
	free(rel);
	close(fd);
	if (!*out)
		return err ? err : -ENOMEM;
	kmod_set_log_fn(*out, quiet, NULL);
	kmod_load_resources(*out);
	return host_remember(h, "libkmod, inside", kernel, *out, drop_context);
}

/* ---- install lines ---- */

enum does { DOES_NOTHING, DOES_LOAD_IT, DOES_LOAD_OTHER, DOES_UNCLEAR };

static bool same_name(const char *a, const char *b)
{
	for (; *a && *b; a++, b++)
		if (*a != *b && !(strchr("-_", *a) && strchr("-_", *b)))
			return false;
	return *a == *b;
}

/* One command without pipes; *other: the module that it loads, malloc'ed. */
static enum does read_command(char *text, const char *module, char **other)
{
	static const char *const idle[] = {
		"false", "true", ":", "exit", "echo", "printf", "logger",
		"sleep",
	};
	char *save = NULL, *word = strtok_r(text, " \t", &save), *base;
	bool ignore = false;

	if (!word)
		return DOES_NOTHING;
	base = strrchr(word, '/');
	base = base ? base + 1 : word;
	for (size_t i = 0; i < ARRAY_SIZE(idle); i++)
		if (!strcmp(base, idle[i]))
			return DOES_NOTHING;
	if (strcmp(base, "modprobe"))
		return DOES_UNCLEAR;
	while ((word = strtok_r(NULL, " \t", &save)) && *word == '-') {
		if (!strcmp(word, "-r") || !strcmp(word, "--remove") ||
		    !strcmp(word, "-n") || !strcmp(word, "--dry-run"))
			return DOES_NOTHING;
		if (!strcmp(word, "--ignore-install") ||
		    (word[1] != '-' && strchr(word, 'i')))
			ignore = true;
		else if (strcmp(word, "-q") && strcmp(word, "-v") &&
			 strcmp(word, "-s") && strcmp(word, "-qs") &&
			 strcmp(word, "--quiet") && strcmp(word, "--verbose") &&
			 strcmp(word, "--syslog") && strcmp(word, "--"))
			return DOES_UNCLEAR;
	}
	if (!word || strchr(word, '$'))
		return DOES_UNCLEAR;
	if (same_name(word, module))
		return ignore ? DOES_LOAD_IT : DOES_UNCLEAR;
	free(*other);
	*other = strdup(word);
	return *other ? DOES_LOAD_OTHER : DOES_UNCLEAR;
}

/*
 * Commands one after the other, each of which runs whatever came before, or after
 * a modprobe that worked. All else is a shell's affair.
 */
static enum does read_install(const char *line, const char *module, char **other)
{
	char *text = strdup(line), *at = text;
	enum does all = DOES_NOTHING, one = DOES_NOTHING;
	bool plain = text && !strpbrk(text, "`(){}<>\"'\\|") && !strstr(text, "$(");

	*other = NULL;
	while (plain && *at) {
		size_t len = strcspn(at, ";&\n");
		char end = at[len];
		bool both = end == '&' && at[len + 1] == '&';

		at[len] = '\0';
		one = read_command(at, module, other);
		if (one == DOES_UNCLEAR || (both && one == DOES_NOTHING))
			plain = false;
		if (one > all)
			all = one;
		/* It came in the end, whatever else was loaded on the way. */
		if (one == DOES_LOAD_IT)
			break;
		at += len + (end != '\0') + both;
	}
	free(text);
	if (plain && all != DOES_UNCLEAR)
		return one == DOES_LOAD_IT ? DOES_LOAD_IT : all;
	return DOES_UNCLEAR;
}

/* ---- the plan ---- */

struct planning {
	struct modprobe *m;
	struct kmod_module *self;
	struct kmod_list *required;
	bool command;		/* its install line runs, not insmod */
	bool nomem;
};

static bool is_required(const struct planning *p, const struct kmod_module *m)
{
	struct kmod_list *i;

	kmod_list_foreach(i, p->required) {
		struct kmod_module *dep = kmod_module_get_module(i);

		kmod_module_unref(dep);	/* the list holds it */
		if (!strcmp(kmod_module_get_name(dep), kmod_module_get_name(m)))
			return true;
	}
	return false;
}

static void set_line(struct planning *p, bool unclear, const char *what,
		     const char *name, const char *rest)
{
	struct modprobe *m = p->m;

	if (m->line)
		return;
	m->line = text_of("%s %s %.*s", what, name, LINE_MAX_SHOWN, rest);
	if (!m->line)
		p->nomem = true;
	else
		make_printable(m->line);
	m->unclear = unclear;
	m->refused = !unclear;
}

static void add_need(struct planning *p, const char *path)
{
	struct modprobe *m = p->m;
	char **more;

	if (m->need_count == NEEDS_MAX) {
		m->more_needs = true;
		return;
	}
	more = realloc(m->needs, (m->need_count + 1) * sizeof(*more));
	if (more)
		m->needs = more;
	if (!more || !(more[m->need_count] = strdup(path)))
		p->nomem = true;
	else
		m->need_count++;
}

/* libkmod has no argument for the one who asks. */
static __thread struct planning *asking;

static void take_step(struct kmod_module *mod, bool install, const char *options)
{
	struct planning *p = asking;
	const char *path = kmod_module_get_path(mod);
	const char *line = install ? kmod_module_get_install_commands(mod) : NULL;
	char *other = NULL;
	enum does does;

	(void)options;
	if (!strcmp(kmod_module_get_name(mod), kmod_module_get_name(p->self))) {
		p->command = install;
		return;
	}
	if (!is_required(p, mod))
		return;
	does = line ? read_install(line, kmod_module_get_name(mod), &other) :
		      DOES_LOAD_IT;
	if (does != DOES_LOAD_IT)
		set_line(p, does != DOES_NOTHING, "install",
			 kmod_module_get_name(mod), line);
	else if (path)
		add_need(p, path);
	free(other);
}

/* The value of the first alias line for that very name; NULL: none. */
static const char *alias_line(struct kmod_ctx *ctx, const char *name,
			      struct kmod_config_iter **held)
{
	*held = kmod_config_get_aliases(ctx);
	while (*held && kmod_config_iter_next(*held))
		if (same_name(kmod_config_iter_get_key(*held), name))
			return kmod_config_iter_get_value(*held);
	return NULL;
}

/* How often a name is in modprobe.blacklist= of the kernel that looks. */
static size_t in_own_cmdline(const char *name)
{
	static const char key[] = "modprobe.blacklist=";
	char *line = NULL, *rest, *word, *one;
	size_t n = 0;

	if (file_read_line("/proc/cmdline", &line))
		return 0;
	for (rest = line; (word = strsep(&rest, " \t"));) {
		if (strncmp(word, key, strlen(key)))
			continue;
		word += strlen(key);
		while ((one = strsep(&word, ",")))
			n += same_name(one, name);
	}
	free(line);
	return n;
}

/* libkmod adds the running kernel's command line, which is not the next one's. */
static bool is_blacklisted(struct kmod_ctx *ctx, const char *name)
{
	struct kmod_config_iter *i = kmod_config_get_blacklists(ctx);
	size_t n = 0;

	while (i && kmod_config_iter_next(i))
		n += same_name(kmod_config_iter_get_key(i), name);
	kmod_config_iter_free_iter(i);
	return n && n > in_own_cmdline(name);
}

static bool is_builtin(struct kmod_module *mod)
{
	return kmod_module_get_initstate(mod) == KMOD_MODULE_BUILTIN;
}

static int plan_name(struct kmod_ctx *ctx, const char *name, int depth,
		     struct modprobe *out);

static int follow(struct kmod_ctx *ctx, struct planning *p, const char *line,
		  int depth)
{
	const char *name = kmod_module_get_name(p->self);
	struct modprobe there = { 0 };
	char *other = NULL;
	int err = 0;

	switch (read_install(line, name, &other)) {
	case DOES_LOAD_IT:
		break;
	case DOES_NOTHING:
		set_line(p, false, "install", name, line);
		break;
	case DOES_LOAD_OTHER:
		/* Its own file is not what is loaded in its place. */
		if (p->m->file) {
			set_line(p, false, "install", name, line);
			break;
		}
		/* Debian's nvidia is nvidia-current by such a line. */
		err = depth ? plan_name(ctx, other, depth - 1, &there) : -ELOOP;
		if (err == -ENOMEM)
			break;
		if (err || !there.file) {
			set_line(p, there.unclear || err == -ELOOP, "install",
				 name, line);
			modprobe_free(&there);
		} else {
			there.blacklisted |= p->m->blacklisted;
			modprobe_free(p->m);
			*p->m = there;
		}
		err = 0;
		break;
	default:
		set_line(p, true, "install", name, line);
	}
	free(other);
	return err;
}

static int plan_module(struct kmod_ctx *ctx, const char *asked, int depth,
		       struct planning *p)
{
	const char *path = kmod_module_get_path(p->self), *line;
	const char *name = kmod_module_get_name(p->self);
	struct kmod_config_iter *i;
	int err;

	p->m->builtin = !path && is_builtin(p->self);
	p->m->blacklisted = is_blacklisted(ctx, name);
	if (p->m->builtin)
		return 0;
	line = kmod_module_get_install_commands(p->self);
	if (!path && !line) {
		const char *to = alias_line(ctx, asked, &i);

		if (to)
			set_line(p, false, "alias", asked, to);
		p->m->by_name_only = to != NULL;
		kmod_config_iter_free_iter(i);
		return to ? 0 : -ENOENT;
	}
	if (path && !(p->m->file = strdup(path)))
		return -ENOMEM;
	asking = p;
	err = kmod_module_probe_insert_module(p->self, KMOD_PROBE_DRY_RUN |
					      KMOD_PROBE_IGNORE_LOADED, NULL,
					      NULL, NULL, take_step);
	asking = NULL;
	if (p->nomem)
		return -ENOMEM;
	if (err < 0)
		return err;
	/* With a softdep beside it modprobe leaves the install line out. */
	return p->command && line ? follow(ctx, p, line, depth) : 0;
}

static int plan_name(struct kmod_ctx *ctx, const char *name, int depth,
		     struct modprobe *out)
{
	struct planning p = { .m = out };
	struct kmod_list *list = NULL;
	int err = kmod_module_new_from_lookup(ctx, name, &list);

	memset(out, 0, sizeof(*out));
	if (err >= 0 && !list)
		err = -ENOENT;
	if (err >= 0) {
		p.self = kmod_module_get_module(list);
		p.required = kmod_module_get_dependencies(p.self);
		err = plan_module(ctx, name, depth, &p);
		kmod_module_unref_list(p.required);
		kmod_module_unref(p.self);
	}
	kmod_module_unref_list(list);
	if (err)
		modprobe_free(out);
	return err;
}

/* One without modprobe.d, as context(). */
static struct kmod_ctx *bare_context(const struct host *h, const char *kernel)
{
	struct kmod_ctx *ctx = host_recall(h, "libkmod, bare", kernel);
	const char *no_config = NULL;
	char *rel, *dir;

	if (ctx && kmod_validate_resources(ctx) == KMOD_RESOURCES_OK)
		return ctx;
	rel = text_of("/lib/modules/%s", kernel);
	dir = rel ? host_path(h, rel) : NULL;
	ctx = dir ? kmod_new(dir, &no_config) : NULL;
	free(dir);
	free(rel);
	if (!ctx)
		return NULL;
	kmod_set_log_fn(ctx, quiet, NULL);
	kmod_load_resources(ctx);
	return host_remember(h, "libkmod, bare", kernel, ctx, drop_context) ? NULL : ctx;
}

/* What an index alone makes of a name, whatever modprobe.d says. 0 or -ENOMEM. */
static int look_up(const struct host *h, const char *kernel, const char *name,
		   struct kmod_list **list)
{
	struct kmod_ctx *ctx = bare_context(h, kernel);

	*list = NULL;
	if (ctx)
		kmod_module_new_from_lookup(ctx, name, list);
	return ctx ? 0 : -ENOMEM;
}

/* An alias line for a module that is there: its file is what devices load. */
static int behind_alias(const struct host *h, const char *kernel,
			const char *name, struct modprobe *out)
{
	struct kmod_list *list;
	struct kmod_module *mod;
	int err = look_up(h, kernel, name, &list);

	if (list) {
		mod = kmod_module_get_module(list);
		if (kmod_module_get_path(mod)) {
			out->file = strdup(kmod_module_get_path(mod));
			err = out->file ? 0 : -ENOMEM;
		}
		kmod_module_unref(mod);
	}
	kmod_module_unref_list(list);
	return err;
}

static void free_index(void *index)
{
	buf_free(index);
	free(index);
}

/* modules.alias.bin as it is now; NULL: it cannot be read. */
static const struct buf *alias_index(const struct host *h, const char *kernel)
{
	char *rel = text_of("/lib/modules/%s/modules.alias.bin", kernel);
	char *path = rel ? host_path(h, rel) : NULL, *key = NULL;
	struct buf *index = NULL;
	struct stat st;

	if (path && !stat(path, &st))
		key = text_of("%s %llu %lld.%09ld", kernel, (unsigned long long)st.st_ino,
			      (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
	index = key ? host_recall(h, "aliases", key) : NULL;
	if (key && !index) {
		index = calloc(1, sizeof(*index));
		if (index && file_read(path, INDEX_MAX, index))
			*index = (struct buf){ 0 };
		if (index && host_remember(h, "aliases", key, index, free_index))
			index = NULL;
	}
	free(key);
	free(path);
	free(rel);
	return index;
}

/* The same for an alias as it stands there, which costs nothing. */
static bool has_line(const struct host *h, const char *kernel, const char *file, const char *alias)
{
	const struct buf *index = alias_index(h, kernel);
	const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
	char *module = strndup(base, strcspn(base, "."));
	bool has;

	for (char *p = module; p && *p; p++)
		*p = *p == '-' ? '_' : *p;
	has = index && index->data && module &&
	      alias_index_has(index->data, index->len, alias, module);
	free(module);
	return has;
}

int modprobe_knows_alias(const struct host *h, const char *kernel, const char *file,
			 const char *alias)
{
	struct kmod_list *list, *one;
	int knows = has_line(h, kernel, file, alias);

	if (knows)
		return 1;
	knows = look_up(h, kernel, alias, &list);

	kmod_list_foreach(one, list) {
		struct kmod_module *mod = kmod_module_get_module(one);
		const char *path = kmod_module_get_path(mod);

		knows |= path && !strcmp(path, file);
		kmod_module_unref(mod);
	}
	kmod_module_unref_list(list);
	return knows;
}

int modprobe_plan(const struct host *h, const char *kernel, const char *name,
		  struct modprobe *out)
{
	struct kmod_ctx *ctx = context(h, kernel);
	int err;

	memset(out, 0, sizeof(*out));
	if (!ctx)
		return -ENOMEM;
	err = plan_name(ctx, name, FOLLOW_MAX, out);
	if (!err && out->by_name_only)
		err = behind_alias(h, kernel, name, out);
	return err;
}

int modprobe_plan_inside(const struct host *h, const char *kernel, const char *config,
			 const char *name, struct modprobe *out)
{
	struct kmod_ctx *ctx;
	int err = context_of(h, kernel, config, &ctx);

	memset(out, 0, sizeof(*out));
	return err ? err : plan_name(ctx, name, FOLLOW_MAX, out);
}

static enum modprobe_fate fate_of(struct kmod_ctx *ctx, struct kmod_module *mod)
{
	const char *name = kmod_module_get_name(mod);
	const char *line = kmod_module_get_install_commands(mod);
	char *other = NULL;
	enum does does = line ? read_install(line, name, &other) : DOES_LOAD_IT;

	free(other);
	return is_blacklisted(ctx, name) ? FATE_REFUSED : does == DOES_LOAD_IT ? FATE_LOADS :
	       does == DOES_UNCLEAR ? FATE_UNCLEAR : FATE_REFUSED;
}

int modprobe_asked(const struct host *h, const char *kernel, const char *config, const char *alias,
		   int (*fn)(void *arg, const char *module, const char *path,
			     enum modprobe_fate fate), void *arg)
{
	struct kmod_list *list = NULL, *one;
	struct kmod_ctx *ctx;
	int ret = context_of(h, kernel, config, &ctx);

	if (!ret)
		kmod_module_new_from_lookup(ctx, alias, &list);
	kmod_list_foreach(one, list) {
		struct kmod_module *mod = kmod_module_get_module(one);

		if (!ret && !is_builtin(mod))
			ret = fn(arg, kmod_module_get_name(mod), kmod_module_get_path(mod),
				 fate_of(ctx, mod));
		kmod_module_unref(mod);
	}
	kmod_module_unref_list(list);
	return ret;
}

int modprobe_blacklists(const struct host *h, const char *kernel, const char *config,
			const char *name)
{
	struct kmod_ctx *ctx;
	int err = context_of(h, kernel, config, &ctx);

	return err ? err : is_blacklisted(ctx, name);
}

int modprobe_maps(const struct host *h, const char *kernel, const char *device, const char *module)
{
	struct kmod_config_iter *i;
	struct kmod_ctx *ctx;
	int maps = context_of(h, kernel, NULL, &ctx);

	if (maps)
		return maps;
	i = kmod_config_get_aliases(ctx);
	while (i && !maps && kmod_config_iter_next(i))
		maps = same_name(kmod_config_iter_get_value(i), module) &&
		       !fnmatch(kmod_config_iter_get_key(i), device, 0);
	kmod_config_iter_free_iter(i);
	return maps;
}

/* The lines of one kind. */
typedef struct kmod_config_iter *lines_fn(const struct kmod_ctx *ctx);

static bool same_lines(const struct kmod_ctx *a, const struct kmod_ctx *b, lines_fn *lines)
{
	struct kmod_config_iter *i = lines(a), *j = lines(b);
	bool more = true, same = true;

	while (same && more) {
		more = i && kmod_config_iter_next(i);
		same = more == (j && kmod_config_iter_next(j));
		if (more && same) {
			const char *x = kmod_config_iter_get_value(i);
			const char *y = kmod_config_iter_get_value(j);

			same = !strcmp(kmod_config_iter_get_key(i), kmod_config_iter_get_key(j)) &&
			       !strcmp(x ? x : "", y ? y : "");
		}
	}
	kmod_config_iter_free_iter(i);
	kmod_config_iter_free_iter(j);
	return same;
}

/* Is one of the host's lines of a module that is there? */
static bool is_of_any(const struct kmod_ctx *ctx, lines_fn *lines,
		      bool (*has)(void *arg, const char *module), void *arg)
{
	struct kmod_config_iter *i = lines(ctx);
	bool is = false;

	while (i && !is && kmod_config_iter_next(i)) {
		const char *name = kmod_config_iter_get_key(i);

		/* An install line may be of a pattern. */
		is = strpbrk(name, "*?[") || has(arg, name);
	}
	kmod_config_iter_free_iter(i);
	return is;
}

/* Does an alias line lead to a module that is there? */
static bool leads_to_any(const struct kmod_ctx *ctx, bool (*has)(void *arg, const char *module),
			 void *arg)
{
	struct kmod_config_iter *i = kmod_config_get_aliases(ctx);
	bool leads = false;

	while (i && !leads && kmod_config_iter_next(i))
		leads = has(arg, kmod_config_iter_get_value(i));
	kmod_config_iter_free_iter(i);
	return leads;
}

static bool is_named(void *arg, const char *module)
{
	const char *const *names = arg;

	while (*names && !same_name(module, *names))
		names++;
	return *names;
}

int modprobe_aliases_any(const struct host *h, const char *kernel, const char *const *names)
{
	struct kmod_ctx *ctx;
	int err = context_of(h, kernel, NULL, &ctx);

	return err ? err : leads_to_any(ctx, is_named, (void *)names);
}

int modprobe_compare_rules(const struct host *h, const char *kernel, const char *config,
			   bool (*has)(void *arg, const char *module), void *arg)
{
	struct kmod_ctx *ours, *its;
	int err = context_of(h, kernel, NULL, &ours);
	bool same_aliases, same_rest;

	if (!err)
		err = context_of(h, kernel, config, &its);
	if (err)
		return err;
	same_aliases = same_lines(ours, its, kmod_config_get_aliases);
	same_rest = same_lines(ours, its, kmod_config_get_blacklists) &&
		    same_lines(ours, its, kmod_config_get_install_commands);
	if (!same_aliases && leads_to_any(its, has, arg))
		return RULES_LET;
	/* What the host refuses has a line there. */
	if (!same_rest && (is_of_any(ours, kmod_config_get_blacklists, has, arg) ||
			   is_of_any(ours, kmod_config_get_install_commands, has, arg)))
		return RULES_LET;
	return same_aliases ? RULES_SAME : RULES_OTHER_ALIASES;
}

static bool has_option(const struct kmod_ctx *ctx, const char *module, const char *option)
{
	struct kmod_config_iter *i = kmod_config_get_options(ctx);
	bool has = false;

	while (i && !has && kmod_config_iter_next(i))
		has = same_name(kmod_config_iter_get_key(i), module) &&
		      !strcmp(kmod_config_iter_get_value(i), option);
	kmod_config_iter_free_iter(i);
	return has;
}

int modprobe_more_options(const struct host *h, const char *kernel, const char *config,
			  const char *module)
{
	struct kmod_ctx *ours, *its;
	struct kmod_config_iter *i;
	int more = context_of(h, kernel, NULL, &ours);

	if (!more)
		more = context_of(h, kernel, config, &its);
	if (more)
		return more;
	i = kmod_config_get_options(its);
	while (i && !more && kmod_config_iter_next(i))
		more = same_name(kmod_config_iter_get_key(i), module) &&
		       !has_option(ours, module, kmod_config_iter_get_value(i));
	kmod_config_iter_free_iter(i);
	return more;
}

int modprobe_request(const struct host *h, const char *kernel, const char *name,
		     struct modprobe *out)
{
	struct kmod_ctx *ctx = context(h, kernel);
	struct planning p = { .m = out };
	struct kmod_list *list = NULL, *one;
	int err = ctx ? kmod_module_new_from_lookup(ctx, name, &list) : -ENOMEM;

	memset(out, 0, sizeof(*out));
	if (err >= 0)
		err = list ? 0 : -ENOENT;
	kmod_list_foreach(one, list) {
		struct kmod_module *mod = kmod_module_get_module(one);
		const char *path = kmod_module_get_path(mod), *called = kmod_module_get_name(mod);
		const char *line = kmod_module_get_install_commands(mod);

		/* It is asked for by an alias, and so the blacklist counts. */
		if (!path)
			out->builtin |= is_builtin(mod);
		else if (is_blacklisted(ctx, called))
			out->blacklisted = true;
		else if (line)
			set_line(&p, true, "install", called, line);
		else
			add_need(&p, path);
		kmod_module_unref(mod);
	}
	kmod_module_unref_list(list);
	if (p.nomem)
		err = -ENOMEM;
	if (err)
		modprobe_free(out);
	return err;
}

void modprobe_free(struct modprobe *m)
{
	for (size_t i = 0; i < m->need_count; i++)
		free(m->needs[i]);
	free(m->needs);
	free(m->file);
	free(m->line);
	memset(m, 0, sizeof(*m));
}

bool modprobe_exports(const struct host *h, const char *kernel,
		      const char *symbol)
{
	struct kmod_ctx *ctx = context(h, kernel);
	struct kmod_list *list = NULL;
	char *alias = text_of("symbol:%s", symbol);
	bool there = ctx && alias &&
		     kmod_module_new_from_lookup(ctx, alias, &list) >= 0 && list;

	kmod_module_unref_list(list);
	free(alias);
	return there;
}

/* ---- when it changed, and what is loaded by name ---- */

static long long later(long long a, const char *path)
{
	struct stat st;

	/* The time of change: nobody can set that one back. */
	return stat(path, &st) || st.st_ctime < a ? a : st.st_ctime;
}

long long modprobe_config_changed(const struct host *h)
{
	long long last = 0;

	for (size_t i = 0; i < ARRAY_SIZE(config_dirs); i++) {
		char *dir = host_path(h, config_dirs[i]);
		DIR *d = dir ? opendir(dir) : NULL;
		struct dirent *e;

		/* What was taken away shows in the folder alone. */
		if (d)
			last = later(last, dir);
		while (d && (e = readdir(d))) {
			char *path = text_of("%s/%s", dir, e->d_name);

			if (path && str_ends_with(path, ".conf"))
				last = later(last, path);
			free(path);
		}
		if (d)
			closedir(d);
		free(dir);
	}
	return last;
}

const char *modprobe_config_unread(const struct host *h)
{
	char *found = host_recall(h, "modprobe.d", "unread");

	if (found)
		return found;
	for (size_t i = 0; i < ARRAY_SIZE(config_dirs) && !found; i++) {
		char *dir = host_path(h, config_dirs[i]);
		DIR *d = dir ? opendir(dir) : NULL;
		struct dirent *e;

		if (dir && !d && errno != ENOENT && errno != ENOTDIR)
			found = strdup(dir);
		while (d && !found && (e = readdir(d))) {
			char *path = text_of("%s/%s", dir, e->d_name);

			/* A link to nothing is left out by modprobe, too. */
			if (path && str_ends_with(path, ".conf") && access(path, R_OK) < 0 &&
			    errno != ENOENT) {
				found = path;
				path = NULL;
			}
			free(path);
		}
		if (d)
			closedir(d);
		free(dir);
	}
	if (!found)
		found = strdup("");
	return found && !host_remember(h, "modprobe.d", "unread", found, free) ? found : NULL;
}

static bool file_names(const char *path, const char *module)
{
	char *line = NULL, *word;
	size_t room = 0;
	bool found = false;
	FILE *f = fopen(path, "re");

	while (f && !found && getline(&line, &room, f) > 0) {
		word = line + strspn(line, " \t");
		word[strcspn(word, " \t\r\n#;")] = '\0';
		found = same_name(word, module);
	}
	if (f)
		fclose(f);
	free(line);
	return found;
}

bool modprobe_at_boot(const struct host *h, const char *module)
{
	static const char *const dirs[] = {
		"/etc/modules-load.d", "/run/modules-load.d",
		"/usr/local/lib/modules-load.d", "/usr/lib/modules-load.d",
		"/lib/modules-load.d",
	};
	char *path = host_path(h, "/etc/modules");
	bool found = path && file_names(path, module);

	free(path);
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && !found; i++) {
		char *dir = host_path(h, dirs[i]);
		DIR *d = dir ? opendir(dir) : NULL;
		struct dirent *e;

		while (d && !found && (e = readdir(d))) {
			path = text_of("%s/%s", dir, e->d_name);
			found = path && str_ends_with(path, ".conf") &&
				file_names(path, module);
			free(path);
		}
		if (d)
			closedir(d);
		free(dir);
	}
	return found;
}
