// SPDX-License-Identifier: GPL-2.0-or-later
/* Hardening that refuses a module, and modules that are not there when devices ask. */
#include "guard/verdict/hardening.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <mntent.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "guard/base/param.h"
#include "guard/base/util.h"
#include "guard/host/firmware.h"
#include "guard/host/mounts.h"
#include "guard/trust/trust.h"
#include "guard/verdict/modprobe.h"

#define TEXT_MAX (1u << 20)
/* RSA below that is refused in FIPS mode (crypto/rsa_helper.c). */
#define FIPS_RSA_BITS 2048

/* What is of the host is read once: make's answer, "" for NULL; NULL: no memory. */
static const char *once(const struct host *h, const char *what, char *(*make)(const struct host *h))
{
	char *known = host_recall(h, "hardening", what);

	if (known)
		return known;
	known = make(h);
	if (!known)
		known = strdup("");
	return known && !host_remember(h, "hardening", what, known, free) ? known : NULL;
}

static const char *cmdline_of(const struct doctor *d, const struct finding *f)
{
	bool boots = d->next.kernel && !strcmp(d->next.kernel, f->kernel->release);

	return boots && d->next.cmdline ? d->next.cmdline : "";
}

static bool is_loaded(const struct doctor *d, const struct finding *f)
{
	const char *name = f->report.info.name;

	return host_module_loaded(d->h, name ? name : f->module);
}

/* A switch of the kernel; def: what it is without a word of it. */
static bool is_on(const char *line, const char *name, bool def)
{
	char *value = param_value(line, name);
	struct param p;
	bool on = value ? *value && strchr("1yYtT", *value) : def;

	if (value && !strncasecmp(value, "on", 2))
		on = true;
	free(value);
	/* Without a value it is on. */
	while (!on && param_next(&line, &p) && !param_is_end(&p))
		on = param_is(&p, name) && !p.value;
	return on;
}

/* Has the running system the same value of a parameter, or none as well? */
static bool runs_with(const struct doctor *d, const char *line, const char *name)
{
	char *now = host_line(d->h, "/proc/cmdline");
	char *a = now ? param_value(now, name) : NULL, *b = param_value(line, name);
	bool same = now && (a && b ? !strcmp(a, b) : a == b);

	free(b);
	free(a);
	free(now);
	return same;
}

/* ---- what systemd-sysctl sets ---- */

/* What is not to be set: the name below /proc/sys, and which values harm. */
struct setting {
	const char *name;
	bool (*harms)(const struct host *h, const char *value);
};

/* As sysctl.d(5): "-kernel.x = 1", "kernel/x=1", and patterns. */
static bool line_harms(const struct host *h, char *line, const struct setting *what)
{
	char *equals = strchr(line, '='), *value, *name;
	size_t n;

	line += strspn(line, " \t");
	line += *line == '-';
	if (!equals || *line == '#' || *line == ';')
		return false;
	*equals = '\0';
	line[strcspn(line, " \t")] = '\0';
	/* The first separator is the one that is meant. */
	if (line[strcspn(line, "./")] == '.')
		for (char *p = line; *p; p++)
			*p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
	name = equals + 1;
	value = name + strspn(name, " \t");
	n = strlen(value);
	while (n && strchr(" \t\r", value[n - 1]))
		value[--n] = '\0';
	return !fnmatch(line, what->name, FNM_PATHNAME) && what->harms(h, value);
}

/* Is something there that cannot be read? What is no file, as a link to /dev/null, says nothing. */
static bool is_unread(int err)
{
	return err && err != -ENOENT && err != -EINVAL && err != -EISDIR;
}

/* Or may it? */
static bool file_harms(const struct host *h, const char *path, const struct setting *what)
{
	char *text = NULL, *rest, *line;
	struct buf b = { 0 };
	int err = file_read(path, TEXT_MAX, &b);
	bool harms = is_unread(err);

	if (!err)
		text = strndup((char *)b.data, b.len);
	for (rest = text; !harms && (line = strsep(&rest, "\n")); )
		harms = line_harms(h, line, what);
	free(text);
	buf_free(&b);
	return harms;
}

