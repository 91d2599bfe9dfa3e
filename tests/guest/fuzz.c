// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Threads of several users make every call that there is, with good, bad and
 * absurd arguments, beside a reader that follows one channel: it must get each
 * record once, in order and whole, or be told of its loss. Runs as root, with
 * the core loaded; FUZZ_CALLS and FUZZ_SEED in the environment.
 *
 * What a thread does depends on the seed and on its number alone, but for the
 * order between threads.
 */
#define _GNU_SOURCE
#include "fuzz.h"

#include <dirent.h>
#include <pthread.h>
#include <sys/random.h>
#include <sys/syscall.h>

#define THREADS		4
#define KNOWN_SEED	20260101
#define CALLS_DEFAULT	100000
#define POKE_MS		3	/* who makes no call for so long is woken */
#define QUOTA		"/sys/module/flightrec/parameters/quota"

static const uint32_t users[THREADS] = { 0, 1000, 65534, 0 };

struct worker {
	pthread_t id;
	pid_t tid;
	struct fuzz_thread fuzz;
};

struct follower {
	pthread_t id;
	uint64_t mark, first, seq;
	uint64_t delivered, lost, checked;
	_Atomic bool stop;
	char wrong[256];
};

static unsigned long from_environment(const char *name, unsigned long otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoul(text, NULL, 0) : otherwise;
}

static void on_poke(int number)
{
	(void)number;
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		FAIL("write %s: %s", path, strerror(errno));
	close(fd);
}

static void undo_parameters(void)
{
	put(QUOTA, "67108864");
	put("/sys/module/flightrec/parameters/events", "none");
	put("/sys/module/flightrec/parameters/containers", "N");
}

/* All users may come in: what they may do there is for the fuzzer to try. */
static void open_to_all(const char *directory)
{
	char path[300];
	struct dirent *entry;
	DIR *dir = opendir(directory);

	CHECK(dir);
	while ((entry = readdir(dir))) {
		snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (*entry->d_name != '.')
			CHECK(!chmod(path, 0666));
	}
	closedir(dir);
}

static uint64_t next_number(int fd)
{
	struct flightrec_info info;

	CHECK(!ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info));
	return info.next_seq;
}

static void check_payload(struct follower *f, const struct flightrec_record *record)
{
	const struct fuzz_payload *payload = (const void *)(record + 1);
	const uint8_t *fill = fuzz_fill(payload->tid, payload->len);
	uint32_t i = 0;

	if (payload->len == record->len && payload->tid == record->pid) {
		if (!memcmp(payload->fill, fill, record->len - 16))
			return;
		while (payload->fill[i] == fill[i])
			i++;
	}
	if (!*f->wrong)
		snprintf(f->wrong, sizeof(f->wrong),
			 "record %llu of thread %u, %u bytes: in it are %u bytes of thread %u, torn at %u",
			 (unsigned long long)record->seq, record->pid, record->len,
			 payload->len, payload->tid, i);
}

static void follow_record(struct follower *f, const struct flightrec_record *record)
{
	const uint64_t *mark = (const void *)(record + 1);

	if (record->seq != f->seq + record->lost && !*f->wrong)
		snprintf(f->wrong, sizeof(f->wrong),
			 "record %llu with lost=%llu came where %llu was next",
			 (unsigned long long)record->seq, (unsigned long long)record->lost,
			 (unsigned long long)f->seq);
	f->seq = record->seq + 1;
	f->lost += record->lost;
	f->delivered++;
	if (record->len < 16 || *mark != f->mark)
		return;
	f->checked++;
	check_payload(f, record);
}

