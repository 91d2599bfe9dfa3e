# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers that dkms does not know, and an RPM package brings: what kmodkeep says of them.

RPM mechanics on Debian payload.  To rpm a package whose script failed is installed, so what
its database and dkms's tree have must tell.
"""

import json
import shutil
import subprocess

import pytest

from tests.lib.clone import ThrowAwayRoot
from tests.packaging.variants import program_for_tests
from tests.rpm import builder, payload, system
from tests.rpm.chroot import Host
from tests.rpm.convert import rpmbuild

SPEC = """\
Name: acme-dkms
Version: 1.0
Release: 1
Summary: A driver whose script fails
License: GPL-2.0-only
BuildArch: noarch
%description
%{summary}.
%install
install -d %{buildroot}/usr/src/acme-1.0
cat >%{buildroot}/usr/src/acme-1.0/dkms.conf <<'END'
PACKAGE_NAME="acme"
PACKAGE_VERSION="1.0"
BUILT_MODULE_NAME[0]="acme"
DEST_MODULE_LOCATION[0]="/extra"
AUTOINSTALL="yes"
END
echo obj-m := acme.o >%{buildroot}/usr/src/acme-1.0/Makefile
cat >%{buildroot}/usr/src/acme-1.0/acme.c <<'END'
#include <linux/module.h>
MODULE_LICENSE("GPL");
END
%post
exit 1
%files
/usr/src/acme-1.0
"""
SOURCE = "/usr/src/acme-1.0/dkms.conf"


@pytest.fixture(scope="module", name="package")
def fixture_package():
    """The bytes of the package."""
    with builder.Builder() as clone:
        (clone.path / "acme.spec").write_text(SPEC, encoding="ascii")
        rpm, = rpmbuild(clone, "/acme.spec", {"_topdir": "/build/acme"}).rglob("*.rpm")
        return rpm.read_bytes()


@pytest.fixture(scope="module", name="prepared")
def fixture_prepared(package):
    """A system with dkms and kmodkeep, on which the package's script has failed.  Not to be changed."""
    with system.System() as clone:
        (clone.path / "rpms").mkdir()
        for name in ("dkms", "libs"):
            for rpm in payload.directory(name).glob("*.rpm"):
                shutil.copy(rpm, clone.path / "rpms")
        clone.run("rpm -i /rpms/*.rpm")
        # The packaged program does not act on a folder, and in a chroot it judges no module.
        shutil.copy2(program_for_tests(builder.SUITE), clone.path / "usr/sbin/kmodkeep")
        (clone.path / "acme.rpm").write_bytes(package)
        said = clone.run("rpm -i --nosignature /acme.rpm", check=False).stdout
        assert "scriptlet failed" in said, said
        yield clone


@pytest.fixture
def acme(prepared):
    """A copy of it, which is seen at /host as if it ran."""
    with ThrowAwayRoot(prepared.path, "rpm-lost") as clone:
        host = Host(clone)
        assert host.package("acme-dkms") == ["1.0-1"]
        assert "acme" not in host.run("dkms status").stdout
        there = host.path / "host"
        there.mkdir()
        subprocess.run(["mount", "--bind", host.path, there], check=True)
        try:
            (there / "etc/kmodkeep-test-root").touch()
            osrelease = there / "proc/sys/kernel/osrelease"
            osrelease.parent.mkdir(parents=True)
            osrelease.write_text(host.kernels()[0] + "\n", encoding="ascii")
            yield host
        finally:
            subprocess.run(["umount", there], check=True)


def served_before(host):
    """What the guard writes when acme serves."""
    one = {"module": "acme", "driver": "acme", "dkms": "acme", "dkms_version": "1.0", "file": None}
    state = {"schema": 1, "served": [one]}
    (host.path / "var/lib/kmodkeep").mkdir(exist_ok=True)
    (host.path / "var/lib/kmodkeep/state.json").write_text(json.dumps(state), encoding="ascii")


def finding(host):
    """What doctor says of acme: its exit code, and the finding or None."""
    done = host.run("kmodkeep doctor --all --json --root /host 2>/doctor.errors", check=False)
    found = [f for f in json.loads(done.stdout)["findings"] if f["module"] == "acme"]
    return done.returncode, found[0] if found else None


def errors(host):
    return (host.path / "doctor.errors").read_text("utf-8")


def test_first_install_whose_script_failed_is_named(acme):
    kernel, = acme.kernels()
    code, found = finding(acme)
    assert code == 3 and (found["verdict"], found["note"]) == ("unknown", False), found
    assert "dkms does not know acme 1.0, which package acme-dkms brings" in found["message"]
    assert f"dkms install acme/1.0 -k {kernel}" in found["next_step"]
    assert found["command"] is None, "dkms may have been told to remove it"
    acme.run(f"dkms install acme/1.0 -k {kernel}")
    assert finding(acme)[1]["verdict"] != "unknown"


def test_one_that_is_to_be_ignored(acme):
    (acme.path / "etc/kmodkeep/drivers.d").mkdir(parents=True, exist_ok=True)
    (acme.path / "etc/kmodkeep/drivers.d/acme.conf").write_text("ignore = yes\n", encoding="ascii")
    assert finding(acme)[1] is None


def test_a_source_of_no_package_is_no_driver(acme):
    acme.run("cp -r /usr/src/acme-1.0 /keep && rpm -e acme-dkms && cp -r /keep /usr/src/acme-1.0")
    assert finding(acme)[1] is None


def test_what_served_and_only_rpm_knows_is_lost(acme):
    """Also where its files are gone; but not once the package is."""
    served_before(acme)
    assert finding(acme)[1]["verdict"] == "missing"
    acme.run("rm -r /usr/src/acme-1.0")
    code, found = finding(acme)
    assert code == 1 and f"{SOURCE} is gone, which a package that is installed has" in found["message"]
    acme.run("rpm -e --noscripts acme-dkms")
    assert finding(acme)[1] is None


@pytest.mark.parametrize("served", [True, False])
def test_a_database_that_cannot_be_read(acme, served):
    """What rpm cannot say is not taken for a package that is gone."""
    if served:
        served_before(acme)
        acme.run("rm -r /usr/src/acme-1.0")
    database = acme.run("rpm --eval '%{_dbpath}'").stdout.strip()
    acme.run(f"for f in {database}/*; do printf nonsense >$f; done")
    done = acme.run("kmodkeep doctor --all --root /host 2>/doctor.errors", check=False)
    assert done.returncode == 3, done.stdout
    assert "acme" in errors(acme) and "is not known" in errors(acme)
