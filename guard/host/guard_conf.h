/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The settings of the guard: /etc/kmodkeep/guard.conf. */
#ifndef KMODKEEP_GUARD_CONF_H
#define KMODKEEP_GUARD_CONF_H

#include "guard/host/dropin.h"

#define GUARD_CONF "/etc/kmodkeep/guard.conf"

struct guard_conf {
	char *prometheus;	/* file to write metrics to; NULL: none */
	char *mail;		/* address that is told; NULL: none */
	long long pin_max_age;	/* seconds */
	bool discovery;		/* drivers are found by themselves */
	/* What counts where the variables of EFI firmware cannot be read. */
	char *firmware_starts;	/* the program that it starts; NULL: not said */
	char *firmware_secure_boot;	/* is it on? "yes" or "no"; NULL: not said */
	char *gate;		/* address of the fleet's gate file; NULL: none */
	bool gate_reboot;	/* reboot after an update that the gate let through */
};

/* report: what is wrong in the file, a line each; NULL: that is said elsewhere. 0 or -ENOMEM. */
int guard_conf_read(const struct host *h, dropin_error_fn *report, void *arg,
		    struct guard_conf *out);
/* Takes apart the text of the file; the defaults are set already. */
void guard_conf_parse(struct guard_conf *c, const char *file, char *text,
		      dropin_error_fn *report, void *arg);
void guard_conf_free(struct guard_conf *c);

#endif
