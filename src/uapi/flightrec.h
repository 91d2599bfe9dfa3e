/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * flightrec: the ABI between /dev/flightrec/<channel> and user space.
 *
 * Overview
 * --------
 * A channel is a ring of records in kernel memory. The newest are kept, the
 * oldest are overwritten; of severity 0 to 3 in a share of their own, a quarter of the
 * channel, which others do not overwrite. So between records that are there, others may be
 * gone. Two channels always exist:
 *
 *   kernel     written by the kernel only
 *   selftest   reserved for smoke tests; never holds anything of value
 *
 * The others are those that the module's parameter "channels" names; where it is
 * not given, there is one, "default". More can be created, and these removed, while
 * the driver runs: see FLIGHTREC_IOC_CREATE.
 *
 * write(2), writev(2): one call is one record
 *   Returns the number of bytes given, never fewer. Never waits for a reader
 *   or for another writer, never returns EAGAIN; waits for a moment while the
 *   channel is given another size, see FLIGHTREC_IOC_RESIZE. A leading "<N>", N from 0
 *   (emergency) to 7 (debug), sets the severity and is not stored, unless the
 *   descriptor has FLIGHTREC_FL_RAW; without one the severity is
 *   FLIGHTREC_SEVERITY_DEFAULT. Zero bytes: nothing is recorded, returns 0.
 *   Everything in the stamps is that of the writing task at the time of the
 *   write, not of whoever opened the descriptor.
 *     EMSGSIZE  more than FLIGHTREC_PAYLOAD_MAX bytes, the "<N>" counted
 *     EFAULT    the buffer, or a part of it, cannot be read
 *     ENOMEM    no memory for the copy of a large record at this moment
 *     EDQUOT    the writing task's real user has written more than the module's
 *               parameter "quota" allows it in a second, in all channels: a
 *               quarter of the smallest one where the administrator set nothing;
 *               counted is what records take in memory, 88 bytes each and the
 *               payload in whole words, four times for severity 0 to 3, whose
 *               share is a quarter. Root is a user like others: a daemon
 *               that runs wild mostly runs as root. Records of the kernel do
 *               not count.
 *     ENOBUFS   writers that were stopped in the middle hold all memory that
 *               could be overwritten; seen only where CPUs are being stopped
 *     ENODEV    the channel was removed
 *     ESPIPE    pwrite(2) and its kin
 *   A refused record has no sequence number and leaves no gap.
 *   Through io_uring a write is done at once and never by a worker, so that
 *   the stamps are the submitting task's. With IORING_SETUP_SQPOLL a thread of
 *   the kernel writes: pid and comm ("iou-sqp-..." or "io_uring-sq") are those of
 *   that thread, uid and euid those of the task that made the ring. tgid is
 *   that task's process from Linux 5.12 on; before, it is the thread's own.
 *   splice(2) and sendfile(2) hand over what the pipe holds at that moment, or as
 *   much as is asked for: that is one record, whatever writes it came from, and
 *   EMSGSIZE if it is too long. kernel_write() in the kernel gets EINVAL; modules
 *   have flightrec_emit().
 *
 * read(2): as many whole records as fit
 *   Each is a struct flightrec_record, its payload, and zero bytes up to a
 *   multiple of 8. A descriptor starts at the oldest record and has a cursor
 *   of its own. Blocks while there is nothing to read; a signal interrupts.
 *   readv(2) reads into its buffers as if they were one. splice(2) from a
 *   channel: EINVAL.
 *     EAGAIN    nothing to read, and O_NONBLOCK is set or, for preadv2(2),
 *               RWF_NOWAIT; io_uring then waits by itself
 *     EINVAL    the next record does not fit; nothing was consumed. Never
 *               with a buffer of FLIGHTREC_READ_MIN bytes or more.
 *     ENOMEM    no memory for the copy of a record
 *     EFAULT    nothing could be delivered. If some records could, their
 *               size is returned and the next read goes on after them.
 *     ESPIPE    pread(2) and its kin
 *
 * lseek(2): only with offset 0; returns 0
 *   SEEK_SET goes to the oldest record, SEEK_END past the newest one.
 *   SEEK_CUR: ESPIPE. Any other offset or whence: EINVAL.
 *
 * fsync(2), fdatasync(2): 0. Nothing waits to be stored: a record that write(2)
 * took is in memory, and never goes to a disk.
 *
 * poll(2): POLLIN while there is something to read, POLLOUT always where
 * user space may write. A read that follows goes past what is gone meanwhile, to
 * what is there. It gets EAGAIN all the same if the channel was cleared, if another
 * thread reads from the descriptor, or if all up to a record whose writer has not
 * yet finished was overwritten; the next poll then waits for that record.
 *
 * open(2): EACCES when the kernel channel is opened for writing, EPERM from
 * outside the initial pid namespace unless the module's parameter
 * "containers" allows it.
 *
 * inotify(7) and fanotify(7) see that a node is opened, and no reads or writes; poll(2)
 * does.
 *
 * All integers are in the byte order of the machine. Layouts are the same
 * for 32-bit and 64-bit programs. Reserved fields are zero when read.
 */
