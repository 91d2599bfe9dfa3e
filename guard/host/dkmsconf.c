// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Follows a dkms.conf for one kernel. Each command is taken apart and "run" at
 * once in one of three modes: for certain, perhaps (below a condition that
 * cannot be decided here) or not at all. There are no jumps backwards, so the
 * time is bounded by the size of the file.
 */
#include "guard/host/dkmsconf.h"

#include <ctype.h>
#include <errno.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#include "guard/base/util.h"
#include "guard/host/kernels.h"

#define FILE_MAX (256u << 10)
#define CONFIG_MAX (4u << 20)
#define VALUE_MAX 8192		/* a value that is longer is not known */
#define VARIABLES_MAX 8192
#define INDEX_MAX 4096
#define WORDS_MAX 64
#define DEPTH_MAX 40
#define PATTERN_MAX 512

enum mode { SKIP, MAYBE, RUN };
enum truth { NO, UNSURE, YES };

struct var {
	char *name;
	long index;
	char *value;		/* NULL: not known */
	bool maybe;
};

struct word {
	char *text;		/* expanded; NULL: not known */
	bool maybe;		/* made of a variable that is not certain */
};

struct shell {
	const struct dkmsconf_kernel *k;
	const char *name;
	const char *p, *end;
	unsigned int line, not_followed, depth;
	struct var *vars;
	size_t count;
	char piped[1024];	/* what echo wrote in this pipeline */
	bool config_read;	/* ". .config" was met */
	bool ended;		/* exit, or something that cannot be parsed */
	int err;
};

static enum truth run_list(struct shell *s, enum mode m);

static void not_followed(struct shell *s)
{
	if (!s->not_followed)
		s->not_followed = s->line ? s->line : 1;
}

/* ---- the kernel's configuration ---- */

int dkmsconf_kernel_read(const struct host *h, const char *release,
			 struct dkmsconf_kernel *out)
{
	static const char *const where[] = {
		"/lib/modules/%s/build/.config", "/boot/config-%s",
		"/lib/modules/%s/config",
	};
	struct utsname uts;

	memset(out, 0, sizeof(*out));
	out->h = h;
	out->release = release;
	for (size_t i = 0; i < ARRAY_SIZE(where) && !out->config; i++) {
		struct buf b = { 0 };
		char *rel, *path;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		rel = text_of(where[i], release);
#pragma GCC diagnostic pop
		path = rel ? host_path(h, rel) : NULL;
		free(rel);
		if (!path)
			return -ENOMEM;
		if (!file_read(path, CONFIG_MAX, &b))
			out->config = strndup((char *)b.data, b.len);
		buf_free(&b);
		free(path);
	}
	if (out->config && strstr(out->config, "\nCONFIG_X86_64=y"))
		strcpy(out->arch, "x86_64");
	else if (out->config && strstr(out->config, "\nCONFIG_ARM64=y"))
		strcpy(out->arch, "aarch64");
	else if (uname(&uts) == 0)
		snprintf(out->arch, sizeof(out->arch), "%.31s", uts.machine);
	return 0;
}

void dkmsconf_kernel_free(struct dkmsconf_kernel *k)
{
	free(k->config);
	memset(k, 0, sizeof(*k));
}

/* The value of a line NAME=value, malloc'ed; NULL: there is none. */
static char *config_value(const struct dkmsconf_kernel *k, const char *name)
{
	size_t n = strlen(name);
	const char *p = k->config;

	while (p && (p = strstr(p, name))) {
		if ((p == k->config || p[-1] == '\n') && p[n] == '=') {
			const char *value = p + n + 1;
			size_t len = strcspn(value, "\n");

			if (len >= 2 && *value == '"' && value[len - 1] == '"')
				return strndup(value + 1, len - 2);
			return strndup(value, len);
		}
		p += n;
	}
	return NULL;
}

static bool config_has(const struct dkmsconf_kernel *k, const char *name)
{
	char *value = config_value(k, name);
	bool has = value && (*value == 'y' || *value == 'm');

	free(value);
	return has;
}

/* Is it one of the names under which dkms finds the configuration? */
static bool is_config(const char *path)
{
	return str_ends_with(path, "/.config") ||
	       !strncmp(path, "/boot/config-", 13);
}

/* Patterns that the library could take very long for are not tried. */
static enum truth matches(const char *pattern, const char *text, int flags)
{
	regex_t re;
	int ret;

	if (strlen(pattern) > PATTERN_MAX || strpbrk(pattern, "{") ||
	    strstr(pattern, "\\1") || regcomp(&re, pattern, flags | REG_NOSUB))
		return UNSURE;
	ret = regexec(&re, text, 0, NULL, 0);
	regfree(&re);
	return ret == 0 ? YES : NO;
}

/* ---- variables ---- */

static struct var *find(const struct shell *s, const char *name, long index)
{
	for (size_t i = s->count; i--;)
		if (s->vars[i].index == index &&
		    !strcmp(s->vars[i].name, name))
			return &s->vars[i];
	return NULL;
}

/* Takes over value. */
static void set(struct shell *s, enum mode m, const char *name, long index,
		char *value, bool maybe)
{
	struct var *v;

	if (m == SKIP || s->err) {
		free(value);
		return;
	}
	if (!value)
		not_followed(s);
	v = find(s, name, index);
	if (!v && s->count < VARIABLES_MAX) {
		if (!(s->count & (s->count - 1))) {
			size_t room = s->count ? s->count * 2 : 1;

			v = realloc(s->vars, room * sizeof(*v));
			if (!v) {
				s->err = -ENOMEM;
				free(value);
				return;
			}
			s->vars = v;
		}
		v = &s->vars[s->count];
		memset(v, 0, sizeof(*v));
		v->name = strdup(name);
		if (!v->name) {
			s->err = -ENOMEM;
			free(value);
			return;
		}
		v->index = index;
		s->count++;
	}
	if (!v) {
		not_followed(s);
		free(value);
		return;
	}
	free(v->value);
	v->value = value;
	v->maybe = maybe || m == MAYBE;
}

