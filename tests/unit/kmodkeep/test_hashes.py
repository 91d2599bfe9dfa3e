# SPDX-License-Identifier: GPL-2.0-or-later
"""Signatures whose hash is a module of the kernel: modprobe has to find it, also in early boot."""

import json

import pytest

from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes
from tests.unit.kmodkeep.test_modprobe import module_of

SHA512 = f"lib/modules/{NEW}/kernel/crypto/sha512_generic.ko"
CONFIG = "CONFIG_MODULES=y\nCONFIG_INTEGRITY_PLATFORM_KEYRING=y\nCONFIG_CRYPTO_SHA512={}\n"


@pytest.fixture
def system(tree, pair):
    """The driver is signed with SHA-512 under Secure Boot, as Debian 12's kernel has that."""
    made = System(tree)
    made.tree.put(f"boot/config-{NEW}", CONFIG.format("m"))
    made.tree.put(SHA512, module_of(NEW, "sha512_generic", ["intree=Y", "alias=crypto-sha512"]))
    made.tree.enrol(pair.cert)
    made.tree.secure_boot()
    for kernel in (OLD, NEW):
        made.install(kernel)
    signed = tree.run("sign", "--hash", "sha512", "--key", pair.key, "--cert", pair.cert, made.module_file(NEW))
    assert signed.code == 0, signed.text
    return made


def finding(system):
    found = json.loads(system.tree.run("doctor", "--json", "--next-boot", "--module", "sample").out)["findings"]
    return found[0]


def test_module_of_the_hash_is_found_on_the_disk(system):
    assert finding(system)["verdict"] == "ok"
    (system.path / SHA512).unlink()
    system.depmod(NEW)
    found = finding(system)
    assert found["verdict"] == "unsupported-signature", found
    for value, word in (("y", "ok"), ("n", "unsupported-signature")):
        system.tree.put(f"boot/config-{NEW}", CONFIG.format(value) if value == "y" else CONFIG.split("CONFIG_CRYPTO")[0])
        assert finding(system)["verdict"] == word, value


@pytest.mark.parametrize("line, word", [
    ("blacklist sha512_generic", "unsupported-signature"), ("install sha512_generic /x", "unknown"),
    ("blacklist other", "ok"),
])  # fmt: skip
def test_modprobe_is_told_not_to_load_the_hash(system, line, word):
    system.tree.put("etc/modprobe.d/x.conf", line + "\n")
    assert finding(system)["verdict"] == word


def test_kernel_without_a_configuration(system):
    """The index says whether it is a module; where it says nothing, nobody knows."""
    (system.path / f"boot/config-{NEW}").unlink()
    assert finding(system)["verdict"] == "ok"
    (system.path / SHA512).unlink()
    system.depmod(NEW)
    found = finding(system)
    assert found["verdict"] == "unknown" and "--hash sha256" in found["next_step"], found
    system.tree.put(f"lib/modules/{NEW}/modules.builtin.modinfo", "sha512.alias=crypto-sha512\0")
    system.tree.put(f"lib/modules/{NEW}/modules.builtin", "kernel/crypto/sha512.ko\n")
    system.depmod(NEW)
    assert finding(system)["verdict"] == "ok"


@pytest.mark.parametrize("need, word", [("required", "stale-initramfs"), ("auto", "unknown"), ("no", "ok")])
def test_initramfs_without_the_module_of_the_hash(system, need, word):
    """The driver is in it, and is refused there; what the disk is reached through is lost then."""
    system.driver("sample", f"modules = sample\ndkms = sample\ninitramfs = {need}\n")
    copy = {"updates/dkms/sample.ko": system.module_file(NEW).read_bytes()}
    system.initramfs(NEW, copy)
    system.tree.put("var/cache/x")
    for _ in ("read", "remembered"):
        found = finding(system)
        assert (found["verdict"], found["initramfs_copy"]) == (word, "same"), found
        assert word == "ok" or "sha512_generic" in found["message"]
    system.initramfs(NEW, {**copy, "kernel/crypto/sha512_generic.ko": (system.path / SHA512).read_bytes()})
    for _ in ("read", "remembered"):
        assert finding(system)["verdict"] == "ok"


def test_copy_that_is_signed_otherwise_than_the_file(system, pair):
    system.driver("sample", "modules = sample\ndkms = sample\ninitramfs = required\n")
    copy = {"updates/dkms/sample.ko": system.module_file(NEW).read_bytes()}
    system.initramfs(NEW, copy)
    system.install(NEW, sign=pair)
    found = finding(system)
    assert (found["verdict"], found["initramfs_copy"]) == ("stale-initramfs", "other"), found


def test_nobody_demands_a_signature(system):
    """Then it loads without the hash, unless the entry that boots has a demand."""
    system.tree.secure_boot(False)
    system.driver("sample", "modules = sample\ndkms = sample\ninitramfs = required\n")
    system.initramfs(NEW, {"updates/dkms/sample.ko": system.module_file(NEW).read_bytes()})
    found = finding(system)
    assert (found["verdict"], found["waived"]) == ("ok", True), found
    menu = system.path / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace("ro quiet", "ro quiet lockdown=integrity"))
    assert finding(system)["verdict"] == "unsigned"


@pytest.mark.parametrize("module", [b"", module_bytes(NEW, name="x")], ids=["empty", "another"])
def test_hash_outside_of_the_kernels_own_modules(system, module):
    """Who signed that one is not looked into."""
    (system.path / SHA512).unlink()
    system.tree.put(f"lib/modules/{NEW}/extra/x.ko", module or module_of(NEW, "x", ["alias=crypto-sha512"]))
    system.depmod(NEW)
    assert finding(system)["verdict"] == ("unsupported-signature" if module else "unknown")
