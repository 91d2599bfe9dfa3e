# SPDX-License-Identifier: GPL-2.0-or-later
"""The collection on this machine: each host is a folder, and what would touch a system is a fake.

Ansible itself, the gate, the lock and the record of the roll-out are the real ones.
"""

import json
import os
import shutil
import subprocess
import time

import pytest

from tests.unit.fleet.hosts import PROGRAM, TOP, losing, rebooted, state

# kmodkeep on a host: prints the state that lies there; asked for more it says so in a log.
KMODKEEP = """#!/bin/sh
set -eu
echo "$*" >>log
case $1 in
state) cat state.json ;;
guard) exit 1 ;;
key) if [ "$2" = status ]; then cat key; else IFS= read -r password; printf '%s' "$password" >password; fi ;;
esac
"""
# What an update makes of a host is prepared in a file beside its state.
UPDATE = """
- name: Update it
  ansible.builtin.shell: |
    echo update >>log
    [ ! -e hang ] || {{ touch hanging; sleep 60; }}
    [ ! -e breaks ] || {{ echo "E: cannot be unpacked"; exit 1; }}
    [ ! -e old.json ] && cp state.json old.json
    cp new.json state.json
  args:
    chdir: "{hosts}/{{{{ inventory_hostname }}}}"
"""
BACK = """
- name: Take it back
  ansible.builtin.shell: |
    echo back >>log
    [ ! -e sticks ] || exit 1
    [ ! -e old.json ] || cp old.json state.json
  args:
    chdir: "{hosts}/{{{{ inventory_hostname }}}}"
"""


def wait_for(condition, seconds):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.1)


class Fleet:
    """Hosts in folders, and their controller."""

    def __init__(self, path):
        self.path, self.hosts, self.directory = path, path / "hosts", path / "rollout"
        collection = path / "collections/ansible_collections/kmodkeep/fleet"
        collection.parent.mkdir(parents=True)
        collection.symlink_to(TOP / "fleet/ansible")
        self.hosts.mkdir()
        for name, text in (("update", UPDATE), ("back", BACK)):
            (path / f"{name}.yml").write_text(text.format(hosts=self.hosts))
        (path / "nothing.yml").write_text("[]\n")
        (path / "ansible.cfg").write_text(
            f"[defaults]\ncollections_path = {path}/collections\nretry_files_enabled = false\n"
            f"local_tmp = {path}/tmp\nremote_tmp = {path}/tmp\nforks = 2\npipelining = true\n")  # fmt: skip

    def host(self, name, now=None, new=None):
        """One that is in state NOW, and in state NEW after its update and reboot."""
        path = self.hosts / name
        path.mkdir()
        (path / "state.json").write_text(json.dumps(now or state(name)))
        (path / "new.json").write_text(json.dumps(new or rebooted(name)))
        (path / "kmodkeep").write_text(KMODKEEP.replace("set -eu", f"set -eu\ncd '{path}'"))
        (path / "kmodkeep").chmod(0o755)
        return path

    def log(self, name):
        log = self.hosts / name / "log"
        return [line for line in log.read_text().split("\n") if line in ("update", "back")] if log.exists() else []

    def environment(self):
        return {**os.environ, "ANSIBLE_CONFIG": str(self.path / "ansible.cfg"), "LC_ALL": "C.UTF-8",
                "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip

    def inventory(self):
        names = sorted(path.name for path in self.hosts.iterdir())
        lines = [f"{name} ansible_connection=local ansible_python_interpreter=/usr/bin/python3 "
                 f"rollout_program={self.hosts}/{name}/kmodkeep kmodkeep_program={self.hosts}/{name}/kmodkeep"
                 for name in names]  # fmt: skip
        (self.path / "inventory").write_text("\n".join(["[fleet]", *lines, ""]))
        return self.path / "inventory"

    def command(self, *words, **variables):
        settings = {
            "rollout_hosts": "fleet", "rollout_recorder": "", "rollout_settle": 0, "rollout_batches": ["1", "100%"],
            "rollout_update_tasks": f"{self.path}/update.yml", "rollout_back_tasks": f"{self.path}/back.yml",
            "rollout_reboot_tasks": f"{self.path}/nothing.yml", "rollout_fleet": [str(PROGRAM), "kmodkeep"], **variables,
        }  # fmt: skip
        return [PROGRAM, "kmodkeep", "rollout", "--dir", self.directory, *words, "--", "-i", self.inventory(),
                "-e", json.dumps(settings)]  # fmt: skip

    def rollout(self, *words, **variables):
        return subprocess.run(self.command(*words, **variables), capture_output=True, text=True, timeout=900,
                              env=self.environment())  # fmt: skip

    def record(self):
        doc = json.loads((self.directory / "rollout.json").read_text())
        return doc["state"], doc["hosts"]


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)


