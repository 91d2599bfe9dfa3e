# SPDX-License-Identifier: GPL-2.0-or-later
"""A signed repository with rings, of apt or dnf: hosts of a later ring get the very files of an earlier one.

    pool/FILE             added, never changed; rpmsign signs an RPM package before
    dists/RING            a link to the folder of one publication; its replacement is the publication
    .published/           those folders: the list of files, and indices, by-hash, InRelease for apt

Of dnf it is rings/RING, which is a repository: packages (the same files, by hard links), repodata.

A reader sees the old publication or the new one, wherever a run was ended.  What is in between
goes at the next run.  apt-ftparchive or createrepo_c makes the indices, gpg signs.
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

from . import build, cache, module, package, rpm
from .states import Usage, plain

RING = re.compile(r"[a-z][a-z0-9-]{0,30}")
DEB = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~_-]*\.deb")
RPM = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+~^_-]*\.rpm")
NEEDED = "apt-utils, gpg and xz-utils; with --format rpm: createrepo-c, gpg, rpm and cpio"
KEPT = 2  # publications of a ring: hosts that have begun to read the one before can end it


def sha256(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def call(*command, **more):
    try:
        done = subprocess.run(command, capture_output=True, **more)
    except FileNotFoundError:
        raise Usage(f"no {command[0]} here. Next: install the package that has it ({NEEDED})") from None
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:] or ["nothing was said"]
        raise OSError(0, f"{command[0]} failed: {last[0]}")
    return done.stdout


class Repository:
    """A folder that hosts read, and one process at a time writes; of apt."""

    SHOWN = "dists"  # where the rings are
    OTHERS = "rings"

    def __init__(self, top, key):
        self.top = Path(top)
        self.key = key
        self.top.mkdir(parents=True, exist_ok=True)
        # Who can open it can hold it.
        self._lock = os.open(self.top / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Usage(f"{top}: somebody else publishes there. Next: wait for it") from None
        # An empty folder is of a run that published nothing, as with the wrong --format.
        if any((self.top / self.OTHERS).glob("*")):
            raise Usage(f"{top}: has rings of the other format. Next: another --repository, or the other --format")
        for name in ("pool", self.SHOWN, ".published"):
            (self.top / name).mkdir(exist_ok=True)

    def current(self, ring):
        """The folder that RING shows, or None."""
        link = self.top / self.SHOWN / ring
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
                raise Usage(DISAGREE.format(deb))
            return name
        if what["Kmodkeep-Kernel-Release"]:
            self.check_modules(deb, what)
        self._copy(deb, target)
        return name

    @staticmethod
    def _copy(file, target, prepare=None):
        """FILE to TARGET in the pool, in one step; PREPARE is called with the copy first."""
        partial = target.with_name(f".partial-{target.name}")
        shutil.copyfile(file, partial)
        if prepare:
            prepare(partial)
        flush(partial)
        partial.rename(target)

    @staticmethod
    def check_modules(deb, what):
        """Its modules are for the kernel of its name, and for no other."""
        release = what["Kmodkeep-Kernel-Release"]
        found = modules_of(deb, package.extract, ("lib", "modules", release), release)
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
        self._write(partial, before, names, ring, now, days)
        for path in partial.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
            flush(path)
        partial.chmod(0o755)
        partial.rename(folder)
        # What the link leads to is on the disk before it.
        flush(folder.parent)
        flush(self.top / "pool")
        link = self.top / self.SHOWN / f".partial-{ring}"
        link.unlink(missing_ok=True)
        link.symlink_to(f"../.published/{folder.name}")
        link.rename(self.top / self.SHOWN / ring)
        flush(self.top / self.SHOWN)

    def _write(self, partial, before, names, ring, now, days):
        """What a publication has, into its folder PARTIAL; BEFORE is that of the one before, or None."""
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


class RpmRepository(Repository):
    """The same of dnf, which knows no end of an index's validity."""

    SHOWN = "rings"
    OTHERS = "dists"

    def admit(self, file):
        """The package FILE, signed, into the pool; its name there."""
        what = RpmPackage(file)
        name = f"{what.name}-{what.version.split(':')[-1]}.{what.architecture}.rpm"
        if not RPM.fullmatch(name):
            raise Usage(f"{file}: its header does not make a plain name")
        target = self.top / "pool" / name
        if target.exists():
            # Signed, it has other bytes; its header has the digest of all that it brings, if rpm 4.14 or a later one made it.
            if what.digest == "(none)":
                raise Usage(f"{file}: its version was published, and it has no digest to compare. Next: make it with a higher release")
            if RpmPackage(target).digest != what.digest:
                raise Usage(DISAGREE.format(file))
            return name
        what.check_modules()
        self._copy(file, target, lambda partial: call("rpmsign", "--define", f"_gpg_name {self.key}", "--define", "_openpgp_sign gpg",
                                                      "--addsign", partial))  # fmt: skip
        return name

    def check(self, names):
        every = [RpmPackage(self.top / "pool" / name) for name in names]
        for one in every:
            for name, version in one.requires("kmod-") if one.holds else ():
                if not any(its.name == name and rpm.later(its.version, version) >= 0 for its in every):
                    raise Usage(f"{one.name} {one.version} needs {name} {version}, which is not in the ring. Next: publish both together")

    def _write(self, partial, before, names, ring, now, days):
        for name in sorted(names):
            # The same file, so that no ring can have others.
            os.link(self.top / "pool" / name, partial / name)
        call("createrepo_c", "--quiet", "--general-compress-type=gz", "--revision", str(now), "--set-timestamp-to-revision", partial)
        index = partial / "repodata/repomd.xml"
        call("gpg", "--batch", "--no-tty", "--local-user", self.key, "--digest-algo", "SHA512", "--armor", "--detach-sign", index)
        if before:
            # Of hosts that have read the old repomd.xml, and not yet what it names; names have their digests.
            named = (before / "repodata/repomd.xml").read_text(encoding="utf-8")
            for file in (before / "repodata").iterdir():
                if f'"repodata/{file.name}"' in named and not (partial / "repodata" / file.name).exists():
                    shutil.copyfile(file, partial / "repodata" / file.name)
            # And packages that the ring has no more, which no index names now.
            for name in (before / "files").read_text(encoding="utf-8").split():
                if name not in names:
                    os.link(before / name, partial / name)


