// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds a module's copies in initramfs files, and remembers what was found. */
#include "guard/module/copies.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/json.h"
#include "guard/base/parallel.h"
#include "guard/module/initramfs.h"
#include "guard/module/inside.h"
#include "guard/module/modfile.h"
#include "guard/module/modsig.h"

#define CACHE_DIR "/var/cache/kmodkeep"
#define CACHE_FILE CACHE_DIR "/initramfs.json"
#define CACHE_SCHEMA 6
/* Of all modules asked about, in the folders of all kernels. */
#define COPIES_MAX 4096

struct copies_cache {
	const struct host *h;
	struct json_object *old;	/* files as read; may be NULL */
	struct json_object *new;	/* files as of this run */
	bool changed;
};

static char plain(char c)
{
	return c == '-' ? '_' : c;
}

bool is_file_of(const char *path, const char *module)
{
	const char *p = strrchr(path, '/');

	for (p = p ? p + 1 : path; *module && plain(*p) == plain(*module);
	     p++, module++)
		;
	return !*module && (!strcmp(p, ".ko") || !strcmp(p, ".ko.xz") ||
			    !strcmp(p, ".ko.zst") || !strcmp(p, ".ko.gz"));
}

void copies_free(struct copies *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->list[i].module);
		free(c->list[i].path);
		free(c->list[i].link);
		buf_free(&c->list[i].bytes);
	}
	own_modules_free(&c->own);
	inside_free(&c->inside);
	free(c->list);
	memset(c, 0, sizeof(*c));
}

static bool same_name(const char *a, const char *b)
{
	while (*a && plain(*a) == plain(*b)) {
		a++;
		b++;
	}
	return !*a && !*b;
}

const struct copy *copies_find(const struct copies *c, const char *module)
{
	for (size_t i = 0; i < c->count; i++)
		if (!c->list[i].other && !c->list[i].link &&
		    same_name(c->list[i].module, module))
			return &c->list[i];
	return NULL;
}

static struct copy *add(struct copies *c, const char *module, const char *path)
{
	struct copy *list = realloc(c->list, (c->count + 1) * sizeof(*list));
	struct copy *new;

	if (!list)
		return NULL;
	c->list = list;
	new = &list[c->count];
	memset(new, 0, sizeof(*new));
	new->module = strdup(module);
	new->path = path ? strdup(path) : NULL;
	if (!new->module || (path && !new->path)) {
		free(new->module);
		free(new->path);
		return NULL;
	}
	c->count++;
	return new;
}

/* One reading of an archive. */
struct reading {
	const char *release;
	const char *folder;	/* of its modules on disk; NULL: they are not compared */
	char *const *modules;
	size_t count;
	struct copies *out;
};

/* The part of a path in the folder of a kernel that begins with its release. */
static const char *in_modules(const char *path)
{
	const char *of = strstr(path, "lib/modules/");

	return of ? of + strlen("lib/modules/") : NULL;
}

/* The module that a file of the archive is of; NULL: of none that is asked about. */
static const char *wanted(const struct reading *r, const char *path)
{
	if (in_modules(path))
		for (size_t i = 0; i < r->count; i++)
			if (is_file_of(path, r->modules[i]))
				return r->modules[i];
	return NULL;
}

/* A module of the kernel, asked about or not: its path below the folder; NULL: it is none. */
static const char *module_path(const struct reading *r, const char *path)
{
	const char *of = in_modules(path);
	size_t n = strlen(r->release);

	if (!r->folder || !of || strncmp(of, r->release, n) || of[n] != '/' ||
	    !strstr(of, ".ko") || strstr(of, ".."))
		return NULL;
	return of + n + 1;
}

/* The same of one that came with the kernel, and is not asked about. */
static const char *own_path(const struct reading *r, const char *path)
{
	const char *of = module_path(r, path);

	return of && !strncmp(of, "kernel/", 7) && !wanted(r, path) ? of : NULL;
}

static bool want(void *arg, const char *path)
{
	const struct reading *r = arg;

	/* One of another build is enough. */
	return wanted(r, path) || (!r->out->own.other && module_path(r, path)) ||
	       inside_wants(path, r->release);
}

