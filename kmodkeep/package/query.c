// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs a program of the package manager, and keeps what it says. See query.h. */
#include "kmodkeep/package/query.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "guard/base/say.h"
#include "guard/base/util.h"

#define SAID_MAX (16u << 20)	/* bytes; apt needs some 100 for a package */

/* What was written there, as a text; NULL and -errno if that cannot be had. */
static const char *read_said(struct transaction *x, int fd, int *err)
{
	struct stat st;
	const char *line;
	char *data;

	*err = fstat(fd, &st) < 0 ? -errno : 0;
	if (!*err && st.st_size > SAID_MAX)
		*err = -EFBIG;
	data = *err ? NULL : calloc(1, st.st_size + 1);
	if (!*err && !data)
		*err = -ENOMEM;
	if (!*err && pread(fd, data, st.st_size, 0) != st.st_size)
		*err = -EIO;
	if (!*err && strlen(data) != (size_t)st.st_size)
		*err = -EILSEQ;
	line = *err ? NULL : text(x, "%s", data);
	free(data);
	return line;
}

static bool fail(struct transaction *x, const struct question *q,
		 const char *why)
{
	const char *next = q->next ? text(x, ". Next: %s", q->next) : "";

	complain(0, "preflight: %s: %s%s", q->what, why, next);
	return false;
}

static const char *why_it_failed(struct transaction *x,
				 const struct question *q,
				 const struct run_result *run)
{
	if (run->timed_out)
		return text(x, "took more than %u s, and was ended",
			    q->seconds);
	if (run->signal)
		return text(x, "ended by signal %d", run->signal);
	return *run->last_line ? text(x, "%s", run->last_line) :
	       text(x, "exit code %d, without a message", run->exit_code);
}

bool query(struct transaction *x, const struct question *q,
	 const struct words *argv, struct said *a)
{
	struct run_how how = {
		.seconds = q->seconds, .keep_fd = -1, .dir = q->dir,
		.callers_environment = true, .ends_with_caller = true,
	};
	struct run_result run = { .exit_code = -1 };
	int err;

	*a = (struct said){ .out = "", .err = "" };
	how.log_fd = memfd_create("messages", MFD_CLOEXEC);
	how.output_fd = q->file ?
		open(q->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600) :
		memfd_create("output", MFD_CLOEXEC);
	err = how.log_fd < 0 || how.output_fd < 0 ? -errno :
	      run_program_as(argv->list, &how, &run);
	if (!err)
		a->err = read_said(x, how.log_fd, &err);
	if (!err && !q->file)
		a->out = read_said(x, how.output_fd, &err);
	if (how.log_fd >= 0)
		close(how.log_fd);
	if (how.output_fd >= 0)
		close(how.output_fd);
	if (run.timed_out || run.signal || run.exit_code > 0)
		return fail(x, q, why_it_failed(x, q, &run));
	return !err || fail(x, q, strerror(-err));
}

void words_add_all(struct words *w, ...)
{
	va_list ap;
	char *word;

	va_start(ap, w);
	while ((word = va_arg(ap, char *)))
		words_add(w, word);
	va_end(ap);
}

char *next_line(char **text)
{
	return *text && **text ? strsep(text, "\n") : NULL;
}
