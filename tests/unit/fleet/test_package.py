# SPDX-License-Identifier: GPL-2.0-or-later
"""Packages of modules: what is in them, what is refused; the same input gives the same bytes."""

import hashlib
import json
import os
import re
import subprocess
from pathlib import Path

import jsonschema
import pytest

from fleet.kmodkeep_fleet.module import TRAILER
from tests.fleet.standins import FIRST, MAINTAINER, SECOND, Kernel, build_folder, module
from tests.unit.fleet.hosts import fleet


def package(tmp_path, *words, code=0, out="out", **more):
    """name -> file, of what was made."""
    done = fleet("package", "--maintainer", MAINTAINER, "--out", tmp_path / out, *words, **more)
    assert done.returncode == code, done.stdout + done.stderr
    if code:
        return done.stderr
    return {line.split("/")[-1].split("_")[0]: line for line in done.stdout.split()}


def field(deb, name):
    return subprocess.run(["dpkg-deb", "-f", deb, name], capture_output=True, text=True, check=True).stdout.strip()


def test_the_fields_that_hold_the_kernel(tmp_path):
    folders = [build_folder(tmp_path / kernel.release, kernel) for kernel in (SECOND, FIRST)]
    made = package(tmp_path, "--unsigned", *folders)
    assert set(made) == {"sample-modules", *(f"sample-modules-{kernel.release}" for kernel in (FIRST, SECOND))}
    one = made[f"sample-modules-{FIRST.release}"]
    assert field(one, "Depends").startswith(f"linux-image-{FIRST.release} (= {FIRST.version}) | ")
    meta = made["sample-modules"]
    assert field(meta, "Version") == "1.0-1+99.1.2.1"
    assert field(meta, "Depends") == f"sample-modules-{SECOND.release} (= 1.0-1+99.1.2.1), linux-image-amd64 (>= 99.1.2-1), kmodkeep (>= 0.1.0~)"
    assert field(meta, "Breaks") == "linux-image-amd64 (>> 99.1.2-1), linux-headers-amd64 (>> 99.1.2-1)"


def test_the_same_input_gives_the_same_bytes(tmp_path):
    folder = build_folder(tmp_path / "built", FIRST)
    one = package(tmp_path, "--unsigned", folder)
    other = package(tmp_path, "--unsigned", folder, out="other", env={**os.environ, "TZ": "Asia/Tokyo"},
                    preexec_fn=lambda: os.umask(0o077))  # fmt: skip
    for name, path in one.items():
        with open(path, "rb") as first, open(other[name], "rb") as second:
            assert first.read() == second.read(), name


def test_other_flavours_have_a_metapackage_of_their_own(tmp_path):
    cloud = Kernel(1, "99.1.1-1")
    cloud.release = "99.1.1+deb14-cloud-amd64"
    made = package(tmp_path, "--unsigned", build_folder(tmp_path / "a", cloud), build_folder(tmp_path / "b", FIRST))
    assert {"sample-modules-cloud-amd64", "sample-modules"} <= set(made)
    assert "linux-image-cloud-amd64 (>> 99.1.1-1)" in field(made["sample-modules-cloud-amd64"], "Breaks")
    made = package(tmp_path, "--unsigned", "--follow", "linux-generic", build_folder(tmp_path / "b", FIRST))
    assert field(made["sample-modules"], "Breaks") == "linux-generic (>> 99.1.1-1)"


def test_a_driver_goes_back_under_a_higher_version(tmp_path):
    folder = build_folder(tmp_path / "built", FIRST)
    versions = [field(package(tmp_path, "--unsigned", *words, folder)["sample-modules"], "Version")
                for words in ([], ["--revision", "2"], ["--version", "2.0"], ["--version", "2.0+really1.0"])]  # fmt: skip
    for low, high in zip(versions, versions[1:]):
        assert subprocess.run(["dpkg", "--compare-versions", low, "lt", high]).returncode == 0, (low, high)


