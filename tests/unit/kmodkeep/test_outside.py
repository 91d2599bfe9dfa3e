# SPDX-License-Identifier: GPL-2.0-or-later
"""What was changed from outside between two boots, as the first guard of a boot finds it."""

import json
import re
import time

import pytest

from tests.unit.kmodkeep import test_efi_start as efi_start
from tests.unit.kmodkeep.host import GLOBAL, SECURITY, SHA256, TOP, hash_list
from tests.unit.kmodkeep.system import LOADER, NEW, System, utf16

METRICS = "var/lib/node/kmodkeep.prom"


@pytest.fixture
def system(tree, pair):
    """A host with its key enrolled, whose first boot the guard has seen."""
    system = System(tree)
    tree.secure_boot()
    tree.own_key(pair)
    tree.enrol(pair.cert)
    for kernel in ("6.1.0-30-amd64", NEW):
        system.install(kernel, sign=pair)
    tree.put("run/.keep")
    tree.put("etc/kmodkeep/guard.conf", f"prometheus = /{METRICS}\n")
    tree.put("var/lib/node/.keep")
    tree.variable("dbx", b"\x07\0\0\0" + hash_list(SHA256, b"1" * 32), SECURITY)
    tree.variable("LoaderInfo", utf16("GRUB 2.06"), LOADER)
    assert tree.run("guard").code == 0
    assert changes(system) == []
    return system


def state(system):
    return json.loads((system.path / "var/lib/kmodkeep/state.json").read_text())


def changes(system):
    return [change["change"] for change in state(system)["changes"]]


def motd(system):
    path = system.path / "run/motd.d/kmodkeep"
    return path.read_text() if path.exists() else ""


def boot(system, number=2):
    system.tree.boot(number)
    return system.tree.run("guard", "--boot")


def test_nothing_has_changed(system):
    assert boot(system).code == 0
    assert changes(system) == [] and motd(system) == ""
    assert "Changed" not in system.tree.run("status").out


def test_cleared_list_of_keys_is_said_everywhere(system):
    system.tree.enrol()
    result = boot(system)
    assert changes(system) == ["keys-cleared"]
    assert "since the last boot: shim trusts these keys no more: 'one'. Next: kmodkeep key enroll" in result.out
    assert "shim trusts these keys no more: 'one'" in motd(system)
    assert 'kmodkeep_changes{change="keys-cleared"} 1\n' in (system.path / METRICS).read_text()
    page = " ".join(system.tree.run("status").out.split())
    assert "Changed shim trusts these keys no more: 'one'" in page and "kmodkeep key enroll" in page
    assert [c["change"] for c in json.loads(system.tree.run("next", "--json").out)["changes"]] == changes(system)


def test_a_change_is_said_until_the_next_boot(system):
    system.tree.variable("dbx", b"\x07\0\0\0" + hash_list(SHA256, b"2" * 32), SECURITY)
    boot(system)
    assert changes(system) == ["dbx"]
    system.tree.run("guard")
    assert changes(system) == ["dbx"] and "dbx" in motd(system)
    # Before the guard of the next boot has looked, what is known is of the boot before.
    system.tree.boot(3)
    assert "Changed" not in system.tree.run("status").out
    boot(system, 3)
    assert changes(system) == [] and motd(system) == ""


def test_change_while_it_runs_is_found_by_the_next_boot(system):
    """fwupd writes dbx while the system is up, and the guard is run after it."""
    system.tree.variable("dbx", b"\x07\0\0\0" + hash_list(SHA256, b"2" * 32), SECURITY)
    system.tree.run("guard")
    assert changes(system) == []
    boot(system)
    assert changes(system) == ["dbx"]


def test_strange_key_is_named_and_an_own_one_is_not(system, pair, other_pair):
    system.tree.enrol(pair.cert, other_pair.cert)
    boot(system)
    assert changes(system) == ["keys-added"]
    assert "'other'" in state(system)["changes"][0]["message"]
    system.tree.enrol(other_pair.cert)
    boot(system, 3)
    assert changes(system) == ["keys-removed"]
    system.tree.enrol(pair.cert, other_pair.cert)
    boot(system, 4)
    assert changes(system) == []  # it was asked for here


@pytest.mark.parametrize("on", [True, False])
def test_secure_boot_is_switched(system, on):
    system.tree.secure_boot(not on)
    boot(system, 2)
    system.tree.secure_boot(on)
    boot(system, 3)
    assert changes(system) == [f"secure-boot-{'on' if on else 'off'}"]


