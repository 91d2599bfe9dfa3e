// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The calls on /dev/flightrec/<channel>: what they do and what they refuse.
 * Runs with the core loaded as "channels=default,small size_kb=1024,MIN"; as a
 * 32-bit program, too.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <sched.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>

#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif

#define KERNEL_HALF ((void *)(uintptr_t)(sizeof(long) == 8 ? 0xffff888000000000 : 0xfffff000))

static void expect(int fd, const char *text)
{
	struct guest_record record;

	guest_read(fd, &record);
	if (record.head.len != strlen(text) ||
	    memcmp(record.payload, text, record.head.len))
		FAIL("read \"%.*s\", expected \"%s\"", (int)record.head.len,
		     record.payload, text);
}

/* A descriptor that sees only what comes from now on. */
static int open_at_end(const char *channel)
{
	int fd = guest_open(channel, O_RDWR | O_NONBLOCK);

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	return fd;
}

static void write_then_read(void)
{
	int fd = open_at_end("default");

	guest_write(fd, "hello");
	guest_write(fd, "world\n");
	expect(fd, "hello");
	expect(fd, "world\n");
	CHECK_ERRNO(read(fd, (char[8192]){0}, 8192), EAGAIN);
}

static void binary_payload(void)
{
	struct guest_record record;
	unsigned char out[256];
	int fd = open_at_end("default");
	int i;

	for (i = 0; i < 256; i++)
		out[i] = i;
	CHECK_EQ(write(fd, out, 256), 256);
	guest_read(fd, &record);
	CHECK_EQ(record.head.len, 256);
	CHECK(!memcmp(record.payload, out, 256));
}

static void every_size(void)
{
	static char out[FLIGHTREC_PAYLOAD_MAX];
	struct guest_record record;
	int fd = open_at_end("default");
	int i, n;

	for (i = 0; i < FLIGHTREC_PAYLOAD_MAX; i++)
		out[i] = 'a' + i % 23;
	for (n = 1; n <= FLIGHTREC_PAYLOAD_MAX; n += n < 600 ? 1 : 97) {
		CHECK_EQ(write(fd, out, n), n);
		guest_read(fd, &record);
		CHECK_EQ(record.head.len, n);
		CHECK(!memcmp(record.payload, out, n));
	}
	CHECK_EQ(write(fd, out, FLIGHTREC_PAYLOAD_MAX), FLIGHTREC_PAYLOAD_MAX);
	guest_read(fd, &record);
	CHECK_EQ(record.head.len, FLIGHTREC_PAYLOAD_MAX);
}

static void write_over_long(void)
{
	static char out[FLIGHTREC_PAYLOAD_MAX + 1];
	struct iovec two[2] = { { out, FLIGHTREC_PAYLOAD_MAX }, { out, 1 } };
	int fd = open_at_end("default");
	long long before = guest_stat("default", "rejected_size");

	CHECK_ERRNO(write(fd, out, sizeof(out)), EMSGSIZE);
	CHECK_ERRNO(write(fd, out, 0x7ffff000), EMSGSIZE);
	CHECK_ERRNO(writev(fd, two, 2), EMSGSIZE);
	CHECK_EQ(guest_stat("default", "rejected_size"), before + 3);
	CHECK_ERRNO(read(fd, out, sizeof(out)), EAGAIN);
}

static void write_nothing(void)
{
	long long before = guest_stat("default", "records");
	struct iovec none[2] = { { NULL, 0 }, { "", 0 } };
	int fd = open_at_end("default");

	CHECK_EQ(write(fd, "x", 0), 0);
	CHECK_EQ(write(fd, NULL, 0), 0);
	CHECK_EQ(writev(fd, none, 2), 0);
	CHECK_EQ(guest_stat("default", "records"), before);
}

static void write_bad_pointer(void)
{
	long long before = guest_stat("default", "rejected_fault");
	struct iovec half[2] = { { "good", 4 }, { (void *)8, 4 } };
	int fd = open_at_end("default");

	CHECK_ERRNO(write(fd, (void *)8, 5), EFAULT);
	CHECK_ERRNO(write(fd, (void *)8, 4096), EFAULT);
	CHECK_ERRNO(writev(fd, half, 2), EFAULT);
	CHECK_EQ(guest_stat("default", "rejected_fault"), before + 3);
	/* The kernel's half: refused before the driver is asked. */
	CHECK_ERRNO(write(fd, KERNEL_HALF, 8), EFAULT);
	CHECK_ERRNO(read(fd, (char[8192]){0}, 8192), EAGAIN);
}

