// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * One call: what it will be, drawn from the thread's random numbers and from
 * nothing else; and how it is made. Where the contract says what may come of
 * it, that is checked.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#include <sched.h>
#include <sys/prctl.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>

#define DEVICES		4	/* of the targets, those below /dev */
#define PAGE		FUZZ_PAGE

static const char * const targets[] = {
	"/dev/flightrec/default", "/dev/flightrec/small",
	"/dev/flightrec/kernel", "/dev/flightrec/selftest",
	"/proc/flightrec/default", "/proc/flightrec/small",
	"/proc/flightrec/kernel", "/proc/flightrec/selftest", "/proc/flightrec/stats",
	"/sys/module/flightrec/parameters/containers",
	"/sys/module/flightrec/parameters/crash",
	"/sys/module/flightrec/parameters/events",
	"/sys/module/flightrec/parameters/quota",
	"/sys/module/flightrec/parameters/size_kb",
	"/sys/module/flightrec_events/parameters/burst",
	"/sys/module/flightrec_events/parameters/heartbeat_s",
	"/sys/module/flightrec_events/parameters/rate",
};
#define TARGETS (sizeof(targets) / sizeof(*targets))
#define PROC_FILES	5	/* after the devices */

static struct fuzz_slot shared[FUZZ_SHARED] = {
	{ .fd = -1 }, { .fd = -1 }, { .fd = -1 }, { .fd = -1 },
};

static struct fuzz_slot *slot_of(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	uint32_t at = call->slot % (FUZZ_SLOTS + FUZZ_SHARED);

	return at < FUZZ_SLOTS ? &thread->slots[at] : &shared[at - FUZZ_SLOTS];
}

/*
 * Is it known which file this is? Another thread may close a shared one, and
 * its number then be anything.
 */
static bool known_device(const struct fuzz_thread *thread, const struct fuzz_slot *slot)
{
	return slot->device && slot >= thread->slots && slot < thread->slots + FUZZ_SLOTS;
}

__attribute__((format(printf, 2, 3)))
static void wrong(struct fuzz_thread *thread, const char *fmt, ...)
{
	va_list args;

	if (*thread->wrong)
		return;
	va_start(args, fmt);
	vsnprintf(thread->wrong, PAGE, fmt, args);
	va_end(args);
}

/* Counts what went well; else the error must be one of ALLOWED, ended by 0. */
static void judge(struct fuzz_thread *thread, const struct fuzz_call *call, bool known,
		  long result, const int *allowed)
{
	int err = errno;
	bool dummy;

	if (result >= 0) {
		thread->succeeded[call->op]++;
		return;
	}
	if (!known)
		return;
	for (; *allowed; allowed++)
		if (*allowed == err)
			return;
	wrong(thread, "%s%s, length %u, value %llu: %s", thread->child ? "in a child: " : "",
	      fuzz_operation(call->op, &dummy), call->len, (unsigned long long)call->value,
	      strerror(err));
}

/* Mostly devices; of parameters few, because the log has a line for each bad value. */
static uint32_t draw_target(uint32_t random)
{
	uint32_t kind = random % 16, which = random / 16;

	if (kind < 10)
		return which % DEVICES;
	if (kind < 15)
		return DEVICES + which % PROC_FILES;
	return DEVICES + PROC_FILES + which % (TARGETS - DEVICES - PROC_FILES);
}

static void do_open(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	static const int modes[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR };
	struct fuzz_slot *slot = slot_of(thread, call);
	uint32_t target = draw_target(call->target);
	int flags = modes[call->flags % 4] | O_CLOEXEC;
	int fd, old;

	/* Few may block. */
	if (call->flags / 4 % 8)
		flags |= O_NONBLOCK;
	if (!(call->flags / 32 % 8))
		flags |= O_APPEND | O_TRUNC;
	if (!(call->flags / 256 % 16))
		flags |= call->value & (O_DIRECT | O_SYNC | O_CREAT | O_EXCL | O_PATH |
					O_DIRECTORY | O_NOFOLLOW | O_NOCTTY | O_TMPFILE);
	fd = open(targets[target], flags, 0600);
	if (fd >= 0)
		thread->succeeded[call->op]++;
	slot->device = target < DEVICES && !(flags & O_PATH);
	old = __atomic_exchange_n(&slot->fd, fd, __ATOMIC_SEQ_CST);
	if (old >= 0)
		close(old);
}

