# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU as Debian 13 has it, whatever this machine has.

    python3 -m tests.lib.emulator      fetch it now

Version 10 needs half the processor time of version 7.2 for what guests do here, a
compiler most of all.  It runs with its own dynamic loader and libraries, but without
a change of root: it sees the files that this machine has.
"""

from tests.lib.cache import cached, digest, progress
from tests.lib.roots import mmdebstrap

SUITE = "trixie"
PACKAGES = ["qemu-system-x86", "qemu-system-arm"]

EMULATION = "tcg"

# An x86 without AVX and a quick `rep movsb`, which emulation does by slow detours, and
# programs would choose for being quick; and with four levels of page tables, not five.
EMULATED_CPU = ("max,avx=off,avx2=off,f16c=off,fma=off,vaes=off,vpclmulqdq=off,"
                "erms=off,fsrm=off,la57=off")


def root():
    """The directory that QEMU was unpacked in, made now if need be.  Never write to it."""
    return cached("roots", f"emulator-{digest(SUITE, PACKAGES)}", _make)


def command(program="qemu-system-x86_64"):
    """How to start PROGRAM, the emulator of one architecture: the first words of a command."""
    tree = root()
    libraries = tree / "usr/lib/x86_64-linux-gnu"
    return [
        "env", f"QEMU_MODULE_DIR={libraries / 'qemu'}",
        tree / "usr/lib64/ld-linux-x86-64.so.2", "--inhibit-cache", "--library-path", libraries,
        tree / "usr/bin" / program,
        "-L", tree / "usr/share/qemu", "-L", tree / "usr/share/seabios",
    ]  # fmt: skip


def best_cpu(accel):
    """The argument for -cpu of an x86, where -accel has the argument ACCEL."""
    return EMULATED_CPU if accel == EMULATION else "max"


def _make(target):
    with progress("emulator"):
        # Unpacked is enough: nothing in it is ever configured or started but QEMU.
        mmdebstrap(SUITE, PACKAGES, target, variant="extract")


if __name__ == "__main__":
    root()
