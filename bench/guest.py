# SPDX-License-Identifier: GPL-2.0-or-later
"""The guests in which things are counted, and what they report.

A counting guest is emulated with -icount: it lives one nanosecond per
instruction, so a difference of its time stamp counter is an exact number of
instructions, whatever else runs on this machine.
"""

from pathlib import Path

from tests.lib.accel import accel
from tests.lib.guest import Guest
from tests.lib.kernels import build_modules, kernel
from tests.qemu.direct import PATIENCE, build_initramfs, compile_static

TOP = Path(__file__).parents[1]
PROGRAMS = Path(__file__).parent / "programs"

# By CPU a kernel chooses how it copies and clears, and which one "max" is changes with the
# emulator. This one is of the kind that most have been for long: 6.1 copies on it by "rep
# movsq", words, of which each step counts as an instruction. With the others it would be
# "rep movsb" and "rep stosb", of which each byte would.
CPU = ("max,vendor=AuthenticAMD,family=15,model=107,stepping=1,"
       "erms=off,fsrm=off,fsrs=off,fsrc=off,fzrm=off")
COPIES_BY_WORDS = """
check copies-by-words sh -c '
    grep -qw rep_good /proc/cpuinfo && ! grep -Ewq "erms|fsrm|fsrs|fsrc|fzrm" /proc/cpuinfo'
"""
ICOUNT = ["-icount", "shift=0,sleep=off"]

# tsc=reliable: no watchdog may replace the clock. printk.devkmsg=on: no rate
# limit, which would make /dev/kmsg look cheap because it drops. loglevel=1:
# what is written there is not printed on the emulated serial port.
COMMAND_LINE = "tsc=reliable clocksource=tsc printk.devkmsg=on loglevel=1"

TRACEFS = "mount -t tracefs tracefs /sys/kernel/tracing"
# The quota is on, as everywhere, and so high that no loop of writes reaches it.
CHANNEL = "channels=default size_kb=1024 events=none quota=4294967295"


def compile_programs(directory):
    """The program that runs in the guests, built in DIRECTORY."""
    return compile_static(
        sorted(PROGRAMS.glob("*.c")), Path(directory, "bench"), ["-std=gnu11"]
    )


def bench_guest(name, script, workdir, *, counting=True, arguments=(), append="", **settings):
    """A Guest, not yet started, that runs SCRIPT with the program and the modules.

    What SCRIPT notes (see guest-lib.sh) is in the Verdict.
    """
    target = kernel(name)
    workdir = Path(workdir)
    built = build_modules(name, TOP / "src")
    archive = build_initramfs(
        target,
        {"bench": compile_programs(workdir)},
        COPIES_BY_WORDS + script,
        workdir / "initramfs",
        modules=sorted(built.glob("*.ko")),
    )
    line = f"console=ttyS0 rdinit=/init panic=-1 oops=panic {PATIENCE} {COMMAND_LINE} {append}"
    return Guest(
        [str(a) for a in (
            "-kernel", target.vmlinuz, "-initrd", archive, "-append", line,
            *(ICOUNT if counting else []), *arguments,
        )],
        name=f"bench-{name}",
        workdir=workdir,
        reboot=False,
        cpu=CPU,
        accel="tcg" if counting else accel(),
        **settings,
    )  # fmt: skip
