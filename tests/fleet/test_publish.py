# SPDX-License-Identifier: GPL-2.0-or-later
"""A signed repository with rings, read by this machine's apt with folders of its own."""

import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

TOP = Path(__file__).resolve().parents[2]
FLEET = [TOP / "fleet/fleet", "kmodkeep"]


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """Folders of gpg: ours, and that of somebody else."""
    found = []
    for name in ("ours", "others"):
        home = tmp_path_factory.mktemp(name)
        home.chmod(0o700)
        # What gpg puts there is found by it alone, and its agent ends with the folder.
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet", "--passphrase", ""]
        subprocess.run([*gpg, "--quick-generate-key", f"{name}@test.example", "ed25519", "sign"], check=True)
        public = subprocess.run([*gpg, "--export"], check=True, capture_output=True).stdout
        (home / "public.gpg").write_bytes(public)
        (home / "public.gpg").chmod(0o644)
        found.append(home)
    yield found
    for home in found:
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)


def deb(folder, name, version, control="", content=""):
    top = folder / "package"
    (top / "DEBIAN").mkdir(parents=True)
    (top / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: T <t@t.example>\n{control}Description: x\n"
    )
    (top / "content").write_text(content)
    path = folder / f"{name}_{version}_amd64.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", top, path], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "SOURCE_DATE_EPOCH": "0"})  # fmt: skip
    shutil.rmtree(top)
    return path


class Publisher:
    def __init__(self, path, key):
        self.path = path
        self.repo = path / "repo"
        self.key = key
        path.chmod(0o755)

    def command(self, ring, *words):
        return [*map(str, FLEET), "publish", "--repository", str(self.repo), "--key", f"{self.key.name[:-1]}@test.example",
                "--ring", ring, *map(str, words)]  # fmt: skip

    def run(self, ring, *words, code=0, **more):
        env = {**os.environ, "GNUPGHOME": str(self.key)}
        done = subprocess.run(self.command(ring, *words), capture_output=True, text=True, env=env, **more)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def publisher(tmp_path, keys):
    return Publisher(tmp_path, keys[0])


class Host:
    """apt with its own state."""

    def __init__(self, path, repo, key):
        self.state = path / "host"
        for name in ("lists/partial", "archives/partial", "etc"):
            (self.state / name).mkdir(parents=True)
        (self.state / "status").touch()
        self.repo = repo
        self.key = key

    def apt(self, ring, *words, program="apt-get"):
        source = f"deb [signed-by={self.key}/public.gpg arch=amd64] copy:{self.repo} {ring} main\n"
        (self.state / "sources.list").write_text(source)
        settings = {
            "Dir::Etc::sourcelist": self.state / "sources.list", "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "-", "Dir::Etc::preferencesparts": "-", "Dir::State": self.state,
            "Dir::State::lists": self.state / "lists", "Dir::State::status": self.state / "status",
            "Dir::Cache": self.state, "Dir::Cache::archives": self.state / "archives",
            "APT::Sandbox::User": "root", "APT::Architecture": "amd64", "APT::Update::Error-Mode": "any", "Acquire::Check-Valid-Until": "true", "Acquire::Check-Date": "true",
        }  # fmt: skip
        options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
        return subprocess.run([program, "-q", *options, *words], capture_output=True, text=True, cwd=self.state)

    def versions(self, ring, name="driver"):
        done = self.apt(ring, "update")
        assert done.returncode == 0, done.stderr
        return re.findall(rf"^ *{name} \| *(\S+) ", self.apt(ring, "madison", name, program="apt-cache").stdout, re.M)

    def refuses(self, ring):
        """What apt says about indices that it does not take."""
        done = self.apt(ring, "update")
        assert done.returncode == 100, done.stdout + done.stderr
        return done.stderr


@pytest.fixture
def host(tmp_path, publisher, keys):
    return Host(tmp_path, publisher.repo, keys[0])


