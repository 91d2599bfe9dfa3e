# SPDX-License-Identifier: GPL-2.0-or-later
"""The model of overwrite against reader, checked over all schedules; broken, it must fail."""

import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parent / "overwrite.pml"


def errors(directory, *defines):
    spin = ["spin", *(f"-D{name}" for name in defines), "-a", MODEL]
    subprocess.run(spin, cwd=directory, check=True, capture_output=True)
    subprocess.run(["gcc", "-O1", "-DSAFETY", "-o", "pan", "pan.c"], cwd=directory, check=True)
    output = subprocess.run(["./pan"], cwd=directory, check=True, capture_output=True).stdout
    assert b"max search depth too small" not in output
    return int(output.split(b"errors: ")[1].split()[0])


def test_model_holds(tmp_path):
    assert errors(tmp_path) == 0


@pytest.mark.parametrize("broken", ["NO_REVALIDATION", "NO_RMB", "LOST_TOO_MANY"])
def test_broken_model_fails(tmp_path, broken):
    assert errors(tmp_path, broken) > 0
