// SPDX-License-Identifier: GPL-2.0-or-later
/* Each verdict, from what the host knows; and no `ok` for changed content. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/host/efivars.h"
#include "guard/module/modsig.h"
#include "guard/verdict/verify.h"

#define FLAGS (CMS_NOATTR | CMS_DETACHED)

static struct buf module;

static int setup(void **state)
{
	(void)state;
	make_module(&module);
	return 0;
}

/* Judges bytes on the host under tree; *why (if given) gets the message. */
static enum verdict judge(const char *tree, const struct buf *b,
			  const char *kernel, char **why)
{
	struct report r = { 0 };
	struct host *h;
	struct trust *t;
	enum verdict v;

	assert_int_equal(host_new(tree, &h), 0);
	assert_int_equal(trust_new(h, &t), 0);
	assert_int_equal(verify_bytes(h, t, b, kernel, &r), 0);
	assert_non_null(r.message);
	v = r.verdict;
	if (why)
		*why = strdup(r.message);
	report_free(&r);
	trust_free(t);
	host_free(h);
	return v;
}

static char *secure_host(const struct pair *enrolled)
{
	char *tree = make_tree();

	put_secure_boot(tree, true);
	if (enrolled)
		put_certs(tree, MOK_LIST, &enrolled, 1);
	return tree;
}

static void sign_one(const struct pair *by, struct buf *out)
{
	sign_with(&module, &by, 1, FLAGS, "sha256", out);
}

static void expect(char *tree, const struct buf *b, enum verdict wanted)
{
	char *why;
	enum verdict v = judge(tree, b, NULL, &why);

	if (v != wanted)
		print_error("%s, not %s: %s\n", verdict_word(v),
			    verdict_word(wanted), why);
	assert_int_equal(v, wanted);
	free(why);
}

static void enrolled_key(void **state)
{
	char *tree = secure_host(rsa_pair("one"));
	struct buf b;

	(void)state;
	sign_one(rsa_pair("one"), &b);
	expect(tree, &b, VERDICT_OK);
	b.data[90] ^= 4;
	expect(tree, &b, VERDICT_TAMPERED);
	buf_free(&b);
	remove_tree(tree);
}

static void not_signed(void **state)
{
	char *tree = secure_host(rsa_pair("one"));

	(void)state;
	expect(tree, &module, VERDICT_UNSIGNED);
	remove_tree(tree);
}

static void other_key(void **state)
{
	char *tree = secure_host(rsa_pair("one"));
	struct buf b;

	(void)state;
	sign_one(rsa_pair("two"), &b);
	expect(tree, &b, VERDICT_UNTRUSTED_KEY);
	buf_free(&b);
	remove_tree(tree);
}

static void waiting_key(void **state)
{
	const struct pair *two = rsa_pair("two");
	char *tree = secure_host(rsa_pair("one"));
	struct buf b;

	(void)state;
	put_certs(tree, MOK_NEW, &two, 1);
	sign_one(two, &b);
	expect(tree, &b, VERDICT_UNTRUSTED_KEY);
	put_variable(tree, MOK_AUTH, "hash", 4);
	expect(tree, &b, VERDICT_PENDING_ENROLMENT);
	b.data[90] ^= 4;
	expect(tree, &b, VERDICT_TAMPERED);
	buf_free(&b);
	remove_tree(tree);
}

static void key_in_db(void **state)
{
	const struct pair *two = rsa_pair("two");
	char *tree = secure_host(NULL);
	struct buf b;

	(void)state;
	put_certs(tree, DB, &two, 1);
	sign_one(two, &b);
	expect(tree, &b, VERDICT_OK);
	buf_free(&b);
	remove_tree(tree);
}

static void damaged_signature(void **state)
{
	char *tree = secure_host(rsa_pair("one"));
	struct buf b;

	(void)state;
	sign_one(rsa_pair("one"), &b);
	b.data[module.len] ^= 0xff;
	expect(tree, &b, VERDICT_TAMPERED);
	buf_free(&b);
	remove_tree(tree);
}

