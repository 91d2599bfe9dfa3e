# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver's kernel-doc comments, by the kernel's own script: each is whole."""

import subprocess
from pathlib import Path

import pytest

from tests.lib import roots

SRC = Path(__file__).parents[2] / "src"
FILES = sorted(path.relative_to(SRC).as_posix() for path in SRC.rglob("*.[ch]") if "/**" in path.read_text())


def complaints(*files):
    """What the script says of FILES; the one of 6.12, which is a program by itself."""
    (script,) = roots.root("trixie").glob("usr/lib/linux-kbuild-6.12*/scripts/kernel-doc")
    done = subprocess.run(["perl", script, "-none", "-Wall", *files], capture_output=True,
                          text=True, check=False, timeout=60)  # fmt: skip
    assert "Argument unknown" not in done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("file", FILES)
def test_comments_are_whole(file):
    assert not complaints(SRC / file)


def test_a_missing_one_is_found(tmp_path):
    text = (SRC / "ring.h").read_text()
    line = " * @writer: flightrec_ring_writer() of the CPU that this runs on; interrupts are off\n"
    assert text.count(line) == 1
    broken = tmp_path / "ring.h"
    broken.write_text(text.replace(line, ""))
    assert "'writer' not described in 'flightrec_ring_append'" in complaints(broken)
