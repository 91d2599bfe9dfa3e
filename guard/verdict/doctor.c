// SPDX-License-Identifier: GPL-2.0-or-later
/* Asks about each module on each kernel: file, what it needs, what is loaded. */
#include "guard/verdict/doctor.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/util.h"
#include "guard/host/discover.h"
#include "guard/host/dkmstree.h"
#include "guard/host/kernels.h"
#include "guard/host/userspace.h"
#include "guard/module/modfile.h"
#include "guard/verdict/early.h"
#include "guard/verdict/hardening.h"
#include "guard/verdict/lookup.h"
#include "guard/verdict/modprobe.h"
#include "guard/verdict/verify.h"

struct dropin_errors {
	dropin_error_fn *report;
	void *arg;
	bool *broken;
};

static void note_error(void *arg, const char *message)
{
	const struct dropin_errors *errors = arg;

	*errors->broken = true;
	errors->report(errors->arg, message);
}

int doctor_new(const char *root, dropin_error_fn *report, void *arg,
	       struct doctor **out)
{
	struct host *h;
	int err = host_new(root, &h);

	return err ? err : doctor_of(h, report, arg, out);
}

int doctor_of(struct host *h, dropin_error_fn *report, void *arg, struct doctor **out)
{
	struct doctor *d = calloc(1, sizeof(*d));
	struct dropin_errors errors = { report, arg, d ? &d->broken : NULL };
	struct dropin_errors unseen = { report, arg, d ? &d->unseen : NULL };
	int err;

	if (!d) {
		host_free(h);
		return -ENOMEM;
	}
	d->h = h;
	err = trust_new(d->h, &d->t);
	if (!err)
		err = signers_of_host(d->h, &d->policy);
	if (!err)
		err = drivers_read_all(d->h, &d->drivers, note_error, &errors);
	if (!err)
		err = kernels_read(d->h, &d->kernels);
	if (!err)
		err = drivers_discover(d->h, &d->kernels, &d->drivers,
				       note_error, &unseen);
	if (!err)
		err = next_boot_read(d->h, &d->kernels, NULL, &d->next);
	if (!err)
		err = dpkg_unfinished(d->h, &d->unfinished);
	if (err == -EIO || err == -ETIMEDOUT) {
		d->unseen = true;
		err = 0;
	}
	if (!err)
		err = record_read(d->h, &d->record);
	if (!err)
		err = drivers_find_lost(d->h, &d->kernels, &d->unfinished, &d->record,
					&d->drivers, note_error, &unseen);
	if (err) {
		doctor_free(d);
		return err;
	}
	d->place = host_place(d->h);
	/* An image is only looked at. */
	d->cache = d->place == PLACE_IMAGE ? NULL : copies_cache_open(d->h);
	*out = d;
	return 0;
}

static void finding_free(struct finding *f)
{
	free(f->file);
	free(f->loaded);
	report_free(&f->report);
	dkms_free(&f->dkms);
}

void doctor_free(struct doctor *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->count; i++)
		finding_free(&d->findings[i]);
	free(d->findings);
	copies_cache_close(d->cache);
	record_free(&d->record);
	packages_free(&d->unfinished);
	next_boot_free(&d->next);
	kernels_free(&d->kernels);
	drivers_free(&d->drivers);
	signers_free(&d->policy);
	trust_free(d->t);
	host_free(d->h);
	free(d);
}

int doctor_manager(const struct doctor *d)
{
	static const char *const apt[] = { "apt-get", NULL }, *const dnf[] = { "dnf", NULL };
	char *tool = host_tool(d->h, apt);
	int manager = tool ? PACKAGES_APT : PACKAGES_UNKNOWN;

	if (!tool && (tool = host_tool(d->h, dnf)))
		manager = PACKAGES_DNF;
	free(tool);
	return manager;
}

const struct kernel *doctor_kernel(struct doctor *d, const char *release)
{
	const struct kernel *k = kernels_find(&d->kernels, release);

	/* Pointers into the list are held by findings: only before these. */
	if (!k && !d->count && !kernels_add(d->h, &d->kernels, release))
		k = kernels_find(&d->kernels, release);
	return k;
}

/* Does any installed kernel have a module of that name? */
static bool module_known(const struct doctor *d, const char *module)
{
	bool found = false;

	for (size_t i = 0; i < d->kernels.count && !found; i++) {
		char *path = NULL;

		found = !module_find(d->h, d->kernels.list[i].release, module,
				     &path);
		free(path);
	}
	return found;
}

/*
 * The compiler's first complaint in a make.log; malloc'ed, NULL: none. A configure
 * script says "not found" of much that it can do without, so that counts last; what it
 * tries may fail, and is written down as a comment.
 */
static char *first_error(const char *log)
{
	static const char *const signs[] = {
		"rror: ", "ERROR", "not found", "***",
	};
	size_t best = ARRAY_SIZE(signs);
	struct buf b = { 0 };
	char *text = NULL, *rest, *line, *found = NULL;

	if (!file_read(log, 16 << 20, &b))
		text = strndup((char *)b.data, b.len);
	for (rest = text; rest && best && (line = strsep(&rest, "\n"));)
		for (size_t i = 0; i < best && strncmp(line, "//", 2); i++)
			if (strstr(line, signs[i])) {
				free(found);
				found = strndup(line, 300);
				best = i;
			}
	if (found)
		make_printable(found);
	buf_free(&b);
	free(text);
	return found;
}

