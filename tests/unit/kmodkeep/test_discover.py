# SPDX-License-Identifier: GPL-2.0-or-later
"""Out-of-tree drivers are judged without any drop-in."""

import errno
import json
import os
import subprocess

import pytest

from tests.unit.kmodkeep.dkms import ARCH
from tests.unit.kmodkeep.host import PROGRAM
from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes, packed


@pytest.fixture
def system(tree):
    made = System(tree)
    (made.path / "usr/lib/kmodkeep/drivers.d/sample.conf").unlink()
    return made


def dkms(system, name, conf, version="1.2"):
    """A driver that dkms knows, by an absolute link as dkms makes it."""
    system.tree.put(f"usr/src/{name}-{version}/dkms.conf", conf)
    place = system.path / f"var/lib/dkms/{name}/{version}"
    place.mkdir(parents=True)
    (place / "source").symlink_to(f"/usr/src/{name}-{version}")


def next_boot(system):
    result = system.tree.run("doctor", "--json", "--next-boot")
    document = json.loads(result.out)
    return result.code, {f["module"]: f for f in document["findings"]}, document["drivers"]


def test_module_file_that_the_next_kernel_lacks_is_a_loss(system):
    system.remove(NEW)
    code, found, drivers = next_boot(system)
    assert code == 1 and found["sample"]["verdict"] == "missing" and not found["sample"]["note"]
    assert drivers == [{"driver": "sample", "known_from": "module file", "dkms": None}]
    status = system.tree.run("status")
    assert status.code == 1 and status.out.startswith("NOT SAFE")


def test_all_modules_of_a_dkms_conf(system):
    dkms(system, "two", 'PACKAGE_NAME="two"\nBUILT_MODULE_NAME[0]="sample"\n'
         'BUILT_MODULE_NAME[1]="${PACKAGE_NAME}-b"\nDEST_MODULE_LOCATION[0]="/extra"\n'
         'DEST_MODULE_LOCATION[1]="/extra"\n')
    system.install(OLD, name="two-b")
    code, found, drivers = next_boot(system)
    assert (code, found["sample"]["verdict"], found["two-b"]["verdict"]) == (1, "ok", "missing")
    assert drivers[0]["known_from"] == "dkms, module file"


def test_modules_that_are_added_to_an_array(system):
    """As in dahdi-dkms of Debian 13."""
    dkms(system, "dahdi", 'PACKAGE_NAME=dahdi\nBUILT_MODULE_NAME=()\nDEST_MODULE_LOCATION=()\n'
         + "".join(f'BUILT_MODULE_NAME+=("{name}")\nDEST_MODULE_LOCATION+=("/extra")\n'
                   for name in ("xpp", "wcb4xxp"))
         + "BUILT_MODULE_NAME+=(icE1usb\noct612x)\nDEST_MODULE_LOCATION+=(/extra /extra)\n")
    assert {"xpp", "wcb4xxp", "icE1usb", "oct612x"} == next_boot(system)[1].keys() - {"sample"}


def test_driver_that_served_on_no_kernel_is_a_note(system):
    dkms(system, "never", 'PACKAGE_NAME="never"\nDEST_MODULE_LOCATION[0]="/extra"\n')
    code, found, _ = next_boot(system)
    assert (code, found["never"]["verdict"], found["never"]["note"]) == (0, "missing", True)
    assert "no loss, as no out-of-tree build serves now: never" in system.tree.run("guard").out


@pytest.mark.parametrize("served", [True, False])
def test_not_made_for_this_kernel(system, served):
    dkms(system, "old", 'BUILT_MODULE_NAME[0]="old"\nDEST_MODULE_LOCATION[0]="/extra"\n'
         'BUILD_EXCLUSIVE_KERNEL="^6\\.1\\."\n')
    if served:
        system.install(OLD, name="old")
    code, found, _ = next_boot(system)
    assert found["old"]["verdict"] == "not-made-for-kernel"
    assert (code, found["old"]["note"]) == ((1, False) if served else (0, True))


def test_loaded_and_nowhere_else_is_a_loss(system):
    system.tree.put("sys/module/alien/taint", "OE\n")
    code, found, _ = next_boot(system)
    assert code == 1 and not found["alien"]["note"]


def test_live_patch_is_no_loss(system):
    """It is out of tree and loaded, and for the running kernel alone."""
    system.tree.put("sys/module/livepatch_6_1/taint", "OEK\n")
    code, found, _ = next_boot(system)
    assert code == 0 and "livepatch_6_1" not in found


