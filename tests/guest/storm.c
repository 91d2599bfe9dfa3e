// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Records from every context at once, into the smallest channel, and readers
 * who account for each of them.
 *
 * Runs with the core loaded as "channels=default,small size_kb=1024,MIN
 * events=cpu", without flightrec-events, and with modules/guest-storm. Lasts
 * STORM_SECONDS (3). Between the lines "== storm" and "== calm" on the console
 * the host sends NMIs, if STORM_NMIS is set, and answers the second with a
 * line on standard input. Wants the kernel line "apic_extnmi=all", for NMIs to
 * reach all CPUs.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <sched.h>

#define SMALL 3		/* "small" in the driver's table */
#define WRITERS 4
#define READERS 3
#define IDS 8
#define PERIOD_US 300

enum kind { TASK, TIMER, HRTIMER, IRQ_WORK, NMI, USER, KINDS };

static const char * const names[KINDS] = {
	"task", "timer", "hrtimer", "irqwork", "nmi", "user",
};

/* What the processes of a storm share. */
static struct {
	unsigned long long start, end;	/* numbers; @end is 0 until it is known */
	bool started, stop;
	unsigned long long recorded[KINDS][IDS];
} *shared;

/* Of each that emits, what a reader has seen. */
struct tally {
	unsigned long long next[KINDS][IDS];
	unsigned long long gaps, lost, delivered, seq;
};

static char alphabet[FLIGHTREC_PAYLOAD_MAX + 26];

/* As modules/guest-storm has it; of user space also large ones. */
static size_t fill_length(enum kind kind, unsigned int id, unsigned long long n)
{
	if (kind != USER)
		return (n * 7 + id) % 150;
	return n % 50 == 49 ? 4000 : (n * 37 + id) % 900;
}

static void command(const char *fmt, ...)
{
	int fd = open("/proc/guest-storm", O_WRONLY);
	char text[128];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	CHECK(fd >= 0);
	guest_write(fd, text);
	close(fd);
}

static unsigned long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ULL + now.tv_nsec / 1000000;
}

static void write_until_stopped(unsigned int id)
{
	int fd = guest_open("small", O_WRONLY);
	char out[FLIGHTREC_PAYLOAD_MAX];
	unsigned long long n;
	size_t head, len;

	while (!__atomic_load_n(&shared->started, __ATOMIC_RELAXED))
		guest_sleep_ms(5);
	for (n = 0; !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); n++) {
		head = sprintf(out, "user %u %llu ", id, n);
		len = fill_length(USER, id, n);
		memcpy(out + head, alphabet + n % 26, len);
		CHECK_EQ(write(fd, out, head + len), head + len);
	}
	shared->recorded[USER][id] = n;
}

static enum kind kind_of(const char *name, size_t len)
{
	enum kind kind;

	for (kind = 0; kind < KINDS; kind++)
		if (strlen(names[kind]) == len && !memcmp(names[kind], name, len))
			return kind;
	FAIL("a record of kind \"%.*s\"", (int)len, name);
}

/* The stamps say where it came from. */
static void check_context(const struct flightrec_record *head, enum kind kind, unsigned int id)
{
	if (kind == USER) {
		CHECK_EQ(head->origin, FLIGHTREC_ORIGIN_USER);
		CHECK_EQ(head->flags, 0);
		CHECK(!strcmp(head->comm, "storm"));
		return;
	}
	CHECK_EQ(head->origin, FLIGHTREC_ORIGIN_KERNEL);
	CHECK_EQ(head->cpu, id);
	if (kind == TASK) {
		CHECK_EQ(head->flags, 0);
		CHECK(!strncmp(head->comm, "storm/", 6));
	} else if (kind != IRQ_WORK) {	/* a task's on PREEMPT_RT */
		CHECK_EQ(head->flags, FLIGHTREC_F_INTERRUPT);
		CHECK_EQ(head->pid, 0);
		CHECK_EQ(head->comm[0], 0);
	}
}

