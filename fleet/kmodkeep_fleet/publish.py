# SPDX-License-Identifier: GPL-2.0-or-later
"""A signed apt repository with rings: hosts of a later ring get the very files of an earlier one.

    pool/FILE.deb         added, never changed
    dists/RING            a link to the folder of one publication; its replacement is the publication
    .published/           those folders: the list of files, indices, by-hash, InRelease

A reader sees the old publication or the new one, wherever a run was ended.  What is in between
goes at the next run.  apt-ftparchive makes the indices, gpg signs.
"""

import email.utils
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from . import build, cache, module, package
from .states import Usage, plain

RING = re.compile(r"[a-z][a-z0-9-]{0,30}")
DEB = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]*\.deb")
KEPT = 2  # publications of a ring: hosts that have begun to read the one before can end it


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def call(*command, **more):
    done = subprocess.run(command, capture_output=True, **more)
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["nothing was said"]
        raise OSError(0, f"{command[0]} failed: {last[0]}")
    return done.stdout


class Repository:
    """A folder that hosts read, and one process at a time writes."""

    def __init__(self, top, key):
        self.top = Path(top)
        self.key = key
        for name in ("pool", "dists", ".published"):
            (self.top / name).mkdir(parents=True, exist_ok=True)
        # Who can open it can hold it.
        self._lock = os.open(self.top / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Usage(f"{top}: somebody else publishes there. Next: wait for it") from None

    def current(self, ring):
        """The folder that RING shows, or None."""
        link = self.top / "dists" / ring
        return self.top / ".published" / Path(os.readlink(link)).name if link.is_symlink() else None

    def files(self, ring):
        """The names of the files of RING."""
        folder = self.current(ring)
        if not folder:
            raise Usage(f"{self.top}: has no ring '{ring}'")
        return (folder / "files").read_text(encoding="utf-8").split()

    def admit(self, deb):
        """DEB into the pool; its name there."""
        what = package.fields(deb)
        name = f"{what['Package']}_{what['Version'].split(':')[-1]}_{what['Architecture']}.deb"
        if not DEB.fullmatch(name):
            raise Usage(f"{deb}: its control file does not make a plain name")
        target = self.top / "pool" / name
        if target.exists():
            if sha256(target) != sha256(deb):
                raise Usage(f"{deb}: another file of the same version was published, and builders that disagree are not "
                            "admitted. Next: compare both; then package it with a higher --revision")  # fmt: skip
            return name
        if what["Kmodkeep-Kernel-Release"]:
            self.check_modules(deb, what)
        partial = target.with_name(f".partial-{name}")
        shutil.copyfile(deb, partial)
        flush(partial)
        partial.rename(target)
        return name

    @staticmethod
    def check_modules(deb, what):
        """Its modules are for the kernel of its name, and for no other."""
        release, found = what["Kmodkeep-Kernel-Release"], 0
        with tempfile.TemporaryDirectory(prefix="kmodkeep-publish-") as directory:
            package.extract(deb, directory)
            for path in sorted(Path(directory).rglob("*.ko*")):
                if path.is_dir() and not path.is_symlink():
                    continue
                try:
                    if path.is_symlink() or not path.is_file():
                        raise ValueError("is no file")  # /dev/zero has no end, a FIFO none to wait for
                    _, data = build.inflate(path.name, path.read_bytes())
                    wrong = package.other_kernel(path.name, data.removesuffix(module.TRAILER), release)
                except (ValueError, build.Failed) as error:
                    wrong = f"{path.name}: {error}"
                if not wrong and path.relative_to(directory).parts[:3] != ("lib", "modules", release):
                    wrong = f"{path.name} lies in the folder of another kernel"
                if wrong:
                    raise Usage(f"{deb}: {plain(wrong)}. Next: build it for that kernel")
                found += 1
        if not found or not what["Package"].endswith(f"-modules-{release.lower()}") or f"linux-image-{release} (= " not in what["Depends"]:
            raise Usage(f"{deb}: is not the package of modules for kernel {plain(release)} that it says it is. Next: kmodkeep fleet package")

    def check(self, names):
        """A metapackage is published with what it needs, or not at all."""
        every = [package.fields(self.top / "pool" / name) for name in names]
        there = {(one["Package"], one["Version"]) for one in every}
        for one in every:
            if not one["Kmodkeep-Kernel-Metas"]:
                continue
            needed = re.match(r"(\S+) \(= ([^)]+)\)", one["Depends"])
            if not needed or needed.groups() not in there:
                raise Usage(f"{one['Package']} {one['Version']} needs {one['Depends'].split(',')[0]}, which is not in the ring. "
                            "Next: publish both together")  # fmt: skip

    def publish(self, ring, names, days):
        """RING shows the files NAMES from now on."""
        self.check(names)
        before = self.current(ring)
        self._remove_rubbish(ring)
        now = int(time.time())
        if before and now <= number(before):
            if number(before) > now + 60:
                raise Usage(f"{self.top}: '{ring}' was published later than this machine's clock says, and hosts take no older "
                            "index. Next: set the clock")  # fmt: skip
            now = number(before) + 1
        folder = self.top / ".published" / f"{ring}-{now}"
        partial = folder.with_name(f".partial-{folder.name}")
        partial.mkdir()
        (partial / "files").write_text("".join(f"{name}\n" for name in sorted(names)), encoding="utf-8")
        for architecture, text in sorted(self._indices(names).items()):
            index = partial / f"main/binary-{architecture}"
            index.mkdir(parents=True)
            (index / "Packages").write_bytes(text)
            call("xz", "-k", index / "Packages")
        self._release(partial, ring, now, days)
        if before:
            # Of hosts that have read the old InRelease, and not yet its indices.
            for index in before.glob("main/*/Packages*"):
                by_hash = partial / index.parent.relative_to(before) / "by-hash/SHA256"
                if by_hash.is_dir():
                    shutil.copyfile(index, by_hash / sha256(index))
        for path in partial.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
            flush(path)
        partial.chmod(0o755)
        partial.rename(folder)
        # What the link leads to is on the disk before it.
        flush(folder.parent)
        flush(self.top / "pool")
        link = self.top / "dists" / f".partial-{ring}"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../.published/{folder.name}")
        link.rename(self.top / "dists" / ring)
        flush(self.top / "dists")

    def _indices(self, names):
        """architecture -> the text of Packages, of the files NAMES alone."""
        with tempfile.TemporaryDirectory(prefix="kmodkeep-publish-") as directory:
            pool = Path(directory, "pool")
            pool.mkdir()
            for name in names:
                (pool / name).symlink_to((self.top / "pool" / name).resolve())
            text = call("apt-ftparchive", "packages", "pool", cwd=directory).decode("utf-8")
        found = {}
        for part in text.split("\n\n"):
            if part.strip():
                architecture = re.search(r"^Architecture: (\S+)$", part, re.M)[1]
                found.setdefault(architecture, []).append(part.strip("\n"))
        every = found.pop("all", [])
        found = found or {"amd64": []}
        return {name: ("\n\n".join(parts + every) + "\n").encode() for name, parts in found.items()}

    def _release(self, folder, ring, now, days):
        hashes = []
        for index in sorted(folder.glob("main/*/Packages*")):
            digest = sha256(index)
            hashes.append(f" {digest} {index.stat().st_size} {index.relative_to(folder)}")
            by_hash = index.parent / "by-hash/SHA256" / digest
            by_hash.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(index, by_hash)
        architectures = sorted(path.name.removeprefix("binary-") for path in (folder / "main").iterdir())
        text = "\n".join([
            "Origin: kmodkeep", f"Suite: {ring}", f"Codename: {ring}",
            f"Date: {email.utils.formatdate(now, usegmt=True)}",
            f"Valid-Until: {email.utils.formatdate(now + days * 86400, usegmt=True)}",
            f"Architectures: {' '.join(architectures)}", "Components: main", "Acquire-By-Hash: yes", "SHA256:", *hashes,
        ])  # fmt: skip
        signed = call("gpg", "--batch", "--no-tty", "--local-user", self.key, "--digest-algo", "SHA512", "--clearsign",
                     input=f"{text}\n".encode())  # fmt: skip
        (folder / "InRelease").write_bytes(signed)

    def _remove_rubbish(self, ring):
        """What runs that were ended have left, and publications that nobody reads any more."""
        for rubbish in [*self.top.glob(".published/.partial-*"), *self.top.glob("pool/.partial-*")]:
            cache.remove(rubbish)
        current = self.current(ring)
        mine = [path for path in self.top.glob(".published/*") if re.fullmatch(rf"{re.escape(ring)}-[0-9]+", path.name)]
        known = sorted((path for path in mine if current and number(path) <= number(current)), key=number)
        for path in mine:
            if path not in known[-KEPT:] and path != current:
                cache.remove(path)


def number(folder):
    """When a publication was made, since 1970: the end of its folder's name."""
    return int(folder.name.rsplit("-", 1)[1])


def flush(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


# ---- the verb


def add_options(parser):
    parser.add_argument("--repository", metavar="DIR", required=True, help="that hosts read")
    parser.add_argument("--ring", metavar="RING", required=True, help="what the hosts' sources call a suite")
    parser.add_argument("--key", metavar="KEY", required=True, help="of gpg, which signs: a fingerprint")
    parser.add_argument("--from", metavar="RING", dest="origin", help="promote: show the files of that ring")
    parser.add_argument("--valid-days", metavar="N", type=int, default=14,
                        help="after that hosts refuse it, unless it was published anew (default: 14)")  # fmt: skip
    parser.add_argument("debs", metavar="DEB", nargs="*", help="added to the ring; none: it is signed anew")


def run(options):
    for ring in (options.ring, options.origin or options.ring):
        if not RING.fullmatch(ring):
            raise Usage(f"'{ring}' is no name of a ring: small letters, digits and '-'")
    if options.origin and options.debs:
        raise Usage("--from shows the files of a ring and takes no others")
    if not 1 <= options.valid_days <= 365:
        raise Usage("--valid-days: 1 to 365")
    os.umask(0o022)  # who reads it is somebody else, whatever root's mask is
    repository = Repository(options.repository, options.key)
    if options.origin:
        names = set(repository.files(options.origin))
    else:
        names = set(repository.files(options.ring)) if repository.current(options.ring) else set()
        names |= {repository.admit(deb) for deb in options.debs}
    repository.publish(options.ring, names, options.valid_days)
    print(f"{options.ring}: {len(names)} packages, valid for {options.valid_days} days")
    return 0
