# SPDX-License-Identifier: GPL-2.0-or-later
"""An RPM package of prebuilt modules on a whole system: what it replaces, whom it is signed by, where it comes from.

RPM mechanics on Debian payload; firmware is files, and nothing is loaded.
"""

import hashlib
import json
import re
import shutil
import subprocess

import pytest

from fleet.kmodkeep_fleet import module
from fleet.kmodkeep_fleet.build import inflate
from tests.fleet.standins import MAINTAINER
from tests.rpm.test_modules import Works
from tests.unit.kmodkeep.host import GLOBAL, SHIM, siglist

NAME = "kmod-flightrec"
SIGN = ["kmodkeep manifest sign --agrees other.json --for test --key key.pem --cert cert.der --log log --output signatures manifest.json",
        "kmodkeep manifest join --signatures signatures --cert cert.der --output signed manifest.json"]  # fmt: skip


def without_signature(data):
    """The bytes of a module before what it is signed with."""
    assert data.endswith(module.TRAILER)
    length = int.from_bytes(data[: -len(module.TRAILER)][-4:], "big")
    return data[: len(data) - len(module.TRAILER) - 12 - length]


@pytest.fixture(name="packages", scope="module")
def fixture_packages(installed):
    """A directory with the packages of the module that dkms has built here, signed by somebody else."""
    with installed.copy() as host, Works() as works:
        (kernel,) = host.kernels()
        file = host.path / host.module("filename", kernel).lstrip("/")
        _, data = inflate(file.name, file.read_bytes())
        data = without_signature(data)
        work = host.path / "work"
        work.mkdir()
        (work / "flightrec.ko").write_bytes(data)
        said = module.describe(data)
        entry = {"file": "flightrec.ko", **{key: said[key] for key in ("name", "vermagic", "srcversion")},
                 "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}  # fmt: skip
        manifest = {
            "schema": 1, "kernel": kernel, "kernel_package": "kernel-core", "signature_hash": "sha256", "compiler": "gcc", "pahole": None,
            "kernel_package_version": host.run("rpm -q --qf '%{VERSION}-%{RELEASE}' kernel-core").stdout,
            "builder": "one", "driver": "flightrec", "driver_version": "1.0", "architecture": "x86_64", "modules": [entry],
            "source_sha256": "0" * 64,
        }  # fmt: skip
        (work / "manifest.json").write_text(json.dumps(manifest), "ascii")
        (work / "other.json").write_text(json.dumps({**manifest, "builder": "other"}), "ascii")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", work / "key.pem", "-outform", "DER",
                        "-out", work / "cert.der", "-subj", "/CN=fleet", "-days", "2", "-addext", "keyUsage=digitalSignature",
                        "-addext", "extendedKeyUsage=codeSigning"], check=True, capture_output=True)  # fmt: skip
        for command in SIGN:
            host.run(command, cwd="/work")
        shutil.copy(work / "manifest.json", work / "signed")
        shutil.copy(work / "other.json", work / "signed/other.manifest.json")
        shutil.copytree(work, works.path / "work")
        works.run(f"python3 /fleet/fleet kmodkeep package --format rpm --maintainer '{MAINTAINER}' --log /work/log --out /work/rpms /work/signed")
        yield works.path / "work"


@pytest.fixture(name="asked")
def fixture_asked(host, packages):
    """A host that takes itself for a machine, and has the packages in /work."""
    shutil.copytree(packages, host.path / "work")
    host.use("flightrec", "dkms")
    host.replace("/usr/bin/systemd-detect-virt", "exit 1")
    return host


def variable(host, name, content, guid):
    path = host.path / f"sys/firmware/efi/efivars/{name}-{guid}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def install(host, there):
    """dnf installs the packages; fail unless the modules are there afterwards, or are not."""
    (kernel,) = host.kernels()
    host.dnf("install --nogpgcheck /work/rpms/*.rpm")
    assert bool(host.package(f"{NAME}-{kernel}")) == there, host.said
    found = host.module("filename", kernel)
    assert ("/updates/prebuilt/" in found) == there and found, host.said
    return kernel


def test_without_secure_boot_any_signer_is_taken(asked):
    kernel = install(asked, True)
    assert asked.module("signer", kernel) == "fleet" and asked.package(NAME)
    asked.dnf(f"remove {NAME} {NAME}-{kernel}")
    assert "/extra/" in asked.module("filename", kernel), asked.said


def test_a_signer_whom_the_host_does_not_trust_is_refused(asked):
    variable(asked, "SecureBoot", b"\x06\0\0\0\x01", GLOBAL)
    kernel = install(asked, False)
    assert re.search(rf"{NAME}-{re.escape(kernel)} is not installed, since its kernel would not load flightrec\.ko: untrusted-key: .*fleet",
                     asked.said), asked.said  # fmt: skip
    assert asked.module("signer", kernel).startswith("kmodkeep ")
    # Enrolled, it is taken.
    variable(asked, "MokListRT", siglist((asked.path / "work/cert.der").read_bytes()), SHIM)
    install(asked, True)
    assert "could not be told" not in asked.said


def test_an_image_trusts_whom_it_likes(asked):
    variable(asked, "SecureBoot", b"\x06\0\0\0\x01", GLOBAL)
    asked.put_back("/usr/bin/systemd-detect-virt")
    install(asked, True)


LINKS = ["file", "package", "manifest", "builders", "source", "log", "signatures"]


def verify(host, kernel):
    """(exit code, link -> verdict, all that was said)."""
    done = host.run(f"kmodkeep fleet verify --kernel {kernel} --cert /work/cert.der --log /work/log flightrec", check=False)
    found = dict(re.findall(r"^  (\w+): (\w+): ", done.stdout, re.M))
    assert list(found) == LINKS, done.stdout
    return done.returncode, found, done.stdout


def test_a_module_is_followed_back_to_its_sources(asked):
    asked.dnf("install kmodkeep-fleet")
    kernel = install(asked, True)
    code, found, said = verify(asked, kernel)
    assert code == 0 and set(found.values()) == {"ok"}, said
    assert f"package: ok: {NAME}-{kernel}\n" in said
    # One that dkms has built comes from no package.
    asked.dnf(f"remove {NAME} {NAME}-{kernel}")
    code, found, said = verify(asked, kernel)
    assert code == 3 and found["package"] == "missing", said
