/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Overwrite against reader, over all schedules: a writer with two blocks of
 * one record each, a record of two words and its number; a reader at the
 * beginning. Names as in ring.c. Defining NO_REVALIDATION, NO_RMB or
 * LOST_TOO_MANY breaks it: then a check must fail.
 */
#define BLOCKS 2
#define RECORDS 4

byte lap[BLOCKS];		/* which record the block was claimed for */
byte seq[BLOCKS], word0[BLOCKS], word1[BLOCKS];
byte entry[RECORDS + 1];	/* lap of each number's record; 0: not yet */
byte next = 1;

proctype writer()
{
	byte n = 1, b;

	do
	:: n > RECORDS -> break
	:: else ->
		b = n % BLOCKS;
		lap[b] = n;		/* A, a full barrier */
		seq[b] = 0;
		if			/* the words in any order */
		:: word0[b] = n; word1[b] = n
		:: word1[b] = n; word0[b] = n
		fi;
		next = n + 1;
		seq[b] = n;
		entry[n] = n;		/* C */
		n++
	od
}

proctype reader()
{
	byte at = 1, from = 1, b, s, a0, a1, l, delivered, lost;

	do
	:: at > RECORDS -> break
	:: at <= RECORDS && at < next && entry[at] != 0 ->
		b = at % BLOCKS;
#ifdef NO_RMB
		l = lap[b];		/* as a CPU may do without B */
#endif
		s = seq[b];
		a0 = word0[b];
		a1 = word1[b];
#ifndef NO_RMB
		l = lap[b];		/* B */
#endif
#ifdef NO_REVALIDATION
		l = at;
#endif
		if
		:: s == at && l == at ->
			assert(a0 == at && a1 == at);
			delivered++;
#ifdef LOST_TOO_MANY
			lost++;
#endif
			lost = lost + at - from;
			at++;
			from = at
		:: else -> at++
		fi
	od;
	/* What was overwritten at the end is lost, too. */
	lost = lost + next - from;
	assert(delivered + lost == next - 1)
}

init { atomic { run writer(); run reader() } }
