// SPDX-License-Identifier: GPL-2.0-only
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

int pin_lift(struct doctor *d, struct guard_state *s, bool *changed,
	     char **said)
{
	struct pin *p = &s->pin;
	char why[256];
	int err = 0;

	if (d->next.saved && !strcmp(d->next.saved, p->entry))
		err = next_boot_set_default(d->h, d->next.loader,
					    p->previous, why);
	if (err) {
		*said = text_of("the pin on kernel %s cannot be lifted: %s",
				p->kernel, why);
		return *said ? -EIO : -ENOMEM;
	}
	guard_keep_package(d->h, NULL);
	err = finish(d, changed, text_of("the pin on kernel %s is lifted",
					 p->kernel), said);
	pin_free(p);
	return err;
}

/* Records first, then acts: a pin that nobody remembers would stay for ever. */
static int set_pin(struct doctor *d, struct guard_state *s,
		   const struct kernel *k, const char *target,
		   const char *revocations, bool *changed, char **said)
{
	char *entry = next_boot_entry_for(d->h, &d->kernels, d->next.loader,
					  k->release);
	struct pin new = { 0 }, old = s->pin;
	char why[256];
	int err;

	if (!entry) {
		*said = text_of("not pinned: the boot loader has no entry whose "
				"name means kernel %s for good", k->release);
		return *said ? 0 : -ENOMEM;
	}
	new.kernel = strdup(k->release);
	new.entry = entry;
	new.previous = old.kernel ? (old.previous ? strdup(old.previous) : NULL) :
		       d->next.saved ? strdup(d->next.saved) : NULL;
	new.instead_of = strdup(target);
	new.revocations = strdup(revocations);
	new.why = text_of("kernel %s would lose a driver", target);
	new.since = old.kernel ? old.since : (long long)time(NULL);
	s->pin = new;
	strcpy(why, "what is done cannot be recorded");
	err = new.kernel && new.instead_of && new.revocations &&
	      (new.previous || !(old.kernel ? old.previous : d->next.saved)) ?
	      guard_state_write(d, s, NULL, NULL) : -ENOMEM;
	if (!err)
		err = next_boot_set_default(d->h, d->next.loader, entry, why);
	if (!err)
		err = guard_keep_package(d->h, k->release);
	if (err) {
		pin_free(&s->pin);
		s->pin = old;
		*said = text_of("not pinned to kernel %s: %s", k->release, why);
		return *said ? 0 : -ENOMEM;
	}
	pin_free(&old);
	return finish(d, changed,
		      text_of("pinned to kernel %s until %s serves again",
			      k->release, target), said);
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
	if (s->pin.kernel && !strcmp(s->pin.kernel, good->release))
		return 0;
	return set_pin(d, s, good, target, revocations, changed, said);
}

static int release(struct doctor *d, struct guard_state *s, const char *target,
		   const char *why, bool *changed, char **said)
{
	int err = pin_lift(d, s, changed, said);
	char *more;

	if (err)
		return err == -EIO ? 0 : err;
	free(s->released);
	s->released = strdup(target);
	more = text_of("%s: %s", *said, why);
	free(*said);
	*said = more;
	return more && s->released ? 0 : -ENOMEM;
}

/* What to do about a pin that is there. */
static int keep_pin(struct doctor *d, struct guard_state *s,
		    const struct guard_conf *conf, const char *target,
		    const char *revocations, bool *changed, char **said)
{
	struct pin *p = &s->pin;
	int err;

	if (!d->next.saved || strcmp(d->next.saved, p->entry)) {
		/* Somebody else chose: that is to be respected. */
		guard_keep_package(d->h, NULL);
		pin_free(p);
		free(s->released);
		s->released = strdup(target);
		*said = strdup("the pin is gone: the boot loader's default was "
			       "changed by hand");
		return *said && s->released ? 0 : -ENOMEM;
	}
	/* A pin that the boot loader does not look at is none. */
	if (!wants_pin(d) || d->next.obstacle ||
	    kernels_find(&d->kernels, target) == NULL ||
	    doctor_serves(d, kernels_find(&d->kernels, target), true) ==
	    ANSWER_YES) {
		err = pin_lift(d, s, changed, said);
		return err == -EIO ? 0 : err;
	}
	if (p->revocations && strcmp(p->revocations, revocations))
		return release(d, s, target, "the revocation lists changed, and "
			       "no pin goes across that", changed, said);
	if (time(NULL) - p->since > conf->pin_max_age)
		return release(d, s, target, "it is older than pin_max_age in "
			       GUARD_CONF, changed, said);
	return start_pin(d, s, target, revocations, changed, said);
}

int pin_keep(struct doctor *d, struct guard_state *s,
	     const struct guard_conf *conf, bool *changed, char **said)
{
	char *target = unpinned(d, &s->pin);
	char *revocations = guard_revocations(d->h);
	const struct kernel *k;
	int err = 0;

	*changed = false;
	*said = NULL;
	/* Without the variables of its firmware, a pin there cannot be judged. */
	if (!host_may_act(d->h) && s->pin.kernel) {
		free(target);
		free(revocations);
		*said = text_of("the pin is left as it is: %s is not the running system",
				host_root(d->h));
		return *said ? 0 : -ENOMEM;
	}
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