/* An unset variable is empty, as in a shell. Malloc'ed; NULL: not known. */
static char *get(struct shell *s, const char *name, long index, bool *maybe)
{
	const struct var *v = find(s, name, index);

	if (v) {
		*maybe |= v->maybe;
		return v->value ? strdup(v->value) : NULL;
	}
	if (!strncmp(name, "CONFIG_", 7) && s->config_read) {
		char *value = config_value(s->k, name);

		return value ? value : strdup("");
	}
	if (!strcmp(name, "kernelver"))
		return strdup(s->k->release);
	if (!strcmp(name, "arch"))
		return strdup(s->k->arch);
	if (!strcmp(name, "kernel_source_dir"))
		return text_of("/lib/modules/%s/build", s->k->release);
	if (!strcmp(name, "dkms_tree"))
		return strdup("/var/lib/dkms");
	if (!strcmp(name, "source_tree"))
		return strdup("/usr/src");
	if (!strcmp(name, "module"))
		return strdup(s->name);
	/* What dkms's own shell or the environment has. */
	if (!strcmp(name, "BASH_SOURCE") || !strcmp(name, "PATH") ||
	    !strcmp(name, "module_version") || !strcmp(name, "HOME"))
		return NULL;
	return strdup("");
}

/* ---- arithmetic: sums of numbers and variables ---- */

static bool sum(struct shell *s, const char *text, long *out)
{
	long total = 0;
	int sign = 1;

	for (const char *p = text; *p;) {
		char name[64], *end;
		long n = 0;

		if (isspace((unsigned char)*p)) {
			p++;
			continue;
		}
		if (*p == '$' || *p == '"') {
			p++;
			continue;
		}
		if (*p == '+' || *p == '-') {
			sign = *p++ == '-' ? -1 : 1;
			continue;
		}
		if (isdigit((unsigned char)*p)) {
			n = strtol(p, &end, 10);
			p = end;
		} else if (isalpha((unsigned char)*p) || *p == '_') {
			size_t len = 0;
			bool maybe = false;
			char *value;

			while ((isalnum((unsigned char)p[len]) ||
				p[len] == '_') && len < sizeof(name) - 1)
				len++;
			memcpy(name, p, len);
			name[len] = '\0';
			p += len;
			value = get(s, name, 0, &maybe);
			n = value ? strtol(value, &end, 10) : 0;
			if (!value || *end) {
				free(value);
				return false;
			}
			free(value);
		} else {
			return false;
		}
		if (n < -INDEX_MAX * 1000L || n > INDEX_MAX * 1000L ||
		    __builtin_add_overflow(total, sign * n, &total))
			return false;
		sign = 1;
	}
	*out = total;
	return true;
}

/* ---- words ---- */

/* Behind what a quote, substitution or bracket at p encloses; NULL: no end. */
static const char *skip_enclosed(const char *p, const char *end, int depth);

static const char *skip_until(const char *p, const char *end, char close,
			      int depth)
{
	while (p && p < end) {
		if (*p == close)
			return p + 1;
		if (close == '\'') {
			p++;
			continue;
		}
		if (*p == '\\' && p + 1 < end)
			p += 2;
		else if (*p == '`' || (*p == '"' && close != '"') ||
			 (*p == '\'' && close == ')') || *p == '$')
			p = skip_enclosed(p, end, depth + 1);
		else if (*p == '(' && close == ')')
			p = skip_until(p + 1, end, ')', depth + 1);
		else
			p++;
		if (depth > DEPTH_MAX)
			return NULL;
	}
	return NULL;
}

static const char *skip_enclosed(const char *p, const char *end, int depth)
{
	if (depth > DEPTH_MAX)
		return NULL;
	switch (*p) {
	case '\'':
	case '"':
	case '`':
		return skip_until(p + 1, end, *p, depth);
	case '$':
		if (p + 1 < end && p[1] == '(')
			return skip_until(p + 2, end, ')', depth);
		if (p + 1 < end && p[1] == '{')
			return skip_until(p + 2, end, '}', depth);
		return p + 1;
	default:
		return p + 1;
	}
}

struct out {
	char text[VALUE_MAX];
	size_t len;
	bool unknown, maybe;
};

static void put(struct out *o, const char *text, size_t len)
{
	if (o->len + len >= sizeof(o->text)) {
		o->unknown = true;
		return;
	}
	memcpy(o->text + o->len, text, len);
	o->len += len;
	o->text[o->len] = '\0';
}

static void expand(struct shell *s, const char *p, const char *end,
		   struct out *o, bool quoted);

static void put_value(struct shell *s, const char *name, long index,
		      struct out *o, const char *or_else, const char *end)
{
	char *value = get(s, name, index, &o->maybe);

	if (value && !*value && or_else)
		expand(s, or_else, end, o, true);
	else if (value)
		put(o, value, strlen(value));
	else
		o->unknown = true;
	free(value);
}

/* ${...}: a name, an element, or a default; other forms are not known. */
static void expand_braces(struct shell *s, const char *p, const char *end,
			  struct out *o)
{
	char name[64];
	size_t len = 0;
	long index = 0;

