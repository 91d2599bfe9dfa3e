// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * The lines of the recorder in a kernel's log, whatever surrounds them: each
 * has a check of its own, so where lines begin, what stands in front of them
 * and in which order they come does not matter.
 */
#include "recover.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define NEEDLE "flightrec:"

/* A line with colours in it is longer than FLIGHTREC_CRASH_LINE_MAX. */
#define WINDOW 4096

/* Bytes of records that are kept, so many sets and boots: a log may have any number. */
#define KEPT_MAX (24ULL << 20)
#define SETS_MAX 4096
#define BOOTS_MAX 4096

struct text_record {
	char boot_id[9];
	char channel[FLIGHTREC_NAME_MAX];
	uint32_t full_len;
	unsigned int flags, file;
	bool taken;
	uint64_t boot_wall;		/* by which boots are sorted */
	struct flightrec_record record;	/* the payload follows */
};

struct set {
	char boot_id[9];
	uint64_t number, printed, unpublished;	/* the number is 1 again after a reload */
};

struct text {
	struct text_record **records;	/* sorted by number */
	struct text_record **row;	/* in which they are given out */
	size_t nrecords, next;
	uint64_t kept;			/* bytes */
	struct set sets[SETS_MAX];
	size_t nsets;
	char boots[BOOTS_MAX][33];
	size_t nboots;
};

/* ---- one line */

/* What is left of a line to parse. */
struct cursor {
	const char *at, *end;
};

/* The next word, up to @max bytes of it, and the space behind it. */
static bool take_word(struct cursor *cursor, char *word, size_t max)
{
	const char *space = memchr(cursor->at, ' ', cursor->end - cursor->at);
	size_t len = space ? (size_t)(space - cursor->at) : 0;

	if (!len || len > max)
		return false;
	memcpy(word, cursor->at, len);
	word[len] = '\0';
	cursor->at = space + 1;
	return true;
}

static bool take_number(struct cursor *cursor, uint64_t max, uint64_t *number)
{
	char word[21];
	char *end;

	if (!take_word(cursor, word, sizeof(word) - 1) || word[0] < '0' || word[0] > '9')
		return false;
	errno = 0;
	*number = strtoull(word, &end, 10);
	return !*end && !errno && *number <= max;
}

static bool take_u64(struct cursor *cursor, __u64 *to)
{
	uint64_t number;

	if (!take_number(cursor, UINT64_MAX, &number))
		return false;
	*to = number;
	return true;
}

static bool take_u32(struct cursor *cursor, uint32_t max, __u32 *to)
{
	uint64_t number;

	if (!take_number(cursor, max, &number))
		return false;
	*to = number;
	return true;
}

static bool is_hex(const char *text, size_t len)
{
	return strspn(text, "0123456789abcdef") >= len;
}

