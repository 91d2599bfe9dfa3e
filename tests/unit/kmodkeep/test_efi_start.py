# SPDX-License-Identifier: GPL-2.0-or-later
"""What the firmware starts next: what started this system, or another loader, or another system."""

import shutil
import struct
import uuid

import pytest

from tests.unit.kmodkeep.host import GLOBAL, siglist
from tests.unit.kmodkeep.system import LOADER, NEW, OLD, System, bzimage, utf16
from tests.unit.kmodkeep.test_firmware_ca import SECURITY, Authority
from tests.unit.kmodkeep.test_firmware_ca import program as unsigned
from tests.unit.kmodkeep.test_next_boot import next_boot, unified

OURS, OTHERS = (str(uuid.UUID(int=n << 100 | n)) for n in (1, 2))
ESP_UUID, BOOT_UUID = "1234-ABCD", "0a1b2c3d-1111-2222-3333-444455556666"
NETWORK = struct.pack("<BBH", 3, 11, 37) + bytes(33)
SATA = struct.pack("<BBHHHH", 3, 18, 10, 0, 0xFFFF, 0)
ISCSI = struct.pack("<BBH", 3, 19, 18) + bytes(14)
CATEGORY_TOOL = 0x100
NOT_EARLY = "modules = sample\ndkms = sample\ninitramfs = no\n"


def text(string):
    return (string + "\0").encode("utf-16-le")


def partition(name, kind=2):
    signature = uuid.UUID(name).bytes_le if kind == 2 else bytes.fromhex("78563412") + bytes(12)
    return struct.pack("<BBHIQQ16sBB", 4, 1, 42, 1, 2048, 4096, signature, kind, kind)


def program(name):
    path = text(name)
    return struct.pack("<BBH", 4, 4, 4 + len(path)) + path


def option(title, *nodes, attributes=1, more=b""):
    path = b"".join(nodes) + struct.pack("<BBH", 0x7F, 0xFF, 4)
    return b"\7\0\0\0" + struct.pack("<IH", attributes, len(path)) + text(title) + path + more


def numbers(*list_of):
    return b"\7\0\0\0" + struct.pack(f"<{len(list_of)}H", *list_of)


class Firmware:
    """Two disks; this system was started by shim on the first, entry 1."""

    def __init__(self, system):
        self.system, self.tree = system, system.tree
        self.tree.put("dev/sda1")
        self.tree.put("dev/sdb1")
        for link, device in ((f"by-partuuid/{OURS}", "sda1"), (f"by-partuuid/{OTHERS}", "sdb1"),
                             (f"by-uuid/{ESP_UUID}", "sda1"), (f"by-uuid/{BOOT_UUID}", "sda2")):  # fmt: skip
            path = self.tree.path / "dev/disk" / link
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(f"../../{device}")
        self.tree.put("dev/sda2")
        self.mounts(("sda1", "/boot/efi"), ("sda2", "/boot"))
        self.tree.put("boot/efi/EFI/debian/shimx64.efi", "shim")
        self.tree.put("boot/efi/EFI/debian/grubx64.efi", "grub")
        self.tree.variable("BootCurrent", numbers(1), GLOBAL)
        self.entry(1, "debian", OURS, "\\EFI\\debian\\shimx64.efi")
        self.order(1)

    def mounts(self, *pairs):
        self.tree.put("proc/self/mountinfo", "".join(
            f"{n} 1 8:{n} / {where} rw - vfat /dev/{device} rw\n" for n, (device, where) in enumerate(pairs)))  # fmt: skip

    def entry(self, number, title, disk, file, **kwargs):
        self.option(number, option(title, partition(disk), program(file), **kwargs))

    def option(self, number, data):
        self.tree.variable(f"Boot{number:04X}", data, GLOBAL)

    def order(self, *entries):
        self.tree.variable("BootOrder", numbers(*entries), GLOBAL)

    def next(self, *entries):
        self.tree.variable("BootNext", numbers(*entries), GLOBAL)

    def no_next(self):
        (self.tree.path / f"sys/firmware/efi/efivars/BootNext-{GLOBAL}").unlink()

    def boots(self):
        found = next_boot(self.system)
        return found["kernel"], found["why"]