	while (p + len < end && len < sizeof(name) - 1 &&
	       (isalnum((unsigned char)p[len]) || p[len] == '_'))
		len++;
	memcpy(name, p, len);
	name[len] = '\0';
	p += len;
	if (len && p < end && *p == '[') {
		const char *close = memchr(p, ']', end - p);
		char *text = close ? strndup(p + 1, close - p - 1) : NULL;
		bool good = text && sum(s, text, &index);

		free(text);
		if (!good) {
			o->unknown = true;
			return;
		}
		p = close + 1;
	}
	if (!len)
		o->unknown = true;
	else if (p == end)
		put_value(s, name, index, o, NULL, NULL);
	else if (*p == ':' && p + 1 < end && p[1] == '-')
		put_value(s, name, index, o, p + 2, end);
	else if (*p == '-')
		put_value(s, name, index, o, p + 1, end);
	else
		o->unknown = true;
}

/* Behind the $ at p. */
static const char *expand_dollar(struct shell *s, const char *p,
				 const char *end, struct out *o)
{
	const char *after;
	size_t len = 0;
	char name[64];
	long n;

	if (p + 2 < end && p[1] == '(' && p[2] == '(') {
		char *text;
		bool good;

		after = skip_enclosed(p, end, 0);
		if (!after || after - p < 5 || after[-2] != ')') {
			o->unknown = true;
			return after ? after : end;
		}
		text = strndup(p + 3, after - p - 5);
		good = text && sum(s, text, &n);
		free(text);
		if (good) {
			char number[24];

			put(o, number, snprintf(number, sizeof(number), "%ld",
						n));
		} else {
			o->unknown = true;
		}
		return after;
	}
	if (p + 1 < end && (p[1] == '(' || p[1] == '{')) {
		after = skip_enclosed(p, end, 0);
		if (!after || p[1] == '(')
			o->unknown = true;
		else
			expand_braces(s, p + 2, after - 1, o);
		return after ? after : end;
	}
	p++;
	while (p + len < end && len < sizeof(name) - 1 &&
	       (isalnum((unsigned char)p[len]) || p[len] == '_'))
		len++;
	if (!len) {
		/* $? and the like; a $ before a quote or an end is itself. */
		if (p < end && strchr("?#@*!$", *p)) {
			o->unknown = true;
			return p + 1;
		}
		put(o, "$", 1);
		return p;
	}
	memcpy(name, p, len);
	name[len] = '\0';
	if (isdigit((unsigned char)*name))
		o->unknown = true;
	else
		put_value(s, name, 0, o, NULL, NULL);
	return p + len;
}

static void expand(struct shell *s, const char *p, const char *end,
		   struct out *o, bool quoted)
{
	if (++s->depth > DEPTH_MAX)
		o->unknown = true;
	while (p < end && !o->unknown) {
		if (*p == '\\' && p + 1 < end) {
			if (p[1] != '\n') {
				/* In quotes only these lose it. */
				bool keeps = quoted && !strchr("$`\"\\", p[1]);

				put(o, p + !keeps, 1 + keeps);
			}
			p += 2;
		} else if (*p == '\'' && !quoted) {
			const char *close = memchr(p + 1, '\'', end - p - 1);

			close = close ? close : end;
			put(o, p + 1, close - p - 1);
			p = close < end ? close + 1 : end;
		} else if (*p == '"' && !quoted) {
			const char *after = skip_enclosed(p, end, 0);

			after = after ? after : end + 1;
			expand(s, p + 1, after - 1, o, true);
			p = after > end ? end : after;
		} else if (*p == '`') {
			o->unknown = true;
		} else if (*p == '$') {
			p = expand_dollar(s, p, end, o);
		} else {
			put(o, p++, 1);
		}
	}
	s->depth--;
}

static struct word expanded(struct shell *s, const char *p, const char *end)
{
	struct out *o = malloc(sizeof(*o));
	struct word w = { 0 };

	if (!o) {
		s->err = -ENOMEM;
		return w;
	}
	o->len = 0;
	o->text[0] = '\0';
	o->unknown = o->maybe = false;
	expand(s, p, end, o, false);
	w.text = o->unknown ? NULL : strdup(o->text);
	w.maybe = o->maybe;
	free(o);
	return w;
}

static void skip_blanks(struct shell *s)
{
	while (s->p < s->end) {
		if (*s->p == ' ' || *s->p == '\t' || *s->p == '\r') {
			s->p++;
		} else if (*s->p == '\\' && s->p + 1 < s->end &&
			   s->p[1] == '\n') {
			s->p += 2;
			s->line++;
		} else if (*s->p == '#') {
			while (s->p < s->end && *s->p != '\n')
				s->p++;
		} else {
			break;
		}
	}
}

static void skip_newlines(struct shell *s)
{
	for (;;) {
		skip_blanks(s);
		if (s->p >= s->end || (*s->p != '\n' && *s->p != ';'))
			return;
		/* The end of a case. */
		if (*s->p == ';' && s->p + 1 < s->end && s->p[1] == ';')
			return;
		s->line += *s->p++ == '\n';
	}
}

static bool at(struct shell *s, const char *operator)
{
	size_t n = strlen(operator);

	skip_blanks(s);
	return (size_t)(s->end - s->p) >= n && !memcmp(s->p, operator, n);
}

/* A reserved word, followed by the end of the word. */
static bool at_word(struct shell *s, const char *word)
{
	size_t n = strlen(word);

	return at(s, word) && (s->p + n == s->end ||
			       strchr(" \t\r\n;()&|", s->p[n]));
}

static bool take_word(struct shell *s, const char *word)
{
	if (!at_word(s, word))
		return false;
	s->p += strlen(word);
	return true;
}

