# SPDX-License-Identifier: GPL-2.0-or-later
"""A signed repository of dnf with rings, as "kmodkeep fleet publish --format rpm" makes it, and a real dnf 4 that reads it.

Kernels and drivers are stand-ins, as in test_modules.py.
"""

import gzip
import hashlib
import re
from xml.etree import ElementTree

import pytest

from tests.rpm import repo
from tests.rpm.test_modules import FIRST, SECOND, Works

REPOSITORY = "/srv/rings"
PUBLISH = f"kmodkeep publish --format rpm --repository {REPOSITORY} --key '{repo.SIGNER}' --ring"
# Ends like a power cut before the N-th step that changes a directory.
KILLER = """\
import os, runpy, signal, sys
left = [int(sys.argv.pop(1))]
def hook(event, args):
    if any("/srv/rings" in str(arg) for arg in args) and event in ("os.rename", "os.mkdir", "os.symlink", "os.link", "os.remove", "os.rmdir"):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(hook)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Publisher(Works):
    """Publishes packages, and has a host in /target that reads one ring."""

    def __enter__(self):
        super().__enter__()
        repo.make_key(self)
        # rpmsign gets all from "publish".
        (self.path / "root/.rpmmacros").unlink()
        self.run("mkdir -p /target /keys && gpg --batch --armor --export >/keys/ours")
        self.put("kmod", "1", provides="/bin/sh coreutils gzip")
        self.put("kmodkeep", "0.1.0")
        self.put("python3-dnf-plugin-kmodkeep", "0.1.0")
        for one in (FIRST, SECOND):
            self.put_kernel(one)
        self.publish("canary", *self.rpms("kmod-1-1*", "kmodkeep-*", "python3-*", f"kernel*-{FIRST.version}*", f"kernel*-{SECOND.version}*"))
        return self

    def driver(self, version, *kernels, options=()):
        """The files of the driver's packages."""
        done = self.put_modules(*(kernels or (FIRST,)), out=f"/made/{version}", options=("--unsigned", "--version", version, *options))
        assert done.returncode == 0, done.stdout
        return done.stdout.split()

    def rpms(self, *patterns):
        """The files of packages that were made by a spec file."""
        found = [path for pattern in patterns for path in (self.path / "top/RPMS").rglob(pattern)]
        return [f"/{path.relative_to(self.path)}" for path in found]

    def publish(self, ring, *words, code=0, run="python3"):
        done = self.run(f"{run} /fleet/fleet {PUBLISH} {ring} {' '.join(words)}", check=False)
        assert code is None or done.returncode == code, done.stdout
        return done

    def dnf(self, ring, words, key="ours"):
        text = repo.definition(ring, f"{REPOSITORY}/rings", gpgkey=f"file:///keys/{key}", metadata_expire=1, skip_if_unavailable=0)
        (self.path / "etc/yum.repos.d").mkdir(exist_ok=True)
        (self.path / "etc/yum.repos.d/rings.repo").write_text(text, "ascii")
        return self.run(f"rm -rf /target/var/cache/dnf; dnf -y --installroot=/target --releasever=1 --setopt=reposdir=/etc/yum.repos.d "
                        f"--setopt=tsflags=noscripts {words}", check=False)  # fmt: skip

    def has(self):
        """The version of the driver that the host has, or nothing."""
        done = self.run("rpm --root /target -q --qf '%{VERSION}' kmod-sample", check=False)
        return done.stdout if done.returncode == 0 else ""

    def offered(self, ring):
        """The versions of the driver that RING has; fail unless it is signed, and all that it names is there and whole."""
        folder = (self.path / REPOSITORY.lstrip("/") / "rings" / ring).resolve()
        self.run(f"gpg --batch --verify {REPOSITORY}/rings/{ring}/repodata/repomd.xml.asc {REPOSITORY}/rings/{ring}/repodata/repomd.xml")
        named = parts(folder, (folder / "repodata/repomd.xml").read_bytes(), "data")
        packages = parts(folder, gzip.decompress(named["primary"].read_bytes()), "package")
        return sorted(found[1] for found in (re.match(r"kmod-sample-([0-9.]+)-1\.99\.", name) for name in packages) if found)


NAMESPACE = re.compile(r"\{.*\}")


def parts(folder, text, tag):
    """{type or path: file} of what an index of the repository FOLDER names, whose digests are right."""
    found = {}
    for one in ElementTree.fromstring(text):
        fields = {NAMESPACE.sub("", field.tag): field for field in one}
        if NAMESPACE.sub("", one.tag) == tag:
            file = folder / fields["location"].get("href")
            assert hashlib.sha256(file.read_bytes()).hexdigest() == fields["checksum"].text, file
            found[fields["location"].get("href") if tag == "package" else one.get("type")] = file
    return found


@pytest.fixture(name="publisher")
def fixture_publisher():
    with Publisher() as publisher:
        yield publisher


