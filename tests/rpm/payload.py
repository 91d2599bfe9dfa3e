# SPDX-License-Identifier: GPL-2.0-or-later
"""The RPM packages of the test system: converted from Debian's, and four of its own.

Its own are a release package, which also does what maintainer scripts would have
done; kernels in the shape of Fedora's; and dkms from its upstream source with the
make target for Red Hat systems, since Debian's dkms has Debian's kernel hooks.
"""

import functools
import re
import shutil
from pathlib import Path

from tests.lib import apt
from tests.lib.cache import cached, digest, progress
from tests.rpm import builder, convert, kernelpkg
from tests.rpm.convert import BUILD_DEFINES, FILES, keep, rpmbuild

# The system: systemd, dnf and rpm, dracut, a compiler. No kernel, no dkms.
SYSTEM = """
    acl base-files base-passwd bash bsdutils ccache coreutils cpio dash dbus debianutils
    diffutils dnf dracut-core e2fsprogs file findutils gawk gcc gcc-14 gpg gpg-agent
    gpgconf grep grub2-common gzip hostname kmod libc-bin libc6-dev libefivar1t64 libjson-c5
    libkeyutils1 libelf1t64 login.defs make mokutil mount ncurses-base openssl pahole
    passwd patch procps psmisc rpm sed systemd systemd-sysv tar udev util-linux
    xz-utils zstd
""".split()

# What our packages need beyond it, for dnf to find in a repository.
LIBS = ["liblzo2-2", "libsnappy1v5"]

KERNELS = ("6.12", "7.3")  # what the system has, and what it is updated to


def directory(name):
    """The directory with the RPM packages NAME: "os", "release", "dkms", "kernel-6.12"..."""
    if name == "os":
        return _cached(name, SYSTEM, _make_os)
    if name == "release":
        return _cached(name, _files(), _make_release)
    if name == "libs":
        return _cached(name, LIBS, _make_libs)
    if name == "dkms":
        return _cached(name, (FILES / "dkms.spec").read_bytes(), _make_dkms)
    recipe = [Path(kernelpkg.__file__).read_bytes(), (FILES / "kernel.spec").read_bytes()]
    return _cached(name, recipe, functools.partial(kernelpkg.make, name.removeprefix("kernel-")))


def _files():
    return [path.read_bytes() for path in sorted(FILES.rglob("*")) if path.is_file()]


def _cached(name, what, make):
    return cached("rpm", f"{name}-{digest(Path(convert.__file__).read_bytes(), what)}", make)


def _make_os(target):
    with builder.Builder() as clone:
        with progress("RPM payload: download Debian packages"):
            debs = _download(clone, ["install", *SYSTEM])
        with progress(f"RPM payload: convert {len(debs)} packages"):
            keep(convert.convert(clone, debs), target)


def _make_libs(target):
    debs = apt.download(builder.SUITE, LIBS)
    with progress("RPM payload: libraries"), builder.Builder() as clone:
        keep(convert.convert(clone, sorted(debs.iterdir())), target)


def _download(clone, arguments):
    """The .deb files that `apt-get ARGUMENTS` takes on a machine that has nothing."""
    (clone.path / "debs/partial").mkdir(parents=True)
    (clone.path / "debs/status").write_text("", encoding="ascii")
    clone.run(["apt-get", "-q", "update"])
    clone.run(["apt-get", "-qy", "--download-only", "--no-install-recommends",
               "-o", "Dir::State::status=/debs/status", "-o", "Dir::Cache::archives=/debs",
               "-o", "APT::Sandbox::User=root", "-o", "Debug::NoLocking=1", *arguments])
    return sorted((clone.path / "debs").glob("*.deb"))


def _make_release(target):
    with progress("RPM payload: release package"), builder.Builder() as clone:
        shutil.copytree(FILES, clone.path / "convert/release")
        rpms = rpmbuild(clone, "/convert/release/release.spec",
                        {**_plain_defines(), "_sourcedir": "/convert/release"})
        keep(rpms, target)


def _plain_defines():
    """Definitions for packages that are built in the normal way."""
    return {key: value for key, value in BUILD_DEFINES.items()
            if key not in ("__spec_install_pre", "_fileattrsdir")}


def _make_dkms(target):
    with progress("RPM payload: dkms from its upstream source"), builder.Builder() as clone:
        (clone.path / "convert").mkdir()
        clone.run(["apt-get", "-q", "update"])
        clone.run(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "source",
                   "--download-only", "--tar-only", "dkms"], cwd="/convert")
        tarball = next((clone.path / "convert").glob("dkms_*.orig.tar.*"))
        version = re.search(r"_([0-9.]+)\.orig", tarball.name)[1]
        shutil.copy(FILES / "dkms.spec", clone.path / "convert")
        rpms = rpmbuild(clone, "/convert/dkms.spec",
                        {**_plain_defines(), "_sourcedir": "/convert",
                         "dkms_version": version, "tarball": tarball.name})
        keep(rpms, target)


def names(files):
    """The names of the packages in the directory FILES."""
    return sorted(path.name.rsplit("-", 2)[0] for path in files.glob("*.rpm"))
