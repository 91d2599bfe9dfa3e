// SPDX-License-Identifier: GPL-2.0-or-later
/* The verbs guard and pin: after each change, is the next boot safe? */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/lock.h"
#include "guard/base/run.h"
#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/boot/nextboot.h"
#include "guard/pin/announce.h"
#include "guard/pin/outside.h"
#include "guard/pin/pin.h"
#include "guard/trust/enrol_request.h"
#include "guard/verbs/verbs.h"
#include "guard/verdict/room.h"

#define RUN_DIR "/run/kmodkeep"
#define MARK RUN_DIR "/transaction"
#define UNIT "kmodkeep-guard.service"
#define LOCK_SECONDS 120

static const char usage[] =
"Usage: kmodkeep guard [--boot | --trigger | --transaction] [--root DIR]\n"
"Is the next boot safe for all drivers? Says so in one line, writes\n"
"/var/lib/kmodkeep/state.json, and pins the boot loader to a kernel that serves\n"
"where the policy of a driver is pin-last-good.\n"
"\n"
"  --boot         at boot, by kmodkeep-guard.service\n"
"  --trigger      by the trigger of a package; apt gets its line at its end\n"
"  --transaction  at the end of apt: says the line if a trigger was run, or the\n"
"                 boot menu is another one\n"
"  --root DIR     the system installed under DIR\n"
"\n"
"Exit code: 0 safe, 1 not safe, 2 wrong usage, 3 could not tell. With --trigger\n"
"and --transaction 0: it is not the transaction that failed.\n";

struct guard {
	struct doctor *d;
	struct guard_state state;
	struct guard_conf conf;
	struct safety safety;
	char *pin_said;
	bool changed;
};

/*
 * One guard at a time; the lock goes with this process. What holds it reads what
 * this one would, and does what this one would: it is not worth a long wait of
 * a package manager. -ETIMEDOUT: it is held; -1: there can be none here.
 */
static int take_lock(const struct host *h)
{
	char *dir = host_path(h, GUARD_DIR);
	char *path = host_path(h, GUARD_DIR "/guard.lock");
	int fd = -1;

	if (dir && path) {
		fd = lock_take(path, LOCK_SECONDS);
		if (fd < 0 && fd != -ETIMEDOUT)
			fd = -1;
	}
	free(dir);
	free(path);
	return fd;
}

static void guard_free(struct guard *g)
{
	safety_free(&g->safety);
	guard_conf_free(&g->conf);
	guard_state_free(&g->state);
	doctor_free(g->d);
	free(g->pin_said);
}

/* What has changed since the boot before, and what the next one is compared with. */
static void note_outside(struct guard *g)
{
	struct json_object *now = outside_read(g->d->h);

	json_object_put(g->state.changes);
	g->state.changes = outside_compare(g->state.outside, now, g->d->t);
	/* With what cannot be read in this boot the next one is compared as it was. */
	if (g->state.outside && now) {
		json_object_object_foreach(g->state.outside, key, was) {
			struct json_object *is = NULL;

			if (was && json_object_object_get_ex(now, key, &is) && !is)
				json_object_object_add(now, key, json_object_get(was));
		}
	}
	json_object_put(g->state.outside);
	g->state.outside = now;
}

/*
 * The first time in a boot only: lists that grow later are not those that this
 * kernel got through.
 */
static int note_boot(struct guard *g)
{
	const char *kernel = host_running_kernel(g->d->h);
	char *lists = guard_revocations(g->d->h);
	char *boot_id = host_boot_id(g->d->h);
	bool known = boot_id && g->state.boot_id &&
		     !strcmp(boot_id, g->state.boot_id);
	int err = 0;

	if (!lists)
		err = -ENOMEM;
	else if (*kernel && !known)
		err = guard_note_boot(&g->state, kernel, lists);
	if (!known || !g->state.outside)
		note_outside(g);
	free(lists);
	free(boot_id);
	return err;
}

/* A record that stays would make a key that is lost later one that was declined. */
static int settle_request(const struct doctor *d)
{
	int err = enrol_request_settle(d->h, d->t);

	if (err && err != -ENOMEM) {
		complain_errno(err, "the record of a request that was granted");
		err = 0;
	}
	return err;
}

/* Reads everything and makes up its mind; acts on the boot loader if need be. */
static int judge(struct guard *g)
{
	struct doctor *d = g->d;
	int err = guard_state_read(d->h, &g->state);

	if (!err)
		err = guard_conf_read(d->h, complain_message, NULL, &g->conf);
	if (!err)
		err = note_boot(g);
	if (!err)
		err = doctor_ask_all(d);
	if (!err)
		err = settle_request(d);
	if (!err)
		err = pin_keep(d, &g->state, &g->conf, &g->changed,
			       &g->pin_said);
	return err ? err : safety_judge(d, &g->safety);
}

