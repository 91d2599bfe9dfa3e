# SPDX-License-Identifier: GPL-2.0-or-later
"""Cached root directories of each Debian suite: compilers, headers, dkms.

    python3 -m tests.lib.roots [--fresh] SUITE...     build them now

A root is made once by mmdebstrap and then only read.  Whoever wants to change
something takes a clone, which has all that :mod:`tests.lib.clone` says::

    with Clone("bookworm") as clone:
        shutil.copy(deb, clone.path / "tmp")
        clone.run(["apt-get", "install", "-y", "./tmp/flightrec.deb"])

Its kernel headers are the newest that the suite has when the root is made, so
what a root has decides which release a kernel name stands for (see
:mod:`tests.lib.kernels`).
"""

import argparse
import concurrent.futures
import os
import re
import subprocess

from tests.lib import apt
from tests.lib.cache import cache_dir, cached, digest, progress, remove
from tests.lib.clone import ThrowAwayRoot

# suite -> the kernels whose headers it has
HEADERS = {
    "bullseye": ["5.10"],
    "bookworm": ["6.1", "6.12"],  # 6.12 from backports: what an upgrade goes to
    "trixie": ["6.12", "7.3"],  # 7.3 from backports
    "sid": ["7.2"],
}

COMMON = """
    acl adduser apt-utils build-essential ca-certificates debconf
    debian-archive-keyring debhelper diffutils dkms fakeroot file kmod
    libcmocka-dev libefivar-dev libjson-c-dev libkeyutils-dev libkmod-dev
    libssl-dev libsystemd-dev linux-headers-amd64 mokutil openssl pkg-config
    sparse systemd udev xz-utils zstd
""".split()

EXTRA = {
    "bullseye": [],  # its dkms has dh_dkms
    "bookworm": ["dh-dkms", "lintian"],
    "trixie": ["dh-dkms"],
    "sid": ["dh-dkms", "lintian"],
}

RECIPE = 1  # raise it when a root must be made anew though its packages are the same


def root(suite):
    """The root directory of SUITE, made now if need be.  Never write to it."""
    packages = COMMON + EXTRA[suite]
    key = digest(RECIPE, sorted(packages), HEADERS[suite], apt.SUITES[suite])
    return cached("roots", f"{suite}-{key}", lambda path: _build(suite, packages, path))


class Clone(ThrowAwayRoot):
    """A throw-away copy of the root of SUITE."""

    def __init__(self, suite):
        super().__init__(root(suite), suite)
        self.suite = suite


def release(suite, kernel):
    """The newest release of KERNEL ("6.1") of which the root of SUITE has headers."""
    names = [p.name for p in (root(suite) / "usr/src").iterdir()]
    return newest_release(kernel, names)


def newest_release(kernel, names):
    """The newest release of KERNEL among the NAMES of linux-headers packages.

    Only the plain amd64 flavour: not rt, not cloud, not the common part.
    """
    series = re.escape(kernel)
    wanted = re.compile(rf"linux-headers-({series}\.[0-9][^-]*(?:-[0-9]+)?-amd64)")
    releases = [m[1] for m in map(wanted.fullmatch, names) if m]
    if not releases:
        raise LookupError(f"no headers of kernel {kernel} in this suite")
    return max(releases, key=lambda r: [int(n) for n in re.findall(r"\d+", r)])


def _build(suite, packages, target):
    """Make the root of SUITE at TARGET."""
    apt.update(suite)
    names = apt.package_names(suite, "linux-headers-")
    headers = [f"linux-headers-{newest_release(k, names)}" for k in HEADERS[suite]]
    with progress(f"{suite}: root with {', '.join(headers)}"):
        mmdebstrap(suite, packages + headers, target)


def mmdebstrap(suite, packages, target, *options, variant="apt", sources=None):
    """Make a root of SUITE with PACKAGES at TARGET, with mmdebstrap's OPTIONS.

    SOURCES is the text of a sources.list, where the suite's own is not enough.
    """
    if os.geteuid() != 0:
        raise PermissionError("making suite roots needs root (it mounts and changes root)")
    log = cache_dir("logs") / f"root-{target.name.removeprefix('.partial-')}.log"
    command = [
        "mmdebstrap",
        "--mode=root",
        f"--variant={variant}",
        "--dpkgopt=force-unsafe-io",  # a cache: speed counts, not a power cut
        "--skip=cleanup/apt/lists",  # so that clones can install more
        f"--include={','.join(packages)}",
        *options,
        *[f"--aptopt={line}" for line in apt.acquire_options()],
        suite,
        str(target),
        "-",
    ]
    with open(log, "wb") as out:
        done = subprocess.run(
            command, input=(sources or apt.sources_list(suite)).encode(), stdout=out, stderr=out
        )
    if done.returncode:
        remove(target)
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
        raise RuntimeError(f"mmdebstrap {suite} failed, see {log}:\n{tail}")


def build(suites):
    """Make the roots of SUITES, two at a time: each keeps less than one CPU busy."""
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        return dict(zip(suites, pool.map(root, suites)))


def main():
    """The command line: make the roots of the suites named."""
    parser = argparse.ArgumentParser(description="Build the cached suite roots.")
    parser.add_argument("--fresh", action="store_true", help="forget the old ones first")
    parser.add_argument("suites", nargs="*", default=list(HEADERS), metavar="SUITE")
    options = parser.parse_args()
    if options.fresh:
        for suite in options.suites:
            for old in cache_dir("roots").glob(f"{suite}-*"):
                remove(old)
    for suite, path in build(options.suites).items():
        print(f"{suite}: {path}")


if __name__ == "__main__":
    main()
