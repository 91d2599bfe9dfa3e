// SPDX-License-Identifier: GPL-2.0-or-later
/* Drop-in files, programs with a time limit, and the smoke test's outcomes. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guard/host/dropin.h"
#include "guard/base/run.h"
#include "guard/verdict/smoke.h"

static char errors[4096];

static void note(void *arg, const char *message)
{
	(void)arg;
	strncat(errors, message, sizeof(errors) - strlen(errors) - 2);
	strcat(errors, "\n");
}

static void read_drivers(const char *tree, struct drivers *d)
{
	struct host *h;

	errors[0] = '\0';
	assert_int_equal(host_new(tree, &h), 0);
	assert_int_equal(drivers_read(h, d, note, NULL), 0);
	host_free(h);
}

#define PACKAGED "/usr/lib/kmodkeep/drivers.d/"
#define ADMIN "/etc/kmodkeep/drivers.d/"

static void good_dropin(void **state)
{
	char *tree = make_tree();
	struct drivers d;

	(void)state;
	put_text(tree, PACKAGED "cam.conf",
		 "# a camera\n\n  modules =  cam cam_events\ndkms=cam\n"
		 "smoke_test = /usr/lib/cam/test\npolicy = pin-last-good\n"
		 "timeout = 7");
	put_text(tree, PACKAGED "README", "modules");
	read_drivers(tree, &d);
	assert_string_equal(errors, "");
	assert_int_equal(d.count, 1);
	assert_string_equal(d.list[0].name, "cam");
	assert_int_equal(d.list[0].module_count, 2);
	assert_string_equal(d.list[0].modules[1], "cam_events");
	assert_string_equal(d.list[0].dkms, "cam");
	assert_string_equal(d.list[0].smoke_test, "/usr/lib/cam/test");
	assert_int_equal(d.list[0].policy, POLICY_PIN_LAST_GOOD);
	assert_int_equal(d.list[0].timeout, 7);
	drivers_free(&d);
	remove_tree(tree);
}

static void bad_lines_are_named(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "modules = a\nnonsense\n", "x.conf:2: not of the form" },
		{ "modules = a ../b\n", "x.conf:1: '../b' is no module name" },
		{ "modules = -r\n", "x.conf:1: '-r' is no module name" },
		{ "\nmodules = a\npolicy = maybe\n", "x.conf:3: policy is" },
		{ "modules = a\nsmoke_test = rm -rf /\n", "x.conf:2: smoke" },
		{ "modules = a\nsmoke_test = /bin/sh -c x\n", "x.conf:2: smok" },
		{ "modules = a\ntimeout = 0\n", "x.conf:2: timeout" },
		{ "modules = a\ntimeout = -1\n", "x.conf:2: timeout" },
		{ "modules = a\ntimeout = 99999\n", "x.conf:2: timeout" },
		{ "modules = a\ndkms = ../x\n", "x.conf:2: '../x' is no dkms" },
		{ "policy = warn\n", "it has no line 'modules = NAME'" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char *tree = make_tree();
		struct drivers d;

		put_text(tree, PACKAGED "x.conf", cases[i].text);
		put_text(tree, PACKAGED "y.conf", "modules = y\n");
		read_drivers(tree, &d);
		if (!strstr(errors, cases[i].error))
			print_error("not '%s' but: %s\n", cases[i].error,
				    errors);
		assert_non_null(strstr(errors, cases[i].error));
		assert_int_equal(d.count, 2);
		assert_true(d.list[0].broken);
		assert_false(d.list[1].broken);
		drivers_free(&d);
		remove_tree(tree);
	}
}

static void unknown_settings_do_no_harm(void **state)
{
	char *tree = make_tree();
	struct drivers d;

	(void)state;
	put_text(tree, PACKAGED "x.conf", "modules = a\ncolour = blue\n");
	read_drivers(tree, &d);
	assert_non_null(strstr(errors, "x.conf:2: unknown setting 'colour'"));
	assert_false(d.list[0].broken);
	drivers_free(&d);
	remove_tree(tree);
}

static void the_administrator_decides(void **state)
{
	char *tree = make_tree(), path[128];
	struct drivers d;

	(void)state;
	put_text(tree, PACKAGED "a.conf", "modules = packaged\n");
	put_text(tree, PACKAGED "b.conf", "modules = b\n");
	put_text(tree, PACKAGED "c.conf", "modules = c\n");
	put_text(tree, ADMIN "a.conf", "modules = mine\n");
	put_text(tree, ADMIN "b.conf", "");
	snprintf(path, sizeof(path), "%s" ADMIN "c.conf", tree);
	assert_int_equal(symlink("/dev/null", path), 0);
	read_drivers(tree, &d);
	assert_string_equal(errors, "");
	assert_int_equal(d.count, 1);
	assert_string_equal(d.list[0].modules[0], "mine");
	drivers_free(&d);
	remove_tree(tree);
}

static void random_dropins(void **state)
{
	static const char base[] =
		"modules = a b\nsmoke_test = /x\npolicy = warn\n# =\n";
	uint32_t seed = 12;

	(void)state;
	for (int n = 0; n < 5000; n++) {
		struct driver d = { 0 };
		char text[sizeof(base)];

		memcpy(text, base, sizeof(base));
		for (int k = 0; k < 4; k++) {
			char c = next_random(&seed);

			text[next_random(&seed) % (sizeof(base) - 1)] =
				c ? c : '=';
		}
		errors[0] = '\0';
		assert_int_equal(driver_parse(&d, "f", text, note, NULL), 0);
		driver_free(&d);
	}
}

static void run_sh(const char *script, unsigned int seconds,
		   struct run_result *out)
{
	char *const argv[] = { "sh", "-c", (char *)script, NULL };

	assert_int_equal(run_program(argv, seconds, out), 0);
}

static void program_results(void **state)
{
	char *const none[] = { "/nonexistent/program", NULL };
	struct run_result r;

	(void)state;
	run_sh("echo first; echo last; exit 3", 10, &r);
	assert_int_equal(r.exit_code, 3);
	assert_string_equal(r.last_line, "last");
	run_sh("printf 'a\\033[1m'; printf 'b\\n\\n' >&2", 10, &r);
	assert_int_equal(r.exit_code, 0);
	assert_string_equal(r.last_line, "a?[1mb");
	run_sh("kill -9 $$", 10, &r);
	assert_int_equal(r.signal, 9);
	assert_int_equal(r.exit_code, -1);
	assert_int_equal(run_program(none, 10, &r), 0);
	assert_int_equal(r.exit_code, 127);
}

static void program_environment(void **state)
{
	struct run_result r;

	(void)state;
	setenv("SECRET", "hello", 1);
	run_sh("echo \"${SECRET-unset} $PATH\"", 10, &r);
	assert_string_equal(r.last_line,
			    "unset /usr/sbin:/usr/bin:/sbin:/bin");
}

static void the_whole_group_ends(void **state)
{
	char *tree = make_tree(), script[256], path[128];
	struct run_result r;
	time_t start = time(NULL);
	struct stat st;

	(void)state;
	/* A child that outlives its parent, and holds the output open. */
	snprintf(script, sizeof(script),
		 "(sleep 3; touch %s/alive) & sleep 60", tree);
	run_sh(script, 1, &r);
	assert_true(r.timed_out);
	snprintf(script, sizeof(script),
		 "(sleep 3; touch %s/alive) & exit 0", tree);
	run_sh(script, 20, &r);
	assert_int_equal(r.exit_code, 0);
	assert_true(time(NULL) - start < 15);
	sleep(4);
	snprintf(path, sizeof(path), "%s/alive", tree);
	assert_int_not_equal(stat(path, &st), 0);
	remove_tree(tree);
}