/* A file that another one of its name hides counts as well. Malloc'ed; NULL: none. */
static char *who_sets(const struct host *h, const struct setting *what)
{
	static const char *const dirs[] = {
		"/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d",
		"/lib/sysctl.d",
	};
	char *found = host_path(h, "/etc/sysctl.conf");

	if (found && file_harms(h, found, what))
		return found;
	free(found);
	found = NULL;
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && !found; i++) {
		char *dir = host_path(h, dirs[i]);
		DIR *d = dir ? opendir(dir) : NULL;
		struct dirent *e;

		while (d && !found && (e = readdir(d))) {
			char *path = str_ends_with(e->d_name, ".conf") ?
				     text_of("%s/%s", dir, e->d_name) : NULL;

			if (path && file_harms(h, path, what))
				found = path;
			else
				free(path);
		}
		if (d)
			closedir(d);
		free(dir);
	}
	return found;
}

/* ---- kernel.modules_disabled ---- */

static bool disables(const struct host *h, const char *value)
{
	(void)h;
	return *value && *value != '0';
}

static char *who_disables(const struct host *h)
{
	return who_sets(h, &(const struct setting){ "kernel/modules_disabled", disables });
}

/* systemd-sysctl goes after systemd-modules-load, and beside what devices ask for. */
static int judge_disabled(const struct doctor *d, struct finding *f)
{
	bool at_once = is_on(cmdline_of(d, f), "sysctl.kernel.modules_disabled", false);
	const char *who = at_once ? NULL : once(d->h, "sysctl", who_disables);
	char *now;
	int err = 0;

	if (at_once)
		return report_set(&f->report, VERDICT_BLOCKED, "take it out of the boot loader's "
				  "configuration", "the command line of the entry that boots "
				  "has sysctl.kernel.modules_disabled, with which no module is loaded");
	if (!who || !*who)
		return who ? 0 : -ENOMEM;
	now = host_line(d->h, "/proc/sys/kernel/modules_disabled");
	if (!(now && !strcmp(now, "1") && is_loaded(d, f)) &&
	    !modprobe_at_boot(d->h, f->module))
		err = report_set(&f->report, VERDICT_UNKNOWN, "write its name into a file of "
				 "/etc/modules-load.d, which goes before that",
				 "%s sets kernel.modules_disabled while the host boots, or "
				 "cannot be read, and whether the module is loaded before that is not known", who);
	free(now);
	return err;
}

/* ---- kernel.modprobe: what the kernel starts to have a module loaded that it asks for ---- */

/* Is it not the host's own modprobe? */
static bool is_no_modprobe(const struct host *h, const char *value)
{
	static const char *const usual[] = { "/sbin/modprobe", "/usr/sbin/modprobe" };
	char *file = *value == '/' ? host_resolve(h, value) : NULL;
	char *real = file ? realpath(file, NULL) : NULL;
	bool is = false;

	for (size_t i = 0; i < ARRAY_SIZE(usual) && !is; i++) {
		char *path = host_resolve(h, usual[i]), *own = path ? realpath(path, NULL) : NULL;

		is = !strcmp(value, usual[i]) || (own && real && !strcmp(own, real));
		free(own);
		free(path);
	}
	free(real);
	free(file);
	return !is;
}

static char *who_takes_modprobe(const struct host *h)
{
	return who_sets(h, &(const struct setting){ "kernel/modprobe", is_no_modprobe });
}

/* What sets it otherwise for the next boot; "": nothing does, NULL: no memory. Malloc'ed. */
static char *other_modprobe(const struct doctor *d, const struct finding *f)
{
	const char *kernel = f->kernel->release, *who = once(d->h, "modprobe", who_takes_modprobe);
	char *word = param_value(cmdline_of(d, f), "sysctl.kernel.modprobe");
	char *built = host_kernel_config(d->h, kernel, "CONFIG_MODPROBE_PATH");
	char *fixed = host_kernel_config(d->h, kernel, "CONFIG_STATIC_USERMODEHELPER");
	char *all = !who ? NULL : *who ? text_of("%s sets kernel.modprobe", who) :
		    word && is_no_modprobe(d->h, word) ?
		    strdup("the command line of the entry that boots has sysctl.kernel.modprobe") :
		    built && !word && is_no_modprobe(d->h, built) ?
		    text_of("kernel %s is built to start '%s' (CONFIG_MODPROBE_PATH)", kernel, built) :
		    fixed && !strcmp(fixed, "y") ?
		    text_of("kernel %s starts one program alone (CONFIG_STATIC_USERMODEHELPER)", kernel) :
		    strdup("");

	free(fixed);
	free(built);
	free(word);
	return all;
}

