# SPDX-License-Identifier: GPL-2.0-or-later
"""The page: every host is on it once, what hosts say is text on it, and what changed is said.

A parser looks at the page each time; with FULL=1 a browser shows it.
"""

import os
import re
import time

import pytest

from tests.unit.fleet.hosts import NEW, OLD, fleet, losing, put, state
from tests.unit.lib.test_report import EVIL, HOSTILE, Page, shown

ALLOWED = {"html", "head", "meta", "title", "style", "body", "h1", "h2", "h3", "p", "table", "tr", "td", "section",
           "details", "summary"}  # fmt: skip


def count(text, name):
    return int(re.search(rf"^ +(\d+)  {re.escape(name)}$", text, re.M)[1])


def report(*words, code=0):
    done = fleet("report", *words)
    assert (done.returncode, done.stderr) == (code, ""), done.stderr
    return done.stdout


def test_all_safe(tmp_path):
    text = report(put(tmp_path / "d", state("h1"), state("h2")))
    assert text.startswith("The next boot is safe on all 2 hosts.\n")
    assert "2 hosts: a reboot waits, and it is safe" in text and "would lose drv" not in text


def test_nobody_is_not_all_are_well(tmp_path):
    assert report(put(tmp_path / "d"), code=3).startswith("No host was asked about.")


def test_grouped_by_cause_with_what_to_do(tmp_path):
    directory = put(
        tmp_path / "d", state("good"), losing("a1"), losing("a2"),
        losing("b1", "untrusted-key", "wifi", "signed by another key", "kmodkeep key enroll"),
        state("u1", safe="unknown", next_kernel=None, line="which kernel boots next cannot be told", next_step="set it"),
        cut="{",
    )  # fmt: skip
    text = report(directory, code=1)
    assert "Of 6 hosts 3 would lose a driver at the next boot, 1 cannot tell, 1 not heard or not believed" in " ".join(text.split())
    names = ("safe", "would lose a driver", "cannot tell", "not heard, or not believed", "in all")
    assert [count(text, name) for name in names] == [1, 3, 1, 1, 6]
    lines = text.splitlines()
    at = lines.index(f"  2 hosts: would lose sample: missing on kernel {NEW} (dkms has not built it)")
    assert lines[at + 1 : at + 3] == ["    Next: dkms autoinstall", "    a1, a2"]
    at = lines.index(f"  1 host: would lose wifi: untrusted-key on kernel {NEW} (signed by another key)")
    assert lines[at + 1 : at + 3] == ["    Next: kmodkeep key enroll", "    b1"]
    at = lines.index("  1 host: cannot tell: which kernel boots next cannot be told")
    assert lines[at + 1] == "    Next: set it"
    assert "  1 host: cut" in lines and "    cut (not whole JSON:" in text
    assert all(len(line) <= 100 for line in lines)


def test_only_one_that_is_unsure(tmp_path):
    report(put(tmp_path / "d", state("u", safe="unknown", line="?")), code=3)


def test_a_thing_that_waits_for_each_who_needs_it(tmp_path):
    key = state("x")["key"]
    directory = put(
        tmp_path / "d", state("pending", key={**key, "enrolment": "pending"}),
        state("old", key={**key, "expires": int(time.time()) + 1000}),
        state("pinned", pin={"kernel": OLD, "since": 1}), state("rotates", rotation="both"),
        state("half", unfinished_packages=["x"]),
        state("crashed", recorder={"boots": [{"boot_id": "1", "state": "ended", "end": {"kind": "panic"}}]}),
        state("smoke", boot_id="b", smoke=[{"driver": "drv", "result": "failed", "boot_id": "b"}]),
    )  # fmt: skip
    text = report(directory)
    for name, title in (("pending", "at the console"), ("old", "less than 60 days"), ("pinned", "pinned to an older"),
                        ("rotates", "change of the key"), ("half", "half-configured"), ("crashed", "not end in order"),
                        ("smoke", "smoke test of drv failed")):  # fmt: skip
        assert re.search(rf"1 host: [^\n]*{title}.*\n    Next: .*\n(      .*\n)?    {name}\n", text), title


def test_every_host_is_on_the_page(tmp_path):
    names = [f"h{n:03}" for n in range(60)]
    directory = put(tmp_path / "d", *[losing(name) for name in names])
    assert "h011, and 48 more" in report(directory, code=1)
    html = report(directory, "--html", code=1)
    assert ", ".join(names) in html and "<details>" in html


def test_hosts_that_are_missing(tmp_path):
    (tmp_path / "names").write_text("h1\nh2\n")
    text = report(put(tmp_path / "d", state("h1")), "--hosts", tmp_path / "names", code=3)
    assert "  1 host: missing\n" in text and count(text, "in all") == 2


def test_stale(tmp_path):
    directory = put(tmp_path / "d", state("h1", time.time() - 7000))
    report(directory)
    assert "1 host: stale" in report(directory, "--max-age", "1", code=3)


