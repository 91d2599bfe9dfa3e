// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The Raspberry Pi's firmware, which loads the kernel that config.txt names, or one
 * of a name that the model decides. Filters such as [pi4] choose the lines that
 * count; where one that cannot be answered here has a line on the kernel, the answer
 * is unknown.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/boot/raspberry.h"
#include "guard/host/bootfile.h"

#define CONF_MAX (256u << 10)
#define PARTITION "/boot/firmware"
#define MODEL "/proc/device-tree/model"

/* What the model is called; a filter that is not here is not answered. */
static const struct {
	const char *filter, *models[2];
} filters[] = {
	{ "pi5", { "Raspberry Pi 5", "Compute Module 5" } },
	{ "pi500", { "Raspberry Pi 500" } },
	{ "cm5", { "Compute Module 5" } },
	{ "pi4", { "Raspberry Pi 4", "Compute Module 4" } },
	{ "pi400", { "Raspberry Pi 400" } },
	{ "pi3", { "Raspberry Pi 3", "Compute Module 3" } },
	{ "pi2", { "Raspberry Pi 2" } },
	{ "pi0", { "Raspberry Pi Zero" } },
	{ "pi02", { "Raspberry Pi Zero 2" } },
};

void raspberry_free(struct raspberry *c)
{
	free(c->model);
	free(c->kernel);
	free(c->initramfs);
	free(c->cmdline);
	free(c->prefix);
	free(c->bits);
}

static bool is_model(const struct raspberry *c, const char *name)
{
	return c->model && name && strstr(c->model, name);
}

static enum match matches(const struct raspberry *c, const char *filter)
{
	if (!strcmp(filter, "all"))
		return MATCH_YES;
	/* It is tried out by a command, for one boot. */
	if (!strcmp(filter, "none") || !strcmp(filter, "tryboot"))
		return MATCH_NO;
	for (size_t i = 0; c->model && i < ARRAY_SIZE(filters); i++)
		if (!strcmp(filter, filters[i].filter))
			return is_model(c, filters[i].models[0]) ||
			       is_model(c, filters[i].models[1]) ? MATCH_YES : MATCH_NO;
	return MATCH_UNSURE;
}

static int set(struct raspberry *c, char **field, const char *value)
{
	c->unclear |= c->section == MATCH_UNSURE;
	free(*field);
	*field = strdup(value);
	if (!*field)
		return -ENOMEM;
	make_printable(*field);
	return 0;
}

/* "initramfs NAME followkernel", or with an address. */
static int take_initramfs(struct raspberry *c, char *value)
{
	value[strcspn(value, " \t,")] = '\0';
	return set(c, &c->initramfs, value);
}

static int take_line(struct raspberry *c, char *line)
{
	char *key = line + strspn(line, " \t"), *value;

	key[strcspn(key, "\r#")] = '\0';
	for (size_t n = strlen(key); n && strchr(" \t", key[n - 1]); n--)
		key[n - 1] = '\0';
	if (*key == '[') {
		key[strcspn(key, "]")] = '\0';
		/* Filters of other kinds go together until [all]. */
		if (c->section != MATCH_UNSURE || !strcmp(key + 1, "all"))
			c->section = matches(c, key + 1);
		return 0;
	}
	value = key + strcspn(key, "= \t");
	if (c->section == MATCH_NO || !*value)
		return 0;
	*value++ = '\0';
	if (!strcmp(key, "kernel"))
		return set(c, &c->kernel, value);
	if (!strcmp(key, "cmdline"))
		return set(c, &c->cmdline, value);
	if (!strcmp(key, "os_prefix"))
		return set(c, &c->prefix, value);
	if (!strcmp(key, "arm_64bit"))
		return set(c, &c->bits, value);
	if (!strcmp(key, "initramfs"))
		return take_initramfs(c, value);
	if (!strcmp(key, "auto_initramfs")) {
		c->unclear |= c->section == MATCH_UNSURE;
		c->automatic = !strcmp(value, "1");
	}
	/* What is read from elsewhere, and what starts something else. */
	c->unclear |= !strcmp(key, "include") || !strcmp(key, "boot_ramdisk") ||
		      !strcmp(key, "ramfsfile") || !strcmp(key, "armstub");
	return 0;
}

int raspberry_read(struct raspberry *c, const char *bytes, size_t len)
{
	char *text = strndup(bytes, len), *rest = text, *line;
	int err = text ? 0 : -ENOMEM;

	c->section = MATCH_YES;
	while (!err && (line = strsep(&rest, "\n")))
		err = take_line(c, line);
	free(text);
	return err;
}

static int config_read(const struct host *h, struct raspberry *c)
{
	char *path = host_path(h, PARTITION "/config.txt");
	struct buf b = { 0 };
	int err = path ? file_read(path, CONF_MAX, &b) : -ENOMEM;

	*c = (struct raspberry){ .h = h, .model = host_line(h, MODEL) };
	if (!err)
		err = raspberry_read(c, (char *)b.data, b.len);
	buf_free(&b);
	free(path);
	if (err)
		raspberry_free(c);
	return err;
}

/* A file of the partition, as it is called there; malloc'ed. */
static char *file_of(const struct raspberry *c, const char *name)
{
	char *rel = strstr(name, "..") ? NULL :
		    text_of(PARTITION "/%s%s", c->prefix ? c->prefix : "", name);
	char *path = rel ? host_path(c->h, rel) : NULL;

	free(rel);
	return path;
}

