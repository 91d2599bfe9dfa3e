// SPDX-License-Identifier: GPL-2.0-or-later
/* Where the guard says what it found, besides the terminal. */
#include "guard/pin/announce.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/metrics.h"
#include "guard/base/util.h"

#define MOTD_DIR "/run/motd.d"
#define MOTD MOTD_DIR "/kmodkeep"
#define APT_DIR "/etc/apt/apt.conf.d"
#define APT_CONF APT_DIR "/02kmodkeep-pin"
#define DNF5_DIR "/etc/dnf/libdnf5.conf.d"
#define DNF5_CONF DNF5_DIR "/80-kmodkeep-pin.conf"

static int write_text(const char *path, char *text, mode_t mode)
{
	int err = text ? file_replace(path, text, strlen(text), mode) : -ENOMEM;

	free(text);
	return err;
}

static int remove_file(const char *path)
{
	return unlink(path) < 0 && errno != ENOENT ? -errno : 0;
}

/* What has changed from outside, a line each; "" for nothing. */
static char *change_lines(const struct guard_state *s)
{
	char *text = strdup("");
	const char *word, *message, *next;

	for (size_t i = 0; guard_change(s, i, &word, &message, &next); i++)
		metrics_add(&text, text_of("kmodkeep: since the last boot: %s. See: kmodkeep status\n",
				   message));
	return text;
}

int guard_write_motd(const struct host *h, const struct guard_state *state,
		     const struct safety *s)
{
	char *dir = host_path(h, MOTD_DIR), *path = host_path(h, MOTD);
	char *text = change_lines(state);
	int err = dir && path && text ? 0 : -ENOMEM;

	if (s->safe == ANSWER_NO)
		metrics_add(&text, text_of("kmodkeep: %s. See: kmodkeep status\n", s->line));
	if (!err && text && !*text) {
		err = remove_file(path);
	} else if (!err) {
		mkdir(dir, 0755);
		err = write_text(path, text, 0644);
		text = NULL;
	}
	free(text);
	free(dir);
	free(path);
	return err;
}

/* A release as a pattern of apt's, in which dots and pluses are special. */
static char *quote(const char *release)
{
	char *out = malloc(2 * strlen(release) + 1), *p = out;

	for (; out && *release; release++) {
		if (strchr(".+*?[](){}^$|\\", *release))
			*p++ = '\\';
		*p++ = *release;
	}
	if (out)
		*p = '\0';
	return out;
}

static bool holds(const char *path, const char *text)
{
	struct buf b = { 0 };
	bool same = !file_read(path, 1 << 16, &b) && b.len == strlen(text) &&
		    !memcmp(b.data, text, b.len);

	buf_free(&b);
	return same;
}

/* The file of a package manager that is here; text NULL: it goes. */
static int keep_file(const struct host *h, const char *dir, const char *file,
		     char *text)
{
	char *where = host_path(h, dir), *path = host_path(h, file);
	int err = where && path ? 0 : -ENOMEM;

	if (!err && !text) {
		err = remove_file(path);
	} else if (!err && path_exists(where) && !holds(path, text)) {
		err = write_text(path, text, 0644);
		text = NULL;
	}
	free(text);
	free(where);
	free(path);
	return err;
}

/* dnf 4 has no such directory: its plug-in looks for the pin itself. */
int guard_keep_package(const struct host *h, const char *kernel)
{
	char *pattern = kernel ? quote(kernel) : NULL;
	char *apt = NULL, *dnf5 = NULL;
	int err;

	if (kernel) {
		apt = pattern ? text_of(
			"// Written by kmodkeep, which pinned the boot loader to "
			"this kernel.\n"
			"// It goes when the pin does: kmodkeep pin release\n"
			"APT::NeverAutoRemove { \"^linux-(image|headers|modules|"
			"binary|base)-%s$\"; };\n", pattern) : NULL;
		dnf5 = text_of(
			"# Written by kmodkeep, which pinned the boot loader to "
			"kernel\n# %s: dnf must not remove it for being too old.\n"
			"# It goes when the pin does: kmodkeep pin release\n"
			"[main]\ninstallonly_limit=0\n", kernel);
	}
	free(pattern);
	if (kernel && (!apt || !dnf5)) {
		free(apt);
		free(dnf5);
		return -ENOMEM;
	}
	err = keep_file(h, APT_DIR, APT_CONF, apt);
	if (err) {
		free(dnf5);
		return err;
	}
	return keep_file(h, DNF5_DIR, DNF5_CONF, dnf5);
}

