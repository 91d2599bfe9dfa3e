// SPDX-License-Identifier: GPL-2.0-or-later
/* Boot files, the initramfs and the command line, as the next boot has them. */
#include "guard/verdict/early.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/base/util.h"
#include "guard/host/bootfile.h"
#include "guard/host/firmware.h"
#include "guard/trust/firmware_ca.h"
#include "guard/verdict/cmdline.h"
#include "guard/verdict/early_rules.h"
#include "guard/verdict/modprobe.h"
#include "guard/verdict/verify.h"

int boot_archives(const struct next_boot *next, const struct kernel *k, struct archives *out)
{
	const struct boot_files *f = next_boot_files(next, k->release);
	bool inside = f && f->image && boot_file_has(f->image, ".initrd");
	bool named = f && !f->unclear && (inside || f->count || f->image);
	size_t count = named ? f->count + inside : k->initramfs != NULL;
	char **files = calloc(count + 1, sizeof(*files));

	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		files[i] = !named ? k->initramfs : inside && !i ? f->image :
			   f->archives[i - inside];
	*out = (struct archives){ k->release, files, count };
	return 0;
}

void boot_archives_free(struct archives *a)
{
	free((void *)a->files);
	memset(a, 0, sizeof(*a));
}

/* The place of a kernel in what was read; count: it was not. */
static size_t place_of(const struct early *e, const struct kernel *k)
{
	size_t i = 0;

	while (i < e->count && strcmp(e->kernels[i].release, k->release))
		i++;
	return i;
}

/* The program that makes an initramfs, and where it is told of a module. */
static const struct maker {
	const char *program, *list;
} makers[] = {
	{ "update-initramfs", "/etc/initramfs-tools/modules" },
	{ "dracut", "add_drivers of a file in /etc/dracut.conf.d" },
	{ "mkinitcpio", "MODULES in /etc/mkinitcpio.conf" },
};

enum { UPDATE_INITRAMFS, DRACUT, MKINITCPIO };

static bool is_here(const struct doctor *d, const struct maker *m)
{
	const char *const names[] = { m->program, NULL };
	char *tool = host_tool(d->h, names);
	bool here = tool != NULL;

	free(tool);
	return here;
}

/* Does it load what another program made of the initramfs in /boot, or instead of it? */
static bool boots_copies(const struct doctor *d, const struct kernel *k)
{
	const struct boot_files *f = next_boot_files(&d->next, k->release);

	return f && (f->unified || (f->count && (!k->initramfs ||
		     strcmp(f->archives[f->count - 1], k->initramfs) != 0)));
}

static char *make_step(const struct doctor *d, const struct kernel *k, size_t maker)
{
	const char *v = k->release;

	if (maker == UPDATE_INITRAMFS)
		return text_of("update-initramfs -%c -k %s", k->initramfs ? 'u' : 'c', v);
	if (maker == MKINITCPIO)
		return strdup("mkinitcpio -P");
	return boots_copies(d, k) ? text_of("kernel-install add %s /lib/modules/%s/vmlinuz", v, v) :
				    text_of("dracut -f --kver %s", v);
}

/*
 * How an initramfs is made here, and what to do if a module is not in it then
 * (NULL: nothing of that); malloc'ed.
 */
static char *initramfs_step(const struct doctor *d, const struct kernel *k, const char *module)
{
	char *all = NULL;
	size_t here = 0, last = 0;

	for (size_t i = 0; i < ARRAY_SIZE(makers); i++)
		if (is_here(d, &makers[i])) {
			here++;
			last = i;
		}
	for (size_t i = 0; i < ARRAY_SIZE(makers); i++) {
		char *one, *more;

		/* An unknown one: the two that most hosts have. */
		if (here == 1 ? i != last : i == MKINITCPIO)
			continue;
		one = make_step(d, k, i);
		more = one ? text_of("%s%s%s%s%s%s%s", all ? all : "", all ? ", or: " : "", one,
				     module ? " (if it is still not in it: add " : "",
				     module ? module : "", module ? " to " : "",
				     module ? makers[i].list : "") : NULL;
		if (more && module) {
			char *closed = text_of("%s)", more);

			free(more);
			more = closed;
		}
		free(one);
		free(all);
		all = more;
		if (!all)
			break;
	}
	return all;
}

/* The file that boots a kernel; NULL: none is known. */
static const char *image_of(const struct doctor *d, const struct kernel *k)
{
	const struct boot_files *f = next_boot_files(&d->next, k->release);

	return f && f->image ? f->image : k->image;
}

