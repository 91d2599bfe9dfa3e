// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Runs a grub.cfg for its menu: conditions, loops, functions. The bodies of
 * entries are run last, each by itself, for the kernel that they load.
 *
 * Work is bounded: by STEPS_MAX commands and copied variables, DEPTH_MAX blocks
 * in blocks, GRUB_SOURCES_MAX files. A script beyond that is "unclear".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/boot/grub_run.h"

#define ENTRIES_MAX 1000
#define WORDS_MAX 256
#define DEPTH_MAX 48
#define STEPS_MAX 1000000

/* The script is beyond what is known here: its menu is unclear. */
static void too_much(struct grub_running *r)
{
	r->m->unclear = true;
	r->stopped = true;
}

void grub_fail(struct grub_running *r, int err)
{
	if (err == -E2BIG) {
		r->m->unclear = true;
	} else if (err) {
		r->err = err;
		r->stopped = true;
	}
}

static bool step(struct grub_running *r, size_t cost)
{
	r->steps += 1 + cost;
	if (r->steps > STEPS_MAX)
		too_much(r);
	return !r->stopped;
}

static const struct grub_token *token(const struct grub_running *r)
{
	return r->at < r->to && !r->stopped ? &r->in->list[r->at] : NULL;
}

static bool at_word(const struct grub_running *r, const char *word)
{
	const struct grub_token *t = token(r);

	return t && grub_token_is(t, word);
}

/* Adds an entry of nobody's: its index, or -1. */
int grub_new_entry(struct grub_running *r, const char *title, const char *id)
{
	struct grub_menu *m = r->m;
	struct grub_entry *list, *e;
	struct grub_body *bodies;

	if (m->count == ENTRIES_MAX) {
		m->unclear = true;
		return -1;
	}
	list = realloc(m->list, (m->count + 1) * sizeof(*list));
	if (list)
		m->list = list;
	bodies = list ? realloc(r->bodies, (m->count + 1) * sizeof(*bodies)) : NULL;
	if (bodies)
		r->bodies = bodies;
	if (!list || !bodies) {
		grub_fail(r, -ENOMEM);
		return -1;
	}
	e = &list[m->count];
	memset(e, 0, sizeof(*e));
	memset(&bodies[m->count], 0, sizeof(*bodies));
	e->title = strdup(title);
	e->id = id ? strdup(id) : NULL;
	e->parent = r->entry;
	e->conditional = r->open > 0 || r->again > 0;
	m->count++;
	if (!e->title || (id && !e->id)) {
		grub_fail(r, -ENOMEM);
		return -1;
	}
	return m->count - 1;
}

static const char *option_id(char *const *words, size_t count)
{
	for (size_t i = 2; i < count; i++) {
		if (!strncmp(words[i], "--id=", 5))
			return words[i] + 5;
		/* $menuentry_id_option is unknown after an open condition only. */
		if (i + 1 < count && (!strcmp(words[i], "--id") ||
				      !strcmp(words[i], GRUB_UNKNOWN_TEXT)))
			return words[i + 1];
	}
	return NULL;
}

static enum grub_truth run_until(struct grub_running *r);

/* Runs other tokens, and comes back. */
void grub_run_body(struct grub_running *r, const struct grub_body *b)
{
	const struct grub_tokens *in = r->in;
	size_t at = r->at, to = r->to;

	if (++r->depth > DEPTH_MAX) {
		too_much(r);
	} else {
		r->in = b->in;
		r->at = b->from;
		r->to = b->to;
		while (token(r)) {
			run_until(r);
			/* A closing word that nothing opened. */
			r->at++;
		}
	}
	r->depth--;
	r->in = in;
	r->at = at;
	r->to = to;
}

/* Passes over a block, which starts behind its brace. */
static struct grub_body pass_block(struct grub_running *r)
{
	struct grub_body b = { r->in, r->at, r->at };
	const struct grub_token *t;
	int depth = 1;

	for (; (t = token(r)); r->at++) {
		depth += t->kind == GRUB_OPENING;
		depth -= t->kind == GRUB_CLOSING;
		if (!depth)
			break;
	}
	b.to = r->at;
	if (token(r))
		r->at++;
	return b;
}

