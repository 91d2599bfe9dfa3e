// SPDX-License-Identifier: GPL-2.0-only
/*
 * Modules that come and go. One whose init fails goes as one that is unloaded
 * does, but was never live.
 */
#include <linux/list.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/notifier.h>
#include <linux/slab.h>

#include "event.h"

/* Modules seen coming and not yet live; by address, they are not touched. */
struct coming {
	struct list_head list;
	const struct module *mod;
};

static LIST_HEAD(all_coming);
static DEFINE_MUTEX(coming_lock);

/* Without memory for it, a failure is recorded as an unload. */
static void remember(const struct module *mod)
{
	struct coming *coming = kmalloc(sizeof(*coming), GFP_KERNEL);

	if (!coming)
		return;
	coming->mod = mod;
	mutex_lock(&coming_lock);
	list_add(&coming->list, &all_coming);
	mutex_unlock(&coming_lock);
}

/* True if it was there. */
static bool forget(const struct module *mod)
{
	struct coming *coming, *next;
	bool found = false;

	mutex_lock(&coming_lock);
	list_for_each_entry_safe(coming, next, &all_coming, list) {
		if (mod && coming->mod != mod)
			continue;
		list_del(&coming->list);
		kfree(coming);
		found = true;
	}
	mutex_unlock(&coming_lock);
	return found;
}

static int on_module(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct module *mod = data;

	if (action == MODULE_STATE_COMING) {
		remember(mod);
		return NOTIFY_DONE;
	}
	if (action == MODULE_STATE_LIVE) {
		forget(mod);
		event_emit(FLIGHTREC_SOURCE_MODULE, SEV_INFO,
			   "module load name=%s", mod->name);
	} else if (action == MODULE_STATE_GOING) {
		if (forget(mod))
			event_emit(FLIGHTREC_SOURCE_MODULE, SEV_WARNING,
				   "module load failed name=%s", mod->name);
		else
			event_emit(FLIGHTREC_SOURCE_MODULE, SEV_INFO,
				   "module unload name=%s", mod->name);
	}
	return NOTIFY_DONE;
}

static struct notifier_block module_nb = { .notifier_call = on_module };

static int start(void)
{
	return register_module_notifier(&module_nb);
}

static void stop(void)
{
	unregister_module_notifier(&module_nb);
	forget(NULL);
}

const struct event_source event_module = { .start = start, .stop = stop };