/* The image that came with the modules: where a package has it beside them, that one. */
static char *installed_image(const struct doctor *d, const struct kernel *k)
{
	char *rel = text_of("/lib/modules/%s/vmlinuz", k->release);
	char *path = rel ? host_path(d->h, rel) : NULL;

	free(rel);
	if (path && path_exists(path))
		return path;
	free(path);
	return k->image ? strdup(k->image) : NULL;
}

/* Does what boots say of itself that it is the build that is installed? */
static int compare_image(const struct doctor *d, const struct kernel *k, struct early_build *out)
{
	const struct boot_files *f = next_boot_files(&d->next, k->release);
	const char *boots = image_of(d, k);
	char *installed = installed_image(d, k), *is, *was;
	int same = boots && installed && strcmp(boots, installed) != 0 ?
		   boot_file_same_build(boots, installed) : 1;

	if (same != 1) {
		is = boot_file_build(boots);
		was = boot_file_build(installed);
		out->unsure = same != 0;
		out->why = same < 0 && same != -ENODATA ?
			text_of("%s, which boots, and %s cannot be compared: %s", boots, installed,
				strerror(-same)) : out->unsure ?
			text_of("%s, which boots, and %s differ, and do not say which build of "
				"kernel %s they are", boots, installed, k->release) :
			text_of("%s, which boots, is another build of kernel %s than %s: %s; %s",
				boots, k->release, installed, is ? is : "?", was ? was : "?");
		out->next = f && f->unified ? initramfs_step(d, k, NULL) :
			    f && boots_copies(d, k) ?
			    text_of("kernel-install add %s %s", k->release, installed) :
			    strdup("see that /boot is mounted, and install that kernel again");
		free(is);
		free(was);
	}
	free(installed);
	return same != 1 && (!out->why || !out->next) ? -ENOMEM : 0;
}

/* The initramfs has modules of the kernel itself: are they those of this build? */
static int compare_modules(const struct doctor *d, const struct kernel *k,
			   const struct copies *copies, struct early_build *out)
{
	const char *other = copies->own.other, *unsure = copies->own.unsure;

	if (copies->err || (!other && (!unsure || out->why)))
		return 0;
	free(out->why);
	free(out->next);
	out->unsure = !other;
	out->why = other ?
		text_of("the initramfs of kernel %s has modules of another build of it than "
			"those on disk: %s", k->release, other) :
		text_of("the initramfs of kernel %s may have modules of another build of it: "
			"%s and that on disk cannot be compared", k->release, unsure);
	out->next = initramfs_step(d, k, NULL);
	return out->why && out->next ? 0 : -ENOMEM;
}

/* Not what this host booted, or that cannot be told. */
static bool written_since(const char *path, long long booted)
{
	struct stat st;

	return stat(path, &st) < 0 || st.st_mtime >= booted || st.st_ctime >= booted;
}

/*
 * Neither does one that is signed by a stranger. booted: the image that did start, NULL:
 * not known; what the same signed starts as well.
 */
static int see_signer(const struct doctor *d, const char *image, const char *booted,
		      struct early_build *out)
{
	struct boot_program next, was = { 0 };
	bool as_before;
	int err;

	if (booted && !strcmp(image, booted))
		return 0;
	err = firmware_shim_starts(d->h, image, &next);
	if (!err && booted && next.boots != BOOTS_YES)
		err = firmware_shim_starts(d->h, booted, &was);
	as_before = next.signed_as_is && was.signers && next.signers &&
		    !strcmp(was.signers, next.signers) && next.boots == was.boots;
	if (!err && next.boots != BOOTS_YES && !as_before) {
		out->unsure = true;
		out->why = text_of("Secure Boot is on, and whether %s, which boots, is started is not "
				   "known, as no key for it is found in db or MokListRT (signed by: %s)",
				   image, next.signers ? next.signers : "?");
		out->next = strdup("enrol its signer's certificate by mokutil --import, or boot a kernel "
				   "of the distribution");
		err = out->why && out->next ? 0 : -ENOMEM;
	}
	boot_program_free(&was);
	boot_program_free(&next);
	return err;
}

/*
 * Under Secure Boot a kernel without a signature does not start, unless somebody enrolled
 * its hash, or nothing on this host asks, as the running one shows then: if its file is
 * still the one that booted.
 */
