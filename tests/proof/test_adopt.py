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
from dataclasses import dataclass
from typing import Callable

import pytest

from tests.demo.story import PASSWORD_CHARACTERS
from tests.lib import apt
from tests.proof import life
from tests.proof.guest import PATIENCE, load
from tests.proof.host import Host, mount_packages
from tests.proof.life import SUMS, at_work, compare, next_boot, predict, running
from tests.proof.system import TOP
from tests.qemu import mokmanager


def newer_package(host, guest):
    """Of the archive; its scripts have dkms forget the one before."""
    at_work(guest, f"dpkg -i /mnt/{host.broken}-dkms_*.deb", 0)
    life.repair(guest, host.new, "dpkg --configure -a")


def newer_source(host, guest):
    """From elsewhere: dkms has it beside the packaged one, and 3.0.10 tries both for a kernel."""
    at_work(guest, f"dpkg-deb -x /mnt/{host.broken}-dkms_*.deb /run/newer && "
                   "cp -r /run/newer/usr/src/* /usr/src/", 0)
    newer = guest.check("basename /run/newer/usr/src/*", PATIENCE).strip()
    newer = f"{host.broken}/{newer.removeprefix(f'{host.broken}-')}"
    older = f"{host.broken}/{host.system.versions[host.broken]}"
    at_work(guest, f"dkms add {newer}", 0)
    steps = [step["command"] for step in next_boot(guest)["repair"]]
    assert steps == [f"dkms install {newer} -k {host.new}", "dpkg --configure -a"]
    said = at_work(guest, "kmodkeep repair --yes", 1)
    assert f"now: {host.broken} on {host.new}: ok" in said.output
    assert "dpkg --configure -a failed: " in said.output
    assert compare(guest, host.modules) == host.serving
    # What repair leaves to a person, who does it as it was said.
    by_hand = f"dkms install {newer} -k {host.old}", f"dkms remove {older} --all"
    told, = [text for text in next_boot(guest)["by_hand"] if "registered beside" in text]
    assert told.endswith(f"Next: {by_hand[0]}, which has that version, then: {by_hand[1]}")
    for command in by_hand:
        at_work(guest, command, 0)
    life.repair(guest, host.new, "dpkg --configure -a")
    # The kernel from before has not lost it.
    at_work(guest, f"kmodkeep doctor --kernel {host.old} --module {host.broken}", 0)


@dataclass(frozen=True)
class Suite:
    """Drivers that build on both kernels, one that does not, and its newer package."""

    drivers: tuple
    broken: str
    newer: tuple  # where apt has it, and as what
    mends: Callable


SYSTEMS = {
    "bookworm": Suite(
        ("acpi-call", "bbswitch", "ddcci/bookworm-backports", "tp-smapi/bookworm-backports"),
        "v4l2loopback", ("bookworm", "v4l2loopback-dkms/bookworm-backports"), newer_source),
    "trixie": Suite(("acpi-call", "bbswitch", "r8168", "vpoll"),
                    "v4l2loopback", ("sid", "v4l2loopback-dkms"), newer_package),
}
SELECTED = [name for name in os.environ.get("SYSTEM", ",".join(SYSTEMS)).split(",")
            if name in SYSTEMS]


@pytest.fixture(scope="module", params=SELECTED)
def host(request):
    logs = TOP / f"build/results/adopt-{request.param}"
    shutil.rmtree(logs, ignore_errors=True)
    of = SYSTEMS[request.param]
    suite, newer = of.newer
    made = Host(request.param, (*of.drivers, of.broken), logs,
                apt.download(suite, [newer]).glob("*.deb"))
    made.broken = of.broken
    made.lost = set(made.system.drivers[of.broken])
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
    """A newer one comes, which builds; the kernel's own packages are unfinished until then."""
    assert guest.check("dpkg --audit", PATIENCE)
    mount_packages(guest)
    SYSTEMS[host.suite].mends(host, guest)
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
