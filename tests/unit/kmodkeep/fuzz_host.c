// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Feeds what reads the files of a boot and of drivers' packages: kernels' and PE
 * headers, an initramfs in a unified image, the command line of a kernel, the links
 * of an archive, a dkms.conf, and an index of aliases. The first byte says which one is meant.
 */
#include <ctype.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "guard/host/bootfile.h"
#include "guard/host/dkmsconf.h"
#include "guard/module/alias_index.h"
#include "guard/module/copies.h"
#include "guard/module/initramfs.h"
#include "guard/verdict/cmdline.h"

#define RELEASE "6.1.0-30-amd64"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file of these bytes, with a name for as long as it is open. */
static int file_of(const uint8_t *data, size_t size, char name[64])
{
	int fd = memfd_create("input", 0);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || lseek(fd, 0, SEEK_SET))
		abort();
	snprintf(name, 64, "/proc/self/fd/%d", fd);
	return fd;
}

static void one_line(char *text)
{
	for (const char *p = text; p && *p; p++)
		if (iscntrl((unsigned char)*p))
			abort();
	free(text);
}

static bool want(void *arg, const char *path)
{
	(void)arg;
	return *path;
}

static int found(void *arg, const char *path, struct buf *content)
{
	(void)arg;
	if (!content->data || !*path)
		abort();
	return 0;
}

static void image(const uint8_t *data, size_t size)
{
	struct cpio_reader reader = { want, found, NULL, NULL, NULL };
	char name[64], *release;
	int fd = file_of(data, size, name), whole = boot_file_check(name, false), err;
	uint64_t length;
	off_t at;

	if (!size ? whole != -ENODATA : whole && whole != -EBADMSG)
		abort();
	one_line(boot_file_section(name, ".cmdline"));
	release = boot_file_release(name);
	err = boot_file_find(fd, ".initrd", &at, &length);
	/* In a PE image that is whole, each section is in it. */
	if (!err && !whole && !release && (uint64_t)at + length > size)
		abort();
	one_line(release);
	if (boot_file_has(name, ".initrd") != !err)
		abort();
	initramfs_read_fd(fd, &reader);
	close(fd);
}

/* Names in a list are found however it is written; order decides nothing but the last. */
static void line(const char *text)
{
	char longer[8192];
	enum cmdline_refusal how = cmdline_refuses(text, "sample-x");

	if (how > CMDLINE_NO_MODULES || how != cmdline_refuses(text, "sample_x"))
		abort();
	if (strlen(text) > 4096 || strchr(text, '"') || strstr(text, "--"))
		return;
	snprintf(longer, sizeof(longer), "%s module_blacklist=a,sample_x", text);
	if (cmdline_refuses(longer, "sample-x") < CMDLINE_MODULE)
		abort();
	snprintf(longer, sizeof(longer), "lockdown=integrity %s", text);
	if (!cmdline_enforces(longer))
		abort();
}

static void copies(const uint8_t *data, size_t size)
{
	char name[64], *files[] = { name }, *modules[] = { (char *)"x", (char *)"a-b" };
	struct archives of = { RELEASE, files, 1 };
	struct copies c;
	int fd = file_of(data, size, name);
	struct host *h;

	if (host_new(NULL, &h) || copies_read(h, NULL, &of, 1, modules, 2, true, &c))
		abort();
	for (size_t i = 0; i < 2; i++) {
		const struct copy *copy = copies_find(&c, modules[i]);

		if (copy && (copy->other || copy->link || !is_file_of(copy->path, modules[i])))
			abort();
	}
	copies_free(&c);
	host_free(h);
	close(fd);
}

static void conf(const char *text, size_t len)
{
	struct dkmsconf_kernel k = {
		.release = RELEASE, .arch = "x86_64",
		.config = (char *)"CONFIG_MODULES=y\nCONFIG_X=m\n# CONFIG_Y is not set\n",
	};
	struct dkmsconf c;

	if (host_new("/nonexistent", (struct host **)&k.h) && host_new(NULL, (struct host **)&k.h))
		abort();
	if (!dkmsconf_parse(&k, "sample", text, len, &c)) {
		for (size_t i = 0; i < c.count; i++)
			if (!c.modules[i].name || strchr(c.modules[i].name, '/'))
				abort();
		dkmsconf_free(&c);
	}
	host_free((struct host *)k.h);
}

/* An index, and behind its last line break what is asked for. */
static void aliases(const uint8_t *data, size_t size)
{
	const uint8_t *end = memrchr(data, '\n', size);
	size_t len = end ? (size_t)(end - data) : 0;
	char *alias = end ? strndup((const char *)end + 1, size - len - 1) : NULL;

	if (alias && alias_index_has(data, len, alias, "sample") &&
	    !memmem(data, len, "sample", strlen("sample")))
		abort();
	free(alias);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text;

	if (!size)
		return 0;
	text = strndup((const char *)data + 1, size - 1);
	if (!text)
		abort();
	switch (data[0] % 5) {
	case 0:
		image(data + 1, size - 1);
		break;
	case 1:
		line(text);
		break;
	case 2:
		copies(data + 1, size - 1);
		break;
	case 3:
		conf(text, strlen(text));
		break;
	case 4:
		aliases(data + 1, size - 1);
		break;
	}
	free(text);
	return 0;
}
