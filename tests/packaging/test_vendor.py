# SPDX-License-Identifier: GPL-2.0-or-later
"""A vendor's new driver: a source, a dkms.conf and a drop-in, installed beside the others.

It gets what they get, by the real dkms and the boot loader's real tool: its new kernel is
one that it does not build for.  The system is a chroot that is asked about from inside, at
/host, where what a kernel says of itself is files; as kmodkeep pins nothing but on the
running system, a build for tests stands in for it there.
"""

import json
import re
import subprocess

import pytest

from tests.packaging.target import Target
from tests.packaging.variants import packages
from tests.unit.kmodkeep.host import (
    FALLBACK, GLOBAL, SECURITY, SHA256, SHIM, hash_list, program, sha256_of, siglist,
)  # fmt: skip
from tests.unit.kmodkeep.system import advanced, grub_cfg, without_initrds

DKMS_CONF = """\
PACKAGE_NAME="acme"
PACKAGE_VERSION="{0}"
BUILT_MODULE_NAME[0]="acme"
DEST_MODULE_LOCATION[0]="/updates"
AUTOINSTALL="yes"
"""
SOURCE = """\
#include <linux/module.h>
#include <linux/version.h>
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
{0}
#endif
MODULE_LICENSE("GPL");
MODULE_VERSION("{1}");
"""
DROP_IN = "modules = acme\ndkms = acme\npolicy = pin-last-good\n"


def add_source(target, version, on_6_12):
    """What the vendor wrote, all of it."""
    directory = f"/usr/src/acme-{version}"
    target.write(f"{directory}/dkms.conf", DKMS_CONF.format(version))
    target.write(f"{directory}/Makefile", "obj-m := acme.o\n")
    target.write(f"{directory}/acme.c", SOURCE.format(on_6_12, version))
    target.run(["dkms", "add", f"acme/{version}"])


@pytest.fixture(scope="module")
def target():
    """A host with two kernels, of which the old one runs; both drivers are installed on it."""
    with Target("bookworm") as clone:
        clone.old, *_, clone.new = clone.kernels
        clone.install(packages("bookworm").values())
        clone.apt("install", "grub2-common")
        clone.make_key()
        clone.run(["dkms", "autoinstall", "-k", clone.old])
        clone.run("rm -f /boot/vmlinuz-* /boot/initrd.img-*")  # the suite's own kernel
        for kernel in (clone.old, clone.new):
            clone.write(f"/boot/vmlinuz-{kernel}", "a kernel")
        clone.write("/boot/grub/grub.cfg", without_initrds(grub_cfg([clone.old])))
        clone.run(["grub-editenv", "/boot/grub/grubenv", "create"])
        become_host(clone)
        clone.write("/etc/kmodkeep/drivers.d/acme.conf", DROP_IN)
        add_source(clone, "1.0", "#error acme knows no such kernel")
        clone.run(["dkms", "install", "acme/1.0", "-k", clone.old])
        enrol(clone)
        clone.act_on("/host")
        # It boots, and is seen running.
        assert keep(clone, "guard", "--boot") == (
            0, f"kmodkeep: next boot safe (kernel {clone.old})\n")
        yield clone


def become_host(clone):
    """Show the chroot to itself at /host, without the kernel that it really has."""
    (clone.path / "host").mkdir()
    subprocess.run(["mount", "--bind", clone.path, clone.path / "host"], check=True)
    clone.write("/host/proc/sys/kernel/osrelease", clone.old + "\n")
    clone.write("/host/proc/sys/kernel/random/boot_id", "boot-1\n")
    efivar(clone, f"SecureBoot-{GLOBAL}", b"\x06\0\0\0\1")
    # Without entries the firmware starts the fallback, if its list has that.
    fallback = clone.path / "host" / FALLBACK
    fallback.parent.mkdir(parents=True, exist_ok=True)
    fallback.write_bytes(program())
    efivar(clone, f"db-{SECURITY}", b"\7\0\0\0" + hash_list(SHA256, sha256_of(program())))


def efivar(clone, name, data):
    path = clone.path / "host/sys/firmware/efi/efivars" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def enrol(clone):
    """The host trusts the key that dkms made; kmodkeep has adopted it."""
    key = (clone.path / "var/lib/dkms/mok.pub").read_bytes()
    efivar(clone, f"MokListRT-{SHIM}", siglist(key))


def keep(clone, verb, *words):
    """kmodkeep about the host: its exit code and output."""
    done = clone.run(["kmodkeep", verb, *words, "--root", "/host"], check=False)
    return done.returncode, done.stdout


def doctor(clone):
    """{(kernel, driver): verdict of its worst module}."""
    document = json.loads(keep(clone, "doctor", "--all", "--json")[1])
    found = {}
    for finding in document["findings"]:
        key = finding["kernel"], finding["driver"]
        found[key] = finding["verdict"] if found.get(key, "ok") == "ok" else found[key]
    return found


def default(clone):
    return re.search(r"^saved_entry=(.*)$", (clone.path / "boot/grub/grubenv").read_text(), re.M)


def test_before_the_kernel_is_built_for(target):
    found = doctor(target)
    assert found[target.old, "acme"] == found[target.old, "flightrec"] == "ok", found


def test_preflight_knows_before(target):
    done = target.run(["kmodkeep", "preflight", "--kernel", target.new], check=False)
    assert done.returncode == 1, done.stdout
    assert re.search(rf"^{re.escape(target.new)}: acme: missing: version 1.0 does not build: .*"
                     "acme knows no such kernel", done.stdout, re.M), done.stdout  # fmt: skip
    assert f"{target.new}: flightrec: " in done.stdout
    assert f"{target.new}: flightrec: missing" not in done.stdout


def test_one_of_two_does_not_build(target):
    target.write("/boot/grub/grub.cfg", without_initrds(grub_cfg([target.new, target.old])))
    built = target.run(["dkms", "autoinstall", "-k", target.new], check=False)
    assert built.returncode and "acme" in built.stdout
    found = doctor(target)
    assert (found[target.new, "flightrec"], found[target.new, "acme"]) == ("ok", "missing"), found
    text = keep(target, "doctor")[1]
    assert f"{target.new}: acme: missing: " in text
    # What the compiler said, where all of it stands, and a step that is not the same build again.
    assert f"dkms could not build acme for kernel {target.new}: " in text
    assert "acme knows no such kernel" in text
    assert "(/host/var/lib/dkms/acme/1.0/build/make.log)" in text
    assert f"Next: keep to kernel {target.old}, which has it" in text
    assert "dkms autoinstall" not in text


def test_one_decision_for_both(target):
    code, text = keep(target, "guard")
    assert (code, text) == (0, f"kmodkeep: next boot safe (kernel {target.old}); pinned, as "
                               f"{target.new} would lose a driver\n")  # fmt: skip
    assert default(target)[1] == advanced(target.old)


def test_vendor_mends_it(target):
    add_source(target, "1.1", "/* now it does */")
    target.run(["dkms", "autoinstall", "-k", target.new])
    found = doctor(target)
    assert found[target.new, "acme"] == "ok", found
    code, text = keep(target, "guard")
    assert code == 0 and f"next boot safe (kernel {target.new}); the pin on" in text, text
    assert default(target) is None
