# SPDX-License-Identifier: GPL-2.0-or-later
"""The radar's document, its history, page and metrics; what builds is shown by tests/fleet/test_build.py."""

import copy
import json
import os
import re
import subprocess

import jsonschema
import pytest

from fleet.kmodkeep_fleet import history
from fleet.kmodkeep_fleet.states import Usage
from tests.lib.promtool import promtool
from tests.unit.kmodkeep.host import TOP
from tests.unit.lib.test_report import shown

SCHEMA = json.loads((TOP / "docs/radar.schema.json").read_text())
KERNEL, OTHER = "trixie:6.12.9-amd64", "sid:7.3-amd64=7.3.4-1"


def cell(verdict, **more):
    return {"verdict": verdict, "error": None if verdict == "builds" else "a.c:1: error: <b>", "modules": ["a"],
            "built": 1, "seconds": 1.5, "kernel_package_version": "1-1", "machine": "x86_64", **more}  # fmt: skip


def run(date, **drivers):
    """A run on a day; of each driver the verdicts for both kernels."""
    return {"schema": 1, "time": f"{date}T01:02:03Z", "kernels": [KERNEL, OTHER], "drivers": [
        {"driver": name, "version": None, "source": "0" * 64, "kernels": dict(zip((KERNEL, OTHER), map(cell, found)))}
        for name, found in drivers.items()
    ]}  # fmt: skip


def through(tmp_path, doc):
    """As the verb does: compared, kept; the runs before."""
    runs = history.read(tmp_path)
    history.compare(doc, runs)
    history.keep(doc, tmp_path)
    jsonschema.validate(doc, SCHEMA)
    return runs


def test_the_schema_is_one():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    for file in (TOP / "docs/radar").iterdir():
        jsonschema.validate(json.loads(file.read_text()), SCHEMA)


@pytest.mark.parametrize("spoil", [
    lambda doc: doc.update(schema=2),
    lambda doc: doc.update(time="yesterday"),
    lambda doc: doc["drivers"][0].pop("source"),
    lambda doc: doc["drivers"][0]["kernels"][KERNEL].update(verdict="maybe"),
    lambda doc: doc["drivers"][0]["kernels"][KERNEL].update(error="but it builds"),
    lambda doc: doc["drivers"][0]["kernels"][KERNEL].update(modules=[]),
    lambda doc: doc["drivers"][0]["kernels"][OTHER].update(error=None),
    lambda doc: doc.update(changes=[]),
])  # fmt: skip
def test_what_the_schema_refuses(spoil):
    doc = run("2026-01-02", one=("builds", "does-not-build"))
    jsonschema.validate(doc, SCHEMA)
    spoil(doc)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(doc, SCHEMA)


def test_what_changed_since_the_day_before(tmp_path):
    first = run("2026-01-01", one=("builds", "builds"), gone=("builds", "builds"))
    through(tmp_path, first)
    assert (first["since"], first["changes"]) == (None, [])
    through(tmp_path, run("2026-01-02", one=("builds", "builds"), gone=("builds", "builds")))
    doc = run("2026-01-03", one=("builds", "does-not-build"), new=("cannot-tell", "builds"))
    for _ in range(2):  # once more on the same day: it is compared with the day before, not with itself
        runs = through(tmp_path, doc)
        assert doc["since"] == "2026-01-02T01:02:03Z"
        assert [(one["driver"], one["kernel"], one["before"], one["now"]) for one in doc["changes"]] == [
            ("gone", OTHER, "builds", None), ("gone", KERNEL, "builds", None),
            ("new", OTHER, None, "builds"), ("new", KERNEL, None, "cannot-tell"),
            ("one", OTHER, "builds", "does-not-build"),
        ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"2026-01-0{day}.json" for day in (1, 2, 3)]
    first = history.since(doc, runs)
    assert (first["one", KERNEL], first["one", OTHER], first["new", OTHER]) == ("2026-01-01", "2026-01-03", "2026-01-03")


