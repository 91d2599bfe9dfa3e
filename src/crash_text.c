// SPDX-License-Identifier: GPL-2.0-only
/* Composes the lines of a crash: newest records, an equal share for each channel. */
#ifdef __KERNEL__
#include <linux/kernel.h>
#else
#include <stdarg.h>
#include <stdio.h>
#endif

#include "crash_text.h"
#include "crc.h"
#include "uapi/flightrec.h"

#define PREFIX		"flightrec: "
#define PREFIX_LEN	(sizeof(PREFIX) - 1)
#define CHECK_LEN	9	/* a space and 8 digits */

/* Room for the line that ends a set, newline counted: all its numbers at most. */
#define END_MAX		64

/* Of a line, newline counted. */
#define LINE_BYTES	(FLIGHTREC_CRASH_LINE_MAX + 1)

/* What stands behind the quote of a payload that was cut: "+4096". */
#define CUT_LEN		5

/*
 * No record takes less, so that many of a set's bytes allow are looked back for; a few
 * numbers may be gone or unpublished in between.
 */
#define LEAST_BYTES	4

static void put_char(struct flightrec_crash_set *set, char c)
{
	if (set->used < sizeof(set->line) - 1)
		set->line[set->used++] = c;
	set->line[set->used] = '\0';
}

/* Each caller knows that it fits; nothing is written where it does not. */
__attribute__((format(printf, 2, 3)))
static void put(struct flightrec_crash_set *set, const char *fmt, ...)
{
	u32 room = sizeof(set->line) - set->used;
	va_list args;
	int n;

	va_start(args, fmt);
	n = vsnprintf(set->line + set->used, room, fmt, args);
	va_end(args);
	set->used += (u32)n < room ? (u32)n : room - 1;
}

static void start_line(struct flightrec_crash_set *set)
{
	set->used = 0;
	put(set, PREFIX);
}

static void end_line(struct flightrec_crash_set *set)
{
	put(set, " %08x", flightrec_crc32(set->line + PREFIX_LEN, set->used - PREFIX_LEN));
}

/* Bytes of the line at hand, newline counted. */
static u32 line_bytes(const struct flightrec_crash_set *set)
{
	return set->used + 1;
}

/* Bytes that one byte takes when escaped. */
static u32 escaped_len(u8 byte, bool space)
{
	if (byte == '\\' || byte == '"')
		return 2;
	return (byte > ' ' && byte < 0x7f) || (byte == ' ' && space) ? 1 : 4;
}

/* As many bytes as fit into @room when escaped; @space stands for itself or not. */
static u32 fitting(const u8 *src, u32 len, u32 room, bool space)
{
	u32 used = 0;
	u32 i;

	for (i = 0; i < len; i++) {
		used += escaped_len(src[i], space);
		if (used > room)
			break;
	}
	return i;
}

static void put_escaped(struct flightrec_crash_set *set, const u8 *src, u32 len,
			bool space)
{
	u32 escaped, i;

	for (i = 0; i < len; i++) {
		escaped = escaped_len(src[i], space);
		if (escaped == 4) {
			put(set, "\\x%02x", src[i]);
			continue;
		}
		if (escaped == 2)
			put_char(set, '\\');
		put_char(set, src[i]);
	}
}

static void put_boot_id(struct flightrec_crash_set *set, u32 bytes)
{
	u32 i;

	for (i = 0; i < bytes; i++)
		put(set, "%02x", set->boot_id[i]);
}

/* A line of records of @channel, of which the one at hand is the first. */
static void start_records(struct flightrec_crash_set *set, const char *channel)
{
	const struct flightrec_stamp *stamp = &set->stamp;

	start_line(set);
	put(set, "G ");
	put_boot_id(set, 4);
	put(set, " %s %llu %llu %llu", channel, (unsigned long long)stamp->seq,
	    (unsigned long long)stamp->boot_ns, (unsigned long long)stamp->wall_ns);
	memset(&set->last, 0, sizeof(set->last));
	set->last.seq = stamp->seq - 1;
	set->last.boot_ns = stamp->boot_ns;
	set->last.wall_ns = stamp->wall_ns;
}

/* Two numbers that mostly are the same; the second one's letter follows the first one's. */
static void put_pair(struct flightrec_crash_set *set, char letter, u32 one, u32 two, u32 last_one,
		     u32 last_two)
{
	if (one == last_one && two == last_two)
		return;
	put(set, " %c%u", letter, one);
	if (two != one)
		put(set, " %c%u", letter + 1, two);
}

