# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep built under sanitizers; a host in a folder, keys and modules."""

import os
import shutil
import subprocess

import pytest

from tests.unit.kmodkeep.build import build
from tests.unit.kmodkeep.host import KERNEL, Pair, Tree


@pytest.fixture(scope="session", autouse=True)
def built():
    """The program and the C tests; their parts are rebuilt when they changed."""
    build()


@pytest.fixture(autouse=True)
def small_keys(monkeypatch):
    """Keys of half the size, which take a tenth of the time to make; with FULL=1 as hosts have them."""
    if not os.environ.get("FULL"):
        monkeypatch.setenv("KMODKEEP_TEST_KEY_BITS", "1024")


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path / "host")


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    return Pair(tmp_path_factory.mktemp("pair"), "one")


@pytest.fixture(scope="session")
def other_pair(tmp_path_factory):
    return Pair(tmp_path_factory.mktemp("pair"), "other", usage="codeSigning")


@pytest.fixture(scope="session")
def plain_module(tmp_path_factory):
    """An unsigned module for KERNEL, without a kernel: an ELF file with its names."""
    directory = tmp_path_factory.mktemp("module")
    source = directory / "sample.c"
    entries = ["name=sample", "version=1.2", "srcversion=ABC", f"vermagic={KERNEL} SMP "]
    lines = [
        f'static const char entry{n}[] __attribute__((section(".modinfo"), used, aligned(1)))'
        f' = "{entry}";'
        for n, entry in enumerate(entries)
    ]
    source.write_text("\n".join([*lines, "int init_module(void) { return 0; }", ""]))
    subprocess.run(["gcc", "-c", source, "-o", directory / "sample.ko"], check=True)
    return directory / "sample.ko"


PACKERS = {
    "": None,
    ".gz": ["gzip", "-n"],
    ".xz": ["xz"],
    ".zst": ["zstd", "-q", "--rm"],
}


@pytest.fixture(params=PACKERS)
def module(request, plain_module, tmp_path):
    """A copy of the module, in each compression."""
    copy = tmp_path / "sample.ko"
    shutil.copy(plain_module, copy)
    if PACKERS[request.param]:
        subprocess.run([*PACKERS[request.param], copy], check=True)
    return tmp_path / f"sample.ko{request.param}"