static void sha256_of(const void *data, size_t len, char hex[65])
{
	unsigned char hash[32];

	if (EVP_Digest(data, len, hash, NULL, EVP_sha256(), NULL) == 1)
		hex_encode(hash, sizeof(hash), hex);
}

static int hash_of(struct buf *content, struct copy *c)
{
	struct buf raw = { malloc(content->len + 1), content->len };
	struct modfile m;
	int err;

	if (!raw.data)
		return -ENOMEM;
	memcpy(raw.data, content->data, content->len);
	err = modfile_take(&raw, &m);
	if (!err)
		sha256_of(m.bytes.data, m.bytes.len, c->sha256);
	c->kernel_refuses = !err && m.kernel_refuses;
	modfile_free(&m);
	/* A damaged copy has no hash, and so equals no installed file. */
	return err == -ENOMEM ? err : 0;
}

/* The place for a file of the archive: a later one takes that of an earlier one. */
static struct copy *place_for(struct reading *r, const char *path)
{
	const char *of = in_modules(path);
	size_t n = strlen(r->release);
	struct copy *c;

	for (size_t i = 0; i < r->out->count; i++) {
		c = &r->out->list[i];
		/* lib may be a link to usr/lib there. */
		if (strcmp(in_modules(c->path), of))
			continue;
		buf_free(&c->bytes);
		free(c->link);
		c->link = NULL;
		c->sha256[0] = '\0';
		return c;
	}
	c = r->out->count < COPIES_MAX ? add(r->out, wanted(r, path), path) : NULL;
	/* An archive may hold the modules of other kernels, too. */
	if (c)
		c->other = strncmp(of, r->release, n) || of[n] != '/';
	return c;
}

static int no_place(const struct reading *r)
{
	return r->out->count < COPIES_MAX ? -ENOMEM : -EFBIG;
}

static int found(void *arg, const char *path, struct buf *content)
{
	struct reading *r = arg;
	const char *module = module_path(r, path);
	struct copy *c;
	int err = 0;

	if (inside_wants(path, r->release))
		return inside_take(&r->out->inside, path, content);
	if (module)
		err = inside_take_module(&r->out->inside, r->folder, module, content);
	if (err || !wanted(r, path))
		return err || !own_path(r, path) ? err :
		       own_modules_take(&r->out->own, r->folder, module, content);
	c = place_for(r, path);
	if (!c)
		return no_place(arg);
	c->bytes = *content;
	memset(content, 0, sizeof(*content));
	return hash_of(&c->bytes, c);
}

/* As in weak-updates/: the file itself is another kernel's. */
static int found_link(void *arg, const char *path, const char *target)
{
	struct reading *r = arg;
	const char *module = module_path(r, path);
	struct copy *c;
	int err = 0;

	if (inside_wants(path, r->release))
		return inside_take_link(&r->out->inside, path, target);
	if (module)
		err = inside_take_module(&r->out->inside, r->folder, module, NULL);
	if (err || !wanted(r, path))
		return err;
	c = place_for(r, path);
	if (!c)
		return no_place(arg);
	c->link = strdup(target);
	return c->link ? 0 : -ENOMEM;
}

static int found_empty(void *arg, const char *path, bool elsewhere)
{
	struct reading *r = arg;

	return inside_wants(path, r->release) ?
	       inside_take_empty(&r->out->inside, path, elsewhere) : 0;
}

/* Does the target of a link, "../../R/extra/x.ko" or absolute, mean this path? */
static bool leads_to(const char *link, const char *path)
{
	const char *of = in_modules(link);

	while (!of && !strncmp(link, "../", 3))
		link += 3;
	return in_modules(path) && !strcmp(of ? of : link, in_modules(path));
}

/* What links lead to counts in their place. */
static void follow_links(struct copies *c)
{
	for (size_t i = 0; i < c->count; i++)
		for (size_t j = 0; c->list[i].link && !c->list[i].other && j < c->count; j++)
			if (!c->list[j].link && leads_to(c->list[i].link, c->list[j].path))
				c->list[j].other = false;
}

static bool intree(const struct copy *c)
{
	return strstr(c->path, "/kernel/") != NULL;
}