@pytest.mark.parametrize("place,text", [
    ("etc/kmodkeep/drivers.d/sample.conf", "ignore = yes\n"),
    ("etc/kmodkeep/drivers.d/sample.conf", ""),
    ("etc/kmodkeep/guard.conf", "discovery = no\n"),
])  # fmt: skip
def test_switched_off(system, place, text):
    system.remove(NEW)
    system.tree.put(place, text)
    assert next_boot(system)[:2] == (0, {})


def test_driver_whose_modules_are_not_known_is_looked_for_by_its_name(system):
    """Without discovery a drop-in that names only dkms's driver still asks for it."""
    system.tree.put("etc/kmodkeep/guard.conf", "discovery = no\n")
    system.tree.put("etc/kmodkeep/drivers.d/x.conf", "dkms = gone\n")
    code, found, _ = next_boot(system)
    assert (code, found["gone"]["verdict"], found["gone"]["note"]) == (1, "missing", False)


def test_tree_that_dkms_was_told_to_use(system):
    dkms(system, "moved", 'BUILT_MODULE_NAME[0]="moved"\nDEST_MODULE_LOCATION[0]="/extra"\n')
    (system.path / "srv").mkdir()
    (system.path / "var/lib/dkms").rename(system.path / "srv/dkms")
    system.tree.put("etc/dkms/framework.conf", "x=(a b)\ndkms_tree=/srv/dkms\n")
    system.install(OLD, name="moved")
    code, found, drivers = next_boot(system)
    assert (code, found["moved"]["verdict"]) == (1, "missing")
    assert "dkms" in drivers[0]["known_from"]


@pytest.mark.parametrize("state", ["added", "installed"])
def test_twin_of_the_kernel_is_not_the_driver(system, state):
    """modprobe finds a module of that name: the kernel's own, whatever dkms says."""
    dkms(system, "it87", 'DEST_MODULE_LOCATION[0]="/extra"\nPACKAGE_NAME="it87"\n')
    system.install(OLD, name="it87")
    system.tree.put(f"lib/modules/{NEW}/kernel/drivers/hwmon/it87.ko",
                    module_bytes(NEW, name="it87", intree=True))
    system.depmod(NEW)
    if state == "installed":
        system.tree.put(f"var/lib/dkms/it87/1.2/{NEW}/{ARCH}/module/it87.ko")
        link = system.path / f"var/lib/dkms/it87/kernel-{NEW}-{ARCH}"
        link.symlink_to(f"1.2/{NEW}/{ARCH}")
    code, found, _ = next_boot(system)
    assert (code, found["it87"]["verdict"]) == (1, "missing"), found["it87"]
    assert ("dkms install --force it87/1.2" in found["it87"]["next_step"]) == (state == "installed")


@pytest.mark.parametrize("kernels,built,left", [
    (None, None, True), ("1.2", "1.2", True), ("1.10", "1.9", True), ("1.2", "1.3", False),
    (None, "1.2", False),
])  # fmt: skip
@pytest.mark.parametrize("served", [False, True])
def test_twin_that_dkms_leaves_to_the_kernel(system, kernels, built, left, served):
    """As hdaps of tp-smapi-dkms: dkms counts it as installed, over no module that is not older."""
    dkms(system, "it87", 'DEST_MODULE_LOCATION[0]="/extra"\nPACKAGE_NAME="it87"\n')
    if served:
        system.install(OLD, name="it87")
    own = module_bytes(NEW, name="it87", version=kernels, intree=True)
    system.tree.put(f"lib/modules/{NEW}/kernel/drivers/hwmon/it87.ko", own)
    system.depmod(NEW)
    system.tree.put(f"var/lib/dkms/it87/1.2/{NEW}/{ARCH}/module/it87.ko",
                    module_bytes(NEW, name="it87", version=built))
    (system.path / f"var/lib/dkms/it87/kernel-{NEW}-{ARCH}").symlink_to(f"1.2/{NEW}/{ARCH}")
    code, found, _ = next_boot(system)
    assert found["it87"]["verdict"] == ("not-made-for-kernel" if left else "missing"), found["it87"]
    assert (code, found["it87"]["note"]) == ((0, True) if left and not served else (1, False))
    assert (found["it87"]["next_step"] is None) == (left and not served)
    if found["it87"]["note"]:
        # The kernel's own is here, so it is not that no kernel has it.
        for verb in ("guard", "status"):
            said = " ".join(system.tree.run(verb).out.split())
            assert "no out-of-tree build serves now: it87" in said and "no kernel here has" not in said, verb