static void print_lines(const struct guard *g)
{
	const struct safety *s = &g->safety;
	char *room = room_warning(g->d);
	const char *word, *message, *next;

	for (size_t i = 0; guard_change(&g->state, i, &word, &message, &next); i++)
		printf("kmodkeep: since the last boot: %s. Next: %s\n", message, next);
	for (size_t i = 0; i < g->d->unfinished.count; i++)
		printf("kmodkeep: package %s is %s. Next: look at the messages "
		       "above, then: dpkg --configure -a\n",
		       g->d->unfinished.list[i].name,
		       g->d->unfinished.list[i].state);
	printf("kmodkeep: %s", s->line);
	if (g->state.pin.kernel)
		printf(g->state.pin.held ? "; held there by hand, in place of %s" :
		       "; pinned, as %s would lose a driver",
		       g->state.pin.instead_of);
	if (g->pin_said && !g->state.pin.kernel)
		printf("; %s", g->pin_said);
	if (s->next && s->safe != ANSWER_YES)
		printf(". Next: %s", s->next);
	putchar('\n');
	if (room)
		printf("kmodkeep: warning: %s\n", room);
	free(room);
}

/* Files that tell others. What cannot be written is named. */
static int record(const struct guard *g)
{
	const struct doctor *d = g->d;
	int err, first;

	first = guard_state_write(d, &g->state, &g->safety, g->pin_said);
	if (first)
		complain_errno(first, GUARD_STATE);
	err = guard_write_motd(d->h, &g->state, &g->safety);
	if (err)
		complain_errno(err, "/run/motd.d/kmodkeep");
	first = first ? first : err;
	if (g->conf.prometheus) {
		err = guard_write_metrics(d, &g->state, &g->safety,
					  g->conf.prometheus);
		if (err)
			complain_errno(err, g->conf.prometheus);
		first = first ? first : err;
	}
	return first;
}

/* The unit shows by failing that the host is not safe. */
static void restart_unit(const struct host *h)
{
	char *const argv[] = { (char *)"systemctl", (char *)"--no-block",
			       (char *)"restart", (char *)UNIT, NULL };
	struct run_result run;

	if (host_is_live(h) && path_exists("/run/systemd/system"))
		run_program(argv, 30, &run);
}

static int run(const char *root, bool quiet, bool restart)
{
	struct guard g = { 0 };
	int code, err = doctor_new(root, complain_message, NULL, &g.d);

	if (!err)
		err = judge(&g);
	if (err) {
		code = complain_errno(err, "guard");
	} else {
		err = record(&g);
		if (!quiet)
			print_lines(&g);
		code = safety_exit(g.safety.safe);
		if (err && code == EXIT_YES)
			code = EXIT_UNSURE;
	}
	if (restart && g.d)
		restart_unit(g.d->h);
	guard_free(&g);
	return code;
}

/* Under apt more may follow; its own hook asks again when all is done. */
static bool leave_to_apt(const struct host *h)
{
	char *dir = host_path(h, RUN_DIR), *path = host_path(h, MARK);
	bool left = false;
	int fd;

	if (getenv("DPKG_FRONTEND_LOCKED") && dir && path) {
		mkdir(dir, 0755);
		fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
		left = fd >= 0;
		if (left)
			close(fd);
	}
	free(dir);
	free(path);
	return left;
}

static bool take_mark(const struct host *h)
{
	char *path = host_path(h, MARK);
	bool there = path && unlink(path) == 0;

	free(path);
	return there;
}

/*
 * A package that makes the boot menu anew may put a kernel into it that was
 * left half-way: no trigger tells of that.
 */
static bool menu_changed(const struct host *h)
{
	char *state = host_path(h, GUARD_STATE);
	struct stat st;
	bool there = state && stat(state, &st) == 0;

	free(state);
	/* It was renamed into place after it was written. */
	return there && next_boot_changed(h, st.st_ctim.tv_sec > st.st_mtim.tv_sec ? st.st_ctim :
					  st.st_mtim);
}

static int guard(const struct host *h, const char *root, int how)
{
	enum place place = host_place(h);
	bool quiet = false, of_package = how == 't' || how == 'e';
	int code, lock;

	/* A container or chroot boots nothing. */
	if (place != PLACE_HOST) {
		if (!of_package)
			printf("kmodkeep: nothing to guard in a %s\n",
			       place_word(place));
		return EXIT_YES;
	}
	if (how == 't')
		quiet = leave_to_apt(h);
	if (how == 'e' && !take_mark(h) && !menu_changed(h))
		return EXIT_YES;
	/* Before anything is read: what another one does may change it. */
	lock = take_lock(h);
	code = lock == -ETIMEDOUT ? EXIT_UNSURE : run(root, quiet, of_package);
	if (lock >= 0)
		close(lock);
	return of_package ? EXIT_YES : code;
}

