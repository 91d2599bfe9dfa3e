# SPDX-License-Identifier: GPL-2.0-only
"""Our packages in several versions, in the repositories that the guest gets."""

import contextlib
import functools
import importlib.util
import shutil
import tempfile
from importlib.machinery import SourceFileLoader
from pathlib import Path

from tests.rpm import builder, payload, repo

TOP = Path(__file__).resolve().parents[2]

BROKEN = '\n#error "as if a kernel had changed its interfaces"\n'


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
    broken = version_of(into / "tree-broken", "0.2.0")
    with open(broken / "src/main.c", "a", encoding="utf-8") as source:
        source.write(BROKEN)
    fixed = version_of(into / "tree-fixed", "0.3.0")
    return {
        "flightrec": build(TOP, into / "rpm-1"),
        "release2": build(TOP, into / "rpm-2", "2"),
        "broken": build(broken, into / "rpm-broken"),
        "fixed": build(fixed, into / "rpm-fixed"),
    }


def version_of(tree, version):
    """A copy of the sources, at TREE, that calls itself VERSION."""
    for name in build_packages().source_files(TOP):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / name, tree / name)
    for name, old, new in (("dkms.conf", 'VERSION="0.1.0"', f'VERSION="{version}"'),
                           ("rpm/flightrec.spec", "Version: 0.1.0", f"Version: {version}")):
        text = (tree / name).read_text(encoding="utf-8")
        assert old in text, f"{name} has no {old}"
        (tree / name).write_text(text.replace(old, new), encoding="utf-8")
    return tree


@contextlib.contextmanager
def repositories(into):
    """A directory with the signed repositories: ours, dkms, and newer kernels.

    Scratch files go below the directory INTO.
    """
    content = ours(into)
    content["dkms"] = sorted(payload.directory("dkms").glob("*.rpm"))
    content["updates"] = sorted(payload.directory(f"kernel-{payload.KERNELS[1]}").glob("*.rpm"))
    with builder.Builder() as clone:
        yield repo.write(clone, content)


def disk(directory):
    """A disk in DIRECTORY with the signed repositories."""
    with tempfile.TemporaryDirectory(prefix="rpm-trees-") as into, \
            repositories(Path(into)) as tree:
        return repo.write_disk(directory / "packages.img", tree)