def test_a_good_update(fleet):
    for name in ("h1", "h2", "h3"):
        fleet.host(name)
    done = fleet.rollout()
    assert done.returncode == 0, done.stdout + done.stderr
    assert fleet.record() == ("finished", dict.fromkeys(("h1", "h2", "h3"), "done"))
    assert all(fleet.log(name) == ["update"] for name in ("h1", "h2", "h3"))


def test_a_bad_one_stops_at_the_canary_and_is_taken_back(fleet):
    fleet.host("h1", new=losing("h1"))
    fleet.host("h2")
    done = fleet.rollout()
    assert done.returncode != 0 and "The gate says go-back: loses-driver: h1 (sample: missing" in done.stdout
    assert fleet.record() == ("gone-back", {"h1": "failed"})
    assert fleet.log("h1") == ["update", "back"] and fleet.log("h2") == []
    refused = fleet.rollout()
    assert refused.returncode == 2 and "gone-back: 1 failed. Next: --resume, or --new" in refused.stderr


def test_an_update_that_fails_is_the_fault_of_the_update(fleet):
    """And it is not said to be taken back where it was not."""
    (fleet.host("h1") / "breaks").touch()
    (fleet.hosts / "h1/sticks").touch()
    fleet.host("h2")
    done = fleet.rollout()
    assert "go-back: update-failed: h1 (Update it: non-zero return code)" in done.stdout, done.stdout
    assert "it could not be taken back on h1" in done.stdout
    assert fleet.record() == ("stopped", {"h1": "failed"}) and fleet.log("h2") == []


def test_the_kernel_goes_back_where_all_packages_are_new(fleet):
    """Of those there is no version to go back to, and a newer kernel may have come with them."""
    path = fleet.host("h1", new=losing("h1"))
    (path / "kmodkeep").write_text((path / "kmodkeep").read_text().replace("guard) exit 1", "guard) exit 0"))
    with open(fleet.path / "update.yml", "a", encoding="utf-8") as file:
        file.write("- name: Keep the versions\n  kmodkeep.fleet.keep:\n    into: before\n    versions: []\n")
    done = fleet.rollout(rollout_back_tasks="back.yml")
    assert done.returncode != 0 and "The gate says go-back" in done.stdout, done.stdout
    assert f"pin hold {state('h1')['running_kernel']}\n" in (path / "log").read_text()
    assert fleet.record() == ("gone-back", {"h1": "failed"})


def test_one_that_says_nothing_after_its_update_is_counted(fleet):
    fleet.host("h1")
    (fleet.hosts / "h1/new.json").write_text("")
    fleet.host("h2")
    done = fleet.rollout()
    assert "The gate says go-back: gone: h1 (it was there before the batch; now missing" in done.stdout, done.stdout
    assert fleet.record() == ("gone-back", {"h1": "failed"}) and fleet.log("h2") == []


