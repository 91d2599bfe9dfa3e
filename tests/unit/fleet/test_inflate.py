# SPDX-License-Identifier: GPL-2.0-or-later
"""Compressed modules come out of somebody's build: they neither fill the memory nor end the builder."""

import gzip
import subprocess

import pytest

from fleet.kmodkeep_fleet import build


def zstd(data):
    return subprocess.run(["zstd", "-qc", "--zstd=wlog=16"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize(("name", "pack"), [("a.ko.zst", zstd), ("a.ko.gz", gzip.compress)])
def test_what_is_whole(name, pack):
    assert build.inflate(name, pack(b"module" * 1000)) == ("a.ko", b"module" * 1000)


def test_zeros_without_end(monkeypatch):
    monkeypatch.setattr(build, "FILE_MAX", 1 << 20)
    with pytest.raises(build.Failed, match="more came out of the build"):
        build.inflate("a.ko.zst", zstd(bytes(8 << 20)))


@pytest.mark.parametrize(("name", "data"), [
    ("a.ko.gz", gzip.compress(bytes(range(256)) * 9)[:10] + b"\xff" * 50),
    ("a.ko.zst", b"(\xb5/\xfd" + b"\xff" * 50),
    ("a.ko.xz", b"\xfd7zXZ\0" + b"\xff" * 50),
])  # fmt: skip
def test_what_is_damaged(name, data):
    with pytest.raises(build.Failed, match="cannot be decompressed"):
        build.inflate(name, data)
