// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The policy pin-last-good. A kernel is only pinned if it was seen running under
 * the revocation lists of now: where these have grown since, going back to an
 * older kernel might be going back to one that the firmware refuses, or that
 * somebody revoked for a reason.
 */
#include "guard/pin/pin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "guard/base/util.h"
#include "guard/pin/announce.h"

static bool wants_pin(const struct doctor *d)
{
	for (size_t i = 0; i < d->drivers.count; i++)
		if (!d->drivers.list[i].broken &&
		    d->drivers.list[i].policy == POLICY_PIN_LAST_GOOD)
			return true;
	return false;
}

static bool has_run(const struct guard_state *s, const char *kernel,
		    const char *revocations)
{
	for (size_t i = 0; i < s->booted_count; i++)
		if (!strcmp(s->booted[i].kernel, kernel))
			return !strcmp(s->booted[i].revocations, revocations);
	return false;
}

/* The newest kernel that serves all drivers of this policy and may be pinned. */
static const struct kernel *last_good(const struct doctor *d,
				      const struct guard_state *s,
				      const char *revocations,
				      bool *revoked)
{
	*revoked = false;
	for (size_t i = 0; i < d->kernels.count; i++) {
		const struct kernel *k = &d->kernels.list[i];

		if (doctor_serves(d, k, true) != ANSWER_YES)
			continue;
		if (has_run(s, k->release, revocations))
			return k;
		*revoked = true;
	}
	return NULL;
}

static int reread(struct doctor *d)
{
	next_boot_free(&d->next);
	return next_boot_read(d->h, &d->kernels, NULL, &d->next);
}

static int finish(struct doctor *d, bool *changed, char *said, char **out)
{
	*changed = true;
	*out = said;
	return said ? reread(d) : -ENOMEM;
}

static void drop_pin(struct doctor *d, struct pin *p, char **said);

static bool same(const char *a, const char *b)
{
	return a && b ? !strcmp(a, b) : !a && !b;
}

/* What the loader's default is now, whatever its tool said. */
static bool default_is(struct doctor *d, const char *entry)
{
	return !reread(d) && same(d->next.saved, entry);
}

int pin_lift(struct doctor *d, struct guard_state *s, bool *changed,
	     char **said)
{
	struct pin *p = &s->pin;
	char why[LOADER_SAID] = "what is done cannot be recorded";
	int err;

	p->stage = PIN_LIFTING;
	err = guard_state_write(d, s, NULL, NULL);
	if (!err && same(d->next.saved, p->entry))
		err = next_boot_set_default(d->h, d->next.loader,
					    p->previous, why);
	if (err && !default_is(d, p->previous)) {
		p->stage = PIN_SET;
		*said = text_of("the pin on kernel %s cannot be lifted: %s",
				p->kernel, why);
		return *said ? -EIO : -ENOMEM;
	}
	err = finish(d, changed, text_of("the pin on kernel %s is lifted",
					 p->kernel), said);
	drop_pin(d, p, said);
	return err;
}

/* What the next run needs to tell whether it was done. 0 or -ENOMEM. */
static int plan(const struct doctor *d, const struct pin *old, const struct kernel *k,
		const char *target, const char *revocations, bool held, struct pin *new)
{
	const char *previous = old->kernel ? old->previous : d->next.saved;

	new->stage = PIN_SETTING;
	new->kernel = strdup(k->release);
	new->from = d->next.saved ? strdup(d->next.saved) : NULL;
	new->previous = previous ? strdup(previous) : NULL;
	new->instead_of = strdup(target);
	new->revocations = strdup(revocations);
	new->held = held;
	new->why = held ? text_of("kernel %s is held back by hand", target) :
			  text_of("kernel %s would lose a driver", target);
	new->since = old->kernel ? old->since : (long long)time(NULL);
	return new->kernel && (new->from || !d->next.saved) &&
	       (new->previous || !previous) && new->instead_of &&
	       new->revocations && new->why ? 0 : -ENOMEM;
}