static void do_close(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	struct fuzz_slot *slot = slot_of(thread, call);
	int old = __atomic_exchange_n(&slot->fd, -1, __ATOMIC_SEQ_CST);

	if (old >= 0 && !close(old))
		thread->succeeded[call->op]++;
}

static void do_dup(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	struct fuzz_slot *from = slot_of(thread, call);
	struct fuzz_slot *to = &thread->slots[call->value % FUZZ_SLOTS];
	int fd = dup(from->fd), old;

	if (fd < 0)
		return;
	thread->succeeded[call->op]++;
	/* What was duplicated is known only if nobody else could close it. */
	to->device = known_device(thread, from);
	old = to->fd;
	to->fd = fd;
	if (old >= 0)
		close(old);
}

/* The records of a read are whole, and their headers possible. */
static void check_records(struct fuzz_thread *thread, const char *at, ssize_t n)
{
	const struct flightrec_record *record;
	uint64_t last = 0;

	while (n > 0) {
		record = (const void *)at;
		if (n < (ssize_t)sizeof(*record) || record->size > n || record->size % 8 ||
		    record->len > FLIGHTREC_PAYLOAD_MAX ||
		    record->size != ((sizeof(*record) + record->len + 7) & ~7UL) ||
		    record->severity > 7 || record->origin > 1 || record->comm[15] ||
		    (last && record->seq != last + 1 + record->lost)) {
			wrong(thread, "read: bad record %llu of %u bytes",
			      (unsigned long long)record->seq, record->size);
			return;
		}
		last = record->seq;
		at += record->size;
		n -= record->size;
	}
}

static const int read_errors[] = { EAGAIN, EINVAL, EFAULT, EBADF, EINTR, 0 };

static void do_read(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	struct fuzz_slot *slot = slot_of(thread, call);
	bool known = known_device(thread, slot);
	char *buf = (char *)(((uintptr_t)fuzz_buffer(thread->in, call)) & ~7UL);
	ssize_t n = read(slot->fd, buf, call->len);

	judge(thread, call, known, n, read_errors);
	if (known && n > 0 && fuzz_buffer_is_good(call))
		check_records(thread, buf, n);
	if (known && n < 0 && errno == EINVAL && call->len >= FLIGHTREC_READ_MIN)
		wrong(thread, "read of %u bytes: EINVAL", call->len);
}

/* ESPIPE: not for a device that is open for the other direction. */
static const int offset_errors[] = { ESPIPE, EBADF, EINVAL, 0 };

static void do_pread(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	struct fuzz_slot *slot = slot_of(thread, call);
	bool known = known_device(thread, slot);
	long n = pread(slot->fd, fuzz_buffer(thread->in, call), call->len, call->value >> 1);

	judge(thread, call, known, n, offset_errors);
	if (known && n >= 0)
		wrong(thread, "pread: %ld", n);
}

static void do_pwrite(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	struct fuzz_slot *slot = slot_of(thread, call);
	bool known = known_device(thread, slot);
	long n = pwrite(slot->fd, fuzz_buffer(thread->out, call), call->len, call->value >> 1);

	judge(thread, call, known, n, offset_errors);
	if (known && n >= 0)
		wrong(thread, "pwrite: %ld", n);
}

/* Never EAGAIN, never EINTR. */
static const int write_errors[] = {
	EBADF, EFAULT, EMSGSIZE, EDQUOT, ENOMEM, ENOBUFS, 0
};

static void judge_write(struct fuzz_thread *thread, const struct fuzz_call *call,
			bool known, ssize_t n, size_t len)
{
	judge(thread, call, known, n, write_errors);
	if (known && n >= 0 && (size_t)n != len)
		wrong(thread, "write of %zu bytes: %zd", len, n);
}

