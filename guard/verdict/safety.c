// SPDX-License-Identifier: GPL-2.0-or-later
/* Makes one answer of all findings on the kernel that boots next. */
#include "guard/verdict/safety.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/efivars.h"
#include "guard/host/firmware.h"
#include "guard/host/guard_conf.h"
#include "guard/host/mounts.h"
#include "guard/trust/firmware_ca.h"
#include "guard/trust/sbat_chain.h"
#include "guard/verdict/hardening.h"

void safety_free(struct safety *s)
{
	free(s->line);
	free(s->brief);
	free(s->next);
	memset(s, 0, sizeof(*s));
}

const char *safety_word(enum answer safe)
{
	return safe == ANSWER_YES ? "yes" : safe == ANSWER_NO ? "no" :
								"unknown";
}

int safety_exit(enum answer safe)
{
	return safe == ANSWER_YES ? EXIT_YES : safe == ANSWER_NO ? EXIT_NO : EXIT_UNSURE;
}

bool safety_asked(const struct doctor *d, const struct kernel *k)
{
	for (size_t i = 0; i < d->count; i++)
		if (d->findings[i].kernel == k && d->findings[i].driver)
			return true;
	return false;
}

/* The names of drivers with such an answer, "a, b"; *first: its finding. */
static char *names(const struct doctor *d, const struct kernel *k,
		   enum answer wanted, const struct finding **first)
{
	char *all = NULL;

	*first = NULL;
	for (size_t i = 0; i < d->drivers.count; i++) {
		const struct driver *driver = &d->drivers.list[i];
		const struct finding *f = doctor_worst(d, driver, k);
		char *more;

		if (!f || finding_serves(f) != wanted)
			continue;
		if (!*first)
			*first = f;
		more = text_of("%s%s%s", all ? all : "", all ? ", " : "",
			       driver->name);
		free(all);
		all = more;
	}
	return all;
}

static int say(struct safety *out, enum answer safe, const char *next,
	       char *line)
{
	out->safe = safe;
	out->line = line;
	out->next = next ? strdup(next) : NULL;
	return line && (!next || out->next) ? 0 : -ENOMEM;
}

/* The driver of a drop-in with an error may be one that would be lost. */
static int say_broken(struct safety *out)
{
	return say(out, ANSWER_UNVERIFIED, "mend it: kmodkeep doctor names it",
		   strdup("next boot: cannot tell: a file in drivers.d has an "
			  "error"));
}

/* The modules that are no loss, "a, b": no kernel has them, or they are blocked. */
static char *notes(const struct doctor *d, const struct kernel *k,
		   bool blocked)
{
	char *all = NULL;

	for (size_t i = 0; i < d->count; i++) {
		const struct finding *f = &d->findings[i];
		char *more;

		if (!f->note || f->kernel != k ||
		    blocked != (f->report.verdict == VERDICT_BLOCKED))
			continue;
		more = text_of("%s%s%s", all ? all : "", all ? ", " : "",
			       f->module);
		free(all);
		all = more;
	}
	return all;
}

static int judge_kernel(const struct doctor *d, const struct kernel *k,
			struct safety *out)
{
	const struct finding *lost, *unsure;
	char *losing = names(d, k, ANSWER_NO, &lost);
	char *doubt = names(d, k, ANSWER_UNVERIFIED, &unsure);
	int err;

	if (lost && losing) {
		out->brief = text_of("next boot would lose %s (kernel %s, %s: %s)",
				     losing, k->release, lost->module,
				     verdict_word(lost->report.verdict));
		err = say(out, ANSWER_NO, lost->report.next_step,
			  text_of("next boot would lose %s (kernel %s, %s: %s: %s)",
				  losing, k->release, lost->module,
				  verdict_word(lost->report.verdict),
				  lost->report.message));
	} else if (unsure && doubt) {
		out->brief = text_of("next boot: cannot tell for %s (kernel %s)",
				     doubt, k->release);
		err = say(out, ANSWER_UNVERIFIED, unsure->report.next_step,
			  text_of("next boot: cannot tell for %s (kernel %s, %s: %s)",
				  doubt, k->release, unsure->module,
				  unsure->report.message));
	} else {
		char *none = notes(d, k, false), *blocked = notes(d, k, true);

		err = say(out, ANSWER_YES, NULL,
			  text_of("next boot safe (kernel %s)%s%s%s%s", k->release,
				  none ? "; no loss, as no out-of-tree build serves now: " : "",
				  none ? none : "",
				  blocked ? "; not loaded now, and blocked: " : "",
				  blocked ? blocked : ""));
		free(none);
		free(blocked);
	}
	free(losing);
	free(doubt);
	return err;
}