static void attributes(void **state)
{
	const struct pair *one = rsa_pair("one");
	char *tree = secure_host(one);
	struct buf b;

	(void)state;
	sign_with(&module, &one, 1, CMS_DETACHED, "sha256", &b);
	expect(tree, &b, VERDICT_UNSUPPORTED_SIGNATURE);
	buf_free(&b);
	remove_tree(tree);
}

static void weak_hash(void **state)
{
	const struct pair *one = rsa_pair("one");
	char *tree = secure_host(one);
	struct buf b;

	(void)state;
	sign_with(&module, &one, 1, FLAGS, "md5", &b);
	expect(tree, &b, VERDICT_UNSUPPORTED_SIGNATURE);
	buf_free(&b);
	remove_tree(tree);
}

static void curve_needs_a_kernel_with_it(void **state)
{
	static const char old[] = "name=x\0vermagic=5.10.0-30-amd64 SMP ";
	const struct pair *ec = ec_pair("curve");
	char *tree = secure_host(ec);
	struct buf elf, b;

	(void)state;
	sign_one(ec, &b);
	expect(tree, &b, VERDICT_UNKNOWN);
	put_text(tree, "/boot/config-" KERNEL,
		 "CONFIG_MODULES=y\nCONFIG_INTEGRITY_PLATFORM_KEYRING=y\n"
		 "CONFIG_CRYPTO_ECDSA=m\n");
	expect(tree, &b, VERDICT_UNKNOWN);
	put_text(tree, "/boot/config-" KERNEL,
		 "CONFIG_MODULES=y\nCONFIG_INTEGRITY_PLATFORM_KEYRING=y\n"
		 "CONFIG_CRYPTO_ECDSA=y\n");
	expect(tree, &b, VERDICT_OK);
	/* Debian's 6.1. */
	put_text(tree, "/boot/config-" KERNEL,
		 "CONFIG_MODULES=y\n# CONFIG_CRYPTO_ECDSA is not set\n");
	expect(tree, &b, VERDICT_UNSUPPORTED_SIGNATURE);
	buf_free(&b);
	make_elf(&elf, true, false, old, sizeof(old));
	sign_with(&elf, &ec, 1, FLAGS, "sha256", &b);
	expect(tree, &b, VERDICT_UNSUPPORTED_SIGNATURE);
	buf_free(&b);
	buf_free(&elf);
	remove_tree(tree);
}

/* Rotation: one trusted signer of two is enough, in either order. */
static void one_of_two_signers(void **state)
{
	const struct pair *a[] = { rsa_pair("one"), rsa_pair("two") };
	const struct pair *z[] = { rsa_pair("two"), rsa_pair("one") };
	char *tree = secure_host(rsa_pair("one"));
	struct buf b;

	(void)state;
	sign_with(&module, a, 2, FLAGS, "sha256", &b);
	expect(tree, &b, VERDICT_OK);
	buf_free(&b);
	sign_with(&module, z, 2, FLAGS, "sha256", &b);
	expect(tree, &b, VERDICT_OK);
	b.data[90] ^= 4;
	expect(tree, &b, VERDICT_TAMPERED);
	buf_free(&b);
	remove_tree(tree);
}

static void revoked_certificate_by_distribution(void **state)
{
	static const char ubuntu[] = "name=x\0vermagic=6.8.0-41-generic SMP ";
	const struct pair *one = rsa_pair("one");
	const struct pair *both[] = { rsa_pair("one"), rsa_pair("two") };
	char *tree = make_tree();
	struct buf elf, b;

	(void)state;
	put_secure_boot(tree, true);
	put_certs(tree, MOK_LIST, both, 2);
	put_certs(tree, MOK_LIST_X, &one, 1);
	/* Debian's kernels do not look at certificates there. */
	sign_one(one, &b);
	expect(tree, &b, VERDICT_OK);
	buf_free(&b);
	make_elf(&elf, true, false, ubuntu, sizeof(ubuntu));
	sign_with(&elf, &one, 1, FLAGS, "sha256", &b);
	expect(tree, &b, VERDICT_REVOKED);
	buf_free(&b);
	/* A revoked signer spoils the good one. */
	sign_with(&elf, both, 2, FLAGS, "sha256", &b);
	expect(tree, &b, VERDICT_REVOKED);
	buf_free(&b);
	buf_free(&elf);
	remove_tree(tree);
}