/* A page with nothing behind it. */
static char *map_edge(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	CHECK(page != MAP_FAILED);
	CHECK(!munmap(page + 4096, 4096));
	return page + 4096;
}

static void write_half_mapped(void)
{
	char *edge = map_edge();
	int fd = open_at_end("default");

	memset(edge - 200, 'h', 200);
	CHECK_ERRNO(write(fd, edge - 100, 200), EFAULT);
	CHECK_ERRNO(write(fd, edge - 200, 1000), EFAULT);
	CHECK_EQ(write(fd, edge - 200, 200), 200);
	expect(fd, memset(calloc(1, 201), 'h', 200));
}

static void refused_write_leaves_no_gap(void)
{
	struct guest_record one, two;
	int fd = open_at_end("default");

	guest_write(fd, "one");
	CHECK_ERRNO(write(fd, (void *)8, 5), EFAULT);
	guest_write(fd, "two");
	guest_read(fd, &one);
	guest_read(fd, &two);
	CHECK_EQ(two.head.seq, one.head.seq + 1);
	CHECK_EQ(two.head.lost, 0);
}

static void no_permission(void)
{
	int fd;

	CHECK(!chmod("/dev/flightrec/default", 0640));
	fd = guest_open("default", O_RDONLY);
	CHECK_ERRNO(write(fd, "x", 1), EBADF);
	fd = guest_open("default", O_WRONLY);
	CHECK_ERRNO(read(fd, (char[8192]){0}, 8192), EBADF);
	CHECK(!setgid(1000) && !setuid(1000));
	CHECK_ERRNO(open("/dev/flightrec/default", O_WRONLY), EACCES);
	CHECK_ERRNO(open("/dev/flightrec/default", O_RDONLY), EACCES);
	CHECK_ERRNO(open("/proc/flightrec/default", O_WRONLY), EACCES);
}

static void kernel_channel_is_read_only(void)
{
	CHECK_ERRNO(open("/dev/flightrec/kernel", O_WRONLY), EACCES);
	CHECK_ERRNO(open("/dev/flightrec/kernel", O_RDWR), EACCES);
	CHECK_ERRNO(open("/proc/flightrec/kernel", O_WRONLY), EACCES);
	CHECK(open("/dev/flightrec/kernel", O_RDONLY) >= 0);
}

static void positioned_calls(void)
{
	int fd = open_at_end("default");
	char buf[8192];

	CHECK_ERRNO(pwrite(fd, "x", 1, 0), ESPIPE);
	CHECK_ERRNO(pread(fd, buf, sizeof(buf), 0), ESPIPE);
	CHECK_ERRNO(lseek(fd, 0, SEEK_CUR), ESPIPE);
	CHECK_ERRNO(lseek(fd, 1, SEEK_SET), EINVAL);
	CHECK_ERRNO(lseek(fd, -1, SEEK_END), EINVAL);
	CHECK_ERRNO(lseek(fd, 0, 77), EINVAL);
}

static void seek_ends(void)
{
	struct guest_record record;
	int fd = guest_open("default", O_RDWR | O_NONBLOCK);

	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	guest_write(fd, "a");
	guest_write(fd, "b");
	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	CHECK_ERRNO(read(fd, &record, sizeof(record)), EAGAIN);
	CHECK_EQ(lseek(fd, 0, SEEK_SET), 0);
	expect(fd, "records cleared");
	expect(fd, "a");
	expect(fd, "b");
	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	guest_write(fd, "c");
	guest_read(fd, &record);
	CHECK_EQ(record.head.lost, 0);
	CHECK_EQ(record.payload[0], 'c');
}

static void seek_by_number(void)
{
	struct guest_record record;
	int fd = open_at_end("default");
	__u64 first, seq;
	char text[16];
	int i;

	for (i = 0; i < 10; i++) {
		sprintf(text, "n%d", i);
		guest_write(fd, text);
	}
	guest_read(fd, &record);
	first = record.head.seq;
	seq = first + 7;
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &seq), 0);
	guest_read(fd, &record);
	CHECK_EQ(record.head.seq, seq);
	CHECK_EQ(record.head.lost, 0);
	CHECK_EQ(record.payload[1], '7');
	seq = first + 10;
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &seq), 0);
	CHECK_ERRNO(read(fd, &record, sizeof(record)), EAGAIN);
	seq = first + 11;
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &seq), EINVAL);
	seq = 0;
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &seq), EINVAL);
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, (void *)8), EFAULT);
}