def test_rings_get_the_same_files_and_go_back_by_a_higher_version(publisher):
    publisher.publish("canary", *publisher.driver("1.0"))
    publisher.publish("all", "--from", "canary")
    publisher.publish("canary", *publisher.driver("2.0"))
    said = publisher.dnf("all", f"install kernel-{FIRST.version} kmod-sample").stdout
    assert publisher.has() == "1.0", said
    publisher.dnf("all", "upgrade")
    assert publisher.has() == "1.0"
    publisher.publish("all", "--from", "canary")
    rings = publisher.path / REPOSITORY.lstrip("/") / "rings"
    files = {ring: {path.name: path.stat().st_ino for path in (rings / ring).resolve().glob("*.rpm")} for ring in ("all", "canary")}
    assert files["all"] == files["canary"] and len(files["all"]) > 4
    said = publisher.dnf("all", "upgrade").stdout
    assert publisher.has() == "2.0", said
    publisher.publish("all", *publisher.driver("2.0+really1.0"))
    said = publisher.dnf("all", "upgrade").stdout
    assert publisher.has() == "2.0+really1.0", said
    # Indices of the publication before are there still.
    names = [path.name for path in (rings / "all").resolve().glob("repodata/*-primary.xml*")]
    assert len(names) == 2, names
    for _ in range(3):
        publisher.publish("all")
    assert len(list(publisher.path.glob("srv/rings/.published/all-*"))) <= 3


def test_dnf_takes_what_is_ours_alone(publisher):
    publisher.publish("canary", *publisher.driver("1.0"))
    install = f"install kernel-{FIRST.version} kmod-sample"
    publisher.run("mkdir -m 700 /root/other; export GNUPGHOME=/root/other; gpg --batch --quiet --passphrase '' --quick-generate-key other "
                  "rsa2048 sign 1d && gpg --batch --armor --export >/keys/other")  # fmt: skip
    assert publisher.dnf("canary", install, key="other").returncode and not publisher.has()
    ring = (publisher.path / "srv/rings/rings/canary").resolve()
    index = ring / "repodata/repomd.xml"
    whole = index.read_bytes()
    index.write_bytes(whole.replace(b"<revision>", b"<revision>9"))
    assert publisher.dnf("canary", install).returncode and not publisher.has()
    index.write_bytes(whole)
    (file,) = ring.glob("kmod-sample-1.0*.rpm")
    kept = file.read_bytes()
    file.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    assert publisher.dnf("canary", install).returncode and not publisher.has()
    file.write_bytes(kept)
    said = publisher.dnf("canary", install).stdout
    assert publisher.has() == "1.0", said


def test_what_is_not_published(publisher):
    files = publisher.driver("1.0", FIRST, SECOND)
    meta = next(name for name in files if "kmod-sample-1.0" in name)
    assert f"needs kmod-sample-{SECOND.release} 1.0-1" in publisher.publish("early", meta, code=2).stdout
    publisher.publish("early", *files)
    # The same once more is nothing new, though rpmsign gives other bytes each time.
    publisher.publish("early", *files)
    # Another builder's; one for another kernel under a right name.
    other = publisher.path / "built/sample" / FIRST.release / "manifest.json"
    publisher.driver("1.0", FIRST, options=("--maintainer", "'Other <other@drivers.example>'"))
    assert "builders that disagree are not admitted" in publisher.publish("early", files[0], code=2).stdout
    assert other.exists()
    publisher.spec(f"""\
Name: kmod-sample-{SECOND.release}
Version: 9
Release: 1
Summary: Modules for another kernel
License: GPL-2.0-only
AutoReqProv: no
Requires: kernel-core = {SECOND.version}
%description
None.
%install
mkdir -p %{{buildroot}}/usr/lib/modules/{SECOND.release}/updates/prebuilt
cp /built/sample/{FIRST.release}/sample.ko %{{buildroot}}/usr/lib/modules/{SECOND.release}/updates/prebuilt
%files
/usr/lib/modules/{SECOND.release}
""")
    said = publisher.publish("early", *publisher.rpms(f"kmod-sample-{SECOND.release}-9-1*"), code=2).stdout
    assert f"sample.ko is for kernel {FIRST.release}, not for {SECOND.release}" in said
    assert "--valid-days: dnf" in publisher.publish("early", "--valid-days", "7", code=2).stdout
    assert "is no RPM package" in publisher.publish("early", "/fleet/fleet", code=2).stdout
    said = publisher.run(f"python3 /fleet/fleet {PUBLISH.replace('--format rpm', '')} early", check=False).stdout
    assert "has rings of the other format" in said


def test_killed_at_each_step(publisher):
    """The old publication is there until the new one is, and the next run ends what was begun."""
    publisher.publish("early", *publisher.driver("1.0"))
    files = publisher.driver("2.0")
    (publisher.path / "killer.py").write_text(KILLER, "ascii")
    publisher.run(f"cp -a {REPOSITORY} /srv/kept")
    steps = 0
    while True:
        steps += 1
        publisher.run(f"rm -rf {REPOSITORY} && cp -a /srv/kept {REPOSITORY}")
        done = publisher.publish("early", *files, code=None, run=f"python3 /killer.py {steps}")
        if done.returncode == 0:
            break
        assert done.returncode in (-9, 137), done.stdout
        assert publisher.offered("early") in (["1.0"], ["1.0", "2.0"]), steps
        publisher.publish("early", *files)
        assert publisher.offered("early") == ["1.0", "2.0"], steps
        assert not list(publisher.path.glob("srv/rings/**/.partial-*"))
    assert steps > 8
