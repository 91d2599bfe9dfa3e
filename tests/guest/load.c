// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Loading and unloading: parameters, what stays behind, who holds it.
 * Runs with the modules in /modules and none of them loaded.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <sched.h>
#include <sys/mount.h>

#define CORE "/modules/flightrec.ko"
#define EVENTS "/modules/flightrec-events.ko"

static void check_nothing_left(void)
{
	char *devices = guest_slurp("/proc/devices");
	char *modules = guest_slurp("/proc/modules");

	CHECK(access("/proc/flightrec", F_OK) == -1);
	CHECK(access("/sys/class/flightrec", F_OK) == -1);
	CHECK(access("/sys/module/flightrec", F_OK) == -1);
	CHECK(access("/dev/flightrec/default", F_OK) == -1);
	CHECK(access("/dev/flightrec/kernel", F_OK) == -1);
	CHECK(!strstr(devices, "flightrec"));
	CHECK(!strstr(modules, "flightrec"));
	free(devices);
	free(modules);
}

/* Goes past what the kernel log has now. */
static int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	CHECK(fd >= 0);
	lseek(fd, 0, SEEK_END);
	return fd;
}

/* Lines that the kernel itself writes in a module's name. */
static bool by_kernel(const char *line)
{
	return strstr(line, "taint") || strstr(line, "invalid for parameter");
}

/* Counts the new lines that are the driver's, and looks for two words. */
static int log_lines(int fd, const char *word1, const char *word2)
{
	bool named = false;
	char line[2048];
	int lines = 0;
	ssize_t n;

	while ((n = read(fd, line, sizeof(line) - 1)) > 0) {
		line[n] = '\0';
		if (!strstr(line, "flightrec: ") || by_kernel(line))
			continue;
		lines++;
		if (strstr(line, word1) && strstr(line, word2))
			named = true;
	}
	if (!named)
		FAIL("no log line with \"%s\" and \"%s\"", word1, word2);
	return lines;
}

static void refused(const char *params, int err, const char *param,
		    const char *value)
{
	int log = log_open();

	CHECK_EQ(guest_load(CORE, params), -err);
	CHECK_EQ(log_lines(log, param, value), 1);
	close(log);
	check_nothing_left();
}

static void bad_name(void)
{
	refused("channels=ok,Not/ok", EINVAL, "channels", "Not/ok");
	refused("channels=,a", EINVAL, "channels", "\"\"");
	refused("channels=abcdefghijklmnopqrstuvwxyz012345", EINVAL, "channels",
		"012345");
	refused("channels=stats", EINVAL, "channels", "stats");
	refused("channels=..", EINVAL, "channels", "..");
}

/* The memory of others is not written to: the load is refused, and they are named. */
static void memory_of_others(void)
{
	refused("reserved=1M@0x1000000", EBUSY, "reserved", "System RAM");
	/* No memory there, or none that the kernel left out. */
	refused("reserved=64K@0xf0000", EBUSY, "reserved", "eserved");
	refused("reserved=1M@0x70000000", EINVAL, "reserved", "is not memory");
	refused("reserved=flightrec-elsewhere", EINVAL, "reserved", "flightrec-elsewhere");
	refused("reserved=", EINVAL, "reserved", "\"\"");
}

static void bad_memory(void)
{
	static const char * const values[] = {
		"1M@", "@0x1000", "1M@zero", "1M@0x1000x", "@",
	};
	char params[64];
	size_t i;

	for (i = 0; i < sizeof(values) / sizeof(*values); i++) {
		snprintf(params, sizeof(params), "reserved=%s", values[i]);
		refused(params, EINVAL, "reserved", "is neither SIZE@ADDRESS");
	}
	refused("reserved=1M@0xfffffffffffff000", EINVAL, "reserved", "no range");
	refused("reserved=0@0x1000", EINVAL, "reserved", "no range");
}

static void reserved_name(void)
{
	refused("channels=kernel", EINVAL, "channels", "kernel");
	refused("channels=app,selftest", EINVAL, "channels", "selftest");
}

static void duplicate_name(void)
{
	refused("channels=app,db,app", EINVAL, "channels", "app");
}

static void size_zero(void)
{
	refused("size_kb=0", EINVAL, "size_kb: 0 for", "too small");
}

static void size_too_small(void)
{
	refused("size_kb=8", EINVAL, "size_kb: 8 for", "too small");
}

