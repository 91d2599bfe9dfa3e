// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The guest's end of the verdict channel: adds a line, or all of the standard input.
 *
 *   verdict RESULTS LINE
 *   verdict RESULTS <LINES
 *
 * The channel is memory that the emulator shares with the test, of a PCI device
 * "ivshmem". What is stored there has arrived: no driver, interrupt or queue of the
 * guest is in between that could delay or drop it, and a panic right after takes
 * nothing away. The first eight bytes say how much text follows; they change after the
 * text is there, so that the test never sees half a line.
 *
 * The file RESULTS gets the same text. A lock on it keeps two programs from adding at
 * the same time, and the digest in the guest's last line is made from it.
 *
 * Exits 0 if the text is in both, otherwise 1 with a line that says why.
 */
#include <err.h>
#include <fcntl.h>
#include <glob.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define DEVICES "/sys/bus/pci/devices"
#define IVSHMEM "PCI_ID=1AF4:1110"

struct channel {
	uint64_t used;
	volatile char text[];	/* byte by byte: arm64 cannot store words anywhere there */
};

static struct channel *channel;
static size_t room;
static FILE *results;

/* Opens FILE in the directory of a device; -1 with errno. */
static int open_in(const char *device, const char *file, int flags)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", device, file);
	return open(path, flags | O_CLOEXEC);
}

static int is_channel(const char *device)
{
	char text[1024] = "";
	int fd = open_in(device, "uevent", O_RDONLY);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		err(1, "%s/uevent", device);
	close(fd);
	return strstr(text, IVSHMEM "\n") != NULL;
}

static void map_channel(const char *device)
{
	struct stat status;
	int fd;

	/* Nobody has yet, unless the firmware did. */
	fd = open_in(device, "enable", O_WRONLY);
	if (fd < 0 || write(fd, "1", 1) != 1)
		err(1, "%s cannot be enabled", device);
	close(fd);
	fd = open_in(device, "resource2", O_RDWR);
	if (fd < 0 || fstat(fd, &status))
		err(1, "%s/resource2", device);
	channel = mmap(NULL, status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (channel == MAP_FAILED)
		err(1, "%s/resource2 cannot be mapped", device);
	close(fd);
	room = status.st_size - sizeof(*channel);
}

static void open_channel(void)
{
	glob_t devices;
	size_t i;

	if (glob(DEVICES "/*", 0, NULL, &devices))
		errx(1, "no verdict channel: %s has no devices", DEVICES);
	for (i = 0; i < devices.gl_pathc && !channel; i++)
		if (is_channel(devices.gl_pathv[i]))
			map_channel(devices.gl_pathv[i]);
	globfree(&devices);
	if (!channel)
		errx(1, "no verdict channel: %s has no device with %s", DEVICES, IVSHMEM);
}

static void add(const char *text, size_t size)
{
	uint64_t used = __atomic_load_n(&channel->used, __ATOMIC_RELAXED);
	size_t i;

	if (used > room || size > room - used)
		errx(1, "the verdict channel is full: %zu bytes", room);
	if (fwrite(text, 1, size, results) != size || fflush(results))
		err(1, "the file of results cannot be written");
	for (i = 0; i < size; i++)
		channel->text[used + i] = text[i];
	__atomic_store_n(&channel->used, used + size, __ATOMIC_RELEASE);
}

int main(int argc, char **argv)
{
	char line[4096];

	if (argc < 2 || argc > 3)
		errx(1, "usage: verdict RESULTS [LINE]");
	results = fopen(argv[1], "ae");
	if (!results)
		err(1, "%s", argv[1]);
	if (flock(fileno(results), LOCK_EX))
		err(1, "%s cannot be locked", argv[1]);
	open_channel();
	if (argc == 3) {
		if (snprintf(line, sizeof(line), "%s\n", argv[2]) >= (int)sizeof(line))
			errx(1, "a line of more than %zu bytes", sizeof(line) - 2);
		add(line, strlen(line));
		return 0;
	}
	while (fgets(line, sizeof(line), stdin)) {
		if (!strchr(line, '\n'))
			errx(1, "not a whole line, or a long one: %s", line);
		add(line, strlen(line));
	}
	if (ferror(stdin))
		err(1, "the standard input");
	return 0;
}
