# SPDX-License-Identifier: GPL-2.0-or-later
"""The recipes of docs/signing.md, line by line, on a host in a folder.

What a person does at the boot menu is a comment there, and done to the lists of keys here.
After each line every module has a signer that the firmware trusts, from the moment on that
it trusts any.
"""

import os
import re
import shutil
import subprocess

import pytest

from tests.unit.kmodkeep.host import PROGRAM, SHIM, TOP, siglist
from tests.unit.kmodkeep.test_rotation import PASSWORD, STATE, Host

# Needs a TPM and an encrypted disk: tests/secureboot/test_tpm.py.
NOT_HERE = {"Disks bound to PCR 14"}
# What mokutil of the fixture does not do.
MOKUTIL = """#!/bin/sh
case $1 in
--export) exec cp '{tree}/mok.der' MOK-0001.der ;;
esac
exec '{tree}/usr/bin/mokutil.fixture' "$@"
"""


def recipes():
    """{title: lines of its commands}, in the order of the page."""
    text = (TOP / "docs/signing.md").read_text().split("## Recipes\n", 1)[1]
    parts = re.split(r"^\*\*(.*?)\.\*\*", text, flags=re.MULTILINE)[1:]
    return {title: [line[4:] for line in body.splitlines() if line.startswith("    ")]
            for title, body in zip(parts[::2], parts[1::2])}  # fmt: skip


RECIPES = recipes()


class Machine(Host):
    """A host whose firmware does what is chosen in its menu."""

    def __init__(self, tree, pair):
        super().__init__(tree, pair)
        self.boots, self.trusted, self.place = 1, [pair.cert.read_bytes()], tree.path / "here"
        self.place.mkdir()
        fixture = tree.path / "usr/bin/mokutil"
        fixture.rename(fixture.with_suffix(".fixture"))
        tree.put("usr/bin/mokutil", MOKUTIL.format(tree=tree.path)).chmod(0o755)
        tree.put("mok.der", pair.cert.read_bytes())

    def trust(self, *certificates):
        self.trusted = list(certificates)
        self.tree.variable("MokListRT", siglist(*certificates))

    def take(self, name):
        """The certificate of a request, which is gone then."""
        path = self.tree.path / f"sys/firmware/efi/efivars/{name}-{SHIM}"
        data = path.read_bytes()
        self.tree.forget_request(name)
        return data[4 + 28 + 16 :]

    def menu(self, what):
        self.boots += 1
        self.tree.boot(self.boots)
        if what == "Enroll MOK":
            self.trust(*self.trusted, self.take("MokNew"))
        elif what == "Delete MOK":
            gone = self.take("MokDel")
            assert gone in self.trusted
            self.trust(*[one for one in self.trusted if one != gone])
        else:
            assert what == "no answer"
            self.take("MokNew")

    def line(self, line):
        """One line of a recipe, as it stands there."""
        if line.startswith("# reboot, "):
            return self.menu(line.removeprefix("# reboot, "))
        asks = re.search(r"key (enroll|revoke|rotate begin)", line)
        words = (line.replace("/var/lib/kmodkeep", f"{self.tree.path}/{STATE}")
                 .replace("mokutil ", f"{self.tree.path}/usr/bin/mokutil "))  # fmt: skip
        words = re.sub(r"^kmodkeep (.*)", rf'{PROGRAM} \1 --root "{self.tree.path}"'
                       + " --password-stdin" * bool(asks), words)  # fmt: skip
        done = subprocess.run(["sh", "-c", words], cwd=self.place, input=f"{PASSWORD}\n" * bool(asks),
                              env={**os.environ, "module": str(self.files[0])},
                              capture_output=True, text=True, timeout=300)  # fmt: skip
        assert done.returncode == 0, f"{line}: {done.stdout}{done.stderr}"
        return done.stdout

    def follow(self, lines, loads=True):
        """All LINES; LOADS: the modules do so from the beginning."""
        said = ""
        for line in lines:
            said = self.line(line)
            loads |= line.endswith("Enroll MOK")
            assert self.all_load() or not loads, line
        return said

    def all_load(self):
        paths = []
        for number, data in enumerate(self.trusted):
            paths.append(self.tree.path / f"trusted-{number}.der")
            paths[-1].write_bytes(data)
        return bool(paths) and all(any(row) for row in self.all_signed(*paths))


