// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Names of containers, from the files of their runtimes: containers.h.
 *
 *   docker              .../docker/containers/ID/config.v2.json: "Name"
 *   podman, CRI-O       .../storage/DRIVER-containers/containers.json: "id", "names"
 *   Kubernetes          /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log, and
 *                       /var/log/pods/NAMESPACE_POD_UID
 *
 * All of these are there while nobody has removed the container, also after a crash.
 * What cannot be read, is too large or makes no sense has no name.
 */
#include "containers.h"

#include <dirent.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Tests have a host of their own. */
#ifndef FLIGHTREC_HOST
#define FLIGHTREC_HOST ""
#endif

#define FILE_MAX (16 * 1024 * 1024)
#define ENTRIES_MAX 65536
#define DEPTH_MAX 32

/* ---- JSON */

static struct json_object *parse(const char *text, size_t len)
{
	struct json_tokener *tokener = json_tokener_new_ex(DEPTH_MAX);
	struct json_object *object;

	if (!tokener)
		return NULL;
	object = json_tokener_parse_ex(tokener, text, len);
	json_tokener_free(tokener);
	return object;
}

static const char *text_of(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_is_type(object, json_type_object) ||
	    !json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_string))
		return "";
	return json_object_get_string(value);
}

static bool put_name(const char *text, char *name, size_t size)
{
	size_t len = strlen(text);

	if (!container_name_ok(text, len) || len >= size)
		return false;
	memcpy(name, text, len + 1);
	return true;
}

/* Of docker: an object, "Name" with a slash before it. */
static bool named_by_docker(struct json_object *object, const char *id, char *name, size_t size)
{
	const char *text = text_of(object, "Name");

	return !strcmp(text_of(object, "ID"), id) && *text == '/' && put_name(text + 1, name, size);
}

/* Of podman and CRI-O: an array of containers, each with several names. */
static bool named_in_storage(struct json_object *array, const char *id, char *name, size_t size)
{
	struct json_object *one, *names, *first;
	size_t i;

	for (i = 0; i < json_object_array_length(array); i++) {
		one = json_object_array_get_idx(array, i);
		if (strcmp(text_of(one, "id"), id) ||
		    !json_object_object_get_ex(one, "names", &names) ||
		    !json_object_is_type(names, json_type_array) ||
		    !json_object_array_length(names))
			continue;
		first = json_object_array_get_idx(names, 0);
		return json_object_is_type(first, json_type_string) &&
		       put_name(json_object_get_string(first), name, size);
	}
	return false;
}

bool container_name_in(const char *text, size_t len, const char *id, char *name, size_t size)
{
	struct json_object *all = parse(text, len);
	bool found = false;

	if (json_object_is_type(all, json_type_object))
		found = named_by_docker(all, id, name, size);
	else if (json_object_is_type(all, json_type_array))
		found = named_in_storage(all, id, name, size);
	json_object_put(all);
	return found;
}

/* A file that is none, or a pipe where one should be, must not hold up who reads records. */
static bool named_in_file(const char *path, struct container *container)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	bool found = false;
	size_t len = 0;
	char *text;
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return false;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_size <= FILE_MAX) {
		text = malloc(st.st_size + 1);
		if (!text)
			abort();
		while (len < (size_t)st.st_size && (n = read(fd, text + len, st.st_size - len)) > 0)
			len += n;
		found = container_name_in(text, len, container->id, container->name,
					  sizeof(container->name));
		free(text);
	}
	close(fd);
	return found;
}

/* ---- docker, podman, CRI-O */

static bool named_by_runtime(struct container *container, const char *data)
{
	static const char *const storage[] = {
		"overlay-containers/containers", "overlay-containers/volatile-containers",
		"vfs-containers/containers", "btrfs-containers/containers", "zfs-containers/containers",
	};
	char path[4096];
	size_t i;

	snprintf(path, sizeof(path), "%s/docker/containers/%s/config.v2.json", data, container->id);
	if (named_in_file(path, container))
		return true;
	for (i = 0; i < sizeof(storage) / sizeof(*storage); i++) {
		snprintf(path, sizeof(path), "%s/containers/storage/%s.json", data, storage[i]);
		if (named_in_file(path, container))
			return true;
	}
	return false;
}

/* Nobody else follows into a home, where another user says what is there. */
static void find_name_of_user(struct container *container)
{
	const struct passwd *user;
	char data[2048];

	if (container->uid != geteuid())
		return;
	user = getpwuid(container->uid);
	if (!user)
		return;
	snprintf(data, sizeof(data), FLIGHTREC_HOST "%s/.local/share", user->pw_dir);
	named_by_runtime(container, data);
}

/* ---- Kubernetes */

/* The part of @text up to a '_', or all of it; moves @text behind. */
static bool next_part(const char **text, size_t *len, const char **part, size_t *part_len)
{
	const char *end = memchr(*text, '_', *len);

	*part = *text;
	*part_len = end ? (size_t)(end - *text) : *len;
	*len -= *part_len + !!end;
	*text += *part_len + !!end;
	return container_name_ok(*part, *part_len);
}

/* "POD_NAMESPACE_CONTAINER" of a log, or "NAMESPACE_POD" of a pod's folder. */
static void take_pod_name(struct container *container, const char *text, size_t len, bool log)
{
	const char *first, *second;
	size_t first_len, second_len;

	if (!next_part(&text, &len, &first, &first_len) ||
	    !next_part(&text, &len, &second, &second_len))
		return;
	if (log && container_name_ok(text, len) && !memchr(text, '_', len) &&
	    first_len + second_len + len + 2 < sizeof(container->name))
		snprintf(container->name, sizeof(container->name), "%.*s/%.*s/%.*s", (int)second_len,
			 second, (int)first_len, first, (int)len, text);
	else if (!log && !len && first_len + second_len + 1 < sizeof(container->name))
		snprintf(container->name, sizeof(container->name), "%.*s/%.*s", (int)first_len, first,
			 (int)second_len, second);
}

/* The entry of a folder that ends so is the container's. */
static void find_entry(struct container *container, const char *path, const char *end, bool log)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	size_t len, end_len = strlen(end), n = 0;

	while (dir && !container->name[0] && n++ < ENTRIES_MAX && (entry = readdir(dir))) {
		len = strlen(entry->d_name);
		if (len > end_len && !strcmp(entry->d_name + len - end_len, end))
			take_pod_name(container, entry->d_name, len - end_len, log);
	}
	if (dir)
		closedir(dir);
}

static void find_name_of_pod(struct container *container)
{
	char end[CONTAINER_ID_DIGITS + 8];

	snprintf(end, sizeof(end), "-%s.log", container->id);
	find_entry(container, FLIGHTREC_HOST "/var/log/containers", end, true);
	if (container->name[0] || !container->pod[0])
		return;
	snprintf(end, sizeof(end), "_%s", container->pod);
	find_entry(container, FLIGHTREC_HOST "/var/log/pods", end, false);
}

void container_find_name(struct container *container)
{
	if (container->name[0] || !container->id[0])
		return;
	if (container->of_user)
		find_name_of_user(container);
	else if (container->pod[0])
		find_name_of_pod(container);
	else
		named_by_runtime(container, FLIGHTREC_HOST "/var/lib");
}