/*
 * A host in a folder with a kernel, its index, and one module that is built
 * with depmod's help; modprobe is a script that makes it look loaded.
 */
struct world {
	char *tree;
	struct host *h;
	struct trust *t;
	struct signers policy;
	struct smoke s;
	struct driver d;
	struct smoke_outcome out;
	char modprobe[128], test[128];
};

static void add_script(struct world *w, char path[128], const char *name,
		       const char *body)
{
	char text[512];

	snprintf(text, sizeof(text), "#!/bin/sh\n%s\n", body);
	snprintf(path, 128, "/%s", name);
	put_text(w->tree, path, text);
	snprintf(path, 128, "%s/%s", w->tree, name);
	assert_int_equal(chmod(path, 0755), 0);
}

static void make_world(struct world *w, const struct buf *module)
{
	char command[256];

	memset(w, 0, sizeof(*w));
	w->tree = make_tree();
	put_secure_boot(w->tree, true);
	put_text(w->tree, "/lib/modules/" KERNEL "/modules.builtin", "");
	put_text(w->tree, "/lib/modules/" KERNEL "/modules.order", "");
	if (module)
		put_file(w->tree, "/lib/modules/" KERNEL "/updates/sample.ko",
			 module->data, module->len);
	snprintf(command, sizeof(command),
		 "/sbin/depmod -b %s " KERNEL " 2>/dev/null", w->tree);
	assert_int_equal(system(command), 0);
	snprintf(command, sizeof(command),
		 "mkdir -p %s/sys/module/sample; "
		 "echo live >%s/sys/module/sample/initstate",
		 w->tree, w->tree);
	add_script(w, w->modprobe, "modprobe", command);
	w->d.name = strdup("sample");
	w->d.modules = calloc(1, sizeof(char *));
	w->d.modules[0] = strdup("sample");
	w->d.module_count = 1;
	w->d.timeout = 5;
}

