# SPDX-License-Identifier: GPL-2.0-or-later
"""Directories for what several tests of a run share."""

import atexit
import tempfile
from pathlib import Path


def scratch(prefix):
    """A new directory whose name begins with PREFIX; it is gone when the run ends."""
    directory = tempfile.TemporaryDirectory(prefix=prefix)
    atexit.register(directory.cleanup)
    return Path(directory.name)
