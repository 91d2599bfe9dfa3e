// SPDX-License-Identifier: GPL-2.0-or-later
/* The verb notice: tells a person, once, what the guard found last. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard/base/json.h"
#include "guard/base/run.h"
#include "guard/base/say.h"
#include "guard/base/util.h"
#include "guard/host/guard_conf.h"
#include "guard/pin/state.h"
#include "guard/verbs/verbs.h"

#define SENDMAIL "/usr/sbin/sendmail"
#define NOTIFY_SEND "/usr/bin/notify-send"
#define MAILED GUARD_DIR "/mailed"
#define SECONDS 60
#define NOTICE_MAX (64u << 10)

static const char usage[] =
"Usage: kmodkeep notice {--mail | --desktop} [--root DIR]\n"
"Tells a person that the next boot would lose a driver, or what was changed from\n"
"outside, as kmodkeep guard found it last; the same thing once.\n"
"\n"
"  --mail         to the address that guard.conf names, by sendmail; run by\n"
"                 kmodkeep-mail.service\n"
"  --desktop      to users that are logged in, by notify-send; run by\n"
"                 kmodkeep-notice.service of the session\n"
"  --root DIR     the system installed under DIR\n"
"\n"
"Exit code: 0 told, or there is nothing new to tell; 1 could not be told; 2 wrong\n"
"usage; 3 could not read what was found.\n";

static void add_line(char **text, const char *message, const char *next)
{
	char *longer = !*text ? NULL : next ?
		       text_of("%s%s. Next: %s\n", *text, message, next) :
		       text_of("%s%s\n", *text, message);

	free(*text);
	*text = longer;
}

/* What there is to tell, a line each: "" for nothing. */
static int read_notice(const struct host *h, char **text)
{
	char *path = host_path(h, GUARD_STATE);
	struct json_object *o = path ? json_read(path) : NULL;
	const char *safe = o ? json_string(o, "safe") : NULL, *line, *word, *message, *next;
	struct guard_state state = { 0 };
	int err = path ? 0 : -ENOMEM;

	*text = strdup("");
	if (!err && !o && path_exists(path))
		err = -EBADMSG;
	if (!err)
		err = guard_state_read(h, &state);
	line = safe && !strcmp(safe, "no") ? json_string(o, "line") : NULL;
	if (line)
		add_line(text, line, json_string(o, "next_step"));
	for (size_t i = 0; !err && guard_change(&state, i, &word, &message, &next); i++)
		add_line(text, message, next);
	if (!err && !*text)
		err = -ENOMEM;
	guard_state_free(&state);
	json_object_put(o);
	free(path);
	return err;
}

/* Where it is remembered what was told on the desktop; NULL: nowhere. */
static char *desktop_record(void)
{
	const char *state = getenv("XDG_STATE_HOME"), *home = getenv("HOME");

	if (state && *state == '/')
		return text_of("%s/kmodkeep/noticed", state);
	return home && *home == '/' ? text_of("%s/.local/state/kmodkeep/noticed", home) : NULL;
}

static bool was_told(const char *record, const char *text)
{
	struct buf b = { 0 };
	bool same = !file_read(record, NOTICE_MAX, &b) && b.len == strlen(text) &&
		    !memcmp(b.data, text, b.len);

	buf_free(&b);
	return same;
}

/* The folders of a file that is about to be written, those of a person. */
static void make_folders(const char *file)
{
	char *path = strdup(file);

	for (char *p = path ? strchr(path + 1, '/') : NULL; p; p = strchr(p + 1, '/')) {
		*p = '\0';
		mkdir(path, 0700);
		*p = '/';
	}
	free(path);
}

/* Runs a program of the host; input NULL: none. An exit code. */
static int run(char *const argv[], const struct run_how *how)
{
	struct run_result result;
	int err = run_program_as(argv, how, &result);

	if (err)
		return complain_errno(err, argv[0]);
	if (result.timed_out)
		return complain(EXIT_NO, "%s took longer than %u seconds; it is told at the next "
				"run", argv[0], how->seconds);
	if (result.exit_code)
		return complain(EXIT_NO, "%s failed: %s. It is told at the next run", argv[0],
				*result.last_line ? result.last_line : "it says nothing");
	return EXIT_YES;
}