@pytest.fixture
def firmware(tree):
    return Firmware(System(tree))


def test_the_entry_that_started_this_system(firmware):
    assert firmware.boots()[0] == NEW
    firmware.next(1)
    assert firmware.boots()[0] == NEW


@pytest.mark.parametrize("disk,file,mounted", [
    (OTHERS, "\\EFI\\Microsoft\\Boot\\bootmgfw.efi", True),
    (OTHERS, "\\EFI\\fedora\\shimx64.efi", True),
    (OTHERS, "\\EFI\\fedora\\shimx64.efi", False),
    (OURS, "\\EFI\\ubuntu\\shimx64.efi", True),
    (OURS, "\\EFI\\debian\\fwupdx64.efi", True),
    (OURS, "\\EFI\\d\u00e9bian\\shimx64.efi", True),
])  # fmt: skip
@pytest.mark.parametrize("how", ["order", "next"])
def test_another_system_goes_first(firmware, disk, file, mounted, how):
    where = "boot/efi" if disk == OURS else "mnt/other"
    if mounted:
        firmware.mounts(("sda1", "/boot/efi"), ("sda2", "/boot"), ("sdb1", "/mnt/other"))
        firmware.tree.put(where + file.replace("\\", "/"), "another")
    firmware.entry(2, "Other System", disk, file)
    if how == "order":
        firmware.order(2, 1)
    else:
        firmware.next(2)
    kernel, why = firmware.boots()
    assert kernel is None and "Other System" in why and "efibootmgr" in why, why
    assert firmware.tree.run("guard").code == 3
    # Behind the one that started this system it does not count.
    firmware.order(1, 2)
    if how == "next":
        firmware.no_next()
    assert firmware.boots()[0] == NEW


def test_entries_that_the_firmware_passes(firmware):
    firmware.mounts(("sda1", "/boot/efi"), ("sda2", "/boot"), ("sdb1", "/mnt/other"))
    windows = "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"
    firmware.entry(2, "no file", OTHERS, windows)
    firmware.entry(3, "no disk", str(uuid.UUID(int=77)), windows)
    firmware.order(2, 3, 4, 1)  # there is no variable of 4
    assert firmware.boots()[0] == NEW
    firmware.tree.put("mnt/other/EFI/Microsoft/Boot/bootmgfw.efi", "windows")
    assert firmware.boots()[0] is None
    for attributes in (0, 1 | CATEGORY_TOOL):
        firmware.entry(2, "not started by itself", OTHERS, windows, attributes=attributes)
        assert firmware.boots()[0] == NEW
        # What was asked for is started all the same.
        firmware.next(2)
        assert firmware.boots()[0] is None
        firmware.no_next()


@pytest.mark.parametrize("attributes", [0, 1 | CATEGORY_TOOL, None])
def test_entry_that_started_this_system_and_is_passed_now(firmware, attributes):
    """Made inactive, or deleted, and still in the order: what is behind it starts."""
    firmware.mounts(("sda1", "/boot/efi"), ("sda2", "/boot"), ("sdb1", "/mnt/other"))
    windows = "\\EFI\\Microsoft\\Boot\\bootmgfw.efi"
    firmware.tree.put("mnt/other" + windows.replace("\\", "/"), "windows")
    firmware.entry(2, "Windows Boot Manager", OTHERS, windows)
    firmware.order(1, 2)
    assert firmware.boots()[0] == NEW
    if attributes is None:
        (firmware.tree.path / f"sys/firmware/efi/efivars/Boot0001-{GLOBAL}").unlink()
    else:
        firmware.entry(1, "debian", OURS, "\\EFI\\debian\\shimx64.efi", attributes=attributes)
    kernel, why = firmware.boots()
    assert kernel is None and "Windows Boot Manager" in why, why
    # Another entry for the same program is as good.
    firmware.entry(3, "debian", OURS, "\\EFI\\debian\\shimx64.efi")
    firmware.order(1, 3, 2)
    assert firmware.boots()[0] == (NEW if attributes is not None else None)