static void do_write(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	static const char * const values[] = {
		"none\n", "module,net\n", "0\n", "1\n", "Y\n", "N\n", "67108864\n", "60\n",
		"-1\n", "99999999999999999999\n", "module,,net", "\n", "100\n",
	};
	struct fuzz_slot *slot = slot_of(thread, call);
	bool known = known_device(thread, slot);
	char *buf = fuzz_buffer(thread->out, call);
	const char *text;

	if (!slot->device && call->flags & 1) {
		text = values[call->value % (sizeof(values) / sizeof(*values))];
		judge(thread, call, false, write(slot->fd, text, strlen(text)), NULL);
		return;
	}
	/* The payload may change while it is copied. */
	thread->out[call->value % PAGE] = call->value >> 32;
	judge_write(thread, call, known, write(slot->fd, buf, call->len), call->len);
}

/* One that the reader can check, in one part or in several. */
static void do_write_marked(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	struct fuzz_slot *slot = slot_of(thread, call);
	uint32_t len = 16 + call->len % (FLIGHTREC_PAYLOAD_MAX - 16 + 1);
	uint32_t tid = syscall(SYS_gettid), part = 1 + call->value % len;
	struct fuzz_payload payload;
	bool known = known_device(thread, slot);
	struct iovec parts[2] = {
		{ &payload, part }, { (char *)&payload + part, len - part },
	};
	ssize_t n;

	payload.mark = thread->mark;
	payload.tid = tid;
	payload.len = len;
	memcpy(payload.fill, fuzz_fill(tid, len), len - 16);
	/* Of procfs each part is a record. */
	n = known && call->flags & 1 ? writev(slot->fd, parts, 2) :
				       write(slot->fd, &payload, len);
	judge_write(thread, call, known, n, len);
}

static void do_vector(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	struct fuzz_slot *slot = slot_of(thread, call);
	bool known = known_device(thread, slot);
	struct fuzz_call part = *call;
	uint64_t random = call->value;
	int count = call->flags / 2 % 9;
	struct iovec parts[8];
	size_t len = 0;
	int i;

	for (i = 0; i < 8; i++) {
		part.place = fuzz_random(&random);
		part.len = fuzz_random(&random) % (call->len + 1);
		parts[i].iov_base = fuzz_buffer(call->flags & 1 ? thread->in : thread->out, &part);
		parts[i].iov_len = part.len;
		len += i < count ? part.len : 0;
	}
	if (call->flags & 1)
		judge(thread, call, known, readv(slot->fd, parts, count), read_errors);
	else
		judge_write(thread, call, known, writev(slot->fd, parts, count), len);
}

static void do_lseek(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	static const int allowed[] = { EINVAL, ESPIPE, EBADF, EINTR, 0 };
	struct fuzz_slot *slot = slot_of(thread, call);
	off_t offset = call->flags & 8 ? 0 : (off_t)call->value;
	bool known = known_device(thread, slot);
	off_t result = lseek(slot->fd, offset, call->flags % 6);

	judge(thread, call, known, result, allowed);
	if (known && result > 0)
		wrong(thread, "lseek: %lld", (long long)result);
}

static void do_poll(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	struct pollfd polled[2] = {
		{ .fd = slot_of(thread, call)->fd, .events = call->value },
		{ .fd = thread->slots[call->value % FUZZ_SLOTS].fd, .events = POLLIN },
	};

	if (poll(polled, 1 + (call->flags & 1), call->flags & 14 ? 0 : 1) >= 0)
		thread->succeeded[call->op]++;
}

