# SPDX-License-Identifier: GPL-2.0-or-later
"""Has make build what the tests run."""

import subprocess

from tests.lib.cache import digest, locked
from tests.unit.kmodkeep.host import HERE, TOP


def build(target="all"):
    """Make TARGET; of its parts those that changed. One process at a time does so in this tree."""
    with locked(f"unit-kmodkeep-{digest(TOP)}"):
        done = subprocess.run(["make", "-j2", "-C", HERE, target], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout + done.stderr
