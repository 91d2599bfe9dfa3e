// SPDX-License-Identifier: GPL-2.0-or-later
/* What is read from a host: EFI variables, keyrings, kernels, places. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "guard/host/dkms_config.h"
#include "guard/host/efivars.h"
#include "guard/trust/keyring.h"
#include "guard/trust/rules.h"

static int count_entry(void *arg, enum efi_sig type,
		       const unsigned char *data, size_t len)
{
	unsigned int sum = 0;

	/* Touches all of it, so that ASan sees what lies outside. */
	for (size_t i = 0; i < len; i++)
		sum += data[i];
	((int *)arg)[type] += 1 + sum % 1;
	return 0;
}

static void signature_lists(void **state)
{
	const struct pair *two[] = { rsa_pair("one"), rsa_pair("two") };
	int counts[EFI_SIG_OTHER + 1] = { 0 };
	char *tree = make_tree();
	uint32_t seed = 1;
	struct host *h;
	struct buf list;

	(void)state;
	put_certs(tree, MOK_LIST, two, 2);
	assert_int_equal(host_new(tree, &h), 0);
	assert_int_equal(efivar_read(h, "MokListRT", SHIM_GUID, &list), 0);
	assert_int_equal(efi_siglist_walk(&list, count_entry, counts), 0);
	assert_int_equal(counts[EFI_SIG_X509], 2);
	for (size_t len = 1; len < list.len; len++) {
		struct buf cut = { malloc(len), len };
		int err;

		memcpy(cut.data, list.data, len);
		err = efi_siglist_walk(&cut, count_entry, counts);
		/* Cut between the lists, it is a shorter one. */
		assert_true(err == -EBADMSG || counts[EFI_SIG_X509] > 2);
		buf_free(&cut);
	}
	for (int n = 0; n < 20000; n++) {
		struct buf b = { malloc(list.len), list.len };

		memcpy(b.data, list.data, b.len);
		for (int k = 0; k < 3; k++)
			b.data[next_random(&seed) % 48] = next_random(&seed);
		efi_siglist_walk(&b, count_entry, counts);
		buf_free(&b);
	}
	buf_free(&list);
	host_free(h);
	remove_tree(tree);
}

static void short_variables(void **state)
{
	char *tree = make_tree();
	struct host *h;
	struct buf b;

	(void)state;
	assert_int_equal(host_new(tree, &h), 0);
	assert_int_equal(efivar_read(h, "x", SHIM_GUID, &b), -ENOENT);
	put_file(tree, "/sys/firmware/efi/efivars/x-" SHIM_GUID, "\0\0\0", 3);
	assert_int_equal(efivar_read(h, "x", SHIM_GUID, &b), -ENOENT);
	put_variable(tree, "y-" SHIM_GUID, "", 0);
	assert_int_equal(efivar_flag(h, "y", SHIM_GUID), -EBADMSG);
	host_free(h);
	remove_tree(tree);
}

/* A load option: attributes, path length, "A", two nodes, end. */
static const unsigned char option[] = {
	1, 0, 0, 0, 44, 0, 'A', 0, 0, 0,
	4, 1, 8, 0, 9, 9, 9, 9,
	4, 4, 32, 0, '\\', 0, 'E', 0, 'F', 0, 'I', 0, '\\', 0, 'd', 0, 'i', 0,
	's', 0, '\\', 0, 'x', 0, '.', 0, 'e', 0, 'f', 0, 0, 0,
	0x7f, 0xff, 4, 0,
};

static char *boot_directory(const char *tree, const void *data, size_t len)
{
	struct host *h;
	char *dir;

	put_variable(tree, "BootCurrent-" EFI_GLOBAL_GUID, "\1\0", 2);
	put_variable(tree, "Boot0001-" EFI_GLOBAL_GUID, data, len);
	assert_int_equal(host_new(tree, &h), 0);
	dir = efi_boot_directory(h);
	host_free(h);
	return dir;
}

static void boot_entries(void **state)
{
	char *tree = make_tree(), *dir;
	uint32_t seed = 3;

	(void)state;
	dir = boot_directory(tree, option, sizeof(option));
	assert_string_equal(dir, "/EFI/dis");
	free(dir);
	/* The path ends before the file: an entry for a whole disk. */
	dir = boot_directory(tree, option, 18);
	assert_null(dir);
	for (size_t len = 0; len < sizeof(option); len++)
		free(boot_directory(tree, option, len));
	for (int n = 0; n < 2000; n++) {
		unsigned char b[sizeof(option)];

		memcpy(b, option, sizeof(b));
		for (int k = 0; k < 3; k++)
			b[next_random(&seed) % sizeof(b)] = next_random(&seed);
		free(boot_directory(tree, b, sizeof(b)));
	}
	remove_tree(tree);
}

