# SPDX-License-Identifier: GPL-2.0-or-later
"""herd7 with the memory model of the kernel: both Debian's, run from the cache."""

import subprocess

from tests.lib import apt
from tests.lib.cache import cached, digest, progress

SUITE = "sid"  # the only one that has herdtools7
SOURCE = "linux-source-7.2"
PACKAGES = ["herdtools7", "libc6", "libgmp10", SOURCE]
LOADER = "usr/lib64/ld-linux-x86-64.so.2"
LIBRARIES = "usr/lib/x86_64-linux-gnu"


def verdict(litmus):
    """What herd7 observes of the outcome that the file LITMUS asks for.

    "Never", "Sometimes" or "Always"; a data race, too, is an error here.
    """
    tree = _tree()
    command = [
        tree / LOADER, "--library-path", tree / LIBRARIES,
        tree / "usr/bin/herd7", "-set-libdir", tree / "usr/share/herdtools7/herd",
        "-conf", "linux-kernel.cfg", litmus,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tree / "memory-model", text=True, capture_output=True,
                          timeout=120)  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert "Flag data-race" not in done.stdout, done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("Observation ")]
    return line.split()[2]


def _tree():
    debs = sorted(apt.download(SUITE, PACKAGES).glob("*.deb"))
    return cached("herd", digest([deb.name for deb in debs]), lambda path: _unpack(debs, path))


def _unpack(debs, into):
    with progress("unpack herd7 and the kernel's memory model"):
        for deb in debs:
            apt.extract(deb, into)
        archive = into / f"usr/src/{SOURCE}.tar.xz"
        model = f"{SOURCE}/tools/memory-model"
        subprocess.run(["tar", "-C", into, "--strip-components=2", "-xf", archive, model], check=True)
        archive.unlink()