static const char *answer_number(enum answer a)
{
	return a == ANSWER_YES ? "1" : a == ANSWER_NO ? "0" : "NaN";
}

static char *change_metrics(const struct guard_state *s)
{
	char *text = strdup("");
	const char *word, *message, *next;

	for (size_t i = 0; guard_change(s, i, &word, &message, &next); i++)
		metrics_add(&text, text_of("kmodkeep_changes{change=\"%s\"} 1\n", word));
	return text;
}

static void add_finding(const struct finding *f, char **text)
{
	char *driver = metrics_label(f->driver ? f->driver->name : "");
	char *module = metrics_label(f->module);
	char *kernel = metrics_label(f->kernel->release);

	metrics_add(text, driver && module && kernel ?
		    text_of("kmodkeep_module_loads{driver=\"%s\","
			    "module=\"%s\",kernel=\"%s\",verdict=\"%s\"} "
			    "%s\n", driver, module, kernel,
			    verdict_word(f->report.verdict),
			    answer_number(finding_serves(f))) : NULL);
	free(driver);
	free(module);
	free(kernel);
}

/* Those that serve, or those that do not, as far as there is room. */
static void add_findings(const struct doctor *d, char **text, bool serve,
			 size_t *room)
{
	for (size_t i = 0; i < d->count && *room; i++)
		if ((finding_serves(&d->findings[i]) == ANSWER_YES) == serve) {
			add_finding(&d->findings[i], text);
			--*room;
		}
}

int guard_write_metrics(const struct doctor *d, const struct guard_state *s,
			const struct safety *safety, const char *file)
{
	char *path = host_path(d->h, file), *changes = change_metrics(s);
	char *text = text_of(
		"# HELP kmodkeep_next_boot_safe 1: the next boot keeps all "
		"drivers, 0: it would lose one.\n"
		"# TYPE kmodkeep_next_boot_safe gauge\n"
		"kmodkeep_next_boot_safe %s\n"
		"# HELP kmodkeep_pinned 1: the boot loader is pinned to an older "
		"kernel.\n"
		"# TYPE kmodkeep_pinned gauge\nkmodkeep_pinned %d\n"
		"# HELP kmodkeep_pin_since_seconds When it was pinned.\n"
		"# TYPE kmodkeep_pin_since_seconds gauge\n"
		"kmodkeep_pin_since_seconds %lld\n"
		"# HELP kmodkeep_unfinished_packages Kernel and driver packages "
		"not configured.\n"
		"# TYPE kmodkeep_unfinished_packages gauge\n"
		"kmodkeep_unfinished_packages %zu\n"
		"# HELP kmodkeep_checked_seconds When this was found.\n"
		"# TYPE kmodkeep_checked_seconds gauge\n"
		"kmodkeep_checked_seconds %lld\n"
		"# HELP kmodkeep_changes What was changed from outside since the boot "
		"before, each 1.\n"
		"# TYPE kmodkeep_changes gauge\n%s"
		"# HELP kmodkeep_module_loads Will the module load on the kernel?\n"
		"# TYPE kmodkeep_module_loads gauge\n",
		answer_number(safety->safe), s->pin.kernel != NULL,
		s->pin.kernel ? s->pin.since : 0, d->unfinished.count,
		(long long)time(NULL), changes ? changes : "");
	size_t room = METRICS_SERIES_MAX;
	int err;

	free(changes);
	/* What does not serve first: it is not what is left out. */
	add_findings(d, &text, false, &room);
	add_findings(d, &text, true, &room);
	metrics_add(&text, text_of(
		"# HELP kmodkeep_findings_left_out Modules on kernels for which "
		"there is no kmodkeep_module_loads.\n"
		"# TYPE kmodkeep_findings_left_out gauge\n"
		"kmodkeep_findings_left_out %zu\n",
		d->count > METRICS_SERIES_MAX ? d->count - METRICS_SERIES_MAX : 0));
	if (path) {
		err = metrics_write(path, text);
	} else {
		free(text);
		err = -ENOMEM;
	}
	free(path);
	return err;
}
