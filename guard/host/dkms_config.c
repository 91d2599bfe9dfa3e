// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Reads the assignments of dkms's configuration without a shell. The text is
 * split into words as bash does it (quotes, escapes, comments, separators). A
 * word NAME=VALUE at the start of a statement that has nothing else is an
 * assignment. Arrays are passed over. Any other word is a command, and a
 * command may change what was set before it: those values become unsure.
 */
#include "guard/host/dkms_config.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define CONF "/etc/dkms/framework.conf"
#define CONF_DIR CONF ".d"

/* Far beyond any real configuration. */
#define FILE_MAX (256u << 10)
#define SETTINGS_MAX 256
#define DROP_INS_MAX 256

struct word {
	char *text;	/* without quotes; $kernelver stays */
	size_t len;
	bool unsure;	/* has an expansion that is not known */
	bool quoted;	/* some of it was in quotes: no keyword, no "#" */
};

enum separator { SEP_BLANK, SEP_END, SEP_ANDOR, SEP_OTHER };

struct parser {
	struct dkms_config *c;
	const char *name, *text, *p;
	struct word w;
	/* Since the statement began: */
	bool command;		/* a word that is no assignment was there */
	bool conditional;	/* it follows && or || */
	struct dkms_setting pending[16];
	size_t pending_count;
};

static int note_gap(struct dkms_config *c, const char *name, const char *what)
{
	if (c->gap)
		return 0;
	c->gap = text_of("%s: %s", name, what);
	if (!c->gap)
		return -ENOMEM;
	make_printable(c->gap);
	return 0;
}

/* From here on a command may have changed every value set so far. */
static int note_command(struct dkms_config *c, const char *name,
			const char *what)
{
	for (size_t i = 0; i < c->count; i++)
		c->list[i].unsure = true;
	return note_gap(c, name, what);
}

static struct dkms_setting *find(const struct dkms_config *c, const char *key)
{
	for (size_t i = 0; i < c->count; i++)
		if (!strcmp(c->list[i].key, key))
			return &c->list[i];
	return NULL;
}

static void setting_free(struct dkms_setting *s)
{
	free(s->key);
	free(s->value);
	free(s->where);
	memset(s, 0, sizeof(*s));
}