/* udev loads for devices by itself; file systems, protocols and ciphers the kernel asks for. */
static int judge_asking(const struct doctor *d, struct finding *f)
{
	char *why, *now;
	int err = 0;

	if (!f->report.info.has_alias || modprobe_at_boot(d->h, f->module))
		return 0;
	why = other_modprobe(d, f);
	now = why && *why ? host_line(d->h, "/proc/sys/kernel/modprobe") : NULL;
	/* This boot has it as well, and the module is loaded. */
	if (!why)
		err = -ENOMEM;
	else if (*why && !(now && is_no_modprobe(d->h, now) && is_loaded(d, f)))
		err = report_set(&f->report, VERDICT_UNKNOWN, "write its name into a file of "
				 "/etc/modules-load.d, or have kernel.modprobe be /sbin/modprobe",
				 "%s, so that the kernel may not have a module loaded that it asks "
				 "for by an alias, or that file cannot be read", why);
	free(now);
	free(why);
	return err;
}

/* ---- LoadPin: modules come from one file system, the first that one was read from ---- */

static bool lists_lsm(const char *list, const char *name)
{
	const char *at = list ? strstr(list, name) : NULL;

	return at && (at == list || at[-1] == ',') && strchr(",", at[strlen(name)]);
}

static int judge_loadpin(const struct doctor *d, struct finding *f)
{
	const char *line = cmdline_of(d, f), *kernel = f->kernel->release;
	char *lsm = param_value(line, "lsm"), *now, *enforced;
	char *forced = host_kernel_config(d->h, kernel, "CONFIG_SECURITY_LOADPIN_ENFORCE");
	bool on = is_on(line, "loadpin.enforce", forced && !strcmp(forced, "y")), proven;

	free(forced);
	if (on && !lsm)
		lsm = host_kernel_config(d->h, kernel, "CONFIG_LSM");
	on = on && (!lsm || lists_lsm(lsm, "loadpin"));
	free(lsm);
	if (!on)
		return 0;
	now = host_line(d->h, "/sys/kernel/security/lsm");
	enforced = host_line(d->h, "/proc/sys/kernel/loadpin/enforce");
	proven = lists_lsm(now, "loadpin") && enforced && !strcmp(enforced, "1") &&
		 is_loaded(d, f);
	free(now);
	free(enforced);
	return proven ? 0 : report_set(&f->report, VERDICT_UNKNOWN, "ask again after that boot",
				       "LoadPin (loadpin.enforce) refuses modules that are not on "
				       "the file system of the first one, which may be the initramfs");
}

/* ---- IMA ---- */

/* Does a rule of a policy ask for modules to be appraised? A word; NULL: no. */
static char *policy_appraises(const struct host *h)
{
	char *path = host_path(h, "/etc/ima/ima-policy"), *text = NULL, *rest, *line;
	struct buf b = { 0 };
	bool does = false;
	int err = path ? file_read(path, TEXT_MAX, &b) : -ENOENT;

	if (!err)
		text = strndup((char *)b.data, b.len);
	for (rest = text; !does && (line = strsep(&rest, "\n")); ) {
		line += strspn(line, " \t");
		does = !strncmp(line, "appraise", 8) &&
		       (!strstr(line, "func=") || strstr(line, "MODULE_CHECK"));
	}
	free(text);
	buf_free(&b);
	free(path);
	return does || is_unread(err) ? strdup("yes") : NULL;
}

