// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verb gate: may this host take the update of its fleet now? A file that is signed
 * and published beside the packages says which hosts may; nobody is asked.
 *
 * In /var/lib/kmodkeep/gate: "file", the newest that was believed, as it came, and checked
 * anew each time; "record.json", what the host made of it and how far its update is.
 * Neither may go back: the record keeps the number of the newest file.
 */
#include "kmodkeep/gate.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/json.h"
#include "guard/base/lock.h"
#include "guard/base/metrics.h"
#include "guard/base/run.h"
#include "guard/base/say.h"
#include "guard/base/script.h"
#include "guard/base/util.h"
#include "guard/host/guard_conf.h"
#include "guard/pin/state.h"
#include "guard/trust/gate_file.h"
#include "kmodkeep/verbs.h"

#define SCHEMA 1
#define DIR GUARD_DIR "/gate"
#define FILE_KEPT DIR "/file"
#define FILE_NEW DIR "/file.new"
#define FILE_RECORD DIR "/record.json"
#define FILE_CERTS "/etc/kmodkeep/gate.pem"
#define LOCK_SECONDS 60
#define FETCH_SECONDS 60

static const char usage[] =
"Usage: kmodkeep gate [--fetch] [--shell] [--root DIR]\n"
"       kmodkeep gate --mark STEP ROLLOUT [--root DIR]\n"
"May this host take the update of its fleet now? The file at the address that\n"
"guard.conf names with 'gate' says so; one of the certificates in\n"
"/etc/kmodkeep/gate.pem must have signed it.\n"
"\n"
"  --fetch        look whether there is a newer file first\n"
"  --shell        print NAME=VALUE lines for scripts\n"
"  --mark STEP    remember how far the update ROLLOUT is: begun, updated,\n"
"                 failed, left-out or gone-back\n"
"  --root DIR     the system installed under DIR\n"
"\n"
"Exit code: 0 update, or go back, 1 there is nothing to do now, 2 wrong usage,\n"
"3 the file is refused, or there is none.\n";

/* What is to be done: the words that others see. */
static const char *const UPDATE = "update";
static const char *const GO_BACK = "go-back";
static const char *const WAITS = "waits";
static const char *const STOPPED = "stopped";
static const char *const REFUSED = "refused";

struct gate {
	const struct host *h;
	struct guard_conf conf;
	struct json_object *record;	/* of the run before this one; NULL: none */
	struct gate_file file;		/* rollout NULL: there is none to believe */
	struct gate_refusal refusal;
	const char *verdict;
	int ring;
};

struct json_object *gate_record(const struct host *h)
{
	char *path = host_path(h, FILE_RECORD);
	struct json_object *o = path ? json_read(path) : NULL;

	free(path);
	return o;
}

static int read_conf(struct gate *g)
{
	int err = guard_conf_read(g->h, complain_message, NULL, &g->conf);

	if (err)
		return complain_errno(err, "gate");
	if (!g->conf.gate)
		return complain(EXIT_UNSURE, "gate: this host follows none. Next: 'gate = ADDRESS' in " GUARD_CONF);
	g->record = gate_record(g->h);
	return EXIT_YES;
}

static void gate_free(struct gate *g)
{
	gate_file_free(&g->file);
	gate_refusal_free(&g->refusal);
	guard_conf_free(&g->conf);
	json_object_put(g->record);
}

static void refuse(struct gate *g, const char *word, char *why)
{
	gate_refusal_free(&g->refusal);
	gate_file_free(&g->file);
	g->refusal.word = word;
	g->refusal.why = why;
}

/* ---- the file */

/* -EBADMSG: it is refused, and the refusal says why; -ENOENT: it is not there. */
static int open_file(struct gate *g, const struct buf *b)
{
	char *path = host_path(g->h, FILE_CERTS);
	struct buf certs = { 0 };
	int err = path ? file_read(path, 1 << 20, &certs) : -ENOMEM;

	if (err && err != -ENOMEM) {
		refuse(g, "no-certificate", text_of(FILE_CERTS ": %s. Next: put the fleet's certificate there",
						    strerror(-err)));
		err = -EBADMSG;
	} else if (!err) {
		gate_refusal_free(&g->refusal);
		gate_file_free(&g->file);
		err = gate_file_open(b->data, b->len, certs.data, certs.len,
				     time(NULL), &g->file, &g->refusal);
	}
	buf_free(&certs);
	free(path);
	return err;
}

