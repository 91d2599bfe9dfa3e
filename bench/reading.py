# SPDX-License-Identifier: GPL-2.0-or-later
"""How fast records are read, beside journalctl with the same content; how long a dump takes.

    python3 -m bench.reading [--mib 1024] [--journal 200000]

A file stands for the channel, and no disk is waited for: what counts is the processor time of
one program. The journal has the first records of the channel, as systemd-journal-remote(8)
takes them from "flightrec read -o export"; making it is what takes long.

Exits 0 if each way of reading manages a million records a second, and collect keeps within
the memory that recover has.
"""

import argparse
import random
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.unit.lib import crashdata

TOP = Path(__file__).resolve().parents[1]
REMOTE = "/lib/systemd/systemd-journal-remote"

RECORD_BYTES = 128
LEAST = 1_000_000
MEMORY_LIMIT = 64 << 10  # KiB, of recover and of collect
MIB = 1 << 20
WALL = 1_700_000_000 * 10**9
SEVERITIES = [6, 6, 6, 5, 6, 7, 4, 3]

# What is read, in each of them: name, flightrec's options, journalctl's.
WAYS = [
    ("a pattern that no record has", ["-g", "no such thing"], ["-g", "no such thing"]),
    ("one severity of eight", ["-p", "err", "-o", "cat"], ["-p", "err", "-o", "cat"]),
    ("all, the text alone", ["-o", "cat"], ["-o", "cat"]),
    ("all, JSON", ["-o", "json"], ["-o", "json"]),
]


class Used(NamedTuple):
    """What a program took: seconds of the processor, KiB of memory."""

    seconds: float
    memory: int


def run(*command):
    """Run it: Used. Its memory is its own, since a small process starts it."""
    code = ("import resource, subprocess, sys\n"
            "status = subprocess.call(sys.argv[1:], stdout=subprocess.DEVNULL)\n"
            "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
            "print(status, used.ru_utime + used.ru_stime, used.ru_maxrss)\n")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code, *map(str, command)], stdout=subprocess.PIPE,
                          text=True, check=True)  # fmt: skip
    status, seconds, memory = done.stdout.split()
    # journalctl's 1: no line has the pattern.
    if int(status) and not (int(status) == 1 and "-g" in command):
        raise SystemExit(f"{' '.join(map(str, command))}: exit status {status}")
    return Used(float(seconds), int(memory))


def build(work):
    """flightrec as it is packaged, but for its places, which are in WORK."""
    places = {"DEV": "dev", "PROC": "proc", "STATE": "state", "MOTD": "motd", "WATCHDOGS": "watchdog",
              "METRICS": "metrics", "CRASH_PLACES": "crash"}  # fmt: skip
    flags = " ".join(rf'-DFLIGHTREC_{name}=\"{work / place}\"' for name, place in places.items())
    subprocess.run(["make", "-s", "-C", TOP / "tools", f"BUILDDIR={work / 'build'}", "LIBFLIGHTREC=static",
                    f"CFLAGS=-O2 -g -DFLIGHTREC_FILES_ARE_CHANNELS=1 {flags}"], check=True)  # fmt: skip
    return work / "build/flightrec"


def record(number):
    """The record of a number, as read(2) delivers it."""
    made = crashdata.Record(
        f"an event, number {number % 10**7:07}".encode(), seq=number,
        boot_ns=number * 1000, wall_ns=WALL + number * 1000, severity=SEVERITIES[number % 8],
        pid=1000 + number % 7, comm=b"application")  # fmt: skip
    return crashdata.delivered([made])


def write_channel(path, count):
    """COUNT records; the same ones again and again but for their numbers and times."""
    round_ = 1000
    part = bytearray(b"".join(record(number) for number in range(1, round_ + 1)))
    assert len(part) == RECORD_BYTES * round_
    with open(path, "wb") as out:
        for first in range(1, count + 1, round_):
            for n in range(min(round_, count + 1 - first)):
                number = first + n
                struct.pack_into("<QQQ", part, n * RECORD_BYTES + 16, number, number * 1000, WALL + number * 1000)
            out.write(part[: min(round_, count + 1 - first) * RECORD_BYTES])


def write_dump(path, mib):
    """Memory of MIB that is not empty, with a ring in it."""
    blocks = crashdata.Channel().fill([
        crashdata.Record(b"an event of the usual length", seq=n, boot_ns=n * 1000, wall_ns=WALL + n * 1000, cpu=n % 4)
        for n in range(1, 100_001)], 4).blocks  # fmt: skip
    page = random.Random(5).randbytes(MIB)
    with open(path, "wb") as out:
        for _ in range(mib):
            out.write(page)
        out.seek(mib * MIB // 3 & -MIB)
        out.write(b"".join(blocks))


def compare(program, work, mib, journal):
    """Print a line for each way: is flightrec fast enough in all?"""
    count = mib * MIB // RECORD_BYTES
    write_channel(work / "dev/default", journal)
    with subprocess.Popen([program, "read", "-o", "export"], stdout=subprocess.PIPE) as export:
        # Into a directory: it begins a new file now and then.
        subprocess.run([REMOTE, "-o", work / "journal/all.journal", "-"], stdin=export.stdout, check=True,
                       stdout=subprocess.DEVNULL)  # fmt: skip
    write_channel(work / "dev/default", count)
    print(f"\nrecords a second of the processor: {count:,} in flightrec ({mib} MiB), the first "
          f"{journal:,} in the journal\n")  # fmt: skip
    print(f"{'':<32}{'flightrec':>12}{'journalctl':>12}{'ratio':>8}")
    enough = True
    for name, ours, theirs in WAYS:
        rate = count / run(program, "read", *ours).seconds
        peer = journal / run("journalctl", "-q", "--no-pager", "-D", work / "journal", *theirs).seconds
        enough &= rate >= LEAST
        print(f"{name:<32}{rate:>12,.0f}{peer:>12,.0f}{rate / peer:>8.0f}", flush=True)
    return enough


def dumps(program, work, mib):
    """Print what a dump takes: is it within the limits?"""
    directory = work / "crash/202601010000"
    directory.mkdir(parents=True)
    dump = directory / "dump.202601010000"
    write_dump(dump, mib)
    print(f"\na dump of {mib} MiB\n")
    within = True
    for name, command in (("recover", ["recover", dump]), ("collect", ["collect"])):
        used = run(program, *command)
        within &= used.memory <= MEMORY_LIMIT
        print(f"{name:<32}{used.seconds:>10.1f} s{used.memory / 1024:>10.0f} MiB", flush=True)
    return within


def main():
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.reading", description="How fast records are read.")
    parser.add_argument("--mib", type=int, default=1024, help="of records in the channel")
    parser.add_argument("--journal", type=int, default=200_000, help="records in the journal")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-reading-", dir="/var/tmp") as directory:
        work = Path(directory)
        for place in ("dev", "proc", "state", "motd", "journal"):
            (work / place).mkdir()
        program = build(work)
        fast = compare(program, work, options.mib, options.journal)
        small = dumps(program, work, 2 * options.mib)
    print(f"\na million records a second: {'yes' if fast else 'NO'}; "
          f"a dump within {MEMORY_LIMIT >> 10} MiB of memory: {'yes' if small else 'NO'}")  # fmt: skip
    return 0 if fast and small else 1


if __name__ == "__main__":
    sys.exit(main())
