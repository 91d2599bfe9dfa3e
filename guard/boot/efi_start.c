// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The boot manager of EFI: BootNext, then BootOrder, each a number of an entry that has a
 * partition and a file; at last a file of a fixed name on any disk.
 *
 * What is read of a boot loader holds for the one that started this system. The firmware
 * says which entry that was (BootCurrent), so the question is whether it comes to that
 * one again. It goes from entry to entry:
 * - It passes those that are inactive, that are tools, or whose variable is gone; and
 *   those whose partition or file is not here.
 * - A file that is here it starts: the menu that it reads may be of another system.
 * - Whether an entry without a partition (network, CD, a whole disk) has something to
 *   boot is not to be seen. Many hosts have such entries in front, and boot from the disk
 *   behind them. If this boot came to an entry behind it, it had nothing then: that is
 *   said, and is not held against the answer. Otherwise nothing is known.
 */
#include "guard/boot/efi_start.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "guard/base/util.h"
#include "guard/host/efivars.h"
#include "guard/host/guard_conf.h"
#include "guard/host/mounts.h"

#define ORDER_MAX 512
#define PARTITIONS "/dev/disk/by-partuuid"

struct walk {
	const struct host *h;
	struct efi_start *out;
	struct load_option current;	/* what started this system */
	uint16_t number;		/* of it */
	bool known;			/* that is known */
	uint16_t order[ORDER_MAX];
	int count;
};

void efi_start_free(struct efi_start *s)
{
	free(s->other);
	free(s->program);
	free(s->mount);
	free(s->note);
	memset(s, 0, sizeof(*s));
}

static int say_other(struct walk *w, char *why)
{
	free(w->out->other);
	w->out->other = why;
	return why ? 1 : -ENOMEM;
}

/* 1: the walk ends here, 0: it goes on, -ENOMEM. */
static int say_unread(struct walk *w, const char *variable, int err)
{
	return err == -ENOMEM ? err :
	       say_other(w, text_of("what the firmware starts is not known, as its variable %s "
				    "cannot be read (%s): look at it by: efibootmgr -v", variable,
				    err == -EBADMSG ? "it is damaged" : strerror(-err)));
}

/* What the administrator says that it starts. 1: that is known; 0; -ENOMEM. */
static int take_word(struct walk *w)
{
	struct guard_conf conf;
	int err = guard_conf_read(w->h, NULL, NULL, &conf);
	const char *file = conf.firmware_starts;

	if (!err && file) {
		w->out->program = host_has(w->h, file) ? host_path(w->h, file) : NULL;
		w->out->mount = w->out->program ? mount_point(w->h, file) : NULL;
		if (w->out->program && !w->out->mount)
			w->out->mount = strdup("/");
		w->out->said = w->out->program;
		err = w->out->program ? w->out->mount ? 1 : -ENOMEM :
		      say_other(w, text_of("%s, which by firmware_starts in " GUARD_CONF " is what "
					   "the firmware starts, is not there: mount its partition, "
					   "or mend that line", file));
	}
	guard_conf_free(&conf);
	return err;
}

/* EFI, and none of its variables: BootNext may name anything. 0 or -ENOMEM. */
static int say_hidden(struct walk *w)
{
	int err = take_word(w);

	if (err)
		return err < 0 ? err : 0;
	err = say_other(w, strdup("what the firmware starts is not known, as there are no "
				      "variables in /sys/firmware/efi/efivars: mount -t efivarfs "
				      "efivarfs /sys/firmware/efi/efivars (a kernel with PREEMPT_RT "
				      "has them when it is booted with efi=runtime); where there "
				      "can be none, firmware_starts in " GUARD_CONF " says it"));

	return err < 0 ? err : 0;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? !strcasecmp(a, b) : a == b;
}

/* shim and GRUB, one of which may start the other, and both read what is beside them. */
static bool is_grub(const char *file)
{
	const char *name = strrchr(file, '/');

	name = name ? name + 1 : file;
	return !strncasecmp(name, "shim", 4) || !strncasecmp(name, "grub", 4);
}

/* Does an entry start what started this system, or what reads the same menu? */
static bool is_same(const struct walk *w, const struct load_option *o)
{
	const struct load_option *c = &w->current;
	const char *a = o->file ? strrchr(o->file, '/') : NULL;
	const char *b = c->file ? strrchr(c->file, '/') : NULL;

	if (!w->known || !same_text(o->partition, c->partition) || o->more.len != c->more.len ||
	    (o->more.len && memcmp(o->more.data, c->more.data, o->more.len)))
		return false;
	/* A name that was not understood is no name. */
	if (o->file && strchr(o->file, '?'))
		return false;
	if (o->partition && same_text(o->file, c->file))
		return true;
	return o->partition && a && b && a - o->file == b - c->file &&
	       !strncasecmp(o->file, c->file, a - o->file) && is_grub(a) && is_grub(b);
}

