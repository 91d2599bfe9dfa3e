// SPDX-License-Identifier: GPL-2.0-or-later
/* Asks dpkg which packages were left half-way. */
#include "guard/host/dpkg.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guard/base/run.h"
#include "guard/base/say.h"

#define LISTING_MAX (64u << 20)
#define PACKAGES_MAX 100
#define QUERY_SECONDS 60

static const char *const unfinished[] = {
	"half-configured", "half-installed", "unpacked",
};

void packages_free(struct packages *p)
{
	for (size_t i = 0; i < p->count; i++) {
		free(p->list[i].name);
		free(p->list[i].state);
		free(p->list[i].why);
	}
	free(p->list);
	free(p->owners);
	memset(p, 0, sizeof(*p));
}

/* Is there a line "NAME: /usr/src/FOLDER/dkms.conf"? folder "": any. */
static bool brings(const char *owners, const char *name, size_t len, const char *folder)
{
	char *start = owners ? text_of("\n%.*s: /usr/src/%s%s", (int)len, name, folder,
				       *folder ? "/dkms.conf\n" : "") : NULL;
	bool is = start && strstr(owners, start);

	free(start);
	return is;
}

bool package_brings(const struct packages *all, const struct package *one, const char *folder)
{
	return brings(all->owners, one->name, strlen(one->name), folder);
}

/* What one kind of package is to a driver; NULL: nothing. */
static const char *kind_of(const char *name, size_t len, const char *owners)
{
	static const char *const kernels[] = {
		"linux-image-", "linux-headers-", "linux-modules-",
		"linux-binary-", "linux-base-",
	};

	for (size_t i = 0; i < ARRAY_SIZE(kernels); i++)
		if (len > strlen(kernels[i]) &&
		    !memcmp(name, kernels[i], strlen(kernels[i])))
			return "kernel";
	if ((len > 5 && !memcmp(name + len - 5, "-dkms", 5)) || brings(owners, name, len, ""))
		return "driver";
	return NULL;
}

static const char *state_of(const char *text, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(unfinished); i++)
		if (len == strlen(unfinished[i]) &&
		    !memcmp(text, unfinished[i], len))
			return unfinished[i];
	return NULL;
}