/* A pin is one also where the package manager could not be told of it. */
static void keep_package(struct doctor *d, const char *kernel, char **said)
{
	int err = guard_keep_package(d->h, kernel);
	char *more;

	if (!err || !*said)
		return;
	more = text_of("%s, but the package manager %s: %s", *said,
		       kernel ? "is not kept from removing that kernel" :
				"still keeps it", strerror(-err));
	if (more) {
		free(*said);
		*said = more;
	}
}

static void drop_pin(struct doctor *d, struct pin *p, char **said)
{
	keep_package(d, NULL, said);
	pin_free(p);
}

/* Records what it is going to do, does it, and records that it is done. */
static int set_pin(struct doctor *d, struct guard_state *s,
		   const struct kernel *k, const char *target,
		   const char *revocations, bool held, bool *changed,
		   char **said)
{
	char *entry = next_boot_entry_for(d->h, &d->kernels, d->next.loader,
					  k->release);
	struct pin new = { .entry = entry }, old = s->pin;
	char why[LOADER_SAID] = "what is done cannot be recorded";
	int err;

	if (!entry) {
		*said = text_of("not pinned: the boot loader has no entry whose "
				"name means kernel %s for good", k->release);
		return *said ? 0 : -ENOMEM;
	}
	err = plan(d, &old, k, target, revocations, held, &new);
	s->pin = new;
	if (!err)
		err = guard_state_write(d, s, NULL, NULL);
	if (!err)
		err = next_boot_set_default(d->h, d->next.loader, entry, why);
	if (err && (err == -ENOMEM || !default_is(d, entry))) {
		pin_free(&s->pin);
		s->pin = old;
		*said = text_of("not pinned to kernel %s: %s", k->release, why);
		return *said ? 0 : -ENOMEM;
	}
	pin_free(&old);
	s->pin.stage = PIN_SET;
	err = finish(d, changed,
		     held ? text_of("held on kernel %s until one newer than %s is installed",
				    k->release, target) :
			    text_of("pinned to kernel %s until %s serves again",
				    k->release, target), said);
	keep_package(d, k->release, said);
	return err;
}

/*
 * After a run that was ended between its record and its end: what the default is
 * tells how far it came. 0, or what pin_lift() gives.
 */
static int recover(struct doctor *d, struct guard_state *s, bool *changed, char **said)
{
	struct pin *p = &s->pin;
	enum pin_stage stage = p->stage;

	p->stage = PIN_SET;
	if (!p->kernel || stage == PIN_SET)
		return 0;
	if (stage == PIN_LIFTING && same(d->next.saved, p->entry))
		return pin_lift(d, s, changed, said);
	if (stage == PIN_LIFTING && same(d->next.saved, p->previous)) {
		*said = text_of("the pin on kernel %s is lifted", p->kernel);
		drop_pin(d, p, said);
		return *said ? 0 : -ENOMEM;
	}
	if (stage == PIN_SETTING && !same(d->next.saved, p->entry) &&
	    same(d->next.saved, p->from)) {
		if (same(p->from, p->previous)) {
			/* There was none before, and there is none. */
			drop_pin(d, p, said);
			return 0;
		}
		/* It was to be moved: the default is still that of before. */
		free(p->entry);
		p->entry = p->from;
		p->from = NULL;
		*p->kernel = '\0';
	}
	return 0;
}

/* What would boot, without anything for the next boot alone, without the pin. */
static char *unpinned(const struct doctor *d, const struct pin *p)
{
	struct next_boot n;
	char *target = NULL;

	if (next_boot_read(d->h, &d->kernels, p->kernel ?
			   (p->previous ? p->previous : "") : NULL, &n))
		return NULL;
	if (n.later)
		target = strdup(n.later);
	next_boot_free(&n);
	return target;
}

