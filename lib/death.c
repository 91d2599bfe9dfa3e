// SPDX-License-Identifier: LGPL-2.1-or-later
/*
 * Why a machine died, as its kernel's log has it: the line that says so, the
 * trouble that came before, the backtrace and the time. A log is read line by
 * line; what surrounds it - severities, callers, a journal's prefix - does not
 * matter. Files of pstore that hold a log in parts, the newest first, are put in
 * order before.
 *
 * Nothing here is authenticated: a program that may write to the log may write this.
 */
#include "recover.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "line.h"

#define LINE_KEPT 512		/* bytes of a line; the rest makes no difference */
#define TRACE_LINES 120
#define TRACE_BYTES (16 * 1024)
#define DEATHS_MAX 256
#define PARTS_MAX 512
#define PARTS_BYTES (4U << 20)

/* A panic so long after the trouble is another matter, nanoseconds. */
#define TOGETHER 30000000000ULL

struct death {
	struct flightrec_death public;
	char boot_id[33];
	char kind[16];
	char cause[LINE_KEPT], trouble[LINE_KEPT];
	char trace[TRACE_BYTES];
	size_t trace_len;
	unsigned int trace_lines;
	bool trace_ended;
};

struct part {
	char head[64];			/* "Panic#1" */
	unsigned int number, file;
	char *text;
	size_t len;
};

struct deaths {
	struct death *list[DEATHS_MAX];
	size_t n;
	struct part parts[PARTS_MAX];
	size_t nparts, part_bytes;
	/* The stream at hand. */
	char line[LINE_KEPT];
	size_t len;
	char boot_id[33];
	struct death *open;
	bool first_line;
	struct part *part;		/* what is being read is one */
	unsigned int file;
};

/* ---- what a line says */

static const struct sign {
	const char *begin;
	const char *kind;
	bool fatal;
} signs[] = {
	/* A panic's own words say of which kind it is: the first that fits. */
	{ "Kernel panic - not syncing: sysrq triggered", "sysrq", true },
	{ "Kernel panic - not syncing: softlockup", "lockup", true },
	{ "Kernel panic - not syncing: Hard LOCKUP", "lockup", true },
	{ "Kernel panic - not syncing: hung_task", "hung-task", true },
	{ "Kernel panic - not syncing: RCU Stall", "stall", true },
	{ "Kernel panic - not syncing: Out of memory", "oom", true },
	{ "Kernel panic - not syncing: System is deadlocked on memory", "oom", true },
	{ "Kernel panic - not syncing: watchdog", "watchdog", true },
	{ "Kernel panic - not syncing: Watchdog", "watchdog", true },
	{ "Kernel panic - not syncing: Fatal machine check", "machine-check", true },
	{ "Kernel panic - not syncing: Machine check", "machine-check", true },
	{ "Kernel panic - not syncing: Fatal exception", "oops", true },
	{ "Kernel panic - not syncing:", "panic", true },
	{ "sysrq: Resetting", "sysrq", true },
	{ "sysrq: SysRq : Resetting", "sysrq", true },
	{ "reboot: Restarting system", "reboot", true },
	{ "reboot: Power down", "power-off", true },
	{ "reboot: System halted", "halt", true },
	/* Trouble: the machine may survive it. */
	{ "sysrq: Trigger a crash", "sysrq", false },
	{ "sysrq: SysRq : Trigger a crash", "sysrq", false },
	{ "BUG: soft lockup", "lockup", false },
	{ "watchdog: BUG: soft lockup", "lockup", false },
	{ "watchdog: Watchdog detected hard LOCKUP", "lockup", false },
	{ "NMI watchdog: Watchdog detected hard LOCKUP", "lockup", false },
	{ "INFO: task ", "hung-task", false },
	{ "rcu: INFO: rcu_", "stall", false },
	{ "BUG: ", "oops", false },
	{ "kernel BUG at ", "oops", false },
	{ "Oops: ", "oops", false },
	{ "Oops[#", "oops", false },
	{ "Internal error: ", "oops", false },
	{ "Unable to handle kernel ", "oops", false },
	{ "general protection fault", "oops", false },
	{ "invalid opcode: ", "oops", false },
	{ "divide error: ", "oops", false },
	{ "stack segment: ", "oops", false },
	{ "mce: [Hardware Error]: ", "machine-check", false },
	{ "{1}[Hardware Error]: ", "machine-check", false },
};