static int judge_ima(const struct doctor *d, struct finding *f)
{
	const char *line = cmdline_of(d, f), *file = once(d->h, "ima", policy_appraises);
	char *policy = param_value(line, "ima_policy"), *how = param_value(line, "ima_appraise");
	char *built = host_kernel_config(d->h, f->kernel->release, "CONFIG_IMA_APPRAISE");
	char *readable = host_kernel_config(d->h, f->kernel->release, "CONFIG_MODULES");
	bool asks = (policy && (strstr(policy, "secure_boot") || strstr(policy, "appraise"))) ||
		    is_on(line, "ima_appraise_tcb", false) || !file || *file;
	/* Under Secure Boot kernels ignore the word. */
	enum secure_boot sb = host_secure_boot(d->h);
	bool off = (how && (sb == SB_OFF || sb == SB_NO_EFI) &&
		    (!strcmp(how, "off") || !strcmp(how, "fix") || !strcmp(how, "log"))) ||
		   (readable && !built);
	bool proven = asks && f->kernel->running && runs_with(d, line, "ima_policy") &&
		      runs_with(d, line, "ima_appraise") && is_loaded(d, f);

	free(readable);
	free(built);
	free(how);
	free(policy);
	if (!asks || off || proven)
		return 0;
	return report_set(&f->report, VERDICT_UNKNOWN, "sign it for IMA by a key that the kernel has "
			  "(evmctl ima_sign), and ask again after that boot",
			  "a policy of IMA (ima_policy=, /etc/ima/ima-policy) appraises modules, and "
			  "whether the kernel takes the attribute security.ima of %s is not known",
			  f->file ? f->file : f->module);
}

/* ---- SELinux ---- */

/* A word where it is set to enforce, and the kernel has it; NULL: no. */
static char *selinux_set(const struct host *h)
{
	char *path = host_path(h, "/etc/selinux/config"), *text = NULL, *rest, *word;
	struct buf b = { 0 };
	int err = path && host_has(h, "/sys/fs/selinux/enforce") ? file_read(path, TEXT_MAX, &b) : -ENOENT;
	bool does = is_unread(err);

	if (!err)
		text = strndup((char *)b.data, b.len);
	for (rest = text; (word = strsep(&rest, "\n")); )
		if (!strncmp(word, "SELINUX=", 8))
			does = !strncmp(word + 8, "enforcing", 9);
	free(text);
	buf_free(&b);
	free(path);
	return does ? strdup("yes") : NULL;
}

static bool selinux_enforces(const struct doctor *d, const struct finding *f)
{
	const char *line = cmdline_of(d, f), *set = once(d->h, "selinux", selinux_set);
	char *selinux = param_value(line, "selinux"), *enforcing = param_value(line, "enforcing");
	char *lsm = param_value(line, "lsm");
	bool does = (!set || *set) && !(selinux && !strcmp(selinux, "0")) &&
		    !(enforcing && !strcmp(enforcing, "0")) && (!lsm || lists_lsm(lsm, "selinux"));

	free(lsm);
	free(enforcing);
	free(selinux);
	return does;
}

/* Who loads it may load files of that type alone; one that was moved here keeps its old one. */
static int judge_label(const struct doctor *d, struct finding *f)
{
	char label[512] = "", *next;
	ssize_t n;
	int err;

	if (!f->file || !selinux_enforces(d, f) || (f->kernel->running && is_loaded(d, f)))
		return 0;
	n = getxattr(f->file, "security.selinux", label, sizeof(label) - 1);
	/* The file system has one label for all, by how it is mounted. */
	if (n < 0 && errno == ENOTSUP)
		return 0;
	if (n >= 0 && strstr(label, ":modules_object_t"))
		return 0;
	make_printable(label);
	next = text_of("restorecon -v %s", f->file);
	err = next ? report_set(&f->report, VERDICT_UNKNOWN, next,
				"%s has the label '%s', and SELinux may not let a file that is no "
				"modules_object_t be loaded", f->file, n < 0 ? strerror(errno) : label) :
		     -ENOMEM;
	free(next);
	return err;
}

/* ---- FIPS mode ---- */

static int judge_fips(const struct doctor *d, struct finding *f)
{
	const struct trust_cert *c = f->report.cert;
	EVP_PKEY *key = c ? X509_get0_pubkey(c->x509) : NULL;
	const char *hash = f->report.hash;

	if (f->report.waived || !is_on(cmdline_of(d, f), "fips", false))
		return 0;
	if (key && EVP_PKEY_base_id(key) == EVP_PKEY_RSA && EVP_PKEY_bits(key) < FIPS_RSA_BITS)
		return report_set(&f->report, VERDICT_UNSUPPORTED_SIGNATURE,
				  "sign it with a key of 2048 bits or more", "it is signed with RSA "
				  "of %d bits, which a kernel in FIPS mode (fips=1) refuses",
				  EVP_PKEY_bits(key));
	if (hash && !strcmp(hash, "SHA1"))
		return report_set(&f->report, VERDICT_UNKNOWN, "sign it with SHA-256: kmodkeep sign "
				  "--hash sha256", "it is signed with SHA-1, which a kernel in FIPS "
				  "mode (fips=1) may refuse");
	return 0;
}

