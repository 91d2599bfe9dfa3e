// SPDX-License-Identifier: GPL-2.0-or-later
/* One page that says whether all is well, and what to do if not. */
#include <ctype.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guard/base/page.h"
#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/discover.h"
#include "guard/host/firmware.h"
#include "guard/host/host.h"
#include "guard/host/tpm.h"
#include "guard/pin/state.h"
#include "guard/verdict/room.h"
#include "guard/verdict/safety.h"
#include "kmodkeep/verbs.h"
#include "guard/trust/firmware_ca.h"
#include "signing/keystate.h"

#define COLUMN 15
#define EXPIRES_SOON (60 * 24 * 3600)
#define WAITS "/var/lib/kmodkeep/kernel-waits"
#define WAITS_MAX (64 << 10)

static const char usage[] =
"Usage: kmodkeep status [--root DIR]\n"
"One page: is the next boot safe, Secure Boot, the key, each driver on each\n"
"kernel, and what to do.\n"
"\n"
"  --root DIR     the system installed under DIR\n"
"\n"
"Exit code: 0 the next boot is safe, 1 it is not, 2 wrong usage, 3 could not\n"
"tell.\n";

/* What there is to do, each once, in the order of urgency. */
struct todo {
	char *list[16];
	size_t count;
};

static void add_todo(struct todo *t, char *text)
{
	for (size_t i = 0; text && i < t->count; i++)
		if (!strcmp(t->list[i], text)) {
			free(text);
			return;
		}
	if (text && t->count < ARRAY_SIZE(t->list))
		t->list[t->count++] = text;
	else
		free(text);
}

static void item(const char *label, char *text)
{
	page_item(label, COLUMN, text ? text : "(no memory)");
	free(text);
}

static void print_answer(const struct safety *s)
{
	static const char *const heads[] = {
		[ANSWER_NO] = "NOT SAFE", [ANSWER_YES] = "SAFE",
		[ANSWER_UNVERIFIED] = "CANNOT TELL",
	};

	/* The reason stands with the module, below. */
	page_item(heads[s->safe], COLUMN, s->brief ? s->brief : s->line);
}

static void print_secure_boot(const struct doctor *d)
{
	static const char *const demands[] = {
		[DEMAND_NO] = "unsigned modules load",
		[DEMAND_YES] = "modules must be signed",
		[DEMAND_UNKNOWN] = "whether modules must be signed cannot be "
				   "read",
	};
	char *lockdown = host_line(d->h, "/sys/kernel/security/lockdown");
	char *now = lockdown ? strchr(lockdown, '[') : NULL;

	if (now)
		now[strcspn(now, "]")] = '\0';
	item("Secure Boot", text_of("%s; %s; lockdown: %s",
				    secure_boot_word(host_secure_boot(d->h)),
				    demands[host_demands_signature(d->h)],
				    now ? now + 1 : "unknown"));
	free(lockdown);
}

static bool expires_soon(const struct keystate *s)
{
	struct tm tm = { 0 };

	return *s->expires && strptime(s->expires, "%Y-%m-%d", &tm) &&
	       timegm(&tm) - time(NULL) < EXPIRES_SOON;
}

static void print_key(const struct doctor *d, struct todo *todo)
{
	const char *next;
	struct keystate *s;

	if (keystate_read(d->h, false, &s))
		return;
	next = keystate_next_step(s);
	if (s->name)
		item("Key", text_of("'%s', %s; expires %s%s", s->name,
				    enrolment_word(s->enrolment), s->expires,
				    expires_soon(s) ? " (soon; kernels do not "
				    "mind, but plan another one)" : ""));
	else
		item("Key", text_of("%s", s->key && s->key->problem ?
				    s->key->problem : s->key ?
				    "not readable by this user" : "none"));
	if (next)
		add_todo(todo, strdup(next));
	keystate_free(s);
}

/* Only where something is to be known or done: key status has all of it. */
static void print_firmware(const struct doctor *d, struct todo *todo)
{
	struct firmware_ca f;

	if (firmware_ca_read(d->h, &f))
		return;
	if (firmware_ca_meaning(&f))
		item("Firmware", text_of("%s", firmware_ca_meaning(&f)));
	if (f.first.boots == BOOTS_NO && firmware_ca_next_step(&f))
		add_todo(todo, strdup(firmware_ca_next_step(&f)));
	firmware_ca_free(&f);
}

/* A key may stand between an encrypted disk and its TPM. */
static void print_tpm(const struct doctor *d)
{
	char *text = host_demands_signature(d->h) == DEMAND_NO ? NULL :
		     tpm_warning_of(d->h);

	if (text)
		page_item("Encryption", COLUMN, text);
	free(text);
}

static void print_room(const struct doctor *d)
{
	char *text = room_warning(d);

	if (text)
		page_item("Room", COLUMN, text);
	free(text);
}

/* Where a kernel stands, in a word or two. */
static const char *role_of(const struct doctor *d, const struct kernel *k)
{
	bool next = d->next.kernel && !strcmp(d->next.kernel, k->release);

	if (k->running)
		return next ? "running, boots next" : "running";
	return next ? "boots next" : "installed";
}

static void print_finding(const struct doctor *d, const struct finding *f,
			  struct todo *todo)
{
	enum answer serves = finding_serves(f);
	char *text;

