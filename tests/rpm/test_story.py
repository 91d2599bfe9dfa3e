# SPDX-License-Identifier: GPL-2.0-or-later
"""The driver in guests that are RPM systems: RPM mechanics on Debian payload."""

import pytest

from tests.rpm.adopt import AdoptStory
from tests.rpm.firmware import FirmwareStory
from tests.rpm.story import Story


@pytest.mark.parametrize("kind", (Story, FirmwareStory, AdoptStory))
def test_story(kind, stories, capsys):
    table, error = stories[kind].result()
    with capsys.disabled():
        print("\n" + table, flush=True)
    if error:
        raise error
