# SPDX-License-Identifier: GPL-2.0-or-later
"""The initramfs files of several kernels: each one's copies, and what reading them costs."""

import json
import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.kmodkeep.host import PROGRAM
from tests.unit.kmodkeep.system import NEW, OLD, System, cpio, grub_cfg, indexed, module_bytes, packed
from tests.unit.kmodkeep.test_next_boot import bzimage, unified

COPY = "usr/lib/modules/{}/updates/dkms/sample.ko"
INDEX = {f"usr/lib/modules/{NEW}/modules.dep.bin": indexed(["updates/dkms/sample.ko"])}
BLOCKS = ["xz", "--check=crc32", "--block-size=65536", "-T2", "-0"]


@pytest.fixture
def system(tree):
    return System(tree)


def next_finding(system):
    document = json.loads(system.tree.run("doctor", "--next-boot", "--json").out)
    return document["findings"][0]


def holds(system, *kernels):
    """The initramfs of each of both kernels, with the driver's copy if named."""
    for kernel in (OLD, NEW):
        inside = {"updates/dkms/sample.ko": module_bytes(kernel)} if kernel in kernels else {}
        system.initramfs(kernel, inside)


@pytest.mark.parametrize("inside,verdict", [
    ((OLD, NEW), "ok"), ((NEW,), "ok"), ((), "ok"), ((OLD,), "stale-initramfs"),
])  # fmt: skip
def test_what_the_running_kernels_has_and_the_next_ones_has_not(system, inside, verdict):
    """As with the root file system on it, or its network card."""
    holds(system, *inside)
    system.tree.put("usr/sbin/update-initramfs").chmod(0o755)
    finding = next_finding(system)
    assert finding["verdict"] == verdict, finding
    if verdict != "ok":
        assert finding["next_step"].startswith(f"update-initramfs -u -k {NEW}")
        result = system.tree.run("guard")
        assert result.code == 1 and "next boot would lose sample" in result.out


@pytest.mark.parametrize("setting,inside,verdict", [
    ("no", (OLD,), "ok"), ("auto", (OLD,), "stale-initramfs"), ("required", (), "stale-initramfs"),
    ("required", (NEW,), "ok"), ("required", (OLD,), "stale-initramfs"),
])  # fmt: skip
def test_what_the_drop_in_says_of_the_initramfs(system, setting, inside, verdict):
    holds(system, *inside)
    system.driver("sample", f"modules = sample\ninitramfs = {setting}\n")
    assert next_finding(system)["verdict"] == verdict


def test_drop_in_with_another_word(system):
    system.driver("sample", "modules = sample\ninitramfs = yes\n")
    result = system.tree.run("doctor")
    assert result.code == 3 and "initramfs is required, no or auto, not 'yes'" in result.err


def test_running_kernels_initramfs_that_cannot_be_read(system):
    """What the next one lacks may have been in it."""
    holds(system)
    system.tree.put(f"boot/initrd.img-{OLD}", b"BZh91AY&SY")
    finding = next_finding(system)
    assert finding["verdict"] == "unknown" and "cannot be read to compare" in finding["message"]
    holds(system, NEW)
    system.tree.put(f"boot/initrd.img-{OLD}", b"BZh91AY&SY")
    assert next_finding(system)["verdict"] == "ok"


def test_running_kernels_initramfs_that_is_gone(system):
    """It runs, and would not boot once more as it did."""
    holds(system, OLD, NEW)
    system.tree.put("boot/grub/grub.cfg", grub_cfg([OLD, NEW]))
    assert next_finding(system)["verdict"] == "ok"
    (system.path / f"boot/initrd.img-{OLD}").unlink()
    assert next_finding(system)["verdict"] == "unknown"