static void seek_by_time(void)
{
	struct guest_record a, b, got;
	int fd = open_at_end("default");
	__u64 when;

	guest_write(fd, "early");
	guest_sleep_ms(20);
	guest_write(fd, "late");
	guest_read(fd, &a);
	guest_read(fd, &b);
	if (b.head.boot_ns < a.head.boot_ns + 15000000)
		FAIL("stamped %lld ns after a sleep of 20 ms",
		     (long long)(b.head.boot_ns - a.head.boot_ns));
	when = a.head.boot_ns + 5000000;
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_TIME, &when), 0);
	guest_read(fd, &got);
	CHECK_EQ(got.head.seq, b.head.seq);
	CHECK_EQ(got.head.lost, 0);
	when = b.head.boot_ns + 3600000000000ULL;
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_TIME, &when), 0);
	CHECK_ERRNO(read(fd, &got, sizeof(got)), EAGAIN);
	when = 0;
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_TIME, &when), 0);
	guest_read(fd, &got);
	CHECK(got.head.seq <= a.head.seq);
}

static void read_small_buffer(void)
{
	char buf[sizeof(struct flightrec_record) + 8];
	int fd = open_at_end("default");

	guest_write(fd, "nine byte");
	CHECK_ERRNO(read(fd, buf, sizeof(buf)), EINVAL);
	CHECK_ERRNO(read(fd, buf, 1), EINVAL);
	CHECK_EQ(read(fd, buf, 0), 0);
	/* Nothing was consumed. */
	expect(fd, "nine byte");
	guest_write(fd, "8 bytes.");
	CHECK_EQ(read(fd, buf, sizeof(buf)), sizeof(buf));
}

static void read_batch(void)
{
	static char buf[65536];
	struct flightrec_record *record = (void *)buf;
	int fd = open_at_end("default");
	ssize_t n, at;
	int count = 0;
	__u64 seq = 0;
	int i;

	for (i = 0; i < 100; i++)
		CHECK_EQ(write(fd, "0123456789abcdefghij", 1 + i % 20), 1 + i % 20);
	n = read(fd, buf, sizeof(buf));
	for (at = 0; at < n; at += record->size) {
		record = (void *)(buf + at);
		CHECK_EQ(record->size % 8, 0);
		CHECK_EQ(record->len, 1 + count % 20);
		CHECK(!seq || record->seq == seq + 1);
		CHECK(!memcmp((char *)record + record->header_size,
			      "0123456789abcdefghij", record->len));
		seq = record->seq;
		count++;
	}
	CHECK_EQ(count, 100);
}

static void read_bad_pointer(void)
{
	char *edge = map_edge();
	int fd = open_at_end("default");
	struct flightrec_record *record;
	ssize_t n;

	guest_write(fd, "first");
	guest_write(fd, "second");
	CHECK_ERRNO(read(fd, (void *)8, 8192), EFAULT);
	/* Room for the first and a half: the first counts, the second stays. */
	n = read(fd, edge - 150, 8192);
	CHECK_EQ(n, sizeof(*record) + 8);
	record = (void *)(edge - 150);
	CHECK(!memcmp((char *)record + record->header_size, "first", 5));
	expect(fd, "second");
}

static void writev_is_one_record(void)
{
	struct iovec parts[100];
	int fd = open_at_end("default");
	char want[101] = "";
	int i;

	for (i = 0; i < 100; i++) {
		parts[i] = (struct iovec) { &"abcdefghij"[i % 10], 1 };
		want[i] = "abcdefghij"[i % 10];
	}
	CHECK_EQ(writev(fd, parts, 100), 100);
	expect(fd, want);
	parts[0].iov_base = memset(malloc(2000), 'L', 2000);
	parts[0].iov_len = 2000;
	CHECK_EQ(writev(fd, parts, 2), 2001);
}

