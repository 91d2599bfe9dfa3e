// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The commands of a GRUB script that decide what boots. Those that only draw,
 * load modules or look for devices have no effect but on the variable that they
 * are told to set, which is unknown then.
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/boot/grub_run.h"

void grub_set(struct grub_running *r, const char *name, const char *value)
{
	if (!r->skip)
		grub_fail(r, grub_vars_set(&r->vars, name, r->again ? GRUB_UNKNOWN_TEXT : value));
}

static const char *get(const struct grub_running *r, const char *name)
{
	return grub_vars_get(&r->vars, name, strlen(name));
}

/* "name=value", the whole word. */
static bool assign(struct grub_running *r, const char *word)
{
	const char *equals = strchr(word, '=');
	char *name;

	if (!equals || equals == word || isdigit((unsigned char)*word))
		return false;
	for (const char *p = word; p < equals; p++)
		if (!isalnum((unsigned char)*p) && *p != '_')
			return false;
	name = strndup(word, equals - word);
	if (name)
		grub_set(r, name, equals + 1);
	else
		grub_fail(r, -ENOMEM);
	free(name);
	return true;
}

/* Entries that cannot be seen may be here. */
static void add_unseen(struct grub_running *r)
{
	int at = grub_new_entry(r, GRUB_UNKNOWN_TEXT, NULL);

	if (at >= 0)
		r->m->list[at].conditional = true;
}

static char *join(char *const *words, size_t count)
{
	char *all = strdup("");

	for (size_t i = 0; i < count && all; i++) {
		char *more = text_of("%s%s%s", all, *all ? " " : "", words[i]);

		free(all);
		all = more;
	}
	return all;
}

static void keep(struct grub_running *r, char **field, char *value)
{
	if (!value)
		grub_fail(r, -ENOMEM);
	free(*field);
	*field = value;
}

/* "linux PATH ARGUMENTS", or the kernel of a hypervisor. */
static void load_kernel(struct grub_running *r, char *const *words, size_t count)
{
	struct grub_entry *e = &r->m->list[r->entry];

	/* Two kernels in one entry: whichever a condition selects. */
	e->unclear |= r->open || r->again || (e->image && strcmp(e->image, words[0]));
	keep(r, &e->image, strdup(words[0]));
	keep(r, &e->cmdline, join(words + 1, count - 1));
}

static void load_initrd(struct grub_running *r, char *const *words, size_t count)
{
	struct grub_entry *e = &r->m->list[r->entry];

	/* Several are one archive after the other: microcode comes first. */
	keep(r, &e->initrd, join(words, count));
}

static bool is_one_of(const char *word, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(word, *list))
			return true;
	return false;
}

static const char *const linux_words[] = { "linux", "linux16", "linuxefi", NULL };
static const char *const initrd_words[] = { "initrd", "initrd16", "initrdefi", NULL };
static const char *const multiboot_words[] = {
	"multiboot", "multiboot2", "xen_hypervisor", NULL,
};
static const char *const chain_words[] = { "chainloader", "uki", NULL };
static const char *const module_words[] = { "module", "module2", "xen_module", NULL };

/* Commands that say what an entry boots. */
static bool load(struct grub_running *r, char *const *words, size_t count)
{
	const char *word = words[0];
	size_t skip = 1;

	while (skip < count && !strncmp(words[skip], "--", 2))
		skip++;
	if (skip >= count || r->m->list[r->entry].submenu)
		return false;
	words += skip;
	count -= skip;
	if (is_one_of(word, linux_words)) {
		load_kernel(r, words, count);
	} else if (is_one_of(word, chain_words)) {
		load_kernel(r, words, 1);
		r->m->list[r->entry].chained = true;
	} else if (is_one_of(word, initrd_words)) {
		load_initrd(r, words, count);
	} else if (is_one_of(word, multiboot_words)) {
		r->multiboot = true;
	} else if (is_one_of(word, module_words) && r->multiboot) {
		if (r->m->list[r->entry].image)
			load_initrd(r, words, 1);
		else
			load_kernel(r, words, count);
	} else {
		return false;
	}
	return true;
}

