// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The records of a boot that is kept: lines of JSON in frames of zstd, each of which
 * can be unpacked alone. So the oldest can be left out without packing again, and
 * zstdcat shows them all.
 */
#include "archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "cgroups.h"
#include "tool.h"

/* Bytes of lines in a frame. */
#define FRAME_BYTES (1024 * 1024)

/* A payload of control characters has six bytes for each. */
#define LINE_MAX_BYTES (6 * FLIGHTREC_PAYLOAD_MAX + 4096)

/* Behind the lines; no name of a member is longer, so looking for one stays within. */
#define LINES_SLACK 64

/* ---- reading */

struct archive {
	int fd;
	ZSTD_DCtx *zstd;
	struct json_tokener *tokener;
	char packed[64 * 1024];
	ZSTD_inBuffer in;
	char lines[2 * LINE_MAX_BYTES + LINES_SLACK];
	size_t at, have;
	bool ended;
	size_t state;		/* of the decoder: 0 at the end of a frame */
	struct flightrec_recovered found;
	char channel[FLIGHTREC_NAME_MAX];
	char boot_id[33];
	union {
		struct flightrec_record record;
		char bytes[FLIGHTREC_READ_MIN];
	} buffer;
};

int archive_open(struct archive **archive, const char *boot)
{
	char path[512];
	struct archive *a = calloc(1, sizeof(*a));
	int err;

	if (!a)
		return -ENOMEM;
	snprintf(path, sizeof(path), BOOTS_DIR "/%s/records.jsonl.zst", boot);
	a->fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	err = a->fd < 0 ? -errno : 0;
	a->zstd = ZSTD_createDCtx();
	a->tokener = json_tokener_new();
	a->in.src = a->packed;
	if (!err && (!a->zstd || !a->tokener))
		err = -ENOMEM;
	if (err)
		archive_close(a);
	else
		*archive = a;
	return err;
}

void archive_close(struct archive *a)
{
	if (!a)
		return;
	if (a->fd >= 0)
		close(a->fd);
	ZSTD_freeDCtx(a->zstd);
	if (a->tokener)
		json_tokener_free(a->tokener);
	free(a);
}

/* More lines: 0, or an error; a->ended at the end. */
static int unpack(struct archive *a)
{
	ZSTD_outBuffer out;
	ssize_t n;

	memmove(a->lines, a->lines + a->at, a->have - a->at);
	a->have -= a->at;
	a->at = 0;
	if (a->in.pos == a->in.size) {
		n = read(a->fd, a->packed, sizeof(a->packed));
		if (n < 0)
			return -errno;
		a->in.size = n;
		a->in.pos = 0;
		if (!n) {
			a->ended = true;
			/* It ends within a frame: it is cut. */
			return a->state ? -EBADMSG : 0;
		}
	}
	out = (ZSTD_outBuffer) { a->lines, sizeof(a->lines) - LINES_SLACK, a->have };
	a->state = ZSTD_decompressStream(a->zstd, &out, &a->in);
	a->have = out.pos;
	return ZSTD_isError(a->state) ? -EBADMSG : 0;
}

static bool text_member(struct json_object *object, const char *key, char *to, size_t size)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    (size_t)json_object_get_string_len(value) >= size)
		return false;
	strcpy(to, json_object_get_string(value));
	return true;
}

static bool flag_member(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value) && json_object_get_boolean(value);
}

static bool parse_payload(struct archive *a, struct json_object *object)
{
	char *to = a->buffer.bytes + sizeof(struct flightrec_record);
	struct json_object *value;
	const char *text;
	unsigned int byte;
	size_t len, i;

	if (json_object_object_get_ex(object, "text", &value)) {
		len = json_object_get_string_len(value);
		if (len > FLIGHTREC_PAYLOAD_MAX)
			return false;
		memcpy(to, json_object_get_string(value), len);
	} else {
		text = json_text(object, "payload_hex");
		len = strlen(text) / 2;
		if (len > FLIGHTREC_PAYLOAD_MAX ||
		    strspn(text, "0123456789abcdef") != strlen(text))
			return false;
		for (i = 0; i < len; i++) {
			sscanf(text + 2 * i, "%2x", &byte);
			to[i] = byte;
		}
	}
	a->buffer.record.len = len;
	a->buffer.record.size = sizeof(struct flightrec_record) + (len + 7) / 8 * 8;
	return true;
}

