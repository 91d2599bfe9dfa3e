// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What shim does at a boot with Secure Boot (rhboot/shim: shim.c, sbat.c, mok.c):
 * - It takes the level that the firmware holds for it (SbatLevel, of which this boot left a
 *   copy, SbatLevelRT) or, if that is newer, the one that it brings itself: the automatic
 *   one or, if SbatPolicy asks for it, the latest. A level is never lowered.
 * - If it is refused by that level itself, it switches the machine off; so it does if a
 *   request waits for MokManager, and that is refused or not there.
 * - It takes revocations from a file beside it, if that is signed.
 * - It starts GRUB, or what its options name, which must have a section .sbat.
 * - GRUB or systemd-boot ask it about a kernel, which may do without such a section.
 * shim before 15.3 has no section .sbat itself, and looks at no level. SkuSiPolicy, which
 * some shims set as well, is for the boot manager of Windows alone.
 */
#include "guard/trust/sbat_chain.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "guard/base/util.h"
#include "guard/host/bootfile.h"
#include "guard/host/efivars.h"
#include "guard/trust/firmware_ca.h"
#include "guard/trust/sbat.h"

#define FOLDERS_MAX 32

enum role { ROLE_SHIM, ROLE_HELPER, ROLE_LOADER, ROLE_KERNEL };

struct chain {
	const struct host *h;
	const struct sbat_boot *boot;
	struct sbat_answer *out;
	struct buf held, brought;		/* SbatLevelRT, .sbatlevel */
	struct buf automatic, latest, level;	/* within those; level: that will hold */
	bool asked;				/* SbatPolicy: the latest one */
	int waits;				/* request_waits() */
	const char *revocations;		/* a file that may raise the level; NULL: none */
	bool second;				/* the fallback of another shim started this one */
	bool one_of_several;			/* of which it starts one */
};

void sbat_answer_free(struct sbat_answer *a)
{
	free(a->line);
	free(a->next);
	memset(a, 0, sizeof(*a));
}

/* Takes over line and next. 1: said; -ENOMEM. */
static int say(struct chain *c, int state, char *line, char *next)
{
	if (!line || !next) {
		free(line);
		free(next);
		return -ENOMEM;
	}
	c->out->state = state;
	c->out->line = line;
	c->out->next = next;
	return 1;
}

#define ASK_ROOT "ask again as root, with efivarfs and the EFI partition mounted; mokutil " \
	"--list-sbat-revocations shows the level"

static int say_unknown(struct chain *c, char *line)
{
	return say(c, SBAT_UNKNOWN, line, strdup(ASK_ROOT));
}

/* ---- what to do ---- */

static const char *debian_arch(const char *file)
{
	return strcasestr(file, "aa64") ? "arm64" : strcasestr(file, "ia32") ? "ia32" : "amd64";
}

/* What has to be updated, with the packages' names. */
static char *update_of(const struct chain *c, enum role role, const char *component)
{
	const char *arch = debian_arch(c->boot->shim);

	if (role == ROLE_SHIM)
		return strdup("update shim (shim-signed; with RPM shim-x64 or shim-aa64)");
	if (role == ROLE_HELPER)
		return text_of("update shim and what comes with it (shim-signed, "
			       "shim-helpers-%s-signed; with RPM shim-x64 or shim-aa64)", arch);
	if (!strncmp(component, "fwupd", 5))
		return text_of("update fwupd's program (fwupd-%s-signed)", arch);
	if (!strncmp(component, "systemd", 7))
		return strdup("update systemd-boot (bootctl update)");
	if (role == ROLE_LOADER && strncmp(component, "linux", 5) && strncmp(component, "uki", 3))
		return text_of("update the boot loader (grub-efi-%s-signed, then grub-install; with "
			       "RPM grub2-efi-x64 or grub2-efi-aa64)", arch);
	return strdup("update that kernel, or boot another one from the menu");
}

/* Does a level let this section start? */
static bool passes(const struct buf *section, const struct buf *level)
{
	struct sbat_refusal r;

	return !sbat_compare(section, level, &r);
}

/* The way back, if there is one without an update. */
static const char *other_way(const struct chain *c, const struct buf *section)
{
	const struct buf *without = sbat_level_kept(&c->held, &c->automatic) ? &c->held :
								       &c->automatic;

	if (c->revocations)
		return ", or take that file away";
	if (c->asked && passes(section, without))
		return ", or withdraw the request for the latest level: mokutil --set-sbat-policy "
		       "previous";
	if (passes(section, &c->held))
		return ", or put back the shim that was there before, which does not raise the level";
	return ", or put back the one that started this boot; the level that the firmware holds "
	       "is lowered in a boot with Secure Boot off alone (mokutil --set-sbat-policy delete, "
	       "before shim 15.8)";
}