#ifndef _UAPI_FLIGHTREC_H
#define _UAPI_FLIGHTREC_H

#include <linux/types.h>
#include <linux/ioctl.h>

/* struct flightrec_record's "version". */
#define FLIGHTREC_ABI_VERSION	1

/* Bytes of payload in one record at most. */
#define FLIGHTREC_PAYLOAD_MAX	4096

/* Bytes of a channel's name, its terminating zero counted. */
#define FLIGHTREC_NAME_MAX	32

/* Severities are those of syslog(3). */
#define FLIGHTREC_SEVERITY_DEFAULT	6

enum flightrec_origin {
	FLIGHTREC_ORIGIN_USER = 0,	/* written through a descriptor */
	FLIGHTREC_ORIGIN_KERNEL = 1,	/* written by a kernel module */
};

/* struct flightrec_record's "flags". */
#define FLIGHTREC_F_INTERRUPT	0x0001	/* no task: pid, tgid, uids are 0, comm is empty */
#define FLIGHTREC_F_STAMP	0x0002	/* there was a payload; the filter left it out */

/**
 * struct flightrec_record - what precedes each payload in a read
 * @size: bytes from here to the next record, a multiple of 8
 * @version: FLIGHTREC_ABI_VERSION
 * @header_size: bytes from here to the payload; later versions may have more
 *	fields, so use this, not sizeof
 * @lost: records overwritten or cleared between the previous record that
 *	this descriptor got (or its open or its last seek) and this one
 * @seq: number of the record in its channel, dense, from 1
 * @boot_ns: nanoseconds since boot, suspend included (CLOCK_BOOTTIME)
 * @wall_ns: nanoseconds since 1970-01-01 UTC (CLOCK_REALTIME)
 * @len: bytes of payload
 * @severity: 0 (emergency) to 7 (debug)
 * @origin: enum flightrec_origin
 * @flags: FLIGHTREC_F_*
 * @pid: the writing thread, in the initial pid namespace
 * @tgid: its process
 * @uid: its real user, in the initial user namespace
 * @euid: its effective user
 * @cpu: the processor it ran on
 * @reserved: 0
 * @comm: the thread's name, zero-padded; a claim, since a task can rename
 *	itself
 * @cgroup: the writer's control group in the default hierarchy (cgroup 2): the number
 *	of its folder's inode there, and what bpf_get_current_cgroup_id() returns. Never
 *	used again in a boot. 0: no task, or a kernel without control groups. 1: the root
 *	group, where all tasks are if only hierarchies of cgroup 1 are in use. A record
 *	of the channel "kernel", "cgroup id=NUMBER path=PATH", has the group's path
 *	when one of its tasks writes for the first time; see "events" in flightrec(4)
 * @start_ns: when the writer's process was started, in nanoseconds on the host's
 *	CLOCK_BOOTTIME; 0: no task. With @tgid it names a process beyond doubt, also after
 *	an execve(2). Field 22 of /proc/PID/stat has it in clock ticks
 *
 * Fields may follow in later versions, and @cgroup and what follows it are missing where
 * @header_size ends before them: look at that first. The payload is at @header_size.
 */
struct flightrec_record {
	__u32 size;
	__u16 version;
	__u16 header_size;
	__u64 lost;
	__u64 seq;
	__u64 boot_ns;
	__u64 wall_ns;
	__u32 len;
	__u8 severity;
	__u8 origin;
	__u16 flags;
	__u32 pid;
	__u32 tgid;
	__u32 uid;
	__u32 euid;
	__u32 cpu;
	__u32 reserved;
	char comm[16];
	__u64 cgroup;
	__u64 start_ns;
};

/* What the first drivers had: up to @comm. */
#define FLIGHTREC_RECORD_MIN	88

/* A read buffer of this many bytes holds any record; headers never exceed 256. */
#define FLIGHTREC_READ_MIN	(256 + FLIGHTREC_PAYLOAD_MAX)

/* Bits of a descriptor, set by FLIGHTREC_IOC_SET_FLAGS. */
#define FLIGHTREC_FL_RAW	0x00000001	/* "<N>" is payload, not severity */

/* struct flightrec_filter's "features". */
#define FLIGHTREC_FILTER_SEVERITY	0x00000001	/* only @severity and more urgent ones */
#define FLIGHTREC_FILTER_UID		0x00000002	/* only of the real user @uid */
#define FLIGHTREC_FILTER_PID		0x00000004	/* only of the thread or process @pid */
#define FLIGHTREC_FILTER_CGROUP		0x00000008	/* only of control group @cgroup itself */
#define FLIGHTREC_FILTER_STAMPS		0x00000010	/* no payloads: FLIGHTREC_F_STAMP is set */
#define FLIGHTREC_FILTER_ALL		0x0000001f

