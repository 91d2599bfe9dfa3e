// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The verb state: all that a fleet wants to know of a host, as one JSON document and
 * as metrics. Everything is looked at anew: an answer of yesterday may be a wrong one.
 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/json.h"
#include "guard/base/lock.h"
#include "guard/base/metrics.h"
#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/firmware.h"
#include "guard/host/guard_conf.h"
#include "guard/pin/state.h"
#include "guard/verdict/safety.h"
#include "kmodkeep/gate.h"
#include "kmodkeep/verbs.h"
#include "guard/trust/firmware_ca.h"
#include "signing/keystate.h"
#include "signing/rotation.h"

#define SCHEMA 1
#define LOCK_SECONDS 60
#define FILE_JSON GUARD_DIR "/host.json"
#define DIR_SMOKE GUARD_DIR "/smoke"

static const char usage[] =
"Usage: kmodkeep state [--write] [--root DIR]\n"
"Prints what a fleet wants to know of this host, as one JSON document: is the\n"
"next boot safe, what would be lost and why, the pin, the key, the smoke tests,\n"
"whether a reboot waits.\n"
"\n"
"  --write        print nothing; write /var/lib/kmodkeep/host.json and, where\n"
"                 guard.conf names a file for metrics, NAME-host.prom beside it\n"
"  --root DIR     the system installed under DIR\n"
"\n"
"Exit code: 0 it was printed or written, 1 it could not be written, 2 wrong\n"
"usage, 3 could not tell.\n";

/* What is read of the host, all of it once. */
struct reading {
	struct doctor *d;
	struct safety safety;
	struct guard_state guard;
	struct keystate *key;
	struct firmware_ca firmware;
	struct rotation rotation;
	bool rotation_known;
};

static int read_all(struct reading *r)
{
	const struct host *h = r->d->h;
	int err = doctor_ask_all(r->d);

	if (!err)
		err = safety_judge(r->d, &r->safety);
	if (!err)
		err = guard_state_read(h, &r->guard);
	if (!err)
		err = keystate_read(h, false, &r->key);
	if (!err)
		err = firmware_ca_read(h, &r->firmware);
	if (!err)
		r->rotation_known = !rotation_read(h, &r->rotation);
	return err;
}

static void reading_free(struct reading *r)
{
	if (r->rotation_known)
		rotation_free(&r->rotation);
	firmware_ca_free(&r->firmware);
	keystate_free(r->key);
	guard_state_free(&r->guard);
	safety_free(&r->safety);
	doctor_free(r->d);
}

/* -1: not known. */
static int reboot_pending(const struct doctor *d)
{
	const char *running = host_running_kernel(d->h);

	if (!*running || !d->next.kernel)
		return -1;
	if (strcmp(running, d->next.kernel))
		return 1;
	for (size_t i = 0; i < d->count; i++)
		if (d->findings[i].report.verdict == VERDICT_STALE_LOADED)
			return 1;
	return 0;
}

/* The end of a date like 2027-01-31, in seconds since 1970; 0: there is none. */
static long long seconds_of(const char *date)
{
	struct tm tm = { 0 };

	return *date && strptime(date, "%Y-%m-%d", &tm) ? timegm(&tm) : 0;
}

static struct json_object *pin_json(const struct pin *p)
{
	struct json_object *o;

	if (!p->kernel)
		return NULL;
	o = json_object_new_object();
	json_add(o, "kernel", p->kernel);
	json_add(o, "instead_of", p->instead_of);
	json_add(o, "why", p->why);
	json_add_int(o, "since", p->since);
	json_add_bool(o, "held", p->held);
	return o;
}

static struct json_object *key_json(const struct keystate *s)
{
	struct json_object *o;

	if (!s->name)
		return NULL;
	o = json_object_new_object();
	json_add(o, "name", s->name);
	json_add(o, "enrolment", enrolment_word(s->enrolment));
	json_add(o, "fingerprint", s->sha256);
	json_add_int(o, "expires", seconds_of(s->expires));
	json_add_bool(o, "revoked", s->revoked);
	json_add(o, "next_step", keystate_next_step(s));
	return o;
}