/* Where the level comes from. */
static char *origin(const struct chain *c)
{
	char date[16];

	sbat_level_date(&c->level, date);
	if (c->revocations)
		return text_of("level %s of %s, if shim takes that", date, c->revocations);
	if (c->level.data == c->held.data)
		return text_of("level %s, which the firmware holds", date);
	return text_of("level %s, to which this shim raises it at the next boot%s", date,
		       c->asked ? " as SbatPolicy asks" : "");
}

static char *what_stops(const struct chain *c, const char *path, enum role role)
{
	switch (role) {
	case ROLE_SHIM:
		return text_of("shim (%s) switches the machine off, as SBAT revokes it itself", path);
	case ROLE_HELPER:
		return text_of("shim (%s) does not start %s, as SBAT revokes it", c->boot->shim, path);
	case ROLE_LOADER:
		return text_of("shim does not start the boot loader %s, as SBAT revokes it", path);
	default:
		return text_of("shim does not let %s boot, as SBAT revokes it", path);
	}
}

/* r NULL: it is refused for what is wrong with its section, as why says. */
static int say_stops(struct chain *c, const char *path, enum role role,
		     const struct buf *section, const struct sbat_refusal *r, const char *why)
{
	char *what = what_stops(c, path, role), *from = origin(c), *line = NULL, *next = NULL;
	char *update = update_of(c, role, r ? r->name : "");

	if (what && from && update && r) {
		line = text_of("%s: it has %s,%u, and %s,%u is required (%s)", what, r->name, r->has,
			       r->name, r->needs, from);
		next = text_of("before the reboot, %s to one with %s,%u or later%s", update, r->name,
			       r->needs, other_way(c, section));
	} else if (what && from && update) {
		line = text_of("%s: %s", what, why);
		next = text_of("before the reboot, %s", update);
	}
	free(what);
	free(from);
	free(update);
	return say(c, c->revocations || c->one_of_several ? SBAT_UNKNOWN : SBAT_STOPS, line, next);
}

/* ---- one program ---- */

static int compare(struct chain *c, const char *path, enum role role, const struct buf *section)
{
	struct sbat_refusal r;

	switch (sbat_compare(section, &c->level, &r)) {
	case 0:
		return 0;
	case 1:
		return say_stops(c, path, role, section, &r, NULL);
	case -EBADMSG:
		return say_stops(c, path, role, section, NULL, "its section .sbat is damaged");
	default:
		return say_unknown(c, text_of("whether shim starts %s is not known, as its section "
					      ".sbat has what not every shim takes alike", path));
	}
}

/* 0: it is started; 1: said; -ENOMEM. */
static int judge(struct chain *c, const char *path, enum role role)
{
	struct buf section;
	int err = boot_file_content(path, ".sbat", SBAT_MAX, &section);

	/* A kernel that shim is asked about may have none; not all of them are PE images. */
	if (role == ROLE_KERNEL && (err == -ENOENT || err == -EBADMSG))
		return 0;
	/* What is wrong with a section of a file shim cannot see in itself, as it was linked. */
	if (!err)
		err = compare(c, path, role, &section);
	else if (err == -ENOENT && role != ROLE_SHIM)
		err = say_stops(c, path, role, NULL, NULL,
				"it has no section .sbat, without which shim starts nothing");
	else if (err == -EEXIST && role != ROLE_SHIM)
		err = say_stops(c, path, role, NULL, NULL,
				"its section .sbat is there twice, or has relocations");
	else if (err != -ENOMEM)
		err = say_unknown(c, text_of("whether shim starts %s is not known, as its section "
					     ".sbat cannot be read (%s)", path, strerror(-err)));
	buf_free(&section);
	return err;
}

/* The same if it is there at all; takes over path. */
static int judge_if_there(struct chain *c, char *path, enum role role)
{
	int err = path && path_exists(path) ? judge(c, path, role) : 0;

	free(path);
	return err;
}

/* ---- the level that will hold ---- */

static unsigned char original[] = "sbat,1,2021030218\n";

