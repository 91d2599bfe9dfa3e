# SPDX-License-Identifier: GPL-2.0-or-later
"""docs/proof.md shows what was seen, and says so where a prediction was wrong."""

from tests.proof import page
from tests.proof.guest import Load
from tests.proof.page import Answer

RUN = {"when": "2026-01-02", "kernels": ["6.1", "6.12"], "answers": [
    Answer("two", "1.0", "two_a", "6.1", "ok", True, "loaded"),
    Answer("two", "1.0", "two_b", "6.1", "ok", True, "loaded"),
    Answer("two", "1.0", "two_a", "6.12", "ok", True, "loaded"),
    Answer("two", "1.0", "two_b", "6.12", "missing", False, "not loaded: there is none")]}  # fmt: skip


def test_page_shows_what_is_kept():
    """After `make test-proof KEEP=1` this is so."""
    assert page.PAGE.read_text(encoding="utf-8") == page.page(page.kept())


def test_kept_runs_are_as_they_must_be():
    assert {"bookworm", "trixie"} <= set(page.kept())
    for name, run in page.kept().items():
        given = run["answers"]
        assert [answer for answer in given if not answer.right or answer.predicted == "unknown"] == []
        assert len({answer.driver for answer in given}) >= (8 if name in ("bookworm", "trixie") else 1)
        assert {answer.served for answer in given if answer.kernel == run["kernels"][1]} == {True, False}


def test_modules_that_went_alike_share_a_row():
    text = page.section("bookworm", RUN)
    assert "1 drivers, 2 modules, 4 answers: 4 right, 0 wrong, 0 unknown." in text
    assert "| two | 1.0 | 6.1 | ok | loaded |" in text
    assert "| two: two_b | 1.0 | 6.12 | missing | not loaded: there is none |" in text


def test_wrong_answer_is_shown_and_counted():
    wrong = RUN["answers"][3]._replace(predicted="ok")
    text = page.section("bookworm", {**RUN, "answers": [*RUN["answers"][:3], wrong]})
    assert "3 right, 1 wrong" in text
    assert "| two: two_b | 1.0 | 6.12 | ok | WRONG: not loaded: there is none |" in text


def test_words_for_what_modprobe_did():
    assert [page.seen(load) for load in (
        Load(0, "OE", ""),
        Load(1, "-", "modprobe: ERROR: could not insert 'x': No such device"),
        Load(1, "-", "modprobe: ERROR: could not insert 'x': Key was rejected by service"),
        Load(1, "-", "modprobe: FATAL: Module x not found in directory /lib/modules/6.1"),
        Load(0, "in-tree", ""),
    )] == ["loaded", "taken; it found no device", "not loaded: Key was rejected by service",
           "not loaded: there is none", "the kernel's own module of that name"]  # fmt: skip