static int see_signature(const struct doctor *d, const struct kernel *k, struct early_build *out)
{
	const char *image = image_of(d, k), *now = NULL;
	long long booted = host_boot_time(d->h);

	bool as_booted;
	int is;

	for (size_t i = 0; i < d->kernels.count; i++)
		if (d->kernels.list[i].running)
			now = image_of(d, &d->kernels.list[i]);
	as_booted = now && !(booted && written_since(now, booted));
	is = out->why || !image || host_secure_boot(d->h) != SB_ON ? -ENODATA :
	     boot_file_signed(image);
	if (is == 1 && d->next.kernel && !strcmp(d->next.kernel, k->release))
		return see_signer(d, image, as_booted ? now : NULL, out);
	if (is || (as_booted && boot_file_signed(now) == 0))
		return 0;
	out->unsure = true;
	out->why = text_of("Secure Boot is on, and %s, which boots, is not signed", image);
	out->next = strdup("install that kernel from a package that is signed, or sign it with a key "
			   "that is enrolled");
	return out->why && out->next ? 0 : -ENOMEM;
}

static int read_build(const struct doctor *d, struct early *e, size_t i)
{
	const struct kernel *k = kernels_find(&d->kernels, e->kernels[i].release);
	int err = k ? compare_image(d, k, &e->builds[i]) : 0;

	if (k && !err)
		err = see_signature(d, k, &e->builds[i]);
	if (k && !err && (!e->builds[i].why || e->builds[i].unsure))
		err = compare_modules(d, k, &e->copies[i], &e->builds[i]);
	return err;
}

int early_read(const struct doctor *d, const struct kernel *const *list, size_t n,
	       char *const *modules, size_t count, struct early *out)
{
	int err = 0;

	memset(out, 0, sizeof(*out));
	out->kernels = calloc(n + 1, sizeof(*out->kernels));
	out->copies = calloc(n + 1, sizeof(*out->copies));
	out->builds = calloc(n + 1, sizeof(*out->builds));
	if (!out->kernels || !out->copies || !out->builds)
		return -ENOMEM;
	out->running = SIZE_MAX;
	for (size_t i = 0; i < n && !err; i++) {
		if (list[i]->running)
			out->running = i;
		err = boot_archives(&d->next, list[i], &out->kernels[i]);
		out->count += !err;
	}
	/* What the others are compared with. */
	for (size_t i = 0; i < d->kernels.count && out->running == SIZE_MAX && !err; i++)
		if (d->kernels.list[i].running) {
			out->running = out->count;
			err = boot_archives(&d->next, &d->kernels.list[i],
					    &out->kernels[out->count]);
			out->count += !err;
		}
	if (out->running == SIZE_MAX)
		out->running = out->count;
	if (!err)
		err = rootfs_read(d->h, &out->root);
	if (!err)
		err = copies_read(d->h, d->cache, out->kernels, out->count, modules, count,
				  false, out->copies);
	for (size_t i = 0; i < out->count && !err; i++)
		err = read_build(d, out, i);
	return err;
}

void early_free(struct early *e)
{
	for (size_t i = 0; i < e->count; i++) {
		boot_archives_free(&e->kernels[i]);
		copies_free(&e->copies[i]);
		free(e->builds[i].why);
		free(e->builds[i].next);
	}
	free(e->builds);
	free(e->kernels);
	free(e->copies);
	rootfs_free(&e->root);
	memset(e, 0, sizeof(*e));
}

/* By the name of its file, and by the one that it was built with, which sysfs has. */
static bool root_needs(const struct early *e, const struct finding *f)
{
	const char *name = f->report.info.name;

	return rootfs_needs(&e->root, f->module) || (name && rootfs_needs(&e->root, name));
}

/* Is this file of the kernel in the initramfs, by its path below the kernel's folder? */
static bool has_own(const struct copies *copies, const char *file)
{
	const char *path = strstr(file, "/kernel/"), *suffix = path ? strstr(path, ".ko") : NULL;
	const char *at = copies->own.paths;
	size_t n = suffix ? (size_t)(suffix + 3 - ++path) : 0;

	for (; n && at && *at; at += strcspn(at, "\n"), at += *at == '\n')
		if (!strncmp(at, path, n) && at[n] == '\n')
			return true;
	return false;
}

/*
 * A hash that is a module of the kernel: to check a signature there it has modprobe of the
 * initramfs load it. What is refused there is loaded from the disk after it, if it is
 * for a device, and not if the disk is reached through it.
 */
