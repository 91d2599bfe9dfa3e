# SPDX-License-Identifier: GPL-2.0-or-later
"""The root in which RPM packages, repositories and systems are made.

A Debian 13 root with rpm, dnf and createrepo-c from Debian's archive, the only
source of packages there is.  What comes out are RPM mechanics on Debian payload:
nothing here is a Fedora or a RHEL.
"""

from tests.lib import apt
from tests.lib.cache import cached, digest, progress
from tests.lib.clone import ThrowAwayRoot
from tests.lib.roots import mmdebstrap

SUITE = "trixie"

PACKAGES = """
    apt-utils build-essential bzip2 ca-certificates cpio createrepo-c
    debian-archive-keyring diffutils dnf dpkg-dev file gnupg kmod libefivar-dev
    libjson-c-dev libkeyutils-dev libkmod-dev liblzma-dev libssl-dev libsystemd-dev
    liblzo2-dev libpcre2-dev libsnappy-dev libzstd-dev openssl patch pkg-config python3 python3-virt-firmware rpm
    rpmlint systemd systemd-dev
    xz-utils zlib1g-dev zstd
""".split()

NO_DOCUMENTS = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]

RECIPE = 1  # raise it when the root must be made anew though its packages are the same


def sources(suite):
    """The sources.list of SUITE, with its source packages."""
    text = apt.sources_list(suite)
    return text + text.replace("deb ", "deb-src ")


def root():
    """The builder's root directory, made now if need be.  Never write to it."""
    return make_root(SUITE, PACKAGES)


def make_root(suite, packages):
    """A root of SUITE with PACKAGES, from the cache or made now.  Never write to it."""
    return cached("roots", f"rpm-{suite}-{digest(RECIPE, packages)}",
                  lambda target: _build(suite, packages, target))


class Builder(ThrowAwayRoot):
    """A throw-away copy of the builder's root."""

    def __init__(self):
        super().__init__(root(), "rpm-builder")


def _build(suite, packages, target):
    with progress(f"RPM: {suite} root with {len(packages)} packages (1 to 2 minutes)"):
        mmdebstrap(suite, packages, target, *NO_DOCUMENTS, sources=sources(suite))
