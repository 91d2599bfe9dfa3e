// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Boots that are kept: their directories, what is known of them, and files that are
 * replaced as a whole.
 */
#include "archive.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

/* More directories than this were made by somebody else. */
#define BOOTS_MAX 1024

#define BOOT_JSON_MAX (1024 * 1024)

/* Of the beginning of an id, at least. */
#define ID_DIGITS 4

/* A run that holds the lock ends in less. */
#define LOCK_SECONDS 120

const char *json_text(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_string))
		return "";
	return json_object_get_string(value);
}

uint64_t json_number(struct json_object *object, const char *key)
{
	struct json_object *value;

	if (!json_object_object_get_ex(object, key, &value) ||
	    !json_object_is_type(value, json_type_int))
		return 0;
	return json_object_get_uint64(value);
}

void json_set_text(struct json_object *object, const char *key, const char *text)
{
	json_object_object_add(object, key, json_object_new_string(text));
}

void json_set_number(struct json_object *object, const char *key, uint64_t number)
{
	json_object_object_add(object, key, json_object_new_uint64(number));
}

int boot_id_now(char id[33])
{
	char text[64];
	size_t i, n = 0;
	FILE *file = fopen("/proc/sys/kernel/random/boot_id", "re");

	if (!file)
		return -errno;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	for (i = 0; text[i] && n < 32; i++)
		if (strchr("0123456789abcdef", text[i]))
			id[n++] = text[i];
	id[n] = '\0';
	return n == 32 ? 0 : -EBADMSG;
}

/* ---- directories */

/* What is in records is for those who may read the channels. */
static void give_to_readers(int fd)
{
	struct group *readers = getgrnam("flightrec");

	if (readers && fchown(fd, -1, readers->gr_gid) && errno != EPERM)
		complain("group flightrec cannot read the boots that are kept: %s", strerror(errno));
}

static int make_directory(const char *path)
{
	int fd;

	if (mkdir(path, 0750))
		return errno == EEXIST ? 0 : -errno;
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	give_to_readers(fd);
	close(fd);
	return 0;
}

int boot_make(const char *name)
{
	char path[sizeof(BOOTS_DIR) + BOOT_NAME_MAX + 2];
	int err = make_directory(FLIGHTREC_STATE);

	snprintf(path, sizeof(path), BOOTS_DIR "/%s", name);
	err = err ? err : make_directory(BOOTS_DIR);
	return err ? err : make_directory(path);
}

static int write_all(int fd, const char *text, size_t len)
{
	ssize_t n;

	for (; len; text += n, len -= n) {
		n = write(fd, text, len);
		if (n < 0)
			return -errno;
	}
	return fsync(fd) ? -errno : 0;
}

static int sync_directory(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = fd < 0 || fsync(fd) ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return err;
}

int state_replace(const char *boot, const char *file, const char *text, size_t len)
{
	char dir[512], path[600], new[608];
	int err, fd;

	snprintf(dir, sizeof(dir), "%s%s", boot ? BOOTS_DIR "/" : FLIGHTREC_STATE, boot ? boot : "");
	snprintf(path, sizeof(path), "%s/%s", dir, file);
	snprintf(new, sizeof(new), "%s.new", path);
	fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
	if (fd < 0)
		return -errno;
	give_to_readers(fd);
	err = write_all(fd, text, len);
	close(fd);
	if (!err && rename(new, path))
		err = -errno;
	if (err)
		unlink(new);
	return err ? err : sync_directory(dir);
}

int state_lock(void)
{
	int err = make_directory(FLIGHTREC_STATE);
	int fd, i;

	if (err)
		return err;
	fd = open(FLIGHTREC_STATE "/.lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	for (i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		if (errno != EWOULDBLOCK || i >= LOCK_SECONDS) {
			err = -errno;
			close(fd);
			return err;
		}
		sleep(1);
	}
	return fd;
}

/* ---- boot.json */

void boot_load(struct boot *boot)
{
	char path[512];
	struct json_object *end;
	struct stat st;

	snprintf(path, sizeof(path), BOOTS_DIR "/%s/boot.json", boot->name);
	boot->json = NULL;
	boot->problem = NULL;
	if (stat(path, &st)) {
		boot->problem = errno == ENOENT ? "it was begun and not finished: flightrec collect" :
						  strerror(errno);
		return;
	}
	boot->order = st.st_mtim.tv_sec * 1000000000ULL;
	if (st.st_size <= BOOT_JSON_MAX)
		boot->json = json_object_from_file(path);
	if (!boot->json || !json_object_is_type(boot->json, json_type_object)) {
		boot->problem = "its boot.json is damaged";
		json_object_put(boot->json);
		boot->json = NULL;
		return;
	}
	if (json_number(boot->json, "version") != ARCHIVE_VERSION)
		boot->problem = "it is of a version that this program does not know: use a newer one";
	/* What was seen of it first: no clock that was set later changes it. */
	if (json_number(boot->json, "first_seen_ns"))
		boot->order = json_number(boot->json, "first_seen_ns");
	else if (json_object_object_get_ex(boot->json, "end", &end) && json_number(end, "wall_ns"))
		boot->order = json_number(end, "wall_ns");
}