static void severity_prefix(void)
{
	__u32 raw = FLIGHTREC_FL_RAW, bad = 0x100;
	struct guest_record record;
	int fd = open_at_end("default");

	guest_write(fd, "<3>disk on fire");
	guest_read(fd, &record);
	CHECK_EQ(record.head.severity, 3);
	CHECK_EQ(record.head.len, strlen("disk on fire"));
	guest_write(fd, "plain");
	guest_read(fd, &record);
	CHECK_EQ(record.head.severity, FLIGHTREC_SEVERITY_DEFAULT);
	guest_write(fd, "<8>no");
	expect(fd, "<8>no");
	guest_write(fd, "<3>");
	expect(fd, "<3>");
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_SET_FLAGS, &bad), EINVAL);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SET_FLAGS, &raw), 0);
	guest_write(fd, "<3>binary");
	expect(fd, "<3>binary");
}

static void ioctl_errors(void)
{
	struct flightrec_info info;
	int fd = open_at_end("default");
	__u64 seq = 1;
	int wr;

	CHECK_ERRNO(ioctl(fd, 0x5401, &info), ENOTTY);
	CHECK_ERRNO(ioctl(fd, _IO(0xf1, 99)), ENOTTY);
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_GET_INFO, (void *)8), EFAULT);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK_EQ(info.abi_version, FLIGHTREC_ABI_VERSION);
	CHECK_EQ(info.size, 1 << 20);
	CHECK(!strcmp(info.name, "default"));
	wr = guest_open("default", O_WRONLY);
	CHECK_ERRNO(ioctl(wr, FLIGHTREC_IOC_SEEK_SEQ, &seq), EBADF);
	CHECK(!setuid(1000));
	CHECK_ERRNO(ioctl(fd, FLIGHTREC_IOC_CLEAR), EPERM);
}

/*
 * Tasks' writes have their stamps put straight into the ring, the driver's own records
 * by way of a copy: of one task both say the same.
 */
static void both_stamps_agree(void)
{
	struct guest_record written, noticed;
	int fd = open_at_end("default");
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(1, &set);
	CHECK(!sched_setaffinity(0, sizeof(set), &set));
	CHECK(!prctl(PR_SET_NAME, "fifteen letters"));
	CHECK(!setreuid(1234, 0));
	guest_write(fd, "<5>written");
	guest_read(fd, &written);
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	guest_read(fd, &noticed);
	CHECK_EQ(noticed.head.seq, written.head.seq + 1);
	CHECK_EQ(noticed.head.origin, FLIGHTREC_ORIGIN_KERNEL);
	CHECK(noticed.head.boot_ns >= written.head.boot_ns);
	CHECK_EQ(written.head.uid, 1234);
	CHECK_EQ(written.head.cpu, 1);
	noticed.head.seq = written.head.seq;
	noticed.head.origin = written.head.origin;
	noticed.head.boot_ns = written.head.boot_ns;
	noticed.head.wall_ns = written.head.wall_ns;
	noticed.head.size = written.head.size;
	noticed.head.len = written.head.len;
	CHECK(!memcmp(&noticed.head, &written.head, sizeof(written.head)));
}

static void clear_counts_as_lost(void)
{
	struct guest_record record;
	int fd = open_at_end("default");

	guest_write(fd, "one");
	guest_write(fd, "two");
	expect(fd, "one");
	guest_write(fd, "three");
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_CLEAR), 0);
	guest_read(fd, &record);
	CHECK_EQ(record.head.lost, 2);
	CHECK_EQ(record.head.origin, FLIGHTREC_ORIGIN_KERNEL);
	CHECK_EQ(record.head.tgid, getpid());
	CHECK_EQ(record.head.len, strlen("records cleared"));
}

/* Delivered and lost make up all that was written, to the last record. */
static void loss_is_exact(void)
{
	long long overwritten = guest_stat("small", "overwritten");
	struct guest_record record;
	char out[1000] = "";
	int fd = open_at_end("small");
	unsigned long long sum = 0, delivered = 0;
	int i, n;

	for (i = 0; i < 5000; i++) {
		n = 1 + i * 7 % 1000;
		CHECK_EQ(write(fd, out, n), n);
		if (i % 1013 == 1012) {
			guest_read(fd, &record);
			sum += record.head.lost;
			delivered++;
		}
	}
	while (guest_next(fd, &record)) {
		sum += record.head.lost;
		delivered++;
	}
	CHECK_EQ(sum + delivered, 5000);
	CHECK(sum > 1000);
	CHECK(guest_stat("small", "overwritten") > overwritten + 1000);
}

