// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tracepoints of the kernel and of its modules. None of those that are wanted
 * is exported by name, so they are found by it.
 *
 * A probe has the arguments of its tracepoint as the kernel's headers describe
 * them: a source without such a header to check against has no probe.
 */
#include <linux/errno.h>
#include <linux/string.h>
#include <linux/tracepoint.h>

#include "event.h"

struct wanted {
	const char *name;
	struct tracepoint *found;
};

static void look(struct tracepoint *tp, void *data)
{
	struct wanted *wanted = data;

	if (!strcmp(tp->name, wanted->name))
		wanted->found = tp;
}

int event_probe(struct event_probe *probe)
{
	struct wanted wanted = { .name = probe->name };
	int err;

	for_each_kernel_tracepoint(look, &wanted);
	if (!wanted.found)
		return -ENOENT;
	err = tracepoint_probe_register(wanted.found, probe->call, NULL);
	if (!err)
		probe->at = wanted.found;
	return err;
}

void event_unprobe(struct event_probe *probe)
{
	tracepoint_probe_unregister(probe->at, probe->call, NULL);
	/* It may be running still. */
	tracepoint_synchronize_unregister();
	probe->at = NULL;
}
