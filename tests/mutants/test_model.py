# SPDX-License-Identifier: GPL-2.0-or-later
"""Models of the ring, checked over all schedules; broken, each must fail.

overwrite.pml: a writer who overwrites what a reader reads.  kept.pml: blocks of urgent records,
which a reader finds where the index does not reach.
"""

import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BROKEN = {
    "overwrite": ["NO_REVALIDATION", "NO_RMB", "LOST_TOO_MANY"],
    "kept": ["TABLE_LATE", "NO_SECOND_LOOK", "NO_LAP", "BY_INDEX_ALONE"],
}


def errors(directory, model, *defines):
    spin = ["spin", *(f"-D{name}" for name in defines), "-a", HERE / f"{model}.pml"]
    subprocess.run(spin, cwd=directory, check=True, capture_output=True)
    subprocess.run(["gcc", "-O1", "-DSAFETY", "-o", "pan", "pan.c"], cwd=directory, check=True)
    output = subprocess.run(["./pan"], cwd=directory, check=True, capture_output=True).stdout
    assert b"max search depth too small" not in output
    return int(output.split(b"errors: ")[1].split()[0])


@pytest.mark.parametrize("model", BROKEN)
def test_model_holds(tmp_path, model):
    assert errors(tmp_path, model) == 0


@pytest.mark.parametrize("model, broken", [(model, name) for model in BROKEN for name in BROKEN[model]])
def test_broken_model_fails(tmp_path, model, broken):
    assert errors(tmp_path, model, broken) > 0