/**
 * struct flightrec_filter - what a descriptor reads, for FLIGHTREC_IOC_SET_FILTER
 * @features: FLIGHTREC_FILTER_*; 0: everything. A record has to agree with all of them
 * @severity: 0 to 7
 * @uid: in the initial user namespace, as in struct flightrec_record
 * @pid: in the initial pid namespace
 * @cgroup: as in struct flightrec_record
 *
 * Members may follow in later versions; the request has the size that the caller knows.
 */
struct flightrec_filter {
	__u32 features;
	__u32 severity;
	__u32 uid;
	__u32 pid;
	__u64 cgroup;
};

/**
 * struct flightrec_info - a channel as FLIGHTREC_IOC_GET_INFO describes it
 * @abi_version: FLIGHTREC_ABI_VERSION
 * @flags: FLIGHTREC_FL_* of this descriptor
 * @size: bytes of the ring
 * @oldest_seq: number of the oldest record, or @next_seq if there is none;
 *	0 for a descriptor that is not open for reading
 * @next_seq: number that the next record will get; 0 likewise
 * @name: the channel's name, zero-padded
 * @filters: FLIGHTREC_FILTER_* that the driver knows
 * @features: FLIGHTREC_FEATURE_* that the driver has; 0 in earlier ones
 * @waiting: numbers from this descriptor's place, or from @oldest_seq if that is later,
 *	to @next_seq, whether its filter wants their records or not. As many records wait,
 *	or fewer: behind an old urgent one others may be overwritten. 0 for a descriptor
 *	that is not open for reading
 *
 * Earlier drivers end it with @name, and refuse the longer request: ENOTTY.
 */
struct flightrec_info {
	__u32 abi_version;
	__u32 flags;
	__u64 size;
	__u64 oldest_seq;
	__u64 next_seq;
	char name[FLIGHTREC_NAME_MAX];
	__u32 filters;
	__u32 features;
	__u64 waiting;
};

/*
 * struct flightrec_info's "features". Channels can be removed: then write(2) gets ENODEV,
 * and read(2) returns 0 at the end; and /dev/flightrec-control is there.
 * The size of channels can be changed there.
 */
#define FLIGHTREC_FEATURE_REMOVAL	0x00000001
#define FLIGHTREC_FEATURE_RESIZE	0x00000002

/* Of struct flightrec_info what all drivers have. */
#define FLIGHTREC_INFO_MIN	64

/*
 * ioctl(2). An unknown request gets ENOTTY, a bad pointer EFAULT.
 *
 * GET_INFO   describes the channel and the descriptor.
 * SEEK_SEQ   goes to the record of that number. If it was overwritten, to the
 *            oldest one, whose "lost" then counts from the number asked for,
 *            so that a reader can go on where an earlier one stopped. EINVAL
 *            for 0 and for more than next_seq.
 * SEEK_TIME  goes to the first record at or after that time, in nanoseconds
 *            on the caller's CLOCK_BOOTTIME; past the newest if there is none.
 *            Stamps have the host's boot clock: in a time namespace, add its
 *            offset (/proc/self/timens_offsets) to a stamp before seeking to it.
 *            A writer's clock is read some hundred instructions before its number
 *            is taken, with interrupts off, so stamps of different processors may
 *            be out of order by that; by more only where an NMI or a hypervisor
 *            stopped one of them in between.
 * CLEAR      drops all records, and leaves one that says who did it: no reader
 *            gets them any more. Their bytes stay in memory until others overwrite
 *            them, and an image of memory has them. Needs CAP_SYSLOG (EPERM);
 *            EINTR if the task was killed while it waited for another CLEAR.
 * SET_FILTER replaces what the descriptor reads. What the filter does not want is passed
 *            over: read(2) does not deliver it, poll(2) does not show it, and it does
 *            not count as lost. "lost" still counts all that was overwritten, since
 *            nobody knows any more whether it was wanted. A reader of a severity more
 *            urgent than FLIGHTREC_SEVERITY_DEFAULT sleeps on while others are written.
 *            EINVAL for unknown bits and for more than 7 as severity, E2BIG for members
 *            that the driver does not know and that are not 0, EBUSY if poll or epoll was
 *            used on the descriptor with such a severity and it is to be given up.
 * SET_FLAGS  replaces the descriptor's FLIGHTREC_FL_*; EINVAL for unknown
 *            bits.
 *
 * SEEKs and SET_FILTER need a descriptor that is open for reading, CLEAR needs either
 * (EBADF).
 */
