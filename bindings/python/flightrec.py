# SPDX-License-Identifier: LGPL-2.1-or-later
"""Record events with the flightrec recorder, and read them.

    import flightrec, logging
    logging.getLogger().addHandler(flightrec.Handler())      # channel "default"
    logging.error("disk %s is full", disk)

    with flightrec.Writer("app") as writer:
        writer.write("started", severity=flightrec.NOTICE)

    with flightrec.Reader("app") as reader:                  # what is there now
        for record in reader:
            print(record.seq, record.comm, record.text)

Speaks to the driver itself, by <linux/flightrec.h>: there is nothing to be built, and no
library is needed. A channel that is open keeps the driver from being unloaded.
"""

import errno
import fcntl
import logging
import os
import stat
import struct
import time
from typing import NamedTuple

__all__ = [
    "EMERG", "ALERT", "CRIT", "ERR", "WARNING", "NOTICE", "INFO", "DEBUG", "PAYLOAD_MAX",
    "Handler", "Info", "Reader", "Record", "Writer",
]  # fmt: skip

EMERG, ALERT, CRIT, ERR, WARNING, NOTICE, INFO, DEBUG = range(8)

# Where the channels are; and the ABI, all of it in the machine's byte order.
DEVICES = "/dev/flightrec"
PAYLOAD_MAX = 4096
NAME_MAX = 32
ABI_VERSION = 1
HEADER = struct.Struct("=IHHQQQQIBBHIIIII4x16s")
INFO_LAYOUT = struct.Struct("=IIQQQ32s")
WRITER = struct.Struct("=QQ")  # behind it, from the first driver on that has it
READ_SIZE = 65536  # of any record at least 256 + PAYLOAD_MAX

ORIGIN_KERNEL = 1
F_INTERRUPT = 1


def _request(direction, number, size):
    """The number of an ioctl, as amd64 and arm64 have it."""
    return direction << 30 | size << 16 | 0xF1 << 8 | number


GET_INFO = _request(2, 0, INFO_LAYOUT.size)
SEEK_SEQ = _request(1, 1, 8)
SEEK_TIME = _request(1, 2, 8)


class Record(NamedTuple):
    """A record; lost: how many are not there between the one read before and this one."""

    seq: int
    lost: int
    boot_ns: int
    wall_ns: int
    severity: int
    kernel: bool  # a kernel module wrote it
    interrupt: bool  # no task did: pid, tgid, uid, euid are 0
    pid: int
    tgid: int
    uid: int
    euid: int
    cpu: int
    comm: str  # what the writer calls itself: a claim
    payload: bytes
    cgroup: int = 0  # number of the writer's control group; 0: not known
    start_ns: int = 0  # when its process was started, on CLOCK_BOOTTIME; 0: not known

    @property
    def text(self):
        """The payload as text; bytes that are not UTF-8 as \\xHH."""
        return self.payload.decode("utf-8", "backslashreplace")


class Info(NamedTuple):
    """A channel: bytes of its ring, its oldest number, and the one that comes next."""

    size: int
    oldest_seq: int
    next_seq: int