/* ---- where the modules are ---- */

/* Does some unit want this one, so that it is started? */
static bool is_wanted(const struct host *h, const char *dir, const char *unit)
{
	char *path = host_path(h, dir);
	DIR *d = path ? opendir(path) : NULL;
	struct dirent *e;
	bool is = false;

	while (d && !is && (e = readdir(d))) {
		char *link = str_ends_with(e->d_name, ".wants") || str_ends_with(e->d_name, ".requires") ?
			     text_of("%s/%s/%s", path, e->d_name, unit) : NULL;
		struct stat st;

		is = link && !lstat(link, &st);
		free(link);
	}
	if (d)
		closedir(d);
	free(path);
	return is;
}

/* The unit of systemd that mounts there, as "usr-lib-modules.mount", and is started. */
static bool has_unit(const struct host *h, const char *where)
{
	/* The last one is another folder where /usr is not merged. */
	static const char *const dirs[] = {
		"/etc/systemd/system", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
		"/lib/systemd/system",
	};
	char *name = calloc(4 * strlen(where) + sizeof(".mount"), 1), *to = name;
	bool has = false, wanted = false;

	for (const char *p = where + 1; name && *p; p++)
		if (*p == '-')
			to = stpcpy(to, "\\x2d");
		else
			*to++ = *p == '/' ? '-' : *p;
	if (name)
		strcpy(to, ".mount");
	for (size_t i = 0; i < ARRAY_SIZE(dirs) && name; i++) {
		char *rel = text_of("%s/%s", dirs[i], name);

		has |= rel && host_has(h, rel);
		wanted |= is_wanted(h, dirs[i], name);
		free(rel);
	}
	free(name);
	return has && wanted;
}

/* A folder with all links followed, below the root; malloc'ed, NULL: it is not there. */
static char *folder_named(const struct host *h, const char *name)
{
	char *path = *name == '/' ? host_resolve(h, name) : NULL, *root = host_path(h, "/");
	char *real = path ? realpath(path, NULL) : NULL, *top = root ? realpath(root, NULL) : NULL;
	size_t above = top && strcmp(top, "/") ? strlen(top) : 0;
	char *folder = real && top && !strncmp(real, top, above) ? strdup(real + above) : NULL;

	free(top);
	free(real);
	free(root);
	free(path);
	return folder;
}

char *modules_folder(const struct host *h)
{
	return folder_named(h, "/lib/modules");
}

/* Is the folder of a line of fstab that one, by whatever name? */
static bool is_folder(const struct host *h, const char *name, const char *where)
{
	char *folder = strcmp(name, where) ? folder_named(h, name) : NULL;
	bool is = !strcmp(name, where) || (folder && !strcmp(folder, where));

	free(folder);
	return is;
}

#define BINDS_MAX 4	/* of a folder that is in what is mounted by another line */

static bool is_mounted_at_boot(const struct host *h, const char *where, int binds, bool *early);

/* Is a folder that a line of fstab binds there at the next boot? *early: and at once. */
static bool is_there_at_boot(const struct host *h, const char *name, int binds, bool *early)
{
	char *folder = folder_named(h, name), *where = folder ? mount_point(h, folder) : NULL;
	bool soon = false, is;

	*early = folder && (!where || !strcmp(where, "/"));
	is = *early || (where && binds < BINDS_MAX &&
			is_mounted_at_boot(h, where, binds + 1, &soon));
	*early |= is && soon;
	free(where);
	free(folder);
	return is;
}

static bool is_bind(const struct mntent *m)
{
	return hasmntopt(m, "bind") || hasmntopt(m, "rbind");
}

