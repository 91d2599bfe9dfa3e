# SPDX-License-Identifier: GPL-2.0-or-later
"""Clones: they are usable, they end without a trace, and the host is safe."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lib import apt, clone, roots
from tests.lib.clone import CommandFailed, ThrowAwayRoot
from tests.lib.roots import Clone, newest_release

ANY = "bookworm"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="clones need root, to mount")


def mounts():
    return Path("/proc/self/mounts").read_text(encoding="utf-8")


def test_changes_stay_in_the_clone_and_nothing_remains():
    with Clone(ANY) as clone:
        path = clone.path
        (path / "new").touch()
        (path / "etc/debian_version").unlink()
        assert str(path) in mounts()
    assert not path.exists()
    assert str(path) not in mounts()
    assert not (roots.root(ANY) / "new").exists()
    assert (roots.root(ANY) / "etc/debian_version").exists()


def test_it_is_gone_after_an_exception_too():
    with pytest.raises(KeyError):
        with Clone(ANY) as clone:
            raise KeyError
    assert not clone.path.exists()


def test_one_that_is_being_removed_is_left_to_its_owner(monkeypatch, tmp_path):
    """Another process looks for stale ones meanwhile: the lock goes last, and is not made anew."""
    remove, locked = shutil.rmtree, []

    def note(path):
        locked.append((path.parent / clone.LOCK).exists())
        remove(path)

    monkeypatch.setattr(clone, "cache_dir", lambda *_: tmp_path)
    monkeypatch.setattr(clone.shutil, "rmtree", note)
    with Clone(ANY) as copy:
        pass
    assert locked and all(locked) and not copy.path.parent.exists()
    monkeypatch.setattr(clone.time, "time", lambda: 2 ** 40)
    (tmp_path / "without-a-lock").mkdir()
    clone._remove_stale()
    assert [*tmp_path.rglob("*")] == [tmp_path / "without-a-lock"]


def test_a_stale_one_that_is_in_use_stops_nobody(monkeypatch, tmp_path, capfd):
    """It is left as it is, and gone when nothing has it open any more."""
    clones, lower = tmp_path / "clones", tmp_path / "lower"
    stale = clones / "stale"
    for path in (stale / "root", *[lower / name for name in ("dev", "etc", "proc", "usr/sbin")]):
        path.mkdir(parents=True)
    (stale / clone.LOCK).touch()
    monkeypatch.setattr(clone, "cache_dir", lambda *_: clones)
    subprocess.run(["mount", "-t", "tmpfs", "none", stale / "root"], check=True)
    with open(stale / "root/used", "w", encoding="ascii"):
        with monkeypatch.context() as later:
            later.setattr(clone.time, "time", lambda: 2 ** 40)
            with ThrowAwayRoot(lower, "other") as other:
                assert other.path.is_dir()
        assert (stale / "root/used").exists() and (stale / clone.LOCK).exists()
        assert str(stale) in mounts()
        assert f"{stale}, whose owner was killed, stays for now: " in "".join(capfd.readouterr())
    monkeypatch.setattr(clone.time, "time", lambda: 2 ** 40)
    clone._remove_stale()
    assert not stale.exists() and str(stale) not in mounts()


def test_a_copy_of_copies_is_gone_too(tmp_path):
    """Overlays go two deep: the third is a plain copy."""
    for name in ("dev", "etc", "proc", "usr/sbin"):
        (tmp_path / name).mkdir(parents=True)
    with ThrowAwayRoot(tmp_path, "first") as first, ThrowAwayRoot(first.path, "second") as second:
        (second.path / "word").write_text("passed on", encoding="ascii")
        with ThrowAwayRoot(second.path, "third") as third:
            assert (third.path / "word").read_text(encoding="ascii") == "passed on"
            assert f" {second.path} overlay " in mounts()
            assert f" {third.path} " in mounts() and f" {third.path} overlay " not in mounts()
        assert not third.path.exists()
    assert not first.path.exists() and not second.path.exists()


def test_failures_show_the_output():
    with Clone(ANY) as clone:
        with pytest.raises(CommandFailed, match="(?s)exit code 3.*some words"):
            clone.run("echo some words; exit 3")
        assert clone.run("exit 3", check=False).returncode == 3


def test_time_out_kills_all_that_was_started():
    with Clone(ANY) as clone:
        with pytest.raises(CommandFailed, match="(?s)took over 2 s.*so far"):
            clone.run("echo so far; setsid sleep 987 & sleep 987", timeout=2)
        assert "sleep\x00987" not in clone.run("cat /proc/[0-9]*/cmdline", check=False).stdout
        assert clone.run("echo on").stdout == "on\n"


BUSY = """
    cd /tmp
    for i in $(seq 20); do
        (trap '' TERM HUP; while :; do setsid sh -c 'exec 7>>/tmp/open; sleep 0.01'; done) &
    done
