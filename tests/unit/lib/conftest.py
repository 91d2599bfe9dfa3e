# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that stand for channels."""

import shutil

import pytest

from tests.unit.lib.crashdata import delivered
from tests.unit.lib.tools import NODES, PROC, build


@pytest.fixture
def channel():
    """A function that makes the file of a channel with RECORDS."""
    build()

    def make(records=(), name="default"):
        PROC.mkdir(parents=True, exist_ok=True)
        (NODES / name).write_bytes(delivered(records))
        return NODES / name

    yield make
    shutil.rmtree(NODES)
    shutil.rmtree(PROC, ignore_errors=True)
    NODES.mkdir()
