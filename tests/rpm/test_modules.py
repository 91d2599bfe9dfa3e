# SPDX-License-Identifier: GPL-2.0-or-later
"""RPM packages of prebuilt modules, and the kernel that waits for them: real rpmbuild, rpm, dnf and dnf5.

Kernels and drivers are stand-ins with the names, provides and requires of Fedora's: what dnf does
about them depends on nothing else.
"""

import hashlib
import re
import shutil

import pytest

from tests.fleet.standins import MAINTAINER, Kernel, build_folder
from tests.rpm import builder, dnf5
from tests.rpm.trees import TOP

KERNEL = """\
Name: kernel
Version: {version}
Release: {release}
Summary: A kernel without content
License: GPL-2.0-only
AutoReqProv: no
Provides: installonlypkg(kernel)
Requires: kernel-core = %{{version}}-%{{release}}
%description
%{{summary}}.
%package core
Summary: A kernel without content
AutoReqProv: no
Provides: installonlypkg(kernel)
Provides: kernel-uname-r = {uname}
%description core
%{{summary}}.
%package devel
Summary: A kernel without content
AutoReqProv: no
Provides: installonlypkg(kernel)
Provides: kernel-devel-uname-r = {uname}
%description devel
%{{summary}}.
%install
mkdir -p %{{buildroot}}/usr/lib/modules/{uname}
touch %{{buildroot}}/usr/lib/modules/{uname}/modules.builtin %{{buildroot}}/usr/lib/modules/{uname}/modules.order
%files
%files devel
%files core
/usr/lib/modules/{uname}
"""
SMALL = """\
Name: {name}
Version: {version}
Release: 1
Summary: Nothing
License: GPL-2.0-only
AutoReqProv: no
Provides: {provides}
%description
Nothing.
%files
"""


def kernel(number):
    """One whose version is that of its package, as Fedora's are."""
    one = Kernel(0, f"99.{number}.0-1.fc99")
    one.release = f"{one.version}.x86_64"
    return one


FIRST, SECOND, THIRD = map(kernel, (1, 2, 3))
BUILD = ["rpmbuild", "-bb", "--nodeps", "--define", "_topdir /top", "--define", "debug_package %{nil}"]
DRIVERS = ("sample", "late")


class Works(builder.Builder):
    """Where packages and repositories are made."""

    def __enter__(self):
        super().__enter__()
        shutil.copytree(TOP / "fleet", self.path / "fleet")
        (self.path / "made").mkdir()
        return self

    def spec(self, text):
        (self.path / "one.spec").write_text(text, encoding="ascii")
        self.run([*BUILD, "/one.spec"])

    def put_kernel(self, one):
        version, release = one.version.split("-")
        self.spec(KERNEL.format(version=version, release=release, uname=one.release))

    def put(self, name, version, provides="nothing"):
        self.spec(SMALL.format(name=name, version=version, provides=provides))

    def put_modules(self, *kernels, driver="sample", out="/top/RPMS", options=("--unsigned",), env=""):
        folders = []
        for one in kernels:
            path = f"/built/{driver}/{one.release}"
            folder = build_folder(self.path / path.lstrip("/"), one, driver)
            text = (folder / "manifest.json").read_text("utf-8").replace(f"linux-image-{one.release}", "kernel-core")
            (folder / "manifest.json").write_text(text, "utf-8")
            folders.append(path)
        words = " ".join([*options, *folders])
        return self.run(f"cd / && {env} python3 /fleet/fleet kmodkeep package --format rpm --maintainer '{MAINTAINER}' --out {out} {words}",
                        check=False)  # fmt: skip

    def repository(self, name, *patterns):
        """/repo/NAME, of all that has been made and is called like one of PATTERNS."""
        folder = self.path / "repo" / name
        folder.mkdir(parents=True)
        for pattern in patterns:
            for file in (self.path / "top/RPMS").rglob(pattern):
                shutil.copy(file, folder)
        self.run(["createrepo_c", "-q", f"/repo/{name}"])


