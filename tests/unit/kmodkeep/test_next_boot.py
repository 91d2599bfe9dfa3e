# SPDX-License-Identifier: GPL-2.0-or-later
"""Which kernel boots next, by GRUB and systemd-boot, or that nobody can tell."""

import hashlib
import json
import os
import shutil
import subprocess

import pytest

from tests.unit.kmodkeep.host import GLOBAL, SECURITY, SHIM, siglist
from tests.unit.kmodkeep.system import (
    LOADER,
    NEW,
    OLD,
    System,
    advanced,
    bzimage,
    cpio,
    grub_cfg,
    grubenv,
    module_bytes,
    packed,
    utf16,
)
from tests.unit.kmodkeep.test_firmware_ca import Authority, program


@pytest.fixture
def system(tree):
    return System(tree)


def next_boot(system):
    return json.loads(system.tree.run("doctor", "--json").out)["next_boot"]


def boots(system):
    return next_boot(system)["kernel"]


def next_finding(system):
    document = json.loads(system.tree.run("doctor", "--next-boot", "--json").out)
    return document["findings"][-1]


@pytest.mark.parametrize("default,kernel", [
    ("0", NEW),
    ("1", NEW),  # the submenu, and its first entry
    ("1>0", NEW),
    ("1>2", OLD),
    ("1>3", OLD),
    ("1>9", NEW),  # what does not exist is the first entry
    ("nothing", NEW),
    ("gnulinux-advanced-42>2", OLD),
    (advanced(OLD), OLD),
    ("Debian GNU/Linux", NEW),
    (f"Advanced options for Debian GNU/Linux>Debian GNU/Linux, with Linux {OLD}", OLD),
    ("2", None),  # the firmware's settings, if the condition is true
    ("uefi-firmware", None),
    ("", NEW),
])  # fmt: skip
def test_defaults(system, default, kernel):
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD], default))
    assert boots(system) == kernel
    # The same as the saved default.
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD]))
    system.tree.put("boot/grub/grubenv", grubenv(saved_entry=default))
    assert boots(system) == kernel


def test_saved_default_counts_only_where_the_menu_reads_it(system):
    system.tree.put("boot/grub/grubenv", grubenv(saved_entry=advanced(OLD)))
    assert boots(system) == OLD and next_boot(system)["default_can_be_set"]
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD], "0"))
    assert boots(system) == NEW and not next_boot(system)["default_can_be_set"]


def test_next_entry_goes_first_once(system):
    system.tree.put("boot/grub/grubenv", grubenv(saved_entry="0", next_entry=advanced(OLD)))
    found = next_boot(system)
    assert found["kernel"] == OLD and found["once"]


def test_default_that_depends_on_variables_is_unknown(system):
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD], "${never_set}"))
    assert boots(system) == NEW
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD], "${cmdpath}"))
    assert boots(system) is None
    assert system.tree.run("doctor").code == 3


def test_what_the_administrator_adds_counts(system):
    system.tree.put("boot/grub/custom.cfg", "set default=1>2\n")
    assert boots(system) == OLD  # the last one counts
    assert not next_boot(system)["default_can_be_set"]
    # What no script reads is not there.
    (system.path / "boot/grub/custom.cfg").rename(system.path / "boot/grub/mine.cfg")
    assert boots(system) == NEW


def test_entry_inside_a_condition(system):
    for condition, kernel in (("true", NEW), ("false", OLD), ("search --file /x", None)):
        entry = f"if {condition}; then menuentry 'One' {{\nlinux /vmlinuz-{NEW}\n}}; fi\n"
        other = f"menuentry 'Two' --id two {{\nlinux /vmlinuz-{OLD}\n}}\n"
        system.tree.put("boot/grub/grub.cfg", entry + other)
        assert boots(system) == kernel
        # What has a name of its own is found behind it.
        system.tree.put("boot/grub/grub.cfg", "set default=two\n" + entry + other)
        assert boots(system) == OLD


def test_kernel_that_is_not_installed(system):
    (system.path / f"boot/vmlinuz-{NEW}").unlink()
    found = next_boot(system)
    assert found["kernel"] is None and f"/boot/vmlinuz-{NEW}" in found["why"]


def test_grubenv_that_is_junk(system):
    system.tree.put("boot/grub/grubenv", "saved_entry=1>2\n")
    assert boots(system) == NEW
    system.tree.put("boot/grub/grubenv", b"\xff" * 1024)
    assert boots(system) == NEW


def test_firmware_that_was_asked_for_something_else(system):
    system.tree.variable("BootNext", b"\x07\0\0\0\x02\0", GLOBAL)
    system.tree.variable("BootCurrent", b"\x07\0\0\0\x01\0", GLOBAL)
    system.tree.variable("Boot0002", b"\x07\0\0\0\x01\0\0\0\x04\0x\0\0\0\x7f\xff\x04\0", GLOBAL)
    found = next_boot(system)
    assert found["kernel"] is None and "BootNext" in found["why"]
    system.tree.variable("BootCurrent", b"\x07\0\0\0\x02\0", GLOBAL)
    system.tree.put("boot/efi/EFI/BOOT/BOOTX64.EFI", "shim")
    assert boots(system) == NEW


def test_two_menus_of_grub(system):
    """Which one GRUB reads stands in GRUB itself."""
    system.tree.put("boot/grub2/grub.cfg", grub_cfg([NEW, OLD]))
    assert boots(system) == NEW
    system.tree.put("boot/grub2/grub.cfg", grub_cfg([OLD, NEW]))
    found = next_boot(system)
    assert found["kernel"] is None and "/boot/grub2 both have a menu" in found["why"]
    (system.path / "boot/grub2/grub.cfg").write_text("configfile /boot/grub/grub.cfg\n")
    assert boots(system) == NEW
    # One that is a link to the other.
    shutil.rmtree(system.path / "boot/grub2")
    (system.path / "boot/grub2").symlink_to("grub")
    assert boots(system) == NEW


def test_no_loader(system):
    (system.path / "boot/grub/grub.cfg").unlink()
    found = next_boot(system)
    assert (found["loader"], found["kernel"]) == ("unknown", None)


BLS = """\
title Debian
version {0}
sort-key debian
machine-id 0123
linux /0123/{0}/linux
initrd /0123/{0}/initrd
"""


FEDORA_OLD, FEDORA_NEW = "0123-6.1.0-30.fc37.x86_64", "0123-6.12.9-200.fc41.x86_64"


@pytest.fixture
def fedora(system):
    """GRUB with its entries in loader/entries."""
    system.tree.put("boot/grub2/grub.cfg", 'load_env\nset default="${saved_entry}"\nblscfg\n')
    (system.path / "boot/grub/grub.cfg").unlink()
    for name, kernel in ((FEDORA_OLD, OLD), (FEDORA_NEW, NEW)):
        entry = f"title Fedora\nversion {kernel}\nlinux /vmlinuz-{kernel}\n"
        system.tree.put(f"boot/loader/entries/{name}.conf", entry)
    return system


@pytest.mark.parametrize("saved,kernel", [
    ("", NEW), (FEDORA_OLD, OLD), ("1", OLD), ("7", NEW), ("0123-gone", NEW),
])  # fmt: skip
def test_entries_of_fedoras_grub(fedora, saved, kernel):
    fedora.tree.put("boot/grub2/grubenv", grubenv(saved_entry=saved))
    assert boots(fedora) == kernel
    assert next_boot(fedora)["loader"] == "grub"


@pytest.fixture
def sdboot(system):
    (system.path / "boot/grub/grub.cfg").unlink()
    for kernel in (OLD, NEW):
        system.tree.put(f"boot/efi/loader/entries/0123-{kernel}.conf", BLS.format(kernel))
        system.tree.put(f"boot/efi/0123/{kernel}/linux", bzimage(kernel))
        system.tree.put(f"boot/efi/0123/{kernel}/initrd", cpio({}))
    system.tree.put("boot/efi/loader/loader.conf", "#timeout 3\n")
    return system


@pytest.mark.parametrize("pattern,kernel", [
    ("", NEW), (f"0123-{OLD}.conf", OLD), (f"0123-{OLD}", NEW), ("0123-6.1.*", OLD), ("gone*", NEW),
])  # fmt: skip
def test_default_of_systemd_boot(sdboot, pattern, kernel):
    sdboot.tree.put("boot/efi/loader/loader.conf", f"timeout 3\ndefault {pattern}\n")
    assert boots(sdboot) == kernel
    assert next_boot(sdboot)["loader"] == "systemd-boot"