/*
 * Firmware that does not trust what it starts may stop there, or start something else. Some
 * starts it nevertheless, so it is never a plain "no".
 */
static int say_program(const struct boot_program *p, const char *next, struct safety *out)
{
	if (p->missing) {
		safety_free(out);
		return say(out, ANSWER_UNVERIFIED, "ask again as root, with the EFI partition mounted",
			   text_of("next boot: cannot tell: Secure Boot is on, and %s, from which "
				   "the firmware started this system, is not to be seen", p->missing));
	}
	if (!p->path || p->boots == BOOTS_YES)
		return 0;
	safety_free(out);
	if (p->boots == BOOTS_NO)
		return say(out, ANSWER_UNVERIFIED, next,
			   text_of("next boot: cannot tell: Secure Boot is on, and by db and dbx the "
				   "firmware does not start %s as it is (%s)", p->path,
				   p->signers ? p->signers : "it is not signed"));
	return say(out, ANSWER_UNVERIFIED,
		   "look at kmodkeep key status and, as root, at the file: sbverify --list",
		   text_of("next boot: cannot tell: Secure Boot is on, and whether the firmware "
			   "starts %s is not known, as it, db or dbx cannot be read or has what is "
			   "not understood", p->path));
}

static int say_second(const struct boot_program *p, struct safety *out)
{
	safety_free(out);
	return say(out, ANSWER_UNVERIFIED,
		   "before the reboot, install the signed boot loader of the distribution there "
		   "(grub-install makes one without a signature where that package is missing)",
		   text_of("next boot: cannot tell: Secure Boot is on, and shim does not start %s, "
			   "which has no signature that is of it as it is", p->path));
}

/* SBAT: shim is certain of what it refuses, as far as Secure Boot is certain to be on. */
static int judge_sbat(const struct doctor *d, const struct firmware_ca *f, struct safety *out)
{
	bool on = host_secure_boot(d->h) == SB_ON;
	struct sbat_boot boot = {
		.shim = d->next.program ? d->next.program : f->first.path,
		.checks = on,
		.image = d->next.files.image,
	};
	struct sbat_answer a;
	int err;

	if (!boot.shim || !(on || f->enforces))
		return 0;
	boot.same = f->first.path && !strcmp(boot.shim, f->first.path);
	err = sbat_judge(d->h, &boot, &a);
	if (!err && (a.state == SBAT_STOPS ||
		     (a.state == SBAT_UNKNOWN && out->safe == ANSWER_YES))) {
		bool no = a.state == SBAT_STOPS &&
			  (on || efivar_flag(d->h, "SecureBoot", EFI_GLOBAL_GUID) == 1);

		safety_free(out);
		err = say(out, no ? ANSWER_NO : ANSWER_UNVERIFIED, a.next,
			  text_of("next boot%s: Secure Boot is on, and %s", no ? " stops" :
				  ": cannot tell", a.line));
	}
	sbat_answer_free(&a);
	return err;
}

/*
 * The firmware's variables are not to be seen, and so neither db nor what it starts: that is
 * the administrator's word, and the answer says so. What nobody signed it does not start.
 */
static int say_word(const struct doctor *d, const struct boot_program *p, struct safety *out)
{
	char *line;

	if (host_secure_boot(d->h) != SB_OFF && !p->signed_as_is) {
		safety_free(out);
		return say(out, ANSWER_UNVERIFIED,
			   "before the reboot, install the signed boot loader of the distribution there, "
			   "or mend firmware_starts",
			   text_of("next boot: cannot tell: Secure Boot is on, and %s, which by "
				   "firmware_starts in " GUARD_CONF " is what the firmware starts, has "
				   "no signature that is of it as it is", d->next.program));
	}
	line = text_of("%s; that the firmware starts %s is what firmware_starts in " GUARD_CONF
		       " says", out->line, d->next.program);
	free(out->line);
	out->line = line;
	return line ? 0 : -ENOMEM;
}

