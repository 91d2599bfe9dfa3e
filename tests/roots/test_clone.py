# SPDX-License-Identifier: GPL-2.0-only
"""Clones: they are usable, they end without a trace, and the host is safe."""

import os
from pathlib import Path

import pytest

from tests.lib import apt, roots
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
