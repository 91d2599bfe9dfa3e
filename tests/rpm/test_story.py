# SPDX-License-Identifier: GPL-2.0-only
"""The driver in guests that are RPM systems: RPM mechanics on Debian payload."""

import pytest

from tests.rpm import trees
from tests.rpm.story import Stages, Story, tell


@pytest.mark.parametrize("kind", (Story,))
def test_story(kind, repositories, tmp_path, capsys):
    stages = Stages()
    try:
        tell(kind, tmp_path, trees.write_disk(tmp_path, repositories), stages)
    finally:
        with capsys.disabled():
            print("\n" + stages.table(), flush=True)
