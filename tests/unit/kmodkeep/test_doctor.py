# SPDX-License-Identifier: GPL-2.0-or-later
"""kmodkeep doctor: each verdict and rule, on a host in a folder."""

import collections
import hashlib
import json
import os
import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from tests.unit.kmodkeep.host import PROGRAM, SHIM, siglist
from tests.unit.kmodkeep.system import (
    NEW,
    OLD,
    System,
    cpio,
    grub_cfg,
    module_bytes,
    packed,
    without_initrds,
)
from tests.unit.kmodkeep.test_firmware_ca import CERT_SHA256, CERT_SHA512, SECURITY, hash_list, tbs


@pytest.fixture
def system(tree):
    return System(tree)


def ask(system, *words):
    result = system.tree.run("doctor", "--json", *words)
    document = json.loads(result.out)
    assert document["schema"] == 1
    return result.code, document


def verdicts(system, *words):
    """{(kernel, module): verdict} and the exit code."""
    code, document = ask(system, *words)
    found = {(f["kernel"], f["module"]): f["verdict"] for f in document["findings"]}
    return code, found


def new_verdict(system):
    code, document = ask(system, "--next-boot")
    (finding,) = document["findings"]
    assert code == {"ok": 0, "not-applicable": 0, "unknown": 3}.get(finding["verdict"], 1)
    return finding


def test_all_is_well(system):
    assert verdicts(system) == (0, {(NEW, "sample"): "ok", (OLD, "sample"): "ok"})
    text = system.tree.run("doctor").out
    assert f"{NEW}: sample: ok: " in text
    assert f"next boot: {NEW} (GRUB, its default: gnulinux-simple-42)" in text


def test_which_kernels_are_asked_about(system):
    third = "5.10.0-46-amd64"
    system.kernel(third)
    assert set(verdicts(system)[1]) == {(NEW, "sample"), (OLD, "sample")}
    assert verdicts(system, "--kernel", third) == (1, {(third, "sample"): "missing"})
    assert len(verdicts(system, "--all")[1]) == 3
    assert set(verdicts(system, "--next-boot")[1]) == {(NEW, "sample")}
    assert verdicts(system, "--kernel", "9.9-amd64")[1] == {("9.9-amd64", "sample"): "kernel-incomplete"}
    assert system.tree.run("doctor", "--all", "--next-boot").code == 2
    assert system.tree.run("doctor", "--kernel", "../..").code == 2


def test_left_over_modules_are_no_kernel(system):
    system.tree.put("lib/modules/6.9.0-1-amd64/updates/dkms/sample.ko")
    assert len(verdicts(system, "--all")[1]) == 2


def test_one_module_or_driver(system):
    system.driver("two", "modules = sample second\n")
    code, found = verdicts(system, "--next-boot", "--module", "second")
    assert (code, found) == (1, {(NEW, "second"): "missing"})
    # A module that no driver names can be asked about as well.
    system.install(OLD, name="third")
    assert verdicts(system, "--next-boot", "--module", "third")[1] == {(NEW, "third"): "missing"}


def test_name_that_nobody_knows(system):
    result = system.tree.run("doctor", "--module", "smaple")
    assert result.code == 1
    assert "no driver, DKMS module or module file of this host is called 'smaple'" in result.out
    assert "dkms autoinstall" not in result.out
    for kernel in (OLD, NEW):
        (system.path / f"boot/vmlinuz-{kernel}").unlink()
    (system.path / "proc/sys/kernel/osrelease").unlink()
    result = system.tree.run("doctor", "--module", "smaple")
    assert result.code == 3 and "no kernel is installed here to ask about 'smaple'" in result.err


def test_missing(system):
    system.remove(NEW)
    finding = new_verdict(system)
    assert finding["verdict"] == "missing"
    assert "headers" in finding["next_step"]
    system.tree.put(f"lib/modules/{NEW}/build/Makefile")
    assert new_verdict(system)["next_step"] == "build it: dkms autoinstall"


def test_missing_because_the_build_failed(system):
    system.remove(NEW)
    system.tree.put("var/lib/dkms/sample/1.2/source/dkms.conf")
    log = system.tree.put("var/lib/dkms/sample/1.2/build/make.log",
                          f"DKMS make.log for sample-1.2 for kernel {NEW} (x86_64)\nx.c:1: error: no\n")
    finding = new_verdict(system)
    assert (finding["verdict"], finding["dkms"]) == ("missing", "added")
    assert f"dkms could not build sample for kernel {NEW}: " in finding["message"]
    assert str(log) in finding["message"]
    assert f"boot kernel {OLD}" in finding["next_step"]
    assert "pin-last-good" in finding["next_step"]
    # A log of another kernel's build says nothing about this one.
    log.write_text(f"DKMS make.log for sample-1.2 for kernel {OLD} (x86_64)\nerror\n")
    assert "make.log" not in new_verdict(system)["next_step"]


