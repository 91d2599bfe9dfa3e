// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Waiting for new records, and letting go of the driver for a reload: follow.h.
 */
#include "tool.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "follow.h"

/* As in the library; tests have a place of their own. */
#ifndef FLIGHTREC_DEV
#define FLIGHTREC_DEV "/dev/flightrec"
#endif

/* How long a driver that was not yet unloaded is waited for, in tries. */
#define TRIES 50
static const struct timespec between_tries = { .tv_nsec = 200 * 1000 * 1000 };

static volatile sig_atomic_t let_go;

static void on_hangup(int signal)
{
	(void)signal;
	let_go = 1;
}

int follow_open(struct follow *follow)
{
	struct sigaction action = { .sa_handler = on_hangup };	/* no SA_RESTART: poll ends */
	int status = channel_open(&follow->handle, follow->channel,
				  FLIGHTREC_OPEN_READ | FLIGHTREC_OPEN_NONBLOCK);

	if (status)
		return status;
	fstat(flightrec_fd(follow->handle), &follow->node);
	sigaction(SIGHUP, &action, NULL);
	return EXIT_YES;
}

bool follow_gone(int err)
{
	return err == -ENODEV || err == -ENXIO || err == -EIO || err == -ESTALE;
}

int follow_wait(struct follow *follow)
{
	struct pollfd polled[2] = {
		{ .fd = flightrec_fd(follow->handle), .events = POLLIN },
		{ .fd = STDOUT_FILENO },	/* the other end of a pipe was closed */
	};

	if (!let_go && poll(polled, 2, -1) < 0 && errno != EINTR) {
		complain("poll: %s", strerror(errno));
		return EXIT_NO;
	}
	if (let_go)
		return follow_reopen(follow, 0);
	if (polled[1].revents & (POLLERR | POLLHUP | POLLNVAL))
		return EXIT_YES;
	if (polled[0].revents & (POLLERR | POLLHUP | POLLNVAL))
		return follow_reopen(follow, -ENODEV);
	return FOLLOW_ON;
}

enum node { NODE_GONE, NODE_SAME, NODE_NEW };

/*
 * Is the channel's node the one that was open? Looked at, not opened: that
 * would keep the driver from being unloaded.
 */
static enum node look_at_node(const struct follow *follow)
{
	char path[sizeof(FLIGHTREC_DEV) + 1 + FLIGHTREC_NAME_MAX];
	struct stat st;

	snprintf(path, sizeof(path), FLIGHTREC_DEV "/%s", follow->channel);
	if (stat(path, &st))
		return NODE_GONE;
	return st.st_ino == follow->node.st_ino &&
	       st.st_ctim.tv_sec == follow->node.st_ctim.tv_sec &&
	       st.st_ctim.tv_nsec == follow->node.st_ctim.tv_nsec ? NODE_SAME : NODE_NEW;
}

/* Waits until there is another node, or gives up on that: true if there is one. */
static bool wait_for_node(struct follow *follow)
{
	bool gone = false;
	int tries = 0;
	enum node node;

	for (;;) {
		node = look_at_node(follow);
		if (node == NODE_NEW || (node == NODE_SAME && gone))
			return true;
		if (node == NODE_GONE && !gone) {
			complain("channel %s: the driver is unloaded; waiting for it",
				 follow->channel);
			gone = true;
		}
		if (!gone && tries++ == TRIES)
			return false;
		nanosleep(&between_tries, NULL);
	}
}

int follow_reopen(struct follow *follow, int err)
{
	int tries = 0;
	bool reloaded;

	if (err)
		complain("channel %s: the driver has gone: %s", follow->channel, strerror(-err));
	else
		complain("channel %s: let go, so that the driver can be reloaded", follow->channel);
	flightrec_close(follow->handle);
	follow->handle = NULL;
	let_go = 0;
	reloaded = wait_for_node(follow);
	/* udev sets the owner of a new node a moment later. */
	do {
		if (tries)
			nanosleep(&between_tries, NULL);
		err = flightrec_open(&follow->handle, follow->channel,
				     FLIGHTREC_OPEN_READ | FLIGHTREC_OPEN_NONBLOCK);
	} while (err && tries++ < TRIES);
	if (err) {
		complain("channel %s: %s", follow->channel, flightrec_explain(err));
		return EXIT_UNKNOWN;
	}
	fstat(flightrec_fd(follow->handle), &follow->node);
	if (reloaded) {
		complain("channel %s: the driver is back; its numbers begin at 1 again",
			 follow->channel);
		return FOLLOW_ON;
	}
	complain("channel %s: the driver was not unloaded; going on", follow->channel);
	err = follow->last_seq ? flightrec_seek_seq(follow->handle, follow->last_seq + 1) : 0;
	if (err) {
		complain("channel %s: %s", follow->channel, flightrec_explain(err));
		return EXIT_NO;
	}
	return FOLLOW_ON;
}