def test_kernel_that_has_all_but_what_was_left_to_it_is_named(system):
    """As that of tp-smapi-dkms: it serves without hdaps, which is no reason to wait."""
    dkms(system, "tp", 'PACKAGE_NAME="tp"\nBUILT_MODULE_NAME[0]="tp"\nBUILT_MODULE_NAME[1]="it87"\n')
    system.install(OLD, name="tp")
    system.tree.put(f"lib/modules/{OLD}/kernel/drivers/hwmon/it87.ko",
                    module_bytes(OLD, name="it87", intree=True))
    system.depmod(OLD)
    for module in ("tp", "it87"):
        system.tree.put(f"var/lib/dkms/tp/1.2/{OLD}/{ARCH}/module/{module}.ko",
                        module_bytes(OLD, name=module))
    (system.path / f"var/lib/dkms/tp/kernel-{OLD}-{ARCH}").symlink_to(f"1.2/{OLD}/{ARCH}")
    system.tree.put("var/lib/dkms/tp/1.2/build/make.log",
                    f"DKMS make.log for tp-1.2 for kernel {NEW} (x86_64)\nm.c: error: no\n")
    result = system.tree.run("doctor", "--json", "--all")
    found = {(f["kernel"], f["module"]): f for f in json.loads(result.out)["findings"]}
    assert found[OLD, "it87"]["verdict"] == "not-made-for-kernel", found[OLD, "it87"]
    assert found[NEW, "tp"]["verdict"] == "missing"
    assert found[NEW, "tp"]["next_step"].startswith(f"boot kernel {OLD}, which has it"), found[NEW, "tp"]
    assert not found[NEW, "it87"]["next_step"], found[NEW, "it87"]


@pytest.mark.parametrize("there,verdict", [
    ({"spl", "videodev"}, "ok"),
    ({"videodev"}, "missing"),
    ({"spl"}, "missing"),
])  # fmt: skip
def test_what_a_module_needs(system, there, verdict):
    """Of another package, or of the kernel's own: modprobe stops where it is not there."""
    for release in (OLD, NEW):
        system.install(release, name="zfs", depends="spl,videodev")
        if "spl" in there or release == OLD:
            system.install(release, name="spl")
        if "videodev" in there or release == OLD:
            system.tree.put(f"lib/modules/{release}/kernel/drivers/media/videodev.ko",
                            module_bytes(release, name="videodev", intree=True))
        system.depmod(release)
    code, found, _ = next_boot(system)
    assert (code, found["zfs"]["verdict"]) == (verdict != "ok", verdict), found["zfs"]
    assert verdict == "ok" or found["zfs"]["message"].startswith("it needs ")


def test_what_a_module_needs_is_signed_by_a_stranger(system, pair, other_pair):
    system.tree.secure_boot()
    system.tree.enrol(pair.cert)
    system.install(NEW, name="zfs", depends="spl", sign=pair)
    system.install(NEW, name="spl", sign=other_pair)
    _, found, _ = next_boot(system)
    assert found["zfs"]["verdict"] == "untrusted-key", found["zfs"]
    assert found["zfs"]["message"].startswith("it needs spl: ")


@pytest.mark.parametrize("other", ["", "lost"])
def test_what_a_module_needs_cannot_be_judged(system, other):
    """Unknown, though that driver itself is not asked about; a loss beside it is told."""
    system.install(NEW, name="zfs", depends="spl,znvpair" if other else "spl")
    spl = system.install(NEW, name="spl")
    if other:
        system.install(NEW, name="znvpair").write_bytes(b"")
    system.depmod(NEW)
    spl.unlink()
    spl.symlink_to(spl.name)
    system.tree.put("etc/kmodkeep/drivers.d/spl.conf", "module = spl\nignore = yes\n")
    _, found, _ = next_boot(system)
    assert found["zfs"]["verdict"] == ("tampered" if other else "unknown"), found["zfs"]
    assert found["zfs"]["message"].startswith("it needs znvpair" if other else "it needs spl: ")