static void do_ioctl(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	static const unsigned long requests[] = {
		FLIGHTREC_IOC_GET_INFO, FLIGHTREC_IOC_SEEK_SEQ, FLIGHTREC_IOC_SEEK_TIME,
		FLIGHTREC_IOC_SET_FLAGS, FLIGHTREC_IOC_CLEAR, FLIGHTREC_IOC_SET_FILTER,
	};
	static const int allowed[] = {
		EINVAL, EFAULT, EBADF, EINTR, EPERM, ENOTTY, EBUSY, E2BIG, 0,
	};
	struct fuzz_slot *slot = slot_of(thread, call);
	bool known = known_device(thread, slot);
	/* Clearing all the time would leave nothing to read. */
	uint32_t kind = call->flags % 32;
	unsigned long request = kind < 16 ? requests[kind % 4] : kind == 16 ? requests[4] :
				kind == 17 ? requests[5] :
				kind < 28 ? _IOC(call->flags / 32 % 4, 0xf1, call->target % 8,
						 call->len % 8192) : call->value;
	uint64_t *arg = fuzz_buffer(call->flags & 64 ? thread->in : thread->out, call);
	int result;

	if (fuzz_buffer_is_good(call) && call->place & 0x10000)
		*arg = call->place & 0x20000 ? call->value : call->value % 100000;
	result = ioctl(slot->fd, request, arg);
	judge(thread, call, known, result, allowed);
}

static void do_mmap(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	static const int allowed[] = { ENODEV, EACCES, EBADF, EINVAL, EOVERFLOW, EPERM, 0 };
	struct fuzz_slot *slot = slot_of(thread, call);
	bool known = known_device(thread, slot);
	void *at = mmap(NULL, call->len + 1, call->flags % 8,
			call->flags & 8 ? MAP_SHARED : MAP_PRIVATE, slot->fd,
			call->flags & 16 ? 0 : (off_t)(call->value & ~4095ULL));

	judge(thread, call, known, at == MAP_FAILED ? -1 : 0, allowed);
	if (at == MAP_FAILED)
		return;
	if (known)
		wrong(thread, "mmap of a device");
	munmap(at, call->len + 1);
}

static void do_fcntl(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	int fd = slot_of(thread, call)->fd;

	switch (call->flags % 4) {
	case 0:		/* mostly not blocking */
		fcntl(fd, F_SETFL, call->value & 7 ? O_NONBLOCK : (int)(call->value >> 32));
		break;
	case 1:
		fcntl(fd, F_GETFL);
		break;
	case 2:
		fcntl(fd, F_SETFD, (int)call->value & 1);
		break;
	default:	/* locks would block */
		fcntl(fd, F_SETLK, thread->out);
	}
	thread->succeeded[call->op]++;
}

static void do_splice(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	int fd = slot_of(thread, call)->fd;
	size_t len = call->len;
	ssize_t n;

	switch (call->flags % 4) {
	case 0:
		n = splice(fd, NULL, thread->pipe[1], NULL, len, SPLICE_F_NONBLOCK);
		break;
	case 1:
		n = splice(thread->pipe[0], NULL, fd, NULL, len, SPLICE_F_NONBLOCK);
		break;
	case 2:
		n = sendfile(fd, thread->slots[call->value % FUZZ_SLOTS].fd, NULL, len);
		break;
	default:
		n = write(thread->pipe[1], thread->out, len % PAGE);
	}
	if (n >= 0)
		thread->succeeded[call->op]++;
}

static void do_uring(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	fuzz_uring(thread, slot_of(thread, call)->fd, call);
}

static void do_rename(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	char name[16];

	memcpy(name, &call->value, 8);
	memcpy(name + 8, &call->len, 8);
	prctl(PR_SET_NAME, name);
	thread->succeeded[call->op]++;
}

static void do_move(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(call->value % 4, &cpus);
	if (call->value & 64)
		CPU_SET(call->value / 4 % 4, &cpus);
	if (!sched_setaffinity(0, sizeof(cpus), &cpus))
		thread->succeeded[call->op]++;
}

/* A child with the same descriptors makes some calls and ends, or is killed. */
static void do_fork(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	struct fuzz_call own;
	int i, status, interrupted = 0;
	pid_t pid;

	if (thread->child)
		return;
	pid = syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid < 0)
		return;
	if (!pid) {
		/*
		 * Descriptors and memory are not copied in one moment: a shared number may
		 * be free here, then that of an own slot, which closing it would change.
		 */
		for (i = 0; i < FUZZ_SHARED; i++)
			shared[i].fd = -1;
		thread->child = true;
		thread->random = call->value;
		for (i = 0; i < 32; i++) {
			fuzz_draw(thread, &own);
			fuzz_make(thread, &own);
		}
		syscall(SYS_exit_group, 0);
	}
	if (call->flags & 1)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		if (++interrupted > 10)
			kill(pid, SIGKILL);	/* it may have blocked */
	if (WIFEXITED(status) && WEXITSTATUS(status))
		wrong(thread, "a child ended with %d", WEXITSTATUS(status));
	thread->succeeded[call->op]++;
}