static void two_readers_see_the_same(void)
{
	int a = open_at_end("default"), b = open_at_end("default");

	guest_write(a, "shared");
	expect(a, "shared");
	expect(b, "shared");
}

static void resume_after_loss(void)
{
	struct guest_record record;
	struct flightrec_info info;
	char out[1000] = "";
	int fd = open_at_end("small");
	__u64 seq;
	int i;

	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	seq = info.next_seq;
	for (i = 0; i < 500; i++)
		CHECK_EQ(write(fd, out, sizeof(out)), sizeof(out));
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &seq), 0);
	guest_read(fd, &record);
	CHECK(record.head.lost > 0);
	CHECK_EQ(record.head.seq - record.head.lost, seq);
}

static void poll_and_wake(void)
{
	struct pollfd p = { .events = POLLIN | POLLOUT };
	struct guest_record record;
	pid_t pid;

	p.fd = open_at_end("default");
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(p.revents, POLLOUT);
	p.events = POLLIN;
	CHECK_EQ(poll(&p, 1, 50), 0);
	pid = fork();
	if (!pid) {
		guest_sleep_ms(300);
		guest_write(p.fd, "wake");
		_exit(0);
	}
	CHECK_EQ(poll(&p, 1, 30000), 1);
	CHECK_EQ(p.revents, POLLIN);
	guest_read(p.fd, &record);
	CHECK_EQ(record.head.tgid, pid);
	CHECK_EQ(poll(&p, 1, 0), 0);
	/* Cleared records are nothing to wait for, the notice of it is. */
	CHECK_EQ(ioctl(p.fd, FLIGHTREC_IOC_CLEAR), 0);
	CHECK_EQ(poll(&p, 1, 0), 1);
}

static void nothing(int sig)
{
	(void)sig;
}

static void signal_interrupts_read(void)
{
	struct sigaction action = { .sa_handler = nothing };
	struct guest_record record;
	int fd = guest_open("default", O_RDWR);

	CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
	CHECK(!sigaction(SIGALRM, &action, NULL));
	alarm(1);
	CHECK_ERRNO(read(fd, &record, sizeof(record)), EINTR);
	alarm(60);
}

static void sleeping_reader_can_be_killed(void)
{
	struct guest_record record;
	int status, fd;
	pid_t pid;

	pid = fork();
	if (!pid) {
		fd = guest_open("small", O_RDONLY);
		lseek(fd, 0, SEEK_END);
		_exit(read(fd, &record, sizeof(record)) < 0);
	}
	while (guest_stat("small", "readers") != 1)
		guest_sleep_ms(10);
	guest_sleep_ms(200);
	CHECK(!kill(pid, SIGKILL));
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK(WIFSIGNALED(status));
	CHECK_EQ(guest_stat("small", "readers"), 0);
}

/* Only who may read hears of what there is to read. */
static void poll_of_a_writer(void)
{
	struct pollfd p = { .events = POLLIN | POLLOUT };

	p.fd = guest_open("default", O_WRONLY);
	guest_write(p.fd, "for others");
	CHECK_EQ(poll(&p, 1, 0), 1);
	CHECK_EQ(p.revents, POLLOUT);
}

/* Of a write-only descriptor: what others write is none of its business. */
static void info_without_reading(void)
{
	struct flightrec_info info;
	int fd = guest_open("default", O_WRONLY);

	guest_write(fd, "something");
	CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK(!strcmp(info.name, "default"));
	CHECK(info.size > 0);
	CHECK_EQ(info.oldest_seq, 0);
	CHECK_EQ(info.next_seq, 0);
	CHECK_EQ(ioctl(open_at_end("default"), FLIGHTREC_IOC_GET_INFO, &info), 0);
	CHECK(info.next_seq > 1 && info.oldest_seq > 0);
}

static void fsync_has_nothing_to_do(void)
{
	int fd = open_at_end("default");

	guest_write(fd, "synced");
	CHECK_EQ(fsync(fd), 0);
	CHECK_EQ(fdatasync(fd), 0);
	expect(fd, "synced");
}