def test_entry_without_a_partition(firmware):
    """Network, CD: it had nothing if this boot came to one behind it."""
    firmware.option(2, option("UEFI PXEv4", NETWORK))
    firmware.order(2, 1)
    kernel, why = firmware.boots()
    assert kernel == NEW and "'UEFI PXEv4' (Boot0002)" in why
    firmware.next(2)
    assert firmware.boots()[0] is None
    firmware.no_next()
    # This boot was chosen by hand, and what comes first is not known to fail.
    firmware.order(2)
    assert firmware.boots()[0] is None
    # The same for a loader behind it.
    firmware.order(1, 2)
    kernel, why = firmware.boots()
    assert kernel == NEW and "PXE" not in why


def test_other_entries_that_lead_to_the_same_menu(firmware):
    firmware.entry(2, "again", OURS.upper(), "\\efi\\DEBIAN\\SHIMX64.EFI")
    firmware.tree.put("boot/efi/efi/DEBIAN/SHIMX64.EFI", "shim")  # on FAT the same file
    firmware.entry(3, "without shim", OURS, "\\EFI\\debian\\grubx64.efi")
    firmware.entry(4, "told something", OURS, "\\EFI\\debian\\shimx64.efi", more=text("\\x.efi"))
    for number, same in ((2, True), (3, True), (4, False)):
        firmware.order(number, 1)
        assert (firmware.boots()[0] == NEW) == same, number
    # Of another folder, whose stub searches for /boot.
    firmware.entry(5, "fallback", OURS, "\\EFI\\BOOT\\grubx64.efi")
    firmware.tree.put("boot/efi/EFI/BOOT/grubx64.efi", "grub")
    firmware.order(5, 1)
    assert firmware.boots()[0] is None
    stub = "search.fs_uuid {} root hd0,gpt2\nset prefix=($root)'/{}'\nconfigfile $prefix/grub.cfg\n"
    for where, folder, same in ((BOOT_UUID, "grub", True), (BOOT_UUID, "grub2", False), (ESP_UUID, "grub", False),
                                ("aaaaaaaa-1111-2222-3333-444455556666", "grub", False)):  # fmt: skip
        firmware.tree.put("boot/efi/EFI/BOOT/grub.cfg", stub.format(where, folder))
        assert (firmware.boots()[0] == NEW) == same, (where, folder)


@pytest.mark.parametrize("name", ["debian/shimx64.efi", "debian/grubx64.efi", "BOOT/BOOTX64.EFI"])
def test_grub_of_another_system_started_this_one(firmware, name):
    """Two systems on one machine: the other one's menu boots this one, and ours has no say."""
    firmware.tree.put(f"boot/efi/EFI/{name}", "grub")
    firmware.entry(1, "ubuntu", OURS, "\\EFI\\" + name.replace("/", "\\"))
    beside = f"boot/efi/EFI/{name.split('/')[0]}/grub.cfg"
    stub = "search --no-floppy --fs-uuid --set=dev {}\nset prefix=($dev)/{}\nconfigfile $prefix/grub.cfg\n"
    for where, folder, kernel in ((BOOT_UUID, "grub", NEW), (BOOT_UUID.upper(), "grub", NEW), (ESP_UUID, "grub", None),
                                  (BOOT_UUID, "grub2", None), ("cccccccc-1111-2222-3333-444455556666", "grub", NEW)):  # fmt: skip
        firmware.tree.put(beside, stub.format(where, folder))
        found, why = firmware.boots()
        assert found == kernel and ("another menu" in why) == (kernel is None), (where, folder, why)


def test_stub_that_leads_below_the_mount_of_boot(firmware):
    """It searches for the file system of "/", and what is in /boot there is not what is seen."""
    stub = f"search.fs_uuid {BOOT_UUID} root\nset prefix=($root)'/boot/grub'\nconfigfile $prefix/grub.cfg\n"
    firmware.tree.put("boot/efi/EFI/debian/grub.cfg", stub)
    firmware.mounts(("sda1", "/boot/efi"), ("sda2", "/"))
    assert firmware.boots()[0] == NEW
    firmware.mounts(("sda1", "/boot/efi"), ("sda2", "/"), ("sdb1", "/boot"))
    kernel, why = firmware.boots()
    assert kernel is None and "hidden below the mount of /boot" in why