def test_rings_get_the_same_files_and_go_back_by_a_higher_version(publisher, host, tmp_path):
    publisher.run("canary", deb(tmp_path, "driver", "1.0"))
    publisher.run("all", "--from", "canary")
    publisher.run("canary", deb(tmp_path, "driver", "2.0"))
    assert host.versions("canary") == ["2.0", "1.0"] and host.versions("all") == ["1.0"]
    publisher.run("all", "--from", "canary")
    assert host.versions("all") == ["2.0", "1.0"]
    done = host.apt("all", "download", "driver")
    assert done.returncode == 0, done.stderr
    (got,) = host.state.glob("driver_2.0*.deb")
    assert got.read_bytes() == (tmp_path / "driver_2.0_amd64.deb").read_bytes()
    publisher.run("all", deb(tmp_path, "driver", "2.0+really1.0"))
    assert host.versions("all")[0] == "2.0+really1.0"
    # Indices are found by their content, and those of the publication before are there too.
    names = [path.name for path in publisher.repo.glob("dists/all/main/binary-amd64/by-hash/SHA256/*")]
    assert len(names) == 4
    for name in names:
        data = (publisher.repo / "dists/all/main/binary-amd64/by-hash/SHA256" / name).read_bytes()
        assert hashlib.sha256(data).hexdigest() == name
    for _ in range(3):
        publisher.run("all")
    assert len(list(publisher.repo.glob(".published/all-*"))) <= 3


def test_apt_refuses_what_is_not_ours(publisher, host, keys, tmp_path):
    publisher.run("canary", deb(tmp_path, "driver", "1.0"))
    assert host.versions("canary") == ["1.0"]
    ring = (publisher.repo / "dists/canary").resolve()
    whole = (ring / "InRelease").read_bytes()
    # tampered: the signed text, an index, a package
    (ring / "InRelease").write_bytes(whole.replace(b"Suite: canary", b"Suite: canarx"))
    assert "BADSIG" in host.refuses("canary")
    (ring / "InRelease").write_bytes(whole)
    other = Host(tmp_path / "other", publisher.repo, keys[0])
    for index in [*ring.glob("main/*/Packages*"), *ring.glob("main/*/by-hash/SHA256/*")]:
        index.write_bytes(index.read_bytes()[:-1] + b"X")
    assert re.search("Hash Sum mismatch|unexpected size", other.refuses("canary"))
    publisher.run("canary")
    assert host.versions("canary") == ["1.0"]
    package = publisher.repo / "pool/driver_1.0_amd64.deb"
    kept = package.read_bytes()
    package.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    done = host.apt("canary", "download", "driver")
    assert done.returncode == 100 and "Hash Sum mismatch" in done.stderr
    # wrong key, unsigned
    stranger = Host(tmp_path / "stranger", publisher.repo, keys[1])
    assert "NO_PUBKEY" in stranger.refuses("canary")
    ring = (publisher.repo / "dists/canary").resolve()
    text = re.sub(r"-----BEGIN PGP SIGNED.*?\n\n|-----BEGIN PGP SIGNATURE.*", "", whole.decode(), flags=re.S)
    (ring / "InRelease").unlink()
    (ring / "Release").write_text(text)
    assert "is not signed" in Host(tmp_path / "third", publisher.repo, keys[0]).refuses("canary")


def test_apt_refuses_what_has_expired(publisher, host, tmp_path):
    publisher.run("canary", "--valid-days", "1", deb(tmp_path, "driver", "1.0"))
    assert host.versions("canary") == ["1.0"]
    text = (publisher.repo / "dists/canary/InRelease").read_text()
    until = re.search(r"^Valid-Until: (.*)$", text, re.M)[1]
    assert abs(time.mktime(time.strptime(until, "%a, %d %b %Y %H:%M:%S %Z")) - time.timezone - time.time() - 86400) < 7200
    # The same, signed three days ago.
    text = re.sub(r"-----BEGIN PGP SIGNED.*?\n\n|-----BEGIN PGP SIGNATURE.*", "", text, flags=re.S)
    for field, days in (("Date", 3), ("Valid-Until", 2)):
        past = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() - days * 86400))
        text = re.sub(rf"^{field}: .*$", f"{field}: {past}", text, flags=re.M)
    gpg = ["gpg", "--homedir", publisher.key, "--batch", "--yes", "--output", publisher.repo / "dists/canary/InRelease", "--clearsign"]
    subprocess.run(gpg, input=text.encode(), check=True)
    assert "is expired" in Host(tmp_path / "other", publisher.repo, publisher.key).refuses("canary")