/* The last smoke test of a driver; NULL: there was none. */
static struct json_object *smoke_json(const struct host *h, const char *driver)
{
	static const char *const keys[] = {
		"kernel", "boot_id", "time", "result", "verdict", "message",
		"next_step",
	};
	char *rel = text_of(DIR_SMOKE "/%s.json", driver);
	char *path = rel ? host_path(h, rel) : NULL;
	struct json_object *from = path ? json_read(path) : NULL, *o = NULL;

	if (from) {
		o = json_object_new_object();
		json_add(o, "driver", driver);
		for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
			json_add(o, keys[i], json_string(from, keys[i]));
	}
	json_object_put(from);
	free(path);
	free(rel);
	return o;
}

static struct json_object *smokes_json(const struct doctor *d)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < d->drivers.count; i++) {
		struct json_object *o = smoke_json(d->h, d->drivers.list[i].name);

		if (o)
			json_object_array_add(list, o);
	}
	return list;
}

static struct json_object *finding_json(const struct doctor *d,
					const struct finding *f)
{
	static const char *const words[] = {
		[ANSWER_NO] = "no", [ANSWER_YES] = "yes",
		[ANSWER_UNVERIFIED] = "unknown",
	};
	struct json_object *o = json_object_new_object();
	enum answer serves = finding_serves(f);

	json_add(o, "driver", f->driver ? f->driver->name : f->module);
	json_add(o, "module", f->module);
	json_add(o, "kernel", f->kernel->release);
	json_add_bool(o, "next_boot", d->next.kernel &&
		      !strcmp(d->next.kernel, f->kernel->release));
	json_add(o, "verdict", verdict_word(f->report.verdict));
	json_add(o, "serves", words[serves]);
	json_add(o, "version", f->report.info.version);
	json_add(o, "message", serves == ANSWER_YES ? NULL : f->report.message);
	json_add(o, "next_step", serves == ANSWER_YES ? NULL :
				 f->report.next_step);
	return o;
}

static struct json_object *findings_json(const struct doctor *d)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < d->count; i++)
		json_object_array_add(list, finding_json(d, &d->findings[i]));
	return list;
}

static struct json_object *packages_json(const struct packages *p)
{
	struct json_object *list = json_object_new_array();

	for (size_t i = 0; i < p->count; i++)
		json_object_array_add(list,
				      json_object_new_string(p->list[i].name));
	return list;
}

/* Who says it, and when. */
static void add_origin(struct json_object *o, const struct host *h)
{
	char *host = host_line(h, "/proc/sys/kernel/hostname");
	char *boot_id = host_boot_id(h), *machine = host_machine_digest(h);
	char when[32];
	time_t now = time(NULL);
	struct tm tm;

	if (!host)
		host = host_line(h, "/etc/hostname");
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &tm));
	json_add_int(o, "schema", SCHEMA);
	json_add(o, "time", when);
	json_add(o, "host", host);
	json_add(o, "machine", machine);
	json_add(o, "boot_id", boot_id);
	json_add(o, "kmodkeep", KMODKEEP_VERSION);
	free(host);
	free(boot_id);
	free(machine);
}

static struct json_object *state_json(const struct reading *r)
{
	struct json_object *o = json_object_new_object();
	const struct doctor *d = r->d;
	int reboot = reboot_pending(d);

