// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * proxmox-boot-tool: it copies kernels to EFI partitions, whose UUIDs it keeps, and writes
 * a configuration of systemd-boot or of GRUB there. The firmware may start from each of
 * them, so all have to be seen; the tool leaves them unmounted.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/boot/sd_boot.h"
#include "guard/host/bootfile.h"
#include "guard/host/mounts.h"

#define UUIDS "/etc/kernel/proxmox-boot-uuids"
#define PIN "/etc/kernel/proxmox-boot-pin"
#define NEXT_PIN "/etc/kernel/next-boot-pin"
#define LIST_MAX (64u << 10)

static bool is_here(const struct host *h)
{
	return host_has(h, UUIDS);
}

/* What the tool would have booted, if all that it wrote has come to the partitions. */
static char *meant(const struct host *h, const struct kernels *k, const char *saved)
{
	char *next = host_line(h, NEXT_PIN), *pin = saved ? strdup(saved) : host_line(h, PIN);
	const char *is = next && *next ? next : pin && *pin ? pin : k->count ? k->list[0].release :
			 NULL;
	char *release = is ? strdup(is) : NULL;

	if (release)
		make_printable(release);
	free(next);
	free(pin);
	return release;
}

/* Has the partition a menu of GRUB, which is then the one that boots? */
static bool has_grub(const struct host *h, const char *mount)
{
	static const char *const marks[] = {
		"/EFI/proxmox/grubx64.efi", "/EFI/proxmox/grubaa64.efi",
	};
	char *rel = text_of("%s/grub/grub.cfg", mount);
	bool grub = !rel || (host_has(h, rel) && !host_has(h, "/sys/firmware/efi"));

	free(rel);
	for (size_t i = 0; i < ARRAY_SIZE(marks) && !grub; i++) {
		rel = text_of("%s%s", mount, marks[i]);
		grub = !rel || host_has(h, rel);
		free(rel);
	}
	return grub;
}

/* A copy that is of yesterday may be the one that boots. */
static bool same_copies(const struct next_boot *a, const struct next_boot *b)
{
	const struct boot_files *x = &a->files, *y = &b->files;
	bool same = x->count == y->count && x->image && y->image && a->cmdline && b->cmdline &&
		    !strcmp(a->cmdline, b->cmdline) && boot_file_same_bytes(x->image, y->image);

	for (size_t i = 0; i < x->count && same; i++)
		same = boot_file_same_bytes(x->archives[i], y->archives[i]);
	return same;
}

/* What one of the partitions boots; two that differ leave it open. 0 or -ENOMEM. */
static int add_partition(const struct host *h, const struct kernels *k, const char *saved,
			 const char *mount, struct next_boot *out)
{
	const char *const places[] = { mount, NULL };
	const struct loader_ops *self = out->loader;
	struct next_boot one = { 0 };
	int err = sd_boot_read(h, k, saved, places, &one);

	if (err) {
		next_boot_free(&one);
		return err;
	}
	one.loader = self;
	if (out->kernel && one.kernel && strcmp(out->kernel, one.kernel) != 0) {
		err = next_boot_say(out, "the partitions of proxmox-boot-tool boot other kernels, "
				    "%s and %s: proxmox-boot-tool refresh", out->kernel, one.kernel);
		free(out->kernel);
		out->kernel = NULL;
		next_boot_free(&one);
		return err ? err : -EEXIST;
	}
	if (out->kernel && one.kernel) {
		err = same_copies(out, &one) ? 0 :
		      next_boot_say(out, "the partitions of proxmox-boot-tool have other copies of "
				    "kernel %s: proxmox-boot-tool refresh", one.kernel) ? -ENOMEM :
		      -EEXIST;
		next_boot_free(&one);
		return err;
	}
	err = one.kernel ? 0 : -EEXIST;
	next_boot_free(out);
	*out = one;
	return err;
}

