// SPDX-License-Identifier: GPL-2.0-or-later
/* Compares what the newest kernel takes in /boot and on the EFI partition with what is free. */
#include "guard/verdict/room.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "guard/base/util.h"

#define MEGABYTE (1024.0 * 1024.0)

/* Bytes of the files of a folder whose names have the release in them, or of all. */
static uint64_t bytes_in(const char *dir, const char *release)
{
	DIR *d = opendir(dir);
	uint64_t sum = 0;
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d)))
		if ((!release || strstr(e->d_name, release)) &&
		    !fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode))
			sum += st.st_size;
	if (d)
		closedir(d);
	return sum;
}

/* What root may still write where a folder is; UINT64_MAX: not known. */
static uint64_t bytes_free(const char *dir)
{
	struct statvfs fs;

	return statvfs(dir, &fs) ? UINT64_MAX : (uint64_t)fs.f_bfree * fs.f_frsize;
}

static char *warn(const char *dir, const char *shown, const char *release, uint64_t needed)
{
	uint64_t left = bytes_free(dir);

	/* Packages write the new file beside the old one. */
	if (!needed || left >= needed)
		return NULL;
	return text_of("%s has room for %.0f MB, and kernel %s takes %.0f MB there: the next "
		       "kernel will not fit. Remove old ones first (apt autoremove --purge, dnf "
		       "remove --oldinstallonly)", shown, left / MEGABYTE, release,
		       needed / MEGABYTE);
}

/* The folder of the boot loader's own copies for a kernel; malloc'ed, NULL: none. */
static char *copies_folder(const struct boot_files *f, const char *boot)
{
	char *dir = f && f->image ? strdup(f->image) : NULL;
	char *slash = dir ? strrchr(dir, '/') : NULL;

	if (slash)
		*slash = '\0';
	if (slash && strcmp(dir, boot) != 0)
		return dir;
	free(dir);
	return NULL;
}

char *room_warning(const struct doctor *d)
{
	const struct kernel *k = d->kernels.count ? &d->kernels.list[0] : NULL;
	const struct boot_files *f = k ? next_boot_files(&d->next, k->release) : NULL;
	char *boot = host_path(d->h, "/boot"), *own, *said = NULL;
	struct stat st;

	if (!k || !boot || d->place == PLACE_CONTAINER || d->place == PLACE_IMAGE) {
		free(boot);
		return NULL;
	}
	said = warn(boot, "/boot", k->release, bytes_in(boot, k->release));
	own = said ? NULL : copies_folder(f, boot);
	if (own && f->unified && !stat(f->image, &st))
		said = warn(own, own, k->release, st.st_size);
	else if (own)
		said = warn(own, own, k->release, bytes_in(own, NULL));
	free(own);
	free(boot);
	return said;
}