static void size_beyond_memory(void)
{
	refused("size_kb=8388608", ENOMEM, "size_kb", "quarter");
	refused("channels=a,b,c size_kb=16777216,16777216,16777216",
		ENOMEM, "size_kb", "quarter");
	refused("size_kb=4294967295", EINVAL, "size_kb: 4294967295 for", "too large");
}

static void size_overflow(void)
{
	CHECK_EQ(guest_load(CORE, "size_kb=4294967296"), -ERANGE);
	check_nothing_left();
	CHECK_EQ(guest_load(CORE, "size_kb=lots"), -EINVAL);
	check_nothing_left();
}

static void too_many_channels(void)
{
	char params[512] = "channels=c0";
	int i;

	for (i = 1; i < 31; i++)
		sprintf(params + strlen(params), ",c%d", i);
	/* One more than the array holds: the kernel's own parser says so. */
	CHECK_EQ(guest_load(CORE, params), -EINVAL);
	check_nothing_left();
}

static void too_many_values(void)
{
	refused("channels=a size_kb=1024,1024", EINVAL, "size_kb", "2");
	refused("channels=a mode=0600,0600", EINVAL, "mode", "2");
	refused("gid=1,2", EINVAL, "gid", "2");
	refused("channels=a crash=0,0", EINVAL, "crash", "2");
}

static void bad_access(void)
{
	refused("mode=0777", EINVAL, "mode", "0777");
	refused("mode=0", EINVAL, "mode: 00 for", "within");
	refused("gid=4294967295", EINVAL, "gid", "4294967295");
}

