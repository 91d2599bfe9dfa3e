# SPDX-License-Identifier: GPL-2.0-only
"""The driver on an RPM system: RPM mechanics on Debian payload. See story.py."""

from tests.rpm import story


def test_story(tmp_path, capsys):
    stages = story.Stages()
    try:
        story.tell(tmp_path, stages)
    finally:
        with capsys.disabled():
            print("\n" + stages.table())
