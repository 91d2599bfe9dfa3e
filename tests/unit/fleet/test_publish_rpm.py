# SPDX-License-Identifier: GPL-2.0-or-later
"""Rings of RPM packages, where programs stand for rpm and createrepo_c; tests/rpm/test_rings.py has the real ones.

A package is a text here: what rpm would say of it.
"""

import os

import pytest

from tests.unit.fleet.hosts import fleet

PROGRAMS = {
    "rpm": 'for file; do :; done; cat "$file"',
    "rpmsign": "exit 0",
    "gpg": 'for file; do :; done; echo signed >"$file.asc"',
    "createrepo_c": """for top; do :; done
mkdir "$top/repodata"
ls "$top" >"$top/list"
name=$(sha256sum <"$top/list" | cut -c 1-64)-primary.xml
mv "$top/list" "$top/repodata/$name"
echo "<location href=\\"repodata/$name\\"/>" >"$top/repodata/repomd.xml\"""",
}


class Publisher:
    """Publishes packages; has the rings in `rings`."""

    def __init__(self, path):
        self.path, self.rings = path, path / "repository/rings"
        (path / "bin").mkdir()
        for name, text in PROGRAMS.items():
            (path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (path / "bin" / name).chmod(0o755)

    def package(self, name, digest="1234"):
        file = self.path / f"{name}.rpm"
        file.write_text(f"{name}\n1-1\nx86_64\n{digest}\n")
        return file

    def publish(self, ring, *words, form="rpm", code=0):
        done = fleet("publish", "--format", form, "--repository", self.path / "repository", "--ring", ring, "--key", "ours", *words,
                     env={**os.environ, "PATH": f"{self.path}/bin:{os.environ['PATH']}"})  # fmt: skip
        assert done.returncode == code, done.stderr
        return done.stderr

    def has(self, ring):
        return sorted(path.name.split("-")[0] for path in (self.rings / ring).glob("*.rpm"))

    def indexed(self, ring):
        """What each index in RING names, the one that is in force last."""
        top = self.rings / ring / "repodata"
        now = (top / "repomd.xml").read_text()
        found = sorted(top.glob("*-primary.xml"), key=lambda path: path.name in now)
        return [sorted(line.split("-")[0] for line in path.read_text().splitlines() if line.endswith(".rpm")) for path in found]


@pytest.fixture(name="publisher")
def fixture_publisher(tmp_path):
    return Publisher(tmp_path)


def test_a_reader_of_the_index_before_finds_its_packages(publisher):
    """A promotion may take packages out of a ring; of these no index in force names one."""
    publisher.publish("all", publisher.package("gone"), publisher.package("kept"))
    publisher.publish("canary", publisher.package("kept"), publisher.package("new"))
    publisher.publish("all", "--from", "canary")
    assert publisher.indexed("all") == [["gone", "kept"], ["kept", "new"]]
    assert publisher.has("all") == ["gone", "kept", "new"]
    publisher.publish("other", "--from", "all")
    assert publisher.has("other") == ["kept", "new"]
    publisher.publish("all")
    assert publisher.has("all") == ["kept", "new"]


def test_the_wrong_format_at_first_is_no_format(publisher):
    """The default is deb: what has published nothing must not be in the way."""
    file = publisher.package("one")
    assert "is no Debian package" in publisher.publish("all", file, form="deb", code=2)
    publisher.publish("all", file)
    assert publisher.has("all") == ["one"]
    assert "rings of the other format" in publisher.publish("all", form="deb", code=2)


def test_what_cannot_be_compared_is_not_the_same(publisher):
    publisher.publish("all", publisher.package("same"), publisher.package("old", digest="(none)"))
    publisher.publish("all", publisher.package("same"))
    assert "no digest to compare" in publisher.publish("all", publisher.package("old", digest="(none)"), code=2)
    assert "builders that disagree" in publisher.publish("all", publisher.package("same", digest="5678"), code=2)
