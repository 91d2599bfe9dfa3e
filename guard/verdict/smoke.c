// SPDX-License-Identifier: GPL-2.0-or-later
/* Loads a driver's modules and runs its test, bounded in time. */
#include "guard/verdict/smoke.h"

#include <errno.h>
#include <libkmod.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "guard/base/json.h"
#include "guard/base/run.h"
#include "guard/base/util.h"
#include "guard/verdict/lookup.h"

#define DIR_STATE "/var/lib/kmodkeep/smoke"
#define LOAD_TIMEOUT 120

const char *smoke_word(enum smoke_result r)
{
	static const char *const words[] = {
		"passed", "failed", "not-applicable",
	};

	return words[r];
}

static bool is_loaded(const struct smoke *s, const char *module)
{
	/* Built-in ones have a directory there too, but no such file. */
	char *line = host_module_line(s->h, module, "initstate");
	bool live = line && !strcmp(line, "live");

	free(line);
	return live;
}

/* Puts the module's name before a message about it. */
static int name_module(struct report *r, const char *module)
{
	char *longer;

	if (asprintf(&longer, "module %s: %s: %s", module,
		     verdict_word(r->verdict), r->message) < 0)
		return -ENOMEM;
	free(r->message);
	r->message = longer;
	return 0;
}

/*
 * After an upgrade the old build stays loaded until the next boot: the usual
 * case, and no failure, unless the new one would not load then. From here on
 * the report is about the build that is loaded. 0, 1 (r says why), -ENOMEM.
 */
static int check_loaded(const struct smoke *s, const char *module,
			struct report *r)
{
	char *loaded = host_module_line(s->h, module, "srcversion");
	char *version = host_module_line(s->h, module, "version");
	struct modinfo *info = &r->info;
	int err;

	if (!loaded || !info->srcversion || !strcmp(loaded, info->srcversion)) {
		free(loaded);
		/* The same source may be installed as another release. */
		if (version) {
			free(info->version);
			info->version = version;
		}
		return 0;
	}
	if (verdict_exit(r->verdict) == EXIT_NO) {
		free(loaded);
		free(version);
		err = name_module(r, module);
		return err ? err : 1;
	}
	err = report_set(r, VERDICT_STALE_LOADED, NULL,
			 "the installed build of %s (%s) is used from the next "
			 "boot, or after: modprobe -r %s && modprobe %s",
			 module, info->version ? info->version :
						 info->srcversion,
			 module, module);
	free(info->srcversion);
	free(info->version);
	info->srcversion = loaded;
	info->version = version;
	return err;
}

static int fail_load(struct report *r, const char *module,
		     const struct run_result *run)
{
	if (run->timed_out)
		return report_set(r, VERDICT_UNKNOWN, "look at: dmesg",
				  "module %s was not loaded within %d seconds",
				  module, LOAD_TIMEOUT);
	/* The verifier knows why; the kernel gives one error for many causes. */
	if (verdict_exit(r->verdict) == EXIT_NO)
		return name_module(r, module);
	return report_set(r, VERDICT_UNKNOWN, "look at: dmesg",
			  "module %s was refused although nothing was found "
			  "wrong with it: %s", module,
			  *run->last_line ? run->last_line : "no message");
}

/* Does the administrator's configuration of modprobe keep it out? */
static bool blacklisted(const char *module)
{
	struct kmod_ctx *ctx = kmod_new(NULL, NULL);
	struct kmod_config_iter *i = ctx ? kmod_config_get_blacklists(ctx) : NULL;
	char *name = strdup(module);
	bool found = false;

	/* libkmod writes names with underscores. */
	for (char *c = name; c && *c; c++)
		if (*c == '-')
			*c = '_';
	while (name && i && !found && kmod_config_iter_next(i))
		found = !strcmp(kmod_config_iter_get_key(i), name);
	free(name);
	kmod_config_iter_free_iter(i);
	kmod_unref(ctx);
	return found;
}

