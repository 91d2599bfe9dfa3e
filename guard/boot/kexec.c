// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kexec: a kernel that is in memory already is what a reboot starts. Debian's
 * kexec-tools, which kdump-tools brings along, load one while the host goes down. A soft
 * reboot starts no kernel at all.
 */
#include "guard/boot/kexec.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"

#define CONF "/etc/default/kexec"
#define CONF_DIR "/etc/default/kexec.d"
#define CONF_MAX (256u << 10)

/* What kexec-tools are told, as their script has it without a configuration. */
struct settings {
	char *load, *menu, *image, *initrd;
};

static void settings_free(struct settings *s)
{
	free(s->load);
	free(s->menu);
	free(s->image);
	free(s->initrd);
}

/* A plain assignment; what a shell would have to work out stays as it stands. */
static int take_line(struct settings *s, char *line)
{
	const struct {
		const char *key;
		char **value;
	} known[] = {
		{ "LOAD_KEXEC=", &s->load }, { "USE_GRUB_CONFIG=", &s->menu },
		{ "KERNEL_IMAGE=", &s->image }, { "INITRD=", &s->initrd },
	};

	line += strspn(line, " \t");
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		size_t n = strlen(known[i].key);
		char *value;

		if (strncmp(line, known[i].key, n))
			continue;
		line += n;
		line += strspn(line, "\"'");
		value = strndup(line, strcspn(line, "\"' \t\r#;"));
		if (!value)
			return -ENOMEM;
		free(*known[i].value);
		*known[i].value = value;
	}
	return 0;
}

static int read_file(const struct host *h, const char *rel, struct settings *s)
{
	char *path = rel ? host_path(h, rel) : NULL, *text, *rest, *line;
	struct buf b = { 0 };
	int err = path ? file_read(path, CONF_MAX, &b) : -ENOMEM;

	free(path);
	if (err)
		return err == -ENOENT ? 0 : err;
	text = strndup((char *)b.data, b.len);
	err = text ? 0 : -ENOMEM;
	for (rest = text; !err && (line = strsep(&rest, "\n")); )
		err = take_line(s, line);
	free(text);
	buf_free(&b);
	return err;
}

/* What run-parts(8) lists; it takes no other names. */
static int is_part(const struct dirent *e)
{
	return e->d_name[strspn(e->d_name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				"0123456789_-")] == '\0';
}

/* The last one counts, and those of the folder come last. */
static int read_settings(const struct host *h, struct settings *s)
{
	char *dir = host_path(h, CONF_DIR);
	struct dirent **names = NULL;
	int err = dir ? read_file(h, CONF, s) : -ENOMEM;
	int n = err ? 0 : scandir(dir, &names, is_part, dirent_by_bytes);

	if (n < 0 && errno != ENOENT)
		err = -errno;
	for (int i = 0; i < n; i++) {
		char *rel = text_of(CONF_DIR "/%s", names[i]->d_name);

		if (!err)
			err = read_file(h, rel, s);
		/* A folder is no snippet. */
		if (err == -EISDIR)
			err = 0;
		free(rel);
		free(names[i]);
	}
	free(names);
	free(dir);
	return err;
}

/* Do two names lead to one file? */
static bool same_file(const struct host *h, const char *name, const char *file)
{
	char *path = name && *name == '/' ? host_resolve(h, name) : NULL;
	char *a = path ? realpath(path, NULL) : NULL, *b = file ? realpath(file, NULL) : NULL;
	bool same = a && b && !strcmp(a, b);

	free(path);
	free(a);
	free(b);
	return same;
}

/* Is it what the boot loader would start, with the same initramfs? */
static bool loads_same(const struct host *h, const struct settings *s, const struct next_boot *out)
{
	const struct boot_files *f = &out->files;
	bool menu = s->menu && strcmp(s->menu, "false");

	return !menu && f->count == 1 && !f->unclear &&
	       same_file(h, s->image ? s->image : "/vmlinuz", f->image) &&
	       same_file(h, s->initrd ? s->initrd : "/initrd.img", f->archives[0]);
}

static void forget(struct next_boot *out)
{
	free(out->kernel);
	out->kernel = NULL;
}

/* The script and its folder of more settings are Debian's. */
static int look_at_tools(const struct host *h, struct next_boot *out)
{
	struct settings s = { 0 };
	int err;

	if (!host_has(h, "/etc/init.d/kexec-load") || !out->kernel)
		return 0;
	err = read_settings(h, &s);
	if (err && err != -ENOMEM) {
		forget(out);
		err = next_boot_say(out, CONF " or " CONF_DIR " cannot be read (%s), and they say what a "
				    "reboot starts", strerror(-err));
	} else if (!err && s.load && strcmp(s.load, "false") && !loads_same(h, &s, out)) {
		forget(out);
		err = next_boot_say(out, "kexec-tools load %s when this host reboots, past the boot "
				    "loader, and its menu boots something else: set LOAD_KEXEC=false "
				    "in " CONF " and " CONF_DIR, s.menu && strcmp(s.menu, "false") ?
				    "what they take for the default of GRUB" :
				    s.image ? s.image : "/vmlinuz");
	}
	settings_free(&s);
	return err;
}

int kexec_look(const struct host *h, struct next_boot *out)
{
	char *loaded = host_line(h, "/sys/kernel/kexec_loaded");
	bool waits = loaded && !strcmp(loaded, "1");

	free(loaded);
	/* systemctl(1), reboot: then the kernel stays, and init starts in that root. */
	if (!waits && out->kernel && (host_has(h, "/run/nextroot/etc/os-release") ||
				      host_has(h, "/run/nextroot/usr/lib/os-release"))) {
		forget(out);
		return next_boot_say(out, "/run/nextroot has a root file system for a soft reboot, which "
				     "systemctl reboot does then, and its modules are not looked into: "
				     "take it away, or ask again after that");
	}
	if (!waits)
		return look_at_tools(h, out);
	forget(out);
	/* systemctl takes that one. */
	return next_boot_say(out, "a kernel is loaded for kexec, and a reboot may start that one "
			     "(kexec -u forgets it)");
}