static void splice_writes_a_record(void)
{
	char path[] = "/tmp/spliceXXXXXX";
	int fd = open_at_end("default");
	static char big[FLIGHTREC_PAYLOAD_MAX + 1];
	int pipes[2], file;

	CHECK(!pipe(pipes));
	guest_write(pipes[1], "piped");
	CHECK_EQ(splice(pipes[0], NULL, fd, NULL, 4096, 0), 5);
	expect(fd, "piped");
	CHECK_EQ(write(pipes[1], big, sizeof(big)), sizeof(big));
	CHECK_ERRNO(splice(pipes[0], NULL, fd, NULL, sizeof(big), 0), EMSGSIZE);
	file = mkstemp(path);
	CHECK(file >= 0);
	CHECK(!unlink(path));
	guest_write(file, "sent as a file");
	CHECK_EQ(lseek(file, 0, SEEK_SET), 0);
	CHECK_EQ(sendfile(fd, file, NULL, 14), 14);
	expect(fd, "sent as a file");
}

static unsigned long long boot_ns(void)
{
	struct timespec now;

	CHECK(!clock_gettime(CLOCK_BOOTTIME, &now));
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

/* 0, or the number of what went wrong; in the time namespace. */
static int seek_to_own_time(void)
{
	struct guest_record record;
	int fd = open_at_end("default");
	unsigned long long between;

	guest_write(fd, "before");
	guest_sleep_ms(50);
	between = boot_ns();
	guest_sleep_ms(50);
	guest_write(fd, "after");
	if (ioctl(fd, FLIGHTREC_IOC_SEEK_TIME, &between))
		return 1;
	if (!guest_next(fd, &record))
		return 2;
	return memcmp(record.payload, "after", 5) ? 3 : 0;
}

/* A process of a time namespace seeks to times on its own boot clock. */
static void seek_time_in_a_time_namespace(void)
{
	static const char *const offsets[] = { "7 100000 0", "7 -2 500000000" };
	unsigned int i;
	int fd, status;
	pid_t pid;

	for (i = 0; i < 2; i++) {
		CHECK(!unshare(CLONE_NEWTIME));
		fd = open("/proc/self/timens_offsets", O_WRONLY);
		CHECK(fd >= 0);
		guest_write(fd, offsets[i]);
		close(fd);
		pid = fork();
		CHECK(pid >= 0);
		if (!pid)
			_exit(seek_to_own_time());
		CHECK_EQ(waitpid(pid, &status, 0), pid);
		CHECK_EQ(status, 0);
	}
}

static const struct guest_case cases[] = {
	{ "write-then-read", write_then_read },
	{ "binary-payload", binary_payload },
	{ "every-size", every_size },
	{ "write-over-long", write_over_long },
	{ "write-nothing", write_nothing },
	{ "write-bad-pointer", write_bad_pointer },
	{ "write-half-mapped", write_half_mapped },
	{ "refused-write-leaves-no-gap", refused_write_leaves_no_gap },
	{ "no-permission", no_permission },
	{ "kernel-channel-is-read-only", kernel_channel_is_read_only },
	{ "positioned-calls", positioned_calls },
	{ "seek-ends", seek_ends },
	{ "seek-by-number", seek_by_number },
	{ "seek-by-time", seek_by_time },
	{ "read-small-buffer", read_small_buffer },
	{ "read-batch", read_batch },
	{ "read-bad-pointer", read_bad_pointer },
	{ "writev-is-one-record", writev_is_one_record },
	{ "severity-prefix", severity_prefix },
	{ "ioctl-errors", ioctl_errors },
	{ "clear-counts-as-lost", clear_counts_as_lost },
	{ "both-stamps-agree", both_stamps_agree },
	{ "loss-is-exact", loss_is_exact },
	{ "two-readers-see-the-same", two_readers_see_the_same },
	{ "resume-after-loss", resume_after_loss },
	{ "poll-and-wake", poll_and_wake },
	{ "signal-interrupts-read", signal_interrupts_read },
	{ "sleeping-reader-can-be-killed", sleeping_reader_can_be_killed },
	{ "poll-of-a-writer", poll_of_a_writer },
	{ "info-without-reading", info_without_reading },
	{ "fsync-has-nothing-to-do", fsync_has_nothing_to_do },
	{ "splice-writes-a-record", splice_writes_a_record },
	{ "seek-time-in-a-time-namespace", seek_time_in_a_time_namespace },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 120);
}