static int read_bytes(const struct gate *g, const char *rel, struct buf *b)
{
	char *path = host_path(g->h, rel);
	int err = path ? file_read(path, GATE_FILE_MAX, b) : -ENOMEM;

	free(path);
	return err;
}

/* The number of the newest file that was ever believed here. */
static long long newest(const struct gate *g)
{
	return g->record ? json_int(g->record, "issued") : 0;
}

/* An older file than one that was believed is somebody's replay. */
static int check_age(struct gate *g)
{
	if (g->file.issued >= newest(g))
		return 0;
	refuse(g, "older", text_of("it is %lld seconds older than one that was here before",
				   newest(g) - g->file.issued));
	return -EBADMSG;
}

/* The new one, fetched and not looked at yet, takes the place of the one that is kept. */
static int accept_new(struct gate *g, const char *new, const char *kept)
{
	struct buf b = { 0 }, old = { 0 };
	int fd, err = read_bytes(g, FILE_NEW, &b);

	if (!err)
		err = open_file(g, &b);
	if (!err)
		err = check_age(g);
	if (!err && g->file.issued == newest(g) && !read_bytes(g, FILE_KEPT, &old) &&
	    (old.len != b.len || memcmp(old.data, b.data, b.len))) {
		refuse(g, "twice", strdup("there are two that were made in the same second"));
		err = -EBADMSG;
	}
	fd = err ? -1 : open(new, O_RDONLY | O_CLOEXEC);
	if (!err && (fd < 0 || fsync(fd) < 0 || rename(new, kept) < 0))
		err = -errno;
	if (fd >= 0)
		close(fd);
	buf_free(&old);
	buf_free(&b);
	return err;
}

/* When the kept file was published: only a time that has been can be compared with. */
static bool may_compare(const char *kept)
{
	struct stat st;

	return stat(kept, &st) == 0 && st.st_mtime <= time(NULL);
}

/*
 * Not curl's --max-filesize: until 8.4 that held only where the server said the size
 * beforehand. The limit is the child's; nothing else is written in between.
 */
static int run_bounded(char *const argv[], struct run_result *result)
{
	struct rlimit old, limit;
	int err;

	if (getrlimit(RLIMIT_FSIZE, &old) < 0)
		return -errno;
	limit = old;
	limit.rlim_cur = GATE_FILE_MAX + 1;
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
		return -errno;
	err = run_program(argv, FETCH_SECONDS, result);
	if (setrlimit(RLIMIT_FSIZE, &old) < 0)
		return -errno;
	return err;
}

static bool is_huge(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_size > (off_t)GATE_FILE_MAX;
}

/* curl leaves no file where there is nothing newer. 0; -ENOENT: nothing newer. */
static int run_curl(struct gate *g, char *new, char *kept)
{
	char *argv[] = {
		/* First: no .curlrc, which may follow redirects. */
		"curl", "--disable", "--globoff", "--silent", "--show-error", "--fail", "--proto",
		"=http,https,file", "--max-time", "30", "--remote-time",
		"--output", new, g->conf.gate, NULL, NULL, NULL,
	};
	size_t n = ARRAY_SIZE(argv) - 3;
	struct run_result result;
	int err;

	if (may_compare(kept)) {
		argv[n++] = "--time-cond";
		argv[n++] = kept;
	}
	unlink(new);
	err = run_bounded(argv, &result);
	if (err)
		return err;
	if (is_huge(new))
		refuse(g, "huge", text_of("it has more than %u bytes", GATE_FILE_MAX));
	else if (result.exit_code == 127)
		refuse(g, "unreachable", strdup("curl is not installed. Next: install curl"));
	else if (result.exit_code || result.timed_out)
		refuse(g, "unreachable", text_of("%s: %s", g->conf.gate,
						 *result.last_line ? result.last_line : "curl failed"));
	else
		return path_exists(new) ? 0 : -ENOENT;
	return -EBADMSG;
}

static int fetch(struct gate *g)
{
	char *new = host_path(g->h, FILE_NEW), *kept = host_path(g->h, FILE_KEPT);
	int err = new && kept ? run_curl(g, new, kept) : -ENOMEM;

	if (!err)
		err = accept_new(g, new, kept);
	else if (err == -ENOENT)
		err = 0;
	if (new)
		unlink(new);
	free(new);
	free(kept);
	return err;
}