class RpmPackage:
    """What an RPM package says of itself."""

    QUERY = ("%{NAME}\n%{EVR}\n%{ARCH}\n%{SHA256HEADER}\n[requires %{REQUIRENAME} %{REQUIREVERSION}\n]"
             "[provides %{PROVIDENAME}\n][file %{FILENAMES}\n]")  # fmt: skip
    VERSION = re.compile(r"[A-Za-z0-9._+~^:-]+")
    OURS = re.compile(rf"file /usr/lib/modules/([^/]+)/{rpm.FOLDER}/")

    def __init__(self, file):
        self.file = file
        # Who has signed it is for hosts to know.
        done = rpm.call("rpm", "-qp", "--nosignature", "--qf", self.QUERY, file)
        lines = done.stdout.split("\n")
        if done.returncode or len(lines) < 5 or not self.VERSION.fullmatch(lines[1]):
            raise Usage(f"{file}: is no RPM package")
        self.name, self.version, self.architecture, self.digest, *self._lines = lines
        # It lets a kernel wait.
        self.holds = any(one.startswith("provides kmodkeep-hold(") for one in self._lines)

    def requires(self, start):
        """[(name, version)] of what it needs in some version, and whose name begins with START."""
        found = [one.split(" ")[1:] for one in self._lines if one.startswith(f"requires {start}")]
        return [(one[0], one[1]) for one in found if len(one) == 2 and self.VERSION.fullmatch(one[1])]

    def check_modules(self):
        """Its modules, if it is one of "package", are for the kernel of its name, and for no other."""
        for release in {found[1] for found in map(self.OURS.match, self._lines) if found}:
            modules_of(self.file, extract_rpm, ("usr", "lib", "modules", release), release)
            if not self.name.endswith(f"-{release}") or not any(name.startswith("kernel") for name, _ in self.requires("kernel")):
                raise Usage(f"{self.file}: is not the package of modules for kernel {plain(release)} that it says it is. Next: kmodkeep fleet package")


DISAGREE = ("{}: another file of the same version was published, and builders that disagree are not "
            "admitted. Next: compare both; then package it with a higher --revision")  # fmt: skip


def extract_rpm(file, into):
    """The files of an RPM package, below the folder INTO."""
    call("cpio", "-id", "--quiet", "--no-absolute-filenames", cwd=into, input=call("rpm2cpio", Path(file).resolve()))


def modules_of(file, extract, folder, release):
    """How many modules the package FILE has; all of them have to be for kernel RELEASE, below FOLDER."""
    found = 0
    with tempfile.TemporaryDirectory(prefix="kmodkeep-publish-") as directory:
        extract(file, directory)
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
            if not wrong and path.relative_to(directory).parts[: len(folder)] != folder:
                wrong = f"{path.name} lies in the folder of another kernel"
            if wrong:
                raise Usage(f"{file}: {plain(wrong)}. Next: build it for that kernel")
            found += 1
    return found


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
    parser.add_argument("--format", choices=("deb", "rpm"), default="deb", help="of the packages (default: deb)")
    parser.add_argument("--valid-days", metavar="N", type=int,
                        help="after that hosts refuse it, unless it was published anew (default: 14); dnf knows no such thing")  # fmt: skip
    parser.add_argument("packages", metavar="PACKAGE", nargs="*", help="files, added to the ring; none: it is signed anew")


def run(options):
    for ring in (options.ring, options.origin or options.ring):
        if not RING.fullmatch(ring):
            raise Usage(f"'{ring}' is no name of a ring: small letters, digits and '-'")
    if options.origin and options.packages:
        raise Usage("--from shows the files of a ring and takes no others")
    if options.format == "rpm" and options.valid_days is not None:
        raise Usage("--valid-days: dnf takes an index of any age")
    days = 14 if options.valid_days is None else options.valid_days
    if not 1 <= days <= 365:
        raise Usage("--valid-days: 1 to 365")
    os.umask(0o022)  # who reads it is somebody else, whatever root's mask is
    repository = {"deb": Repository, "rpm": RpmRepository}[options.format](options.repository, options.key)
    if options.origin:
        names = set(repository.files(options.origin))
    else:
        names = set(repository.files(options.ring)) if repository.current(options.ring) else set()
        names |= {repository.admit(file) for file in options.packages}
    repository.publish(options.ring, names, days)
    print(f"{options.ring}: {len(names)} packages" + (f", valid for {days} days" if options.format == "deb" else ""))
    return 0
