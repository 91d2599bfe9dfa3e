// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Memory, by what the kernel itself keeps account of:
 *
 *   slab      /proc/slabinfo: pages of all caches (objects, inodes, names)
 *   vmalloc   /proc/vmallocinfo: what flightrec's own code asked for, or code
 *             that is no longer there, as what runs only at load
 *   percpu    /proc/meminfo: "Percpu", in whole chunks
 *   module    /sys/module/NAME/coresize: code and data
 *
 * A channel is the difference that a number of further channels makes, a
 * descriptor the one that thousands of open ones make. Slab caches grow by
 * whole pages, and what was freed is not always given back: so everything is
 * measured while it grows, the smaller before the larger.
 *
 *   bench memory FLIGHTREC.KO EVENTS.KO
 */
#define _GNU_SOURCE
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MORE_CHANNELS 16
#define CHANNEL_KB 256
#define DESCRIPTORS 4000

struct usage {
	double slab;
	double vmalloc;
	double percpu;
};

static FILE *must_read(const char *path)
{
	FILE *file = fopen(path, "r");

	if (!file)
		DIE("open %s", path);
	return file;
}

static double slab_bytes(void)
{
	FILE *file = must_read("/proc/slabinfo");
	unsigned long active, objects, size;
	char line[512], name[64];
	double sum = 0;

	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %lu %lu %lu", name, &active, &objects, &size) == 4)
			sum += (double)active * size;
	fclose(file);
	NEED(sum > 0);
	return sum;
}

static double vmalloc_bytes(void)
{
	FILE *file = must_read("/proc/vmallocinfo");
	char line[512], caller[256], *pages;
	double sum = 0;

	while (fgets(line, sizeof(line), file)) {
		pages = strstr(line, " pages=");
		if (pages && sscanf(line, "%*s %*s %255s", caller) == 1 &&
		    (strstr(line, "[flightrec") || !strncmp(caller, "0x", 2)))
			sum += 4096.0 * atol(pages + 7);
	}
	fclose(file);
	return sum;
}

static struct usage usage_now(void)
{
	struct timespec settle = { 0, 300000000 };

	sync();
	nanosleep(&settle, NULL);	/* what is freed late is freed now */
	bench_put("/proc/sys/vm/drop_caches", "3");
	nanosleep(&settle, NULL);
	return (struct usage){
		.slab = slab_bytes(),
		.vmalloc = vmalloc_bytes(),
		.percpu = 1024.0 * bench_number_in("/proc/meminfo", "Percpu"),
	};
}

static void load(const char *file, const char *params)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		DIE("open %s", file);
	if (syscall(SYS_finit_module, fd, params, 0))
		DIE("load %s %s", file, params);
	close(fd);
}

static void unload(const char *name)
{
	if (syscall(SYS_delete_module, name, O_NONBLOCK))
		DIE("unload %s", name);
}

/* flightrec with CHANNEL_KB for each of @n channels. */
static struct usage with_channels(const char *file, int n)
{
	char params[1024] = "events=none channels=", *at;
	struct usage usage;
	int i;

	at = params + strlen(params);
	for (i = 0; i < n; i++)
		at += sprintf(at, "%sc%d", i ? "," : "", i);
	at += sprintf(at, " size_kb=");
	for (i = 0; i < n; i++)
		at += sprintf(at, "%s%d", i ? "," : "", CHANNEL_KB);
	load(file, params);
	usage = usage_now();
	unload("flightrec");
	return usage;
}

/* Of further channels, size_kb and all. */
static void channel_cost(const char *file)
{
	struct usage few = with_channels(file, 1);
	struct usage many = with_channels(file, 1 + MORE_CHANNELS);

	bench_result("memory_channel_size", 0, CHANNEL_KB * 1024.0);
	bench_result("memory_channel_slab", 0, (many.slab - few.slab) / MORE_CHANNELS);
	bench_result("memory_channel_vmalloc", 0, (many.vmalloc - few.vmalloc) / MORE_CHANNELS);
	bench_result("memory_channel_percpu", 0, (many.percpu - few.percpu) / MORE_CHANNELS);
}

/*
 * They stay open: what one lap frees, the next would get again without the
 * caches growing, and freed objects that a CPU keeps at hand count as used.
 */
static double descriptor_cost(const char *path)
{
	double before = usage_now().slab;
	int i;

	for (i = 0; i < DESCRIPTORS; i++)
		if (open(path, O_RDONLY | O_CLOEXEC) < 0)
			DIE("open %s", path);
	return (usage_now().slab - before) / DESCRIPTORS;
}

static void descriptor_costs(void)
{
	struct rlimit limit = { 4 * DESCRIPTORS, 4 * DESCRIPTORS };
	pid_t child = fork();
	int status;

	NEED(child >= 0);
	if (!child) {
		NEED(!setrlimit(RLIMIT_NOFILE, &limit));
		/* The table of descriptors grows now, not while counting. */
		NEED(dup2(0, 4 * DESCRIPTORS - 1) >= 0);
		bench_result("memory_descriptor_null", 0, descriptor_cost("/dev/null"));
		bench_result("memory_descriptor", 0, descriptor_cost("/dev/flightrec/default"));
		exit(0);
	}
	NEED(waitpid(child, &status, 0) == child && !status);
}

static double module_bytes(const char *name)
{
	double bytes = 0;
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/module/%s/coresize", name);
	file = must_read(path);
	NEED(fscanf(file, "%lf", &bytes) == 1);
	fclose(file);
	return bytes;
}

/* The channels in /proc/flightrec/stats, and the sum of their size_kb=N in bytes. */
static double configured_bytes(unsigned int *channels)
{
	FILE *file = must_read("/proc/flightrec/stats");
	char line[1024], *at;
	double sum = 0;

	while (fgets(line, sizeof(line), file)) {
		at = strstr(line, " size_kb=");
		if (!at)
			continue;
		sum += 1024.0 * atol(at + 9);
		(*channels)++;
	}
	fclose(file);
	NEED(sum > 0);
	return sum;
}

/*
 * With default parameters. No slab here: for so few objects, what the caches
 * grow by is chance; a channel's share is known from channel_cost().
 */
static void whole_cost(const char *core, const char *events)
{
	struct usage none = usage_now(), both;
	unsigned int channels = 0;
	double configured;

	load(core, "");
	if (access("/sys/module/flightrec_events", F_OK))
		load(events, "");
	both = usage_now();
	bench_result("memory_module_flightrec", 0, module_bytes("flightrec"));
	bench_result("memory_module_flightrec_events", 0, module_bytes("flightrec_events"));
	configured = configured_bytes(&channels);
	/* A ring fills its size but for the rest of a block: with less, not all was seen. */
	NEED(both.vmalloc - none.vmalloc > 0.9 * configured);
	bench_result("memory_whole_configured", 0, configured);
	bench_result("memory_whole_channels", 0, channels);
	bench_result("memory_whole_vmalloc", 0, both.vmalloc - none.vmalloc);
	bench_result("memory_whole_percpu", 0, both.percpu - none.percpu);
	bench_result("possible_cpus", 0, sysconf(_SC_NPROCESSORS_CONF));
	descriptor_costs();
	unload("flightrec_events");
	unload("flightrec");
}

int memory_main(int argc, char **argv)
{
	NEED(argc == 3);
	whole_cost(argv[1], argv[2]);
	channel_cost(argv[1]);
	return 0;
}
