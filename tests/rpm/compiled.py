# SPDX-License-Identifier: GPL-2.0-only
"""What the compiler makes of our driver, kept by ccache for whoever compiles it again.

A guest's compiler is emulated, and needs ten times as long; and the chroots compile the
same sources again and again. So ccache, through which the system calls its compiler, has
what that very compiler made of the same sources, headers and arguments, all of which it
compares by content.  With FULL=1 it has nothing, and everybody compiles.
"""

import os
import shutil

from tests.lib.cache import cached, digest, progress
from tests.rpm import payload, system

PLACE = "ccache"  # beside the repositories; system.CCACHE has the path

# Trees of dkms, each with directories of its own that are part of what is compared: where
# a package being installed is built first, and where it is built for a new kernel.
STAGE, TREE = "/var/lib/kmodkeep/dkms/flightrec/stage", "/var/lib/dkms"


def add(tree, sources, packages):
    """Put it into the directory TREE.

    SOURCES is what the driver in PACKAGES is made from, {(version, kernel, tree): package}.
    """
    if os.environ.get("FULL"):
        return
    key = digest(system.root().name, sources, [list(what) for what in packages])
    made = cached("compiled", key, lambda target: _make(target, packages))
    shutil.copytree(made, tree / PLACE)


def _make(target, packages):
    with progress("RPM: compile the driver, for ccache"), system.System() as clone:
        (clone.path / "srv/packages" / PLACE).mkdir(parents=True)
        for kernel in {kernel for _, kernel, _ in packages}:
            devel, = payload.directory(f"kernel-{kernel}").glob("kernel-devel-*.rpm")
            _unpack(clone, devel)
        for (version, kernel, tree), package in packages.items():
            _unpack(clone, package)
            # As dkms does it, where dkms does it.
            build = f"{tree}/flightrec/{version}/build"
            clone.run(f"cd /lib/modules/{kernel}.*; release=${{PWD##*/}}; mkdir -p {build};"
                      f"cp -a /usr/src/flightrec-{version}/. {build}; cd {build};"
                      "make KDIR=/lib/modules/$release/build modules",
                      env={"CCACHE_NOREADONLY": "1"})
        shutil.copytree(clone.path / "srv/packages" / PLACE, target)


def _unpack(clone, package):
    """Unpack the files of PACKAGE in CLONE, without what installing it would do."""
    shutil.copy(package, clone.path / "package.rpm")
    clone.run("rpm2cpio /package.rpm | cpio -idmu --quiet; rm /package.rpm")
