# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo as a test, and that it cannot succeed by accident."""

import io

import pytest

from tests.demo import __main__ as demo
from tests.demo.report import NotObserved, Report, expect, expect_match


def test_main_job():
    assert demo.main() == 0
    assert (demo.OUT / "transcript.txt").read_text(encoding="utf-8").endswith("DEMO OK\n")
    assert len(list(demo.OUT.glob("mokmanager-*.png"))) == 6


def test_what_is_not_observed_fails_and_shows_what_was_seen():
    with pytest.raises(NotObserved, match="(?s)expected: a kernel.*seen:\nnothing like it"):
        expect_match(r"^6\.12\.", "nothing like it", "a kernel")
    with pytest.raises(NotObserved):
        expect("", "output", "none")


def test_failed_step_is_named_and_not_in_the_table():
    transcript = io.StringIO()
    report = Report(transcript)
    with report.step("goes well"):
        pass
    with pytest.raises(NotObserved), report.step("goes wrong"):
        expect(False, "something", "nothing")
    assert [name for name, _ in report.steps] == ["goes well"]
    assert "FAILED" in transcript.getvalue() and "goes wrong" in transcript.getvalue()
    assert "DEMO OK" not in transcript.getvalue()
