# SPDX-License-Identifier: GPL-2.0-only
"""Guests that boot a stock kernel directly, with an initramfs, in seconds.

No firmware, no boot loader, no disk: the quickest way to run a script or a
static test program on a given kernel.  guest-init.sh is process 1 in the
guest; it runs the caller's script, which reports with the functions of
guest-lib.sh.
"""

import subprocess
import tempfile
from pathlib import Path

from tests.lib import initramfs
from tests.lib.guest import Guest
from tests.lib.kernels import kernel

HERE = Path(__file__).parent

# The machine may be noisy: a CPU of the guest that gets no time for a while is
# not a stall of the guest's kernel.
PATIENCE = "rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=60"


def build_initramfs(target, files, script, into, **contents):
    """The initramfs for the Kernel TARGET that runs SCRIPT; see initramfs.build()."""
    fixed = {
        "init": HERE / "guest-init.sh",
        "lib/guest.sh": HERE / "guest-lib.sh",
        "main": f". /lib/guest.sh\n{script}",
    }
    return initramfs.build(target, {**files, **fixed}, into, **contents)


def direct_guest(name, files, script, workdir, *, modules=(), stock=(), append="",
                 oops_panics=True, reboot=False, **settings):  # fmt: skip
    """A Guest, not yet started, that boots kernel NAME ("6.1") and runs SCRIPT.

    FILES, MODULES and STOCK go into its initramfs (see initramfs.build()),
    APPEND to the kernel's command line, SETTINGS to Guest.  A panic ends it at
    once, or with REBOOT boots it again; so does an oops, unless OOPS_PANICS is false.
    """
    target = kernel(name)
    workdir = Path(workdir)
    archive = build_initramfs(
        target, files, script, workdir / "initramfs", modules=modules, stock=stock
    )
    line = f"console=ttyS0 rdinit=/init panic=-1 {PATIENCE} {append}"
    if oops_panics:
        line += " oops=panic"
    arguments = ["-kernel", target.vmlinuz, "-initrd", archive, "-append", line]
    return Guest(
        [str(a) for a in arguments],
        name=f"linux-{name}",
        workdir=workdir,
        reboot=reboot,
        **settings,
    )


def run_direct(name, files, script, timeout=300, *, allow=(), **options):
    """Boot kernel NAME, run SCRIPT in it until it powers off; the Verdict.

    ALLOW lists patterns of kernel complaints that the script provokes.  The
    other OPTIONS are those of direct_guest().
    """
    for _ in range(2):
        with tempfile.TemporaryDirectory(prefix="direct-") as workdir:
            with direct_guest(name, files, script, workdir, **options) as guest:
                verdict = guest.wait_verdict(timeout, f"the end of {guest.name}", exits=True,
                                             allow=allow)  # fmt: skip
        if not emulator_failed(verdict):
            break
    return verdict


def emulator_failed(verdict):
    """Did QEMU's emulation end the boot?

    With several CPUs it sometimes runs a breakpoint that the kernel, patching its
    own code, has already taken away (seen once in some hundred boots of 7.3).  Only
    before the script's first result: afterwards it would be the script's failure.
    """
    started = verdict.passed or verdict.failed or verdict.skipped
    return not started and any("Oops: int3: " in problem for problem in verdict.problems)


def compile_static(sources, program, flags=()):
    """Compile C SOURCES into the static PROGRAM for guests; its path."""
    command = ["gcc", "-static", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-pthread"]
    subprocess.run([*command, *flags, "-o", program, *sources], check=True)
    return Path(program)
