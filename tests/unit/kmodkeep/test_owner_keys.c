// SPDX-License-Identifier: GPL-2.0-or-later
/* Which kernels look at machine owner keys, by family and configuration. */
#include "fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "guard/host/efivars.h"
#include "guard/module/modsig.h"
#include "guard/verdict/verify.h"

#define FLAGS (CMS_NOATTR | CMS_DETACHED)


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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