static void revoked_hash_by_version(void **state)
{
	static const char sid[] = "name=x\0vermagic=7.2.1+deb14-amd64 SMP ";
	const struct pair *one = rsa_pair("one");
	char *tree = secure_host(one);
	unsigned char hash[32];
	struct buf elf, b;

	(void)state;
	sign_one(one, &b);
	EVP_Digest(b.data, b.len, hash, NULL, EVP_sha256(), NULL);
	put_hash(tree, MOK_LIST_X, hash);
	expect(tree, &b, VERDICT_REVOKED);
	buf_free(&b);
	make_elf(&elf, true, false, sid, sizeof(sid));
	sign_with(&elf, &one, 1, FLAGS, "sha256", &b);
	EVP_Digest(b.data, b.len, hash, NULL, EVP_sha256(), NULL);
	put_hash(tree, MOK_LIST_X, hash);
	expect(tree, &b, VERDICT_OK);
	buf_free(&b);
	buf_free(&elf);
	remove_tree(tree);
}

static void other_kernel(void **state)
{
	char *tree = secure_host(rsa_pair("one"));
	struct buf b;

	(void)state;
	sign_one(rsa_pair("one"), &b);
	assert_int_equal(judge(tree, &b, KERNEL, NULL), VERDICT_OK);
	assert_int_equal(judge(tree, &b, "6.1.0-31-amd64", NULL),
			 VERDICT_WRONG_KERNEL);
	/* Changed is worse than built for another kernel. */
	b.data[90] ^= 4;
	assert_int_equal(judge(tree, &b, "6.1.0-31-amd64", NULL),
			 VERDICT_TAMPERED);
	buf_free(&b);
	remove_tree(tree);
}

static void no_demand(void **state)
{
	char *off = make_tree(), *no_efi = make_tree(), *why;
	const struct pair *one = rsa_pair("one");
	struct buf b;

	(void)state;
	put_secure_boot(off, false);
	assert_int_equal(judge(off, &module, NULL, &why), VERDICT_OK);
	assert_non_null(strstr(why, "Secure Boot is off"));
	free(why);
	assert_int_equal(judge(no_efi, &module, NULL, &why), VERDICT_OK);
	assert_non_null(strstr(why, "no EFI"));
	free(why);
	/* What was changed is a finding wherever it is noticed. */
	put_certs(off, MOK_LIST, &one, 1);
	sign_one(one, &b);
	expect(off, &b, VERDICT_OK);
	b.data[90] ^= 4;
	expect(off, &b, VERDICT_TAMPERED);
	buf_free(&b);
	remove_tree(off);
	remove_tree(no_efi);
}

static void lockdown_without_secure_boot(void **state)
{
	char *tree = make_tree();

	(void)state;
	put_secure_boot(tree, false);
	put_text(tree, "/sys/kernel/security/lockdown",
		 "none [integrity] confidentiality\n");
	expect(tree, &module, VERDICT_UNSIGNED);
	put_text(tree, "/sys/kernel/security/lockdown",
		 "[none] integrity confidentiality\n");
	expect(tree, &module, VERDICT_OK);
	put_text(tree, "/sys/module/module/parameters/sig_enforce", "Y\n");
	expect(tree, &module, VERDICT_UNSIGNED);
	remove_tree(tree);
}

