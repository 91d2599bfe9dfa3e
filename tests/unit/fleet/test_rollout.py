# SPDX-License-Identifier: GPL-2.0-or-later
"""The record of a roll-out and its lock, without Ansible; and what is installed."""

import fcntl
import json
import os
import re
import subprocess

import pytest
from ansible.plugins.filter.core import FilterModule
from jinja2 import Environment

from tests.unit.fleet.hosts import TOP, fleet, put, state

MANUAL = (TOP / "man/kmodkeep-fleet.8").read_text().replace("\\-", "-")
# What stands for ansible-playbook: it says what it was given, and whether the lock is held.
PLAYBOOK = """#!/bin/sh
echo "$KMODKEEP_ROLLOUT $LC_ALL $*"
flock -n "$KMODKEEP_ROLLOUT/lock" true && echo "not locked"
exit 4
"""


@pytest.fixture
def rollout(tmp_path):
    """Runs the verb with that in place of Ansible."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/ansible-playbook").write_text(PLAYBOOK)
    (tmp_path / "bin/ansible-playbook").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    return lambda *words: fleet("rollout", "--dir", tmp_path / "dir", *words, env=environment)


def record(tmp_path):
    return json.loads((tmp_path / "dir/rollout.json").read_text())


def mark(tmp_path, word, *hosts):
    more = ["--hosts", "-"] if hosts else []
    return fleet("mark", "--dir", tmp_path / "dir", word, *more, input="\n".join(hosts))


def test_it_becomes_ansible_with_the_lock(rollout, tmp_path):
    done = rollout("--", "-i", "hosts")
    assert done.returncode == 4 and not done.stderr
    assert done.stdout.splitlines()[1:] == [f"{tmp_path}/dir C.UTF-8 kmodkeep.fleet.rollout -i hosts"]
    assert record(tmp_path)["state"] == "running" and record(tmp_path)["hosts"] == {}


def test_a_second_one_is_refused(rollout, tmp_path):
    rollout()
    before = record(tmp_path)
    with open(tmp_path / "dir/lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for words in ([], ["--new"], ["--resume"]):
            done = rollout(*words)
            assert done.returncode == 2 and "a roll-out is going on there. Next: wait for it" in done.stderr
    assert record(tmp_path) == before


def test_one_that_is_not_finished_is_not_forgotten(rollout, tmp_path):
    rollout()
    mark(tmp_path, "done", "h1", "h2")
    mark(tmp_path, "updating", "h3")
    done = rollout()
    assert done.returncode == 2 and "is running: 1 updating, 2 done. Next: --resume, or --new" in done.stderr
    put(tmp_path / "dir/before", state("h3"))
    assert rollout("--resume").returncode == 4
    assert record(tmp_path)["hosts"] == {"h1": "done", "h2": "done", "h3": "updating"}
    assert (tmp_path / "dir/before/h3.json").exists()
    assert rollout("--new").returncode == 4
    assert record(tmp_path)["hosts"] == {} and not (tmp_path / "dir/before/h3.json").exists()


def test_finished(rollout, tmp_path):
    rollout()
    assert rollout("--show").returncode == 1
    mark(tmp_path, "done", "h1")
    mark(tmp_path, "finished")
    shown = rollout("--show")
    assert shown.returncode == 0 and shown.stdout.endswith("is finished: 1 done\n  done      h1\n")
    done = rollout("--resume")
    assert done.returncode == 2 and "there is nothing to go on with" in done.stderr
    assert rollout().returncode == 4


def test_nothing_to_resume_or_show(rollout):
    done = rollout("--resume")
    assert done.returncode == 2 and "there is no roll-out to go on with" in done.stderr
    done = rollout("--show")
    assert (done.returncode, done.stdout) == (1, "there was no roll-out\n")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2, "hosts": {}}', '{"schema": 1, "hosts": []}'])
def test_a_damaged_record_is_no_fresh_start(rollout, tmp_path, text):
    rollout()
    (tmp_path / "dir/rollout.json").write_text(text)
    for words in ([], ["--resume"]):
        done = rollout(*words)
        assert done.returncode == 2 and "damaged, so nobody knows how far the roll-out was" in done.stderr
    assert rollout("--new").returncode == 4


def test_without_ansible(tmp_path):
    done = fleet("rollout", "--dir", tmp_path / "dir", env={**os.environ, "PATH": "/nonexistent"})
    assert done.returncode == 3 and "ansible-playbook is not installed. Next: install ansible-core" in done.stderr


def test_marks_that_make_no_sense(rollout, tmp_path):
    assert mark(tmp_path, "done", "h1").returncode == 2
    rollout()
    done = mark(tmp_path, "done")
    assert done.returncode == 2 and "is said of hosts" in done.stderr


def test_every_option_is_in_the_manual():
    for verb in ("report", "gate", "build", "package", "publish", "radar", "pull", "redfish", "rollout", "verify"):
        done = fleet(verb, "--help")
        assert done.returncode == 0 and "%%" not in done.stdout, done.stdout
        for option in set(re.findall(r"--[a-z-]+", done.stdout)) - {"--help"}:
            assert option in MANUAL, option


def test_every_fault_is_in_the_manual_and_the_guide():
    guide = (TOP / "docs/fleet.md").read_text()
    source = (TOP / "fleet/kmodkeep_fleet/gate.py").read_text()
    words = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', re.search(r"BLAMED = {(.*?)}", source, re.S)[1]))
    assert len(words) == 11
    for word in words:
        assert word in MANUAL and f"`{word}`" in guide, word
    refusals = re.findall(r'Refused\(\s*"([a-z-]+)"|refuse\(name, "([a-z-]+)"', (TOP / "fleet/kmodkeep_fleet/states.py").read_text())
    for word in {one or other for one, other in refusals} - {"unreadable"}:
        assert f"`{word}`" in guide, word


def test_what_is_installed_works(tmp_path):
    subprocess.run(["make", "-s", "-C", TOP / "fleet", "install", f"DESTDIR={tmp_path}/root"], check=True)
    program = tmp_path / "root/usr/lib/kmodkeep/fleet"
    done = subprocess.run([program, "kmodkeep", "report", put(tmp_path / "d", state("h1"))],
                          capture_output=True, text=True, cwd="/")  # fmt: skip
    assert done.returncode == 0 and done.stdout.startswith("The next boot is safe on the one host.")
    assert not list((tmp_path / "root").rglob("*.pyc"))
    collection = tmp_path / "root/usr/share/ansible/collections/ansible_collections/kmodkeep/fleet"
    assert (collection / "roles/rollout/meta/argument_specs.yml").exists()


def test_what_was_seen_of_a_host_is_forgotten_when_it_is_updated_again(rollout, tmp_path):
    """But not what it was before its first update."""
    rollout()
    for part in ("before", "after", "now", "back"):
        for name in ("h1", "h2"):
            (tmp_path / "dir" / part / f"{name}.json").write_text("{}")
    assert mark(tmp_path, "updating", "h1").returncode == 0
    left = sorted(str(path.relative_to(tmp_path / "dir")) for path in (tmp_path / "dir").glob("*/h*.json"))
    assert left == ["after/h2.json", "back/h2.json", "before/h1.json", "before/h2.json", "now/h2.json"]


def test_every_setting_of_the_guard_is_in_the_role():
    """As a variable with a default and a description, and in the file that the role writes."""
    page = (TOP / "man/kmodkeep.8").read_text().replace("\\-", "-")
    page = page.split(".I /etc/kmodkeep/guard.conf\nhas lines\n")[1].split("\n.SH ")[0]
    settings = re.findall(r"^\.TP\n\.BI?R? \"(\w+) = ", page, re.M)
    assert len(settings) == page.count("\n.TP\n") and {"mail", "gate_reboot", "firmware_secure_boot"} <= set(settings)
    role = TOP / "fleet/ansible/roles/kmodkeep"
    defaults, specs = (role / "defaults/main.yml").read_text(), (role / "meta/argument_specs.yml").read_text()
    # In Prometheus's words these are the metrics, whoever fetches them.
    variables = {name: "kmodkeep_metrics" if name == "prometheus" else f"kmodkeep_{name}" for name in settings}
    for name, variable in variables.items():
        assert re.search(rf"^{variable}:", defaults, re.M), name
        assert re.search(rf"^      {variable}:\n        type: \w+\n(?:        .*\n)*?        description:", specs, re.M), name
    template = dict(re.findall(r"^(\w+) = \{\{ (\w+) ", (role / "templates/guard.conf.j2").read_text(), re.M))
    assert template == variables


@pytest.mark.parametrize(("given", "written"), [(True, "yes"), (False, "no"), ("yes", "yes"), ("no", "no"), ("False", "no")])
def test_yes_and_no_are_words_in_an_inventory_of_ini(given, written):
    """Also with -e NAME=no. Ansible checks the type there, and leaves the word."""
    environment = Environment(autoescape=False)
    environment.filters.update(FilterModule().filters())
    text = (TOP / "fleet/ansible/roles/kmodkeep/templates/guard.conf.j2").read_text()
    names = ("kmodkeep_discovery", "kmodkeep_firmware_secure_boot", "kmodkeep_gate_reboot")
    said = environment.from_string(text).render(kmodkeep_gate="x", **dict.fromkeys(names, given))
    for name in ("discovery", "firmware_secure_boot", "gate_reboot"):
        assert re.findall(rf"^{name} = (.*)$", said, re.M) == [written], said