static void *follow(void *arg)
{
	static char buf[65536] __attribute__((aligned(8)));
	struct follower *f = arg;
	int fd = open("/dev/flightrec/default", O_RDONLY | O_NONBLOCK);
	struct pollfd polled = { .fd = fd, .events = POLLIN };
	ssize_t n, at;
	bool last;

	lseek(fd, 0, SEEK_END);
	f->first = f->seq = next_number(fd);
	do {
		/* Who stops it has written everything. */
		last = f->stop;
		while ((n = read(fd, buf, sizeof(buf))) > 0)
			for (at = 0; at < n; at += ((struct flightrec_record *)&buf[at])->size)
				follow_record(f, (void *)&buf[at]);
		if (errno != EAGAIN && errno != EINTR && !*f->wrong)
			snprintf(f->wrong, sizeof(f->wrong), "read: %s", strerror(errno));
		poll(&polled, 1, 20);
	} while (!last && !*f->wrong);
	if (f->delivered + f->lost != next_number(fd) - f->first && !*f->wrong)
		snprintf(f->wrong, sizeof(f->wrong), "%llu delivered, %llu lost of %llu",
			 (unsigned long long)f->delivered, (unsigned long long)f->lost,
			 (unsigned long long)(next_number(fd) - f->first));
	close(fd);
	return NULL;
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct fuzz_call call;

	w->tid = syscall(SYS_gettid);
	/* The bare system calls: of this thread alone. */
	syscall(SYS_setresgid, w->fuzz.uid, w->fuzz.uid, w->fuzz.uid);
	syscall(SYS_setresuid, w->fuzz.uid, w->fuzz.uid, w->fuzz.uid);
	while (w->fuzz.made < w->fuzz.calls) {
		fuzz_draw(&w->fuzz, &call);
		fuzz_make(&w->fuzz, &call);
		w->fuzz.made++;
	}
	fuzz_end(&w->fuzz);
	return NULL;
}

/* Interrupt those that sleep in a call until all have ended. */
static void poke(struct worker *workers)
{
	unsigned long seen[THREADS] = { 0 }, rounds = 0;
	unsigned int i, ended;

	do {
		guest_sleep_ms(POKE_MS);
		for (i = ended = 0; i < THREADS; i++) {
			unsigned long made = workers[i].fuzz.made;

			if (made == workers[i].fuzz.calls)
				ended++;
			else if (made == seen[i] && workers[i].tid)
				syscall(SYS_tgkill, getpid(), workers[i].tid, SIGUSR1);
			seen[i] = made;
		}
		/* With a quota of a few bytes nothing is written. */
		if (++rounds % 16 == 0)
			put(QUOTA, "67108864");
	} while (ended < THREADS);
}

static void start(struct worker *w, unsigned int i, uint64_t seed, unsigned long calls)
{
	w->fuzz.index = i;
	w->fuzz.uid = users[i];
	w->fuzz.random = seed * 1000003 + i;
	w->fuzz.calls = calls / THREADS;
	w->fuzz.mark = seed ^ 0x6b72616d2d7a7566ULL;
	fuzz_prepare(&w->fuzz);
	CHECK(!pthread_create(&w->id, NULL, work, w));
}

/* A call of which none ever succeeded was not tried in earnest. */
static void check_successes(const struct worker *workers, unsigned long calls)
{
	unsigned long sum;
	bool must_succeed;
	const char *name;
	size_t op, i;

	for (op = 0; op < fuzz_operations(); op++) {
		name = fuzz_operation(op, &must_succeed);
		for (sum = i = 0; i < THREADS; i++)
			sum += workers[i].fuzz.succeeded[op];
		printf("#   %s: %lu\n", name, sum);
		if (must_succeed && !sum && calls >= 50000)
			FAIL("not one %s of %lu calls succeeded", name, calls);
	}
}