static void ring_descriptions(void **state)
{
	struct ring r = { 0 };
	const struct ring_key *k;

	(void)state;
	assert_int_equal(ring_add(&r, "asymmetric;0;0;1f030000;"
				  "Debian Secure Boot CA: 6ccece7e", true), 0);
	assert_int_equal(ring_add(&r, "asymmetric;0;0;1f030000;"
				  "Some Org: With: Colons: abcd", false), 0);
	assert_int_equal(ring_add(&r, "keyring;0;0;1f030000;.machine", true),
			 -EINVAL);
	assert_int_equal(ring_add(&r, "asymmetric;0;0", true), -EINVAL);
	assert_int_equal(ring_add(&r, "asymmetric;0;0;1;no identifier", true),
			 -EINVAL);
	assert_int_equal(ring_add(&r, "", true), -EINVAL);
	assert_int_equal(r.count, 2);
	k = ring_by_id(&r, "6ccece7e");
	assert_non_null(k);
	assert_string_equal(k->subject, "Debian Secure Boot CA");
	assert_true(k->of_kernel);
	assert_ptr_equal(ring_by_subject(&r, "Debian Secure Boot CA"), k);
	assert_non_null(ring_by_subject(&r, "With: Colons"));
	assert_null(ring_by_subject(&r, "Debian"));
	assert_null(ring_by_id(&r, "6ccece"));
	ring_free(&r);
}

#define MAYBE ANSWER_UNVERIFIED

static void rules_by_release(void **state)
{
	static const struct {
		const char *release, *family;
		enum answer cert, hash;
		enum answer ecdsa;
	} cases[] = {
		{ "5.10.0-46-amd64", "Debian", ANSWER_NO, ANSWER_YES, ANSWER_NO },
		{ "6.1.0-56-amd64", "Debian", ANSWER_NO, ANSWER_YES, MAYBE },
		{ "6.1.0-56-cloud-arm64", "Debian", ANSWER_NO, ANSWER_YES, MAYBE },
		{ "6.12.117+deb13-amd64", "Debian", ANSWER_NO, ANSWER_YES, MAYBE },
		{ "7.2.13+deb14-amd64", "Debian", ANSWER_NO, ANSWER_NO, MAYBE },
		{ "6.8.0-41-generic", "Ubuntu", ANSWER_YES, ANSWER_NO, MAYBE },
		{ "7.2.5-300.fc44.x86_64", "Fedora", ANSWER_NO, ANSWER_NO, MAYBE },
		{ "6.12.0-55.el10.x86_64", "RHEL", ANSWER_NO, ANSWER_NO, MAYBE },
		{ "4.18.0-553.el8.x86_64", "RHEL", ANSWER_NO,
		  ANSWER_UNVERIFIED, ANSWER_NO },
		{ "6.4.0-150600.23-default", "SUSE", ANSWER_UNVERIFIED,
		  ANSWER_YES, MAYBE },
		{ "7.2.0-rc1+", "unknown", ANSWER_UNVERIFIED,
		  ANSWER_UNVERIFIED, MAYBE },
		{ "", "unknown", ANSWER_UNVERIFIED, ANSWER_UNVERIFIED, MAYBE },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct kernel_rules r = rules_for(cases[i].release);

		print_message("%s\n", cases[i].release);
		assert_string_equal(r.family, cases[i].family);
		assert_int_equal(r.mokx_cert, cases[i].cert);
		assert_int_equal(r.mokx_hash, cases[i].hash);
		assert_int_equal(r.ecdsa, cases[i].ecdsa);
	}
}

static struct kernel_rules rules_with(const char *config)
{
	char *tree = make_tree();
	struct kernel_rules r;
	struct host *h;

	if (config)
		put_text(tree, "/boot/config-" KERNEL, config);
	assert_int_equal(host_new(tree, &h), 0);
	r = rules_on(h, KERNEL);
	host_free(h);
	remove_tree(tree);
	return r;
}

static enum answer ecdsa_with(const char *config)
{
	return rules_with(config).ecdsa;
}