/*
 * Where the kernel's own module and another are, modprobe takes the other, unless the index
 * has the kernel's own alone.
 */
static void prefer_outside(struct copies *c)
{
	for (size_t i = 0; i < c->count; i++)
		for (size_t j = 0; intree(&c->list[i]) && j < c->count; j++) {
			struct copy *own = &c->list[i], *outside = &c->list[j];

			if (intree(outside) || outside->other || outside->link ||
			    !same_name(own->module, outside->module))
				continue;
			if (own->listed && !own->other && !outside->listed)
				outside->other = true;
			else
				own->other = true;
		}
}

/* A copy is what the index has, or what a link that it has leads to. */
static void look_in_index(const struct reading *r)
{
	size_t n = strlen(r->release);

	for (size_t i = 0; i < r->out->count; i++) {
		struct copy *c = &r->out->list[i], *same;
		const char *of = in_modules(c->path);

		if (strncmp(of, r->release, n) || of[n] != '/' || (!c->link && c->other) ||
		    !inside_lists(&r->out->inside, of + n + 1))
			continue;
		c->listed = true;
		for (size_t j = 0; j < r->out->count && c->link; j++) {
			same = &r->out->list[j];
			same->listed |= !same->link && leads_to(c->link, same->path);
		}
	}
}

struct copies_cache *copies_cache_open(const struct host *h)
{
	struct copies_cache *c = calloc(1, sizeof(*c));
	char *path = host_path(h, CACHE_FILE);
	struct json_object *doc = path ? json_read(path) : NULL;

	free(path);
	if (c) {
		c->h = h;
		c->new = json_object_new_object();
		if (doc && json_int(doc, "schema") == CACHE_SCHEMA)
			c->old = json_object_get(
				json_object_object_get(doc, "files"));
	}
	json_object_put(doc);
	return c;
}

/* Only for the next run to be quick: an error costs time, nothing else. */
static void save(struct copies_cache *c)
{
	struct json_object *doc = json_object_new_object();
	char *dir = host_path(c->h, CACHE_DIR);
	char *path = host_path(c->h, CACHE_FILE);

	json_object_object_add(doc, "schema",
			       json_object_new_int(CACHE_SCHEMA));
	json_object_object_add(doc, "files", json_object_get(c->new));
	if (dir && path) {
		const char *text = json_text(doc);

		mkdir(dir, 0755);
		file_replace(path, text, strlen(text), 0644);
	}
	free(dir);
	free(path);
	json_object_put(doc);
}

void copies_cache_close(struct copies_cache *c)
{
	if (!c)
		return;
	if (c->changed)
		save(c);
	json_object_put(c->old);
	json_object_put(c->new);
	free(c);
}