class Disks:
    """The disks of a host in its sysfs: each hangs on a PCI device with a driver."""

    def __init__(self, system):
        self.system, self.path = system, system.path
        holds(system)
        system.running(NEW)
        system.loaded("sample", "ABC")
        system.tree.put("sys/class/block/x")
        system.tree.put("sys/dev/block/x")

    def name(self, disk, number, where):
        for link in (f"sys/class/block/{disk}", f"sys/dev/block/{number}"):
            (self.path / link).symlink_to(self.path / where)
        self.system.tree.put(f"dev/{disk}")

    def driver(self, device, driver, bus="pci"):
        self.system.tree.put(f"sys/module/{driver}/version", "1\n")
        self.system.tree.put(f"sys/bus/{bus}/drivers/{driver}/bind", "")
        link = self.path / f"sys/bus/{bus}/drivers/{driver}/module"
        if not link.exists():
            link.symlink_to(self.path / f"sys/module/{driver}")
        (self.path / device).mkdir(parents=True, exist_ok=True)
        (self.path / device / "driver").symlink_to(link.parent)
        (self.path / device / "subsystem").symlink_to(self.path / f"sys/bus/{bus}")

    def real(self, disk, number, driver, above="sys/devices/pci0/0000:00:01.0"):
        """A disk, NUMBER of its partition 1, behind DRIVER."""
        device = f"{above}/{disk}-{driver}"
        self.driver(device, driver)
        where = f"{device}/host0/block/{disk}"
        self.system.tree.put(f"{where}/{disk}1/partition", "1\n")
        major, minor = number.split(":")
        self.name(disk, f"{major}:{int(minor) - 1}", where)
        self.name(f"{disk}1", number, f"{where}/{disk}1")

    def virtual(self, disk, number, *slaves, part=None):
        where = f"sys/devices/virtual/block/{disk}"
        self.system.tree.put(f"{where}/slaves/x").unlink()
        self.name(disk, number, where)
        if part:
            self.system.tree.put(f"{where}/{disk}p1/partition", "1\n")
            self.name(f"{disk}p1", part, f"{where}/{disk}p1")
        for slave in slaves:
            target = (self.path / f"sys/class/block/{slave}").resolve()
            (self.path / where / f"slaves/{slave}").symlink_to(target)

    def mounted(self, line):
        self.system.tree.put("proc/self/mountinfo", f"22 1 {line}\n")
        return next_finding(self.system)

    def zpool(self, text):
        self.system.tree.put("usr/sbin/zpool", f"#!/bin/sh\ncat <<'E'\n{text}E\n").chmod(0o755)


@pytest.fixture
def disks(system):
    """sda1 (8:1) is behind the driver asked about, sdb1 (8:17) and sdc1 (8:33) are not."""
    made = Disks(system)
    made.real("sda", "8:1", "sample")
    made.real("sdb", "8:17", "ahci")
    made.real("sdc", "8:33", "ahci")
    return made


@pytest.mark.parametrize("root,verdict", [
    ("0:25 / / rw - sample tank rw", "stale-initramfs"),
    ("8:1 / / rw - ext4 /dev/sda1 rw", "stale-initramfs"),
    ("253:0 / / rw - ext4 /dev/dm-0 rw", "stale-initramfs"),
    ("8:17 / / rw - ext4 /dev/sdb1 rw", "ok"),
    ("8:1 / /usr rw - ext4 /dev/sda1 rw", "stale-initramfs"),
    ("8:17 / / rw - xfs /dev/sdb1 rw,logdev=/dev/sdc1,noquota", "ok"),
    ("8:17 / / rw - xfs /dev/sdb1 rw,logdev=/dev/sda1,noquota", "stale-initramfs"),
    # A file system of its own number: the devices that it is on count.
    ("0:31 / / rw - bcachefs /dev/sdb1:/dev/sdc1 rw", "ok"),
    ("0:31 / / rw - bcachefs /dev/sdb1:/dev/sda1 rw", "stale-initramfs"),
    # Not to be seen, and so what is loaded may be needed.
    ("8:1 / /home rw - sample tank rw", "unknown"),
    ("8:99 / / rw - ext4 /dev/sdz1 rw", "unknown"),
    ("0:31 / / rw - nfs server:/root rw", "unknown"),
    ("0:31 / / rw - overlay overlay rw,lowerdir=/a,upperdir=/b", "unknown"),
    ("43:0 / / rw - ext4 /dev/nbd0 rw", "unknown"),
])  # fmt: skip
def test_what_the_root_file_system_is_reached_through(disks, root, verdict):
    """Its type, or the driver of a device above one of its disks; also below a mapping."""
    disks.virtual("dm-0", "253:0", "sda1")
    disks.virtual("nbd0", "43:0")
    finding = disks.mounted(root)
    assert finding["verdict"] == verdict, finding
    if verdict == "unknown":
        assert "not all is to be seen" in finding["message"]
        assert "initramfs = no" in finding["next_step"]