/* Takes over *s. */
static int set(struct dkms_config *c, const char *name, struct dkms_setting *s)
{
	struct dkms_setting *old = find(c, s->key), *list;

	if (old) {
		setting_free(old);
		*old = *s;
		memset(s, 0, sizeof(*s));
		return 0;
	}
	if (c->count == SETTINGS_MAX) {
		setting_free(s);
		return note_command(c, name, "it has too many settings");
	}
	list = realloc(c->list, (c->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	c->list = list;
	list[c->count++] = *s;
	memset(s, 0, sizeof(*s));
	return 0;
}

static bool is_name(char c, bool first)
{
	return c == '_' || isalpha((unsigned char)c) ||
	       (!first && isdigit((unsigned char)c));
}

/* The word's buffer was made as long as the text that is left, plus values. */
static int put(struct word *w, const char *s, size_t n)
{
	char *bigger;

	if (w->len + n > FILE_MAX) {
		w->unsure = true;
		return 0;
	}
	bigger = realloc(w->text, w->len + n + 1);
	if (!bigger)
		return -ENOMEM;
	w->text = bigger;
	memcpy(bigger + w->len, s, n);
	w->len += n;
	bigger[w->len] = '\0';
	return 0;
}

/* To the quotation mark that ends what begins here, or to the end. */
static void skip_quoted(struct parser *s)
{
	char quote = *s->p++;

	while (*s->p && *s->p != quote) {
		if (quote == '"' && *s->p == '\\' && s->p[1])
			s->p++;
		s->p++;
	}
}

/* Passes over $(...), ${...} or `...`, which nobody here can tell. */
static void skip_group(struct parser *s, char open, char close)
{
	size_t depth = 0;

	for (; *s->p; s->p++) {
		if (*s->p == '\\' && s->p[1]) {
			s->p++;
		} else if (*s->p == close && (open == close ? depth : 1)) {
			if (!--depth)
				break;
		} else if (*s->p == open) {
			depth++;
		} else if (open == '(' && strchr("'\"", *s->p)) {
			skip_quoted(s);
			if (!*s->p)
				break;
		}
	}
	if (*s->p)
		s->p++;
	s->w.unsure = true;
}

/* At a dollar sign: a variable set before, $kernelver, or something unknown. */
static int expand(struct parser *s)
{
	bool braces = s->p[1] == '{';
	const char *start = s->p + 1 + braces, *end = start;
	struct dkms_setting *known;
	char *name;
	int err;

	if (s->p[1] == '(') {
		s->p++;
		skip_group(s, '(', ')');
		return 0;
	}
	while (is_name(*end, end == start))
		end++;
	if (braces && (end == start || *end != '}')) {
		s->p++;
		skip_group(s, '{', '}');
		return 0;
	}
	if (end == start) {
		/* A lone dollar sign is one; $1, $?, $'...' are not. */
		s->w.unsure |= *start && !strchr(" \t\n\"/;", *start);
		return put(&s->w, s->p++, 1);
	}
	name = strndup(start, end - start);
	if (!name)
		return -ENOMEM;
	s->p = end + braces;
	known = find(s->c, name);
	if (!strcmp(name, "kernelver")) {
		err = put(&s->w, "$kernelver", 10);
	} else if (known) {
		s->w.unsure |= known->unsure;
		err = put(&s->w, known->value, strlen(known->value));
	} else {
		s->w.unsure = true;
		err = 0;
	}
	free(name);
	return err;
}

static int take_double_quoted(struct parser *s)
{
	int err = 0;

	s->w.quoted = true;
	for (s->p++; *s->p && *s->p != '"' && !err;) {
		if (*s->p == '\\' && s->p[1] && strchr("$`\"\\\n", s->p[1])) {
			if (s->p[1] != '\n')
				err = put(&s->w, s->p + 1, 1);
			s->p += 2;
		} else if (*s->p == '$') {
			err = expand(s);
		} else if (*s->p == '`') {
			skip_group(s, '`', '`');
		} else {
			err = put(&s->w, s->p++, 1);
		}
	}
	if (*s->p)
		s->p++;
	else
		s->w.unsure = true;
	return err;
}

static int take_single_quoted(struct parser *s)
{
	const char *end = strchr(++s->p, '\'');
	int err;

	s->w.quoted = true;
	if (!end) {
		s->w.unsure = true;
		end = s->p + strlen(s->p);
	}
	err = put(&s->w, s->p, end - s->p);
	s->p = *end ? end + 1 : end;
	return err;
}

/* One word, up to a blank or a separator. */
static int take_word(struct parser *s)
{
	int err = 0;

	free(s->w.text);
	memset(&s->w, 0, sizeof(s->w));
	err = put(&s->w, "", 0);
	while (!err && *s->p && !strchr(" \t\n;&|()<>", *s->p)) {
		switch (*s->p) {
		case '\\':
			s->w.quoted = true;
			if (s->p[1] && s->p[1] != '\n')
				err = put(&s->w, s->p + 1, 1);
			s->p += s->p[1] ? 2 : 1;
			break;
		case '\'':
			err = take_single_quoted(s);
			break;
		case '"':
			err = take_double_quoted(s);
			break;
		case '$':
			err = expand(s);
			break;
		case '`':
			skip_group(s, '`', '`');
			break;
		case '~':
			s->w.unsure |= s->w.len && s->w.text[s->w.len - 1] == '=';
			err = put(&s->w, s->p++, 1);
			break;
		default:
			err = put(&s->w, s->p++, 1);
		}
	}
	return err;
}

/* NAME= or NAME+=: the length of the name, else 0. */
static size_t assigned_name(const char *word, bool *append)
{
	size_t n = 0;

	while (is_name(word[n], !n))
		n++;
	*append = n && word[n] == '+' && word[n + 1] == '=';
	return n && (word[n] == '=' || *append) ? n : 0;
}

/* NAME[...]=, which in these files is always an array's element. */
static bool is_element(const char *word)
{
	size_t n = 0;

	while (is_name(word[n], !n))
		n++;
	return n && word[n] == '[' && strstr(word + n, "]=");
}

/* dkms evaluates a value once more, so quotes do not protect what is in it. */
static bool is_evaluated(const char *value)
{
	const char *p = value;

	if (strpbrk(value, "`\\\""))
		return true;
	while ((p = strchr(p, '$'))) {
		if (strncmp(++p, "kernelver", 9) || is_name(p[9], false))
			return true;
	}
	return false;
}

/* Files written elsewhere end their lines so; dkms cuts it off. */
static void drop_return(char *value)
{
	size_t n = strlen(value);

	if (n && value[n - 1] == '\r')
		value[n - 1] = '\0';
}

static unsigned int line_of(const struct parser *s)
{
	unsigned int line = 1;

	for (const char *p = s->text; p < s->p; p++)
		line += *p == '\n';
	return line;
}

static int keep_assignment(struct parser *s, size_t name_len, bool append)
{
	struct dkms_setting *to, *old;
	const char *value = s->w.text + name_len + 1 + append;

	if (s->pending_count == ARRAY_SIZE(s->pending))
		return note_command(s->c, s->name, "a statement is too long");
	to = &s->pending[s->pending_count];
	to->key = strndup(s->w.text, name_len);
	if (!to->key)
		return -ENOMEM;
	s->pending_count++;
	to->unsure = s->w.unsure || s->conditional;
	old = append ? find(s->c, to->key) : NULL;
	if (old)
		to->unsure |= old->unsure;
	to->value = text_of("%s%s", old ? old->value : "", value);
	to->where = text_of("%s, line %u", s->name, line_of(s));
	if (!to->value || !to->where)
		return -ENOMEM;
	drop_return(to->value);
	to->unsure |= is_evaluated(to->value);
	return 0;
}

static int take_array(struct parser *s)
{
	const char *open = s->p;

	skip_group(s, '(', ')');
	return s->p[-1] == ')' && s->p > open + 1 ? 0 :
	       note_command(s->c, s->name, "an array has no end");
}

static int statement_ends(struct parser *s)
{
	int err = 0;

	for (size_t i = 0; i < s->pending_count; i++) {
		/* Before a command they are set for that command alone. */
		if (!err && !s->command)
			err = set(s->c, s->name, &s->pending[i]);
		setting_free(&s->pending[i]);
	}
	s->pending_count = 0;
	if (!err && s->command)
		err = note_command(s->c, s->name, "it runs commands");
	s->command = false;
	s->conditional = false;
	return err;
}

/* Words in front of assignments that leave them assignments. */
static bool is_declaration(const struct word *w)
{
	return !w->quoted && (!strcmp(w->text, "export") ||
			      !strcmp(w->text, "readonly") ||
			      !strcmp(w->text, "declare"));
}

static int judge_word(struct parser *s)
{
	bool append = false;
	size_t n = s->command ? 0 : assigned_name(s->w.text, &append);

	if (n && *s->p == '(' && s->p[-1] == '=')
		return take_array(s);
	if (n)
		return keep_assignment(s, n, append);
	if (!s->command && (is_element(s->w.text) || is_declaration(&s->w)))
		return 0;
	s->command = true;
	return 0;
}

/* What stands between words. */
static int take_separator(struct parser *s)
{
	char c = *s->p++;
	bool twice = (c == '&' || c == '|') && *s->p == c;
	int err;

	if (c == '<' || c == '>' || c == '(' || c == ')') {
		s->command = true;
		/* The lines of a here-document look like anything. */
		if (c == '<' && *s->p == '<')
			s->p += strlen(s->p);
		return 0;
	}
	/* Behind one & or | the assignment is another process's. */
	if ((c == '&' || c == '|') && !twice)
		s->command = true;
	err = statement_ends(s);
	if (twice) {
		s->p++;
		s->conditional = true;
	}
	return err;
}

int dkms_config_parse(struct dkms_config *c, const char *name,
		      const char *text)
{
	struct parser s = { .c = c, .name = name, .text = text, .p = text };
	int err = 0;

	while (*s.p && !err) {
		if (*s.p == ' ' || *s.p == '\t' || *s.p == '\r') {
			s.p++;
		} else if (*s.p == '\\' && s.p[1] == '\n') {
			s.p += 2;
		} else if (*s.p == '#') {
			s.p += strcspn(s.p, "\n");
		} else if (strchr("\n;&|()<>", *s.p)) {
			err = take_separator(&s);
		} else {
			err = take_word(&s);
			if (!err)
				err = judge_word(&s);
		}
	}
	if (!err)
		err = statement_ends(&s);
	for (size_t i = 0; i < s.pending_count; i++)
		setting_free(&s.pending[i]);
	free(s.w.text);
	return err;
}

static int read_one(const struct host *h, struct dkms_config *c,
		    const char *rel)
{
	char *path = host_path(h, rel), *text;
	struct buf b = { 0 };
	int err = path ? file_read(path, FILE_MAX, &b) : -ENOMEM;

	free(path);
	if (err == -ENOMEM)
		return err;
	if (err == -ENOENT || err == -ENOTDIR)
		return 0;
	if (err)
		return note_command(c, rel, strerror(-err));
	if (b.len && memchr(b.data, '\0', b.len)) {
		buf_free(&b);
		return note_command(c, rel, "not a text file");
	}
	text = strndup((const char *)b.data, b.len);
	buf_free(&b);
	err = text ? dkms_config_parse(c, rel, text) : -ENOMEM;
	free(text);
	return err;
}

static int is_drop_in(const struct dirent *e)
{
	return e->d_name[0] != '.' && str_ends_with(e->d_name, ".conf");
}

static int read_drop_ins(const struct host *h, struct dkms_config *c)
{
	char *dir = host_path(h, CONF_DIR);
	struct dirent **names = NULL;
	int n, err = dir ? 0 : -ENOMEM;

	n = dir ? scandir(dir, &names, is_drop_in, dirent_by_bytes) : 0;
	if (n < 0 && errno == ENOMEM)
		err = -ENOMEM;
	else if (n < 0 && errno != ENOENT && errno != ENOTDIR)
		err = note_command(c, CONF_DIR, strerror(errno));
	for (int i = 0; i < n; i++) {
		char *rel = text_of(CONF_DIR "/%s", names[i]->d_name);

		if (!rel)
			err = -ENOMEM;
		else if (!err && i == DROP_INS_MAX)
			err = note_command(c, CONF_DIR, "it has too many files");
		else if (!err && i < DROP_INS_MAX)
			err = read_one(h, c, rel);
		free(rel);
		free(names[i]);
	}
	free(names);
	free(dir);
	return err;
}

int dkms_config_read(const struct host *h, struct dkms_config *out)
{
	int err;

	memset(out, 0, sizeof(*out));
	err = read_one(h, out, CONF);
	if (!err)
		err = read_drop_ins(h, out);
	if (err)
		dkms_config_free(out);
	return err;
}

void dkms_config_free(struct dkms_config *c)
{
	for (size_t i = 0; i < c->count; i++)
		setting_free(&c->list[i]);
	free(c->list);
	free(c->gap);
	memset(c, 0, sizeof(*c));
}

const struct dkms_setting *dkms_config_find(const struct dkms_config *c,
					    const char *key)
{
	return find(c, key);
}

const char *dkms_config_get(const struct dkms_config *c, const char *key,
			    bool *sure)
{
	const struct dkms_setting *s = find(c, key);

	*sure = s ? !s->unsure : !c->gap;
	return s && *s->value ? s->value : NULL;
}