def test_unwell_before(fleet):
    """A host that is unwell already is left out, or nothing is begun; and it is not forgotten."""
    fleet.host("h1", now=losing("h1"))
    fleet.host("h2")
    done = fleet.rollout()
    assert done.returncode != 0 and "Nothing was changed: loses-driver: h1" in done.stdout
    assert not fleet.log("h1") and not fleet.log("h2")
    done = fleet.rollout("--new", rollout_allow_unwell="1")
    assert done.returncode == 0, done.stdout
    assert fleet.record() == ("finished", {"h1": "left-out", "h2": "done"}) and not fleet.log("h1")


def test_killed_and_resumed_and_two_at_once(fleet):
    for name in ("h1", "h2"):
        fleet.host(name)
    (fleet.hosts / "h2/hang").touch()
    with subprocess.Popen(fleet.command(), stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT,
                          env=fleet.environment(), start_new_session=True) as running:  # fmt: skip
        try:
            wait_for(lambda: (fleet.hosts / "h2/hanging").exists(), 600)
            second = fleet.rollout("--resume")
            assert second.returncode == 2 and "a roll-out is going on there" in second.stderr
        finally:
            os.killpg(running.pid, 9)
    assert fleet.record() == ("running", {"h1": "done", "h2": "updating"})
    (fleet.hosts / "h2/hang").unlink()
    refused = fleet.rollout()
    assert refused.returncode == 2 and "is running: 1 updating, 1 done. Next: --resume" in refused.stderr
    assert fleet.rollout("--resume").returncode == 0
    assert fleet.record() == ("finished", dict.fromkeys(("h1", "h2"), "done"))
    assert fleet.log("h1") == ["update"] and fleet.log("h2") == ["update", "update"]


def test_without_the_lock(fleet):
    fleet.host("h1")
    done = subprocess.run(["ansible-playbook", "kmodkeep.fleet.rollout", "-i", fleet.inventory()],
                          capture_output=True, text=True, timeout=600, env=fleet.environment())  # fmt: skip
    assert done.returncode != 0 and "Start it with: kmodkeep fleet rollout" in done.stdout
    assert not fleet.log("h1")


ROLES = """
- hosts: fleet
  gather_facts: false
  roles: [kmodkeep.fleet.kmodkeep, kmodkeep.fleet.flightrec]
"""


def roles(fleet, *words, **variables):
    (fleet.path / "roles.yml").write_text(ROLES)
    host = fleet.hosts / "h1"
    settings = {
        "kmodkeep_packages": [], "kmodkeep_directory": f"{host}/etc", "kmodkeep_enroll": True,
        "kmodkeep_drivers": {"wifi": {"modules": ["a", "b"], "policy": "pin-last-good", "load": True}},
        "kmodkeep_secrets": f"{fleet.path}/secrets", "flightrec_packages": [], "flightrec_modprobe": f"{host}/modprobe",
        "flightrec_units": str(host), "flightrec_options": {"channels": "default,app"}, **variables,
    }  # fmt: skip
    return subprocess.run(["ansible-playbook", fleet.path / "roles.yml", "-i", fleet.inventory(), "-e",
                           json.dumps(settings), *words], capture_output=True, text=True, timeout=600,
                          env=fleet.environment())  # fmt: skip


