# SPDX-License-Identifier: GPL-2.0-or-later
"""The hosts that die in bench.deaths: a PC, one with UEFI variables, one with a capture kernel.

A host says how memory is set aside for the records, and what the kernel's command line, the
emulator and the guest get besides what all have. The capture kernel is the same kernel; its initramfs has makedumpfile write the dump to
where kdump-tools would, by the same call.
"""

import functools
import shutil
import subprocess
from pathlib import Path

from tests.kernels import test_reset as reset
from tests.lib.cache import cached, digest, progress
from tests.lib.kernels import kernel
from tests.lib.roots import mmdebstrap
from tests.qemu.direct import build_initramfs

SUITE = "trixie"
PACKAGES = ["kexec-tools", "makedumpfile"]
PROGRAMS = ["usr/sbin/kexec", "usr/bin/makedumpfile"]
LOADER, LIBRARIES = "usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu"

# Without Secure Boot, the firmware needs no system management mode to keep its variables.
FIRMWARE = Path("/usr/share/OVMF/OVMF_CODE_4M.fd")
VARIABLES = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")

DUMPS_MIB = 512

# As kdump-tools call it; a dump that is being written has another name.
CAPTURE = r"""
modprobe virtio_pci; modprobe virtio_blk; modprobe ext4
mkdir /mnt
mount -t ext4 /dev/vdc /mnt || exit 1
when=$(date +%Y%m%d%H%M)
mkdir "/mnt/crash/$when"
makedumpfile -c -d 31 /proc/vmcore "/mnt/crash/$when/dump-incomplete" || exit 1
mv "/mnt/crash/$when/dump-incomplete" "/mnt/crash/$when/dump.$when"
makedumpfile --dump-dmesg /proc/vmcore "/mnt/crash/$when/dmesg.$when"
umount /mnt
reboot -f
"""
LOAD = ("kexec -s -p /mnt/vmlinuz --initrd=/mnt/initrd "
        "--append='console=ttyS0 rdinit=/init nr_cpus=1 reset_devices panic=-1'")  # fmt: skip


class Host:
    """A host without anything particular."""

    memory = "256M"
    append = ""
    stock = ()

    def reserved(self, name):
        """What sets memory aside on the command line of kernel NAME, for it and for the driver."""
        return reset.arguments(name)

    def files(self):
        """{path in the guest: what} of its own; see tests.lib.initramfs.build()."""
        return {}

    def arguments(self, name, work):  # pylint: disable=unused-argument
        """Arguments of QEMU, with kernel NAME; files of the host's own are made in WORK."""
        return []


class FirmwareByName(Host):
    """UEFI keeps variables, and pstore has them."""

    memory = "512M"
    append = "pstore-by-efi"
    stock = ("efi-pstore",)

    def arguments(self, name, work):
        variables = work / "variables"
        if not variables.exists():
            shutil.copyfile(VARIABLES, variables)
        return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}",
                "-drive", f"if=pflash,unit=1,format=raw,file={variables}"]  # fmt: skip


class Firmware(FirmwareByName):
    """The same with the memory at an address far from the end of memory, which firmware uses."""

    def reserved(self, name):
        return reset.BY_ADDRESS


class Capture(Host):
    """A capture kernel waits; /mnt/crash is on a disk of its own."""

    memory = "768M"
    append = "crashkernel=256M"
    stock = ("ext4", "crc32c_generic")

    def files(self):
        return programs()

    def arguments(self, name, work):
        disk = work / "dumps"
        if not disk.exists():
            self._make(kernel(name), disk, work / "dumps.files")
        return ["-drive", f"file={disk},format=raw,if=virtio,cache=unsafe"]

    def _make(self, target, disk, files):
        (files / "crash").mkdir(parents=True)
        shutil.copy(target.vmlinuz, files / "vmlinuz")
        stock = modular(target, ["virtio_pci", "virtio_blk", *self.stock])
        build_initramfs(target, programs(), CAPTURE, files / "initrd", stock=stock)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-d", files, disk, f"{DUMPS_MIB}M"], check=True)


class CaptureAlone(Capture):
    """The same without memory that is reserved for the records: they are in the dump."""

    def reserved(self, name):
        return ""


def modular(target, names):
    """Those of NAMES that are modules of the Kernel TARGET: others are built in."""
    listed = (target.modules / "modules.dep").read_text(encoding="ascii")
    return [name for name in names if f"/{name}.ko" in listed]


@functools.cache
def programs():
    """kexec and makedumpfile with their own libraries: files of an initramfs."""
    root = cached("roots", f"capture-{digest(SUITE, PACKAGES)}", _make_root)
    files, loader = {f"capture/{Path(LOADER).name}": root / LOADER}, root / LOADER
    for program in PROGRAMS:
        name = Path(program).name
        listing = subprocess.run([loader, "--library-path", root / LIBRARIES, "--list", root / program],
                                 capture_output=True, text=True, check=True).stdout  # fmt: skip
        for line in listing.splitlines():
            words = line.split()
            if "=>" in words and words[2].startswith(str(root)):
                files[f"capture/{words[0]}"] = Path(words[2]).resolve()
        files[f"capture/{name}"] = root / program
        files[f"usr/bin/{name}"] = (f"#!/bin/sh\nexec /capture/{Path(LOADER).name} --library-path "
                                    f"/capture /capture/{name} \"$@\"\n")  # fmt: skip
    return files


def _make_root(target):
    with progress("kexec-tools and makedumpfile"):
        mmdebstrap(SUITE, PACKAGES, target, variant="extract")