/* What kernels compute by themselves; without a configuration, what they mostly have. */
static void hashes_by_configuration(void **state)
{
	struct kernel_rules r = rules_with("CONFIG_MODULES=y\nCONFIG_CRYPTO_SHA1=m\n"
					   "# CONFIG_CRYPTO_SHA512 is not set\n");

	(void)state;
	assert_int_equal(r.sha1, ANSWER_YES);
	assert_int_equal(r.sha512, ANSWER_NO);
	r = rules_with("CONFIG_MODULES=y\nCONFIG_CRYPTO_SHA512=y\n");
	assert_int_equal(r.sha1, ANSWER_NO);
	assert_int_equal(r.sha512, ANSWER_YES);
	r = rules_with(NULL);
	assert_int_equal(r.sha1, ANSWER_YES);
	assert_int_equal(r.sha512, ANSWER_YES);
	assert_int_equal(rules_for("6.8.0-41-generic").sha1, ANSWER_UNVERIFIED);
	assert_int_equal(rules_for("6.12.1-1-amd64").sha1, ANSWER_YES);
}

static void rules_by_configuration(void **state)
{
	(void)state;
	assert_int_equal(ecdsa_with("CONFIG_MODULES=y\nCONFIG_CRYPTO_ECDSA=y\n"),
			 ANSWER_YES);
	assert_int_equal(ecdsa_with("CONFIG_MODULES=y\nCONFIG_CRYPTO_ECDSA=m\n"),
			 ANSWER_UNVERIFIED);
	assert_int_equal(ecdsa_with("CONFIG_MODULES=y\n"
				    "# CONFIG_CRYPTO_ECDSA is not set\n"),
			 ANSWER_NO);
	assert_int_equal(ecdsa_with(NULL), ANSWER_UNVERIFIED);
}

static char *config(const char *tree, const char *name)
{
	struct host *h;
	char *value;

	assert_int_equal(host_new(tree, &h), 0);
	value = host_kernel_config(h, KERNEL, name);
	host_free(h);
	return value;
}

static void kernel_configuration(void **state)
{
	char *tree = make_tree(), *value;

	(void)state;
	assert_null(config(tree, "CONFIG_MODULE_SIG_HASH"));
	put_text(tree, "/lib/modules/" KERNEL "/build/.config",
		 "CONFIG_MODULE_SIG_HASH_NOT=\"x\"\n"
		 "CONFIG_MODULE_SIG_HASH=\"sha384\"");
	value = config(tree, "CONFIG_MODULE_SIG_HASH");
	assert_string_equal(value, "sha384");
	free(value);
	put_text(tree, "/boot/config-" KERNEL,
		 "# CONFIG_X is not set\nCONFIG_MODULE_SIG_HASH=\"sha256\"\n");
	value = config(tree, "CONFIG_MODULE_SIG_HASH");
	assert_string_equal(value, "sha256");
	free(value);
	remove_tree(tree);
}

static void places(void **state)
{
	static const char *const marks[] = {
		"/run/systemd/container", "/run/.containerenv", "/.dockerenv",
	};

	(void)state;
	for (size_t i = 0; i <= ARRAY_SIZE(marks); i++) {
		char *tree = make_tree();
		struct host *h;

		assert_int_equal(host_new(tree, &h), 0);
		assert_int_equal(host_place(h), PLACE_HOST);
		if (i < ARRAY_SIZE(marks))
			put_text(tree, marks[i], "lxc");
		else
			put_file(tree, "/proc/1/environ",
				 "A=1\0container=lxc\0", 18);
		assert_int_equal(host_place(h), PLACE_CONTAINER);
		host_free(h);
		remove_tree(tree);
	}
}

static void machine_ids(void **state)
{
	static const char *const bad[] = { "", "uninitialized\n", "123\n" };
	char *tree = make_tree(), *id;
	struct host *h;

	(void)state;
	assert_int_equal(host_new(tree, &h), 0);
	assert_null(host_machine_id(h));
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		put_text(tree, "/etc/machine-id", bad[i]);
		assert_null(host_machine_id(h));
	}
	put_text(tree, "/etc/machine-id", "0123456789abcdef0123456789abcdef\n");
	id = host_machine_id(h);
	assert_string_equal(id, "0123456789abcdef0123456789abcdef");
	free(id);
	host_free(h);
	remove_tree(tree);
}