@pytest.mark.parametrize("slaves,verdict", [
    (("sdb1", "sdc1"), "ok"), (("sdb1", "sda1"), "stale-initramfs"),
    (("sda1", "sdb1"), "stale-initramfs"), (("sdb1", "nbd0"), "unknown"), ((), "unknown"),
])  # fmt: skip
def test_every_disk_of_a_stack_counts(disks, slaves, verdict):
    """A volume on a partition of a RAID on several disks."""
    disks.virtual("nbd0", "43:0")
    disks.virtual("md0", "9:0", *slaves, part="259:0")
    disks.virtual("dm-1", "253:1", "md0p1")
    assert disks.mounted("259:0 / / rw - ext4 /dev/md0p1 rw")["verdict"] == verdict
    assert disks.mounted("253:1 / / rw - ext4 /dev/mapper/x rw")["verdict"] == verdict


@pytest.mark.parametrize("members,verdict", [
    (("sda1",), "stale-initramfs"), (("sdb1",), "ok"), (("sdb1", "sdc1"), "ok"),
    (("sdb1", "sda1"), "stale-initramfs"), (("sdb1", "dm-0"), "stale-initramfs"),
    ((), "unknown"),
])  # fmt: skip
def test_every_disk_of_a_btrfs_counts(disks, members, verdict):
    disks.virtual("dm-0", "253:0", "sda1")
    disks.system.tree.put("sys/fs/btrfs/features/raid1c34", "0\n")
    disks.system.tree.put("sys/fs/btrfs/7a/label", "\n")
    for member in members:
        link = disks.path / f"sys/fs/btrfs/7a/devices/{member}"
        link.parent.mkdir(exist_ok=True)
        link.symlink_to((disks.path / f"sys/class/block/{member}").resolve())
    source = members[0] if members else "sdb1"
    menu = disks.system.path / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace("root=UUID=42", "root=UUID=42 rootflags=subvol=@"))
    assert disks.mounted(f"0:31 /@ / rw - btrfs /dev/{source} rw")["verdict"] == verdict
    # By another name, as LUKS and LVM have it.
    disks.system.tree.put("dev/mapper/x")
    (disks.path / "dev/mapper/root").symlink_to(f"../{source}")
    assert disks.mounted("0:31 /@ / rw - btrfs /dev/mapper/root rw")["verdict"] == verdict


POOL = "rpool\t476G\t39G\n\tmirror-0\t476G\t39G\n\t\t/dev/sdb1\t-\n\t\t{}\t-\n"


@pytest.mark.parametrize("other,verdict", [
    ("/dev/sdc1", "ok"), ("/dev/sda1", "stale-initramfs"), ("/dev/disk/by-id/x", "stale-initramfs"),
    ("/var/file", "unknown"), ("13871239817239", "unknown"), ("/dev/gone", "unknown"),
])  # fmt: skip
def test_every_disk_of_a_pool_counts(disks, other, verdict):
    disks.system.tree.put("dev/disk/by-id/y")
    (disks.path / "dev/disk/by-id/x").symlink_to("../../sda1")
    disks.zpool(POOL.format(other))
    assert disks.mounted("0:25 / / rw - zfs rpool/ROOT/debian rw")["verdict"] == verdict


def test_pool_that_its_tool_does_not_list(disks):
    root = "0:25 / / rw - zfs rpool/ROOT/debian rw"
    assert disks.mounted(root)["verdict"] == "unknown"
    disks.system.tree.put("usr/sbin/zpool", "#!/bin/sh\nexit 1\n").chmod(0o755)
    finding = disks.mounted(root)
    assert finding["verdict"] == "unknown" and "pool of ZFS" in finding["message"]


def test_disk_that_several_ways_lead_to(disks):
    """NVMe over more than one controller: the disk hangs on none of them."""
    top = "sys/devices/virtual/nvme-subsystem/nvme-subsys0"
    disks.system.tree.put(f"{top}/nvme0n1/size", "1\n")
    disks.name("nvme0n1", "259:5", f"{top}/nvme0n1")
    root = "259:5 / / rw - ext4 /dev/nvme0n1 rw"
    assert disks.mounted(root)["verdict"] == "unknown"
    for number, driver in enumerate(("nvme", "sample")):
        device = f"sys/devices/pci0/0000:00:0{number + 3}.0"
        disks.driver(device, driver)
        disks.system.tree.put(f"{device}/nvme/nvme{number}/state", "live\n")
        (disks.path / top / f"nvme{number}").symlink_to(disks.path / f"{device}/nvme/nvme{number}")
        assert disks.mounted(root)["verdict"] == ("stale-initramfs" if number else "ok")


