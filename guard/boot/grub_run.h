/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One run of a GRUB script: shared by its commands and its control flow. */
#ifndef KMODKEEP_GRUB_RUN_H
#define KMODKEEP_GRUB_RUN_H

#include "guard/boot/grub_cfg.h"

#define GRUB_SOURCES_MAX 32
#define GRUB_FUNCTIONS_MAX 64

struct grub_source {
	struct buf text;
	struct grub_tokens tokens;
};

/* Some tokens: the body of a function or of an entry. */
struct grub_body {
	const struct grub_tokens *in;
	size_t from, to;
};

struct grub_function {
	const struct grub_token *name;
	struct grub_body body;
};

struct grub_running {
	struct grub_menu *m;
	const struct grub_run *how;
	struct grub_vars vars;
	/* Where it is. */
	const struct grub_tokens *in;
	size_t at, to;
	/* More than 0: nothing is done; it may not be done; it is done again. */
	int skip, open, again;
	int depth;
	long steps;
	int err;
	struct grub_source *sources[GRUB_SOURCES_MAX];
	size_t source_count;
	struct grub_function functions[GRUB_FUNCTIONS_MAX];
	size_t function_count;
	struct grub_body *bodies;	/* of the entries, by index */
	int entry;		/* whose body is run; -1: none */
	bool multiboot;		/* the first module is the kernel */
	bool stopped;		/* by configfile, or for lack of memory */
};

/* Takes an error: -E2BIG makes the menu unclear, others end the run. */
void grub_fail(struct grub_running *r, int err);
/* Sets a variable, where the run is not passing over it. */
void grub_set(struct grub_running *r, const char *name, const char *value);
/* Adds an entry to the menu: its index, or -1. */
int grub_new_entry(struct grub_running *r, const char *title, const char *id);
/* Runs other tokens, and comes back. */
void grub_run_body(struct grub_running *r, const struct grub_body *b);
/* A command with its words (count > 0); the status is what a condition asks. */
enum grub_truth grub_obey(struct grub_running *r, char *const *words, size_t count);

#endif