@pytest.fixture(name="repositories", scope="module")
def fixture_repositories():
    """A directory with what is there at first, what comes a day later, and the drivers after that."""
    with Works() as works:
        works.put("kmod", "1", provides="/bin/sh coreutils gzip")
        works.put("kmodkeep", "0.1.0")
        works.put("python3-dnf-plugin-kmodkeep", "0.1.0")
        for version in "123":
            works.put("other", version)
        for one in (FIRST, SECOND, THIRD):
            works.put_kernel(one)
        for driver in DRIVERS:
            for kernels in ((FIRST,), (FIRST, SECOND)):
                done = works.put_modules(*kernels, driver=driver)
                assert done.returncode == 0, done.stdout
        first, second = FIRST.version, SECOND.version
        works.repository("first", "kmod-1-1*", "kmodkeep-*", "python3-dnf-*", "other-1-*", f"kernel*-{first}*", "kmod-*-1.*99.1.0.1.fc99.x86_64.rpm")
        works.repository("update", f"kernel*-{second}*", "other-2-*")
        for driver in DRIVERS:
            works.repository(driver, f"kmod-{driver}-*99.2.0.1.fc99.x86_64.rpm", "other-3-*")
        yield works.path / "repo"


class Host:
    """/target of a root with dnf, or dnf5: the first kernel with its drivers."""

    def __init__(self, root, manager, repositories):
        self.root, self.manager = root, manager
        self.target = root.path / "target"
        shutil.copytree(repositories, root.path / "repo", dirs_exist_ok=True)
        for name in ("target/var/lib/rpm", "target/etc/kmodkeep", "target/metrics", "target/etc/dnf", "etc/dnf"):
            (root.path / name).mkdir(parents=True, exist_ok=True)
        for name in ("etc/dnf/dnf.conf", "target/etc/dnf/dnf.conf"):
            # As EL has it, for dnf 4; Fedora's, for dnf5, has nothing, and best is its default.
            (root.path / name).write_text("[main]\n" + ("best=True\n" if manager == "dnf" else ""), "ascii")
        (self.target / "etc/kmodkeep/guard.conf").write_text("prometheus = /metrics/kmodkeep.prom\n", "ascii")
        if manager == "dnf":
            (plugins,) = (root.path / "usr/lib/python3/dist-packages/dnf-plugins",)
            plugins.mkdir(exist_ok=True)
            shutil.copy(TOP / "rpm/dnf-plugin.py", plugins / "kmodkeep.py")

    def dnf(self, words, *names):
        """dnf WORDS with the repositories NAMES alone; what it said."""
        from_path = " ".join(f"--repofrompath={name},file:///repo/{name}" for name in names)
        check = "--nogpgcheck" if self.manager == "dnf" else "--no-gpgchecks --use-host-config"
        return self.root.run(f"{self.manager} -y --installroot=/target --releasever=1 --setopt=reposdir=/nowhere "
                             f"--setopt=tsflags=noscripts {check} {from_path} {words}", check=False).stdout  # fmt: skip

    def has(self):
        """The names and versions of what is installed."""
        return set(self.root.run("rpm --root /target -qa --qf '%{NAME}-%{VERSION}-%{RELEASE}\\n'").stdout.split())

    def serves(self, *kernels, drivers=DRIVERS):
        """Fail unless these kernels, and no others, are there, each with its drivers."""
        has = self.has()
        assert {one.removeprefix("kernel-core-") for one in has if one.startswith("kernel-core-")} == {one.version for one in kernels}
        for one in kernels:
            for driver in drivers:
                assert (self.target / f"usr/lib/modules/{one.release}/updates/prebuilt/{driver}.ko").exists()


@pytest.fixture(name="host", params=("dnf", "dnf5"))
def fixture_host(request, repositories):
    """A host on the first kernel."""
    with {"dnf": builder.Builder, "dnf5": dnf5.Dnf5}[request.param]() as root:
        host = Host(root, request.param, repositories)
        said = host.dnf(f"install kernel-{FIRST.version} kernel-devel-{FIRST.version} other kmod-sample kmod-late", "first")
        assert {f"kernel-{FIRST.version}", "other-1-1"} <= host.has(), said
        if host.manager == "dnf5":
            # It reads this of the system that it runs in.
            shutil.copytree(host.target / "usr/share/dnf5", root.path / "usr/share/dnf5", dirs_exist_ok=True)
        host.serves(FIRST)
        yield host