/* What an entry starts: its file, if it is to be seen. 0 or -ENOMEM. */
static int take_program(struct walk *w, const struct load_option *o, const char *mount)
{
	const char *const named[] = { o->file, NULL };
	const char *const *files = o->file ? named : efi_removable;

	for (; *files && !w->out->program; files++) {
		char *rel = text_of("%s%s%s", strcmp(mount, "/") ? mount : "",
				    **files == '/' ? "" : "/", *files);

		if (rel && host_has(w->h, rel)) {
			w->out->program = host_path(w->h, rel);
			free(w->out->mount);
			w->out->mount = strdup(mount);
		}
		free(rel);
		if (!rel || (w->out->program && !w->out->mount))
			return -ENOMEM;
	}
	return 0;
}

/* The same of an entry of which nothing says where its partition is mounted. */
static int find_program(struct walk *w, const struct load_option *o)
{
	static const char *const places[] = { "/boot/efi", "/efi", "/boot" };
	int err = 0;

	for (size_t i = 0; i < ARRAY_SIZE(places) && !w->out->program && !err; i++)
		err = take_program(w, o, places[i]);
	return err;
}

/* mount: of its partition, NULL: it is not mounted. 1 or -ENOMEM. */
static int say_hidden_program(struct walk *w, const struct load_option *o, const char *mount)
{
	const char *file = o->file ? o->file : efi_removable[0];

	if (mount)
		return say_other(w, text_of("%s, which the firmware starts ('%s'), is not to be seen in %s: "
					    "ask again as root, or install the boot loader again", file,
					    o->title ? o->title : "", mount));
	if (!o->partition)
		return say_other(w, text_of("%s, which the firmware starts ('%s'), is not to be seen in "
					    "/boot/efi, /efi or /boot: ask again as root, or, if the EFI "
					    "partition is not mounted, mount it by a line in /etc/fstab",
					    file, o->title ? o->title : ""));
	return say_other(w, text_of("%s, which the firmware starts ('%s'), is not to be seen, as its EFI "
				    "partition is not mounted: mount it, by a line in /etc/fstab as: "
				    "PARTUUID=%s /boot/efi vfat umask=0077 0 1", file,
				    o->title ? o->title : "", o->partition));
}

/*
 * o: an entry as good as the one that started this system. Its program has to be seen: it
 * may be gone, or read the menu of another system.
 */
static int say_same(struct walk *w, const struct load_option *o)
{
	bool told = o->partition && host_has(w->h, PARTITIONS);
	char *mount;
	int err;

	if (o->network && !o->partition)
		return say_other(w, text_of("the firmware starts this system from the network ('%s'), and "
					    "what the server sends next is not known: put the disk first: "
					    "efibootmgr -o", o->title));
	mount = w->known && o->partition ? mount_of(w->h, o->partition) : NULL;
	err = mount ? take_program(w, o, mount) : told ? 0 : find_program(w, o);
	if (!err)
		err = w->out->program ? 1 : say_hidden_program(w, o, mount);
	free(mount);
	return err;
}

static int say_starts(struct walk *w, const struct load_option *o, uint16_t number,
		      const char *how)
{
	return say_other(w, text_of("the firmware starts '%s' (Boot%04X, %s) at the next boot, which "
				    "is not what started this system%s: look at efibootmgr -v, and "
				    "put first what shall boot: efibootmgr -o", o->title, number,
				    o->file ? o->file : "no file", how));
}

/* Did this boot come to an entry behind this one? */
static bool was_passed(const struct walk *w, int at)
{
	for (int i = at + 1; w->known && i < w->count; i++)
		if (w->order[i] == w->number)
			return true;
	return false;
}

static int pass(struct walk *w, const struct load_option *o, uint16_t number, int at)
{
	char *note;

	if (!was_passed(w, at))
		return say_starts(w, o, number, ", and whether it has something to boot is not to be "
				  "seen");
	note = text_of("%s%s'%s' (Boot%04X)", w->out->note ? w->out->note : "",
		       w->out->note ? ", " : "", o->title, number);
	free(w->out->note);
	w->out->note = note;
	return note ? 0 : -ENOMEM;
}

