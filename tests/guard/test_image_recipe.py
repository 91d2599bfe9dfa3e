# SPDX-License-Identifier: GPL-2.0-or-later
"""The recipe of docs/fleet.md for an image: a real mmdebstrap, Debian's own signed kernel, a prebuilt driver, a certificate."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from fleet.kmodkeep_fleet import module
from tests.fleet.standins import FLEET, MAINTAINER
from tests.lib import apt
from tests.lib.kernels import build_modules, kernel
from tests.qemu import variables
from tests.secureboot import cells
from tests.unit.kmodkeep import test_varstore
from tests.unit.kmodkeep.build import build
from tests.unit.kmodkeep.host import PROGRAM, TOP

SUITE = "bookworm"
SIGNER = "ring@test.example"


def recipe():
    """The commands of the document, as one script."""
    text = (TOP / "docs/fleet.md").read_text("utf-8")
    return re.search(r"((?:^    .*\n)*^    mmdebstrap --include(?:.*\n    )*.*\n)", text, re.M)[1]


class Factory:
    """A folder in which images are made: /srv of the recipe."""

    def __init__(self, path, tools):
        self.path = path
        build()
        programs = path / "bin"
        programs.mkdir()
        (programs / "kmodkeep").symlink_to(PROGRAM)
        (programs / "virt-fw-vars").symlink_to(tools / "virt-fw-vars")
        self.env = {**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "GNUPGHOME": str(path / "gpg")}
        self.key = cells.make_key(path, "good")

    def run(self, *command, check=True):
        done = subprocess.run(command, env=self.env, cwd=self.path, capture_output=True, text=True, timeout=2400)
        assert not check or done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
        return done

    def build_folder(self):
        """What "fleet build", "manifest sign" and "join" leave."""
        target, folder = kernel("6.1"), self.path / "signed"
        (package,) = apt.download(SUITE, [f"linux-image-{target.release}"]).glob("*.deb")
        version = self.run("dpkg-deb", "-f", package, "Version").stdout.strip()
        folder.mkdir()
        modules = []
        for file in build_modules("6.1", TOP / "src").glob("flightrec*.ko"):
            shutil.copy(file, folder)
            self.run("strip", "--strip-debug", folder / file.name)
            data = (folder / file.name).read_bytes()
            (folder / file.name).write_bytes(cells.appended(data, cells.cms(data, [self.key])))
            said = module.describe(data)
            modules.append({"file": file.name, **{name: said[name] for name in ("name", "vermagic", "srcversion")},
                            "size": len(data), "sha256": hashlib.sha256(data).hexdigest()})  # fmt: skip
        (folder / "manifest.json").write_text(json.dumps({
            "schema": 1, "kernel": target.release, "kernel_package": f"linux-image-{target.release}", "kernel_package_version": version,
            "signature_hash": "sha256", "compiler": "gcc", "pahole": None, "builder": "one", "driver": "flightrec", "driver_version": "1.0",
            "architecture": "amd64", "modules": modules,
        }))  # fmt: skip
        return folder

    def repository(self):
        """A ring with the driver's packages, and a stand-in of kmodkeep, which the image has no use for here."""
        self.run(*FLEET, "package", "--maintainer", MAINTAINER, "--out", "debs", self.build_folder())
        top = self.path / "keeper/DEBIAN"
        top.mkdir(parents=True)
        (top / "control").write_text("Package: kmodkeep\nVersion: 99\nArchitecture: all\nMaintainer: T <t@t.example>\nDescription: x\n")
        self.run("dpkg-deb", "-b", "keeper", "debs/kmodkeep_99_all.deb")
        (self.path / "gpg").mkdir(mode=0o700)
        self.run("gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key", SIGNER, "ed25519", "sign")
        self.run("gpg", "--export", "--output", "ring.gpg")
        (self.path / "ring.gpg").chmod(0o644)
        self.run(*FLEET, "publish", "--repository", "apt", "--ring", "all", "--key", SIGNER, *sorted((self.path / "debs").iterdir()))
        ring = f"deb [signed-by={self.path}/ring.gpg] copy:{self.path}/apt all main\n"
        (self.path / "sources.list").write_text(apt.sources_list(SUITE) + ring)

    def make(self, *replacements):
        """Follow the recipe."""
        options = "".join(f" --aptopt='{line}'" for line in apt.acquire_options())
        # What is in the initramfs does not count here, and takes long.
        small = "--essential-hook='mkdir -p \"$1/etc/initramfs-tools/conf.d\"; echo MODULES=list >\"$1/etc/initramfs-tools/conf.d/small\"'"
        text = recipe().replace("mmdebstrap ", f"mmdebstrap --mode=root --dpkgopt=force-unsafe-io{options} {small} ").replace("/srv/", f"{self.path}/")
        for one in replacements:
            text = text.replace(*one)
        return self.run("sh", "-euc", text, check=False)


tool = test_varstore.tool


@pytest.fixture(name="factory", scope="module")
def fixture_factory(tool):
    # apt reads the ring as a user of its own, whom pytest's folders are not for.
    with tempfile.TemporaryDirectory(prefix="factory-") as path:
        Path(path).chmod(0o755)
        factory = Factory(Path(path), tool)
        factory.repository()
        yield factory
        subprocess.run(["gpgconf", "--homedir", f"{path}/gpg", "--kill", "all"], check=True)


def test_an_image_is_made_whose_machines_load_the_driver(factory):
    (factory.path / "fleet.der").write_bytes(factory.key.der)
    done = factory.make()
    assert done.returncode == 0 and ": flightrec: ok: " in done.stdout + done.stderr, (done.stdout + done.stderr)[-4000:]
    names = factory.run("tar", "--list", "--file", "image.tar").stdout
    release = kernel("6.1").release
    assert f"/lib/modules/{release}/updates/prebuilt/flightrec.ko\n" in names and f"./boot/initrd.img-{release}\n" in names
    assert factory.key.der in variables.certificates(factory.path / "vars.fd", "MokList")
    # The file says the same.
    said = factory.run(factory.path / "bin/kmodkeep", "doctor", "--image", "image.tar", "--cert", "fleet.der", "--module", "flightrec")
    assert ": flightrec: ok: " in said.stdout


def test_no_image_is_made_whose_machines_would_refuse_it(factory):
    """The same system, from the folder: how it was made does not count."""
    stranger = cells.make_key(factory.path, "unknown")
    (factory.path / "fleet.der").write_bytes(stranger.der)
    (factory.path / "whole").mkdir()
    factory.run("tar", "--extract", "--file", "image.tar", "--directory", "whole", "--exclude=./dev/*")
    (factory.path / "image.tar").unlink()
    done = factory.make((" --include=linux-image-amd64,flightrec-modules", f" --variant=custom --setup-hook='cp -a {factory.path}/whole/. \"$1\"'"))
    said = done.stdout + done.stderr
    assert done.returncode and "flightrec: untrusted-key: " in said, said[-4000:]
    assert not (factory.path / "image.tar").exists()