static const struct {
	const char *name;
	void (*make)(struct fuzz_thread *thread, const struct fuzz_call *call);
	unsigned int weight;
	bool must_succeed;	/* in a run that is long enough */
} operations[] = {
	{ "open", do_open, 60, true },
	{ "close", do_close, 12, true },
	{ "dup", do_dup, 8, true },
	{ "read", do_read, 220, true },
	{ "write", do_write, 200, true },
	{ "write marked", do_write_marked, 120, true },
	{ "readv and writev", do_vector, 100, true },
	{ "pread", do_pread, 30, true },
	{ "pwrite", do_pwrite, 20, false },
	{ "lseek", do_lseek, 50, true },
	{ "poll", do_poll, 60, true },
	{ "ioctl", do_ioctl, 120, true },
	{ "mmap", do_mmap, 20, false },
	{ "fcntl", do_fcntl, 20, true },
	{ "splice", do_splice, 30, true },
	{ "io_uring", do_uring, 40, true },
	{ "rename", do_rename, 10, true },
	{ "move", do_move, 4, true },
	{ "fork", do_fork, 1, true },
};
#define OPERATIONS (sizeof(operations) / sizeof(*operations))

size_t fuzz_operations(void)
{
	return OPERATIONS;
}

const char *fuzz_operation(unsigned int op, bool *must_succeed)
{
	*must_succeed = operations[op].must_succeed;
	return operations[op].name;
}

static uint32_t draw_operation(uint64_t random)
{
	uint32_t sum = 0, i;

	for (i = 0; i < OPERATIONS; i++)
		sum += operations[i].weight;
	random %= sum;
	for (i = 0; random >= operations[i].weight; i++)
		random -= operations[i].weight;
	return i;
}

void fuzz_draw(struct fuzz_thread *thread, struct fuzz_call *call)
{
	static const uint32_t limits[] = { 16, 64, 64, 256, 1100, 4200, 8192, 20000 };
	uint64_t random = fuzz_random(&thread->random);
	uint64_t more = fuzz_random(&thread->random);

	call->op = draw_operation(random & 0xffffffff);
	call->slot = random >> 32;
	call->target = random >> 48;
	call->flags = more;
	call->place = more >> 32;
	call->value = fuzz_random(&thread->random);
	call->len = (call->value >> 40) % (limits[call->value >> 37 & 7] + 1);
}

void fuzz_make(struct fuzz_thread *thread, const struct fuzz_call *call)
{
	errno = 0;
	operations[call->op].make(thread, call);
}

void fuzz_prepare(struct fuzz_thread *thread)
{
	int i;

	for (i = 0; i < FUZZ_SLOTS; i++)
		thread->slots[i].fd = -1;
	thread->wrong = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			     -1, 0);
	CHECK(thread->wrong != MAP_FAILED);
	CHECK(!pipe2(thread->pipe, O_NONBLOCK | O_CLOEXEC));
	thread->in = fuzz_make_area(1);
	thread->out = fuzz_make_area(thread->random);
	thread->async_in = fuzz_make_area(1);
	thread->async_out = fuzz_make_area(thread->random);
}

void fuzz_end(struct fuzz_thread *thread)
{
	int i, fd;

	fuzz_uring_end(thread);
	for (i = 0; i < FUZZ_SLOTS; i++)
		if (thread->slots[i].fd >= 0)
			close(thread->slots[i].fd);
	for (i = 0; i < FUZZ_SHARED; i++) {
		fd = __atomic_exchange_n(&shared[i].fd, -1, __ATOMIC_SEQ_CST);
		if (fd >= 0)
			close(fd);
	}
	close(thread->pipe[0]);
	close(thread->pipe[1]);
}