def test_what_changed(tmp_path):
    saved = tmp_path / "saved"
    directory = put(tmp_path / "d", state("same"), state("worse"), losing("better"), losing("cause"), state("gone"),
                    state("kernel"), state("cut"))  # fmt: skip
    report(directory, "--save", saved, code=1)
    assert "Changed since the last roll-out\n\n  Nothing." in report(directory, "--since", saved, code=1)
    (directory / "gone.json").unlink()
    put(directory, losing("worse"), state("better"), losing("cause", "tampered"), state("new"),
        state("kernel", next_kernel=OLD), cut="{")  # fmt: skip
    text = report(directory, "--since", saved, code=1)
    text = text[text.index("Changed since") : text.index("What else waits")]
    for title, name in (("was: safe; now: would lose a driver", "worse"),
                        ("was: would lose a driver; now: safe", "better"),
                        ("was: safe; now: not believed", "cut"), ("still would lose a driver, for another reason", "cause"),
                        ("was there, and was not asked about now", "gone"), ("was not there", "new"),
                        ("as it was, with another kernel for the next boot", "kernel")):  # fmt: skip
        assert re.search(rf"  1 host: {title}\n(    Next: .*\n)?    {name}\n", text), title
    assert "same" not in text


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 1, "hosts": {"h": [1, 2, 3]}}',
                                  '{"schema": 2, "hosts": {}}', "[" * 100000])  # fmt: skip
def test_what_was_saved_by_something_else(tmp_path, text):
    (tmp_path / "saved").write_text(text)
    done = fleet("report", put(tmp_path / "d", state("h1")), "--since", tmp_path / "saved")
    assert done.returncode == 2 and "not what --save has written" in done.stderr


# ---- hostile words


def hostile(tmp_path):
    directory = tmp_path / "d"
    for number, text in enumerate(HOSTILE):
        put(directory, losing(f"h{number}", verdict=text, driver=text, message=text, next_step=text,
                              recorder={"boots": [], "report": text}))  # fmt: skip
    (directory / "<img src=x>.json").write_text("{}")
    return directory


def test_no_markup_gets_through(tmp_path):
    html = report(hostile(tmp_path), "--html", code=1)
    parsed = Page(html)
    assert {tag for tag, _ in parsed.tags} <= ALLOWED and not parsed.scripts
    for _, attributes in parsed.tags:
        assert set(attributes) <= {"lang", "charset", "http-equiv", "content", "name", "id", "class"}
    (policy,) = [a["content"] for _, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy"]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert "&lt;script&gt;" in html and not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2028\u2029\ufeff]", html)


def test_nothing_that_a_terminal_obeys(tmp_path):
    text = report(hostile(tmp_path), code=1)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2028\u2029\ufeff]", text)
    assert count(text, "in all") == len(HOSTILE) + 1


if os.environ.get("FULL"):

    def test_in_a_browser(tmp_path):
        """All hosts are there as text; nothing of what they say ran."""
        dom = shown(report(hostile(tmp_path), "--html", code=1), tmp_path)
        assert re.search("<title>(.*?)</title>", dom)[1].startswith(f"Of {len(HOSTILE) + 1} hosts")
        assert set(re.findall("<([a-z0-9]+)", dom)) - {"tbody"} <= ALLOWED
        assert f"&lt;script&gt;{EVIL}&lt;/script&gt;" in dom
        for number in range(len(HOSTILE)):
            assert re.search(rf">h{number}<", dom)


# ---- Prometheus


def on(host, **labels):
    return {"instance": f"{host}:9100", **labels}


LOSS = "kmodkeep_module_loads != 1 and on (instance, kernel) kmodkeep_next_kernel"


def test_from_prometheus(prometheus, tmp_path):
    (tmp_path / "names").write_text("good\nbad\nunsure\nliar\ntwice\ngone\n")
    prometheus.rows = {
        "kmodkeep_next_boot_safe": [(on("good"), "1"), (on("bad"), "0"), (on("unsure"), "NaN"), (on("liar"), "1"),
                                    (on("twice"), "1"), (on("twice"), "1"), (on("stranger"), "1")],
        "kmodkeep_next_kernel": [(on(name, kernel=NEW), "1") for name in ("good", "bad", "liar")],
        LOSS: [(on(name, kernel=NEW, driver="wifi<b>", module="w", verdict="missing"), "0") for name in ("bad", "liar")],
        "kmodkeep_enrolment_waits == 1": [(on("good"), "1")],
    }  # fmt: skip
    text = report("--prometheus", prometheus.url, "--hosts", tmp_path / "names", code=1)
    names = ("safe", "would lose a driver", "cannot tell", "not heard, or not believed", "in all")
    assert [count(text, name) for name in names] == [1, 1, 1, 3, 6]
    assert f"1 host: would lose wifi<b>: missing on kernel {NEW} (missing)" in text
    for word in ("missing", "same-machine", "contradicts-itself"):
        assert f"  1 host: {word}\n" in text
    assert "a key waits for somebody" in text


@pytest.mark.parametrize("raw", ["", "{}", "[]", "<html>", '{"data": {"result": [1]}}', "[" * 100_000])
def test_what_is_not_prometheus(prometheus, raw):
    prometheus.raw = raw
    done = fleet("report", "--prometheus", prometheus.url)
    assert done.returncode == 3 and "that is no answer of Prometheus" in done.stderr


def test_prometheus_is_not_there():
    done = fleet("report", "--prometheus", "http://127.0.0.1:9")
    assert done.returncode == 3 and "Prometheus does not answer" in done.stderr
    done = fleet("report", "--prometheus", "file:///etc/passwd")
    assert done.returncode == 2 and "no address" in done.stderr


@pytest.mark.parametrize("words", [[], ["x", "--prometheus", "http://y"]], ids=["none", "two"])
def test_usage(words):
    assert fleet("report", *words).returncode == 2