def test_builders_that_disagree(publisher, tmp_path):
    publisher.run("canary", deb(tmp_path, "driver", "1.0", content="one"))
    said = publisher.run("canary", deb(tmp_path, "driver", "1.0", content="other"), code=2)
    assert "builders that disagree are not admitted" in said


def test_a_metapackage_is_published_with_what_it_needs(publisher, host, tmp_path):
    meta = deb(tmp_path, "driver", "1.0", "Depends: driver-6.1 (= 1.0), kmodkeep\nKmodkeep-Kernel-Metas: linux-image-amd64\n")
    assert "needs driver-6.1 (= 1.0), which is not in the ring" in publisher.run("canary", meta, code=2)
    assert not (publisher.repo / "dists/canary").exists()
    publisher.run("canary", meta, deb(tmp_path, "driver-6.1", "1.0"))
    assert host.versions("canary") == ["1.0"]


def test_a_clock_in_the_past(publisher, tmp_path):
    publisher.run("canary", deb(tmp_path, "driver", "1.0"))
    link = publisher.repo / "dists/canary"
    later = f"canary-{int(time.time()) + 3600}"
    link.resolve().rename(publisher.repo / ".published" / later)
    link.unlink()
    link.symlink_to(f"../.published/{later}")
    assert "set the clock" in publisher.run("canary", code=2)


def test_everybody_may_read_it(publisher, tmp_path):
    """Whatever the mask of who publishes; only the lock is not for others, since who opens it can hold it."""
    publisher.run("canary", deb(tmp_path, "driver", "1.0"), umask=0o077)
    assert (publisher.repo / ".lock").stat().st_mode & 0o077 == 0
    for path in [publisher.repo, *publisher.repo.rglob("*")]:
        if not path.is_symlink() and path.name != ".lock":
            assert path.stat().st_mode & 0o004, path
            assert not path.is_dir() or path.stat().st_mode & 0o001, path


def test_two_publishers(publisher, tmp_path):
    package = deb(tmp_path, "driver", "1.0")
    publisher.run("canary", package)
    with subprocess.Popen(["flock", publisher.repo / ".lock", "sh", "-c", "echo held; read end"], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as holder:  # fmt: skip
        assert holder.stdout.readline() == "held\n"
        assert "somebody else publishes" in publisher.run("canary", code=2)
        holder.stdin.close()


def whole(publisher, host):
    """The versions that a host is offered, whose files are all there."""
    found = host.versions("canary")
    for version in found:
        done = host.apt("canary", "download", f"driver={version}")
        assert done.returncode == 0, done.stderr
    return found


CALLS = "rename,renameat,renameat2,symlink,symlinkat,mkdir,mkdirat,unlink,unlinkat"


def test_killed_at_each_step(publisher, host, tmp_path):
    """The old publication is there until the new one is, and the next run ends what was begun."""
    publisher.run("canary", deb(tmp_path, "driver", "1.0"))
    package = deb(tmp_path, "driver", "2.0")
    env = {**os.environ, "GNUPGHOME": str(publisher.key), "PYTHONDONTWRITEBYTECODE": "1"}
    kept = tmp_path / "kept"
    shutil.copytree(publisher.repo, kept, symlinks=True)
    steps = 0
    while True:
        steps += 1
        shutil.rmtree(publisher.repo)
        shutil.copytree(kept, publisher.repo, symlinks=True)
        # Without -f: gpg and apt-ftparchive are left alone, and end with their input.
        command = ["strace", "-o", "/dev/null", "-e", f"trace={CALLS}", "-e", f"inject={CALLS}:signal=KILL:when={steps}",
                   *publisher.command("canary", package)]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, env=env)
        if done.returncode == 0:
            break
        assert done.returncode in (-9, 137), done.stderr
        assert whole(publisher, host) in (["1.0"], ["2.0", "1.0"])
        publisher.run("canary", package)
        assert whole(publisher, host) == ["2.0", "1.0"]
        assert not list(publisher.repo.rglob(".partial-*"))
    assert steps > 8
