// SPDX-License-Identifier: GPL-2.0-or-later
/* Compares modules of an initramfs with those on disk, by the ID of their build. */
#include "guard/module/own.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/module/modfile.h"
#include "guard/module/modsig.h"

/* No kernel has so many; an archive of junk may. */
#define OWN_MAX 32768
/* The build ID stands in front of a module; and what of a file unpacks to that. */
#define HEAD_MAX (64u << 10)
#define PACKED_HEAD (256u << 10)

static const char *const suffixes[] = { "", ".xz", ".zst", ".gz" };

void own_modules_free(struct own_modules *o)
{
	free(o->paths);
	free(o->other);
	free(o->unsure);
	EVP_MD_CTX_free(o->stamp);
	memset(o, 0, sizeof(*o));
}

/* Up to n bytes of a file's beginning. 0 or -errno. */
static int read_head(const char *file, size_t n, struct buf *out)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = 0;
	struct stat st;
	ssize_t got = 0;

	if (fd < 0)
		return -errno;
	*out = (struct buf){ malloc(n), 0 };
	if (!out->data)
		err = -ENOMEM;
	else if (fstat(fd, &st) < 0)
		err = -errno;
	else if (!S_ISREG(st.st_mode))
		err = -EINVAL;
	while (!err && out->len < n && (got = read(fd, out->data + out->len, n - out->len))) {
		if (got < 0 && errno != EINTR)
			err = -errno;
		out->len += got > 0 ? got : 0;
	}
	close(fd);
	if (err)
		buf_free(out);
	return err;
}

/* The first n bytes of the module in a file. 0 or -errno. */
static int unpack_head(const char *file, size_t n, struct buf *out)
{
	struct buf raw;
	enum compression type;
	int err = read_head(file, PACKED_HEAD, &raw);

	if (err)
		return err;
	type = compression_of(raw.data, raw.len);
	if (type == COMPRESS_NONE) {
		*out = raw;
		return 0;
	}
	err = decompress_head(type, raw.data, raw.len, n, out);
	buf_free(&raw);
	return err;
}

static const unsigned char *build_id(const struct buf *elf, size_t *n)
{
	return module_section(elf->data, elf->len, ".note.gnu.build-id", n);
}

/* Has the file the same ID at the same place? Then the rest need not be unpacked. */
static bool same_head(const struct buf *copy, const char *file)
{
	size_t n = 0, at, end;
	const unsigned char *id = build_id(copy, &n);
	struct buf head;
	bool same;

	at = id ? id - copy->data : 0;
	end = at + n;
	if (!n || end > HEAD_MAX || unpack_head(file, end, &head))
		return false;
	same = head.len >= end && !memcmp(head.data, copy->data, 4) &&
	       !memcmp(head.data + at, id, n);
	buf_free(&head);
	return same;
}

/* By their IDs, or else by their signatures: a key may be of one build. */
static int same_marks(const struct buf *a, const struct buf *b)
{
	size_t n = 0, m = 0, ends, stops;
	const unsigned char *x = build_id(a, &n), *y = build_id(b, &m);

	if (x && y && n && m)
		return n == m && !memcmp(x, y, n);
	ends = modsig_strip(a->data, a->len);
	stops = modsig_strip(b->data, b->len);
	n = a->len - ends;
	m = b->len - stops;
	if (n && m)
		return n == m && !memcmp(a->data + ends, b->data + stops, n);
	/* What is stripped says nothing of where it is from. */
	return -ENODATA;
}

/* 1, 0, -ENODATA: it cannot be told; or -errno of reading the file. */
static int same_build(const struct buf *copy, const char *file)
{
	struct modfile m;
	int same;

	if (same_head(copy, file))
		return 1;
	same = modfile_read(file, &m);
	if (same)
		return same;
	same = m.bytes.len == copy->len && !memcmp(m.bytes.data, copy->data, copy->len) ? 1 :
	       same_marks(copy, &m.bytes);
	modfile_free(&m);
	return same;
}

/* The module on disk; false: it is not there, or it is not known. */
static bool find_file(const char *folder, const char *path, int len, char file[PATH_MAX],
		      struct stat *st)
{
	for (size_t i = 0; i < ARRAY_SIZE(suffixes); i++) {
		int n = snprintf(file, PATH_MAX, "%s/%.*s%s", folder, len, path, suffixes[i]);

		if (n < PATH_MAX && !stat(file, st))
			return true;
	}
	return false;
}

