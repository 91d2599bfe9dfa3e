# SPDX-License-Identifier: GPL-2.0-or-later
"""Signed dnf repositories, on a disk for a guest or in a directory.

The key is made for each set of repositories and is gone when they are made. Who
uses them has to be told to trust it, as an administrator would do it.
"""

import shutil
from pathlib import Path

from tests.qemu.esp import MIB, run

MAKE_REPOSITORY = Path(__file__).resolve().parents[2] / "rpm/make-repository"

KEY = "RPM-GPG-KEY-test"
MOUNT_POINT = "/srv/packages"  # where the guest finds the disk
SIGNER = "Test repository <repository@test.example>"


def write(clone, repositories):
    """Make REPOSITORIES, {name: files}, signed, in the Builder CLONE; the directory with them."""
    tree = clone.path / "srv/packages"
    tree.mkdir(parents=True, exist_ok=True)
    for name, files in repositories.items():
        (tree / name).mkdir()
        for rpm in files:
            shutil.copy(rpm, tree / name)
    make_key(clone)
    shutil.copy(MAKE_REPOSITORY, clone.path / "srv")
    for name in repositories:
        clone.run(["/srv/make-repository", SIGNER, f"/srv/packages/{name}"])
    clone.run(f"gpg --batch --armor --export >/srv/packages/{KEY}")
    return tree


def make_key(clone):
    """Give root in CLONE a key to sign packages and repositories with."""
    clone.run(["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key",
               SIGNER, "rsa2048", "sign", "1d"])
    # For those who sign a spoilt repository by hand.
    (clone.path / "root/.rpmmacros").write_text(
        f"%_gpg_name {SIGNER}\n%_openpgp_sign gpg\n", encoding="ascii")


def write_disk(disk, tree):
    """Make DISK, a file system with the repositories in the directory TREE."""
    size = sum(path.stat().st_size for path in Path(tree).rglob("*")) // MIB + 32
    run("mkfs.ext4", "-q", "-F", "-L", "packages", "-m", "0", "-d", tree, disk, f"{size}M")
    return disk


def definition(name, where=MOUNT_POINT, **settings):
    """The text of a .repo file for the repository NAME, everything checked."""
    values = {"name": name, "baseurl": f"file://{where}/{name}", "gpgcheck": 1,
              "repo_gpgcheck": 1, "gpgkey": f"file://{where}/{KEY}", **settings}
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in values.items())
