# SPDX-License-Identifier: GPL-2.0-or-later
"""Prometheus's programs, unpacked and not installed: their packages would start servers."""

import subprocess

from tests.lib.apt import download
from tests.lib.cache import cached

SUITE = "bookworm"


def package(name):
    """The .deb file of a package; it is fetched once."""
    (deb,) = download(SUITE, [name]).glob("*.deb")
    return deb


def program(of, name):
    """The path of the program NAME of the package OF; it is unpacked once."""

    def unpack(path):
        subprocess.run(["dpkg-deb", "-x", package(of), path], check=True)

    return cached("promtool", f"{SUITE}-{of}", unpack) / "usr/bin" / name


def promtool():
    return program("prometheus", "promtool")
