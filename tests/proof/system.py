# SPDX-License-Identifier: GPL-2.0-or-later
"""Debian systems with many DKMS drivers of the archive and two kernels, as disks that boot.

All packages are the archive's own, unmodified. They are installed as an administrator does it:
the drivers on the suite's kernel, then the kernel of backports, on which some of them do not
build. It is done in a chroot, where compiling takes no emulator, and the result is cached.
kmodkeep is not on the disk: it is installed in the guest, with nothing configured.
"""

import re
import shutil
import tempfile
import uuid
from dataclasses import dataclass
from pathlib import Path

from tests.lib import apt
from tests.lib.cache import cache_dir, cached, digest, progress
from tests.lib.clone import ThrowAwayRoot
from tests.packaging.variants import TOP, build_packages
from tests.qemu import esp, image
from tests.qemu.esp import run

COMPONENTS = "main contrib non-free non-free-firmware"

# By system: a suite, and "large" for what takes long to compile. Some do not build on the kernel
# of backports, some on neither.
DRIVERS = {
    "bookworm": ("acpi-call", "bbswitch", "ddcci", "digimend", "dm-writeboost", "evdi",
                 "iptables-netflow", "lime-forensics", "openrazer-driver", "r8168", "tp-smapi",
                 "v4l2loopback", "vpoll"),
    "bookworm-large": ("lttng-modules", "nvidia-kernel", "xtables-addons", "zfs"),
    "trixie": ("acpi-call", "bbswitch", "ddcci", "digimend", "dm-writeboost", "evdi",
               "iptables-netflow", "lime-forensics", "openrazer-driver", "r8168", "tp-smapi",
               "v4l2loopback", "vhba", "vpoll"),
}

# Raise one when the disks of the suite must be made anew though their packages are the same.
RECIPES = {"bookworm": 1, "trixie": 2}

# What firmware and shim start, by its name on the system partition: where a suite has it.
STARTED = {"BOOTX64.EFI": esp.SHIM, "shimx64.efi": esp.SHIM, "grubx64.efi": esp.GRUB,
           "mmx64.efi": esp.MOK_MANAGER}

APT = ["apt-get", "-q", "-y", "-o", "Dpkg::Use-Pty=0", "--no-install-recommends"]
BUILDS = 7200  # seconds for all drivers on one kernel
DISK_MIB = 12 * 1024


@dataclass(frozen=True)
class System:
    """A disk in the cache, with the key that dkms signed with."""

    directory: Path

    @property
    def disk(self):
        return self.directory / "disk.img"

    @property
    def certificate(self):
        """The certificate of dkms's key, DER."""
        return (self.directory / "mok.der").read_bytes()

    @property
    def drivers(self):
        """{driver as dkms calls it: its modules}, by what dkms built or would build."""
        lines = (self.directory / "drivers").read_text().splitlines()
        return {line.split()[0]: line.split()[1:] for line in lines}

    @property
    def versions(self):
        """{driver: its version}, as dkms says."""
        return dict(re.findall(r"^([^/\s]+)/([^,:\s]+)", (self.directory / "status").read_text(), re.M))

    @property
    def kernels(self):
        """The releases: the suite's own, then that of backports."""
        return (self.directory / "kernels").read_text().split()


def system(name, drivers=None, updated=True):
    """The System NAME of DRIVERS, or with other DRIVERS (without -dkms), made now if need be.

    A driver may be given as NAME/SUITE.  One that is not UPDATED has the suite's kernel alone.
    """
    suite, drivers = name.partition("-")[0], drivers or DRIVERS[name]
    needs = run("dpkg-deb", "--field", kmodkeep_deb(name), "Depends").decode().strip()
    base = base_root(suite)
    key = digest(RECIPES[suite], base.name, sorted(drivers), needs, *(() if updated else ("one kernel",)))
    return System(cached("image", f"drivers-{suite}-{key}",
                         lambda path: _make(path, suite, base, drivers, needs, updated)))


def kmodkeep_deb(name):
    """The package under test, for the suite of the system NAME."""
    debs = build_packages.built(TOP, name.partition("-")[0], "any")
    return next(deb for deb in debs if deb.name.startswith("kmodkeep_"))


