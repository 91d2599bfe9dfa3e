// SPDX-License-Identifier: GPL-2.0-or-later
/* Runs the cases of a guest's program and reports each; see harness.h. */
#include "harness.h"

#include <sys/syscall.h>

static int report_fd = -1;	/* in a case's process: where its reason goes */

void guest_fail(const char *file, int line, const char *fmt, ...)
{
	char text[512];
	va_list args;
	int n;

	n = snprintf(text, sizeof(text), "%s:%d: ", strrchr(file, '/') + 1, line);
	va_start(args, fmt);
	vsnprintf(text + n, sizeof(text) - n, fmt, args);
	va_end(args);
	if (write(report_fd, text, strlen(text)) < 0)
		_exit(3);
	_exit(1);
}

/* Runs one case; an empty reason means that it passed. */
static void run_case(const struct guest_case *c, unsigned int limit,
		     char *reason, size_t size)
{
	struct pollfd said = { .events = POLLIN };
	int pipefd[2];
	ssize_t n;
	int status;
	pid_t pid;

	if (pipe(pipefd))
		abort();
	said.fd = pipefd[0];
	fflush(NULL);
	pid = fork();
	if (!pid) {
		close(pipefd[0]);
		setpgid(0, 0);
		report_fd = pipefd[1];
		alarm(limit);
		c->run();
		_exit(0);
	}
	close(pipefd[1]);
	setpgid(pid, pid);
	waitpid(pid, &status, 0);
	kill(-pid, SIGKILL);	/* what it may have left running */
	/* Of a child that the kernel holds there may be neither a word nor an end. */
	n = poll(&said, 1, 10000) > 0 ? read(said.fd, reason, size - 1) : 0;
	close(said.fd);
	n = n > 0 ? n : 0;
	reason[n] = '\0';
	/* Perhaps for want of a child that failed and said why. */
	if (WIFSIGNALED(status))
		snprintf(reason + n, size - n, "%sended by signal %d (%s) within %u s",
			 n ? "; " : "", WTERMSIG(status), strsignal(WTERMSIG(status)), limit);
	else if (WEXITSTATUS(status) && !*reason)
		snprintf(reason, size, "exit status %d", WEXITSTATUS(status));
}

/* So that the verdicts of a 32-bit program can be told from those of the same in 64. */
static const char *prefix(void)
{
	return sizeof(long) == 4 ? "32-bit-" : "";
}

int guest_main(int argc, char **argv, const struct guest_case *cases,
	       size_t count, unsigned int limit)
{
	char reason[600];
	int failed = 0;
	FILE *out;
	size_t i;

	if (argc != 2) {
		fprintf(stderr, "usage: %s VERDICTS\n", argv[0]);
		return 2;
	}
	out = fopen(argv[1], "a");
	if (!out) {
		perror(argv[1]);
		return 2;
	}
	for (i = 0; i < count; i++) {
		printf("# %s%s\n", prefix(), cases[i].name);
		run_case(&cases[i], limit, reason, sizeof(reason));
		if (*reason) {
			failed++;
			fprintf(out, "not ok %s%s - %s\n", prefix(), cases[i].name, reason);
			printf("# FAILED: %s\n", reason);
		} else {
			fprintf(out, "ok %s%s\n", prefix(), cases[i].name);
		}
		fflush(out);
	}
	fclose(out);
	return failed != 0;
}

int guest_open(const char *channel, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "/dev/flightrec/%s", channel);
	fd = open(path, flags);
	if (fd < 0)
		FAIL("open %s: %s", path, strerror(errno));
	return fd;
}

void guest_write(int fd, const char *text)
{
	CHECK_EQ(write(fd, text, strlen(text)), strlen(text));
}

bool guest_next(int fd, struct guest_record *record)
{
	size_t room = sizeof(record->head) + 8;
	size_t want;
	ssize_t n;

	/* Growing by less than a second record needs: it stays where it is. */
	do {
		n = read(fd, record, room);
		room += sizeof(record->head);
	} while (n < 0 && errno == EINVAL && room < 2 * FLIGHTREC_READ_MIN);
	if (n < 0 && errno == EAGAIN)
		return false;
	if (n < 0)
		FAIL("read: %s", strerror(errno));
	CHECK(n >= (ssize_t)sizeof(record->head));
	CHECK_EQ(record->head.version, FLIGHTREC_ABI_VERSION);
	CHECK_EQ(record->head.header_size, sizeof(record->head));
	want = (sizeof(record->head) + record->head.len + 7) & ~7UL;
	CHECK_EQ(record->head.size, want);
	CHECK_EQ(n, want);
	return true;
}

void guest_read(int fd, struct guest_record *record)
{
	if (!guest_next(fd, record))
		FAIL("nothing to read");
}

char *guest_slurp(const char *path)
{
	size_t size = 1 << 16, len = 0;
	char *text = malloc(size);
	ssize_t n;
	int fd;

	fd = open(path, O_RDONLY);
	if (fd < 0)
		FAIL("open %s: %s", path, strerror(errno));
	while ((n = read(fd, text + len, size - len - 1)) > 0) {
		len += n;
		if (size - len < 4096)
			text = realloc(text, size *= 2);
	}
	if (n < 0)
		FAIL("read %s: %s", path, strerror(errno));
	close(fd);
	text[len] = '\0';
	return text;
}

long long guest_stat(const char *channel, const char *key)
{
	char *text = guest_slurp("/proc/flightrec/stats");
	char line[64], word[64];
	long long value;
	char *at;

	snprintf(line, sizeof(line), "channel=%s ", channel);
	at = strstr(text, line);
	if (!at)
		FAIL("/proc/flightrec/stats has no line for %s", channel);
	strchr(at, '\n')[0] = '\0';
	snprintf(word, sizeof(word), " %s=", key);
	at = strstr(at, word);
	if (!at)
		FAIL("/proc/flightrec/stats has no %s", key);
	value = atoll(at + strlen(word));
	free(text);
	return value;
}

int guest_load(const char *file, const char *params)
{
	int fd, err = 0;

	fd = open(file, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		FAIL("open %s: %s", file, strerror(errno));
	if (syscall(SYS_finit_module, fd, params, 0))
		err = -errno;
	close(fd);
	return err;
}

int guest_unload(const char *name)
{
	return syscall(SYS_delete_module, name, O_NONBLOCK) ? -errno : 0;
}

/* The file is read once: it is long, and a guest is slow. */
unsigned long long guest_symbol(const char *name)
{
	static char *symbols;
	char want[64], *at;

	if (!symbols)
		symbols = guest_slurp("/proc/kallsyms");
	snprintf(want, sizeof(want), " %s\t[flightrec]\n", name);
	at = strstr(symbols, want);
	if (!at)
		FAIL("no symbol \"%s\" of the driver in /proc/kallsyms", name);
	while (at > symbols && at[-1] != '\n')
		at--;
	return strtoull(at, NULL, 16);
}

void guest_say(const char *fmt, ...)
{
	int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);
	char line[256];
	va_list args;
	int length;

	va_start(args, fmt);
	length = vsnprintf(line, sizeof(line) - 1, fmt, args);
	va_end(args);
	CHECK(fd >= 0 && length < (int)sizeof(line) - 1);
	line[length++] = '\n';	/* a message without one is printed when the next comes */
	CHECK_EQ(write(fd, line, length), length);
	close(fd);
}

void guest_sleep_ms(unsigned int ms)
{
	/* Not nanosleep(), which a kernel may not have for programs of 32 bits. */
	poll(NULL, 0, ms);
}
