// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The library beside its program: decoding, statistics, errors, handles on files
 * that stand for channels.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <flightrec.h>
#include "internal.h"

#define NODE ROOT "/dev/default"

static size_t put(char *to, uint64_t seq, const char *text, size_t more)
{
	struct flightrec_record record = {
		.version = 1, .header_size = sizeof(record) + more, .seq = seq,
		.len = strlen(text), .severity = 6,
	};

	record.size = record.header_size + (record.len + 7) / 8 * 8;
	memset(to, 0, record.size);
	memcpy(to, &record, sizeof(record));
	memcpy(to + record.header_size, text, record.len);
	return record.size;
}

static void decodes(void **state)
{
	_Alignas(8) char buffer[1024];
	const struct flightrec_record *record;
	size_t size, offset = 0;

	(void)state;
	size = put(buffer, 1, "one", 0);
	size += put(buffer + size, 2, "", 0);
	/* A later driver's record has more in front of its payload. */
	size += put(buffer + size, 3, "three", 16);
	assert_int_equal(flightrec_decode(buffer, size, &offset, &record), 1);
	assert_memory_equal(flightrec_payload(record), "one", 3);
	assert_int_equal(flightrec_decode(buffer, size, &offset, &record), 1);
	assert_int_equal(record->len, 0);
	assert_int_equal(flightrec_decode(buffer, size, &offset, &record), 1);
	assert_memory_equal(flightrec_payload(record), "three", 5);
	assert_int_equal(flightrec_decode(buffer, size, &offset, &record), 0);
}

/* An earlier driver's record ends its header with the name. */
static void decodes_what_earlier_drivers_had(void **state)
{
	_Alignas(8) char buffer[FLIGHTREC_RECORD_MIN + 8] = "";
	struct flightrec_record *head = (void *)buffer;
	const struct flightrec_record *record;
	size_t offset = 0;

	(void)state;
	head->size = sizeof(buffer);
	head->version = 1;
	head->header_size = FLIGHTREC_RECORD_MIN;
	head->len = 8;
	memcpy(buffer + FLIGHTREC_RECORD_MIN, "its text", 8);
	assert_int_equal(flightrec_decode(buffer, sizeof(buffer), &offset, &record), 1);
	assert_memory_equal(flightrec_payload(record), "its text", 8);
	assert_int_equal(flightrec_cgroup(record), 0);
	assert_int_equal(flightrec_start_ns(record), 0);
	offset = 0;
	head->size = sizeof(*head);
	assert_int_equal(flightrec_decode(buffer, sizeof(buffer), &offset, &record), -EBADMSG);
	head->size = sizeof(buffer);
	head->header_size = FLIGHTREC_RECORD_MIN - 8;
	assert_int_equal(flightrec_decode(buffer, sizeof(buffer), &offset, &record), -EBADMSG);
}

static void decodes_nothing_beyond(void **state)
{
	_Alignas(8) char buffer[256];
	struct flightrec_record *head = (void *)buffer;
	const struct flightrec_record *record;
	size_t size = put(buffer, 1, "payload", 0);
	size_t offset;

	(void)state;
	for (offset = 0; --size; offset = 0)
		assert_int_equal(flightrec_decode(buffer, size, &offset, &record), -EBADMSG);
	size = put(buffer, 1, "payload", 0);
	head->len = 9;
	offset = 0;
	assert_int_equal(flightrec_decode(buffer, size, &offset, &record), -EBADMSG);
	size = put(buffer, 1, "payload", 0);
	head->header_size = 8;
	assert_int_equal(flightrec_decode(buffer, size, &offset, &record), -EBADMSG);
	size = put(buffer, 1, "payload", 0);
	head->version = 0;
	assert_int_equal(flightrec_decode(buffer, size, &offset, &record), -EBADMSG);
}

