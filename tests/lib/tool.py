# SPDX-License-Identifier: GPL-2.0-or-later
"""flightrec(1) of this tree, for guests."""

import subprocess
from pathlib import Path

from tests.lib.initramfs import libraries

TOP = Path(__file__).parents[2]


def build_flightrec(directory):
    """Build the program in DIRECTORY, with the library in it; its path."""
    make = ["make", "-s", "-C", TOP / "tools", f"BUILDDIR={directory}", "LIBFLIGHTREC=static"]
    subprocess.run(make, check=True)
    return Path(directory, "flightrec")


def flightrec_tool(directory):
    """The files that an initramfs needs to have the program, as initramfs.build() takes them."""
    program = build_flightrec(directory)
    return {"bin/flightrec": program, **{str(path): path for path in libraries(program)}}