def test_whose_module_it_is(system):
    """A kernel package's own is no driver; a folder in kernel/ that it was not built with is one."""
    for release in (OLD, NEW):
        system.tree.put(f"lib/modules/{release}/modules.order", "kernel/fs/ext4/ext4.ko\n")
        for path in ("kernel/fs/ext4/ext4", "kernel/nvidia-535/nvidia", "kernel/zfs/zfs", "extra/own", "extra/foreign"):
            system.tree.put(f"lib/modules/{release}/{path}.ko", module_bytes(release, name=path.rpartition("/")[2]))
        system.tree.put(f"var/lib/dpkg/info/linux-modules-{release}.list",
                        f"/.\n/lib/modules/{release}/kernel\n/lib/modules/{release}/kernel/zfs\n"
                        f"/lib/modules/{release}/kernel/zfs/zfs.ko\n"
                        f"/lib/modules/{release}/extra/own.ko\n")
        system.depmod(release)
    _, found, _ = next_boot(system)
    assert set(found) == {"sample", "nvidia", "foreign"}
    # The package for the next kernel is not there.
    (system.path / f"lib/modules/{NEW}/kernel/nvidia-535/nvidia.ko").unlink()
    system.depmod(NEW)
    code, found, _ = next_boot(system)
    assert (code, found["nvidia"]["verdict"], found["nvidia"]["note"]) == (1, "missing", False)


FAILED = "akmods: Building nvidia-kmod\nnv-mmap.c:33: error: too few arguments to function\nrpmbuild failed\n"


def test_akmods(system):
    """As Fedora and RPM Fusion lay it out: no dkms, so no advice about it."""
    for release in (OLD, NEW):
        system.remove(release)
    system.tree.put(f"lib/modules/{OLD}/extra/nvidia/nvidia.ko", module_bytes(OLD, name="nvidia"))
    system.depmod(OLD)
    system.tree.put("usr/src/akmods/nvidia-kmod.latest")
    code, found, drivers = next_boot(system)
    assert (code, found["nvidia"]["verdict"], found["nvidia"]["note"]) == (1, "missing", False)
    assert found["nvidia"]["next_step"] == f"akmods --force --akmod nvidia --kernels {NEW}"
    for version in ("535.9", "535.10"):
        system.tree.put(f"var/cache/akmods/nvidia/{version}-1-for-{NEW}.failed.log", FAILED + version)
    finding = next_boot(system)[1]["nvidia"]
    assert finding["message"].startswith(
        f"akmods could not build nvidia for kernel {NEW}: nv-mmap.c:33: error: too few arguments")
    assert "535.10-1-for" in finding["message"] and f"boot kernel {OLD}" in finding["next_step"]
    assert "modules = nvidia" in finding["next_step"] and "dkms" not in finding["next_step"]


@pytest.mark.parametrize("tool", ["usr/sbin/weak-modules", "usr/lib/module-init-tools/weak-modules2"])
def test_modules_that_are_linked_in_from_another_kernel(system, tool):
    """Packages of EL and SUSE, built for the first kernel of a series."""
    for release in (OLD, NEW):
        system.remove(release)
    file = system.tree.put(f"lib/modules/{OLD}/extra/kmp/kmp.ko",
                           module_bytes(OLD, name="kmp", settings="SMP modversions ", symbols=(("module_layout", 5),)))
    system.depmod(OLD)
    system.tree.put(tool)
    finding = next_boot(system)[1]["kmp"]
    assert finding["verdict"] == "missing"
    assert f"{tool.rpartition('/')[2]} --add-kernel {NEW}" in finding["next_step"]
    link = system.path / f"lib/modules/{NEW}/weak-updates/kmp/kmp.ko"
    link.parent.mkdir(parents=True)
    link.symlink_to(f"../../../{OLD}/extra/kmp/kmp.ko")
    system.tree.put(f"lib/modules/{NEW}/kernel/own.ko",
                    module_bytes(NEW, name="own", settings="SMP modversions ", symbols=(("module_layout", 5),)))
    system.depmod(NEW)
    code, found, _ = next_boot(system)
    assert (code, found["kmp"]["verdict"]) == (3, "unknown") and "headers" in found["kmp"]["message"]
    # The kernel's package has the list of its symbols, with no headers.
    for name, crc, verdict in (("lib/modules/{}/symvers.xz", 5, "ok"), ("lib/modules/{}/symvers.xz", 6, "wrong-kernel"),
                               ("boot/symvers-{}.gz", 6, "wrong-kernel"), ("boot/symvers-{}.gz", 5, "ok")):  # fmt: skip
        text = f"{crc:#010x}\tmodule_layout\tvmlinux\tEXPORT_SYMBOL\t\n".encode()
        listed = system.tree.put(name.format(NEW), packed(text, ["xz"] if "xz" in name else ["gzip", "-n"]))
        code, found, _ = next_boot(system)
        assert found["kmp"]["verdict"] == verdict, found
        if verdict == "wrong-kernel":
            assert "module_layout is another one" in found["kmp"]["message"]
            assert "dkms" not in (found["kmp"]["next_step"] or ""), found["kmp"]
            listed.unlink()
    # The kernel that it is of goes, with what the link leads to.
    file.unlink()
    finding = next_boot(system)[1]["kmp"]
    assert finding["verdict"] == "missing" and "dkms" not in finding["next_step"], finding


