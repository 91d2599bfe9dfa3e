# SPDX-License-Identifier: GPL-2.0-or-later
"""Guests that boot a stock kernel directly, with an initramfs, in seconds.

No firmware, no boot loader, no disk: the quickest way to run a script or a
static test program on a given kernel.  guest-init.sh is process 1 in the
guest; it runs the caller's script, which reports with the functions of
guest-lib.sh.
"""

import functools
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from tests.lib import initramfs
from tests.lib.guest import Guest
from tests.lib.kernels import kernel
from tests.lib.scratch import scratch

HERE = Path(__file__).parent

# The kernel's last words before process 1, and those of one that the emulator broke.
PROCESS_1 = "Run /init as init process"
STALE_BREAKPOINT = "Oops: int3: "

# The machine may be noisy: a CPU of the guest that gets no time for a while is
# not a stall of the guest's kernel, nor is its timer broken.
PATIENCE = "no_timer_check rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=60"


ARM64 = {"program": "qemu-system-aarch64", "machine": "virt", "cpu": "cortex-a72", "accel": "tcg"}
COMPILERS = {"amd64": "gcc", "arm64": "aarch64-linux-gnu-gcc"}


def build_initramfs(target, files, script, into, **contents):
    """The initramfs for the Kernel TARGET that runs SCRIPT; see initramfs.build()."""
    fixed = {
        "init": HERE / "guest-init.sh",
        **reporting(target.arch),
        "main": f". /lib/guest.sh\n{script}",
    }
    return initramfs.build(target, {**files, **fixed}, into, **contents)


@functools.cache
def reporting(arch):
    """What a guest of that architecture needs to report results: files of an initramfs."""
    program = compile_static([HERE / "verdict.c"], scratch("verdict-") / "verdict",
                             compiler=COMPILERS[arch])  # fmt: skip
    return {"lib/guest.sh": HERE / "guest-lib.sh", "bin/verdict": program}


class DirectGuest(Guest):
    """A Guest whose start ends when its kernel runs process 1, or ended before.

    With several CPUs, QEMU sometimes runs a breakpoint that the kernel, patching its own
    code, has already taken away (tests/guest/modules/guest-int3.c says why, and helps once it
    is loaded): the kernel then dies of an int3 that nobody set (some boots in a thousand).
    Seldom a boot of 7.3 stops with all CPUs busy, and seldom QEMU aborts while the kernel maps
    PCI devices, since a thread of it looks into a map of memory that another one exchanges.
    Such a boot is started again: no code of ours ran in it.  What happens from process 1 on
    counts.
    """

    BOOTS = 3
    BOOT_TIMEOUT = 150  # seconds; an idle machine needs 5, a noisy one 60

    def __init__(self, args, *, boot_timeout=None, **settings):
        super().__init__(args, **settings)
        self.boot_timeout = boot_timeout or self.BOOT_TIMEOUT

    def start(self):
        """Start QEMU, and wait for process 1."""
        for left in reversed(range(self.BOOTS)):
            super().start()
            trouble = self._wait_process_1()
            if not (left and trouble):
                return
            self.kill()
            print(f"{self.name}: {trouble}; once more")

    def _wait_process_1(self):
        """What the emulator did to the boot; None: nothing."""
        deadline = time.monotonic() + self.boot_timeout
        while True:
            running = self.running()
            self.console.update()
            if emulator_failed(self.console.text):
                return "a stale breakpoint of the emulator ended the boot"
            if PROCESS_1 in self.console.text:
                return None
            if not running:
                aborted = self.process.returncode == -signal.SIGABRT
                return "the emulator aborted by itself" if aborted else None
            if time.monotonic() > deadline:
                return f"{self.boot_timeout} s without process 1"
            time.sleep(0.1)


def emulator_failed(console):
    """Did QEMU's emulation end the boot whose CONSOLE this is?"""
    before, breakpoint_hit, _ = console.partition(STALE_BREAKPOINT)
    return bool(breakpoint_hit) and PROCESS_1 not in before


def direct_guest(name, files, script, workdir, *, modules=(), stock=(), append="",
                 oops_panics=True, reboot=False, args=(), **settings):  # fmt: skip
    """A DirectGuest, not yet started, that boots kernel NAME ("6.1", or a Kernel) and runs SCRIPT.

    FILES, MODULES and STOCK go into its initramfs (see initramfs.build()),
    APPEND to the kernel's command line, ARGS to QEMU's, SETTINGS to Guest.  A panic ends it at
    once, or with REBOOT boots it again; so does an oops, unless OOPS_PANICS is false.
    """
    target = kernel(name)
    workdir = Path(workdir)
    archive = build_initramfs(
        target, files, script, workdir / "initramfs", modules=modules, stock=stock
    )
    if target.arch == "arm64":
        settings = {**ARM64, **settings}
    console = "ttyAMA0" if target.arch == "arm64" else "ttyS0"
    line = f"console={console} rdinit=/init panic=-1 {PATIENCE} {append}"
    if oops_panics:
        line += " oops=panic"
    arguments = ["-kernel", target.vmlinuz, "-initrd", archive, "-append", line]
    return DirectGuest(
        [str(a) for a in [*arguments, *args]],
        name=f"linux-{target.name}",
        workdir=workdir,
        reboot=reboot,
        **settings,
    )


def run_direct(name, files, script, timeout=300, *, allow=(), **options):
    """Boot kernel NAME, run SCRIPT in it until it powers off; the Verdict.

    ALLOW lists patterns of kernel complaints that the script provokes.  The
    other OPTIONS are those of direct_guest().
    """
    with tempfile.TemporaryDirectory(prefix="direct-") as workdir:
        with direct_guest(name, files, script, workdir, **options) as guest:
            return guest.wait_verdict(timeout, f"the end of {guest.name}", exits=True, allow=allow)


def compile_static(sources, program, flags=(), compiler="gcc"):
    """Compile C SOURCES into the static PROGRAM for guests; its path."""
    command = [compiler, "-static", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
    subprocess.run([*command, *flags, "-o", program, *sources], check=True)
    return Path(program)
