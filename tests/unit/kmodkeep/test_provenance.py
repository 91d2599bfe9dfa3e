# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep fleet verify: from a module on a host back to its sources, and which link is missing or broken."""

import json
import lzma
import re
import shutil
import subprocess
from hashlib import sha256

import pytest

from fleet.kmodkeep_fleet.build import pack
from fleet.kmodkeep_fleet.module import TRAILER
from tests.fleet.standins import MAINTAINER
from tests.unit.kmodkeep.host import KERNEL, PROGRAM, TOP
from tests.unit.kmodkeep.test_manifest import Works

PACKAGE = f"sample-modules-{KERNEL}"
LINKS = ["file", "package", "manifest", "builders", "source", "log", "signatures"]


class Host:
    """One with a package of modules that two built and two signed."""

    def __init__(self, works):
        self.works = works
        self.root = works.tree.path
        self.source = works.path / "source"
        self.source.mkdir()
        (self.source / "dkms.conf").write_text("PACKAGE_NAME=sample\n")
        for builder in "ab":
            document = json.loads(works.manifest(builder).read_text())
            document |= {"driver": "sample", "driver_version": "1.2", "architecture": "amd64", "inputs": {"gcc-12": "12.2.0-14", "dkms": "3.0"},
                         "source_sha256": sha256(pack(self.source)).hexdigest()}  # fmt: skip
            works.manifest(builder).write_text(json.dumps(document))
        for signer in (0, 1):
            assert works.sign(signer).code == 0
        assert works.join(0, 1).code == 0
        self.signed = works.path / "out"
        shutil.copy(works.manifest("a"), self.signed / "manifest.json")
        shutil.copy(works.manifest("b"), self.signed / "b.manifest.json")

    def fleet(self, *words):
        return subprocess.run([TOP / "fleet/fleet", PROGRAM, *words], capture_output=True, text=True, timeout=300)

    def package(self, *words):
        return self.fleet("package", "--maintainer", MAINTAINER, "--out", self.works.path / "debs", *words, self.signed)

    def install(self, *words):
        done = self.package(*(words or ["--log", self.works.log]))
        assert done.returncode == 0, done.stderr
        deb = done.stdout.split()[0]
        subprocess.run(["dpkg-deb", "-x", deb, self.root], check=True)
        listing = subprocess.run(["dpkg-deb", "--fsys-tarfile", deb], check=True, capture_output=True).stdout
        names = subprocess.run(["tar", "-tf", "-"], input=listing, check=True, capture_output=True).stdout.decode()
        control = subprocess.run(["dpkg-deb", "-f", deb], check=True, capture_output=True, text=True).stdout
        self.works.tree.put("var/lib/dpkg/status", control.replace("\nVersion", "\nStatus: install ok installed\nVersion", 1) + "\n")
        self.works.tree.put(f"var/lib/dpkg/info/{PACKAGE}.list", "".join(f"{name.rstrip('/').removeprefix('.')}\n" for name in names.split() if name != "./"))
        return self

    @property
    def module(self):
        return self.root / f"lib/modules/{KERNEL}/updates/prebuilt/sample.ko"

    @property
    def folder(self):
        return self.root / "usr/share/kmodkeep/provenance" / PACKAGE

    def asked(self, *words, certs=True, log=True, file=None):
        """(exit code, link -> verdict, all that was said)."""
        known = [part for pair in self.works.pairs[:2] for part in ("--cert", pair.cert)] if certs else []
        known += ["--log", self.works.log] if log else []
        done = self.fleet("verify", "--root", self.root, *known, *words, file or self.module)
        found = dict(re.findall(r"^  (\w+): (\w+): ", done.stdout, re.M))
        assert list(found) == LINKS, done.stdout + done.stderr
        return done.returncode, found, done.stdout


@pytest.fixture
def host(tree, tmp_path, plain_module, pair, other_pair):
    return Host(Works(tree, tmp_path, plain_module, [pair, other_pair]))


def test_each_link_is_there(host):
    code, found, said = host.install().asked("--source", host.source)
    assert code == 0 and set(found.values()) == {"ok"}, said
    assert "builders: ok: a, b made the same" in said and f"package: ok: {PACKAGE}" in said and "for release team" in said


def only(found, **others):
    return found == {**dict.fromkeys(LINKS, "ok"), **others}


def test_what_is_missing_is_named(host):
    host.install("--revision", "1")  # without a log
    code, found, said = host.asked(certs=False, log=False)
    assert code == 3 and only(found, log="missing", signatures="missing"), said
    (host.folder / "b.manifest.json").unlink()
    code, found, said = host.asked()
    assert code == 3 and only(found, builders="missing") and "1 of 2: a" in said, said
    assert host.asked("--builders", "1")[0] == 0
    (host.folder / "manifest.json").unlink()
    code, found, said = host.asked()
    assert code == 3 and f"{PACKAGE} carries none" in said and found["builders"] == found["log"] == "missing"
    host.works.tree.put("var/lib/dpkg/status", "")
    code, found, said = host.asked()
    assert code == 3 and found["package"] == "missing" and "no package owns this file" in said, said


