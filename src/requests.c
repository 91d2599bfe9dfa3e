// SPDX-License-Identifier: GPL-2.0-only
/* The parameter "events", and the request for the module that delivers them. */
#define pr_fmt(fmt) "flightrec: " fmt

#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/kmod.h>
#include <linux/module.h>
#include <linux/moduleparam.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/workqueue.h>

#include "cgroup.h"
#include "emit.h"
#include "requests.h"

/* Of a value that makes no sense, what the log gets. */
#define SHOWN_MAX 64

static const char * const source_names[] = FLIGHTREC_SOURCE_NAMES;

static bool ready;
static atomic_t requests = ATOMIC_INIT(0);
static atomic_t failures = ATOMIC_INIT(0);

static void request_events(struct work_struct *work)
{
	int err;

	err = request_module(FLIGHTREC_EVENTS_ALIAS);
	if (err)
		atomic_inc(&failures);
	/* Counted when done: a test that waits for it may then unload both. */
	atomic_inc(&requests);
	if (!err)
		return;
	/* A positive value is modprobe's exit status. */
	pr_warn("kernel events are not recorded: modprobe " FLIGHTREC_EVENTS_ALIAS " failed (%d); install flightrec-events.ko, or set events=none\n",
		err);
}

static DECLARE_WORK(request_work, request_events);

void __init flightrec_requests_start(struct flightrec_channel *channel)
{
	flightrec_emit_to(channel);
	/* Pairs with the acquire in set_events(). */
	smp_store_release(&ready, true);
	if (READ_ONCE(flightrec_sources_wanted))
		schedule_work(&request_work);
}

void flightrec_requests_stop(void)
{
	/* A set_events() under way schedules the work before this, or never. */
	kernel_param_lock(THIS_MODULE);
	smp_store_release(&ready, false);
	kernel_param_unlock(THIS_MODULE);
	cancel_work_sync(&request_work);
	flightrec_emit_to(NULL);
}

/* The mask of a comma-separated list, or -EINVAL. */
static long parse_sources(char *list)
{
	unsigned long mask = 0;
	char *name;
	int id;

	if (!strcmp(list, "none"))
		return 0;
	while ((name = strsep(&list, ","))) {
		id = match_string(source_names, FLIGHTREC_SOURCES, name);
		if (id < 0) {
			pr_err("parameter events: \"%*pE\" is not a source; there are " FLIGHTREC_SOURCE_WORDS "or none\n",
			       (int)strnlen(name, SHOWN_MAX), name);
			return -EINVAL;
		}
		mask |= BIT(id);
	}
	return mask;
}

static int set_events(const char *val, const struct kernel_param *kp)
{
	char *copy;
	long mask;

	copy = kstrdup(val, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	mask = parse_sources(strim(copy));
	kfree(copy);
	if (mask < 0)
		return mask;
	WRITE_ONCE(flightrec_sources_wanted, mask);
	flightrec_cgroups_forget();
	/* Before init the request is left to flightrec_requests_start(). */
	if (mask && smp_load_acquire(&ready))
		schedule_work(&request_work);
	return 0;
}

static int get_events(char *buffer, const struct kernel_param *kp)
{
	unsigned long mask = READ_ONCE(flightrec_sources_wanted);
	int len = 0;
	int id;

	for (id = 0; id < FLIGHTREC_SOURCES; id++)
		if (mask & BIT(id))
			len += scnprintf(buffer + len, PAGE_SIZE - len, "%s%s",
					 len ? "," : "", source_names[id]);
	return len + scnprintf(buffer + len, PAGE_SIZE - len,
			       len ? "\n" : "none\n");
}

const struct kernel_param_ops flightrec_events_ops = {
	.set = set_events,
	.get = get_events,
};

void flightrec_requests_stats(struct seq_file *m)
{
	seq_printf(m, "events_requests=%d events_request_failures=%d",
		   atomic_read(&requests), atomic_read(&failures));
}