/* What differs from the record before it in the line. */
static void put_changes(struct flightrec_crash_set *set)
{
	const struct flightrec_stamp *stamp = &set->stamp, *last = &set->last;
	u64 gap = stamp->seq - last->seq - 1;
	s64 step = stamp->boot_ns - last->boot_ns;
	s64 shift = stamp->wall_ns - last->wall_ns - step;

	if (gap)
		put(set, " +%llu", (unsigned long long)gap);
	if (stamp->severity != last->severity)
		put(set, " S%u", stamp->severity);
	if (stamp->origin != last->origin)
		put(set, " O%u", stamp->origin);
	if (stamp->flags != last->flags)
		put(set, " F%u", stamp->flags);
	put_pair(set, 'P', stamp->pid, stamp->tgid, last->pid, last->tgid);
	put_pair(set, 'U', stamp->uid, stamp->euid, last->uid, last->euid);
	if (stamp->cpu != last->cpu)
		put(set, " C%u", stamp->cpu);
	if (stamp->cgroup != last->cgroup)
		put(set, " G%llu", (unsigned long long)stamp->cgroup);
	if (stamp->start_ns != last->start_ns)
		put(set, " B%llu", (unsigned long long)stamp->start_ns);
	if (strncmp(stamp->comm, last->comm, sizeof(stamp->comm))) {
		put(set, " N");
		put_escaped(set, (const u8 *)stamp->comm,
			    strnlen(stamp->comm, sizeof(stamp->comm)), false);
	}
	if (shift)
		put(set, " W%lld", (long long)shift);
	put(set, " %lld", (long long)step);
}

/*
 * Add the record at hand to the line, which may then have @room bytes, newline counted.
 * False, and nothing added, if it does not fit; with @cut its payload's end is left out
 * for that.
 */
static bool add_record(struct flightrec_crash_set *set, u32 room, bool cut)
{
	u32 len = set->stamp.len;
	u32 known = len < sizeof(set->payload) ? len : sizeof(set->payload);
	u32 before = set->used, fixed, fit;

	put_changes(set);
	put(set, "\"");
	fixed = line_bytes(set) + 1 + CHECK_LEN;	/* the other quote */
	fit = fixed <= room ? fitting(set->payload, known, room - fixed, true) : 0;
	if (fit < len && cut) {
		fixed += CUT_LEN;
		fit = fixed <= room ? fitting(set->payload, known, room - fixed, true) : 0;
	}
	if (fixed > room || (fit < len && !cut)) {
		set->used = before;
		set->line[before] = '\0';
		return false;
	}
	put_escaped(set, set->payload, fit, true);
	put(set, fit < len ? "\"+%u" : "\"", len);
	set->last = set->stamp;
	set->in_line++;
	return true;
}

static int fetch(struct flightrec_crash_set *set,
		 const struct flightrec_crash_channel *channel, u64 seq)
{
	return flightrec_ring_fetch(READ_ONCE(channel->ring), seq, &set->stamp, set->payload,
				    sizeof(set->payload));
}

/* End the line at hand, if there is one, and print it if @print; the bytes that it takes. */
static u32 finish_line(struct flightrec_crash_set *set,
		       const struct flightrec_crash_channel *channel, bool print)
{
	u32 taken;

	if (!set->in_line)
		return 0;
	/* Measured again and again: the check costs four times as much as all the rest. */
	taken = line_bytes(set) + CHECK_LEN;
	if (print) {
		end_line(set);
		set->print(set->line, set->used);
		set->printed += set->in_line;
		WRITE_ONCE(*channel->from, set->last.seq + 1);
	}
	set->in_line = 0;
	return taken;
}

/*
 * Add the record at hand to the line at hand, or to a new one. Only a record that has a
 * line for itself is cut: to the longest line, or to @room if it is the only one.
 */
static bool place_record(struct flightrec_crash_set *set,
			 const struct flightrec_crash_channel *channel, u32 *taken, u32 room,
			 bool print)
{
	u32 line = room - *taken < LINE_BYTES ? room - *taken : LINE_BYTES;

	if (set->in_line) {
		if (add_record(set, line, false))
			return true;
		*taken += finish_line(set, channel, print);
		line = room - *taken < LINE_BYTES ? room - *taken : LINE_BYTES;
	}
	start_records(set, channel->name);
	return add_record(set, line, !*taken || line == LINE_BYTES);
}

