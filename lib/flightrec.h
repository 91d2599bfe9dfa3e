/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * libflightrec: write, read and recover the records of the flightrec recorder.
 * See flightrec(3). No program needs it: open(2), write(2) and read(2) on
 * /dev/flightrec/CHANNEL do the same; <linux/flightrec.h> describes that.
 *
 * Errors are returned as negative errno values, nothing is printed, and errno
 * itself means nothing. flightrec_explain() has the next step in words.
 *
 * Who may do what beside whom: the library has no state of its own, so any
 * two handles can be used at the same time. Of one handle,
 *
 *   flightrec_write, _writev, _log, _fd      by any number of threads at once
 *   everything else                          by one thread at a time, and
 *                                            beside the ones above
 *   _close, _free                            when nobody else uses it any more
 */
#ifndef FLIGHTREC_H
#define FLIGHTREC_H

#include <linux/flightrec.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A channel that is open. */
struct flightrec;

/* What flightrec_open() takes; at least one of the first two. */
#define FLIGHTREC_OPEN_READ	0x1u
#define FLIGHTREC_OPEN_WRITE	0x2u
#define FLIGHTREC_OPEN_NONBLOCK	0x4u	/* nothing to read: -EAGAIN, no waiting */
#define FLIGHTREC_OPEN_RAW	0x8u	/* a leading "<N>" is payload, not severity */

/**
 * flightrec_open - open a channel
 * @channel: its name; NULL is "default"
 *
 * Reading starts at the oldest record.
 *
 * Return: 0, or -EINVAL (no name of a channel, or unknown flags), -ENODEV
 * (the driver is not loaded), -ENOENT (it is, and has no such channel),
 * -ENOTTY (what has that name is no channel, as a file that a shell has made),
 * -EACCES, -EPERM (from within a container), -ENOMEM, or what open(2) said.
 */
int flightrec_open(struct flightrec **handle, const char *channel, unsigned int flags);
void flightrec_close(struct flightrec *handle);

/*
 * For poll(2): readable while the driver has records for this handle. Take
 * records until -EAGAIN before polling, since the handle may hold some as well.
 */
int flightrec_fd(const struct flightrec *handle);

/**
 * flightrec_write, flightrec_writev - record one event
 *
 * Never waits. Return: the bytes given, or -EMSGSIZE, -ENOMEM, -ENOBUFS,
 * -EDQUOT, -ENODEV (the channel was removed): then nothing was recorded.
 */
ssize_t flightrec_write(struct flightrec *handle, const void *data, size_t len);
ssize_t flightrec_writev(struct flightrec *handle, const struct iovec *parts, int count);

/**
 * flightrec_log - record one event with a severity
 * @severity: 0 (emergency) to 7 (debug)
 *
 * Not for a handle opened with FLIGHTREC_OPEN_RAW, whose records have none:
 * -EINVAL.
 *
 * Return: 0, or as flightrec_write().
 */
int flightrec_log(struct flightrec *handle, int severity, const void *data, size_t len);

/**
 * flightrec_read - as many whole records as fit, as read(2) has them
 *
 * What flightrec_next() has already taken from the driver does not come again.
 *
 * Return: bytes for flightrec_decode(), 0 only at the end of a channel that was
 * removed, or -EAGAIN, -EINTR, -EINVAL (a record does not fit; a buffer of
 * FLIGHTREC_READ_MIN bytes holds any).
 */
ssize_t flightrec_read(struct flightrec *handle, void *buffer, size_t size);

/**
 * flightrec_decode - the next record in a buffer
 * @offset: where it is, 0 at first; moved past it
 * @record: points into @buffer, which need not be aligned to more than 8 bytes
 *
 * Nothing in the buffer is believed: whatever is in it, @record and its payload
 * lie within it.
 *
 * Return: 1, 0 at the end, or -EBADMSG if there is no whole record.
 */
int flightrec_decode(const void *buffer, size_t size, size_t *offset,
		     const struct flightrec_record **record);

/* The payload of a record, record->len bytes, not terminated. */
static inline const char *flightrec_payload(const struct flightrec_record *record)
{
	return (const char *)record + record->header_size;
}

