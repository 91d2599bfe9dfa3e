# SPDX-License-Identifier: GPL-2.0-or-later
"""A host as people have it: drivers of others, dkms's own key enrolled, kmodkeep installed last.

It adopts them; the kernel is updated, and one driver does not build, which repair cannot mend.
Each prediction is compared with what the kernel then does, under Secure Boot.

SYSTEM=bookworm chooses the system. What the guests said stays in build/results/adopt-SYSTEM.
"""

import json
import os
import shutil

import pytest

from tests.proof.guest import PATIENCE, ask, by_kernel_and_module, differences, load
from tests.proof.host import Host
from tests.proof.system import TOP

# By suite: drivers that build on both kernels, and one that does not.
SYSTEMS = {
    "bookworm": (("acpi-call", "bbswitch", "ddcci/bookworm-backports", "tp-smapi/bookworm-backports",
                  "v4l2loopback/bookworm-backports"), "dm-writeboost"),
}
SELECTED = [name for name in os.environ.get("SYSTEM", ",".join(SYSTEMS)).split(",")
            if name in SYSTEMS]
SUMS = "cd /lib/modules && find . -path '*/updates/*' -name '*.ko*' | sort | xargs sha256sum"


@pytest.fixture(scope="module", params=SELECTED)
def host(request):
    logs = TOP / f"build/results/adopt-{request.param}"
    shutil.rmtree(logs, ignore_errors=True)
    drivers, broken = SYSTEMS[request.param]
    made = Host(request.param, (*drivers, broken), logs)
    made.broken = broken
    made.lost = set(made.system.drivers[broken])
    yield made
    made.close()


def at_work(guest, command, status=None):
    """Run COMMAND, which may fail or must end with STATUS; its Result. All is in the logs."""
    result = guest.run(command, PATIENCE)
    with open(guest.workdir / "commands.log", "a", encoding="utf-8") as log:
        log.write(f"\n# {command}\n{result.output}# exit status {result.status}\n")
    assert status is None or result.status == status, f"{result.status}: {result.output}"
    return result


def next_boot(guest):
    """What `kmodkeep next` says."""
    at_work(guest, "kmodkeep next")
    return json.loads(at_work(guest, "kmodkeep next --json").output)


def running(guest):
    return guest.check("uname -r").strip()


def predict(guest):
    return by_kernel_and_module(ask(guest))


def compare(host, guest, before=None):
    """Load all that was predicted, BEFORE a boot or now; which served. All must be as predicted."""
    kernel = running(guest)
    now = predict(guest)
    loads = load(guest, host.modules)
    assert set(loads) == {(kernel, module) for module in host.modules}
    for predicted in (now, before or now):
        assert {(kernel, module) for module in host.modules} <= set(predicted)
        assert "unknown" not in {finding["verdict"] for finding in predicted.values()}
        wrong = list(differences(predicted, loads))
        assert not wrong, "\n".join(wrong)
    return {module for (_, module), seen in loads.items() if seen.served}


def test_adopt_takes_them_as_they_are(host):
    """The kernel trusts what dkms signed: nothing is signed again."""
    with host.booted("adopt") as guest:
        host.old = running(guest)
        files = guest.check(SUMS, PATIENCE)
        at_work(guest, "dpkg -i /mnt/kmodkeep_*.deb", 0)
        at_work(guest, "update-grub", 0)
        at_work(guest, "kmodkeep status")
        assert at_work(guest, "kmodkeep adopt --all --dry-run").status == 1
        assert not guest.run("ls -A /etc/kmodkeep/drivers.d 2>/dev/null").output.strip()
        plan = at_work(guest, "kmodkeep adopt --all --yes", 0)
        assert "/var/lib/dkms/mok.key (enrolled)" in plan.output, plan.output
        assert "kmodkeep: adopted already" in at_work(guest, "kmodkeep adopt --all --yes", 0).output
        assert guest.check(SUMS, PATIENCE) == files
        assert f"next boot safe (kernel {host.old})" in at_work(guest, "kmodkeep guard", 0).output
        host.serving = compare(host, guest)
        # Of a module with the version of the kernel's own dkms leaves the kernel's own in place.
        assert host.modules - host.serving <= {"hdaps"}


def test_update_of_the_kernel_keeps_all_that_build(host):
    """What does not build is named before the boot, with the kernel that has it."""
    host.new = host.update_kernel()
    with host.booted("updated") as guest:
        assert running(guest) == host.old
        at_work(guest, "update-grub", 0)
        assert compare(host, guest) == host.serving
        said = next_boot(guest)
        assert (said["safe"], said["kernel"], said["serves"]["kernel"]) == ("no", host.new, host.old)
        assert {finding["module"] for finding in said["lost"]} == host.lost
        # What cannot be repaired is not made worse.
        assert at_work(guest, "kmodkeep repair --yes").status == 1
        assert {finding["module"] for finding in next_boot(guest)["lost"]} == host.lost
        before = predict(guest)
        guest.restart()
        assert running(guest) == host.new
        assert compare(host, guest, before) == host.serving - host.lost
