# SPDX-License-Identifier: GPL-2.0-only
"""The guests in which things are counted, and what they report.

A counting guest is emulated with -icount: it lives one nanosecond per
instruction, so a difference of its time stamp counter is an exact number of
instructions, whatever else runs on this machine.
"""

import re
import tempfile
from pathlib import Path

from tests.lib.accel import accel
from tests.lib.cache import progress
from tests.lib.guest import Guest
from tests.lib.kernels import build_modules, kernel
from tests.qemu.direct import PATIENCE, build_initramfs, compile_static

TOP = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"

# Without erms and fsrm the kernel copies by words: QEMU counts each step of a
# "rep movsb", which would hide everything else.
CPU = "max,-erms,-fsrm"
ICOUNT = ["-icount", "shift=0,sleep=off"]

# tsc=reliable: no watchdog may replace the clock. printk.devkmsg=on: no rate
# limit, which would make /dev/kmsg look cheap because it drops. loglevel=1:
# what is written there is not printed on the emulated serial port.
COMMAND_LINE = "tsc=reliable clocksource=tsc printk.devkmsg=on loglevel=1"

TRACEFS = "mount -t tracefs tracefs /sys/kernel/tracing"
# The quota is on, as everywhere, and so high that no loop of writes reaches it.
CHANNEL = "channels=default size_kb=1024 events=none quota=4294967295"

# One guest for all that is compared.
COUNT_SCRIPT = f"""
{TRACEFS}
check memory sh -c '/bench memory /modules/flightrec.ko /modules/flightrec-events.ko >/dev/ttyS2'
check load insmod /modules/flightrec.ko {CHANNEL}
check count sh -c '/bench count >/dev/ttyS2'
check readers sh -c '/bench readers >/dev/ttyS2'
check reading sh -c '/bench reading >/dev/ttyS2'
check unload rmmod flightrec
"""

# Records of four CPUs need four CPUs: they take turns on the same clock, and
# while one reads the others are halted.
INTERLEAVED_SCRIPT = f"""
check online /bench online
check load insmod /modules/flightrec.ko {CHANNEL}
check interleaved sh -c '/bench reading >/dev/ttyS2'
check unload rmmod flightrec
"""

WALL_SCRIPT = f"""
{TRACEFS}
check load insmod /modules/flightrec.ko {CHANNEL}
check wall sh -c '/bench wall >/dev/ttyS2'
check unload rmmod flightrec
"""

RESULT = re.compile(r"result (\S+) (\d+) (-?[\d.]+)")


class BenchFailed(AssertionError):
    """A guest did not do all it should; the text has its last lines."""


def compile_programs(directory):
    """The program that runs in the guests, built in DIRECTORY."""
    return compile_static(
        sorted(PROGRAMS.glob("*.c")), Path(directory, "bench"), ["-std=gnu11"]
    )


def bench_guest(name, script, workdir, *, counting=True, arguments=(), append="", **settings):
    """A Guest, not yet started, that runs SCRIPT with the program and the modules.

    What SCRIPT writes to /dev/ttyS2 is in WORKDIR/results.log.
    """
    target = kernel(name)
    workdir = Path(workdir)
    built = build_modules(name, TOP / "src")
    archive = build_initramfs(
        target,
        {"bench": compile_programs(workdir)},
        f"stty -F /dev/ttyS2 raw -echo 115200\n{script}",
        workdir / "initramfs",
        modules=sorted(built.glob("*.ko")),
    )
    line = f"console=ttyS0 rdinit=/init panic=-1 oops=panic {PATIENCE} {COMMAND_LINE} {append}"
    results = f"file,id=results,path={workdir / 'results.log'}"
    return Guest(
        [str(a) for a in (
            "-kernel", target.vmlinuz, "-initrd", archive, "-append", line,
            "-chardev", results, "-serial", "chardev:results",
            *(ICOUNT if counting else []), *arguments,
        )],
        name=f"bench-{name}",
        workdir=workdir,
        reboot=False,
        cpu=CPU,
        accel="tcg" if counting else accel(),
        **settings,
    )  # fmt: skip


def parse_results(text):
    """{(name, bytes): value} of the lines of results."""
    return {(m[1], int(m[2])): float(m[3]) for m in RESULT.finditer(text)}


def run(name, script, *, timeout=1200, **options):
    """Run SCRIPT in a guest with kernel NAME; what it measured, and the lines of what failed."""
    with tempfile.TemporaryDirectory(prefix="bench-") as workdir:
        with bench_guest(name, script, workdir, **options) as guest:
            verdict = guest.wait_verdict(timeout, f"the end of {guest.name}", exits=True)
        results = parse_results(Path(workdir, "results.log").read_text(encoding="ascii"))
    if not verdict.ok:
        return results, [f"kernel {name}: {line}" for line in verdict.explain().splitlines()]
    return results, []


def measure(name, wall=True):
    """All measurements with kernel NAME: {(name, bytes): value}, and lines of what failed."""
    parts = [
        (COUNT_SCRIPT, {"cpus": 1}),
        (INTERLEAVED_SCRIPT, {"cpus": 4, "append": "maxcpus=1"}),
    ]
    if wall:
        parts.append((WALL_SCRIPT, {"cpus": 2, "counting": False}))
    results, problems = {}, []
    for script, options in parts:
        with progress(f"bench: kernel {name}, guest with CPUs: {options['cpus']}"):
            more, failed = run(name, script, **options)
        results.update(more)
        problems += failed
    return results, problems