def test_signed_modules_are_those_of_the_manifest_and_a_signature(tmp_path):
    folder = build_folder(tmp_path / "built", FIRST)
    assert "not all of its modules are signed" in package(tmp_path, folder, code=2)
    unsigned = (folder / "sample.ko").read_bytes()
    signature = b"signature" + bytes(8) + (9).to_bytes(4, "big") + TRAILER
    (folder / "sample.ko").write_bytes(unsigned + signature)
    made = package(tmp_path, folder)
    subprocess.run(["dpkg-deb", "-x", made[f"sample-modules-{FIRST.release}"], tmp_path / "x"], check=True)
    (module,) = (tmp_path / "x").rglob("*.ko")
    assert module.read_bytes() == unsigned + signature
    for behind in (b"something else", TRAILER, b"something else" + signature):
        (folder / "sample.ko").write_bytes(unsigned + behind)
        assert "that is no signature" in package(tmp_path, folder, code=2)
    (folder / "sample.ko").write_bytes(b"\0" + unsigned[1:] + signature)
    assert "is not the file of the manifest" in package(tmp_path, folder, code=2)


CHANGES = {
    "another schema": lambda doc: doc.update(schema=2),
    "a release that leads elsewhere": lambda doc: doc.update(kernel="../../etc"),
    "a second line": lambda doc: doc.update(driver_version="1.0\nEssential: yes"),
    "a file elsewhere": lambda doc: doc["modules"][0].update(file="../../etc/x.ko"),
    "a size that leaves a part out": lambda doc: doc["modules"][0].update(size=-1),
    "no module": lambda doc: doc.update(modules=[]),
    "one twice": lambda doc: doc["modules"].append(doc["modules"][0]),
    "no architecture": lambda doc: doc.pop("architecture"),
    "no list": lambda doc: doc.update(modules=7),
    "modules of another kernel": lambda doc: doc.update(kernel=SECOND.release),
    "a name with a line": lambda doc: doc["modules"][0].update(name="a\noverride x"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_manifest_that_is_not_believed(tmp_path, change):
    folder = build_folder(tmp_path / "built", FIRST)
    doc = json.loads((folder / "manifest.json").read_text())
    change(doc)
    (folder / "manifest.json").write_text(json.dumps(doc))
    said = package(tmp_path, "--unsigned", folder, code=2)
    assert re.search(r"manifest\.json: not used: .*Next: ", said) and not (tmp_path / "out").exists()


@pytest.mark.parametrize(("words", "said"), [
    (["--maintainer", "nobody"], "is no maintainer"), (["--maintainer", "A <a@b.c>\nEssential: yes"], "is no maintainer"),
    (["--version", "x"], "is no version"), (["--follow", "a b"], "no names of packages"),
])  # fmt: skip
def test_words_that_make_no_package(tmp_path, words, said):
    assert said in package(tmp_path, "--unsigned", *words, build_folder(tmp_path / "built", FIRST), code=2)


@pytest.mark.parametrize(("release", "flavour"), [
    ("6.1.0-30-amd64", "amd64"), ("6.1.0-30-rt-amd64", "rt-amd64"), ("6.12.43+deb13-cloud-amd64", "cloud-amd64"),
    ("6.1.0-0.deb11.13-amd64", "amd64"), ("6.1.0-0.deb11.13-cloud-amd64", "cloud-amd64"), ("6.8.0-45-generic", "generic"),
])  # fmt: skip
def test_the_flavour_whose_metapackages_are_followed(tmp_path, release, flavour):
    kernel = Kernel(1, "99.1.1-1")
    kernel.release = release
    made = package(tmp_path, "--unsigned", build_folder(tmp_path / "a", kernel))
    meta = made["sample-modules" if flavour == "amd64" else f"sample-modules-{flavour}"]
    assert f", linux-image-{flavour} (>= 99.1.1-1)" in field(meta, "Depends")


SPDX = json.loads((Path(__file__).parent / "spdx-2.3.schema.json").read_text())


@pytest.fixture(name="sbom", scope="module")
def fixture_sbom(tmp_path_factory):
    """The SPDX document of a package of modules, as text, and the package unpacked."""
    tmp_path = tmp_path_factory.mktemp("sbom")
    folder = build_folder(tmp_path / "built", FIRST)
    doc = json.loads((folder / "manifest.json").read_text())
    doc.update(inputs={"gcc-12": "12.2.0-14", "libc6": "2.36-9"}, source_sha256="1" * 64)
    (folder / "manifest.json").write_text(json.dumps(doc))
    made = package(tmp_path, "--unsigned", folder)
    subprocess.run(["dpkg-deb", "-x", made[f"sample-modules-{FIRST.release}"], tmp_path / "x"], check=True)
    (file,) = (tmp_path / "x").rglob("sbom.spdx.json")
    return file.read_text(), tmp_path / "x"


def test_the_spdx_document_is_one(sbom):
    """By the rules of SPDX 2.3 for JSON, and those that no schema can say."""
    doc, top = json.loads(sbom[0]), sbom[1]
    jsonschema.Draft202012Validator.check_schema(SPDX)
    jsonschema.validate(doc, SPDX)
    ids = [doc["SPDXID"], *(one["SPDXID"] for key in ("packages", "files") for one in doc[key])]
    assert len(ids) == len(set(ids))
    for link in doc["relationships"]:
        assert {link["spdxElementId"], link["relatedSpdxElement"]} <= set(ids)
    assert any((one["spdxElementId"], one["relationshipType"]) == ("SPDXRef-DOCUMENT", "DESCRIBES") for one in doc["relationships"])
    sums = []
    for file in doc["files"]:
        (path,) = top.rglob(file["fileName"].removeprefix("./"))
        for check in file["checksums"]:
            assert hashlib.new(check["algorithm"].lower(), path.read_bytes()).hexdigest() == check["checksumValue"]
        sums += [one["checksumValue"] for one in file["checksums"] if one["algorithm"] == "SHA1"]
    modules = next(one for one in doc["packages"] if one["filesAnalyzed"])
    # Clause 7.9 of SPDX 2.3.
    code = hashlib.sha1("".join(sorted(sums)).encode()).hexdigest()
    assert modules["packageVerificationCode"]["packageVerificationCodeValue"] == code
    assert {one["name"] for one in doc["packages"]} >= {"gcc-12", "libc6", "sample"}


@pytest.mark.parametrize("spoil", [
    lambda doc: doc.update(spdxVersion="2.3"),
    lambda doc: doc.update(dataLicense="MIT"),
    lambda doc: doc["creationInfo"].update(created="today"),
    lambda doc: doc["packages"][0].pop("downloadLocation"),
    lambda doc: doc["packages"][0].pop("packageVerificationCode"),
    lambda doc: doc["files"][0].update(SPDXID="file-0"),
    lambda doc: doc["files"][0].update(checksums=doc["files"][0]["checksums"][1:]),
    lambda doc: doc["relationships"][0].update(relationshipType="MADE_OF"),
])  # fmt: skip
def test_what_is_no_spdx_document(sbom, spoil):
    doc = json.loads(sbom[0])
    spoil(doc)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(doc, SPDX)


def test_modules_of_another_kernel_under_a_right_name_are_not_published(tmp_path):
    """A package that somebody made by hand, or with an older manifest: its name proves nothing."""
    made = package(tmp_path, "--unsigned", build_folder(tmp_path / "built", FIRST))
    good = made[f"sample-modules-{FIRST.release}"]
    top = tmp_path / "made-by-hand"
    subprocess.run(["dpkg-deb", "-R", good, top], check=True)
    (ko,) = top.rglob("*.ko")
    module(ko, SECOND.release)
    bad = tmp_path / "bad.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", top, bad], check=True, stdout=subprocess.DEVNULL)

    def publish(*files):
        return fleet("publish", "--repository", tmp_path / "repository", "--ring", "canary", "--key", "none", *files)

    done = publish(bad, made["sample-modules"])
    assert done.returncode == 2 and f"sample.ko is for kernel {SECOND.release}, not for {FIRST.release}" in done.stderr
    assert not list((tmp_path / "repository/pool").iterdir())
    right = ko.read_bytes().replace(SECOND.release.encode(), FIRST.release.encode())
    other = top / f"lib/modules/{SECOND.release}/sample.ko"
    other.parent.mkdir()
    other.write_bytes(right)
    ko.write_bytes(right)
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", top, bad], check=True, stdout=subprocess.DEVNULL)
    assert "lies in the folder of another kernel" in publish(bad, made["sample-modules"]).stderr
    other.unlink()
    (top / f"lib/modules/{FIRST.release}/a.kotlin").mkdir(parents=True)
    (top / f"lib/modules/{FIRST.release}/link.ko").symlink_to("/dev/zero")
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", top, bad], check=True, stdout=subprocess.DEVNULL)
    assert "link.ko: is no file" in publish(bad, made["sample-modules"]).stderr
