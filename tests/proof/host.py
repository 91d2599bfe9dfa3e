# SPDX-License-Identifier: GPL-2.0-or-later
"""A host over its life: one disk, booted by one guest after the other.

Its kernel is updated while it is off, by apt in a chroot on its disk, where compiling takes
no emulator. What happens to its firmware meanwhile is another store of variables.
"""

import contextlib
import re
import shutil
import tempfile
from pathlib import Path

from tests.lib import apt
from tests.lib.clone import ThrowAwayRoot
from tests.proof.guest import PATIENCE
from tests.proof.system import COMPONENTS, kmodkeep_deb, system, update_kernel, write
from tests.qemu import image, variables
from tests.qemu.esp import MIB, run
from tests.qemu.secureboot import CHANGED, FIXED, OVERLAY, SecureBootGuest

SOURCES = "etc/apt/sources.list"


def mount_packages(guest):
    """Until the next boot."""
    guest.check("mount -o ro LABEL=packages /mnt", PATIENCE)


class Host:
    """Of SUITE, with DRIVERS and the suite's own kernel; its logs are in LOGS."""

    def __init__(self, suite, drivers, logs, more=()):
        self.suite = suite
        self.logs = Path(logs)
        self.logs.mkdir(parents=True)
        self.system = system(suite, drivers, updated=False)
        self.disk = self.logs / "disk.qcow2"
        self._options = OVERLAY
        run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", self.system.disk,
            self.disk)
        self.packages = self.logs / "packages.img"
        tree = self.logs / "packages"
        tree.mkdir()
        for deb in (kmodkeep_deb(suite), *more):
            shutil.copy(deb, tree)
        run("mkfs.ext4", "-q", "-F", "-L", "packages", "-d", tree, self.packages, "32M")

    @property
    def modules(self):
        return {m for of_driver in self.system.drivers.values() for m in of_driver}

    @contextlib.contextmanager
    def booted(self, name, trusted=True):
        """A guest that has booted the disk; off at the end. TRUSTED: dkms's key is enrolled."""
        guest = SecureBootGuest([(self.disk, self._options), (self.packages, FIXED)],
                                self.logs / name, name=f"{self.suite}-{name}")
        if trusted:
            variables.add(guest.workdir / "efivars.fd", "MokList",
                          variables.signature_list(variables.X509, [self.system.certificate]))
        with guest:
            guest.wait_booted()
            mount_packages(guest)
            yield guest
            guest.power_off(PATIENCE)

    def update_kernel(self):
        """What apt does for the kernel of backports; its release. The boot menu is as before."""
        raw, after = self.logs / "before.img", self.logs / "disk.img"
        run("qemu-img", "convert", "-O", "raw", self.disk, raw)
        with tempfile.TemporaryDirectory(dir=self.logs) as lower:
            run("mount", "-o", f"loop,ro,offset={(image.ESP_MIB + 1) * MIB}", raw, lower)
            try:
                with ThrowAwayRoot(lower, f"host-{self.suite}") as root:
                    new = self._update(root)
                    uuid = re.search(r"^UUID=(\S+) / ", (root.path / "etc/fstab").read_text(), re.M)
                    write(after, root, uuid[1])
            finally:
                run("umount", lower)
        raw.unlink()
        self.disk.unlink()
        self.disk, self._options = after, CHANGED
        return new

    def _update(self, root):
        log = self.logs / "update.log"
        log.write_text("")
        menu = root.path / "boot/grub/grub.cfg"
        (root.path / SOURCES).write_text(apt.sources_list(self.suite, COMPONENTS))
        root.run("apt-get -q update")
        # A chroot has no devices for grub-probe: as if there were no boot loader.
        aside = menu.rename(menu.with_suffix(".aside"))
        new = update_kernel(root, self.suite, log)
        aside.rename(menu)
        (root.path / SOURCES).write_text("")
        return new

    def close(self):
        """Leave the logs alone."""
        for big in (self.disk, self.packages):
            big.unlink(missing_ok=True)
