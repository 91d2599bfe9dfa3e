// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Channels that are open, and their records merged by time: timeline.h.
 */
#include "timeline.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "times.h"
#include "tool.h"

void timeline_name(struct timeline *timeline, const char *name)
{
	struct channel *more;
	size_t i;

	for (i = 0; i < timeline->count; i++)
		if (!strcmp(timeline->channels[i].name, name))
			return;
	more = reallocarray(timeline->channels, timeline->count + 1, sizeof(*more));
	if (!more)
		abort();
	timeline->channels = more;
	more[timeline->count] = (struct channel) { .name = strdup(name) };
	if (!more[timeline->count++].name)
		abort();
}

int timeline_name_all(struct timeline *timeline)
{
	struct flightrec_stats *stats;
	const char *name;
	size_t line;
	int err = flightrec_stats_get(&stats);

	if (err) {
		complain("%s", flightrec_explain(err));
		return EXIT_UNKNOWN;
	}
	for (line = 0; (name = flightrec_stats_channel(stats, line)); line++)
		if (strcmp(name, SELFTEST_CHANNEL))
			timeline_name(timeline, name);
	flightrec_stats_free(stats);
	return EXIT_YES;
}

/* "0123…", without the dashes that /proc has. */
static void read_boot_id(char boot_id[33])
{
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");
	size_t n = 0;
	int c;

	while (file && n < 32 && (c = getc(file)) != EOF)
		if (c != '-')
			boot_id[n++] = c;
	boot_id[n] = '\0';
	if (n != 32 || strspn(boot_id, "0123456789abcdef") != 32)
		boot_id[0] = '\0';
	if (file)
		fclose(file);
}

int timeline_open(struct timeline *timeline, bool some, bool *missing)
{
	struct channel *channel;
	size_t i, open = 0;
	int status;

	*missing = false;
	read_boot_id(timeline->boot_id);
	for (i = 0; i < timeline->count; i++) {
		channel = &timeline->channels[i];
		status = channel_open(&channel->handle, channel->name,
				      FLIGHTREC_OPEN_READ | FLIGHTREC_OPEN_NONBLOCK);
		if (status && !some)
			return status;
		if (status) {
			*missing = true;
			free(channel->name);
			continue;
		}
		fstat(flightrec_fd(channel->handle), &channel->node);
		timeline->channels[open++] = *channel;
	}
	timeline->count = open;
	return open ? EXIT_YES : EXIT_UNKNOWN;
}

void timeline_close(struct timeline *timeline)
{
	size_t i;

	for (i = 0; i < timeline->count; i++) {
		flightrec_close(timeline->channels[i].handle);
		free(timeline->channels[i].name);
	}
	free(timeline->channels);
}

int timeline_stop_here(struct timeline *timeline, struct channel **failed)
{
	struct flightrec_info info;
	size_t i;
	int err;

	for (i = 0; i < timeline->count; i++) {
		*failed = &timeline->channels[i];
		if (S_ISREG((*failed)->node.st_mode))
			continue;	/* a test's; it ends by itself */
		err = flightrec_info((*failed)->handle, &info, sizeof(info));
		if (err)
			return err;
		(*failed)->end_seq = info.next_seq;
	}
	return 0;
}

void timeline_go_on(struct timeline *timeline)
{
	size_t i;

	for (i = 0; i < timeline->count; i++) {
		timeline->channels[i].end_seq = 0;
		timeline->channels[i].ended = false;
	}
}

/* Is there a record to be taken now? 1, 0, or an error. */
int channel_next(struct channel *channel)
{
	uint64_t now;
	int got;

	if (!channel->head && !channel->ended) {
		now = boot_now();
		got = flightrec_next(channel->handle, &channel->head);
		if (got == -EAGAIN || got == -EINTR || got == 0) {
			channel->head = NULL;
			channel->empty_ns = now;
			/* A number that was taken and is not published yet is not waited for. */
			channel->ended = channel->end_seq || got == 0;
		} else if (got < 0) {
			channel->head = NULL;
			return got;
		}
	}
	if (channel->head && channel->end_seq && channel->head->seq >= channel->end_seq)
		channel->ended = true;
	return channel->head && !channel->ended;
}

/*
 * Looks at all channels: the one whose record is the oldest, or NULL. An empty one is
 * looked at again if it was so before @newer_than.
 */
static int oldest(struct timeline *timeline, uint64_t newer_than, struct channel **from)
{
	struct channel *best = NULL, *channel;
	size_t i;
	int got;

	for (i = 0; i < timeline->count; i++) {
		channel = &timeline->channels[i];
		got = channel->head || channel->ended || channel->empty_ns <= newer_than ?
		      channel_next(channel) : 0;
		if (got < 0) {
			*from = channel;
			return got;
		}
		if (got && (!best || channel->head->boot_ns < best->head->boot_ns))
			best = channel;
	}
	*from = best;
	return best != NULL;
}

int timeline_next(struct timeline *timeline, struct channel **from)
{
	int got = oldest(timeline, 0, from);

	/* Without a candidate, all are asked. */
	if (!got)
		return oldest(timeline, UINT64_MAX, from);
	/*
	 * A channel that was found empty before this record was written may have an
	 * older one by now. Asked no more often, so that a channel that is mostly empty
	 * costs no call for each record of another.
	 */
	return got > 0 ? oldest(timeline, (*from)->head->boot_ns, from) : got;
}

void timeline_take(struct channel *from)
{
	from->last_seq = from->head->seq;
	from->last_boot_ns = from->head->boot_ns;
	from->last_wall_ns = from->head->wall_ns;
	from->head = NULL;
}