int verb_guard(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "boot", no_argument, NULL, 'b' },
		{ "trigger", no_argument, NULL, 't' },
		{ "transaction", no_argument, NULL, 'e' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *root = NULL;
	struct host *h;
	int c, err, how = 0, code;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'r': root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		case '?': case ':': return complain_option("guard", argv, c);
		default:
			if (how)
				return complain(EXIT_USAGE, "guard: --boot, "
						"--trigger and --transaction "
						"exclude each other");
			how = c;
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "guard: unexpected argument '%s'",
				argv[optind]);
	err = host_new(root, &h);
	if (err)
		return complain_root(err, root, "guard");
	code = guard(h, root, how);
	host_free(h);
	return code;
}

static const char pin_usage[] =
"Usage: kmodkeep pin [release | hold KERNEL] [--root DIR]\n"
"Says which kernel the boot loader is pinned to by the policy pin-last-good;\n"
"with release, gives the boot loader its default back. It is not pinned again\n"
"because of the same kernel. With hold, KERNEL boots until a kernel is installed\n"
"that is newer than the one which would boot now, whatever that one serves.\n"
"\n"
"  --root DIR     the system installed under DIR\n"
"\n"
"Exit code: 0 done, or there is a pin; 1 failed, or there is none; 2 wrong\n"
"usage, 3 could not tell.\n";

static int pin_show(const struct guard_state *s)
{
	if (!s->pin.kernel) {
		puts("kmodkeep: nothing is pinned");
		return EXIT_NO;
	}
	printf("kmodkeep: %s kernel %s instead of %s. To end that: "
	       "kmodkeep pin release\n", s->pin.held ? "held by hand on" : "pinned to",
	       s->pin.kernel, s->pin.instead_of);
	return EXIT_YES;
}

static int pin_release(struct doctor *d, struct guard_state *s)
{
	char *said = NULL, *target = NULL;
	bool changed;
	int err;

	if (!s->pin.kernel) {
		pin_show(s);
		return EXIT_YES;
	}
	target = strdup(s->pin.instead_of);
	if (target) {
		/* Recorded with what is going to be done: not to be pinned again. */
		char *before = s->released;

		s->released = target;
		target = before;
	}
	err = s->released ? pin_lift(d, s, &changed, &said) : -ENOMEM;
	if (!err)
		err = guard_state_write(d, s, NULL, NULL);
	if (said)
		printf("kmodkeep: %s\n", said);
	free(said);
	free(target);
	if (err == -EIO)
		return EXIT_NO;
	return err ? complain_errno(err, GUARD_STATE) : EXIT_YES;
}

static int pin_hold_on(struct doctor *d, struct guard_state *s, const char *kernel)
{
	char *said = NULL;
	bool changed;
	int err = pin_hold(d, s, kernel, &changed, &said);

	if (err == -EIO) {
		complain(0, "pin hold: %s", said ? said : "it could not be done");
		free(said);
		return EXIT_NO;
	}
	if (!err)
		err = guard_state_write(d, s, NULL, NULL);
	if (!err)
		printf("kmodkeep: %s\n", said);
	free(said);
	return err ? complain_errno(err, GUARD_STATE) : EXIT_YES;
}

int verb_pin(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct guard g = { 0 };
	const char *root = NULL;
	struct host *h;
	int c, err, lock, code;
	bool holds;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'r': root = optarg; break;
		case 'h': fputs(pin_usage, stdout); return EXIT_YES;
		default: return complain_option("pin", argv, c);
		}
	}
	holds = argc > optind && !strcmp(argv[optind], "hold");
	if (argc - optind > 1 + holds || (argc > optind && !holds && strcmp(argv[optind], "release")))
		return complain(EXIT_USAGE, "pin: only 'release', or 'hold KERNEL' may follow");
	if (holds && argc - optind != 2)
		return complain(EXIT_USAGE, "pin hold: give the release of a kernel");
	err = host_new(root, &h);
	if (err)
		return complain_root(err, root, "pin");
	/* To look takes no lock, and leaves nothing behind. */
	lock = argc > optind ? take_lock(h) : -1;
	if (lock == -ETIMEDOUT) {
		host_free(h);
		return EXIT_UNSURE;
	}
	err = doctor_new(root, complain_message, NULL, &g.d);
	if (!err)
		err = guard_state_read(h, &g.state);
	if (err)
		code = complain_errno(err, "pin");
	else
		code = holds ? pin_hold_on(g.d, &g.state, argv[optind + 1]) :
		       argc > optind ? pin_release(g.d, &g.state) : pin_show(&g.state);
	if (lock >= 0)
		close(lock);
	guard_free(&g);
	host_free(h);
	return code;
}