	if (serves == ANSWER_YES)
		text = text_of("%s", verdict_word(f->report.verdict));
	else
		text = text_of("%s: %s", verdict_word(f->report.verdict),
			       f->report.message);
	for (char *p = text; serves == ANSWER_NO && p && *p && *p != ':'; p++)
		*p = toupper((unsigned char)*p);
	item("", text_of("%s: %s", f->module, text ? text : ""));
	free(text);
	if (serves != ANSWER_YES && f->report.next_step &&
	    (f->kernel->running || !strncmp(role_of(d, f->kernel), "boots", 5)))
		add_todo(todo, text_of("%s on %s: %s", f->module,
				       f->kernel->release,
				       f->report.next_step));
}

static void print_kernels(const struct doctor *d, struct todo *todo)
{
	for (size_t i = 0; i < d->kernels.count; i++) {
		const struct kernel *k = &d->kernels.list[i];

		item("Kernel", text_of("%s (%s)", k->release, role_of(d, k)));
		for (size_t f = 0; f < d->count; f++)
			if (d->findings[f].kernel == k)
				print_finding(d, &d->findings[f], todo);
	}
	if (!d->kernels.count)
		item("Kernel", text_of("none is installed here"));
}

static void print_packages(const struct doctor *d, struct todo *todo)
{
	for (size_t i = 0; i < d->unfinished.count; i++) {
		const struct package *p = &d->unfinished.list[i];

		item("Package", text_of("%s is %s", p->name, p->state));
	}
	if (d->unfinished.count)
		add_todo(todo, text_of("finish the package%s named above: "
				       "dpkg --configure -a",
				       d->unfinished.count > 1 ? "s" : ""));
}

/* SINCE PACKAGE KERNEL-PACKAGE STAYS-AT WAITS MAINTAINER, as system/kernel-hold writes it. */
static void print_wait(char *line)
{
	char *words[5], *rest = line, day[32] = "?";
	struct tm tm;
	time_t since;

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		words[i] = strsep(&rest, " ");
		if (!rest) {
			item("Kernel waits", text_of("%s is damaged", WAITS));
			return;
		}
	}
	since = strtoll(words[0], NULL, 10);
	if (gmtime_r(&since, &tm))
		strftime(day, sizeof(day), "%F", &tm);
	item("Kernel waits", text_of("%s %s, for %s, since %s; it comes from %s",
				     words[2], words[4], words[1], day, rest));
}

/* Kernels that are not installed yet, since a prebuilt driver is not there for them. */
static void print_waits(const struct doctor *d)
{
	char *path = host_resolve(d->h, WAITS), *text, *line, *rest;
	struct buf b = { NULL, 0 };
	int err;

	if (!path)
		return;
	err = file_read(path, WAITS_MAX, &b);
	rest = text = err ? NULL : strndup((char *)b.data, b.len);
	if (err)
		item("Kernel waits", text_of("%s: %s", WAITS, strerror(-err)));
	while ((line = strsep(&rest, "\n")))
		if (*line) {
			make_printable(line);
			print_wait(line);
		}
	free(text);
	free(path);
	buf_free(&b);
}

/* Each driver, and where it is known from. */
static void print_drivers(const struct doctor *d)
{
	for (size_t i = 0; i < d->drivers.count; i++) {
		const struct driver *one = &d->drivers.list[i];
		char *from = driver_sources(one);

		item(i ? "" : "Drivers", text_of("%s (%s)", one->name,
						 from ? from : "?"));
		free(from);
	}
	if (!d->drivers.count)
		item("Drivers", text_of("no out-of-tree driver was found"));
}

/* As the guard of this boot has found it. */
static void print_changes(const struct doctor *d, struct todo *todo)
{
	const char *word, *message, *next;
	struct guard_state state;

	if (guard_state_read(d->h, &state))
		return;
	for (size_t i = 0; guard_change(&state, i, &word, &message, &next); i++) {
		page_item(i ? "" : "Changed", COLUMN, message);
		add_todo(todo, strdup(next));
	}
	guard_state_free(&state);
}

static void print_page(struct doctor *d, const struct safety *s)
{
	struct todo todo = { 0 };

	print_answer(s);
	if (d->next.kernel)
		item("Next boot", text_of("%s (%s)", d->next.kernel,
					  d->next.why));
	else
		item("Next boot", text_of("unknown: %s", d->next.why));
	print_secure_boot(d);
	print_changes(d, &todo);
	print_key(d, &todo);
	print_firmware(d, &todo);
	print_tpm(d);
	print_room(d);
	print_kernels(d, &todo);
	print_waits(d);
	print_packages(d, &todo);
	print_drivers(d);
	/* With a brief answer it is said of the module. */
	if (s->safe != ANSWER_YES && s->next && (!todo.count || !s->brief))
		add_todo(&todo, strdup(s->next));
	for (size_t i = 0; i < todo.count; i++) {
		page_item(i ? "" : "What to do", COLUMN, todo.list[i]);
		free(todo.list[i]);
	}
}

static int show(struct doctor *d)
{
	struct safety s;
	int err = doctor_ask_all(d), code;

	if (!err)
		err = safety_judge(d, &s);
	if (err)
		return complain_errno(err, "status");
	print_page(d, &s);
	code = safety_exit(s.safe);
	safety_free(&s);
	return code;
}

int verb_status(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *root = NULL;
	struct doctor *d;
	int c, err, code;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'r': root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		default: return complain_option("status", argv, c);
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "status: unexpected argument '%s'",
				argv[optind]);
	err = doctor_new(root, complain_message, NULL, &d);
	if (err)
		return complain_root(err, root, "status");
	code = show(d);
	doctor_free(d);
	return code;
}