def test_what_is_beyond_a_limit_may_be_the_default_of_systemd_boot(sdboot):
    sdboot.tree.put("boot/efi/loader/loader.conf", "#" * 70000 + f"\ndefault 0123-{OLD}.conf\n")
    assert next_boot(sdboot)["kernel"] is None
    sdboot.tree.put("boot/efi/loader/loader.conf", "timeout 3\n")
    for number in range(256):
        sdboot.tree.put(f"boot/efi/loader/entries/0-{number}.conf", BLS.format(NEW))
    assert next_boot(sdboot)["kernel"] is None and sdboot.tree.run("guard").code == 3


def test_variables_of_systemd_boot(sdboot):
    sdboot.tree.put("boot/efi/loader/loader.conf", "default @saved\n")
    assert boots(sdboot) == NEW
    sdboot.tree.variable("LoaderEntryLastBooted", utf16(f"0123-{OLD}.conf"), LOADER)
    assert boots(sdboot) == OLD
    sdboot.tree.variable("LoaderEntryDefault", utf16(f"0123-{NEW}.conf"), LOADER)
    assert boots(sdboot) == NEW
    sdboot.tree.variable("LoaderEntryOneShot", utf16(f"0123-{OLD}.conf"), LOADER)
    found = next_boot(sdboot)
    assert found["kernel"] == OLD and found["once"]


@pytest.mark.parametrize("name, value, unknown", [
    ("LoaderEntryOneShot", "auto-windows", True), ("LoaderEntryOneShot", "gone.conf", True),
    ("LoaderEntryDefault", "auto-windows", True), ("LoaderEntryDefault", "gone.conf", False),
    ("LoaderEntryDefault", "AUTO-*", True), ("LoaderEntryDefault", "x.efi@1", True),
    ("default", "auto-efi-shell", True), ("default", "gone", False), ("LoaderEntryLastBooted", "auto-windows", True),
])  # fmt: skip
def test_entries_that_systemd_boot_makes_itself(sdboot, name, value, unknown):
    """Of Windows, a shell, the firmware; and profiles of unified images."""
    assert boots(sdboot) == NEW
    if name == "default":
        sdboot.tree.put("boot/efi/loader/loader.conf", f"default {value}\n")
    else:
        sdboot.tree.variable(name, utf16(value), LOADER)
    if name == "LoaderEntryLastBooted":
        sdboot.tree.put("boot/efi/loader/loader.conf", "default @saved\n")
    found = next_boot(sdboot)
    assert found["kernel"] == (None if unknown else NEW) and ("is not read" in found["why"]) == unknown
    # What is asked for once goes before a default.
    if name != "LoaderEntryOneShot":
        sdboot.tree.variable("LoaderEntryOneShot", utf16(f"0123-{OLD}.conf"), LOADER)
        assert boots(sdboot) == OLD


def test_entry_whose_attempts_are_used_up(sdboot):
    entries = sdboot.path / "boot/efi/loader/entries"
    (entries / f"0123-{NEW}.conf").rename(entries / f"0123-{NEW}+2-1.conf")
    assert boots(sdboot) == NEW
    (entries / f"0123-{NEW}+2-1.conf").rename(entries / f"0123-{NEW}+0-3.conf")
    assert boots(sdboot) == OLD


def test_unified_image(sdboot):
    image = f"boot/efi/EFI/Linux/debian-{NEW}.efi"
    sdboot.tree.put("boot/efi/loader/loader.conf", "default debian-*\n")
    sdboot.tree.put(image, unified(osrel="x", initrd=cpio({}), linux=bzimage(NEW)))
    assert boots(sdboot) == NEW
    assert sdboot.tree.run("doctor", "--next-boot").code == 0
    # The sections of its first profile count before those that all have.
    sdboot.tree.put(image, unified(osrel="x", initrd=cpio({}), linux=bzimage(NEW), profile="ID=x", cmdline="y"))
    found = next_boot(sdboot)
    assert found["kernel"] is None and "several profiles" in found["why"]
    sdboot.tree.put(image, unified(osrel="x", initrd=cpio({}), linux=bzimage(NEW)))
    sdboot.remove(NEW)
    assert ": missing: " in sdboot.tree.run("doctor", "--next-boot").out
    for broken, said in ((b"MZ", "cut short"), (unified(osrel="x" * 4000)[:-9], "cut short"),
                         (b"", "empty")):  # fmt: skip
        sdboot.install(NEW)
        sdboot.tree.put(image, broken)
        result = sdboot.tree.run("doctor", "--next-boot")
        assert result.code == 1 and ": kernel-incomplete: " in result.out and said in result.out


def test_the_loader_that_started_this_boot_counts(sdboot):
    sdboot.tree.put("boot/grub/grub.cfg", grub_cfg([OLD, NEW]))
    assert boots(sdboot) is None
    sdboot.tree.variable("LoaderInfo", utf16("systemd-boot 252.39"), LOADER)
    assert boots(sdboot) == NEW
    sdboot.tree.variable("LoaderInfo", utf16("GRUB 2.12"), LOADER)
    assert boots(sdboot) == OLD


@pytest.mark.parametrize("first,second", [
    # The machine ID in front counts first, whatever the kernels are.
    ("104a-5.14.0-162.el9.x86_64", "cd33-5.14.0-284.el9.x86_64"),
    ("cd33-4.18.0-305.3.1.el8_4.x86_64", "cd33-4.18.0-305.el8.x86_64"),
    ("cd33-5.14.0-284.el9.x86_64", "cd33-5.14.0-162.el9.x86_64"),
    ("cd33-6.10.1-100.fc40.x86_64", "cd33-6.9.12-200.fc40.x86_64"),
    ("cd33-6.9.0-1.fc40.x86_64", "cd33-6.9.0~rc1-1.fc40.x86_64"),
    ("cd33-5.14.0-284.el9.x86_64", "cd33-0-rescue"),
])  # fmt: skip
def test_order_of_fedoras_grub(fedora, first, second):
    for path in (fedora.path / "boot/loader/entries").iterdir():
        path.unlink()
    for name, kernel in ((first, OLD), (second, NEW)):
        fedora.tree.put(f"boot/loader/entries/{name}.conf", f"linux /vmlinuz-{kernel}\n")
    assert boots(fedora) == OLD


@pytest.mark.parametrize("first,second", [
    ("6.12.9", "6.1.30"), ("6.12", "6.12~rc1"), ("6.12-2", "6.12-1"), ("6.12.1", "6.12-1"),
    ("6.10", "6.9"), ("6.0", "6.0~"), ("6.12^1", "6.12"), ("6.12b", "6.12a"),
])  # fmt: skip
def test_order_of_systemd_boot(sdboot, first, second):
    for version, kernel in ((first, OLD), (second, NEW)):
        sdboot.tree.put(f"boot/efi/loader/entries/0123-{kernel}.conf",
                        f"version {version}\nsort-key x\nlinux /0123/{kernel}/linux\n")
    assert boots(sdboot) == OLD


def test_counter_is_no_part_of_the_id(sdboot):
    entries = sdboot.path / "boot/efi/loader/entries"
    (entries / f"0123-{OLD}.conf").rename(entries / f"0123-{OLD}+3.conf")
    sdboot.tree.put("boot/efi/loader/loader.conf", f"default 0123-{OLD}.conf\n")
    assert boots(sdboot) == OLD
    assert next_boot(sdboot)["entry"] == f"0123-{OLD}.conf"


def test_preferred_entry(sdboot):
    """Newer ones take it before the default: two answers are none."""
    conf = "default 0123-{}.conf\npreferred 0123-{}.conf\n"
    for preferred, kernel in ((NEW, NEW), (OLD, None), ("gone", NEW)):
        sdboot.tree.put("boot/efi/loader/loader.conf", conf.format(NEW, preferred))
        assert boots(sdboot) == kernel
    sdboot.tree.variable("LoaderEntryPreferred", utf16(f"0123-{OLD}.conf"), LOADER)
    assert boots(sdboot) is None


MOUNTED = "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n"


