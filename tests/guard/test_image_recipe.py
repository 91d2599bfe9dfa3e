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
from tests.secureboot import cells
from tests.unit.kmodkeep.build import build
from tests.unit.kmodkeep.host import PROGRAM, TOP

SUITE = "bookworm"
SIGNER = "ring@test.example"


def recipe():
    """mmdebstrap's command of the document; for the other, about the variable store, there is test_varstore.py."""
    text = (TOP / "docs/fleet.md").read_text("utf-8")
    return re.search(r"^    mmdebstrap --include.*\\\n.*\\\n.*\n", text, re.M)[0]


class Factory:
    """A folder in which images are made: /srv of the recipe."""

    def __init__(self, path):
        self.path = path
        build()
        programs = path / "bin"
        programs.mkdir()
        (programs / "kmodkeep").symlink_to(PROGRAM)
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


@pytest.fixture(name="factory")
def fixture_factory():
    # apt reads the ring as a user of its own, whom pytest's folders are not for.
    with tempfile.TemporaryDirectory(prefix="factory-") as path:
        Path(path).chmod(0o755)
        factory = Factory(Path(path))
        (factory.path / "fleet.der").write_bytes(factory.key.der)
        yield factory
        if (factory.path / "gpg").exists():
            subprocess.run(["gpgconf", "--homedir", f"{path}/gpg", "--kill", "all"], check=True)


def test_an_image_is_made_whose_machines_load_the_driver(factory):
    factory.repository()
    done = factory.make()
    assert done.returncode == 0 and ": flightrec: ok: " in done.stdout + done.stderr, (done.stdout + done.stderr)[-4000:]
    assert (factory.path / "image.tar").stat().st_size > 1 << 27


def test_the_build_of_an_image_ends_with_an_error_where_it_cannot_be_told(factory):
    """What doctor says of others: tests/unit/kmodkeep/test_image.py."""
    (factory.path / "sources.list").write_text(apt.sources_list(SUITE))
    done = factory.make((" --include=linux-image-amd64,flightrec-modules", " --variant=custom"))
    said = done.stdout + done.stderr
    assert done.returncode and "has no kernel with a boot image" in said, said[-4000:]