static int judge_request(const struct doctor *d, const struct early *e, struct finding *f,
			 const struct copies *copies, const char *request)
{
	enum initramfs_need need = f->driver ? f->driver->initramfs : INITRAMFS_AUTO;
	bool there = false, needed = need == INITRAMFS_REQUIRED || root_needs(e, f);
	char *name = NULL, *next;
	struct modprobe m;
	int err = 0;

	if (!request || need == INITRAMFS_NO)
		return 0;
	if (modprobe_request(d->h, f->kernel->release, request, &m) == -ENOMEM)
		return -ENOMEM;
	for (size_t i = 0; i < m.need_count && !there; i++)
		there = has_own(copies, m.needs[i]);
	if (m.need_count) {
		const char *base = strrchr(m.needs[0], '/') + 1;

		name = strndup(base, strcspn(base, "."));
	}
	modprobe_free(&m);
	next = there ? NULL : initramfs_step(d, f->kernel, name ? name : request);
	if (!there)
		err = report_set(&f->report, needed ? VERDICT_STALE_INITRAMFS : VERDICT_UNKNOWN,
				 next, "its copy in the initramfs would be refused%s: to check "
				 "its signature the kernel has to load %s, which is not in it",
				 needed ? "" : ", and the file on disk may be loaded after that",
				 name ? name : request);
	free(next);
	free(name);
	return err;
}

/* The copy in the initramfs is the one that early boot loads. */
static int judge_bytes(const struct doctor *d, const struct early *e, struct finding *f,
		       const struct copies *copies, const struct copy *copy)
{
	struct report r = { 0 };
	struct modfile m;
	struct buf raw = { malloc(copy->bytes.len + 1), copy->bytes.len };
	const char *was = f->report.info.srcversion;
	char *next;
	int err, judged = 1;

	if (!raw.data)
		return -ENOMEM;
	memcpy(raw.data, copy->bytes.data, copy->bytes.len);
	next = initramfs_step(d, f->kernel, NULL);
	err = modfile_take(&raw, &m);
	if (err == -EBADMSG || err == -EFBIG)
		err = report_set(&r, VERDICT_TAMPERED, NULL, "damaged");
	else if (!err)
		err = verify_modfile(d->h, d->t, &m, f->kernel->release, &r);
	if (!err && r.verdict == VERDICT_OK)
		judged = signers_check_modfile(&d->policy, &m, &r);
	err = judged < 0 ? judged : err;
	/* What allows that holds for the copy as for the file: see judge_cmdline(). */
	if (!err && r.verdict == VERDICT_OK)
		f->report.waived |= r.waived;
	if (!err && r.verdict != VERDICT_OK)
		err = report_set(&f->report, VERDICT_STALE_INITRAMFS, next,
				 "its copy in the initramfs %s: %s: %s",
				 judged ? "would be refused" : "is not what this host accepts",
				 verdict_word(r.verdict), r.message);
	else if (!err && (!was || !r.info.srcversion ||
			  strcmp(was, r.info.srcversion)))
		err = report_set(&f->report, VERDICT_STALE_INITRAMFS, next,
				 "its copy in the initramfs is another build%s%s",
				 r.info.version ? ", of version " : "",
				 r.info.version ? r.info.version : "");
	if (!err && f->report.verdict == VERDICT_OK)
		err = judge_request(d, e, f, copies, r.request);
	modfile_free(&m);
	report_free(&r);
	free(next);
	return err;
}

/* An initramfs that is damaged does not boot; what cannot be read may hold any copy. */
static int judge_unread(const struct doctor *d, struct finding *f, const struct copies *copies)
{
	char *again = initramfs_step(d, f->kernel, NULL);
	int why = copies->err;
	int err;

	if (why == -EBADMSG)
		err = report_set(&f->report, VERDICT_KERNEL_INCOMPLETE, again,
				 "the initramfs %s is damaged or cut short", copies->unread);
	else
		err = report_set(&f->report, VERDICT_UNKNOWN,
				 why == -EACCES ? "ask again as root" :
				 why == -ENOPKG ? "look into it by lsinitramfs or "
				 "lsinitrd, or have it compressed with zstd" :
				 why == -ELIBACC ? "install the library, or have it "
				 "compressed with zstd" : again,
				 "the module is good, but %s, which may hold "
				 "another copy of it, cannot be read: %s",
				 copies->unread, why == -ENOPKG ?
				 "it is not compressed with gzip, xz, lzma, zstd, "
				 "lz4 or lzo, which are known here" : why == -ELIBACC ?
				 "it is packed with lz4 or lzo, and liblz4.so.1 or "
				 "liblzo2.so.2 is not here" : strerror(-why));
	free(again);
	return err;
}

/* What is not loaded is nothing that the root file system is reached through now. */
static bool may_be_loaded(const struct doctor *d, const struct finding *f)
{
	const char *name = f->report.info.name ? f->report.info.name : f->module;
	char *rel = text_of("/sys/module/%s", name);
	bool may = !rel || !host_has(d->h, "/sys/module");

	for (char *p = rel ? rel + strlen("/sys/module/") : NULL; p && *p; p++)
		if (*p == '-')
			*p = '_';
	may |= rel && host_has(d->h, rel);
	free(rel);
	return may;
}

