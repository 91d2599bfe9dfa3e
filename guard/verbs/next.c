// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb next: one screen on the next boot, for somebody who is in a hurry. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/json.h"
#include "guard/base/page.h"
#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/pin/state.h"
#include "guard/repair/show.h"
#include "guard/verbs/verbs.h"

#define NEXT_SCHEMA 1
/* Of what is lost, on one screen. */
#define SHOWN_MAX 5

static const char usage[] =
"Usage: kmodkeep next [--json] [--root DIR]\n"
"One screen: what the next boot would lose, which kernel serves now, what to\n"
"choose in the boot menu or the one command that boots it once, and what\n"
"kmodkeep repair would do. Changes nothing.\n"
"\n"
"  --json         machine-readable output\n"
"  --root DIR     the system installed under DIR\n"
"\n"
"Exit code: 0 the next boot is safe, 1 it is not, 2 wrong usage, 3 could not\n"
"tell.\n";

struct screen {
	struct doctor *d;
	struct plan plan;
	struct safety safety;
	const struct kernel *next;	/* that boots next; NULL: not known */
	const struct kernel *serves;	/* NULL: none does */
	struct boot_choice choice;	/* of serves */
	struct guard_state state;
};

/* The running kernel if it serves, which is seen to boot; else the newest. */
static const struct kernel *find_serving(const struct doctor *d)
{
	const struct kernel *best = NULL;

	for (size_t i = 0; i < d->kernels.count && d->drivers.count; i++) {
		const struct kernel *k = &d->kernels.list[i];

		if (doctor_serves(d, k, false) == ANSWER_YES && (!best || k->running))
			best = k;
	}
	return best;
}

static int read_screen(struct screen *s)
{
	struct doctor *d = s->d;
	int err = doctor_ask_all(d);

	if (!err)
		err = safety_judge(d, &s->safety);
	if (!err)
		err = plan_make(d, &s->plan);
	if (!err)
		err = guard_state_read(d->h, &s->state);
	if (err)
		return err;
	s->next = d->next.kernel ? kernels_find(&d->kernels, d->next.kernel) : NULL;
	/* An answer about a host that has an unread drop-in is none. */
	s->serves = d->broken || d->unseen || d->place != PLACE_HOST ||
		    host_is_immutable(d->h) ? NULL : find_serving(d);
	return !s->serves ? 0 : boot_choice_read(d->h, &d->kernels, d->next.loader,
						 s->serves->release, &s->choice);
}

static void item(const char *label, char *text)
{
	page_item(label, SHOW_COLUMN, text ? text : "(no memory)");
	free(text);
}

/* Is it what is listed under this answer? */
static bool is_listed(const struct screen *s, const struct finding *f, enum answer wanted)
{
	return f->kernel == s->next && f->driver && finding_serves(f) == wanted;
}

/* For one reason: two modules of a driver that was not built have the same. */
static bool same_reason(const struct finding *a, const struct finding *b)
{
	return a->driver == b->driver && a->report.verdict == b->report.verdict;
}

/* How many more there are with its reason; -1: it is not the first of them. */
static long count_more(const struct screen *s, size_t at, enum answer wanted)
{
	const struct finding *all = s->d->findings;
	long more = 0;

	for (size_t i = 0; i < at; i++)
		if (is_listed(s, &all[i], wanted) && same_reason(&all[i], &all[at]))
			return -1;
	for (size_t i = at + 1; i < s->d->count; i++)
		more += is_listed(s, &all[i], wanted) && same_reason(&all[i], &all[at]);
	return more;
}

static void print_lost(const struct screen *s, enum answer wanted, const char *label)
{
	size_t shown = 0, left = 0;

	for (size_t i = 0; i < s->d->count; i++) {
		const struct finding *f = &s->d->findings[i];
		long more = is_listed(s, f, wanted) ? count_more(s, i, wanted) : -1;

		if (more < 0)
			continue;
		if (shown++ >= SHOWN_MAX) {
			left++;
			continue;
		}
		item(label, more ?
		     text_of("%s (%s and %ld more): %s: %s", f->driver->name, f->module, more,
			     verdict_word(f->report.verdict), f->report.message) :
		     text_of("%s: %s: %s", f->module, verdict_word(f->report.verdict),
			     f->report.message));
		label = "";
	}
	if (left)
		item("", text_of("and %zu more drivers: kmodkeep doctor --next-boot", left));
}