@pytest.mark.parametrize("folder", ["extra", "updates/vendor", "kernel/nvidia-535"])
def test_folder_behind_a_link(system, folder):
    """depmod follows it, and so loses the driver if it is not there for the next kernel."""
    system.tree.put(f"lib/modules/{OLD}/modules.order", "kernel/fs/x.ko\n")
    away = system.tree.put("opt/vendor/sub/strange.ko", module_bytes(OLD, name="strange"))
    link = system.path / f"lib/modules/{OLD}/{folder}"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(away.parent.parent)
    system.depmod(OLD)
    # One that leads to itself has an end; depmod's is the number of files that it may open.
    (away.parent / "again").symlink_to(".")
    result = system.tree.run("guard")
    assert result.code in (1, 3) and "strange" in result.out, result.text


@pytest.mark.parametrize("what", ["drivers", "depth"])
def test_more_than_is_looked_at(system, what):
    """What is beyond a limit may be a driver that would be lost."""
    data = module_bytes(NEW, name="many")
    if what == "depth":
        system.tree.put(f"lib/modules/{NEW}/extra/" + "/".join("abcdefghij") + "/many.ko", data)
    else:
        for number in range(1030):
            system.tree.put(f"lib/modules/{NEW}/extra/many{number}.ko", b"")
    result = system.tree.run("guard")
    assert result.code != 0, result.text
    assert "more drivers or folders than are looked at" in result.text


def test_two_hundred_drivers(system):
    for kernel in (OLD, NEW):
        for number in range(200):
            system.tree.put(f"lib/modules/{kernel}/extra/many{number}.ko", module_bytes(kernel, name="many"))
        system.depmod(kernel)
    assert system.tree.run("guard").code == 0
    system.tree.put(f"lib/modules/{NEW}/extra/many117.ko", b"")
    result = system.tree.run("guard")
    assert result.code == 1 and "many117" in result.out


def test_kernels_own_module_that_is_empty(system):
    """A disk that was full: what the driver needs is there by its name alone."""
    need = system.tree.put(f"lib/modules/{NEW}/kernel/need.ko", module_bytes(NEW, name="need", intree=True))
    system.install(NEW, data=module_bytes(NEW, depends="need"))
    system.tree.put(f"lib/modules/{NEW}/modules.dep", "updates/dkms/sample.ko: kernel/need.ko\nkernel/need.ko:\n")
    subprocess.run(["depmod", "-b", system.path, NEW], check=True)
    dep = system.path / f"lib/modules/{NEW}/modules.dep"
    assert json.loads(system.tree.run("doctor", "--next-boot", "--json").out)["findings"][0]["verdict"] == "ok"
    need.write_bytes(b"")
    finding = json.loads(system.tree.run("doctor", "--next-boot", "--json").out)["findings"][0]
    assert finding["verdict"] == "tampered" and "it needs need" in finding["message"], (finding, dep.read_text())


@pytest.mark.parametrize("error", ["EIO", "ESTALE", "EMFILE"])
def test_drivers_folder_that_cannot_be_opened(system, error):
    """A disk that fails, a server that is gone: the driver there may be one that would be lost."""
    dkms(system, "unread", 'PACKAGE_NAME=unread\nBUILT_MODULE_NAME=unread\nDEST_MODULE_LOCATION=/extra\n')
    folder = system.path / "var/lib/dkms/unread"
    # What looks for leaks cannot be traced.
    done = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-P", folder, "-e", f"inject=openat:error={error}",
         PROGRAM, "guard", "--root", system.path], capture_output=True, text=True, timeout=120,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=0"})  # fmt: skip
    assert done.returncode == 3 and f"{folder}: {os.strerror(getattr(errno, error))}" in done.stderr, done.stderr
