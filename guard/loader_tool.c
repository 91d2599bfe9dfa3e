// SPDX-License-Identifier: GPL-2.0-only
/* The boot loaders' own tools, of the system asked about. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard.h"
#include "run.h"
#include "util.h"

#define PATIENCE 60

static int run_tool(char *const argv[], char said[256])
{
	struct run_result run;
	int err = run_program(argv, PATIENCE, &run);

	snprintf(said, 256, "%.80s: %.170s", strrchr(argv[0], '/') + 1, err ? strerror(-err) :
		 run.timed_out ? "it does not end" :
		 *run.last_line ? run.last_line : "it failed");
	return !err && run.exit_code == 0 ? 0 : -EIO;
}

static int set_grub(const struct host *h, const char *entry, char said[256])
{
	static const char *const setters[] = {
		"grub-set-default", "grub2-set-default", NULL,
	};
	static const char *const editors[] = {
		"grub-editenv", "grub2-editenv", NULL,
	};
	char *tool = host_tool(h, entry ? setters : editors);
	char *boot = host_path(h, "/boot");
	char *env = host_path(h, "/boot/grub/grubenv");
	char *option = text_of("--boot-directory=%s", boot ? boot : "");
	int err = -ENOENT;

	if (env && !path_exists(env)) {
		free(env);
		env = host_path(h, "/boot/grub2/grubenv");
	}
	if (tool && option && env)
		err = run_tool(entry ? (char *[]){ tool, option,
						   (char *)entry, NULL } :
			       (char *[]){ tool, env, (char *)"unset",
					   (char *)"saved_entry", NULL }, said);
	free(tool);
	free(boot);
	free(env);
	free(option);
	return err;
}

static int set_sdboot(const struct host *h, const char *entry, char said[256])
{
	static const char *const names[] = { "bootctl", NULL };
	char *tool = host_tool(h, names);
	char *argv[] = { tool, (char *)"set-default",
			 (char *)(entry ? entry : ""), NULL };
	int err = tool ? run_tool(argv, said) : -ENOENT;

	free(tool);
	return err;
}

int loader_set_default(const struct host *h, enum loader l, const char *entry,
		       char said[256])
{
	int err = -ENOENT;

	snprintf(said, 256, "the boot loader's tool is not installed");
	if (l == LOADER_GRUB)
		err = set_grub(h, entry, said);
	else if (l == LOADER_SYSTEMD_BOOT)
		err = set_sdboot(h, entry, said);
	return err;
}
