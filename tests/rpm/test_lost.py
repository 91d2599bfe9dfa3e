# SPDX-License-Identifier: GPL-2.0-or-later
"""Drivers that dkms does not know, and an RPM package brings: what kmodkeep says of them.

RPM mechanics on Debian payload.  To rpm a package whose script failed is installed, so what
its database and dkms's tree have must tell.
"""

import json

import pytest

from tests.rpm import builder
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


@pytest.fixture
def acme(host, package):
    """A host on which the package was installed, and its script failed."""
    (host.path / "acme.rpm").write_bytes(package)
    said = host.run("rpm -i --nosignature /acme.rpm", check=False).stdout
    assert "scriptlet failed" in said, said
    assert host.package("acme-dkms") == ["1.0-1"]
    assert "acme" not in host.run("dkms status").stdout
    return host


def served_before(host):
    """What the guard writes when acme serves."""
    one = {"module": "acme", "driver": "acme", "dkms": "acme", "dkms_version": "1.0", "file": None}
    state = {"schema": 1, "served": [one]}
    (host.path / "var/lib/kmodkeep/state.json").write_text(json.dumps(state), encoding="ascii")


def finding(host):
    """What doctor says of acme: its exit code, and the finding or None."""
    done = host.run("kmodkeep doctor --all --json 2>/doctor.errors", check=False)
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
    done = acme.run("kmodkeep doctor --all 2>/doctor.errors", check=False)
    assert done.returncode == 3, done.stdout
    assert "acme" in errors(acme) and "is not known" in errors(acme)