@pytest.mark.parametrize("fstab,mounted,seen", [
    ("", "", True), ("/dev/sda2 /boot ext4 defaults 0 2\n", "", False),
    ("UUID=1\t/boot\text4\tnoauto\n", "", False), ("UUID=1 /boot/ ext4\n", "", False),
    ("# /dev/sda2 /boot ext4 defaults 0 2\n", "", True),
    ("/dev/sda2 /boot ext4 defaults 0 2\n", "23 22 8:2 / /boot rw - ext4 /dev/sda2 rw\n", True),
    # GRUB reads nothing there.
    ("/dev/sda2 /boot/efi vfat noauto 0 0\n", "", True),
])  # fmt: skip
def test_boot_partition_that_is_not_mounted(system, fstab, mounted, seen):
    """What lies in its place is of an update that went there."""
    system.tree.put("etc/fstab", fstab)
    system.tree.put("proc/self/mountinfo", MOUNTED + mounted)
    system.tree.put("sys/module/x/version", "1\n")
    found = next_boot(system)
    assert found["kernel"] == (NEW if seen else None)
    assert seen or "/boot is in /etc/fstab and is not mounted" in found["why"]
    assert system.tree.run("guard").code == (0 if seen else 3)


def test_efi_partition_that_is_not_mounted(sdboot):
    sdboot.tree.put("etc/fstab", "/dev/sda2 /boot/efi vfat noauto 0 0\n")
    sdboot.tree.put("proc/self/mountinfo", MOUNTED)
    assert boots(sdboot) is None


@pytest.mark.parametrize("link", ["system-update", "etc/system-update"])
def test_updates_that_wait_for_the_next_boot(system, link):
    """systemd installs them in that boot and reboots, into a kernel that may be among them."""
    assert boots(system) == NEW
    (system.path / link).symlink_to("/var/lib/PackageKit/offline-update")
    found = next_boot(system)
    assert found["kernel"] is None and f"/{link}" in found["why"] and "preflight" in found["why"]
    assert system.tree.run("guard").code == 3


def test_kernel_that_waits_for_kexec(system):
    for loaded, kernel in (("0", NEW), ("1", None)):
        system.tree.put("sys/kernel/kexec_loaded", loaded + "\n")
        assert boots(system) == kernel


@pytest.mark.parametrize("settings,kernel", [
    ("", NEW), ("LOAD_KEXEC=false\n", NEW), ("LOAD_KEXEC=true\nUSE_GRUB_CONFIG=false\n", NEW),
    ("# LOAD_KEXEC=false\nLOAD_KEXEC=true\nLOAD_KEXEC=false\n", NEW),
    ("LOAD_KEXEC=true\nUSE_GRUB_CONFIG=true\n", None), ("LOAD_KEXEC=$(x)\nINITRD=\n", None),
    (f'LOAD_KEXEC="true"\nKERNEL_IMAGE="/boot/vmlinuz-{OLD}"\n', None),
    (f"LOAD_KEXEC=true\nINITRD='/boot/initrd.img-{OLD}'\n", None),
    (f"LOAD_KEXEC=true\nKERNEL_IMAGE=/boot/vmlinuz-{NEW} # x\nINITRD=/boot/initrd.img-{NEW}\n", NEW),
])  # fmt: skip
def test_kexec_tools_go_past_the_boot_loader(system, settings, kernel):
    """They load the kernel of the link in / when the host reboots, whatever the menu says."""
    system.tree.put("etc/default/kexec", settings)
    for link, file in (("vmlinuz", f"boot/vmlinuz-{NEW}"), ("initrd.img", f"boot/initrd.img-{NEW}")):
        (system.path / link).symlink_to(file)
    assert boots(system) == NEW  # they are not installed
    system.tree.put("etc/init.d/kexec-load")
    assert boots(system) == kernel
    # The menu's default is another one.
    system.tree.put("boot/grub/grubenv", grubenv(saved_entry=advanced(OLD)))
    switched_off = not settings or settings.endswith("LOAD_KEXEC=false\n")
    assert boots(system) == (OLD if switched_off else None)


def test_kexec_tools_read_their_folder_last(system):
    system.tree.put("etc/init.d/kexec-load")
    system.tree.put("etc/default/kexec.d/x.dpkg-old", "LOAD_KEXEC=true\n")
    assert boots(system) == NEW  # not a name that is read
    system.tree.put("etc/default/kexec.d/20-more", "LOAD_KEXEC=true\n")
    assert boots(system) is None
    system.tree.put("etc/default/kexec", "LOAD_KEXEC=false\n")
    assert boots(system) is None
    system.tree.put("etc/default/kexec.d/30-off", "LOAD_KEXEC=false\n")
    assert boots(system) == NEW
    (system.path / "etc/default/kexec.d/30-off").unlink()
    (system.path / "etc/default/kexec.d/30-off").symlink_to("/dev/null")
    found = next_boot(system)
    assert found["kernel"] is None and "kexec.d cannot be read" in found["why"]


def test_folder_that_does_not_run_has_no_firmware(sdboot):
    sdboot.tree.variable("LoaderEntryDefault", utf16(f"0123-{OLD}.conf"), LOADER)
    sdboot.tree.variable("BootNext", b"\x07\0\0\0\x02\0", GLOBAL)
    assert boots(sdboot) is None
    (sdboot.path / "etc/kmodkeep-test-root").unlink()
    assert boots(sdboot) == NEW


def test_loader_that_is_named_alone(system):
    (system.path / "boot/grub/grub.cfg").unlink()
    system.tree.put("etc/zfsbootmenu/config.yaml", "x\n")
    found = next_boot(system)
    assert (found["loader"], found["kernel"], found["default_can_be_set"]) == ("zfsbootmenu", None, False)
    assert "is not read by kmodkeep: look at zpool get bootfs" in found["why"]


def test_files_of_several_loaders(system):
    """What one of them left is not what boots; where nothing says which one, they have to agree."""
    limine = "/{0}\nprotocol: linux\npath: boot():/vmlinuz-{0}\nmodule_path: boot():/initrd.img-{0}\n"
    for each in (OLD, NEW):
        system.initramfs(each, {})
    system.tree.put("boot/limine.conf", limine.format(NEW))
    assert (next_boot(system)["loader"], boots(system)) == ("grub", NEW)
    system.tree.put("boot/limine.conf", limine.format(OLD))
    found = next_boot(system)
    assert found["kernel"] is None and "grub and of limine are here" in found["why"]
    assert system.tree.run("guard").code == 3
    for info, kernel in (("Limine 9.3.0", OLD), ("GRUB 2.12", NEW)):
        system.tree.variable("LoaderInfo", utf16(info), LOADER)
        assert boots(system) == kernel
    # systemd-boot would have said so, in variables that can be read.
    system.tree.secure_boot(on=False)
    (system.path / f"sys/firmware/efi/efivars/LoaderInfo-{LOADER}").unlink()
    (system.path / "boot/limine.conf").unlink()
    system.tree.put("boot/efi/loader/loader.conf", "timeout 3\n")
    system.tree.put("boot/efi/loader/entries/x.conf", f"version {OLD}\nlinux /vmlinuz-{OLD}\n")
    assert boots(system) == NEW
    shutil.rmtree(system.path / "sys/firmware/efi/efivars")
    assert boots(system) is None


@pytest.fixture
def raspberry(system):
    """A Raspberry Pi 5, without an initramfs; each of its names is another kernel."""
    system.no_initramfs()
    (system.path / "boot/grub/grub.cfg").unlink()
    for kernel in (OLD, NEW):
        system.tree.put(f"boot/vmlinuz-{kernel}", arm64(kernel))
    system.tree.put("boot/firmware/kernel8.img", packed(arm64(OLD), ["gzip", "-n"]))
    system.tree.put("boot/firmware/kernel_2712.img", arm64(NEW))
    system.tree.put("boot/firmware/cmdline.txt", "root=/dev/x\n")
    system.tree.put("proc/device-tree/model", b"Raspberry Pi 5 Model B Rev 1.0\0")
    return system


@pytest.mark.parametrize("config,kernel", [
    ("", NEW), ("kernel=kernel8.img\n", OLD), ("# kernel=kernel8.img\n", NEW),
    ("[pi4]\nkernel=kernel8.img\n", NEW), ("[pi5]\nkernel=kernel8.img\n", OLD),
    ("[pi4]\nkernel=x\n[all]\nkernel=kernel8.img\n", OLD), ("[none]\nkernel=kernel8.img\n", NEW),
    ("[tryboot]\nkernel=kernel8.img\n", NEW), ("[0x12345]\nkernel=kernel8.img\n", None),
    ("[0x12345]\ndtparam=audio=on\n[pi5]\nkernel=kernel8.img\n", None), ("include more.txt\n", None),
    ("kernel=gone.img\n", None), ("kernel=../vmlinuz\n", None), ("os_prefix=old/\n", None),
])  # fmt: skip
def test_raspberry_pi(raspberry, config, kernel):
    raspberry.tree.put("boot/firmware/config.txt", config)
    found = next_boot(raspberry)
    assert (found["loader"], found["kernel"], found["default_can_be_set"]) == ("raspberrypi", kernel, False)
    assert found["why"] and (not kernel or found["cmdline"] == "root=/dev/x")