	add_origin(o, d->h);
	json_add(o, "place", place_word(d->place));
	json_add(o, "secure_boot", secure_boot_word(host_secure_boot(d->h)));
	json_add(o, "running_kernel", host_running_kernel(d->h));
	json_add(o, "next_kernel", d->next.kernel);
	json_object_object_add(o, "reboot_pending", reboot < 0 ? NULL :
			       json_object_new_boolean(reboot));
	json_add(o, "safe", safety_word(r->safety.safe));
	json_add(o, "line", r->safety.line);
	json_add(o, "next_step", r->safety.next);
	json_object_object_add(o, "pin", pin_json(&r->guard.pin));
	json_object_object_add(o, "key", key_json(r->key));
	json_object_object_add(o, "firmware_ca", firmware_ca_json(&r->firmware));
	json_add(o, "rotation", r->rotation_known ?
				rotation_word(r->rotation.phase) : NULL);
	json_object_object_add(o, "gate", gate_record(d->h));
	json_object_object_add(o, "smoke", smokes_json(d));
	json_object_object_add(o, "findings", findings_json(d));
	json_object_object_add(o, "unfinished_packages",
			       packages_json(&d->unfinished));
	return o;
}

/* ---- metrics */

static void gauge(char **text, const char *name, const char *help,
		  const char *labels, const char *value)
{
	metrics_add(text, labels && value ?
		    text_of("# HELP %s %s\n# TYPE %s gauge\n%s%s %s\n", name,
			    help, name, name, labels, value) : NULL);
}

static void add_key(char **text, const struct keystate *s)
{
	char *expires = text_of("%lld", seconds_of(s->expires));
	char *state = text_of("{state=\"%s\"}", enrolment_word(s->enrolment));

	if (s->name && *s->expires)
		gauge(text, "kmodkeep_key_expires_seconds", "When the key that "
		      "this host signs with expires, since 1970.", "", expires);
	if (s->name)
		gauge(text, "kmodkeep_key_enrolment", "Where its enrolment "
		      "stands.", state, "1");
	gauge(text, "kmodkeep_enrolment_waits", "1: somebody must confirm a "
	      "key at the console.", "",
	      s->name && s->enrolment == ENROLMENT_PENDING ? "1" : "0");
	free(expires);
	free(state);
}

static void add_firmware(char **text, const struct firmware_ca *f)
{
	static const char *const boots[] = { "NaN", "1", "0" };
	char *labels = text_of("{db=\"%s\",kek=\"%s\"}", ca_state_word(f->db),
			       ca_state_word(f->kek));

	gauge(text, "kmodkeep_firmware_ca", "Microsoft's authorities that the firmware "
	      "trusts: for what boots, and for changes of that.", labels, "1");
	gauge(text, "kmodkeep_firmware_boots", "0: the firmware trusts nobody who signed "
	      "the program that it starts.", "", boots[f->first.boots]);
	free(labels);
}

/* 1 passed, 0 failed; a test of an earlier boot says nothing of this one. */
static const char *smoke_number(const struct host *h, struct json_object *o)
{
	const char *result = json_string(o, "result");
	const char *boot = json_string(o, "boot_id");
	char *now = host_boot_id(h);
	bool current = now && boot && !strcmp(now, boot);

	free(now);
	if (!current || !result)
		return "NaN";
	return !strcmp(result, "passed") ? "1" : !strcmp(result, "failed") ?
						 "0" : "NaN";
}

static void add_smoke(char **text, const struct doctor *d)
{
	size_t room = METRICS_SERIES_MAX;

	metrics_add(text, strdup("# HELP kmodkeep_smoke_passed Did the smoke "
				 "test of this boot pass?\n"
				 "# TYPE kmodkeep_smoke_passed gauge\n"));
	for (size_t i = 0; i < d->drivers.count && room; i++) {
		const char *name = d->drivers.list[i].name;
		struct json_object *o = smoke_json(d->h, name);
		char *driver = o ? metrics_label(name) : NULL;

		if (o) {
			room--;
			metrics_add(text, driver ?
				    text_of("kmodkeep_smoke_passed{driver=\"%s\"} "
					    "%s\n", driver,
					    smoke_number(d->h, o)) : NULL);
		}
		free(driver);
		json_object_put(o);
	}
}

/* So that the series of the other kernels can be told from the one that counts. */
static void add_next_kernel(char **text, const char *kernel)
{
	char *value = kernel ? metrics_label(kernel) : NULL;
	char *labels = value ? text_of("{kernel=\"%s\"}", value) : NULL;

	if (kernel)
		gauge(text, "kmodkeep_next_kernel", "The kernel that boots next.",
		      labels, "1");
	free(value);
	free(labels);
}

