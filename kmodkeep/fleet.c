// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb fleet: many hosts, on the machine that looks after them. Another package has it. */
#include "guard/base/say.h"
#include "guard/base/script.h"
#include "guard/base/util.h"
#include "kmodkeep/verbs.h"

int verb_fleet(int argc, char **argv)
{
	if (!path_exists(LIBDIR "/fleet"))
		return complain(EXIT_NO, "fleet: its programs are in a package "
				"of their own. Next: install kmodkeep-fleet");
	return run_script("fleet", argc, argv);
}