@pytest.mark.parametrize("model,bits,kernel", [
    ("Raspberry Pi 4 Model B Rev 1.4", "", OLD), ("Raspberry Pi 4 Model B Rev 1.4", "arm_64bit=0\n", None),
    ("Raspberry Pi 3 Model B Plus Rev 1.3", "", None), ("Raspberry Pi 3 Model B Plus Rev 1.3", "arm_64bit=1\n", OLD),
    ("Raspberry Pi Compute Module 5 Rev 1.0", "", NEW), ("Some other board", "", None),
])  # fmt: skip
def test_kernel_that_the_model_decides(raspberry, model, bits, kernel):
    raspberry.tree.put("boot/firmware/config.txt", bits)
    raspberry.tree.put("proc/device-tree/model", model)
    assert boots(raspberry) == kernel


def test_copy_that_the_firmware_loads_is_of_another_build(raspberry):
    raspberry.tree.put("boot/firmware/config.txt", "")
    assert next_finding(raspberry)["verdict"] == "ok"
    raspberry.tree.put("boot/firmware/kernel_2712.img", arm64(NEW, "#2 SMP"))
    assert next_finding(raspberry)["verdict"] == "kernel-incomplete"


def test_entry_whose_kernel_is_gone(system):
    """Where the package keeps another beside the modules, too."""
    image = system.path / f"boot/vmlinuz-{NEW}"
    system.tree.put(f"lib/modules/{NEW}/vmlinuz", image.read_bytes())
    assert next_finding(system)["verdict"] == "ok"
    image.unlink()
    assert next_finding(system)["verdict"] in ("unknown", "kernel-incomplete")


def test_packed_kernel_that_is_cut_short(raspberry):
    """The text that says its release is whole; its sum is not."""
    image = raspberry.tree.put("boot/firmware/kernel_2712.img",
                               packed(arm64(NEW) + os.urandom(1 << 16), ["gzip", "-n"]))  # fmt: skip
    raspberry.tree.put(f"boot/vmlinuz-{NEW}", image.read_bytes())
    raspberry.tree.put("boot/firmware/config.txt", "")
    assert next_finding(raspberry)["verdict"] == "ok"
    os.truncate(image, image.stat().st_size - 2000)
    assert next_finding(raspberry)["verdict"] == "kernel-incomplete"


ESPS = ("0A0B-0C0D", "1A1B-1C1D")


@pytest.fixture
def proxmox(system):
    """Two partitions with copies of both kernels, mounted; a menu in /boot that is not what boots."""
    system.tree.put("etc/kernel/proxmox-boot-uuids", "\n".join(ESPS) + "\n")
    system.tree.put("sys/module/x/version", "1\n")
    lines = ["22 1 0:25 / / rw - zfs rpool/ROOT/pve-1 rw"]
    for number, uuid in enumerate(ESPS):
        device = system.tree.put(f"dev/sd{'ab'[number]}2")
        link = system.tree.put("dev/disk/by-uuid/x").parent / uuid
        link.symlink_to(f"../../{device.name}")
        lines.append(f"3{number} 22 8:{2 + 16 * number} / /mnt/esp{number} rw - vfat /dev/{device.name} rw")
        system.tree.put(f"mnt/esp{number}/loader/loader.conf", "timeout 3\ndefault proxmox-*\n")
        for kernel in (OLD, NEW):
            system.initramfs(kernel, {"updates/dkms/sample.ko": module_bytes(kernel)})
            where = f"EFI/proxmox/{kernel}"
            for name in ("vmlinuz", "initrd.img"):
                data = (system.path / f"boot/{name}-{kernel}").read_bytes()
                system.tree.put(f"mnt/esp{number}/{where}/{name}-{kernel}", data)
            system.tree.put(f"mnt/esp{number}/loader/entries/proxmox-{kernel}.conf",
                            f"title Proxmox Virtual Environment\nversion {kernel}\noptions root=ZFS=rpool/ROOT/pve-1 boot=zfs\n"
                            f"linux /{where}/vmlinuz-{kernel}\ninitrd /{where}/initrd.img-{kernel}\n")  # fmt: skip
    system.tree.put("proc/self/mountinfo", "\n".join(lines) + "\n")
    return system


def test_copies_that_proxmox_boot_tool_makes(proxmox):
    found = next_boot(proxmox)
    assert (found["loader"], found["kernel"], found["default_can_be_set"]) == ("proxmox-boot-tool", NEW, False)
    assert found["cmdline"] == "root=ZFS=rpool/ROOT/pve-1 boot=zfs"
    assert found["initramfs"] == str(proxmox.path / f"mnt/esp0/EFI/proxmox/{NEW}/initrd.img-{NEW}")
    assert next_finding(proxmox)["verdict"] == "ok"
    # The pin is what the tool has written into all of them.
    for number in (0, 1):
        proxmox.tree.put(f"mnt/esp{number}/loader/loader.conf", f"timeout 3\ndefault proxmox-{OLD}.conf\n")
        assert boots(proxmox) == (OLD if number else None)
    proxmox.tree.put("etc/kernel/next-boot-pin", OLD + "\n")
    assert next_boot(proxmox)["once"]


@pytest.mark.parametrize("change", ["other-initrd", "other-options", "gone", "unmounted", "grub", "no-menu", "empty"])
def test_copies_of_proxmox_that_are_not_all_the_same(proxmox, change):
    esp = proxmox.path / "mnt/esp1"
    why = {"other-initrd": "other copies", "other-options": "other copies", "gone": "other kernels",
           "unmounted": f"{ESPS[1]} is not mounted", "grub": "GRUB's menu", "no-menu": "no entry",
           "empty": "names no partition"}  # fmt: skip
    if change == "other-initrd":
        (esp / f"EFI/proxmox/{NEW}/initrd.img-{NEW}").write_bytes(cpio({}))
    elif change == "other-options":
        entry = esp / f"loader/entries/proxmox-{NEW}.conf"
        entry.write_text(entry.read_text().replace("boot=zfs", "boot=zfs module_blacklist=sample"))
    elif change == "gone":
        (esp / f"loader/entries/proxmox-{NEW}.conf").unlink()
    elif change == "unmounted":
        path = proxmox.path / "proc/self/mountinfo"
        path.write_text("".join(path.read_text().splitlines(True)[:2]))
        proxmox.tree.put("etc/kernel/proxmox-boot-pin", OLD + "\n")
    elif change == "grub":
        proxmox.tree.put("mnt/esp1/EFI/proxmox/grubx64.efi")
    elif change == "no-menu":
        shutil.rmtree(esp / "loader")
    else:
        proxmox.tree.put("etc/kernel/proxmox-boot-uuids", "\n")
    found = next_boot(proxmox)
    assert found["kernel"] is None and why[change] in found["why"], found
    if change == "unmounted":
        assert f"means {OLD} to boot" in found["why"] and "proxmox-boot-tool status" in found["why"]
    assert proxmox.tree.run("guard").code == 3


LIMINE = """\
timeout: 5
default_entry: 2
# Made by limine-entry-tool.
${{ROOT}}=root=UUID=42 rw

/+Arch Linux
comment: machine-id=1
  //linux
    protocol: linux
    path: boot():/vmlinuz-{0}
    module_path: boot():/ucode.img
    module_path: boot():/initrd.img-{0}
    cmdline: quiet ${{ROOT}}
  //old
    protocol: linux
    kernel_path: boot():/vmlinuz-{1}
    module_path: boot():/initrd.img-{1}
    cmdline: ${{ROOT}}
/Windows
protocol: efi
path: guid(11):/EFI/Microsoft/Boot/bootmgfw.efi
"""
LIMINE_OLD = """\
TIMEOUT=5
DEFAULT_ENTRY=1
${{ROOT}}=root=UUID=42 rw
:Linux
PROTOCOL=linux
KERNEL_PATH=boot:///vmlinuz-{0}
CMDLINE=quiet ${{ROOT}}
MODULE_PATH=boot:///ucode.img
MODULE_PATH=boot:///initrd.img-{0}
:Old
PROTOCOL=linux
KERNEL_PATH=boot:///vmlinuz-{1}
MODULE_PATH=boot:///initrd.img-{1}
"""


