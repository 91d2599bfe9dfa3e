# SPDX-License-Identifier: GPL-2.0-or-later
"""A roll-out by Ansible, over ssh, to full guests with Secure Boot, whose drivers are really loaded.

A version that breaks the build is stopped at the canary, the other host is not touched, the canary
goes back, and the page says why.  tests/fleet/test_hosts.py has more troubles, on hosts whose kernel
is simulated.

What the hosts and Ansible said stays in build/results/fleet.
"""

import json
import re
import shutil
import subprocess

import pytest

from tests.fleet.controller import Ansible
from tests.proof.fleet import BROKEN, DRIVER, GOOD, Fleet
from tests.proof.guest import PATIENCE
from tests.unit.fleet.hosts import PROGRAM, TOP

LOGS = TOP / "build/results/fleet"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    shutil.rmtree(LOGS, ignore_errors=True)
    LOGS.mkdir(parents=True)
    with Fleet(tmp_path_factory.mktemp("fleet"), LOGS) as made:
        made.ansible = Ansible(made)
        made.ansible.environment["ANSIBLE_TIMEOUT"] = "120"  # seconds until ssh is there
        yield made


def command(fleet, version, *words):
    """What rolls VERSION out to all hosts, in batches of one."""
    fleet.ansible.directory = fleet.ansible.path / version
    return fleet.ansible.command(*words, rollout_packages=[DRIVER], rollout_batches=["1"], rollout_reboot_tasks="reboot.yml",
                                 rollout_reboot_timeout=PATIENCE)  # fmt: skip


def seen(fleet, host):
    """What the guest itself says, not its state."""
    return {"version": host.version(), "boot": host.boot_id(), "loaded": host.run("cat /proc/modules").count("guest_trouble ")}


# For each: what the gate says, and what the page says.
BAD = {
    BROKEN: (r"update-failed: h1 \(", f"dkms could not build {DRIVER}"),
}


@pytest.mark.parametrize("version", BAD)
def test_it_stops_at_the_canary_and_goes_back(fleet, version):
    canary, other = fleet.hosts
    fleet.publish(version)
    before = seen(fleet, canary), seen(fleet, other)
    assert [one["version"] for one in before] == [f"installed {GOOD}"] * 2 and all(one["loaded"] for one in before)
    done = subprocess.run(command(fleet, version), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=fleet.ansible.environment,
                          timeout=4 * PATIENCE)  # fmt: skip
    (LOGS / f"ansible-{version}.log").write_text(done.stdout + done.stderr)
    page = subprocess.run([PROGRAM, "kmodkeep", "report", fleet.ansible.directory / "now"], capture_output=True, text=True, timeout=600).stdout
    (LOGS / f"page-{version}").write_text(page)
    gate, why = BAD[version]
    assert done.returncode != 0 and re.search(f"The gate says go-back: .*{gate}", done.stdout), done.stdout[-6000:]
    assert (fleet.ansible.record()["state"], fleet.ansible.record()["hosts"]) == ("gone-back", {"h1": "failed"}), done.stdout[-6000:]
    assert "h1" in page and re.search(why, " ".join(page.split())), page
    # The other was not touched; the canary is as it was, but for its boots, and the driver serves.
    assert seen(fleet, other) == before[1]
    after = seen(fleet, canary)
    assert after["boot"] != before[0]["boot"] and {**after, "boot": before[0]["boot"]} == before[0]
    back = json.loads((fleet.ansible.directory / "back/h1.json").read_text())
    # The update brought no kernel, so none is held back.
    assert (back["safe"], back["secure_boot"], back["pin"]) == ("yes", "on", None), back