/* Did the build end for want of a compiler, which may have come since? */
static bool lacked_compiler(const char *why)
{
	static const char *const programs[] = { "gcc", "cc", "make" };

	for (size_t i = 0; why && i < ARRAY_SIZE(programs); i++) {
		const char *at = strstr(why, programs[i]);

		if (at && (strstr(at, ": not found") || strstr(at, "command not found") ||
			   strstr(at, "No such file or directory")) &&
		    strcspn(at, " :/.") == strlen(programs[i]))
			return true;
	}
	return false;
}

/*
 * A build failed: to repeat it fails again, but where nothing says that it was not ended, as
 * by a loss of power. What serves is said later.
 */
static int explain_failed_build(struct finding *f, const char *driver)
{
	char *why = first_error(f->dkms.log);
	int err = report_set(&f->report, VERDICT_MISSING, NULL,
			     "dkms could not build %s for kernel %s: %s (%s)",
			     driver, f->kernel->release,
			     why ? why : "its log names no error", f->dkms.log);

	f->report.cause = CAUSE_BUILD_FAILED;
	if (!err && (!why || lacked_compiler(why)))
		err = report_advise(&f->report, CAUSE_NOT_BUILT, NULL);
	free(why);
	return err;
}

/* The name of the akmod whose module lies in extra/NAME/; malloc'ed, NULL: of none. */
static char *akmod_of(const struct doctor *d, const char *file)
{
	const char *dir = strstr(file, "/extra/"), *end;
	char *name, *source;
	bool here;

	dir = dir ? dir + strlen("/extra/") : NULL;
	end = dir ? strchr(dir, '/') : NULL;
	if (!end)
		return NULL;
	name = strndup(dir, end - dir);
	source = name ? text_of("/usr/src/akmods/%s-kmod.latest", name) : NULL;
	here = source && host_has(d->h, source);
	free(source);
	if (here)
		return name;
	free(name);
	return NULL;
}

/* The newest log of a build by akmods that failed for a kernel; malloc'ed, NULL: none. */
static char *akmods_log(const struct doctor *d, const char *akmod, const char *kernel)
{
	char *rel = text_of("/var/cache/akmods/%s", akmod);
	char *dir = rel ? host_path(d->h, rel) : NULL;
	char *ends = text_of("-for-%s.failed.log", kernel), *newest = NULL;
	DIR *list = dir ? opendir(dir) : NULL;
	struct dirent *e;

	while (list && ends && (e = readdir(list)))
		if (str_ends_with(e->d_name, ends) &&
		    (!newest || release_compare(e->d_name, strrchr(newest, '/') + 1) > 0)) {
			free(newest);
			newest = text_of("%s/%s", dir, e->d_name);
		}
	if (list)
		closedir(list);
	free(ends);
	free(dir);
	free(rel);
	return newest;
}