def test_disk_on_the_network(disks):
    """iSCSI: "sd" drives the disk, and nothing says what leads to it."""
    device = "sys/devices/platform/host4/session1/target4:0:0/4:0:0:0"
    disks.driver(device, "sd_mod", bus="scsi")
    disks.system.tree.put(f"{device}/block/sdd/size", "1\n")
    disks.name("sdd", "8:48", f"{device}/block/sdd")
    root = "8:48 / / rw - ext4 /dev/sdd rw"
    assert disks.mounted(root)["verdict"] == "unknown"
    # What is not loaded, or was not in the initramfs that booted, is not needed for it.
    booted = int((disks.path / f"boot/initrd.img-{NEW}").stat().st_ctime)
    disks.system.tree.put("proc/stat", f"cpu 0\nbtime {booted - 5}\n")
    assert disks.mounted(root)["verdict"] == "unknown"
    disks.system.tree.put("proc/stat", f"cpu 0\nbtime {booted + 5}\n")
    assert disks.mounted(root)["verdict"] == "ok"
    disks.system.tree.put("proc/stat", "cpu 0\n")
    shutil.rmtree(disks.path / "sys/module/sample")
    assert disks.mounted(root)["verdict"] == "ok"


def test_file_that_is_not_called_as_the_module_is(disks):
    """Debian's nvidia-current.ko is "nvidia" in sysfs."""
    for kernel in (OLD, NEW):
        disks.system.install(kernel, "sample-current", data=module_bytes(kernel))
        disks.system.remove(kernel)
    disks.system.driver("sample", "modules = sample-current\n")
    assert disks.mounted("8:1 / / rw - ext4 /dev/sda1 rw")["verdict"] == "stale-initramfs"


def test_links_lead_to_the_copy_of_another_kernel(system):
    """As weak-updates/ of Enterprise Linux."""
    for kernel in (OLD, NEW):
        system.initramfs(kernel, {})
    data = module_bytes(NEW)
    files = {f"usr/lib/modules/{OLD}/extra/sample.ko": data,
             f"usr/lib/modules/{NEW}/weak-updates/sample.ko": f"../../{OLD}/extra/sample.ko".encode()}  # fmt: skip
    links = {f"usr/lib/modules/{NEW}/weak-updates/sample.ko"}
    system.tree.put(f"boot/initrd.img-{NEW}", cpio(files, links=links))
    assert next_finding(system)["initramfs_copy"] == "same"
    system.tree.put(f"boot/initrd.img-{NEW}", cpio({k: files[k] for k in links}, links=links))
    assert next_finding(system)["initramfs_copy"] == "none"
    system.tree.put(f"boot/initrd.img-{NEW}", cpio({k: files[k] for k in files if k not in links}))
    assert next_finding(system)["initramfs_copy"] == "none"


def test_kernels_own_module_beside_the_drivers(system):
    files = {f"usr/lib/modules/{NEW}/{where}/sample.ko": module_bytes(NEW, srcversion=version)
             for where, version in (("updates/dkms", "ABC"), ("kernel/drivers", "OWN"))}  # fmt: skip
    for order in (files, dict(reversed(files.items()))):
        system.tree.put(f"boot/initrd.img-{NEW}", cpio(order))
        assert next_finding(system)["initramfs_copy"] == "same"


def test_release_that_another_begins_with(system):
    system.initramfs(NEW, {})
    system.tree.put(f"boot/initrd.img-{NEW}", cpio({COPY.format(NEW + "-rt"): module_bytes(NEW)}))
    assert next_finding(system)["initramfs_copy"] == "none"


