# SPDX-License-Identifier: GPL-2.0-or-later
"""An initramfs that the distribution's own tools made is as the host says, and an old one is not.

In a chroot with Debian's kernel and initramfs-tools, which kmodkeep looks into from outside: the
driver is for the devices of virtio_net, the kernel's own module, which is in the initramfs.
"""

import json
import subprocess

import pytest

from tests.lib.clone import ThrowAwayRoot
from tests.proof.system import base_root
from tests.unit.kmodkeep.build import build
from tests.unit.kmodkeep.host import PROGRAM
from tests.unit.kmodkeep.system import module_bytes

HOOK = """#!/bin/sh
[ "$1" = prereqs ] && exit 0
. /usr/share/initramfs-tools/hook-functions
manual_add_modules virtio_net
"""
REFUSAL = "etc/modprobe.d/sample.conf"


class Debian:
    def __init__(self, root):
        self.root, self.path = root, root.path
        self.kernel = max(path.name for path in (self.path / "lib/modules").iterdir())
        module = module_bytes(self.kernel, alias="virtio:d00000001v*", settings="SMP preempt mod_unload modversions ")
        self.put(f"lib/modules/{self.kernel}/updates/dkms/sample.ko", module)
        self.put("etc/initramfs-tools/hooks/net", HOOK.encode()).chmod(0o755)
        subprocess.run(["depmod", "-b", self.path, self.kernel], check=True)
        self.make()

    def put(self, name, data):
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return path

    def make(self):
        self.root.run(["update-initramfs", "-u", "-k", self.kernel])

    def finding(self):
        done = subprocess.run([PROGRAM, "doctor", "--root", self.path, "--kernel", self.kernel, "--json"],
                              capture_output=True, text=True, timeout=300)  # fmt: skip
        (found,) = [f for f in json.loads(done.stdout)["findings"] if f["module"] == "sample"]
        return found


@pytest.fixture(scope="module", params=["bookworm", "trixie"])
def debian(request):
    build()
    with ThrowAwayRoot(base_root(request.param), f"initramfs-{request.param}") as root:
        yield Debian(root)


def test_blacklist_that_is_younger_than_the_initramfs(debian):
    assert debian.finding()["verdict"] == "ok"
    debian.put(REFUSAL, b"blacklist virtio_net\n")
    found = debian.finding()
    assert found["verdict"] == "stale-initramfs" and "loads virtio_net" in found["message"], found
    debian.make()
    assert debian.finding()["verdict"] == "ok"


def test_driver_that_the_initramfs_has(debian):
    """Its copy, its index, and a link of modprobe.d that Debian's alternatives make."""
    debian.put("etc/kmodkeep/drivers.d/sample.conf", b"modules = sample\ninitramfs = required\n")
    assert debian.finding()["verdict"] == "stale-initramfs"
    debian.put("etc/initramfs-tools/modules", b"sample\n")
    debian.put("etc/sample/real.conf", b"install sample /bin/false\n")
    for link, target in (("etc/alternatives/sample.conf", "/etc/sample/real.conf"),
                         ("etc/modprobe.d/linked.conf", "/etc/alternatives/sample.conf")):  # fmt: skip
        (debian.path / link).symlink_to(target)
    debian.make()
    assert debian.finding()["verdict"] == "blocked"  # on the host as well
    (debian.path / "etc/modprobe.d/linked.conf").unlink()
    found = debian.finding()
    assert found["verdict"] == "stale-initramfs" and "install sample /bin/false" in found["message"], found
    debian.make()
    assert debian.finding()["verdict"] == "ok"