/* Did the running system boot from an initramfs, still there, that has it not? */
static bool booted_without(const struct doctor *d, const struct early *e,
			   const struct finding *f)
{
	const struct archives *of = e->running < e->count ? &e->kernels[e->running] : NULL;
	long long booted = host_boot_time(d->h);

	if (!of || !of->count)
		return of && !d->kernels.uses_initramfs;
	if (e->copies[e->running].err || copies_find(&e->copies[e->running], f->module))
		return false;
	for (size_t i = 0; i < of->count; i++)
		if (written_since(of->files[i], booted))
			return false;
	return true;
}

/* Why early boot needs the module, which its initramfs does not have; NULL: it does not. */
static char *why_needed(const struct doctor *d, const struct early *e, const struct finding *f,
			bool *unsure)
{
	enum initramfs_need need = f->driver ? f->driver->initramfs : INITRAMFS_AUTO;
	const struct copies *was = e->running < e->count ? &e->copies[e->running] : NULL;

	*unsure = false;
	if (need == INITRAMFS_NO)
		return NULL;
	if (need == INITRAMFS_REQUIRED)
		return text_of("%s.conf says initramfs = required", f->driver->name);
	if (root_needs(e, f))
		return strdup("the root file system is reached through it");
	if (was && !f->kernel->running && copies_find(was, f->module))
		return text_of("that of the running kernel %s has it",
			       e->kernels[e->running].release);
	*unsure = e->root.unseen && may_be_loaded(d, f) && !booted_without(d, e, f);
	if (*unsure)
		return text_of("it may be what the root file system is reached through, of "
			       "which not all is to be seen: %s", e->root.unseen);
	if (!was || f->kernel->running)
		return NULL;
	*unsure = was->err && was->err != -ENOENT;
	return *unsure ? text_of("that of the running kernel %s cannot be read to compare: %s",
				 e->kernels[e->running].release, strerror(-was->err)) : NULL;
}

/* What early boot needs is lost if it is not in what early boot has. */
static int judge_absence(const struct doctor *d, const struct early *e, struct finding *f,
			 bool any)
{
	bool unsure;
	char *why = why_needed(d, e, f, &unsure);
	char *next = !why ? NULL : unsure ?
		     text_of("write 'initramfs = required' or 'initramfs = no' into "
			     "/etc/kmodkeep/drivers.d/%s.conf", f->driver ? f->driver->name :
								f->module) :
		     initramfs_step(d, f->kernel, f->module);
	int err = !why ? 0 : !next ? -ENOMEM :
		  report_set(&f->report, unsure ? VERDICT_UNKNOWN : VERDICT_STALE_INITRAMFS, next,
			     any ? "the initramfs of kernel %s does not have it: %s" :
				   "kernel %s boots without an initramfs, which would have to "
				   "have it: %s", f->kernel->release, why);

	free(why);
	free(next);
	return err;
}

/* Is its copy one that the initramfs does not load, and early boot needs it? */
static int judge_rules(const struct doctor *d, const struct early *e, struct finding *f,
		       const struct copies *copies, const struct copy *copy)
{
	struct early_rules rules;
	bool unsure;
	char *needed = why_needed(d, e, f, &unsure), *next = NULL;
	int err;

	if (!needed)
		return 0;
	err = early_rules_of_copy(d, f, copies, copy, &rules);
	if (!err && rules.why) {
		next = initramfs_step(d, f->kernel, NULL);
		err = !next ? -ENOMEM :
		      report_set(&f->report, unsure || rules.unsure ? VERDICT_UNKNOWN :
				 VERDICT_STALE_INITRAMFS, next,
				 "the initramfs of kernel %s has it, and %s not load it: %s; and %s",
				 f->kernel->release, rules.unsure ? "may" : "does", rules.why, needed);
	}
	early_rules_free(&rules);
	free(next);
	free(needed);
	return err;
}

/* Did this boot show that the rival does not come first? */
static bool is_proven(const struct doctor *d, const struct early *e, const struct finding *f,
		      const char *rival)
{
	const char *name = f->report.info.name ? f->report.info.name : f->module;
	const struct archives *of = &e->kernels[place_of(e, f->kernel)];
	long long booted = host_boot_time(d->h);
	bool proven = rival && f->kernel->running && booted && host_module_loaded(d->h, name) &&
		      !host_module_loaded(d->h, rival);

	for (size_t i = 0; i < of->count && proven; i++)
		proven = !written_since(of->files[i], booted);
	return proven;
}

