// SPDX-License-Identifier: GPL-2.0-or-later
/* Programs of a package manager that do not answer as they should. */
#include "fixture.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kmodkeep/package/query.h"

static char said_line[1024];

/* Runs a piece of shell; what query() says on stderr is in said_line. */
static bool run_shell(struct transaction *x, const char *shell, unsigned int seconds,
		      const char *file, struct said *a)
{
	const struct question q = {
		.what = "thing -x", .next = "look", .seconds = seconds, .file = file,
	};
	struct words argv = { 0 };
	FILE *log = tmpfile();
	int kept = dup(2);
	bool known;

	assert_non_null(log);
	words_add_all(&argv, "sh", "-c", shell, NULL);
	words_add(&argv, NULL);
	dup2(fileno(log), 2);
	known = query(x, &q, &argv, a);
	fflush(stderr);
	dup2(kept, 2);
	close(kept);
	rewind(log);
	memset(said_line, 0, sizeof(said_line));
	assert_true(fread(said_line, 1, sizeof(said_line) - 1, log) < sizeof(said_line) - 1);
	fclose(log);
	words_free(&argv);
	return known;
}

static void test_good(void **state)
{
	struct transaction x = { .lock = -1 };
	struct said a;

	(void)state;
	assert_true(run_shell(&x, "echo one; echo two >&2", 60, NULL, &a));
	assert_string_equal(a.out, "one\n");
	assert_string_equal(a.err, "two\n");
	assert_string_equal(said_line, "");
	transaction_close(&x);
}

static void test_bad(void **state)
{
	static const struct {
		const char *shell, *why;
		unsigned int seconds;
	} cases[] = {
		{ "echo E: no >&2; echo fine; exit 100", "E: no", 60 },
		{ "exit 7", "exit code 7, without a message", 60 },
		{ "kill -9 $$", "ended by signal 9", 60 },
		{ "sleep 300", "took more than 1 s, and was ended", 1 },
		{ "exec missing-program", "missing-program", 60 },
		{ "printf 'a\\0b'", "Invalid or incomplete multibyte", 60 },
		{ "head -c 20000000 /dev/zero", "File too large", 60 },
		{ "head -c 20000000 /dev/zero >&2", "File too large", 60 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct transaction x = { .lock = -1 };
		struct said a;

		assert_false(run_shell(&x, cases[i].shell, cases[i].seconds, NULL, &a));
		assert_ptr_equal(strstr(said_line, "kmodkeep: preflight: thing -x: "), said_line);
		assert_non_null(strstr(said_line, cases[i].why));
		assert_non_null(strstr(said_line, ". Next: look\n"));
		transaction_close(&x);
	}
}

static void test_file(void **state)
{
	char *tree = make_tree(), file[512];
	struct transaction x = { .lock = -1 };
	struct said a;

	(void)state;
	snprintf(file, sizeof(file), "%s/out", tree);
	assert_true(run_shell(&x, "head -c 20000000 /dev/zero", 60, file, &a));
	assert_string_equal(a.out, "");
	/* Never into what is there already. */
	assert_false(run_shell(&x, "echo", 60, file, &a));
	assert_non_null(strstr(said_line, "File exists"));
	transaction_close(&x);
	remove_tree(tree);
}

/* A terminal's signal ends this process, and the program is in a group of its own. */
static void test_ends_with_caller(void **state)
{
	int pipefd[2];
	char c;
	pid_t pid;

	(void)state;
	assert_int_equal(pipe(pipefd), 0);
	pid = fork();
	if (!pid) {
		struct transaction x = { .lock = -1 };
		struct words argv = { 0 };
		const struct question q = { .what = "thing", .seconds = 300 };
		struct said a;
		char shell[64];

		close(pipefd[0]);
		snprintf(shell, sizeof(shell), "echo >&%d; exec sleep 300", pipefd[1]);
		words_add_all(&argv, "sh", "-c", shell, NULL);
		words_add(&argv, NULL);
		query(&x, &q, &argv, &a);
		_exit(1);
	}
	close(pipefd[1]);
	assert_int_equal(read(pipefd[0], &c, 1), 1);
	kill(pid, SIGINT);
	/* The end of the pipe: the program has it open as long as it lives. */
	assert_int_equal(read(pipefd[0], &c, 1), 0);
	waitpid(pid, NULL, 0);
	close(pipefd[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_bad),
		cmocka_unit_test(test_file),
		cmocka_unit_test(test_ends_with_caller),
	};

	alarm(240);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