/* Where the lists of shim are not read, they neither help nor harm. */
static void lists_without_secure_boot(void **state)
{
	const struct pair *one = rsa_pair("one");
	char *tree = make_tree(), *why;
	unsigned char hash[32];
	struct buf b;

	(void)state;
	put_secure_boot(tree, false);
	put_certs(tree, MOK_LIST, &one, 1);
	sign_one(one, &b);
	EVP_Digest(b.data, b.len, hash, NULL, EVP_sha256(), NULL);
	put_hash(tree, MOK_LIST_X, hash);
	assert_int_equal(judge(tree, &b, NULL, &why), VERDICT_OK);
	assert_non_null(strstr(why, "demands no signature"));
	free(why);
	put_text(tree, "/sys/module/module/parameters/sig_enforce", "Y\n");
	expect(tree, &b, VERDICT_UNTRUSTED_KEY);
	put_secure_boot(tree, true);
	expect(tree, &b, VERDICT_REVOKED);
	buf_free(&b);
	remove_tree(tree);
}

static void unsupported_without_secure_boot(void **state)
{
	const struct pair *one = rsa_pair("one");
	char *tree = make_tree();
	struct buf b;

	(void)state;
	put_secure_boot(tree, false);
	sign_with(&module, &one, 1, FLAGS, "md5", &b);
	expect(tree, &b, VERDICT_OK);
	put_text(tree, "/sys/module/module/parameters/sig_enforce", "Y\n");
	expect(tree, &b, VERDICT_UNSUPPORTED_SIGNATURE);
	put_text(tree, "/sys/module/module/parameters/sig_enforce", "N\n");
	buf_free(&b);
	/* Signed attributes are refused by every kernel, enforcing or not. */
	sign_with(&module, &one, 1, CMS_DETACHED, "sha256", &b);
	expect(tree, &b, VERDICT_UNSUPPORTED_SIGNATURE);
	buf_free(&b);
	remove_tree(tree);
}

static void validation_disabled_in_shim(void **state)
{
	char *tree = secure_host(NULL);

	(void)state;
	put_variable(tree, "MokSBStateRT-605dab50-e046-4300-abb6-3dd810dd8b23",
		     "\1", 1);
	expect(tree, &module, VERDICT_OK);
	remove_tree(tree);
}

static void variables_not_mounted(void **state)
{
	char *tree = make_tree();
	struct buf b;

	(void)state;
	put_text(tree, "/sys/firmware/efi/runtime", "");
	expect(tree, &module, VERDICT_UNKNOWN);
	sign_one(rsa_pair("one"), &b);
	expect(tree, &b, VERDICT_UNKNOWN);
	buf_free(&b);
	remove_tree(tree);
}

static void module_of_the_kernel(void **state)
{
	static const char intree[] =
		"name=x\0intree=Y\0vermagic=" KERNEL " SMP ";
	const struct pair *two = rsa_pair("two");
	char *tree = secure_host(rsa_pair("one"));
	struct buf elf, b;

	(void)state;
	make_elf(&elf, true, false, intree, sizeof(intree));
	sign_with(&elf, &two, 1, FLAGS, "sha256", &b);
	/* Its key is built into that kernel; it cannot be read, so not ok. */
	expect(tree, &b, VERDICT_UNKNOWN);
	buf_free(&b);
	buf_free(&elf);
	remove_tree(tree);
}

static void not_a_module(void **state)
{
	char *tree = secure_host(NULL);
	struct buf text = { (unsigned char *)"hello", 5 }, none = { text.data, 0 };

	(void)state;
	expect(tree, &text, VERDICT_TAMPERED);
	expect(tree, &none, VERDICT_TAMPERED);
	remove_tree(tree);
}

