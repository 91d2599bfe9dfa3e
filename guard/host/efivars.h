/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * EFI variables as efivarfs shows them (four bytes of attributes, then data),
 * read below the host's root. libefivar finds its directory through the
 * environment, which a program run as root must not believe.
 */
#ifndef KMODKEEP_EFIVARS_H
#define KMODKEEP_EFIVARS_H

#include <stdint.h>

#include "guard/base/util.h"

struct host;

#define EFI_GLOBAL_GUID "8be4df61-93ca-11d2-aa0d-00e098032b8c"
#define EFI_SECURITY_GUID "d719b2cb-3d3a-4596-a3bc-dad00e67656f"
#define SHIM_GUID "605dab50-e046-4300-abb6-3dd810dd8b23"

/* Is the file system there with anything in it? */
bool efivars_readable(const struct host *h);

/* The file of a variable, there or not; malloc'ed. */
char *efivar_path(const struct host *h, const char *name, const char *guid);

/*
 * The data of a variable without its attributes; -ENOENT if there is none. One of shim
 * is also looked for where the kernel keeps shim's copies.
 */
int efivar_read(const struct host *h, const char *name, const char *guid,
		struct buf *out);

/* First byte of a variable, or -errno. */
int efivar_flag(const struct host *h, const char *name, const char *guid);

/* A variable of UTF-16 text, as printable ASCII; malloc'ed, NULL if none. */
char *efivar_text(const struct host *h, const char *name, const char *guid);

/* Bytes left for new variables, or -1 where the kernel does not tell. */
long long efivars_free(const struct host *h);

/* Mounted so that nobody can write to it. */
bool efivars_read_only(const struct host *h);

/*
 * What an entry is: a certificate; the hash of a program; or the hash of what is signed of a
 * certificate, with the time from which it is revoked (16 bytes, all zero: from ever).
 */
enum efi_sig {
	EFI_SIG_X509,
	EFI_SIG_SHA1, EFI_SIG_SHA224, EFI_SIG_SHA256, EFI_SIG_SHA384, EFI_SIG_SHA512,
	EFI_SIG_X509_SHA256, EFI_SIG_X509_SHA384, EFI_SIG_X509_SHA512,
	EFI_SIG_OTHER,
};

/*
 * Calls fn for each entry of a signature list. -EBADMSG if the list is not
 * well-formed; entries before the damage were reported.
 */
typedef int efi_sig_fn(void *arg, enum efi_sig type,
		       const unsigned char *data, size_t len);
int efi_siglist_walk(const struct buf *list, efi_sig_fn *fn, void *arg);

/* An entry of the firmware's boot menu: the program that it starts. */
struct load_option {
	char *title;		/* printable */
	char *partition;	/* PARTUUID as the kernel writes it; NULL: it names none */
	char *file;		/* with slashes, '?' for what is no ASCII; NULL: it names none */
	bool network;		/* it is got from a server */
	struct buf more;	/* what the program is told */
	bool active;		/* the firmware skips others */
	bool boots;		/* it is no tool of the firmware */
};
/* 0; -ENOENT: there is none of this number; -EBADMSG: it is damaged; or -errno. */
int efi_load_option(const struct host *h, uint16_t number, struct load_option *out);
void load_option_free(struct load_option *o);
/* How many numbers a variable has, as BootOrder; -ENOENT, -EBADMSG (or more than max), -errno. */
int efi_numbers(const struct host *h, const char *name, uint16_t *list, size_t max);

/* What the firmware takes of a partition where an entry names no file; ends with NULL. */
extern const char *const efi_removable[];

/*
 * Directory on the ESP of what this boot started from, with slashes,
 * like "/EFI/debian"; malloc'ed, NULL if the firmware does not say.
 */
char *efi_boot_directory(const struct host *h);
/* The option that started this boot, for load_option_free(); false: nobody can tell. */
bool efi_boot_option(const struct host *h, struct load_option *out);
/* The file that it names, like "/EFI/debian/shimx64.efi". */
char *efi_boot_file(const struct host *h);

#endif