static int start_pin(struct doctor *d, struct guard_state *s,
		     const char *target, const char *revocations,
		     bool *changed, char **said)
{
	bool revoked;
	const struct kernel *good = last_good(d, s, revocations, &revoked);

	if (s->released && !strcmp(s->released, target)) {
		*said = strdup("not pinned: the pin was released");
		return *said ? 0 : -ENOMEM;
	}
	if (!good) {
		*said = text_of("not pinned: %s", revoked ? "the kernels that "
				"serve have not run since the revocation lists "
				"changed, or never" : "no installed kernel "
				"serves all drivers");
		return *said ? 0 : -ENOMEM;
	}
	if (!host_may_act(d->h)) {
		*said = text_of("not pinned: %s is not the running system",
				host_root(d->h));
		return *said ? 0 : -ENOMEM;
	}
	if (d->next.obstacle) {
		*said = text_of("not pinned: %s", d->next.obstacle);
		return *said ? 0 : -ENOMEM;
	}
	if (s->pin.kernel && !strcmp(s->pin.kernel, good->release)) {
		/* The file may be missing, as the last run was cut short. */
		char *problem = strdup("pinned");

		keep_package(d, good->release, &problem);
		if (problem && strcmp(problem, "pinned"))
			*said = problem;
		else
			free(problem);
		return 0;
	}
	return set_pin(d, s, good, target, revocations, false, changed, said);
}

static int release(struct doctor *d, struct guard_state *s, const char *target,
		   const char *why, bool *changed, char **said)
{
	char *before = s->released, *more;
	int err;

	/* Part of what is recorded first: nobody pins again what was released. */
	s->released = strdup(target);
	err = s->released ? pin_lift(d, s, changed, said) : -ENOMEM;
	if (err) {
		free(s->released);
		s->released = before;
		return err == -EIO ? 0 : err;
	}
	free(before);
	more = text_of("%s: %s", *said, why);
	free(*said);
	*said = more;
	return more ? 0 : -ENOMEM;
}

/* A pin by hand becomes one by the policy, against TARGET. 0 or -ENOMEM. */
static int let_go(struct pin *p, const char *target)
{
	char *instead_of = strdup(target);
	char *why = text_of("kernel %s would lose a driver", target);

	if (!instead_of || !why) {
		free(instead_of);
		free(why);
		return -ENOMEM;
	}
	free(p->instead_of);
	free(p->why);
	p->instead_of = instead_of;
	p->why = why;
	p->held = false;
	return 0;
}

/* What to do about a pin that is there. */
static int keep_pin(struct doctor *d, struct guard_state *s,
		    const struct guard_conf *conf, const char *target,
		    const char *revocations, bool *changed, char **said)
{
	struct pin *p = &s->pin;
	const struct kernel *k;
	int err;

	if (!d->next.saved || strcmp(d->next.saved, p->entry)) {
		/* Somebody else chose: that is to be respected. */
		free(s->released);
		s->released = strdup(target);
		*said = strdup("the pin is gone: the boot loader's default was "
			       "changed by hand");
		drop_pin(d, p, said);
		return *said && s->released ? 0 : -ENOMEM;
	}
	/* What it was held back from boots no more, it was not moved to its end, or it is gone. */
	if (p->held && (!kernels_find(&d->kernels, p->kernel) || strcmp(p->instead_of, target))) {
		err = let_go(p, target);
		if (err)
			return err;
	}
	/* A pin that the boot loader does not look at is none. */
	k = kernels_find(&d->kernels, target);
	if (d->next.obstacle || !k ||
	    (!p->held && (!wants_pin(d) || doctor_serves(d, k, true) == ANSWER_YES))) {
		err = pin_lift(d, s, changed, said);
		return err == -EIO ? 0 : err;
	}
	/* None: nothing was revoked then. */
	if (strcmp(p->revocations ? p->revocations : "", revocations))
		return release(d, s, target, "the revocation lists changed, and "
			       "no pin goes across that", changed, said);
	if (p->held)
		return 0;
	if (time(NULL) - p->since > conf->pin_max_age)
		return release(d, s, target, "it is older than pin_max_age in "
			       GUARD_CONF, changed, said);
	return start_pin(d, s, target, revocations, changed, said);
}