static bool is_file(const struct raspberry *c, const char *name)
{
	char *path = file_of(c, name);
	bool is = path && path_exists(path);

	free(path);
	return is;
}

/* The name that the firmware looks for where none is said; NULL: it is not known. */
static const char *default_kernel(const struct raspberry *c)
{
	bool wide = is_model(c, "Raspberry Pi 4") || is_model(c, "Compute Module 4");

	if (is_model(c, "Raspberry Pi 5") || is_model(c, "Compute Module 5"))
		return is_file(c, "kernel_2712.img") ? "kernel_2712.img" : "kernel8.img";
	/* Others than these do not run 64 bits without being asked. */
	if (c->bits ? !strcmp(c->bits, "1") : wide)
		return "kernel8.img";
	if (wide)
		return "kernel7l.img";
	return is_model(c, "Raspberry Pi 3") || is_model(c, "Raspberry Pi 2") ?
	       "kernel7.img" : NULL;
}

/* The initramfs that goes with a kernel of a name that the firmware chose; malloc'ed. */
static char *following(const char *kernel)
{
	size_t n = strlen("kernel");

	return strncmp(kernel, "kernel", n) || !str_ends_with(kernel, ".img") ? NULL :
	       text_of("initramfs%.*s", (int)(strlen(kernel) - n - strlen(".img")), kernel + n);
}

/* Copies are called alike for all kernels: what they are, they say or are the same as. */
static const struct kernel *kernel_of(const struct kernels *k, const char *file)
{
	const struct kernel *is = NULL;
	char *says;

	for (size_t i = 0; i < k->count && !is; i++)
		if (k->list[i].image && boot_file_same_bytes(k->list[i].image, file))
			is = &k->list[i];
	says = is ? NULL : boot_file_build(file);
	if (says) {
		says[strcspn(says, " ")] = '\0';
		is = kernels_find(k, says);
	}
	free(says);
	return is;
}

static int take_files(const struct raspberry *c, const char *name, const char *file,
		      const struct kernel *is, struct next_boot *out)
{
	char *follows = c->automatic && !c->initramfs ? following(name) : NULL;
	char *archive = c->initramfs ? file_of(c, c->initramfs) :
			follows && is_file(c, follows) ? file_of(c, follows) : NULL;
	char *line = file_of(c, c->cmdline ? c->cmdline : "cmdline.txt");

	free(follows);
	if (archive) {
		out->files.archives = calloc(1, sizeof(*out->files.archives));
		if (out->files.archives)
			out->files.archives[out->files.count++] = archive;
		else
			free(archive);
	}
	if (line && file_read_line(line, &out->cmdline))
		out->cmdline = NULL;
	free(line);
	out->kernel = strdup(is->release);
	out->later = strdup(is->release);
	out->entry = strdup(name);
	out->files.kernel = strdup(is->release);
	out->files.image = strdup(file);
	return out->kernel && out->later && out->entry && out->files.kernel && out->files.image &&
	       (!archive || out->files.count) ? 0 : -ENOMEM;
}

static int fill(const struct raspberry *c, const struct kernels *k, struct next_boot *out)
{
	const char *name = c->kernel ? c->kernel : default_kernel(c);
	char *file = name ? file_of(c, name) : NULL;
	const struct kernel *is = file && !c->unclear ? kernel_of(k, file) : NULL;
	int err;

	if (c->unclear || !name)
		err = next_boot_say(out, c->unclear ? PARTITION "/config.txt has conditions or "
				    "parts on the kernel that kmodkeep does not read" :
				    "the Raspberry Pi's firmware chooses the kernel by the "
				    "model, which is not known here");
	else if (!is)
		err = next_boot_say(out, PARTITION "/%s%s, which the Raspberry Pi's firmware "
				    "loads, is no kernel that is installed here",
				    c->prefix ? c->prefix : "", name);
	else
		err = take_files(c, name, file, is, out);
	free(file);
	return err || !is ? err : next_boot_say(out, "the Raspberry Pi's firmware, by %s: %s",
						c->kernel ? "config.txt" : "its model", name);
}

static int next_boot(const struct host *h, const struct kernels *k,
		     const char *saved, struct next_boot *out)
{
	struct raspberry c;
	int err = config_read(h, &c);

	(void)saved;
	if (!err) {
		err = fill(&c, k, out);
		raspberry_free(&c);
	} else if (err != -ENOMEM) {
		err = next_boot_say(out, PARTITION "/config.txt cannot be read: %s",
				    strerror(-err));
	}
	out->obstacle = strdup("the kernel of a Raspberry Pi cannot be set by kmodkeep");
	return err ? err : out->obstacle ? 0 : -ENOMEM;
}

static bool is_here(const struct host *h)
{
	return host_has(h, PARTITION "/config.txt");
}

static const char *const partitions[] = { "/boot/firmware", NULL };

static const char *const watched[] = { PARTITION, PARTITION "/config.txt", NULL };

const struct loader_ops raspberry_loader = {
	.name = "raspberrypi",
	.info = "Raspberry",
	.watched = watched,
	.partitions = partitions,
	.is_here = is_here,
	.next_boot = next_boot,
	.entry_for = loader_no_entry,
	.set_default = loader_no_default,
};