def test_all_the_archives_of_an_entry_are_searched(system):
    """What stands behind the main one, too."""
    holds(system, OLD)
    menu = grub_cfg([NEW, OLD]).replace(f"/boot/initrd.img-{NEW}", f"/boot/ucode.img /boot/initrd.img-{NEW} /boot/late.img")
    system.tree.put("boot/grub/grub.cfg", menu)
    system.tree.put("boot/ucode.img", cpio({"kernel/x86/microcode/x": b"x"}))
    system.tree.put("boot/late.img", cpio({}))
    assert next_finding(system)["verdict"] == "stale-initramfs"
    # Its index still is the one of before.
    system.tree.put("boot/late.img", cpio({COPY.format(NEW): module_bytes(NEW)}))
    assert next_finding(system)["verdict"] == "stale-initramfs"
    system.tree.put("boot/late.img", cpio({COPY.format(NEW): module_bytes(NEW), **INDEX}))
    assert next_finding(system)["verdict"] == "ok"
    other = module_bytes(NEW, version="0.9", srcversion="X")
    for path in (COPY.format(NEW), COPY.format(NEW).removeprefix("usr/")):
        system.tree.put("boot/late.img", cpio({path: other}))
        system.tree.put(f"boot/initrd.img-{NEW}", cpio({COPY.format(NEW): module_bytes(NEW)}))
        assert next_finding(system)["verdict"] == "stale-initramfs"
    (system.path / "boot/late.img").unlink()
    assert next_finding(system)["verdict"] in ("unknown", "kernel-incomplete")


def test_entry_that_leaves_the_initramfs_out(system):
    holds(system)
    menu = grub_cfg([NEW, OLD]).replace(f"\tinitrd\t/boot/initrd.img-{NEW}\n", "")
    system.tree.put("boot/grub/grub.cfg", menu)
    finding = next_finding(system)
    assert finding["verdict"] == "kernel-incomplete" and "does not load" in finding["message"]
    # Where none is loaded at all that is how this host boots.
    menu = menu.replace(f"\tinitrd\t/boot/initrd.img-{OLD}\n", "")
    system.tree.put("boot/grub/grub.cfg", menu)
    assert next_finding(system)["verdict"] == "ok"


@pytest.fixture
def sdboot(system):
    """systemd-boot with copies of its own, that are not those in /boot."""
    (system.path / "boot/grub/grub.cfg").unlink()
    holds(system, OLD, NEW)
    for kernel in (OLD, NEW):
        entry = f"version {kernel}\nlinux /m/{kernel}/linux\ninitrd /m/{kernel}/initrd\n"
        system.tree.put(f"boot/efi/loader/entries/m-{kernel}.conf", entry)
        system.tree.put(f"boot/efi/m/{kernel}/linux", bzimage(kernel))
        copy = (system.path / f"boot/initrd.img-{kernel}").read_bytes()
        system.tree.put(f"boot/efi/m/{kernel}/initrd", copy)
    system.tree.put("boot/efi/loader/loader.conf", "timeout 3\n")
    return system


def test_the_copy_on_the_partition_is_searched(sdboot):
    """A fresh one in /boot is of no help."""
    assert next_finding(sdboot)["verdict"] == "ok"
    other = cpio({COPY.format(NEW): module_bytes(NEW, version="0.9", srcversion="X")})
    copy = sdboot.tree.put(f"boot/efi/m/{NEW}/initrd", other)
    finding = next_finding(sdboot)
    assert finding["verdict"] == "stale-initramfs" and "0.9" in finding["message"]
    copy.write_bytes(cpio({}))
    finding = next_finding(sdboot)
    assert finding["verdict"] == "stale-initramfs" and "running kernel" in finding["message"]
    copy.unlink()
    finding = next_finding(sdboot)
    assert finding["verdict"] == "kernel-incomplete" and "not there" in finding["message"]


def test_the_section_of_a_unified_image_is_searched(sdboot):
    sdboot.tree.put("boot/efi/loader/loader.conf", "default mine.efi\n")
    for inside, verdict in (({COPY.format(NEW): module_bytes(NEW), **INDEX}, "ok"), ({}, "stale-initramfs"),
                            ({COPY.format(NEW): module_bytes(NEW)}, "unknown"),
                            ({COPY.format(NEW): module_bytes(NEW, srcversion="X")}, "stale-initramfs")):  # fmt: skip
        image = unified(uname=NEW, initrd=packed(cpio(inside), ["zstd", "-q"]), linux=bzimage(NEW))
        sdboot.tree.put("boot/efi/EFI/Linux/mine.efi", image)
        assert next_finding(sdboot)["verdict"] == verdict
    # One that is cut within it is no longer whole.
    sdboot.tree.put("boot/efi/EFI/Linux/mine.efi", image[:-100])
    assert next_finding(sdboot)["verdict"] == "kernel-incomplete"
    # One without it has no copy.
    sdboot.tree.put("boot/efi/EFI/Linux/mine.efi", unified(uname=NEW, linux=bzimage(NEW)))
    finding = next_finding(sdboot)
    assert finding["verdict"] == "kernel-incomplete" and "does not load" in finding["message"]
    assert finding["next_step"].startswith(f"kernel-install add {NEW}")