/* Does a line of fstab mount what is mounted there now? Of a bind it is a folder. */
static bool is_the_same(const struct host *h, const struct mntent *m, const char *where)
{
	char *there, *here;
	struct stat a, b;
	bool same;

	if (!is_bind(m)) {
		char *name = strdup(m->mnt_fsname), *to = name;

		/* UUID="x" is right as well. */
		for (const char *p = m->mnt_fsname; name && *p; p++)
			if (*p != '"')
				*to++ = *p;
		if (name)
			*to = '\0';
		same = name && mount_is(h, where, name);
		free(name);
		return same;
	}
	there = host_resolve(h, m->mnt_fsname);
	here = host_path(h, where);
	same = there && here && !stat(there, &a) && !stat(here, &b) && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
	free(here);
	free(there);
	return same;
}

/* Is what is there mounted at each boot? early: before the root file system is left to init. */
static bool is_mounted_at_boot(const struct host *h, const char *where, int binds, bool *early)
{
	char *path = host_path(h, "/etc/fstab"), room[4096];
	FILE *f = path ? setmntent(path, "re") : NULL;
	bool is = has_unit(h, where), soon;
	struct mntent m;

	*early = !strcmp(where, "/usr");
	while (f && getmntent_r(f, &m, room, sizeof(room)))
		if (is_folder(h, m.mnt_dir, where)) {
			is = (!hasmntopt(&m, "noauto") || hasmntopt(&m, "x-systemd.automount")) &&
			     is_the_same(h, &m, where);
			*early |= hasmntopt(&m, "x-initrd.mount") != NULL;
			if (is && is_bind(&m)) {
				is = is_there_at_boot(h, m.mnt_fsname, binds, &soon);
				*early &= soon;
			}
		}
	if (f)
		endmntent(f);
	free(path);
	return is;
}

/*
 * Where that of a kernel's modules is mounted; "/" where there are no mounts to be seen, "" where
 * there are, and not all. Malloc'ed.
 */
static char *where_mounted(const struct host *h, const char *kernel)
{
	char *folder = modules_folder(h);
	char *of = folder ? text_of("%s/%s", folder, kernel) : NULL;
	int unread = mounts_unread(h);
	char *where = of && !unread ? mount_point(h, of) : NULL;

	free(of);
	free(folder);
	return where ? where : strdup(unread ? "" : "/");
}

/*
 * Devices ask for their modules before local file systems are mounted, and again only when
 * something else has them ask. The initramfs mounts / and /usr alone.
 */
static int judge_place(const struct doctor *d, struct finding *f)
{
	const char *line = cmdline_of(d, f), *kernel = f->kernel->release;
	char *where = host_recall(d->h, "mount of modules", kernel), *usr, *hash;
	bool early, at_boot;
	int err = 0;

	if (!where) {
		where = where_mounted(d->h, kernel);
		if (!where || host_remember(d->h, "mount of modules", kernel, where, free))
			return -ENOMEM;
	}
	if (!strcmp(where, "/"))
		return 0;
	if (!*where)
		return report_set(&f->report, VERDICT_UNKNOWN, "ask again with fewer mounts",
				  "/proc/self/mountinfo cannot be read as a whole, and so it is not known "
				  "whether what its file is on is mounted at the next boot");
	usr = param_value(line, "mount.usr");
	hash = param_value(line, "usrhash");
	at_boot = is_mounted_at_boot(d->h, where, 0, &early);
	if (!at_boot && !(early && (usr || hash || mount_is_of_root(d->h, where))))
		err = report_set(&f->report, VERDICT_UNKNOWN, "have it mounted at each boot by a line "
				 "in /etc/fstab", "its file is on what is mounted on %s, and "
				 "neither /etc/fstab nor a unit that is enabled has that mounted at the "
				 "next boot",
				 where);
	else if (at_boot && !early && !is_loaded(d, f))
		err = report_set(&f->report, VERDICT_UNKNOWN, "move the modules to the root file system, "
				 "or mount it early: x-initrd.mount in its line of /etc/fstab",
				 "its file is on what is mounted on %s, which may come after its "
				 "device asks for it", where);
	free(hash);
	free(usr);
	return err;
}

int hardening_judge(const struct doctor *d, struct finding *f)
{
	int (*const judges[])(const struct doctor *d, struct finding *f) = {
		judge_fips, judge_disabled, judge_asking, judge_place, judge_loadpin, judge_ima,
		judge_label,
	};
	int err = 0;

	if (d->place != PLACE_HOST || !host_may_act(d->h))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(judges) && !err && f->report.verdict == VERDICT_OK; i++)
		err = judges[i](d, f);
	return err;
}
