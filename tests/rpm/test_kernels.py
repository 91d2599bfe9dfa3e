# SPDX-License-Identifier: GPL-2.0-or-later
"""Kernels come and go by dnf, in a chroot: the driver is there for each that it builds for.

RPM mechanics on Debian payload.
"""

import json
import re

import pytest

from tests.rpm import dnf5
from tests.rpm.chroot import OURS
from tests.rpm.trees import FIRST, FIXED, UNREADY


@pytest.fixture(name="updated", scope="module")
def fixture_updated(installed):
    """A system with a second, newer kernel; its `old` and `new` are their releases."""
    with installed.copy() as host:
        host.old, = host.kernels()
        host.use("updates")
        host.dnf("upgrade 'kernel*'")
        host.old, host.new = host.kernels()
        yield host


def boot_entries(host):
    """The kernels that the boot loader offers."""
    entries = (host.path / "boot/loader/entries").glob("*.conf")
    return {entry.stem.removeprefix("rpm-test-") for entry in entries}


def test_new_kernel(updated):
    assert boot_entries(updated) == {updated.old, updated.new}, updated.said
    updated.has(FIRST, updated.old, updated.new)


def test_too_many_kernels(updated):
    """installonly_limit: the oldest goes, and its module with it, unless it is pinned."""
    state = updated.path / "var/lib/kmodkeep/state.json"
    state.write_text(json.dumps({"pin": {"kernel": updated.old}}), encoding="ascii")
    updated.use("dummy98")
    install = "install kernel-core-98 --setopt=installonly_limit=2"
    # Without the plug-in the pinned one would go: only tried, nothing is installed.
    tried = updated.dnf(f"{install} --disableplugin=kmodkeep --setopt=tsflags=test")
    going = tried.split("\nRemoving:\n")[-1].split("\n\n")[0]
    version = re.escape(updated.old.partition("+")[0])
    assert re.search(rf"^ kernel-core +x86_64 +{version}-", going, re.M), tried
    updated.dnf(install)
    modules = updated.path / "usr/lib/modules"
    assert (modules / "98-dummy/vmlinuz").exists(), updated.said
    assert updated.kernels() == [updated.old, updated.new], updated.said
    updated.has(FIRST, updated.old, updated.new)
    state.unlink()
    updated.use("dummy99")
    updated.dnf("install kernel-core-99 --setopt=installonly_limit=3")
    assert not (modules / updated.old / "vmlinuz").exists(), updated.said
    assert (modules / "99-dummy/vmlinuz").exists(), updated.said
    assert not list((modules / updated.old).rglob("flightrec*")), updated.said
    assert updated.old not in updated.run("dkms status").stdout
    assert boot_entries(updated) == {updated.new}
    updated.has(FIRST, updated.new)


def test_source_that_does_not_build_on_the_new_kernel(host):
    """The kernel is installed all the same; the old one's module stays; a line says why."""
    host.old, = host.kernels()
    host.use("dkms", "unready")
    host.dnf(f"upgrade {OURS}")
    host.has(UNREADY, host.old)
    host.use("updates")
    host.dnf("upgrade 'kernel*'")
    _, new = host.kernels()
    assert boot_entries(host) == {host.old, new}, host.said
    host.has(UNREADY, host.old)
    assert host.module("version", new) == "", host.said
    assert "Error! Bad return status for module build" in host.said, host.said
    # Its successor is there for both.
    host.use("dkms", "fixed")
    host.dnf(f"upgrade {OURS}")
    host.has(FIXED, host.old, new)


def test_guard_is_asked_once_after_each_change(host):
    """By a file trigger of the transaction; by kernel-install where no package came or went."""
    asked = host.path / "asked"
    host.replace("/usr/sbin/kmodkeep", 'echo "$@" >>/asked\nexec "$real" "$@"')
    host.use("dummy98", "dummy99")
    for command in ("dnf -y install kernel-core-98",
                    "dnf -y remove kernel-core-98",
                    "dnf -y install kernel-core-98",  # after one that only removed
                    "dnf -y swap kernel-core-98 kernel-core-99",
                    "dnf -y remove kernel-core-99",  # after one that did both
                    "kernel-install remove 98-dummy"):
        asked.write_text("", encoding="ascii")
        said = host.run(command).stdout
        assert asked.read_text("ascii").splitlines() == ["guard --trigger"], (command, said)


def test_dnf5_takes_the_setting_of_a_pin():
    """The file is the one that kmodkeep guard writes: see test_guard.py of its unit tests."""
    with dnf5.Dnf5() as root:
        def limit():
            said = root.run("dnf5 --dump-main-config").stdout
            return re.search(r"^installonly_limit *= *(\d+)$", said, re.M)[1]

        (root.path / "etc/dnf").mkdir(exist_ok=True)
        # As Fedora has it: without this file dnf5 looks at no other.
        (root.path / "etc/dnf/dnf.conf").write_text("[main]\n", encoding="ascii")
        assert limit() != "0"
        directory = root.path / "etc/dnf/libdnf5.conf.d"
        directory.mkdir(exist_ok=True)
        setting = directory / "80-kmodkeep-pin.conf"
        setting.write_text("# why\n[main]\ninstallonly_limit=0\n", encoding="ascii")
        assert limit() == "0"
