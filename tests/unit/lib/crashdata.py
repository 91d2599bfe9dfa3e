# SPDX-License-Identifier: GPL-2.0-or-later
"""What a crash leaves behind, made by hand from src/uapi/flightrec_crash.h.

Written from the header alone, so that it finds out where the library reads it
otherwise.
"""

import ctypes
import ctypes.util
import random
import struct
import zlib
from dataclasses import dataclass, field

BLOCK = 16384
HEADER = 128
MAGIC = 0x31636572746C4662
PAGE = 4096

BOOT = bytes(range(0x10, 0x20))
BOOT_ID = BOOT.hex()


@dataclass
class Record:
    """A record with its stamp; its number is given by whoever writes it."""

    payload: bytes
    seq: int = 0
    boot_ns: int = 0
    wall_ns: int = 0
    severity: int = 6
    origin: int = 0
    flags: int = 0
    pid: int = 41
    tgid: int = 40
    uid: int = 1000
    euid: int = 0
    cpu: int = 0
    comm: bytes = b"writer"
    cgroup: int = 0x100004321
    start_ns: int = 5_000_000

    @property
    def words(self):
        return 11 + (len(self.payload) + 7) // 8

    def stamp(self, check, short=False):
        """What precedes the payload; SHORT, of an earlier driver, ends with the name."""
        stamp = struct.pack(
            "<QQQIBBHIIIIII16s", self.seq, self.boot_ns, self.wall_ns, len(self.payload),
            self.severity, self.origin, self.flags, self.pid, self.tgid, self.uid, self.euid,
            self.cpu, check, self.comm)  # fmt: skip
        return stamp if short else stamp + struct.pack("<QQ", self.cgroup, self.start_ns)


def records(count, seed=1, start=1):
    """COUNT records of all sizes and bytes."""
    rand = random.Random(seed)
    sizes = [0, 1, 7, 8, 9, 63, 64, 65, 500, 4096]
    return [
        Record(
            rand.randbytes(rand.choice(sizes)) if rand.random() < 0.3 else b"event %d" % n,
            seq=n, boot_ns=n * 1_000_000 + seed, wall_ns=1_700_000_000_000_000_000 + n * 1000,
            severity=rand.randrange(8), origin=rand.randrange(2), cpu=rand.randrange(4),
        )
        for n in range(start, start + count)
    ]  # fmt: skip


def delivered(records, short=False):
    """RECORDS as read(2) delivers them; SHORT, as an earlier driver's does."""
    out = b""
    for record in records:
        body = record.stamp(0, short) + record.payload
        body += bytes(-len(body) % 8)
        out += struct.pack("<IHHQ", 16 + len(body), 1, 88 if short else 104, 0) + body
    return out


def check_of(record, off_words, lap):
    return (
        (record.boot_ns & 0xFFFFFFFF) ^ len(record.payload) << 19 ^ off_words << 8
        ^ lap * 0x9E3779B1 ^ 0x5A5A5A5A
    ) & 0xFFFFFFFF  # fmt: skip


def _crc32c_table():
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        yield value


CRC32C = list(_crc32c_table())