/* 0 loaded, 1 not (r says why), -ENOMEM. */
static int load(const struct smoke *s, const char *module, struct report *r)
{
	/* -b: a blacklist is the administrator's word, for names too. */
	char *const argv[] = { (char *)s->modprobe, (char *)"-b", (char *)"--",
			       (char *)module, NULL };
	struct run_result run;
	char *path;
	int err, required = 1;

	err = verify_module(s->h, s->t, module, s->kernel, &path, r);
	if (!err && r->verdict == VERDICT_OK)
		required = signers_check(s->policy, path, r);
	free(path);
	if (err || required < 0)
		return err ? err : required;
	/* Where no signature is demanded, or one signer is enough, the kernel would run it. */
	if (r->verdict == VERDICT_TAMPERED || r->verdict == VERDICT_MISSING || !required) {
		err = name_module(r, module);
		return err ? err : 1;
	}
	if (r->verdict == VERDICT_NOT_APPLICABLE)
		return 0;
	err = run_program(argv, LOAD_TIMEOUT, &run);
	if (err)
		snprintf(run.last_line, sizeof(run.last_line), "%s",
			 strerror(-err));
	if (!err && !run.exit_code && !run.timed_out && !is_loaded(s, module) &&
	    blacklisted(module)) {
		err = report_set(r, VERDICT_NOT_APPLICABLE, NULL,
				 "module %s is not loaded: modprobe's "
				 "configuration has it in a blacklist", module);
		return err ? err : 1;
	}
	if (err || run.exit_code != 0 || !is_loaded(s, module)) {
		err = fail_load(r, module, &run);
		return err ? err : 1;
	}
	return check_loaded(s, module, r);
}

static int fail_test(struct report *r, const char *next, const char *what)
{
	/* The module loads; it is what it does then that is wrong. */
	return report_set(r, VERDICT_OK, next, "%s", what);
}

/* 0 passed, 1 failed, -ENOMEM. */
static int test(const struct driver *d, struct report *r)
{
	char *const argv[] = { d->smoke_test, NULL };
	struct run_result run;
	struct stat st;
	char what[512];
	int err;

	if (stat(d->smoke_test, &st) < 0) {
		snprintf(what, sizeof(what), "its smoke test %s: %s",
			 d->smoke_test, strerror(errno));
		err = fail_test(r, "reinstall the package of the driver", what);
		return err ? err : 1;
	}
	/* It runs as root: nobody else may have a hand in it. */
	if (!S_ISREG(st.st_mode) || st.st_uid || st.st_mode & 022) {
		snprintf(what, sizeof(what), "its smoke test %s is not a plain "
			 "file that only root can write", d->smoke_test);
		err = fail_test(r, "reinstall the package of the driver", what);
		return err ? err : 1;
	}
	err = run_program(argv, d->timeout, &run);
	if (!err && run.exit_code == 0)
		return 0;
	if (err)
		snprintf(what, sizeof(what), "its smoke test could not be "
			 "started: %s", strerror(-err));
	else if (run.timed_out)
		snprintf(what, sizeof(what), "loaded, but its smoke test did "
			 "not end within %u seconds", d->timeout);
	else if (run.signal)
		snprintf(what, sizeof(what), "loaded, but its smoke test was "
			 "killed by signal %d", run.signal);
	else
		snprintf(what, sizeof(what), "loaded, but its smoke test failed "
			 "(exit %d): %s", run.exit_code,
			 *run.last_line ? run.last_line : "it said nothing");
	err = fail_test(r, "look at: dmesg", what);
	return err ? err : 1;
}

/* stale: what to say of a build that is loaded but not the installed one. */
static int pass(const struct smoke *s, const struct driver *d,
		const char *stale, struct smoke_outcome *out)
{
	struct report *r = &out->report;

	out->result = SMOKE_PASSED;
	return report_set(r, stale ? VERDICT_STALE_LOADED : VERDICT_OK, NULL,
			  "%s%s%s loaded on kernel %s%s%s%s",
			  d->modules[0], r->info.version ? " " : "",
			  r->info.version ? r->info.version : "", s->kernel,
			  d->smoke_test ? ", smoke test passed" : "",
			  stale ? "; " : "", stale ? stale : "");
}

/* Loads all modules; *stale gets what to say of one that is not the installed. */
static int load_all(const struct smoke *s, const struct driver *d,
		    struct report *out, char **stale)
{
	int ret = 0;