/* Checked anew each time: a certificate may have been taken from this host since. */
static int read_kept(struct gate *g)
{
	struct buf b = { 0 };
	int err = read_bytes(g, FILE_KEPT, &b);

	if (err == -ENOENT) {
		refuse(g, "missing", strdup("there is no file yet. Next: kmodkeep gate --fetch"));
		return -EBADMSG;
	}
	if (!err)
		err = open_file(g, &b);
	if (!err)
		err = check_age(g);
	buf_free(&b);
	return err;
}

/* ---- what it means for this host */

static const char *recorded(const struct gate *g, const char *key)
{
	const char *value = g->record ? json_string(g->record, key) : NULL;

	return value ? value : "";
}

/* Of a host on which the update was begun, or that was left out. */
static const char *judge_begun(const struct gate *g, const char *step)
{
	if (!strcmp(step, "gone-back"))
		return step;
	if (g->file.decision == GATE_GO_BACK && strcmp(step, "left-out"))
		return GO_BACK;
	if (!strcmp(step, "updated") || !strcmp(step, "failed"))
		return step;
	/* It was ended in the middle, or was unwell and may be well by now. */
	return g->file.decision == GATE_GO_ON ? UPDATE : STOPPED;
}

static const char *judge(struct gate *g)
{
	char *machine = host_machine_digest(g->h);

	g->ring = machine ? gate_ring(g->file.rollout, machine) : -1;
	free(machine);
	if (g->ring < 0) {
		refuse(g, "no-machine-id", strdup("this host has no machine ID, so it has no place in the order"));
		return REFUSED;
	}
	if (!strcmp(recorded(g, "step_of"), g->file.rollout))
		return judge_begun(g, recorded(g, "step"));
	if (g->file.decision != GATE_GO_ON)
		return STOPPED;
	return (unsigned int)g->ring < g->file.share ? UPDATE : WAITS;
}

/* ---- what others are told */

static char *metrics_text(const struct gate *g)
{
	char *word = metrics_label(g->refusal.word ? g->refusal.word : "");
	char *text = word ? text_of("# HELP kmodkeep_gate What the gate of the fleet says to this host.\n"
				    "# TYPE kmodkeep_gate gauge\n"
				    "kmodkeep_gate{verdict=\"%s\",reason=\"%s\"} 1\n",
				    g->verdict, word) : NULL;

	free(word);
	return text;
}

static int write_metrics(const struct gate *g)
{
	char *rel = g->conf.prometheus ? metrics_beside(g->conf.prometheus, "gate") : NULL;
	char *path = rel ? host_path(g->h, rel) : NULL;
	int err = !g->conf.prometheus ? 0 : path ? metrics_write(path, metrics_text(g)) : -ENOMEM;

	if (err)
		complain_errno(err, path ? path : "gate");
	free(path);
	free(rel);
	return err;
}

static int write_record(const struct gate *g, struct json_object *o)
{
	char *path = host_path(g->h, FILE_RECORD), *text = text_of("%s\n", json_text(o));
	int err = path && text ? file_replace(path, text, strlen(text), 0644) : -ENOMEM;

	if (err)
		complain_errno(err, path ? path : FILE_RECORD);
	free(path);
	free(text);
	return err;
}

static struct json_object *new_record(const struct gate *g)
{
	struct json_object *o = json_object_new_object();
	bool known = g->file.rollout;

	json_add_int(o, "schema", SCHEMA);
	json_add(o, "verdict", g->verdict);
	json_add(o, "reason", g->refusal.word);
	json_add(o, "message", g->refusal.why);
	json_add(o, "rollout", known ? g->file.rollout : NULL);
	json_add_int(o, "issued", known ? g->file.issued : newest(g));
	json_add_int(o, "ring", g->ring);
	json_add_int(o, "share", g->file.share);
	json_add(o, "step_of", g->record ? json_string(g->record, "step_of") : NULL);
	json_add(o, "step", g->record ? json_string(g->record, "step") : NULL);
	json_add(o, "step_boot", g->record ? json_string(g->record, "step_boot") : NULL);
	return o;
}

/* Nothing is written where nothing has changed. */
static int record(const struct gate *g)
{
	struct json_object *o = new_record(g);
	int err = 0;

	if (!g->record || !json_object_equal(o, g->record)) {
		err = write_metrics(g);
		if (!err)
			err = write_record(g, o);
	}
	json_object_put(o);
	return err;
}

static void print_shell(const struct gate *g)
{
	printf("verdict=%s\n", g->verdict);
	if (g->file.rollout)
		printf("rollout=%s\npackages=%s\nreboot=%s\n", g->file.rollout,
		       g->file.packages, g->conf.gate_reboot ? "yes" : "no");
}

