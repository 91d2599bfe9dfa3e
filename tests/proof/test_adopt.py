# SPDX-License-Identifier: GPL-2.0-or-later
"""A host as people have it: drivers of others, dkms's own key enrolled, kmodkeep installed last.

It adopts them; the kernel is updated, and one driver does not build; a newer source of it
comes, and is repaired; its firmware forgets all keys; kmodkeep goes. Each prediction and each
step is compared with what the kernel then does, under Secure Boot.

SYSTEM=bookworm chooses the system. What the guests said stays in build/results/adopt-SYSTEM.
"""

import json
import os
import secrets
import shutil

import pytest

from tests.demo.story import PASSWORD_CHARACTERS
from tests.lib import apt
from tests.proof.guest import PATIENCE, ask, by_kernel_and_module, differences, load
from tests.proof.host import Host
from tests.proof.system import TOP
from tests.qemu import mokmanager

# By suite: five drivers that build on both kernels, one that does not, and where its newer
# source is.
SYSTEMS = {
    "bookworm": (("acpi-call", "bbswitch", "dm-writeboost", "r8168", "tp-smapi"), "v4l2loopback",
                 "trixie"),
}
SELECTED = [name for name in os.environ.get("SYSTEM", ",".join(SYSTEMS)).split(",")
            if name in SYSTEMS]


class Told:
    """What happened, in the order of the tests."""


@pytest.fixture(scope="module", params=SELECTED)
def host(request):
    logs = TOP / f"build/results/adopt-{request.param}"
    shutil.rmtree(logs, ignore_errors=True)
    drivers, broken, newer = SYSTEMS[request.param]
    Told.broken = broken
    made = Host(request.param, (*drivers, broken), logs,
                apt.download(newer, [f"{broken}-dkms"]).glob("*.deb"))
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


def compare(host, guest):
    """Predict, then load all; what served. It must be as predicted, here and before the boot."""
    kernel = guest.check("uname -r").strip()
    before = getattr(Told, "predicted", {})
    now = by_kernel_and_module(ask(guest))
    loads = load(guest, host.modules)
    wrong = [*differences(now, loads),
             *(differences(before, loads) if (kernel, min(host.modules)) in before else ())]
    assert not wrong, "\n".join(wrong)
    Told.predicted = now
    return {module for (_, module), seen in loads.items() if seen.served}


def modules_of(host, driver):
    return set(next(modules for name, modules in host.system.drivers.items()
                    if name.startswith(driver)))


def test_adopt_takes_them_as_they_are(host):
    with host.booted("adopt") as guest:
        Told.old = guest.check("uname -r").strip()
        sums = "cd /lib/modules && find . -path '*/updates/*' -name '*.ko*' | sort | xargs sha256sum"
        Told.files = guest.check(sums, PATIENCE)
        at_work(guest, "dpkg -i /mnt/kmodkeep_*.deb", 0)
        at_work(guest, "update-grub", 0)
        at_work(guest, "kmodkeep status")
        assert at_work(guest, "kmodkeep adopt --all --dry-run").status == 1
        assert guest.run("ls /etc/kmodkeep/drivers.d").output.strip() == ""
        plan = at_work(guest, "kmodkeep adopt --all --yes", 0)
        assert "/var/lib/dkms/mok.key (enrolled)" in plan.output, plan.output
        assert "kmodkeep: adopted already" in at_work(guest, "kmodkeep adopt --all --yes", 0).output
        # The kernel trusts what is there: nothing is signed again.
        assert guest.check(sums, PATIENCE) == Told.files
        assert f"next boot safe (kernel {Told.old})" in at_work(guest, "kmodkeep guard", 0).output
        assert compare(host, guest) == host.modules


def test_update_would_lose_the_one_that_does_not_build(host):
    Told.new = host.update_kernel()
    lost = modules_of(host, Told.broken)
    with host.booted("updated") as guest:
        assert guest.check("uname -r").strip() == Told.old
        at_work(guest, "update-grub", 0)
        assert compare(host, guest) == host.modules
        said = next_boot(guest)
        assert (said["safe"], said["kernel"], said["serves"]["kernel"]) == ("no", Told.new, Told.old)
        assert {f["module"] for f in said["lost"]} == lost
        for _ in range(2):  # what cannot be repaired is not made worse
            assert at_work(guest, "kmodkeep repair --yes").status == 1
        assert {f["module"] for f in next_boot(guest)["lost"]} == lost
        Told.predicted = by_kernel_and_module(ask(guest))
        guest.reboot()
        guest.wait_booted()
        assert guest.check("uname -r").strip() == Told.new
        assert compare(host, guest) == host.modules - lost
        repair(host, guest)


def repair(host, guest):
    """A newer source comes, as one that is taken from elsewhere does: dkms is told of it."""
    guest.check("mountpoint -q /mnt || mount -o ro LABEL=packages /mnt", PATIENCE)
    at_work(guest, f"dpkg-deb -x /mnt/{Told.broken}-dkms_*.deb /run/newer && "
                   "cp -r /run/newer/usr/src/* /usr/src/", 0)
    source = guest.check("basename /run/newer/usr/src/*").strip()
    at_work(guest, f"dkms add {source.replace(Told.broken + '-', Told.broken + '/')}", 0)
    steps = [step["command"] for step in next_boot(guest)["repair"]]
    build = f"dkms install {source.replace(Told.broken + '-', Told.broken + '/')} -k {Told.new}"
    assert steps[0] == build, steps
    before = guest.check("dkms status; dpkg -l | md5sum")
    assert at_work(guest, "kmodkeep repair --dry-run").status == 1
    assert guest.check("dkms status; dpkg -l | md5sum") == before
    said = at_work(guest, "kmodkeep repair --yes", 0).output
    assert f"step 1: {build}" in said, said
    assert f"now: {Told.broken} on {Told.new}: ok" in said, said
    assert f"kmodkeep: next boot safe (kernel {Told.new})" in said, said
    assert not guest.check("dpkg --audit")
    assert compare(host, guest) == host.modules


def test_cleared_keys_are_noticed_and_enrolled_again(host):
    password = "".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(10))
    with host.booted("cleared", trusted=False) as guest:
        assert guest.check("uname -r").strip() == Told.new
        Told.predicted = {}
        assert compare(host, guest) == set()
        assert {f["verdict"] for f in Told.predicted.values()} == {"untrusted-key"}
        said = next_boot(guest)
        assert "keys-cleared" in [change["change"] for change in said["changes"]], said
        assert "shim trusts these keys no more" in guest.check("cat /run/motd.d/kmodkeep")
        assert at_work(guest, "kmodkeep repair --yes").status == 1
        at_work(guest, f"echo {password} | kmodkeep adopt --all --yes --password-stdin", 0)
        guest.reboot()
        mokmanager.enrol(guest, password, guest.workdir)
        guest.wait_booted()
        Told.predicted = {}
        assert compare(host, guest) == host.modules
        assert next_boot(guest)["safe"] == "yes"
        goes(host, guest)


def goes(host, guest):
    """kmodkeep is purged, and the drivers stay."""
    before = guest.check("dkms status")
    at_work(guest, "DEBIAN_FRONTEND=noninteractive dpkg --purge kmodkeep", 0)
    assert guest.check("dkms status") == before
    assert guest.run("find /etc /usr -name '*kmodkeep*'").output == ""
    guest.reboot()
    guest.wait_booted()
    assert guest.run("command -v kmodkeep").status
    assert {module for (_, module), seen in load(guest, host.modules).items()
            if seen.served} == host.modules