def crc32c(data):
    """From 0xffffffff on, not inverted at the end."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ CRC32C[(value ^ byte) & 0xFF]
    return value


def sum_of(record, off_words, lap, short=False):
    """The check of RECORD in memory that a reset leaves alone."""
    stamp = record.stamp(check_of(record, off_words, lap), short)
    padding = bytes(-len(record.payload) % 8)
    return crc32c(stamp[8:] + record.payload + padding + stamp[:8])


@dataclass
class Channel:
    """Blocks of one channel, as CPUS that write in turns would fill them."""

    name: str = "default"
    boot: bytes = BOOT
    instance: int = 0x1122334455667788
    clear_seq: int = 0
    lap: int = 7
    version: int = 3  # 4: of memory that a reset leaves alone; 1, 2: of an earlier driver
    generation: int = 0
    blocks: list = field(default_factory=list)

    def fill(self, recs, cpus=1):
        """Write RECS, each on the CPU that it names modulo CPUS."""
        opened = {}
        contents = []
        for record in recs:
            cpu = record.cpu % cpus
            have = opened.get(cpu)
            if have is None or (sum(r.words for r in have) + record.words) * 8 + HEADER > BLOCK:
                have = opened[cpu] = []
                contents.append(have)
            have.append(record)
        self.blocks += [self.block(n, len(contents), c) for n, c in enumerate(contents)]
        return self

    def block(self, number, count, recs, unpublished=0):
        """One block with RECS; behind them UNPUBLISHED words that somebody had reserved."""
        body = b""
        for record in recs:
            off = (HEADER + len(body)) // 8
            short = self.version < 3
            check = check_of(record, off, self.lap)
            if self.version in (2, 4):
                check = sum_of(record, off, self.lap, short)
            body += record.stamp(check, short) + record.payload
            body += bytes(-len(body) % 8)
        used = (HEADER + len(body)) // 8
        head = self.head(number, count, used + unpublished, used)
        return (head + body).ljust(BLOCK, b"\0")

    def head(self, number, count, reserved, committed):
        fixed = struct.pack(
            "<QHHIII16s32sQQQI", MAGIC, self.version, HEADER, BLOCK, number, count, self.boot,
            self.name.encode(), self.instance, self.generation, 0, 0)  # fmt: skip
        state = struct.pack("<QQQ", self.lap << 24 | reserved, self.lap << 24 | committed,
                            self.clear_seq if number == 0 else 0)  # fmt: skip
        return state + fixed + struct.pack("<I", zlib.crc32(fixed))


def previous_image(blocks, boot=BOOT, version=1):
    """What /proc/flightrec/previous.image has: BLOCKS, and room that was never used."""
    head = struct.pack("<QIIQQQ16sI", 0x31676D4972746C46, version, BLOCK, len(blocks) + 2, 0xD000000,
                       1, boot, 0)  # fmt: skip
    head += struct.pack("<I", zlib.crc32(head))
    return head.ljust(PAGE, b"\0") + b"".join(blocks) + bytes(2 * BLOCK)


def image(blocks, seed=1, mib=4):
    """Physical memory with BLOCKS at places of their own, in any order, among other things."""
    rand = random.Random(seed)
    memory = bytearray(mib << 20)
    places = rand.sample(range(1, (mib << 20) // BLOCK), len(blocks))
    for place in range((mib << 20) // BLOCK):
        if place % 3 == 0:
            memory[place * BLOCK : place * BLOCK + 2048] = rand.randbytes(2048)
    for place, block in zip(places, blocks):
        memory[place * BLOCK : (place + 1) * BLOCK] = block
    return bytes(memory)


# ---- containers


def elf(ranges, machine=62, elf_class=2, data=1, order="<"):
    """An ELF core dump of RANGES: [(physical address, bytes)]."""
    offset = 64 + 56 * len(ranges)
    offset += -offset % PAGE
    head = b"\x7fELF" + bytes([elf_class, data, 1]) + bytes(9)
    head += struct.pack(order + "HHIQQQIHHHHHH", 4, machine, 1, 0, 64, 0, 0, 64, 56, len(ranges),
                        0, 0, 0)  # fmt: skip
    body = b""
    for address, content in ranges:
        head += struct.pack(order + "IIQQQQQQ", 1, 7, offset + len(body), 0, address, len(content),
                            len(content), PAGE)  # fmt: skip
        body += content
    return head.ljust(offset, b"\0") + body


def lime(ranges):
    """A LiME image of RANGES."""
    return b"".join(
        struct.pack("<IIQQ8x", 0x4C694D45, 1, address, address + len(content) - 1) + content
        for address, content in ranges
    )


def flattened(content, piece=100_000, seed=1):
    """CONTENT as makedumpfile -F writes it: pieces in any order, the header twice."""
    pieces = [(at, content[at : at + piece]) for at in range(0, len(content), piece)]
    rest = pieces[1:]
    random.Random(seed).shuffle(rest)
    # The header is written again when all is known.
    pieces = [(0, bytes(PAGE)), pieces[0], *rest]
    out = (b"makedumpfile".ljust(16, b"\0") + struct.pack(">QQ", 1, 1)).ljust(4096, b"\0")
    for at, part in pieces:
        out += struct.pack(">qq", at, len(part)) + part
    return out + struct.pack(">qq", -1, -1)


def _lzo(page):
    lib = ctypes.CDLL(ctypes.util.find_library("lzo2"))
    out = ctypes.create_string_buffer(len(page) * 2)
    size = ctypes.c_size_t(len(out))
    work = ctypes.create_string_buffer(1 << 17)
    assert lib.lzo1x_1_compress(page, ctypes.c_size_t(len(page)), out, ctypes.byref(size), work) == 0
    return out.raw[: size.value]


def _snappy(page):
    lib = ctypes.CDLL(ctypes.util.find_library("snappy"))
    out = ctypes.create_string_buffer(len(page) * 2)
    size = ctypes.c_size_t(len(out))
    assert lib.snappy_compress(page, ctypes.c_size_t(len(page)), out, ctypes.byref(size)) == 0
    return out.raw[: size.value]


def _zstd(page):
    lib = ctypes.CDLL(ctypes.util.find_library("zstd"))
    lib.ZSTD_compress.restype = ctypes.c_size_t
    out = ctypes.create_string_buffer(len(page) * 2)
    size = lib.ZSTD_compress(out, ctypes.c_size_t(len(out)), page, ctypes.c_size_t(len(page)), 1)
    return out.raw[:size]


PACKERS = {"none": None, "zlib": zlib.compress, "lzo": _lzo, "snappy": _snappy, "zstd": _zstd}
PACKED_FLAGS = {"none": 0, "zlib": 1, "lzo": 2, "snappy": 4, "zstd": 0x20}


def kdump(memory, packing="zlib", split=None, skip=lambda number: False):
    """makedumpfile's compressed form of MEMORY from address 0 on.

    SPLIT (first page, end) makes one of several files; SKIP says which pages are
    left out.
    """
    pages = len(memory) // PAGE
    wanted = [n for n in range(pages) if not skip(n)]
    bits = bytearray(-(-pages // 8 // PAGE) * PAGE)
    for n in wanted:
        bits[n // 8] |= 1 << n % 8
    both = bytes(bits) * 2
    first, end = split or (0, pages)
    head = b"KDUMP   " + struct.pack("<I", 6) + b"Linux".ljust(65 * 6, b"\0")
    head = head.ljust(424, b"\0") + struct.pack(
        "<IIIIIIIIII", 1, PAGE, 1, len(both) // PAGE, pages, 0, 0, 0, 0, 1)  # fmt: skip
    sub = struct.pack("<QiiQQQQQQQQQQQ", 0, 31, int(split is not None), first, end, 0, 0, 0, 0, 0, 0,
                      first, end, pages)  # fmt: skip
    out = head.ljust(PAGE, b"\0") + sub.ljust(PAGE, b"\0") + both
    here = [n for n in wanted if first <= n < end]
    data, table, at = b"", b"", len(out) + 24 * len(here)
    pieces = []
    for n in here:
        page = memory[n * PAGE : (n + 1) * PAGE]
        packed = PACKERS[packing](page) if PACKERS[packing] else page
        flags = PACKED_FLAGS[packing]
        if len(packed) >= PAGE:
            packed, flags = page, 0
        table += struct.pack("<QIIQ", at, len(packed), flags, 0)
        pieces.append(packed)
        at += len(packed)
    data = b"".join(pieces)
    return out + table + data


# ---- text


def escape(data, space):
    out = ""
    for byte in data:
        if byte in b'\\"':
            out += "\\" + chr(byte)
        elif 0x21 <= byte <= 0x7E or (byte == 0x20 and not space):
            out += chr(byte)
        else:
            out += f"\\x{byte:02x}"
    return out


def escape_name(comm):
    return r"\x2d" if comm == b"-" else escape(comm, True) or "-"


def checked(line):
    return f"{line} {zlib.crc32(line.encode()):08x}"


def signed(number):
    """As 64 bits with a sign have it."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)