static void statistics(void **state)
{
	static const char text[] = "channel=a records=12 rejected_size=1\nchannel=b records=x\n\n"
				   "events_requests=2 no-pair\n";
	struct flightrec_stats *stats;
	const char *key, *value;
	uint64_t number;

	(void)state;
	assert_int_equal(stats_parse(&stats, text, sizeof(text)), 0);
	assert_int_equal(flightrec_stats_member(stats, 3, 0, &key, &value), 0);
	assert_string_equal(flightrec_stats_channel(stats, 0), "a");
	assert_null(flightrec_stats_channel(stats, 2));
	assert_null(flightrec_stats_channel(stats, 3));
	assert_int_equal(flightrec_stats_number(stats, 0, "records", &number), 0);
	assert_int_equal(number, 12);
	assert_int_equal(flightrec_stats_number(stats, 1, "records", &number), -EINVAL);
	assert_int_equal(flightrec_stats_number(stats, 1, "bytes", &number), -ENOENT);
	assert_int_equal(flightrec_stats_member(stats, 2, 0, &key, &value), 1);
	assert_string_equal(key, "events_requests");
	assert_int_equal(flightrec_stats_member(stats, 2, 1, &key, &value), 0);
	flightrec_stats_free(stats);
}

static void make_node(const char *content, size_t size)
{
	int fd;

	mkdir(ROOT, 0755);
	mkdir(ROOT "/dev", 0755);
	fd = open(NODE, O_CREAT | O_TRUNC | O_WRONLY, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, content, size), size);
	close(fd);
}

static void iterates(void **state)
{
	/* More than one read ahead. */
	size_t n = 3000, size = 0, i;
	char *content = malloc(n * 128);
	const struct flightrec_record *record;
	struct flightrec *handle;

	(void)state;
	for (i = 1; i <= n; i++)
		size += put(content + size, i, "sixteen bytes...", 0);
	make_node(content, size);
	assert_int_equal(flightrec_open(&handle, NULL, FLIGHTREC_OPEN_READ), 0);
	/* The buffer's end falls into a record of a file, not of a channel. */
	for (i = 1; i <= 65536 / 128; i++) {
		assert_int_equal(flightrec_next(handle, &record), 1);
		assert_int_equal(record->seq, i);
	}
	assert_int_equal(flightrec_seek_oldest(handle), 0);
	assert_int_equal(flightrec_next(handle, &record), 1);
	assert_int_equal(record->seq, 1);
	assert_int_equal(flightrec_seek_seq(handle, 5), -ENOTTY);
	flightrec_close(handle);
	unlink(NODE);
	free(content);
}

static void writes(void **state)
{
	struct flightrec *handle;
	char content[16];
	int fd;

	(void)state;
	make_node("", 0);
	assert_int_equal(flightrec_open(&handle, "default", FLIGHTREC_OPEN_WRITE), 0);
	assert_int_equal(flightrec_write(handle, "ab", 2), 2);
	assert_int_equal(flightrec_log(handle, 3, "cd", 2), 0);
	assert_int_equal(flightrec_log(handle, 8, "cd", 2), -EINVAL);
	flightrec_close(handle);
	fd = open(NODE, O_RDONLY);
	assert_int_equal(read(fd, content, sizeof(content)), 7);
	assert_memory_equal(content, "ab<3>cd", 7);
	close(fd);
	unlink(NODE);
}

/* In the place of a driver: how much of struct flightrec_info it knows. */
static size_t driver_knows;

int ioctl(int fd, unsigned long request, ...)
{
	size_t size = _IOC_SIZE(request);
	va_list more;
	char *arg;

	va_start(more, request);
	arg = va_arg(more, char *);
	va_end(more);
	if (fd < 0 || !driver_knows || (_IOC_NR(request) == 0 && (size < FLIGHTREC_INFO_MIN ||
	    (driver_knows == FLIGHTREC_INFO_MIN && size != FLIGHTREC_INFO_MIN)))) {
		errno = ENOTTY;
		return -1;
	}
	if (_IOC_NR(request) == 0)
		memset(arg, 'x', size < driver_knows ? size : driver_knows);
	else if (_IOC_NR(request) == 5)
		return arg[size - 1];	/* a sanitizer sees a byte too many */
	return 0;
}