static int say_hidden(const struct host *h, const struct kernels *k, const char *saved,
		      const char *what, struct next_boot *out)
{
	char *is = meant(h, k, saved);
	int err = next_boot_say(out, "proxmox-boot-tool means %s to boot, and %s, so whether its "
				"copy is there and whole is not to be seen: mount all of its "
				"partitions, or look at: proxmox-boot-tool status",
				is ? is : "no kernel", what);

	free(is);
	return err ? err : -EEXIST;
}

/* -EEXIST: it is told why nothing is known. */
static int read_uuid(const struct host *h, const struct kernels *k, const char *saved,
		     const char *uuid, struct next_boot *out)
{
	char *mount = mount_of(h, uuid), *what;
	int err;

	if (!mount || has_grub(h, mount)) {
		what = mount ? text_of("GRUB's menu in %s is not read", mount) :
			       text_of("the partition %.40s is not mounted", uuid);
		err = what ? say_hidden(h, k, saved, what, out) : -ENOMEM;
		free(what);
	} else {
		err = add_partition(h, k, saved, mount, out);
	}
	free(mount);
	return err;
}

static int read_all(const struct host *h, const struct kernels *k, const char *saved,
		    char *list, struct next_boot *out)
{
	char *uuid;
	bool any = false;
	int err = 0;

	while (!err && (uuid = strsep(&list, " \t\r\n")))
		if (*uuid) {
			any = true;
			make_printable(uuid);
			err = read_uuid(h, k, saved, uuid, out);
		}
	return err || any ? err : next_boot_say(out, "%s names no partition", UUIDS);
}

static int next_boot(const struct host *h, const struct kernels *k,
		     const char *saved, struct next_boot *out)
{
	char *path = host_path(h, UUIDS), *text = NULL, *next;
	const struct loader_ops *self = out->loader;
	/* It is written into the partitions, so what would be without it is not there. */
	bool asks = saved && host_has(h, PIN);
	struct buf b = { 0 };
	int err = path ? file_read(path, LIST_MAX, &b) : -ENOMEM;

	if (!err) {
		text = strndup((char *)b.data, b.len);
		err = !text ? -ENOMEM : asks ? say_hidden(h, k, saved, "its pin is written there", out) :
		      read_all(h, k, NULL, text, out);
	} else if (err != -ENOMEM) {
		err = next_boot_say(out, "%s cannot be read: %s", UUIDS, strerror(-err));
	}
	if (err == -EEXIST) {
		free(out->kernel);
		out->kernel = NULL;
		err = 0;
	}
	out->loader = self;
	/* The tool takes it back after that boot. */
	next = out->kernel ? host_line(h, NEXT_PIN) : NULL;
	if (next && *next) {
		out->once = true;
		free(out->later);
		out->later = NULL;
	}
	free(out->obstacle);
	out->obstacle = strdup("the pin of proxmox-boot-tool is set by: proxmox-boot-tool kernel pin");
	free(next);
	buf_free(&b);
	free(text);
	free(path);
	return err ? err : out->obstacle ? 0 : -ENOMEM;
}

static int choice(const struct host *h, const struct kernels *k, const char *release,
		  struct boot_choice *out)
{
	static const char *const tools[] = { "proxmox-boot-tool", NULL };
	const struct kernel *is = kernels_find(k, release);
	char *pin = is && is->image ? loader_command(h, tools, "kernel pin", release) : NULL;

	out->once = pin ? text_of("%s --next-boot && proxmox-boot-tool refresh", pin) : NULL;
	free(pin);
	return 0;
}

static const char *const watched[] = { UUIDS, PIN, NEXT_PIN, NULL };

const struct loader_ops proxmox_loader = {
	.name = "proxmox-boot-tool",
	.info = "proxmox-boot-tool",
	.watched = watched,
	.is_here = is_here,
	.next_boot = next_boot,
	.entry_for = loader_no_entry,
	.choice = choice,
	.set_default = loader_no_default,
};