static const struct sign *sign_of(const char *text)
{
	size_t i;

	for (i = 0; i < sizeof(signs) / sizeof(*signs); i++)
		if (!strncmp(text, signs[i].begin, strlen(signs[i].begin)))
			return &signs[i];
	return NULL;
}

/* "[   12.345678] " at @at: what follows, and the time; or NULL. */
static const char *stamp_at(const char *at, uint64_t *ns)
{
	unsigned long long seconds, fraction;
	char *end;

	for (at++; *at == ' '; at++)
		;
	if (!isdigit((unsigned char)*at))
		return NULL;
	seconds = strtoull(at, &end, 10);
	if (*end != '.' || strspn(end + 1, "0123456789") != 6 || end[7] != ']' ||
	    seconds > UINT64_MAX / 2000000000)
		return NULL;
	fraction = strtoull(end + 1, NULL, 10);
	*ns = seconds * 1000000000 + fraction * 1000;
	return end + 8;
}

/* What the kernel said in a line of any log, and when by its clock, or 0. */
static const char *said(const char *line, uint64_t *ns)
{
	const char *at, *rest = NULL;
	size_t inner;

	*ns = 0;
	for (at = strchr(line, '['); at && at - line < 128 && !rest; at = strchr(at + 1, '['))
		rest = stamp_at(at, ns);
	if (!rest) {
		rest = strstr(line, " kernel: ");
		rest = rest && rest - line < 128 ? rest + strlen(" kernel: ") : line;
	}
	if (rest == line && line[0] == '<' && isdigit((unsigned char)line[1]))
		rest += strspn(line, "<0123456789>");
	/* One space belongs to the prefix; a backtrace has more of its own. */
	rest += *rest == ' ';
	/* The caller: "[    T1] ", "[C0]". */
	if (*rest == '[') {
		inner = 1 + strspn(rest + 1, " ");
		if ((rest[inner] == 'T' || rest[inner] == 'C') &&
		    isdigit((unsigned char)rest[inner + 1])) {
			inner += 1 + strspn(rest + inner + 1, "0123456789");
			if (rest[inner] == ']')
				rest += inner + 1 + (rest[inner + 1] == ' ');
		}
	}
	return rest;
}

/* ---- deaths */

static void append(struct death *death, const char *text)
{
	size_t len = strlen(text);

	if (death->trace_ended || death->trace_lines >= TRACE_LINES ||
	    death->trace_len + len + 2 > sizeof(death->trace))
		return;
	memcpy(death->trace + death->trace_len, text, len);
	death->trace_len += len;
	death->trace[death->trace_len++] = '\n';
	death->trace[death->trace_len] = '\0';
	death->trace_lines++;
}

static struct death *new_death(struct flightrec_recover *recover, const struct sign *sign,
			       uint64_t ns, const char *text)
{
	struct deaths *deaths = recover->deaths;
	struct death *death;

	if (deaths->n >= DEATHS_MAX) {
		recover->counts[FLIGHTREC_RECOVER_OVERFLOW]++;
		return NULL;
	}
	death = calloc(1, sizeof(*death));
	if (!death)
		return NULL;
	strcpy(death->kind, sign->kind);
	strcpy(death->cause, text);
	strcpy(death->boot_id, deaths->boot_id);
	death->public.fatal = sign->fatal;
	death->public.log_ns = ns;
	death->public.file = deaths->file;
	deaths->list[deaths->n++] = death;
	return death;
}

/* The trouble at hand ends in this, or it is one of its own. */
static void take_sign(struct flightrec_recover *recover, const struct sign *sign, uint64_t ns,
		      const char *text)
{
	struct deaths *deaths = recover->deaths;
	struct death *open = deaths->open;
	bool same = open && !open->public.fatal &&
		    (!ns || !open->public.log_ns || ns - open->public.log_ns < TOGETHER);

	if (!same) {
		/* What is said after the end is a consequence. */
		if (open && open->public.fatal && !sign->fatal)
			return;
		deaths->open = new_death(recover, sign, ns, text);
		return;
	}
	if (!sign->fatal) {
		append(open, text);
		return;
	}
	strcpy(open->trouble, open->cause);
	strcpy(open->cause, text);
	/* A panic without a kind of its own is of that of the trouble. */
	if (strcmp(sign->kind, "panic") && strcmp(sign->kind, "oops"))
		strcpy(open->kind, sign->kind);
	open->public.fatal = true;
	open->public.log_ns = ns;
}

