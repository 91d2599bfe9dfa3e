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

#include "line.h"

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

/* ---- what the lines say */

static bool take_u64(struct line *cursor, __u64 *to)
{
	uint64_t number;

	if (!line_number(cursor, UINT64_MAX, &number))
		return false;
	*to = number;
	return true;
}

static bool take_u32(struct line *cursor, uint32_t max, __u32 *to)
{
	uint64_t number;

	if (!line_number(cursor, max, &number))
		return false;
	*to = number;
	return true;
}

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

static bool parse_begin(struct flightrec_recover *recover, struct line cursor, const char *start)
{
	uint64_t version, set;
	char boot_id[33], reason[9];

	if (!line_number(&cursor, UINT32_MAX, &version))
		return false;
	if (version != FLIGHTREC_CRASH_VERSION && version != FLIGHTREC_CRASH_VERSION_LINES) {
		recover->counts[FLIGHTREC_RECOVER_OTHER_VERSION]++;
		return true;
	}
	if (!line_hex(&cursor, boot_id, 32) || !line_number(&cursor, UINT64_MAX, &set) ||
	    !line_word(&cursor, reason, 8) || !line_check_ok(&cursor, start))
		return false;
	known_boot(recover, boot_id);
	return true;
}

static bool parse_end(struct flightrec_recover *recover, struct line cursor, const char *start)
{
	struct text *text = recover->text;
	struct set set, *known;
	size_t i;

	if (!line_hex(&cursor, set.boot_id, 8) || !line_number(&cursor, UINT64_MAX, &set.number) ||
	    !line_number(&cursor, FLIGHTREC_CRASH_TEXT_MAX, &set.printed) ||
	    !line_number(&cursor, UINT32_MAX, &set.unpublished) || !line_check_ok(&cursor, start))
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
static bool parse_stamp(struct line *cursor, struct text_record *r)
{
	struct flightrec_record *record = &r->record;
	char origin[2], mark[2];
	__u32 severity;

	if (!take_u64(cursor, &record->seq) || !take_u64(cursor, &record->boot_ns) ||
	    !take_u64(cursor, &record->wall_ns) || !take_u32(cursor, 7, &severity) ||
	    !line_word(cursor, origin, 1) || !take_u32(cursor, UINT32_MAX, &record->pid) ||
	    !take_u32(cursor, UINT32_MAX, &record->tgid) ||
	    !take_u32(cursor, UINT32_MAX, &record->uid) ||
	    !take_u32(cursor, UINT32_MAX, &record->euid) ||
	    !take_u32(cursor, UINT32_MAX, &record->cpu) ||
	    !take_u32(cursor, FLIGHTREC_PAYLOAD_MAX, &r->full_len) || !line_word(cursor, mark, 1) ||
	    !record->seq || !strchr("uki", origin[0]) || !strchr("=+", mark[0]))
		return false;
	record->severity = severity;
	record->origin = origin[0] == 'u' ? FLIGHTREC_ORIGIN_USER : FLIGHTREC_ORIGIN_KERNEL;
	record->flags = origin[0] == 'i' ? FLIGHTREC_F_INTERRUPT : 0;
	r->flags = FLIGHTREC_RECOVERED_TEXT | (mark[0] == '+' ? FLIGHTREC_RECOVERED_CUT : 0);
	return true;
}

/* All that a record has besides its stamp and payload, of which @len bytes are known. */
static void complete(struct text_record *r, size_t len)
{
	r->record.version = FLIGHTREC_ABI_VERSION;
	r->record.header_size = sizeof(r->record);
	r->record.len = len;
	r->record.size = sizeof(r->record) + (len + 7) / 8 * 8;
}

/* 1: a record, 0: it is damaged, or -ENOMEM. */
static int parse_record(struct flightrec_recover *recover, struct line cursor, const char *start)
{
	struct text_record r = { .file = recover->file };
	char payload[FLIGHTREC_PAYLOAD_MAX];
	char comm[sizeof(r.record.comm)];
	ssize_t comm_len, len;
	bool whole, nameless;

	if (!line_hex(&cursor, r.boot_id, 8) ||
	    !line_word(&cursor, r.channel, FLIGHTREC_NAME_MAX - 1) ||
	    !flightrec_name_ok(r.channel) || !parse_stamp(&cursor, &r))
		return 0;
	/* A name that is a dash is escaped. */
	nameless = cursor.end - cursor.at > 1 && cursor.at[0] == '-' && cursor.at[1] == ' ';
	comm_len = line_unescape(&cursor, ' ', comm, sizeof(comm) - 1);
	if (comm_len < 0 || cursor.at >= cursor.end || *cursor.at++ != '"')
		return 0;
	if (!nameless)
		memcpy(r.record.comm, comm, comm_len);
	len = line_unescape(&cursor, '"', payload, sizeof(payload));
	whole = !(r.flags & FLIGHTREC_RECOVERED_CUT);
	if (len < 0 || (whole ? len != r.full_len : len > r.full_len) ||
	    cursor.at >= cursor.end || *cursor.at++ != ' ' || !line_check_ok(&cursor, start))
		return 0;
	complete(&r, len);
	recover->counts[FLIGHTREC_RECOVER_TEXT_LINES]++;
	return keep(recover, &r, payload) ? -ENOMEM : 1;
}

/* A number with a sign, up to @until, which is passed over. */
static bool take_signed(struct line *cursor, char until, uint64_t *to)
{
	const char *at = memchr(cursor->at, until, cursor->end - cursor->at);
	size_t len = at ? (size_t)(at - cursor->at) : 0;
	bool minus = cursor->at < cursor->end && *cursor->at == '-';
	char digits[21] = "";
	char *end;

	if (len <= minus || len - minus >= sizeof(digits))
		return false;
	memcpy(digits, cursor->at + minus, len - minus);
	errno = 0;
	*to = strtoull(digits, &end, 10);
	if (digits[0] < '0' || digits[0] > '9' || *end || errno)
		return false;
	if (minus)
		*to = -*to;
	cursor->at = at + 1;
	return true;
}

static bool take_comm(struct line *cursor, char comm[16])
{
	char text[16];
	ssize_t len = line_unescape(cursor, ' ', text, sizeof(text) - 1);

	if (len < 0)
		return false;
	memset(comm, 0, sizeof(text));
	memcpy(comm, text, len);
	return true;
}

static bool is_number(const struct line *cursor)
{
	return cursor->at < cursor->end &&
	       (*cursor->at == '-' || (*cursor->at >= '0' && *cursor->at <= '9'));
}

/* The word with @letter: in what a record differs from the one before it. */
static bool parse_change(struct line *cursor, char letter, struct flightrec_record *record)
{
	uint64_t number;

	if (letter == 'N')
		return take_comm(cursor, record->comm);
	if (letter == 'W') {
		if (!take_signed(cursor, ' ', &number))
			return false;
		record->wall_ns += number;
		return true;
	}
	if (!line_number(cursor, UINT64_MAX, &number))
		return false;
	switch (letter) {
	case '+':
		record->seq += number;
		return true;
	case 'G':
		record->cgroup = number;
		return true;
	case 'B':
		record->start_ns = number;
		return true;
	case 'S':
		record->severity = number;
		return number <= 7;
	case 'O':
		record->origin = number;
		return number <= FLIGHTREC_ORIGIN_KERNEL;
	case 'F':
		record->flags = number;
		return number <= UINT16_MAX;
	case 'P':
		record->pid = record->tgid = number;
		break;
	case 'Q':
		record->tgid = number;
		break;
	case 'U':
		record->uid = record->euid = number;
		break;
	case 'V':
		record->euid = number;
		break;
	case 'C':
		record->cpu = number;
		break;
	default:
		return false;
	}
	return number <= UINT32_MAX;
}

/* The next record of a G line; @r is the one before it. Its payload's bytes, or -1. */
static ssize_t parse_grouped(struct line *cursor, struct text_record *r, char *payload, size_t room)
{
	struct flightrec_record *record = &r->record;
	uint64_t step, full;
	ssize_t len;
	char letter;

	record->seq++;
	while (cursor->at < cursor->end && !is_number(cursor)) {
		letter = *cursor->at++;
		if (!parse_change(cursor, letter, record))
			return -1;
	}
	if (!take_signed(cursor, '"', &step))
		return -1;
	record->boot_ns += step;
	record->wall_ns += step;
	len = line_unescape(cursor, '"', payload, room);
	if (len < 0 || cursor->at >= cursor->end || !record->seq)
		return -1;
	full = len;
	r->flags = FLIGHTREC_RECOVERED_TEXT;
	if (*cursor->at == '+') {
		cursor->at++;
		r->flags |= FLIGHTREC_RECOVERED_CUT;
		if (!line_number(cursor, FLIGHTREC_PAYLOAD_MAX, &full) || full < (uint64_t)len)
			return -1;
	} else if (*cursor->at++ != ' ') {
		return -1;
	}
	r->full_len = full;
	complete(r, len);
	return len;
}

/* Is it the check that is next? A record's digits have a quote behind them. */
static bool at_check(const struct line *cursor)
{
	const char *at = cursor->at;
	int i;

	while (at < cursor->end && *at >= '0' && *at <= '9')
		at++;
	if (at < cursor->end && *at == '"')
		return false;
	for (i = 0; i < 8; i++)
		if (cursor->end - cursor->at <= i || line_hex_digit(cursor->at[i]) < 0)
			return false;
	return true;
}

/* The records of a G line, which are kept if @keeps: 1, or 0: it is damaged, or -ENOMEM. */
static int parse_group(struct flightrec_recover *recover, struct line cursor, const char *start,
		       bool keeps)
{
	struct text_record r = { .file = recover->file };
	char payload[FLIGHTREC_PAYLOAD_MAX];
	ssize_t len;

	if (!line_hex(&cursor, r.boot_id, 8) ||
	    !line_word(&cursor, r.channel, FLIGHTREC_NAME_MAX - 1) ||
	    !flightrec_name_ok(r.channel) || !take_u64(&cursor, &r.record.seq) ||
	    !take_u64(&cursor, &r.record.boot_ns) || !take_u64(&cursor, &r.record.wall_ns) ||
	    !r.record.seq--)
		return 0;
	while (!at_check(&cursor)) {
		len = parse_grouped(&cursor, &r, payload, sizeof(payload));
		if (len < 0)
			return 0;
		if (keeps) {
			recover->counts[FLIGHTREC_RECOVER_TEXT_LINES]++;
			if (keep(recover, &r, payload))
				return -ENOMEM;
		}
	}
	return line_check_ok(&cursor, start);
}

/* What stands behind the needle: a line of ours, or any message of the driver. */
static int parse_line(struct flightrec_recover *recover, const char *from, size_t len)
{
	char line[WINDOW];
	struct line cursor = { line, line + line_plain(from, len, line) };
	const char *start;
	int ok;

	while (cursor.at < cursor.end && *cursor.at == ' ')
		cursor.at++;
	start = cursor.at;
	if (cursor.end - start < 3 || !memchr("BGRE", start[0], 4) || start[1] != ' ' ||
	    line_hex_digit(start[2]) < 0)
		return 0;
	cursor.at += 2;
	if (start[0] == 'R')
		ok = parse_record(recover, cursor, start);
	else if (start[0] == 'G')
		ok = parse_group(recover, cursor, start, false) ?
			     parse_group(recover, cursor, start, true) : 0;
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
