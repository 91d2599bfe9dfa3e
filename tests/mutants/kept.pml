/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Kept blocks against a reader, over all schedules: a writer of urgent records with a table of
 * two blocks of one record each, another writer who only takes numbers and entries of a small
 * index, and a reader who finds records by the index, or, where that does not reach, in the
 * table. What is delivered is whole, and what was committed before the reader looked at the
 * next number, and is there still, is not passed over. Names as in ring.c. Defining
 * TABLE_LATE, NO_SECOND_LOOK, NO_LAP or BY_INDEX_ALONE breaks it: then a check must fail.
 */
#define KEPT 2
#define INDEX 2
#define URGENT 3
#define OTHERS 3
#define ALL (URGENT + OTHERS)

byte next = 1, running = 2;
byte lap[KEPT], committed[KEPT], in_table[KEPT];
byte seq[KEPT], word[KEPT];
byte entry[INDEX];		/* the number whose record it leads to */
byte entry_block[INDEX];	/* where that is; KEPT: a record of the others, gone */
byte entry_lap[INDEX];

/* Unless a later one has taken the entry, or may have. */
inline publish(n, b, l)
{
	atomic {
		if
		:: next - n <= INDEX && entry[n % INDEX] < n ->
			entry[n % INDEX] = n;
			entry_block[n % INDEX] = b;
			entry_lap[n % INDEX] = l
		:: else
		fi
	}
}

proctype urgent()
{
	byte i, b, l, n;

	do
	:: i == URGENT -> break
	:: else ->
		b = i % KEPT;
		l = i / KEPT + 1;
		lap[b] = l;		/* A */
#ifndef TABLE_LATE
		in_table[b] = 1;
#endif
		seq[b] = 0;
		atomic { n = next; next++ }
		word[b] = n;		/* what the record says: its own number */
		seq[b] = n;
		publish(n, b, l);	/* C */
		committed[b] = l;	/* F */
#ifdef TABLE_LATE
		in_table[b] = 1;
#endif
		i++
	od;
	running--
}

proctype others()
{
	byte i, n;

	do
	:: i == OTHERS -> break
	:: else ->
		atomic { n = next; next++ }
		publish(n, KEPT, 0);
		i++
	od;
	running--
}

byte was[KEPT];			/* what was committed when the reader looked at the next number */
byte i_was;

/* The reader leaves the numbers from @from to before @to behind. */
inline passes(from, to)
{
	d_step {
		i_was = 0;
		do
		:: i_was == KEPT -> break
		:: else ->
			assert(!(was[i_was] >= from && was[i_was] < to &&
				 was[i_was] == seq[i_was] && committed[i_was] == lap[i_was]));
			i_was++
		od;
		i_was = 0
	}
}

inline look_at_next()
{
	d_step {
		nx = next;
		i_was = 0;
		do
		:: i_was == KEPT -> break
		:: else ->
			was[i_was] = (committed[i_was] == lap[i_was] -> seq[i_was] : 0);
			i_was++
		od;
		i_was = 0
	}
}

/* Copy what is in a block, then look at its lap. */
inline copy(b, l)
{
	s = seq[b];
	w = word[b];
#ifdef NO_LAP
	ok = (s == at);
#else
	ok = (lap[b] == l);		/* B */
	ok = (ok && s == at);
#endif
	if
	:: ok -> assert(w == at)
	:: else -> passes(at, at + 1)
	fi;
	at++
}

inline look_through(b)
{
	c = committed[b];		/* G */
	l = lap[b];
	if
	:: c == l ->
		s = seq[b];
		if
		:: lap[b] == l && s >= at && s < best -> best = s; place = b; place_lap = l
		:: else
		fi
	:: else
	fi
}

proctype reader()
{
	byte at = 1, nx, first, best, b, c, l, s, w, place, place_lap, e;
	bool ok;

	do
	:: at > ALL -> break
	:: else ->
		look_at_next();
		first = (nx > INDEX -> nx - INDEX : 1);
		if
		:: at < first ->
			best = first;
			place = KEPT;
#ifndef BY_INDEX_ALONE
			b = 0;
			do
			:: b == KEPT -> break
			:: else ->
				if
				:: in_table[b] -> look_through(b)
				:: else
				fi;
				b++
			od;
#endif
			passes(at, best);
			at = best;
			if
			:: place < KEPT -> copy(place, place_lap)
			:: else
			fi
		:: at >= nx -> (next > at)
		:: else ->
			atomic {		/* D; one word */
				e = entry[at % INDEX];
				place = entry_block[at % INDEX];
				place_lap = entry_lap[at % INDEX]
			}
			if
			:: e < at -> (entry[at % INDEX] >= at || next - at > INDEX)
			:: e > at ->
				if
#ifndef NO_SECOND_LOOK
				:: next > INDEX && at < next - INDEX -> skip
#endif
				:: else -> passes(at, at + 1); at++
				fi
			:: e == at && place < KEPT -> copy(place, place_lap)
			:: e == at && place == KEPT -> at++
			fi
		fi
	od;
	(running == 0)
}

init { atomic { run urgent(); run others(); run reader() } }