@pytest.mark.parametrize("mounts, folder, kernel", [
    ("/@ /", "/@/boot/grub", NEW), ("/@ /", "/@other/boot/grub", None), ("/@ /", "/boot/grub", None),
    ("/@ / /@boot /boot", "/@boot/grub", NEW), ("/@ / /@boot /boot", "/@/boot/grub", None),
    ("/ / /@boot /boot", "/boot/grub", None), ("/@boot /boot /@ /", "/@boot/grub", NEW),
    ("/@ / /@boot /boot/grub", "/@boot", NEW), ("/@ /", "($dev)", None), ("/ /", "($dev)", NEW),
], ids=["root", "another root", "top", "boot", "root below boot", "top below boot", "boot first", "grub",
        "no folder", "no folder, whole"])  # fmt: skip
def test_stub_that_leads_to_a_subvolume(firmware, mounts, folder, kernel):
    """Of btrfs GRUB sees all subvolumes, whichever of them are mounted here."""
    stub = f"search.fs_uuid {BOOT_UUID} dev\nset prefix=($dev)'{folder}'\nconfigfile $prefix/grub.cfg\n"
    if folder.startswith("("):
        stub = f"search.fs_uuid {BOOT_UUID} dev\nconfigfile ($dev)/boot/grub/grub.cfg\n"
    firmware.tree.put("boot/efi/EFI/debian/grub.cfg", stub)
    words = mounts.split()
    firmware.tree.put("proc/self/mountinfo", "1 1 8:1 / /boot/efi rw - vfat /dev/sda1 rw\n" + "".join(
        f"2 1 0:{n} {root} {where} rw - btrfs /dev/sda2 rw\n"
        for n, (root, where) in enumerate(zip(words[::2], words[1::2], strict=True))))  # fmt: skip
    menu = firmware.tree.path / "boot/grub/grub.cfg"
    subvolume = dict(zip(words[1::2], words[::2], strict=True))["/"]
    menu.write_text(menu.read_text().replace("root=UUID=42", f"root=UUID=42 rootflags=subvol={subvolume}"))
    found, why = firmware.boots()
    assert found == kernel and ("another menu" in why) == (kernel is None), why


@pytest.mark.parametrize("nodes", [(partition(OURS),), (SATA,)], ids=["partition", "disk"])
def test_entry_without_a_file_whose_fallback_is_not_to_be_seen(firmware, nodes):
    """A bare entry of a disk, as of virtual machines: the firmware takes /EFI/BOOT of its partition."""
    firmware.option(1, option("UEFI disk", *nodes))
    kernel, why = firmware.boots()
    assert kernel is None and "/EFI/BOOT/BOOTX64.EFI" in why, why
    firmware.tree.put("boot/efi/EFI/BOOT/BOOTX64.EFI", "shim")
    assert firmware.boots()[0] == NEW
    # Its menu is read, as that of a program that is named.
    stub = f"search.fs_uuid {ESP_UUID} root\nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n"
    firmware.tree.put("boot/efi/EFI/BOOT/grub.cfg", stub)
    kernel, why = firmware.boots()
    assert kernel is None and "another menu" in why, why
    # Not mounted, and not in fstab.
    (firmware.tree.path / "boot/efi/EFI").rename(firmware.tree.path / "EFI")
    firmware.mounts(("sda2", "/boot"))
    kernel, why = firmware.boots()
    assert kernel is None and "mount it" in why and "/etc/fstab" in why, why
    assert firmware.tree.run("guard").code == 3


def test_entry_without_a_partition_says_who_may_see(firmware):
    """What root alone may read is mounted all the same."""
    firmware.option(1, option("UEFI disk", SATA))
    kernel, why = firmware.boots()
    assert kernel is None and "ask again as root" in why and "PARTUUID" not in why, why