/* Is another module loaded for its device before the root file system is there? */
static int judge_rivals(const struct doctor *d, const struct early *e, struct finding *f,
			const struct copies *copies)
{
	bool boots = d->next.kernel && !strcmp(d->next.kernel, f->kernel->release);
	struct early_rules rules;
	char *next = NULL, *again;
	int err = early_rules_of_rivals(d, f, copies, boots ? d->next.cmdline : NULL, &rules);

	if (!err && rules.why && !is_proven(d, e, f, rules.rival)) {
		again = initramfs_step(d, f->kernel, NULL);
		/* A dracut that makes one for any host copies nothing of /etc/modprobe.d. */
		next = again && rules.rival ?
		       text_of("%s (if that does not help: put module_blacklist=%s on the kernel's "
			       "command line)", again, rules.rival) : again ? strdup(again) : NULL;
		free(again);
		err = next ? report_set(&f->report, rules.unsure ? VERDICT_UNKNOWN :
					VERDICT_STALE_INITRAMFS, next, "%s", rules.why) : -ENOMEM;
	}
	early_rules_free(&rules);
	free(next);
	return err;
}

static int judge_found(const struct doctor *d, const struct early *e, struct finding *f,
		       const struct archives *of, const struct copies *copies,
		       const struct copy *copy)
{
	char *modules[] = { (char *)f->module };
	struct copies fresh = { 0 };
	int err = 0;

	/* The same may be packed in another way there. */
	if (!strcmp(copy->sha256, f->report.sha256) && !copy->kernel_refuses)
		return judge_request(d, e, f, copies, f->report.request);
	if (!copy->bytes.len) {
		/* Only its hash was remembered. */
		err = copies_read(NULL, NULL, of, 1, modules, 1, true, &fresh);
		copy = err ? NULL : copies_find(&fresh, f->module);
	}
	if (copy)
		err = judge_bytes(d, e, f, copies, copy);
	else if (!err)
		err = report_set(&f->report, VERDICT_UNKNOWN, "ask again",
				 "the initramfs changed while it was read");
	copies_free(&fresh);
	return err;
}

static int judge_copy(const struct doctor *d, const struct early *e, struct finding *f)
{
	size_t at = place_of(e, f->kernel);
	const struct archives *of = &e->kernels[at];
	const struct copies *copies = &e->copies[at];
	const struct copy *copy;
	int err;

	if (at == e->count)
		return 0;
	copy = copies_find(copies, f->module);
	f->initramfs = !of->count ? NULL : copies->err ? "unread" : !copy ? "none" :
		       strcmp(copy->sha256, f->report.sha256) != 0 ? "other" : "same";
	if (f->report.verdict != VERDICT_OK)
		return 0;
	if (copies->err)
		return judge_unread(d, f, copies);
	err = copy ? judge_found(d, e, f, of, copies, copy) : judge_absence(d, e, f, of->count);
	if (!err && copy && f->report.verdict == VERDICT_OK)
		err = judge_rules(d, e, f, copies, copy);
	if (!err && of->count && f->report.verdict == VERDICT_OK)
		err = judge_rivals(d, e, f, copies);
	return err;
}

static bool newer(const char *a, const char *b)
{
	struct stat x, y;

	/* FAT keeps every second second. */
	return !stat(a, &x) && !stat(b, &y) && x.st_mtime > y.st_mtime + 2;
}

/* A disk that was full leaves files that are empty or cut short. */
static int judge_file(const struct doctor *d, struct finding *f, const char *file, bool archive)
{
	static const char *const room = "look for room on its disk, and install that kernel again";
	int state = file && f->report.verdict == VERDICT_OK ? boot_file_check(file, archive) : 0;
	char *again;
	int err;

	if (!state)
		return 0;
	if (state != -ENODATA && state != -EBADMSG && state != -ENOENT)
		return report_set(&f->report, VERDICT_UNKNOWN, "ask again as root",
				  "%s cannot be read: %s", file, strerror(-state));
	again = archive ? initramfs_step(d, f->kernel, NULL) : strdup(room);
	err = report_set(&f->report, VERDICT_KERNEL_INCOMPLETE, again, "%s is %s", file,
			 state == -ENODATA ? "empty" : state == -ENOENT ?
			 "not there, and the boot loader's entry loads it" : "cut short");
	free(again);
	return err;
}

