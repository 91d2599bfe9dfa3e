# SPDX-License-Identifier: GPL-2.0-or-later
"""promtool, unpacked and not installed: the package that has it would start a server."""

import subprocess

from tests.lib.apt import download
from tests.lib.cache import cached

SUITE = "bookworm"


def promtool():
    """The path of the program; it is fetched once."""

    def unpack(path):
        (package,) = download(SUITE, ["prometheus"]).glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", package, path], check=True)

    return cached("promtool", SUITE, unpack) / "usr/bin/promtool"