def test_the_roles(fleet):
    """Check mode changes nothing; the second run changes nothing; the secret is nowhere to be seen."""
    host = fleet.host("h1")
    (host / "key").write_text("secure_boot=on\nenrolment=not-enrolled\n")
    before = sorted(path.name for path in host.iterdir())
    done = roles(fleet, "--check", "--diff", kmodkeep_enroll=False)
    assert done.returncode == 0 and "+policy = pin-last-good" in done.stdout, done.stdout
    assert sorted(path.name for path in host.iterdir()) == before
    done = roles(fleet, "-v")
    assert done.returncode == 0, done.stdout
    password = (host / "password").read_text()
    assert len(password) == 12 and password not in done.stdout
    assert (fleet.path / "secrets/h1").read_text().split()[0] == password
    assert (fleet.path / "secrets/h1").stat().st_mode & 0o077 == 0
    assert "somebody must confirm at its console" in " ".join(done.stdout.split())
    (host / "key").write_text("secure_boot=on\nenrolment=pending\n")
    done = roles(fleet, "--diff")
    assert "changed=0" in done.stdout and "somebody must confirm" in done.stdout, done.stdout
    lines = (host / "etc/drivers.d/wifi.conf").read_text().splitlines()[1:]
    assert lines == ["modules = a b", "policy = pin-last-good", "load = yes"]
    assert (host / "etc/guard.conf").read_text().splitlines()[1:] == [
        "pin_max_age = 14", "discovery = yes", "prometheus = /var/lib/prometheus/node-exporter/kmodkeep.prom"]  # fmt: skip
    assert (host / "modprobe").read_text().splitlines()[1:] == ["options flightrec channels=default,app"]


def test_all_settings_of_the_guard(fleet):
    """Whatever the manual page has; tests/unit/fleet/test_rollout.py compares them."""
    host = fleet.host("h1")
    done = roles(fleet, kmodkeep_enroll=False, kmodkeep_mail="root", kmodkeep_firmware_starts="/boot/efi/EFI/debian/grubaa64.efi",
                 kmodkeep_firmware_secure_boot=False, kmodkeep_pin_max_age=7, kmodkeep_discovery=False, kmodkeep_gate="file:///gate",
                 kmodkeep_gate_certificate="the certificate\n", kmodkeep_gate_timer=False)  # fmt: skip
    assert done.returncode == 0, done.stdout
    written = dict(line.split(" = ") for line in (host / "etc/guard.conf").read_text().splitlines()[1:])
    assert written == {"pin_max_age": "7", "discovery": "no", "mail": "root", "firmware_secure_boot": "no", "gate": "file:///gate",
                       "firmware_starts": "/boot/efi/EFI/debian/grubaa64.efi", "gate_reboot": "no",
                       "prometheus": "/var/lib/prometheus/node-exporter/kmodkeep.prom"}  # fmt: skip


def test_a_repository_without_its_key(fleet):
    fleet.host("h1")
    done = roles(fleet, kmodkeep_repository="https://example.org/")
    assert done.returncode != 0 and "a key that came from the repository would prove nothing" in done.stdout


def test_a_gate(fleet):
    """Its certificate comes from here, or nothing is set."""
    host = fleet.host("h1")
    settings = {"kmodkeep_gate": "http://packages.example/gate", "kmodkeep_gate_timer": False, "kmodkeep_enroll": False}
    done = roles(fleet, **settings)
    assert done.returncode != 0 and "Set kmodkeep_gate_certificate" in done.stdout and not (host / "etc/gate.pem").exists()
    done = roles(fleet, kmodkeep_gate_certificate="the certificate\n", kmodkeep_gate_reboot=True, **settings)
    assert done.returncode == 0, done.stdout
    assert (host / "etc/gate.pem").read_text() == "the certificate\n"
    assert (host / "etc/guard.conf").read_text().splitlines()[-2:] == ["gate = http://packages.example/gate", "gate_reboot = yes"]


def test_a_variable_of_another_type(fleet):
    fleet.host("h1")
    done = roles(fleet, kmodkeep_pin_max_age="soon")
    assert done.returncode != 0 and "kmodkeep_pin_max_age" in done.stdout


def test_lint(tmp_path):
    """The strictest profile has nothing to say; --offline: it fetches nothing."""
    collections = tmp_path / "ansible_collections/kmodkeep"
    shutil.copytree(TOP / "fleet/ansible", collections / "fleet")
    command = ["ansible-lint", "--offline", "--profile", "production", "--nocolor"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, cwd=collections / "fleet",
                          env={**os.environ, "LC_ALL": "C.UTF-8", "ANSIBLE_COLLECTIONS_PATH": str(tmp_path),
                               "HOME": str(tmp_path)})  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