def base_root(suite):
    """The cached root with the suite's kernel and dkms, but without drivers."""
    def make(root):
        with progress(f"{suite}: root of a guest for drivers"):
            image.bootstrap(root, suite, ["dkms"])

    return cached("roots", f"guest-{suite}-{digest(Path(image.__file__).read_bytes())}", make)


def _make(directory, suite, base, drivers, needs, updated):
    """Install DRIVERS and then the kernel of backports on a copy of BASE, and keep it as a disk."""
    directory.mkdir(parents=True)
    log = cache_dir("logs") / f"{directory.name.removeprefix('.partial-')}.log"
    log.write_text("")
    with ThrowAwayRoot(base, f"guest-{suite}") as root:
        (root.path / "etc/apt/sources.list").write_text(apt.sources_list(suite, COMPONENTS))
        packages = [re.sub("(/.*)?$", r"-dkms\1", driver, count=1) for driver in drivers]
        run_logged(root, log, [*APT, "update"])
        run_logged(root, log, [*APT, "satisfy", needs])
        with progress(f"{suite}: install {', '.join(packages)}"):
            run_logged(root, log, [*APT, "install", *packages], check=False)
        if updated:
            update_kernel(root, suite, log)
        shutil.copy(root.path / "var/lib/dkms/mok.pub", directory / "mok.der")
        kernels = kernels_of(root)
        (directory / "kernels").write_text(" ".join(kernels))
        (directory / "drivers").write_text(_drivers(root))
        (directory / "status").write_text(root.run("dkms status; dpkg -l '*-dkms' 'linux-*'").stdout)
        root_uuid = str(uuid.uuid4())
        image.settle(root.path, root_uuid, kernels[0])
        with progress(f"{suite}: write the disk"):
            write(directory / "disk.img", root, root_uuid)


def update_kernel(root, suite, log):
    """What an administrator does for a newer kernel; its release.

    Some drivers may not build for it, so that its hooks fail: then it lacks an initramfs.
    """
    with progress(f"{suite}: install the kernel of backports"):
        run_logged(root, log, [*APT, "-t", f"{suite}-backports", "install", "linux-image-amd64",
                               "linux-headers-amd64"], check=False)
    new = kernels_of(root)[-1]
    run_logged(root, log, f"[ -e /boot/initrd.img-{new} ] || update-initramfs -c -k {new}")
    return new


def run_logged(root, log, command, check=True):
    done = root.run(command, check=check, timeout=BUILDS)
    with open(log, "a", encoding="utf-8") as file:
        file.write(f"# {command}\n{done.stdout}# exit status {done.returncode}\n")


def kernels_of(root):
    names = [p.name.removeprefix("vmlinuz-") for p in (root.path / "boot").glob("vmlinuz-*")]
    return sorted(names, key=lambda name: [int(n) for n in re.findall(r"\d+", name)])


def _drivers(root):
    """A line for each driver that dkms has: its name and its modules, as bash reads dkms.conf."""
    script = r"""
        for link in /var/lib/dkms/*/*/source; do
            (kernelver=$1 arch=x86_64 dkms_tree=/var/lib/dkms source_tree=/usr/src
             kernel_source_dir=/lib/modules/$1/build
             cd "$link/" && . ./dkms.conf >/dev/null
             echo "$PACKAGE_NAME ${DEST_MODULE_NAME[@]:-${BUILT_MODULE_NAME[@]:-$PACKAGE_NAME}}")
        done
    """
    return root.run(["bash", "-c", script, "bash", kernels_of(root)[0]]).stdout


def write(disk, root, root_uuid):
    """Write what is in the chroot ROOT to DISK."""
    (root.path / "usr/sbin/policy-rc.d").unlink()
    with tempfile.TemporaryDirectory(dir=disk.parent) as mount_point:
        # Without what is mounted below it.
        run("mount", "--bind", root.path, mount_point)
        try:
            image.write_disk(disk, Path(mount_point), root_uuid, DISK_MIB)
        finally:
            run("umount", mount_point)
    own_boot_loader(disk, root.path)


def own_boot_loader(disk, root):
    """Put shim, GRUB and MokManager of ROOT's suite on DISK, as its installer does.

    The image has those of Debian 12, whose GRUB cannot have the modules that a newer grub.cfg
    asks for.
    """
    for path in esp.boot_files(""):
        if name := STARTED.get(Path(path).name):
            run("mcopy", "-o", "-i", f"{disk}@@{esp.START}", root / name, f"::{path}")