def log_of(system, version):
    system.tree.put(f"var/lib/dkms/sample/{version}/build/make.log",
                    f"DKMS make.log for sample-{version} for kernel {NEW} (x86_64)\nerror\n")


@pytest.mark.parametrize("failed,told", [
    ([], False), (["1.2"], False), (["1.2", "1.9"], False), (["1.10"], True), (["1.2", "1.10"], True),
])  # fmt: skip
def test_newest_version_that_dkms_knows_counts(system, failed, told):
    """It is the one that dkms would build, whatever became of the others."""
    system.remove(NEW)
    for version in ("1.2", "1.10", "1.9"):
        system.tree.put(f"var/lib/dkms/sample/{version}/source/dkms.conf")
    for version in failed:
        log_of(system, version)
    finding = new_verdict(system)
    assert (finding["verdict"], finding["dkms"], finding["dkms_version"]) == ("missing", "added", "1.10")
    assert ("dkms could not build" in finding["message"]) == told, finding
    assert (finding["dkms_log"] or "").endswith("/1.10/build/make.log" if told else ""), finding


def test_build_error_that_is_quoted(system):
    """Not what a configure script looked for or tried, and can do without."""
    system.remove(NEW)
    system.tree.put("var/lib/dkms/sample/1.2/source/dkms.conf")
    log = system.tree.put("var/lib/dkms/sample/1.2/build/make.log",
                          f"DKMS make.log for sample-1.2 for kernel {NEW} (x86_64)\n"
                          "checking for pahole... not found\n"
                          "//   /var/lib/x/cc-test-build/test.c:4:16: error: storage size of 'test'\n"
                          "make[1]: *** [m.o] Error 1\n"
                          "m.c:1:2: error: implicit declaration of function 'strlcpy'\n"
                          "m.c:2:2: error: another\n")
    message = new_verdict(system)["message"]
    assert f": m.c:1:2: error: implicit declaration of function 'strlcpy' ({log})" in message
    log.write_text("\n".join([*log.read_text().split("\n")[:1], "make: *** No rule. Stop."]))
    assert "make: *** No rule. Stop." in new_verdict(system)["message"]


def test_dkms_state(system):
    tree = system.tree
    assert new_verdict(system)["dkms"] is None
    tree.put("var/lib/dkms/sample/1.2/source/dkms.conf")
    tree.put(f"var/lib/dkms/sample/1.2/{NEW}/x86_64/module/sample.ko")
    assert new_verdict(system)["dkms"] == "built"
    link = system.path / f"var/lib/dkms/sample/kernel-{NEW}-x86_64"
    link.symlink_to(f"1.2/{NEW}/x86_64")
    finding = new_verdict(system)
    assert (finding["dkms"], finding["dkms_version"]) == ("installed", "1.2")
    link.unlink()
    system.remove(NEW)
    assert new_verdict(system)["next_step"] == f"it is built: dkms install sample/1.2 -k {NEW}"
    (system.path / "var/lib/dkms/sample/1.2/source/dkms.conf").unlink()
    assert "lost the source of sample" in new_verdict(system)["next_step"]


def test_kernel_without_index(system):
    (system.path / f"lib/modules/{NEW}/modules.dep.bin").unlink()
    assert new_verdict(system)["verdict"] == "kernel-incomplete"


def test_kernel_without_initramfs(system):
    # Where no kernel has one, and the menu names none, none is needed.
    system.no_initramfs()
    system.tree.put("boot/grub/grub.cfg", without_initrds(grub_cfg([NEW, OLD])))
    assert new_verdict(system)["verdict"] == "ok"
    # One that the menu names is lost, whether or not another kernel has one.
    system.tree.put("boot/grub/grub.cfg", grub_cfg([NEW, OLD]))
    finding = new_verdict(system)
    assert finding["verdict"] == "unknown" and "not every initramfs" in finding["message"]
    assert system.tree.run("guard").code == 3
    system.initramfs(OLD, {})
    finding = new_verdict(system)
    assert finding["verdict"] == "kernel-incomplete" and "no initramfs" in finding["message"]
    assert finding["next_step"] == f"update-initramfs -c -k {NEW}, or: dracut -f --kver {NEW}"
    system.tree.put("usr/bin/dracut")
    assert new_verdict(system)["next_step"] == f"dracut -f --kver {NEW}"
    system.packages(**{f"linux_image_{NEW}": "half-configured"})
    assert new_verdict(system)["next_step"] == "dpkg --configure -a"
    system.initramfs(NEW, {})
    assert new_verdict(system)["verdict"] == "ok"


