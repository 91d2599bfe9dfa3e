# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes out of somebody's build, archive and compressed modules, neither fills the memory nor ends the builder."""

import gzip
import io
import subprocess
import tarfile

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
    ("a.ko.gz", gzip.compress(bytes(range(256)) * 9, mtime=0)[:10] + b"\xff" * 50),
    ("a.ko.zst", b"(\xb5/\xfd" + b"\xff" * 50),
    ("a.ko.xz", b"\xfd7zXZ\0" + b"\xff" * 50),
])  # fmt: skip
def test_what_is_damaged(name, data):
    with pytest.raises(build.Failed, match="cannot be decompressed"):
        build.inflate(name, data)


def test_a_file_with_holes(tmp_path):
    with open(tmp_path / "a.ko", "wb") as file:
        file.truncate(200 << 20)
    data = subprocess.run(["tar", "--sparse", "-cf", "-", "a.ko"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert len(data) < 1 << 20
    with pytest.raises(build.Failed, match="'a.ko' came out of the build"):
        build.unpack(data)


def test_an_archive_that_is_damaged():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo("a.ko")
        info.size = 1024
        info.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
        archive.addfile(info, io.BytesIO(b"x\n" * 512))
    with pytest.raises(build.Failed, match="is damaged"):
        build.unpack(out.getvalue())