/* What links modules of packages for other kernels in, where their symbols fit. */
static const char *weak_modules(const struct doctor *d)
{
	static const char *const tools[][2] = {
		{ "/usr/sbin/weak-modules", "weak-modules" },
		{ "/sbin/weak-modules", "weak-modules" },
		{ "/usr/lib/module-init-tools/weak-modules2",
		  "/usr/lib/module-init-tools/weak-modules2" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(tools); i++)
		if (host_has(d->h, tools[i][0]))
			return tools[i][1];
	return NULL;
}

/* Its file on another kernel; malloc'ed, NULL: there is none. */
static char *file_elsewhere(const struct doctor *d, const struct finding *f)
{
	for (size_t i = 0; i < d->kernels.count; i++) {
		const char *release = d->kernels.list[i].release;
		char *file = NULL;

		if (strcmp(release, f->kernel->release) &&
		    !module_find(d->h, release, f->module, &file) && file)
			return file;
		free(file);
	}
	return NULL;
}

/* A driver that dkms knows nothing of: akmods builds it, or a package brings it. */
static int explain_packaged(const struct doctor *d, struct finding *f)
{
	const char *kernel = f->kernel->release, *tool = weak_modules(d);
	char *file = file_elsewhere(d, f), *akmod = file ? akmod_of(d, file) : NULL;
	char *log = akmod ? akmods_log(d, akmod, kernel) : NULL;
	char *why = log ? first_error(log) : NULL, *next = NULL;
	int err = 0;

	if (log)
		err = report_set(&f->report, VERDICT_MISSING, NULL,
				 "akmods could not build %s for kernel %s: %s (%s)", akmod, kernel,
				 why ? why : "its log names no error", log);
	else if (akmod)
		next = text_of("akmods --force --akmod %s --kernels %s", akmod, kernel);
	else if (file && tool)
		next = text_of("%s --add-kernel %s, which links it in if its symbols fit, or "
			       "install the package that brings it for that kernel", tool, kernel);
	else
		next = text_of("install the package that brings it for kernel %s", kernel);
	if (!log)
		err = report_step(&f->report, next);
	free(why);
	free(log);
	free(akmod);
	free(file);
	return err;
}

/* A file that is there is not the right one, and dkms can make no other. */
static int advise_packaged(const struct doctor *d, struct finding *f)
{
	char *akmod, *next;

	if (f->report.verdict == VERDICT_OK || f->report.verdict == VERDICT_MISSING || !f->file ||
	    !f->driver || f->driver->dkms || f->dkms.state != DKMS_UNKNOWN ||
	    !f->report.next_step || !strstr(f->report.next_step, "dkms "))
		return 0;
	akmod = akmod_of(d, f->file);
	next = akmod ? text_of("akmods --force --akmod %s --kernels %s", akmod,
			       f->kernel->release) :
		       text_of("install the package that brings it for kernel %s",
			       f->kernel->release);
	free(akmod);
	return report_step(&f->report, next);
}

/* What a step is about; its texts belong to the finding. */
static struct subject subject_of(const struct doctor *d, const struct finding *f)
{
	return (struct subject){
		.kernel = f->kernel->release,
		.driver = f->driver ? f->driver->dkms : NULL,
		.version = f->dkms.version,
		.file = f->file,
		.manager = doctor_manager(d),
	};
}

/* The file that is there is not in the index, or another goes before it. */
static char *installed_elsewhere(const struct doctor *d, const struct finding *f)
{
	static const char *const where[] = {
		"updates/dkms", "updates", "extra", "weak-updates",
	};
	static const char *const suffix[] = { "", ".xz", ".zst", ".gz" };

	for (size_t i = 0; i < ARRAY_SIZE(where); i++)
		for (size_t j = 0; j < ARRAY_SIZE(suffix); j++) {
			char *rel = text_of("/lib/modules/%s/%s/%s.ko%s",
					    f->kernel->release, where[i],
					    f->module, suffix[j]);
			char *path = rel && host_has(d->h, rel) ?
				     host_path(d->h, rel) : NULL;

			free(rel);
			if (path)
				return path;
		}
	return NULL;
}

/* A driver that only its package knows of: dkms does not, or a file of it is gone. */
static int explain_lost(const struct doctor *d, struct finding *f)
{
	const struct driver *one = f->driver;
	struct subject about = subject_of(d, f);
	int err;

	about.version = one->source;
	if (one->source && one->unfinished)
		err = report_set(&f->report, VERDICT_MISSING, "dpkg --configure -a",
				 "package %s, so dkms does not know %s %s yet", one->unfinished,
				 one->dkms, one->source);
	else if (one->source)
		err = report_set(&f->report, VERDICT_MISSING, NULL,
				 "dkms does not know %s %s, whose source is in /usr/src",
				 one->dkms, one->source);
	else
		return report_set(&f->report, VERDICT_MISSING,
				  "install that package again (dpkg -S or rpm -qf names it)",
				  "%s is gone, which a package that is installed has", one->gone);
	return err ? err : report_advise(&f->report, one->unfinished ? CAUSE_UNFINISHED :
					 CAUSE_NOT_BUILT, &about);
}

/* What dkms knows makes the next step of a missing module precise. */
static int explain_missing(const struct doctor *d, struct finding *f,
			   bool twin)
{
	const char *driver = f->driver && f->driver->dkms ? f->driver->dkms :
							    f->module;
	const struct subject about = subject_of(d, f);
	char *next = NULL, *there;

	if (f->report.verdict != VERDICT_MISSING)
		return 0;
	there = installed_elsewhere(d, f);
	if (there && f->file && !strcmp(there, f->file)) {
		/* It is the one that is taken, and lacks something else. */
		free(there);
		return 0;
	}
	if (there) {
		int err = report_cause(&f->report, VERDICT_MISSING, CAUSE_NOT_INDEXED,
				       "modprobe would not take %s: it is not what "
				       "the module index names", there);

		free(there);
		return err ? err : report_advise(&f->report, CAUSE_NOT_INDEXED, &about);
	}
	if (f->driver && (f->driver->source || f->driver->gone))
		return explain_lost(d, f);
	if (f->dkms.log && f->dkms.state < DKMS_BUILT)
		return explain_failed_build(f, driver);
	if (f->dkms.state == DKMS_INSTALLED && twin)
		return 0;	/* as said there */
	if (f->dkms.state == DKMS_NO_SOURCE)
		next = text_of("dkms has lost the source of %s: reinstall its "
			       "package", driver);
	else if (f->dkms.state == DKMS_BUILT)
		return report_advise(&f->report, CAUSE_NOT_INSTALLED, &about);
	else if (f->dkms.state == DKMS_INSTALLED)
		return report_advise(&f->report, CAUSE_FILE_GONE, &about);
	else if (f->driver && !f->driver->dkms &&
		 f->driver->sources & (SOURCE_FILE | SOURCE_LOADED))
		return explain_packaged(d, f);
	else if (!f->driver && f->dkms.state == DKMS_UNKNOWN &&
		 !module_known(d, f->module))
		return report_set(&f->report, VERDICT_MISSING,
				  "look at its name: kmodkeep status lists the "
				  "drivers that were found",
				  "no driver, DKMS module or module file of "
				  "this host is called '%s'", f->module);
	else
		return 0;
	return report_step(&f->report, next);
}

/*
 * dkms installs no module over one of the kernel's whose version is not older;
 * where neither has a version it does not either. It counts as installed then.
 */
static bool dkms_leaves_twin(const struct doctor *d, const struct finding *f)
{
	const char *kernels = f->report.info.version, *built;
	struct modinfo info = { 0 };
	struct modfile file;
	bool leaves = false;
	char *path;

	if (!f->file || dkms_built_file(d->h, f->driver->dkms, f->dkms.version,
					f->kernel->release, f->module, &path))
		return false;
	if (!modfile_read(path, &file)) {
		if (!modinfo_read(file.bytes.data, file.bytes.len, &info)) {
			built = info.version;
			leaves = !kernels || !built ? !kernels && !built :
				 release_compare(kernels, built) >= 0;
			modinfo_free(&info);
		}
		modfile_free(&file);
	}
	free(path);
	return leaves;
}

/* dkms's driver is not the kernel's own module of the same name. */
static int judge_twin(const struct doctor *d, struct finding *f, bool *twin)
{
	const struct modinfo *info = &f->report.info;
	bool built_in = f->report.verdict == VERDICT_NOT_APPLICABLE && !f->file;

	*twin = f->driver && f->driver->sources > SOURCE_DROPIN &&
		(built_in || (f->file && strstr(f->file, "/kernel/") &&
			      info->intree && *info->intree == 'Y'));
	if (!*twin)
		return 0;
	if (f->dkms.state == DKMS_INSTALLED && dkms_leaves_twin(d, f))
		return report_set(&f->report, VERDICT_NOT_FOR_KERNEL, NULL,
				  "dkms has installed %s for kernel %s without "
				  "%s: the kernel's own is not older",
				  f->driver->dkms, f->kernel->release, f->module);
	/* dkms's word is not the kernel's: its file is gone, or not the one taken. */
	if (f->dkms.state == DKMS_INSTALLED)
		return report_cause(&f->report, VERDICT_MISSING, CAUSE_OTHER_TAKEN,
				    "dkms has %s installed for kernel %s, but "
				    "modprobe takes the kernel's own", f->module,
				    f->kernel->release);
	return report_cause(&f->report, VERDICT_MISSING, CAUSE_NOT_BUILT,
			  "kernel %s has only its own %s, not the driver's",
			  f->kernel->release, f->module);
}

static const struct dkmsconf_module *in_conf(const struct dkmsconf *c,
					     const char *module)
{
	for (size_t i = 0; i < c->count; i++)
		if (same_module(c->modules[i].name, module))
			return &c->modules[i];
	return NULL;
}

/* Does the driver's own dkms.conf leave this kernel out? */
static int judge_exclusion(const struct doctor *d, struct finding *f, bool twin)
{
	struct dkmsconf_kernel k;
	struct dkmsconf conf;
	const struct dkmsconf_module *m;
	int err;

	if (f->report.verdict != VERDICT_MISSING || !f->driver ||
	    !f->driver->dkms)
		return 0;
	err = dkmsconf_kernel_read(d->h, f->kernel->release, &k);
	if (err)
		return err;
	err = driver_conf(d->h, f->driver->dkms, &k, &conf);
	dkmsconf_kernel_free(&k);
	if (err)
		return err == -ENOMEM ? err : 0;
	m = in_conf(&conf, f->module);
	if (conf.excluded && !conf.excluded_maybe)
		err = report_set(&f->report, twin ? VERDICT_NOT_APPLICABLE :
				 VERDICT_NOT_FOR_KERNEL, NULL,
				 "the dkms.conf of %s leaves kernel %s out: "
				 "%s%s", f->driver->dkms, f->kernel->release,
				 conf.excluded, twin ?
				 "; the kernel's own module serves" : "");
	else if (conf.count && !conf.not_followed && !m)
		err = report_set(&f->report, VERDICT_NOT_FOR_KERNEL, NULL,
				 "the dkms.conf of %s does not build %s for "
				 "kernel %s", f->driver->dkms, f->module,
				 f->kernel->release);
	else if (f->dkms.state == DKMS_INSTALLED && (!m || m->maybe))
		err = report_set(&f->report, VERDICT_NOT_FOR_KERNEL, NULL,
				 "dkms has installed %s for kernel %s without "
				 "%s", f->driver->dkms, f->kernel->release,
				 f->module);
	dkmsconf_free(&conf);
	return err;
}

/* Is the build that runs now the one that is installed? */
static int judge_loaded(const struct doctor *d, struct finding *f)
{
	struct modinfo *info = &f->report.info;

	if (!f->kernel->running)
		return 0;
	f->loaded = host_module_line(d->h, f->report.info.name ?
				     f->report.info.name : f->module, "srcversion");
	if (f->report.verdict != VERDICT_OK || !f->loaded ||
	    !info->srcversion || !strcmp(f->loaded, info->srcversion))
		return 0;
	return report_set(&f->report, VERDICT_STALE_LOADED,
			  "reboot, or unload the module and load it again",
			  "another build of it is loaded than is installed");
}

static bool is_kernels_own(const char *file)
{
	return strstr(file, "/kernel/") != NULL;
}

static bool is_called(const char *file, const char *name)
{
	const char *base = strrchr(file, '/');
	size_t n = strlen(name);
	char *start = strndup(base ? base + 1 : file, n);
	bool is = start && same_module(start, name) &&
		  !strncmp((base ? base + 1 : file) + n, ".ko", 3);

	free(start);
	return is;
}

/* A kernel is content with one signer that it trusts; this host may not be. */
static int judge_signers(const struct doctor *d, const char *file, struct report *r)
{
	int ret = r->verdict == VERDICT_OK ? signers_check(&d->policy, file, r) : 0;

	return ret < 0 ? ret : 0;
}

/* A file that is loaded before: *r has what is said of it. */
static int judge_need(const struct doctor *d, struct finding *f,
		      const char *file, struct report *r)
{
	const char *base = strrchr(file, '/');
	struct stat st;
	int err;

	base = base ? base + 1 : file;
	if (is_kernels_own(file) && !stat(file, &st) && st.st_size)
		return 0;
	err = verify_file(d->h, d->t, file, f->kernel->release, r);
	if (!err)
		err = judge_signers(d, file, r);
	if (err || verdict_exit(r->verdict) == EXIT_YES)
		return err;
	if (verdict_exit(r->verdict) != EXIT_NO && f->report.verdict != VERDICT_OK)
		return 0;	/* not the first that is unknown */
	err = report_set(&f->report, r->verdict, r->next_step, "it needs %.*s: %s",
			 (int)strcspn(base, "."), base, r->message);
	/* Another driver's build is a finding of its own. */
	if (!err && !cause_builds(r->cause)) {
		const struct subject need = { .kernel = f->kernel->release, .file = file };

		f->report.cause = r->cause;
		err = report_advise(&f->report, r->cause, &need);
	}
	return err;
}

static int judge_depend(const struct doctor *d, struct finding *f,
			const char *need)
{
	struct report r = { 0 };
	char *file, *next;
	int err = module_find(d->h, f->kernel->release, need, &file);

	if (!err) {
		err = file ? judge_need(d, f, file, &r) : 0;
		report_free(&r);
		free(file);
		return err;
	}
	next = text_of("install the package that has %s for kernel %s, or: "
		       "depmod %s", need, f->kernel->release, f->kernel->release);
	err = next ? report_set(&f->report, VERDICT_MISSING, next,
				"it needs %s: kernel %s has no such module", need,
				f->kernel->release) : -ENOMEM;
	free(next);
	return err;
}

/* Of what a driver needs the first loss is told; what is unknown does not hide one. */
static bool look_on(const struct finding *f)
{
	return f->report.verdict == VERDICT_OK || f->report.verdict == VERDICT_UNKNOWN;
}

/* ",snd_pcm," of "snd-pcm": as the kernel calls it, in a list. */
static char *as_built(const char *name)
{
	char *text = text_of(",%s,", name);

	for (char *p = text; p && *p; p++)
		if (*p == '-')
			*p = '_';
	return text;
}

/* The names that a module says it needs: are all of them there? */
static int judge_depends(const struct doctor *d, struct finding *f,
			 const char *depends, const struct modprobe *m,
			 const char *built_as)
{
	char *all = strdup(depends), *rest = all, *need;
	int err = all ? 0 : -ENOMEM;

	while (!err && look_on(f) && (need = strsep(&rest, ","))) {
		char *mark = as_built(need);
		bool there = !*need || (mark && strstr(built_as, mark));

		for (size_t i = 0; i < m->need_count && !there; i++)
			there = is_called(m->needs[i], need);
		if (!there)
			err = judge_depend(d, f, need);
		free(mark);
	}
	free(all);
	return err;
}

/*
 * modprobe loads what a module needs first, and stops where that fails. The
 * kernel's own come with it, signed by a key that is in it.
 */
static int judge_needs(const struct doctor *d, struct finding *f,
		       const struct modprobe *m)
{
	/* Debian's nvidia-current is built as nvidia, and so asked for. */
	char *built_as = strdup(""), *longer, *name;
	int err = built_as ? 0 : -ENOMEM;

	for (size_t i = 0; i < m->need_count && !err && look_on(f); i++) {
		struct report r = { 0 };

		err = judge_need(d, f, m->needs[i], &r);
		name = as_built(r.info.name ? r.info.name : "");
		longer = text_of("%s%s", built_as, name ? name : "");
		free(name);
		free(built_as);
		built_as = longer;
		if (!longer)
			err = -ENOMEM;
		/* What it needs itself is in the index, but for what is gone. */
		if (!err && r.info.depends && look_on(f))
			err = judge_depends(d, f, r.info.depends, m, built_as);
		report_free(&r);
	}
	if (!err && look_on(f) && f->report.info.depends)
		err = judge_depends(d, f, f->report.info.depends, m, built_as);
	free(built_as);
	return err;
}

/* As sysfs calls it: by the name that it was built with. */
static const char *sysfs_name(const struct finding *f)
{
	return f->report.info.name ? f->report.info.name : f->module;
}

static bool is_loaded(const struct doctor *d, const struct finding *f)
{
	return host_module_loaded(d->h, sysfs_name(f));
}

#define UNBLOCK "take that line out of /etc/modprobe.d, or to have the driver " \
		"left out write 'ignore = yes' into /etc/kmodkeep/drivers.d/"

/*
 * What keeps modprobe from loading it. A blacklist counts for what is loaded by an
 * alias (udev, the kernel's requests) and for systemd-modules-load, an alias line
 * for what is loaded by its name. A module that is loaded now, under lines as they
 * were when this host booted, will be loaded the same way again.
 */
static int judge_lines(const struct doctor *d, struct finding *f,
		       const struct modprobe *m)
{
	const struct modinfo *info = &f->report.info;
	const char *driver = f->driver ? f->driver->name : f->module;
	bool by_name, proven, lists, refused;
	long long booted;
	char *next;
	int err;

	if (!m->line && !m->blacklisted)
		return 0;
	by_name = modprobe_at_boot(d->h, f->module);
	booted = host_boot_time(d->h);
	proven = booted && is_loaded(d, f) &&
		 modprobe_config_changed(d->h) < booted;
	lists = m->blacklisted && !proven && (info->has_alias || by_name);
	refused = m->refused &&
		  (!m->by_name_only || (!proven && (!info->has_alias || by_name)));
	next = text_of(UNBLOCK "%s.conf", driver);
	err = next ? 0 : -ENOMEM;
	if (!err && m->unclear && !proven)
		err = report_set(&f->report, VERDICT_UNKNOWN, "look at that line: does "
				 "it load the module? If not, take it out", "the module is "
				 "good, but modprobe is told '%s', which only a shell can "
				 "follow", m->line);
	else if (!err && refused)
		err = report_set(&f->report, VERDICT_BLOCKED, next, "modprobe is told not "
				 "to load it: '%s'", m->line);
	else if (!err && lists)
		err = report_set(&f->report, VERDICT_BLOCKED, next, "it is blacklisted for "
				 "modprobe, so that %s will not load it", by_name ?
				 "systemd-modules-load" : "no device and no request");
	free(next);
	return err;
}

/* What could not be looked at may have a line that keeps it from being loaded. */
static int judge_unread_lines(const struct doctor *d, struct finding *f, int why)
{
	const char *unread = why ? "" : modprobe_config_unread(d->h);
	int err = unread ? 0 : -ENOMEM;

	if (!err && f->report.verdict == VERDICT_OK && (why || *unread))
		err = report_set(&f->report, VERDICT_UNKNOWN, "ask again as root",
				 "what modprobe would do cannot be told: %s: %s",
				 *unread ? unread : f->module, strerror(why ? -why : EACCES));
	return err;
}

/* What modprobe does for its name, and for the one that the kernel knows it by. */
static int judge_modprobe(const struct doctor *d, struct finding *f)
{
	const char *built_as = f->report.info.name;
	struct modprobe m;
	int err = modprobe_plan(d->h, f->kernel->release, f->module, &m);

	if (err)
		return err == -ENOMEM ? err : judge_unread_lines(d, f, err);
	/* A refused one may have no file by which anything else is judged. */
	if (f->report.verdict == VERDICT_OK ||
	    (m.line && !m.file && f->report.verdict == VERDICT_MISSING))
		err = judge_lines(d, f, &m);
	if (!err && f->report.verdict == VERDICT_OK)
		err = judge_needs(d, f, &m);
	if (!err && m.more_needs && f->report.verdict == VERDICT_OK)
		err = report_set(&f->report, VERDICT_UNKNOWN, "look at its dependencies: modprobe "
				 "--show-depends", "it needs more modules than are looked at");
	modprobe_free(&m);
	if (!err)
		err = judge_unread_lines(d, f, 0);
	if (err || f->report.verdict != VERDICT_OK || !built_as ||
	    same_module(built_as, f->module))
		return err;
	err = modprobe_plan(d->h, f->kernel->release, built_as, &m);
	if (err)
		return err == -ENOENT ? 0 : err == -ENOMEM ? err : judge_unread_lines(d, f, err);
	err = judge_lines(d, f, &m);
	modprobe_free(&m);
	return err;
}

/*
 * A driver's libraries and its module are of one version, or its programs fail: the
 * one that a boot would load, and before that the one that is loaded.
 */
static int judge_userspace(const struct doctor *d, struct finding *f)
{
	const char *version = f->report.info.version;
	char *user = NULL, *loaded;
	int err;

	if (!f->driver || !f->driver->userspace ||
	    (f->report.verdict != VERDICT_OK &&
	     f->report.verdict != VERDICT_STALE_LOADED))
		return 0;
	err = userspace_version(d->h, f->driver, &user);
	if (err == -ENOMEM || (!err && !user))
		return err;
	if (err)
		return report_set(&f->report, VERDICT_UNKNOWN, "ask again as root on the "
				  "running host, or mend 'userspace' in its drop-in",
				  "the version of its user space cannot be read: %s: %s",
				  f->driver->userspace, strerror(-err));
	loaded = f->kernel->running ? host_module_line(d->h, sysfs_name(f), "version") : NULL;
	if (version && strcmp(version, user))
		err = report_set(&f->report, VERDICT_OTHER_VERSION, "install both from one "
				 "version of the driver's packages, and have the module built",
				 "the module is version %s, and its user space %s", version,
				 user);
	else if (loaded && strcmp(loaded, user))
		err = report_set(&f->report, VERDICT_STALE_LOADED, "reboot, or unload the "
				 "module and load it again", "version %s is loaded, and its "
				 "user space is %s, as is what the next boot loads", loaded,
				 user);
	free(loaded);
	free(user);
	return err;
}

static int examine(struct doctor *d, struct finding *f,
		   const struct early *early)
{
	const char *name = f->driver && f->driver->dkms ? f->driver->dkms :
							  f->module;
	bool twin = false;
	int err;

	if (d->place == PLACE_CONTAINER)
		return report_set(&f->report, VERDICT_NOT_APPLICABLE, NULL,
				  "this is a container: its modules are the "
				  "host's affair");
	if (host_is_immutable(d->h))
		return report_set(&f->report, VERDICT_NOT_APPLICABLE, NULL,
				  "this host boots whole images: what is in the "
				  "next one is not to be seen in this one");
	err = dkms_read(d->h, name, f->kernel->release, &f->dkms);
	if (!err)
		err = verify_module(d->h, d->t, f->module, f->kernel->release,
				    &f->file, &f->report);
	if (!err && f->file)
		err = judge_signers(d, f->file, &f->report);
	if (!err)
		err = judge_twin(d, f, &twin);
	if (!err)
		err = judge_exclusion(d, f, twin);
	if (!err)
		err = explain_missing(d, f, twin);
	if (!err)
		err = judge_modprobe(d, f);
	if (!err)
		err = advise_packaged(d, f);
	if (!err)
		err = early_judge(d, early, f);
	if (!err)
		err = hardening_judge(d, f);
	if (!err)
		err = judge_loaded(d, f);
	if (!err)
		err = judge_userspace(d, f);
	/* The verifier knew the file alone. */
	if (!err && f->report.cause != CAUSE_NONE && !f->report.command) {
		const struct subject about = subject_of(d, f);

		err = report_advise(&f->report, f->report.cause, &about);
	}
	return err;
}

static int add_finding(struct doctor *d, const struct driver *driver,
		       const char *module, const struct kernel *k,
		       const struct early *early)
{
	struct finding *list = realloc(d->findings,
				       (d->count + 1) * sizeof(*list));
	struct finding *f;
	int err;

	if (!list)
		return -ENOMEM;
	d->findings = list;
	f = &list[d->count];
	memset(f, 0, sizeof(*f));
	f->driver = driver;
	f->module = module;
	f->kernel = k;
	d->count++;
	err = examine(d, f, early);
	if (!err && !f->report.message)
		err = -ENOMEM;
	return err;
}

static int ask_driver(struct doctor *d, const struct kernel *k,
		      const struct driver *driver, const struct early *early,
		      const char *only)
{
	bool named = !only || !strcmp(driver->name, only);
	int err = 0;

	for (size_t i = 0; i < driver->module_count && !err; i++)
		if (named || !strcmp(driver->modules[i], only))
			err = add_finding(d, driver, driver->modules[i], k,
					  early);
	return err;
}

/* The modules of all drivers, and the one asked about; ends with NULL. */
static char **all_modules(const struct doctor *d, const char *only,
			  size_t *count)
{
	size_t n = 1;
	char **all;

	for (size_t i = 0; i < d->drivers.count; i++)
		n += d->drivers.list[i].module_count;
	all = calloc(n, sizeof(*all));
	*count = 0;
	for (size_t i = 0; all && i < d->drivers.count; i++)
		for (size_t m = 0; m < d->drivers.list[i].module_count; m++)
			all[(*count)++] = d->drivers.list[i].modules[m];
	if (all && only)
		all[(*count)++] = (char *)only;
	return all;
}

static int ask_kernel(struct doctor *d, const struct kernel *k,
		      const char *only, const struct early *early)
{
	size_t before = d->count;
	int err = 0;

	for (size_t i = 0; i < d->drivers.count && !err; i++)
		if (!d->drivers.list[i].broken)
			err = ask_driver(d, k, &d->drivers.list[i], early,
					 only);
	if (!err && only && d->count == before)
		err = add_finding(d, NULL, only, k, early);
	return err;
}

/* Known to be absent: a kernel that cannot be looked into may have it. */
static bool is_absent(const struct finding *f)
{
	return f->report.verdict == VERDICT_MISSING ||
	       f->report.verdict == VERDICT_NOT_FOR_KERNEL;
}

/* Does a kernel have the driver's file of a module, whatever it is worth? */
static bool kernel_has_it(const struct doctor *d, const struct finding *f,
			  const struct kernel *k)
{
	struct finding probe = {
		.driver = f->driver, .module = f->module, .kernel = k,
	};
	bool has, twin = false;

	for (size_t i = 0; i < d->count; i++)
		if (d->findings[i].kernel == k &&
		    d->findings[i].driver == f->driver &&
		    !strcmp(d->findings[i].module, f->module))
			return !is_absent(&d->findings[i]);
	if (f->driver->dkms && dkms_read(d->h, f->driver->dkms, k->release,
					 &probe.dkms))
		return true;
	if (verify_module(d->h, d->t, f->module, k->release, &probe.file,
			  &probe.report) || judge_twin(d, &probe, &twin))
		return true;
	has = !is_absent(&probe);
	finding_free(&probe);
	return has;
}

/* Does a kernel have what was asked about, which is more than not losing it? */
static bool has_what_serves(const struct doctor *d, const struct finding *f,
			    const struct kernel *k)
{
	for (size_t i = 0; i < d->count; i++) {
		const struct finding *g = &d->findings[i];

		if (g->kernel == k && g->driver == f->driver && !strcmp(g->module, f->module))
			return finding_serves(g) == ANSWER_YES && !g->note;
	}
	return false;
}

/* The newest kernel on which a driver serves; NULL: none that was asked. */
static const struct kernel *serving(const struct doctor *d,
				    const struct finding *f)
{
	for (size_t i = 0; i < d->kernels.count; i++) {
		const struct kernel *k = &d->kernels.list[i];
		const struct finding *w = doctor_worst(d, f->driver, k);

		if (k == f->kernel)
			continue;
		if (w ? finding_serves(w) == ANSWER_YES && has_what_serves(d, f, k) :
			k->running && kernel_has_it(d, f, k))
			return k;
	}
	return NULL;
}

/* A way out of a build that fails. */
static int advise(const struct doctor *d, struct finding *f)
{
	const struct kernel *k = serving(d, f);
	const char *name = f->driver->name;

	if (f->report.next_step || f->report.verdict == VERDICT_OK ||
	    !is_absent(f))
		return 0;
	if (k && f->driver->policy == POLICY_PIN_LAST_GOOD)
		f->report.next_step =
			text_of("keep to kernel %s, which has it, until a "
				"version of %s comes that builds", k->release,
				name);
	else if (k)
		f->report.next_step =
			text_of("boot kernel %s, which has it: choose it in the "
				"boot menu, or to stay on it write '%s = %s' "
				"and 'policy = pin-last-good' into "
				"/etc/kmodkeep/drivers.d/%s.conf, then: "
				"kmodkeep guard (an unattended reboot loses "
				"the driver until then)", k->release,
				f->driver->dkms ? "dkms" : "modules",
				f->driver->dkms ? f->driver->dkms : f->module, name);
	else
		f->report.next_step =
			text_of("wait for a version of %s that builds, or to "
				"have it left out write 'ignore = yes' into "
				"/etc/kmodkeep/drivers.d/%s.conf", name, name);
	return f->report.next_step ? 0 : -ENOMEM;
}

/* A driver that was found by its files, and none of them is there any more. */
static bool vanished(const struct doctor *d, const struct driver *driver)
{
	bool any = !(driver->sources & SOURCE_FILE);

	for (size_t i = 0; i < driver->module_count && !any; i++)
		for (size_t k = 0; k < d->kernels.count && !any; k++) {
			const struct finding probe = {
				.driver = driver, .module = driver->modules[i],
			};

			any = kernel_has_it(d, &probe, &d->kernels.list[k]);
		}
	return !any;
}

/*
 * dkms was not told of an RPM package's source, or told to forget it: nothing tells which,
 * so that it is not built unasked.
 */
static int doubt_untold(struct finding *f)
{
	const struct driver *one = f->driver;
	char *next = text_of("dkms install %s/%s -k %s, or where it is not wanted: remove that package, or "
			     "ignore = yes in /etc/kmodkeep/drivers.d/%s.conf", one->dkms, one->source,
			     f->kernel->release, one->name);
	int err = next ? report_set(&f->report, VERDICT_UNKNOWN, next,
				    "no kernel has it, and dkms does not know %s %s, which package "
				    "%s brings: its script failed, or dkms was told to remove it",
				    one->dkms, one->source, one->untold) : -ENOMEM;

	free(next);
	return err;
}

/* No kernel has it, which dpkg's removal of the version before may have done. */
static int doubt_loss(const struct doctor *d, struct finding *f)
{
	const struct subject about = subject_of(d, f);
	int err = report_set(&f->report, VERDICT_UNKNOWN, "dpkg --configure -a",
			     "no kernel has it, and whether one had is not known: package %s",
			     f->driver->unfinished);

	return err ? err : report_advise(&f->report, CAUSE_UNFINISHED, &about);
}

/*
 * What no kernel here has, and a drop-in does not ask for, cannot be lost, but for what
 * served at the guard's last run; nor what its maker leaves out, where the running kernel
 * has it as little.
 */
static int tell_loss_from_note(struct doctor *d, size_t from)
{
	int err = 0;

	for (size_t i = from; i < d->count && !err; i++) {
		struct finding *f = &d->findings[i];
		char *state = NULL;
		bool only_running = f->report.verdict == VERDICT_NOT_FOR_KERNEL;
		bool anywhere = false;

		/* Not loaded now either, where that can be seen. */
		if (f->driver && f->report.verdict == VERDICT_BLOCKED)
			f->note = !(f->driver->sources & SOURCE_DROPIN) &&
				  host_has(d->h, "/sys/module") &&
				  !is_loaded(d, f);
		if (!f->driver || !is_absent(f) ||
		    (!only_running && f->dkms.state >= DKMS_BUILT) ||
		    (f->driver->sources & SOURCE_DROPIN && !only_running))
			continue;
		for (size_t k = 0; k < d->kernels.count && !anywhere; k++)
			if (!only_running || d->kernels.list[k].running)
				anywhere = kernel_has_it(d, f,
							 &d->kernels.list[k]);
		anywhere |= !only_running && (vanished(d, f->driver) ||
					      record_has(&d->record, f->module));
		state = host_module_line(d->h, f->module, "taint");
		anywhere |= state && strchr(state, 'O');
		free(state);
		if (!anywhere && !only_running && f->driver->unfinished)
			err = doubt_loss(d, f);
		else if (!anywhere && !only_running && f->driver->untold)
			err = doubt_untold(f);
		else
			f->note = !anywhere;
	}
	/* Where nothing is lost there is nothing to do. */
	for (size_t i = from; i < d->count && !err; i++)
		if (d->findings[i].driver && !d->findings[i].note)
			err = advise(d, &d->findings[i]);
	return err;
}

int doctor_ask(struct doctor *d, const struct kernel *const *list, size_t n,
	       const char *only)
{
	size_t before = d->count;
	struct early early = { 0 };
	size_t count;
	char **modules = all_modules(d, only, &count);
	int err = modules ? 0 : -ENOMEM;

	if (!err && d->place != PLACE_CONTAINER)
		err = early_read(d, list, n, modules, count, &early);
	for (size_t i = 0; i < n && !err; i++)
		err = ask_kernel(d, list[i], only, &early);
	if (!err && d->place != PLACE_CONTAINER && !host_is_immutable(d->h))
		err = tell_loss_from_note(d, before);
	early_free(&early);
	free(modules);
	d->asked |= n && !only;
	return err;
}

int doctor_ask_all(struct doctor *d)
{
	const struct kernel **list = calloc(d->kernels.count + 1,
					    sizeof(*list));
	int err = list ? 0 : -ENOMEM;

	for (size_t i = 0; i < d->kernels.count && list; i++)
		list[i] = &d->kernels.list[i];
	if (!err)
		err = doctor_ask(d, list, d->kernels.count, NULL);
	free(list);
	return err;
}

enum answer finding_serves(const struct finding *f)
{
	if (f->note)
		return ANSWER_YES;
	switch (f->report.verdict) {
	case VERDICT_OK:
	case VERDICT_STALE_LOADED:	/* not after a boot */
	case VERDICT_NOT_APPLICABLE:
		return ANSWER_YES;
	case VERDICT_UNKNOWN:
		return ANSWER_UNVERIFIED;
	default:
		return ANSWER_NO;
	}
}

const struct finding *doctor_worst(const struct doctor *d,
				   const struct driver *driver,
				   const struct kernel *k)
{
	const struct finding *worst = NULL;

	for (size_t i = 0; i < d->count; i++) {
		const struct finding *f = &d->findings[i];

		if (f->driver != driver || f->kernel != k)
			continue;
		if (!worst || finding_serves(f) == ANSWER_NO ||
		    finding_serves(worst) == ANSWER_YES)
			worst = worst && finding_serves(worst) == ANSWER_NO ?
				worst : f;
	}
	return worst;
}

enum answer doctor_serves(const struct doctor *d, const struct kernel *k,
			  bool pinned_only)
{
	enum answer all = ANSWER_YES;

	for (size_t i = 0; i < d->drivers.count; i++) {
		const struct driver *driver = &d->drivers.list[i];
		const struct finding *f = doctor_worst(d, driver, k);
		enum answer one = f ? finding_serves(f) : ANSWER_UNVERIFIED;

		if (driver->broken ||
		    (pinned_only && driver->policy != POLICY_PIN_LAST_GOOD))
			continue;
		if (one == ANSWER_NO)
			return ANSWER_NO;
		if (one == ANSWER_UNVERIFIED)
			all = one;
	}
	return all;
}
