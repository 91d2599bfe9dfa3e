# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk with an operating system that has RPM as its only package database.

RPM mechanics on Debian payload: rpm, dnf, kernel-install, dracut and upstream dkms
do what they do on Fedora, but the programs are Debian's, converted. It boots
through shim and GRUB with Secure Boot on. Made once and cached; a run writes to an
overlay of its own.
"""

import os
import shutil
import stat
import textwrap
from pathlib import Path

from tests.lib.cache import cached, digest, progress
from tests.lib.clone import ThrowAwayRoot
from tests.qemu import esp
from tests.qemu.esp import MIB, run
from tests.rpm import builder, payload, repo

LABEL = "RPM mechanics on Debian payload"

TEST_SHELL = Path(esp.__file__).with_name("test-shell.sh")

TEST_SHELL_UNIT = textwrap.dedent("""\
    [Unit]
    Description=Root shell for the test that started this guest
    DefaultDependencies=no
    After=local-fs.target

    [Service]
    Environment=HOME=/root
    ExecStart=/usr/local/sbin/test-shell /dev/virtio-ports/test-shell
    Restart=always
    KillMode=process

    [Install]
    WantedBy=multi-user.target
    """)

# What waits for nothing here, or writes where the console is read.
UNWANTED_UNITS = ("serial-getty@ttyS0.service", "getty@tty1.service", "systemd-logind.service",
                  "systemd-pstore.service", "systemd-networkd-wait-online.service",
                  "dnf-makecache.timer", "fstrim.timer", "e2scrub_all.timer", "e2scrub_reap.service")

DNF = ["nice", "dnf", "-q", "-y", "--installroot=/target", "--releasever=1",
       "--setopt=reposdir=/nowhere", "--setopt=install_weak_deps=False", "--nogpgcheck",
       "--repofrompath=base,file:///repo"]

ROOT_UUID = "7f1ec0de-0000-4000-8000-000000000001"

# What a machine that is busy, or emulated, needs: a timer interrupt may come late, and
# what guards processors against each other's programs only costs time there.
PATIENCE = ("no_timer_check rcupdate.rcu_cpu_stall_timeout=120 watchdog_thresh=60"
            " mitigations=off init_on_alloc=0")

# See ccache.py. It has what is on the disk with the packages, and adds nothing to it; the
# other settings are what makes no difference to what is compiled.
CCACHE = Path(repo.MOUNT_POINT, "ccache")
CCACHE_SETTINGS = {
    "cache_dir": CCACHE, "read_only_direct": "true", "stats": "false", "temporary_dir": "/tmp",
    "compiler_check": "content", "sloppiness": "locale",
}  # fmt: skip
COMPILER = "x86_64-linux-gnu-gcc-14"  # as the kernels' build files call it

ESP_MIB = 64
DISK_MIB = 5 * 1024


def base_image():
    """The directory with `disk.img`, made now if need be."""
    return cached("image", f"rpm-{_recipe()}", _make_image)


def root():
    """The same system as a root directory, for what needs no guest.  Never write to it."""
    return cached("roots", f"rpm-system-{_recipe()}", _make_root)


class System(ThrowAwayRoot):
    """A throw-away copy of the system, as a chroot."""

    def __init__(self):
        super().__init__(root(), "rpm-system")

    def __enter__(self):
        super().__enter__()
        for name, major, minor in (("null", 1, 3), ("zero", 1, 5), ("urandom", 1, 9)):
            os.mknod(self.path / "dev" / name, 0o666 | stat.S_IFCHR, os.makedev(major, minor))
            (self.path / "dev" / name).chmod(0o666)
        (self.path / "dev/fd").symlink_to("/proc/self/fd")
        return self


def _parts():
    return [payload.directory(name) for name in ("os", "release", f"kernel-{payload.KERNELS[0]}")]


def _recipe():
    return digest(*[p.name for p in _parts()],
                  *[Path(f).read_bytes() for f in (__file__, esp.__file__, TEST_SHELL)])


def overlay(directory):
    """A new disk in DIRECTORY for one run: the cached one, with its own changes."""
    path = Path(directory) / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
        "-b", base_image() / "disk.img", path)
    return path


def _make_root(directory):
    parts = _parts()
    with builder.Builder() as clone:
        (clone.path / "repo").mkdir()
        for rpm in [rpm for part in parts for rpm in part.glob("*.rpm")]:
            shutil.copy(rpm, clone.path / "repo")
        clone.run(["createrepo_c", "--quiet", "/repo"])
        _prepare(clone)
        with progress(f"{LABEL}: install the system"):
            clone.run([*DNF, "install", *payload.names(parts[0]), "test-release"])
        tree = clone.path / "target"
        (tree / "etc/kernel/cmdline").write_text(
            f"root=UUID={ROOT_UUID} ro console=ttyS0,115200 {PATIENCE}\n", encoding="ascii")
        with progress(f"{LABEL}: install the kernel"):
            clone.run([*DNF, "install", "kernel", "kernel-devel"])
        _settle(tree)
        clone.run("umount /target/proc /target/dev")
        run("cp", "-a", tree, directory)


def _make_image(directory):
    tree = root()
    directory.mkdir(parents=True)
    with progress(f"{LABEL}: write the disk"):
        write_disk(directory / "disk.img", tree)


def _prepare(clone):
    """/target, as a mount point: rpm's scripts want to change root to one."""
    clone.run("mkdir -p /target && mount --bind /target /target && mkdir /target/proc /target/dev"
              " && mount --bind /proc /target/proc && mount --bind /dev /target/dev")


