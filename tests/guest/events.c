// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * flightrec-events: each case causes the real event and looks for its record.
 * Runs with the core loaded with its defaults.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>

#define EVENTS "/modules/flightrec-events.ko"
#define PERIOD PARAMETER("heartbeat_s")

#define PARAMETER(name) "/sys/module/flightrec_events/parameters/" name
#define ALL "module,net,reboot,heartbeat,oom,oops,suspend,cpu,hang,fs,mce,thermal,pci,usb,cgroup,other\n"

static int open_at_end(void)
{
	int fd = guest_open("kernel", O_RDONLY | O_NONBLOCK);

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	return fd;
}

/* Waits until a record with that text has come. */
static void wait_for(int fd, const char *text, struct guest_record *record)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	do {
		if (poll(&p, 1, 30000) != 1)
			FAIL("no record \"%s\" within 30 s", text);
		guest_read(fd, record);
		record->payload[record->head.len < 4095 ? record->head.len : 4095] = 0;
	} while (!strstr(record->payload, text));
	CHECK_EQ(record->head.origin, FLIGHTREC_ORIGIN_KERNEL);
}

static void wait_for_module(void)
{
	int i;

	for (i = 0; access(PERIOD, F_OK); i++) {
		if (i == 300)
			FAIL("flightrec-events was not loaded within 30 s");
		guest_sleep_ms(100);
	}
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		FAIL("cannot write \"%s\" to %s: %s", text, path, strerror(errno));
	close(fd);
}

static void reload(void)
{
	while (guest_unload("flightrec_events"))
		guest_sleep_ms(50);
	CHECK_EQ(guest_load(EVENTS, ""), 0);
}

static void set_up(const char *dev, bool up)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
	struct ifreq req = { 0 };

	CHECK(fd >= 0);
	strcpy(req.ifr_name, dev);
	CHECK(!ioctl(fd, SIOCGIFFLAGS, &req));
	req.ifr_flags = up ? req.ifr_flags | IFF_UP : req.ifr_flags & ~IFF_UP;
	CHECK(!ioctl(fd, SIOCSIFFLAGS, &req));
	close(fd);
}

static void module_load_and_unload(void)
{
	struct guest_record record;
	int fd;

	wait_for_module();
	fd = open_at_end();
	/* Its own coming is the one that can be caused on every kernel. */
	reload();
	wait_for(fd, "module load name=flightrec_events", &record);
	CHECK_EQ(record.head.tgid, getpid());
	CHECK_EQ(record.head.uid, 0);
	CHECK(!system("modprobe dummy"));
	wait_for(fd, "module load name=dummy", &record);
	CHECK(!system("rmmod dummy"));
	wait_for(fd, "module unload name=dummy", &record);
}

/* The event module's own coming and going moves no interface. */
static void reload_is_no_event(void)
{
	struct guest_record record;
	int fd;

	wait_for_module();
	set_up("lo", true);
	fd = open_at_end();
	reload();
	while (guest_next(fd, &record)) {
		record.payload[record.head.len] = '\0';
		CHECK(strncmp(record.payload, "net ", 4));
	}
	set_up("lo", false);
}

static void interface_up_and_down(void)
{
	struct guest_record record;
	int fd;

	wait_for_module();
	fd = open_at_end();
	set_up("lo", true);
	wait_for(fd, "net up dev=lo ifindex=1", &record);
	CHECK_EQ(record.head.tgid, getpid());
	set_up("lo", false);
	wait_for(fd, "net down dev=lo ifindex=1", &record);
}

