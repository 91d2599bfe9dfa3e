# SPDX-License-Identifier: GPL-2.0-only
"""A disk with an operating system that has RPM as its only package database.

RPM mechanics on Debian payload: rpm, dnf, kernel-install, dracut and upstream dkms
do what they do on Fedora, but the programs are Debian's, converted. It boots
through shim and GRUB with Secure Boot on. Made once and cached; a run writes to an
overlay of its own.
"""

import shutil
import textwrap
import uuid
from pathlib import Path

from tests.lib.cache import cached, digest, progress
from tests.qemu import esp
from tests.qemu.esp import MIB, run
from tests.rpm import builder, payload

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

ESP_MIB = 64
DISK_MIB = 5 * 1024


def base_image():
    """The directory with `disk.img`, made now if need be."""
    packages = payload.packages()
    parts = [packages[name] for name in ("os", "release", f"kernel-{payload.KERNELS[0]}")]
    recipe = digest(*[p.name for p in parts],
                    *[Path(f).read_bytes() for f in (__file__, esp.__file__, TEST_SHELL)])
    return cached("image", f"rpm-{recipe}", lambda path: _make(parts, path))


def overlay(directory):
    """A new disk in DIRECTORY for one run: the cached one, with its own changes."""
    path = Path(directory) / "disk.qcow2"
    run("qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw",
        "-b", base_image() / "disk.img", path)
    return path


def _make(parts, directory):
    directory.mkdir(parents=True)
    root_uuid = str(uuid.uuid4())
    with builder.Builder() as clone:
        (clone.path / "repo").mkdir()
        for rpm in [rpm for part in parts for rpm in part.glob("*.rpm")]:
            shutil.copy(rpm, clone.path / "repo")
        clone.run(["createrepo_c", "--quiet", "/repo"])
        _prepare(clone)
        with progress(f"{LABEL}: install the system"):
            clone.run([*DNF, "install", *payload.names(parts[0]), "test-release"])
        root = clone.path / "target"
        (root / "etc/kernel/cmdline").write_text(
            f"root=UUID={root_uuid} ro console=ttyS0,115200\n", encoding="ascii")
        with progress(f"{LABEL}: install the kernel"):
            clone.run([*DNF, "install", "kernel", "kernel-devel"])
        _settle(root, root_uuid)
        clone.run("umount /target/proc /target/dev")
        with progress(f"{LABEL}: write the disk"):
            _write_disk(directory / "disk.img", root, root_uuid)


def _prepare(clone):
    """/target, as a mount point: rpm's scripts want to change root to one."""
    clone.run("mkdir -p /target && mount --bind /target /target && mkdir /target/proc /target/dev"
              " && mount --bind /proc /target/proc && mount --bind /dev /target/dev")


def _settle(root, root_uuid):
    """Do what an installer does once the packages are there."""
    shell = root / "usr/local/sbin/test-shell"
    shell.parent.mkdir(parents=True, exist_ok=True)
    shell.write_bytes(TEST_SHELL.read_bytes())
    shell.chmod(0o755)
    (root / "etc/systemd/system/test-shell.service").write_text(TEST_SHELL_UNIT, encoding="ascii")
    run("systemctl", f"--root={root}", "--quiet", "enable", "test-shell.service")
    run("systemctl", f"--root={root}", "--quiet", "mask", *UNWANTED_UNITS)
    run("systemd-sysusers", f"--root={root}")
    (root / "etc/fstab").write_text(f"UUID={root_uuid} / ext4 errors=remount-ro 0 1\n",
                                    encoding="ascii")
    (root / "etc/hostname").write_text("guest\n", encoding="ascii")
    # Each guest is a host of its own: systemd makes its identity at first boot.
    (root / "etc/machine-id").write_text("", encoding="ascii")
    for name in ("proc", "sys", "dev", "run", "tmp", "srv/packages"):
        (root / name).mkdir(parents=True, exist_ok=True)


def _write_disk(disk, root, root_uuid):
    start = ESP_MIB + 1
    size = DISK_MIB - start - 1
    esp.partition(disk, DISK_MIB, ESP_MIB,
                  f"start={start}MiB, size={size}MiB, type=L, name=root")
    esp.write(disk, ESP_MIB, esp.boot_files(
        f"search.fs_uuid {root_uuid} root\nset prefix=($root)'/boot/grub'\n"
        "configfile $prefix/grub.cfg\n"))
    run("mkfs.ext4", "-q", "-F", "-U", root_uuid, "-L", "root", "-d", root,
        "-E", f"offset={start * MIB}", disk, f"{size}M")