static void pinned_certificate(void **state)
{
	const struct pair *one = rsa_pair("one");
	char *tree = secure_host(one), path[128];
	unsigned char *der = NULL;
	int len = i2d_X509(rsa_pair("two")->cert, &der);
	struct report r = { 0 };
	struct host *h;
	struct trust *t;
	struct buf b;

	(void)state;
	put_file(tree, "/pinned.der", der, len);
	OPENSSL_free(der);
	snprintf(path, sizeof(path), "%s/pinned.der", tree);
	assert_int_equal(host_new(tree, &h), 0);
	assert_int_equal(trust_new_pinned(path, &t), 0);
	/* Enrolled here, but not the one that was asked for. */
	sign_one(one, &b);
	assert_int_equal(verify_bytes(h, t, &b, NULL, &r), 0);
	assert_int_equal(r.verdict, VERDICT_UNTRUSTED_KEY);
	report_free(&r);
	buf_free(&b);
	sign_one(rsa_pair("two"), &b);
	assert_int_equal(verify_bytes(h, t, &b, NULL, &r), 0);
	assert_int_equal(r.verdict, VERDICT_OK);
	report_free(&r);
	buf_free(&b);
	trust_free(t);
	host_free(h);
	remove_tree(tree);
}

/* Flips, overwrites, cuts or inserts a few bytes, mostly near the end. */
static void mutate(struct buf *b, uint32_t *seed)
{
	size_t edits = 1 + next_random(seed) % 4;

	while (edits-- && b->len > 1) {
		size_t at = next_random(seed) % b->len;
		unsigned char value = next_random(seed);

		if (next_random(seed) % 2)
			at = b->len - 1 - at % (b->len / 3 + 1);
		switch (next_random(seed) % 5) {
		case 0:
			b->data[at] ^= 1 << value % 8;
			break;
		case 1:
			b->data[at] = value;
			break;
		case 2:
			memmove(b->data + at, b->data + at + 1,
				b->len - at - 1);
			b->len--;
			break;
		case 3:
			memmove(b->data + at + 1, b->data + at, b->len - at);
			b->data[at] = value;
			b->len++;
			break;
		default:
			b->data[b->len - 40 + 8 + value % 4] ^= value;
		}
	}
}

static void mutations(const struct buf *good, const struct trust *t,
		      const struct host *h, uint32_t seed, int rounds)
{
	int ok = 0;

	for (int i = 0; i < rounds; i++) {
		struct buf b = { malloc(good->len + 8), good->len };
		struct report r = { 0 };
		struct buf exact;

		memcpy(b.data, good->data, good->len);
		mutate(&b, &seed);
		/* No slack at the end: ASan sees the first byte too many. */
		exact.len = b.len;
		exact.data = malloc(b.len);
		memcpy(exact.data, b.data, b.len);
		assert_int_equal(verify_bytes(h, t, &exact, NULL, &r), 0);
		if (r.verdict == VERDICT_OK) {
			/* Only bytes that carry no meaning may differ. */
			ok++;
			assert_true(modsig_strip(exact.data, exact.len) ==
				    module.len);
			assert_memory_equal(exact.data, module.data,
					    module.len);
		}
		report_free(&r);
		buf_free(&exact);
		buf_free(&b);
	}
	/* If most were still good, the mutations would test nothing. */
	assert_true(ok < rounds / 10);
}

static void mutated_modules_are_never_ok(void **state)
{
	const struct pair *two[] = { rsa_pair("one"), ec_pair("curve") };
	char *tree = make_tree();
	struct buf b;
	struct host *h;
	struct trust *t;

	(void)state;
	put_secure_boot(tree, true);
	put_certs(tree, MOK_LIST, two, 2);
	assert_int_equal(host_new(tree, &h), 0);
	assert_int_equal(trust_new(h, &t), 0);
	sign_with(&module, two, 1, FLAGS, "sha256", &b);
	mutations(&b, t, h, 20260101, 6000);
	buf_free(&b);
	sign_with(&module, two, 2, FLAGS | CMS_USE_KEYID, "sha512", &b);
	mutations(&b, t, h, 715517, 6000);
	buf_free(&b);
	trust_free(t);
	host_free(h);
	remove_tree(tree);
}

static bool passed_on = true;	/* shim left MokListTrustedRT */

static void check_family(const char *release, const char *config,
			 enum verdict wanted)
{
	const struct pair *one = rsa_pair("one");
	char *tree = secure_host(one), *why;
	char *path = text_of("/boot/config-%s", release);
	char *info = text_of("name=x%cvermagic=%s SMP ", '.', release);
	struct buf elf, b;
	enum verdict v;