/* Any user can make network namespaces: theirs are not our events. */
static void other_namespaces_are_silent(void)
{
	struct guest_record record;
	int fd, i, status;
	pid_t pid;

	wait_for_module();
	fd = open_at_end();
	pid = fork();
	if (!pid) {
		CHECK(!unshare(CLONE_NEWUSER | CLONE_NEWNET));
		for (i = 0; i < 300; i++) {
			set_up("lo", true);
			set_up("lo", false);
		}
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	set_up("lo", true);
	/* The first after the flood, and nothing that says there was one. */
	guest_read(fd, &record);
	CHECK(!strncmp(record.payload, "net up dev=lo", 13));
	CHECK_EQ(record.head.tgid, getpid());
	set_up("lo", false);
}

static void set_period(const char *value, int err)
{
	int fd = open(PERIOD, O_WRONLY);

	CHECK(fd >= 0);
	if (err)
		CHECK_ERRNO(write(fd, value, strlen(value)), err);
	else
		CHECK_EQ(write(fd, value, strlen(value)), strlen(value));
	close(fd);
}

static void heartbeat_from_a_timer(void)
{
	struct guest_record record;
	unsigned long long first;
	int fd;

	wait_for_module();
	fd = open_at_end();
	set_period("1", 0);
	wait_for(fd, "heartbeat uptime_s=", &record);
	CHECK_EQ(record.head.severity, 7);
	CHECK_EQ(record.head.flags, FLIGHTREC_F_INTERRUPT);
	CHECK_EQ(record.head.pid, 0);
	CHECK_EQ(record.head.comm[0], 0);
	first = record.head.boot_ns;
	wait_for(fd, "heartbeat uptime_s=", &record);
	CHECK(record.head.boot_ns > first + 900000000ULL);
	set_period("60", 0);
}

static void bad_heartbeat_period(void)
{
	char *text;

	wait_for_module();
	set_period("0", EINVAL);
	set_period("86401", EINVAL);
	set_period("soon", EINVAL);
	text = guest_slurp(PERIOD);
	CHECK(!strcmp(text, "60\n"));
}

static int requests_done(void)
{
	char *text = guest_slurp("/proc/flightrec/stats");
	char *at = strstr(text, "\nevents_requests=");

	CHECK(at);
	return atoi(at + strlen("\nevents_requests="));
}

/* Sets the sources, and waits until modprobe, which that starts, has ended. */
static void set_events(const char *sources)
{
	int param = open("/sys/module/flightrec/parameters/events", O_WRONLY);
	int before = requests_done();
	int i;

	CHECK_EQ(write(param, sources, strlen(sources)), strlen(sources));
	close(param);
	for (i = 0; requests_done() == before; i++) {
		if (i == 300)
			FAIL("the request for the module has not ended within 30 s");
		guest_sleep_ms(100);
	}
}

static void switched_off(void)
{
	struct guest_record record;
	int fd;

	wait_for_module();
	fd = open_at_end();
	set_events("module,heartbeat\n");
	set_up("lo", true);
	set_up("lo", false);
	CHECK_ERRNO(read(fd, &record, sizeof(record)), EAGAIN);
	set_events(ALL);
	set_up("lo", true);
	wait_for(fd, "net up dev=lo", &record);
	set_up("lo", false);
}

static void module_that_fails_to_load(void)
{
	struct guest_record record;
	int fd;

	wait_for_module();
	fd = open_at_end();
	CHECK_EQ(guest_load("/modules/guest-refuses.ko", ""), -ENODEV);
	guest_read(fd, &record);
	record.payload[record.head.len] = '\0';
	CHECK(!strcmp(record.payload, "module load failed name=guest_refuses"));
	CHECK_EQ(record.head.severity, 4);
	CHECK(!guest_next(fd, &record));
}

/* A process in a memory cgroup of its own that is far too small for it. */
static void starve(void)
{
	size_t size = 64 << 20;
	char *memory;

	put("/run/cgroup/small/cgroup.procs", "0");
	memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	CHECK(memory != MAP_FAILED);
	memset(memory, 1, size);
	_exit(0);
}

static void killed_in_a_memory_cgroup(void)
{
	struct guest_record record;
	char want[64];
	int fd, status;
	pid_t pid;

	wait_for_module();
	CHECK(!mkdir("/run/cgroup", 0700));
	CHECK(!mount("cgroup2", "/run/cgroup", "cgroup2", 0, NULL));
	put("/run/cgroup/cgroup.subtree_control", "+memory");
	CHECK(!mkdir("/run/cgroup/small", 0700));
	put("/run/cgroup/small/memory.max", "16M");
	fd = open_at_end();
	pid = fork();
	if (!pid)
		starve();
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	snprintf(want, sizeof(want), "oom kill pid=%d uid=0 comm=events", pid);
	wait_for(fd, want, &record);
	CHECK_EQ(record.head.severity, 4);
	CHECK(!rmdir("/run/cgroup/small"));
	CHECK(!umount("/run/cgroup"));
}

/* A module that is not the driver's own records under its own name. */
static void other_modules(void)
{
	struct guest_record record;
	int fd;

	wait_for_module();
	set_events("other\n");
	fd = open_at_end();
	CHECK_EQ(guest_load("/modules/guest-source.ko", ""), 0);
	guest_read(fd, &record);
	record.payload[record.head.len] = '\0';
	CHECK(!strcmp(record.payload, "guest-source value=42 name=answer"));
	CHECK_EQ(record.head.severity, 4);
	CHECK_EQ(record.head.origin, FLIGHTREC_ORIGIN_KERNEL);
	CHECK_EQ(record.head.tgid, getpid());
	CHECK(!guest_next(fd, &record));
	CHECK_EQ(guest_unload("guest_source"), 0);
	guest_read(fd, &record);
	CHECK_EQ(record.head.severity, 5);
	CHECK_EQ(record.head.len, 255);
	CHECK(!memcmp(record.payload, "guest-source 000", 16));
	set_events("module\n");
	CHECK_EQ(guest_load("/modules/guest-source.ko", ""), -ENOENT);
	set_events(ALL);
}

#define GROUPS "/run/cgroup-names"

/* A process of that group writes twice, and ends. */
static unsigned long long write_in_group(const char *path)
{
	char procs[128];
	struct stat group;
	int fd, status;
	pid_t pid;

	CHECK(!mkdir(path, 0700));
	CHECK(!stat(path, &group));
	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	pid = fork();
	if (!pid) {
		put(procs, "0");
		fd = guest_open("default", O_WRONLY);
		guest_write(fd, "one");
		guest_write(fd, "two");
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK(!rmdir(path));
	return group.st_ino;
}

/* The next name, past what the kernel may tell in between, as a heartbeat. */
static bool next_name(int fd, struct guest_record *record)
{
	while (guest_next(fd, record)) {
		record->payload[record->head.len] = '\0';
		if (!strncmp(record->payload, "cgroup id=", 10))
			return true;
	}
	return false;
}

/* So that a group that has ended has a name all the same. */
static void names_of_control_groups(void)
{
	struct guest_record record;
	char want[128];
	int fd;

	wait_for_module();
	CHECK(!mkdir(GROUPS, 0700));
	CHECK(!mount("cgroup2", GROUPS, "cgroup2", 0, NULL));
	fd = open_at_end();
	snprintf(want, sizeof(want), "cgroup id=%llu path=/a b", write_in_group(GROUPS "/a b"));
	CHECK(next_name(fd, &record));
	if (strcmp(record.payload, want))
		FAIL("\"%s\", expected \"%s\"", record.payload, want);
	CHECK_EQ(record.head.severity, 6);
	CHECK_EQ(record.head.origin, FLIGHTREC_ORIGIN_KERNEL);
	/* Once, and then the next one. */
	snprintf(want, sizeof(want), "cgroup id=%llu path=/c", write_in_group(GROUPS "/c"));
	CHECK(next_name(fd, &record));
	CHECK(!strcmp(record.payload, want));
	set_events("module\n");
	write_in_group(GROUPS "/d");
	CHECK(!next_name(fd, &record));
	set_events(ALL);
	CHECK(!umount(GROUPS));
}

/* So many that, made in less than a minute, not all may be named. */
#define GROUPS_MADE 130

/* Whoever can make groups does not fill the channel with their names. */
static void few_names_of_control_groups(void)
{
	struct timespec begin, end;
	struct guest_record record;
	char path[64];
	int fd, i, named;

	wait_for_module();
	CHECK(!mount("cgroup2", GROUPS, "cgroup2", 0, NULL));
	fd = open_at_end();
	clock_gettime(CLOCK_BOOTTIME, &begin);
	for (i = 0; i < GROUPS_MADE; i++) {
		snprintf(path, sizeof(path), GROUPS "/%d", i);
		write_in_group(path);
	}
	clock_gettime(CLOCK_BOOTTIME, &end);
	for (named = 0; next_name(fd, &record); named++)
		;
	printf("# %d of %d named\n", named, GROUPS_MADE);
	/* 64 at once, of which the cases before may have taken some, and one a second. */
	CHECK(named >= 32 && named <= 64 + end.tv_sec - begin.tv_sec + 2);
	CHECK(!umount(GROUPS));
}

/* More than the driver remembers, that all write in turn. */
#define GROUPS_IN_TURN 200

static unsigned long long group_in_turn(char *path, size_t size, int i)
{
	struct stat group;

	snprintf(path, size, GROUPS "/turn-%d", i);
	CHECK(!stat(path, &group));
	return group.st_ino;
}

/* From here on this process is one of group @i, and writes: the group's id. */
static unsigned long long write_in_turn(int fd, int i)
{
	char path[64], procs[96];
	unsigned long long id = group_in_turn(path, sizeof(path), i);

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", path);
	put(procs, "0");
	guest_write(fd, "in turn");
	return id;
}

/* Is that group named by one of the next records? How many are is counted. */
static bool is_named(int fd, unsigned long long id, int *named)
{
	struct guest_record record;
	char want[64];
	bool found = false;

	snprintf(want, sizeof(want), "cgroup id=%llu path=", id);
	for (; next_name(fd, &record); ++*named)
		found |= !strncmp(record.payload, want, strlen(want));
	return found;
}

/* All stamps are right, names are few, and who was not named is when he goes on. */
static void many_control_groups_in_turn(void)
{
	struct timespec begin, end;
	struct guest_record record;
	int fd, out, i, named = 0;
	unsigned long long id;
	char path[64];

	wait_for_module();
	CHECK(!mount("cgroup2", GROUPS, "cgroup2", 0, NULL));
	for (i = 0; i < GROUPS_IN_TURN; i++) {
		snprintf(path, sizeof(path), GROUPS "/turn-%d", i);
		CHECK(!mkdir(path, 0700));
	}
	fd = open_at_end();
	out = guest_open("default", O_RDWR);
	CHECK_EQ(lseek(out, 0, SEEK_END), 0);
	clock_gettime(CLOCK_BOOTTIME, &begin);
	for (i = 0; i < 2 * GROUPS_IN_TURN; i++) {
		id = write_in_turn(out, i % GROUPS_IN_TURN);
		guest_read(out, &record);
		CHECK_EQ(record.head.cgroup, id);
		CHECK_EQ(record.head.lost, 0);
	}
	/* The last one, if it has no name yet, gets one within a second or two. */
	id = group_in_turn(path, sizeof(path), GROUPS_IN_TURN - 1);
	while (!is_named(fd, id, &named)) {
		guest_sleep_ms(100);
		guest_write(out, "again");
	}
	clock_gettime(CLOCK_BOOTTIME, &end);
	printf("# %d names of %d groups\n", named, GROUPS_IN_TURN);
	CHECK(named <= 64 + end.tv_sec - begin.tv_sec + 2);
	guest_write(out, "and again");
	CHECK(!is_named(fd, id, &named));
	put(GROUPS "/cgroup.procs", "0");
	for (i = 0; i < GROUPS_IN_TURN; i++) {
		snprintf(path, sizeof(path), GROUPS "/turn-%d", i);
		CHECK(!rmdir(path));
	}
	CHECK(!umount(GROUPS));
}

static void cpu_off_and_on(void)
{
	struct guest_record record;
	int fd;

	wait_for_module();
	fd = open_at_end();
	put("/sys/devices/system/cpu/cpu1/online", "0");
	wait_for(fd, "cpu offline cpu=1", &record);
	put("/sys/devices/system/cpu/cpu1/online", "1");
	wait_for(fd, "cpu online cpu=1", &record);
}

/* As far as the freezer and back, which any machine can. */
static void suspend_and_resume(void)
{
	struct guest_record record;
	int fd;

	wait_for_module();
	fd = open_at_end();
	put("/sys/power/pm_test", "freezer");
	put("/sys/module/suspend/parameters/pm_test_delay", "1");
	put("/sys/power/state", "freeze");
	put("/sys/power/pm_test", "none");
	wait_for(fd, "suspend action=suspend", &record);
	wait_for(fd, "suspend action=resume", &record);
}

/* As many as allowed, and how many were not. */
static void too_many_events(void)
{
	int i, fd, recorded = 0, suppressed = 0;
	struct guest_record record;

	wait_for_module();
	reload();
	fd = open_at_end();
	put(PARAMETER("rate"), "1");
	put(PARAMETER("burst"), "5");
	for (i = 0; i < 50; i++) {
		set_up("lo", true);
		set_up("lo", false);
	}
	while (recorded + suppressed < 100) {
		wait_for(fd, "net ", &record);
		if (sscanf(record.payload, "net suppressed events=%d", &i) == 1)
			suppressed += i;
		else
			recorded++;
	}
	CHECK_EQ(recorded + suppressed, 100);
	/* The machine may be slow: some more than the burst. */
	CHECK(recorded >= 5 && recorded < 50);
	reload();
	fd = open_at_end();
	set_up("lo", true);
	wait_for(fd, "net up dev=lo", &record);
	set_up("lo", false);
}

static void bad_limits(void)
{
	int fd;

	wait_for_module();
	fd = open(PARAMETER("rate"), O_WRONLY);
	CHECK(fd >= 0);
	CHECK_ERRNO(write(fd, "0", 1), EINVAL);
	CHECK_ERRNO(write(fd, "10001", 5), EINVAL);
	close(fd);
	fd = open(PARAMETER("burst"), O_WRONLY);
	CHECK(fd >= 0);
	CHECK_ERRNO(write(fd, "many", 4), EINVAL);
	CHECK_ERRNO(write(fd, "100001", 6), EINVAL);
	close(fd);
	CHECK(!strcmp(guest_slurp(PARAMETER("rate")), "20\n"));
	CHECK(!strcmp(guest_slurp(PARAMETER("burst")), "100\n"));
}

static const struct guest_case cases[] = {
	{ "event-module-load-and-unload", module_load_and_unload },
	{ "event-interface-up-and-down", interface_up_and_down },
	{ "event-reload-is-none", reload_is_no_event },
	{ "event-other-namespaces-are-silent", other_namespaces_are_silent },
	{ "event-heartbeat-from-a-timer", heartbeat_from_a_timer },
	{ "event-bad-heartbeat-period", bad_heartbeat_period },
	{ "event-switched-off", switched_off },
	{ "event-module-that-fails-to-load", module_that_fails_to_load },
	{ "event-killed-in-a-memory-cgroup", killed_in_a_memory_cgroup },
	{ "event-other-modules", other_modules },
	{ "event-names-of-control-groups", names_of_control_groups },
	{ "event-few-names-of-control-groups", few_names_of_control_groups },
	{ "event-many-control-groups-in-turn", many_control_groups_in_turn },
	{ "event-cpu-off-and-on", cpu_off_and_on },
	{ "event-suspend-and-resume", suspend_and_resume },
	{ "event-too-many", too_many_events },
	{ "event-bad-limits", bad_limits },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 120);
}