/* ---- a line as print_json() writes it: most of them, ten times as fast */

/* What is next is @text: past it, or NULL; NULL stays NULL. */
static const char *past(const char *at, const char *text, size_t len)
{
	return at && !memcmp(at, text, len) ? at + len : NULL;
}

#define PAST(at, text) past(at, text, sizeof(text) - 1)

static const char *take_number(const char *at, uint64_t max, uint64_t *value)
{
	const char *from = at;

	*value = 0;
	/* Nineteen digits never overflow; more are rare. */
	for (; at && *at >= '0' && *at <= '9' && at - from < 19; at++)
		*value = *value * 10 + (*at - '0');
	return at && at != from && (*at < '0' || *at > '9') && *value <= max ? at : NULL;
}

static const char *take_flag(const char *at, bool *value)
{
	const char *yes = PAST(at, "true");

	*value = yes;
	return yes ? yes : PAST(at, "false");
}

/* A string up to its quotation mark; with an escape that is none of these: NULL. */
static const char *take_text(const char *at, char *to, size_t room, size_t *len)
{
	static const char escapes[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
	const char *escape, *from;
	size_t n = 0;

	while (at) {
		for (from = at; *at != '"' && *at != '\\' && (unsigned char)*at >= ' '; at++)
			;
		if ((size_t)(at - from) > room - n)
			return NULL;
		memcpy(to + n, from, at - from);
		n += at - from;
		if (*at == '"')
			break;
		escape = *at == '\\' && at[1] ? strchr(escapes, at[1]) : NULL;
		if (!escape || n == room)
			return NULL;
		to[n++] = meant[escape - escapes];
		at += 2;
	}
	*len = n;
	return at ? at + 1 : NULL;
}

static const char *take_word(const char *at, char *to, size_t size)
{
	size_t len = 0;

	at = take_text(at, to, size - 1, &len);
	to[at ? len : 0] = '\0';
	return at;
}

/* The next member, which is a number. */
#define TAKE(at, key, max, member) do { \
	at = take_number(PAST(at, ",\"" key "\":"), max, &number); \
	(member) = number; \
} while (0)

static const char *take_stamp(const char *at, struct flightrec_record *r)
{
	const char *kernel;
	uint64_t number;
	bool interrupt;

	TAKE(at, "seq", UINT64_MAX, r->seq);
	TAKE(at, "lost", UINT64_MAX, r->lost);
	TAKE(at, "boot_ns", UINT64_MAX, r->boot_ns);
	TAKE(at, "wall_ns", UINT64_MAX, r->wall_ns);
	TAKE(at, "severity", 7, r->severity);
	kernel = PAST(at, ",\"origin\":\"kernel\"");
	r->origin = kernel ? FLIGHTREC_ORIGIN_KERNEL : FLIGHTREC_ORIGIN_USER;
	at = kernel ? kernel : PAST(at, ",\"origin\":\"user\"");
	at = take_flag(PAST(at, ",\"interrupt\":"), &interrupt);
	r->flags = interrupt ? FLIGHTREC_F_INTERRUPT : 0;
	TAKE(at, "pid", UINT32_MAX, r->pid);
	TAKE(at, "tgid", UINT32_MAX, r->tgid);
	TAKE(at, "uid", UINT32_MAX, r->uid);
	TAKE(at, "euid", UINT32_MAX, r->euid);
	TAKE(at, "cpu", UINT32_MAX, r->cpu);
	/* Where they are known. */
	if (PAST(at, ",\"cgroup\":"))
		TAKE(at, "cgroup", UINT64_MAX, r->cgroup);
	if (PAST(at, ",\"start_ns\":"))
		TAKE(at, "start_ns", UINT64_MAX, r->start_ns);
	return at;
}

static const char *take_found(struct archive *a, const char *at)
{
	struct flightrec_recovered *found = &a->found;
	bool cut = false, conflict = false;
	const char *text = PAST(at, ",\"source\":\"text\"");
	uint64_t number;

	at = text ? text : PAST(at, ",\"source\":\"memory\"");
	at = take_flag(PAST(at, ",\"cut\":"), &cut);
	at = take_flag(PAST(at, ",\"conflict\":"), &conflict);
	TAKE(at, "full_len", UINT32_MAX, found->full_len);
	found->flags = (text ? FLIGHTREC_RECOVERED_TEXT : 0) | (cut ? FLIGHTREC_RECOVERED_CUT : 0) |
		       (conflict ? FLIGHTREC_RECOVERED_CONFLICT : 0);
	return at;
}