	*strchr(info, '.') = '\0';
	if (config)
		put_text(tree, path, config);
	if (passed_on)
		put_variable(tree, "MokListTrustedRT-" SHIM_GUID, "\1", 1);
	make_elf(&elf, true, false, info, 7 + strlen(info + 7) + 1);
	sign_with(&elf, &one, 1, FLAGS, "sha256", &b);
	v = judge(tree, &b, NULL, &why);
	if (v != wanted)
		print_error("%s %s: %s: %s\n", release, config ? config : "",
			    verdict_word(v), why);
	assert_int_equal(v, wanted);
	free(why);
	buf_free(&b);
	buf_free(&elf);
	free(info);
	free(path);
	remove_tree(tree);
}

/* An enrolled key helps only where the kernel looks at machine owner keys. */
static void kernels_that_ignore_owner_keys(void **state)
{
#define M "CONFIG_MODULES=y\n"
#define MACHINE "CONFIG_INTEGRITY_MACHINE_KEYRING=y\n"
#define SECONDARY "CONFIG_SECONDARY_TRUSTED_KEYRING=y\n"
#define PLATFORM "CONFIG_INTEGRITY_PLATFORM_KEYRING=y\n"
#define CA "CONFIG_INTEGRITY_CA_MACHINE_KEYRING=y\n"
	(void)state;
	check_family(KERNEL, NULL, VERDICT_OK);
	check_family(KERNEL, M PLATFORM, VERDICT_OK);
	check_family(KERNEL, M, VERDICT_UNTRUSTED_KEY);
	check_family("6.12.9-x64v3-xanmod1", NULL, VERDICT_UNKNOWN);
	check_family("6.12.9-x64v3-xanmod1", M, VERDICT_UNTRUSTED_KEY);
	check_family("6.12.9-x64v3-xanmod1", M PLATFORM, VERDICT_UNKNOWN);
	check_family("6.12.9-x64v3-xanmod1", M MACHINE SECONDARY, VERDICT_OK);
	passed_on = false;
	check_family("6.12.9-x64v3-xanmod1", M MACHINE SECONDARY, VERDICT_UNKNOWN);
	passed_on = true;
	check_family("6.12.9-x64v3-xanmod1", M MACHINE, VERDICT_UNKNOWN);
	check_family("6.12.9-x64v3-xanmod1", M MACHINE SECONDARY CA,
		     VERDICT_UNKNOWN);
	check_family("6.19.6-1-liquorix-amd64", NULL, VERDICT_UNKNOWN);
	check_family("6.19.6-2-cachyos", NULL, VERDICT_UNKNOWN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kernels_that_ignore_owner_keys),
		cmocka_unit_test(enrolled_key),
		cmocka_unit_test(not_signed),
		cmocka_unit_test(other_key),
		cmocka_unit_test(waiting_key),
		cmocka_unit_test(key_in_db),
		cmocka_unit_test(damaged_signature),
		cmocka_unit_test(attributes),
		cmocka_unit_test(weak_hash),
		cmocka_unit_test(curve_needs_a_kernel_with_it),
		cmocka_unit_test(one_of_two_signers),
		cmocka_unit_test(revoked_certificate_by_distribution),
		cmocka_unit_test(revoked_hash_by_version),
		cmocka_unit_test(other_kernel),
		cmocka_unit_test(no_demand),
		cmocka_unit_test(lockdown_without_secure_boot),
		cmocka_unit_test(lists_without_secure_boot),
		cmocka_unit_test(unsupported_without_secure_boot),
		cmocka_unit_test(validation_disabled_in_shim),
		cmocka_unit_test(variables_not_mounted),
		cmocka_unit_test(module_of_the_kernel),
		cmocka_unit_test(not_a_module),
		cmocka_unit_test(pinned_certificate),
		cmocka_unit_test(mutated_modules_are_never_ok),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