/* The end of the word at p; NULL: a quote has none. */
static const char *word_end(struct shell *s, const char *p)
{
	while (p && p < s->end && !strchr(" \t\r\n;|&()<>", *p)) {
		if (*p == '\\' && p + 1 < s->end)
			p += 2;
		else
			p = skip_enclosed(p, s->end, 0);
	}
	return p;
}

static void give_up(struct shell *s)
{
	not_followed(s);
	s->ended = true;
}

static void count_lines(struct shell *s, const char *p, const char *end)
{
	for (; p < end; p++)
		s->line += *p == '\n';
}

/* ---- tests ---- */

static enum truth turned(enum truth t)
{
	return t == YES ? NO : t == NO ? YES : UNSURE;
}

static enum truth file_is_there(struct shell *s, const char *path)
{
	if (is_config(path))
		return s->k->config ? YES : NO;
	if (*path != '/' || strstr(path, "/../"))
		return UNSURE;
	return host_has(s->k->h, path) ? YES : NO;
}

static enum truth test_unary(struct shell *s, const char *op, const char *w)
{
	if (!strcmp(op, "-z"))
		return *w ? NO : YES;
	if (!strcmp(op, "-n"))
		return *w ? YES : NO;
	if (!strcmp(op, "-e") || !strcmp(op, "-f") || !strcmp(op, "-d") ||
	    !strcmp(op, "-r") || !strcmp(op, "-s"))
		return file_is_there(s, w);
	return UNSURE;
}

static enum truth test_binary(const char *a, const char *op, const char *b)
{
	static const char *const numeric[] = {
		"-eq", "-ne", "-lt", "-le", "-gt", "-ge",
	};
	char *x, *y;

	if (!strcmp(op, "=") || !strcmp(op, "=="))
		return strpbrk(b, "*?[") ? UNSURE : strcmp(a, b) ? NO : YES;
	if (!strcmp(op, "!="))
		return strpbrk(b, "*?[") ? UNSURE : strcmp(a, b) ? YES : NO;
	if (!strcmp(op, "=~"))
		return matches(b, a, REG_EXTENDED);
	for (size_t i = 0; i < ARRAY_SIZE(numeric); i++) {
		long m = strtol(a, &x, 10), n = strtol(b, &y, 10);
		bool yes[] = { m == n, m != n, m < n, m <= n, m > n, m >= n };

		if (strcmp(op, numeric[i]))
			continue;
		return !*a || !*b || *x || *y ? UNSURE : yes[i] ? YES : NO;
	}
	return UNSURE;
}

/* One comparison without -a, -o and "!". */
static enum truth test_simple(struct shell *s, const struct word *w, size_t n)
{
	bool maybe = false;
	enum truth t = UNSURE;

	for (size_t i = 0; i < n; i++) {
		if (!w[i].text)
			return UNSURE;
		maybe |= w[i].maybe;
	}
	if (n == 1)
		t = *w[0].text ? YES : NO;
	else if (n == 2)
		t = test_unary(s, w[0].text, w[1].text);
	else if (n == 3)
		t = test_binary(w[0].text, w[1].text, w[2].text);
	else if (!n)
		t = NO;
	return maybe ? UNSURE : t;
}

static bool is_text(const struct word *w, const char *a, const char *b)
{
	return w->text && (!strcmp(w->text, a) || !strcmp(w->text, b));
}

/* Words with -a and -o between them, from left to right. */
static enum truth test_words(struct shell *s, const struct word *w, size_t n)
{
	enum truth all = UNSURE;
	char joint = '\0';

	for (size_t from = 0, i = 0; i <= n; i++) {
		bool and = i < n && is_text(&w[i], "-a", "&&");
		bool or = i < n && is_text(&w[i], "-o", "||"), not = false;
		enum truth one;

		if (i < n && !and && !or)
			continue;
		while (from < i && w[from].text && !strcmp(w[from].text, "!")) {
			not = !not;
			from++;
		}
		one = test_simple(s, w + from, i - from);
		one = not ? turned(one) : one;
		if (!joint)
			all = one;
		else if (joint == 'a')
			all = one < all ? one : all;
		else
			all = one > all ? one : all;
		joint = and ? 'a' : 'o';
		from = i + 1;
	}
	return all;
}

/* ---- commands ---- */

/* "grep -q PATTERN .config", of which several use is made. */
static enum truth run_grep(struct shell *s, const struct word *w, size_t n)
{
	int flags = REG_NEWLINE;
	bool quiet = false;
	size_t i = 1;

	for (; i < n && w[i].text && w[i].text[0] == '-'; i++) {
		if (!strspn(w[i].text + 1, "qEs"))
			return UNSURE;
		quiet |= strchr(w[i].text, 'q') != NULL;
		flags |= strchr(w[i].text, 'E') ? REG_EXTENDED : 0;
	}
	if (!quiet || n - i != 2 || !w[i].text || !w[i + 1].text ||
	    !is_config(w[i + 1].text))
		return UNSURE;
	return s->k->config ? matches(w[i].text, s->k->config, flags) : NO;
}

/* "sort -V -C": are the lines before it in the order of versions? */
static enum truth run_sort(struct shell *s, const char *in,
			   const struct word *w, size_t n)
{
	bool version = false, check = false;
	char *copy, *rest, *last = NULL, *line;
	enum truth sorted = YES;

	for (size_t i = 1; i < n; i++) {
		if (!w[i].text || w[i].text[0] != '-' ||
		    w[i].text[strspn(w[i].text, "-VC")])
			return UNSURE;
		version |= strchr(w[i].text, 'V') != NULL;
		check |= strchr(w[i].text, 'C') != NULL;
	}
	if (!version || !check || !*in)
		return UNSURE;
	copy = rest = strdup(in);
	if (!copy) {
		s->err = -ENOMEM;
		return UNSURE;
	}
	while ((line = strsep(&rest, "\n")) && *line) {
		if (last && release_compare(last, line) > 0)
			sorted = NO;
		last = line;
	}
	free(copy);
	return sorted;
}