static bool take_hex(struct cursor *cursor, char *word, size_t len)
{
	return take_word(cursor, word, len) && strlen(word) == len && is_hex(word, len);
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/*
 * Undoes the escapes of @from up to an unescaped quote or space, whichever
 * @until is. Bytes that came out, or -1: no end, not escaped, more than @max.
 */
static ssize_t unescape(struct cursor *cursor, char until, char *to, size_t max)
{
	const char *at = cursor->at;
	size_t n = 0;
	int high, low;

	for (; at < cursor->end && *at != until; n++) {
		if (n >= max || (unsigned char)*at < ' ' || (unsigned char)*at > '~')
			return -1;
		if (*at != '\\') {
			to[n] = *at++;
		} else if (cursor->end - at >= 2 && (at[1] == '\\' || at[1] == '"')) {
			to[n] = at[1];
			at += 2;
		} else {
			high = cursor->end - at >= 4 && at[1] == 'x' ? hex_digit(at[2]) : -1;
			low = high >= 0 ? hex_digit(at[3]) : -1;
			if (low < 0)
				return -1;
			to[n] = high << 4 | low;
			at += 4;
		}
	}
	if (at >= cursor->end)
		return -1;
	cursor->at = at + 1;
	return n;
}

/* The check at the cursor is that of the line from @start to before the space in front of it. */
static bool check_ok(const struct cursor *cursor, const char *start)
{
	char word[9] = "";
	uint32_t check;

	if (cursor->end - cursor->at < 8)
		return false;
	memcpy(word, cursor->at, 8);
	if (!is_hex(word, 8))
		return false;
	check = crc32(0, (const unsigned char *)start, cursor->at - 1 - start);
	return strtoul(word, NULL, 16) == check;
}

/* ---- what the lines say */

static bool known_boot(struct flightrec_recover *recover, const char *boot_id)
{
	struct text *text = recover->text;
	size_t i;

	for (i = 0; i < text->nboots; i++)
		if (!strcmp(text->boots[i], boot_id))
			return true;
	if (text->nboots < BOOTS_MAX)
		strcpy(text->boots[text->nboots++], boot_id);
	else
		recover->counts[FLIGHTREC_RECOVER_OVERFLOW]++;
	return false;
}

bool text_boot(const char *line, char boot_id[33])
{
	struct cursor cursor = { line + 2, line + strlen(line) };
	uint64_t number;
	char id[33], reason[9];

	if (strncmp(line, "B ", 2) || !take_number(&cursor, UINT32_MAX, &number) ||
	    !take_hex(&cursor, id, 32) || !take_number(&cursor, UINT64_MAX, &number) ||
	    !take_word(&cursor, reason, 8) || !check_ok(&cursor, line))
		return false;
	strcpy(boot_id, id);
	return true;
}

static bool parse_begin(struct flightrec_recover *recover, struct cursor cursor, const char *start)
{
	uint64_t version, set;
	char boot_id[33], reason[9];

	if (!take_number(&cursor, UINT32_MAX, &version))
		return false;
	if (version != FLIGHTREC_CRASH_VERSION) {
		recover->counts[FLIGHTREC_RECOVER_OTHER_VERSION]++;
		return true;
	}
	if (!take_hex(&cursor, boot_id, 32) || !take_number(&cursor, UINT64_MAX, &set) ||
	    !take_word(&cursor, reason, 8) || !check_ok(&cursor, start))
		return false;
	known_boot(recover, boot_id);
	return true;
}

static bool parse_end(struct flightrec_recover *recover, struct cursor cursor, const char *start)
{
	struct text *text = recover->text;
	struct set set, *known;
	size_t i;

	if (!take_hex(&cursor, set.boot_id, 8) || !take_number(&cursor, UINT64_MAX, &set.number) ||
	    !take_number(&cursor, FLIGHTREC_CRASH_TEXT_MAX, &set.printed) ||
	    !take_number(&cursor, UINT32_MAX, &set.unpublished) || !check_ok(&cursor, start))
		return false;
	for (i = 0; i < text->nsets; i++) {
		known = &text->sets[i];
		if (known->number == set.number && known->printed == set.printed &&
		    known->unpublished == set.unpublished &&
		    !strcmp(known->boot_id, set.boot_id)) {
			recover->counts[FLIGHTREC_RECOVER_DUPLICATES]++;
			return true;
		}
	}
	if (text->nsets >= SETS_MAX) {
		recover->counts[FLIGHTREC_RECOVER_OVERFLOW]++;
		return true;
	}
	text->sets[text->nsets++] = set;
	recover->counts[FLIGHTREC_RECOVER_UNPUBLISHED] += set.unpublished;
	return true;
}

static uint32_t boot_of(const struct text_record *record)
{
	return strtoul(record->boot_id, NULL, 16);
}

static int keep(struct flightrec_recover *recover, const struct text_record *parsed,
		const char *payload)
{
	struct text *text = recover->text;
	size_t bytes = sizeof(*parsed) + parsed->record.len;
	struct text_record **more;
	struct text_record *record;

	if (text->kept + bytes + sizeof(record) > KEPT_MAX) {
		recover->counts[FLIGHTREC_RECOVER_OVERFLOW]++;
		return 0;
	}
	if (!(text->nrecords & (text->nrecords - 1))) {
		more = realloc(text->records, (text->nrecords ? 2 * text->nrecords : 1) *
						      sizeof(struct text_record *));
		if (!more)
			return -ENOMEM;
		text->records = more;
	}
	record = malloc(bytes);
	if (!record)
		return -ENOMEM;
	*record = *parsed;
	memcpy(record + 1, payload, parsed->record.len);
	text->kept += bytes + sizeof(record);
	text->records[text->nrecords++] = record;
	recover_boot_seen(recover, boot_of(record), record->record.boot_ns, record->record.wall_ns);
	return 0;
}

/* The numbers of an R line, in their order. */
static bool parse_stamp(struct cursor *cursor, struct text_record *r)
{
	struct flightrec_record *record = &r->record;
	char origin[2], mark[2];
	__u32 severity;

	if (!take_u64(cursor, &record->seq) || !take_u64(cursor, &record->boot_ns) ||
	    !take_u64(cursor, &record->wall_ns) || !take_u32(cursor, 7, &severity) ||
	    !take_word(cursor, origin, 1) || !take_u32(cursor, UINT32_MAX, &record->pid) ||
	    !take_u32(cursor, UINT32_MAX, &record->tgid) ||
	    !take_u32(cursor, UINT32_MAX, &record->uid) ||
	    !take_u32(cursor, UINT32_MAX, &record->euid) ||
	    !take_u32(cursor, UINT32_MAX, &record->cpu) ||
	    !take_u32(cursor, FLIGHTREC_PAYLOAD_MAX, &r->full_len) || !take_word(cursor, mark, 1) ||
	    !record->seq || !strchr("uki", origin[0]) || !strchr("=+", mark[0]))
		return false;
	record->severity = severity;
	record->origin = origin[0] == 'u' ? FLIGHTREC_ORIGIN_USER : FLIGHTREC_ORIGIN_KERNEL;
	record->flags = origin[0] == 'i' ? FLIGHTREC_F_INTERRUPT : 0;
	r->flags = FLIGHTREC_RECOVERED_TEXT | (mark[0] == '+' ? FLIGHTREC_RECOVERED_CUT : 0);
	return true;
}

/* 1: a record, 0: it is damaged, or -ENOMEM. */
static int parse_record(struct flightrec_recover *recover, struct cursor cursor, const char *start)
{
	struct text_record r = { .file = recover->file };
	char payload[FLIGHTREC_PAYLOAD_MAX];
	char comm[sizeof(r.record.comm)];
	ssize_t comm_len, len;
	bool whole, nameless;

	if (!take_hex(&cursor, r.boot_id, 8) ||
	    !take_word(&cursor, r.channel, FLIGHTREC_NAME_MAX - 1) ||
	    !flightrec_name_ok(r.channel) || !parse_stamp(&cursor, &r))
		return 0;
	/* A name that is a dash is escaped. */
	nameless = cursor.end - cursor.at > 1 && cursor.at[0] == '-' && cursor.at[1] == ' ';
	comm_len = unescape(&cursor, ' ', comm, sizeof(comm) - 1);
	if (comm_len < 0 || cursor.at >= cursor.end || *cursor.at++ != '"')
		return 0;
	if (!nameless)
		memcpy(r.record.comm, comm, comm_len);
	len = unescape(&cursor, '"', payload, sizeof(payload));
	whole = !(r.flags & FLIGHTREC_RECOVERED_CUT);
	if (len < 0 || (whole ? len != r.full_len : len > r.full_len) ||
	    cursor.at >= cursor.end || *cursor.at++ != ' ' || !check_ok(&cursor, start))
		return 0;
	r.record.version = FLIGHTREC_ABI_VERSION;
	r.record.header_size = sizeof(r.record);
	r.record.len = len;
	r.record.size = sizeof(r.record) + (len + 7) / 8 * 8;
	recover->counts[FLIGHTREC_RECOVER_TEXT_LINES]++;
	return keep(recover, &r, payload) ? -ENOMEM : 1;
}

/* Copies without terminals' escape sequences, up to the end of the line. */
size_t text_plain(const char *from, size_t len, char *to)
{
	size_t i, n = 0;

	for (i = 0; i < len && from[i] && from[i] != '\n' && from[i] != '\r'; i++) {
		if (from[i] != '\033') {
			to[n++] = from[i];
			continue;
		}
		if (i + 1 < len && from[i + 1] == '[')
			for (i += 2; i < len && (unsigned char)from[i] < 0x40 && from[i] >= ' ';)
				i++;
	}
	return n;
}

/* What stands behind the needle: a line of ours, or any message of the driver. */
static int parse_line(struct flightrec_recover *recover, const char *from, size_t len)
{
	char line[WINDOW];
	struct cursor cursor = { line, line + text_plain(from, len, line) };
	const char *start;
	int ok;

	while (cursor.at < cursor.end && *cursor.at == ' ')
		cursor.at++;
	start = cursor.at;
	if (cursor.end - start < 3 || !memchr("BRE", start[0], 3) || start[1] != ' ' ||
	    hex_digit(start[2]) < 0)
		return 0;
	cursor.at += 2;
	if (start[0] == 'R')
		ok = parse_record(recover, cursor, start);
	else if (start[0] == 'B')
		ok = parse_begin(recover, cursor, start);
	else
		ok = parse_end(recover, cursor, start);
	if (ok < 0)
		return ok;
	recover->counts[FLIGHTREC_RECOVER_DAMAGED] += !ok;
	return 0;
}

/* ---- finding them */

/* Looks at all needles that begin before @until; @have bytes are there. */
static int search(struct flightrec_recover *recover, const char *bytes, size_t until, size_t have)
{
	const char *at = bytes;
	size_t left;
	int err;

	for (;;) {
		at = memmem(at, bytes + have - at, NEEDLE, strlen(NEEDLE));
		if (!at || at >= bytes + until)
			return 0;
		at += strlen(NEEDLE);
		left = bytes + have - at;
		err = parse_line(recover, at, left < WINDOW ? left : WINDOW);
		if (err)
			return err;
	}
}

static int scan_chunks(struct flightrec_recover *recover, const struct store *store, char *chunk)
{
	size_t have = 0, until;
	uint64_t at = 0;
	ssize_t n;
	int err;

	while (at < store->size) {
		if (!have)
			at = store_data(store, at);
		n = store_read(store, at, chunk + have, CHUNK);
		if (n < 0)
			return (int)n;
		err = death_bytes(recover, chunk + have, n);
		if (err)
			return err;
		have += n;
		at += n;
		/* What begins in the last part is looked at when the rest is there. */
		until = n && at < store->size && have > WINDOW + strlen(NEEDLE) ?
			have - WINDOW - strlen(NEEDLE) : have;
		err = search(recover, chunk, until, have);
		if (err || !n)
			return err;
		have -= until;
		memmove(chunk, chunk + until, have);
		recover_progress(recover, at);
	}
	return 0;
}

int text_scan(struct flightrec_recover *recover, const struct store *store)
{
	char *chunk = malloc(CHUNK + 2 * WINDOW);
	int err;

	if (!recover->text)
		recover->text = calloc(1, sizeof(*recover->text));
	if (!chunk || !recover->text) {
		free(chunk);
		return -ENOMEM;
	}
	err = death_begin(recover);
	if (!err) {
		err = scan_chunks(recover, store, chunk);
		death_end(recover);
	}
	free(chunk);
	return err;
}

/* ---- giving them out */

static int by_key(const struct text_record *a, const struct text_record *b)
{
	int order = strcmp(a->boot_id, b->boot_id);

	if (!order)
		order = strcmp(a->channel, b->channel);
	if (!order && a->record.seq != b->record.seq)
		order = a->record.seq < b->record.seq ? -1 : 1;
	return order;
}

static int by_bytes(const struct text_record *a, const struct text_record *b)
{
	size_t len = a->record.len < b->record.len ? a->record.len : b->record.len;

	return memcmp(&a->record.boot_ns, &b->record.boot_ns,
		      sizeof(a->record) - offsetof(struct flightrec_record, boot_ns)) ?:
	       memcmp(a + 1, b + 1, len);
}

/* Of a record that is there cut and whole, the whole one comes first. */
static int compare(const void *one, const void *two)
{
	const struct text_record *a = *(struct text_record **)one;
	const struct text_record *b = *(struct text_record **)two;
	int order = by_key(a, b);

	if (!order && a->record.boot_ns != b->record.boot_ns)
		order = a->record.boot_ns < b->record.boot_ns ? -1 : 1;
	if (!order && a->record.len != b->record.len)
		order = a->record.len > b->record.len ? -1 : 1;
	return order ? order : by_bytes(a, b);
}

/* Is @b the same record as @a, perhaps cut? Then they agree in all but their ends. */
static bool same_record(const struct text_record *a, const struct text_record *b)
{
	struct flightrec_record stamp = b->record;

	if (by_key(a, b) || a->full_len != b->full_len || b->record.len > a->record.len)
		return false;
	stamp.len = a->record.len;
	stamp.size = a->record.size;
	return !memcmp(&stamp, &a->record, sizeof(stamp)) && !memcmp(a + 1, b + 1, b->record.len);
}

/* Lines that a set's end speaks of and that are not there. */
static void count_missing(struct flightrec_recover *recover)
{
	struct text *text = recover->text;
	uint64_t printed, there;
	size_t i, j;

	for (i = 0; i < text->nsets; i++) {
		printed = there = 0;
		for (j = 0; j < text->nsets; j++)
			if (!strcmp(text->sets[j].boot_id, text->sets[i].boot_id)) {
				if (j < i)
					break;	/* this boot was counted */
				printed += text->sets[j].printed;
			}
		for (j = 0; printed && j < text->nrecords; j++)
			there += !strcmp(text->records[j]->boot_id, text->sets[i].boot_id);
		if (printed > there)
			recover->counts[FLIGHTREC_RECOVER_MISSING_LINES] += printed - there;
	}
}

static int by_moment(const void *one, const void *two)
{
	const struct text_record *a = *(struct text_record *const *)one;
	const struct text_record *b = *(struct text_record *const *)two;
	struct moment am = { a->boot_wall, boot_of(a), a->record.boot_ns };
	struct moment bm = { b->boot_wall, boot_of(b), b->record.boot_ns };

	if (moment_before(&am, &bm))
		return -1;
	return moment_before(&bm, &am) ? 1 : compare(one, two);
}

/* How many are missing before each; and the row in which they are given out. */
static void line_up(struct flightrec_recover *recover)
{
	struct text *text = recover->text;
	struct text_record *r, *last = NULL;
	size_t i;

	text->row = malloc(text->nrecords * sizeof(struct text_record *));
	for (i = 0; i < text->nrecords; i++) {
		r = text->records[i];
		if (last && !strcmp(last->boot_id, r->boot_id) &&
		    !strcmp(last->channel, r->channel) && last->record.seq < r->record.seq)
			r->record.lost = r->record.seq - last->record.seq - 1;
		r->boot_wall = recover_boot_wall(recover, boot_of(r));
		last = r;
	}
	if (!text->row)		/* then by channel: nothing is kept back */
		return;
	memcpy(text->row, text->records, text->nrecords * sizeof(struct text_record *));
	if (recover->order == FLIGHTREC_RECOVER_BY_TIME)
		qsort(text->row, text->nrecords, sizeof(struct text_record *), by_moment);
}

void text_sort(struct flightrec_recover *recover)
{
	struct text *text = recover->text;
	struct text_record *last;
	size_t i, n = 0;

	if (!text || !text->nrecords)
		return;
	qsort(text->records, text->nrecords, sizeof(struct text_record *), compare);
	for (i = 0; i < text->nrecords; i++) {
		last = n ? text->records[n - 1] : NULL;
		if (last && same_record(last, text->records[i])) {
			recover->counts[FLIGHTREC_RECOVER_DUPLICATES]++;
			free(text->records[i]);
			continue;
		}
		if (last && !by_key(last, text->records[i])) {
			recover->counts[FLIGHTREC_RECOVER_CONFLICTS]++;
			text->records[i]->flags |= FLIGHTREC_RECOVERED_CONFLICT;
		}
		text->records[n++] = text->records[i];
	}
	text->nrecords = n;
	count_missing(recover);
	line_up(recover);
}

bool text_take(struct flightrec_recover *recover, const char *boot_id, const char *channel,
	       const struct flightrec_record *record)
{
	struct text *text = recover->text;
	struct text_record key = { .record.seq = record->seq };
	size_t low = 0, high = text ? text->nrecords : 0;
	bool taken = false;
	size_t mid;

	memcpy(key.boot_id, boot_id, 8);
	strcpy(key.channel, channel);
	while (low < high) {
		mid = low + (high - low) / 2;
		if (by_key(text->records[mid], &key) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; text && low < text->nrecords && !by_key(text->records[low], &key); low++)
		if (text->records[low]->record.boot_ns == record->boot_ns &&
		    text->records[low]->record.len <= record->len &&
		    !memcmp(text->records[low] + 1, flightrec_payload(record),
			    text->records[low]->record.len))
			taken = text->records[low]->taken = true;
	return taken;
}

static const char *full_boot_id(const struct text *text, const char *short_id)
{
	size_t i;

	for (i = 0; i < text->nboots; i++)
		if (!memcmp(text->boots[i], short_id, 8))
			return text->boots[i];
	return short_id;
}

/* The next one that memory did not have. */
static const struct text_record *next_left(struct text *text)
{
	struct text_record **row = text && text->row ? text->row : text ? text->records : NULL;

	while (text && text->next < text->nrecords && row[text->next]->taken)
		text->next++;
	return text && text->next < text->nrecords ? row[text->next] : NULL;
}

int text_peek(struct flightrec_recover *recover, struct moment *moment)
{
	const struct text_record *r = next_left(recover->text);

	if (r)
		*moment = (struct moment) { r->boot_wall, boot_of(r), r->record.boot_ns };
	return r != NULL;
}

int text_next(struct flightrec_recover *recover)
{
	struct text *text = recover->text;
	const struct text_record *r = next_left(text);

	if (r) {
		text->next++;
		memset(recover->buffer.bytes, 0, r->record.size);
		memcpy(recover->buffer.bytes, &r->record, sizeof(r->record));
		memcpy(recover->buffer.bytes + sizeof(r->record), r + 1, r->record.len);
		recover_found(recover, full_boot_id(text, r->boot_id), r->channel, r->full_len,
			      r->flags, r->file);
		return 1;
	}
	return 0;
}

void text_free(struct flightrec_recover *recover)
{
	struct text *text = recover->text;

	if (!text)
		return;
	while (text->nrecords)
		free(text->records[--text->nrecords]);
	free(text->records);
	free(text->row);
	free(text);
}