def group_line(recs, channel="default", boot=BOOT_ID, keep=None):
    """The G line of RECS, with only KEEP bytes of each payload."""
    first = recs[0]
    words = [f"G {boot[:8]} {channel} {first.seq} {first.boot_ns} {first.wall_ns}"]
    last = {"S": 0, "O": 0, "F": 0, "P": (0, 0), "U": (0, 0), "C": 0, "G": 0, "B": 0, "N": b""}
    seq, boot_ns, shift = first.seq - 1, first.boot_ns, first.wall_ns - first.boot_ns
    for record in recs:
        now = {"S": record.severity, "O": record.origin, "F": record.flags, "P": (record.pid, record.tgid),
               "U": (record.uid, record.euid), "C": record.cpu, "G": record.cgroup, "B": record.start_ns,
               "N": record.comm}  # fmt: skip
        if record.seq != seq + 1:
            words.append(f"+{record.seq - seq - 1}")
        for letter in (letter for letter in now if now[letter] != last[letter]):
            value = now[letter]
            if letter in "PU":
                words.append(f"{letter}{value[0]}")
                if value[1] != value[0]:
                    words.append(f"{chr(ord(letter) + 1)}{value[1]}")
            else:
                words.append(letter + (escape(value, True) if letter == "N" else str(value)))
        if record.wall_ns - record.boot_ns != shift:
            words.append(f"W{signed(record.wall_ns - record.boot_ns - shift)}")
        payload = record.payload if keep is None else record.payload[:keep]
        words.append(f'{signed(record.boot_ns - boot_ns)}"{escape(payload, False)}"' +
                     ("" if keep is None else f"+{len(record.payload)}"))  # fmt: skip
        last, seq, boot_ns, shift = now, record.seq, record.boot_ns, record.wall_ns - record.boot_ns
    return checked(" ".join(words))