static void run(uint64_t seed)
{
	static struct worker workers[THREADS];
	struct follower follower = { .mark = seed ^ 0x6b72616d2d7a7566ULL };
	unsigned long calls = from_environment("FUZZ_CALLS", CALLS_DEFAULT);
	struct sigaction action = { .sa_handler = on_poke };
	struct timespec from, to;
	double seconds;
	size_t i;

	CHECK(!sigaction(SIGUSR1, &action, NULL));
	CHECK(signal(SIGPIPE, SIG_IGN) != SIG_ERR);
	open_to_all("/dev/flightrec");
	open_to_all("/proc/flightrec");
	clock_gettime(CLOCK_MONOTONIC, &from);
	CHECK(!pthread_create(&follower.id, NULL, follow, &follower));
	while (guest_stat("default", "readers") < 1)
		guest_sleep_ms(10);
	for (i = 0; i < THREADS; i++)
		start(&workers[i], i, seed, calls);
	poke(workers);
	for (i = 0; i < THREADS; i++)
		pthread_join(workers[i].id, NULL);
	follower.stop = true;
	pthread_join(follower.id, NULL);
	undo_parameters();
	clock_gettime(CLOCK_MONOTONIC, &to);
	seconds = to.tv_sec - from.tv_sec + (to.tv_nsec - from.tv_nsec) / 1e9;
	printf("# fuzz: seed=%llu calls=%lu seconds=%.1f delivered=%llu lost=%llu checked=%llu\n",
	       (unsigned long long)seed, calls, seconds, (unsigned long long)follower.delivered,
	       (unsigned long long)follower.lost, (unsigned long long)follower.checked);
	for (i = 0; i < THREADS; i++)
		if (*workers[i].fuzz.wrong)
			FAIL("seed %llu, thread %zu: %s", (unsigned long long)seed, i,
			     workers[i].fuzz.wrong);
	if (*follower.wrong)
		FAIL("seed %llu: %s", (unsigned long long)seed, follower.wrong);
	check_successes(workers, calls);
	if (!follower.checked)
		FAIL("seed %llu: no payload was checked", (unsigned long long)seed);
}

static void known_seed(void)
{
	run(KNOWN_SEED);
}

static void new_seed(void)
{
	uint64_t seed = 0;

	CHECK(getrandom(&seed, 4, 0) == 4);
	run(from_environment("FUZZ_SEED", seed));
}

/* All calls of a thread in one number. */
static uint64_t digest(uint64_t seed)
{
	struct fuzz_thread thread = { .random = seed };
	struct fuzz_call call = { 0 };
	uint64_t sum = 0;
	size_t i, j;

	for (i = 0; i < 10000; i++) {
		fuzz_draw(&thread, &call);
		for (j = 0; j < sizeof(call) / sizeof(uint64_t); j++)
			sum = (sum << 7 | sum >> 57) ^ ((uint64_t *)&call)[j];
	}
	return sum;
}

static void same_seed_same_calls(void)
{
	CHECK(digest(1) == digest(1));
	CHECK(digest(1) != digest(2));
}

static void nothing_stays_open(void)
{
	CHECK_EQ(guest_stat("default", "readers"), 0);
	CHECK_EQ(guest_stat("small", "readers"), 0);
	CHECK_EQ(guest_stat("kernel", "readers"), 0);
	CHECK_EQ(guest_stat("selftest", "readers"), 0);
}

/* What the fuzzer asked for may still be loading the event module. */
static void parameters_settle(void)
{
	char *before, *after = NULL;
	int i;

	for (i = 0; i < 30; i++) {
		before = strstr(guest_slurp("/proc/flightrec/stats"), "events_requests=");
		guest_sleep_ms(1000);
		after = strstr(guest_slurp("/proc/flightrec/stats"), "events_requests=");
		if (!strcmp(before, after))
			return;
	}
	FAIL("requests for the event module do not end");
}

static const struct guest_case cases[] = {
	{ "fuzz-same-seed-same-calls", same_seed_same_calls },
	{ "fuzz-known-seed", known_seed },
	{ "fuzz-new-seed", new_seed },
	{ "fuzz-parameters-settle", parameters_settle },
	{ "fuzz-nothing-stays-open", nothing_stays_open },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 5400);
}