/*
 * The writer's control group, and when its process was started, in nanoseconds on the boot
 * clock: <linux/flightrec.h> has what they mean. 0 also where that is not known: in records
 * of an earlier driver, and in those that were recovered from text.
 */
static inline uint64_t flightrec_cgroup(const struct flightrec_record *record)
{
	return record->header_size >= offsetof(struct flightrec_record, cgroup) + 8 ?
	       record->cgroup : 0;
}

static inline uint64_t flightrec_start_ns(const struct flightrec_record *record)
{
	return record->header_size >= offsetof(struct flightrec_record, start_ns) + 8 ?
	       record->start_ns : 0;
}

/**
 * flightrec_next - the next record of a channel
 * @record: valid until the next call for this handle
 *
 * Reads from the driver in large pieces. Waits for a record unless the handle
 * has FLIGHTREC_OPEN_NONBLOCK.
 *
 * Return: 1, 0 only at the end of a channel that was removed, -EAGAIN, -EINTR,
 * -EBADMSG, or what read(2) said.
 */
int flightrec_next(struct flightrec *handle, const struct flightrec_record **record);

/*
 * Go to the oldest record, past the newest one, to the record of a number, to
 * the first one at or after a time in nanoseconds on CLOCK_BOOTTIME, or to
 * where the newest @count begin. If the record of that number was overwritten,
 * reading goes on at the oldest and its "lost" counts from the number asked
 * for. 0, or -EINVAL (a number that is 0 or yet to come), -EBADF.
 */
int flightrec_seek_oldest(struct flightrec *handle);
int flightrec_seek_newest(struct flightrec *handle);
int flightrec_seek_seq(struct flightrec *handle, uint64_t seq);
int flightrec_seek_time(struct flightrec *handle, uint64_t boot_ns);
int flightrec_seek_last(struct flightrec *handle, uint64_t count);

/**
 * flightrec_info - describe the channel
 * @size: sizeof(*@info), as the program was built: members may follow in later versions, and
 *	no more bytes than that are written. What the driver does not know is 0.
 *
 * Return: 0, -EINVAL (@size is less than FLIGHTREC_INFO_MIN), or an error of ioctl(2).
 */
int flightrec_info(struct flightrec *handle, struct flightrec_info *info, size_t size);

/**
 * flightrec_set_filter - leave to the driver which records this handle gets
 * @filter: see <linux/flightrec.h>; features 0: all
 * @size: sizeof(*@filter), as the program was built: no more bytes than that are read
 *
 * What flightrec_next() has read ahead comes all the same: set it before the first one.
 *
 * Return: 0, or -EINVAL, -EBADF (not open for reading), -EBUSY (it was polled with a
 * filter of urgent records), -ENOTTY (an earlier driver, which has none),
 * -E2BIG (members that the driver does not know are not 0).
 */
int flightrec_set_filter(struct flightrec *handle, const struct flightrec_filter *filter,
			 size_t size);

/* Drops all records, and leaves one that says who did it: 0, -EPERM. */
int flightrec_clear(struct flightrec *handle);

/**
 * flightrec_channel_create - make a channel while the driver runs
 * @setup: see <linux/flightrec.h>; @size becomes what it has, or with -ERANGE the nearest
 *	that can be had, 0 if there is none
 *
 * For root. It is gone when the driver is loaded again: modprobe.d names those that stay.
 *
 * Return: 0, or -ENODEV (the driver is not loaded), -EOPNOTSUPP (an earlier driver),
 * -EACCES, -EPERM, -EINVAL, -EEXIST, -EBUSY, -ERANGE, -ENOSPC, -ENOMEM as the header
 * describes them for FLIGHTREC_IOC_CREATE.
 */
int flightrec_channel_create(struct flightrec_channel_setup *setup);

/**
 * flightrec_channel_remove - remove a channel while the driver runs
 * @channel: its name
 *
 * For root. Who has it open reads what was recorded, and then the end; writes get -ENODEV.
 *
 * Return: 0, or -ENODEV, -EOPNOTSUPP, -EACCES, -EPERM as above, -EINVAL (no name), -ENOENT,
 * -EBUSY (a channel that is fixed).
 */
int flightrec_channel_remove(const char *channel);

