# SPDX-License-Identifier: GPL-2.0-or-later
"""The radar's run that is kept as data: what docs/fleet.md says of it is in it."""

import json
import re

from tests.unit.kmodkeep.host import TOP


def test_the_run_that_is_kept():
    (file,) = (TOP / "docs/radar").iterdir()
    doc = json.loads(file.read_text())
    assert doc["schema"] == 1 and doc["time"].startswith(file.stem)
    builds = []
    for word in doc["kernels"]:
        cells = [one["kernels"][word] for one in doc["drivers"]]
        assert {cell["verdict"] for cell in cells} <= {"builds", "does-not-build", "not-for-this-kernel"}
        assert word.endswith("-amd64") and {cell["machine"] for cell in cells} == {"x86_64"}
        for cell in cells:
            assert (cell["error"] is None) == (cell["verdict"] == "builds") == bool(cell["modules"])
        builds.append(sum(cell["verdict"] == "builds" for cell in cells))
    assert all(re.fullmatch("[0-9a-f]{64}", one["source"]) for one in doc["drivers"])
    text = " ".join((TOP / "docs/fleet.md").read_text().split())
    assert f"{len(doc['drivers'])} drivers of Debian 13: {builds[0]} build for 6.1, {builds[2]} for 6.12 and {builds[1]} for 7.3" in text