/* Octal digits or nothing: a mode in another base would open a node to others. */
static void mode_is_octal(void)
{
	struct stat st;

	refused("mode=0x180", EINVAL, "parameter mode", "\"0x180\"");
	refused("mode=680", EINVAL, "parameter mode", "\"680\"");
	refused("mode=-1", EINVAL, "parameter mode", "\"-1\"");
	refused("mode=", EINVAL, "parameter mode", "\"\"");
	refused("mode=0200000", EINVAL, "parameter mode", "0200000");
	CHECK_EQ(guest_load(CORE, "channels=app,db mode=400,0640 events=none"), 0);
	CHECK(!stat("/dev/flightrec/app", &st));
	CHECK_EQ(st.st_mode & 07777, 0400);
	CHECK(!stat("/proc/flightrec/db", &st));
	CHECK_EQ(st.st_mode & 07777, 0640);
	CHECK(!strcmp(guest_slurp("/sys/module/flightrec/parameters/mode"), "0400,0640\n"));
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static void bad_events(void)
{
	refused("events=module,teapot", EINVAL, "events", "teapot");
}

static void loads_with_parameters(void)
{
	struct stat st;

	CHECK_EQ(guest_load(CORE, "channels=app,db size_kb=256,512 mode=0620,0644 gid=7,8 events=none"), 0);
	CHECK(!stat("/dev/flightrec/app", &st));
	CHECK_EQ(st.st_mode & 07777, 0620);
	CHECK_EQ(st.st_gid, 7);
	CHECK(!stat("/proc/flightrec/app", &st));
	CHECK_EQ(st.st_mode & 07777, 0620);
	CHECK_EQ(st.st_gid, 7);
	CHECK(!stat("/proc/flightrec/db", &st));
	CHECK_EQ(st.st_mode & 07777, 0644);
	CHECK_EQ(st.st_gid, 8);
	CHECK(!stat("/dev/flightrec/kernel", &st));
	CHECK_EQ(st.st_mode & 07777, 0400);
	CHECK(access("/dev/flightrec/default", F_OK) == -1);
	CHECK_EQ(guest_stat("app", "size_kb"), 256);
	CHECK_EQ(guest_stat("db", "size_kb"), 512);
	CHECK_EQ(guest_unload("flightrec"), 0);
	check_nothing_left();
}

/* Loaded by a process that sees no /proc. */
static int load_without_proc(void)
{
	if (unshare(CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
	    umount2("/proc", MNT_DETACH))
		_exit(errno);
	_exit(-guest_load(CORE, "events=none"));
}

/* Each load then has an identifier of its own, and says which. */
static void without_proc(void)
{
	char ids[2][40] = { "", "" }, line[2048], *at;
	int i, log, status;
	ssize_t n;

	for (i = 0; i < 2; i++) {
		log = log_open();
		if (!fork())
			load_without_proc();
		CHECK(wait(&status) > 0);
		CHECK_EQ(status, 0);
		while ((n = read(log, line, sizeof(line) - 1)) > 0) {
			line[n] = '\0';
			at = strstr(line, "flightrec: cannot read /proc/sys/kernel/random/boot_id: ");
			at = at ? strstr(at, "the random identifier ") : NULL;
			if (at)
				CHECK_EQ(sscanf(at, "the random identifier %36[-0-9a-f] ", ids[i]), 1);
		}
		close(log);
		CHECK_EQ(guest_unload("flightrec"), 0);
	}
	CHECK_EQ(strlen(ids[0]), 36);
	CHECK_EQ(strlen(ids[1]), 36);
	CHECK(strcmp(ids[0], ids[1]));
	CHECK(strncmp(ids[0], "00000000-", 9));
}

static void says_who_chose_the_access(void)
{
	char *text;

	CHECK_EQ(guest_load(CORE, "channels=app,db mode=0644 events=none"), 0);
	text = guest_slurp("/sys/class/flightrec/app/uevent");
	CHECK(strstr(text, "FLIGHTREC_ACCESS=given"));
	text = guest_slurp("/sys/class/flightrec/db/uevent");
	CHECK(strstr(text, "FLIGHTREC_ACCESS=default"));
	text = guest_slurp("/sys/class/flightrec/db/uevent");
	CHECK(strstr(text, "DEVNAME=flightrec/db"));
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static void parameters_at_run_time(void)
{
	struct stat st;
	char *text;
	int fd;

	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	fd = open("/sys/module/flightrec/parameters/events", O_WRONLY);
	CHECK(fd >= 0);
	CHECK_ERRNO(write(fd, "module,teapot\n", 14), EINVAL);
	text = guest_slurp("/sys/module/flightrec/parameters/events");
	CHECK(!strcmp(text, "none\n"));
	close(fd);
	fd = open("/sys/module/flightrec/parameters/containers", O_WRONLY);
	CHECK(fd >= 0);
	CHECK_ERRNO(write(fd, "maybe\n", 6), EINVAL);
	text = guest_slurp("/sys/module/flightrec/parameters/containers");
	CHECK(!strcmp(text, "N\n"));
	CHECK_EQ(access("/sys/module/flightrec/parameters/size_kb", R_OK), 0);
	CHECK(!stat("/sys/module/flightrec/parameters/size_kb", &st));
	CHECK_EQ(st.st_mode & 0222, 0);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static void unload_with_open_descriptor(void)
{
	int fd;

	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	fd = guest_open("default", O_RDONLY);
	CHECK_EQ(guest_unload("flightrec"), -EAGAIN);
	/* Refused means unharmed. */
	CHECK_EQ(guest_stat("default", "readers"), 1);
	close(fd);
	CHECK_EQ(guest_unload("flightrec"), 0);
	check_nothing_left();
}

static void unload_with_open_proc_file(void)
{
	int fd;

	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	fd = open("/proc/flightrec/default", O_RDWR);
	CHECK(fd >= 0);
	CHECK_EQ(guest_unload("flightrec"), -EAGAIN);
	CHECK_EQ(write(fd, "x", 1), 1);
	close(fd);
	CHECK_EQ(guest_unload("flightrec"), 0);
	check_nothing_left();
}

/* Others may hold what the driver registered: what releases it is not the driver's. */
static void unload_while_its_node_is_held(void)
{
	char params[128];

	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	snprintf(params, sizeof(params), "node_class=0x%llx node_cdev=0x%llx",
		 guest_symbol("node_class"), guest_symbol("node_cdev"));
	CHECK_EQ(guest_load("/modules/guest-holder.ko", params), 0);
	CHECK_EQ(guest_unload("flightrec"), 0);
	check_nothing_left();
	CHECK_EQ(guest_unload("guest_holder"), 0);
	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	CHECK_EQ(guest_unload("flightrec"), 0);
	check_nothing_left();
}

static void unload_with_sleeping_reader(void)
{
	struct guest_record record;
	int status, fd;
	pid_t pid;

	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		fd = guest_open("default", O_RDONLY);
		guest_read(fd, &record);
		_exit(record.head.len == 4 ? 0 : 9);
	}
	while (guest_stat("default", "readers") != 1)
		guest_sleep_ms(10);
	guest_sleep_ms(200);
	CHECK_EQ(guest_unload("flightrec"), -EAGAIN);
	fd = guest_open("default", O_WRONLY);
	CHECK_EQ(write(fd, "wake", 4), 4);
	close(fd);
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	CHECK_EQ(guest_unload("flightrec"), 0);
	check_nothing_left();
}

static void load_and_unload_many_times(void)
{
	int i;

	for (i = 0; i < 25; i++) {
		CHECK_EQ(guest_load(CORE, "channels=a,b,c events=none"), 0);
		CHECK_EQ(guest_unload("flightrec"), 0);
	}
	check_nothing_left();
}

static void wait_for_stats(const char *want)
{
	char *text;
	int i;

	for (i = 0; i < 300; i++) {
		text = guest_slurp("/proc/flightrec/stats");
		if (strstr(text, want))
			return;
		free(text);
		guest_sleep_ms(100);
	}
	FAIL("/proc/flightrec/stats has no \"%s\" after 30 s", want);
}

/* Loaded by insmod, the core has modprobe bring the event module in. */
static void events_on_demand(void)
{
	int i;

	CHECK_EQ(guest_load(CORE, "events=module,heartbeat"), 0);
	wait_for_stats("events_requests=1 events_request_failures=0");
	CHECK(!access("/sys/module/flightrec_events", F_OK));
	/* The core cannot go while its event module is there. */
	CHECK_EQ(guest_unload("flightrec"), -EAGAIN);
	for (i = 0; guest_unload("flightrec_events"); i++) {
		if (i == 100)
			FAIL("flightrec-events does not unload");
		guest_sleep_ms(100);
	}
	CHECK_EQ(guest_unload("flightrec"), 0);
	check_nothing_left();
}

static void events_not_wanted(void)
{
	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	guest_sleep_ms(1000);
	CHECK(access("/sys/module/flightrec_events", F_OK) == -1);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static void events_missing(void)
{
	int log = log_open();

	CHECK(!rename("/sbin/modprobe", "/sbin/modprobe.away"));
	CHECK_EQ(guest_load(CORE, ""), 0);
	wait_for_stats("events_requests=1 events_request_failures=1");
	CHECK(!rename("/sbin/modprobe.away", "/sbin/modprobe"));
	CHECK_EQ(log_lines(log, "kernel events are not recorded", "modprobe"), 1);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static unsigned long long now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000ULL + now.tv_nsec / 1000;
}

/* Until killed: from the first number on, all that is there. */
static void read_from_far_behind(size_t room)
{
	char *buf = malloc(room);
	int fd = guest_open("default", O_RDONLY | O_NONBLOCK);
	__u64 first = 1;

	for (;;) {
		CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &first), 0);
		CHECK(read(fd, buf, room) > 0);
	}
}

#define HISTORY 300

static int as_user(unsigned int uid, void (*run)(int fd))
{
	int fd = guest_open("default", O_WRONLY), status;
	pid_t pid = fork();

	CHECK(pid >= 0);
	if (!pid) {
		CHECK(!setresuid(uid, uid, uid));
		run(fd);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	close(fd);
	return status;
}

static void write_history(int fd)
{
	char text[100];
	int i;

	for (i = 0; i < HISTORY; i++) {
		memset(text, ' ', sizeof(text));
		snprintf(text, sizeof(text), "history %d", i);
		CHECK_EQ(write(fd, text, sizeof(text)), sizeof(text));
	}
}

static void flood_a_second(int fd)
{
	static char large[FLIGHTREC_PAYLOAD_MAX];
	unsigned long long begun = now_us();
	unsigned int refused = 0, taken = 0;

	while (now_us() - begun < 1000000) {
		if (write(fd, large, sizeof(large)) == sizeof(large)) {
			taken++;
			continue;
		}
		CHECK_EQ(errno, EDQUOT);
		refused++;
	}
	printf("# %u records taken, %u refused\n", taken, refused);
	CHECK(refused > 0);
	/* A quarter of the channel at once, and another one in the second. */
	CHECK(taken * 4184ULL <= 2 * 262144 + 8192);
}

/* By default a user who floods is refused before the history of others is gone. */
static void flood_leaves_history(void)
{
	struct guest_record record;
	int fd, i;

	CHECK_EQ(guest_load(CORE, "size_kb=1024 events=none"), 0);
	CHECK(!strcmp(guest_slurp("/sys/module/flightrec/parameters/quota"), "262144\n"));
	fd = guest_open("default", O_RDONLY | O_NONBLOCK);
	CHECK_EQ(as_user(1000, write_history), 0);
	CHECK_EQ(as_user(1001, flood_a_second), 0);
	CHECK(guest_stat("default", "rejected_quota") > 0);
	for (i = 0; i < HISTORY; i++) {
		guest_read(fd, &record);
		CHECK_EQ(record.head.lost, 0);
		CHECK_EQ(record.head.uid, 1000);
		CHECK_EQ(atoi(record.payload + strlen("history ")), i);
	}
	close(fd);
	CHECK_EQ(guest_unload("flightrec"), 0);
	/* The smallest channel that users write counts; what is set stands. */
	CHECK_EQ(guest_load(CORE, "channels=a,b size_kb=1024,256 events=none"), 0);
	CHECK(!strcmp(guest_slurp("/sys/module/flightrec/parameters/quota"), "65536\n"));
	CHECK_EQ(guest_unload("flightrec"), 0);
	CHECK_EQ(guest_load(CORE, "quota=0 events=none"), 0);
	CHECK(!strcmp(guest_slurp("/sys/module/flightrec/parameters/quota"), "0\n"));
	CHECK_EQ(guest_unload("flightrec"), 0);
}

#define EVIDENCE 300	/* records of 100 bytes: within the share of a channel of 1 MiB */
#define FLOOD 300	/* of 4 KiB: more than the channel holds */
#define SMALL_FLOOD 60000	/* more numbers than its index has */

static void write_all(int fd, const char *text, size_t len, unsigned int times)
{
	while (times--)
		CHECK_EQ(write(fd, text, len), len);
}

static void write_evidence(int fd)
{
	char text[100];
	int i;

	for (i = 0; i < EVIDENCE; i++) {
		memset(text, ' ', sizeof(text));
		snprintf(text, sizeof(text), "<%d>evidence %d", i % 4, i);
		write_all(fd, text, sizeof(text), 1);
	}
}

static void flood_with_large_ones(int fd)
{
	static char large[FLIGHTREC_PAYLOAD_MAX];

	write_all(fd, large, sizeof(large), FLOOD);
}

static void flood_with_small_ones(int fd)
{
	write_all(fd, "x", 1, SMALL_FLOOD);
}

/* How many of the records of user 1000 are there, each whole and in order. */
static int evidence_left(void)
{
	int fd = guest_open("default", O_RDONLY | O_NONBLOCK), found = 0, last = -1, number;
	struct guest_record record;
	__u64 next = 0;

	while (guest_next(fd, &record)) {
		if (next)
			CHECK_EQ(record.head.seq, next + record.head.lost);
		next = record.head.seq + 1;
		if (record.head.uid != 1000)
			continue;
		CHECK_EQ(sscanf(record.payload, "evidence %d ", &number), 1);
		CHECK(number > last);
		CHECK_EQ(record.head.severity, number % 4);
		last = number;
		found++;
	}
	close(fd);
	return found;
}

/* What users write at severity 6 displaces nothing of the share of severities 0 to 3. */
static void flood_leaves_urgent_ones(void)
{
	CHECK_EQ(guest_load(CORE, "size_kb=1024 quota=0 events=none"), 0);
	CHECK_EQ(as_user(1000, write_evidence), 0);
	CHECK_EQ(evidence_left(), EVIDENCE);
	CHECK_EQ(as_user(1001, flood_with_large_ones), 0);
	CHECK_EQ(evidence_left(), EVIDENCE);
	CHECK_EQ(as_user(1001, flood_with_small_ones), 0);
	CHECK_EQ(evidence_left(), EVIDENCE);
	CHECK(guest_stat("default", "retained") < SMALL_FLOOD);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static void flood_urgently(int fd)
{
	static char large[FLIGHTREC_PAYLOAD_MAX] = "<0>";
	unsigned long long begun = now_us(), took;
	unsigned int taken = 0;

	while (write(fd, large, sizeof(large)) == sizeof(large))
		taken++;
	CHECK_EQ(errno, EDQUOT);
	took = now_us() - begun;
	printf("# %u urgent records taken in %llu us\n", taken, took);
	/* Each counts four times: of a burst, and of what that time brought. */
	CHECK(taken * 4 * 4181ULL <= 262144 + took * 262144 / 1000000 + 4 * 8192);
}

/* Who floods with urgent ones has a quarter of the quota: a burst does not reach the evidence. */
static void urgent_burst_leaves_urgent_ones(void)
{
	CHECK_EQ(guest_load(CORE, "size_kb=1024 events=none"), 0);
	CHECK_EQ(as_user(1000, write_evidence), 0);
	CHECK_EQ(as_user(1001, flood_urgently), 0);
	CHECK_EQ(evidence_left(), EVIDENCE);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

#define TINY 180000	/* about as many as the channel holds */
#define LARGE 4000	/* more than it holds of those */

/*
 * A reader whose records are all gone gets to what is there, and a kill ends it, in
 * a time that does not depend on how many are gone. Measured against what it took to
 * write them, so that the machine's speed does not matter.
 */
static void reader_far_behind(void)
{
	static char large[FLIGHTREC_PAYLOAD_MAX];
	unsigned long long begun, wrote, lost;
	struct guest_record record;
	__u64 first = 1;
	int fd, i, status;
	pid_t pid;

	CHECK_EQ(guest_load(CORE, "size_kb=16384 quota=0 events=none"), 0);
	fd = guest_open("default", O_RDWR | O_NONBLOCK);
	begun = now_us();
	for (i = 0; i < TINY; i++)
		CHECK_EQ(write(fd, "x", 1), 1);
	wrote = now_us() - begun;
	memset(large, 'y', sizeof(large));
	for (i = 0; i < LARGE; i++)
		CHECK_EQ(write(fd, large, sizeof(large)), sizeof(large));
	begun = now_us();
	for (i = 0; i < 20; i++) {
		CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &first), 0);
		guest_read(fd, &record);
		CHECK(record.head.lost >= TINY);
		CHECK_EQ(record.head.seq, record.head.lost + 1);
	}
	lost = now_us() - begun;
	printf("# %u records written in %llu us, passed over 20 times in %llu us\n", TINY, wrote,
	       lost);
	CHECK(lost < wrote / 4);
	pid = fork();
	if (!pid)
		read_from_far_behind(16 << 20);
	guest_sleep_ms(300);
	begun = now_us();
	CHECK(!kill(pid, SIGKILL));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
	CHECK(now_us() - begun < wrote / 4 + 500000);
	close(fd);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static const struct guest_case cases[] = {
	{ "load-bad-name", bad_name },
	{ "load-reserved-name", reserved_name },
	{ "load-memory-of-others", memory_of_others },
	{ "load-bad-memory", bad_memory },
	{ "load-duplicate-name", duplicate_name },
	{ "load-size-zero", size_zero },
	{ "load-size-too-small", size_too_small },
	{ "load-size-beyond-memory", size_beyond_memory },
	{ "load-size-overflow", size_overflow },
	{ "load-too-many-channels", too_many_channels },
	{ "load-too-many-values", too_many_values },
	{ "load-bad-access", bad_access },
	{ "load-mode-is-octal", mode_is_octal },
	{ "load-bad-events", bad_events },
	{ "load-with-parameters", loads_with_parameters },
	{ "load-without-proc", without_proc },
	{ "load-says-who-chose-the-access", says_who_chose_the_access },
	{ "parameters-at-run-time", parameters_at_run_time },
	{ "unload-with-open-descriptor", unload_with_open_descriptor },
	{ "unload-with-open-proc-file", unload_with_open_proc_file },
	{ "unload-while-its-node-is-held", unload_while_its_node_is_held },
	{ "unload-with-sleeping-reader", unload_with_sleeping_reader },
	{ "load-and-unload-many-times", load_and_unload_many_times },
	{ "load-flood-leaves-history", flood_leaves_history },
	{ "load-flood-leaves-urgent-ones", flood_leaves_urgent_ones },
	{ "load-urgent-burst-leaves-urgent-ones", urgent_burst_leaves_urgent_ones },
	{ "reader-far-behind", reader_far_behind },
	{ "events-on-demand", events_on_demand },
	{ "events-not-wanted", events_not_wanted },
	{ "events-missing", events_missing },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 120);
}