static char *metrics_text(const struct reading *r)
{
	int reboot = reboot_pending(r->d);
	char *phase = text_of("{phase=\"%s\"}", r->rotation_known ?
			      rotation_word(r->rotation.phase) : "unknown");
	char *text = strdup("");

	gauge(&text, "kmodkeep_info", "The version of kmodkeep.",
	      "{version=\"" KMODKEEP_VERSION "\"}", "1");
	gauge(&text, "kmodkeep_reboot_pending", "1: another kernel, or another "
	      "build of a driver, waits for a reboot.", "",
	      reboot < 0 ? "NaN" : reboot ? "1" : "0");
	gauge(&text, "kmodkeep_key_rotation", "The step of the change of the "
	      "key.", phase, "1");
	add_next_kernel(&text, r->d->next.kernel);
	add_key(&text, r->key);
	add_firmware(&text, &r->firmware);
	add_smoke(&text, r->d);
	free(phase);
	return text;
}

static int write_metrics(const struct reading *r)
{
	struct guard_conf conf;
	char *path = NULL;
	int err = guard_conf_read(r->d->h, complain_message, NULL, &conf);

	if (err)
		return err;
	if (conf.prometheus) {
		char *rel = metrics_beside(conf.prometheus, "host");

		path = rel ? host_path(r->d->h, rel) : NULL;
		free(rel);
		err = path ? metrics_write(path, metrics_text(r)) : -ENOMEM;
		if (err)
			complain_errno(err, path ? path : conf.prometheus);
	}
	free(path);
	guard_conf_free(&conf);
	return err;
}

static int write_json(const struct reading *r, const char *text)
{
	char *dir = host_path(r->d->h, GUARD_DIR);
	char *path = host_path(r->d->h, FILE_JSON);
	int err = dir && path ? 0 : -ENOMEM;

	if (!err && mkdir(dir, 0755) < 0 && errno != EEXIST)
		err = -errno;
	if (!err)
		err = file_replace(path, text, strlen(text), 0644);
	if (err)
		complain_errno(err, path ? path : FILE_JSON);
	free(dir);
	free(path);
	return err;
}

static int write_all(const struct reading *r, const char *text)
{
	int first = write_json(r, text), err = write_metrics(r);

	return first || err ? EXIT_NO : EXIT_YES;
}

static int state(struct reading *r, bool write)
{
	struct json_object *o;
	int code = EXIT_YES, err = read_all(r);
	char *text;

	if (err)
		return complain_errno(err, "state");
	o = state_json(r);
	text = text_of("%s\n", json_text(o));
	if (!text)
		code = complain_errno(-ENOMEM, "state");
	else if (write)
		code = write_all(r, text);
	else
		fputs(text, stdout);
	free(text);
	json_object_put(o);
	return code;
}

/*
 * The units of the guard and of the smoke tests end at the same time: the one that
 * looked first must not be the one that writes last. Where there can be no lock, or
 * somebody holds it for long, it is written without. -1: there is none.
 */
static int take_lock(const struct host *h)
{
	char *path = host_path(h, GUARD_DIR "/host.lock");
	int fd = path ? lock_take(path, LOCK_SECONDS) : -1;

	free(path);
	return fd < 0 ? -1 : fd;
}

int verb_state(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "root", required_argument, NULL, 'r' },
		{ "write", no_argument, NULL, 'w' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct reading r = { 0 };
	const char *root = NULL;
	bool write = false;
	int c, err, code, lock;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'r': root = optarg; break;
		case 'w': write = true; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		default: return complain_option("state", argv, c);
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "state: unexpected argument '%s'",
				argv[optind]);
	err = doctor_new(root, complain_message, NULL, &r.d);
	if (err)
		return complain_root(err, root, "state");
	lock = write ? take_lock(r.d->h) : -1;
	code = state(&r, write);
	if (lock >= 0)
		close(lock);
	reading_free(&r);
	return code;
}