/* Why KERNEL cannot be held; NULL: it can, or there is no memory. */
static char *no_hold(const struct doctor *d, const struct guard_state *s, const char *kernel,
		     const char *target, const char *revocations)
{
	if (!kernels_find(&d->kernels, kernel))
		return text_of("not held: kernel %s is not installed", kernel);
	if (!target || !kernels_find(&d->kernels, target))
		return strdup("not held: what boots next cannot be told");
	if (!strcmp(target, kernel))
		return NULL;
	if (!host_may_act(d->h))
		return text_of("not held: %s is not the running system", host_root(d->h));
	if (d->next.obstacle)
		return text_of("not held: %s", d->next.obstacle);
	if (!has_run(s, kernel, revocations))
		return text_of("not held: kernel %s has not run since the revocation lists changed, or never",
			       kernel);
	return NULL;
}

static int hold(struct doctor *d, struct guard_state *s, const char *kernel, const char *target,
		const char *revocations, bool *changed, char **said)
{
	struct pin *p = &s->pin;
	int err;

	if (!strcmp(target, kernel)) {
		if (p->kernel)
			return pin_lift(d, s, changed, said);
		*said = text_of("kernel %s is what boots next, without a pin", kernel);
		return *said ? 0 : -ENOMEM;
	}
	if (p->kernel && !strcmp(p->kernel, kernel) && same(d->next.saved, p->entry)) {
		err = let_go(p, target);
		if (err)
			return err;
		p->held = true;
		free(p->why);
		p->why = text_of("kernel %s is held back by hand", target);
		*said = text_of("held on kernel %s until one newer than %s is installed", kernel, target);
		return p->why && *said ? 0 : -ENOMEM;
	}
	err = set_pin(d, s, kernels_find(&d->kernels, kernel), target, revocations, true,
		      changed, said);
	if (err || *changed)
		return err;
	/* That it was going to be set has been recorded. */
	err = guard_state_write(d, s, NULL, NULL);
	return err == -ENOMEM ? err : -EIO;
}

int pin_hold(struct doctor *d, struct guard_state *s, const char *kernel,
	     bool *changed, char **said)
{
	char *target = NULL, *revocations = NULL;
	int err;

	*changed = false;
	*said = NULL;
	err = recover(d, s, changed, said);
	if (err)
		return err;
	free(*said);
	*said = NULL;
	target = unpinned(d, &s->pin);
	revocations = guard_revocations(d->h);
	if (!revocations)
		err = -ENOMEM;
	else if ((*said = no_hold(d, s, kernel, target, revocations)))
		err = -EIO;
	else if (target)
		err = hold(d, s, kernel, target, revocations, changed, said);
	else
		err = -ENOMEM;
	free(target);
	free(revocations);
	return err;
}

int pin_keep(struct doctor *d, struct guard_state *s,
	     const struct guard_conf *conf, bool *changed, char **said)
{
	char *target, *revocations;
	const struct kernel *k;
	int err = 0;

	*changed = false;
	*said = NULL;
	/* Without the variables of its firmware, a pin there cannot be judged. */
	if (!host_may_act(d->h) && s->pin.kernel) {
		*said = text_of("the pin is left as it is: %s is not the running system",
				host_root(d->h));
		return *said ? 0 : -ENOMEM;
	}
	err = recover(d, s, changed, said);
	if (err || *said)
		return err == -EIO ? 0 : err;
	target = unpinned(d, &s->pin);
	revocations = guard_revocations(d->h);
	k = target ? kernels_find(&d->kernels, target) : NULL;
	if (!revocations)
		err = -ENOMEM;
	else if (s->pin.kernel && target)
		err = keep_pin(d, s, conf, target, revocations, changed, said);
	else if (k && wants_pin(d) &&
		 doctor_serves(d, k, true) == ANSWER_NO)
		err = start_pin(d, s, target, revocations, changed, said);
	else if (!k && wants_pin(d))
		*said = strdup("not pinned: what boots next cannot be told");
	/* Once it serves, a later failure is a new one. */
	if (!err && k && s->released &&
	    (strcmp(s->released, target) ||
	     doctor_serves(d, k, true) == ANSWER_YES)) {
		free(s->released);
		s->released = NULL;
	}
	free(target);
	free(revocations);
	return err;
}