@pytest.fixture
def bare(system):
    """Kernels with an initramfs each, and no loader."""
    (system.path / "boot/grub/grub.cfg").unlink()
    for each in (OLD, NEW):
        system.initramfs(each, {})
    system.tree.put("boot/ucode.img", cpio({}))
    return system


@pytest.mark.parametrize("change,kernel", [
    (("", ""), NEW), (("default_entry: 2", "default_entry: 3"), OLD), (("default_entry: 2", "DEFAULT_ENTRY: 3"), OLD),
    (("default_entry: 2", "default_entry: 1"), None), (("default_entry: 2\n", ""), None),
    (("default_entry: 2", "default_entry: 9"), None), (("default_entry: 2", "default_entry: 4"), None),
    (("default_entry: 2", "default_entry: Arch Linux/old"), OLD), (("default_entry: 2", "default_entry: old"), None),
    (("default_entry: 2", "default_entry: Arch Linux"), None), (("default_entry: 2", "default_entry: Arch Linux/linux"), NEW),
    # The first line of a key counts, and none behind an entry.
    (("timeout: 5", "default_entry: 3"), OLD), (("/Windows", "default_entry: 3\n/Windows"), NEW),
    (("    module_path: boot():/ucode", "    path: boot():/vmlinuz-9\n    module_path: boot():/ucode"), NEW),
    # Closed: what is below is not counted.
    (("/+Arch", "/Arch"), None), (("timeout: 5", "remember_last_entry: yes"), None),
    (("    protocol: linux\n    kernel_path", "    if_fw_type: BIOS\n    protocol: linux\n    kernel_path"), None),
    (("quiet ${ROOT}", "quiet ${OTHER}"), None), (("path: boot():/vmlinuz", "path: boot(2):/vmlinuz"), None),
    (("path: boot():/vmlinuz", "path: $boot():/vmlinuz"), None), (("//old", "//linux"), NEW),
    (("protocol: linux\n    path", "protocol: limine\n    path"), None),
    ((f"path: boot():/vmlinuz-{NEW}", "path: boot():/vmlinuz-9"), None), (("\n", "\r\n"), NEW),
])  # fmt: skip
def test_limine(bare, change, kernel):
    bare.tree.put("boot/limine/limine.conf", LIMINE.format(NEW, OLD).replace(*change))
    found = next_boot(bare)
    assert (found["loader"], found["kernel"], found["default_can_be_set"]) == ("limine", kernel, False), found
    if kernel == NEW:
        assert found["cmdline"] == "quiet root=UUID=42 rw"
        assert found["initramfs"] == str(bare.path / f"boot/initrd.img-{NEW}")
    if not kernel:
        assert bare.tree.run("guard").code == 3


@pytest.mark.parametrize("change,kernel", [
    (("", ""), NEW), (("DEFAULT_ENTRY=1", "DEFAULT_ENTRY=2"), OLD), (("DEFAULT_ENTRY=1\n", ""), NEW),
    (("DEFAULT_ENTRY=1", "DEFAULT_ENTRY=3"), None), (("TIMEOUT=5", "REMEMBER_LAST_ENTRY=yes"), None),
    (("boot:///vmlinuz", "hdd://1:1/vmlinuz"), None),
])  # fmt: skip
def test_limine_before_version_8(bare, change, kernel):
    bare.tree.put("boot/efi/limine.cfg", LIMINE_OLD.format(NEW, OLD).replace(*change))
    for each in (OLD, NEW):
        for name in (f"vmlinuz-{each}", f"initrd.img-{each}", "ucode.img"):
            bare.tree.put(f"boot/efi/{name}", (bare.path / "boot" / name).read_bytes())
    found = next_boot(bare)
    assert (found["loader"], found["kernel"]) == ("limine", kernel), found
    if kernel == NEW:
        assert found["cmdline"] == "quiet root=UUID=42 rw"
        assert found["initramfs"] == str(bare.path / f"boot/efi/initrd.img-{NEW}")
    # One of each version: which one is read depends on the program.
    bare.tree.put("boot/efi/limine.conf", LIMINE.format(NEW, OLD))
    found = next_boot(bare)
    assert found["kernel"] is None and "several configurations" in found["why"]


def test_limine_stops_where_a_file_is_another_than_its_hash(bare):
    def hashed(name):
        return f"boot():/{name}#{hashlib.blake2b((bare.path / 'boot' / name).read_bytes()).hexdigest()}"

    text = LIMINE.format(NEW, OLD)
    for name in (f"vmlinuz-{NEW}", f"initrd.img-{NEW}"):
        text = text.replace(f"boot():/{name}", hashed(name))
    bare.tree.put("boot/limine.conf", text)
    assert next_boot(bare)["kernel"] == NEW and bare.tree.run("guard").code == 0
    bare.initramfs(NEW, {"changed": b"1"})
    assert next_finding(bare)["verdict"] == "unknown" and bare.tree.run("guard").code == 3
    bare.tree.put("boot/limine.conf", text.replace(hashed(f"vmlinuz-{NEW}"), f"boot():/vmlinuz-{NEW}#0a1b"))
    assert next_boot(bare)["kernel"] is None


def test_limine_on_another_partition(bare):
    """By its UUID: what lies under the same name elsewhere is not it."""
    text = LIMINE.format(NEW, OLD).replace(f"boot():/initrd.img-{NEW}", f"guid(6F-7A):/boot/initrd.img-{NEW}")
    bare.tree.put("boot/limine.conf", text)
    assert next_finding(bare)["verdict"] == "unknown"
    bare.tree.put("sys/module/x/version", "1\n")
    bare.tree.put("dev/disk/by-partuuid/6f-7a")
    bare.tree.put("proc/self/mountinfo", "22 1 8:2 / / rw - ext4 /dev/disk/by-partuuid/6f-7a rw\n")
    assert next_boot(bare)["initramfs"] == str(bare.path / f"boot/initrd.img-{NEW}")
    assert next_finding(bare)["verdict"] == "ok"


REFIND = """\
timeout 20
use_nvram false
scanfor manual,internal
default_selection "Arch"
menuentry "Debian" {{
    loader /vmlinuz-{1}
    initrd /initrd.img-{1}
    options "root=UUID=42"
}}
menuentry "Off, Arch" {{
    loader \\vmlinuz-{1}
    disabled
}}
menuentry "Arch Linux" {{
    icon /EFI/refind/icons/os_arch.png
    volume "BOOT"
    loader \\vmlinuz-{0}
    options "root=UUID=42 rw initrd=\\ucode.img initrd=\\initrd.img-{0}"   # of the kernel
    submenuentry "Terminal" {{
        add_options "systemd.unit=multi-user.target"
        loader /vmlinuz-{1}
    }}
}}
"""


@pytest.mark.parametrize("change,kernel", [
    (("", ""), NEW), (('"Arch"', "Debian"), OLD), (('"Arch"', '"arch linux"'), NEW), (('"Arch"', '"+,Arch"'), None),
    (('"Arch"', "2"), None), (('"Arch"', '"Arch" 1:30 2:30'), None), (('"Arch"', "vmlinuz"), None),
    (("manual,internal", "internal,manual"), None), (("scanfor manual,internal\n", ""), None),
    (("manual,internal", "manual"), NEW), (("timeout 20", "include other.conf"), None),
    (('default_selection "Arch"\n', ""), None), (("    disabled\n", ""), OLD), (("    disabled\n", "    disabled false\n"), OLD),
    (('volume "BOOT"', 'volume "OTHER"'), None), (("BOOT", "GONE"), None),
    (('menuentry "Arch Linux" {', 'menuentry "Arch Linux"\n{'), None),
])  # fmt: skip
def test_refind(bare, change, kernel):
    bare.tree.put("sys/module/x/version", "1\n")
    for name, number in (("BOOT", 2), ("OTHER", 3)):
        bare.tree.put(f"dev/disk/by-label/{name}")
    bare.tree.put("proc/self/mountinfo", "22 1 8:9 / / rw - ext4 /dev/x rw\n"
                  "23 22 8:2 / /boot rw - ext4 /dev/disk/by-label/BOOT rw\n")  # fmt: skip
    bare.tree.put("boot/EFI/refind/refind.conf", REFIND.format(NEW, OLD).replace(*change))
    found = next_boot(bare)
    assert (found["loader"], found["kernel"], found["default_can_be_set"]) == ("refind", kernel, False), found
    if kernel == NEW:
        assert found["cmdline"].startswith("root=UUID=42 rw")
        assert found["initramfs"] == str(bare.path / f"boot/initrd.img-{NEW}")
        assert next_finding(bare)["verdict"] == "ok"
    if not kernel:
        assert bare.tree.run("guard").code == 3