/*
 * False: it may be a good line all the same, as of another version; parse_line() tells.
 * The line ends in a newline, at which each step of this ends.
 */
static bool parse_own_line(struct archive *a, const char *line)
{
	struct flightrec_record *r = &a->buffer.record;
	char *payload = a->buffer.bytes + sizeof(*r);
	char comm[sizeof(r->comm)];
	size_t len = 0;
	const char *at;

	memset(r, 0, sizeof(*r));
	at = take_word(PAST(line, "{\"channel\":\""), a->channel, sizeof(a->channel));
	at = take_stamp(at, r);
	at = take_word(PAST(at, ",\"comm\":\""), comm, sizeof(comm));
	memcpy(r->comm, comm, strlen(comm));
	at = take_word(PAST(at, ",\"boot_id\":\""), a->boot_id, sizeof(a->boot_id));
	at = take_found(a, at);
	at = take_text(PAST(at, ",\"text\":\""), payload, FLIGHTREC_PAYLOAD_MAX, &len);
	if (!PAST(at, "}\n") || !r->seq)
		return false;
	r->version = FLIGHTREC_ABI_VERSION;
	r->header_size = sizeof(*r);
	r->len = len;
	r->size = sizeof(*r) + (len + 7) / 8 * 8;
	a->found.record = r;
	a->found.channel = a->channel;
	a->found.boot_id = a->boot_id;
	a->found.file = 0;
	return true;
}

/* ---- any other */

static bool parse_line(struct archive *a, const char *line, size_t len)
{
	struct flightrec_record *r = &a->buffer.record;
	struct json_object *object;
	char comm[sizeof(r->comm)] = "";
	bool ok;

	json_tokener_reset(a->tokener);
	object = json_tokener_parse_ex(a->tokener, line, len);
	if (!object || !json_object_is_type(object, json_type_object)) {
		json_object_put(object);
		return false;
	}
	*r = (struct flightrec_record) {
		.version = FLIGHTREC_ABI_VERSION, .header_size = sizeof(*r),
		.lost = json_number(object, "lost"), .seq = json_number(object, "seq"),
		.boot_ns = json_number(object, "boot_ns"), .wall_ns = json_number(object, "wall_ns"),
		.severity = json_number(object, "severity") & 7,
		.origin = strcmp(json_text(object, "origin"), "kernel") ? FLIGHTREC_ORIGIN_USER :
									 FLIGHTREC_ORIGIN_KERNEL,
		.flags = flag_member(object, "interrupt") ? FLIGHTREC_F_INTERRUPT : 0,
		.pid = json_number(object, "pid"), .tgid = json_number(object, "tgid"),
		.uid = json_number(object, "uid"), .euid = json_number(object, "euid"),
		.cpu = json_number(object, "cpu"),
		.cgroup = json_number(object, "cgroup"), .start_ns = json_number(object, "start_ns"),
	};
	text_member(object, "comm", comm, sizeof(comm));
	memcpy(r->comm, comm, sizeof(comm));
	ok = text_member(object, "channel", a->channel, sizeof(a->channel)) && r->seq &&
	     parse_payload(a, object);
	a->boot_id[0] = '\0';
	text_member(object, "boot_id", a->boot_id, sizeof(a->boot_id));
	a->found = (struct flightrec_recovered) {
		.record = r, .channel = a->channel, .boot_id = a->boot_id,
		.full_len = json_number(object, "full_len"),
		.flags = (strcmp(json_text(object, "source"), "text") ? 0 : FLIGHTREC_RECOVERED_TEXT) |
			 (flag_member(object, "cut") ? FLIGHTREC_RECOVERED_CUT : 0) |
			 (flag_member(object, "conflict") ? FLIGHTREC_RECOVERED_CONFLICT : 0),
	};
	json_object_put(object);
	return ok;
}