static void print_line(const struct gate *g)
{
	if (g->file.rollout)
		printf("%s: roll-out %s, %u of 10000 hosts may, this one is number %d\n",
		       g->verdict, g->file.rollout, g->file.share, g->ring);
}

static int exit_code(const struct gate *g)
{
	if (g->verdict == UPDATE || g->verdict == GO_BACK)
		return EXIT_YES;
	return g->verdict == REFUSED ? EXIT_UNSURE : EXIT_NO;
}

static int ask(struct gate *g, bool wants_new, bool shell)
{
	int err = wants_new ? fetch(g) : 0;

	if (!err)
		err = read_kept(g);
	if (err && err != -EBADMSG)
		return complain_errno(err, "gate");
	g->ring = -1;
	g->verdict = err ? REFUSED : judge(g);
	if (g->verdict == REFUSED)
		complain(0, "gate: the gate file is refused: %s",
			 g->refusal.why ? g->refusal.why : g->refusal.word);
	/* What is not remembered is not done either. */
	if (record(g))
		return EXIT_UNSURE;
	if (shell)
		print_shell(g);
	else
		print_line(g);
	return exit_code(g);
}

static int mark(struct gate *g, const char *step, const char *rollout)
{
	static const char *const steps[] = {
		"begun", "updated", "failed", "left-out", "gone-back",
	};
	char *boot = NULL;
	size_t i = 0;

	while (i < ARRAY_SIZE(steps) && strcmp(steps[i], step))
		i++;
	if (i == ARRAY_SIZE(steps))
		return complain(EXIT_USAGE, "gate: unknown step '%s'; see --help", step);
	if (!g->record || strcmp(recorded(g, "rollout"), rollout))
		return complain(EXIT_USAGE, "gate: '%s' is not the roll-out that this host knows of", rollout);
	json_add(g->record, "step_of", rollout);
	json_add(g->record, "step", step);
	/* In which boot: so that one can tell whether the host has been rebooted since. */
	boot = host_boot_id(g->h);
	json_add(g->record, "step_boot", boot);
	free(boot);
	return write_record(g, g->record) ? EXIT_UNSURE : EXIT_YES;
}

/* ---- arguments */

struct options {
	const char *root, *step, *rollout;
	bool fetch, shell;
};

static int take_lock(const struct host *h)
{
	char *top = host_path(h, GUARD_DIR), *path = host_path(h, DIR "/lock");
	int fd = -ENOMEM;

	if (top && path) {
		mkdir(top, 0755);
		fd = lock_take(path, LOCK_SECONDS);
	}
	if (fd < 0 && fd != -ETIMEDOUT)
		complain_errno(fd, path ? path : "gate");
	free(top);
	free(path);
	return fd;
}

static int run(struct gate *g, const struct options *o)
{
	int code = read_conf(g), lock;

	if (code != EXIT_YES)
		return code;
	lock = take_lock(g->h);
	if (lock < 0)
		return EXIT_UNSURE;
	/* It may have been written by who had the lock. */
	json_object_put(g->record);
	g->record = gate_record(g->h);
	code = o->step ? mark(g, o->step, o->rollout) : ask(g, o->fetch, o->shell);
	close(lock);
	return code;
}

int verb_gate(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "fetch", no_argument, NULL, 'f' },
		{ "shell", no_argument, NULL, 's' },
		{ "mark", required_argument, NULL, 'm' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct options o = { 0 };
	struct gate g = { 0 };
	struct host *h;
	int c, err, code;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'f': o.fetch = true; break;
		case 's': o.shell = true; break;
		case 'm': o.step = optarg; break;
		case 'r': o.root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		default: return complain_option("gate", argv, c);
		}
	}
	if (o.step && optind < argc)
		o.rollout = argv[optind++];
	if (optind != argc)
		return complain(EXIT_USAGE, "gate: unexpected argument '%s'", argv[optind]);
	if (o.step && !o.rollout)
		return complain(EXIT_USAGE, "gate: --mark %s needs the name of a roll-out", o.step);
	if (o.step && (o.fetch || o.shell))
		return complain(EXIT_USAGE, "gate: --mark excludes --fetch and --shell");
	err = host_new(o.root, &h);
	if (err)
		return complain_root(err, o.root, "gate");
	g.h = h;
	code = run(&g, &o);
	gate_free(&g);
	host_free(h);
	return code;
}

/* A script: it starts the system's package manager. */
int verb_pull(int argc, char **argv)
{
	return run_script("pull", argc, argv);
}