static void smoke(struct world *w)
{
	assert_int_equal(host_new(w->tree, &w->h), 0);
	assert_int_equal(trust_new(w->h, &w->t), 0);
	assert_int_equal(signers_of_host(w->h, &w->policy), 0);
	w->s = (struct smoke){ w->h, w->t, &w->policy, KERNEL, w->modprobe };
	assert_int_equal(smoke_driver(&w->s, &w->d, &w->out), 0);
	print_message("%s\n", w->out.report.message);
}

static void end_world(struct world *w)
{
	report_free(&w->out.report);
	driver_free(&w->d);
	signers_free(&w->policy);
	trust_free(w->t);
	host_free(w->h);
	remove_tree(w->tree);
}

static void signed_module(struct buf *b)
{
	const struct pair *one = rsa_pair("one");
	struct buf module;

	make_module(&module);
	sign_with(&module, &one, 1, CMS_NOATTR | CMS_DETACHED, "sha256", b);
	buf_free(&module);
}

static void enrol(struct world *w)
{
	const struct pair *one = rsa_pair("one");

	put_certs(w->tree, MOK_LIST, &one, 1);
}

static void smoke_passes(void **state)
{
	struct world w;
	struct buf b;

	(void)state;
	signed_module(&b);
	make_world(&w, &b);
	enrol(&w);
	add_script(&w, w.test, "test", "exit 0");
	w.d.smoke_test = strdup(w.test);
	smoke(&w);
	assert_int_equal(w.out.result, SMOKE_PASSED);
	assert_int_equal(w.out.report.verdict, VERDICT_OK);
	assert_string_equal(w.out.report.info.version, "1.2");
	end_world(&w);
	buf_free(&b);
}

/* The kernel says one errno for these: the verdict names the cause. */
static void smoke_names_the_cause(void **state)
{
	struct buf good, plain;
	struct world w;

	(void)state;
	signed_module(&good);
	make_module(&plain);
	for (int i = 0; i < 4; i++) {
		static const enum verdict wanted[] = {
			VERDICT_UNSIGNED, VERDICT_UNTRUSTED_KEY,
			VERDICT_TAMPERED, VERDICT_MISSING,
		};

		if (i == 2)
			good.data[90] ^= 1;
		make_world(&w, i == 0 ? &plain : i == 3 ? NULL : &good);
		if (i == 2)
			enrol(&w);
		/* A tampered module must not even be tried. */
		if (i != 2)
			add_script(&w, w.modprobe, "modprobe", "exit 1");
		smoke(&w);
		assert_int_equal(w.out.result, SMOKE_FAILED);
		assert_int_equal(w.out.report.verdict, wanted[i]);
		assert_non_null(strstr(w.out.report.message,
				       verdict_word(wanted[i])));
		assert_non_null(w.out.report.next_step);
		end_world(&w);
	}
	buf_free(&good);
	buf_free(&plain);
}

static void put_der(const char *tree, const char *path, const struct pair *p)
{
	unsigned char *der = NULL;
	int len = i2d_X509(p->cert, &der);

	put_file(tree, path, der, len);
	OPENSSL_free(der);
}