def _settle(tree):
    """Do what an installer does once the packages are there."""
    shell = tree / "usr/local/sbin/test-shell"
    shell.parent.mkdir(parents=True, exist_ok=True)
    shell.write_bytes(TEST_SHELL.read_bytes())
    shell.chmod(0o755)
    (tree / "etc/systemd/system/test-shell.service").write_text(TEST_SHELL_UNIT, encoding="ascii")
    run("systemctl", f"--root={tree}", "--quiet", "enable", "test-shell.service")
    run("systemctl", f"--root={tree}", "--quiet", "mask", *UNWANTED_UNITS)
    run("systemd-sysusers", f"--root={tree}")
    # What the firmware starts is on the first one, and has to be seen: see esp.partition().
    # A busy machine was seen to need more than systemd's 90 seconds until udev knows of it.
    (tree / "etc/fstab").write_text(f"UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\n"
                                    "PARTLABEL=esp /boot/efi vfat "
                                    "umask=0077,x-systemd.device-timeout=20min 0 1\n",
                                    encoding="ascii")
    (tree / "boot/efi").mkdir(exist_ok=True)
    (tree / "etc/hostname").write_text("guest\n", encoding="ascii")
    (tree / "etc/ccache.conf").write_text(
        "".join(f"{key} = {value}\n" for key, value in CCACHE_SETTINGS.items()), encoding="ascii")
    # Where rpm's scripts look first.
    (tree / "usr/sbin" / COMPILER).symlink_to("../bin/ccache")
    # Each guest is a host of its own: systemd makes its identity at first boot.
    (tree / "etc/machine-id").write_text("", encoding="ascii")
    # ... but what packages' triggers would have done is not made up for: it takes minutes.
    for name in ("etc/.updated", "var/.updated"):
        (tree / name).touch()
    for name in ("proc", "sys", "dev", "run", "tmp", "srv/packages"):
        (tree / name).mkdir(parents=True, exist_ok=True)


def write_disk(disk, tree):
    """Write the system in the directory TREE to DISK, which boots."""
    start = ESP_MIB + 1
    size = DISK_MIB - start - 1
    esp.partition(disk, DISK_MIB, ESP_MIB,
                  f"start={start}MiB, size={size}MiB, type=L, name=root")
    esp.write(disk, ESP_MIB, esp.boot_files(
        f"search.fs_uuid {ROOT_UUID} root\nset prefix=($root)'/boot/grub'\n"
        "configfile $prefix/grub.cfg\n"))
    run("mkfs.ext4", "-q", "-F", "-U", ROOT_UUID, "-L", "root", "-d", tree,
        "-E", f"offset={start * MIB}", disk, f"{size}M")