def test_partition_that_is_one_of_a_mirror(firmware):
    """As Anaconda makes it: md is mounted, and the firmware reads one of its disks."""
    firmware.mounts(("md127", "/boot/efi"), ("sda2", "/boot"))
    for level, form, known in (("raid1", "1.0", True), ("raid1", "0.90", True), ("raid1", "1.2", False),
                               ("raid0", "1.0", False)):  # fmt: skip
        firmware.tree.put("sys/class/block/sda1/holders/md127/uevent")
        firmware.tree.put("sys/class/block/md127/md/level", f"{level}\n")
        firmware.tree.put("sys/class/block/md127/md/metadata_version", f"{form}\n")
        kernel, why = firmware.boots()
        assert kernel == (NEW if known else None) and ("is not mounted" in why) != known, why


def test_network_that_started_this_system(firmware):
    """What a server sends may be another kernel the next time, whatever lies on the disk."""
    firmware.tree.put("boot/efi/EFI/BOOT/BOOTX64.EFI", "shim")
    for nodes, kernel in (((NETWORK,), None), ((NETWORK, ISCSI), NEW), ((NETWORK, program("\\x.efi")), None)):
        firmware.option(1, option("UEFI PXEv4", *nodes))
        found, why = firmware.boots()
        assert found == kernel and ("network" in why) == (kernel is None), why


def test_program_that_started_this_system_and_is_not_to_be_seen(firmware):
    """Of another system on this machine, or gone: the firmware goes on to the next entry."""
    (firmware.tree.path / "boot/efi/EFI/debian/shimx64.efi").unlink()
    kernel, why = firmware.boots()
    assert kernel is None and "install the boot loader again" in why, why
    firmware.tree.put("boot/efi/EFI/debian/shimx64.efi", "shim")
    assert firmware.boots()[0] == NEW
    firmware.mounts(("sda2", "/boot"))
    kernel, why = firmware.boots()
    assert kernel is None and f"PARTUUID={OURS}" in why, why


def test_another_loader_whose_menu_is_read(firmware):
    """systemd-boot goes first, on a host that GRUB started."""
    firmware.tree.variable("LoaderInfo", utf16("GRUB 2.12"), LOADER)
    firmware.tree.put("boot/efi/EFI/systemd/systemd-bootx64.efi", "sd-boot")
    firmware.tree.put("boot/efi/loader/loader.conf", "timeout 3\n")
    firmware.entry(2, "Linux Boot Manager", OURS, "\\EFI\\systemd\\systemd-bootx64.efi")
    firmware.order(2, 1)
    assert firmware.boots()[0] is None
    firmware.tree.put(f"boot/efi/{NEW}/linux", bzimage(NEW))
    firmware.tree.put("boot/efi/loader/entries/one.conf", f"title One\nversion {NEW}\nlinux /{NEW}/linux\n")
    found = next_boot(firmware.system)
    assert (found["loader"], found["kernel"]) == ("systemd-boot", NEW)


def test_kernel_that_the_firmware_starts_itself(firmware):
    """GRUB's files are here as well, and have no say."""
    for data in (bzimage(NEW), unified(linux=bzimage(NEW), uname=NEW)):
        firmware.tree.put("boot/efi/EFI/Linux/linux.efi", data)
        firmware.entry(1, "kernel", OURS, "\\EFI\\Linux\\linux.efi")
        kernel, why = firmware.boots()
        assert kernel is None and "without a boot loader" in why


def test_no_entry_that_can_be_started(firmware):
    firmware.order()
    kernel, why = firmware.boots()
    assert kernel is None and "/EFI/BOOT" in why
    firmware.entry(1, "UEFI OS", OURS, "\\EFI\\BOOT\\BOOTX64.EFI")
    firmware.tree.put("boot/efi/EFI/BOOT/BOOTX64.EFI", "shim")
    assert firmware.boots()[0] == NEW
    (firmware.tree.path / f"sys/firmware/efi/efivars/BootOrder-{GLOBAL}").unlink()
    assert firmware.boots()[0] == NEW