/* The variable that a search or a question sets: its value is not known. */
static void set_answers(struct grub_running *r, char *const *words, size_t count)
{
	bool asks = !strcmp(words[0], "read") || !strcmp(words[0], "getenv");

	for (size_t i = 1; i < count; i++) {
		const char *name = NULL, *colon;

		if (!strncmp(words[i], "--set=", 6))
			name = words[i] + 6;
		else if (i + 1 < count && (!strcmp(words[i], "--set") ||
					   !strcmp(words[i], "-s")))
			name = words[i + 1];
		else if (asks && *words[i] != '-')
			name = words[i];
		colon = name ? strchr(name, ':') : NULL;
		if (name)
			grub_set(r, colon ? colon + 1 : name, GRUB_UNKNOWN_TEXT);
	}
	/* search.fs_uuid UUID root HINTS */
	if (!strncmp(words[0], "search.", 7) && count > 2)
		grub_set(r, words[2], GRUB_UNKNOWN_TEXT);
}

/* What an environment block that cannot be read may hold. */
static void load_unseen(struct grub_running *r, char *const *names, size_t count)
{
	static const char *const usual[] = {
		"saved_entry", "next_entry", "prev_saved_entry", "default",
		"boot_counter", "boot_success", "kernelopts", "recordfail",
	};

	for (size_t i = 0; i < count; i++)
		grub_set(r, names[i], GRUB_UNKNOWN_TEXT);
	for (size_t i = 0; !count && i < ARRAY_SIZE(usual); i++)
		grub_set(r, usual[i], GRUB_UNKNOWN_TEXT);
}

static void load_env(struct grub_running *r, char *const *words, size_t count)
{
	const char *file = NULL;
	const struct grub_vars *saved = r->how->saved;
	size_t i = 1;

	for (; i < count && words[i][0] == '-'; i++) {
		if (!strncmp(words[i], "--file=", 7))
			file = words[i] + 7;
		else if (i + 1 < count &&
			 (!strcmp(words[i], "-f") || !strcmp(words[i], "--file")))
			file = words[++i];
	}
	if (file && strcmp(file, GRUB_HOME "/grubenv")) {
		load_unseen(r, words + i, count - i);
		return;
	}
	for (size_t v = 0; saved && v < saved->count; v++) {
		bool named = i >= count;

		for (size_t n = i; n < count; n++)
			named |= !strcmp(words[n], saved->list[v].name);
		if (named)
			grub_set(r, saved->list[v].name, saved->list[v].value);
	}
}

static void save_env(struct grub_running *r, char *const *words, size_t count)
{
	for (size_t i = 1; i < count && !r->skip; i++)
		if (words[i][0] != '-')
			grub_fail(r, grub_vars_set(&r->m->written, words[i],
					      r->open || r->again ? GRUB_UNKNOWN_TEXT :
					      get(r, words[i])));
}

static void count_on(struct grub_running *r, const char *name, int by)
{
	char text[32], *end;
	const char *was = get(r, name);
	long n = strtol(was, &end, 10);

	snprintf(text, sizeof(text), "%ld", n + by);
	grub_set(r, name, *was && !*end && n > -100000 && n < 100000 ? text : GRUB_UNKNOWN_TEXT);
}

static void run_file(struct grub_running *r, const char *path, bool instead)
{
	struct grub_source *s;
	struct buf text;
	int err = r->source_count < GRUB_SOURCES_MAX && r->how->read ?
		  r->how->read(r->how->files.arg, path, &text) : -ENOENT;

	if (err == -ENOMEM) {
		grub_fail(r, err);
		return;
	}
	if (err) {
		/* Without a condition before it, an absent file is an error. */
		add_unseen(r);
		r->m->unclear |= instead;
		return;
	}
	s = calloc(1, sizeof(*s));
	if (!s || grub_lex((char *)text.data, text.len, &s->tokens)) {
		buf_free(&text);
		free(s);
		grub_fail(r, -ENOMEM);
		return;
	}
	s->text = text;
	r->sources[r->source_count++] = s;
	grub_run_body(r, &(struct grub_body){ &s->tokens, 0, s->tokens.count });
	if (instead && !r->open && !r->again)
		r->stopped = true;
}