static void define(struct grub_running *r)
{
	const struct grub_token *name;

	r->at++;
	name = token(r);
	if (name)
		r->at++;
	while (token(r) && token(r)->kind == GRUB_LINE_END)
		r->at++;
	if (!name || name->kind != GRUB_WORD || !token(r) ||
	    token(r)->kind != GRUB_OPENING)
		return;
	r->at++;
	if (r->function_count == GRUB_FUNCTIONS_MAX) {
		r->m->unclear = true;
		pass_block(r);
		return;
	}
	r->functions[r->function_count].name = name;
	r->functions[r->function_count].body = pass_block(r);
	if (!r->skip)
		r->function_count++;
}

static void add_entry(struct grub_running *r, char *const *words, size_t count,
		      struct grub_body body)
{
	bool submenu = !strcmp(words[0], "submenu");
	int at;

	if (count < 2 || (!submenu && strcmp(words[0], "menuentry")))
		return;
	at = grub_new_entry(r, words[1], option_id(words, count));
	if (at < 0)
		return;
	r->m->list[at].submenu = submenu;
	r->bodies[at] = body;
}

static enum grub_truth run_command(struct grub_running *r)
{
	char *words[WORDS_MAX];
	const struct grub_token *t;
	enum grub_truth status = GRUB_OPEN;
	struct grub_body body = { 0 };
	size_t count = 0;
	bool joined = false;

	step(r, 0);
	for (; (t = token(r)) && t->kind == GRUB_WORD; r->at++) {
		bool vanishes;
		char *word;

		joined |= grub_token_is(t, "&&") || grub_token_is(t, "||");
		if (r->skip || count == WORDS_MAX)
			continue;
		word = grub_expand(t->text, t->len, &r->vars, &vanishes);
		if (!word)
			grub_fail(r, -ENOMEM);
		else if (vanishes)
			free(word);
		else
			words[count++] = word;
	}
	if (t && t->kind == GRUB_OPENING) {
		r->at++;
		body = pass_block(r);
	}
	if (!r->skip && !r->stopped && joined)
		r->m->unclear = true;
	if (!r->skip && !r->stopped && count) {
		if (body.in)
			add_entry(r, words, count, body);
		else
			status = grub_obey(r, words, count);
	}
	for (size_t i = 0; i < count; i++)
		free(words[i]);
	return status;
}

/* The variables of before, and those after the branches that may be taken. */
struct branches {
	struct grub_vars before, after;
	bool any;
};

static void open_branch(struct grub_running *r, struct branches *b)
{
	step(r, 2 * r->vars.count);
	grub_fail(r, grub_vars_copy(&b->before, &r->vars));
	r->open++;
}

/* Goes on as if it had not been taken; what it did is kept aside. */
static void close_branch(struct grub_running *r, struct branches *b)
{
	r->open--;
	if (b->any) {
		grub_fail(r, grub_vars_merge(&b->after, &r->vars));
		grub_vars_free(&r->vars);
	} else {
		b->after = r->vars;
		b->any = true;
	}
	r->vars = b->before;
	memset(&b->before, 0, sizeof(b->before));
}

static void run_if(struct grub_running *r)
{
	struct branches b = { 0 };
	bool taken = false;
	int opened = 0;

	while (at_word(r, "if") || at_word(r, "elif") || at_word(r, "else")) {
		bool last = at_word(r, "else");
		enum grub_truth t = GRUB_YES;

		r->at++;
		r->skip += taken;
		if (!last) {
			t = run_until(r);
			if (at_word(r, "then"))
				r->at++;
		}
		r->skip -= taken;
		if (taken || r->skip || t == GRUB_NO) {
			r->skip++;
			run_until(r);
			r->skip--;
		} else if (t == GRUB_YES) {
			run_until(r);
			taken = true;
		} else {
			open_branch(r, &b);
			run_until(r);
			close_branch(r, &b);
			/* The others are taken only if this one is not. */
			r->open++;
			opened++;
		}
		if (last)
			break;
	}
	r->open -= opened;
	if (at_word(r, "fi"))
		r->at++;
	if (b.any)
		grub_fail(r, grub_vars_merge(&r->vars, &b.after));
	grub_vars_free(&b.after);
}

