# SPDX-License-Identifier: GPL-2.0-or-later
"""dkms has two versions of a driver, and the older one does not build for the next kernel.

dkms 3.0.10 tries the older one once the newer is installed, so that the hook of the kernel's
packages fails. In a chroot that kmodkeep is asked about from inside, as in
tests/packaging/test_vendor.py; what repair leaves to a person is done as it says.
"""

import json
import re

import pytest

from tests.packaging.target import Target
from tests.packaging.test_vendor import add_source, become_host, doctor, enrol, keep
from tests.proof.system import kmodkeep_deb
from tests.unit.kmodkeep.system import grub_cfg, without_initrds

DRIVER = "acme"
CONFIGURE = "dpkg --configure -a"


@pytest.fixture(scope="module")
def target():
    """The newer kernel boots next; it came after the driver, and the hook of its headers failed."""
    with Target("bookworm") as clone:
        clone.old, *_, clone.new = clone.kernels
        clone.install([kmodkeep_deb("bookworm")])
        add_source(clone, "1.0", "#error acme knows no such kernel")
        clone.run(["dkms", "install", "acme/1.0", "-k", clone.old])
        clone.package = f"linux-headers-{clone.new}"
        unconfigure(clone, clone.package)
        for kernel in (clone.old, clone.new):
            clone.write(f"/boot/vmlinuz-{kernel}", "a kernel")
            (clone.path / f"boot/initrd.img-{kernel}").unlink(missing_ok=True)
        clone.write("/boot/grub/grub.cfg", without_initrds(grub_cfg([clone.new, clone.old])))
        become_host(clone)
        enrol(clone)
        clone.act_on("/host")
        yield clone


def unconfigure(clone, package):
    """As when dpkg has unpacked the package, and its script has not been run."""
    status = clone.path / "var/lib/dpkg/status"
    text, count = re.subn(rf"^(Package: {re.escape(package)}\nStatus: install ok )installed$",
                          r"\1half-configured", status.read_text(), flags=re.M)
    assert count == 1
    status.write_text(text)


def next_boot(target):
    return json.loads(keep(target, "next", "--json")[1])


def serves(target, kernel):
    return doctor(target)[kernel, DRIVER] == "ok"


def test_older_one_does_not_build(target):
    assert serves(target, target.old), keep(target, "doctor", "--all")[1]
    code, text = keep(target, "repair", "--yes")
    assert code == 1 and not serves(target, target.new), text
    assert target.states(target.package) == {target.package: "iF"}
    assert not [said for said in next_boot(target)["by_hand"] if "registered beside" in said]


def test_newer_one_is_built_and_the_older_one_named(target):
    add_source(target, "1.1", "/* now it does */")
    build = f"dkms install acme/1.1 -k {target.new}"
    assert [step["command"] for step in next_boot(target)["repair"]] == [build, CONFIGURE]
    code, text = keep(target, "repair", "--yes")
    assert code == 1 and f": {build}\n" in text and f"{CONFIGURE} failed: " in text, text
    assert serves(target, target.new) and serves(target, target.old)
    assert "dkms remove acme/1.0 --all" in " ".join(text.split()), text


def test_what_a_person_is_told_helps(target):
    said, = [said for said in next_boot(target)["by_hand"] if "registered beside" in said]
    steps = f"dkms install acme/1.1 -k {target.old}", "dkms remove acme/1.0 --all"
    assert said.endswith(f"Next: {steps[0]}, which has that version, then: {steps[1]}")
    for step in steps:
        target.run(step.split())
        assert serves(target, target.new) and serves(target, target.old), step
    assert [step["command"] for step in next_boot(target)["repair"]] == [CONFIGURE]
    code, text = keep(target, "repair", "--yes")
    assert code == 0, text
    assert target.states(target.package) == {target.package: "ii"}
    assert serves(target, target.new) and serves(target, target.old)