static int find_brought(struct chain *c)
{
	int err = boot_file_content(c->boot->shim, ".sbatlevel", SBAT_MAX, &c->brought);

	if (!err)
		err = sbat_levels_of(&c->brought, &c->automatic, &c->latest);
	if (!err || err == -ENOMEM)
		return err;
	/* 15.3 to 15.6: nothing is raised of itself. */
	c->automatic = c->latest = (struct buf){ original, sizeof(original) - 1 };
	if (err == -ENOENT && !c->asked)
		return 0;
	return say_unknown(c, text_of("which SBAT level shim (%s) asks for at the next boot is not "
				      "known, as its section .sbatlevel is %s", c->boot->shim,
				      err == -ENOENT ? "not there, and SbatPolicy asks for its latest" :
						       "not understood"));
}

static int find_level(struct chain *c)
{
	/* The first shim takes the request away. */
	int policy = c->second ? -ENOENT : efivar_flag(c->h, "SbatPolicy", SHIM_GUID);
	int err = c->second ? 0 : efivar_read(c->h, "SbatLevelRT", SHIM_GUID, &c->held);
	const struct buf *candidate;

	if (err == -ENOMEM)
		return err;
	if (err)
		return say_unknown(c, text_of("which SBAT level the firmware holds for shim is not "
					      "known, as SbatLevelRT %s", err == -ENOENT ? "is not there" :
					      "cannot be read"));
	if (policy < 0 && policy != -ENOENT)
		return say_unknown(c, strdup("which SBAT level shim asks for at the next boot is not "
					     "known, as SbatPolicy cannot be read"));
	c->asked = policy == 1;
	err = find_brought(c);
	if (err)
		return err;
	candidate = c->asked ? &c->latest : &c->automatic;
	c->level = sbat_level_kept(&c->held, candidate) ? c->held : *candidate;
	return sbat_level_valid(&c->level) ? 0 :
	       say_unknown(c, strdup("which SBAT level holds is not known, as SbatLevelRT is damaged"));
}

/* ---- all of them ---- */

/* 1, 0, or -1: that cannot be read. */
static int request_waits(const struct host *h)
{
	static const char *const names[] = {
		"MokNew", "MokSB", "MokPW", "MokAuth", "MokDel", "MokDB", "MokXNew", "MokXDel",
		"MokXAuth", "MokListTrustedNew",
	};
	int any = 0;

	for (size_t i = 0; any != 1 && i < ARRAY_SIZE(names); i++) {
		struct buf b = { 0 };
		int err = efivar_read(h, names[i], SHIM_GUID, &b);

		any = !err ? 1 : err != -ENOENT ? -1 : any;
		buf_free(&b);
	}
	return any;
}

/* Without MokManager a request ends the boot, whatever shim checks. */
static int judge_request(struct chain *c)
{
	char *manager = c->waits ? beside_shim(c->boot->shim, "mm") : NULL;
	int err = 0;

	if (c->waits && !manager)
		err = say(c, c->waits < 0 || c->one_of_several ? SBAT_UNKNOWN : SBAT_STOPS,
			  text_of("shim (%s) does not go on, as a request %s for MokManager, which is not "
				  "beside it", c->boot->shim, c->waits < 0 ? "may wait" : "waits"),
			  text_of("before the reboot, install MokManager (shim-helpers-%s-signed, then "
				  "grub-install; with RPM shim-x64 or shim-aa64), or withdraw the "
				  "request: mokutil --revoke-import, mokutil --revoke-delete",
				  debian_arch(c->boot->shim)));
	free(manager);
	return err;
}

/* What the options of an entry name to be started, as "/fwupdx64.efi"; malloc'ed, NULL: nothing. */
static char *named_program(const struct buf *options)
{
	char word[256];
	size_t len = 0, i = 0;

	while (i + 1 < options->len && options->data[i] == ' ' && !options->data[i + 1])
		i += 2;
	for (; i + 1 < options->len && len < sizeof(word) - 1; i += 2) {
		char ch = options->data[i + 1] ? '?' : options->data[i];

		if (!ch || ch == ' ')
			break;
		word[len++] = ch == '\\' ? '/' : ch;
	}
	word[len] = '\0';
	return len > 4 && !strcasecmp(word + len - 4, ".efi") && !strstr(word, "..") ?
	       strdup(word) : NULL;
}

/* The top of the partition with this file; NULL: not known. */
static const char *top_of(const char *shim)
{
	const char *top = strcasestr(shim, "/EFI/"), *next;

	while (top && (next = strcasestr(top + 1, "/EFI/")))
		top = next;
	return top;
}

/* The file of it: beside shim, or from the top of the partition, if it begins with /EFI/. */
static char *named_file(const struct chain *c, const char *named)
{
	const char *shim = c->boot->shim, *top = top_of(shim);

	if (!strncasecmp(named, "/EFI/", 5))
		return top ? text_of("%.*s%s", (int)(top - shim), shim, named) : NULL;
	return text_of("%.*s%s%s", (int)(strrchr(shim, '/') - shim), shim,
		       *named == '/' ? "" : "/", named);
}

