# SPDX-License-Identifier: GPL-2.0-or-later
"""Our packages in several versions, in the repositories that the guest gets."""

import contextlib
import functools
import importlib.util
import re
import shutil
import tempfile
from importlib.machinery import SourceFileLoader
from pathlib import Path

from tests.rpm import builder, ccache, payload, repo
from tests.rpm.convert import rpmbuild

TOP = Path(__file__).resolve().parents[2]

VERSION = re.search(r'^PACKAGE_VERSION="(.*)"$', (TOP / "dkms.conf").read_text("utf-8"), re.M)[1]

# What packages have as version and release, which together are a version to dkms:
# ours; then of the driver one that does not know the newer kernel, one that builds
# for none, and its successor.
FIRST, SECOND, UNREADY, BROKEN, FIXED = (f"{VERSION}-{release}" for release in range(1, 6))

ERROR = '#error "as if a kernel had changed its interfaces"\n'
SOURCE = {
    UNREADY: "#include <linux/version.h>\n#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 0, 0)\n"
             f"{ERROR}#endif\n",
    BROKEN: ERROR,
    FIXED: "",
}

# What dkms builds most often in tests, and the repository that has it.
BUILT_OFTEN = {
    (FIRST, payload.KERNELS[0], ccache.STAGE): "flightrec",
    (FIRST, payload.KERNELS[1], ccache.TREE): "flightrec",
    (SECOND, payload.KERNELS[0], ccache.STAGE): "release2",
    (UNREADY, payload.KERNELS[0], ccache.STAGE): "unready",
}

# A kernel that is only a file, for what dnf does when there are too many.
DUMMY_KERNEL = """\
Name: kernel-core
Version: %{dummy}
Release: 1
Summary: A file where a kernel would be
License: GPL-2.0-only
AutoReqProv: no
Provides: installonlypkg(kernel)
%description
%{summary}.
%install
install -d %{buildroot}/usr/lib/modules/%{version}-dummy
echo none >%{buildroot}/usr/lib/modules/%{version}-dummy/vmlinuz
%files
/usr/lib/modules/%{version}-dummy
"""
DUMMIES = ("98", "99")


@functools.cache
def build_packages():
    """rpm/build-packages, as a module."""
    loader = SourceFileLoader("build_packages", str(TOP / "rpm/build-packages"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(loader.name, loader))
    loader.exec_module(module)
    return module


def ours(into):
    """{repository: our packages in it}; they are put below the directory INTO."""
    build = build_packages().build
    result = {
        "flightrec": build(TOP, into / "rpm-1"),
        "release2": build(TOP, into / "rpm-2", "2"),
    }
    for name, full in (("unready", UNREADY), ("broken", BROKEN), ("fixed", FIXED)):
        tree = _copy(into / f"tree-{name}")
        with open(tree / "src/main.c", "a", encoding="utf-8") as source:
            source.write(SOURCE[full])
        release = full.removeprefix(f"{VERSION}-")
        result[name] = build(tree, into / f"rpm-{name}", release, ("--without", "compiled"))
    return result


def _copy(tree):
    """A copy of the sources, at TREE."""
    for name in build_packages().source_files(TOP):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, tree / name)
    return tree


@contextlib.contextmanager
def repositories(into):
    """A directory with the signed repositories: ours, dkms, and newer kernels.

    Scratch files go below the directory INTO.
    """
    content = ours(into)
    content["dkms"] = [rpm for name in ("dkms", "libs")
                       for rpm in sorted(payload.directory(name).glob("*.rpm"))]
    content["updates"] = sorted(payload.directory(f"kernel-{payload.KERNELS[1]}").glob("*.rpm"))
    with builder.Builder() as clone:
        for version in DUMMIES:
            content[f"dummy{version}"] = _dummy_kernel(clone, version)
        tree = repo.write(clone, content)
        ccache.add(tree, _sources(), {
            what: next(rpm for rpm in content[name] if rpm.name.startswith("flightrec-dkms"))
            for what, name in BUILT_OFTEN.items()})
        yield tree


def compile_ahead():
    """Make what repositories() takes from ccache's directory, where it is not there yet."""
    if not ccache.ready(_sources(), BUILT_OFTEN):
        with tempfile.TemporaryDirectory(prefix="rpm-trees-") as into, repositories(Path(into)):
            pass


def _sources():
    """The content of all files that the driver is compiled from, in all versions."""
    names = [name for name in build_packages().source_files(TOP)
             if name == "dkms.conf" or name.startswith("src/")]
    return [SOURCE[UNREADY], *[(TOP / name).read_bytes() for name in sorted(names)]]


def _dummy_kernel(clone, version):
    (clone.path / "dummy.spec").write_text(DUMMY_KERNEL, encoding="ascii")
    top = f"/build/dummy{version}"
    rpms = rpmbuild(clone, "/dummy.spec", {"_topdir": top, "dummy": version})
    return sorted(rpms.rglob("*.rpm"))


def disk(directory):
    """A disk in DIRECTORY with the signed repositories."""
    with tempfile.TemporaryDirectory(prefix="rpm-trees-") as into, \
            repositories(Path(into)) as tree:
        return write_disk(directory, tree)


def write_disk(directory, tree):
    """A disk in DIRECTORY with the repositories in the directory TREE."""
    return repo.write_disk(directory / "packages.img", tree)
