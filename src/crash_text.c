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

/*
 * How far to look back for records that are still there. More lines than this
 * never fit; a few numbers may be gone or unpublished in between.
 */
#define LOOK_BACK	1024

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

static void put_comm(struct flightrec_crash_set *set)
{
	const u8 *comm = (const u8 *)set->stamp.comm;
	u32 len = strnlen(set->stamp.comm, sizeof(set->stamp.comm));

	if (!len)
		put(set, "-");
	else if (len == 1 && *comm == '-')
		put(set, "\\x2d");
	else
		put_escaped(set, comm, len, false);
}

static char origin_letter(const struct flightrec_stamp *stamp)
{
	if (stamp->origin == FLIGHTREC_ORIGIN_USER)
		return 'u';
	return stamp->flags & FLIGHTREC_F_INTERRUPT ? 'i' : 'k';
}

static void put_boot_id(struct flightrec_crash_set *set, u32 bytes)
{
	u32 i;

	for (i = 0; i < bytes; i++)
		put(set, "%02x", set->boot_id[i]);
}

/* All that precedes the mark. */
static void put_stamp(struct flightrec_crash_set *set, const char *channel)
{
	const struct flightrec_stamp *stamp = &set->stamp;

	put(set, "R ");
	put_boot_id(set, 4);
	put(set, " %s %llu %llu %llu %u %c %u %u %u %u %u %u ", channel,
	    (unsigned long long)stamp->seq, (unsigned long long)stamp->boot_ns,
	    (unsigned long long)stamp->wall_ns, stamp->severity,
	    origin_letter(stamp), stamp->pid, stamp->tgid, stamp->uid,
	    stamp->euid, stamp->cpu, stamp->len);
}

/*
 * Make the line of the record at hand within @room bytes, newline counted;
 * false if not even its stamp fits.
 */
static bool make_record_line(struct flightrec_crash_set *set, const char *channel,
			     u32 room)
{
	u32 len = set->stamp.len;
	u32 known = len < sizeof(set->payload) ? len : sizeof(set->payload);
	u32 fixed, fit, mark;

	if (room > FLIGHTREC_CRASH_LINE_MAX + 1)
		room = FLIGHTREC_CRASH_LINE_MAX + 1;
	start_line(set);
	put_stamp(set, channel);
	mark = set->used;
	put(set, "= ");
	put_comm(set);
	put(set, " \"");
	fixed = line_bytes(set) + 1 + CHECK_LEN;	/* the other quote */
	if (fixed > room)
		return false;
	fit = fitting(set->payload, known, room - fixed, true);
	if (fit < len)
		set->line[mark] = '+';
	put_escaped(set, set->payload, fit, true);
	put(set, "\"");
	end_line(set);
	return true;
}

static int fetch(struct flightrec_crash_set *set,
		 const struct flightrec_crash_channel *channel, u64 seq)
{
	return flightrec_ring_fetch(READ_ONCE(channel->ring), seq, &set->stamp, set->payload,
				    sizeof(set->payload));
}

/*
 * Going back from the newest record: the first number from which on all lines
 * take no more than @room bytes, which is set to what they take. A newest
 * record that does not fit will be cut.
 */
static u64 first_fitting(struct flightrec_crash_set *set,
			 const struct flightrec_crash_channel *channel, u32 *room)
{
	u64 far = channel->to > LOOK_BACK ? channel->to - LOOK_BACK : 1;
	u64 from = READ_ONCE(*channel->from);
	u64 first = channel->to;
	u32 taken = 0;
	u64 seq;
	int err;

	for (seq = channel->to; seq > from && seq > far;) {
		err = fetch(set, channel, --seq);
		if (err == -ENOENT)
			continue;
		if (!err && !make_record_line(set, channel->name,
					      taken ? ~0U : *room))
			break;
		if (!err && line_bytes(set) > *room - taken)
			break;
		if (!err)
			taken += line_bytes(set);
		first = seq;
	}
	*room = taken;
	return first;
}

/* Print what the share allows, the oldest first. */
static void print_channel(struct flightrec_crash_set *set,
			  const struct flightrec_crash_channel *channel)
{
	u32 left = channel->share;
	u64 seq = first_fitting(set, channel, &left);
	int err;

	left = channel->share;
	for (; seq < channel->to; seq++) {
		err = fetch(set, channel, seq);
		if (err == -EAGAIN)
			set->unpublished++;
		/* On an oops the others go on: do not trust what was measured. */
		if (err || !make_record_line(set, channel->name, left))
			continue;
		set->print(set->line, set->used);
		left -= line_bytes(set);
		set->printed++;
		WRITE_ONCE(*channel->from, seq + 1);
	}
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
	measure(set, first, FLIGHTREC_CRASH_TEXT_MAX - line_bytes(set) - END_MAX);
	for (channel = first; channel; channel = READ_ONCE(channel->next))
		print_channel(set, channel);
	start_line(set);
	put(set, "E ");
	put_boot_id(set, 4);
	put(set, " %u %u %u", set->number, set->printed, set->unpublished);
	end_line(set);
	set->print(set->line, set->used);
}