@pytest.mark.parametrize("name,data", [
    ("BootNext", b"\7\0\0\0\1"), ("BootNext", b"\7\0\0\0"), ("BootNext", numbers(1, 1)),
    ("BootOrder", numbers(1) + b"\0"), ("BootOrder", numbers(*range(2000))),
    ("BootCurrent", b"\7\0\0\0\1"),
    ("Boot0002", b"\7\0\0\0\1\0\0"), ("Boot0002", option("x", partition(OURS))[:-10]),
    ("Boot0002", option("x", b"\4\4\2\0")),
])  # fmt: skip
def test_variable_that_is_damaged(firmware, name, data):
    firmware.order(2, 1)
    firmware.entry(2, "debian", OURS, "\\EFI\\debian\\shimx64.efi")
    assert firmware.boots()[0] == NEW
    firmware.tree.variable(name, data, GLOBAL)
    kernel, why = firmware.boots()
    assert kernel is None and "damaged" in why, why


def test_variable_that_cannot_be_read(firmware):
    """A read that fails is not the same as a variable that is not there."""
    for name in ("BootNext", "BootOrder", "BootCurrent"):
        path = firmware.tree.path / f"sys/firmware/efi/efivars/{name}-{GLOBAL}"
        before = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        path.mkdir()
        kernel, why = firmware.boots()
        assert kernel is None and name in why, why
        path.rmdir()
        if before:
            path.write_bytes(before)


def test_firmware_whose_variables_are_not_to_be_seen(firmware):
    """efivarfs is not mounted: BootNext may ask for anything. A BIOS has none."""
    shutil.rmtree(firmware.tree.path / "sys/firmware/efi/efivars")
    for mounted in (False, True):
        kernel, why = firmware.boots()
        assert kernel is None and "mount -t efivarfs" in why, (mounted, why)
        (firmware.tree.path / "sys/firmware/efi/efivars").mkdir(exist_ok=True)
    assert firmware.tree.run("guard").code == 3
    shutil.rmtree(firmware.tree.path / "sys/firmware/efi")
    assert firmware.boots()[0] == NEW


def test_administrator_says_what_the_firmware_starts(firmware):
    """A board whose kernel has no variables; where there are some, they alone count."""
    firmware.system.driver("sample", NOT_EARLY)
    firmware.tree.put("etc/kmodkeep/guard.conf", "firmware_starts = /boot/efi/EFI/debian/grubx64.efi\n")
    firmware.entry(2, "Other System", OTHERS, "\\EFI\\x.efi")
    firmware.next(2)
    assert firmware.boots()[0] is None
    shutil.rmtree(firmware.tree.path / "sys/firmware/efi/efivars")
    assert firmware.boots()[0] == NEW
    for said, code in (("", 3), ("firmware_secure_boot = yes\n", 1), ("firmware_secure_boot = no\n", 0)):
        firmware.tree.put("etc/kmodkeep/guard.conf", f"firmware_starts = /boot/efi/EFI/debian/grubx64.efi\n{said}")
        assert firmware.tree.run("guard").code == code, said
    # Its stub leads elsewhere; it is gone.
    firmware.tree.put("boot/efi/EFI/debian/grub.cfg", f"search.fs_uuid {ESP_UUID} x\nset prefix=($x)/grub\nconfigfile x\n")
    kernel, why = firmware.boots()
    assert kernel is None and "another menu" in why
    (firmware.tree.path / "boot/efi/EFI/debian/grubx64.efi").unlink()
    kernel, why = firmware.boots()
    assert kernel is None and "firmware_starts" in why and "mount its partition" in why
    firmware.tree.put("etc/kmodkeep/guard.conf", "firmware_starts = grubx64.efi\n")
    result = firmware.tree.run("guard")
    assert result.code == 3 and "firmware_starts must be the full path of a file" in result.text


