# SPDX-License-Identifier: GPL-2.0-or-later
"""The demo as a test, and that it cannot succeed by accident."""

import io

import pytest

from tests.demo import __main__ as demo
from tests.demo import fleet
from tests.demo.report import NotObserved, Report, expect, expect_match


def test_main_job():
    assert demo.main() == 0
    assert (demo.OUT / "transcript.txt").read_text(encoding="utf-8").endswith("DEMO OK\n")
    assert len(list(demo.OUT.glob("mokmanager-*.png"))) == 6


def test_fleet():
    assert fleet.main() == 0
    assert (fleet.OUT / "transcript.txt").read_text(encoding="utf-8").endswith("DEMO OK\n")
    assert all("<html" in (fleet.OUT / name).read_text() for name in ("stopped.html", "page.html"))


def test_series_of_a_scrape():
    text = '# TYPE a gauge\na 1\nb{c="d"} NaN\n'
    assert fleet.series_of("h1", text) == [{"series": 'a{instance="h1"}', "values": " ".join(["1"] * 31)},
                                           {"series": 'b{c="d",instance="h1"}', "values": " ".join(["NaN"] * 31)}]  # fmt: skip


def test_the_hosts_end_where_the_controller_cannot_be_made(monkeypatch):
    class Hosts:
        hosts, ended = [], 0

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.ended += 1

    def fails(_):
        raise OSError("no room")

    lab = Hosts()
    monkeypatch.setattr(fleet, "Lab", lambda *_: lab)
    monkeypatch.setattr(fleet, "Ansible", fails)
    monkeypatch.setattr(fleet.Story, "prepare", lambda _: None)
    with pytest.raises(OSError, match="no room"):
        fleet.Story(Report(io.StringIO())).tell()
    assert lab.ended == 1


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