/* The kernel would load what one of two has signed: it is not tried here. */
static void smoke_asks_who_must_have_signed(void **state)
{
	static const char policy[] =
		"require_signers = 2\nsigner = /one.der\nsigner = /two.der\n";
	const struct pair *both[] = { rsa_pair("one"), rsa_pair("two") };
	struct buf module, by_one, by_two;
	struct world w;

	(void)state;
	make_module(&module);
	sign_with(&module, both, 1, CMS_NOATTR | CMS_DETACHED, "sha256", &by_one);
	sign_with(&module, both, 2, CMS_NOATTR | CMS_DETACHED, "sha256", &by_two);
	for (int i = 0; i < 3; i++) {
		make_world(&w, i == 1 ? &by_two : &by_one);
		enrol(&w);
		put_text(w.tree, "/etc/kmodkeep/signing.conf", i == 2 ?
			 "require_signers = 2\n" : policy);
		put_der(w.tree, "/one.der", both[0]);
		put_der(w.tree, "/two.der", both[1]);
		if (i != 1)
			add_script(&w, w.modprobe, "modprobe", "echo tried; exit 1");
		smoke(&w);
		assert_int_equal(w.out.result, i == 1 ? SMOKE_PASSED : SMOKE_FAILED);
		assert_int_equal(w.out.report.verdict, i == 0 ? VERDICT_UNTRUSTED_KEY :
				 i == 1 ? VERDICT_OK : VERDICT_UNKNOWN);
		if (i != 1)
			assert_non_null(strstr(w.out.report.message, i == 0 ?
					       "signed by 1 of the 2 signers" :
					       "who must have signed it is not known"));
		end_world(&w);
	}
	buf_free(&module);
	buf_free(&by_one);
	buf_free(&by_two);
}

static void smoke_unexplained_refusal(void **state)
{
	struct world w;
	struct buf b;

	(void)state;
	signed_module(&b);
	make_world(&w, &b);
	enrol(&w);
	add_script(&w, w.modprobe, "modprobe", "echo 'No such device'; exit 1");
	smoke(&w);
	assert_int_equal(w.out.result, SMOKE_FAILED);
	assert_int_equal(w.out.report.verdict, VERDICT_UNKNOWN);
	assert_non_null(strstr(w.out.report.message, "No such device"));
	end_world(&w);
	/* modprobe may say yes and load nothing ("install" lines). */
	make_world(&w, &b);
	enrol(&w);
	add_script(&w, w.modprobe, "modprobe", "exit 0");
	smoke(&w);
	assert_int_equal(w.out.result, SMOKE_FAILED);
	end_world(&w);
	buf_free(&b);
}

static void stale_world(struct world *w, const struct buf *module,
			const char *test)
{
	make_world(w, module);
	enrol(w);
	put_text(w->tree, "/sys/module/sample/srcversion", "OLDOLDOLD\n");
	put_text(w->tree, "/sys/module/sample/version", "1.1\n");
	add_script(w, w->test, "test", test);
	w->d.smoke_test = strdup(w->test);
	smoke(w);
}

/* What is loaded was built from the same source as release 1.1. */
static void smoke_names_the_loaded_release(void **state)
{
	struct world w;
	struct buf b;

	(void)state;
	signed_module(&b);
	make_world(&w, &b);
	enrol(&w);
	put_text(w.tree, "/sys/module/sample/srcversion", "ABCDEF0123\n");
	put_text(w.tree, "/sys/module/sample/version", "1.1\n");
	smoke(&w);
	assert_int_equal(w.out.result, SMOKE_PASSED);
	assert_int_equal(w.out.report.verdict, VERDICT_OK);
	assert_string_equal(w.out.report.info.version, "1.1");
	end_world(&w);
	buf_free(&b);
}

/* The old build is tried out, and the new one has its turn at the next boot. */
static void smoke_stale_module(void **state)
{
	struct buf b, plain;
	struct world w;

	(void)state;
	signed_module(&b);
	stale_world(&w, &b, "exit 0");
	assert_int_equal(w.out.result, SMOKE_PASSED);
	assert_int_equal(w.out.report.verdict, VERDICT_STALE_LOADED);
	assert_string_equal(w.out.report.info.version, "1.1");
	assert_non_null(strstr(w.out.report.message, "smoke test passed"));
	assert_non_null(strstr(w.out.report.message, "(1.2) is used from the "
			       "next boot"));
	end_world(&w);
	stale_world(&w, &b, "exit 1");
	assert_int_equal(w.out.result, SMOKE_FAILED);
	end_world(&w);
	buf_free(&b);
	/* One that will be refused at the next boot is no success. */
	make_module(&plain);
	stale_world(&w, &plain, "exit 0");
	assert_int_equal(w.out.result, SMOKE_FAILED);
	assert_int_equal(w.out.report.verdict, VERDICT_UNSIGNED);
	end_world(&w);
	buf_free(&plain);
}