def test_files_of_loaders_that_the_firmware_does_not_start(firmware):
    """Of rEFInd and Limine, which were tried once; the firmware starts shim, whose stub leads to GRUB's menu."""
    firmware.tree.put("boot/efi/EFI/refind/refind.conf", f"menuentry old {{\n loader /boot/vmlinuz-{OLD}\n}}\n")
    firmware.tree.put("boot/limine.conf", f"/old\n protocol: linux\n path: boot():/vmlinuz-{OLD}\n")
    assert firmware.boots()[0] is None
    stub = f"search.fs_uuid {BOOT_UUID} root\nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n"
    firmware.tree.put("boot/efi/EFI/debian/grub.cfg", stub)
    assert firmware.boots()[0] == NEW
    firmware.entry(1, "refind", OURS, "\\EFI\\refind\\refind_x64.efi")
    firmware.tree.put("boot/efi/EFI/refind/refind_x64.efi", "refind")
    assert firmware.boots()[0] is None


@pytest.mark.parametrize("lines, safe", [
    ("8:1 / / rw - ext4 /dev/sda1 rw", True), ("0:9 / / rw - overlay overlay rw,lowerdir=/a,upperdir=/up,workdir=/w", False),
    ("8:1 / / rw - ext4 /dev/sda1 rw;0:9 / /usr ro - overlay sysext ro,lowerdir=/run/systemd/sysext/meta/usr:/a/usr", False),
    ("8:1 / / rw - ext4 /dev/sda1 rw;0:9 / /lib/modules rw - tmpfs tmpfs rw", False),
    ("0:8 / /media rw - tmpfs tmpfs rw;0:9 / / rw - overlay o rw,lowerdir=/a,upperdir=/media/rw/up,workdir=/w", False),
    ("8:2 / /media rw - ext4 x rw;0:9 / / rw - overlay o rw,lowerdir=/a,upperdir=/media/rw/up,workdir=/w", True),
    ("0:9 / / ro - overlay composefs ro,lowerdir+=/a,datadir+=/b", False),
    ("8:1 / / rw - ext4 /dev/sda1 rw;0:9 / /opt ro - overlay sysext ro,lowerdir=/b;0:7 / /run rw - tmpfs tmpfs rw", True),
], ids=["disk", "overlay of who knows what", "sysext", "memory", "overlay in memory", "overlay on disk", "image", "elsewhere"])  # fmt: skip
def test_modules_in_what_each_boot_puts_together_anew(tree, lines, safe):
    System(tree).driver("sample", NOT_EARLY)
    tree.put("proc/self/mountinfo", "".join(f"{n} 1 {line}\n" for n, line in enumerate(lines.split(";"))))
    result = tree.run("status")
    assert result.code == (0 if safe else 3), result.out
    assert ("the modules of this host are" in " ".join(result.out.split())) == (not safe)


@pytest.mark.parametrize("place, safe", [(None, False), ("usr/lib", True), ("usr/lib64", False)])
def test_modules_on_a_disk_below_a_root_in_memory(tree, place, safe):
    """Where /lib is a link, what counts is where it leads."""
    System(tree).driver("sample", NOT_EARLY)
    if place:
        shutil.copytree(tree.path / "lib", tree.path / place, dirs_exist_ok=True, symlinks=True)
        shutil.rmtree(tree.path / "lib")
        (tree.path / "lib").symlink_to(place)
    tree.put("proc/self/mountinfo", "1 1 0:9 / / rw - tmpfs tmpfs rw\n2 1 8:1 / /usr/lib rw - ext4 /dev/sda1 rw\n")
    assert tree.run("status").code == (0 if safe else 3)


def test_disk_with_a_table_of_the_old_kind(firmware):
    path = firmware.tree.path / "dev/disk/by-partuuid/12345678-01"
    path.symlink_to("../../sdb1")
    firmware.option(2, option("old", partition(OURS, kind=1), program("\\EFI\\x.efi")))
    firmware.order(2, 1)
    assert firmware.boots()[0] is None
    firmware.mounts(("sda1", "/boot/efi"), ("sdb1", "/mnt/other"))
    assert firmware.boots()[0] == NEW
    firmware.tree.put("mnt/other/EFI/x.efi", "x")
    assert firmware.boots()[0] is None