static void add_bls(struct grub_running *r)
{
	const struct bls *b = r->how->entries ? r->how->entries(r->how->files.arg) : NULL;
	const char *dir = get(r, "blsdir");

	r->m->bls = true;
	if (*dir && !str_ends_with(dir, "/loader/entries") &&
	    !str_ends_with(dir, "/loader/entries/"))
		r->m->unclear = true;
	for (size_t i = 0; b && i < b->count && !r->stopped; i++) {
		const struct bls_entry *e = &b->list[i];
		char *id = e->image && str_ends_with(e->file, ".conf") ?
			   strndup(e->file, strlen(e->file) - strlen(".conf")) : NULL;
		const char *options = e->options ? e->options : "";
		struct grub_entry *new;
		bool vanishes;
		int at;

		if (!e->image || !str_ends_with(e->file, ".conf"))
			continue;
		at = id ? grub_new_entry(r, e->title ? e->title : e->image, id) : -1;
		free(id);
		if (at < 0)
			break;
		new = &r->m->list[at];
		keep(r, &new->image, strdup(e->image));
		keep(r, &new->cmdline, grub_expand(options, strlen(options), &r->vars,
						   &vanishes));
		if (e->initrd)
			keep(r, &new->initrd, grub_expand(e->initrd, strlen(e->initrd),
							  &r->vars, &vanishes));
	}
}

static const struct grub_function *find_function(const struct grub_running *r, const char *name)
{
	for (size_t i = r->function_count; i; i--)
		if (grub_token_is(r->functions[i - 1].name, name))
			return &r->functions[i - 1];
	return NULL;
}

/* A command with its words; the status is what a condition asks. */
enum grub_truth grub_obey(struct grub_running *r, char *const *words, size_t count)
{
	const char *word = words[0];
	const struct grub_function *f;
	struct grub_body body;

	if (!strcmp(word, "!") && count > 1)
		return grub_not(grub_obey(r, words + 1, count - 1));
	if (!strcmp(word, "[") || !strcmp(word, "test")) {
		bool bracket = *word == '[' && !strcmp(words[count - 1], "]");

		return grub_test(words + 1, count - 1 - bracket, &r->how->files);
	}
	if (!strcmp(word, "true") || !strcmp(word, "false"))
		return *word == 't' ? GRUB_YES : GRUB_NO;
	f = find_function(r, word);
	if (f) {
		body = f->body;
		grub_run_body(r, &body);
		return GRUB_OPEN;
	}
	if (r->entry >= 0 && load(r, words, count))
		return GRUB_YES;
	if (!strcmp(word, "set")) {
		for (size_t i = 1; i < count; i++)
			assign(r, words[i]);
	} else if (!strcmp(word, "unset")) {
		for (size_t i = 1; i < count; i++)
			grub_set(r, words[i], "");
	} else if (!strcmp(word, "load_env")) {
		load_env(r, words, count);
	} else if (!strcmp(word, "save_env")) {
		save_env(r, words, count);
	} else if (!strcmp(word, "increment") || !strcmp(word, "decrement")) {
		if (count > 1)
			count_on(r, words[1], *word == 'i' ? 1 : -1);
	} else if (!strcmp(word, "blscfg")) {
		/* Another folder, or a single file. */
		r->m->unclear |= count > 1;
		add_bls(r);
	} else if ((!strcmp(word, "source") || !strcmp(word, ".") ||
		    !strcmp(word, "configfile")) && count > 1) {
		run_file(r, words[1], *word == 'c');
	} else if (!strcmp(word, "eval") || !strcmp(word, "extract_entries_source") ||
		   !strcmp(word, "extract_entries_configfile")) {
		add_unseen(r);
		r->m->unclear |= *word == 'e' && word[1] == 'v';
	} else if (strcmp(word, "export") && !assign(r, word)) {
		set_answers(r, words, count);
		return GRUB_OPEN;
	}
	return GRUB_YES;
}
