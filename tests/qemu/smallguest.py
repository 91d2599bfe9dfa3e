# SPDX-License-Identifier: GPL-2.0-or-later
"""A small guest with Secure Boot: any stock kernel, with only an initramfs.

The chain is the real one, shim, GRUB and the distribution's signed kernel, but
there is no distribution behind it, so a boot takes seconds.  Packages under test
are unpacked into the initramfs; what they keep under /var/lib/kmodkeep survives a
reboot on a small disk.
"""

import shutil
from pathlib import Path

from tests.lib import apt, initramfs
from tests.lib.cache import cached, digest
from tests.lib.kernels import kernel
from tests.lib.roots import Clone
from tests.qemu import esp
from tests.qemu.direct import PATIENCE
from tests.qemu.secureboot import CHANGED, FIXED, SecureBootGuest

HERE = Path(__file__).parent

# From the suite that the packages under test were built for, not from this
# machine.  The shell and the coreutils are here because busybox's can do less, and
# because its shell prefers its own programs to those in PATH.
PROGRAMS = ("/bin/kmod", "/usr/bin/dash", "/usr/bin/mokutil", "/usr/bin/openssl",
            *[f"/usr/bin/{name}" for name in ("awk", "dd", "flock", "grep", "od", "stat")])
COLLECT = """
    mkdir /collected
    ldd {programs} /usr/sbin/kmodkeep | grep -o '/[^ :]*' | sort -u |
        xargs cp -L --parents -t /collected /etc/ssl/openssl.cnf
"""

# In the order of loading, as far as they are modules in the kernel.
STOCK = ("virtio_pci", "virtio_blk", "virtio_console", "efivarfs", "crc32c_generic", "ext4")

STATE_MIB = 32
GRUB_CFG = f"""\
linux /vmlinuz console=ttyS0,115200 rdinit=/init panic=-1 {PATIENCE}
initrd /initrd
boot
"""


class SmallGuest(SecureBootGuest):
    """A guest whose process 1 is small-init.sh."""

    reboot_command = "sync; reboot -f"


def small_guest(name, workdir, debs, *, modules=(), files=None, more_stock=(),
                more_disks=(), more=(), boot=None):
    """A guest, not yet started, with kernel NAME ("6.1") and the packages DEBS unpacked.

    MODULES are .ko files that modprobe shall find, FILES more contents of its
    initramfs (see initramfs.build()).  MORE_STOCK are modules of the kernel that are
    there, if they are modules, but not loaded at boot.  MORE_DISKS come after its own,
    MORE are further arguments of QEMU.  BOOT makes the disk that it boots from, if not
    boot_disk().
    """
    target, workdir = kernel(name), Path(workdir)
    workdir.mkdir(parents=True, exist_ok=True)
    stock = [module for module in STOCK if is_module(target, module)]
    there = [*stock, *[module for module in more_stock if is_module(target, module)]]
    contents = {
        "": userland(debs),
        "init": HERE / "small-init.sh",
        "lib/guest.sh": HERE / "guest-lib.sh",
        "sbin/test-shell": HERE / "test-shell.sh",
        "etc/modules": "".join(f"{module}\n" for module in stock),
        "etc/hostname": "guest\n",
        **(files or {}),
    }
    archive = initramfs.build(target, contents, workdir / "initrd", modules=modules, stock=there)
    disks = [(boot or boot_disk)(workdir, target, archive), _state_disk(workdir), *more_disks]
    archive.unlink()
    # One CPU: the emulator's stale breakpoints (see DirectGuest) need two.
    return SmallGuest(disks, workdir, name=f"secureboot-{name}", memory="1G", cpus=1, more=more)


def userland(debs):
    """A cached tree with DEBS unpacked, and PROGRAMS with the libraries that all need."""
    def make(tree):
        for deb in debs:
            apt.extract(deb, tree)
        with Clone(esp.SUITE) as clone:
            initramfs.put(clone.path, "usr/sbin/kmodkeep", tree / "usr/sbin/kmodkeep")
            clone.run(COLLECT.format(programs=" ".join(PROGRAMS)))
            shutil.copytree(clone.path / "collected", tree, dirs_exist_ok=True)

    key = digest([Path(deb).read_bytes() for deb in debs], Path(__file__).read_bytes())
    return cached("userland", key, make)


def is_module(target, name):
    """True if the kernel TARGET has NAME as a module, not built in."""
    index = (target.modules / "modules.dep").read_text(encoding="ascii").replace("-", "_")
    return f"/{name}.ko" in index


def boot_disk(workdir, target, archive):
    """A disk whose shim and GRUB boot the kernel TARGET with the initramfs ARCHIVE."""
    disk = workdir / "boot.img"
    files = {**esp.boot_files(GRUB_CFG), "vmlinuz": target.vmlinuz.read_bytes(),
             "initrd": archive.read_bytes()}
    size = sum(len(content) for content in files.values()) // esp.MIB + 40
    esp.partition(disk, size + 2, size)
    esp.write(disk, size, files)
    return disk, FIXED


def _state_disk(workdir):
    disk = workdir / "state.img"
    esp.run("mkfs.ext4", "-q", "-F", disk, f"{STATE_MIB}M")
    return disk, CHANGED