static int judge_firmware(const struct doctor *d, struct safety *out)
{
	struct boot_program other = { 0 }, beside = { 0 };
	const struct boot_program *p, *second;
	const char *program = d->next.program;
	struct firmware_ca f;
	int err = firmware_ca_read(d->h, &f);

	if (err)
		return err;
	p = &f.first;
	second = &f.second;
	/* What started this system is not always what starts the next one. */
	if ((f.enforces || d->next.said) && program &&
	    (!f.first.path || strcmp(f.first.path, program))) {
		err = firmware_starts_file(d->h, program, &other);
		if (!err)
			err = firmware_second_file(d->h, program, &beside);
		p = &other;
		second = &beside;
	}
	if (!err && f.enforces)
		err = say_program(p, firmware_ca_refused_step(), out);
	else if (!err && d->next.said)
		err = say_word(d, p, out);
	/* shim may have been told not to check. Without db, what has no signature is refused. */
	if (!err && out->safe == ANSWER_YES && host_secure_boot(d->h) == SB_ON &&
	    (second->boots == BOOTS_NO ||
	     (d->next.said && second->path && !second->signed_as_is)))
		err = say_second(second, out);
	if (!err)
		err = judge_sbat(d, &f, out);
	boot_program_free(&other);
	boot_program_free(&beside);
	firmware_ca_free(&f);
	return err;
}

/* A phrase on it; NULL: no. Asked of where the modules are, whatever links lead there. */
static const char *modules_made_anew(const struct host *h)
{
	char *folder = modules_folder(h);
	const char *what = mounts_unread(h) ? "on what is not known, as /proc/self/mountinfo is too long" :
			   mount_made_anew(h, "/usr/lib/modules");

	if (!what)
		what = mount_made_anew(h, folder ? folder : "/lib/modules");
	free(folder);
	return what;
}

static int judge_drivers(struct doctor *d, struct safety *out)
{
	const struct kernel *k = d->next.kernel ?
		kernels_find(&d->kernels, d->next.kernel) : NULL;
	const char *anew;
	int err = 0;

	if (d->place == PLACE_CONTAINER)
		return say(out, ANSWER_YES, NULL,
			   strdup("nothing to guard here: a container has no "
				  "kernel of its own"));
	/* That nothing can be asked makes nothing safe. */
	if (host_is_immutable(d->h))
		return say(out, ANSWER_UNVERIFIED, NULL,
			   strdup("next boot: cannot tell: this host boots whole "
				  "images, and the next one is not looked into"));
	anew = d->place == PLACE_HOST ? modules_made_anew(d->h) : NULL;
	if (anew)
		return say(out, ANSWER_UNVERIFIED, NULL,
			   text_of("next boot: cannot tell: the modules of this host are %s, and what "
				   "the next boot has there is not looked into", anew));
	if (d->unseen)
		return say(out, ANSWER_UNVERIFIED,
			   "ask again as root: kmodkeep doctor names the place",
			   strdup("next boot: cannot tell: a place where "
				  "drivers may be cannot be read"));
	if (d->broken && !d->drivers.count)
		return say_broken(out);
	if (!d->drivers.count)
		return say(out, ANSWER_YES, NULL,
			   text_of("no out-of-tree driver was found, so none "
				   "can be lost"));
	if (!k)
		return say(out, ANSWER_UNVERIFIED,
			   "look at the boot loader's menu",
			   text_of("next boot: cannot tell which kernel: %s",
				   d->next.why));
	if (!safety_asked(d, k))
		err = doctor_ask(d, &k, 1, NULL);
	if (!err)
		err = judge_kernel(d, k, out);
	if (!err && d->broken && out->safe == ANSWER_YES) {
		safety_free(out);
		err = say_broken(out);
	}
	return err;
}

int safety_judge(struct doctor *d, struct safety *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	err = judge_drivers(d, out);
	if (!err && out->safe == ANSWER_YES && d->place != PLACE_CONTAINER)
		err = judge_firmware(d, out);
	return err;
}