static void take_line(struct flightrec_recover *recover, const char *line)
{
	struct deaths *deaths = recover->deaths;
	const struct sign *sign;
	uint64_t ns;
	const char *text = said(line, &ns);

	if (!strncmp(text, "Linux version ", 14)) {
		deaths->open = NULL;
		deaths->boot_id[0] = '\0';
	} else if (!strncmp(text, "flightrec: ", 11)) {
		if (line_boot(text + 11, deaths->boot_id) && deaths->open)
			strcpy(deaths->open->boot_id, deaths->boot_id);
	} else if ((sign = sign_of(text))) {
		take_sign(recover, sign, ns, text);
	} else if (deaths->open) {
		if (!strncmp(text, "---[ end ", 9))
			deaths->open->trace_ended = true;
		else if (*text)
			append(deaths->open, text);
	}
}

static void end_line(struct flightrec_recover *recover)
{
	struct deaths *deaths = recover->deaths;
	char plain[LINE_KEPT];
	size_t n = line_plain(deaths->line, deaths->len, plain);

	plain[n] = '\0';
	deaths->len = 0;
	take_line(recover, plain);
}

static void take_bytes(struct flightrec_recover *recover, const char *bytes, size_t n)
{
	struct deaths *deaths = recover->deaths;
	const char *end = bytes + n;
	const char *newline;
	size_t len;

	for (; bytes < end; bytes = newline ? newline + 1 : end) {
		newline = memchr(bytes, '\n', end - bytes);
		len = (newline ? newline : end) - bytes;
		if (len > sizeof(deaths->line) - 1 - deaths->len)
			len = sizeof(deaths->line) - 1 - deaths->len;
		memcpy(deaths->line + deaths->len, bytes, len);
		deaths->len += len;
		if (newline)
			end_line(recover);
	}
}

static void end_stream(struct flightrec_recover *recover)
{
	struct deaths *deaths = recover->deaths;

	if (deaths->len)
		end_line(recover);
	deaths->open = NULL;
	deaths->boot_id[0] = '\0';
}

/* ---- parts of pstore */

static int by_number(const void *one, const void *two)
{
	const struct part *a = one, *b = two;

	return a->number > b->number ? -1 : a->number < b->number;
}

/* The parts that are there make one log: the highest number is the oldest. */
static void join_parts(struct flightrec_recover *recover)
{
	struct deaths *deaths = recover->deaths;
	size_t i;

	qsort(deaths->parts, deaths->nparts, sizeof(struct part), by_number);
	for (i = 0; i < deaths->nparts; i++) {
		deaths->file = deaths->parts[i].file;
		take_bytes(recover, deaths->parts[i].text, deaths->parts[i].len);
		if (deaths->len)
			end_line(recover);
		free(deaths->parts[i].text);
	}
	end_stream(recover);
	deaths->nparts = deaths->part_bytes = 0;
}

/* "Panic#1 Part2" at the start of @bytes: its first line's length, or 0. */
static size_t part_head(const char *bytes, size_t n, struct part *part)
{
	char line[64];
	const char *newline = memchr(bytes, '\n', n < sizeof(line) ? n : sizeof(line));
	size_t len = newline ? newline - bytes : 0;
	char *word;

	if (!len)
		return 0;
	memcpy(line, bytes, len);
	line[len] = '\0';
	word = strstr(line, " Part");
	if (!word || !isdigit((unsigned char)word[5]) || !strchr(line, '#') ||
	    strchr(line, '#') > word)
		return 0;
	*word = '\0';
	memset(part, 0, sizeof(*part));
	strcpy(part->head, line);
	part->number = strtoul(word + 5, NULL, 10);
	return len + 1;
}

static bool belongs(const struct deaths *deaths, const struct part *part)
{
	size_t i;

	for (i = 0; i < deaths->nparts; i++)
		if (strcmp(deaths->parts[i].head, part->head) ||
		    deaths->parts[i].number == part->number)
			return false;
	return true;
}

int death_begin(struct flightrec_recover *recover)
{
	if (!recover->deaths)
		recover->deaths = calloc(1, sizeof(*recover->deaths));
	if (!recover->deaths)
		return -ENOMEM;
	recover->deaths->first_line = true;
	recover->deaths->part = NULL;
	recover->deaths->file = recover->file;
	return 0;
}

