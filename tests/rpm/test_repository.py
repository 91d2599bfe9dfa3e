# SPDX-License-Identifier: GPL-2.0-or-later
"""dnf and dnf5 take signed packages from a signed repository, and nothing else.

RPM mechanics on Debian payload.  They install into a root of its own, with the
settings that docs and tests ask for: gpgcheck, repo_gpgcheck, localpkg_gpgcheck.
What counts is whether the package is there afterwards.
"""

import re
import shutil
import subprocess

import pytest

from tests.rpm import builder, dnf5, repo, trees
from tests.rpm.convert import rpmbuild

SPEC = """\
Name: tiny
Version: 1
Release: 1
Summary: A package that needs nothing
License: GPL-2.0-only
BuildArch: noarch
AutoReqProv: no
%description
%{summary}.
%install
install -d %{buildroot}/opt
head -c 4096 /dev/urandom >%{buildroot}/opt/tiny
%files
/opt/tiny
"""

RPM = "/build/top/RPMS/noarch/tiny-1-1.noarch.rpm"
TAMPER = "printf X | dd of={} bs=1 seek=$(($(stat -c %s {}) - 100)) conv=notrunc status=none"

FILE = "/srv/packages/{}/tiny-1-1.noarch.rpm"

# dnf's words, and dnf5's.
REFUSAL = "GPG|OpenPGP|[Ss]ignature"

# What is done to a copy of the good repository, as a shell script in it.
INDEX = "createrepo_c -q . && "
SIGN = "gpg --batch --yes --armor --detach-sign repodata/repomd.xml"
OTHER = "GNUPGHOME=/root/other "
SPOILT = {
    "unsigned package": f"cp {RPM} . && {INDEX}{SIGN}",
    "tampered package": TAMPER.replace("{}", "tiny-1-1.noarch.rpm") + f" && {INDEX}{SIGN}",
    "package of another key": f"{OTHER} rpmsign --resign *.rpm >/dev/null && {INDEX}{SIGN}",
    "unsigned index": "rm repodata/repomd.xml.asc",
    "tampered index": "sed -i 's/<revision>/<revision>1/' repodata/repomd.xml",
    "index of another key": OTHER + SIGN,
}


@pytest.fixture(name="repositories", scope="module")
def fixture_repositories():
    """A directory with the repositories "good" and SPOILT."""
    with builder.Builder() as clone:
        (clone.path / "build").mkdir()
        (clone.path / "build/tiny.spec").write_text(SPEC, encoding="ascii")
        rpmbuild(clone, "/build/tiny.spec", {"_topdir": "/build/top"})
        tree = repo.write(clone, {"good": [clone.path / RPM.lstrip("/")]})
        clone.run("mkdir -m 700 /root/other && GNUPGHOME=/root/other gpg --batch --quiet "
                  f"--passphrase '' --quick-generate-key '{repo.SIGNER}' rsa2048 sign 1d")
        for name, spoil in SPOILT.items():
            clone.run(["cp", "-a", "/srv/packages/good", f"/srv/packages/{dashed(name)}"])
            clone.run(spoil, cwd=f"/srv/packages/{dashed(name)}")
        yield tree


@pytest.fixture(name="manager", params=("dnf", "dnf5"), scope="module")
def fixture_manager(request, repositories):
    """A root with dnf 4, and one with dnf5: which install into /target."""
    root = {"dnf": builder.Builder, "dnf5": dnf5.Dnf5}[request.param]
    with root() as clone:
        clone.manager = request.param
        shutil.copytree(repositories, clone.path / "srv/packages", dirs_exist_ok=True)
        clone.run("mkdir /target")
        yield clone


def dashed(name):
    """NAME as a directory."""
    return name.replace(" ", "-")


def install(root, name, what):
    """Install WHAT with the repository NAME alone; is package tiny there, and what was said?"""
    root.run("rm -rf /target/* /var/cache/dnf /var/cache/libdnf5 /etc/yum.repos.d && "
             "mkdir -p /etc/yum.repos.d /target/var/lib/rpm")
    (root.path / "etc/yum.repos.d/test.repo").write_text(repo.definition(name), encoding="ascii")
    root.run(f"rpmkeys --root /target --import /srv/packages/{repo.KEY}")
    done = root.run([root.manager, "-y", "--installroot=/target", "--releasever=1",
                     "--setopt=localpkg_gpgcheck=1", "--setopt=reposdir=/etc/yum.repos.d",
                     "install", what], check=False)
    there = root.run("rpm --root /target -q tiny", check=False).returncode == 0
    return there, done.stdout


def test_takes_what_is_signed(manager):
    there, said = install(manager, "good", "tiny")
    assert there, said


@pytest.mark.parametrize("name", SPOILT)
def test_refuses_from_a_repository(manager, name):
    there, said = install(manager, dashed(name), "tiny")
    assert not there and re.search(REFUSAL, said), said


def test_takes_a_signed_file(manager):
    there, said = install(manager, "good", FILE.format("good"))
    assert there, said


@pytest.mark.parametrize("name", [name for name in SPOILT if "package" in name])
def test_refuses_a_file(manager, name):
    there, said = install(manager, "good", FILE.format(dashed(name)))
    assert not there and re.search(REFUSAL, said), said


def test_the_verb_says_what_is_missing():
    """make rpm-repo, before it builds anything; and make-repository itself."""
    done = subprocess.run(["make", "-s", "-C", trees.TOP, "rpm-repo", "KEY="], check=False,
                          capture_output=True, text=True)
    assert done.returncode == 2 and "no key is named. Next: make rpm-repo KEY=" in done.stderr
    with builder.Builder() as clone:
        shutil.copy(repo.MAKE_REPOSITORY, clone.path / "srv")
        for arguments, code, words in (("nobody /srv", 3, "gpg has no secret key 'nobody'. Next: "),
                                       ("nobody /nowhere", 2, "/nowhere is no directory. Next: ")):
            done = clone.run(f"/srv/make-repository {arguments}", check=False)
            assert (done.returncode, words in done.stdout) == (code, True), done.stdout
        repo.make_key(clone)
        done = clone.run(["/srv/make-repository", repo.SIGNER, "/srv"], check=False)
        assert (done.returncode, "/srv has no packages" in done.stdout) == (2, True), done.stdout