int archive_next(struct archive *a, const struct flightrec_recovered **found)
{
	char *line, *end;
	int err;

	for (;;) {
		line = a->lines + a->at;
		end = memchr(line, '\n', a->have - a->at);
		if (end) {
			a->at = end + 1 - a->lines;
			if (!parse_own_line(a, line) && !parse_line(a, line, end - line))
				return -EBADMSG;
			*found = &a->found;
			return 1;
		}
		if (a->ended)
			return a->at == a->have ? 0 : -EBADMSG;
		if (a->have - a->at >= LINE_MAX_BYTES)
			return -EBADMSG;
		err = unpack(a);
		if (err)
			return err;
	}
}

/* ---- writing */

struct frame {
	uint64_t offset, records;
};

struct archive_writer {
	char boot[BOOT_NAME_MAX];
	int fd;
	uint64_t limit, written, start;	/* @start: where what is kept begins */
	ZSTD_CCtx *zstd;
	FILE *lines;
	char *text;
	size_t len;
	struct frame *frames;
	size_t nframes, first;
	uint64_t in_frame;
	char packed[128 * 1024];
	struct archive_sum sum;
};

static void path_of(const struct archive_writer *w, char path[512], const char *suffix)
{
	snprintf(path, 512, BOOTS_DIR "/%s/records.jsonl.zst%s", w->boot, suffix);
}

static int write_all(int fd, const char *bytes, size_t len)
{
	ssize_t n;

	for (; len; bytes += n, len -= n) {
		n = write(fd, bytes, len);
		if (n < 0)
			return -errno;
	}
	return 0;
}

int archive_create(struct archive_writer **writer, const char *boot, uint64_t limit)
{
	struct archive_writer *w = calloc(1, sizeof(*w));
	char path[512];
	int err;

	if (!w)
		return -ENOMEM;
	snprintf(w->boot, sizeof(w->boot), "%s", boot);
	w->limit = limit;
	w->fd = -1;
	err = boot_make(boot);
	path_of(w, path, ".new");
	if (!err)
		w->fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (!err && w->fd < 0)
		err = -errno;
	w->zstd = ZSTD_createCCtx();
	w->lines = open_memstream(&w->text, &w->len);
	if (!err && (!w->zstd || !w->lines))
		err = -ENOMEM;
	if (err)
		archive_abort(w);
	else
		*writer = w;
	return err;
}

static void free_writer(struct archive_writer *w)
{
	if (w->lines)
		fclose(w->lines);
	free(w->text);
	free(w->frames);
	ZSTD_freeCCtx(w->zstd);
	if (w->fd >= 0)
		close(w->fd);
	free(w);
}

void archive_abort(struct archive_writer *w)
{
	char path[512];

	path_of(w, path, ".new");
	if (w->fd >= 0)
		unlink(path);
	free_writer(w);
}

/* Copies @len bytes of the file itself to its beginning. */
static int move_down(struct archive_writer *w)
{
	uint64_t from = w->frames[w->first].offset, to = 0;
	ssize_t n;
	size_t i;

	while (from < w->written) {
		n = pread(w->fd, w->packed, sizeof(w->packed), from);
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		if (pwrite(w->fd, w->packed, n, to) != n)
			return -errno;
		from += n;
		to += n;
	}
	from = w->frames[w->first].offset;
	for (i = w->first; i < w->nframes; i++) {
		w->frames[i - w->first] = w->frames[i];
		w->frames[i - w->first].offset -= from;
	}
	w->nframes -= w->first;
	w->first = 0;
	w->written = to;
	if (ftruncate(w->fd, to) || lseek(w->fd, to, SEEK_SET) < 0)
		return -errno;
	return 0;
}

/* Leaves out the oldest frames that are above the limit. */
static int keep_within(struct archive_writer *w, uint64_t slack)
{
	if (w->written <= w->limit + slack)
		return 0;
	while (w->first + 1 < w->nframes && w->written - w->frames[w->first].offset > w->limit) {
		w->sum.left_out += w->frames[w->first].records;
		w->sum.records -= w->frames[w->first].records;
		w->first++;
	}
	return w->first ? move_down(w) : 0;
}