def change_module(host):
    data = bytearray(host.module.read_bytes())
    data[200] ^= 1
    host.module.write_bytes(data)


def change_manifest(host, name="manifest.json", **keys):
    document = json.loads((host.folder / name).read_text())
    document["modules"][0].update(keys)
    (host.folder / name).write_text(json.dumps(document))


def change_statement(host, **keys):
    path = host.folder / "b.manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


def add_behind(host):
    """What looks like two signatures: only one can be behind what was built."""
    host.module.write_bytes(host.module.read_bytes() + bytes(12) + TRAILER)


def change_log(host):
    lines = host.works.log.read_bytes().splitlines(keepends=True)
    host.works.log.write_bytes(lines[0].replace(b"release team", b"another team") + b"".join(lines[1:]))


CHANGES = {
    "the module": (change_module, "manifest", "is not the file of the manifest"),
    "the end of the module": (lambda host: add_behind(host), "manifest", "behind it that is no signature"),
    "the size": (lambda host: change_manifest(host, size=0, sha256=sha256().hexdigest()), "manifest", "'size' is no size"),
    "the manifest": (lambda host: change_manifest(host, sha256="0" * 64), "manifest", "is not the file of the manifest"),
    "a builder's statement": (lambda host: change_manifest(host, "b.manifest.json", srcversion="X"), "builders", "disagree on sample.ko"),
    "a builder's name": (lambda host: change_statement(host, builder=7), "builders", "cannot be read"),
    "a builder's source": (lambda host: change_statement(host, source_sha256="0" * 64), "source", "'b' built it from another source"),
    "a statement that is no JSON": (lambda host: (host.folder / "b.manifest.json").write_text("["), "builders", "cannot be read"),
    "the log": (change_log, "log", "signing.log"),
    "the entry": (lambda host: (host.folder / "log.jsonl").write_text(
        (host.folder / "log.jsonl").read_text().replace("release team", "nobody")), "log", "is not in"),
    "the entry's form": (lambda host: (host.folder / "log.jsonl").write_text("[\n"), "log", "line 1 is no entry"),
    "the source": (lambda host: (host.source / "dkms.conf").write_text("PACKAGE_NAME=other\n"), "source", "is not the source"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "link", "why"), CHANGES.values(), ids=CHANGES)
def test_what_was_changed_since_is_named(host, change, link, why):
    host.install()
    change(host)
    code, found, said = host.asked("--source", host.source)
    assert code == 1 and found[link] == "broken" and why in said, said


def test_a_builder_whom_the_log_does_not_name(host):
    """Another name over a copy of the one manifest is no second builder."""
    host.install()
    change_statement(host, builder="made up")
    code, found, said = host.asked()
    assert code == 3 and only(found, log="missing") and "of the builders it names a alone" in said, said


def test_a_compressed_module_is_read_to_its_end(host):
    host.install()
    packed = host.module.with_suffix(".ko.xz")
    whole = lzma.compress(host.module.read_bytes())
    host.module.unlink()
    listed = host.works.tree.path / f"var/lib/dpkg/info/{PACKAGE}.list"
    listed.write_text(listed.read_text().replace("sample.ko\n", "sample.ko.xz\n"))
    for content, verdict in ((whole, "ok"), (whole + lzma.compress(b"more"), "broken"), (whole[:-40], "broken")):
        packed.write_bytes(content)
        _, found, said = host.asked(file=packed)
        assert found["file"] == verdict, said
    assert found["manifest"] == "missing", said


def test_a_log_that_is_not_there_contradicts_nothing(host):
    host.install()
    host.works.log.unlink()
    code, found, said = host.asked()
    assert code != 0 and found["log"] == "missing", said


def test_a_signer_who_was_not_asked_for(host):
    host.install()
    stranger = host.works.path / "stranger.der"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "/dev/null", "-outform", "DER",
                    "-out", stranger, "-subj", "/CN=stranger"], check=True, capture_output=True)  # fmt: skip
    code, found, said = host.asked("--cert", stranger, "--require-signers", "3")
    assert code == 1 and only(found, signatures="broken"), said


def test_builders_that_disagree_make_no_package(host):
    """Nor does a manifest that was changed after the signing."""
    document = json.loads((host.signed / "b.manifest.json").read_text())
    document["modules"][0]["sha256"] = "0" * 64
    (host.signed / "b.manifest.json").write_text(json.dumps(document))
    done = host.package()
    assert done.returncode == 2 and "disagree on sample.ko" in done.stderr and not (host.works.path / "debs").exists()
    shutil.copy(host.signed / "manifest.json", host.signed / "b.manifest.json")
    assert "one builder is not two" in host.package().stderr
    (host.signed / "b.manifest.json").unlink()
    document["builder"] = "a"
    (host.signed / "manifest.json").write_text(json.dumps(document))
    done = host.package()
    assert done.returncode == 2 and "sample.ko is not the file of the manifest" in done.stderr