/* What dkms makes of a configuration, taken from bash itself. */
static void dkms_settings(void **state)
{
	static const struct {
		const char *text, *value;
		bool sure;
	} cases[] = {
		{ "", NULL, true },
		{ "k=/a/b\n", "/a/b", true },
		{ "k=/a\nk=/b", "/b", true },
		{ "  k='/a b' # k=/c\n", "/a b", true },
		{ "#k=/a\n", NULL, true },
		{ "k=/a#b\n", "/a#b", true },
		{ "k=\"/a\"\\'/b\n", "/a'/b", true },
		{ "k=\"/a\nk=/b\"\nj=1\n", "/a\nk=/b", true },
		{ "k=/a\\\n/b\n", "/a/b", true },
		{ "k=/a\r\n", "/a", true },
		{ "k=/a; k=/b;\n", "/b", true },
		{ "export k=/a\n", "/a", true },
		{ "d=/d\nk=$d/a\nd=/e\n", "/d/a", true },
		{ "d=/d\nk=\"${d}/a\"\n", "/d/a", true },
		{ "k=/a\nk+=/b\n", "/a/b", true },
		{ "k='/a/$kernelver.key'\n", "/a/$kernelver.key", true },
		{ "k=/a/${kernelver}.key\n", "/a/$kernelver.key", true },
		{ "x=(1 2 ')' \"k=/b)\")\nk=/a\n", "/a", true },
		{ "k=/a\nx=(\nk=/b\n)\n", "/a", true },
		{ "x[1]=2\nk=/a\n", "/a", true },
		{ "k=/a\nk=\n", NULL, true },
		{ "k=/a true\n", NULL, false },	/* for true alone */
		{ "k=$(cat /x)\n", NULL, false },
		{ "k=`cat /x`/a\n", "/a", false },
		{ "k='$HOME/a'\n", "$HOME/a", false },
		{ "k=${d:-/a}\n", NULL, false },
		{ "k=~/a\n", "~/a", false },
		{ "if x; then k=/a; fi\n", NULL, false },
		{ "x && k=/a\n", "/a", false },
		{ "k=/a\n. /etc/other\n", "/a", false },
		{ ". /etc/other\nk=/a\n", "/a", true },
		{ "cat <<E\nk=/a\nE\n", NULL, false },
		{ "k=/a\nf() { k=/b; }\n", "/a", false },
		{ "k='/a\n", "/a\n", false },
		{ "k=\"/a", "/a", false },
		{ "k=(/a\n", NULL, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct dkms_config c = { 0 };
		const char *value;
		bool sure;

		assert_int_equal(dkms_config_parse(&c, "x", cases[i].text), 0);
		value = dkms_config_get(&c, "k", &sure);
		if (!cases[i].value != !value || sure != cases[i].sure ||
		    (value && strcmp(value, cases[i].value)))
			fail_msg("%s: '%s', %s", cases[i].text,
				 value ? value : "(none)",
				 sure ? "sure" : "unsure");
		/* What makes it unsure is named. */
		assert_true(sure || c.gap || value || c.count);
		dkms_config_free(&c);
	}
}

static void dkms_drop_ins(void **state)
{
	static const char junk[] = "a=1\0b=2";
	char *tree = make_tree();
	struct dkms_config c;
	struct host *h;
	bool sure;

	(void)state;
	assert_int_equal(host_new(tree, &h), 0);
	assert_int_equal(dkms_config_read(h, &c), 0);
	assert_null(dkms_config_get(&c, "a", &sure));
	assert_true(sure);
	dkms_config_free(&c);

	put_text(tree, "/etc/dkms/framework.conf", "a=1\nb=1\nc=1\n");
	put_text(tree, "/etc/dkms/framework.conf.d/20.conf", "a=20\nb=20\n");
	put_text(tree, "/etc/dkms/framework.conf.d/10.conf", "a=10\nb=10\n");
	put_text(tree, "/etc/dkms/framework.conf.d/30.conf.old", "a=30\n");
	put_text(tree, "/etc/dkms/framework.conf.d/.40.conf", "a=40\n");
	assert_int_equal(dkms_config_read(h, &c), 0);
	assert_string_equal(dkms_config_get(&c, "a", &sure), "20");
	assert_true(sure);
	assert_string_equal(dkms_config_get(&c, "c", &sure), "1");
	assert_null(c.gap);
	dkms_config_free(&c);

	put_file(tree, "/etc/dkms/framework.conf.d/25.conf", junk,
		 sizeof(junk));
	assert_int_equal(dkms_config_read(h, &c), 0);
	assert_string_equal(dkms_config_get(&c, "a", &sure), "20");
	assert_false(sure);
	assert_non_null(strstr(c.gap, "25.conf"));
	dkms_config_free(&c);
	host_free(h);
	remove_tree(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signature_lists),
		cmocka_unit_test(short_variables),
		cmocka_unit_test(boot_entries),
		cmocka_unit_test(ring_descriptions),
		cmocka_unit_test(rules_by_release),
		cmocka_unit_test(rules_by_configuration),
		cmocka_unit_test(hashes_by_configuration),
		cmocka_unit_test(kernel_configuration),
		cmocka_unit_test(places),
		cmocka_unit_test(machine_ids),
		cmocka_unit_test(dkms_settings),
		cmocka_unit_test(dkms_drop_ins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
