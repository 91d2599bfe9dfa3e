# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec recover: every format, every way in which what it reads can be bad."""

import dataclasses
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys

import pytest

from tests.unit.lib import crashdata as crash
from tests.unit.lib.tools import OUT, PLAIN, PROC, SANITIZED, TOP, build, flightrec, payload, recover

RECORDS = crash.records(200)
IMAGE = crash.image(crash.Channel().fill(RECORDS, cpus=4).blocks, mib=1)
MIB = 1 << 20

DUMPS = {
    "raw": lambda: IMAGE,
    "raw, not aligned": lambda: bytes(24) + IMAGE,
    "elf": lambda: crash.elf([(0, IMAGE[: MIB // 2]), (MIB // 2, IMAGE[MIB // 2 :])]),
    "elf, a block in two segments": lambda: crash.elf(
        [(at, IMAGE[at : at + 4096]) for at in range(0, MIB, 4096)]
    ),
    "lime": lambda: crash.lime([(0, IMAGE[: MIB // 2]), (MIB // 2, IMAGE[MIB // 2 :])]),
    "flattened elf": lambda: crash.flattened(crash.elf([(0, IMAGE)])),
    "flattened kdump": lambda: crash.flattened(crash.kdump(IMAGE)),
    **{f"kdump {p}": lambda p=p: crash.kdump(IMAGE, p) for p in crash.PACKERS},
}


def stamps(line):
    return [line[k] for k in ("seq", "boot_ns", "wall_ns", "severity", "pid", "tgid", "uid", "euid",
                              "cpu")] + [payload(line)]  # fmt: skip


def expected(records=RECORDS):
    return [[r.seq, r.boot_ns, r.wall_ns, r.severity, r.pid, r.tgid, r.uid, r.euid, r.cpu,
             r.payload] for r in records]  # fmt: skip


@pytest.fixture
def file(tmp_path):
    """A function that writes bytes to a new file; its path."""
    made = []

    def write(content):
        made.append(tmp_path / f"file{len(made)}")
        made[-1].write_bytes(content)
        return made[-1]

    return write


# ---- memory


@pytest.mark.parametrize("kind", DUMPS)
def test_every_record_of_every_format(file, kind):
    status, lines, summary, errors = recover(file(DUMPS[kind]()))
    assert (status, errors) == (0, "")
    assert [stamps(line) for line in lines] == expected()
    assert {(line["source"], line["boot_id"], line["cut"]) for line in lines} == {
        ("memory", crash.BOOT_ID, False)
    } and summary["verified"] is False
    assert summary["records"] == len(RECORDS)
    assert not (summary["damaged"] or summary["unpublished"] or summary["duplicates"])


def test_a_dump_in_several_files(file):
    pages = len(IMAGE) // 4096
    cuts = [(0, pages // 3 & ~3), (pages // 3 & ~3, pages)]
    files = [file(crash.kdump(IMAGE, split=cut)) for cut in cuts]
    status, lines, summary, errors = recover(*files)
    assert [stamps(line) for line in lines] == expected()
    assert (status, errors, summary["unreadable_pages"]) == (0, "", 0)


def test_what_is_in_two_files_is_shown_once(file):
    _, lines, summary, _ = recover(file(IMAGE), file(crash.kdump(IMAGE)))
    assert [stamps(line) for line in lines] == expected()
    assert summary["duplicates"] == len(RECORDS)


def test_channels_and_boots_are_kept_apart(file):
    other = crash.records(100, seed=2)
    blocks = [
        *crash.Channel().fill(RECORDS).blocks,
        *crash.Channel("kernel", instance=2).fill(other).blocks,
        *crash.Channel(boot=bytes(16), instance=3).fill(other).blocks,
        *crash.Channel(instance=4).fill(other).blocks,  # the driver was loaded again
    ]
    path = file(crash.image(blocks, mib=3))
    _, lines, summary, _ = recover(path)
    assert summary["records"] == len(RECORDS) + 3 * len(other)
    assert summary["conflicts"] == summary["duplicates"] == 0
    status, lines, _, _ = recover(path, options=["--channel", "kernel"])
    assert status == 0 and [stamps(line) for line in lines] == expected(other)
    _, lines, _, _ = recover(path, options=["--boot", "0000"])
    assert {line["boot_id"] for line in lines} == {"0" * 32}
    assert recover(path, options=["--channel", "nowhere"])[0] == 1


# ---- memory that a reset left alone


def summed(records, lap=7, **options):
    return crash.Channel(version=4, generation=3, lap=lap, **options).fill(records, cpus=4).blocks


LINE = 64


def lose_lines(image, rand, count, instead=None):
    """IMAGE with COUNT lines of the processor's cache lost: zeroes, or what INSTEAD has there."""
    image = bytearray(image)
    instead = instead or bytes(len(image))
    for line in rand.sample(range(4096 // LINE, len(image) // LINE), count):
        at = slice(line * LINE, (line + 1) * LINE)
        image[at] = instead[at]
    return bytes(image)


@pytest.mark.parametrize("version", [1, 2])
def test_blocks_of_an_earlier_driver(file, version):
    blocks = crash.Channel(version=version, generation=version - 1).fill(RECORDS, cpus=4).blocks
    path = file(crash.previous_image(blocks) if version == 2 else crash.image(blocks))
    status, lines, summary, errors = recover(path)
    assert (status, errors) == (0, "")
    assert [stamps(line) for line in lines] == expected()
    assert not any({"cgroup", "start_ns"} & set(line) for line in lines)
    assert not (summary["damaged"] or summary["unpublished"] or summary["other_version"])


def test_every_record_of_the_boot_before(file):
    path = file(crash.previous_image(summed(RECORDS)))
    status, lines, summary, errors = recover(path)
    assert (status, errors) == (0, "")
    assert [stamps(line) for line in lines] == expected()
    assert {line["source"] for line in lines} == {"memory"}
    assert not (summary["damaged"] or summary["unpublished"])


@pytest.mark.parametrize("instead", ["zeroes", "an earlier lap", "other records in that lap"])
@pytest.mark.parametrize("seed", range(12))
def test_lost_lines_are_damage_and_no_record_is_torn(file, seed, instead):
    rand = random.Random(seed)
    whole = crash.previous_image(summed(RECORDS))
    before = {
        "zeroes": None,
        "an earlier lap": crash.previous_image(summed(crash.records(400, seed=9), lap=6))[:len(whole)],
        "other records in that lap": crash.previous_image(summed(crash.records(400, seed=8)))[:len(whole)],
    }[instead]  # fmt: skip
    if before is not None:
        before = before.ljust(len(whole), b"\0")
    broken = lose_lines(whole, rand, [1, 5, 40, 300][seed % 4], before)
    _, lines, summary, _ = recover(file(broken))
    # What a stale line brought back whole is a record, though of an earlier time.
    old = expected(crash.records(400, seed=9)) + expected(crash.records(400, seed=8))
    back = [stamps(line) for line in lines]
    assert all(record in expected() + old for record in back)
    gone = [record for record in expected() if record not in back]
    assert bool(summary["damaged"]) == bool(gone)
    if not instead.startswith("zeroes"):
        return
    assert all(record in expected() for record in back)


def test_each_byte_of_a_record_is_under_its_sum(file):
    records = [crash.Record(b"whole and nothing but whole", seq=n, boot_ns=n) for n in (1, 2, 3)]
    image = crash.previous_image(crash.Channel(version=4).fill(records).blocks)
    size = records[0].words * 8
    second = crash.PAGE + crash.HEADER + size
    for at in range(second, second + size):
        broken = bytearray(image)
        broken[at] ^= 0x41
        _, lines, summary, _ = recover(file(bytes(broken)))
        assert [line["seq"] for line in lines] == [1, 3], f"byte {at - second} changed"
        assert summary["damaged"] == 1


def test_records_behind_what_the_header_knows_of(file):
    """The header is written to memory less often than records are."""
    blocks = [bytearray(block) for block in summed(RECORDS)]
    for block in blocks:
        block[0:16] = (7 << 24 | crash.HEADER // 8).to_bytes(8, "little") * 2
    _, lines, summary, _ = recover(file(crash.previous_image([bytes(b) for b in blocks])))
    assert [stamps(line) for line in lines] == expected()
    assert not summary["damaged"]


def test_a_lost_header_of_a_block_is_damage(file):
    blocks = summed(RECORDS)
    for lost in range(2):
        broken = bytearray(blocks[1])
        broken[lost * LINE : (lost + 1) * LINE] = bytes(LINE)
        _, lines, summary, _ = recover(file(crash.previous_image([blocks[0], broken, *blocks[2:]])))
        assert 0 < len(lines) < len(RECORDS) and summary["damaged"] == 1


def test_sums_in_a_dump_of_memory(file):
    path = file(crash.image(summed(RECORDS), mib=1))
    assert [stamps(line) for line in recover(path)[1]] == expected()


@pytest.fixture
def previous():
    """Bytes are put where the driver has the boot before."""
    path = PROC / "previous.image"
    PROC.mkdir(parents=True, exist_ok=True)
    yield path.write_bytes
    path.unlink(missing_ok=True)


def test_reading_the_boot_before(previous):
    blocks = summed(RECORDS)
    other = crash.Channel("kernel", version=4, instance=9).fill(crash.records(5)).blocks
    previous(crash.previous_image([*blocks, *other]))
    done = flightrec("read", "--boot", "-1", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    assert [stamps(json.loads(line)) for line in done.stdout.splitlines()] == expected()
    done = flightrec("read", "-b", "-1", "-c", "kernel", "--json")
    assert len(done.stdout.splitlines()) == 5
    done = flightrec("read", "-b", "-1", "-c", "elsewhere")
    assert done.returncode == 1 and "nothing of channel elsewhere is left" in done.stderr
    done = flightrec("read", "-ab", "-1", "-rn", "3", "--json", valgrind=True)
    newest = [json.loads(line)["seq"] for line in done.stdout.splitlines()]
    assert newest == [line.seq for line in RECORDS[:-4:-1]]
    status, lines, summary, _ = recover()
    assert status == 0 and summary["records"] == len(RECORDS) + 5
    broken = bytearray(crash.previous_image(blocks))
    broken[crash.PAGE + 300] ^= 1
    previous(bytes(broken))
    done = flightrec("read", "-b", "-1")
    assert done.returncode == 0 and "damaged" in done.stderr


def test_nothing_is_left_of_the_boot_before(previous):
    done = flightrec("read", "-b", "-1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing is left of the boot before" in done.stderr
    for arguments in (["-b", "/x"], ["-b", ""], ["-b", "-1", "-f"], ["-b", "-1", "-t", "relative"]):
        assert flightrec("read", *arguments).returncode == 2
    previous(b"\x46\x6c\x74\x72\x49\x6d\x67\x31" + bytes(5000))
    done = flightrec("read", "-b", "-1")
    assert done.returncode == 3 and "its header is damaged" in done.stderr


def test_an_image_of_the_boot_before_that_is_not_understood(file):
    image = crash.previous_image(summed(RECORDS))
    broken = bytearray(image)
    broken[20] ^= 1
    status, lines, _, errors = recover(file(bytes(broken)))
    assert status == 3 and not lines and "its header is damaged" in errors
    newer = crash.previous_image(summed(RECORDS), version=9)
    status, lines, _, errors = recover(file(newer))
    assert status == 3 and not lines and "use a newer one" in errors
    status, lines, _, errors = recover(file(image[: len(image) // 2]))
    assert "it is cut" in errors and 0 < len(lines) < len(RECORDS)


def test_forged_sums_take_no_long_time(file):
    """Each word of a block looks like a record of 4 KiB: little is summed up in vain."""
    block = bytearray(crash.Channel(version=4).block(0, 1, []))
    block[0:8] = (7 << 24 | 2048).to_bytes(8, "little")
    for at in range(crash.HEADER, crash.BLOCK, 8):
        block[at : at + 8] = (0x0000_0000_0000_0FFF).to_bytes(8, "little")
    path = file(crash.previous_image([bytes(block)] * 2000))
    done = subprocess.run([PLAIN, "recover", path], capture_output=True, timeout=60, check=False)
    assert done.returncode == 1 and b"damaged" in done.stderr


def test_cleared_records_stay_so(file):
    channel = crash.Channel(clear_seq=150).fill(RECORDS, cpus=3)
    _, lines, summary, _ = recover(file(crash.image(channel.blocks, mib=3)))
    assert [line["seq"] for line in lines] == list(range(150, 201))
    assert summary["cleared"] == 149


def test_unpublished_and_damaged_are_counted(file):
    channel = crash.Channel()
    block = channel.block(0, 2, RECORDS[:20], unpublished=12)
    broken = bytearray(channel.block(1, 2, RECORDS[20:40]))
    broken[crash.HEADER + 8] ^= 1  # the first record's clock
    _, lines, summary, _ = recover(file(crash.image([block, bytes(broken)])))
    assert [stamps(line) for line in lines] == expected(RECORDS[:20] + RECORDS[21:40])
    assert (summary["unpublished"], summary["damaged"]) == (1, 1)
    assert lines[20]["lost"] == 1


def test_missing_pages_are_damage_only_where_a_block_uses_them(file):
    records = [r for r in RECORDS if len(r.payload) < 64]
    blocks = [crash.Channel().block(0, 2, records[:9]), crash.Channel().block(1, 2, records[9:99])]
    image = crash.image(blocks, mib=1)
    pages = [(at, image[at : at + 4096]) for at in range(0, len(image), 4096)]
    # makedumpfile -E leaves out pages of zeros: most of the first block's.
    there = [(at, page) for at, page in pages if any(page)]
    assert len(there) < len(pages)
    _, lines, summary, _ = recover(file(crash.elf(there)))
    assert [stamps(line) for line in lines] == expected(records[:99])
    assert (summary["unpublished"], summary["damaged"]) == (0, 0)
    second = image.index(blocks[1])
    without = [(at, page) for at, page in there if at != second + 4096]
    _, lines, summary, _ = recover(file(crash.elf(without)))
    assert len(lines) < 99 and (summary["unpublished"], summary["damaged"]) == (0, 1)


def test_what_an_earlier_lap_left_is_no_record(file):
    old = crash.Channel(lap=6).block(0, 1, RECORDS[:30])
    new = crash.Channel(lap=7).block(0, 1, RECORDS[100:103])
    used = crash.HEADER + 8 * sum(r.words for r in RECORDS[100:103])
    _, lines, _, _ = recover(file(crash.image([new[:used] + old[used:]])))
    assert [line["seq"] for line in lines] == [101, 102, 103]


def test_two_records_of_one_number_conflict(file):
    forged = dataclasses.replace(RECORDS[4], payload=b"forged")
    channel = crash.Channel()
    blocks = [channel.block(0, 2, RECORDS[:10]), channel.block(1, 2, [forged])]
    _, lines, summary, _ = recover(file(crash.image(blocks)))
    assert [line["seq"] for line in lines] == [1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10]
    assert [line["conflict"] for line in lines].count(True) == summary["conflicts"] == 1


def test_a_version_of_later_is_said(file):
    channel = crash.Channel(version=5).fill(RECORDS)
    status, lines, summary, _ = recover(file(crash.image(channel.blocks, mib=3)))
    assert (status, lines, summary["other_version"]) == (3, [], len(channel.blocks))


@pytest.mark.parametrize("kind", ["elf", "lime", "kdump zlib", "flattened elf"])
def test_a_cut_dump(file, kind):
    whole = DUMPS[kind]()
    _, lines, summary, errors = recover(file(whole[: len(whole) * 6 // 10]))
    got = [stamps(line) for line in lines]
    assert 0 < len(got) < len(RECORDS) and all(record in expected() for record in got)
    assert "cut" in errors or kind == "flattened elf"
    assert "unreadable_pages" in summary
    status, lines, _, errors = recover(file(whole[:3000]))
    assert status in (1, 3) and not lines


@pytest.mark.parametrize(
    "content,says",
    [
        (crash.elf([(0, bytes(4096))], data=2, order=">"), "other byte order"),
        (crash.elf([(0, bytes(4096))], elf_class=1), "32-bit machine"),
        (b"LUKS\xba\xbe\0\2" + bytes(4096), "encrypted (LUKS)"),
        (b"\x1f\x8b\x08" + bytes(100), "gunzip"),
        (b"\x28\xb5\x2f\xfd" + bytes(100), "unzstd"),
        (crash.kdump(bytes(65536)).replace(b"\x00\x10\x00\x00", b"\x00\x00\x10\x00", 1), "byte order"),
        (b"KDUMP   " + bytes(100), "cut"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_used_is_said(file, content, says):
    status, lines, _, errors = recover(file(content))
    assert status == 3 and not lines and says in errors and "flightrec: /" in errors


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 5000, b"nothing of ours\n" * 1000], ids=["empty", "zeroes", "text"]
)
def test_nothing_found(file, content):
    status, lines, summary, _ = recover(file(content))
    assert (status, lines, summary["records"]) == (1, [], 0)


def test_directories_are_descended(tmp_path):
    """systemd-pstore and kdump make a directory for each crash."""
    below = tmp_path / "pstore/1700000000"
    below.mkdir(parents=True)
    (below / "dmesg.txt").write_bytes(crash.console(LINES))
    (tmp_path / "pstore/link").symlink_to(tmp_path)
    status, lines, summary, errors = recover(tmp_path / "pstore")
    assert (status, errors) == (0, "") and [stamps(line) for line in lines] == expected(LINED)
    assert not summary["duplicates"], "links are not followed"


def test_without_arguments_the_usual_places(tmp_path):
    build()
    done = flightrec("recover")
    assert done.returncode == 1, "none of them is there"
    assert f"in {OUT}/root/pstore, {OUT}/root/crash, nor memory" in done.stderr and "flightrec boots" in done.stderr
    place = OUT / "root/crash/202601311430"
    place.mkdir(parents=True)
    try:
        (place / "dump").write_bytes(IMAGE)
        status, lines, _, errors = recover()
    finally:
        shutil.rmtree(place.parent)
    assert (status, errors, len(lines)) == (0, "", len(RECORDS))


def test_files_that_are_none(tmp_path):
    assert flightrec("recover", tmp_path).returncode == 1, "an empty directory"
    done = flightrec("recover", tmp_path / "missing")
    assert done.returncode == 3 and "No such file" in done.stderr


def test_damaged_anywhere_ends_with_an_exit_status(file):
    rand = random.Random(3)
    for kind in ("elf", "kdump zlib", "kdump lzo", "lime", "flattened kdump"):
        whole = DUMPS[kind]()
        for _ in range(3):
            broken = bytearray(whole)
            for _ in range(40):
                at = rand.randrange(len(broken) if rand.random() < 0.5 else 8192)
                broken[at] = rand.randrange(256)
            recover(file(bytes(broken)))


# ---- size

# Many times the memory that may be used.
SIZE = 2 << 30 if os.environ.get("FULL") else 512 << 20


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """SIZE bytes of memory that are not zero, with two channels in them."""
    path = tmp_path_factory.mktemp("large") / "memory"
    page = random.Random(5).randbytes(MIB)
    with open(path, "wb") as out:
        for _ in range(SIZE // MIB):
            out.write(page)
        for at in (SIZE // 3 & -MIB, SIZE - 16 * MIB):
            out.seek(at)
            out.write(IMAGE)
    yield path
    path.unlink()


MEASURE = """
import resource, subprocess, sys, time
started = time.monotonic()
status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(status, time.monotonic() - started, memory)
"""


def measured(*arguments):
    """Run the program that is not sanitized: (exit status, seconds, KiB of memory).

    By a small process, since what its parent has is counted, too.
    """
    build()
    command = [sys.executable, "-c", MEASURE, PLAIN, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    status, seconds, memory = done.stdout.split()
    return int(status), float(seconds), int(memory)


def test_large(large):
    """No verdict on the time: that is for a machine with nothing else to do."""
    status, seconds, memory = measured("recover", large)
    print(f"{SIZE >> 20} MiB: {seconds:.1f} s, {memory / 1024:.0f} MiB")
    assert status == 0 and memory <= 64 * 1024


def test_large_is_collected(large):
    """Within the memory that recover has."""
    kept = [OUT / "root" / name for name in ("state", "motd", "metrics")]
    try:
        status, seconds, memory = measured("collect", large)
        print(f"{SIZE >> 20} MiB: {seconds:.1f} s, {memory / 1024:.0f} MiB")
        assert status == 0 and memory <= 64 * 1024
        assert list(kept[0].glob("boots/*/records.jsonl.zst"))
    finally:
        for path in kept:
            shutil.rmtree(path, ignore_errors=True)


def test_a_sparse_file_with_nothing_in_it(tmp_path):
    path = tmp_path / "sparse"
    with open(path, "wb") as out:
        out.truncate(64 << 30)
    status, seconds, memory = measured("recover", path)
    assert status == 1 and memory <= 64 * 1024
    assert seconds < 20, "holes are not read"


def test_memory_is_bounded_whatever_a_file_says(tmp_path):
    """200 MiB of nothing but blocks, all of them open at the same time."""
    path = tmp_path / "forged"
    with open(path, "wb") as out:
        for number in range(200 * 64):
            record = crash.Record(b"", seq=1 + number % 7, boot_ns=number)
            last = crash.Record(b"", seq=1 << 40, boot_ns=number)
            out.write(crash.Channel().block(number, 200 * 64, [record, last]))
    status, _, memory = measured("recover", path)
    assert status == 0 and memory <= 64 * 1024


# ---- text

LINED = [r for r in RECORDS if len(r.payload) <= 100][:20]
LINES = crash.crash_lines(LINED)
GROUPED = crash.crash_lines(LINED, in_line=7)

SURROUNDINGS = {
    "plain": crash.console(LINES, ""),
    "dmesg": crash.console(LINES),
    "callers": crash.console(LINES, "[   12.345678][  T123] "),
    "levels": crash.console(LINES, "<4>[   12.345678] "),
    "journal": crash.console(LINES, "Nov 22 23:16:45 host kernel: "),
    "cr lf": crash.console(LINES, end="\r\n"),
    "colours": crash.console(LINES, "\033[32m[   12.3] \033[0m\033[33m").replace(
        b"flightrec:", b"flightrec:\033[0m"
    ),
    "duplicated": crash.console(LINES) * 2,
    "sorted by a collector": crash.console(sorted(LINES)),
    "reversed": crash.console(LINES[::-1]),
    "among others": b"".join(
        b"[    1.0] Call Trace:\n" + crash.console([line]) for line in LINES
    ),
    "no newline at the end": crash.console(LINES)[:-1],
    "several in a line": crash.console(GROUPED),
    "of an earlier driver": crash.console(crash.crash_lines(LINED, version=1)),
    "rubbish before": b"\xff\0\xfe" * 3000 + b"\n" + crash.console(LINES),
}  # fmt: skip


@pytest.mark.parametrize("kind", SURROUNDINGS)
def test_lines_wherever_they_stand(file, kind):
    status, lines, summary, errors = recover(file(SURROUNDINGS[kind]))
    assert (status, errors) == (0, "")
    assert [stamps(line) for line in lines] == expected(LINED)
    assert {(line["boot_id"], line["source"]) for line in lines} == {(crash.BOOT_ID, "text")}
    assert summary["damaged"] == summary["missing_lines"] == 0


def test_parts_of_pstore_newest_first(file):
    parts = [LINES[:5], LINES[5:12], LINES[12:]]
    files = [file(f"Panic#1 Part{n}\n".encode() + crash.console(part, "<4>[  1.0] "))
             for n, part in enumerate(parts[::-1], start=1)]  # fmt: skip
    _, lines, summary, _ = recover(*files)
    assert [stamps(line) for line in lines] == expected(LINED)
    assert summary["missing_lines"] == 0


def test_a_line_that_crosses_a_chunk(file):
    for before in range(MIB - 2000, MIB + 10, 97):
        text = (b"x" * 79 + b"\n") * (before // 80) + crash.console(LINES[:3])
        assert len(recover(file(text))[1]) == 2


def test_torn_lines_are_counted(file):
    text = crash.console(LINES)
    middle = text.index(b"flightrec: G", 500) + 40
    _, lines, summary, _ = recover(file(text[:middle] + b"Call Trace:" + text[middle:]))
    assert len(lines) == len(LINED) - 1
    assert (summary["damaged"], summary["missing_lines"]) == (1, 1)


def test_a_torn_line_takes_its_records_with_it(file):
    _, lines, summary, _ = recover(file(crash.console(GROUPED).replace(b'"event ', b'"evert ', 1)))
    assert [stamps(line) for line in lines] == expected(LINED[7:])
    assert (summary["damaged"], summary["missing_lines"]) == (1, 7)


def test_all_of_a_stamp_is_in_a_line(file):
    """Also what records of version 1 have not; and clocks that step back."""
    recs = [crash.Record(b"x", seq=5, boot_ns=10**9, wall_ns=10**18, flags=1, origin=1, pid=0, tgid=0, uid=0, comm=b"",
                         cgroup=0, start_ns=0),
            crash.Record(b"a space \" and \\", seq=9, boot_ns=10**9 - 7, wall_ns=10**18 - 10**17, pid=2**32 - 1, tgid=1,
                         uid=2**32 - 2, euid=3, cpu=511, comm=b"a b", cgroup=2**64 - 1, start_ns=2**63),
            crash.Record(b"", seq=2**64 - 1, boot_ns=2**64 - 1, wall_ns=0)]  # fmt: skip
    _, lines, summary, _ = recover(file(crash.console(crash.crash_lines(recs, in_line=3))))
    lines.sort(key=lambda line: line["seq"])
    assert [stamps(line) for line in lines] == expected(recs) and not summary["damaged"]
    assert [(line.get("cgroup", 0), line.get("start_ns", 0)) for line in lines] == [(r.cgroup, r.start_ns) for r in recs]


@pytest.mark.parametrize("change", [" S8", " O2", " F65536", " P4294967296", " G18446744073709551616", " +x", " Nfifteen.bytes..x",
                                    " W", " W--1", " Z1", " S", " 0", ' 0"open', ' 0"x"+4097', ' 0"xyz"+2', ' -"x"'])  # fmt: skip
def test_a_change_that_is_none(file, change):
    """Nothing of a line is taken of which a part cannot be, however right its check."""
    group = f'G {crash.BOOT_ID[:8]} default 1 1 1 0"good"'
    good = crash.checked(group)
    bad = crash.checked(group + change + ("" if '"' in change else ' 0"x"'))
    _, lines, summary, _ = recover(file(crash.console([bad])))
    assert not lines and summary["damaged"] == 1
    assert len(recover(file(crash.console([good])))[1]) == 1


@pytest.mark.parametrize("line", [crash.record_line, lambda record, **keep: crash.group_line([record], **keep)],
                         ids=["earlier", "now"])  # fmt: skip
def test_a_cut_record(file, line):
    record = crash.Record(b"0123456789" * 10, seq=1)
    whole, cut = line(record), line(record, keep=30)
    _, (line,), _, _ = recover(file(crash.console([cut])))
    assert (line["text"], line["cut"], line["full_len"]) == ("0123456789" * 3, True, 100)
    assert line["boot_id"] == crash.BOOT_ID[:8], "no more is known"
    _, (line,), summary, _ = recover(file(crash.console([cut, whole])))
    assert (line["cut"], summary["duplicates"]) == (False, 1)


def test_names_of_writers(file):
    names = [b"-", b"", b"a b", b'\\"', b"\xff\x01", b"fifteen bytes.."]
    recs = [crash.Record(b"", seq=n + 1, comm=comm) for n, comm in enumerate(names)]
    _, lines, _, _ = recover(file(crash.console(crash.crash_lines(recs))))
    assert [line.get("comm") for line in lines] == ["-", "", "a b", '\\"', None, "fifteen bytes.."]


def test_a_reload_begins_sets_anew(file):
    sets = crash.crash_lines(LINED[:3]) + crash.crash_lines(LINED[3:8])
    _, lines, summary, _ = recover(file(crash.console(sets)))
    assert len(lines) == 8 and not summary["missing_lines"] and not summary["duplicates"]


def test_forged_lines_conflict(file):
    forged = crash.group_line([dataclasses.replace(LINED[0], payload=b"forged")])
    _, lines, summary, _ = recover(file(crash.console(LINES + [forged])))
    assert len(lines) == len(LINED) + 1 and summary["conflicts"] == 1


def test_a_wrong_check_is_no_record(file):
    bad = [line[:-1] + ("0" if line[-1] != "0" else "1") for line in LINES]
    status, lines, summary, _ = recover(file(crash.console(bad)))
    assert (status, lines, summary["damaged"]) == (1, [], len(LINES))


def test_other_messages_of_the_driver_are_not_damaged(file):
    text = "flightrec: 3 channels\nflightrec: Ready\nflightrec: B side\n" * 3
    assert recover(file(text.encode()))[2]["damaged"] == 0


def test_text_and_memory_together(file):
    _, lines, summary, _ = recover(file(crash.console(LINES)), file(IMAGE))
    assert [stamps(line) for line in lines] == expected()
    assert summary["duplicates"] == len(LINED)
    assert {line["source"] for line in lines} == {"memory"}


def test_a_clock_that_jumped(file):
    """Order is that of the numbers; a time that is none is no reason to fail."""
    times = [10**18, 5, 2**64 - 1, 0]
    recs = [crash.Record(b"x", seq=n + 1, boot_ns=n, wall_ns=wall) for n, wall in enumerate(times)]
    path = file(crash.image([crash.Channel().block(0, 1, recs)]))
    assert [line["wall_ns"] for line in recover(path)[1]] == times
    assert flightrec("recover", path).returncode == 0


def test_json_is_as_documented(file):
    """docs/json.md names every member, and no other."""
    documents = (TOP / "docs/json.md").read_text().split("\n## ")
    named = [re.findall(r"`([a-z_]+)`", line.split("|")[1])
             for part in documents[1:3] for line in part.splitlines() if line.startswith("| `")]  # fmt: skip
    binary = crash.Record(b"\xff", seq=1)
    memory = crash.image([crash.Channel("other").block(0, 1, [binary])], mib=1)
    text = crash.console(crash.crash_lines([binary, LINED[1]]))
    _, lines, summary, _ = recover(file(text), file(memory))
    members = set(summary).union(*lines)
    # Of this boot, and of one that is kept, there are names: test_cgroups.py, test_containers.py.
    names = {"cgroup_path", "unit", "container_runtime", "container_id", "container"}
    assert members | names == {name for row in named for name in row}


# ---- what people see


def test_for_people(file):
    recs = [crash.Record(b"tab\there \x1b[2J", seq=1, wall_ns=10**18), *LINED[1:3]]
    done = flightrec("recover", file(crash.console(crash.crash_lines(recs))))
    first, second, third, *_ = done.stdout.splitlines()
    assert first == f"== boot {crash.BOOT_ID}, unverified"
    assert second == "2001-09-09 01:46:40.000000 default  info    writer[40]: tab\\x09here \\x1b[2J"
    assert "3 records recovered, none of them verified" in done.stderr
    assert not flightrec("recover", "-q", file(crash.console(LINES))).stderr


def test_only_the_newest(file):
    """Of several boots, each still with its heading and its end; the summary counts what was printed."""
    log = "".join(f"[ 1.0] Linux version 6.1\\n[ 9.0] Kernel panic - not syncing: number {n}\\n" +
                  crash.console(crash.crash_lines(LINED[:10], boot=boot)).decode()
                  for n, boot in enumerate(["0" * 32, "1" * 32])).encode()  # fmt: skip
    path = file(log)
    everything = flightrec("recover", path).stdout
    for newest in (1, 10, 11, 20, 21):
        done = flightrec("recover", "-n", newest, path)
        assert done.returncode == 0 and f"flightrec: {min(newest, 20)} record" in done.stderr
        heading, _, rest = done.stdout.partition("\n")
        assert heading == f"== boot {('1' if newest <= 10 else '0') * 32}, unverified"
        assert everything.endswith(rest) and rest.count(" writer[") == min(newest, 20)
    lines = flightrec("recover", "-n", 3, "-j", path).stdout.splitlines()
    assert [json.loads(line).get("seq") for line in lines[:3]] == [r.seq for r in LINED[7:10]]
    assert json.loads(lines[3])["summary"]["records"] == 3
    texts = flightrec("recover", "-n", 2, "-p", "err", "-o", "cat", path).stdout.splitlines()
    assert len(texts) == 2 and texts == flightrec("recover", "-p", "err", "-o", "cat", path).stdout.splitlines()[-2:]
    assert flightrec("recover", "-n", 0, path).returncode == flightrec("recover", "-n", "x", path).returncode == 2


def test_no_room_to_hold_the_newest_back(file):
    """A file that may not grow stands for the full disk: nothing is printed as if it were all."""
    recs = [crash.Record(b"x" * 60, seq=n) for n in range(1, 301)]
    path = file(crash.console(crash.crash_lines(recs)))
    build()

    def bound():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))

    done = subprocess.run([PLAIN, "recover", "-n", "299", path], capture_output=True, text=True, timeout=60,
                          preexec_fn=bound)  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "") and "temporary file: File too large" in done.stderr, done


def test_records_that_nobody_asked_for_were_found_all_the_same(file):
    path = file(crash.console(LINES))
    for options in (["-c", "other"], ["-b", "ffff"], ["-g", "no such text"]):
        done = flightrec("recover", *options, path)
        assert done.returncode == 1
        assert done.stderr == f"flightrec: none of the {len(LINED)} records found is what the options ask for\n"
    assert flightrec("recover", file(b"nothing")).stderr == "flightrec: no record found\n"


def test_standard_input_may_be_a_pipe():
    done = flightrec("recover", "--json", "-", input=crash.elf([(0, IMAGE)]), text=False)
    assert done.returncode == 0 and done.stdout.count(b"\n") == len(RECORDS) + 1


def test_a_full_disk_is_said(file):
    build()
    with open("/dev/full", "w") as full:
        done = subprocess.run([SANITIZED, "recover", file(IMAGE)], stdout=full,
                              stderr=subprocess.PIPE, text=True)  # fmt: skip
    assert done.returncode == 1 and "standard output: No space left on device" in done.stderr


@pytest.mark.parametrize("kind", ["raw", "elf", "kdump zlib", "lime", "flattened kdump"])
def test_no_leak(file, kind):
    blocks = crash.Channel().fill(RECORDS[:200], cpus=2).blocks
    image = crash.image(blocks, mib=1)
    make = {"raw": lambda i: i, "elf": lambda i: crash.elf([(0, i)]), "kdump zlib": crash.kdump,
            "lime": lambda i: crash.lime([(0, i)]),
            "flattened kdump": lambda i: crash.flattened(crash.kdump(i))}[kind]  # fmt: skip
    status, lines, _, errors = recover(file(make(image)), file(crash.console(LINES)), valgrind=True)
    assert (status, errors) == (0, "") and len(lines) == 200


def test_address_space_is_not_the_files_size(file):
    """What is not mapped needs no memory: 200 MiB are enough for anything."""
    build()
    limit = (200 * MIB, 200 * MIB)
    done = subprocess.run([PLAIN, "recover", "-q", file(IMAGE)], stdout=subprocess.DEVNULL,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, limit))  # fmt: skip
    assert done.returncode == 0