/* True for the last record of all. */
static bool check_record(struct tally *tally, const struct flightrec_record *head)
{
	const char *text = (const char *)head + head->header_size;
	const char *space = memchr(text, ' ', head->len);
	unsigned long long n, *next;
	char fields[64] = "";
	unsigned int id;
	enum kind kind;
	int used;

	CHECK_EQ(head->seq, tally->seq + head->lost + 1);
	tally->seq = head->seq;
	tally->lost += head->lost;
	tally->delivered++;
	if (head->len == 3 && !memcmp(text, "end", 3))
		return true;
	CHECK(space);
	kind = kind_of(text, space - text);
	memcpy(fields, space, head->len - (space - text) < 60 ? head->len - (space - text) : 60);
	CHECK(sscanf(fields, " %u %llu%n", &id, &n, &used) == 2);
	CHECK(id < IDS);
	text = space + used + 1;
	/* Not torn: all of it is what was written. */
	CHECK_EQ(head->len,
		 text - (const char *)head - head->header_size + fill_length(kind, id, n));
	CHECK(!memcmp(text, alphabet + n % 26, fill_length(kind, id, n)));
	check_context(head, kind, id);
	/* In order, and nobody misses more than all have lost together. */
	next = &tally->next[kind][id];
	if (n < *next)
		FAIL("%s %u: %llu after %llu", names[kind], id, n, *next - 1);
	tally->gaps += n - *next;
	*next = n + 1;
	if (tally->gaps > tally->lost)
		FAIL("%s %u: %llu missing until %llu, %llu lost", names[kind], id,
		     tally->gaps, n, tally->lost);
	return false;
}

static bool check_records(struct tally *tally, const char *buf, ssize_t bytes)
{
	const struct flightrec_record *record;
	bool end = false;
	ssize_t at;

	for (at = 0; at < bytes; at += record->size) {
		record = (const void *)(buf + at);
		end = check_record(tally, record);
	}
	return end;
}

/* At the end all that was emitted is accounted for, to the last one. */
static void check_sums(struct tally *tally, int reader)
{
	int kind, id;

	while (!__atomic_load_n(&shared->end, __ATOMIC_ACQUIRE))
		guest_sleep_ms(10);
	for (kind = 0; kind < KINDS; kind++)
		for (id = 0; id < IDS; id++)
			tally->gaps += shared->recorded[kind][id] - tally->next[kind][id];
	printf("# reader %d: %llu delivered, %llu lost\n", reader, tally->delivered, tally->lost);
	CHECK_EQ(tally->gaps, tally->lost);
	CHECK_EQ(tally->delivered + tally->lost, shared->end - shared->start);
	CHECK(tally->delivered > 100);
}

/* Reader 0 takes many at a time, 1 is slow, 2 takes few and is woken for each. */
static void read_until_end(int reader, int fd)
{
	static char buf[65536] __attribute__((aligned(8)));
	static const size_t room[READERS] = { sizeof(buf), FLIGHTREC_READ_MIN, FLIGHTREC_READ_MIN };
	struct tally tally = { .seq = shared->start - 1 };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool end = false;
	ssize_t n;

	while (!end) {
		if (reader != 2)
			CHECK_EQ(poll(&p, 1, 60000), 1);
		n = read(fd, buf, room[reader]);
		CHECK(n > 0);
		end = check_records(&tally, buf, n);
		if (reader == 1)
			guest_sleep_ms(2);
	}
	check_sums(&tally, reader);
}

/* Opens, seeks to somewhere, reads a little in order, closes, and that again. */
static void come_and_go(void)
{
	static char buf[16384] __attribute__((aligned(8)));
	const struct flightrec_record *record;
	struct flightrec_info info;
	unsigned long long last, round;
	ssize_t n, at;
	__u64 to;
	int fd;

	for (round = 0; !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); round++) {
		fd = guest_open("small", O_RDONLY | O_NONBLOCK);
		CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_GET_INFO, &info), 0);
		CHECK(info.oldest_seq <= info.next_seq);
		to = info.oldest_seq + round % 7;
		if (round % 3 == 0 && to <= info.next_seq)
			CHECK_EQ(ioctl(fd, FLIGHTREC_IOC_SEEK_SEQ, &to), 0);
		else if (round % 3 == 1)
			CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
		n = read(fd, buf, sizeof(buf));
		CHECK(n > 0 || errno == EAGAIN);
		for (at = 0, last = 0; at < n; at += record->size) {
			record = (const void *)(buf + at);
			CHECK(!last || record->seq == last + record->lost + 1);
			last = record->seq;
		}
		close(fd);
	}
}