/* Programs that were built with an earlier or a later header than the library. */
static void writes_no_more_than_the_caller_knows(void **state)
{
	static const size_t caller[] = { 64, 72, 80, 96 }, driver[] = { 64, 80, 96 };
	struct flightrec_filter *filter = calloc(1, 16);
	struct flightrec *handle;
	size_t i, k, at;
	char *info;

	(void)state;
	make_node("", 0);
	assert_int_equal(flightrec_open(&handle, "default", FLIGHTREC_OPEN_READ), 0);
	for (i = 0; i < sizeof(caller) / sizeof(*caller); i++)
		for (k = 0; k < sizeof(driver) / sizeof(*driver); k++) {
			driver_knows = driver[k];
			info = malloc(caller[i]);	/* with nothing behind it */
			assert_int_equal(flightrec_info(handle, (void *)info, caller[i]), 0);
			for (at = 0; at < caller[i]; at++)
				assert_int_equal(info[at], at < driver[k] ? 'x' : 0);
			free(info);
		}
	info = malloc(FLIGHTREC_INFO_MIN);
	assert_int_equal(flightrec_info(handle, (void *)info, FLIGHTREC_INFO_MIN - 1), -EINVAL);
	free(info);
	assert_int_equal(flightrec_set_filter(handle, filter, 16), 0);
	assert_int_equal(flightrec_set_filter(handle, filter, 1 << 14), -E2BIG);
	driver_knows = 0;
	flightrec_close(handle);
	unlink(NODE);
	free(filter);
}

static void says_what_is_wrong(void **state)
{
	struct flightrec_stats *stats;
	struct flightrec *handle;

	(void)state;
	rmdir(ROOT "/proc");
	assert_int_equal(flightrec_open(&handle, "x", FLIGHTREC_OPEN_READ), -ENODEV);
	assert_int_equal(flightrec_stats_get(&stats), -ENODEV);
	mkdir(ROOT, 0755);
	mkdir(ROOT "/proc", 0755);
	assert_int_equal(flightrec_open(&handle, "x", FLIGHTREC_OPEN_READ), -ENOENT);
	rmdir(ROOT "/proc");
	assert_int_equal(flightrec_open(&handle, "../x", FLIGHTREC_OPEN_READ), -EINVAL);
	assert_int_equal(flightrec_open(&handle, "", FLIGHTREC_OPEN_READ), -EINVAL);
	assert_int_equal(flightrec_open(&handle, "x", 0), -EINVAL);
	assert_int_equal(flightrec_open(&handle, "x", 0x10001), -EINVAL);
	assert_non_null(strstr(flightrec_explain(-ENODEV), "modprobe flightrec"));
	assert_string_equal(flightrec_explain(-EIO), "Input/output error");
	flightrec_close(NULL);
	flightrec_stats_free(NULL);
	flightrec_recover_free(NULL);
}

static void recovers_from_files_only(void **state)
{
	const struct flightrec_recovered *found;
	struct flightrec_recover *recover;
	int fd = open("/", O_RDONLY);

	(void)state;
	assert_int_equal(flightrec_recover_new(&recover), 0);
	assert_int_equal(flightrec_recover_add(recover, fd), -EINVAL);
	close(fd);
	assert_int_equal(flightrec_recover_add(recover, -1), -EBADF);
	assert_int_equal(flightrec_recover_next(recover, &found), 0);
	/* Nothing can be added any more. */
	fd = open("/dev/null", O_RDONLY);
	assert_int_equal(flightrec_recover_add(recover, fd), -EINVAL);
	close(fd);
	flightrec_recover_free(recover);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(decodes),
		cmocka_unit_test(decodes_what_earlier_drivers_had),
		cmocka_unit_test(decodes_nothing_beyond),
		cmocka_unit_test(statistics),
		cmocka_unit_test(iterates),
		cmocka_unit_test(writes),
		cmocka_unit_test(writes_no_more_than_the_caller_knows),
		cmocka_unit_test(says_what_is_wrong),
		cmocka_unit_test(recovers_from_files_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
