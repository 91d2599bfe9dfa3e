# SPDX-License-Identifier: GPL-2.0-or-later
"""A full Debian 12 guest with the distribution's kdump-tools, as they are installed.

The kernel is started by QEMU; all that comes after it is the distribution's: its
kdump-tools.service loads the capture kernel, which after a panic starts from the
same disk, has makedumpfile write to /var/crash, and restarts the machine, which
ends this guest.  There is no Secure Boot: what is recovered does not depend on it.
"""

import shutil
import textwrap
from pathlib import Path

from tests.lib import apt
from tests.lib.cache import cached, digest, progress
from tests.lib.guest import Guest
from tests.lib.kernels import kernel
from tests.qemu.direct import PATIENCE
from tests.qemu.esp import SUITE, run

PACKAGES = ("systemd-sysv", "dbus", "udev", "kmod", "procps", "initramfs-tools", "zstd", "acl",
            "kdump-tools", "makedumpfile")
KERNEL = "6.1"

# What kdump-tools would have put on the command line through GRUB, with more for
# the capture kernel: Debian's default of 128 MiB is for its usual initramfs only.
COMMAND_LINE = f"console=ttyS0,115200 root=/dev/vda ro crashkernel=256M {PATIENCE}"

DISK_MIB = 4 * 1024
PAYLOAD_MIB = 64

# The test's own: what to do once the capture kernel is loaded, and, in the capture
# kernel, the other forms of dump that makedumpfile can write, before the usual one.
FILES = {
    "etc/hostname": "guest\n",
    "etc/fstab": "/dev/vda / ext4 errors=remount-ro 0 1\n/dev/vdb /payload ext4 ro 0 0\n",
    "etc/initramfs-tools/conf.d/small": "MODULES=list\nCOMPRESS=zstd\nCOMPRESSLEVEL=1\n",
    "etc/initramfs-tools/modules": "virtio_pci\nvirtio_blk\next4\n",
    "etc/systemd/system/story.service": textwrap.dedent("""\
        [Unit]
        After=kdump-tools.service multi-user.target

        [Service]
        StandardOutput=tty
        StandardError=tty
        TTYPath=/dev/ttyS0
        ExecStart=/bin/sh /payload/main

        [Install]
        WantedBy=multi-user.target
        """),
    "etc/systemd/system/kdump-tools-dump.service.d/more.conf": textwrap.dedent("""\
        [Service]
        ExecStartPre=/bin/sh /payload/more-dumps
        """),
}

UNWANTED_UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer",
                  "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer",
                  "getty@tty1.service", "serial-getty@ttyS0.service")  # fmt: skip


def system():
    """The cached directory with `disk.img` and `initrd`."""
    release = kernel(KERNEL).release
    key = digest(SUITE, release, Path(__file__).read_bytes())
    return cached("image", f"kdump-{key}", lambda path: _make(path, release))


def _make(directory, release):
    root, staging = directory / "root", directory / "files"
    for name, text in FILES.items():
        path = staging / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    with progress("Debian 12 with kdump-tools: installing packages"):
        run("mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", "--format=directory",
            "--include=" + ",".join([*PACKAGES, f"linux-image-{release}"]),
            "--dpkgopt=force-unsafe-io",
            *[f"--dpkgopt=path-exclude=/usr/share/{d}/*" for d in ("doc", "man", "locale", "info")],
            f"--essential-hook=cp -r {staging}/. \"$1\"/",
            *[f"--aptopt={line}" for line in apt.acquire_options()],
            SUITE, root, "-", stdin=apt.sources_list(SUITE))
    with progress("Debian 12 with kdump-tools: writing the disk"):
        _settle(directory, root, release)
        run("mkfs.ext4", "-q", "-F", "-d", root, directory / "disk.img", f"{DISK_MIB}M")
    run("rm", "-rf", "--one-file-system", root, staging)


def _settle(directory, root, release):
    # The kernel may have been configured before kdump-tools: then this is what its
    # next update would do.
    run("chroot", root, "/etc/kernel/postinst.d/kdump-tools", release)
    # As after an earlier boot: at the first one it would all be made again.
    shutil.copy(root / "etc/kdump/sysctl.conf", root / f"var/lib/kdump/latest_sysctls-{release}")
    run("systemctl", f"--root={root}", "--quiet", "enable", "story.service")
    run("systemctl", f"--root={root}", "--quiet", "mask", *UNWANTED_UNITS)
    (root / "payload").mkdir()
    (root / "etc/machine-id").write_text("", encoding="ascii")
    shutil.copy(root / f"boot/initrd.img-{release}", directory / "initrd")


class KdumpGuest(Guest):
    """A guest, not yet started, in which the shell runs /payload/main from PAYLOAD.

    PAYLOAD is a directory; its `more-dumps` runs in the capture kernel.  QEMU ends
    when the capture kernel restarts the machine.
    """

    def __init__(self, payload, workdir):
        files, workdir = system(), Path(workdir)
        self.disk = workdir / "disk.img"
        run("cp", "--sparse=always", "--reflink=auto", files / "disk.img", self.disk)
        run("mkfs.ext4", "-q", "-F", "-d", payload, workdir / "payload.img", f"{PAYLOAD_MIB}M")
        arguments = ["-kernel", kernel(KERNEL).vmlinuz, "-initrd", files / "initrd",
                     "-append", COMMAND_LINE]  # fmt: skip
        for disk in (self.disk, workdir / "payload.img"):
            arguments += ["-drive", f"if=virtio,cache=unsafe,format=raw,file={disk}"]
        super().__init__([str(a) for a in arguments], name="kdump", workdir=workdir,
                         memory="1G", cpus=2, reboot=False)  # fmt: skip

    def take(self, inside, into):
        """Copy the directory INSIDE of the disk into INTO; only after the guest's end."""
        # What the guest did not get to write into its place is in the journal.
        run("e2fsck", "-p", "-E", "journal_only", self.disk)
        into.mkdir()
        run("debugfs", "-R", f"rdump {inside} {into}", self.disk)
        return into / Path(inside).name
