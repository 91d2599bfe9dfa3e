// SPDX-License-Identifier: GPL-2.0-or-later
/* Finds files of EFI partitions by PARTUUID, by what the boot loader says, by type. */
#include "guard/host/esp.h"

#include <stdlib.h>
#include <string.h>

#include "guard/base/util.h"
#include "guard/host/efivars.h"
#include "guard/host/mounts.h"

#define PARTITIONS "/dev/disk/by-partuuid"

static char *file_in(const struct host *h, const char *where, const char *file, char **mount)
{
	char *rel = text_of("%s%s%s", strcmp(where, "/") ? where : "", *file == '/' ? "" : "/", file);
	char *path = rel && !strstr(rel, "..") && host_has(h, rel) ? host_path(h, rel) : NULL;

	free(rel);
	if (path && mount && !(*mount = strdup(where))) {
		free(path);
		path = NULL;
	}
	return path;
}

static char *file_of(const struct host *h, const char *partition, const char *file, char **mount)
{
	char *where = mount_of(h, partition);
	char *path = where ? file_in(h, where, file, mount) : NULL;

	free(where);
	return path;
}

/* The first that has it. */
struct search {
	const struct host *h;
	const char *file;
	char **mount;
	char *path;
};

static void look_in(void *arg, const char *where)
{
	struct search *s = arg;

	if (!s->path)
		s->path = file_in(s->h, where, s->file, s->mount);
}

char *esp_file(const struct host *h, const char *partition, const char *file, char **mount)
{
	struct search s = { h, file, mount, NULL };
	bool told = host_has(h, PARTITIONS);
	char *said = partition ? NULL : efivar_text(h, "LoaderDevicePartUUID", LOADER_GUID);

	if (mount)
		*mount = NULL;
	if (told && (partition || said)) {
		s.path = file_of(h, partition ? partition : said, file, mount);
		free(said);
		return s.path;
	}
	free(said);
	for (const char *const *place = mount_esp_places; *place; place++)
		look_in(&s, *place);
	if (!s.path)
		mount_each_esp(h, look_in, &s);
	return s.path;
}
