// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verb repair: one step at a time, each shown before it is run. After each the
 * host is read anew, and the plan is made of what is found then, so that a run which
 * was ended anywhere is gone on with by the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "guard/base/ask.h"
#include "guard/base/lock.h"
#include "guard/base/say.h"
#include "guard/base/script.h"
#include "guard/base/util.h"
#include "guard/pin/state.h"
#include "guard/repair/perform.h"
#include "guard/repair/show.h"
#include "guard/verbs/verbs.h"
#include "guard/verdict/room.h"

#define LOCK GUARD_DIR "/repair.lock"
#define LOG GUARD_DIR "/repair.log"
#define LOCK_SECONDS 600
#define GUARD_SECONDS 300
#define STEPS_MAX 100

static const char usage[] =
"Usage: kmodkeep repair [--dry-run] [--yes] [--root DIR]\n"
"Does what the findings on the next boot ask for, in the order in which it helps:\n"
"installs headers and a compiler, has dkms build and install, signs, has dpkg\n"
"finish, makes the initramfs. Each step is shown with its reason before it is\n"
"run, and judged after it; the first that did not help is the last. Deletes\n"
"nothing, reboots nothing, and leaves kernels alone that serve.\n"
"\n"
"  --dry-run      print the steps that are known now, and do nothing\n"
"  --yes          do not ask before each step; without a terminal nothing is\n"
"                 done otherwise\n"
"  --root DIR     the system installed under DIR, with --dry-run alone\n"
"\n"
"Exit code: 0 the next boot is safe, 1 it is not or a step failed, 2 wrong usage,\n"
"3 could not tell.\n";

struct repair {
	const char *root;
	bool dry_run, yes;
	struct doctor *d;
	struct plan plan;
	struct safety safety;
	struct performing by;
	char *done[STEPS_MAX];	/* commands that were run */
	size_t done_count;
};

static void forget(struct repair *r)
{
	plan_free(&r->plan);
	safety_free(&r->safety);
	doctor_free(r->d);
	r->d = NULL;
}

/* Reads the host as it is now. EXIT_YES, or the code to end with. */
static int look(struct repair *r)
{
	int err;

	forget(r);
	err = doctor_new(r->root, complain_message, NULL, &r->d);
	if (err)
		return complain_root(err, r->root, "repair");
	r->by.h = r->d->h;
	err = plan_make(r->d, &r->plan);
	if (!err)
		err = safety_judge(r->d, &r->safety);
	return err ? complain_errno(err, "repair") : EXIT_YES;
}

/* What has become of the finding that a step was for. */
static void say_now(const struct repair *r, const char *module, const char *kernel)
{
	for (size_t i = 0; module && kernel && i < r->d->count; i++) {
		const struct finding *f = &r->d->findings[i];

		if (f->driver && !strcmp(f->module, module) && !strcmp(f->kernel->release, kernel))
			printf("kmodkeep: now: %s on %s: %s\n", module, kernel,
			       verdict_word(f->report.verdict));
	}
}

static bool was_done(const struct repair *r, const char *command)
{
	for (size_t i = 0; i < r->done_count; i++)
		if (!strcmp(r->done[i], command))
			return true;
	return false;
}

/* EXIT_YES to go on with a new plan, else the code to end with. */
static int do_step(struct repair *r, const struct step *s)
{
	char *module = s->finding ? strdup(s->finding->module) : NULL;
	char *kernel = s->finding ? strdup(s->finding->kernel->release) : NULL;
	char *command = strdup(s->command), said[256];
	int code = EXIT_YES, err;

	printf("kmodkeep: step %zu: %s\n          why: %s\n", r->done_count + 1, s->command,
	       s->why);
	if (!command) {
		code = complain_errno(-ENOMEM, "repair");
		goto out;
	}
	if (!r->yes && !ask_yes("run it?")) {
		puts("kmodkeep: not run, and nothing more is done. To go on: kmodkeep repair");
		code = EXIT_NO;
		goto out;
	}
	fflush(stdout);
	err = perform(&r->by, s, said);
	r->done[r->done_count++] = command;
	command = NULL;
	if (err) {
		code = complain(EXIT_NO, "%s failed: %s. Next: read " LOG ", mend that, then: "
				"kmodkeep repair", r->done[r->done_count - 1], said);
		goto out;
	}
	code = look(r);
	if (code)
		goto out;
	say_now(r, module, kernel);
	if (plan_find(&r->plan, r->done[r->done_count - 1]))
		code = complain(EXIT_NO, "%s did not help, so nothing more is done. Next: read "
				LOG, r->done[r->done_count - 1]);
out:
	free(module);
	free(kernel);
	free(command);
	return code;
}

