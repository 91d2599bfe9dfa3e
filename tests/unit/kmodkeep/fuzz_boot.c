// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Feeds the parsers of what boots: the menu of GRUB and its saved variables,
 * the configurations of extlinux, Limine, rEFInd and the Raspberry Pi, boot loader
 * entries, initramfs archives, dpkg's status, and what unlocks an encrypted disk. The
 * first byte says which one is meant.
 */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guard/boot/bls.h"
#include "guard/host/dpkg.h"
#include "guard/boot/extlinux.h"
#include "guard/boot/grub_cfg.h"
#include "guard/boot/limine.h"
#include "guard/boot/raspberry.h"
#include "guard/boot/refind.h"
#include "guard/module/initramfs.h"
#include "guard/host/tpm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static enum grub_truth has(void *arg, const char *path, bool not_empty)
{
	(void)arg;
	return (strlen(path) + not_empty) % 3;
}

static int source(void *arg, const char *path, struct buf *out)
{
	const char *text = arg;

	/* Itself, without its end: it comes to an end. */
	out->len = strlen(path) < 8 ? strlen(text) / 2 : 0;
	out->data = out->len ? (unsigned char *)strndup(text, out->len) : NULL;
	return out->data ? 0 : -ENOENT;
}

static void menu(const char *bytes, size_t len)
{
	static const char *const defaults[] = {
		"", "0", "1>2", "a", "a>b", ">", "1>1>1>1", "999999999999",
	};
	char *text = strndup(bytes, len);
	struct grub_vars saved = { 0 };
	struct grub_run how = {
		.files = { has, text }, .read = source, .saved = &saved,
	};
	struct grub_menu m;

	if (!text || grub_vars_set(&saved, "saved_entry", "a>b") ||
	    grub_menu_read(&m, bytes, len, &how))
		abort();
	for (size_t i = 0; i <= ARRAY_SIZE(defaults); i++) {
		int at = grub_resolve(&m, i < ARRAY_SIZE(defaults) ? defaults[i] :
							m.chosen);

		if (at >= (int)m.count || (at >= 0 && m.list[at].submenu))
			abort();
	}
	for (size_t i = 0; i < m.count; i++) {
		char *path = grub_path(&m, i);

		if (m.list[i].parent >= (int)i)
			abort();
		/* What names an entry leads to one. */
		if (path && grub_resolve(&m, path) >= (int)m.count)
			abort();
		free(path);
	}
	grub_menu_free(&m);
	grub_vars_free(&saved);
	free(text);
}

static void block(const struct buf *b)
{
	struct grub_vars v = { 0 };

	if (grub_env_read(b, &v) || v.count > GRUB_VARS_MAX)
		abort();
	grub_vars_free(&v);
}

static void orders(const char *text, size_t len)
{
	char *a = strndup(text, len / 2), *b = strndup(text + len / 2, len - len / 2);
	int order = bls_version_compare(a, b), back = bls_version_compare(b, a);

	if ((order > 0) != (back < 0) || (order < 0) != (back > 0) ||
	    bls_version_compare(a, a))
		abort();
	free(a);
	free(b);
}

static void entries(const char *text, size_t len)
{
	struct bls b = { 0 };

	if (bls_add(&b, "one+1-2.conf", text, len) ||
	    bls_add(&b, "two.conf", text, len / 2) ||
	    bls_add(&b, "three.efi", text, 0))
		abort();
	bls_sort(&b);
	bls_match(&b, b.list[0].title ? b.list[0].title : "*");
	bls_sort_grub(&b);
	free(bls_setting(text, len, "default"));
	bls_free(&b);
}

static bool want(void *arg, const char *path)
{
	(void)arg;
	return strlen(path) % 2;
}

static int found(void *arg, const char *path, struct buf *content)
{
	size_t *total = arg;

	if (!content->data || !*path)
		abort();
	*total += content->data[content->len - 1];
	return 0;
}

static int linked(void *arg, const char *path, const char *target)
{
	size_t *total = arg;

	*total += strlen(path) + strlen(target);
	return 0;
}

static int empty(void *arg, const char *path, bool elsewhere)
{
	size_t *total = arg;

	*total += strlen(path) + elsewhere;
	return 0;
}

static void archive(const uint8_t *data, size_t size)
{
	size_t total = 0;
	struct cpio_reader reader = { want, found, linked, empty, &total };
	int fd = memfd_create("initramfs", 0);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size ||
	    lseek(fd, 0, SEEK_SET))
		abort();
	initramfs_read_fd(fd, &reader);
	close(fd);
}

static char *find_file(const void *labels, const char *name)
{
	(void)labels;
	return *name == '/' ? strdup("/nonexistent") : NULL;
}

/* What is chosen is one of the list. */
static void check_chosen(const struct labels *l, const struct label *one)
{
	if (one && (one < l->list || one >= l->list + l->count || !one->name))
		abort();
}

static void limine(const char *text, size_t len, bool old)
{
	struct limine x = { .labels.find = find_file, .old = old };

	if (limine_read(&x, text, len) || x.labels.count > LABELS_MAX)
		abort();
	check_chosen(&x.labels, limine_chosen(&x));
	limine_free(&x);
}

static void refind(const char *text, size_t len)
{
	struct refind x = { .labels.find = find_file };

	if (refind_read(&x, text, len) || x.labels.count > LABELS_MAX)
		abort();
	check_chosen(&x.labels, refind_chosen(&x));
	free(refind_options(text, len));
	refind_free(&x);
}

static void extlinux(const char *text, size_t len)
{
	struct extlinux x = { .labels.find = find_file };

	if (extlinux_read(&x, text, len) || x.labels.count > LABELS_MAX)
		abort();
	check_chosen(&x.labels, extlinux_chosen(&x));
	extlinux_free(&x);
}

static void raspberry(const char *text, size_t len)
{
	struct raspberry c = { .model = strdup("Raspberry Pi 5 Model B Rev 1.0") };

	if (!c.model || raspberry_read(&c, text, len) || (c.kernel && strchr(c.kernel, '\n')))
		abort();
	raspberry_free(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *text = (const char *)data + 1;
	struct buf b;
	struct packages p;
	struct tpm t = { 0 };

	if (!size)
		return 0;
	b.data = (unsigned char *)data + 1;
	b.len = size - 1;
	switch (data[0] % 11) {
	case 0:
		menu(text, size - 1);
		break;
	case 1:
		block(&b);
		break;
	case 2:
		entries(text, size - 1);
		break;
	case 3:
		archive(data + 1, size - 1);
		break;
	case 4:
		if (!dpkg_parse(&b, &b, &p))
			packages_free(&p);
		break;
	case 6:
		orders(text, size - 1);
		break;
	case 7:
		limine(text, size - 1, data[0] & 128);
		break;
	case 8:
		refind(text, size - 1);
		break;
	case 9:
		raspberry(text, size - 1);
		break;
	case 10:
		extlinux(text, size - 1);
		break;
	case 5:
		tpm_take(&t, "disk", &b);
		free(tpm_warning(&t));
		tpm_free(&t);
		break;
	}
	return 0;
}