static int take(struct packages *out, const char *line, size_t len)
{
	const char *tab = memchr(line, '\t', len);
	size_t name_len = tab ? (size_t)(tab - line) : 0;
	const char *state = tab ? state_of(tab + 1, len - name_len - 1) : NULL;
	const char *kind = state ? kind_of(line, name_len, out->owners) : NULL;
	struct package *list, *one;

	if (!kind || out->count == PACKAGES_MAX)
		return 0;
	list = realloc(out->list, (out->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	out->list = list;
	one = &list[out->count++];
	one->name = strndup(line, name_len);
	one->state = strdup(state);
	one->why = strdup(kind);
	if (!one->name || !one->state || !one->why)
		return -ENOMEM;
	make_printable(one->name);
	return 0;
}

int dpkg_parse(const struct buf *listing, const struct buf *owners, struct packages *out)
{
	const char *p = (const char *)listing->data, *end = p + listing->len;
	int err = 0;

	memset(out, 0, sizeof(*out));
	if (owners) {
		out->owners = text_of("\n%.*s\n", (int)owners->len, (char *)owners->data);
		err = out->owners ? 0 : -ENOMEM;
	}
	while (p < end && !err) {
		const char *newline = memchr(p, '\n', end - p);
		size_t len = (newline ? newline : end) - p;

		err = take(out, p, len);
		p += len + 1;
	}
	if (err)
		packages_free(out);
	return err;
}

static bool any_unfinished(const struct buf *listing)
{
	char *text = strndup((char *)listing->data, listing->len);
	bool any = false;

	for (size_t i = 0; text && i < ARRAY_SIZE(unfinished); i++) {
		char *end = text_of("\t%s\n", unfinished[i]);

		any |= !end || strstr(text, end);
		free(end);
	}
	free(text);
	return any || !text;
}

/* Did the run end for want of the program itself? One whose libraries are missing ends alike. */
static bool was_absent(const struct run_result *run, const char *program)
{
	size_t n = strlen(program);

	return run->exit_code == 127 && !strncmp(run->last_line, program, n) &&
	       !strcmp(run->last_line + n, ": No such file or directory");
}

/*
 * Asks dpkg which packages have files of this pattern; out NULL: only whether there is
 * one. 0, -ENOENT: none has, or there is no dpkg; or what went wrong.
 */
static int ask_dpkg(const struct host *h, const char *pattern, struct buf *out)
{
	char *root = text_of("--root=%s", host_root(h));
	/* All that follows the first pattern is a pattern. */
	char *argv[] = { (char *)"dpkg-query", root, (char *)"-S", (char *)pattern, NULL };
	struct run_result run;
	int err = root ? 0 : -ENOMEM;

	if (host_is_live(h)) {
		argv[1] = argv[2];
		argv[2] = argv[3];
		argv[3] = NULL;
	}
	if (!err && out)
		err = run_output(argv, QUERY_SECONDS, LISTING_MAX, out);
	/* It says by its exit code whether it failed or found nothing. */
	if (out ? err == -EIO : !err) {
		err = run_program(argv, QUERY_SECONDS, &run);
		if (!err && run.exit_code)
			err = run.timed_out ? -ETIMEDOUT :
			      run.exit_code == 1 || was_absent(&run, argv[0]) ? -ENOENT : -EIO;
	}
	free(root);
	return err;
}

/*
 * rpm, where it cannot read its database, says so, and then that nothing owns the file: of
 * what it says all must be known. -ENOENT or -EIO.
 */
static int nothing_owns(int log, const char *path)
{
	char text[4096], *absent = text_of("error: file %s: No such file or directory", path);
	char *unowned = text_of("file %s is not owned by any package", path), *line, *rest = text;
	ssize_t n = pread(log, text, sizeof(text), 0);
	int err = !absent || !unowned ? -ENOMEM : n <= 0 || n == sizeof(text) ? -EIO : -ENOENT;

	text[err == -ENOENT ? n : 0] = '\0';
	while (err == -ENOENT && (line = strsep(&rest, "\n")))
		if (*line && strcmp(line, absent) && strcmp(line, unowned) &&
		    strncmp(line, "warning: ", 9))
			err = -EIO;
	free(absent);
	free(unowned);
	return err;
}

/*
 * Has rpm a database, or can that not be seen? Asked where it has none, it makes one or
 * fails; and busybox has another program of its name.
 */
static bool may_have_rpms(const struct host *h)
{
	static const char *const folders[] = {
		"/usr/lib/sysimage/rpm", "/var/lib/rpm", "/usr/share/rpm",
	};
	static const char *const files[] = { "rpmdb.sqlite", "Packages.db", "Packages" };
	bool may = false;

	for (size_t i = 0; !may && i < ARRAY_SIZE(folders) * ARRAY_SIZE(files); i++) {
		char *file = text_of("%s/%s", folders[i / ARRAY_SIZE(files)],
				     files[i % ARRAY_SIZE(files)]);
		char *path = file ? host_path(h, file) : NULL;

		may = !path || !access(path, F_OK) || (errno != ENOENT && errno != ENOTDIR);
		free(path);
		free(file);
	}
	return may;
}

/*
 * As ask_dpkg(), of one file, which need not be there. owner: NULL, or takes the name of
 * a package that has it. Only the running system is asked: rpm may write to its database.
 */
static int ask_rpm(const struct host *h, const char *path, char **owner)
{
	char *root = text_of("--root=%s", host_root(h));
	char *argv[] = {
		(char *)"rpm", (char *)"-qf", (char *)"--qf", (char *)"%{NAME}\\n", (char *)path,
		host_is_live(h) ? NULL : root, NULL,
	};
	struct run_how how = {
		.seconds = QUERY_SECONDS, .log_fd = memfd_create("rpm", MFD_CLOEXEC), .keep_fd = -1,
	};
	struct run_result run;
	int err = !root ? -ENOMEM : how.log_fd < 0 ? -errno : 0;

	if (!err && (!host_may_act(h) || !may_have_rpms(h)))
		err = -ENOENT;
	if (!err)
		err = run_program_as(argv, &how, &run);
	if (!err && run.exit_code)
		err = run.timed_out ? -ETIMEDOUT : was_absent(&run, argv[0]) ? -ENOENT :
		      nothing_owns(how.log_fd, path);
	else if (!err && owner && !(*owner = strdup(run.last_line)))
		err = -ENOMEM;
	if (how.log_fd >= 0)
		close(how.log_fd);
	free(root);
	return err;
}

int package_owns(const struct host *h, const char *path)
{
	int err = ask_dpkg(h, path, NULL);

	if (err == -ENOENT)
		err = ask_rpm(h, path, NULL);
	return !err ? 1 : err == -ENOENT ? 0 : err;
}

int rpm_owner(const struct host *h, const char *path, char **name)
{
	int err = ask_rpm(h, path, name);

	return !err ? 1 : err == -ENOENT ? 0 : err;
}

int dpkg_unfinished(const struct host *h, struct packages *out)
{
	char *root = text_of("--root=%s", host_root(h));
	/* An option only where it is needed: dpkg of Debian 11 lacks it. */
	char *argv[] = {
		(char *)"dpkg-query", (char *)"-W",
		(char *)"--showformat=${Package}\\t${db:Status-Status}\\n",
		host_is_live(h) ? NULL : root, NULL,
	};
	struct buf listing = { 0 }, owners = { 0 };
	int err, gap = 0;

	memset(out, 0, sizeof(*out));
	if (!root)
		return -ENOMEM;
	err = run_output(argv, QUERY_SECONDS, LISTING_MAX, &listing);
	free(root);
	/* It reads the lists of all packages: only where there is a use for it. */
	if (!err && any_unfinished(&listing))
		gap = ask_dpkg(h, "/usr/src/*/dkms.conf", &owners);
	/* Without dpkg, or packages, there is nothing unfinished. */
	if (!err)
		err = dpkg_parse(&listing, owners.len ? &owners : NULL, out);
	else if (err == -ETIMEDOUT)
		complain(0, "dpkg-query did not end within %d seconds, so it "
			 "is not known which packages are unfinished. Next: "
			 "run dpkg-query -W, and see what it waits for",
			 QUERY_SECONDS);
	else if (err == -ENOENT || (err != -ENOMEM && !host_may_act(h)))
		err = 0;
	else if (err != -ENOMEM) {
		complain(0, "dpkg-query -W: %s, so it is not known which packages are unfinished. "
			 "Next: run it, and see what it says", strerror(-err));
		err = -EIO;
	}
	if (!err && gap && gap != -ENOENT) {
		complain(0, "dpkg-query -S '/usr/src/*/dkms.conf': %s, so it is not known which "
			 "drivers wait for dpkg. Next: run it, and see what it waits for",
			 strerror(-gap));
		err = gap == -ENOMEM ? gap : -EIO;
	}
	buf_free(&listing);
	buf_free(&owners);
	return err;
}