/* All that waits for the answer of the guard: state.json, motd, a pin. */
static void run_guard(const struct repair *r)
{
	static const char *const words[] = { "guard", NULL };
	struct run_result run;

	if (run_self(words, r->root, GUARD_SECONDS, &run) || run.timed_out)
		complain(0, "the guard could not be run. Next: kmodkeep guard");
}

static int end(struct repair *r, int code)
{
	int now;

	if (r->done_count) {
		run_guard(r);
		now = look(r);
		if (now)
			return now;
	}
	show_plan(&(struct plan){ .others = r->plan.others,
				  .other_count = r->plan.other_count }, SIZE_MAX);
	printf("kmodkeep: %s\n", r->safety.line);
	now = safety_exit(r->safety.safe);
	return now ? now : code;
}

static int go_on(struct repair *r)
{
	int code = EXIT_YES;

	while (!code && r->plan.count) {
		const struct step *s = &r->plan.list[0];

		if (r->done_count == STEPS_MAX || was_done(r, s->command))
			code = complain(EXIT_NO, "%s is asked for again, so nothing more is "
					"done. Next: kmodkeep next", s->command);
		else
			code = do_step(r, s);
	}
	return end(r, code);
}

static int print_plan(const struct repair *r)
{
	char *room = room_warning(r->d);

	show_plan(&r->plan, SIZE_MAX);
	if (r->plan.count)
		puts("kmodkeep: more steps may follow from what these find");
	else if (r->safety.safe == ANSWER_YES)
		puts("kmodkeep: there is nothing to repair");
	if (room)
		printf("kmodkeep: warning: %s\n", room);
	free(room);
	printf("kmodkeep: %s\n", r->safety.line);
	return safety_exit(r->safety.safe);
}

static int open_log(const struct host *h)
{
	char *path = host_path(h, LOG);
	int fd = path ? open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600) :
			-1;

	free(path);
	return fd;
}

/* EXIT_YES with the lock, or the code to end with. */
static int begin(struct repair *r)
{
	char *path = host_path(r->d->h, LOCK);

	if (geteuid()) {
		free(path);
		return complain(EXIT_NO, "only root may do this. Next: run it as root");
	}
	r->by.lock_fd = path ? lock_take(path, LOCK_SECONDS) : -ENOMEM;
	free(path);
	if (r->by.lock_fd == -ETIMEDOUT)
		return EXIT_NO;
	if (r->by.lock_fd < 0)
		return complain_errno(r->by.lock_fd, LOCK);
	r->by.log_fd = open_log(r->d->h);
	if (r->by.log_fd < 0)
		return complain_errno(-errno, LOG);
	/* Another one may have repaired it meanwhile. */
	return look(r);
}

static int repair(struct repair *r)
{
	int code = look(r);

	if (code)
		return code;
	if (r->d->place != PLACE_HOST && !r->dry_run) {
		printf("kmodkeep: nothing is repaired in a %s\n", place_word(r->d->place));
		return safety_exit(r->safety.safe);
	}
	if (r->dry_run || (!r->yes && !ask_possible())) {
		code = print_plan(r);
		if (!r->dry_run && r->plan.count)
			puts("kmodkeep: nothing was done: there is no terminal to ask on. "
			     "Next: kmodkeep repair --yes");
		return code;
	}
	if (!r->plan.count)
		return print_plan(r);
	code = begin(r);
	return code ? code : go_on(r);
}

int verb_repair(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "dry-run", no_argument, NULL, 'n' },
		{ "yes", no_argument, NULL, 'y' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct repair r = { .by = { .lock_fd = -1, .log_fd = -1 } };
	struct host *h = NULL;
	int c, err, code;
	bool may_act;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'n': r.dry_run = true; break;
		case 'y': r.yes = true; break;
		case 'r': r.root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		default: return complain_option("repair", argv, c);
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "repair: unexpected argument '%s'", argv[optind]);
	err = host_new(r.root, &h);
	if (err)
		return complain_root(err, r.root, "repair");
	may_act = host_may_act(h);
	host_free(h);
	if (!may_act && !r.dry_run)
		return complain(EXIT_USAGE, "repair: %s is not the running system, and nothing is "
				"run for another one. Next: add --dry-run, to see the steps",
				r.root);
	code = repair(&r);
	forget(&r);
	for (size_t i = 0; i < r.done_count; i++)
		free(r.done[i]);
	if (r.by.lock_fd >= 0)
		close(r.by.lock_fd);
	if (r.by.log_fd >= 0)
		close(r.by.log_fd);
	return code;
}
