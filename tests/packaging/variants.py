# SPDX-License-Identifier: GPL-2.0-or-later
"""The packages that the tests install: those of this tree, and later versions of them.

A later version is this tree with another number, and broken where a test wants
it broken.  The driver's package is really built from it; the compiled packages
are those of this tree under the new number, since nothing in them differs.
"""

import functools
import importlib.machinery
import importlib.util
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.lib import roots
from tests.lib.cache import cached, digest, progress

TOP = Path(__file__).parents[2]

VERSION = re.search(r'^PACKAGE_VERSION="(.*)"', (TOP / "dkms.conf").read_text(), re.M)[1]
NEXT = re.sub(r"\d+$", lambda last: str(int(last[0]) + 1), VERSION)

# For the machine that looks after hosts, and for who writes programs: no host has them.
ELSEWHERE = {"kmodkeep-fleet", "golang-flightrec-dev", "librust-flightrec-dev"}

# What stands at the top of the driver's main.c in a version that does not build ...
EVERYWHERE = "#error broken by the test\n"  # ... at all
NOT_ON_6_12 = (  # ... from kernel 6.12 on
    "#include <linux/version.h>\n"
    "#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)\n#error broken by the test\n#endif\n"
)


def _build_packages():
    """debian/build-packages as a module."""
    path = TOP / "debian/build-packages"
    loader = importlib.machinery.SourceFileLoader("build_packages", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


build_packages = _build_packages()


@functools.cache
def all_packages(suite):
    """The packages of this tree for SUITE: name -> .deb file."""
    debs = [
        *build_packages.built(TOP, build_packages.SOURCE_SUITE, "all"),
        *build_packages.built(TOP, suite, "any"),
    ]
    return {deb.name.split("_")[0]: deb for deb in debs}


def packages(suite):
    """Those that hosts have."""
    return {name: deb for name, deb in all_packages(suite).items() if name not in ELSEWHERE}


@functools.cache
def program_for_tests(suite):
    """kmodkeep for SUITE that takes a folder for the running system where it is marked so."""
    files = build_packages.source_files(TOP, "any")

    def make(directory):
        directory.mkdir()
        with progress(f"{suite}: build kmodkeep for tests"), roots.Clone(suite) as clone:
            for name in files:
                (clone.path / "build" / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(TOP / name, clone.path / "build" / name)
            clone.run("dpkg-checkbuilddeps || apt-get -qy build-dep .", cwd="/build")
            clone.run(["make", "-j2", "-C", "/build/kmodkeep", "BUILDDIR=/build/out",
                       "CPPFLAGS=-DKMODKEEP_TESTING", "CFLAGS=-O0"])  # fmt: skip
            shutil.copy2(clone.path / "build/out/kmodkeep", directory)

    key = digest(roots.root(suite).name, *[(name, (TOP / name).read_bytes()) for name in files])
    return cached("packages", f"{suite}-for-tests-{key}", make) / "kmodkeep"


@functools.cache
def later(suite, breakage="", version=NEXT):
    """The packages of VERSION for SUITE, with BREAKAGE in the driver: name -> .deb file."""
    renumbered = {name: _renumbered(deb, version) for name, deb in packages(suite).items()
                  if name != "flightrec-dkms"}  # fmt: skip
    return {"flightrec-dkms": driver(breakage, version), **renumbered}


@functools.cache
def driver(breakage, version):
    """The package flightrec-dkms of VERSION, with BREAKAGE in the driver."""
    with tempfile.TemporaryDirectory() as directory:
        tree = Path(directory)
        edited_tree(tree, version, breakage)
        return build_packages.built(tree, build_packages.SOURCE_SUITE, "all")[0]


def edited_tree(tree, version, breakage="", in_changelog=None):
    """Fill the directory TREE with this tree as VERSION, with BREAKAGE in the driver."""
    for name in build_packages.source_files(TOP, "all"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, tree / name)
    subprocess.run(["git", "init", "--quiet", tree], check=True)
    _edit(tree / "dkms.conf", f'PACKAGE_VERSION="{VERSION}"', f'PACKAGE_VERSION="{version}"')
    _edit(tree / "debian/changelog", f"({VERSION})", f"({in_changelog or version})")
    main = tree / "src/main.c"
    main.write_text(breakage + main.read_text())


def _edit(path, old, new):
    text = path.read_text()
    assert text.count(old) == 1, f"{path}: {old} stands there {text.count(old)} times"
    path.write_text(text.replace(old, new))


def _renumbered(deb, version):
    """The package DEB under the number VERSION."""

    def make(directory):
        directory.mkdir()
        with tempfile.TemporaryDirectory() as content:
            subprocess.run(["dpkg-deb", "-R", deb, content], check=True)
            control = Path(content, "DEBIAN/control")
            _edit(control, f"\nVersion: {VERSION}\n", f"\nVersion: {version}\n")
            # libflightrec-dev and its library go together.
            control.write_text(control.read_text().replace(f"(= {VERSION})", f"(= {version})"))
            name = deb.name.replace(f"_{VERSION}_", f"_{version}_")
            subprocess.run(["dpkg-deb", "-b", content, directory / name], check=True,
                           stdout=subprocess.DEVNULL)  # fmt: skip

    key = digest(deb.read_bytes(), version)
    return next(cached("packages", f"renumbered-{deb.name.split('_')[0]}-{key}", make).iterdir())