/* Equal for a file that nobody wrote to; malloc'ed, NULL: it is not there. */
static char *identity_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return NULL;
	return text_of("%s:%llu:%llu:%lld:%lld.%09ld:%lld.%09ld", path,
		       (unsigned long long)st.st_dev,
		       (unsigned long long)st.st_ino, (long long)st.st_size,
		       (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec,
		       (long long)st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
}

/* The same of all the files of an initramfs. */
static char *identity(const struct archives *of)
{
	char *all = strdup("");

	for (size_t i = 0; i < of->count && all; i++) {
		char *one = identity_of(of->files[i]);
		char *more = one ? text_of("%s%s\n", all, one) : NULL;

		free(one);
		free(all);
		all = more;
	}
	return all;
}

/* The folder of a kernel's modules; malloc'ed. */
static char *folder_of(const struct host *h, const char *release)
{
	char *rel = text_of("/lib/modules/%s", release);
	char *path = rel ? host_path(h, rel) : NULL;

	free(rel);
	return path;
}

static bool recall_text(struct json_object *from, const char *key, char **to)
{
	const char *text = json_string(from, key);

	*to = text ? strdup(text) : NULL;
	return !text || *to;
}

/* false: it is not remembered or not of what is on disk now, and so is read again. */
static bool recall_own(const struct host *h, const char *release, struct json_object *file,
		       struct own_modules *own)
{
	struct json_object *of = json_object_object_get(file, "own");
	const char *was = json_string(of, "stamp"), *all = json_string(of, "paths");
	const char *paths = all ? all : "";	/* an empty text is not kept */
	char *folder = was && !strstr(paths, "..") ? folder_of(h, release) : NULL;
	char is[65];
	bool same = folder && own_modules_stamp(paths, folder, is) && !strcmp(was, is);

	free(folder);
	return same && recall_text(of, "paths", &own->paths) &&
	       recall_text(of, "other", &own->other) &&
	       recall_text(of, "unsure", &own->unsure);
}

static bool recall_inside(const struct host *h, const char *release, struct json_object *file,
			  struct inside *in)
{
	struct json_object *of = json_object_object_get(file, "inside");
	const char *was = json_string(of, "stamp"), *others = json_string(of, "others");
	char *folder = was ? folder_of(h, release) : NULL;
	char is[65];
	bool same = folder && own_modules_stamp(others ? others : "", folder, is) &&
		    !strcmp(was, is);

	free(folder);
	in->dracut = json_object_get_boolean(json_object_object_get(of, "dracut"));
	in->indexed = json_object_get_boolean(json_object_object_get(of, "indexed"));
	return same && recall_text(of, "config", &in->config) &&
	       recall_text(of, "others", &in->others) && recall_text(of, "gone", &in->gone) &&
	       recall_text(of, "forced", &in->forced) && recall_text(of, "unsure", &in->unsure) &&
	       recall_text(of, "dangling", &in->dangling) &&
	       recall_text(of, "cmdline", &in->cmdline);
}

/* What is remembered, if it is of this file and of all the modules. */
static bool recall(const struct host *h, const char *release, struct json_object *file,
		   const char *id, char *const *modules, size_t count, struct copies *out)
{
	const char *was = json_string(file, "identity");
	struct json_object *all = json_object_object_get(file, "modules");

	if (!was || strcmp(was, id) || !all)
		return false;
	if (!recall_own(h, release, file, &out->own) ||
	    !recall_inside(h, release, file, &out->inside))
		goto unknown;
	for (size_t i = 0; i < count; i++) {
		struct json_object *of;
		struct copy *c;

		if (!json_object_object_get_ex(all, modules[i], &of))
			goto unknown;
		if (!of)
			continue;
		c = json_string(of, "sha256") ? add(out, modules[i], NULL) : NULL;
		if (!c)
			goto unknown;
		snprintf(c->sha256, sizeof(c->sha256), "%s", json_string(of, "sha256"));
		c->listed = json_object_get_boolean(json_object_object_get(of, "listed"));
		c->kernel_refuses =
			json_object_get_boolean(json_object_object_get(of, "kernel_refuses"));
	}
	return true;
unknown:
	copies_free(out);
	return false;
}

static struct json_object *remember_own(const struct own_modules *own, const char *stamp)
{
	struct json_object *of = json_object_new_object();

	json_add(of, "paths", own->paths);
	json_add(of, "stamp", stamp);
	json_add(of, "other", own->other);
	json_add(of, "unsure", own->unsure);
	return of;
}

static struct json_object *remember_inside(const struct inside *in, const char *folder)
{
	struct json_object *of = json_object_new_object();
	char stamp[65];

	json_add(of, "config", in->config);
	json_add(of, "others", in->others);
	json_add(of, "gone", in->gone);
	json_add(of, "forced", in->forced);
	json_add(of, "unsure", in->unsure);
	json_add(of, "dangling", in->dangling);
	json_add(of, "cmdline", in->cmdline);
	json_add_bool(of, "indexed", in->indexed);
	json_add_bool(of, "dracut", in->dracut);
	if (own_modules_stamp(in->others ? in->others : "", folder, stamp))
		json_add(of, "stamp", stamp);
	return of;
}

static struct json_object *remember_copy(const struct copy *c)
{
	struct json_object *of = json_object_new_object();

	json_object_object_add(of, "sha256", json_object_new_string(c->sha256));
	json_add_bool(of, "listed", c->listed);
	json_add_bool(of, "kernel_refuses", c->kernel_refuses);
	return of;
}

/* null stands for "looked for, and not there". */
static struct json_object *remember(const char *id, const char *folder, char *const *modules,
				    size_t count, const struct copies *c)
{
	struct json_object *file = json_object_new_object();
	struct json_object *all = json_object_new_object();

	json_add(file, "identity", id);
	for (size_t i = 0; i < count; i++) {
		const struct copy *copy = copies_find(c, modules[i]);

		json_object_object_add(all, modules[i], copy ? remember_copy(copy) : NULL);
	}
	json_object_object_add(file, "modules", all);
	json_object_object_add(file, "own", remember_own(&c->own, c->own_stamp));
	json_object_object_add(file, "inside", remember_inside(&c->inside, folder));
	return file;
}

/* One call of copies_read(): its threads share what none of them changes. */
struct search {
	const struct archives *kernels;
	char *const *modules;
	size_t count;
	struct copies *out;
	char **ids;		/* by kernel; NULL: there is no need to read */
	char **folders;		/* by kernel, of its modules */
};

static void search_one(void *arg, size_t i)
{
	const struct search *s = arg;
	const struct archives *of = &s->kernels[i];
	struct copies *out = &s->out[i];
	struct reading r = { of->release, s->folders[i], s->modules, s->count, out };
	struct cpio_reader reader = { want, found, found_link, found_empty, &r };

	for (size_t f = 0; s->ids[i] && f < of->count && !out->err; f++) {
		out->err = initramfs_read(of->files[f], &reader);
		out->unread = out->err ? of->files[f] : NULL;
	}
	if (s->ids[i]) {
		follow_links(out);
		look_in_index(&r);
		prefer_outside(out);
		if (!out->err)
			out->err = inside_end(&out->inside);
		if (!out->err)
			out->err = own_modules_end(&out->own, out->own_stamp);
	}
}

/* What the cache knows is taken from there; the rest gets an identity. */
static int prepare(const struct host *h, const struct search *s, struct copies_cache *cache,
		   bool fresh, size_t i)
{
	const struct archives *of = &s->kernels[i];
	struct json_object *file = NULL;
	char *id;

	s->folders[i] = h ? folder_of(h, of->release) : NULL;
	if (h && !s->folders[i])
		return -ENOMEM;
	if (!of->count)
		return 0;
	id = identity(of);
	/* One that is not there is asked for, to say why. */
	s->ids[i] = id ? id : strdup("");
	if (!s->ids[i])
		return -ENOMEM;
	if (id && cache)
		json_object_object_get_ex(cache->old, of->release, &file);
	if (!file || fresh ||
	    !recall(cache->h, of->release, file, id, s->modules, s->count, &s->out[i]))
		return 0;
	json_object_object_add(cache->new, of->release, json_object_get(file));
	free(s->ids[i]);
	s->ids[i] = NULL;
	return 0;
}

static int finish(const struct search *s, struct copies_cache *cache, size_t i)
{
	const struct copies *out = &s->out[i];

	if (s->ids[i] && *s->ids[i] && cache && !out->err) {
		json_object_object_add(cache->new, s->kernels[i].release,
				       remember(s->ids[i], s->folders[i], s->modules, s->count,
						out));
		cache->changed = true;
	}
	free(s->ids[i]);
	free(s->folders[i]);
	return out->err == -ENOMEM ? -ENOMEM : 0;
}

int copies_read(const struct host *h, struct copies_cache *cache,
		const struct archives *kernels, size_t n, char *const *modules, size_t count,
		bool fresh, struct copies *out)
{
	struct search s = { kernels, modules, count, out, calloc(n + 1, sizeof(*s.ids)),
			    calloc(n + 1, sizeof(*s.folders)) };
	int err = s.ids && s.folders ? 0 : -ENOMEM;

	memset(out, 0, n * sizeof(*out));
	for (size_t i = 0; i < n && !err; i++)
		err = prepare(h, &s, cache, fresh, i);
	if (!err)
		parallel_each(n, search_one, &s);
	for (size_t i = 0; i < n && s.ids && s.folders; i++)
		if (finish(&s, err ? NULL : cache, i))
			err = -ENOMEM;
	free(s.ids);
	free(s.folders);
	return err;
}
