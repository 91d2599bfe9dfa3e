// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs the tools of the boot loaders, those of the system asked about. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/run.h"
#include "guard/base/util.h"
#include "guard/boot/loader.h"

#define PATIENCE 60

int loader_run_tool(char *const argv[], char said[LOADER_SAID])
{
	struct run_result run;
	int err = run_program(argv, PATIENCE, &run);

	snprintf(said, LOADER_SAID, "%.80s: %.170s", strrchr(argv[0], '/') + 1, err ? strerror(-err) :
		 run.timed_out ? "it does not end" :
		 *run.last_line ? run.last_line : "it failed");
	return !err && run.exit_code == 0 ? 0 : -EIO;
}

char *loader_command(const struct host *h, const char *const *tools, const char *word,
		     const char *entry)
{
	char *tool = strchr(entry, '\'') ? NULL : host_tool(h, tools), *text = NULL;

	if (tool)
		text = text_of("%s %s%s'%s'", strrchr(tool, '/') + 1, word, *word ? " " : "",
			       entry);
	free(tool);
	return text;
}
