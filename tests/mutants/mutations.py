# SPDX-License-Identifier: GPL-2.0-or-later
"""What is broken in the ring, each by one exact replacement: name -> (file, old, new)."""

RING, INIT, WRITE, COPY = "ring.c", "ring_init.c", "ring_write.h", "ring_copy.c"

COPY_OUT = """stamp->len < room ? stamp->len : room);
	smp_rmb();	/* B, pairs with A */
	return still_there(ring, place);"""
COPY_WORDS = """			  words - FLIGHTREC_STAMP_WORDS);
	}
	smp_rmb();	/* B, pairs with A */
	if (unlikely(!still_there(ring, place)))
		return 0;
"""

MUTATIONS = {
    # barriers
    "B: no barrier before the lap is looked at again": (
        RING, COPY_OUT, COPY_OUT.replace("	smp_rmb();", "")),
    "B: the same in whole words": (
        RING, COPY_WORDS, COPY_WORDS.replace("	smp_rmb();", "")),
    "D: entry read without acquire": (
        RING, "smp_load_acquire(&ring->index[seq &", "READ_ONCE(ring->index[seq &"),
    "E: no barrier after the zero": (WRITE, "	smp_wmb();	/* E */\n", ""),
    "E: number not zeroed first": (WRITE, "	WRITE_ONCE(place->stamp->seq, 0);\n", ""),
    "F: committed without release": (WRITE, "atomic64_add_return_release(", "atomic64_add("),
    "G: committed read without acquire": (
        RING, "atomic64_read_acquire(committed_word)", "atomic64_read(committed_word)"),
    "number stored without release": (
        WRITE, "smp_store_release(&place->stamp->seq, seq)",
        "WRITE_ONCE(place->stamp->seq, seq)"),
    # reader
    "lap not looked at again": (RING, COPY_OUT, COPY_OUT.replace(
        "still_there(ring, place)", "true")),
    "lap not looked at again, in whole words": (RING, COPY_WORDS, COPY_WORDS.replace(
        "!still_there(ring, place)", "false")),
    "lost counts the record itself": (
        RING, "u64 lost = cursor->seq - cursor->from;", "u64 lost = cursor->seq + 1 - cursor->from;"),
    "lost counted again": (RING, "	cursor->from = cursor->seq;\n", ""),
    "age of an entry ignored by readers": (
        RING, "	if (flightrec_entry_older(entry, tag))\n		return LOOKUP_NOT_YET;\n", ""),
    "length of a torn stamp not bounded": (
        RING, "if (unlikely(len > FLIGHTREC_RING_PAYLOAD_MAX ||", "if (0 && unlikely(len > FLIGHTREC_RING_PAYLOAD_MAX ||"),
    # what is known of blocks
    "gone records passed over one by one": (
        RING, "if (unlikely(gone++ == skip_after))", "if (0 && unlikely(gone++ == skip_after))"),
    "each group of blocks is looked through": (
        RING, "		if (READ_ONCE(ring->group_first[group]) >= next)\n			continue;\n", ""),
    "block's first number not kept": (
        RING, "WRITE_ONCE(ring->first[block], atomic64_read(&ring->next_seq));",
        "WRITE_ONCE(ring->first[block], 1);"),
    "block's first number too great": (
        RING, "WRITE_ONCE(ring->first[block], atomic64_read(&ring->next_seq));",
        "WRITE_ONCE(ring->first[block], atomic64_read(&ring->next_seq) + 1);"),
    "block's last number too small": (
        RING, "				     atomic64_read(&ring->next_seq));",
        "				     atomic64_read(&ring->next_seq) - 1);"),
    "records of a block counted twice": (
        WRITE, "words + (1U << RING_RECORDS_SHIFT)", "words + (2U << RING_RECORDS_SHIFT)"),
    "count of a block not kept": (
        RING, "uncounted | RING_COUNT_KNOWN | records_of(committed)", "uncounted | records_of(committed)"),
    "count of a block one too great": (
        RING, "uncounted | RING_COUNT_KNOWN | records_of(committed)",
        "uncounted | RING_COUNT_KNOWN | (records_of(committed) + 1)"),
    "skip ends at an old head": (
        RING, "			if (cursor->seq != seq)\n				continue;\n",
        "			if (cursor->seq >= next)\n				return -EAGAIN;\n"),
    "task that is to die reads on": (
        RING, "			if (ring_interrupted())\n				return -EINTR;\n", ""),
    # writer
    "record one word beyond the block": (
        WRITE, "off + words > RING_BLOCK_WORDS", "off + words > RING_BLOCK_WORDS + 1"),
    "entry published before the record has its number": (
        WRITE,
        "	smp_store_release(&place->stamp->seq, seq);\n	flightrec_ring_publish(ring, seq, place);\n",
        "	flightrec_ring_publish(ring, seq, place);\n	smp_store_release(&place->stamp->seq, seq);\n"),
    "number taken early": (
        RING, "	struct flightrec_place place;\n\n	if (!flightrec_ring_reserve(ring, writer, stamp->len, &place))\n		return -ENOBUFS;\n",
        "	struct flightrec_place place;\n\n	atomic64_fetch_add(1, &ring->next_seq);\n"
        "	if (!flightrec_ring_reserve(ring, writer, stamp->len, &place))\n		return -ENOBUFS;\n"
        "	atomic64_fetch_add(-1, &ring->next_seq);\n"),
    "room never given back": (
        WRITE, "	atomic64_add_return_release(place->words,\n", "	atomic64_add_return_release(0 * place->words,\n"),
    "check omits the lap": (
        WRITE, "place->off, place->open >> RING_OPEN_LAP_SHIFT)", "place->off, 0)"),
    "later entry overwritten by an earlier one": (
        WRITE, "		if (unlikely((u64)atomic64_read(&ring->next_seq) - seq > ring->nindex))\n			return;\n", ""),
    "H: entry read without acquire": (
        WRITE, "atomic64_read_acquire(word);	/* H", "atomic64_read(word);	/* H"),
    # claims and clear
    "claim does not close": (
        RING, "		if (atomic64_try_cmpxchg(word, state, *state | RING_STATE_CLOSED)) {",
        "		if (true) {"),
    "claim ignores what is not committed": (
        RING, "	if (!all_committed(committed, state))\n		return false;\n", ""),
    "fresh blocks are claimed": (
        RING, "	if (choosy && is_fresh(ring, turn))\n		return false;\n", ""),
    "block that is left does not grow old": (
        RING, "	if (!tries)\n		leave_block(ring, writer);\n", ""),
    "open block never fresh": (RING, "	return mark != now;", "	return false;"),
    "open block fresh for ever": (RING, "	return mark != now;", "	return true;"),
    "block fresh for a round": (
        INIT, "	return spare - (ncpus < spare / 2 ? ncpus : spare / 2);", "	return nblocks;"),
    "claim gives the block the lap before": (
        RING, "turn.lap = RING_FIRST_LAP + ring_div(", "turn.lap = RING_FIRST_LAP - 1 + ring_div("),
    "ring is made without a rest": (
        INIT, "		if (!(i % RELAX_ENTRIES))\n			ring_relax();\n", ""),
    # blocks that are kept for urgent records
    "blocks of urgent records are claimed by others": (
        RING, "while (unlikely(READ_ONCE(ring->is_kept[turn.block])) &&", "while (false &&"),
    "kept block is claimed by others that meet no other": (
        RING, "	if (READ_ONCE(ring->is_kept[turn.block]) || !take_block(ring, &turn, choosy))",
        "	if (!take_block(ring, &turn, choosy))"),
    "kept block is put into the table once more": (
        RING, "		if (READ_ONCE(ring->is_kept[turn.block]))\n			return;\n", ""),
    "kept blocks are not in the table": (
        RING, "WRITE_ONCE(ring->is_kept[turn.block], 1);", ";"),
    "urgent records alone have a share as beside others": (
        RING, "	return writer >= ring->ncpus && atomic64_read(&ring->shares);", "	return writer >= ring->ncpus;"),
    "shares begin without what was urgent before": (
        RING, "		if (!atomic64_try_cmpxchg(&ring->kept[at], &none, block + 1))\n", "		if (true)\n"),
    "shares begin with blocks that others may claim": (
        RING, "		WRITE_ONCE(ring->is_kept[block], 1);\n", ""),
    "shares begin with the oldest blocks": (
        RING, "ring_div(claim - ring->nkept + at, ring->nblocks, &block);", "ring_div(claim + at, ring->nblocks, &block);"),
    "shares begin with what others have claimed since": (
        RING, "			continue;\n		none = 0;\n", "			;\n		none = 0;\n"),
    "shares begin with what was claimed before its turn": (
        RING, "		atomic64_set(&ring->marks[block], (0 - (u64)ring->nkept) & ~RING_MARK_OPEN);\n", ""),
    "shares begin beside blocks that stay open": (
        RING, "		WRITE_ONCE(ring->cpus[at].open, 0);\n}", "		;\n}"),
    "shares begin twice": (
        RING, "	if (!atomic64_try_cmpxchg(&ring->shares, &none, 1))\n		return;\n", "	atomic64_set(&ring->shares, 1);\n"),
    "block that came too late for the table stays open": (
        RING, "	if (has_share(ring, writer))\n		WRITE_ONCE(ring->cpus[writer].open, 0);\n", ""),
    "shares looked at before the block is open": (
        RING, "	smp_mb();	/* I: the block may have come too late for the table */\n", ""),
    "table looked at before the groups alone": (
        RING, "	return full ? next : skip_gone_kept(ring, seq, next, place, &full);", "	return next;"),
    "table looked at again without an order": (
        RING, "	smp_rmb();	/* K, pairs with J */\n", ""),
    "group without a block before the table has it": (
        RING, "smp_store_release(&ring->group_first[group], least);", "WRITE_ONCE(ring->group_first[group], least);"),
    "what the index does not reach is gone": (
        RING, "			if (entry) {\n", "			cursor->seq = first;\n			if (false) {\n"),
    "entry that a later number has: gone, though kept": (
        RING, "			if (cursor->seq < reach(ring, flightrec_ring_next(ring)))\n				continue;\n", ""),
    "record under way hides those before it": (
        RING, "	if (!look_through(ring, block, seq, &found) && !place)\n		return seq;\n",
        "	if (!look_through(ring, block, seq, &found))\n		return place ? best : seq;\n"),
    "record under way is taken for one that is there": (
        RING, "	u32 end = committed & RING_MASK(RING_RECORDS_SHIFT);", "	u32 end = state & RING_MASK(RING_STATE_OFF_BITS);"),
    "skip does not look at kept blocks": (
        RING, "for (left = 0; left < ring->nkept && next > seq; left++) {", "for (left = 0; false; left++) {"),
    "cleared records are found in kept blocks": (
        RING, "	seq = seq > cleared ? seq : cleared;\n", ""),
    "records not counted where the index does not reach": (
        RING, "	u64 first = ring->nkept ? (u64)atomic64_read(ring_clear_seq(ring)) :\n		    horizon(", "	u64 first = horizon("),
    "kept block is left at a turn of the others": (
        RING, "		     atomic64_read(turn_of(ring, writer)) & ~RING_MARK_OPEN);",
        "		     atomic64_read(&ring->next_claim) & ~RING_MARK_OPEN);"),
    "kept block keeps its lap": (
        RING, "RING_BLOCK_STATE))) + 1) &", "RING_BLOCK_STATE)))) &"),
    "place in the table that somebody else was quicker to fill: kept all the same": (
        RING, "	if (held || atomic64_try_cmpxchg(&ring->kept[at], &none, turn.block + 1))",
        "	if (held || (atomic64_try_cmpxchg(&ring->kept[at], &none, turn.block + 1), true))"),
    "group of blocks has the first numbers of kept ones": (
        RING, "		if (!READ_ONCE(ring->is_kept[block]))\n", ""),
    "kept block looked at without acquire": (
        RING, "atomic64_read_acquire(ring_block_word(ring, block, RING_BLOCK_COMMITTED))",
        "atomic64_read(ring_block_word(ring, block, RING_BLOCK_COMMITTED))"),
    "kept block looked at without a barrier before its lap": (
        RING, "	smp_rmb();	/* B, pairs with A */\n	if (!still_there(ring, &place))\n		*found",
        "	if (!still_there(ring, &place))\n		*found"),
    "poll sees nothing that the index does not reach": (
        RING, "		if (ring->nkept)\n			return true;\n", ""),
    "bytes of urgent records not counted": (
        RING, "writer < ring->ncpus + ring->kept_writers;", "writer < ring->ncpus;"),
    "fewer kept blocks than writers of urgent records need": (
        INIT, "	return kept < ncpus + 2 ? 0 : kept;", "	return kept < ncpus / 2 ? 0 : kept;"),
    "kept blocks without a limit": (
        INIT, "	kept = kept < most ? kept : most;\n", ""),
    "kept block never fresh": (
        INIT, "ring->kept_fresh = fresh_claims(ring->nkept, ring->ncpus);", "ring->kept_fresh = 0;"),
    "kept block fresh for a round": (
        INIT, "ring->kept_fresh = fresh_claims(ring->nkept, ring->ncpus);", "ring->kept_fresh = ring->nkept;"),
    "old record is looked for from its number on in the index": (
        RING, "ring->nkept && seq < end ? skip_gone(", "ring->nkept && seq + 1 < end ? skip_gone("),
    # another ring in its place
    "numbers of a gap have no entries": (
        COPY, "	for (; seq < to; seq++) {", "	for (; seq < to && 0; seq++) {"),
    "only the last numbers of a gap have entries": (
        COPY, "seq = to - ring->nindex;", "seq = to - ring->nindex / 2;"),
    "copy stops a record early": (
        COPY, "	while (cursor->seq < end) {", "	while (cursor->seq + 1 < end) {"),
    "a copy goes on in a task that is to die": (COPY, "		if (ring_interrupted())\n			return -EINTR;\n", ""),
    "copied records get numbers of their own": (COPY, "		skip_to(ring, stamp.seq);\n", ""),
    "urgent records are copied among the others": (
        COPY, "flightrec_ring_writer(ring, 0, stamp.severity)", "0"),
    "numbers go on after the last record that was copied": (
        COPY, "	skip_to(ring, flightrec_ring_next(from));\n", ""),
    "what was cleared comes back": (
        COPY, "	atomic64_set(ring_clear_seq(ring), atomic64_read(ring_clear_seq(from)));\n", ""),
    "copied records are counted again": (
        COPY, "		atomic64_set(&ring->cpus[writer].bytes, 0);\n", "		continue;\n"),
    "clear moves backwards": (
        RING, "	while (cleared < next)\n", "	while (true)\n"),
    "clear drops one too few": (
        RING, "atomic64_try_cmpxchg(ring_clear_seq(ring), &cleared, next)",
        "atomic64_try_cmpxchg(ring_clear_seq(ring), &cleared, next - 1)"),
}

# What "check" tries, too: one of each kind.
SAMPLE = [
    "B: no barrier before the lap is looked at again",
    "lap not looked at again, in whole words",
    "entry published before the record has its number",
    "claim ignores what is not committed",
]
