// SPDX-License-Identifier: GPL-2.0-only
/*
 * flightrec-events: each case causes the real event and looks for its record.
 * Runs with the core loaded with its defaults.
 */
#define _GNU_SOURCE
#include "harness.h"

#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

#define EVENTS "/modules/flightrec-events.ko"
#define PERIOD "/sys/module/flightrec_events/parameters/heartbeat_s"

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

static void set_up(const char *dev, bool up)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
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
	while (guest_unload("flightrec_events"))
		guest_sleep_ms(50);
	CHECK_EQ(guest_load(EVENTS, ""), 0);
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
	while (guest_unload("flightrec_events"))
		guest_sleep_ms(50);
	CHECK_EQ(guest_load(EVENTS, ""), 0);
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
	int fd, status;
	pid_t pid;

	wait_for_module();
	fd = open_at_end();
	pid = fork();
	if (!pid) {
		CHECK(!unshare(CLONE_NEWNET));
		set_up("lo", true);
		_exit(0);
	}
	CHECK_EQ(waitpid(pid, &status, 0), pid);
	CHECK_EQ(status, 0);
	set_up("lo", true);
	wait_for(fd, "net ", &record);
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
	set_events("module,net,reboot,heartbeat\n");
	set_up("lo", true);
	wait_for(fd, "net up dev=lo", &record);
	set_up("lo", false);
}

static const struct guest_case cases[] = {
	{ "event-module-load-and-unload", module_load_and_unload },
	{ "event-interface-up-and-down", interface_up_and_down },
	{ "event-reload-is-none", reload_is_no_event },
	{ "event-other-namespaces-are-silent", other_namespaces_are_silent },
	{ "event-heartbeat-from-a-timer", heartbeat_from_a_timer },
	{ "event-bad-heartbeat-period", bad_heartbeat_period },
	{ "event-switched-off", switched_off },
};

int main(int argc, char **argv)
{
	return guest_main(argc, argv, cases, sizeof(cases) / sizeof(*cases), 120);
}