/*
 * Make the lines of the records from @seq on within @room bytes, and print them if @print.
 * False if they do not fit; else @taken is what they take. What has no room when it is
 * printed is left out: on an oops the others go on, and what was measured may have changed.
 */
static bool make_lines(struct flightrec_crash_set *set,
		       const struct flightrec_crash_channel *channel, u64 seq, u32 room,
		       u32 *taken, bool print)
{
	bool fits = true;
	int err;

	*taken = 0;
	set->in_line = 0;
	for (; seq < channel->to && (fits || print); seq++) {
		err = fetch(set, channel, seq);
		if (print && err == -EAGAIN)
			set->unpublished++;
		if (!err && !place_record(set, channel, taken, room, print))
			fits = false;
	}
	*taken += finish_line(set, channel, print);
	return fits;
}

/*
 * The first number from which on all lines take no more than @room bytes, which is set to
 * what they take: steps back that double, then half of the last one again and again.
 */
static u64 first_fitting(struct flightrec_crash_set *set,
			 const struct flightrec_crash_channel *channel, u32 *room)
{
	u64 far = set->bytes / LEAST_BYTES;
	u64 oldest = channel->to > far ? channel->to - far : 1;
	u64 good = channel->to, bad, middle, step;
	u32 taken = 0, fits = 0;

	if (oldest < READ_ONCE(*channel->from))
		oldest = READ_ONCE(*channel->from);
	bad = oldest - 1;
	for (step = 1; good > oldest; step *= 2) {
		middle = channel->to - oldest > step ? channel->to - step : oldest;
		if (!make_lines(set, channel, middle, *room, &taken, false)) {
			bad = middle;
			break;
		}
		good = middle;
		fits = taken;
	}
	while (good - bad > 1) {
		middle = bad + (good - bad) / 2;
		if (make_lines(set, channel, middle, *room, &taken, false)) {
			good = middle;
			fits = taken;
		} else {
			bad = middle;
		}
	}
	*room = fits;
	return good;
}

/* Print what the share allows, the oldest first. */
static void print_channel(struct flightrec_crash_set *set,
			  const struct flightrec_crash_channel *channel)
{
	u32 taken = channel->share;
	u64 seq = first_fitting(set, channel, &taken);

	make_lines(set, channel, seq, channel->share, &taken, true);
	WRITE_ONCE(*channel->from, channel->to);
}

/*
 * Share @room out: who wants less than an equal share gets that, and the
 * others what it leaves.
 */
static void share_out(struct flightrec_crash_channel *first, u32 room)
{
	struct flightrec_crash_channel *channel;
	u32 equal, open = 0;
	bool settled;

	for (channel = first; channel; channel = READ_ONCE(channel->next)) {
		channel->share = 0;
		open += channel->wanted > 0;
	}
	do {
		settled = true;
		equal = open ? room / open : 0;
		for (channel = first; channel; channel = READ_ONCE(channel->next)) {
			if (channel->share || !channel->wanted || channel->wanted > equal)
				continue;
			channel->share = channel->wanted;
			room -= channel->wanted;
			open--;
			settled = false;
		}
	} while (!settled);
	for (channel = first; channel; channel = READ_ONCE(channel->next))
		if (!channel->share && channel->wanted)
			channel->share = equal;
}

static void measure(struct flightrec_crash_set *set,
		    struct flightrec_crash_channel *first, u32 room)
{
	struct flightrec_crash_channel *channel;

	for (channel = first; channel; channel = READ_ONCE(channel->next)) {
		channel->to = flightrec_ring_next(READ_ONCE(channel->ring));
		channel->wanted = room;
		first_fitting(set, channel, &channel->wanted);
	}
	share_out(first, room);
}

void flightrec_crash_print(struct flightrec_crash_set *set,
			   struct flightrec_crash_channel *first)
{
	struct flightrec_crash_channel *channel;

	set->printed = 0;
	set->unpublished = 0;
	start_line(set);
	put(set, "B %u ", FLIGHTREC_CRASH_VERSION);
	put_boot_id(set, 16);
	put(set, " %u %s", set->number, set->reason);
	end_line(set);
	set->print(set->line, set->used);
	measure(set, first, set->bytes - line_bytes(set) - END_MAX);
	for (channel = first; channel; channel = READ_ONCE(channel->next))
		print_channel(set, channel);
	start_line(set);
	put(set, "E ");
	put_boot_id(set, 4);
	put(set, " %u %u %u", set->number, set->printed, set->unpublished);
	end_line(set);
	set->print(set->line, set->used);
}