def test_wrong_kernel(system):
    system.install(NEW, data=module_bytes(OLD))
    assert new_verdict(system)["verdict"] == "wrong-kernel"


VERSIONED = "SMP mod_unload modversions "
SYMBOLS = (("module_layout", 0x11223344), ("printk", 0x55667788))
SYMVERS = "0x11223344\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\n0x{:08x}\tprintk\tvmlinux\tEXPORT_SYMBOL\n"


def put_own_module(system, settings, symbols=()):
    system.tree.put(f"lib/modules/{NEW}/kernel/fs/own.ko", module_bytes(NEW, "own", settings=settings,
                                 symbols=symbols))  # fmt: skip
    system.depmod(NEW)


def test_settings_of_the_kernel_count(system):
    put_own_module(system, "SMP ")
    assert new_verdict(system)["verdict"] == "ok"
    put_own_module(system, "SMP preempt ")
    finding = new_verdict(system)
    assert finding["verdict"] == "wrong-kernel" and "'SMP preempt'" in finding["message"]


@pytest.mark.parametrize("settings,symvers,verdict", [
    (VERSIONED, SYMVERS.format(0x55667788), "ok"),
    (VERSIONED, SYMVERS.format(0x55667789), "wrong-kernel"),
    (VERSIONED, "", "unknown"),
    (VERSIONED, None, "unknown"),
    ("SMP mod_unload ", SYMVERS.format(0x55667788), "wrong-kernel"),
], ids=["same", "other", "symbols not listed", "no headers", "other settings"])  # fmt: skip
def test_symbol_versions_count_in_place_of_the_release(system, settings, symvers, verdict):
    put_own_module(system, VERSIONED)
    system.install(NEW, data=module_bytes(OLD, settings=settings, symbols=SYMBOLS))
    if symvers is not None:
        system.tree.put(f"lib/modules/{NEW}/build/Module.symvers", symvers)
    assert new_verdict(system)["verdict"] == verdict


@pytest.mark.parametrize("crc,verdict", [(0x11223344, "ok"), (0x11223345, "wrong-kernel")])
def test_same_release_with_other_symbol_versions(system, crc, verdict):
    """Built with headers of another build of the release; no headers are here to tell."""
    put_own_module(system, VERSIONED, symbols=(("module_layout", 0x11223344),))
    system.install(NEW, data=module_bytes(NEW, settings=VERSIONED,
                                          symbols=(("module_layout", crc), ("b", 2))))  # fmt: skip
    finding = new_verdict(system)
    assert finding["verdict"] == verdict
    assert verdict == "ok" or "module_layout is 0x11223345" in finding["message"]


def test_without_symbol_versions_the_release_counts(system):
    put_own_module(system, "SMP mod_unload ")
    system.install(NEW, data=module_bytes(OLD, settings="SMP mod_unload ", symbols=SYMBOLS))
    assert new_verdict(system)["verdict"] == "wrong-kernel"


def test_signatures(system, pair, other_pair):
    tree = system.tree
    tree.secure_boot()
    assert new_verdict(system)["verdict"] == "unsigned"
    path = system.install(NEW, sign=pair)
    assert new_verdict(system)["verdict"] == "untrusted-key"
    tree.variable("MokNew", siglist(pair.cert.read_bytes()))
    assert new_verdict(system)["verdict"] == "untrusted-key"  # without its password nobody can grant it
    tree.request(pair.cert.read_bytes())
    assert new_verdict(system)["verdict"] == "pending-enrolment"
    tree.enrol(pair.cert)
    finding = new_verdict(system)
    assert (finding["verdict"], finding["signer"]) == ("ok", "one")
    data = bytearray(path.read_bytes())
    data[48] ^= 1
    path.write_bytes(data)
    assert new_verdict(system)["verdict"] == "tampered"