/* NULL: it names none, or one that is not there, for which shim takes GRUB. */
static char *program_in_options(const struct chain *c)
{
	struct load_option o;
	char *named, *file;

	if (!c->boot->same || !efi_boot_option(c->h, &o))
		return NULL;
	named = named_program(&o.more);
	file = named ? named_file(c, named) : NULL;
	free(named);
	load_option_free(&o);
	if (file && !path_exists(file)) {
		free(file);
		file = NULL;
	}
	return file;
}

/* In the place of removable disks shim starts its fallback, if that is there. */
static bool is_removable(const char *shim)
{
	const char *name = strrchr(shim, '/');

	return name && name - shim >= 9 && !strncasecmp(name - 9, "/EFI/BOOT/BOOT", 14);
}

/* Is it shim before 15.3? */
static bool knows_none(const char *shim)
{
	static const char *const names[] = { ".sbat", ".sbatlevel" };
	bool none = true;

	for (size_t i = 0; none && i < ARRAY_SIZE(names); i++) {
		struct buf section;

		none = boot_file_content(shim, names[i], SBAT_MAX, &section) == -ENOENT;
		buf_free(&section);
	}
	return none;
}

/* ---- what fallback starts ---- */

static int judge_all(struct chain *c);

/* A folder with a file for it: its shim; malloc'ed. NULL: none, or *unknown is set. */
static char *shim_of_fallback(const struct chain *c, const char *dir, bool *unknown)
{
	static const char *const lists[] = {
		"BOOTX64.CSV", "BOOTAA64.CSV", "BOOTIA32.CSV", "BOOT.CSV",
	};
	char *beside = text_of("%s%s", dir, strrchr(c->boot->shim, '/')), *shim = NULL;
	bool any = false;

	for (size_t i = 0; i < ARRAY_SIZE(lists) && !any; i++) {
		char *list = text_of("%s/%s", dir, lists[i]);

		any = list && path_exists(list);
		free(list);
	}
	if (any && beside)
		shim = beside_shim(beside, "shim");
	*unknown |= !beside || (any && !shim);
	free(beside);
	return shim;
}

/* The level that the first shim leaves holds for the one after it. 0, 1: said; -ENOMEM. */
static int judge_after(struct chain *c, const char *program, bool several)
{
	struct sbat_boot boot = { .shim = program, .checks = true, .image = c->boot->image };
	struct chain next = {
		.h = c->h, .boot = &boot, .out = c->out, .revocations = c->revocations,
		.second = true, .one_of_several = several,
	};
	int err;

	if (!firmware_is_shim(program) || knows_none(program))
		return 0;
	next.held.data = malloc(c->level.len + 1);
	if (!next.held.data)
		return -ENOMEM;
	memcpy(next.held.data, c->level.data, c->level.len);
	next.held.len = c->level.len;
	err = judge_all(&next);
	buf_free(&next.held);
	buf_free(&next.brought);
	return err;
}

/*
 * It makes an entry of each folder with a file for it, and starts one of them. Where the
 * firmware forgets those, as many virtual machines do, that is so at each boot.
 */
static int judge_fallbacks(struct chain *c)
{
	const char *top = top_of(c->boot->shim);
	char *efi = top ? text_of("%.*s", (int)(top + 4 - c->boot->shim), c->boot->shim) : NULL;
	DIR *d = efi ? opendir(efi) : NULL;
	char *shims[FOLDERS_MAX] = { NULL };
	bool unknown = !d;
	size_t count = 0;
	struct dirent *e;
	int err = 0;

	while (d && !unknown && (e = readdir(d))) {
		char *dir;

		if (*e->d_name == '.' || !strcasecmp(e->d_name, "BOOT"))
			continue;
		dir = text_of("%s/%s", efi, e->d_name);
		unknown = !dir || count == FOLDERS_MAX;
		if (!unknown)
			shims[count] = shim_of_fallback(c, dir, &unknown);
		count += count < FOLDERS_MAX && shims[count];
		free(dir);
	}
	if (d)
		closedir(d);
	for (size_t i = 0; i < count; i++) {
		if (!err)
			err = judge_after(c, shims[i], count > 1);
		free(shims[i]);
	}
	if (!err && unknown)
		err = say_unknown(c, text_of("which program the fallback beside shim (%s) starts is not "
					     "known", c->boot->shim));
	free(efi);
	return err;
}

/* ---- what it starts ---- */

