# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep state: what a fleet is told of a host, as JSON and as metrics."""

import hashlib
import json
import re
import subprocess

import pytest

from tests.unit.kmodkeep.host import MACHINE
from tests.unit.kmodkeep.system import NEW, OLD, System

METRICS = "var/kmodkeep-host.prom"


@pytest.fixture
def system(tree):
    tree.put("etc/kmodkeep/guard.conf", "prometheus = /var/kmodkeep.prom\n")
    return System(tree)


def state(system, code=0):
    result = system.tree.run("state")
    assert result.code == code, result.text
    return json.loads(result.out)


def written(system):
    """The metrics that the host writes, {name with labels: value}."""
    result = system.tree.run("state", "--write")
    assert (result.code, result.text) == (0, "")
    text = (system.path / METRICS).read_text()
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) \w+ .+|\w+(\{[^}]*\})? [\d.NaN]+", line), line
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")


def smoke(system, boot, result):
    system.tree.put("var/lib/kmodkeep/smoke/sample.json",
                    json.dumps({"schema": 1, "driver": "sample", "boot_id": boot, "result": result}))


def test_a_safe_host(system):
    found = state(system)
    assert (found["schema"], found["safe"], found["host"]) == (1, "yes", "host.example")
    assert (found["running_kernel"], found["next_kernel"], found["reboot_pending"]) == (OLD, NEW, True)
    assert found["pin"] is None and found["key"] is None and found["rotation"] == "none"
    next_boot = [f for f in found["findings"] if f["next_boot"]]
    assert [(f["driver"], f["verdict"], f["serves"], f["message"]) for f in next_boot] == [
        ("sample", "ok", "yes", None)]  # fmt: skip


def test_the_machine_id_is_not_given_away(system):
    text = system.tree.run("state").out
    assert MACHINE not in text
    assert json.loads(text)["machine"] == hashlib.sha256(f"kmodkeep fleet {MACHINE}".encode()).hexdigest()[:32]


def test_a_loss_is_seen_at_once_whatever_was_recorded_before(system):
    assert system.tree.run("guard").code == 0
    system.remove(NEW)
    found = state(system)
    assert found["safe"] == "no" and found["next_step"]
    (lost,) = [f for f in found["findings"] if f["next_boot"]]
    assert (lost["verdict"], lost["serves"]) == ("missing", "no") and lost["message"]


def test_what_boots_next_is_not_known(system):
    (system.path / "boot/grub/grub.cfg").unlink()
    found = state(system)
    assert (found["safe"], found["next_kernel"], found["reboot_pending"]) == ("unknown", None, None)
    assert written(system)["kmodkeep_reboot_pending"] == "NaN"


def test_the_key(system, pair):
    system.tree.secure_boot()
    system.tree.own_key(pair)
    found = state(system)["key"]
    assert found["name"] == "one" and found["enrolment"] == "not-enrolled" and found["next_step"]
    command = ["openssl", "x509", "-inform", "DER", "-in", pair.cert, "-noout", "-enddate", "-dateopt", "iso_8601"]
    day = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("=")[1].split(" ")[0]
    metrics = written(system)
    command = ["date", "-u", "-d", day, "+%s"]
    assert metrics["kmodkeep_key_expires_seconds"] + "\n" == subprocess.run(
        command, capture_output=True, text=True, check=True).stdout  # fmt: skip
    assert metrics['kmodkeep_key_enrolment{state="not-enrolled"}'] == "1"
    assert metrics["kmodkeep_enrolment_waits"] == "0"
    system.tree.enrol(pair.cert)
    assert 'kmodkeep_key_enrolment{state="enrolled"}' in written(system)


def test_an_enrolment_that_waits(system, pair):
    system.tree.secure_boot()
    system.tree.own_key(pair)
    system.tree.esp()
    system.tree.add_mokutil()
    done = system.tree.run("key", "enroll", "--password-stdin", input="onetime-password\n")
    assert done.code == 0, done.text
    assert state(system)["key"]["enrolment"] == "pending"
    assert written(system)["kmodkeep_enrolment_waits"] == "1"


@pytest.mark.parametrize(("boot", "result", "value"), [
    ("boot-1", "passed", "1"), ("boot-1", "failed", "0"), ("boot-0", "passed", "NaN"),
    ("boot-1", "not-applicable", "NaN")])  # fmt: skip
def test_smoke(system, boot, result, value):
    smoke(system, boot, result)
    assert written(system)['kmodkeep_smoke_passed{driver="sample"}'] == value
    assert [(s["driver"], s["result"], s["boot_id"]) for s in state(system)["smoke"]] == [("sample", result, boot)]


def test_written(system):
    metrics = written(system)
    assert metrics['kmodkeep_info{version="0.1.0"}'] == "1" and metrics["kmodkeep_reboot_pending"] == "1"
    assert metrics['kmodkeep_key_rotation{phase="none"}'] == "1"
    assert [name for name in metrics if "next_kernel" in name] == [f'kmodkeep_next_kernel{{kernel="{NEW}"}}']
    path = system.path / "var/lib/kmodkeep/host.json"
    assert json.loads(path.read_text())["safe"] == "yes" and path.stat().st_mode & 0o777 == 0o644


def test_no_metrics_where_nobody_wants_them(system):
    (system.path / "etc/kmodkeep/guard.conf").unlink()
    assert system.tree.run("state", "--write").code == 0
    assert not (system.path / METRICS).exists()


def test_what_cannot_be_written_is_named(system):
    (system.path / "var/lib/kmodkeep/host.json").mkdir(parents=True)
    (system.path / "var/lib/kmodkeep/host.json/x").touch()
    result = system.tree.run("state", "--write")
    assert result.code == 1 and "host.json" in result.err
    assert (system.path / METRICS).exists()


def test_a_damaged_rotation_is_no_rotation_that_is_known(system):
    system.tree.put("var/lib/kmodkeep/rotation.json", "{")
    assert state(system)["rotation"] is None
    assert 'kmodkeep_key_rotation{phase="unknown"}' in written(system)


def test_no_host_makes_more_series_than_others(system):
    """What does not serve is not what is left out."""
    names = [f"drv{n}" for n in range(140)]
    for name in names:
        system.driver(name)
    for name in names[:-1]:
        for kernel in (OLD, NEW):
            path = system.module_file(kernel, name)
            path.write_bytes(system.module_file(kernel).read_bytes())
    for kernel in (OLD, NEW):
        system.depmod(kernel)
    system.tree.run("guard")
    lines = (system.path / "var/kmodkeep.prom").read_text().splitlines()
    series = [line for line in lines if line.startswith("kmodkeep_module_loads{")]
    findings = len(state(system)["findings"])
    assert len(series) == 256 < findings
    assert f"kmodkeep_findings_left_out {findings - 256}" in lines
    verdicts = [re.search('verdict="(.*?)"', line)[1] for line in series]
    assert verdicts == sorted(verdicts, key=lambda v: v == "ok") and 'driver="drv139"' in "".join(series)


def test_usage(system):
    assert system.tree.run("state", "nonsense").code == 2
    assert system.tree.run("state", "--nonsense").code == 2


def test_the_fleet_is_another_package(tree):
    result = tree.run("fleet", "report", root=False)
    assert result.code == 1 and result.err.endswith("Next: install kmodkeep-fleet\n")
