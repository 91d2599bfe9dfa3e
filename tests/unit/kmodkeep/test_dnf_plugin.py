# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep's plug-in of dnf 4 and its action of dnf5, without dnf: what they cannot find out never breaks a transaction."""

import importlib.util
import json
import subprocess
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
        monkeypatch.syspath_prepend(TOP / "rpm")
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


def test_whom_it_comes_from_is_one_line(dnf, tmp_path, capsys):
    """Who names himself so cannot put lines of his own beside it."""
    common = dnf.module.kmodkeep_dnf
    reach = {("kmod-sample", "A\n1 kmod-x\x1b[2J"): {"kernel": "1-1"}, ("kmod-other", None): {"kernel": "1-1"}}
    common.tell(str(tmp_path / "root"), common.waiting(reach, "kernel", "1-1", "2-1"), "dnf remove", print)
    said = capsys.readouterr().out
    assert "It comes from A?1 kmod-x?[2J. Next: " in said and "It comes from nobody who is named. " in said
    assert len(said.splitlines()) == 2


def test_what_is_kept_goes_through_no_link(dnf, tmp_path):
    """The folder of metrics may be the exporter's; it is root who writes there."""
    other, folder = tmp_path / "other", tmp_path / "metrics"
    other.write_text("not ours")
    folder.mkdir()
    for name in ("waits.prom", "waits.prom.new"):
        (folder / name).symlink_to(other)
    dnf.module.kmodkeep_dnf.keep(str(folder / "waits.prom"), "ours\n")
    assert other.read_text() == "not ours" and (folder / "waits.prom").read_text() == "ours\n"
    assert (folder / "waits.prom").stat().st_mode & 0o777 == 0o644 and not (folder / "waits.prom").is_symlink()
    assert len(list(folder.iterdir())) == 2


def answers(**values):
    """What dnf5 replies, line by line."""
    return "".join(json.dumps({"op": "reply", "status": "OK", "return": value}) + "\n" for value in values.values())


CONF = {"keys_val": [{"key": "installroot", "value": "/nowhere"}]}
INCOMING = {"trans_packages": [{"name": "kmod-sample-1", "evr": "1-1", "repo_id": "main", "location": "x/kmod-sample.rpm"}]}


@pytest.mark.parametrize("verb, text", [
    ("waits", ""), ("waits", "[1]\n"), ("waits", "{\n"), ("waits", '{"status": "ERROR", "message": "none"}\n'), ("waits", answers(a={})),
    ("waits", answers(a=CONF)),  # and no rpm here
    ("judge", ""), ("judge", answers(a={"trans_packages": [{}]})), ("judge", answers(a=INCOMING, b=CONF)),
    ("judge", answers(a=INCOMING, b={"keys_val": [{"key": "cachedir", "value": "/"}]}, c={})), ("other", ""),
])  # fmt: skip
def test_the_action_says_what_it_cannot_find_out_and_stops_nothing(verb, text, tmp_path):
    done = subprocess.run([sys.executable, TOP / "rpm/dnf5-action.py", verb], input=text, capture_output=True, text=True, check=False,
                          env={"PATH": str(tmp_path)}, timeout=60)  # fmt: skip
    assert done.returncode == 0 and '"stop"' not in done.stdout
    assert "was not looked at: " in done.stderr or "was not told: its file was not found" in done.stderr, done.stderr


def test_the_action_refuses_what_refuses_itself(dnf, tmp_path):
    dnf.rpm(REFUSES.encode())
    file = tmp_path / "main-0123456789abcdef/packages/kmod-sample.rpm"
    file.parent.mkdir(parents=True)
    file.touch()
    text = answers(a=INCOMING, b={"keys_val": [{"key": "cachedir", "value": str(tmp_path)}]})
    done = subprocess.run([sys.executable, TOP / "rpm/dnf5-action.py", "judge"], input=text, capture_output=True, text=True, check=True,
                          timeout=60)  # fmt: skip
    stop = json.loads(done.stdout.splitlines()[-1])
    assert stop["op"] == "stop" and "not trusted\nkmodkeep: nothing was changed." in stop["args"]["message"]


def test_a_broken_action_stops_nothing():
    """dnf5 takes raise_error for "refuse every transaction", also the one that mends Python; a refusal needs none."""
    lines = [line.split(":", 4) for line in (TOP / "rpm/kmodkeep.actions").read_text().splitlines() if not line.startswith("#")]
    assert [line[0] for line in lines] == ["goal_resolved", "pre_transaction"]
    assert not any(word.startswith("raise_error") for line in lines for word in line[3].split())