static void run_echo(struct shell *s, const struct word *w, size_t n)
{
	for (size_t i = 1; i < n; i++) {
		size_t len = strlen(s->piped);

		snprintf(s->piped + len, sizeof(s->piped) - len, "%s%s",
			 w[i].text ? w[i].text : "?", i + 1 < n ? " " : "\n");
	}
}

static enum truth run_source(struct shell *s, enum mode m,
			     const struct word *w, size_t n)
{
	if (n > 1 && w[1].text && is_config(w[1].text)) {
		if (m == RUN && s->k->config)
			s->config_read = true;
		else
			not_followed(s);
		return s->k->config ? YES : NO;
	}
	not_followed(s);
	return UNSURE;
}

/* NAME=VALUE, NAME[INDEX]=VALUE, NAME+=VALUE; p..end is the whole word. */
static bool assign(struct shell *s, enum mode m, const char *p, const char *end)
{
	size_t len = 0;
	char name[64];
	bool more = false;
	long index = 0;
	struct word w;

	while (p + len < end && len < sizeof(name) - 1 &&
	       (isalnum((unsigned char)p[len]) || p[len] == '_'))
		len++;
	if (!len || isdigit((unsigned char)*p))
		return false;
	memcpy(name, p, len);
	name[len] = '\0';
	p += len;
	if (p < end && *p == '[') {
		const char *close = p + 1;

		while (close && close < end && *close != ']')
			close = *close == '$' ? skip_enclosed(close, end, 0) :
						close + 1;
		if (!close || close >= end || close + 1 >= end ||
		    (close[1] != '=' && close[1] != '+'))
			return false;
		w = expanded(s, p + 1, close);
		if (!w.text || !sum(s, w.text, &index) || index < 0 ||
		    index > INDEX_MAX) {
			if (m != SKIP)
				not_followed(s);
			index = -1;
		}
		free(w.text);
		p = close + 1;
	}
	if (p < end && *p == '+') {
		more = true;
		p++;
	}
	if (p >= end || *p != '=')
		return false;
	w = expanded(s, p + 1, end);
	if (more && w.text) {
		bool maybe = false;
		char *before = get(s, name, index, &maybe), *both;

		both = before && strlen(before) + strlen(w.text) < VALUE_MAX ?
		       text_of("%s%s", before, w.text) : NULL;
		free(before);
		free(w.text);
		w.text = both;
		w.maybe |= maybe;
	}
	if (index < 0)
		free(w.text);
	else
		set(s, m, name, index, w.text, w.maybe);
	return true;
}

/* NAME=(A B C), or NAME+=(A B C) which adds to it, behind the bracket. */
static void assign_array(struct shell *s, enum mode m, const char *name, bool more)
{
	long index = 0;

	for (size_t i = 0; more && i < s->count; i++)
		if (s->vars[i].index >= index && !strcmp(s->vars[i].name, name))
			index = s->vars[i].index + 1;
	for (;;) {
		const char *end;
		struct word w;

		skip_newlines(s);
		if (at(s, ")")) {
			s->p++;
			return;
		}
		end = s->p < s->end ? word_end(s, s->p) : NULL;
		if (!end || end == s->p) {
			give_up(s);
			return;
		}
		w = expanded(s, s->p, end);
		count_lines(s, s->p, end);
		s->p = end;
		if (index > INDEX_MAX)
			free(w.text);
		else
			set(s, m, name, index++, w.text, w.maybe);
	}
}

static enum truth run_words(struct shell *s, enum mode m, const char *in,
			    struct word *w, size_t n)
{
	static const char *const harmless[] = {
		"pushd", "popd", "cd", "shopt", "set", "unset", "printf",
	};
	const char *name = w[0].text;

	if (m == SKIP)
		return UNSURE;
	if (!name) {
		not_followed(s);
		return UNSURE;
	}
	if ((!strcmp(name, "[") || !strcmp(name, "[[")) && n > 1)
		return test_words(s, w + 1, n - 2);
	if (!strcmp(name, "test"))
		return test_words(s, w + 1, n - 1);
	if (!strcmp(name, ".") || !strcmp(name, "source"))
		return run_source(s, m, w, n);
	if (!strcmp(name, "echo")) {
		run_echo(s, w, n);
		return YES;
	}
	if (!strcmp(name, "true") || !strcmp(name, ":"))
		return YES;
	if (!strcmp(name, "false"))
		return NO;
	if (!strcmp(name, "grep"))
		return run_grep(s, w, n);
	if (!strcmp(name, "sort"))
		return run_sort(s, in, w, n);
	if (!strcmp(name, "export") || !strcmp(name, "declare") ||
	    !strcmp(name, "local") || !strcmp(name, "readonly"))
		return YES;	/* its assignments are made already */
	if (!strcmp(name, "exit") || !strcmp(name, "return")) {
		if (m == RUN)
			s->ended = true;
		not_followed(s);
		return YES;
	}
	for (size_t i = 0; i < ARRAY_SIZE(harmless); i++)
		if (!strcmp(name, harmless[i]))
			return YES;
	/* A program or function: it cannot be known what it sets. */
	not_followed(s);
	return UNSURE;
}

static bool is_declaration(const struct word *w)
{
	return w->text && (!strcmp(w->text, "export") ||
			   !strcmp(w->text, "declare") ||
			   !strcmp(w->text, "local") ||
			   !strcmp(w->text, "readonly"));
}