static int mail(const struct host *h, const char *address, const char *text)
{
	struct run_how how = { .seconds = SECONDS, .log_fd = -1, .keep_fd = -1 };
	char *sendmail = host_path(h, SENDMAIL), name[256] = "", *letter;
	/* -odi: exim delivers before it ends, not in a process that is ended with it. */
	char *argv[] = { sendmail, (char *)"-odi", (char *)"-i", (char *)"--", (char *)address, NULL };
	int code;

	gethostname(name, sizeof(name) - 1);
	make_printable(name);
	letter = text_of("To: %s\n"
			 "Subject: [kmodkeep] %s: the drivers of the next boot\n"
			 "Auto-Submitted: auto-generated\n"
			 "MIME-Version: 1.0\n"
			 "Content-Type: text/plain; charset=utf-8\n"
			 "Content-Transfer-Encoding: 8bit\n"
			 "\n"
			 "%s"
			 "\n"
			 "All of it, and the way out: kmodkeep next\n", address, name, text);
	how.input = letter;
	if (!sendmail || !letter)
		code = complain_errno(-ENOMEM, "notice");
	else if (access(sendmail, X_OK))
		code = complain(EXIT_NO, "%s: no mail can be sent to %s. Next: install a mail "
				"transport agent, or take \"mail\" out of " GUARD_CONF, SENDMAIL,
				address);
	else
		code = run(argv, &how);
	free(letter);
	free(sendmail);
	return code;
}

/* Notices may be shown as markup. */
static char *escape(const char *text)
{
	char *out = calloc(5, strlen(text) + 1), *p = out;

	for (; out && *text; text++)
		p = *text == '&' ? stpcpy(p, "&amp;") : *text == '<' ? stpcpy(p, "&lt;") :
		    *text == '>' ? stpcpy(p, "&gt;") : (*p = *text, p + 1);
	return out;
}

static int show(const struct host *h, const char *text)
{
	const struct run_how how = { .seconds = SECONDS, .log_fd = -1, .keep_fd = -1,
				     .callers_environment = true };
	char *program = host_path(h, NOTIFY_SEND), *body = escape(text);
	char *argv[] = { program, (char *)"--urgency=critical", (char *)"--app-name=kmodkeep",
			 (char *)"--icon=dialog-warning", (char *)"--",
			 (char *)"Before the next restart", body, NULL };
	int code;

	if (!program || !body)
		code = complain_errno(-ENOMEM, "notice");
	else if (access(program, X_OK))
		code = complain(EXIT_NO, "%s is not there: nothing can be shown. Next: install "
				"libnotify-bin or libnotify", NOTIFY_SEND);
	else
		code = run(argv, &how);
	free(program);
	free(body);
	return code;
}

/* Tells it if it is new, and remembers that. record: the file for that. */
static int tell(const struct host *h, const char *record, const char *address, const char *text)
{
	int err, code;

	if (!*text) {
		if (unlink(record) < 0 && errno != ENOENT && errno != ENOTDIR)
			return complain_errno(-errno, record);
		return EXIT_YES;
	}
	if (was_told(record, text))
		return EXIT_YES;
	code = address ? mail(h, address, text) : show(h, text);
	if (code)
		return code;
	if (!address)
		make_folders(record);
	err = file_replace(record, text, strlen(text), 0600);
	return err ? complain_errno(err, record) : EXIT_YES;
}

static int notice(const struct host *h, bool by_mail)
{
	char *record = by_mail ? host_path(h, MAILED) : desktop_record(), *text = NULL;
	struct guard_conf conf = { 0 };
	int code = EXIT_YES, err;

	if (!host_may_act(h)) {
		code = complain(EXIT_NO, "notice: only the running system tells anybody");
	} else if (!record) {
		code = complain(EXIT_NO, "notice: neither XDG_STATE_HOME nor HOME is set: what was "
				"told cannot be remembered");
	} else {
		err = guard_conf_read(h, complain_message, NULL, &conf);
		if (!err)
			err = read_notice(h, &text);
		if (err)
			code = complain_errno(err, GUARD_STATE);
		else if (!by_mail || conf.mail)
			code = tell(h, record, by_mail ? conf.mail : NULL, text);
	}
	guard_conf_free(&conf);
	free(record);
	free(text);
	return code;
}

int verb_notice(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "mail", no_argument, NULL, 'm' },
		{ "desktop", no_argument, NULL, 'd' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	const char *root = NULL;
	struct host *h;
	int c, err, how = 0, code;

	while ((c = getopt_long(argc, argv, ":h", longs, NULL)) >= 0) {
		switch (c) {
		case 'r': root = optarg; break;
		case 'h': fputs(usage, stdout); return EXIT_YES;
		case '?': case ':': return complain_option("notice", argv, c);
		default:
			if (how && how != c)
				return complain(EXIT_USAGE, "notice: --mail and --desktop exclude "
						"each other");
			how = c;
		}
	}
	if (optind != argc)
		return complain(EXIT_USAGE, "notice: unexpected argument '%s'", argv[optind]);
	if (!how)
		return complain(EXIT_USAGE, "notice: --mail or --desktop is missing");
	err = host_new(root, &h);
	if (err)
		return complain_root(err, root, "notice");
	code = notice(h, how == 'm');
	host_free(h);
	return code;
}
