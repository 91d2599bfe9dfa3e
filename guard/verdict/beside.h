/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two versions of one driver that dkms has, of which one does not build. */
#ifndef KMODKEEP_BESIDE_H
#define KMODKEEP_BESIDE_H

#include "guard/verdict/doctor.h"

/*
 * What that may do to the packages of the finding's kernel, and the step to one version alone,
 * for people. 0 with *text malloc'ed, or NULL where there is none such; or -ENOMEM.
 */
int beside_warning(const struct doctor *d, const struct finding *f, char **text);

#endif
