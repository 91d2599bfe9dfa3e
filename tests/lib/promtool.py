# SPDX-License-Identifier: GPL-2.0-or-later
"""Prometheus's programs, unpacked and not installed: their packages would start servers."""

import subprocess

from tests.lib.apt import download
from tests.lib.cache import cached

SUITE = "bookworm"


def program(package, name):
    """The path of the program NAME of PACKAGE; it is fetched once."""

    def unpack(path):
        (deb,) = download(SUITE, [package]).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", deb, path], check=True)

    return cached("promtool", f"{SUITE}-{package}", unpack) / "usr/bin" / name


def promtool():
    return program("prometheus", "promtool")
