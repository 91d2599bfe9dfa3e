// SPDX-License-Identifier: GPL-2.0-or-later
/* The log of a signer: its chain is checked whenever it is read or added to. */
#include "guard/trust/signlog.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/json.h"
#include "guard/base/lock.h"
#include "guard/base/util.h"

#define LOG_MAX (256u << 20)
#define LINE_MAX_BYTES (64u << 10)
#define LOCK_SECONDS 60

static const char ZEROS[] =
	"0000000000000000000000000000000000000000000000000000000000000000";

static int refuse(char **why, char *text)
{
	*why = text;
	return text ? -EBADMSG : -ENOMEM;
}

void signlog_free(struct signlog *l)
{
	free(l->list);
	memset(l, 0, sizeof(*l));
}

const char *signlog_head(const struct signlog *l)
{
	return l->count ? l->list[l->count - 1].hash : ZEROS;
}

static int hash_line(const char *text, size_t len, char hex[65])
{
	unsigned char hash[32];

	if (EVP_Digest(text, len, hash, NULL, EVP_sha256(), NULL) != 1)
		return -ENOMEM;
	hex_encode(hash, sizeof(hash), hex);
	return 0;
}

static struct signlog_line *new_line(struct signlog *l)
{
	struct signlog_line *list = l->list;

	if (!(l->count & (l->count - 1)))
		list = realloc(l->list, (l->count ? 2 * l->count : 1) *
			       sizeof(*list));
	if (!list)
		return NULL;
	l->list = list;
	return &list[l->count];
}

/* Takes a hash of an entry; false: it is none. */
static bool take_hash(struct json_object *o, const char *key, char out[65])
{
	const char *s = json_string(o, key);

	if (!s || strlen(s) != 64 || strspn(s, "0123456789abcdef") != 64)
		return false;
	memcpy(out, s, 65);
	return true;
}

static int take_line(struct signlog *l, const char *text, size_t len, char **why)
{
	struct signlog_line *line = new_line(l);
	size_t number = l->count + 1;
	struct json_object *o;
	char previous[65];
	int err = 0;

	if (!line)
		return -ENOMEM;
	o = len <= LINE_MAX_BYTES ? json_parse(text, len) : NULL;
	if (!o || json_int(o, "schema") != 1 ||
	    !take_hash(o, "previous", previous) ||
	    !take_hash(o, "sha256", line->content) ||
	    !take_hash(o, "signature_sha256", line->signature))
		err = refuse(why, text_of("line %zu is no entry", number));
	else if (json_int(o, "number") != (long long)number)
		err = refuse(why, text_of("line %zu has the number %lld: a line was "
					  "taken out or put in before it", number,
					  json_int(o, "number")));
	else if (strcmp(previous, signlog_head(l)))
		err = refuse(why, number == 1 ?
			     text_of("line 1 names a line before it: the beginning "
				     "is missing") :
			     text_of("line %zu was changed after line %zu was "
				     "written", number - 1, number));
	if (!err)
		err = hash_line(text, len, line->hash);
	if (!err)
		l->count++;
	json_object_put(o);
	return err;
}

static int take_lines(struct signlog *l, const struct buf *b, char **why)
{
	const char *p = (const char *)b->data, *end = p + b->len;
	int err = 0;

	while (p < end && !err) {
		const char *newline = memchr(p, '\n', end - p);

		if (!newline)
			return refuse(why, text_of("its last line has no end: the "
				"rest of an entry whose signature was not given "
				"out, if the machine stopped there; then cut it to "
				"%zu bytes", (size_t)(p - (const char *)b->data)));
		err = take_line(l, p, newline - p, why);
		p = newline + 1;
	}
	return err;
}

int signlog_read(const char *path, struct signlog *out, char **why)
{
	struct buf b;
	int err;

	memset(out, 0, sizeof(*out));
	*why = NULL;
	err = file_read(path, LOG_MAX, &b);
	if (err)
		return err;
	out->size = b.len;
	err = take_lines(out, &b, why);
	buf_free(&b);
	if (err)
		signlog_free(out);
	return err;
}

bool signlog_has(const struct signlog *l, const char *content,
		 const char *signature)
{
	for (size_t i = 0; i < l->count; i++)
		if (!strcmp(l->list[i].content, content) &&
		    !strcmp(l->list[i].signature, signature))
			return true;
	return false;
}

bool signlog_passes(const struct signlog *l, const char *hash)
{
	for (size_t i = 0; i < l->count; i++)
		if (!strcmp(l->list[i].hash, hash))
			return true;
	return false;
}

struct signlog_writer {
	struct signlog log;
	int fd, lock;
};

void signlog_close(struct signlog_writer *w)
{
	if (!w)
		return;
	if (w->fd >= 0)
		close(w->fd);
	if (w->lock >= 0)
		close(w->lock);
	signlog_free(&w->log);
	free(w);
}

int signlog_open(const char *path, struct signlog_writer **out, char **why)
{
	struct signlog_writer *w = calloc(1, sizeof(*w));
	char *lock = text_of("%s.lock", path);
	int err = 0;

	*why = NULL;
	if (!w || !lock) {
		free(lock);
		free(w);
		return -ENOMEM;
	}
	w->fd = -1;
	w->lock = lock_take(lock, LOCK_SECONDS);
	free(lock);
	if (w->lock < 0)
		err = w->lock;
	if (!err)
		/* Also where it can only be added to (chattr +a). */
		w->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC |
			     O_NOFOLLOW | O_NONBLOCK, 0600);
	if (!err && w->fd < 0)
		err = -errno;
	if (!err)
		err = signlog_read(path, &w->log, why);
	if (err)
		signlog_close(w);
	else
		*out = w;
	return err;
}

static void stamp(struct json_object *o)
{
	time_t now = time(NULL);
	char text[32] = "";
	struct tm tm;

	if (gmtime_r(&now, &tm))
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	json_add(o, "time", text);
}

static int write_line(struct signlog_writer *w, const char *text, size_t len)
{
	char *line = text_of("%s\n", text);
	ssize_t n = line ? write(w->fd, line, len + 1) : -1;
	int err = !line ? -ENOMEM : n < 0 ? -errno :
		  (size_t)n != len + 1 ? -ENOSPC : fsync(w->fd) < 0 ? -errno : 0;

	free(line);
	if (err && ftruncate(w->fd, w->log.size) < 0)
		return err;	/* the rest of a line is found by the next reader */
	return err;
}

int signlog_add(struct signlog_writer *w, struct json_object *entry)
{
	struct json_object *o = json_object_new_object();
	const char *text;
	char *why = NULL;
	size_t len;
	int err;

	json_add_int(o, "schema", 1);
	json_add_int(o, "number", w->log.count + 1);
	stamp(o);
	json_add(o, "previous", signlog_head(&w->log));
	json_object_object_foreach(entry, key, value)
		json_object_object_add(o, key, json_object_get(value));
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN |
					      JSON_C_TO_STRING_NOSLASHESCAPE);
	len = strlen(text);
	/* What no reader would take must not get in: no line could follow it. */
	if (len > LINE_MAX_BYTES)
		err = -E2BIG;
	else
		err = write_line(w, text, len);
	if (!err) {
		w->log.size += len + 1;
		err = take_line(&w->log, text, len, &why);
		free(why);
	}
	json_object_put(o);
	json_object_put(entry);
	return err;
}