@pytest.mark.parametrize("request_name", ["MokDel", "MokXNew"])
def test_key_whose_removal_waits_for_the_next_boot(system, pair, other_pair, request_name):
    """MokManager asks there: nobody can tell the answer."""
    tree = system.tree
    tree.secure_boot()
    tree.enrol(pair.cert, other_pair.cert)
    system.install(NEW, sign=pair)
    tree.request(other_pair.cert.read_bytes(), name=request_name)
    assert new_verdict(system)["verdict"] == "ok"
    tree.request(pair.cert.read_bytes(), name=request_name)
    finding = new_verdict(system)
    assert finding["verdict"] == "unknown" and "removal waits" in finding["message"]
    tree.forget_request(request_name)
    assert new_verdict(system)["verdict"] == "ok"


@pytest.mark.parametrize("request_name", ["MokAuth", "MokListTrustedNew"])
def test_request_that_takes_all_keys_away(system, pair, request_name):
    """mokutil --reset, which is a password without a list, and --untrust-mok."""
    tree = system.tree
    tree.secure_boot()
    tree.enrol(pair.cert)
    system.install(NEW, sign=pair)
    tree.request(pair.cert.read_bytes())
    assert new_verdict(system)["verdict"] == "ok"  # what another one is enrolled with
    tree.forget_request()
    assert new_verdict(system)["verdict"] == "ok"
    tree.variable(request_name, b"\7\0\0\0" + bytes(32))
    finding = new_verdict(system)
    assert finding["verdict"] == "unknown" and "mokutil --reset" in finding["message"]


def test_kernels_that_are_told_to_ignore_db(system, pair):
    """mokutil --ignore-db: it waits, and then shim tells kernels so."""
    tree = system.tree
    tree.secure_boot()
    tree.variable("db", siglist(pair.cert.read_bytes()), SECURITY)
    system.kernel(NEW, "CONFIG_MODULES=y\nCONFIG_INTEGRITY_PLATFORM_KEYRING=y\n")
    tree.put("lib/os-release", "ID=fedora\n")
    system.install(NEW, sign=pair)
    before = new_verdict(system)["verdict"]
    tree.variable("MokDB", b"\7\0\0\0\1")
    assert new_verdict(system)["verdict"] == ("unknown" if before == "ok" else before)
    tree.forget_request("MokDB")
    tree.variable("MokIgnoreDB", b"\7\0\0\0\1")
    assert new_verdict(system)["verdict"] == "untrusted-key"


@pytest.mark.parametrize("name, guid", [("MokListXRT", SHIM), ("dbx", SECURITY)])
def test_key_that_is_revoked_by_a_hash_of_its_certificate(system, pair, other_pair, name, guid):
    tree = system.tree
    tree.secure_boot()
    tree.enrol(pair.cert)
    system.install(NEW, sign=pair)
    for cert, verdict in ((other_pair.cert, "ok"), (pair.cert, "unknown")):
        for kind, function in ((CERT_SHA256, "sha256"), (CERT_SHA512, "sha512")):
            entry = hashlib.new(function, tbs(cert.read_bytes())).digest() + bytes(16)
            tree.variable(name, b"\7\0\0\0" + hash_list(kind, entry), guid)
            finding = new_verdict(system)
            assert finding["verdict"] == verdict and ("revocation list" in finding["message"]) == (verdict != "ok")


def test_checks_that_may_be_turned_on_at_the_next_boot(system):
    """mokutil --enable-validation, which MokManager asks about."""
    system.tree.secure_boot()
    system.tree.variable("MokSBStateRT", b"\6\0\0\0\1")
    assert new_verdict(system)["verdict"] == "ok"
    system.tree.variable("MokSB", b"\7\0\0\0" + b"\1\0\0\0" + b"\x08\0\0\0")
    assert new_verdict(system)["verdict"] == "unknown"
    system.tree.forget_request("MokSB")
    assert new_verdict(system)["verdict"] == "ok"