def test_the_sbom_says_what_went_in(host):
    host.install()
    sbom = json.loads((host.folder / "sbom.spdx.json").read_text())
    names = {one["SPDXID"]: f"{one['name']} {one['versionInfo']}" for one in sbom["packages"]}
    inputs = [names[one["spdxElementId"]] for one in sbom["relationships"] if one["relationshipType"] == "BUILD_DEPENDENCY_OF"]
    assert inputs == ["dkms 3.0", "gcc-12 12.2.0-14"] and names["SPDXRef-source"] == "sample 1.2"
    (file,) = sbom["files"]
    assert file["checksums"][1]["checksumValue"] == sha256(host.module.read_bytes()).hexdigest()


@pytest.mark.parametrize(("words", "said"), [(["nothere"], "Next: --kernel"), (["/nothere.ko"], "no such file")])
def test_words_that_name_no_module(tmp_path, words, said):
    done = subprocess.run([TOP / "fleet/fleet", PROGRAM, "verify", "--root", tmp_path, *words], capture_output=True, text=True)
    assert done.returncode == 2 and said in done.stderr


def test_a_package_asks_whether_its_signer_is_trusted(host, tmp_path):
    """Its preinst, before dpkg replaces anything."""
    deb = host.package().stdout.split()[0]
    subprocess.run(["dpkg-deb", "-e", deb, tmp_path / "control"], check=True)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    scripts = {"kmodkeep": f'verb=$1; shift; exec {PROGRAM} "$verb" --root {host.root} "$@"', "systemd-detect-virt": "exit ${CHROOT:-1}"}
    for name, text in scripts.items():
        (bin_ / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin_ / name).chmod(0o755)

    def preinst(word="install", path=f"{bin_}:/usr/bin:/bin", **more):
        done = subprocess.run(["sh", tmp_path / "control/preinst", word], capture_output=True, text=True, timeout=300,
                              env={"PATH": path, "TMPDIR": str(tmp_path), **more})  # fmt: skip
        assert not list(tmp_path.glob("tmp.*"))
        return done.returncode, done.stderr

    tree = host.works.tree
    tree.secure_boot(False)
    assert preinst() == (0, "")
    tree.secure_boot()
    for word in ("install", "upgrade"):
        code, said = preinst(word)
        assert code and f"{PACKAGE} is not installed, since its kernel would not load sample.ko: untrusted-key: " in said and "Next: " in said
        assert said.count("\n") == 1
    assert preinst("abort-upgrade") == preinst(CHROOT="0") == preinst(DPKG_ROOT="/image") == (0, "")
    # One of its two signers is enough for a kernel.
    tree.enrol(host.works.pairs[0].cert)
    assert preinst() == (0, "")
    # Where it cannot be told, nothing is in the way, and it is said.
    tree.enrol()
    assert preinst()[0] == 1
    for program in ("mktemp", "base64", "gzip"):
        (bin_ / program).write_text(f"#!/bin/sh\necho {program}: no space is left >&2\nexit 1\n")
        (bin_ / program).chmod(0o755)
        code, said = preinst()
        assert code == 0 and "sample.ko could not be told: it could not be unpacked" in said, said
        (bin_ / program).unlink()
    (bin_ / "kmodkeep").write_text("#!/bin/sh\necho nothing is known\nexit 3\n")
    code, said = preinst()
    assert code == 0 and "could not be told: nothing is known" in said
    # The same before apt's transaction: 9 is its only refusal.
    deb_name = f"{deb}\n"

    def check():
        done = subprocess.run(["sh", TOP / "system/kernel-hold", "check"], input=deb_name, capture_output=True, text=True, timeout=300,
                              env={"PATH": f"{bin_}:/usr/bin:/bin", "TMPDIR": str(tmp_path)})  # fmt: skip
        return done.returncode, done.stderr

    assert check()[0] == 0
    (bin_ / "kmodkeep").write_text(f"#!/bin/sh\n{scripts['kmodkeep']}\n")
    code, said = check()
    assert code == 9 and "untrusted-key: " in said and "nothing was changed. Next: " in said
    (bin_ / "systemd-detect-virt").write_text("#!/bin/sh\nkill -KILL $PPID\n")
    assert check()[0] == 0


@pytest.mark.parametrize(("place", "code"), [("host", 1), ("chroot", 0), ("container", 0)])
def test_an_image_without_systemd_refuses_no_package(host, tmp_path, place, code):
    """One that is being made, with the firmware's variables of the machine that makes it."""
    subprocess.run(["dpkg-deb", "-e", host.package().stdout.split()[0], tmp_path / "control"], check=True)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name in ("mktemp", "base64", "gzip", "grep", "rm", "sh", "timeout"):
        (bin_ / name).symlink_to(shutil.which(name))
    answer = f"case $1 in key) echo place={place}; exit 1 ;; esac; echo nobody knows it; exit 1"
    (bin_ / "kmodkeep").write_text(f"#!/bin/sh\n{answer}\n")
    (bin_ / "kmodkeep").chmod(0o755)
    done = subprocess.run(["sh", tmp_path / "control/preinst", "install"], capture_output=True, text=True, timeout=300,
                          env={"PATH": str(bin_), "TMPDIR": str(tmp_path)})  # fmt: skip
    assert done.returncode == code and ("would not load" in done.stderr) == bool(code), done.stderr