int death_bytes(struct flightrec_recover *recover, const char *bytes, size_t n)
{
	struct deaths *deaths = recover->deaths;
	struct part part;
	size_t head = 0;
	char *more;

	if (deaths->first_line && n) {
		deaths->first_line = false;
		head = part_head(bytes, n, &part);
	}
	if (head) {
		if (!belongs(deaths, &part) || deaths->nparts >= PARTS_MAX)
			join_parts(recover);
		part.file = recover->file;
		deaths->part = &deaths->parts[deaths->nparts++];
		*deaths->part = part;
	}
	if (!deaths->part) {
		deaths->file = recover->file;
		take_bytes(recover, bytes + head, n - head);
		return 0;
	}
	if (deaths->part_bytes + n > PARTS_BYTES) {
		recover->counts[FLIGHTREC_RECOVER_OVERFLOW]++;
		return 0;
	}
	more = realloc(deaths->part->text, deaths->part->len + n - head + 1);
	if (!more)
		return -ENOMEM;
	memcpy(more + deaths->part->len, bytes + head, n - head);
	deaths->part->text = more;
	deaths->part->len += n - head;
	deaths->part_bytes += n - head;
	return 0;
}

void death_end(struct flightrec_recover *recover)
{
	if (!recover->deaths->part)
		end_stream(recover);
	recover->deaths->part = NULL;
}

void death_dump(struct flightrec_recover *recover, const char *boot_id, uint64_t wall_ns)
{
	static const struct sign dump = { "", "dump", true };
	struct death *death;

	if (death_begin(recover))
		return;
	death = new_death(recover, &dump, 0, "");
	if (!death)
		return;
	strcpy(death->boot_id, boot_id);
	death->public.wall_ns = wall_ns;
}

/* The same in two files, as in pstore's parts and in the log made of them. */
static bool same_death(const struct death *a, const struct death *b)
{
	return a->public.log_ns == b->public.log_ns && a->public.wall_ns == b->public.wall_ns &&
	       !strcmp(a->cause, b->cause) && !strcmp(a->kind, b->kind) &&
	       (!a->boot_id[0] || !b->boot_id[0] || !strcmp(a->boot_id, b->boot_id));
}

static void drop_duplicates(struct deaths *deaths)
{
	struct death *held;
	size_t i, j;

	for (i = 0; i < deaths->n; i++)
		for (j = i + 1; j < deaths->n; j++) {
			if (!same_death(deaths->list[i], deaths->list[j]))
				continue;
			if (!deaths->list[i]->boot_id[0])
				strcpy(deaths->list[i]->boot_id, deaths->list[j]->boot_id);
			strcpy(deaths->list[j]->boot_id, deaths->list[i]->boot_id);
			if (deaths->list[j]->trace_len > deaths->list[i]->trace_len) {
				held = deaths->list[i];
				deaths->list[i] = deaths->list[j];
				deaths->list[j] = held;
			}
			free(deaths->list[j]);
			deaths->n--;
			memmove(&deaths->list[j], &deaths->list[j + 1],
				(deaths->n - j) * sizeof(struct death *));
			j--;
		}
}

void death_sort(struct flightrec_recover *recover)
{
	struct deaths *deaths = recover->deaths;
	struct flightrec_death *public;
	size_t i;

	if (!deaths)
		return;
	join_parts(recover);
	drop_duplicates(deaths);
	for (i = 0; i < deaths->n; i++) {
		public = &deaths->list[i]->public;
		public->boot_id = deaths->list[i]->boot_id;
		public->kind = deaths->list[i]->kind;
		public->cause = deaths->list[i]->cause;
		public->trouble = deaths->list[i]->trouble;
		public->backtrace = deaths->list[i]->trace;
	}
}

void death_free(struct flightrec_recover *recover)
{
	struct deaths *deaths = recover->deaths;

	if (!deaths)
		return;
	while (deaths->nparts)
		free(deaths->parts[--deaths->nparts].text);
	while (deaths->n)
		free(deaths->list[--deaths->n]);
	free(deaths);
}

bool death_get(const struct flightrec_recover *recover, size_t number,
	       const struct flightrec_death **death)
{
	if (!recover->deaths || number >= recover->deaths->n)
		return false;
	*death = &recover->deaths->list[number]->public;
	return true;
}