def _open(channel, flags):
    """A descriptor of CHANNEL, which is one: no file that somebody made in its place."""
    if not 0 < len(channel) < NAME_MAX or channel.strip("abcdefghijklmnopqrstuvwxyz0123456789_-"):
        raise ValueError(f"{channel!r} is not the name of a channel: 1 to {NAME_MAX - 1} of a-z, 0-9, _ and -")
    path = f"{DEVICES}/{channel}"
    # Without O_CREAT: a missing channel must not become a file.
    fd = os.open(path, flags | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        if not stat.S_ISCHR(os.fstat(fd).st_mode):
            raise OSError(errno.ENOTTY, "not a channel of the recorder", path)
        fcntl.ioctl(fd, GET_INFO, bytearray(INFO_LAYOUT.size))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _bytes(text):
    return text.encode("utf-8", "backslashreplace") if isinstance(text, str) else bytes(text)


class _Channel:
    """What a reader and a writer share."""

    def __init__(self, channel, flags):
        self._fd = -1
        self._fd = _open(channel, flags)
        self.channel = channel

    def close(self):
        """Let go of the channel."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def fileno(self):
        """For select and poll."""
        if self._fd < 0:
            raise ValueError("the channel is closed")
        return self._fd

    def info(self):
        """An Info of the channel; the numbers are 0 for a writer."""
        buffer = bytearray(INFO_LAYOUT.size)
        fcntl.ioctl(self.fileno(), GET_INFO, buffer)
        return Info(*INFO_LAYOUT.unpack(buffer)[2:5])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __del__(self):
        self.close()


class Writer(_Channel):
    """A channel that is written to, by any number of threads."""

    def __init__(self, channel="default"):
        super().__init__(channel, os.O_WRONLY)

    def write(self, text, severity=INFO):
        """Record TEXT (str or bytes) as one event. Never waits for anybody.

        OSError, and nothing is recorded: EMSGSIZE (more than PAYLOAD_MAX - 3 bytes), EDQUOT (this
        user has written too much in the last second), ENOMEM, ENOBUFS.
        """
        if severity not in range(8):
            raise ValueError(f"severity {severity!r} is not one of 0 to 7")
        os.write(self.fileno(), b"<%d>%b" % (severity, _bytes(text)))


class Reader(_Channel):
    """A channel that is read, from the oldest record on, by one thread.

    Iterating ends with the newest record that there was when it began; with FOLLOW it waits
    for more.
    """

    def __init__(self, channel="default", follow=False):
        super().__init__(channel, os.O_RDONLY | (0 if follow else os.O_NONBLOCK))
        self._follow = follow
        self._buffer = b""
        self._at = 0
        self._end = None

    def _move(self, move):
        move()
        self._buffer, self._at, self._end = b"", 0, None

    def seek_oldest(self):
        """Go to the oldest record."""
        self._move(lambda: os.lseek(self.fileno(), 0, os.SEEK_SET))

    def seek_newest(self):
        """Go past the newest record."""
        self._move(lambda: os.lseek(self.fileno(), 0, os.SEEK_END))

    def seek_seq(self, seq):
        """Go to the record of a number; if it was overwritten, the next one's "lost" says so."""
        self._move(lambda: fcntl.ioctl(self.fileno(), SEEK_SEQ, struct.pack("=Q", seq)))

    def seek_time(self, boot_ns):
        """Go to the first record at or after a time on CLOCK_BOOTTIME."""
        self._move(lambda: fcntl.ioctl(self.fileno(), SEEK_TIME, struct.pack("=Q", boot_ns)))

    def __iter__(self):
        self._end = None if self._follow else self.info().next_seq
        return self

    def __next__(self):
        if self._at >= len(self._buffer):
            try:
                self._buffer, self._at = os.read(self.fileno(), READ_SIZE), 0
            except BlockingIOError:
                raise StopIteration from None
            if not self._buffer:
                raise StopIteration
        record, size = decode(self._buffer, self._at)
        if self._end is not None and record.seq >= self._end:
            raise StopIteration
        self._at += size
        return record


def decode(buffer, at=0):
    """The record at AT of a BUFFER that read(2) filled, and its bytes; ValueError if there is none."""
    room = len(buffer) - at
    if room < HEADER.size:
        raise ValueError(f"no record in {room} bytes")
    (size, version, header, lost, seq, boot_ns, wall_ns, length, severity, origin, flags, pid, tgid, uid,
     euid, cpu, comm) = HEADER.unpack_from(buffer, at)  # fmt: skip
    # Later versions of the driver may have more in front of the payload.
    if not (version >= ABI_VERSION and HEADER.size <= header <= size <= room and not size % 8
            and length <= size - header):  # fmt: skip
        raise ValueError("no record: this module and the driver do not fit together")
    record = Record(
        seq, lost, boot_ns, wall_ns, severity, origin == ORIGIN_KERNEL, bool(flags & F_INTERRUPT), pid, tgid, uid,
        euid, cpu, comm.partition(b"\0")[0].decode("utf-8", "backslashreplace"),
        bytes(buffer[at + header : at + header + length]), *_writer(buffer, at, header))  # fmt: skip
    return record, size


def _writer(buffer, at, header):
    if header < HEADER.size + WRITER.size:
        return (0, 0)
    return WRITER.unpack_from(buffer, at + HEADER.size)


def _severity(level):
    """Of a level of logging."""
    for least, severity in ((logging.CRITICAL, CRIT), (logging.ERROR, ERR), (logging.WARNING, WARNING),
                            (logging.INFO, INFO)):  # fmt: skip
        if level >= least:
            return severity
    return DEBUG


def _pieces(data):
    """DATA in pieces that fit into a record, "[2/3] " in front of each if there are several."""
    most = PAYLOAD_MAX - 3
    if len(data) <= most:
        return [data]
    most -= len(b"[99999/99999] ")
    pieces = []
    while data:
        end = most
        # Not within a character: its further bytes are 10xxxxxx, and at most three.
        while len(data) > most and end > most - 3 and data[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(data[:end])
        data = data[end:]
    return [b"[%d/%d] %b" % (n, len(pieces), piece) for n, piece in enumerate(pieces, start=1)]


class Handler(logging.Handler):
    """Records what is logged; a message that is too long for a record as several.

    The driver that is missing, or refuses, does not end the program: that is reported once as
    logging.Handler.handleError() does, refused counts the messages, and the channel is opened
    again after a second.
    """

    RETRY_SECONDS = 1

    def __init__(self, channel="default", level=logging.NOTSET):
        super().__init__(level)
        self.channel = channel
        self.refused = 0
        self._writer = None
        self._retry_at = 0
        self._reported = None

    def emit(self, record):
        """Record RECORD."""
        try:
            self._write(self.format(record), _severity(record.levelno))
            self._reported = None
        except OSError as error:
            self.refused += 1
            if self._reported != error.errno:
                self._reported = error.errno
                self.handleError(record)
        except Exception:  # what cannot be formatted, as in every handler
            self.handleError(record)

    def _write(self, text, severity):
        if self._writer is None:
            if time.monotonic() < self._retry_at:
                raise OSError(self._reported or errno.ENODEV, "not tried again yet")
            self._retry_at = time.monotonic() + self.RETRY_SECONDS
            self._writer = Writer(self.channel)
        try:
            for piece in _pieces(_bytes(text)):
                self._writer.write(piece, severity)
        except OSError as error:
            # Of these the next message may fare better.
            if error.errno not in (errno.EDQUOT, errno.ENOMEM, errno.ENOBUFS):
                self._writer.close()
                self._writer = None
            raise

    def close(self):
        """Let go of the channel."""
        with self.lock:
            if self._writer:
                self._writer.close()
            self._writer = None
        super().close()