"""


def test_what_commands_left_behind_is_gone_before_the_end():
    """It forks all the time, changes its session, and has files open there."""
    for _ in range(10):
        with Clone(ANY) as clone:
            clone.run(f"({BUSY}) >/dev/null 2>&1")
            assert "/tmp/open" in clone.run("cat /proc/[0-9]*/cmdline", check=False).stdout
        assert not clone.path.exists()


def test_commands_see_each_other_but_not_the_host():
    with Clone(ANY) as clone:
        clone.run("sleep 987 >/dev/null 2>&1 &")
        seen = clone.run("cat /proc/[0-9]*/comm").stdout.split()
        assert "sleep" in seen and set(seen) <= {"python3", "sleep", "sh", "cat"}, seen
        assert clone.run("kill -9 $$", check=False).returncode == -9


def test_processes_end_with_their_owner():
    """Killed, it cannot take its clones down; nothing runs on in them."""
    code = ("import os, signal; from tests.lib.roots import Clone; clone = Clone('bookworm');"
            "clone.__enter__(); clone.run('setsid sleep 98765 >/dev/null 2>&1 &');"
            "print(clone.path, flush=True); os.kill(os.getpid(), signal.SIGKILL)")
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert done.returncode == -9
    path = Path(done.stdout.splitlines()[-1])
    deadline = time.monotonic() + 60
    while subprocess.run(["umount", "--recursive", path], capture_output=True).returncode:
        assert time.monotonic() < deadline, "something still runs there"
        time.sleep(0.1)
    shutil.rmtree(path.parent)


def test_the_host_is_out_of_reach():
    with Clone(ANY) as clone:
        status = clone.run("grep CapBnd /proc/self/status").stdout
        bounding = int(status.split()[1], 16)
        for name, bit in {"sys_module": 16, "sys_boot": 22}.items():
            assert not bounding >> bit & 1, name
        assert clone.run("ischroot", check=False).returncode == 0
        assert clone.run("invoke-rc.d --query udev start", check=False).returncode == 101
        assert not list((clone.path / "sys").iterdir())
        for file in ("sys/kernel/panic", "sysrq-trigger"):
            assert clone.run(f"echo 0 >/proc/{file}", check=False).returncode != 0


@pytest.mark.parametrize("suite", apt.SUITES)
def test_each_suite_has_headers_and_tools(suite):
    with Clone(suite) as clone:
        clone.run("type gcc make dkms dh kmod openssl sparse")
        for kernel in roots.HEADERS[suite]:
            release = roots.release(suite, kernel)
            clone.run(["make", "-C", f"/lib/modules/{release}/build", "kernelversion"])


def test_the_newest_release_of_the_plain_flavour_is_chosen():
    names = [
        "linux-headers-6.1.0-9-amd64",
        "linux-headers-6.1.0-56-amd64",
        "linux-headers-6.1.0-57-rt-amd64",
        "linux-headers-6.1.0-57-common",
        "linux-headers-6.12.117+deb12-amd64",
        "linux-headers-6.12.115+deb13.1-amd64",
        "linux-headers-6.12.118+deb12-cloud-amd64",
    ]
    assert newest_release("6.1", names) == "6.1.0-56-amd64"
    assert newest_release("6.12", names) == "6.12.117+deb12-amd64"
    with pytest.raises(LookupError):
        newest_release("7.2", names)