def test_shims_copies_where_there_is_no_efivarfs(system, pair):
    """As with PREEMPT_RT: the kernel keeps what shim handed over."""
    system.tree.put("sys/firmware/efi/fw_platform_size", "64\n")
    system.tree.put("sys/module/module/parameters/sig_enforce", "Y\n")
    system.install(NEW, sign=pair)
    before = verdicts(system, "--all")[1][NEW, "sample"]
    data = siglist(pair.cert.read_bytes())[4:]
    system.tree.put("sys/firmware/efi/mok-variables/MokListRT", data)
    assert (before, verdicts(system, "--all")[1][NEW, "sample"]) == ("unknown", "unknown")
    # Whether shim's lists count is known from how this kernel was started.
    for told, verdict in ((3, "ok"), (2, "untrusted-key"), (0, "unknown")):
        data = bytearray(4096)
        data[0x1EC] = told
        system.tree.put("sys/kernel/boot_params/data", bytes(data))
        assert verdicts(system, "--all")[1][NEW, "sample"] == verdict
    (system.path / "sys/firmware/efi/mok-variables/MokListRT").unlink()
    data[0x1EC] = 3
    system.tree.put("sys/kernel/boot_params/data", bytes(data))
    assert verdicts(system, "--all")[1][NEW, "sample"] == "untrusted-key"


def test_kernel_that_always_demands_signatures(system):
    assert new_verdict(system)["verdict"] == "ok"
    system.kernel(NEW, "CONFIG_MODULES=y\nCONFIG_MODULE_SIG_FORCE=y\n")
    assert new_verdict(system)["verdict"] == "unsigned"


def test_stale_loaded(system):
    system.loaded("sample", "ABC")
    assert verdicts(system)[1][OLD, "sample"] == "ok"
    system.loaded("sample", "DEF")
    code, found = verdicts(system)
    assert (code, found) == (1, {(NEW, "sample"): "ok", (OLD, "sample"): "stale-loaded"})


# What lzop writes, of a version that has all of the header.
LZOP = """
import ctypes, sys
lzo, data = ctypes.CDLL("liblzo2.so.2"), sys.stdin.buffer.read()
out = b"\\x89LZO\\0\\r\\n\\x1a\\n" + bytes([0x10, 0x40, 0x20, 0xA0, 0x09, 0x40, 1, 5])
out += (1).to_bytes(4, "big") + bytes(12) + b"\\x04name" + bytes(4)
for at in range(0, len(data), 1 << 18):
    block = data[at : at + (1 << 18)]
    packed, size = ctypes.create_string_buffer(len(block) * 2 + 64), ctypes.c_ulong()
    lzo.lzo1x_1_compress(block, ctypes.c_ulong(len(block)), packed, ctypes.byref(size),
                         ctypes.create_string_buffer(1 << 18))
    small = packed.raw[: size.value] if size.value < len(block) else block
    out += len(block).to_bytes(4, "big") + len(small).to_bytes(4, "big") + bytes(4) + small
sys.stdout.buffer.write(out + bytes(4))
"""
MICROCODE = cpio({"kernel/x86/microcode/GenuineIntel.bin": b"m" * 5000})
TOOLS = {
    "plain": (), "gzip": ("gzip", "-n"), "xz": ("xz", "--check=crc32"), "zstd": ("zstd", "-q"),
    "lzma": ("lzma",), "lz4": ("lz4", "-l", "-q"), "lzo": (sys.executable, "-c", LZOP),
}  # fmt: skip


@pytest.mark.parametrize("before", [b"", MICROCODE, MICROCODE + b"\0" * 512], ids=["", "early", "gap"])
@pytest.mark.parametrize("tool", TOOLS)
def test_initramfs_copy(system, tool, before):
    same = module_bytes(NEW)
    other = module_bytes(NEW, version="1.1", srcversion="OLD")

    def verdict(files):
        system.initramfs(NEW, files, TOOLS[tool], before)
        finding = new_verdict(system)
        return finding["verdict"], finding["initramfs_copy"]

    system.tree.put(f"lib/modules/{NEW}/kernel/fs/ext4.ko", other)
    assert verdict({"kernel/fs/ext4.ko": other}) == ("ok", "none")
    assert verdict({"updates/dkms/sample.ko": same}) == ("ok", "same")
    # Compressed in the archive: the same module.
    assert verdict({"updates/dkms/sample.ko.xz": packed(same, TOOLS["xz"])}) == ("ok", "same")
    assert verdict({"updates/dkms/sample.ko": other}) == ("stale-initramfs", "other")
    assert verdict({"updates/dkms/sample.ko": same[:300]}) == ("stale-initramfs", "other")
    # The second time from memory.
    assert new_verdict(system)["verdict"] == "stale-initramfs"


def test_initramfs_copy_signed_by_an_old_key(system, pair, other_pair):
    system.tree.secure_boot()
    system.tree.enrol(pair.cert)
    old = system.install(NEW, sign=other_pair).read_bytes()
    system.install(NEW, sign=pair)
    system.initramfs(NEW, {"updates/dkms/sample.ko": old})
    finding = new_verdict(system)
    assert finding["verdict"] == "stale-initramfs"
    assert "untrusted-key" in finding["message"]
    assert NEW in finding["next_step"]


