# SPDX-License-Identifier: GPL-2.0-or-later
"""EFI system partitions: shim, GRUB and MokManager as the distribution signed them.

Made with mtools in a file, so nothing is mounted and no loop device is needed.
"""

import subprocess
from pathlib import Path

from tests.lib import apt
from tests.lib.cache import cached, digest

SUITE = "bookworm"
PACKAGES = ("shim-signed", "shim-helpers-amd64-signed", "grub-efi-amd64-signed")
SHIM = "usr/lib/shim/shimx64.efi.signed"
MOK_MANAGER = "usr/lib/shim/mmx64.efi.signed"
GRUB = "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed"

MIB = 1024 * 1024
START = MIB  # where the partition begins


def boot_files(grub_cfg):
    """{path: content} of a partition that boots, with GRUB configured by the text GRUB_CFG.

    As after an installation that also fills the path for removable disks, which
    is where firmware looks that has no boot entry yet.
    """
    signed = signed_files()
    shim, mok_manager, grub = ((signed / path).read_bytes() for path in (SHIM, MOK_MANAGER, GRUB))
    files = {"EFI/BOOT/BOOTX64.EFI": shim, "EFI/debian/shimx64.efi": shim}
    for directory in ("EFI/BOOT", "EFI/debian"):
        files[f"{directory}/grubx64.efi"] = grub
        files[f"{directory}/mmx64.efi"] = mok_manager
        files[f"{directory}/grub.cfg"] = grub_cfg.encode()
    return files


def signed_files():
    """Where the packages with what is signed are unpacked."""
    return cached("esp", digest(SUITE, PACKAGES), _unpack)


def _unpack(directory):
    for deb in apt.download(SUITE, list(PACKAGES)).iterdir():
        apt.extract(deb, directory)


def partition(disk, disk_mib, esp_mib, *more):
    """Make DISK, empty, with a system partition and the partitions MORE (sfdisk lines)."""
    with open(disk, "wb") as image:
        image.truncate(disk_mib * MIB)
    lines = ["label: gpt", f"start=1MiB, size={esp_mib}MiB, type=U, name=esp", *more]
    run("sfdisk", "--quiet", disk, stdin="\n".join(lines))


def write(disk, esp_mib, files):
    """Put a FAT file system with FILES (path to content) into the system partition of DISK."""
    esp = Path(disk).with_suffix(".esp")
    with open(esp, "wb") as image:
        image.truncate(esp_mib * MIB)
    # Not mformat: it leaves what GRUB takes for a partition table, and complains of.
    # Clusters of 4 KiB: GRUB reads a kernel in the smallest ones for a minute.
    run("mkfs.fat", "-F", "16", "-s", "8", "-n", "ESP", esp)
    directories = {str(parent) for name in files for parent in Path(name).parents}
    for directory in sorted(directories - {"."}):
        run("mmd", "-i", esp, f"::{directory}")
    for name, content in files.items():
        run("mcopy", "-i", esp, "-", f"::{name}", stdin=content)
    with open(disk, "r+b") as image:
        image.seek(START)
        image.write(esp.read_bytes())
    esp.unlink()


def run(*command, stdin=b""):
    """Run COMMAND and return its output; when it fails, the error carries what it said."""
    command = [str(word) for word in command]
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(command, input=data, check=False,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if done.returncode:
        said = done.stdout.decode(errors="replace")[-4000:]
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}\n{said}")
    return done.stdout
