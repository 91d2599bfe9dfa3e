# SPDX-License-Identifier: GPL-2.0-or-later
"""What the compiler makes of our driver, kept by ccache for whoever compiles it again.

A guest's compiler is emulated, and needs ten times as long; and the chroots compile the
same sources again and again. So ccache, through which the system calls its compiler, has
what that very compiler made of the same sources, headers and arguments, all of which it
compares by content.  With FULL=1 it has nothing, and everybody compiles.
"""

import os
import shutil
from pathlib import Path

from tests.lib.cache import cache_dir, cached, digest, progress
from tests.rpm import payload, system

# Trees of dkms, each with directories of its own that are part of what is compared: where
# a package being installed is built first, and where it is built for a new kernel.
STAGE, TREE = "/var/lib/kmodkeep/dkms/flightrec/stage", "/var/lib/dkms"

WANTED = not os.environ.get("FULL")


def ready(sources, builds):
    """True if add() has nothing to make for these, or nothing to do."""
    return not WANTED or (cache_dir("ccache") / _key(sources, builds)).exists()


def add(repositories, sources, builds):
    """Put ccache's directory into REPOSITORIES, from where guests and chroots read it.

    BUILDS, {(version, kernel, tree of dkms): package}, says what to compile, and SOURCES
    is the content of all files in those packages that the compiler reads: a list of bytes.
    """
    if WANTED:
        made = cached("ccache", _key(sources, builds), lambda target: _make(target, builds))
        shutil.copytree(made, repositories / system.CCACHE.name)


def _key(sources, builds):
    kernels = [_devel(kernel).name for _, kernel, _ in builds]
    code = Path(__file__).read_bytes()
    return digest(system.root().name, code, kernels, sources, list(builds))


def _devel(kernel):
    """The package kernel-devel of KERNEL, a series."""
    package, = payload.directory(f"kernel-{kernel}").glob("kernel-devel-*.rpm")
    return package


def _make(target, builds):
    with progress("RPM: compile the driver, for ccache"), system.System() as clone:
        place = clone.path / system.CCACHE.relative_to("/")
        place.mkdir(parents=True)
        for kernel in {kernel for _, kernel, _ in builds}:
            _unpack(clone, _devel(kernel))
        for (version, kernel, tree), package in builds.items():
            _unpack(clone, package)
            # As dkms does it, where dkms does it.
            build = f"{tree}/flightrec/{version}/build"
            clone.run(f"cd /lib/modules/{kernel}.*; release=${{PWD##*/}}; mkdir -p {build};"
                      f"cp -a /usr/src/flightrec-{version}/. {build}; cd {build};"
                      "make -j$(nproc) KDIR=/lib/modules/$release/build modules",
                      env={"CCACHE_NOREADONLY_DIRECT": "1"})
        shutil.copytree(place, target)


def _unpack(clone, package):
    """Unpack the files of PACKAGE in CLONE, without what installing it would do."""
    shutil.copy(package, clone.path / "package.rpm")
    clone.run("rpm2cpio /package.rpm | cpio -idmu --quiet; rm /package.rpm")
