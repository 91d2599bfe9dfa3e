# SPDX-License-Identifier: GPL-2.0-or-later
"""Rules and dashboard: each alert fires where it should, and all ask for metrics that hosts write."""

import json
import re
import subprocess

import jsonschema
import pytest

from tests.lib.promtool import promtool
from tests.unit.fleet.hosts import TOP

HERE = TOP / "tests/unit/fleet"
RULES = TOP / "fleet/prometheus/kmodkeep.rules.yml"
TESTS = [RULES.parent / name for name in ("tests.yml", "tests-days.yml")]
DASHBOARD = json.loads((TOP / "fleet/grafana/kmodkeep.json").read_text())
# Of node exporter itself.
OTHERS = {"node_boot_time_seconds"}


def run(*words):
    done = subprocess.run([promtool(), *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_rules_are_rules():
    assert "SUCCESS" in run("check", "rules", RULES)


def test_alerts():
    run("test", "rules", *TESTS)


def test_every_alert_has_a_test():
    text = RULES.read_text()
    alerts = re.findall(r"alert: (\w+)", text)
    tested = re.findall(r"alertname: (\w+)\n\s+exp_alerts:\n", "".join(path.read_text() for path in TESTS))
    assert len(alerts) == text.count("description:") and set(alerts) == set(tested)


def metrics_that_are_written():
    """As the programs' sources have them."""
    names = set()
    for source in ("kmodkeep/state.c", "kmodkeep/gate.c", "guard/pin/announce.c", "tools/stats.c",
                   "tools/collect.c", "system/kernel-hold"):  # fmt: skip
        text = re.sub(r'"\s*\n\s*"', "", (TOP / source).read_text())
        names.update(re.findall(r'\b((?:kmodkeep|flightrec)_[a-z_]+)(?=[ {"])', text))
    return names


def asked(text):
    return set(re.findall(r"\b(?:kmodkeep|flightrec|node)_[a-z_]+", text))


def recorded():
    return set(re.findall(r"record: (\S+)", RULES.read_text()))


def test_rules_ask_for_what_is_written():
    text = "\n".join(re.findall(r"expr: ((?:.|\n)*?)\n\s+(?:- |for|labels|\Z)", RULES.read_text()))
    assert len(asked(text)) > 12 and asked(text) <= metrics_that_are_written() | OTHERS


def test_the_dashboard_is_one():
    jsonschema.validate(DASHBOARD, json.loads((HERE / "dashboard.schema.json").read_text()))
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)


def test_no_panel_covers_another():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert max(x for x, _ in cells) < 24 and not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", DASHBOARD["panels"], ids=lambda panel: panel["title"])
def test_the_dashboard_asks_for_what_is_written(panel, tmp_path):
    for target in panel["targets"]:
        expr = target["expr"].replace("$instance", ".*")
        rules = {"groups": [{"name": "x", "rules": [{"record": "x", "expr": expr}]}]}
        (tmp_path / "rules.json").write_text(json.dumps(rules))
        run("check", "rules", tmp_path / "rules.json")
        assert asked(re.sub(r"kmodkeep:\S+?count|kmodkeep:\w+", "", expr)) <= metrics_that_are_written()
        assert set(re.findall(r"kmodkeep:[a-z_:]+", expr)) <= recorded()