/* A loop may run never, or often: what it sets is unknown. */
static void run_loop(struct grub_running *r)
{
	struct branches b = { 0 };
	bool is_for = at_word(r, "for"), until = at_word(r, "until"), never;
	enum grub_truth t = GRUB_OPEN;

	r->at++;
	if (is_for) {
		const struct grub_token *name = token(r);
		char *text = name ? strndup(name->text, name->len) : NULL;

		if (text)
			grub_set(r, text, GRUB_UNKNOWN_TEXT);
		free(text);
		for (r->skip++; token(r) && token(r)->kind == GRUB_WORD; r->at++)
			;
		r->skip--;
		while (token(r) && token(r)->kind == GRUB_LINE_END)
			r->at++;
	} else {
		t = run_until(r);
	}
	if (at_word(r, "do"))
		r->at++;
	never = t == (until ? GRUB_YES : GRUB_NO);
	if (never || r->skip) {
		r->skip++;
		run_until(r);
		r->skip--;
	} else {
		open_branch(r, &b);
		r->again++;
		run_until(r);
		r->again--;
		close_branch(r, &b);
		grub_fail(r, grub_vars_merge(&r->vars, &b.after));
		grub_vars_free(&b.after);
	}
	if (at_word(r, "done"))
		r->at++;
}

static bool ends_a_list(const struct grub_token *t)
{
	static const char *const words[] = {
		"then", "elif", "else", "fi", "do", "done",
	};

	if (t->kind == GRUB_CLOSING)
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (grub_token_is(t, words[i]))
			return true;
	return false;
}

/* The commands up to a word that ends them; the last one's status. */
static enum grub_truth run_until(struct grub_running *r)
{
	enum grub_truth status = GRUB_YES;
	const struct grub_token *t;

	if (++r->depth > DEPTH_MAX)
		too_much(r);
	while ((t = token(r)) && !ends_a_list(t)) {
		if (t->kind != GRUB_WORD) {
			r->at++;
		} else if (grub_token_is(t, "if")) {
			run_if(r);
			status = GRUB_OPEN;
		} else if (grub_token_is(t, "while") || grub_token_is(t, "until") ||
			   grub_token_is(t, "for")) {
			run_loop(r);
			status = GRUB_OPEN;
		} else if (grub_token_is(t, "function")) {
			define(r);
		} else {
			status = run_command(r);
		}
	}
	r->depth--;
	return r->skip ? GRUB_OPEN : status;
}

/* What an entry boots, or what a submenu holds; the list grows meanwhile. */
static void run_entries(struct grub_running *r)
{
	for (size_t i = 0; i < r->m->count && !r->err; i++) {
		struct grub_vars before;
		struct grub_body body = r->bodies[i];

		if (!body.in)
			continue;
		r->stopped = false;
		if (!step(r, 2 * r->vars.count))
			break;
		grub_fail(r, grub_vars_copy(&before, &r->vars));
		if (r->err)
			break;
		r->entry = i;
		r->multiboot = false;
		r->open = r->m->list[i].submenu && r->m->list[i].conditional;
		grub_run_body(r, &body);
		grub_vars_free(&r->vars);
		r->vars = before;
	}
}

/* What is shown holds no control characters; an unknown part stays marked. */
static void make_shown(char *s)
{
	for (char *part; s && (part = strsep(&s, GRUB_UNKNOWN_TEXT)); ) {
		make_printable(part);
		if (s)
			s[-1] = GRUB_UNKNOWN;
	}
}

static void finish(struct grub_running *r)
{
	for (size_t i = 0; i < r->m->count; i++) {
		struct grub_entry *e = &r->m->list[i];

		make_shown(e->title);
		make_shown(e->id);
		make_shown(e->image);
		make_shown(e->initrd);
		make_shown(e->cmdline);
	}
}

int grub_menu_read(struct grub_menu *out, const char *text, size_t len,
		   const struct grub_run *how)
{
	struct grub_tokens tokens;
	struct grub_running r = { .m = out, .how = how, .entry = -1 };
	int err;

	memset(out, 0, sizeof(*out));
	err = grub_lex(text, len, &tokens);
	if (err)
		return err;
	if (how->start)
		grub_fail(&r, grub_vars_copy(&r.vars, how->start));
	if (!r.err)
		grub_run_body(&r, &(struct grub_body){ &tokens, 0, tokens.count });
	out->chosen = strdup(grub_vars_get(&r.vars, "default", 7));
	if (!out->chosen)
		grub_fail(&r, -ENOMEM);
	r.skip = r.open = r.again = r.depth = 0;
	run_entries(&r);
	finish(&r);
	for (size_t i = 0; i < r.source_count; i++) {
		buf_free(&r.sources[i]->text);
		free(r.sources[i]->tokens.list);
		free(r.sources[i]);
	}
	free(r.bodies);
	grub_vars_free(&r.vars);
	free(tokens.list);
	if (r.err)
		grub_menu_free(out);
	return r.err;
}