def test_initramfs_copy_signed_again_is_as_good(system, pair, other_pair):
    system.tree.secure_boot()
    system.tree.variable("MokListRT", siglist(pair.cert.read_bytes(), other_pair.cert.read_bytes()))
    old = system.install(NEW, sign=other_pair).read_bytes()
    system.install(NEW, sign=pair)
    system.initramfs(NEW, {"updates/dkms/sample.ko": old})
    finding = new_verdict(system)
    assert (finding["verdict"], finding["initramfs_copy"]) == ("ok", "other")


@pytest.mark.parametrize("data,said", [
    (b"\x02\x21\x4c\x18 legacy lz4", None),
    (packed(cpio({"a": os.urandom(9 << 20)}), TOOLS["lz4"])[:-30], None),
    (packed(cpio({"a": b"x" * 10000}), TOOLS["lzo"])[:-5], None),
    (b"BZh91AY&SY bzip2", "not compressed with gzip, xz, lzma, zstd, lz4 or lzo"),
    (packed(cpio({"a": b"x" * 10000}), TOOLS["gzip"])[:-30], None),
    (cpio({"a": b"x" * 1000})[:600], None),
    (b"070701zzzz" + b"x" * 200, None),
    (b"junk of some kind", "known here"),
], ids=["lz4", "lz4 cut short", "lzo cut short", "bzip2", "gzip cut short", "archive cut short", "number", "junk"])  # fmt: skip
def test_initramfs_that_cannot_be_read(system, data, said):
    system.tree.put(f"boot/initrd.img-{NEW}", data)
    finding = new_verdict(system)
    if said:
        assert finding["verdict"] == "unknown" and said in finding["message"]
    else:
        assert finding["verdict"] == "kernel-incomplete" and "cut short" in finding["message"]


def test_memory_of_initramfs_follows_the_file(system):
    system.initramfs(NEW, {"updates/dkms/sample.ko": module_bytes(NEW)})
    assert new_verdict(system)["initramfs_copy"] == "same"
    cache = system.path / "var/cache/kmodkeep/initramfs.json"
    assert not cache.exists()  # its directory is the package's
    (system.path / "var/cache/kmodkeep").mkdir(parents=True)
    assert new_verdict(system)["initramfs_copy"] == "same"
    assert "sample" in cache.read_text()
    cache.write_text(re.sub(r'"sample":\{[^}]*\}', '"sample":null', cache.read_text().replace(" ", "")))
    assert new_verdict(system)["initramfs_copy"] == "none"  # it is believed
    system.initramfs(NEW, {"updates/dkms/sample.ko": module_bytes(NEW), "x": b"1"})
    assert new_verdict(system)["initramfs_copy"] == "same"
    cache.write_text("{ junk")
    assert new_verdict(system)["initramfs_copy"] == "same"


def test_container(system):
    system.tree.put("run/systemd/container", "lxc\n")
    assert set(verdicts(system)[1].values()) == {"not-applicable"}


def test_host_of_whole_images(system):
    system.tree.put("run/ostree-booted")
    assert set(verdicts(system)[1].values()) == {"not-applicable"}


def test_half_configured_packages_are_named(system):
    system.packages(**{f"linux_image_{NEW}": "half-configured", "bash": "half-configured",
                       "v4l2loopback_dkms": "unpacked", f"linux_image_{OLD}": "installed"})
    _, document = ask(system)
    assert [(p["package"], p["state"]) for p in document["unfinished_packages"]] == [
        (f"linux-image-{NEW}", "half-configured"), ("v4l2loopback-dkms", "unpacked"),
    ]  # fmt: skip
    assert "dpkg --configure -a" in system.tree.run("doctor").out


def test_broken_drop_in_spares_the_others(system):
    system.driver("broken", "modules\n")
    result = system.tree.run("doctor")
    assert result.code == 3 and "broken.conf:1: " in result.err
    assert f"{NEW}: sample: ok" in result.out


def test_what_boots_next_is_asked_everywhere(system):
    (system.path / "boot/grub/grub.cfg").unlink()
    assert ask(system, "--next-boot")[0] == 3
    system.tree.put("run/systemd/container", "lxc\n")
    assert ask(system, "--next-boot")[0] == 3
    assert ask(system)[0] == 0


