# SPDX-License-Identifier: GPL-2.0-or-later
"""Unmodified DKMS drivers of the Debian archive: each does what kmodkeep said before the boot.

SYSTEM=trixie chooses the system. What the guest said stays in build/results/drivers-SYSTEM.
"""

import os
import shutil

import pytest

from tests.proof.guest import Record, differences
from tests.proof.system import DRIVERS, TOP

SELECTED = os.environ["SYSTEM"].split(",") if os.environ.get("SYSTEM") else list(DRIVERS)


@pytest.fixture(scope="module", params=SELECTED)
def record(request):
    logs = TOP / f"build/results/drivers-{request.param}"
    shutil.rmtree(logs, ignore_errors=True)
    made = Record(request.param, logs)
    try:
        return made.run()
    finally:
        (logs / "disk.qcow2").unlink(missing_ok=True)


def test_modprobe_does_what_was_predicted(record):
    wrong = list(differences(record))
    assert not wrong, "\n".join(wrong)


def test_nothing_is_unknown(record):
    unsure = [f for f in record.predicted.values() if f["verdict"] == "unknown"]
    assert not unsure
    assert not record.document["not_seen"]