def test_since_when_ends_where_it_was_otherwise(tmp_path):
    for day, verdict in enumerate(("builds", "does-not-build", "builds", "builds"), 1):
        doc = run(f"2026-01-0{day}", one=(verdict, "builds"))
        runs = through(tmp_path, doc)
    assert history.since(doc, runs)["one", KERNEL] == "2026-01-03"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1, "time": 1, "drivers": []}',
                                     '{"schema": 1, "time": "x", "drivers": [{"driver": "a", "kernels": {"k": {"verdict": "x"}}}]}',
                                     '{"schema": 1, "time": "x", "drivers": [{"driver": 1, "kernels": {"k": {"verdict": "builds"}}}]}'])  # fmt: skip
def test_a_run_that_is_damaged_is_named(tmp_path, content):
    (tmp_path / "2026-01-01.json").write_text(content)
    with pytest.raises(Usage, match="2026-01-01.json: is no run of the radar"):
        history.read(tmp_path)


def page(tmp_path):
    through(tmp_path, run("2026-01-01", **{"one<i>": ("builds", "builds"), "two": ("builds", "builds")}))
    doc = run("2026-01-02", **{"one<i>": ("builds", "does-not-build"), "two": ("builds", "builds"),
                               "three": ("not-for-this-kernel", "cannot-tell")})  # fmt: skip
    runs = through(tmp_path, doc)
    return history.html(doc, runs)


def test_the_page(tmp_path):
    html = page(tmp_path)
    assert "<i>" not in html and "<b>" not in html and "<script" not in html and "href" not in html
    assert "What changed since 2026-01-01T01:02:03Z" in html
    assert re.search('one&lt;i&gt;<td>sid:7.3-amd64=7.3.4-1<td>builds<td class="no">does not build', html)
    assert re.search('<th scope=row>2026-01-01<td class="n">4<td class="n">0<td class="n">0<td class="n">0', html)
    assert re.search('<th scope=row>2026-01-02<td class="n">3<td class="n">1<td class="n">1<td class="n">1', html)
    assert "since 2026-01-01" in html and "since 2026-01-02" in html
    assert "default-src 'none'" in html


def test_metrics(tmp_path):
    doc = run("2026-01-02", **{'a"b': ("builds", "does-not-build")})
    text = history.metrics(doc, 42)
    assert f'kmodkeep_radar_verdict{{driver="a\\"b",kernel="{KERNEL}",verdict="builds"}} 1\n' in text
    assert "kmodkeep_radar_run_timestamp_seconds 42\n" in text and "radar_changes" not in text
    through(tmp_path, copy.deepcopy(doc))
    doc["time"] = "2026-01-03T00:00:00Z"
    doc["drivers"][0]["kernels"][KERNEL] = cell("cannot-tell")
    through(tmp_path, doc)
    text = history.metrics(doc, 42)
    assert "\nkmodkeep_radar_changes 1\n" in text
    done = subprocess.run([promtool(), "check", "metrics"], input=text, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr


if os.environ.get("FULL"):
    # What is seen of the drivers with each choice, and the colours.
    LOOK = """
    const seen = () => [...document.querySelectorAll("tbody.drivers tr")].filter(row => row.offsetHeight)
        .map(row => row.cells[0].textContent).join(",");
    const said = [seen()];
    for (const kind of ["no", "unsure", "excluded", "all"]) {
        const choice = document.getElementById("show-" + kind);
        choice.focus();
        choice.click();
        said.push(document.activeElement.id + ":" + seen());
    }
    const style = getComputedStyle(document.body);
    document.title = said.join("|") + "|" + style.backgroundColor + "|" + style.color;
    """

    @pytest.mark.parametrize("scheme,colours", [
        ("1", "rgb(255, 255, 255)|rgb(27, 27, 27)"), ("0", "rgb(22, 22, 22)|rgb(230, 230, 230)"),
    ], ids=["light", "dark"])  # fmt: skip
    def test_in_a_browser(tmp_path, scheme, colours):
        """Each choice is reached by the keyboard and shows its rows, without a script of the page's own."""
        kept = tmp_path / "kept"
        kept.mkdir()
        html = page(kept).replace("default-src 'none'", "default-src 'none'; script-src 'unsafe-inline'")
        dom = shown(f"{html}<script>{LOOK}</script>", tmp_path, flags=[f"--blink-settings=preferredColorScheme={scheme}"])
        everything = "one&lt;i&gt;,three,two"
        assert re.search("<title>(.*?)</title>", dom)[1] == (
            f"{everything}|show-no:one&lt;i&gt;|show-unsure:three|show-excluded:three|show-all:{everything}|{colours}"
        )
