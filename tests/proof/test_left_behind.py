# SPDX-License-Identifier: GPL-2.0-or-later
"""After `kmodkeep adopt`, kmodkeep goes: drivers go on loading, and dkms signs new builds so.

By the real dkms and dpkg, in a chroot that kmodkeep is asked about from inside, as in
tests/packaging/test_vendor.py. dkms's own key is enrolled.
"""

import re

import pytest

from tests.lib import apt
from tests.packaging.target import Target
from tests.packaging.test_vendor import become_host, doctor, efivar, keep
from tests.packaging.variants import packages
from tests.unit.kmodkeep.host import SHIM, siglist
from tests.unit.kmodkeep.system import grub_cfg, without_initrds

DRIVER = "acpi-call"
TOLD = "etc/dkms/framework.conf.d/kmodkeep.conf"
BUILT = "find /lib/modules /var/lib/dkms -name '*.ko*' -exec sha256sum {} + | sort"
LOADS = "/root/kmodkeep verify --cert /root/enrolled.der --kernel {0} /lib/modules/{0}/updates/dkms/*.ko*"


@pytest.fixture(scope="module")
def target():
    """Two kernels, the older runs and has the driver, signed by dkms's own key."""
    driver = next(apt.download("bookworm", [f"{DRIVER}-dkms"]).glob("*.deb"))
    with Target("bookworm") as clone:
        clone.old, *_, clone.new = clone.kernels
        clone.install([driver])
        clone.source = re.search(rf"{DRIVER}/[^,: ]+", clone.run(["dkms", "status"]).stdout)[0]
        clone.run(["dkms", "unbuild", clone.source, "-k", clone.new], check=False)
        clone.run(["dkms", "install", clone.source, "-k", clone.old])
        clone.install([packages("bookworm")["kmodkeep"]])
        for kernel in (clone.old, clone.new):
            clone.write(f"/boot/vmlinuz-{kernel}", "a kernel")
            (clone.path / f"boot/initrd.img-{kernel}").unlink(missing_ok=True)
        clone.write("/boot/grub/grub.cfg", without_initrds(grub_cfg([clone.old])))
        become_host(clone)
        enrolled = (clone.path / "var/lib/dkms/mok.pub").read_bytes()
        efivar(clone, f"MokListRT-{SHIM}", siglist(enrolled))
        (clone.path / "root/enrolled.der").write_bytes(enrolled)
        clone.packaged = (clone.path / "usr/sbin/kmodkeep").read_bytes()
        clone.act_on("/host")
        yield clone


def loads(target, kernel):
    """Would a kernel that trusts the enrolled certificate alone load the driver?"""
    return target.run(LOADS.format(kernel), check=False).returncode == 0


def test_adopt_takes_them_as_they_are(target):
    before = target.run(BUILT).stdout
    assert doctor(target)[target.old, DRIVER] == "ok"
    code, text = keep(target, "adopt", "--all", "--yes")
    assert code == 0 and "kmodkeep: adopted" in text, text
    assert doctor(target)[target.old, DRIVER] == "ok"
    assert target.run(BUILT).stdout == before
    assert not (target.path / TOLD).exists()
    assert (target.path / f"etc/kmodkeep/drivers.d/{DRIVER}.conf").exists()
    code, text = keep(target, "adopt", "--all", "--yes")
    assert code == 0 and "adopted already" in text, text


@pytest.mark.parametrize("how", ["remove", "purge"])
def test_when_it_goes_they_stay(target, how):
    copy = target.path / "root/kmodkeep"
    if not copy.exists():
        copy.write_bytes(target.packaged)
        copy.chmod(0o755)
        (target.path / "usr/sbin/kmodkeep").write_bytes(target.packaged)
    before = target.run(BUILT).stdout
    target.apt(how, "kmodkeep")
    assert not (target.path / "usr/sbin/kmodkeep").exists()
    assert target.run(BUILT).stdout == before
    assert loads(target, target.old)
    # The next kernel comes after it has gone.
    target.run(["dkms", "install", "--force", target.source, "-k", target.new])
    assert loads(target, target.new)
    target.run(["dkms", "unbuild", target.source, "-k", target.new])
