/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Channels that are open, and their records merged by time.
 */
#ifndef TOOLS_TIMELINE_H
#define TOOLS_TIMELINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include <flightrec.h>

/**
 * struct channel - a channel that is read
 * @name: its name
 * @handle: open, without waiting; NULL while it is let go
 * @node: of the open channel
 * @end_seq: reading stops before this number; 0: it does not
 * @last_seq: number of the newest record that was taken; 0: none yet
 * @last_boot_ns, @last_wall_ns: its times
 * @head: the next record, or NULL
 * @ended: there is no more before @end_seq
 * @empty_ns: when there was no record, on the boot clock
 * @lost: records lost, not yet said
 */
struct channel {
	char *name;
	struct flightrec *handle;
	struct stat node;
	uint64_t end_seq;
	uint64_t last_seq, last_boot_ns, last_wall_ns;
	const struct flightrec_record *head;
	bool ended;
	uint64_t empty_ns;
	uint64_t lost;
};

struct timeline {
	struct channel *channels;
	size_t count;
	char boot_id[33];	/* of this boot; empty if it could not be read */
};

/* Adds a channel by its name, which is copied: once, however often it is named. */
void timeline_name(struct timeline *timeline, const char *name);

/*
 * Adds all channels but that of smoke tests, which never holds anything of value: 0,
 * or the exit status after saying why not.
 */
int timeline_name_all(struct timeline *timeline);

/*
 * Opens the channels: 0, or the exit status after saying why not. With @some, those
 * that cannot be opened are named and left out, and EXIT_UNKNOWN means none was left;
 * *missing says whether one was left out.
 */
int timeline_open(struct timeline *timeline, bool some, bool *missing);
void timeline_close(struct timeline *timeline);

/* From now on, what is there at this moment is the end: 0 or an error of *@failed. */
int timeline_stop_here(struct timeline *timeline, struct channel **failed);
/* No end any more; what was seen of later records is not lost. */
void timeline_go_on(struct timeline *timeline);

/*
 * The oldest record that there is now: 1, with it in (*from)->head, to be taken with
 * timeline_take(); 0 if there is none now; or an error of *from.
 */
int timeline_next(struct timeline *timeline, struct channel **from);
/* Only of this channel. */
int channel_next(struct channel *channel);
void timeline_take(struct channel *from);

#endif
