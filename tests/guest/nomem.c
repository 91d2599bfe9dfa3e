// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Each allocation of loading, opening, reading, writing and asking fails once,
 * in turn: the call must fail with ENOMEM, or do without, and leave nothing
 * behind. Runs as root on a kernel with FAULT_INJECTION, failslab,
 * fail_page_alloc and fail_usercopy, debugfs mounted, and no module loaded.
 *
 * The kernel makes the N-th attempt fail of the thread that writes N to its fail-nth:
 * N goes up until a call ends before it gets that far.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <sys/syscall.h>

#define CORE "/modules/flightrec.ko"
#define EVENTS "/modules/flightrec-events.ko"
#define DEBUGFS "/sys/kernel/debug/"
#define ATTEMPTS_MAX 20000

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		FAIL("cannot write \"%s\" to %s: %s", text, path, strerror(errno));
	close(fd);
}

/* By default only allocations fail that may not wait. */
static void prepare(void)
{
	put(DEBUGFS "failslab/ignore-gfp-wait", "N");
	put(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N");
	put(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N");
	put(DEBUGFS "fail_page_alloc/min-order", "0");
	put(DEBUGFS "failslab/verbose", "0");
	put(DEBUGFS "fail_page_alloc/verbose", "0");
	put(DEBUGFS "fail_usercopy/verbose", "0");
}

static int fail_nth = -1;

static void set_fail_nth(unsigned int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%u", n);

	/* This, too, may be the attempt that fails; only once. */
	if (pwrite(fail_nth, text, len, 0) != len)
		CHECK_EQ(pwrite(fail_nth, text, len, 0), len);
}

/* Has the attempt come that was to fail? */
static bool has_failed(void)
{
	char text[16] = "";

	/* If reading it is what fails, the call was over. */
	return pread(fail_nth, text, sizeof(text) - 1, 0) > 0 && atoi(text) == 0;
}

/*
 * CALL returns 0 or -errno; AFTER gets that, and sees whether all is as it must
 * be. Returns how many attempts there were.
 */
static unsigned int each_failure(const char *what, int (*call)(void), void (*after)(int))
{
	unsigned int n, refused = 0;
	bool failed = true;
	int err;

	prepare();
	fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	CHECK(fail_nth >= 0);
	for (n = 1; failed; n++) {
		CHECK(n < ATTEMPTS_MAX);
		set_fail_nth(n);
		err = call();
		failed = has_failed();
		set_fail_nth(0);
		/* EFAULT: it was a copy from or to user space. */
		if (err && (!failed || (err != -ENOMEM && err != -EFAULT)))
			FAIL("%s: attempt %u of them %s, and it returned %d (%s)", what, n,
			     failed ? "failed" : "did not fail", err, strerror(-err));
		refused += err != 0;
		after(err);
	}
	printf("# %s: %u attempts, %u refused\n", what, n - 2, refused);
	close(fail_nth);
	return refused;
}

static void check_nothing_left(int err)
{
	char *devices, *modules;

	if (!err)
		CHECK_EQ(guest_unload("flightrec"), 0);
	devices = guest_slurp("/proc/devices");
	modules = guest_slurp("/proc/modules");
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

static int module_fd;
static const char *module_params = "";

static int load(void)
{
	return syscall(SYS_finit_module, module_fd, module_params, 0) ? -errno : 0;
}

static void loading(void)
{
	module_fd = open(CORE, O_RDONLY);
	module_params = "channels=a,b size_kb=128,128 events=none";
	CHECK(each_failure("load", load, check_nothing_left) > 100);
}

static void check_no_events(int err)
{
	if (!err)
		CHECK_EQ(guest_unload("flightrec_events"), 0);
	CHECK(access("/sys/module/flightrec_events", F_OK) == -1);
}

static void loading_events(void)
{
	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	module_fd = open(EVENTS, O_RDONLY);
	module_params = "";
	CHECK(each_failure("load events", load, check_no_events) > 30);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static const char *path;
static int path_flags;
static int path_fd;

static int open_path(void)
{
	path_fd = open(path, path_flags);
	return path_fd < 0 ? -errno : 0;
}

static void close_path(int err)
{
	if (!err)
		close(path_fd);
	CHECK_EQ(guest_stat("default", "readers"), 0);
}

static void opening(void)
{
	static const char * const paths[] = {
		"/dev/flightrec/default", "/proc/flightrec/default", "/proc/flightrec/stats",
	};
	size_t i;

	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	for (i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		path = paths[i];
		path_flags = i < 2 ? O_RDWR : O_RDONLY;
		CHECK(each_failure(path, open_path, close_path) > 1);
	}
	/* What a failed open kept would hold the module. */
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static int call_fd;
static char payload[FLIGHTREC_PAYLOAD_MAX];
static long long records, refused_for_memory;

static int write_large(void)
{
	return write(call_fd, payload, sizeof(payload)) < 0 ? -errno : 0;
}

static int writev_large(void)
{
	struct iovec parts[2] = { { payload, 4000 }, { payload + 4000, 96 } };

	return writev(call_fd, parts, 2) < 0 ? -errno : 0;
}

/* Recorded or refused, and counted as such. */
static void check_counts(int err)
{
	records += !err;
	CHECK_EQ(guest_stat("default", "records"), records);
	refused_for_memory += err == -ENOMEM;
	CHECK_EQ(guest_stat("default", "rejected_nomem"), refused_for_memory);
}

static void start_counting(void)
{
	records = guest_stat("default", "records");
	refused_for_memory = guest_stat("default", "rejected_nomem");
}

static void writing(void)
{
	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	memset(payload, 'x', sizeof(payload));
	call_fd = guest_open("default", O_WRONLY);
	start_counting();
	CHECK(each_failure("write", write_large, check_counts) > 0);
	CHECK(each_failure("writev", writev_large, check_counts) > 0);
	close(call_fd);
	call_fd = open("/proc/flightrec/default", O_WRONLY);
	CHECK(each_failure("procfs write", write_large, check_counts) > 0);
	close(call_fd);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static struct guest_record record;
static unsigned long long next_seq = 1;

static int read_one(void)
{
	return read(call_fd, &record, sizeof(record.head) + 8) < 0 ? -errno : 0;
}

/* What failed is not consumed. */
static void check_next(int err)
{
	if (err)
		return;
	CHECK_EQ(record.head.seq, next_seq);
	CHECK_EQ(record.head.lost, 0);
	next_seq++;
}

static int read_listing(void)
{
	char buf[512];
	int fd = call_fd;

	lseek(fd, 0, SEEK_SET);
	return read(fd, buf, sizeof(buf)) < 0 ? -errno : 0;
}

static void ignore(int err)
{
	(void)err;
}

static void reading(void)
{
	int i, fd;

	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	fd = guest_open("default", O_WRONLY);
	for (i = 0; i < 100; i++)
		guest_write(fd, "record");
	close(fd);
	call_fd = guest_open("default", O_RDONLY | O_NONBLOCK);
	CHECK(each_failure("read", read_one, check_next) > 0);
	close(call_fd);
	call_fd = open("/proc/flightrec/default", O_RDONLY);
	CHECK(each_failure("procfs read", read_listing, ignore) > 0);
	close(call_fd);
	call_fd = open("/proc/flightrec/stats", O_RDONLY);
	CHECK(each_failure("stats", read_listing, ignore) > 0);
	close(call_fd);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static unsigned long request;
static struct flightrec_info argument;

static int ask(void)
{
	return ioctl(call_fd, request, &argument) ? -errno : 0;
}

static void asking(void)
{
	static const unsigned long requests[] = {
		FLIGHTREC_IOC_GET_INFO, FLIGHTREC_IOC_SEEK_SEQ, FLIGHTREC_IOC_SEEK_TIME,
		FLIGHTREC_IOC_SET_FLAGS, FLIGHTREC_IOC_CLEAR, FLIGHTREC_IOC_SET_FILTER,
	};
	size_t i;

	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	call_fd = guest_open("default", O_RDWR);
	for (i = 0; i < sizeof(requests) / sizeof(*requests); i++) {
		request = requests[i];
		memset(&argument, 0, sizeof(argument));
		argument.abi_version = request == FLIGHTREC_IOC_SEEK_SEQ;
		each_failure("ioctl", ask, ignore);
	}
	close(call_fd);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static const char *value;

static int set_value(void)
{
	return write(call_fd, value, strlen(value)) < 0 ? -errno : 0;
}

static void setting(void)
{
	CHECK_EQ(guest_load(CORE, "events=none"), 0);
	call_fd = open("/sys/module/flightrec/parameters/events", O_WRONLY);
	CHECK(call_fd >= 0);
	value = "none\n";
	CHECK(each_failure("parameter events", set_value, ignore) > 0);
	close(call_fd);
	call_fd = open("/sys/module/flightrec/parameters/quota", O_WRONLY);
	CHECK(call_fd >= 0);
	value = "1000000\n";
	CHECK(each_failure("parameter quota", set_value, ignore) > 0);
	close(call_fd);
	CHECK_EQ(guest_unload("flightrec"), 0);
}

static const struct guest_case cases[] = {
	{ "nomem-loading", loading },
	{ "nomem-loading-events", loading_events },
	{ "nomem-opening", opening },
	{ "nomem-writing", writing },
	{ "nomem-reading", reading },
	{ "nomem-asking", asking },
	{ "nomem-setting", setting },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 1800);
}