static void print_way_out(const struct screen *s)
{
	const struct boot_choice *c = &s->choice;

	if (!s->serves) {
		item("Serves now", text_of("no kernel that is installed here"));
		return;
	}
	item("Serves now", text_of("%s%s", s->serves->release,
				   s->serves->running ? " (running)" : ""));
	if (c->menu)
		item("In the menu", text_of("%s", c->menu));
	else
		item("In the menu", text_of("choose the entry of kernel %s",
					    s->serves->release));
	if (c->once)
		item("Boot it once", text_of("%s; then reboot", c->once));
}

static void print_screen(const struct screen *s)
{
	static const char *const heads[] = {
		[ANSWER_NO] = "NOT SAFE", [ANSWER_YES] = "SAFE",
		[ANSWER_UNVERIFIED] = "CANNOT TELL",
	};
	const char *word, *message, *next;

	page_item(heads[s->safety.safe], SHOW_COLUMN,
		  s->safety.brief ? s->safety.brief : s->safety.line);
	print_lost(s, ANSWER_NO, "Would lose");
	print_lost(s, ANSWER_UNVERIFIED, "Not known");
	if (s->safety.safe != ANSWER_YES && s->d->drivers.count)
		print_way_out(s);
	for (size_t i = 0; guard_change(&s->state, i, &word, &message, &next); i++)
		page_item(i ? "" : "Changed", SHOW_COLUMN, message);
	show_plan(&s->plan, SHOWN_MAX);
	if (s->plan.count)
		page_item("To do that", SHOW_COLUMN, "kmodkeep repair");
	else if (s->safety.safe != ANSWER_YES && !s->plan.other_count && s->safety.next)
		page_item("By hand", SHOW_COLUMN, s->safety.next);
}

static struct json_object *lost_json(const struct screen *s, enum answer wanted)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < s->d->count; i++) {
		const struct finding *f = &s->d->findings[i];
		struct json_object *o;

		if (!is_listed(s, f, wanted))
			continue;
		o = json_object_new_object();
		json_add(o, "driver", f->driver->name);
		json_add(o, "module", f->module);
		json_add(o, "verdict", verdict_word(f->report.verdict));
		json_add(o, "message", f->report.message);
		json_object_array_add(list, o);
	}
	return list;
}

static void print_json(const struct screen *s)
{
	struct json_object *o = json_object_new_object(), *serves = NULL;

	json_add_int(o, "schema", NEXT_SCHEMA);
	json_add(o, "safe", safety_word(s->safety.safe));
	json_add(o, "line", s->safety.line);
	json_add(o, "kernel", s->d->next.kernel);
	json_add(o, "why", s->d->next.why);
	json_object_object_add(o, "lost", lost_json(s, ANSWER_NO));
	json_object_object_add(o, "not_known", lost_json(s, ANSWER_UNVERIFIED));
	if (s->serves) {
		serves = json_object_new_object();
		json_add(serves, "kernel", s->serves->release);
		json_add_bool(serves, "running", s->serves->running);
		json_add(serves, "menu", s->choice.menu);
		json_add(serves, "boot_once", s->choice.once);
	}
	json_object_object_add(o, "serves", serves);
	json_object_object_add(o, "repair", show_steps_json(&s->plan));
	json_object_object_add(o, "by_hand", show_others_json(&s->plan));
	json_object_object_add(o, "changes", s->state.changes ?
			       json_object_get(s->state.changes) : json_object_new_array());
	puts(json_text(o));
	json_object_put(o);
}

static int show(struct screen *s, bool json)
{
	int err = read_screen(s);

	if (err)
		return complain_errno(err, "next");
	if (json)
		print_json(s);
	else
		print_screen(s);
	return safety_exit(s->safety.safe);
}

int verb_next(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct screen s = { 0 };
	const char *root = NULL;
	bool json = false;
	int c, err, code;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'j': json = true; break;
		case 'r': root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		default: return complain_option("next", argv, c);
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "next: unexpected argument '%s'", argv[optind]);
	err = doctor_new(root, complain_message, NULL, &s.d);
	if (err)
		return complain_root(err, root, "next");
	code = show(&s, json);
	guard_state_free(&s.state);
	boot_choice_free(&s.choice);
	safety_free(&s.safety);
	plan_free(&s.plan);
	doctor_free(s.d);
	return code;
}
