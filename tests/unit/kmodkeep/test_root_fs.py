# SPDX-License-Identifier: GPL-2.0-or-later
"""The root file system of the next boot: what is mounted on "/", or another one, whose drivers are not seen."""

import pytest

from tests.unit.kmodkeep.system import NEW, System
from tests.unit.kmodkeep.test_next_boot import next_boot

DISK, OTHER = "0a1b2c3d-1111-2222-3333-444455556666", "0a1b2c3d-1111-2222-3333-777788889999"
ENTRY = """menuentry 'Linux' --id one {{
  linux /boot/vmlinuz-{} {}
  initrd /boot/initrd.img-{}
}}
"""


class Root(System):
    """Two disks, of which the first is mounted on "/"."""

    def __init__(self, tree):
        super().__init__(tree)
        for name, device in (("by-uuid/" + DISK, "sda2"), ("by-uuid/" + OTHER, "sdb2"), ("by-partlabel/root-b", "sdb2"),
                             ("by-label/root", "sda2")):  # fmt: skip
            path = self.path / "dev/disk" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(f"../../{device}")
            tree.put(f"dev/{device}")
        (self.path / "dev/mapper").mkdir()
        (self.path / "dev/mapper/vg-root").symlink_to("../sda2")
        self.mount("8:2 / / rw - ext4 /dev/sda2 rw")

    def mount(self, line):
        self.tree.put("proc/self/mountinfo", f"22 1 {line}\n")

    def boots(self, line, now="root=/dev/sda2 ro"):
        self.tree.put("proc/cmdline", now + "\n")
        self.tree.put("boot/grub/grub.cfg", ENTRY.format(NEW, line, NEW))
        found = next_boot(self)
        return found["kernel"], found["why"]


@pytest.fixture
def root(tree):
    return Root(tree)


@pytest.mark.parametrize("line, same", [
    (f"root=UUID={DISK} ro", True), (f"root=UUID={DISK.upper()}", True), (f"root=UUID={OTHER}", False),
    ("root=UUID=0a1b2c3d-1111-2222-3333-000000000000", False), ("root=LABEL=root", True),
    ("root=PARTLABEL=root-b ro", False), ("root=/dev/sda2", True), ("root=/dev/mapper/vg-root", True),
    ("root=/dev/sdb2", False), (f"root=UUID={OTHER} root=UUID={DISK}", True),
    (f"root=UUID={DISK} root=UUID={OTHER}", False), (f'"root=UUID={OTHER}"', False), ("ro quiet", True),
    ("root=/dev/nfs", False), ("root=ZFS=rpool/ROOT/b", False), ("root=", False),
])  # fmt: skip
def test_disk_of_the_next_entry(root, line, same):
    """As of two root partitions that are updated in turn (ABRoot, systemd-sysupdate)."""
    kernel, why = root.boots(line)
    assert kernel == (NEW if same else None) and ("drivers are not" in why) != same, why
    if not same:
        assert root.tree.run("guard").code == 3


def test_disk_that_has_no_name_here(root):
    """What the running system has, too, is no other one: /dev/root, the network."""
    root.mount("0:21 / / rw - nfs4 server:/root rw")
    assert root.boots("root=/dev/nfs nfsroot=server:/root", now="root=/dev/nfs quiet")[0] == NEW
    assert root.boots("root=/dev/nfs nfsroot=server:/root")[0] is None
    root.mount("8:2 / / rw - ext4 /dev/root rw")
    number = root.path / "sys/dev/block/8:2"
    number.parent.mkdir(parents=True)
    root.tree.put("sys/devices/x/sda/sda2/partition", "2\n")
    number.symlink_to("../../devices/x/sda/sda2")
    assert root.boots(f"root=UUID={DISK}")[0] == NEW
    assert root.boots(f"root=UUID={OTHER}")[0] is None


def test_zfs(root):
    root.mount("0:30 / / rw - zfs rpool/ROOT/debian rw")
    assert root.boots("root=ZFS=rpool/ROOT/debian boot=zfs")[0] == NEW
    assert root.boots("root=zfs:rpool/ROOT/debian")[0] == NEW
    assert root.boots("root=ZFS=rpool/ROOT/debian-new")[0] is None
    kernel, why = root.boots("root=zfs:AUTO", now="root=zfs:AUTO")
    assert kernel is None and "root=ZFS=rpool/ROOT/debian" in why


@pytest.mark.parametrize("flags, same", [
    ("rootflags=subvol=@", True), ("rootflags=rw,subvol=/@", True), ("rootflags=subvol=@/.snapshots/2/snapshot", False),
    ("rootflags=subvolid=257", True), ("rootflags=subvolid=258", False), ("rootflags=subvol=@,subvolid=258", False),
    ("rootflags=subvol=", False), ("rootflags=subvol=@ rootflags=subvol=@new", False),
])  # fmt: skip
def test_subvolume_of_the_next_entry(root, flags, same):
    root.mount("0:30 /@ / rw - btrfs /dev/sda2 rw,subvolid=257,subvol=/@")
    kernel, why = root.boots(f"root=UUID={DISK} {flags}")
    assert kernel == (NEW if same else None) and ("rootflags=" in why) != same, why


def test_default_subvolume_that_cannot_be_read(root):
    """The folder of this test is in no btrfs; test_btrfs.c has what is answered."""
    root.mount("0:30 /@/.snapshots/1/snapshot / rw - btrfs /dev/sda2 rw,subvolid=257,subvol=/@/.snapshots/1/snapshot")
    for line in (f"root=UUID={DISK} splash=silent", "quiet"):
        kernel, why = root.boots(line)
        assert kernel is None and "default subvolume" in why and "cannot be read" in why, why


def test_btrfs_of_two_disks(root):
    root.mount("0:30 /@ / rw - btrfs /dev/sdb2 rw,subvolid=257,subvol=/@")
    assert root.boots(f"root=UUID={DISK} rootflags=subvol=@")[0] is None
    for name in ("sda2", "sdb2"):
        root.tree.put(f"sys/fs/btrfs/{DISK}/devices/{name}/size", "1\n")
    assert root.boots(f"root=UUID={DISK} rootflags=subvol=@")[0] == NEW


@pytest.mark.parametrize("word", ["ostree=/ostree/boot.1/x/y/0", "composefs=12", "roothash=12", "usrhash=34",
                                  "mount.usr=PARTLABEL=usr-b"])  # fmt: skip
def test_image_of_the_next_entry(root, word):
    """rpm-ostree, bootc, systemd-sysupdate: a whole system is named."""
    kernel, why = root.boots(f"root=UUID={DISK} {word}")
    assert kernel is None and word in why
    kernel, why = root.boots(f"root=UUID={DISK} {word}", now=f"root=/dev/sda2 {word}")
    assert kernel == NEW
    kernel, why = root.boots(f"root=UUID={DISK} {word}", now=f"root=/dev/sda2 {word}9")
    assert kernel is None


def test_folder_is_nobodys_root(root):
    """Of a system that does not run, what is mounted says nothing."""
    (root.path / "etc/kmodkeep-test-root").unlink()
    assert root.boots(f"root=UUID={OTHER}")[0] == NEW