/* Skips "2>/dev/null" and the like; false: none is here. */
static bool take_redirection(struct shell *s)
{
	const char *p = s->p, *end;

	while (p < s->end && isdigit((unsigned char)*p))
		p++;
	if (p >= s->end || (*p != '<' && *p != '>'))
		return false;
	if (p + 1 < s->end && p[0] == '<' && p[1] == '<') {
		give_up(s);	/* the text that follows is no command */
		return true;
	}
	while (p < s->end && strchr("<>&|", *p))
		p++;
	s->p = p;
	skip_blanks(s);
	end = word_end(s, s->p);
	if (end)
		s->p = end;
	else
		give_up(s);
	return true;
}

/* Is a name followed by "=(" or "+=(" here? It is passed, and put into name. */
static bool take_array(struct shell *s, char *name, size_t room, bool *more)
{
	size_t len = 0;
	const char *p;

	while (s->p + len < s->end && len < room - 1 &&
	       (isalnum((unsigned char)s->p[len]) || s->p[len] == '_'))
		len++;
	p = s->p + len;
	*more = len && p < s->end && *p == '+';
	p += *more;
	if (!len || s->end - p < 2 || p[0] != '=' || p[1] != '(')
		return false;
	memcpy(name, s->p, len);
	name[len] = '\0';
	s->p = p + 2;
	return true;
}

static enum truth run_simple(struct shell *s, enum mode m, const char *in)
{
	struct word w[WORDS_MAX];
	const char *start = s->p;
	size_t n = 0;
	enum truth t = YES;
	bool brackets = at_word(s, "[["), more;
	char name[64];

	while (!s->ended && !s->err) {
		const char *end;

		skip_blanks(s);
		if (s->p >= s->end)
			break;
		if (*s->p == '\n' || *s->p == ';' || *s->p == ')')
			break;
		if (brackets && (at(s, "&&") || at(s, "||"))) {
			end = s->p + 2;
		} else if (*s->p == '|' || *s->p == '&') {
			break;
		} else if (*s->p == '(') {
			/* NAME() begins a function; "((" a sum. */
			give_up(s);
			break;
		} else if (!brackets && take_redirection(s)) {
			continue;
		} else if (!n && take_array(s, name, sizeof(name), &more)) {
			assign_array(s, m, name, more);
			continue;
		} else {
			end = word_end(s, s->p);
		}
		if (!end || end == s->p) {
			give_up(s);
			break;
		}
		if ((!n || (n && is_declaration(&w[0]))) &&
		    assign(s, m, s->p, end)) {
			count_lines(s, s->p, end);
			s->p = end;
			continue;
		}
		if (n == WORDS_MAX) {
			give_up(s);
			break;
		}
		w[n++] = expanded(s, s->p, end);
		count_lines(s, s->p, end);
		s->p = end;
		if (brackets && w[n - 1].text && !strcmp(w[n - 1].text, "]]"))
			brackets = false;
	}
	if (n && !s->ended)
		t = run_words(s, m, in, w, n);
	for (size_t i = 0; i < n; i++)
		free(w[i].text);
	if (s->p == start && !s->ended)
		give_up(s);	/* never stands still */
	return t;
}

static enum mode mode_if(enum mode m, enum truth t)
{
	if (m == SKIP || t == NO)
		return SKIP;
	return t == UNSURE ? MAYBE : m;
}

static void expect(struct shell *s, const char *word)
{
	skip_newlines(s);
	if (!s->ended && !take_word(s, word))
		give_up(s);
}

static enum truth run_if(struct shell *s, enum mode m)
{
	enum truth taken = NO;

	for (;;) {
		enum mode open = mode_if(m, turned(taken)), body;
		enum truth t = run_list(s, open);

		expect(s, "then");
		body = open == SKIP ? SKIP : mode_if(open, t);
		run_list(s, body);
		if (open != SKIP && t > taken)
			taken = t;
		skip_newlines(s);
		if (s->ended || take_word(s, "fi"))
			break;
		if (take_word(s, "elif"))
			continue;
		if (take_word(s, "else")) {
			run_list(s, mode_if(m, turned(taken)));
			expect(s, "fi");
			break;
		}
		give_up(s);
		break;
	}
	return UNSURE;
}

/* One pattern of a case; only "*" and plain text are decided. */
static enum truth case_matches(const struct word *subject, const char *p,
			       size_t len)
{
	char pattern[128];
	size_t n;

	if (len == 1 && *p == '*')
		return YES;
	if (!subject->text || subject->maybe || len >= sizeof(pattern))
		return UNSURE;
	memcpy(pattern, p, len);
	pattern[len] = '\0';
	if (!strpbrk(pattern, "*?[\\$`\"'"))
		return strcmp(subject->text, pattern) ? NO : YES;
	n = strcspn(pattern, "*?[\\$`\"'");
	if (pattern[n] == '*' && !pattern[n + 1])
		return strncmp(subject->text, pattern, n) ? NO : YES;
	return UNSURE;
}

static enum truth run_case(struct shell *s, enum mode m)
{
	const char *end;
	struct word subject;
	enum truth taken = NO;