def test_kernels_that_refind_finds_itself(bare):
    """Of one it is known what it boots; of two it depends on times, and on the last choice."""
    bare.tree.put("boot/efi/EFI/refind/refind.conf", "timeout 20\n")
    options = bare.tree.put("boot/refind_linux.conf", '# made by mkrlconf\n"Boot normally"  "root=UUID=42 ro quiet"\n"Single" "x"\n')
    found = next_boot(bare)
    assert found["kernel"] is None and "menuentry" in found["why"]
    for name in (f"vmlinuz-{OLD}", f"initrd.img-{OLD}"):
        (bare.path / "boot" / name).unlink()
    bare.running(NEW)
    found = next_boot(bare)
    assert (found["kernel"], found["cmdline"]) == (NEW, "root=UUID=42 ro quiet"), found
    assert found["initramfs"] == str(bare.path / f"boot/initrd.img-{NEW}")
    for text in ('"Boot" "root=x initrd=/initrd.img"\n', '"Boot" "root=x initrd=boot\\%v"\n', "#\n"):
        options.write_text(text)
        assert boots(bare) is None
    options.unlink()
    assert boots(bare) is None


def unified(**sections):
    """A PE image with sections."""
    at = 64 + 24
    data = bytearray(b"MZ" + bytes(58) + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(20))
    data[64 + 6 : 64 + 8] = len(sections).to_bytes(2, "little")
    where = at + 40 * len(sections)
    body = b""
    for name, text in sections.items():
        text = text.encode() if isinstance(text, str) else text
        place = (where + len(body)).to_bytes(4, "little")
        size = len(text).to_bytes(4, "little")
        data += f".{name}".encode().ljust(8, b"\0") + size + bytes(4) + size + place + bytes(16)
        body += text
    return bytes(data) + body


def test_the_copy_on_the_partition_is_what_boots(sdboot):
    """Not what its folder is called, and not the kernel in /boot."""
    sdboot.tree.put(f"boot/efi/0123/{NEW}/linux", bzimage(OLD))
    found = next_boot(sdboot)
    assert found["kernel"] == OLD
    assert found["image"] == str(sdboot.path / f"boot/efi/0123/{NEW}/linux")
    sdboot.tree.put(f"boot/efi/0123/{NEW}/linux", bzimage("5.5.5"))
    assert boots(sdboot) is None


@pytest.mark.parametrize("data,word", [(b"", "empty"), (bzimage(NEW, 512), "cut short")],
                         ids=["empty", "cut"])  # fmt: skip
def test_full_disk_leaves_an_incomplete_kernel(sdboot, data, word):
    sdboot.tree.put(f"boot/efi/0123/{NEW}/linux", bzimage(NEW))
    assert sdboot.tree.run("doctor", "--next-boot").code == 0
    sdboot.tree.put(f"boot/efi/0123/{NEW}/linux", data)
    result = sdboot.tree.run("doctor", "--next-boot")
    assert result.code == 1 and ": kernel-incomplete: " in result.out and word in result.out


def test_copy_that_is_older_than_what_it_is_made_from(sdboot):
    sdboot.initramfs(NEW, {})
    copy = sdboot.tree.put(f"boot/efi/0123/{NEW}/initrd", (sdboot.path / f"boot/initrd.img-{NEW}").read_bytes())
    assert sdboot.tree.run("doctor", "--next-boot").code == 0
    os.utime(copy, (1, 1))
    assert sdboot.tree.run("doctor", "--next-boot").code == 0
    copy.write_bytes(copy.read_bytes() + bytes(512))
    os.utime(copy, (1, 1))
    result = sdboot.tree.run("doctor", "--next-boot")
    assert result.code == 1 and "kernel-incomplete" in result.out and "is older than" in result.out


def arm64(release, build="#1 SMP", more=b""):
    """A kernel without a header that names it, and the pattern of the line that does."""
    line = f"Linux version {release} (builder@host) (gcc 14) {build}\n".encode()
    return bytes(56) + b"ARM\x64" + bytes(200_000) + b"Linux version %s (%s)\n" + line + more


def zboot(image, tool):
    """A program of EFI that unpacks the kernel in it."""
    inside = packed(image, tool)
    head = b"MZ\0\0zimg" + (88).to_bytes(4, "little") + len(inside).to_bytes(4, "little")
    return head.ljust(60, b"\0") + (64).to_bytes(4, "little") + b"PE\0\0" + bytes(20) + inside


IMAGES = {
    "same": (bzimage(NEW), bzimage(NEW), "ok"),
    "signed": (bzimage(NEW), bzimage(NEW) + b"signature", "ok"),
    "rebuilt": (bzimage(NEW), bzimage(NEW, build="#2 SMP"), "kernel-incomplete"),
    "rebuilt-alike": (bzimage(NEW), bzimage(NEW, body=b"x"), "kernel-incomplete"),
    "arm64-packed": (arm64(NEW), packed(arm64(NEW), ["gzip", "-n"]), "ok"),
    "arm64-signed": (arm64(NEW), arm64(NEW, more=b"signature"), "ok"),
    "arm64-rebuilt": (arm64(NEW), packed(arm64(NEW, "#2 SMP"), ["zstd", "-q"]), "kernel-incomplete"),
    "zboot": (zboot(arm64(NEW), ["zstd", "-q"]), arm64(NEW), "ok"),
    "zboot-rebuilt": (zboot(arm64(NEW), ["gzip", "-n"]), zboot(arm64(NEW, "#2"), ["gzip", "-n"]),
                      "kernel-incomplete"),
    "no-word": (b"kernel", b"other", "unknown"),
}  # fmt: skip


@pytest.mark.parametrize("installed,copied,verdict", IMAGES.values(), ids=IMAGES)
@pytest.mark.parametrize("where", ["boot/vmlinuz-{}", "lib/modules/{}/vmlinuz"])
def test_copy_of_another_build(sdboot, installed, copied, verdict, where):
    """A newer file is not a newer kernel: what it is counts."""
    sdboot.tree.put(where.format(NEW), installed)
    copy = sdboot.tree.put(f"boot/efi/0123/{NEW}/linux", copied)
    for stamp in (1, 1 << 32):
        os.utime(copy, (stamp, stamp))
        finding = next_finding(sdboot)
        assert finding["verdict"] == verdict, finding
        assert sdboot.tree.run("guard").code == {"ok": 0, "unknown": 3}.get(verdict, 1)
    if verdict == "kernel-incomplete":
        assert "another build" in finding["message"]
        assert finding["next_step"].startswith(f"kernel-install add {NEW} {sdboot.path}/")


def test_unified_image_of_another_build(sdboot):
    sdboot.tree.put("boot/efi/loader/loader.conf", "default mine.efi\n")
    sdboot.tree.put(f"boot/vmlinuz-{NEW}", bzimage(NEW, build="#2 SMP"))
    for build, verdict in (("#2 SMP", "ok"), ("#1 SMP", "kernel-incomplete")):
        # Its kernel counts, whatever is written beside it.
        image = unified(uname=OLD, initrd=cpio({}), linux=bzimage(NEW, build=build))
        sdboot.tree.put("boot/efi/EFI/Linux/mine.efi", image)
        finding = next_finding(sdboot)
        assert (finding["kernel"], finding["verdict"]) == (NEW, verdict), finding


@pytest.mark.parametrize("where", [f"lib/modules/{NEW}/vmlinuz", f"boot/efi/0123/{NEW}/linux"])
def test_build_that_cannot_be_compared(sdboot, where):
    """That a file cannot be read is no sign that it is the same."""
    sdboot.tree.put(f"lib/modules/{NEW}/vmlinuz", bzimage(NEW))
    (sdboot.path / where).unlink()
    (sdboot.path / where).mkdir()
    finding = next_finding(sdboot)
    assert finding["verdict"] == "unknown", finding
    assert "cannot be compared" in finding["message"] or "cannot be read" in finding["message"]
    assert sdboot.tree.run("guard").code == 3


