# SPDX-License-Identifier: GPL-2.0-or-later
"""A host as people have it: drivers of others, dkms's own key enrolled, kmodkeep installed last.

It adopts them; the kernel is updated, and one driver does not build; a newer source of it
comes, and is repaired; its firmware forgets all keys; kmodkeep goes. Each prediction and each
step is compared with what the kernel then does, under Secure Boot.

SYSTEM=bookworm chooses the system. What the guests said stays in build/results/adopt-SYSTEM.
"""

import os
import secrets
import shutil

import pytest

from tests.demo.story import PASSWORD_CHARACTERS
from tests.lib import apt
from tests.proof import life
from tests.proof.guest import PATIENCE, load
from tests.proof.host import Host
from tests.proof.life import SUMS, at_work, compare, next_boot, predict, running
from tests.proof.system import TOP
from tests.qemu import mokmanager

# By suite: drivers that build on both kernels, one that does not, and where its newer package is.
SYSTEMS = {
    "bookworm": (("acpi-call", "bbswitch", "ddcci/bookworm-backports", "tp-smapi/bookworm-backports"),
                 "v4l2loopback", ("bookworm", "v4l2loopback-dkms/bookworm-backports")),
    "trixie": (("acpi-call", "bbswitch", "r8168", "vpoll"),
               "v4l2loopback", ("sid", "v4l2loopback-dkms")),
}
SELECTED = [name for name in os.environ.get("SYSTEM", ",".join(SYSTEMS)).split(",")
            if name in SYSTEMS]


@pytest.fixture(scope="module", params=SELECTED)
def host(request):
    logs = TOP / f"build/results/adopt-{request.param}"
    shutil.rmtree(logs, ignore_errors=True)
    drivers, broken, (suite, newer) = SYSTEMS[request.param]
    made = Host(request.param, (*drivers, broken), logs, apt.download(suite, [newer]).glob("*.deb"))
    made.broken = broken
    made.lost = set(made.system.drivers[broken])
    yield made
    made.close()


def test_adopt_takes_them_as_they_are(host):
    """The kernel trusts what dkms signed: nothing is signed again."""
    with host.booted("adopt") as guest:
        host.old = running(guest)
        files = guest.check(SUMS, PATIENCE)
        at_work(guest, "dpkg -i /mnt/kmodkeep_*.deb", 0)
        at_work(guest, "update-grub", 0)
        at_work(guest, "kmodkeep status")
        assert at_work(guest, "kmodkeep adopt --all --dry-run").status == 1
        assert not guest.run("ls -A /etc/kmodkeep/drivers.d 2>/dev/null", PATIENCE).output.strip()
        plan = at_work(guest, "kmodkeep adopt --all --yes", 0)
        assert "/var/lib/dkms/mok.key (enrolled)" in plan.output, plan.output
        assert "kmodkeep: adopted already" in at_work(guest, "kmodkeep adopt --all --yes", 0).output
        assert guest.check(SUMS, PATIENCE) == files
        assert f"next boot safe (kernel {host.old})" in at_work(guest, "kmodkeep guard", 0).output
        host.serving = compare(guest, host.modules)
        # Of a module with the version of the kernel's own dkms leaves the kernel's own in place.
        assert host.modules - host.serving <= {"hdaps"}


def test_update_of_the_kernel_keeps_all_that_build(host):
    """What does not build is named before the boot, with the kernel that has it."""
    host.new = host.update_kernel()
    with host.booted("updated") as guest:
        assert running(guest) == host.old
        at_work(guest, "update-grub", 0)
        assert compare(guest, host.modules) == host.serving
        said = next_boot(guest)
        assert (said["safe"], said["kernel"], said["serves"]["kernel"]) == ("no", host.new, host.old)
        assert {finding["module"] for finding in said["lost"]} == host.lost
        # What cannot be repaired is not made worse.
        assert at_work(guest, "kmodkeep repair --yes").status == 1
        assert {finding["module"] for finding in next_boot(guest)["lost"]} == host.lost
        before = predict(guest)
        guest.restart()
        assert running(guest) == host.new
        assert compare(guest, host.modules, before) == host.serving - host.lost
        repair(host, guest)


def repair(host, guest):
    """A newer package of it comes, which builds; the kernel's own are unfinished until then."""
    assert guest.check("dpkg --audit", PATIENCE)
    at_work(guest, f"dpkg -i /mnt/{host.broken}-dkms_*.deb", 0)
    life.repair(guest, host.new, "dpkg --configure -a")
    assert not guest.check("dpkg --audit", PATIENCE)
    assert compare(guest, host.modules) == host.serving


def test_cleared_keys_are_noticed_and_enrolled_again(host):
    password = "".join(secrets.choice(PASSWORD_CHARACTERS) for _ in range(10))
    with host.booted("cleared", trusted=False) as guest:
        assert running(guest) == host.new
        assert compare(guest, host.modules) == set()
        life.forgotten(guest, host.serving)
        asked = f"printf '%s\\n' {password} | kmodkeep adopt --all --yes --password-stdin"
        at_work(guest, asked, 0)
        guest.reboot()
        mokmanager.enrol(guest, password, guest.workdir)
        guest.wait_booted()
        assert compare(guest, host.modules) == host.serving
        assert next_boot(guest)["safe"] == "yes"
        goes(host, guest)


def goes(host, guest):
    """kmodkeep is purged, and the drivers stay."""
    before = guest.check("dkms status", PATIENCE), guest.check(SUMS, PATIENCE)
    at_work(guest, "DEBIAN_FRONTEND=noninteractive dpkg --purge kmodkeep", 0)
    assert (guest.check("dkms status", PATIENCE), guest.check(SUMS, PATIENCE)) == before
    guest.restart()
    assert guest.run("command -v kmodkeep", PATIENCE).status
    assert {module for (_, module), seen in load(guest, host.modules).items()
            if seen.served} == host.serving