@pytest.mark.parametrize("name, word", [("MokListXRT", "mokx"), ("SbatLevelRT", "sbat")])
def test_what_shim_refuses_has_changed(system, name, word):
    system.tree.variable(name, b"\x06\0\0\0sbat,1,2023012900\n")
    boot(system)
    assert changes(system) == [word]
    system.tree.variable(name, b"\x06\0\0\0sbat,1,2024010900\n")
    boot(system, 3)
    assert changes(system) == [word]
    boot(system, 4)
    assert changes(system) == []
    # A firmware that was reset may have none.
    for path in (system.path / "sys/firmware/efi/efivars").glob(f"{name}-*"):
        path.unlink()
    boot(system, 5)
    assert changes(system) == [word]


def started_from(system, directory):
    """The firmware started shim in DIRECTORY of the system partition."""
    file = "\\".join(["", "EFI", directory, "shimx64.efi"])
    system.tree.variable("BootCurrent", efi_start.numbers(1), GLOBAL)
    system.tree.variable("Boot0001", efi_start.option(
        directory, efi_start.partition(efi_start.OURS), efi_start.program(file)), GLOBAL)


@pytest.mark.parametrize("esp", ["boot/efi", "mnt/esp"])
def test_shim_that_was_updated(system, esp):
    system.tree.put("proc/self/mountinfo", f"1 1 8:1 / /{esp} rw - vfat /dev/sda1 rw\n")
    system.tree.put("run/udev/data/b8:1", "E:ID_FS_TYPE=vfat\nE:ID_PART_ENTRY_TYPE="
                    "c12a7328-f81f-11d2-ba4b-00a0c93ec93b\nE:ID_PART_ENTRY_NUMBER=1\n")
    system.tree.put(f"{esp}/EFI/debian/shimx64.efi", "15.7")
    started_from(system, "debian")
    boot(system)
    assert changes(system) == []  # what was not known before has not changed
    system.tree.put(f"{esp}/EFI/debian/shimx64.efi", "15.8")
    boot(system, 3)
    assert changes(system) == ["shim"]
    assert "shim is another file than at the last boot" in motd(system)
    boot(system, 4)
    assert changes(system) == []


def test_another_entry_of_the_firmware_is_started(system):
    started_from(system, "debian")
    boot(system)
    started_from(system, "another")
    boot(system, 3)
    assert changes(system) == ["booted-from"]
    assert "started this system from /EFI/another, and before from /EFI/debian" in motd(system)


def test_another_loader_in_front(system):
    system.tree.variable("LoaderInfo", utf16("GRUB 2.12"), LOADER)
    boot(system)
    assert changes(system) == []
    system.tree.variable("LoaderInfo", utf16("systemd-boot 256"), LOADER)
    boot(system, 3)
    assert "boot-loader" in changes(system)
    assert "systemd-boot started this kernel, and before it was GRUB" in motd(system)


@pytest.mark.parametrize("days", [-30, 500])
def test_clock_far_off(system, days):
    found = state(system)
    found["outside"]["time"] = int(time.time()) - days * 24 * 3600
    (system.path / "var/lib/kmodkeep/state.json").write_text(json.dumps(found))
    boot(system)
    assert changes(system) == ["clock"]
    assert f"{abs(days)} days {'behind' if days < 0 else 'ahead of'}" in motd(system).replace(
        "29 days", "30 days")  # fmt: skip


def test_what_cannot_be_read_has_not_changed(system):
    for path in (system.path / "sys/firmware/efi/efivars").iterdir():
        path.unlink()
    boot(system)
    assert changes(system) == []


@pytest.mark.parametrize("text", [b"\x07\0\0\0" + b"\xff" * 40, b"\x07\0\0\0x", b""])
def test_damaged_list_of_keys(system, text):
    system.tree.variable("MokListRT", text)
    boot(system)
    assert "keys-added" not in changes(system)


@pytest.mark.parametrize("outside", [None, [], "x", {"keys": "x"}, {"keys": [1, {"sha256": 2}]}])
def test_damaged_state(system, outside):
    found = state(system)
    found["outside"] = outside
    found["changes"] = outside
    (system.path / "var/lib/kmodkeep/state.json").write_text(json.dumps(found))
    assert boot(system).code == 0
    assert system.tree.run("status").code == 0


def test_words_are_documented():
    source = (TOP / "guard/pin/outside.c").read_text()
    words = {*re.findall(r'"((?:keys|secure-boot)-\w+)"', source), "dbx", "mokx", "sbat", "shim",
             "booted-from", "boot-loader", "clock"}  # fmt: skip
    assert len(words) == 12
    page = (TOP / "docs/kmodkeep-json.md").read_text()
    for word in words:
        assert f"`{word}`" in page, word
