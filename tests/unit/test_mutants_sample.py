# SPDX-License-Identifier: GPL-2.0-or-later
"""A few of the mutations of tests/mutants; all of them take a tier of their own."""

import pytest

from tests.mutants import runner
from tests.mutants.mutations import SAMPLE


@pytest.mark.parametrize("name", SAMPLE)
def test_is_caught(name):
    assert runner.caught_by(name)


@pytest.mark.parametrize(
    "body, caught", [("sleep 2", None), ("while :; do :; done", "a: does not end")]
)
def test_only_processor_time_counts(tmp_path, monkeypatch, body, caught):
    """That a machine is busy with other things catches no mutation."""
    monkeypatch.setattr(runner, "HANGS_AFTER", 1)
    program = tmp_path / "test_a"
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o700)
    assert runner.failure(program, "a") == caught