	skip_blanks(s);
	end = word_end(s, s->p);
	if (!end) {
		give_up(s);
		return UNSURE;
	}
	subject = expanded(s, s->p, end);
	s->p = end;
	expect(s, "in");
	while (!s->ended && !s->err) {
		enum truth t = NO, one;
		enum mode open;

		skip_newlines(s);
		if (take_word(s, "esac"))
			break;
		if (at(s, "("))
			s->p++;
		do {
			skip_blanks(s);
			end = word_end(s, s->p);
			if (!end || end == s->p || s->p >= s->end) {
				give_up(s);
				break;
			}
			one = case_matches(&subject, s->p, end - s->p);
			t = one > t ? one : t;
			s->p = end;
		} while (at(s, "|") && s->p++);
		if (s->ended || !at(s, ")")) {
			give_up(s);
			break;
		}
		s->p++;
		open = mode_if(m, turned(taken));
		run_list(s, mode_if(open, t));
		taken = t > taken ? t : taken;
		skip_newlines(s);
		if (at(s, ";;"))
			s->p += 2;
	}
	free(subject.text);
	return UNSURE;
}

/* A loop is gone through once, perhaps. */
static enum truth run_loop(struct shell *s, enum mode m, bool named)
{
	char name[64];
	const char *end;

	if (m != SKIP)
		not_followed(s);
	if (named) {
		skip_blanks(s);
		end = word_end(s, s->p);
		if (!end || end - s->p >= (ptrdiff_t)sizeof(name)) {
			give_up(s);
			return UNSURE;
		}
		memcpy(name, s->p, end - s->p);
		name[end - s->p] = '\0';
		s->p = end;
		set(s, mode_if(m, UNSURE), name, 0, NULL, true);
		while (!s->ended && s->p < s->end && *s->p != '\n' &&
		       *s->p != ';') {
			end = word_end(s, s->p);
			s->p = end && end > s->p ? end : s->p + 1;
		}
	} else {
		run_list(s, mode_if(m, UNSURE));
	}
	expect(s, "do");
	run_list(s, mode_if(m, UNSURE));
	expect(s, "done");
	return UNSURE;
}

static enum truth run_command(struct shell *s, enum mode m, const char *in)
{
	enum truth t = UNSURE;

	if (s->depth > DEPTH_MAX) {
		give_up(s);
		return UNSURE;
	}
	s->depth++;
	if (at(s, "((")) {
		give_up(s);
	} else if (at(s, "(")) {
		/* A subshell: its variables do not come back, its answer does. */
		s->p++;
		t = run_list(s, m);
		skip_newlines(s);
		if (at(s, ")"))
			s->p++;
		else
			give_up(s);
	} else if (take_word(s, "{")) {
		t = run_list(s, m);
		expect(s, "}");
	} else if (take_word(s, "if")) {
		t = run_if(s, m);
	} else if (take_word(s, "case")) {
		t = run_case(s, m);
	} else if (take_word(s, "for")) {
		t = run_loop(s, m, true);
	} else if (take_word(s, "while") || take_word(s, "until")) {
		t = run_loop(s, m, false);
	} else if (at_word(s, "function")) {
		give_up(s);
	} else {
		t = run_simple(s, m, in);
	}
	while (!s->ended && s->p < s->end && (skip_blanks(s), s->p < s->end) &&
	       take_redirection(s))
		;
	s->depth--;
	return t;
}

static enum truth run_pipeline(struct shell *s, enum mode m)
{
	char in[sizeof(s->piped)] = "", before[sizeof(s->piped)];
	bool not = false;
	enum truth t;

	strcpy(before, s->piped);
	while (take_word(s, "!"))
		not = !not;
	for (;;) {
		s->piped[0] = '\0';
		t = run_command(s, m, in);
		if (s->ended || !at(s, "|") || at(s, "||"))
			break;
		s->p++;
		strcpy(in, s->piped);
		skip_newlines(s);
	}
	/* A group writes what its commands write, one after the other. */
	memmove(s->piped + strlen(before), s->piped,
		strnlen(s->piped, sizeof(s->piped) - strlen(before) - 1) + 1);
	memcpy(s->piped, before, strlen(before));
	s->piped[sizeof(s->piped) - 1] = '\0';
	return not ? turned(t) : t;
}

static enum truth run_and_or(struct shell *s, enum mode m)
{
	enum truth t = run_pipeline(s, m);

	while (!s->ended && !s->err) {
		bool and = at(s, "&&"), or = at(s, "||");
		enum mode right;
		enum truth one;

		if (!and && !or)
			break;
		s->p += 2;
		skip_newlines(s);
		right = mode_if(m, and ? t : turned(t));
		one = run_pipeline(s, right);
		if (right == SKIP)
			continue;
		if (and)
			t = one < t ? one : t;
		else
			t = one > t ? one : t;
	}
	return t;
}

/* Until a word that ends a list; nothing of that is taken. */
static enum truth run_list(struct shell *s, enum mode m)
{
	static const char *const enders[] = {
		"then", "elif", "else", "fi", "do", "done", "esac", "}",
	};
	enum truth t = YES;

	while (!s->ended && !s->err) {
		skip_newlines(s);
		if (s->p >= s->end || at(s, ")") || at(s, ";;"))
			return t;
		for (size_t i = 0; i < ARRAY_SIZE(enders); i++)
			if (at_word(s, enders[i]))
				return t;
		t = run_and_or(s, m);
		if (at(s, "&") && !at(s, "&&"))
			s->p++;
	}
	return t;
}

/* ---- what comes out ---- */

void dkmsconf_free(struct dkmsconf *c)
{
	for (size_t i = 0; i < c->count; i++) {
		free(c->modules[i].name);
		free(c->modules[i].built);
	}
	free(c->modules);
	free(c->excluded);
	memset(c, 0, sizeof(*c));
}

static bool is_module_name(const char *name)
{
	if (!*name || *name == '-' || strlen(name) > 128)
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && *name != '_' &&
		    *name != '-')
			return false;
	return true;
}