/**
 * flightrec_channel_resize - give a channel another size while the driver runs
 * @setup: its name and @size, all else 0; see <linux/flightrec.h>. @size becomes what it has,
 *	or with -ERANGE the nearest that can be had, 0 if there is none
 *
 * For root. The newest records that fit are kept; who has it open goes on.
 *
 * Return: 0, or -ENODEV, -EOPNOTSUPP, -EACCES, -EPERM, -EINVAL, -ERANGE, -ENOMEM as above,
 * -ENOENT, -EBUSY (a channel that is fixed), -EINTR.
 */
int flightrec_channel_resize(struct flightrec_channel_setup *setup);

/* What /proc/flightrec/stats said at one moment. */
struct flightrec_stats;

/**
 * flightrec_stats_get - take the statistics of all channels
 *
 * Return: 0, or -ENODEV if the driver is not loaded, -EACCES, -EPERM, -ENOMEM.
 */
int flightrec_stats_get(struct flightrec_stats **stats);
void flightrec_stats_free(struct flightrec_stats *stats);

/*
 * There is a line for each channel, from 0; what follows, up to one without members, is the
 * driver's own. The name of the channel, or NULL past the last channel.
 */
const char *flightrec_stats_channel(const struct flightrec_stats *stats, size_t line);
/* The members of a line, in the driver's order: 1, or 0 past the last. */
int flightrec_stats_member(const struct flightrec_stats *stats, size_t line, size_t member,
			   const char **key, const char **value);
/* A number by its key: 0, -ENOENT, or -EINVAL if it is no number. */
int flightrec_stats_number(const struct flightrec_stats *stats, size_t line,
			   const char *key, uint64_t *value);

/*
 * After a crash: records from the text that the driver left in the kernel's
 * log, and from images of memory. flightrec(1) lists the formats.
 */
struct flightrec_recover;

/* struct flightrec_recovered's flags. */
#define FLIGHTREC_RECOVERED_TEXT	0x1u	/* from text, not from memory */
#define FLIGHTREC_RECOVERED_CUT		0x2u	/* the end of the payload is not there */
#define FLIGHTREC_RECOVERED_CONFLICT	0x4u	/* another record claims the same number */

/**
 * struct flightrec_recovered - a record from a crash; nothing proves that it is genuine
 * @record: as from a channel; its "lost" counts the numbers missing since the
 *	one before it in the same channel
 * @channel: the channel's name; only [a-z0-9_-]
 * @boot_id: 32 hexadecimal digits, or the first 8 of them where no more is known
 * @full_len: bytes that the whole payload had
 * @flags: FLIGHTREC_RECOVERED_*
 * @file: number of the file that it is from, in the order of adding, from 0
 *
 * More members may follow in later versions.
 */
struct flightrec_recovered {
	const struct flightrec_record *record;
	const char *channel;
	const char *boot_id;
	uint32_t full_len;
	unsigned int flags;
	unsigned int file;
};

enum flightrec_recover_count {
	FLIGHTREC_RECOVER_BLOCKS,	/* blocks of channels seen in memory */
	FLIGHTREC_RECOVER_TEXT_LINES,	/* records seen in lines of text */
	FLIGHTREC_RECOVER_UNPUBLISHED,	/* records whose writers had not finished */
	FLIGHTREC_RECOVER_DAMAGED,	/* lines, blocks, pieces of blocks not understood */
	FLIGHTREC_RECOVER_DUPLICATES,	/* records and lines seen before */
	FLIGHTREC_RECOVER_CONFLICTS,	/* numbers that several records claim */
	FLIGHTREC_RECOVER_CLEARED,	/* records that somebody had cleared */
	FLIGHTREC_RECOVER_MISSING_LINES, /* records that were printed and are not there */
	FLIGHTREC_RECOVER_OTHER_VERSION, /* blocks and lines of a version not known here */
	FLIGHTREC_RECOVER_UNREADABLE,	/* pages of memory that the dump should have */
	FLIGHTREC_RECOVER_OVERFLOW,	/* more than memory was set aside for */
};

int flightrec_recover_new(struct flightrec_recover **recover);
void flightrec_recover_free(struct flightrec_recover *recover);

