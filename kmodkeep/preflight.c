// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb preflight: may this kernel update be installed? A shell script answers. */
#include "guard/base/script.h"
#include "kmodkeep/verbs.h"

int verb_preflight(int argc, char **argv)
{
	return run_script("preflight", argc, argv);
}