/* An entry with a partition: is its file there? */
static int judge_file(struct walk *w, const struct load_option *o, uint16_t number)
{
	char *rel = text_of(PARTITIONS "/%s", o->partition);
	bool here = rel && host_has(w->h, rel), told = host_has(w->h, PARTITIONS);
	char *mount = here ? mount_of(w->h, o->partition) : NULL;
	int err = rel ? 0 : -ENOMEM;

	free(rel);
	if (err || (!here && told))
		return err;
	/* Without a file it is the fallback's. */
	if (!mount || !o->file || strchr(o->file, '?')) {
		err = say_starts(w, o, number, mount ? "" :
				 ", and its partition is not mounted, so its menu is not to be seen");
	} else {
		err = take_program(w, o, mount);
		if (!err && w->out->program)
			err = say_starts(w, o, number, "");
		/* Told something, a loader may read another menu, or start another one. */
		if (!w->out->program || o->more.len) {
			free(w->out->program);
			free(w->out->mount);
			w->out->program = w->out->mount = NULL;
		}
	}
	free(mount);
	return err;
}

/* at: the place in the order; -1: it is BootNext. */
static int judge_entry(struct walk *w, uint16_t number, int at)
{
	struct load_option o;
	char name[16];
	int err;

	err = efi_load_option(w->h, number, &o);
	if (err == -ENOENT)
		return 0;
	if (err) {
		snprintf(name, sizeof(name), "Boot%04X", number);
		return say_unread(w, name, err);
	}
	/*
	 * Somebody asked for what BootNext names, and active or not it is started. What started
	 * this system may have been made inactive since, or was chosen by hand.
	 */
	if (at >= 0 && (!o.active || !o.boots))
		err = 0;
	else if ((w->known && number == w->number) || is_same(w, &o))
		err = say_same(w, &o);
	else if (at < 0)
		err = say_starts(w, &o, number, " (BootNext asks for it)");
	else if (o.partition)
		err = judge_file(w, &o, number);
	else
		err = pass(w, &o, number, at);
	w->out->once = err == 1 && w->out->other && at < 0;
	load_option_free(&o);
	return err;
}

static bool is_fallback(const char *file)
{
	return file && !strncasecmp(file, "/EFI/BOOT/BOOT", 14);
}

/* No entry is left: the firmware looks for a file of a fixed name on each disk. */
static int judge_fallback(struct walk *w)
{
	if (w->known && is_fallback(w->current.file))
		return say_same(w, &w->current);
	return say_other(w, strdup("the firmware has no entry that it can start, and takes "
				   "/EFI/BOOT of the first disk that has it, which is not what "
				   "started this system: add an entry: efibootmgr -c"));
}

static int walk_all(struct walk *w)
{
	uint16_t next;
	int n = efi_numbers(w->h, "BootNext", &next, 1), err = 0;

	if (n == 0)
		n = -EBADMSG;
	if (n < 0 && n != -ENOENT)
		return say_unread(w, "BootNext", n);
	if (n == 1)
		err = judge_entry(w, next, -1);
	if (err)
		return err;
	w->count = efi_numbers(w->h, "BootOrder", w->order, ORDER_MAX);
	/* Firmware without entries, which says nothing of what it started either. */
	if (w->count == -ENOENT && !w->known && n < 0)
		return 1;
	if (w->count < 0 && w->count != -ENOENT)
		return say_unread(w, "BootOrder", w->count);
	for (int i = 0; i < w->count && !err; i++)
		err = judge_entry(w, w->order[i], i);
	return err ? err : judge_fallback(w);
}

int efi_start_read(const struct host *h, struct efi_start *out)
{
	struct walk w = { .h = h, .out = out };
	int err;

	memset(out, 0, sizeof(*out));
	/* The variables are those of the machine, not of a folder. */
	if (!host_may_act(h))
		return 0;
	if (!efivars_readable(h))
		return host_has(h, "/sys/firmware/efi") ? say_hidden(&w) : 0;
	err = efi_numbers(h, "BootCurrent", &w.number, 1);
	if (err == 1) {
		err = efi_load_option(h, w.number, &w.current);
		w.known = !err || err == -ENOENT;
	}
	if (err == -ENOENT)
		err = 0;
	err = err == -ENOMEM ? err : err < 0 ? say_unread(&w, "BootCurrent", err) : walk_all(&w);
	load_option_free(&w.current);
	if (err < 0)
		efi_start_free(out);
	return err < 0 ? err : 0;
}