@pytest.mark.parametrize("verb", ["doctor", "status", "guard"])
def test_mistyped_root_is_not_safe(system, verb):
    result = system.tree.run(verb, "--root", "/no/such/place", root=False)
    assert result.code == 3
    assert result.err == "kmodkeep: --root /no/such/place: No such file or directory\n"
    assert "SAFE" not in result.out and "safe" not in result.out


def test_two_drivers(system):
    system.driver("second")
    system.install(OLD, name="second")
    code, found = verdicts(system, "--all")
    assert code == 1
    assert found == {(NEW, "sample"): "ok", (OLD, "sample"): "ok",
                     (NEW, "second"): "missing", (OLD, "second"): "ok"}  # fmt: skip


def opened(system, drivers):
    """What doctor opens on a host of so many drivers and three kernels, by the file's name."""
    kernels = [f"6.{n}.0-amd64" for n in range(2, 5)]
    for kernel in kernels:
        system.kernel(kernel)
        system.tree.put(f"lib/modules/{kernel}/build/Module.symvers",
                        "0x11111111\tprintk\tvmlinux\tEXPORT_SYMBOL\t\n")
        for number in range(drivers):
            system.tree.put(f"lib/modules/{kernel}/updates/dkms/many{number}.ko",
                            module_bytes(kernel, name=f"many{number}"))
        system.depmod(kernel)
    system.tree.put("boot/grub/grub.cfg", grub_cfg(kernels))
    trace = system.path / "trace"
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", trace, "-e", "trace=open,openat", PROGRAM, "doctor", "--all", "--root",
         system.path], env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}, timeout=120, check=False,
        capture_output=True, text=True)  # fmt: skip
    assert f"many{drivers - 1}: ok" in done.stdout, done.stdout + done.stderr
    return collections.Counter(re.findall(r'"([^"]+)"', trace.read_text()))


def test_cost_of_a_driver(system):
    """A hundred milliseconds for thirty drivers on five kernels: what is of the kernel is read once."""
    few, many = opened(system, 2), opened(system, 8)
    more = many - few
    for name, count in many.items():
        if any(part in name for part in ("/config-", "Module.symvers", "modules.", "framework.conf", "modprobe.d")):
            assert count <= 6 and not more[name], (name, few[name], count)  # once for each kernel
    assert sum(more.values()) <= 16 * 6 * 3, more.most_common(20)


def with_aliases(name, aliases):
    """A module with ALIASES: a function of C for each would take seconds."""
    entries = [f"name={name}", f"vermagic={NEW} SMP ", "srcversion=ABC", *[f"alias={alias}" for alias in aliases]]
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "m.s")
        source.write_text('.section .modinfo,"a"\n' + "".join(f'.asciz "{entry}"\n' for entry in entries))
        subprocess.run(["gcc", "-c", source, "-o", source.with_suffix(".ko")], check=True)
        return source.with_suffix(".ko").read_bytes()


def test_cost_of_the_aliases_of_a_device_tree(system):
    """All of them begin alike, and libkmod compares each with what it is asked for: 1.8 ms on a kernel of arm64."""
    others = [f"of:N*T*Cvendor{n},chip{n % 97}{end}" for n in range(10_000) for end in ("", "C*")]
    system.tree.put(f"lib/modules/{NEW}/kernel/others.ko", with_aliases("others", others))

    def cost(count):
        """The least processor time of three runs."""
        system.install(NEW, data=with_aliases("sample", [f"of:N*T*Cours,chip-{n}C*" for n in range(count)]))
        took = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            assert new_verdict(system)["verdict"] == "ok"
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took.append(after.ru_utime - before.ru_utime)
        return min(took)

    # Those of thirty drivers, six each.
    assert cost(180) - cost(1) < 0.1


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: data[:4] + b"\0\3" + data[6:]])
def test_index_of_aliases_that_is_damaged(system, damage):
    system.install(NEW, data=with_aliases("sample", ["of:N*T*Cours,chip-1", "of:N*T*Cours,chip-2"]))
    assert new_verdict(system)["verdict"] == "ok"
    index = system.path / f"lib/modules/{NEW}/modules.alias.bin"
    index.write_bytes(damage(index.read_bytes()))
    assert new_verdict(system)["verdict"] == "unknown"