static char *recorded(const struct world *w, const char *key)
{
	struct json_object *o, *field;
	char path[128], *value;

	snprintf(path, sizeof(path), "%s/var/lib/kmodkeep/smoke/sample.json",
		 w->tree);
	o = json_object_from_file(path);
	assert_non_null(o);
	assert_true(json_object_object_get_ex(o, key, &field));
	value = strdup(json_object_get_string(field));
	json_object_put(o);
	return value;
}

static void smoke_killed_is_no_success(void **state)
{
	struct world w;
	struct buf b;
	char *value;

	(void)state;
	signed_module(&b);
	make_world(&w, &b);
	enrol(&w);
	put_text(w.tree, "/var/lib/dpkg/status", "");
	smoke(&w);
	assert_int_equal(smoke_record(&w.s, &w.d, &w.out), 0);
	value = recorded(&w, "result");
	assert_string_equal(value, "passed");
	free(value);
	assert_int_equal(smoke_record_start(&w.s, &w.d), 0);
	value = recorded(&w, "result");
	assert_string_equal(value, "failed");
	free(value);
	value = recorded(&w, "message");
	assert_string_equal(value, "did not finish");
	free(value);
	end_world(&w);
	buf_free(&b);
}

static void smoke_test_fails(void **state)
{
	static const struct {
		const char *body, *message;
	} cases[] = {
		{ "echo 'read back garbage'; exit 4", "read back garbage" },
		{ "sleep 60", "did not end within 1 seconds" },
		{ "kill -11 $$", "signal 11" },
	};
	struct world w;
	struct buf b;

	(void)state;
	signed_module(&b);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		make_world(&w, &b);
		enrol(&w);
		add_script(&w, w.test, "test", cases[i].body);
		w.d.smoke_test = strdup(w.test);
		w.d.timeout = 1;
		smoke(&w);
		assert_int_equal(w.out.result, SMOKE_FAILED);
		assert_non_null(strstr(w.out.report.message,
				       cases[i].message));
		end_world(&w);
	}
	buf_free(&b);
}

static void smoke_test_others_could_change(void **state)
{
	struct world w;
	struct buf b;

	(void)state;
	signed_module(&b);
	make_world(&w, &b);
	enrol(&w);
	add_script(&w, w.test, "test", "exit 0");
	assert_int_equal(chmod(w.test, 0775), 0);
	w.d.smoke_test = strdup(w.test);
	smoke(&w);
	assert_int_equal(w.out.result, SMOKE_FAILED);
	assert_non_null(strstr(w.out.report.message, "only root can write"));
	end_world(&w);
	buf_free(&b);
}

static void smoke_in_a_container(void **state)
{
	struct json_object *o, *field;
	char path[128];
	struct world w;

	(void)state;
	make_world(&w, NULL);
	put_text(w.tree, "/run/systemd/container", "lxc\n");
	put_text(w.tree, "/var/lib/dpkg/status", "");
	smoke(&w);
	assert_int_equal(w.out.result, SMOKE_NOT_APPLICABLE);
	assert_int_equal(smoke_record(&w.s, &w.d, &w.out), 0);
	snprintf(path, sizeof(path), "%s/var/lib/kmodkeep/smoke/sample.json",
		 w.tree);
	o = json_object_from_file(path);
	assert_non_null(o);
	assert_true(json_object_object_get_ex(o, "result", &field));
	assert_string_equal(json_object_get_string(field), "not-applicable");
	assert_true(json_object_object_get_ex(o, "schema", &field));
	assert_int_equal(json_object_get_int(field), 1);
	json_object_put(o);
	end_world(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_dropin),
		cmocka_unit_test(bad_lines_are_named),
		cmocka_unit_test(unknown_settings_do_no_harm),
		cmocka_unit_test(the_administrator_decides),
		cmocka_unit_test(random_dropins),
		cmocka_unit_test(program_results),
		cmocka_unit_test(program_environment),
		cmocka_unit_test(the_whole_group_ends),
		cmocka_unit_test(smoke_passes),
		cmocka_unit_test(smoke_names_the_cause),
		cmocka_unit_test(smoke_asks_who_must_have_signed),
		cmocka_unit_test(smoke_unexplained_refusal),
		cmocka_unit_test(smoke_names_the_loaded_release),
		cmocka_unit_test(smoke_stale_module),
		cmocka_unit_test(smoke_killed_is_no_success),
		cmocka_unit_test(smoke_test_fails),
		cmocka_unit_test(smoke_test_others_could_change),
		cmocka_unit_test(smoke_in_a_container),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