PACKERS = {"": None, ".xz": ["xz", "--check=crc32"], ".zst": ["zstd", "-q"], ".gz": ["gzip", "-n"]}


def own(number, **kwargs):
    return module_bytes(NEW, name=f"own{number}", intree=True, **kwargs)


def own_modules(system, copied, suffix=""):
    """Five of the kernel's own on disk, and as COPIED, {number: bytes}, in the initramfs."""
    system.tree.put("var/cache/x")
    for number in range(5):
        disk = packed(own(number, build_id=f"one{number}"), PACKERS[suffix])
        system.tree.put(f"lib/modules/{NEW}/kernel/fs/own{number}.ko{suffix}", disk)
    inside = {f"kernel/fs/own{n}.ko": own(n, build_id=f"one{n}") for n in range(5)}
    system.initramfs(NEW, {**inside, **{f"kernel/fs/own{n}.ko": copied[n] for n in copied}})


@pytest.mark.parametrize("suffix", PACKERS)
def test_each_module_of_the_kernel_is_compared(system, suffix):
    """As where an archive of before stands behind the one that was made again."""
    own_modules(system, {}, suffix)
    assert next_finding(system)["verdict"] == "ok"
    # Packed again, or without its signature and what a debugger wants, it is the same.
    own_modules(system, {3: own(3, build_id="one3", version="")}, suffix)
    assert next_finding(system)["verdict"] == "ok"
    own_modules(system, {4: own(4, build_id="two4")}, suffix)
    for _ in ("read", "remembered"):
        finding = next_finding(system)
        assert finding["verdict"] == "kernel-incomplete", finding
        assert "kernel/fs/own4.ko" in finding["message"] and finding["next_step"]
    # One that the disk has no more tells nothing.
    (system.path / f"lib/modules/{NEW}/kernel/fs/own4.ko{suffix}").unlink()
    assert next_finding(system)["verdict"] == "ok"


def test_module_of_the_kernel_that_cannot_be_compared(system):
    for copied in (own(2, version="3"), b"damaged", packed(own(2), ["xz"])[:-9]):
        own_modules(system, {2: copied})
        finding = next_finding(system)
        assert finding["verdict"] == "unknown", finding
        assert "kernel/fs/own2.ko and that on disk cannot be compared" in finding["message"]
    own_modules(system, {})
    disk = system.path / f"lib/modules/{NEW}/kernel/fs/own1.ko"
    disk.unlink()
    disk.mkdir()
    assert next_finding(system)["verdict"] == "unknown"
    for file in disk.parent.iterdir():
        file.rmdir() if file.is_dir() else file.unlink()
    assert next_finding(system)["verdict"] == "unknown"


def test_kernel_that_is_installed_again_behind_what_is_remembered(system):
    own_modules(system, {})
    assert next_finding(system)["verdict"] == "ok"
    system.tree.put(f"lib/modules/{NEW}/kernel/fs/own3.ko", own(3, build_id="two3"))
    assert next_finding(system)["verdict"] == "kernel-incomplete"
    system.initramfs(NEW, {"kernel/fs/own3.ko": own(3, build_id="two3")})
    assert next_finding(system)["verdict"] == "ok"


def test_modules_that_are_remembered_are_not_read_again(system):
    """What makes doctor answer at once: none of the kernel's own is opened."""
    own_modules(system, {})
    assert next_finding(system)["verdict"] == "ok"
    trace = system.path / "trace"
    subprocess.run(["strace", "-f", "-qq", "-o", trace, "-e", "trace=open,openat", PROGRAM, "doctor",
                    "--next-boot", "--root", system.path], env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"},
                   timeout=120, check=True, capture_output=True)  # fmt: skip
    assert "/sample.ko" in trace.read_text()
    assert not re.findall(r".*/kernel/fs/.*", trace.read_text())