/* What a boot loader has copies of in a place of its own may be of yesterday. */
static int judge_age(const struct doctor *d, struct finding *f, const char *original,
		     const char *copy)
{
	char *again;
	int err;

	if (!original || !copy || f->report.verdict != VERDICT_OK || !newer(original, copy) ||
	    boot_file_same_bytes(original, copy))
		return 0;
	again = initramfs_step(d, f->kernel, NULL);
	err = report_set(&f->report, VERDICT_KERNEL_INCOMPLETE, again,
			 "%s, which boots, is older than %s", copy, original);
	free(again);
	return err;
}

static int judge_boot_files(const struct doctor *d, struct finding *f)
{
	const struct kernel *k = f->kernel;
	const struct boot_files *of = next_boot_files(&d->next, k->release);
	int err = judge_file(d, f, k->image, false);

	if (!err)
		err = judge_file(d, f, k->initramfs, true);
	if (!of || err)
		return err;
	err = judge_file(d, f, of->image, false);
	for (size_t i = 0; i < of->count && !err; i++)
		err = judge_file(d, f, of->archives[i], true);
	/* The last one: microcode comes first. */
	if (!err && of->count)
		err = judge_age(d, f, k->initramfs, of->archives[of->count - 1]);
	return err;
}

/* Does the boot loader's entry of a kernel leave out the initramfs that is there? */
static bool leaves_out(const struct doctor *d, const struct early *e, const struct kernel *k)
{
	const struct boot_files *f = next_boot_files(&d->next, k->release);

	return k->initramfs && f && f->image && !f->unclear && !e->kernels[place_of(e, k)].count &&
	       e->running < e->count && e->kernels[e->running].count;
}

/* A kernel that cannot boot as it is serves no driver. */
static int judge_kernel(const struct doctor *d, const struct early *e, struct finding *f)
{
	const struct kernel *k = f->kernel;
	const struct boot_files *of = next_boot_files(&d->next, k->release);
	size_t at = place_of(e, k);
	bool none = at < e->count && !e->kernels[at].count;
	char *again;
	int err;

	if (f->report.verdict != VERDICT_OK)
		return 0;
	err = judge_boot_files(d, f);
	if (!err && f->report.verdict == VERDICT_OK && at < e->count && e->builds[at].why)
		err = report_set(&f->report, e->builds[at].unsure ? VERDICT_UNKNOWN :
				 VERDICT_KERNEL_INCOMPLETE, e->builds[at].next, "%s",
				 e->builds[at].why);
	if (err || f->report.verdict != VERDICT_OK)
		return err;
	if (of && !of->image && (!k->image || !strstr(k->image, "/boot/")))
		return report_set(&f->report, VERDICT_UNKNOWN,
				  "see that /boot is mounted, and install that kernel again",
				  "the file that the boot loader's entry of kernel %s loads is not "
				  "found", k->release);
	/*
	 * One that is called after the kernel is not what the entry names, and that no kernel
	 * has one does not make it one that is not wanted. That only this one lacks it is said
	 * below, with how to make it.
	 */
	if (of && of->unclear &&
	    (!none || k->initramfs || k->running || !d->kernels.uses_initramfs))
		return report_set(&f->report, VERDICT_UNKNOWN, "look at the boot loader's entry",
				  "not every initramfs that boots with kernel %s is found",
				  k->release);
	if (k->running && of && of->image && !k->initramfs && none &&
	    d->kernels.uses_initramfs)
		return report_set(&f->report, VERDICT_UNKNOWN, "look at the boot loader's entry",
				  "the initramfs of the running kernel is not found, and the others "
				  "have one");
	if (k->running)
		return 0;
	if (!k->image && d->kernels.boot_readable && !next_boot_files(&d->next, k->release))
		return report_set(&f->report, VERDICT_KERNEL_INCOMPLETE,
				  "install that kernel, or ask about another",
				  "kernel %s has no boot image", k->release);
	if (at < e->count && leaves_out(d, e, k)) {
		again = strcmp(loader_word(d->next.loader), "grub") ?
			text_of("kernel-install add %s %s", k->release, k->image ? k->image : "IMAGE") :
			strdup("write the boot loader's menu again: update-grub, or grub2-mkconfig");
		err = report_set(&f->report, VERDICT_KERNEL_INCOMPLETE, again,
				 "what boots kernel %s does not load %s, unlike what boots the "
				 "running kernel", k->release, k->initramfs);
		free(again);
		return err;
	}
	if (k->initramfs || !d->kernels.uses_initramfs || (at < e->count && e->kernels[at].count))
		return 0;
	again = initramfs_step(d, k, NULL);
	err = report_set(&f->report, VERDICT_KERNEL_INCOMPLETE, again,
			 "kernel %s has no initramfs, unlike the others",
			 k->release);
	free(again);
	if (!err && d->unfinished.count) {
		const struct subject about = { .manager = PACKAGES_APT };

		free(f->report.next_step);
		f->report.next_step = NULL;
		err = report_advise(&f->report, CAUSE_UNFINISHED, &about);
	}
	return err;
}

