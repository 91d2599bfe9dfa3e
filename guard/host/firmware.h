/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What firmware and kernel of the host demand of a module. */
#ifndef KMODKEEP_FIRMWARE_H
#define KMODKEEP_FIRMWARE_H

#include "guard/host/host.h"

enum secure_boot { SB_NO_EFI, SB_OFF, SB_ON, SB_UNKNOWN };
enum secure_boot host_secure_boot(const struct host *h);
const char *secure_boot_word(enum secure_boot s);

/* Must a module be signed? By Secure Boot, lockdown or module.sig_enforce. */
enum demand { DEMAND_NO, DEMAND_YES, DEMAND_UNKNOWN };
enum demand host_demands_signature(const struct host *h);

#endif
