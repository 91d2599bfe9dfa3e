// SPDX-License-Identifier: GPL-2.0-or-later
/* The tree of a host: paths below its root, its tools, its kernel's configuration. */
#include "guard/host/host.h"

#include <errno.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "guard/base/util.h"

struct memo {
	struct memo *next;
	char *kind, *key;
	void *value;
	void (*forget)(void *value);
};

struct host {
	char *root;		/* "" for the running system */
	enum image image;
	struct utsname uts;
	struct memo **memos;	/* so that asking leaves the host itself alone */
};

bool host_has(const struct host *h, const char *path)
{
	char *p = host_path(h, path);
	bool there = p && path_exists(p);

	free(p);
	return there;
}

/* A tree with its own /proc runs one of its kernels, if it has that one. */
static void name_kernel_of_image(struct host *h)
{
	char *release = host_line(h, "/proc/sys/kernel/osrelease"), *rel;

	h->uts.release[0] = '\0';
	rel = release && *release && !strchr(release, '/') ?
	      text_of("/lib/modules/%s", release) : NULL;
	if (rel && host_has(h, rel))
		snprintf(h->uts.release, sizeof(h->uts.release), "%s",
			 release);
	free(rel);
	free(release);
}

/* A mistyped root has no drivers, and so none to lose: so it is refused. */
static int look_at_root(const char *root)
{
	struct stat st;

	return stat(root, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

static int make_host(const char *root, enum image image, struct host **out)
{
	struct host *h = calloc(1, sizeof(*h));
	size_t len;
	int err;

	if (!h)
		return -ENOMEM;
	h->image = image;
	h->root = strdup(root ? root : "");
	h->memos = calloc(1, sizeof(struct memo *));
	if (!h->root || !h->memos) {
		host_free(h);
		return -ENOMEM;
	}
	err = root ? look_at_root(root) : 0;
	if (err) {
		host_free(h);
		return err;
	}
	for (len = strlen(h->root); len && h->root[len - 1] == '/'; len--)
		h->root[len - 1] = '\0';
	if (uname(&h->uts) < 0 || !host_is_live(h))
		name_kernel_of_image(h);
	*out = h;
	return 0;
}

int host_new(const char *root, struct host **out)
{
	return make_host(root, IMAGE_NOT, out);
}

int host_new_image(const char *root, enum image kind, struct host **out)
{
	return make_host(root, kind, out);
}

enum image host_image(const struct host *h)
{
	return h->image;
}

static void memo_free(struct memo *m)
{
	m->forget(m->value);
	free(m->kind);
	free(m->key);
	free(m);
}

void host_free(struct host *h)
{
	if (!h)
		return;
	while (h->memos && *h->memos) {
		struct memo *m = *h->memos;

		*h->memos = m->next;
		memo_free(m);
	}
	free(h->memos);
	free(h->root);
	free(h);
}

void *host_recall(const struct host *h, const char *kind, const char *key)
{
	for (struct memo *m = *h->memos; m; m = m->next)
		if (!strcmp(m->kind, kind) && !strcmp(m->key, key))
			return m->value;
	return NULL;
}

int host_remember(const struct host *h, const char *kind, const char *key,
		  void *value, void (*forget)(void *value))
{
	struct memo *m = calloc(1, sizeof(*m));

	if (!m) {
		forget(value);
		return -ENOMEM;
	}
	m->value = value;
	m->forget = forget;
	m->kind = strdup(kind);
	m->key = strdup(key);
	if (!m->kind || !m->key) {
		memo_free(m);
		return -ENOMEM;
	}
	m->next = *h->memos;
	*h->memos = m;
	return 0;
}

/* Is it made by the kernel, or at each boot? */
static bool of_a_running_system(const char *path)
{
	static const char *const dirs[] = { "/proc", "/sys", "/run", "/dev" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		size_t len = strlen(dirs[i]);

		if (!strncmp(path, dirs[i], len) && (!path[len] || path[len] == '/'))
			return true;
	}
	return false;
}

char *host_path(const struct host *h, const char *path)
{
	/* No process has the number 0. */
	bool nowhere = h->image != IMAGE_NOT && of_a_running_system(path);
	char *p;

	return asprintf(&p, "%s%s", nowhere ? "/proc/0" : h->root, path) < 0 ? NULL : p;
}

/* What a link below the root says; false: it is none. */
static bool link_target(const struct host *h, const char *rel, char *target,
			size_t size)
{
	char *path = host_path(h, rel);
	ssize_t n = path ? readlink(path, target, size - 1) : -1;

	free(path);
	target[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static char *follow_links(const struct host *h, const char *path)
{
	char *rest = strdup(path), *done = strdup(""), target[PATH_MAX];
	int left = 40;

	while (rest && done && *rest) {
		size_t skip = strspn(rest, "/"), len = strcspn(rest + skip, "/");
		char *word = strndup(rest + skip, len), *now = NULL;
		char *behind = strdup(rest + skip + len);

		if (!word || !len || !strcmp(word, ".")) {
			now = strdup(done);
		} else if (!strcmp(word, "..")) {
			now = strndup(done, strrchr(done, '/') ?
				      strrchr(done, '/') - done : 0);
		} else {
			now = text_of("%s/%s", done, word);
			if (now && link_target(h, now, target, sizeof(target))) {
				free(now);
				now = left-- ? strdup(*target == '/' ? "" : done) :
					       NULL;
				free(word);
				word = behind;
				behind = text_of("%s%s", target, word ? word : "");
			}
		}
		free(word);
		free(rest);
		free(done);
		rest = behind;
		done = now;
	}
	free(rest);
	return done;
}

char *host_resolve(const struct host *h, const char *path)
{
	char *rel, *full;

	if (host_is_live(h))
		return path_exists(path) ? strdup(path) : NULL;
	rel = follow_links(h, path);
	full = rel ? host_path(h, *rel ? rel : "/") : NULL;
	free(rel);
	if (full && !path_exists(full)) {
		free(full);
		full = NULL;
	}
	return full;
}

const char *host_root(const struct host *h)
{
	return h->root[0] ? h->root : "/";
}

bool host_is_live(const struct host *h)
{
	return !h->root[0] && h->image == IMAGE_NOT;
}

bool host_may_act(const struct host *h)
{
#ifdef KMODKEEP_TESTING
	/* Built for the tests alone: such a folder stands for the running system. */
	if (h->image == IMAGE_NOT && host_has(h, "/etc/kmodkeep-test-root"))
		return true;
#endif
	return host_is_live(h);
}

const char *host_running_kernel(const struct host *h)
{
	return h->uts.release;
}

char *host_tool(const struct host *h, const char *const *names)
{
	static const char *const dirs[] = {
		"/usr/sbin", "/usr/bin", "/sbin", "/bin",
	};

	for (; *names; names++)
		for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
			char *rel = text_of("%s/%s", dirs[i], *names);
			char *path = rel ? host_path(h, rel) : NULL;

			free(rel);
			if (path && path_exists(path))
				return path;
			free(path);
		}
	return NULL;
}

char *host_line(const struct host *h, const char *path)
{
	char *p = host_path(h, path), *line = NULL;

	if (p && file_read_line(p, &line))
		line = NULL;
	free(p);
	return line;
}

char *host_module_line(const struct host *h, const char *module, const char *file)
{
	char *path = text_of("/sys/module/%s/%s", module, file);
	char *line;

	for (char *p = path ? path + strlen("/sys/module/") : NULL; p && *p && *p != '/'; p++)
		if (*p == '-')
			*p = '_';
	line = path ? host_line(h, path) : NULL;
	free(path);
	return line;
}

bool host_module_loaded(const struct host *h, const char *module)
{
	static const char *const files[] = { "initstate", "srcversion", "taint" };
	bool is = false;

	for (size_t i = 0; i < ARRAY_SIZE(files) && !is; i++) {
		char *line = host_module_line(h, module, files[i]);

		is = line != NULL;
		free(line);
	}
	return is;
}

long long host_boot_time(const struct host *h)
{
	char *path = host_path(h, "/proc/stat");
	long long at = 0;
	struct buf b = { 0 };
	const char *line;

	if (path && !file_read(path, 4 << 20, &b) &&
	    (line = memmem(b.data, b.len, "\nbtime ", 7)))
		sscanf(line, " btime %15lld", &at);
	buf_free(&b);
	free(path);
	return at;
}

char *host_boot_id(const struct host *h)
{
	return host_line(h, "/proc/sys/kernel/random/boot_id");
}

char *host_machine_id(const struct host *h)
{
	char *id = host_line(h, "/etc/machine-id");

	/* systemd writes "uninitialized" into images, or leaves it empty. */
	if (id && strlen(id) != 32) {
		free(id);
		return NULL;
	}
	return id;
}

char *host_machine_digest(const struct host *h)
{
	unsigned char hash[EVP_MAX_MD_SIZE];
	char *id = host_machine_id(h), *text, *hex = NULL;
	unsigned int len = 0;

	text = id && *id ? text_of("kmodkeep fleet %s", id) : NULL;
	if (text && EVP_Digest(text, strlen(text), hash, &len, EVP_sha256(),
			       NULL) == 1)
		hex = malloc(33);
	if (hex)
		hex_encode(hash, 16, hex);
	free(text);
	free(id);
	return hex;
}

static bool started_as_container(const struct host *h)
{
	char *p = host_path(h, "/proc/1/environ");
	struct buf b = { 0 };
	bool found = false;

	if (p && file_read(p, 1 << 20, &b) == 0)
		for (size_t i = 0; i < b.len && !found;
		     i += strnlen((char *)b.data + i, b.len - i) + 1)
			found = b.len - i > 10 &&
				!memcmp(b.data + i, "container=", 10);
	buf_free(&b);
	free(p);
	return found;
}

/* Device and directory that a process has as "/"; malloc'ed, NULL if none. */
static char *root_mount(const char *mountinfo)
{
	char *line = NULL, *found = NULL, where[256];
	size_t room = 0;
	FILE *f = fopen(mountinfo, "re");

	/* id, parent, device, directory of it, mount point: the last one counts. */
	while (f && getline(&line, &room, f) > 0) {
		int dir = 0, end = 0;

		if (sscanf(line, "%*d %*d %n%*s %*s%n %255s", &dir, &end,
			   where) != 1 || strcmp(where, "/"))
			continue;
		free(found);
		found = strndup(line + dir, end - dir);
	}
	free(line);
	if (f)
		fclose(f);
	return found;
}

/*
 * Not by /proc/1/root, which even root may not look at in some confined
 * places, nor by mount IDs, which differ in the name space of a service.
 */
static bool in_chroot(void)
{
	char *here = root_mount("/proc/self/mountinfo");
	char *init = root_mount("/proc/1/mountinfo");
	bool chroot = !here || (init && strcmp(here, init));

	free(here);
	free(init);
	return chroot;
}

/*
 * Container engines leave no mark that all agree on, but each gives a process
 * name space of its own; the first one has this number since Linux 3.8.
 */
static bool in_inner_pid_namespace(void)
{
	static const char first[] = "pid:[4026531836]";
	char name[64];
	ssize_t n = readlink("/proc/self/ns/pid", name, sizeof(name));

	return n > 0 && ((size_t)n != strlen(first) || memcmp(name, first, n));
}

enum place host_place(const struct host *h)
{
	if (h->image != IMAGE_NOT)
		return PLACE_IMAGE;
	if (host_has(h, "/run/systemd/container") ||
	    host_has(h, "/run/.containerenv") || host_has(h, "/.dockerenv") ||
	    started_as_container(h) ||
	    (host_is_live(h) && in_inner_pid_namespace()))
		return PLACE_CONTAINER;
	if (host_is_live(h) && in_chroot())
		return PLACE_CHROOT;
	return PLACE_HOST;
}

const char *place_word(enum place p)
{
	static const char *const words[] = { "host", "container", "chroot", "image" };

	return words[p];
}

bool host_is_immutable(const struct host *h)
{
	return host_has(h, "/run/ostree-booted");
}

/* The text starts with a line break, so that each line is found by one. */
static char *config_value(const char *text, const char *name)
{
	char *line = text_of("\n%s=", name);
	const char *p = line ? strstr(text, line) : NULL;
	size_t len;

	if (p)
		p += strlen(line);
	free(line);
	if (!p)
		return NULL;
	len = strcspn(p, "\n");
	if (len >= 2 && p[0] == '"' && p[len - 1] == '"') {
		p++;
		len -= 2;
	}
	return strndup(p, len);
}

static char *line_break_and(const struct buf *b)
{
	char *text = malloc(b->len + 2);

	if (text) {
		text[0] = '\n';
		memcpy(text + 1, b->data, b->len);
		text[b->len + 1] = '\0';
	}
	return text;
}

/* The text of a kernel's configuration; NULL: there is none to be read. */
static char *config_text(const struct host *h, const char *kernel)
{
	static const char *const where[] = {
		"%s/boot/config-%s",
		"%s/lib/modules/%s/config",
		"%s/lib/modules/%s/build/.config",
		"%s/lib/modules/%s/build/include/config/auto.conf",
	};
	char *text = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(where) && !text; i++) {
		struct buf b = { 0 };
		char *path;

		if (asprintf(&path, where[i], h->root, kernel) < 0)
			return NULL;
		if (file_read(path, 4 << 20, &b) == 0 && b.len)
			text = line_break_and(&b);
		buf_free(&b);
		free(path);
	}
	return text;
}

static const char *config_of(const struct host *h, const char *kernel)
{
	char *text = host_recall(h, "config", kernel);

	if (text)
		return text;
	text = config_text(h, kernel);
	/* What is not there is remembered as well. */
	if (!text)
		text = strdup("");
	return !text || host_remember(h, "config", kernel, text, free) ? NULL : text;
}

/* The same few settings are asked for again with each module. */
char *host_kernel_config(const struct host *h, const char *kernel,
			 const char *name)
{
	char *key = text_of("%s %s", kernel, name), *answer, *value;
	const char *text;

	answer = key ? host_recall(h, "setting", key) : NULL;
	if (!answer && key && (text = config_of(h, kernel))) {
		value = config_value(text, name);
		answer = text_of("%c%s", value ? '=' : ' ', value ? value : "");
		free(value);
		if (!answer || host_remember(h, "setting", key, answer, free))
			answer = NULL;
	}
	free(key);
	return answer && *answer == '=' ? strdup(answer + 1) : NULL;
}