def test_program_that_the_firmware_refuses(firmware, pair, tmp_path):
    """An entry as good as the one that started this system, but for Secure Boot; or another loader."""
    ca = Authority(tmp_path)
    firmware.tree.put("boot/efi/EFI/debian/shimx64.efi", ca.signed("Microsoft"))
    firmware.tree.put("boot/efi/EFI/debian/grubx64.efi", ca.signed("Debian"))
    firmware.tree.variable("db", siglist(ca.der("Microsoft")), SECURITY)
    firmware.system.driver("sample", NOT_EARLY)
    for kernel in (OLD, NEW):
        firmware.system.install(kernel, sign=pair)
    firmware.tree.enrol(pair.cert)
    for on in (True, False):
        firmware.tree.secure_boot(on)
        firmware.order(1)
        assert firmware.tree.run("status").code == 0
        firmware.entry(3, "without shim", OURS, "\\EFI\\debian\\grubx64.efi")
        firmware.order(3, 1)
        result = firmware.tree.run("status")
        assert firmware.boots()[0] == NEW and result.code == (3 if on else 0)
        assert ("grubx64.efi as it is (Debian)" in " ".join(result.out.split())) == on


def test_grub_beside_a_program_that_did_not_start_this_system(firmware, pair, tmp_path):
    """The firmware starts another shim, which does not start what nobody signed."""
    ca = Authority(tmp_path)
    for folder in ("debian", "other"):
        firmware.tree.put(f"boot/efi/EFI/{folder}/shimx64.efi", ca.signed("Microsoft"))
        firmware.tree.put(f"boot/efi/EFI/{folder}/grubx64.efi", ca.signed("Debian"))
    stub = f"search.fs_uuid {BOOT_UUID} root\nset prefix=($root)'/grub'\nconfigfile $prefix/grub.cfg\n"
    firmware.tree.put("boot/efi/EFI/other/grub.cfg", stub)
    firmware.tree.variable("db", siglist(ca.der("Microsoft")), SECURITY)
    firmware.system.driver("sample", NOT_EARLY)
    for kernel in (OLD, NEW):
        firmware.system.install(kernel, sign=pair)
    firmware.tree.enrol(pair.cert)
    firmware.tree.secure_boot()
    firmware.entry(2, "other", OURS, "\\EFI\\other\\shimx64.efi")
    firmware.order(2, 1)
    assert firmware.boots()[0] == NEW and firmware.tree.run("status").code == 0
    firmware.tree.put("boot/efi/EFI/other/grubx64.efi", unsigned())
    result = firmware.tree.run("status")
    assert result.code == 3 and "shim does not start" in " ".join(result.out.split()), result.out
    # shim was told not to check, or the firmware goes to the other one.
    firmware.order(1, 2)
    assert firmware.tree.run("status").code == 0


def test_word_of_the_administrator_under_secure_boot(firmware, pair, tmp_path):
    """It is said what the answer rests on; and what nobody signed is not started."""
    ca = Authority(tmp_path)
    firmware.system.driver("sample", NOT_EARLY)
    for kernel in (OLD, NEW):
        firmware.system.install(kernel, sign=pair)
    shutil.rmtree(firmware.tree.path / "sys/firmware/efi/efivars")
    firmware.tree.put("sys/firmware/efi/mok-variables/MokListRT", siglist(pair.cert.read_bytes())[4:])
    says = "firmware_starts = /boot/efi/EFI/debian/shimx64.efi\nfirmware_secure_boot = {}\n"
    for shim, grub, on, safe in ((unsigned(), unsigned(), True, False), (unsigned(), unsigned(), False, True),
                                 (ca.signed("Microsoft"), unsigned(), True, False),
                                 (ca.signed("Microsoft"), ca.signed("Debian"), True, True)):  # fmt: skip
        firmware.tree.put("boot/efi/EFI/debian/shimx64.efi", shim)
        firmware.tree.put("boot/efi/EFI/debian/grubx64.efi", grub)
        firmware.tree.put("etc/kmodkeep/guard.conf", says.format("yes" if on else "no"))
        result = firmware.tree.run("status")
        words = " ".join(result.out.split())
        assert result.code == (0 if safe else 3), words
        assert ("is what firmware_starts in" in words) == safe and ("no signature" in words) == (not safe), words