@pytest.mark.parametrize("user,loaded,old,new", [
    ("libsample.so.1.2", "1.2", "ok", "ok"),
    ("libsample.so.1.2", "1.1", "stale-loaded", "ok"),
    ("libsample.so.1.3", "1.2", "other-version", "other-version"),
    ("sample-1.2 (built today)", "1.2", "ok", "ok"),
    ("no number", "1.2", "unknown", "unknown"),
    (None, "1.2", "ok", "ok"),
])  # fmt: skip
def test_user_space_of_another_version(system, user, loaded, old, new):
    """A library by its links, or a text; both directions, and nothing where it is not installed."""
    system.driver("sample", "modules = sample\nuserspace = /usr/lib/sample\n")
    if user and ".so." in user:
        system.tree.put(f"usr/lib/x/{user}")
        (system.path / "usr/lib/libsample.so.1").symlink_to(f"/usr/lib/x/{user}")
        (system.path / "usr/lib/sample").symlink_to("libsample.so.1")
    elif user:
        system.tree.put("usr/lib/sample", user + "\n")
    system.tree.put("sys/module/sample/version", loaded + "\n")
    assert verdicts(system)[1] == {(OLD, "sample"): old, (NEW, "sample"): new}


def test_program_of_an_image_is_not_run(system):
    system.driver("sample", "modules = sample\nuserspace = /usr/bin/sample version\n")
    system.tree.put("usr/bin/sample", "#!/bin/sh\ntouch /tmp/kmodkeep-was-run\necho 1.2\n").chmod(0o755)
    assert new_verdict(system)["verdict"] == "unknown"
    assert not os.path.exists("/tmp/kmodkeep-was-run")


def test_nothing_is_written(system):
    before = system.digest()
    system.tree.run("doctor", "--all")
    system.tree.run("status")
    assert system.digest() == before


def status(system):
    result = system.tree.run("status")
    assert all(len(line) <= 80 for line in result.out.splitlines()), result.out
    assert "\033" not in result.out and "\t" not in result.out
    assert not re.search(r" $", result.out, re.M)
    return result.code, result.out


def test_status_of_a_good_host(system):
    code, page = status(system)
    assert code == 0
    assert page.startswith(f"SAFE           next boot safe (kernel {NEW})\n")
    assert "What to do" not in page


def test_status_of_a_bad_host(system):
    system.remove(NEW)
    code, page = status(system)
    assert code == 1
    text = " ".join(page.split())
    assert text.startswith(f"NOT SAFE next boot would lose sample (kernel {NEW}, sample: missing) ")
    # The reason stands there once.
    assert text.count("no such module") == 1
    assert f"What to do sample on {NEW}: install the headers" in text


WAIT = "1764201600 sample-modules linux-image-amd64 6.1.1-1 6.1.2-1 Driver Team <team@drivers.example>\n"


def test_status_says_which_kernel_waits_for_a_prebuilt_driver(system):
    system.tree.put("var/lib/kmodkeep/kernel-waits", WAIT.encode())
    code, page = status(system)
    text = " ".join(page.split())
    assert code == 0
    assert ("Kernel waits linux-image-amd64 6.1.2-1, for sample-modules, since 2025-11-27;"
            " it comes from Driver Team <team@drivers.example>") in text  # fmt: skip
    system.tree.put("var/lib/kmodkeep/kernel-waits", b"17642 \x1b[2Jsample\n\n" + b"x" * 100)
    text = " ".join(status(system)[1].split())
    assert text.count("/var/lib/kmodkeep/kernel-waits is damaged") == 2 and "\x1b" not in text


def test_status_where_it_cannot_be_told(system):
    (system.path / "boot/grub/grub.cfg").unlink()
    code, page = status(system)
    assert code == 3 and page.startswith("CANNOT TELL ")


def test_status_says_once_what_it_cannot_read(system):
    system.tree.put(f"boot/initrd.img-{NEW}", b"BZh91AY&SY")
    result = system.tree.run("status")
    assert result.code == 3
    assert " ".join(result.out.split()).count("which may hold another copy") == 1


@pytest.mark.parametrize("others", [True, False])
def test_status_with_a_broken_drop_in(system, others):
    if not others:
        (system.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
    system.driver("broken", "modules\n")
    code, page = status(system)
    assert code == 3 and page.startswith("CANNOT TELL ")
    assert "a file in drivers.d has an error" in " ".join(page.split())


def test_status_without_drivers(system):
    (system.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
    system.remove(OLD)
    system.remove(NEW)
    code, page = status(system)
    assert code == 0 and "no out-of-tree driver was found" in page