static int end_frame(struct archive_writer *w)
{
	ZSTD_inBuffer in;
	ZSTD_outBuffer out;
	struct frame *more;
	size_t left;
	int err;

	if (fflush(w->lines))
		return -ENOMEM;
	if (!w->len)
		return 0;
	more = realloc(w->frames, (w->nframes + 1) * sizeof(*more));
	if (!more)
		return -ENOMEM;
	w->frames = more;
	w->frames[w->nframes++] = (struct frame) { w->written, w->in_frame };
	in = (ZSTD_inBuffer) { w->text, w->len, 0 };
	do {
		out = (ZSTD_outBuffer) { w->packed, sizeof(w->packed), 0 };
		left = ZSTD_compressStream2(w->zstd, &out, &in, ZSTD_e_end);
		if (ZSTD_isError(left))
			return -EIO;
		err = write_all(w->fd, w->packed, out.pos);
		if (err)
			return err;
		w->written += out.pos;
	} while (left);
	rewind(w->lines);
	w->in_frame = 0;
	/* Not each time: what is moved is at most half of what was written. */
	return keep_within(w, w->limit);
}

int archive_add(struct archive_writer *w, const struct flightrec_recovered *found)
{
	const struct flightrec_record *record = found->record;
	struct archive_sum *sum = &w->sum;
	struct entry entry = {
		.record = record, .channel = found->channel, .boot_id = found->boot_id,
		.lost = record->lost, .found = found,
	};
	size_t len = record->len < sizeof(sum->last_kernel) - 1 ? record->len :
								 sizeof(sum->last_kernel) - 1;

	print_json(w->lines, &entry);
	if (!sum->records)
		sum->first_wall_ns = record->wall_ns;
	sum->records++;
	sum->lost += record->lost;
	sum->last_wall_ns = record->wall_ns;
	sum->last_boot_ns = record->boot_ns;
	sum->memory |= !(found->flags & FLIGHTREC_RECOVERED_TEXT);
	if (!strcmp(found->channel, "kernel")) {
		memset(sum->last_kernel, 0, sizeof(sum->last_kernel));
		memcpy(sum->last_kernel, flightrec_payload(record), len);
	}
	w->in_frame++;
	return ftell(w->lines) >= FRAME_BYTES ? end_frame(w) : 0;
}

int archive_commit(struct archive_writer *w, struct archive_sum *sum)
{
	char new[512], path[512];
	int err = end_frame(w);

	if (!err)
		err = keep_within(w, 0);
	if (!err && fsync(w->fd))
		err = -errno;
	path_of(w, new, ".new");
	path_of(w, path, "");
	if (!err && rename(new, path))
		err = -errno;
	*sum = w->sum;
	if (err)
		archive_abort(w);
	else
		free_writer(w);
	return err;
}

/* ---- the newest ones */

void archive_tail_free(struct kept **tail, int count)
{
	while (count-- > 0)
		free(tail[count]);
	free(tail);
}

static struct kept *keep(const struct flightrec_recovered *found)
{
	struct kept *kept = malloc(sizeof(*kept) + found->record->size);

	if (!kept)
		return NULL;
	kept->found = *found;
	snprintf(kept->channel, sizeof(kept->channel), "%s", found->channel);
	snprintf(kept->boot_id, sizeof(kept->boot_id), "%s", found->boot_id);
	memcpy(kept->record, found->record, found->record->size);
	kept->found.record = kept->record;
	kept->found.channel = kept->channel;
	kept->found.boot_id = kept->boot_id;
	return kept;
}

int archive_tail(const char *boot, size_t max, struct kept ***tail)
{
	const struct flightrec_recovered *found;
	struct kept **ring, **row;
	struct archive *archive;
	size_t n = 0, i;
	int got;

	*tail = NULL;
	got = archive_open(&archive, boot);
	if (got)
		return got == -ENOENT ? 0 : got;
	ring = calloc(max, sizeof(*ring));
	row = calloc(max, sizeof(*row));
	got = ring && row ? 0 : -ENOMEM;
	while (!got && (got = archive_next(archive, &found)) > 0) {
		cgroups_learn(found->channel, found->record);
		free(ring[n % max]);
		ring[n % max] = keep(found);
		got = ring[n % max] ? 0 : -ENOMEM;
		n++;
	}
	archive_close(archive);
	/* Of a damaged file, what comes before the damage is shown. */
	if (got && got != -EBADMSG) {
		for (i = 0; ring && i < max; i++)
			free(ring[i]);
		free(ring);
		free(row);
		return got;
	}
	for (i = 0; i < max && i < n; i++)
		row[i] = ring[(n > max ? n + i : i) % max];
	free(ring);
	*tail = row;
	return n < max ? n : max;
}
