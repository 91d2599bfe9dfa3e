# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts whose firmware starts a kernel or systemd-boot itself: no MokManager would read a request."""

import struct

import pytest

from tests.unit.kmodkeep.host import GLOBAL, siglist
from tests.unit.kmodkeep.system import NEW, System, bzimage
from tests.unit.kmodkeep.test_firmware_ca import SECURITY
from tests.unit.kmodkeep.test_next_boot import unified


@pytest.fixture
def host(tree):
    tree.secure_boot()
    tree.variable("BootCurrent", b"\7\0\0\0\1\0", GLOBAL)
    tree.esp()
    return tree


def boot_entry(host, file):
    """The firmware started FILE, or what it takes from a disk without being told a file."""
    path = file.replace("/", "\\").encode("utf-16-le") + b"\0\0" if file else b""
    node = struct.pack("<BBH", 4, 4, 4 + len(path)) + path if file else b""
    node += struct.pack("<BBH", 0x7F, 0xFF, 4)
    host.variable("Boot0001", b"\7\0\0\0" + struct.pack("<IH", 1, len(node)) + b"d\0\0\0" + node, GLOBAL)


def requests(host):
    return list((host.path / "sys/firmware/efi/efivars").glob("MokNew-*"))


def test_no_request_where_no_shim_would_read_it(host, pair):
    """The firmware starts a unified kernel image itself."""
    host.own_key(pair)
    host.add_mokutil()

    def enroll():
        return host.run("key", "enroll", "--password-stdin", input="swordfish-9\n")

    boot_entry(host, "/EFI/Linux/debian.efi")
    result = enroll()
    assert result.code == 1 and "boots without shim" in result.err and "--via setup-mode" in result.err
    assert not requests(host)
    # What shim left behind says that it was there, whatever its file is named.
    host.variable("SbatLevelRT", b"\6\0\0\0sbat,1,2024010900\n")
    result = enroll()
    assert result.code == 0, result.err
    assert requests(host)


@pytest.mark.parametrize("file", ["/EFI/BOOT/BOOTX64.EFI", None])
@pytest.mark.parametrize("image, without", [
    (unified(linux=bzimage(NEW), uname=NEW), True), (unified(linux="another architecture's"), True),
    (bzimage(NEW), True), (unified(sdmagic="#### LoaderInfo: systemd-boot 252 ####"), True),
    (unified(sbat="shim,4,UEFI shim"), False), (b"", False), (None, False),
], ids=["unified", "unified-arm", "kernel", "systemd-boot", "shim", "empty", "gone"])  # fmt: skip
def test_path_for_removable_disks(host, pair, file, image, without):
    """What is there may be shim or anything; where it cannot be told, shim may have been there."""
    host.own_key(pair)
    host.add_mokutil()
    boot_entry(host, file)
    if image is not None:
        host.put("boot/efi/EFI/BOOT/BOOTX64.EFI", image)
        host.put("boot/efi/EFI/BOOT/mmx64.efi", "MokManager")
    result = host.run("key", "enroll", "--password-stdin", input="swordfish-9\n")
    assert ("boots without shim" in result.err) == without == (not requests(host)), result.text


def test_advice_where_no_shim_would_read_a_request(host, pair):
    """Everything that says how a key comes to be trusted says what helps there."""
    host.own_key(pair)
    host.enrol()
    system = System(host)
    module = system.install(NEW, sign=pair)
    asked = [("key", "status"), ("verify", module), ("doctor", "--kernel", NEW)]

    def said():
        return [host.run(*words).text for words in asked]

    assert all("kmodkeep key enroll" in text and "without shim" not in text for text in said())
    (host.path / "sys/firmware/efi/efivars/MokListRT-605dab50-e046-4300-abb6-3dd810dd8b23").unlink()
    boot_entry(host, "/EFI/Linux/debian.efi")
    for waits in (False, True):
        for words, text in zip(asked, said()):
            text = " ".join(text.split())
            assert "boots without shim" in text and "sbctl" in text and "Enroll MOK" not in text, (words, waits, text)
            assert "--via varstore" in text and "--via redfish" in text and "--via setup-mode" in text
        # Asked for by hand; it is as good as not asked for.
        host.request(pair.cert.read_bytes())
    result = host.run("key", "enroll", "--password-stdin", input="swordfish-9\n")
    assert result.code == 1 and "boots without shim" in result.err
    result = host.run("key", "revoke", "--cert", pair.cert, "--password-stdin", input="swordfish-9\n")
    assert "nothing to delete" in result.out


def runs(host, release):
    host.put("proc/sys/kernel/osrelease", f"{release}\n")
    host.put(f"lib/modules/{release}/modules.dep")


def test_key_in_db_is_not_mokmanagers(host, pair):
    host.own_key(pair)
    host.add_mokutil()
    host.variable("db", siglist(pair.cert.read_bytes()), SECURITY)
    runs(host, NEW)
    assert "Enrolment:    enrolled" in host.run("key", "status").out
    for file, said in (("/EFI/debian/shimx64.efi", "which MokManager does not change"),
                       ("/EFI/Linux/debian.efi", "boots without shim")):  # fmt: skip
        boot_entry(host, file)
        result = host.run("key", "revoke", "--force", "--cert", pair.cert, "--password-stdin", input="swordfish-9\n")
        assert result.code == 1 and said in result.err and "the firmware's" in result.err
    assert "delete it from the firmware's db" in host.run("key", "status", "--how-to-remove").out
    # A kernel of nobody's table: whether it takes such keys is tried, not asked again as root.
    runs(host, "6.12.1-arch1-1")
    result = host.run("key", "status")
    assert result.code == 3 and "kmodkeep smoke" in result.out, result.text
