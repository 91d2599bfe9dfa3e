# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep's plug-in of dnf 4, without dnf: what asks a package's %pre before a transaction never breaks it."""

import importlib.util
import sys
import types

import pytest

from tests.unit.kmodkeep.host import TOP

REFUSES = "# kmodkeep verify\necho not trusted >&2; exit 1"


class Refused(Exception):
    """dnf's error."""


class Dnf:
    """One with a package of modules whose %pre is SCRIPT, and this folder of programs alone."""

    def __init__(self, path, monkeypatch):
        dnf, exceptions = types.ModuleType("dnf"), types.ModuleType("dnf.exceptions")
        dnf.Plugin, dnf.exceptions, exceptions.Error = object, exceptions, Refused
        monkeypatch.setitem(sys.modules, "dnf", dnf)
        monkeypatch.setitem(sys.modules, "dnf.exceptions", exceptions)
        monkeypatch.setenv("PATH", str(path))
        self.path = path
        (path / "sh").symlink_to("/bin/sh")
        spec = importlib.util.spec_from_file_location("kmodkeep_plugin", TOP / "rpm/dnf-plugin.py")
        self.module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.module)

    def rpm(self, script):
        (self.path / "script").write_bytes(script)
        (self.path / "rpm").write_text(f"#!/bin/sh\nexec /bin/cat {self.path}/script\n")
        (self.path / "rpm").chmod(0o755)

    def transaction(self, root="/"):
        package = types.SimpleNamespace(name="kmod-sample-1", localPkg=lambda: "/sample.rpm")
        plugin = self.module.Kmodkeep()
        plugin.base = types.SimpleNamespace(conf=types.SimpleNamespace(installroot=root),
                                            transaction=types.SimpleNamespace(install_set=[package]))  # fmt: skip
        plugin.pre_transaction()


@pytest.fixture(name="dnf")
def fixture_dnf(tmp_path, monkeypatch):
    return Dnf(tmp_path, monkeypatch)


def test_a_package_that_refuses_itself_stops_all(dnf):
    dnf.rpm(REFUSES.encode())
    with pytest.raises(Refused, match=r"not trusted\nkmodkeep: nothing was changed\. Next: .*--exclude=kmod-sample-1"):
        dnf.transaction()


def test_an_image_trusts_whom_it_likes(dnf, tmp_path):
    dnf.rpm(REFUSES.encode())
    dnf.transaction(str(tmp_path))


@pytest.mark.parametrize("script", [b"exit 1", b"# kmodkeep verify\nkill -KILL $$", b"# kmodkeep verify\nno-such-program",
                                    b"# kmodkeep verify \xff\nprintf '\\377' >&2"])  # fmt: skip
def test_what_is_no_refusal(dnf, script):
    dnf.rpm(script)
    dnf.transaction()


@pytest.mark.parametrize("program", ["rpm", "sh"])
def test_programs_that_are_not_there(dnf, program, caplog):
    dnf.rpm(REFUSES.encode())
    (dnf.path / program).unlink()
    dnf.transaction()
    assert "trusts the signer of kmod-sample-1 was not told" in caplog.text
