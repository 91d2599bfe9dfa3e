# SPDX-License-Identifier: GPL-2.0-only
"""Upgrades of our packages, in a chroot of the RPM system: each kernel keeps a driver.

RPM mechanics on Debian payload.  dkms builds for the system's kernel as in the
guest, only faster; a chroot has no key of its own, so nothing is signed.  dnf returns 0 though a script failed, so the state decides.
"""

import contextlib
import shutil

import pytest

from tests.lib.clone import CommandFailed
from tests.rpm import payload, system, trees


@pytest.fixture(name="repositories", scope="module")
def fixture_repositories(tmp_path_factory):
    """{name: our packages in that version, and dkms}"""
    return {"dkms": sorted(payload.packages()["dkms"].glob("*.rpm")),
            **trees.ours(tmp_path_factory.mktemp("rpm"))}


@pytest.fixture(name="host")
def fixture_host(repositories):
    """A system with release 1 of 0.1.0 installed."""
    with system.System() as clone:
        for name, files in repositories.items():
            (clone.path / "srv/packages" / name).mkdir(parents=True)
            for file in files:
                if not file.name.endswith(".src.rpm"):
                    shutil.copy(file, clone.path / "srv/packages" / name)
        host = Host(clone)
        host.said = rpm(host, "-U", "dkms", "flightrec")
        yield host


class Host:
    """CLONE, and what its driver is."""

    def __init__(self, clone):
        self.run = clone.run
        self.kernel, = [p.parent.name for p in (clone.path / "usr/lib/modules").glob("*/kernel")]
        self.said = ""

    def has(self, version):
        """Fail unless the module of VERSION is installed and known to dkms."""
        status = self.run("dkms status flightrec").stdout
        assert f"flightrec/{version}, {self.kernel}, x86_64: installed" in status, status + self.said
        assert "broken" not in status, status
        seen = self.run(f"modinfo -k {self.kernel} -F version flightrec").stdout.strip()
        assert seen == version, seen + self.said
        assert self.run("dkms autoinstall -k " + self.kernel).returncode == 0


def rpm(host, action, *names):
    """Run rpm with ACTION on all packages of the repositories NAMES; what it said."""
    files = " ".join(f"/srv/packages/{name}/*.rpm" for name in names)
    return host.run(f"rpm {action} {files} 2>&1", check=False).stdout


def test_install(host):
    host.has("0.1.0-1")


def test_release_bump_and_downgrade(host):
    host.said = rpm(host, "-U", "release2")
    host.has("0.1.0-2")
    host.said = rpm(host, "-U --oldpackage", "flightrec")
    host.has("0.1.0-1")
    assert host.run("ls /usr/src | grep flightrec").stdout.split() == ["flightrec-0.1.0-1"]


def test_reinstall(host):
    host.said = rpm(host, "-U --replacepkgs", "flightrec")
    host.has("0.1.0-1")


def test_version_that_does_not_build(host):
    host.said = rpm(host, "-U", "broken")
    assert "FAILED" in host.said and "0.1.0-1 stays installed and loadable" in host.said
    assert host.run("rpm -q flightrec-dkms").stdout.strip() == "flightrec-dkms-0.2.0-1.noarch"
    host.has("0.1.0-1")
    host.said = rpm(host, "-U", "fixed")
    host.has("0.3.0-1")


@pytest.mark.parametrize("seconds", (2, 6, 10))
def test_killed(host, seconds):
    """Wherever the kill hits: a module stays, and a reinstallation repairs the rest."""
    # At the end of its time a command is killed with all that it started.
    with contextlib.suppress(CommandFailed):
        host.run("rpm -U /srv/packages/fixed/*.rpm", timeout=seconds)
    kept = host.run(f"modinfo -k {host.kernel} -F version flightrec").stdout.strip()
    assert kept in ("0.1.0-1", "0.3.0-1"), kept
    host.said = rpm(host, "-U --replacepkgs", "fixed")
    host.has("0.3.0-1")


def test_remove(host):
    host.said = host.run("rpm -e flightrec flightrec-dkms kmodkeep 2>&1").stdout
    left = host.run("ls -d /usr/src/flightrec* /var/lib/dkms/flightrec /usr/lib/flightrec"
                    " /usr/lib/modules/*/extra/flightrec* /etc/kmodkeep /usr/lib/kmodkeep"
                    " /var/lib/kmodkeep 2>/dev/null", check=False).stdout.split()
    assert left == [], host.said
