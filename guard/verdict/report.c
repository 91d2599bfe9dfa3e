// SPDX-License-Identifier: GPL-2.0-or-later
/* The words of the verdicts, and a verdict as text and JSON. */
#include "guard/verdict/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/base/util.h"

static const struct {
	const char *word;
	int exit;
} verdicts[] = {
	[VERDICT_OK] = { "ok", EXIT_YES },
	[VERDICT_MISSING] = { "missing", EXIT_NO },
	[VERDICT_KERNEL_INCOMPLETE] = { "kernel-incomplete", EXIT_NO },
	[VERDICT_WRONG_KERNEL] = { "wrong-kernel", EXIT_NO },
	[VERDICT_UNSIGNED] = { "unsigned", EXIT_NO },
	[VERDICT_UNTRUSTED_KEY] = { "untrusted-key", EXIT_NO },
	[VERDICT_TAMPERED] = { "tampered", EXIT_NO },
	[VERDICT_UNSUPPORTED_SIGNATURE] = { "unsupported-signature", EXIT_NO },
	[VERDICT_UNSUPPORTED_COMPRESSION] = {
		"unsupported-compression", EXIT_NO },
	[VERDICT_PENDING_ENROLMENT] = { "pending-enrolment", EXIT_NO },
	[VERDICT_REVOKED] = { "revoked", EXIT_NO },
	[VERDICT_STALE_INITRAMFS] = { "stale-initramfs", EXIT_NO },
	[VERDICT_STALE_LOADED] = { "stale-loaded", EXIT_NO },
	[VERDICT_OTHER_VERSION] = { "other-version", EXIT_NO },
	[VERDICT_NOT_FOR_KERNEL] = { "not-made-for-kernel", EXIT_NO },
	[VERDICT_BLOCKED] = { "blocked", EXIT_NO },
	[VERDICT_NOT_APPLICABLE] = { "not-applicable", EXIT_YES },
	[VERDICT_UNKNOWN] = { "unknown", EXIT_UNSURE },
};
_Static_assert(ARRAY_SIZE(verdicts) == VERDICT_COUNT, "a word for each");

const char *verdict_word(enum verdict v)
{
	return verdicts[v].word;
}

bool verdict_parse(const char *word, enum verdict *out)
{
	for (int v = 0; v < VERDICT_COUNT; v++)
		if (!strcmp(word, verdicts[v].word)) {
			*out = v;
			return true;
		}
	return false;
}

int verdict_exit(enum verdict v)
{
	return verdicts[v].exit;
}

void report_free(struct report *r)
{
	free(r->message);
	free(r->next_step);
	free(r->command);
	free(r->kernel);
	free(r->signer);
	modinfo_free(&r->info);
	memset(r, 0, sizeof(*r));
}

static int set(struct report *r, enum verdict v, const char *next, const char *fmt, va_list ap)
{
	free(r->message);
	free(r->next_step);
	free(r->command);
	r->verdict = v;
	r->message = NULL;
	r->cause = CAUSE_NONE;
	r->command = NULL;
	r->next_step = next ? strdup(next) : NULL;
	if (vasprintf(&r->message, fmt, ap) < 0)
		r->message = NULL;
	return r->message && (!next || r->next_step) ? 0 : -ENOMEM;
}

int report_set(struct report *r, enum verdict v, const char *next,
	       const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = set(r, v, next, fmt, ap);
	va_end(ap);
	return err;
}

int report_cause(struct report *r, enum verdict v, enum cause c, const char *fmt, ...)
{
	va_list ap;
	int err;

	va_start(ap, fmt);
	err = set(r, v, NULL, fmt, ap);
	va_end(ap);
	return err ? err : report_advise(r, c, NULL);
}

int report_command(struct report *r, enum cause c, const char *command)
{
	free(r->command);
	r->cause = c;
	r->command = command ? strdup(command) : NULL;
	return !command || r->command ? 0 : -ENOMEM;
}

int report_step(struct report *r, char *next)
{
	if (!next)
		return -ENOMEM;
	free(r->next_step);
	r->next_step = next;
	return report_command(r, CAUSE_NONE, NULL);
}

int report_advise(struct report *r, enum cause c, const struct subject *s)
{
	char *command = s ? advice_command(c, s) : NULL;
	char *text = NULL;
	int err;

	/* What was said of this cause already is as good as the words in general. */
	if (command || r->cause != c || !r->next_step) {
		text = advice_text(c, s, command);
		if (!text) {
			free(command);
			return -ENOMEM;
		}
		if (*text) {
			free(r->next_step);
			r->next_step = text;
		} else {
			free(text);
		}
	}
	err = report_command(r, c, command);
	free(command);
	return err;
}

struct json_object *report_json(const struct report *r, const char *subject)
{
	struct json_object *o = json_object_new_object();

	if (!o)
		return NULL;
	json_add(o, "file", subject);
	json_add(o, "verdict", verdict_word(r->verdict));
	json_add(o, "message", r->message);
	json_add(o, "next_step", r->next_step);
	json_add(o, "cause", cause_word(r->cause));
	json_add(o, "command", r->command);
	json_add(o, "kernel", r->kernel);
	json_add(o, "signer", r->signer);
	json_add(o, "module", r->info.name);
	json_add(o, "version", r->info.version);
	json_add(o, "srcversion", r->info.srcversion);
	json_add(o, "vermagic", r->info.vermagic);
	return o;
}
