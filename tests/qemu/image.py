# SPDX-License-Identifier: GPL-2.0-or-later
"""A full Debian 12 disk that boots through shim and GRUB, made once and cached.

The disk is what an administrator has after a plain installation: an EFI system
partition with the signed shim, GRUB and MokManager, and a root file system with
the kernel of the suite and its headers.  dkms, kmodkeep and flightrec are not on
it: putting them there is what the tests are about.

No loop device and no mount is needed, so it can be made in a container: the root
file system is filled by mkfs.ext4, the system partition by mtools.

A run never writes to the cached disk, but to an overlay of its own.
"""

import textwrap
import uuid
from pathlib import Path

from tests.lib import apt
from tests.lib.cache import cached, digest, progress
from tests.qemu import esp
from tests.qemu.direct import PATIENCE
from tests.qemu.esp import MIB, SUITE, run

PACKAGES = (
    "systemd-sysv", "dbus", "apt-utils", "udev", "kmod", "procps", "initramfs-tools", "zstd",
    "linux-image-amd64", "linux-headers-amd64",
    "shim-signed", "grub-efi-amd64", "grub-efi-amd64-signed", "mokutil",
    "build-essential", "dpkg-dev", "fakeroot", "libalgorithm-merge-perl", "patch", "sudo",
    "acl", "adduser", "openssl",
)

COMMAND_LINE = f"console=ttyS0,115200 {PATIENCE}"

# What an installer would have written, and what makes a guest under emulation
# quick: a small initramfs, no timer that competes for the package lock.
FILES = {
    "etc/hostname": "guest\n",
    "etc/hosts": "127.0.0.1 localhost guest\n",
    "etc/initramfs-tools/conf.d/small": "MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=1\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
    "etc/default/grub": textwrap.dedent(f"""\
        GRUB_DEFAULT=0
        GRUB_TIMEOUT=1
        GRUB_DISTRIBUTOR=Debian
        GRUB_TERMINAL=console
        GRUB_CMDLINE_LINUX_DEFAULT=
        GRUB_CMDLINE_LINUX="{COMMAND_LINE}"
        GRUB_DISABLE_OS_PROBER=true
        """),
    # The console logs root in by itself: there is no password, and no network
    # interface through which anybody could make use of that.
    "etc/systemd/system/serial-getty@ttyS0.service.d/autologin.conf": textwrap.dedent("""\
        [Service]
        ExecStart=
        ExecStart=-/sbin/agetty --autologin root --noclear --keep-baud 115200 %I vt102
        """),
    "etc/systemd/system/test-shell.service": textwrap.dedent("""\
        [Unit]
        Description=Root shell for the test that started this guest
        DefaultDependencies=no
        After=local-fs.target

        [Service]
        Environment=HOME=/root
        ExecStart=/usr/local/sbin/test-shell /dev/virtio-ports/test-shell
        Restart=always
        KillMode=process
        IgnoreSIGPIPE=no

        [Install]
        WantedBy=multi-user.target
        """),
}

UNWANTED_UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
                  "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
                  "getty@tty1.service")

ESP = Path(esp.__file__)
TEST_SHELL = Path(__file__).with_name("test-shell.sh")

ESP_MIB = 64
DISK_MIB = 8 * 1024


def base_image():
    """The directory with `disk.img` and `status`, dpkg's list of what is on it."""
    recipe = digest(COMMAND_LINE, *[path.read_bytes() for path in (Path(__file__), ESP, TEST_SHELL)])
    return cached("image", f"debian12-{recipe}", make_image)


def overlay(directory):
    """A new disk in DIRECTORY for one run: the cached one, with its own changes."""
    path = Path(directory) / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
        "-b", base_image() / "disk.img", path)
    return path


def make_image(directory):
    """Make the disk and its package list in DIRECTORY."""
    directory.mkdir(parents=True)
    root = directory / "root"
    root_uuid = str(uuid.uuid4())
    with progress("Debian 12 image: installing packages"):
        bootstrap(root)
    with progress("Debian 12 image: writing the disk"):
        settle(root, root_uuid)
        (directory / "status").write_bytes((root / "var/lib/dpkg/status").read_bytes())
        write_disk(directory / "disk.img", root, root_uuid)
    run("rm", "-rf", "--one-file-system", root)


def bootstrap(root, suite=SUITE, more=()):
    """Install PACKAGES and MORE of SUITE into the new directory ROOT."""
    staging = root.with_name(f"{root.name}-files")
    for name, text in FILES.items():
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    # The files go in before the packages that read them (initramfs, GRUB).
    run("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory",
        "--include=" + ",".join([*PACKAGES, *more]),
        "--dpkgopt=force-unsafe-io",
        *[f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "man", "locale", "info")],
        f"--essential-hook=cp -r {staging}/. \"$1\"/",
        *[f"--aptopt={line}" for line in apt.acquire_options()],
        suite, root, "-", stdin=apt.sources_list(suite))
    run("rm", "-rf", staging)


def settle(root, root_uuid, kernel=None):
    """Do what an installer does once the packages are there; KERNEL boots, if there are more."""
    shell = root / "usr/local/sbin/test-shell"
    shell.write_bytes(TEST_SHELL.read_bytes())
    shell.chmod(0o755)
    run("systemctl", f"--root={root}", "--quiet", "enable", "test-shell.service")
    run("systemctl", f"--root={root}", "--quiet", "mask", *UNWANTED_UNITS)
    (root / "etc/fstab").write_text(
        f"UUID={root_uuid} / ext4 errors=remount-ro 0 1\n"
        "PARTLABEL=esp /boot/efi vfat umask=0077 0 1\n", encoding="ascii")
    (root / "boot/efi").mkdir(exist_ok=True)
    # Each guest is a host of its own: systemd makes its identity at first boot.
    (root / "etc/machine-id").write_text("", encoding="ascii")
    # No test needs a mirror: packages come from the repositories that it brings.
    (root / "etc/apt/sources.list").write_text("", encoding="ascii")
    (root / "etc/apt/apt.conf.d/99mmdebstrap").unlink(missing_ok=True)
    if not kernel:
        kernel = next((root / "boot").glob("vmlinuz-*")).name.removeprefix("vmlinuz-")
    # Only for the first boot: update-grub replaces it at the first kernel update.
    (root / "boot/grub/grub.cfg").write_text(textwrap.dedent(f"""\
        set timeout=1
        menuentry "Debian GNU/Linux, with Linux {kernel}" {{
            linux /boot/vmlinuz-{kernel} root=UUID={root_uuid} ro {COMMAND_LINE}
            initrd /boot/initrd.img-{kernel}
        }}
        """), encoding="ascii")


def write_disk(disk, root, root_uuid, disk_mib=DISK_MIB):
    """Write the partition table, the system partition and the file system of ROOT to DISK."""
    start = ESP_MIB + 1
    size = disk_mib - start - 1
    esp.partition(disk, disk_mib, ESP_MIB,
                  f"start={start}MiB, size={size}MiB, type=L, name=root")
    esp.write(disk, ESP_MIB, esp.boot_files(
        f"search.fs_uuid {root_uuid} root\n"
        "set prefix=($root)'/boot/grub'\n"
        "configfile $prefix/grub.cfg\n"))
    run("mkfs.ext4", "-q", "-F", "-U", root_uuid, "-L", "root", "-d", root,
        "-E", f"offset={start * MIB}", disk, f"{size}M")
