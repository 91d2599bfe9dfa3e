# SPDX-License-Identifier: GPL-2.0-or-later
"""The pin on a host with systemd-boot, set and lifted by the real bootctl.

The system is a chroot whose firmware variables are files, for bootctl as well.  As
kmodkeep pins nothing but on the running system, a build for tests stands in for it.
"""

import json
import shutil
import subprocess

import pytest

from tests.packaging.target import Target
from tests.packaging.variants import packages
from tests.unit.kmodkeep.host import FALLBACK
from tests.unit.kmodkeep.system import LOADER, NEW, OLD, module_bytes, utf16

ENTRY = "title Debian\nversion {0}\nsort-key debian\nlinux /0123/{0}/linux\n"
VARIABLES = "host/sys/firmware/efi/efivars"


@pytest.fixture(scope="module")
def target():
    """A host with two kernels and a driver for both; the old one runs."""
    with Target("bookworm") as clone:
        clone.install([packages("bookworm")["kmodkeep"]])
        clone.apt("install", "systemd-boot")
        clone.run("rm -f /boot/vmlinuz-* /boot/initrd.img-*")  # the suite's own kernel
        clone.write("/usr/lib/kmodkeep/drivers.d/sample.conf",
                    "modules = sample\npolicy = pin-last-good\n")
        for kernel in (OLD, NEW):
            clone.write(f"/boot/vmlinuz-{kernel}", "a kernel")
            clone.write(f"/boot/efi/0123/{kernel}/linux", "a kernel")
            clone.write(f"/boot/efi/loader/entries/0123-{kernel}.conf", ENTRY.format(kernel))
            for name in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
                clone.write(f"/lib/modules/{kernel}/{name}", "")
            put_module(clone, kernel)
        clone.write("/boot/efi/loader/loader.conf", "timeout 3\n")
        show_to_itself(clone)
        clone.act_on("/host")
        assert keep(clone, "guard", "--boot") == (0, f"kmodkeep: next boot safe (kernel {NEW})\n")
        yield clone


def put_module(clone, kernel):
    directory = clone.path / "lib/modules" / kernel / "updates"
    directory.mkdir(exist_ok=True)
    (directory / "sample.ko").write_bytes(module_bytes(kernel))
    clone.run(["depmod", kernel])


def show_to_itself(clone):
    """At /host, without what the kernel here says of itself; the firmware for bootctl too."""
    (clone.path / "host").mkdir()
    subprocess.run(["mount", "--bind", clone.path, clone.path / "host"], check=True)
    clone.write("/host/proc/sys/kernel/osrelease", OLD + "\n")
    clone.write("/host/proc/sys/kernel/random/boot_id", "boot-1\n")
    (clone.path / VARIABLES).mkdir(parents=True)
    (clone.path / VARIABLES / f"LoaderInfo-{LOADER}").write_bytes(utf16("systemd-boot 252.39"))
    # It has no entries, so the firmware starts the fallback: the real one.
    fallback = clone.path / FALLBACK
    fallback.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(clone.path / "usr/lib/systemd/boot/efi/systemd-bootx64.efi", fallback)
    subprocess.run(["mount", "--bind", clone.path / "host/sys/firmware",
                    clone.path / "sys/firmware"], check=True)  # fmt: skip


def keep(clone, verb, *words):
    """kmodkeep about the host: its exit code and output."""
    done = clone.run(["kmodkeep", verb, *words, "--root", "/host"], check=False)
    return done.returncode, done.stdout


def next_boot(clone):
    found = json.loads(keep(clone, "doctor", "--json")[1])["next_boot"]
    assert found["loader"] == "systemd-boot", found
    return found["kernel"]


def default(clone):
    path = clone.path / VARIABLES / f"LoaderEntryDefault-{LOADER}"
    return path.read_bytes()[4:].decode("utf-16-le").rstrip("\0") if path.exists() else ""


def test_newest_boots_by_itself(target):
    assert (next_boot(target), default(target)) == (NEW, "")


def test_pin_by_bootctl(target):
    (target.path / f"lib/modules/{NEW}/updates/sample.ko").unlink()
    target.run(["depmod", NEW])
    code, text = keep(target, "guard")
    assert code == 0 and f"(kernel {OLD}); pinned, as {NEW} would lose a driver" in text, text
    assert (next_boot(target), default(target)) == (OLD, f"0123-{OLD}.conf")


def test_bootctl_gives_the_default_back(target):
    put_module(target, NEW)
    code, text = keep(target, "guard")
    assert code == 0 and f"next boot safe (kernel {NEW}); the pin on kernel {OLD}" in text, text
    assert (next_boot(target), default(target)) == (NEW, "")