def test_the_kernel_waits_and_moves_when_all_its_drivers_come(host):
    said = host.dnf("upgrade", "first", "update")
    assert "other-2-1" in host.has(), said
    host.serves(FIRST)
    waits = host.target / "var/lib/kmodkeep/kernel-waits"
    if host.manager == "dnf":
        for driver in DRIVERS:
            assert re.search(rf"kernel-core stays at {FIRST.version}: {SECOND.version} waits for kmod-{driver}, since 20"
                             r".*It comes from Driver Team .*dnf remove --noautoremove", said), said  # fmt: skip
        assert len(waits.read_text().splitlines()) == 2
        metrics = (host.target / "metrics/kmodkeep-waits.prom").read_text()
        assert f'{{package="kmod-late",kernel="kernel-core",stays="{FIRST.version}",waits="{SECOND.version}"}} ' in metrics
    else:
        assert "conflicts" in said, said
    # One comes, and waits with the kernel for the other.
    said = host.dnf("upgrade", "first", "update", "sample")
    assert "other-3-1" in host.has(), said
    host.serves(FIRST)
    if host.manager == "dnf":
        assert "waits for kmod-late" in said and "waits for kmod-sample" not in said
    said = host.dnf("upgrade", "first", "update", *DRIVERS)
    host.serves(FIRST, SECOND)
    assert f"kernel-{SECOND.version}" in host.has(), said
    if host.manager == "dnf":
        assert not waits.read_text() and "package=" not in (host.target / "metrics/kmodkeep-waits.prom").read_text()


def test_the_override_takes_the_kernel_and_keeps_the_old_one_with_its_driver(host):
    for driver in DRIVERS:
        host.dnf(f"remove --no{'' if host.manager == 'dnf' else '-'}autoremove kmod-{driver}", "first")
    said = host.dnf("upgrade", "first", "update")
    has = host.has()
    assert f"kernel-core-{SECOND.version}" in has, said
    for driver in DRIVERS:
        assert (host.target / f"usr/lib/modules/{FIRST.release}/updates/prebuilt/{driver}.ko").exists()


def test_the_kernel_that_goes_takes_its_modules_along(host):
    said = host.dnf("upgrade", "first", "update", *DRIVERS)
    host.serves(FIRST, SECOND)
    host.dnf(f"remove kernel-core-{FIRST.version}", "first")
    host.serves(SECOND)
    assert not any(f"-{FIRST.release}-" in name for name in host.has() if name.startswith("kmod-")), said


@pytest.mark.parametrize("host", ["dnf"], indirect=True)
def test_an_image_trusts_whom_it_likes(host):
    """Here it is one, by --installroot. What the host itself refuses: test_module_signer.py."""
    programs = {"kmodkeep": 'case $1 in verify) echo "$6: untrusted-key: nobody knows it"; exit 1 ;; esac', "systemd-detect-virt": "exit 1"}
    for name, text in programs.items():
        (host.root.path / "usr/local/bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (host.root.path / "usr/local/bin" / name).chmod(0o755)
    said = host.dnf("upgrade", "first", "update", *DRIVERS)
    assert "untrusted-key" not in said, said
    host.serves(FIRST, SECOND)


def test_the_same_input_gives_the_same_bytes():
    with Works() as works:
        for number, env in enumerate(("TZ=Asia/Tokyo umask 077;", "LC_ALL=C.UTF-8"), 1):
            done = works.put_modules(FIRST, out=f"/made/{number}", env=env)
            assert done.returncode == 0, done.stdout
        one, other = ({path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in (works.path / f"made/{number}").iterdir()}
                      for number in (1, 2))  # fmt: skip
        assert one == other
        assert set(one) == {"kmod-sample-1.0-1.99.1.0.1.fc99.x86_64.rpm", f"kmod-sample-{FIRST.release}-1.0-1.99.1.0.1.fc99.x86_64.rpm"}
        said = works.run("rpm -qp --requires --provides --conflicts /made/1/*").stdout.splitlines()
        assert {f"kernel-core = {FIRST.version}", f"kernel-uname-r = {FIRST.release}", f"kernel-core > {FIRST.version}",
                f"kmodkeep-hold(kernel-core) = {FIRST.version}"} <= set(said)  # fmt: skip
        refused = works.put_modules(FIRST, out="/made/3", options=())
        assert refused.returncode == 2 and "not all of its modules are signed" in refused.stdout
        refused = works.put_modules(FIRST, out="/made/3", options=("--unsigned", "--follow", "kernel"))
        assert refused.returncode == 2 and "--follow" in refused.stdout
