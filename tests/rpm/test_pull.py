# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep pull on hosts with dnf and with dnf5: to newer packages, and back.

Real are rpm, dnf and a signed repository; the packages are a few bytes, and kmodkeep is a stand-in
that answers as its gate does (tests/unit/kmodkeep/test_gate.py, tests/fleet/test_hosts.py).
"""

import shutil

import pytest

from tests.rpm import builder, dnf5, repo
from tests.rpm.convert import rpmbuild
from tests.rpm.trees import TOP

# The kernel is one of which several are installed beside each other, and a driver has an epoch.
SPEC = """\
Name: %{tiny}
Version: %{number}
Release: 1
%if "%{tiny}" == "driver"
Epoch: 1
%endif
Summary: A package that needs nothing
License: GPL-2.0-only
BuildArch: noarch
AutoReqProv: no
%if "%{tiny}" == "kernel"
Provides: installonlypkg(kernel)
%endif
%description
%{summary}.
%install
install -d %{buildroot}/opt
echo %{number} >%{buildroot}/opt/%{tiny}-%{number}
%files
/opt/%{tiny}-%{number}
"""
# Its answers lie in files; what it was asked goes into "calls".
KMODKEEP = """\
#!/bin/sh
printf '%s\\n' "$*" >>/host/calls
case "$1 ${2-}" in
"gate --fetch") cat /host/said ;;
"pin hold") exit "$(cat /host/hold)" ;;
esac
"""
NAMES = ("kernel", "driver", "other")


@pytest.fixture(name="repositories", scope="module")
def fixture_repositories():
    """A directory with the repositories "old" and "new", which has the old packages too."""
    with builder.Builder() as clone:
        (clone.path / "build").mkdir()
        (clone.path / "build/tiny.spec").write_text(SPEC, encoding="ascii")
        for name in NAMES:
            for number in (9, 10):
                rpmbuild(clone, "/build/tiny.spec", {"_topdir": "/build/top", "tiny": name, "number": number})
        rpms = sorted((clone.path / "build/top/RPMS/noarch").glob("*.rpm"))
        yield repo.write(clone, {"old": [rpm for rpm in rpms if "-9-" in rpm.name], "new": rpms})


class Host:
    """A root with dnf, whose only packages are those of the repository."""

    def __init__(self, clone, repositories):
        self.clone, self.path = clone, clone.path
        shutil.copytree(repositories, self.path / "srv/packages", dirs_exist_ok=True)
        clone.run(f"rpmkeys --import {repo.MOUNT_POINT}/{repo.KEY}")
        # It would be a host with apt.
        (self.path / "usr/bin/apt-get").unlink(missing_ok=True)
        if not (self.path / "usr/bin/dnf").exists():
            (self.path / "usr/bin/dnf").symlink_to("dnf5")
            # Debian's has a plug-in on that copies packages, and needs a program that is not there.
            self.put("etc/dnf/libdnf5-plugins/local.conf", "[main]\nenabled = false\n")
        for name, text in (("pull", (TOP / "kmodkeep/pull").read_text()), ("kmodkeep", KMODKEEP)):
            (self.path / "host").mkdir(exist_ok=True)
            (self.path / "host" / name).write_text(text)
            (self.path / "host" / name).chmod(0o755)
        for name in ("var/lib/kmodkeep/gate", "etc/yum.repos.d", "run"):
            (self.path / name).mkdir(parents=True, exist_ok=True)
        self.put("host/hold", "0\n")
        self.use("old")
        clone.run("dnf -q -y install kernel driver")
        assert self.have("kernel") == ["kernel=9-1"] and self.have("driver") == ["driver=1:9-1"]

    def put(self, name, text):
        (self.path / name).write_text(text, encoding="ascii")

    def use(self, name, **settings):
        self.put("etc/yum.repos.d/test.repo", repo.definition(name, **settings))

    def have(self, name):
        done = self.clone.run(["rpm", "-q", "--qf", "%{NAME}=%{EVR}\\n", name], check=False)
        return sorted(done.stdout.split()) if done.returncode == 0 else []

    def pull(self, verdict="update", packages="kernel driver other"):
        """(exit code, what was said, the steps that the gate was told)."""
        self.put("host/said", f"verdict={verdict}\nrollout=r\npackages={packages}\nreboot=no\n")
        self.put("host/calls", "")
        done = self.clone.run("/host/pull /host/kmodkeep 2>&1", check=False)
        self.calls = (self.path / "host/calls").read_text().splitlines()
        marks = [call.split()[2] for call in self.calls if call.startswith("gate --mark")]
        return done.returncode, done.stdout, marks


@pytest.fixture(name="host", params=("dnf", "dnf5"))
def fixture_host(request, repositories):
    root = {"dnf": builder.Builder, "dnf5": dnf5.Dnf5}[request.param]
    with root() as clone:
        yield Host(clone, repositories)


def test_an_update_and_the_way_back(host):
    """What is not installed stays so; of kernels the newer one stays, and the one from before is held."""
    host.use("new")
    assert host.pull()[0::2] == (0, ["begun", "updated"]), host.calls
    assert host.have("kernel") == ["kernel=10-1", "kernel=9-1"] and host.have("driver") == ["driver=1:10-1"]
    assert host.have("other") == []
    assert (host.path / "var/lib/kmodkeep/gate/versions.r").read_text() == "kernel=9-1\ndriver=1:9-1\n"
    code, said, marks = host.pull("go-back")
    assert (code, marks) == (0, ["gone-back"]), said
    assert host.have("driver") == ["driver=1:9-1"] and host.have("kernel") == ["kernel=10-1", "kernel=9-1"]
    running = host.clone.run("uname -r").stdout.strip()
    assert f"pin hold {running}" in host.calls
    # A boot loader whose default cannot be set: it has not gone back.
    host.put("host/hold", "1\n")
    code, said, marks = host.pull("go-back")
    assert (code, marks) == (1, ["failed"]) and "the update could not be taken back" in said


def test_an_index_that_is_old_or_cannot_be_had(host):
    """dnf says then that all is well."""
    code, said, marks = host.pull(packages="kernel=10-1 driver=1:10-1")
    assert (code, marks) == (1, ["begun", "failed"]) and "kernel=9-1 is older than 10-1, which the gate names" in said, said
    host.use("nowhere", skip_if_unavailable=1)
    code, said, marks = host.pull()
    assert (code, marks) == (1, ["begun", "failed"]) and "the update failed" in said, said
    host.use("new")
    assert host.pull(packages="kernel=10-1 driver=1:10-1")[0::2] == (0, ["begun", "updated"])


def test_a_version_to_go_back_to_that_is_gone(host):
    host.use("new")
    assert host.pull()[0] == 0
    shutil.rmtree(host.path / "srv/packages/old")
    host.use("new", exclude="driver-1:9-1 driver-9-1")
    code, said, marks = host.pull("go-back")
    assert (code, marks) == (1, ["failed"]) and "could not be taken back" in said, said