int boot_store(const struct boot *boot)
{
	const char *text = json_object_to_json_string_ext(
		boot->json, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
	int err = text ? boot_make(boot->name) : -ENOMEM;

	return err ? err : state_replace(boot->name, "boot.json", text, strlen(text));
}

static bool name_ok(const char *name)
{
	size_t len = strlen(name);

	return name[0] != '.' && len < BOOT_NAME_MAX &&
	       strspn(name, "0123456789abcdefghijklmnopqrstuvwxyz-") == len;
}

static int by_order(const void *one, const void *two)
{
	const struct boot *a = one, *b = two;

	if (a->order != b->order)
		return a->order < b->order ? -1 : 1;
	return strcmp(a->name, b->name);
}

int boots_load(struct boot **boots)
{
	DIR *dir = opendir(BOOTS_DIR);
	struct dirent *entry;
	char now[33] = "";
	int n = 0, i;

	*boots = NULL;
	if (!dir)
		return errno == ENOENT ? 0 : -errno;
	*boots = calloc(BOOTS_MAX, sizeof(struct boot));
	while (*boots && n < BOOTS_MAX && (entry = readdir(dir))) {
		if (!name_ok(entry->d_name))
			continue;
		strcpy((*boots)[n].name, entry->d_name);
		boot_load(&(*boots)[n++]);
	}
	closedir(dir);
	if (!*boots)
		return -ENOMEM;
	boot_id_now(now);
	/* However the clock is set: what runs is the newest. */
	for (i = 0; i < n; i++)
		if (!strcmp((*boots)[i].name, now))
			(*boots)[i].order = UINT64_MAX;
	qsort(*boots, n, sizeof(struct boot), by_order);
	return n;
}

void boots_free(struct boot *boots, int count)
{
	while (count-- > 0)
		json_object_put(boots[count].json);
	free(boots);
}

static int newest_ended(const struct boot *boots, int count, const char *now)
{
	while (count-- > 0)
		if (boots[count].json && strcmp(boots[count].name, now))
			return count;
	complain("no boot before this one is kept yet: flightrec collect, run at boot, keeps them");
	return -1;
}

bool boot_name_ok(const char *text)
{
	return *text && strlen(text) < BOOT_NAME_MAX &&
	       strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz-") == strlen(text);
}

bool boot_same(const char *id, const char *text, size_t digits)
{
	size_t same = 0;

	for (;;) {
		id += *id == '-';
		text += *text == '-';
		if (!*text || *id != *text)
			return !*text && same >= digits;
		id++;
		text++;
		same++;
	}
}

int boots_find(const struct boot *boots, int count, const char *text)
{
	unsigned long long back;
	char now[33] = "";
	int i, found = -1;
	bool running;

	boot_id_now(now);
	if (!text)
		return newest_ended(boots, count, now);
	if (!strcmp(text, "0"))
		text = now;
	if (text[0] == '-' && number_parse(text + 1, 1, BOOTS_MAX, &back)) {
		running = count && !strcmp(boots[count - 1].name, now);
		if (back <= (unsigned int)(count - running))
			return count - running - (int)back;
		if (count == running)
			return newest_ended(boots, count, now);
		complain("boot %s: only %d before this one %s kept; see \"flightrec boots\"", text,
			 count - running, count - running == 1 ? "is" : "are");
		return -1;
	}
	/* One digit would nearly always fit, and mean something else to who knows journalctl. */
	if (!boot_same(text, text, ID_DIGITS)) {
		complain("boot %s: give -1, -2, or at least %d digits of its id; see \"flightrec boots\"",
			 text, ID_DIGITS);
		return -1;
	}
	for (i = 0; i < count; i++) {
		if (!boot_same(boots[i].name, text, ID_DIGITS))
			continue;
		if (found >= 0) {
			complain("boot %s: several begin so; see \"flightrec boots\"", text);
			return -1;
		}
		found = i;
	}
	if (found < 0)
		complain("boot %s is not kept; see \"flightrec boots\"", text);
	return found;
}
