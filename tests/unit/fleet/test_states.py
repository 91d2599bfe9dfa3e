# SPDX-License-Identifier: GPL-2.0-or-later
"""State files that are cut, hostile, old, or of somebody else: counted and named, never believed."""

import json
import os

import pytest

from fleet.kmodkeep_fleet import states
from tests.unit.fleet.hosts import NOW, finding, losing, put, state


def read(directory, **kwargs):
    return states.read_directory(directory, now=NOW, max_age=3600, **kwargs)


def word_of(tmp_path, text):
    """Why a file with TEXT in it is refused."""
    (tmp_path / "h1.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    found = read(tmp_path)
    assert not found.states and list(found.refused) == ["h1"]
    return found.refused["h1"][0]


def test_a_good_one(tmp_path):
    found = read(put(tmp_path, state("h1", NOW - 10), losing("h2", now=NOW)))
    assert (found.states["h1"].safe, found.states["h1"].losses, found.refused) == ("yes", (), {})
    assert [(one.module, one.verdict) for one in found.states["h2"].losses] == [("sample", "missing")]


WRONG = {
    "empty": ("", "cut"),
    "not JSON": ("hello", "cut"),
    "not UTF-8": (b'{"schema": 1, "host": "\xff"}', "cut"),
    "not an object": ("[1]", "malformed"),
    "nested": ("[" * 100_000, "malformed"),
    "a number without end": ('{"schema": 1, "x": ' + "9" * 20_000 + "}", "cut"),
    "not a number": ('{"schema": NaN}', "malformed"),
    "a key twice": ('{"schema": 1, "schema": 1}', "malformed"),
    "huge": (" " * (states.FILE_MAX + 1), "huge"),
}


@pytest.mark.parametrize(("text", "word"), WRONG.values(), ids=WRONG)
def test_wrong_bytes(tmp_path, text, word):
    assert word_of(tmp_path, text) == word


def test_each_cut_is_seen(tmp_path):
    text = json.dumps(state("h1", NOW))
    for length in range(0, len(text) - 1, 37):
        assert word_of(tmp_path, text[:length]) == "cut"


CHANGES = {
    "another schema": ({"schema": 2}, "other-schema"),
    "no schema": ({"schema": None}, "other-schema"),
    "a schema that Python takes for 1": ({"schema": True}, "other-schema"),
    "another host's name": ({"host": "h2"}, "other-host"),
    "no name": ({"host": None}, "other-host"),
    "from the future": ({"time": "2027-01-15T09:00:00Z"}, "from-the-future"),
    "old": ({"time": "2026-01-15T08:00:00Z"}, "stale"),
    "no time": ({"time": None}, "malformed"),
    "the 31st of February": ({"time": "2027-02-31T00:00:00Z"}, "malformed"),
    "no machine": ({"machine": None}, "malformed"),
    "another answer": ({"safe": "YES"}, "malformed"),
    "a list for a text": ({"line": ["x"]}, "malformed"),
    "findings of another type": ({"findings": [1]}, "malformed"),
    "too many findings": ({"findings": [{}] * 2001}, "malformed"),
    "a pin before time": ({"pin": {"kernel": "x", "since": -1}}, "malformed"),
    "safe, and a loss": ({"findings": [finding(verdict="missing")]}, "contradicts-itself"),
    "safe, and one that is not known": ({"findings": [finding(verdict="unknown")]}, "contradicts-itself"),
    "safe, and no kernel": ({"next_kernel": None}, "contradicts-itself"),
    "a container": ({"place": "container"}, "not-a-host"),
    "it could not be asked": ({"error": "no route"}, "unreachable"),
}


@pytest.mark.parametrize(("change", "word"), CHANGES.values(), ids=CHANGES)
def test_wrong_content(tmp_path, change, word):
    assert word_of(tmp_path, json.dumps(state("h1", NOW, **change))) == word


@pytest.mark.parametrize("key", ["safe", "next_kernel", "findings", "smoke", "unfinished_packages"])
def test_what_must_be_there(tmp_path, key):
    doc = state("h1", NOW)
    del doc[key]
    assert word_of(tmp_path, json.dumps(doc)) == "malformed"


def test_files_that_are_none(tmp_path):
    os.mkfifo(tmp_path / "fifo.json")
    (tmp_path / "link.json").symlink_to("/etc/hostname")
    (tmp_path / "directory.json").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    assert {name: why[0] for name, why in read(tmp_path).refused.items()} == dict.fromkeys(
        ("fifo", "link", "directory"), "unreadable")  # fmt: skip


def test_a_name_that_is_none(tmp_path):
    (tmp_path / "a\x1b[2Jb.json").write_text("{}")
    assert list(read(tmp_path).refused) == ["a?[2Jb"]


def test_one_machine_under_two_names(tmp_path):
    put(tmp_path, state("h1", NOW, machine="a" * 32), state("h2", NOW, machine="a" * 32), state("h3", NOW))
    found = read(tmp_path)
    assert list(found.states) == ["h3"]
    assert found.refused["h1"] == ("same-machine", "h2 has the same machine ID")
    assert found.refused["h2"][0] == "same-machine"


def test_who_is_missing(tmp_path):
    put(tmp_path, state("h1", NOW), state("h9", NOW))
    found = read(tmp_path, wanted=["h1", "h2"])
    assert list(found.states) == ["h1"] and found.refused == {"h2": ("missing", "there is no state file of it")}


def test_the_name_in_the_inventory_goes_before_its_own(tmp_path):
    put(tmp_path, state("localhost", NOW, inventory="h1"))
    assert list(read(tmp_path).states) == ["h1"]


def test_words_of_a_host_are_one_short_line(tmp_path):
    put(tmp_path, losing("h1", now=NOW, message="a\nb\x1b[31m\u202e" + "x" * 5000))
    (lost,) = read(tmp_path).states["h1"].losses
    assert lost.message.startswith("a?b?[31m?xxx") and len(lost.message) == states.TEXT_MAX


def test_no_directory(tmp_path):
    with pytest.raises(FileNotFoundError):
        read(tmp_path / "none")
