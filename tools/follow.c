// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Waiting for new records, and letting go of the driver for a reload: follow.h.
 */
#include "follow.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cgroups.h"
#include "tool.h"

/* How long a driver that was not yet unloaded is waited for, in tries. */
#define TRIES 50
static const struct timespec between_tries = { .tv_nsec = 200 * 1000 * 1000 };

static volatile sig_atomic_t let_go;

static void on_hangup(int signal)
{
	(void)signal;
	let_go = 1;
}

void follow_start(void)
{
	struct sigaction action = { .sa_handler = on_hangup };	/* no SA_RESTART: poll ends */

	sigaction(SIGHUP, &action, NULL);
}

bool follow_gone(int err)
{
	return err == -ENODEV || err == -ENXIO || err == -EIO || err == -ESTALE;
}

/* One more than the channels: the other end of the output, which may be a pipe. */
static struct pollfd *polled_of(struct timeline *timeline)
{
	struct pollfd *polled = calloc(timeline->count + 1, sizeof(*polled));
	size_t i;

	if (!polled)
		abort();
	for (i = 0; i < timeline->count; i++)
		/* One that was removed, and read to its end, has nothing more. */
		polled[i] = (struct pollfd) {
			.fd = timeline->channels[i].ended ? -1 :
			      flightrec_fd(timeline->channels[i].handle),
			.events = POLLIN,
		};
	polled[i].fd = STDOUT_FILENO;
	return polled;
}

/*
 * What the driver's filter passed over is behind us, too: without that, it would count as lost
 * when it is overwritten before we go on. A place that the oldest record has may be a later
 * one than ours.
 */
static void note_passed_over(struct timeline *timeline)
{
	struct flightrec_info info;
	struct channel *channel;
	uint64_t place;
	size_t i;

	for (i = 0; i < timeline->count; i++) {
		channel = &timeline->channels[i];
		if (flightrec_info(channel->handle, &info, sizeof(info)) || !info.filters)
			continue;
		place = info.next_seq - info.waiting;
		if (place > info.oldest_seq && place - 1 > channel->last_seq)
			channel->last_seq = place - 1;
	}
}

int follow_wait(struct timeline *timeline, int timeout_ms)
{
	const short broken = POLLERR | POLLHUP | POLLNVAL;
	/* A channel hangs up when it was removed: what is left of it is read first. */
	const short failed = POLLERR | POLLNVAL;
	struct pollfd *polled = polled_of(timeline);
	int status = FOLLOW_ON;
	size_t i, left = 0;

	for (i = 0; i < timeline->count; i++)
		left += !timeline->channels[i].ended;
	if (!left) {
		complain("no channel is left: removed");
		free(polled);
		return EXIT_YES;
	}
	if (!let_go && poll(polled, timeline->count + 1, timeout_ms) < 0 && errno != EINTR) {
		complain("poll: %s", strerror(errno));
		status = EXIT_NO;
	} else if (let_go) {
		note_passed_over(timeline);
		status = follow_reopen(timeline, NULL, 0);
	} else if (polled[timeline->count].revents & broken) {
		status = EXIT_YES;
	} else {
		for (i = 0; i < timeline->count && status == FOLLOW_ON; i++)
			if (polled[i].revents & failed) {
				status = follow_reopen(timeline, &timeline->channels[i], -ENODEV);
				break;
			}
	}
	free(polled);
	return status;
}

enum node { NODE_GONE, NODE_SAME, NODE_NEW };

/*
 * Is the channel's node the one that was open? Looked at, not opened: that
 * would keep the driver from being unloaded.
 */
static enum node look_at_node(const struct channel *channel)
{
	char path[sizeof(FLIGHTREC_DEV) + 1 + FLIGHTREC_NAME_MAX];
	struct stat st;

	snprintf(path, sizeof(path), FLIGHTREC_DEV "/%s", channel->name);
	if (stat(path, &st))
		return NODE_GONE;
	return st.st_ino == channel->node.st_ino &&
	       st.st_ctim.tv_sec == channel->node.st_ctim.tv_sec &&
	       st.st_ctim.tv_nsec == channel->node.st_ctim.tv_nsec ? NODE_SAME : NODE_NEW;
}

/* Waits until there is another node, or gives up on that: true if there is one. */
static bool wait_for_node(struct channel *channel)
{
	bool gone = false;
	int tries = 0;
	enum node node;

	for (;;) {
		node = look_at_node(channel);
		if (node == NODE_NEW || (node == NODE_SAME && gone))
			return true;
		if (node == NODE_GONE && !gone) {
			complain("channel %s: the driver is unloaded; waiting for it",
				 channel->name);
			gone = true;
		}
		if (!gone && tries++ == TRIES)
			return false;
		nanosleep(&between_tries, NULL);
	}
}

/* Opens a channel again, of which it is known whether the driver was reloaded. */
static int open_again(struct channel *channel, bool reloaded)
{
	int tries = 0;
	int err;

	/* udev sets the owner of a new node a moment later. */
	do {
		if (tries)
			nanosleep(&between_tries, NULL);
		err = flightrec_open(&channel->handle, channel->name,
				     FLIGHTREC_OPEN_READ | FLIGHTREC_OPEN_NONBLOCK);
	} while (err && tries++ < TRIES);
	if (err) {
		complain("channel %s: %s", channel->name, flightrec_explain(err));
		return EXIT_UNKNOWN;
	}
	fstat(flightrec_fd(channel->handle), &channel->node);
	channel->empty_ns = 0;
	if (reloaded) {
		complain("channel %s: the driver is back; its numbers begin at 1 again",
			 channel->name);
		channel->last_seq = 0;
		return FOLLOW_ON;
	}
	complain("channel %s: the driver was not unloaded; going on", channel->name);
	err = channel->last_seq ? flightrec_seek_seq(channel->handle, channel->last_seq + 1) : 0;
	if (err) {
		complain("channel %s: %s", channel->name, flightrec_explain(err));
		return EXIT_NO;
	}
	return FOLLOW_ON;
}

int follow_reopen(struct timeline *timeline, struct channel *channel, int err)
{
	struct channel *first = NULL;
	int status = FOLLOW_ON;
	bool reloaded;
	size_t i;

	if (err)
		complain("channel %s: the driver has gone: %s", channel->name, strerror(-err));
	/* One that stays open would keep the driver for all. */
	for (i = 0; i < timeline->count; i++) {
		channel = &timeline->channels[i];
		if (!err)
			complain("channel %s: let go, so that the driver can be reloaded",
				 channel->name);
		flightrec_close(channel->handle);
		channel->handle = NULL;
		channel->head = NULL;
	}
	cgroups_let_go();
	let_go = 0;
	/* Those that were removed are not waited for. */
	for (i = 0; i < timeline->count && !first; i++)
		if (!timeline->channels[i].ended)
			first = &timeline->channels[i];
	if (!first)
		return EXIT_YES;
	/* With the driver the nodes of all come and go together. */
	reloaded = wait_for_node(first);
	for (i = 0; i < timeline->count && status == FOLLOW_ON; i++)
		if (!timeline->channels[i].ended)
			status = open_again(&timeline->channels[i], reloaded);
	return status;
}