/* What each refusal is called in the boot loader's configuration. */
static const char *const refusals[] = {
	[CMDLINE_EARLY] = "rd.driver.blacklist=",
	[CMDLINE_ALIAS] = "modprobe.blacklist=",
	[CMDLINE_MODULE] = "module_blacklist=",
	[CMDLINE_NO_MODULES] = "nomodule",
};

/*
 * Does the next boot lose it by this? What holds for the running kernel as well is
 * nothing new: the module is loaded by its name, or it is not wanted.
 */
static bool loses_by(const struct doctor *d, const struct finding *f, enum cmdline_refusal how)
{
	char *now;
	bool as_now;

	if (how == CMDLINE_LOADS ||
	    (how == CMDLINE_EARLY && (!f->initramfs || !strcmp(f->initramfs, "none"))))
		return false;
	if (how >= CMDLINE_MODULE)
		return true;
	now = host_line(d->h, "/proc/cmdline");
	as_now = now && cmdline_refuses(now, f->module) >= how;
	free(now);
	return !as_now;
}

/* What is built into the kernel's own command line holds whatever the boot loader says. */
static int judge_built_line(const struct doctor *d, struct finding *f)
{
	char *line = host_kernel_config(d->h, f->kernel->release, "CONFIG_CMDLINE");
	enum cmdline_refusal how = line ? cmdline_refuses(line, f->module) : CMDLINE_LOADS;
	int err = 0;

	if (how >= CMDLINE_MODULE)
		err = report_set(&f->report, VERDICT_BLOCKED, "boot another kernel", "the command line "
				 "that is built into kernel %s keeps it from being loaded (%s)",
				 f->kernel->release, refusals[how]);
	else if (line && f->report.waived && cmdline_enforces(line))
		err = report_set(&f->report, VERDICT_UNSIGNED, "sign it: kmodkeep sign", "the command "
				 "line that is built into kernel %s demands a trusted signature "
				 "(lockdown=, module.sig_enforce)", f->kernel->release);
	free(line);
	return err;
}

/* What the command line of the entry that boots does to a module. */
static int judge_cmdline(const struct doctor *d, struct finding *f)
{
	const char *line = d->next.cmdline;
	enum cmdline_refusal how;
	int built = f->report.verdict == VERDICT_OK ? judge_built_line(d, f) : 0;

	if (built || f->report.verdict != VERDICT_OK || !line || !d->next.kernel ||
	    strcmp(d->next.kernel, f->kernel->release))
		return built;
	how = cmdline_refuses(line, f->module);
	if (loses_by(d, f, how)) {
		char *next = text_of("take it out of %s in the boot loader's configuration",
				     refusals[how]);
		int err = report_set(&f->report, VERDICT_BLOCKED, next,
				     how >= CMDLINE_MODULE ?
				     "the command line of the entry that boots keeps the kernel "
				     "from loading it (%s)" :
				     "the command line of the entry that boots keeps it from being "
				     "loaded for its device (%s), unlike that of the running kernel",
				     refusals[how]);

		free(next);
		return err;
	}
	if (f->report.waived && cmdline_enforces(line)) {
		char *next = firmware_enrol_step(d->h, NULL, false);
		int err = report_set(&f->report, VERDICT_UNSIGNED, next,
				     "the command line of the entry that boots demands a "
				     "trusted signature (lockdown=, module.sig_enforce)");

		free(next);
		return err;
	}
	return 0;
}

/*
 * Is what makes an initramfs for this kernel alone the next step? It is then the
 * command of it, too. mkinitcpio makes those of all kernels, also of one that serves.
 */
static int note_command(const struct doctor *d, struct finding *f)
{
	const char *next = f->report.next_step;
	int err = 0;

	for (size_t i = 0; i < MKINITCPIO && next && !err; i++) {
		char *one = is_here(d, &makers[i]) ? make_step(d, f->kernel, i) : NULL;

		if (one && !strncmp(next, one, strlen(one)) && !strstr(next, ", or: "))
			err = report_command(&f->report, CAUSE_INITRAMFS, one);
		free(one);
	}
	return err;
}

int early_judge(const struct doctor *d, const struct early *e, struct finding *f)
{
	bool good = f->report.verdict == VERDICT_OK;
	int err = judge_kernel(d, e, f);

	if (!err)
		err = judge_copy(d, e, f);
	if (!err)
		err = judge_cmdline(d, f);
	return err || !good ? err : note_command(d, f);
}
