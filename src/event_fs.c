// SPDX-License-Identifier: GPL-2.0-only
/*
 * Trouble of file systems: errors that ext4 found, and what it says in the
 * kernel's log when it is made read-only or mounted again.
 *
 * Others tell nothing that is exported: the tracepoints of xfs are private, and
 * btrfs has none. ext4 may be a module, and then its tracepoint comes and goes.
 */
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/notifier.h>
#include <linux/string.h>
#include <linux/tracepoint.h>
#include <trace/events/printk.h>

#include "event.h"

#if IS_ENABLED(CONFIG_EXT4_FS)

#include "compat/ext4.h"

static void on_error(void *data, struct super_block *sb, const char *function,
		     unsigned int line)
{
	check_trace_callback_type_ext4_error(on_error);
	event_emit(FLIGHTREC_SOURCE_FS, SEV_ERR, "fs error dev=%s type=%s at=%s:%u",
		   sb->s_id, sb->s_type->name, function, line);
}

static struct event_probe error = { "ext4_error", (void *)on_error };

static int on_tracepoints(struct notifier_block *nb, unsigned long action, void *data)
{
	const struct tp_module *module = data;
	tracepoint_ptr_t *tp = module->mod->tracepoints_ptrs;
	unsigned int i;

	for (i = 0; i < module->mod->num_tracepoints; i++) {
		struct tracepoint *one = tracepoint_ptr_deref(&tp[i]);

		if (strcmp(one->name, error.name))
			continue;
		if (action == MODULE_STATE_COMING && !error.at &&
		    !tracepoint_probe_register(one, error.call, NULL))
			error.at = one;
		else if (action == MODULE_STATE_GOING && error.at == one)
			event_unprobe(&error);
	}
	return NOTIFY_DONE;
}

static struct notifier_block tracepoints_nb = { .notifier_call = on_tracepoints };

/* Does the line have that text? */
static bool has(const char *line, size_t len, const char *text)
{
	return strnstr(line, text, len);
}

static void on_line(void *data, const char *text, size_t len)
{
	static const char begin[] = "EXT4-fs (";

	check_trace_callback_type_console(on_line);
	text = event_log_line(text, &len);
	if (len < strlen(begin) || memcmp(text, begin, strlen(begin)))
		return;
	if (has(text, len, "): Remounting filesystem read-only"))
		event_emit(FLIGHTREC_SOURCE_FS, SEV_ERR, "fs read-only %.*s", (int)len, text);
	else if (has(text, len, "): re-mounted"))
		event_emit(FLIGHTREC_SOURCE_FS, SEV_NOTICE, "fs remount %.*s", (int)len, text);
}

static struct event_log log = EVENT_LOG(on_line);

static int start(void)
{
	int err = event_log_start(&log);

	if (err)
		return err;
	err = event_probe(&error);
	if (err && err != -ENOENT)
		goto fail;
	/* Tells of all modules that are there already, too. */
	err = register_tracepoint_module_notifier(&tracepoints_nb);
	if (!err)
		return 0;
	if (error.at)
		event_unprobe(&error);
fail:
	event_log_stop(&log);
	return err;
}

static void stop(void)
{
	unregister_tracepoint_module_notifier(&tracepoints_nb);
	if (error.at)
		event_unprobe(&error);
	event_log_stop(&log);
}

#else

static int start(void)
{
	return -EOPNOTSUPP;
}

static void stop(void)
{
}

#endif

const struct event_source event_fs = { .start = start, .stop = stop };