def copies(system):
    """{kernel: what the doctor found in its initramfs}"""
    document = json.loads(system.tree.run("doctor", "--all", "--json").out)
    return {f["kernel"]: f["initramfs_copy"] for f in document["findings"]}


def test_each_kernel_has_its_own_copies(system):
    kernels = [f"6.{n}.0-amd64" for n in range(2, 7)]
    expected = dict(zip(kernels, ["same", "other", "none", "unread", "same"]))
    for kernel, word in expected.items():
        system.kernel(kernel)
        system.install(kernel)
        inside = {"same": module_bytes(kernel), "other": module_bytes(kernel, version="0.9")}
        system.initramfs(kernel, {"updates/dkms/sample.ko": inside[word]} if word in inside else {})
    system.tree.put(f"boot/initrd.img-{kernels[3]}", b"BZh91AY&SY")
    assert copies(system) == {**expected, OLD: "none", NEW: "none"}


def bulk(megabytes):
    """What compresses about as programs do."""
    data = Path("/proc/self/exe").read_bytes()
    return (data * (1 + (megabytes << 20) // len(data)))[: megabytes << 20]


def test_xz_of_many_blocks(system):
    """What several threads unpack: nothing of it is lost, and damage is seen."""
    filler = {"filler": bulk(2), "end": os.urandom(70000)}
    good = cpio({**filler, COPY.format(NEW): module_bytes(NEW), "z": bulk(1)})
    image = packed(good, BLOCKS)
    path = system.tree.put(f"boot/initrd.img-{NEW}", image)
    assert copies(system)[NEW] == "same"
    listing = subprocess.run(["xz", "--robot", "--list", "--format=xz", path], capture_output=True,
                             text=True, check=True).stdout  # fmt: skip
    assert int(listing.split("file\t")[1].split("\t")[1]) > 10, listing
    for cut in (len(image) // 2, len(image) - 1):
        path.write_bytes(image[:cut])
        assert copies(system)[NEW] == "unread"
    path.write_bytes(image[: len(image) // 2] + b"xyz" + image[len(image) // 2 + 3 :])
    assert copies(system)[NEW] == "unread"


@pytest.mark.parametrize("tool", [["gzip", "-n"], ["zstd", "-q"], ["xz"], BLOCKS],
                         ids=["gzip", "zstd", "xz", "blocks"])  # fmt: skip
def test_later_copy_is_the_one_that_is_there(system, tool):
    """In the same archive and in one behind it; so none is read but to its end."""
    name = COPY.format(NEW)
    old, new = ({name: module_bytes(NEW, version=v)} for v in ("0.9", "1.2"))
    first, second = cpio({**old, "filler": bulk(1)}), cpio({"filler": bulk(1), **new})
    path = system.tree.put(f"boot/initrd.img-{NEW}", packed(first + second, tool))
    assert copies(system)[NEW] == "same"
    path.write_bytes(packed(first, tool) + bytes(512) + packed(second, tool))
    assert copies(system)[NEW] == "same"
    path.write_bytes(packed(second, tool) + packed(first, tool))
    assert copies(system)[NEW] == "other"


def seconds(*command, times=2):
    """What COMMAND takes of a processor, whatever runs beside it: the least of a few runs."""
    took = []
    for _ in range(times):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        took.append(after.ru_utime - before.ru_utime)
    return min(took)


def test_reading_costs_little_more_than_unpacking(system):
    """The doctor beside xz alone on the same files; of what it always takes, without them."""
    kernels = [NEW, *[f"6.{n}.0-amd64" for n in range(2, 5)], OLD]
    for kernel in kernels[1:-1]:
        system.kernel(kernel)
        system.install(kernel)
    doctor = [PROGRAM, "doctor", "--all", "--root", system.path]
    always = seconds(*doctor)
    image = packed(cpio({"filler": bulk(8) + os.urandom(2 << 20)}), ["xz", "-1", "-T1"])
    paths = [system.tree.put(f"boot/initrd.img-{kernel}", image) for kernel in kernels]
    assert seconds(*doctor) - always < 1.7 * seconds("xz", "-dc", "-T1", *paths) + 0.1