def test_more_archives_than_are_looked_into(system):
    """The last of them may have another copy of the driver."""
    many = [f"/boot/a{number}.img" for number in range(32)]
    for name in many:
        system.tree.put(name[1:], cpio({}))
    for kernel in (OLD, NEW):
        system.initramfs(kernel, {"updates/dkms/sample.ko": module_bytes(kernel)})
    for count, verdict in ((31, "ok"), (32, "unknown")):
        names = " ".join([*many[:count], f"/boot/initrd.img-{NEW}"])
        system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD]).replace(f"/boot/initrd.img-{NEW}", names))
        finding = next_finding(system)
        assert finding["verdict"] == verdict, finding


def test_kernel_in_boot_of_another_build_than_its_modules(system):
    """As where /boot was not mounted when the kernel was installed again."""
    system.tree.put(f"boot/vmlinuz-{NEW}", bzimage(NEW, build="#1 SMP"))
    system.tree.put(f"lib/modules/{NEW}/vmlinuz", bzimage(NEW, build="#2 SMP"))
    finding = next_finding(system)
    assert finding["verdict"] == "kernel-incomplete" and "#1 SMP" in finding["message"]
    assert "see that /boot is mounted" in finding["next_step"]


@pytest.mark.parametrize("tool", [None, "xz"])
def test_initramfs_with_modules_of_another_build(sdboot, pair, other_pair, tool):
    """Signed by the key of that build, as kernels sign their own modules."""
    name = f"lib/modules/{NEW}/kernel/drivers/disk.ko"
    disk = sdboot.tree.put(name, module_bytes(NEW, name="disk", intree=True))
    sdboot.sign(disk, pair)
    inside = disk.read_bytes()
    copy = sdboot.tree.put(f"boot/efi/0123/{NEW}/initrd", cpio({"usr/" + name: inside}))
    if tool:
        subprocess.run(["xz", "--check=crc32", disk], check=True)
    assert next_finding(sdboot)["verdict"] == "ok"
    if tool:
        subprocess.run(["unxz", f"{disk}.xz"], check=True)
    sdboot.sign(disk, other_pair)
    for _ in ("read", "remembered"):
        finding = next_finding(sdboot)
        assert finding["verdict"] == "kernel-incomplete", finding
        assert "kernel/drivers/disk.ko" in finding["message"] and finding["next_step"]
    # That another module is the same says nothing of this one.
    both = {f"usr/lib/modules/{NEW}/kernel/z.ko": disk.read_bytes(), "usr/" + name: inside}
    sdboot.tree.put(f"lib/modules/{NEW}/kernel/z.ko", disk.read_bytes())
    copy.write_bytes(cpio(both))
    assert next_finding(sdboot)["verdict"] == "kernel-incomplete"


def test_kernel_without_a_signature(system, pair, tmp_path):
    """Under Secure Boot it does not start, where the running one shows that something asks."""
    system.install(NEW, sign=pair)
    system.tree.enrol(pair.cert)
    system.tree.secure_boot()
    signed = Authority(tmp_path).signed("Debian")
    for running, following, verdict in ((signed, signed, "ok"), (signed, program(), "unknown"), (program(), program(), "ok")):
        system.tree.put(f"boot/vmlinuz-{OLD}", running)
        system.tree.put(f"boot/vmlinuz-{NEW}", following)
        finding = next_finding(system)
        assert finding["verdict"] == verdict and ("is not signed" in finding["message"]) == (verdict != "ok")
    # The running kernel's file may have been replaced since.
    written = int((system.path / f"boot/vmlinuz-{OLD}").stat().st_ctime)
    for booted, verdict in ((written + 9, "ok"), (written - 9, "unknown")):
        system.tree.put("proc/stat", f"cpu 0\nbtime {booted}\n")
        assert next_finding(system)["verdict"] == verdict
    system.tree.put(f"boot/vmlinuz-{OLD}", program(b"PKCS#7"))
    assert system.tree.run("guard").code == 3
    system.tree.secure_boot(False)
    assert next_finding(system)["verdict"] == "ok"


def test_kernel_signed_by_a_stranger(system, pair, tmp_path):
    """shim starts what db, MokListRT or its own certificate has, and what is signed as the running one is."""
    ca = Authority(tmp_path)

    def signed(name):
        """Not what db has by its hash."""
        return ca.signed(name, image=program().replace(b"data", b"DATA"))

    system.install(NEW, sign=pair)
    system.tree.enrol(pair.cert)
    system.tree.secure_boot()
    system.tree.put(f"boot/vmlinuz-{OLD}", signed("Debian"))
    for following, verdict in ((signed("Debian"), "ok"), (signed("Stranger"), "unknown"),
                               (signed("Debian").replace(b"texttext", b"TEXTtext"), "unknown")):  # fmt: skip
        system.tree.put(f"boot/vmlinuz-{NEW}", following)
        finding = next_finding(system)
        assert finding["verdict"] == verdict, finding
        assert verdict == "ok" or "Secure Boot is on" in finding["message"]
    system.tree.put(f"boot/vmlinuz-{NEW}", signed("Stranger"))
    assert "signed by: Stranger" in next_finding(system)["message"]
    system.tree.variable("MokListRT", siglist(pair.cert.read_bytes(), ca.der("Stranger")))
    assert next_finding(system)["verdict"] == "ok"
    # Told to ignore db, it has its own lists alone: db has only what the firmware starts.
    variables = system.path / "sys/firmware/efi/efivars"
    database = variables / f"db-{SECURITY}"
    database.write_bytes(database.read_bytes() + siglist(ca.der("Other"))[4:])
    system.tree.put(f"boot/vmlinuz-{NEW}", signed("Other"))
    assert next_finding(system)["verdict"] == "ok"
    system.tree.variable("MokIgnoreDB", b"\7\0\0\0\1")
    assert next_finding(system)["verdict"] == "unknown"
    (variables / f"MokIgnoreDB-{SHIM}").unlink()
    system.tree.put(f"boot/vmlinuz-{NEW}", signed("Stranger"))
    # What it refuses is there, and cannot be read.
    unread = variables / f"dbx-{SECURITY}"
    unread.mkdir()
    assert next_finding(system)["verdict"] == "unknown"
    unread.rmdir()
    system.tree.variable("MokListXRT", siglist(ca.der("Stranger")))
    assert next_finding(system)["verdict"] == "unknown"
    # What the file of the running kernel is now says nothing of what started.
    system.tree.put(f"boot/vmlinuz-{NEW}", signed("Debian"))
    system.tree.put("proc/stat", "cpu 0\nbtime 1000000000\n")
    assert next_finding(system)["verdict"] == "unknown"


def test_root_file_system_for_a_soft_reboot(system):
    """systemctl reboot goes into it, with the kernel that runs."""
    assert boots(system) == NEW
    system.tree.put("run/nextroot/usr/lib/os-release", "ID=x\n")
    found = next_boot(system)
    assert found["kernel"] is None and "/run/nextroot" in found["why"]


def test_boot_partition_without_room_for_the_next_kernel(system):
    """A kernel that is as large as the newest one would not fit."""
    assert json.loads(system.tree.run("doctor", "--json").out)["room_warning"] is None
    os.truncate(system.tree.put(f"boot/System.map-{NEW}"), 1 << 43)
    document = json.loads(system.tree.run("doctor", "--json").out)
    assert "/boot has room for" in document["room_warning"]
    assert [f["verdict"] for f in document["findings"]] == ["ok", "ok"]
    for verb in ("guard", "doctor", "status"):
        result = system.tree.run(verb)
        assert result.code == 0 and "the next kernel will not fit" in " ".join(result.out.split())


def test_efi_partition_without_room_for_the_next_kernel(sdboot):
    os.truncate(sdboot.tree.put(f"boot/efi/0123/{NEW}/other"), 1 << 43)
    assert f"boot/efi/0123/{NEW} has room for" in sdboot.tree.run("doctor").out


def test_what_a_unified_image_says(sdboot):
    sdboot.tree.put("boot/efi/EFI/Linux/mine.efi",
                    unified(uname=OLD + "\n", cmdline="root=/dev/x\nquiet\tmodule_blacklist=y\n"))  # fmt: skip
    sdboot.tree.put("boot/efi/loader/loader.conf", "default mine.efi\n")
    found = next_boot(sdboot)
    assert (found["kernel"], found["cmdline"]) == (OLD, "root=/dev/x quiet module_blacklist=y")


def test_host_of_whole_images_is_not_safe_for_lack_of_an_answer(system):
    system.tree.put("run/ostree-booted")
    result = system.tree.run("guard")
    assert result.code == 3 and "cannot tell" in result.out