	for (size_t i = 0; i < d->module_count && !ret; i++) {
		struct report r = { 0 };

		ret = load(s, d->modules[i], &r);
		if (!ret && r.verdict == VERDICT_STALE_LOADED && !*stale) {
			*stale = strdup(r.message);
			ret = *stale ? 0 : -ENOMEM;
		}
		/* Of the module that failed, else of the first. */
		if (!i || ret) {
			report_free(out);
			*out = r;
		} else {
			report_free(&r);
		}
	}
	return ret;
}

int smoke_driver(const struct smoke *s, const struct driver *d,
		 struct smoke_outcome *out)
{
	enum place place = host_place(s->h);
	char *stale = NULL;
	int ret;

	memset(out, 0, sizeof(*out));
	if (place != PLACE_HOST || !s->modprobe) {
		out->result = SMOKE_NOT_APPLICABLE;
		return report_set(&out->report, VERDICT_NOT_APPLICABLE, NULL,
				  "this is a %s: it has no kernel of its own "
				  "to load modules into",
				  place == PLACE_HOST ? "system image" :
							place_word(place));
	}
	out->result = SMOKE_FAILED;
	if (!d->module_count)
		return report_set(&out->report, VERDICT_UNKNOWN,
				  "name them in its drop-in: modules =",
				  "its drop-in names no modules to load");
	ret = load_all(s, d, &out->report, &stale);
	if (!ret && d->smoke_test)
		ret = test(d, &out->report);
	if (!ret)
		ret = pass(s, d, stale, out);
	if (ret > 0 && out->report.verdict == VERDICT_NOT_APPLICABLE)
		out->result = SMOKE_NOT_APPLICABLE;
	free(stale);
	return ret < 0 ? ret : 0;
}

int smoke_broken(struct smoke_outcome *out)
{
	memset(out, 0, sizeof(*out));
	out->result = SMOKE_FAILED;
	return report_set(&out->report, VERDICT_UNKNOWN,
			  "kmodkeep smoke names the lines to correct",
			  "its drop-in file has errors");
}

int smoke_record_start(const struct smoke *s, const struct driver *d)
{
	struct smoke_outcome out = { .result = SMOKE_FAILED };
	int err;

	err = report_set(&out.report, VERDICT_UNKNOWN, "look at: dmesg",
			 "did not finish");
	if (!err)
		err = smoke_record(s, d, &out);
	report_free(&out.report);
	return err;
}

static int make_directory(const struct host *h)
{
	char *dir = host_path(h, DIR_STATE);
	int err = 0;

	if (!dir)
		return -ENOMEM;
	*strrchr(dir, '/') = '\0';
	mkdir(dir, 0755);
	dir[strlen(dir)] = '/';
	if (mkdir(dir, 0755) < 0 && errno != EEXIST)
		err = -errno;
	free(dir);
	return err;
}

int smoke_record(const struct smoke *s, const struct driver *d,
		 const struct smoke_outcome *out)
{
	const struct report *r = &out->report;
	struct json_object *o = NULL;
	char *boot_id = NULL, *rel = NULL, *path = NULL, *text = NULL;
	char when[32];
	time_t now = time(NULL);
	struct tm tm;
	int err = make_directory(s->h);

	if (err)
		return err;
	err = -ENOMEM;
	o = json_object_new_object();
	boot_id = host_boot_id(s->h);
	if (!o || asprintf(&rel, DIR_STATE "/%s.json", d->name) < 0)
		goto out;
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ",
		 gmtime_r(&now, &tm));
	json_object_object_add(o, "schema", json_object_new_int(1));
	json_add(o, "driver", d->name);
	json_add(o, "kernel", s->kernel);
	json_add(o, "boot_id", boot_id);
	json_add(o, "module_version", r->info.version);
	json_add(o, "srcversion", r->info.srcversion);
	json_add(o, "time", when);
	json_add(o, "result", smoke_word(out->result));
	json_add(o, "verdict", verdict_word(r->verdict));
	json_add(o, "message", r->message);
	json_add(o, "next_step", r->next_step);
	path = host_path(s->h, rel);
	if (!path || asprintf(&text, "%s\n", json_text(o)) < 0)
		goto out;
	err = file_replace(path, text, strlen(text), 0644);
out:
	json_object_put(o);
	free(boot_id);
	free(rel);
	free(path);
	free(text);
	return err;
}
