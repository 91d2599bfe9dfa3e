# SPDX-License-Identifier: GPL-2.0-or-later
"""key enroll --via varstore, with the real virt-fw-vars and OVMF's variable store."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.lib import apt
from tests.lib.cache import cached
from tests.qemu import variables
from tests.qemu.secureboot import VARIABLES
from tests.unit.kmodkeep.host import OUT, PROGRAM, Result

SCRIPT = OUT / "prefix/lib/kmodkeep/key-enroll"

# Debian 12 has it in backports alone; it is Python without compiled parts.
PACKAGES = ["python3-importlib-resources", "python3-virt-firmware"]


def virt_firmware():
    """Where python3-virt-firmware is unpacked."""
    def unpack(directory):
        for deb in apt.download("trixie", PACKAGES).glob("*.deb"):
            apt.extract(deb, directory)

    return cached("virt-firmware", "trixie", unpack)


@pytest.fixture(scope="session")
def tool(tmp_path_factory):
    """A folder with virt-fw-vars, for PATH."""
    unpacked = virt_firmware()
    folder = tmp_path_factory.mktemp("bin")
    script = folder / "virt-fw-vars"
    script.write_text(f"#!/bin/sh\nPYTHONPATH={unpacked}/usr/lib/python3/dist-packages exec /usr/bin/python3 "
                      f'{unpacked}/usr/bin/virt-fw-vars "$@"\n')
    script.chmod(0o755)
    return folder


@pytest.fixture
def store(tmp_path):
    copy = tmp_path / "vars.fd"
    shutil.copyfile(VARIABLES, copy)
    copy.chmod(0o640)
    return copy


def enroll(tree, tool, store, *words):
    """The script itself: kmodkeep starts it with the system's own PATH, which has no such tool here."""
    command = [SCRIPT, PROGRAM, "--via", "varstore", store, *words, "--root", tree.path]
    return Result(subprocess.run(command, capture_output=True, text=True, timeout=120,
                                 env={**os.environ, "PATH": f"{tool}:{os.environ['PATH']}"}))  # fmt: skip


def moks(tool, store):
    said = subprocess.run([tool / "virt-fw-vars", "-i", store, "--print", "--verbose"], check=True,
                          capture_output=True, text=True).stdout  # fmt: skip
    return [line.split("subject ")[1] for line in said.partition("name=MokList ")[2].split("name=")[0].split("\n")
            if "subject " in line]  # fmt: skip


def left_beside(store):
    return {p.name for p in store.parent.iterdir() if p.name.startswith("vars.fd")}


def test_enrols_in_a_store_once(tree, tool, store, pair, other_pair, tmp_path):
    before = store.read_bytes()
    result = enroll(tree, tool, store, "--dry-run", "--cert", pair.cert)
    assert result.code == 0 and f"would enrol the key 'one' in {store}" in result.out
    assert store.read_bytes() == before and left_beside(store) == {"vars.fd"}
    result = enroll(tree, tool, store, "--cert", pair.cert)
    assert result.code == 0 and f"'one' is enrolled in {store}, in its list MokList" in result.out, result.text
    assert moks(tool, store) == ["CN=one"]
    assert store.stat().st_mode & 0o777 == 0o640 and left_beside(store) == {"vars.fd"}
    before = store.read_bytes()
    result = enroll(tree, tool, store, "--cert", pair.cert)
    assert result.code == 0 and "already" in result.out and store.read_bytes() == before
    # In the other form, beside the first, and nothing else of the store goes.
    pem = tmp_path / "other.pem"
    subprocess.run(["openssl", "x509", "-inform", "DER", "-in", other_pair.cert, "-out", pem], check=True)
    assert enroll(tree, tool, store, "--cert", pem).code == 0
    assert sorted(moks(tool, store)) == ["CN=one", "CN=other"]
    shown = subprocess.run([tool / "virt-fw-vars", "-i", store, "--print"], capture_output=True, text=True).stdout
    assert "db " in shown and "KEK " in shown and "PK " in shown


def test_list_of_the_firmware_itself(tree, tool, store, pair):
    """For a machine that boots without shim. What db had stays."""
    had = variables.certificates(store, "db")
    result = enroll(tree, tool, store, "--db", "--cert", pair.cert)
    assert result.code == 0 and "in its list db" in result.out, result.text
    assert variables.certificates(store, "db") == [*had, pair.cert.read_bytes()] and len(had) > 1
    assert "MokList" not in variables.names(store)
    before = store.read_bytes()
    result = enroll(tree, tool, store, "--db", "--cert", pair.cert)
    assert result.code == 0 and "already" in result.out and store.read_bytes() == before
    # One that db has is not in shim's list for that.
    assert enroll(tree, tool, store, "--cert", pair.cert).code == 0 and moks(tool, store) == ["CN=one"]
    assert tree.run("key", "enroll", "--db", root=False).code == 2


def test_key_of_the_system_itself(tree, tool, store, pair):
    result = enroll(tree, tool, store)
    assert result.code == 1 and "no signing key" in result.err
    tree.own_key(pair)
    assert enroll(tree, tool, store).code == 0 and moks(tool, store) == ["CN=one"]


def test_what_is_no_store_or_no_certificate(tree, tool, store, pair, tmp_path):
    before = store.read_bytes()
    junk = tmp_path / "junk"
    junk.write_text("junk")
    result = enroll(tree, tool, store, "--cert", junk)
    assert result.code == 1 and "is not a certificate" in result.err
    result = enroll(tree, tool, junk, "--cert", pair.cert)
    assert result.code == 1 and "no variable store" in result.err and junk.read_text() == "junk"
    link = tmp_path / "link"
    link.symlink_to(store)
    for wrong in (link, tmp_path, tmp_path / "none"):
        result = enroll(tree, tool, wrong, "--cert", pair.cert)
        assert result.code == 1 and "is no plain file" in result.err
    if not Path("/usr/bin/virt-fw-vars").exists():
        result = tree.run("key", "enroll", "--via", "varstore", store, "--cert", pair.cert)
        assert result.code == 1 and "install python3-virt-firmware" in result.err
    assert store.read_bytes() == before and left_beside(store) == {"vars.fd"}
    for words in (["--via"], ["--via", "varstore"], ["--via", "mail", "x"]):
        assert tree.run("key", "enroll", *words, root=False).code == 2
