# SPDX-License-Identifier: GPL-2.0-or-later
"""The gate of a fleet asks about a host whose kernel is real: its module oopses, or its key is trusted no more.

The guest has Secure Boot on and loads the driver. Its state is taken when the smoke test has
passed, when the kernel has rejected a build of it, and when its code has oopsed. What a
roll-out does about such states is tried in tests/fleet/test_hosts.py.
"""

import json

import pytest

from tests.lib.guestmodules import build_guest_modules
from tests.lib.kernels import kernel
from tests.qemu import variables
from tests.qemu.smallguest import small_guest
from tests.secureboot import cells
from tests.secureboot.chain import SLOW, _packages
from tests.unit.fleet.hosts import fleet, put

KERNEL = "6.1"
DRIVER = "guest-trouble"
DROP_IN = f"modules = {DRIVER}\nsmoke_test = /usr/lib/{DRIVER}/smoke\n"
SMOKE = "#!/bin/sh\n[ ! -e /root/oopses ] || echo oops >/proc/guest-trouble\n"
# Each is one that a roll-out could have brought, in place of the module that serves.
UPDATES = {
    "revoked-key": f"rmmod {DRIVER}; cp /root/revoked.ko $module",
    "mended": "cp /root/good.ko $module",
    "oops": "touch /root/oopses",
}


class Story:
    """{name of the update: (the state of the host, what smoke said, the kernel's log)}; "before" is none."""

    def __init__(self, workdir):
        self.workdir, self.seen = workdir, {}

    def run(self):
        keys = {name: cells.make_key(self.workdir, name) for name in ("good", "unknown")}
        module = build_guest_modules(KERNEL)[DRIVER].read_bytes()
        signed = {name: cells.appended(module, cells.cms(module, [key])) for name, key in keys.items()}
        installed = self.workdir / f"{DRIVER}.ko"
        installed.write_bytes(signed["good"])
        target = kernel(KERNEL)
        files = {f"boot/config-{target.release}": target.config, "root/good.ko": signed["good"], "root/revoked.ko": signed["unknown"],
                 f"usr/lib/kmodkeep/drivers.d/{DRIVER}.conf": DROP_IN, f"usr/lib/{DRIVER}/smoke": SMOKE,
                 "etc/machine-id": "0123456789abcdef0123456789abcdef\n"}  # fmt: skip
        guest = small_guest(KERNEL, self.workdir, _packages(self.workdir / "debs"), modules=[installed], files=files)
        variables.add(self.workdir / "efivars.fd", "MokList", variables.signature_list(variables.X509, [keys["good"].der]))
        with guest:
            guest.wait_shell()
            self.see(guest, "before", "")
            for name, update in UPDATES.items():
                self.see(guest, name, f"module=$(modinfo -n {DRIVER}) && {update}")
        return self

    def see(self, guest, name, update):
        guest.check(f"dmesg -c >/dev/null; {update}", SLOW)
        smoke = guest.run(f"kmodkeep smoke {DRIVER}", SLOW)
        state = json.loads(guest.run("kmodkeep state", SLOW).output)
        self.seen[name] = state, smoke.output, guest.check("dmesg")


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    return Story(tmp_path_factory.mktemp("gate-")).run()


def gate(story, name, path):
    """What the gate decides about the state NAME of the host."""
    before, now = story.seen["before"][0], story.seen[name][0]
    done = fleet("gate", put(path / "now", now), "--before", put(path / "before", before), "--json", "--since", "0")
    return json.loads(done.stdout)


def test_the_driver_served_before(story):
    state, smoke, _ = story.seen["before"]
    assert state["secure_boot"] == "on" and f"{DRIVER}: passed: " in smoke
    assert [one["result"] for one in state["smoke"] if one["driver"] == DRIVER] == ["passed"]


@pytest.mark.parametrize("name, said, logged", [
    ("revoked-key", "untrusted-key", "Loading of module with unavailable key is rejected"),
    ("oops", "loaded, but its smoke test was killed by signal", "BUG: kernel NULL pointer dereference"),
])  # fmt: skip
def test_the_gate_goes_back(story, tmp_path, name, said, logged):
    """By what the kernel did, and the reason names it."""
    _, smoke, log = story.seen[name]
    assert f"{DRIVER}: failed: " in smoke and said in smoke and logged in log, smoke + log
    verdict = gate(story, name, tmp_path)
    assert verdict["decision"] == "go-back", verdict
    host, = verdict["hosts"]
    assert any(reason.startswith(f"smoke-failed: {host} ({DRIVER}: ") and said in reason for reason in verdict["reasons"]), verdict


def test_the_gate_finds_no_fault_with_one_that_was_mended(story, tmp_path):
    """Of the driver; which kernel boots next is not known in a guest without a boot loader's menu."""
    verdict = gate(story, "mended", tmp_path)
    assert not any(reason.startswith("smoke-") for reason in verdict["reasons"]), verdict