static int add_module(struct dkmsconf *c, const char *name, const char *built,
		      bool maybe)
{
	struct dkmsconf_module *list;

	list = realloc(c->modules, (c->count + 1) * sizeof(*list));
	if (!list)
		return -ENOMEM;
	c->modules = list;
	list[c->count].name = strdup(name);
	list[c->count].built = strdup(built);
	list[c->count].maybe = maybe;
	c->count++;
	return list[c->count - 1].name && list[c->count - 1].built ? 0 :
								     -ENOMEM;
}

static size_t elements(const struct shell *s, const char *name)
{
	size_t n = 0;

	for (size_t i = 0; i < s->count; i++)
		n += !strcmp(s->vars[i].name, name);
	return n;
}

/* Record number index, as dkms takes them. */
static int take_record(struct shell *s, long index, struct dkmsconf *out)
{
	const struct var *built = find(s, "BUILT_MODULE_NAME", index);
	const struct var *dest = find(s, "DEST_MODULE_NAME", index);
	const struct var *where = find(s, "DEST_MODULE_LOCATION", index);
	const struct var *package = find(s, "PACKAGE_NAME", 0);
	const struct var *name;

	if (!built && !dest && !where)
		return 0;
	/* The only record may leave its name to the package's. */
	if (!built && elements(s, "DEST_MODULE_LOCATION") == 1)
		built = package;
	name = dest && (!dest->value || *dest->value) ? dest : built;
	if (!name || !built || !name->value || !built->value ||
	    !is_module_name(name->value)) {
		not_followed(s);
		return 0;
	}
	return add_module(out, name->value, built->value,
			  name->maybe || (where && where->maybe));
}

/* Does the line with this name and value exclude the kernel? */
static enum truth excludes(const struct dkmsconf_kernel *k, const char *name,
			   const char *value)
{
	char *copy, *save = NULL;
	enum truth t = NO;

	if (str_ends_with(name, "_MIN"))
		return release_compare(k->release, value) < 0 ? YES : NO;
	if (str_ends_with(name, "_MAX"))
		return release_compare(k->release, value) > 0 ? YES : NO;
	if (str_ends_with(name, "_KERNEL"))
		return turned(matches(value, k->release, REG_EXTENDED));
	if (str_ends_with(name, "_ARCH"))
		return turned(matches(value, k->arch, REG_EXTENDED));
	copy = k->config ? strdup(value) : NULL;
	for (char *w = copy ? strtok_r(copy, " \t\n", &save) : NULL; w;
	     w = strtok_r(NULL, " \t\n", &save)) {
		bool not = *w == '!';

		if (config_has(k, w + not) == not)
			t = YES;
	}
	free(copy);
	return t;
}

static int judge_exclusion(struct shell *s, struct dkmsconf *out)
{
	static const char *const names[] = {
		"BUILD_EXCLUSIVE_KERNEL", "BUILD_EXCLUSIVE_KERNEL_MIN",
		"BUILD_EXCLUSIVE_KERNEL_MAX", "BUILD_EXCLUSIVE_ARCH",
		"BUILD_EXCLUSIVE_CONFIG",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct var *v = find(s, names[i], 0);
		enum truth t;

		if (!v || (v->value && !*v->value))
			continue;
		t = v->value ? excludes(s->k, names[i], v->value) : UNSURE;
		if (t == NO || (out->excluded && !out->excluded_maybe))
			continue;
		out->excluded_maybe = t == UNSURE || v->maybe;
		free(out->excluded);
		out->excluded = text_of("%s=\"%s\"", names[i],
					v->value ? v->value : "...");
		if (!out->excluded)
			return -ENOMEM;
		make_printable(out->excluded);
	}
	return 0;
}

static int collect(struct shell *s, struct dkmsconf *out)
{
	long last = -1;
	int err = s->err;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; i < s->count; i++)
		if (s->vars[i].index > last)
			last = s->vars[i].index;
	for (long i = 0; i <= last && !err; i++)
		err = take_record(s, i, out);
	if (!err)
		err = judge_exclusion(s, out);
	out->not_followed = s->not_followed;
	if (err)
		dkmsconf_free(out);
	return err;
}

static void shell_free(struct shell *s)
{
	for (size_t i = 0; i < s->count; i++) {
		free(s->vars[i].name);
		free(s->vars[i].value);
	}
	free(s->vars);
}

static void run_text(struct shell *s, const char *text, size_t len)
{
	s->p = text;
	s->end = text + len;
	s->line = 1;
	s->ended = false;
	if (memchr(text, '\0', len)) {
		give_up(s);
		return;
	}
	run_list(s, RUN);
	if (!s->ended && s->p < s->end)
		give_up(s);
}

int dkmsconf_parse(const struct dkmsconf_kernel *k, const char *name,
		   const char *text, size_t len, struct dkmsconf *out)
{
	struct shell s = { .k = k, .name = name };
	int err;

	run_text(&s, text, len);
	err = collect(&s, out);
	shell_free(&s);
	return err;
}

int dkmsconf_read(const struct dkmsconf_kernel *k, const char *name,
		  char *const *files, struct dkmsconf *out)
{
	struct shell s = { .k = k, .name = name };
	int err = 0;

	memset(out, 0, sizeof(*out));
	for (size_t i = 0; files[i] && !err; i++) {
		struct buf b = { 0 };

		err = file_read(files[i], FILE_MAX, &b);
		if (!err)
			run_text(&s, (char *)b.data, b.len);
		else if (i && err == -ENOENT)
			err = 0;
		buf_free(&b);
	}
	if (!err)
		err = collect(&s, out);
	shell_free(&s);
	return err;
}