@pytest.mark.parametrize("option,verdict", [
    ("module_blacklist=x,sample", "blocked"), ("module_blacklist=samples", "ok"),
    ("lockdown=integrity", "unsigned"), ("module.sig_enforce=1", "unsigned"),
    ("module.sig_enforce", "unsigned"), ("module.sig_enforce=0", "ok"), ("lockdown=none", "ok"),
    ("module.sig-enforce=on", "unsigned"), ("-- module.sig_enforce", "ok"),
    ("module-blacklist=sample", "blocked"), ('"module_blacklist=a,sample"', "blocked"),
    ('module_blacklist="sample"', "blocked"), ("module_blacklist=sample module_blacklist=x", "ok"),
    ("-- module_blacklist=sample", "ok"), ("nomodule", "blocked"), ("nomodule=0", "ok"),
    ("modprobe.blacklist=x,sample", "blocked"), ("modprobe.blacklist=x", "ok"),
    ("rd.driver.blacklist=sample", "ok"),  # it is not in the initramfs
])  # fmt: skip
def test_command_line_of_the_entry_that_boots(system, option, verdict):
    menu = grub_cfg([NEW, OLD]).replace("ro quiet", f"ro {option} quiet")
    system.tree.secure_boot(False)
    system.tree.put("boot/grub/grub.cfg", menu)
    assert verdicts(system) == [verdict]


def verdicts(system):
    found = json.loads(system.tree.run("doctor", "--next-boot", "--json").out)["findings"]
    return [f["verdict"] for f in found]


@pytest.mark.parametrize("option", ["modprobe.blacklist=sample", "rd.driver.blacklist=sample"])
def test_command_line_as_it_is_now_loses_nothing(system, option):
    """It is loaded by its name, or not at all."""
    menu = grub_cfg([NEW, OLD]).replace("ro quiet", f"ro {option} quiet")
    system.tree.put("boot/grub/grub.cfg", menu)
    for kernel in (OLD, NEW):
        system.initramfs(kernel, {"updates/dkms/sample.ko": module_bytes(kernel)})
    assert verdicts(system) == ["blocked"]
    system.tree.put("proc/cmdline", f"ro {option}\n")
    assert verdicts(system) == ["ok"]
    system.tree.put("proc/cmdline", "ro modprobe.blacklist=samples\n")
    assert verdicts(system) == ["blocked"]


def one_entry(system, commands):
    """A menu that starts this, and both kernels behind it."""
    menu = "menuentry 'One' --id one {\n" + commands + "\n}\n"
    system.tree.put("boot/grub/grub.cfg", menu + grub_cfg([NEW, OLD]).replace("${saved_entry}", "0"))


def test_unified_image_that_grub_starts(system):
    one_entry(system, "search --set=root --fs-uuid 12AB\nchainloader /EFI/Linux/mine.efi")
    image = system.tree.put("boot/efi/EFI/Linux/mine.efi",
                            unified(uname=OLD, cmdline="quiet module_blacklist=sample",
                                    initrd=cpio({}), linux=bzimage(OLD)))  # fmt: skip
    found = next_boot(system)
    assert (found["kernel"], found["image"]) == (OLD, str(image))
    assert found["cmdline"] == "quiet module_blacklist=sample"
    assert verdicts(system) == ["blocked"]
    image.write_bytes(unified(uname=OLD, cmdline="quiet", initrd=cpio({}), linux=bzimage(OLD)))
    assert verdicts(system) == ["ok"]
    other = module_bytes(OLD, srcversion="X")
    inside = {f"usr/lib/modules/{OLD}/updates/dkms/sample.ko": other}
    image.write_bytes(unified(uname=OLD, cmdline="quiet", initrd=cpio(inside), linux=bzimage(OLD)))
    assert verdicts(system) == ["stale-initramfs"]
    # Another system is none of these kernels.
    image.write_bytes(unified(text="x"))
    found = next_boot(system)
    assert found["kernel"] is None and "boots no Linux kernel" in found["why"]


def test_name_that_is_a_link_or_says_nothing(system):
    one_entry(system, "linux /vmlinuz root=/dev/x")
    (system.path / "vmlinuz").symlink_to(f"boot/vmlinuz-{OLD}")
    assert boots(system) == OLD
    (system.path / "vmlinuz").unlink()
    assert boots(system) is None
    system.tree.put("vmlinuz", bzimage(NEW))
    assert boots(system) == NEW
    # What the image says goes before its name: an older build of another release.
    system.tree.put(f"boot/vmlinuz-{NEW}", bzimage(OLD))
    one_entry(system, f"linux /boot/vmlinuz-{NEW} root=/dev/x")
    assert boots(system) == OLD


def test_images_that_are_no_kernel_of_their_own(system):
    for name in (f"vmlinux-{NEW}.gz", "vmlinuz-0-rescue-0123", f"vmlinuz-{NEW}.old"):
        system.tree.put(f"boot/{name}", "kernel")
    kernels = json.loads(system.tree.run("doctor", "--json").out)["kernels"]
    assert [k["release"] for k in kernels] == [NEW, OLD]


def test_short_name_of_an_entry_is_matched_by_pop_os_alone(sdboot):
    sdboot.tree.put("boot/efi/loader/loader.conf", f"default 0123-{OLD}\n")
    assert boots(sdboot) == NEW
    sdboot.tree.put("etc/os-release", 'NAME="Pop!_OS"\nID=pop\n')
    assert boots(sdboot) == OLD


def test_addons_of_unified_images(sdboot):
    sdboot.tree.put("boot/efi/EFI/Linux/mine.efi",
                    unified(uname=NEW, cmdline="a", initrd=cpio({}), linux=bzimage(NEW)))  # fmt: skip
    sdboot.tree.put("boot/efi/loader/loader.conf", "default mine.efi\n")
    sdboot.tree.put("boot/efi/loader/addons/x.addon.efi", unified(cmdline="b"))
    sdboot.tree.put("boot/efi/EFI/Linux/mine.efi.extra.d/y.addon.efi",
                    unified(cmdline="module_blacklist=sample"))  # fmt: skip
    assert next_boot(sdboot)["cmdline"] == "a b module_blacklist=sample"
    assert verdicts(sdboot) == ["blocked"]


EXTLINUX = """\
## /boot/extlinux/extlinux.conf
default l0
menu title U-Boot menu
prompt 0
timeout 50

label l0
\tmenu label Debian GNU/Linux 12 (bookworm) {0}
\tlinux /boot/vmlinuz-{0}
\tinitrd /boot/initrd.img-{0}
\tfdtdir /usr/lib/linux-image-{0}/
\tappend root=UUID=42 ro quiet

label l0r
\tmenu label Debian GNU/Linux 12 (bookworm) {0} (rescue target)
\tlinux /boot/vmlinuz-{0}
\tinitrd /boot/initrd.img-{0}
\tappend root=UUID=42 ro quiet single

label l1
\tmenu label Debian GNU/Linux 12 (bookworm) {1}
\tlinux /boot/vmlinuz-{1}
\tinitrd /boot/initrd.img-{1}
\tappend root=UUID=42 ro quiet module_blacklist=sample
"""


@pytest.mark.parametrize("change,kernel", [
    (("", ""), NEW), (("default l0", "default l1"), OLD), (("default l0", "default gone"), None),
    (("default l0\n", ""), NEW), (("default l0", "DEFAULT l0\nONTIMEOUT l1"), OLD),
    (("label l1", "label l1\n\tmenu default"), OLD), (("label l0\n", "include x.conf\nlabel l0\n"), None),
    ((f"/boot/vmlinuz-{NEW}", f"../vmlinuz-{NEW}"), NEW), ((f"/boot/vmlinuz-{NEW}", f"/vmlinuz-{NEW}"), NEW),
    ((f"/boot/vmlinuz-{NEW}", "/boot/vmlinuz-9"), None), (("label", "lebal"), None),
])  # fmt: skip
def test_extlinux(system, change, kernel):
    (system.path / "boot/grub/grub.cfg").unlink()
    for each in (OLD, NEW):
        system.initramfs(each, {})
    system.tree.put("boot/extlinux/extlinux.conf", EXTLINUX.format(NEW, OLD).replace(*change))
    found = next_boot(system)
    assert (found["loader"], found["kernel"], found["default_can_be_set"]) == ("extlinux", kernel, False)
    if kernel:
        assert found["initramfs"] == str(system.path / f"boot/initrd.img-{kernel}")
        assert verdicts(system) == ["blocked" if kernel == OLD else "ok"]