/* Takes what the module counted; returns how many NMIs there were. */
static unsigned long long take_counts(void)
{
	char *text = guest_slurp("/proc/guest-storm"), *line, *rest = text;
	unsigned long long recorded, refused, nmis = 0, inside = 0;
	char name[16];
	unsigned int id;

	fputs(text, stdout);
	while ((line = strsep(&rest, "\n"))) {
		if (sscanf(line, "nmis %llu %llu", &nmis, &inside) == 2)
			break;
		CHECK_EQ(sscanf(line, "%15s %u %llu %llu", name, &id, &recorded, &refused), 4);
		/* Nobody is stopped for good, so nobody is refused. */
		CHECK_EQ(refused, 0);
		CHECK(id < IDS);
		shared->recorded[kind_of(name, strlen(name))][id] = recorded;
	}
	return nmis;
}

/* All but the start, which takes long: the list of symbols does. */
static void prepare_storm(void)
{
	unsigned long long text = 0, size;
	FILE *file = fopen("/sys/module/flightrec/sections/.text", "r");

	CHECK(file && fscanf(file, "%llx", &text) == 1);
	fclose(file);
	file = fopen("/sys/module/flightrec/coresize", "r");
	CHECK(file && fscanf(file, "%llu", &size) == 1);
	fclose(file);
	command("text %llx %llx", text, text + size);
	command("into %llx %llx %d", guest_symbol("event_channel"), guest_symbol("flightrec_channels"), SMALL);
}

/* No NMI may come when nobody is there any more to take it. */
static void wait_for_host(bool nmis)
{
	char answer;

	if (nmis)
		CHECK_EQ(read(0, &answer, 1), 1);
}

/* Ends the storm, tells the readers what there was. */
static void calm(bool nmis, pid_t *writers, int count)
{
	int i, status, fd = guest_open("small", O_WRONLY);
	unsigned long long got;

	guest_say("== calm");
	wait_for_host(nmis);
	command("stop");
	__atomic_store_n(&shared->stop, true, __ATOMIC_RELAXED);
	for (i = 0; i < count; i++) {
		CHECK_EQ(waitpid(writers[i], &status, 0), writers[i]);
		CHECK_EQ(status, 0);
	}
	got = take_counts();
	guest_write(fd, "end");
	__atomic_store_n(&shared->end, guest_stat("small", "records") + 1, __ATOMIC_RELEASE);
	for (i = TASK; i < NMI; i++)
		CHECK(shared->recorded[i][0] > 3 && shared->recorded[i][1] > 3);
	if (nmis)
		CHECK(got > 20 && shared->recorded[NMI][0] && shared->recorded[NMI][1]);
}

static void storm(void)
{
	const char *seconds = getenv("STORM_SECONDS");
	unsigned long long until;
	pid_t pids[WRITERS + READERS + 1];
	int i, fd, status;

	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	CHECK(shared != MAP_FAILED);
	prepare_storm();
	shared->start = guest_stat("small", "records") + 1;
	for (i = 0; i < WRITERS + READERS + 1; i++) {
		fd = i < READERS ? guest_open("small", O_RDONLY) : -1;
		if (fd >= 0)
			CHECK_EQ(lseek(fd, 0, SEEK_END), 0);
		pids[i] = fork();
		CHECK(pids[i] >= 0);
		if (pids[i]) {
			close(fd);
			continue;
		}
		if (i < READERS)
			read_until_end(i, fd);
		else if (i == READERS)
			come_and_go();
		else
			write_until_stopped(i - READERS - 1);
		exit(0);
	}
	command("start 1f %d", PERIOD_US);
	__atomic_store_n(&shared->started, true, __ATOMIC_RELAXED);
	guest_say("== storm");
	until = now_ms() + 1000ULL * (seconds ? atoi(seconds) : 3);
	while (now_ms() < until)
		guest_sleep_ms(20);
	calm(getenv("STORM_NMIS"), pids + READERS + 1, WRITERS);
	for (i = 0; i < READERS + 1; i++) {
		CHECK_EQ(waitpid(pids[i], &status, 0), pids[i]);
		CHECK_EQ(status, 0);
	}
}

static const struct guest_case cases[] = {
	{ "storm-of-every-context", storm },
};

int main(int argc, char **argv)
{
	size_t i;

	for (i = 0; i < sizeof(alphabet); i++)
		alphabet[i] = 'a' + i % 26;
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 3600);
}