/* Some builds of shim start another program than GRUB, by a name of theirs. */
static int say_no_loader(struct chain *c)
{
	return say(c, SBAT_UNKNOWN,
		   text_of("which program shim (%s) starts is not known, as no GRUB is beside it",
			   c->boot->shim),
		   text_of("before the reboot, install the boot loader there (grub-efi-%s-signed, then "
			   "grub-install; with RPM grub2-efi-x64 or grub2-efi-aa64)",
			   debian_arch(c->boot->shim)));
}

static int judge_started(struct chain *c)
{
	const char *shim = c->boot->shim;
	char *fallback = is_removable(shim) ? beside_shim(shim, "fb") : NULL;
	char *named = program_in_options(c);
	char *loader = named ? NULL : beside_shim(shim, "grub");
	int err = 0;

	if (c->waits)
		err = judge_if_there(c, beside_shim(shim, "mm"), ROLE_HELPER);
	if (!err && fallback)
		err = judge(c, fallback, ROLE_HELPER);
	if (!err && fallback)
		err = judge_fallbacks(c);
	if (!err && (named || loader))
		err = judge(c, named ? named : loader, ROLE_LOADER);
	else if (!err && !fallback)
		err = say_no_loader(c);
	if (!err && c->boot->image)
		err = judge_if_there(c, strdup(c->boot->image), ROLE_KERNEL);
	free(fallback);
	free(loader);
	free(named);
	return err;
}

/* A level in a section of a file of revocations; the buffer is freed by the caller. */
static int read_revocation(const char *path, const char *section, struct buf *out)
{
	int err = boot_file_content(path, section, SBAT_MAX, out);

	if (!err)
		out->len = strnlen((char *)out->data, out->len);
	return err;
}

/* Whether shim believes that file is not looked into: what it would refuse is unknown. */
static int judge_revocations(struct chain *c, const char *path)
{
	struct buf automatic = { 0 }, latest = { 0 }, *wanted = c->asked ? &latest : &automatic;
	struct buf was = c->level;
	int err = read_revocation(path, ".sbata", &automatic);

	if (!err)
		err = read_revocation(path, ".sbatl", &latest);
	if (err == -ENOENT) {
		err = 0;
	} else if (err && err != -ENOMEM) {
		err = say_unknown(c, text_of("which SBAT level %s, beside shim, asks for is not known, "
					     "as it cannot be read (%s)", path, strerror(-err)));
	} else if (!err && !sbat_level_kept(&c->level, wanted) && sbat_level_valid(wanted)) {
		c->level = *wanted;
		c->revocations = path;
		err = judge_started(c);
		c->revocations = NULL;
		c->level = was;
	}
	buf_free(&automatic);
	buf_free(&latest);
	return err;
}

/* Files beside shim that have a say. */
static int judge_neighbours(struct chain *c)
{
	/* Of shim 15.8, and of those after it. */
	static const char *const names[] = { "revocations.efi", "revocations_sbat.efi" };
	const char *shim = c->boot->shim;
	int folder = strrchr(shim, '/') - shim, err = 0;
	char *path;

	for (size_t i = 0; !err && i < ARRAY_SIZE(names); i++) {
		path = text_of("%.*s/%s", folder, shim, names[i]);
		err = !path ? -ENOMEM : path_exists(path) ? judge_revocations(c, path) : 0;
		free(path);
	}
	if (err)
		return err;
	path = text_of("%.*s/options.csv", folder, shim);
	if (path && path_exists(path))
		err = say_unknown(c, text_of("what shim starts is not known, as %s, which is not read, "
					     "may name it", path));
	free(path);
	return path ? err : -ENOMEM;
}

/* 0, 1: said; -ENOMEM. */
static int judge_all(struct chain *c)
{
	int err = find_level(c);

	c->waits = request_waits(c->h);
	if (!err)
		err = judge(c, c->boot->shim, ROLE_SHIM);
	if (!err)
		err = judge_request(c);
	if (!err && c->boot->checks)
		err = judge_started(c);
	if (!err && c->boot->checks)
		err = judge_neighbours(c);
	return err;
}

int sbat_judge(const struct host *h, const struct sbat_boot *boot, struct sbat_answer *out)
{
	struct chain c = { .h = h, .boot = boot, .out = out };
	int err;

	memset(out, 0, sizeof(*out));
	if (!strchr(boot->shim, '/') || !firmware_is_shim(boot->shim) || knows_none(boot->shim))
		return 0;
	err = judge_all(&c);
	buf_free(&c.held);
	buf_free(&c.brought);
	if (err < 0)
		sbat_answer_free(out);
	return err < 0 ? err : 0;
}