#define FLIGHTREC_IOC_GET_INFO	_IOR(0xf1, 0, struct flightrec_info)
#define FLIGHTREC_IOC_SEEK_SEQ	_IOW(0xf1, 1, __u64)
#define FLIGHTREC_IOC_SEEK_TIME	_IOW(0xf1, 2, __u64)
#define FLIGHTREC_IOC_CLEAR	_IO(0xf1, 3)
#define FLIGHTREC_IOC_SET_FLAGS	_IOW(0xf1, 4, __u32)
#define FLIGHTREC_IOC_SET_FILTER _IOW(0xf1, 5, struct flightrec_filter)

/* struct flightrec_channel_setup's "features". */
#define FLIGHTREC_CHANNEL_MODE		0x00000001	/* @mode was chosen */
#define FLIGHTREC_CHANNEL_GID		0x00000002	/* @gid was chosen */
#define FLIGHTREC_CHANNEL_NO_CRASH	0x00000004	/* a crash does not print its records */
#define FLIGHTREC_CHANNEL_ALL		0x00000007

/**
 * struct flightrec_channel_setup - a channel as /dev/flightrec-control makes it
 * @features: FLIGHTREC_CHANNEL_*
 * @mode: with FLIGHTREC_CHANNEL_MODE: permissions of its two nodes, 0002 to 0666; else 0600
 * @gid: with FLIGHTREC_CHANNEL_GID: their group, in the initial user namespace; else 0. With
 *	neither, udev's rule for all channels decides
 * @reserved: 0
 * @size: bytes that it keeps, a multiple of 1024, as the parameter "size_kb" has them; 0: as
 *	many as where that is not given. CREATE and RESIZE return the size here
 * @name: 1 to 31 of a-z, 0-9, _ and -, and not "stats"; zero-padded
 *
 * Members may follow in later versions; the request has the size that the caller knows.
 */
struct flightrec_channel_setup {
	__u32 features;
	__u32 mode;
	__u32 gid;
	__u32 reserved;
	__u64 size;
	char name[FLIGHTREC_NAME_MAX];
};

/*
 * ioctl(2) on /dev/flightrec-control. Each needs CAP_SYS_ADMIN in the initial user
 * namespace (EPERM), and is done wholly or not at all. Channels at the next load are still
 * those of the parameter "channels".
 *
 * CREATE     makes a channel. The records of the others are not touched. Where the
 *            administrator set no "quota", it follows the smallest channel.
 *              EINVAL  bad name, mode, group or unknown bits; not whole KiB
 *              EEXIST  there is one of that name
 *              EBUSY   one of that name was removed, and a call on its file in /proc
 *                      has not yet ended
 *              ERANGE  too small or too large: @size is then the nearest that can be had,
 *                      0 if there is none. All channels together have at most a
 *                      quarter of memory, removed ones that are still open included
 *              ENOSPC  there are 32 already, "kernel" and "selftest" included
 *              ENOMEM  that much memory is not free at this moment
 * REMOVE     removes the channel @name; all other members are 0 (EINVAL). Its nodes go,
 *            and udev is told. Who has it open keeps it: write(2) gets ENODEV, read(2)
 *            returns what was recorded and then 0, poll(2) says POLLHUP, and POLLERR to who may
 *            write, seeks and GET_INFO work as before, CLEAR gets ENODEV. Its memory is free
 *            when the last descriptor is closed. Files in /proc that are open are closed to
 *            their users: EIO. A crash does not print it any more.
 *              ENOENT  there is none
 *              EBUSY   it is "kernel" or "selftest", or its memory is one that a reset
 *                      leaves alone: those are fixed at load
 *
 * RESIZE     gives the channel @name the size @size; all other members are 0 (EINVAL). The
 *            newest records that fit are kept, with their numbers; what does not fit is
 *            lost to readers as if it had been overwritten. Who has it open goes on as
 *            before: readers at their place, and writers wait while the last records are
 *            copied, some hundredths of a second as a rule, also where a write would else
 *            not sleep. The old and the new memory are both there until it returns.
 *              ENOENT, EBUSY  as REMOVE
 *              ERANGE, ENOMEM as CREATE; the channel is as it was
 *
 * All: EINTR if the task was killed while it waited for another request, or while RESIZE
 * copied, and then the channel is as it was; EFAULT; E2BIG for members that the driver does
 * not know and that are not 0; ENODEV while the driver is being loaded. A channel that is
 * created is never in memory that a reset leaves alone.
 */
#define FLIGHTREC_IOC_CREATE	_IOWR(0xf1, 16, struct flightrec_channel_setup)
#define FLIGHTREC_IOC_REMOVE	_IOW(0xf1, 17, struct flightrec_channel_setup)
#define FLIGHTREC_IOC_RESIZE	_IOWR(0xf1, 18, struct flightrec_channel_setup)

#endif /* _UAPI_FLIGHTREC_H */
