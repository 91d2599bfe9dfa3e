# SPDX-License-Identifier: GPL-2.0-or-later
"""How guests are run: by KVM where it works, else by emulation.

That /dev/kvm exists says little: inside a virtual machine QEMU may end at once
on it, or a stock kernel may never come up.  So KVM is used only after a stock
kernel has booted with it; asked once per boot of this machine and emulator.

FLIGHTREC_ACCEL in the environment (kvm, tcg) overrides the answer.
"""

import os
import subprocess
import tempfile
from pathlib import Path

from tests.lib import emulator, initramfs
from tests.lib.cache import cache_dir, cached, say
from tests.lib.emulator import EMULATION
from tests.lib.kernels import kernel

LIMIT = 60  # seconds; with KVM it takes 2
WORD = "kvm-boots-a-stock-kernel"
INIT = f"#!/bin/sh\necho {WORD}\npoweroff -f\n"


def accel():
    """The argument for QEMU's -accel."""
    if os.environ.get("FLIGHTREC_ACCEL"):
        return os.environ["FLIGHTREC_ACCEL"]
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return EMULATION
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return cached("accel", f"{boot}-{emulator.root().name}", _probe).read_text(encoding="ascii")


def _probe(answer):
    """Write to ANSWER whether KVM boots a stock kernel; forget the earlier boots' answers."""
    for old in cache_dir("accel").iterdir():
        old.unlink()
    works = _kvm_boots()
    if not works:
        say("KVM does not boot a stock kernel here: guests are emulated")
    answer.write_text("kvm" if works else EMULATION, encoding="ascii")


def _kvm_boots():
    target = kernel("6.1")
    with tempfile.TemporaryDirectory(prefix="kvm-") as directory:
        archive = initramfs.build(target, {"init": INIT}, Path(directory, "initramfs"))
        command = [
            *emulator.command(), "-nodefaults", "-display", "none", "-serial", "stdio",
            "-accel", "kvm", "-cpu", "max", "-machine", "q35", "-m", "512M", "-smp", "2",
            "-no-reboot", "-kernel", target.vmlinuz, "-initrd", archive,
            "-append", "console=ttyS0 rdinit=/init panic=-1",
        ]  # fmt: skip
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=LIMIT
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0 and WORD.encode() in done.stdout