bool own_module_there(const char *folder, const char *path)
{
	const char *suffix = strstr(path, ".ko");
	char file[PATH_MAX];
	struct stat st;

	return find_file(folder, path, suffix ? suffix + 3 - path : (int)strlen(path), file, &st);
}

static int add_path(struct own_modules *o, const char *path, size_t n)
{
	if (o->room < o->len + n + 2) {
		size_t room = 2 * o->room + n + 4096;
		char *more = realloc(o->paths, room);

		if (!more)
			return -ENOMEM;
		o->paths = more;
		o->room = room;
	}
	memcpy(o->paths + o->len, path, n);
	o->len += n;
	o->paths[o->len++] = '\n';
	o->paths[o->len] = '\0';
	o->count++;
	return 0;
}

static EVP_MD_CTX *stamp_new(void)
{
	EVP_MD_CTX *c = EVP_MD_CTX_new();

	if (c && EVP_DigestInit_ex(c, EVP_sha256(), NULL) != 1) {
		EVP_MD_CTX_free(c);
		c = NULL;
	}
	return c;
}

/* st NULL: the file is not there. */
static bool stamp_add(EVP_MD_CTX *c, const struct stat *st)
{
	const long long is[] = {
		st ? (long long)st->st_dev : 0, st ? (long long)st->st_ino : 0,
		st ? st->st_size : 0, st ? st->st_mtim.tv_sec : 0, st ? st->st_mtim.tv_nsec : 0,
		st ? st->st_ctim.tv_sec : 0, st ? st->st_ctim.tv_nsec : 0,
	};

	return EVP_DigestUpdate(c, is, sizeof(is)) == 1;
}

static bool stamp_end(EVP_MD_CTX *c, char hex[65])
{
	unsigned char hash[32];
	bool good = EVP_DigestFinal_ex(c, hash, NULL) == 1;

	if (good)
		hex_encode(hash, sizeof(hash), hex);
	return good;
}

static int note(char **which, const char *path, size_t n)
{
	if (*which)
		return 0;
	*which = strndup(path, n);
	if (!*which)
		return -ENOMEM;
	make_printable(*which);
	return 0;
}

int own_modules_take(struct own_modules *o, const char *folder, const char *path,
		     struct buf *content)
{
	const char *suffix = strstr(path, ".ko");
	size_t n = suffix ? (size_t)(suffix + 3 - path) : strlen(path);
	char file[PATH_MAX];
	struct modfile m;
	struct stat st;
	int same, err;
	bool there;

	if (!o->stamp && !(o->stamp = stamp_new()))
		return -ENOMEM;
	if (o->count == OWN_MAX || memchr(path, '\n', n)) {
		buf_free(content);
		return note(&o->unsure, path, n);
	}
	there = find_file(folder, path, n, file, &st);
	err = add_path(o, path, n);
	if (!err && !stamp_add(o->stamp, there ? &st : NULL))
		err = -ENOMEM;
	if (err) {
		buf_free(content);
		return err;
	}
	err = modfile_take(content, &m);
	if (err)
		return err == -ENOMEM ? err : note(&o->unsure, path, n);
	if (there) {
		same = same_build(&m.bytes, file);
		o->compared++;
		err = same == 1 ? 0 : same == -ENOMEM ? same :
		      note(same ? &o->unsure : &o->other, path, n);
	}
	modfile_free(&m);
	return err;
}

/* Those that are gone from the disk tell nothing, unless all are. */
int own_modules_end(struct own_modules *o, char hex[65])
{
	if ((!o->stamp && !(o->stamp = stamp_new())) || !stamp_end(o->stamp, hex))
		return -ENOMEM;
	return o->count && !o->compared ? note(&o->unsure, o->paths, strcspn(o->paths, "\n")) : 0;
}

bool own_modules_stamp(const char *paths, const char *folder, char hex[65])
{
	EVP_MD_CTX *c = stamp_new();
	char file[PATH_MAX];
	bool good = c;
	struct stat st;

	for (size_t n; good && *paths; paths += n + (paths[n] == '\n')) {
		n = strcspn(paths, "\n");
		good = stamp_add(c, find_file(folder, paths, n, file, &st) ? &st : NULL);
	}
	good = good && stamp_end(c, hex);
	EVP_MD_CTX_free(c);
	return good;
}