@pytest.fixture
def machine(tree, pair):
    return Machine(tree, pair)


def ends_with_a_new_key(machine, trusted):
    """Which is the host's, is trusted and signs alone; nothing of the old one can sign."""
    new = (machine.tree.keys / "signing.der").read_bytes()
    assert new != machine.old.cert.read_bytes() and machine.trusted == [*trusted, new]
    assert machine.tree.run("key", "status").code == 0
    assert machine.status()["phase"] == "none"
    assert [path.name for path in machine.tree.path.rglob("signing.key")] == ["signing.key"]
    assert machine.all_signed(machine.old.cert) == [[False]] * 4


@pytest.mark.parametrize("certificate", ["lost", "there"])
def test_private_key_is_lost(machine, certificate):
    lines = RECIPES["The private key is lost"]
    (machine.tree.keys / "signing.key").unlink()
    if certificate == "lost":
        (machine.tree.keys / "signing.der").unlink()
        refused = machine.rotate("begin")
        assert refused.code == 1 and "kmodkeep:" in refused.err
    else:
        assert "only if the certificate is lost" in lines[0]
        lines = without_the_restore(lines)
    machine.follow(lines)
    ends_with_a_new_key(machine, [])


def without_the_restore(lines):
    return lines[lines.index("kmodkeep key rotate begin") :]


@pytest.mark.parametrize("variables", ["new", "cloned"])
def test_disk_was_cloned(machine, variables):
    machine.tree.put("etc/machine-id", "f" * 32 + "\n")
    if variables == "new":
        machine.trust()
    assert machine.tree.run("sign", machine.files[0]).code == 1
    assert machine.tree.run("key", "status").code == 1
    if variables == "new":
        machine.follow(RECIPES["The disk was cloned"], loads=False)
    else:
        machine.follow(without_the_restore(RECIPES["The private key is lost"]))
    ends_with_a_new_key(machine, [])


def asked(machine):
    """A host whose key nobody has enrolled, and which asked for it."""
    machine.trust()
    machine.line("kmodkeep key enroll")


def test_password_is_lost(machine):
    asked(machine)
    machine.follow(RECIPES["The one-time password is lost before the reboot"], loads=False)
    assert machine.trusted == [machine.old.cert.read_bytes()]


def test_nobody_answered(machine):
    asked(machine)
    machine.follow(RECIPES["Nobody answered the menu"], loads=False)
    assert machine.trusted == [machine.old.cert.read_bytes()]


def test_firmware_was_reset(machine):
    machine.trust()
    assert machine.tree.run("key", "status").code == 1
    machine.follow(RECIPES["The firmware was reset, or the mainboard changed"], loads=False)
    assert machine.trusted == [machine.old.cert.read_bytes()]


def test_certificate_expires(machine):
    assert RECIPES["The certificate expires"] == []
    machine.follow(without_the_restore(RECIPES["The private key is lost"]))
    ends_with_a_new_key(machine, [])


def test_a_signer_that_must_stay(machine, other_pair):
    shutil.copy(machine.files[2], machine.files[0])
    machine.system.sign(machine.files[0], other_pair)
    said = machine.follow(RECIPES["A module already has a signer that must stay"], loads=False)
    assert ": ok: " in said
    assert machine.signers(machine.files[0], machine.old.cert, other_pair.cert) == [True, True]


def test_each_recipe_is_run():
    """By one of the tests above."""
    source = open(__file__, encoding="utf-8").read()
    for title in RECIPES:
        assert title in NOT_HERE or f'RECIPES["{title}"]' in source, title
    assert len(RECIPES) == 8