def record_line(record, channel="default", boot=BOOT_ID, keep=None):
    """The R line of RECORD, of a driver whose text has version 1, with only KEEP bytes of its payload."""
    payload = record.payload if keep is None else record.payload[:keep]
    origin = "i" if record.flags & 1 else "uk"[record.origin]
    return checked(
        f"R {boot[:8]} {channel} {record.seq} {record.boot_ns} {record.wall_ns} "
        f"{record.severity} {origin} {record.pid} {record.tgid} {record.uid} {record.euid} "
        f"{record.cpu} {len(record.payload)} {'=' if keep is None else '+'} "
        f"{escape_name(record.comm)} \"{escape(payload, False)}\""
    )


def crash_lines(recs, channel="default", boot=BOOT_ID, number=1, reason="panic", unpublished=0, in_line=1, version=2):
    """A set, without what printk puts in front of its lines, with IN_LINE records in each; VERSION 1 has one."""
    if version == 1:
        lines = [record_line(r, channel, boot) for r in recs]
    else:
        lines = [group_line(recs[at:at + in_line], channel, boot) for at in range(0, len(recs), in_line)]
    return [
        checked(f"B {version} {boot} {number} {reason}"),
        *lines,
        checked(f"E {boot[:8]} {number} {len(recs)} {unpublished}"),
    ]


def console(lines, prefix="[   12.345678] ", end="\n"):
    """LINES as on a console."""
    return "".join(f"{prefix}flightrec: {line}{end}" for line in lines).encode()
