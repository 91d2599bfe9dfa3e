# SPDX-License-Identifier: GPL-2.0-or-later
"""Signed apt repositories on a disk for a guest, so that it needs no network.

Three of them: the packages under test, what of the distribution they need, and the
distribution's newer kernel from backports.  The distribution's packages are its
own, unmodified files; only the index is made here, because the full one takes an
emulated apt minutes to read.

Each disk's indexes are signed with a key made for it, which is gone when the disk is
made.  The guest has to be told to trust it, as an administrator would do it.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lib import apt
from tests.lib.cache import cache_dir, cached, digest, progress
from tests.qemu import image
from tests.qemu.esp import MIB, SUITE, run

BACKPORTS = f"{SUITE}-backports"
KERNEL_PACKAGES = ("linux-image-amd64", "linux-headers-amd64")

MOUNT_POINT = "/srv/packages"  # where the guest finds the disk
KEYRING = "archive.gpg"

# As in the Debian archive: backports are taken only when they are asked for.
RELEASES = {
    "flightrec": {"Suite": "stable", "Codename": "stable", "Label": "flightrec"},
    "debian": {"Suite": SUITE, "Codename": SUITE, "Label": "Debian"},
    "backports": {"Suite": BACKPORTS, "Codename": BACKPORTS, "Label": "Debian Backports",
                  "NotAutomatic": "yes", "ButAutomaticUpgrades": "yes"},
}


def write_disk(disk, debs, more=None):
    """Make DISK, a file system with the repositories; DEBS are the packages under test.

    MORE are further directories of packages, {name: files}, that are no repositories.
    """
    with tempfile.TemporaryDirectory(prefix="repo-") as temporary:
        tree = Path(temporary)
        contents = {"flightrec": debs, "debian": dependencies(debs), "backports": newer_kernel()}
        for name, packages in contents.items():
            (tree / name).mkdir()
            for deb in packages:
                shutil.copy(deb, tree / name)
        sign(tree)
        for name, packages in (more or {}).items():
            (tree / name).mkdir()
            for deb in packages:
                shutil.copy(deb, tree / name)
        tree.chmod(0o755)
        size = sum(path.stat().st_size for path in tree.rglob("*")) // MIB + 32
        run("mkfs.ext4", "-q", "-F", "-L", "packages", "-m", "0", "-d", tree, disk, f"{size}M")
    return disk


def guest_sources(*names):
    """A shell command for the guest: make the repositories NAMES apt's only sources."""
    keyring = f"/etc/apt/keyrings/{KEYRING}"
    commands = ["set -e", f"mkdir -p {MOUNT_POINT} /etc/apt/keyrings",
                f"mountpoint -q {MOUNT_POINT} || mount -o ro LABEL=packages {MOUNT_POINT}",
                f"cp {MOUNT_POINT}/{KEYRING} {keyring}"]
    for name in names:
        line = f"deb [signed-by={keyring}] file:{MOUNT_POINT}/{name} ./"
        commands.append(f"echo '{line}' >/etc/apt/sources.list.d/{name}.list")
    return "\n".join(commands)


def dependencies(debs):
    """The packages of the distribution that installing DEBS on the image takes."""
    wanted = [Path(deb).absolute() for deb in debs]
    needs = [run("dpkg-deb", "--field", deb, "Depends", "Pre-Depends", "Recommends")
             for deb in wanted]
    name = f"{SUITE}-{digest(image.base_image().name, needs)}"
    return _fetched(name, [*wanted])


def newer_kernel():
    """The kernel of backports with its headers, and what they need beyond the image.

    Not what they recommend: apparmor only makes an emulated boot longer.
    """
    name = f"{BACKPORTS}-{digest(image.base_image().name)}"
    return _fetched(name, ["-t", BACKPORTS, "--no-install-recommends", *KERNEL_PACKAGES])


def _fetched(name, arguments):
    """The cached packages that `apt-get install ARGUMENTS` would fetch on the image."""
    def fetch(directory):
        apt.update(SUITE)
        (directory / "partial").mkdir(parents=True)
        with progress(f"download packages: {name}"):
            _apt_get(directory, ["--download-only", "install", *arguments])
        (directory / "partial").rmdir()

    return sorted(cached("repository", name, fetch).glob("*.deb"))


def _apt_get(archives, arguments):
    """Run apt-get as if on the image, with the package lists of its suite."""
    state = cache_dir("apt", SUITE)
    settings = {
        "Dir::Etc::sourcelist": state / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::preferences": "-",
        "Dir::Etc::preferencesparts": "-",
        "Dir::State::lists": state / "lists",
        "Dir::State::status": image.base_image() / "status",
        "Dir::State::extended_states": "/dev/null",
        "Dir::Cache": state,
        "Dir::Cache::archives": archives,
        "APT::Architecture": "amd64",
        "APT::Sandbox::User": "root",  # the cache may be closed to user _apt
        "Debug::NoLocking": "1",  # nothing is installed, least of all here
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    run("apt-get", "-q", "-y", *options, *arguments)


def sign(tree):
    """Index the repositories in TREE and sign the indexes with a key made for it."""
    for name, fields in RELEASES.items():
        with contextlib.chdir(tree / name):
            Path("Packages").write_bytes(run("apt-ftparchive", "packages", "."))
            options = [f"-oAPT::FTPArchive::Release::{k}={v}" for k, v in fields.items()]
            Path("Release").write_bytes(run("apt-ftparchive", *options, "release", "."))
    with tempfile.TemporaryDirectory(prefix="gpg-") as home:
        os.chmod(home, 0o700)
        gpg = ["gpg", "--homedir", home, "--batch", "--quiet"]
        run(*gpg, "--passphrase", "", "--quick-generate-key",
            "Test archive <archive@test.example>", "ed25519", "sign", "1d")
        run(*gpg, "--export", "--output", tree / KEYRING)
        for name in RELEASES:
            run(*gpg, "--clearsign", "--output", tree / name / "InRelease",
                tree / name / "Release")
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "all"], check=True)