/* Called now and then: bytes looked at, of all; 0 if that is not known. */
void flightrec_recover_progress(struct flightrec_recover *recover,
				void (*call)(void *arg, uint64_t done, uint64_t total),
				void *arg);

/**
 * flightrec_recover_add - look through a file
 * @fd: open for reading; duplicated, so it may be closed
 *
 * May be called for several files before the first flightrec_recover_next().
 * Reads a file of any size within about 64 MiB of memory.
 *
 * Return: 0 also if nothing was found, or -EINVAL (not a file to read, or an
 * image that contradicts itself), -ENOTSUP (the file is understood, but cannot
 * be used: flightrec_recover_problem() says why), -ENOMEM, or what read(2) said.
 */
int flightrec_recover_add(struct flightrec_recover *recover, int fd);

/**
 * flightrec_recover_add_previous - look through the memory of the boot before
 *
 * The driver has it where the administrator reserved memory that a reset leaves
 * alone: /proc/flightrec/previous.image, which root may read.
 *
 * Return: 0, or -ENOENT (there is none), -ENODEV (the driver is not loaded),
 * -EACCES, -EPERM, or as flightrec_recover_add().
 */
int flightrec_recover_add_previous(struct flightrec_recover *recover);

/* What the last file is taken for, as "ELF core dump"; and why it was refused or is incomplete, or NULL. */
const char *flightrec_recover_format(const struct flightrec_recover *recover);
const char *flightrec_recover_problem(const struct flightrec_recover *recover);

/**
 * flightrec_recover_next - the next record
 * @found: valid until the next call
 *
 * By boot and channel, sorted by number within each.
 *
 * Return: 1, 0 at the end, or an error.
 */
int flightrec_recover_next(struct flightrec_recover *recover,
			   const struct flightrec_recovered **found);

/* In which order flightrec_recover_next() has the records of each boot. */
enum flightrec_recover_order {
	FLIGHTREC_RECOVER_BY_CHANNEL,	/* the default: channel by channel, by number */
	FLIGHTREC_RECOVER_BY_TIME,	/* all channels by the boot clock, each by number */
};

/* Before the first flightrec_recover_next(): 0, or -EINVAL. */
int flightrec_recover_set_order(struct flightrec_recover *recover,
				enum flightrec_recover_order order);

/**
 * struct flightrec_death - how a boot ended, or trouble that its kernel had
 * @boot_id: 32 hexadecimal digits; "" where the log does not say whose it is
 * @kind: "panic", "oops", "sysrq", "lockup", "hung-task", "stall", "oom",
 *	"watchdog", "machine-check"; "reboot", "power-off", "halt"; "dump" where
 *	only an image of memory is there. Others may follow.
 * @cause: the kernel's line, as "Kernel panic - not syncing: ..."; may be ""
 * @trouble: the line with which it began, as "BUG: ..."; may be ""
 * @backtrace: what the kernel said of it, lines that end in newlines; may be ""
 * @log_ns: when, by the clock of the kernel's log, which stops while the machine
 *	is suspended; 0: not known
 * @wall_ns: when, in nanoseconds since 1970; 0: not known
 * @file: number of the file that it is from
 * @fatal: false: the machine may have lived on
 *
 * Nothing proves that it is genuine. The texts are the log's, with whatever
 * bytes it has.
 */
struct flightrec_death {
	const char *boot_id;
	const char *kind;
	const char *cause;
	const char *trouble;
	const char *backtrace;
	uint64_t log_ns;
	uint64_t wall_ns;
	unsigned int file;
	bool fatal;
};

/**
 * flightrec_recover_death - what the files say of how boots ended
 * @number: from 0, in the order in which it was found
 * @death: valid until flightrec_recover_free()
 *
 * No file can be added after it. Return: 1, or 0 past the last.
 */
int flightrec_recover_death(struct flightrec_recover *recover, size_t number,
			    const struct flightrec_death **death);

/* What was seen; complete when flightrec_recover_next() has returned 0. */
uint64_t flightrec_recover_count(const struct flightrec_recover *recover,
				 enum flightrec_recover_count what);

/* What a negative errno value from this library means and what to do; static text. */
const char *flightrec_explain(int error);

/* The library's version, as "0.1.0". */
const char *flightrec_version(void);

#ifdef __cplusplus
}
#endif
#endif
