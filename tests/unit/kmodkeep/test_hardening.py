# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts that refuse a good module, or that have none when its device asks: no such boot is called safe."""

import json
import os
import subprocess

import pytest

from tests.unit.kmodkeep.host import Pair
from tests.unit.kmodkeep.system import NEW, OLD, System, module_bytes

CONFIG = "CONFIG_MODULES=y\nCONFIG_INTEGRITY_PLATFORM_KEYRING=y\n"


@pytest.fixture
def system(tree):
    made = System(tree)
    made.driver("sample", "modules = sample\ndkms = sample\ninitramfs = no\n")
    return made


def finding(system):
    (found,) = json.loads(system.tree.run("doctor", "--json", "--next-boot").out)["findings"]
    assert found["verdict"] == "ok" or found["next_step"], found
    return found


def verdict(system):
    return finding(system)["verdict"]


def boots_with(system, words):
    """These words are on the command line of the entry that boots."""
    menu = system.path / "boot/grub/grub.cfg"
    menu.write_text(menu.read_text().replace("ro quiet", f"ro quiet {words}"))


@pytest.mark.parametrize("where, line, word", [
    ("etc/sysctl.conf", "kernel.modules_disabled = 1", "unknown"),
    ("usr/lib/sysctl.d/9.conf", " -kernel/modules_disabled=1", "unknown"),
    ("etc/sysctl.d/9.conf", "kernel.modules_disabled=0", "ok"), ("etc/sysctl.d/9.conf", "#kernel.modules_disabled=1", "ok"),
    ("etc/sysctl.d/9.txt", "kernel.modules_disabled=1", "ok"), ("etc/sysctl.d/9.conf", "kernel.modules = 1", "ok"),
])  # fmt: skip
def test_modules_are_disabled_while_the_host_boots(system, where, line, word):
    system.tree.put(where, f"kernel.panic = 1\n{line}\n")
    assert verdict(system) == word
    # What systemd-modules-load has goes before.
    system.tree.put("etc/modules-load.d/x.conf", "sample\n")
    assert verdict(system) == "ok"
    (system.path / "etc/modules-load.d/x.conf").unlink()
    # This boot had the same, and the module is loaded.
    system.loaded("sample", "ABC")
    system.tree.put("proc/sys/kernel/modules_disabled", "0\n")
    assert verdict(system) == word
    system.tree.put("proc/sys/kernel/modules_disabled", "1\n")
    assert verdict(system) == "ok"


def test_settings_that_cannot_be_read(system, pair):
    """As root nothing is forbidden, so they are too long. A link to /dev/null hides a file, and sets nothing."""
    (system.path / "etc/sysctl.d").mkdir(parents=True, exist_ok=True)
    (system.path / "etc/sysctl.d/9.conf").symlink_to("/dev/null")
    assert verdict(system) == "ok"
    large = "# nothing\n" * 500_000
    for where in ("etc/sysctl.d/8.conf", "etc/selinux/config"):
        system.tree.put("sys/fs/selinux/enforce", "1")
        path = system.tree.put(where, large)
        os.setxattr(system.module_file(NEW), "security.selinux", b"u:r:user_home_t")
        assert verdict(system) == "unknown", where
        path.unlink()
        assert verdict(system) == "ok", where


def test_ima_is_not_switched_off_under_secure_boot(system, pair):
    system.tree.put(f"boot/config-{NEW}", CONFIG + "CONFIG_IMA_APPRAISE=y\n")
    boots_with(system, "ima_policy=secure_boot ima_appraise=log")
    system.install(NEW, sign=pair)
    system.tree.enrol(pair.cert)
    system.tree.secure_boot(False)
    assert verdict(system) == "ok"
    system.tree.secure_boot()
    found = finding(system)
    assert found["verdict"] == "unknown" and "IMA" in found["message"], found


@pytest.mark.parametrize("words, word", [
    ("sysctl.kernel.modules_disabled=1", "blocked"), ("sysctl.kernel.modules_disabled=0", "ok"),
    ("loadpin.enforce=1", "unknown"), ("loadpin.enforce", "unknown"), ("loadpin.enforce=0", "ok"),
    ("loadpin.enforce=1 lsm=lockdown,yama", "ok"), ("loadpin.enforce=1 lsm=yama,loadpin", "unknown"),
    ("ima_policy=tcb|secure_boot", "unknown"), ("ima_policy=appraise_tcb", "unknown"), ("ima_policy=tcb", "ok"),
    ("ima_policy=secure_boot ima_appraise=log", "ok"), ("ima_appraise_tcb", "unknown"),
])  # fmt: skip
def test_words_of_the_entry_that_boots(system, words, word):
    system.tree.put(f"boot/config-{NEW}", CONFIG + "CONFIG_IMA_APPRAISE=y\n")
    boots_with(system, words)
    assert verdict(system) == word
    assert system.tree.run("guard").code == {"ok": 0, "blocked": 1, "unknown": 3}[word]


def test_loadpin_that_this_boot_has(system):
    system.tree.put(f"boot/config-{NEW}", CONFIG + "CONFIG_SECURITY_LOADPIN_ENFORCE=y\nCONFIG_LSM=\"yama,loadpin\"\n")
    assert verdict(system) == "unknown"
    system.loaded("sample", "ABC")
    system.tree.put("sys/kernel/security/lsm", "capability,yama,loadpin\n")
    for now, word in (("0", "unknown"), ("1", "ok")):
        system.tree.put("proc/sys/kernel/loadpin/enforce", f"{now}\n")
        assert verdict(system) == word
    system.tree.put(f"boot/config-{NEW}", CONFIG + "CONFIG_SECURITY_LOADPIN_ENFORCE=y\nCONFIG_LSM=\"yama,bpf\"\n")
    system.tree.put("proc/sys/kernel/loadpin/enforce", "0\n")
    assert verdict(system) == "ok"


def test_policy_of_ima(system):
    config = system.tree.put(f"boot/config-{NEW}", CONFIG + "CONFIG_IMA_APPRAISE=y\n")
    for line, word in (("measure func=MODULE_CHECK", "ok"), ("appraise func=BPRM_CHECK", "ok"),
                       ("  appraise func=MODULE_CHECK appraise_type=imasig", "unknown"),
                       ("appraise fowner=0", "unknown")):  # fmt: skip
        system.tree.put("etc/ima/ima-policy", f"# rules\n{line}\n")
        assert verdict(system) == word, line
    # A kernel that knows none; the running one, which has loaded it.
    config.write_text(CONFIG)
    assert verdict(system) == "ok"
    config.write_text(CONFIG + "CONFIG_IMA_APPRAISE=y\n")
    system.loaded("sample", "ABC")
    assert verdict(system) == "unknown"
    system.running(NEW)
    assert verdict(system) == "ok"


@pytest.mark.parametrize("words, word", [("", "unknown"), ("selinux=0", "ok"), ("enforcing=0", "ok"), ("lsm=yama", "ok")])
def test_label_of_the_file(system, words, word):
    """A module that was built elsewhere and moved here has the label of that place."""
    path = system.module_file(NEW)
    for label, verdict_of in (("system_u:object_r:modules_object_t:s0", "ok"), ("u:object_r:user_home_t:s0", word)):
        os.setxattr(path, "security.selinux", label.encode())
        system.tree.put("etc/selinux/config", "# x\nSELINUX=enforcing\n")
        assert verdict(system) == "ok"
        system.tree.put("sys/fs/selinux/enforce", "1")
        boots_with(system, words)
        found = finding(system)
        assert found["verdict"] == verdict_of, found
        (system.path / "sys/fs/selinux/enforce").unlink()
    assert word == "ok" or found["next_step"] == f"restorecon -v {path}"
    system.tree.put("sys/fs/selinux/enforce", "1")
    system.tree.put("etc/selinux/config", "SELINUX=permissive\n")
    assert verdict(system) == "ok"


def test_fips_mode(system, pair, tmp_path):
    weak = Pair(tmp_path, "weak")
    subprocess.run(["openssl", "req", "-new", "-x509", "-newkey", "rsa:1024", "-nodes", "-days", "9", "-subj", "/CN=weak",
                    "-keyout", weak.key, "-outform", "DER", "-out", weak.cert], check=True, capture_output=True)  # fmt: skip
    system.tree.secure_boot()
    system.tree.enrol(pair.cert, weak.cert)
    system.install(OLD, sign=pair)
    system.install(NEW, sign=weak)
    assert verdict(system) == "ok"
    boots_with(system, "fips=1")
    found = finding(system)
    assert found["verdict"] == "unsupported-signature" and "1024 bits" in found["message"], found
    system.install(NEW, sign=pair)
    assert verdict(system) == "ok"
    system.tree.put(f"boot/config-{NEW}", CONFIG + "CONFIG_CRYPTO_SHA1=y\n")
    system.install(NEW)
    signed = system.tree.run("sign", "--hash", "sha1", "--key", pair.key, "--cert", pair.cert, system.module_file(NEW))
    assert signed.code == 0, signed.text
    assert verdict(system) == "unknown"


@pytest.mark.parametrize("setting", ["LOCK_DOWN_KERNEL_FORCE_INTEGRITY=y", "LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY=y",
                                     'CMDLINE="quiet module.sig_enforce"', 'CMDLINE="lockdown=integrity"'])  # fmt: skip
def test_kernel_that_demands_signatures_by_itself(system, setting):
    config = system.tree.put(f"boot/config-{NEW}", CONFIG)
    assert verdict(system) == "ok"
    config.write_text(f"{CONFIG}CONFIG_{setting}\n")
    assert verdict(system) == "unsigned"


def test_command_line_that_is_built_in(system):
    system.tree.put(f"boot/config-{NEW}", CONFIG + 'CONFIG_CMDLINE="module_blacklist=other,sample"\n')
    found = finding(system)
    assert found["verdict"] == "blocked" and "built into kernel" in found["message"], found


MOUNT = "1 1 8:1 / / rw - ext4 /dev/sda1 rw\n2 1 8:2 / {} rw - ext4 /dev/sda2 rw\n"


@pytest.mark.parametrize("where, fstab, word, loaded", [
    ("/usr", "/dev/sda2 /usr ext4 defaults 0 2", "ok", "ok"), ("/lib/modules", "", "unknown", "unknown"),
    ("/lib/modules", "/dev/sda2 /lib/modules ext4 defaults 0 2", "unknown", "ok"),
    ("/lib/modules", "/dev/sda2 /lib/modules ext4 noauto 0 2", "unknown", "unknown"),
    ("/lib/modules", "/dev/sda2 /lib/modules ext4 x-initrd.mount 0 2", "ok", "ok"),
    (f"/lib/modules/{NEW}", "", "unknown", "unknown"), (f"/lib/modules/{OLD}", "", "ok", "ok"),
    ("/srv", "", "ok", "ok"),
])  # fmt: skip
def test_file_system_of_the_modules(system, where, fstab, word, loaded):
    """What is mounted by hand is not there at the next boot, and what is mounted late is so too late for devices."""
    system.tree.put("proc/self/mountinfo", MOUNT.format(where))
    system.tree.put("etc/fstab", fstab + "\n")
    assert verdict(system) == word
    system.loaded("sample", "ABC")
    assert verdict(system) == loaded
    if where == "/lib/modules" and not fstab:
        for folder in ("etc/systemd/system", "lib/systemd/system"):
            unit = system.tree.put(f"{folder}/lib-modules.mount", "[Mount]\n")
            assert verdict(system) == "unknown"
            want = system.path / "etc/systemd/system/local-fs.target.wants/lib-modules.mount"
            want.parent.mkdir(exist_ok=True)
            want.symlink_to(f"/{folder}/lib-modules.mount")
            assert verdict(system) == "ok"
            unit.unlink()
            want.unlink()


@pytest.fixture
def merged(system):
    """/lib is in /usr."""
    for release in (OLD, NEW):
        system.tree.put(f"usr/lib/modules/{release}/x")
    subprocess.run(["cp", "-a", f"{system.path}/lib/.", f"{system.path}/usr/lib"], check=True)
    subprocess.run(["rm", "-r", f"{system.path}/lib"], check=True)
    (system.path / "lib").symlink_to("usr/lib")
    return system


@pytest.mark.parametrize("fstab, word", [
    ("/dev/sda2 /usr/lib/modules/ ext4 x-initrd.mount", "ok"), ("/dev/sda2 /lib/modules ext4 x-initrd.mount", "ok"),
    ('UUID="ab-1" /lib/modules ext4 x-initrd.mount', "ok"), ("UUID=AB-1 /lib//modules ext4 x-initrd.mount", "ok"), ("/dev/disk/by-uuid/ab-1 /lib/modules ext4 x-initrd.mount", "ok"),
    # Another disk than what was mounted there by hand.
    ("/dev/sda3 /usr/lib/modules ext4 x-initrd.mount", "unknown"), ("UUID=cd-2 /lib/modules ext4 x-initrd.mount", "unknown"),
    ("UUID=gone /lib/modules ext4 x-initrd.mount", "unknown"), ("/srv/modules /lib/modules none bind,x-initrd.mount", "unknown"),
    ("/dev/sda2 /lib/modules/ ext4 noauto,x-initrd.mount", "unknown"),
])  # fmt: skip
def test_line_of_fstab_is_of_what_is_mounted(merged, fstab, word):
    merged.tree.put("proc/self/mountinfo", MOUNT.format("/usr/lib/modules"))
    for number, uuid in ((2, "ab-1"), (3, "cd-2")):
        merged.tree.put(f"dev/sda{number}")
        link = merged.path / f"dev/disk/by-uuid/{uuid}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(f"../../sda{number}")
        merged.tree.put(f"sys/devices/x/sda{number}/size", "1")
        node = merged.path / f"sys/dev/block/8:{number}"
        node.parent.mkdir(parents=True, exist_ok=True)
        node.symlink_to(f"../../devices/x/sda{number}")
    merged.tree.put("etc/fstab", f"{fstab} 0 2\n")
    assert verdict(merged) == word


BOUND = "/data/modules /lib/modules none bind,x-initrd.mount 0 0\n"


@pytest.mark.parametrize("mounted, fstab, word", [
    ("", BOUND, "ok"), ("/data", BOUND, "unknown"), ("/data", f"{BOUND}/dev/sda3 /data ext4 x-initrd.mount 0 2\n", "ok"),
    ("/data", f"{BOUND}/dev/sda3 /data ext4 noauto 0 2\n", "unknown"), ("/data", f"{BOUND}/dev/sda3 /data ext4 defaults 0 2\n", "unknown"),
    ("/data", f"{BOUND}/data /data none bind,x-initrd.mount 0 2\n", "unknown"),
], ids=["root", "by-hand", "mounted", "noauto", "late", "of-itself"])  # fmt: skip
def test_folder_that_is_bound_from_what_is_mounted(system, mounted, fstab, word):
    """It is there at the next boot if that is. The two are one folder, as of a bind that was made."""
    data = system.path / "data"
    data.mkdir()
    subprocess.run(["mv", system.path / "lib/modules", data], check=True)
    (system.path / "lib/modules").mkdir()
    mounts = MOUNT.format("/lib/modules") + (f"3 1 8:3 / {mounted} rw - ext4 /dev/sda3 rw\n" if mounted else "")
    system.tree.put("proc/self/mountinfo", mounts)
    system.tree.put("etc/fstab", fstab)
    subprocess.run(["mount", "--bind", data / "modules", system.path / "lib/modules"], check=True)
    try:
        assert verdict(system) == word
    finally:
        subprocess.run(["umount", system.path / "lib/modules"], check=True)


@pytest.mark.parametrize("fstab, words, word", [
    ("", "", "unknown"), ("/dev/sda2 /usr ext4 defaults 0 2", "", "ok"), ("", "mount.usr=/dev/sda2", "ok"),
])  # fmt: skip
def test_usr_apart_from_the_root(merged, fstab, words, word):
    merged.tree.put("proc/self/mountinfo", MOUNT.format("/usr"))
    merged.tree.put("proc/cmdline", f"root=UUID=42 ro quiet {words}\n")
    boots_with(merged, words)
    merged.tree.put("etc/fstab", fstab + "\n")
    assert verdict(merged) == word


TREE = "0:30 /@{} {} rw - xfs /dev/sda2 rw"
ZFS = "0:3{} / {} rw - zfs {} rw"


@pytest.mark.parametrize("mounts, word", [
    # What systemd does in the sight of a unit with ProtectSystem=, also below another one.
    (["8:1 / / rw - ext4 /dev/sda1 rw", "8:1 /usr /usr ro - ext4 /dev/sda1 rw"], "ok"),
    ([TREE.format("", "/"), TREE.format("/usr", "/usr"), TREE.format("/usr/lib/modules", "/usr/lib/modules")], "ok"),
    (["8:1 /ostree/deploy/x / rw - xfs /dev/sda1 rw", "8:1 /ostree/deploy/x/usr /usr ro - xfs /dev/sda1 rw"], "ok"),
    # Another folder, another disk, and one of those that is mounted over itself as well.
    (["8:1 / / rw - ext4 /dev/sda1 rw", "8:1 /old/usr /usr ro - ext4 /dev/sda1 rw"], "unknown"),
    ([TREE.format("", "/"), TREE.format("usr/usr", "/usr")], "unknown"),
    (["8:1 / / rw - ext4 /dev/sda1 rw", "8:2 /usr /usr ro - ext4 /dev/sda2 rw"], "unknown"),
    (["8:1 / / rw - ext4 /dev/sda1 rw", "8:2 / /usr rw - ext4 /dev/sda2 rw", "8:2 / /usr ro - ext4 /dev/sda2 rw"], "unknown"),
    # What mounts a root of ZFS mounts the file systems below it.
    ([ZFS.format(1, "/", "rpool/ROOT/x"), ZFS.format(2, "/usr", "rpool/ROOT/x/usr")], "ok"),
    ([ZFS.format(1, "/", "rpool/ROOT/x"), ZFS.format(2, "/usr", "rpool/ROOT/xy/usr")], "unknown"),
    ([ZFS.format(1, "/", "rpool/ROOT/x"), ZFS.format(2, "/usr/lib/modules", "rpool/ROOT/x/usr/lib/modules")], "unknown"),
])  # fmt: skip
def test_usr_that_nothing_else_names(merged, mounts, word):
    merged.tree.put("proc/self/mountinfo", "".join(f"{n} 1 {line}\n" for n, line in enumerate(mounts)))
    assert verdict(merged) == word


def test_mounts_of_a_host_with_many_containers(system):
    many = "".join(f"{n} 1 0:9 / /run/{n}/{'x' * 999} rw - overlay overlay rw\n" for n in range(3000))
    system.tree.put("proc/self/mountinfo", MOUNT.format("/srv") + many)
    assert verdict(system) == "ok"
    system.tree.put("proc/self/mountinfo", many + MOUNT.format("/lib/modules"))
    assert verdict(system) == "unknown"


def test_more_mounts_than_are_read(system):
    """What is mounted by hand stands behind them: nothing is known of it then."""
    many = "".join(f"{n} 1 0:9 / /run/{n}/{'x' * 3999} rw - overlay overlay rw\n" for n in range(4300))
    system.tree.put("proc/self/mountinfo", many + MOUNT.format("/lib/modules"))
    found = finding(system)
    assert found["verdict"] == "unknown" and "mountinfo" in found["message"], found
    assert system.tree.run("guard").code == 3


@pytest.fixture
def asked_for(system):
    """The kernel asks for it by an alias."""
    data = module_bytes(NEW, alias="fs-sample")
    system.install(NEW, data=data)
    system.tree.put("usr/bin/kmod").chmod(0o755)
    for name in ("sbin/modprobe", "usr/sbin/modprobe", "usr/local/bin/load"):
        path = system.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to("/usr/bin/kmod")
    assert verdict(system) == "ok"
    return system


@pytest.mark.parametrize("value, word", [
    ("/sbin/modprobe", "ok"), ("/usr/sbin/modprobe", "ok"), ("/usr/local/bin/load", "ok"), ("", "unknown"),
    ("/bin/false", "unknown"), ("modprobe", "unknown"), ("/gone/modprobe", "unknown"),
])  # fmt: skip
def test_program_that_the_kernel_starts_for_a_module(asked_for, value, word):
    """Empty, or another one: what a file system or a protocol asks for never comes."""
    path = asked_for.tree.put("usr/lib/sysctl.d/9.conf", f"kernel.panic = 1\nkernel.modprobe = {value} \n")
    assert verdict(asked_for) == word
    for line in (f"-kernel/modprobe={value}", f"kernel.mod*robe={value}"):
        path.write_text(line + "\n")
        assert verdict(asked_for) == word, line
    path.unlink()
    boots_with(asked_for, f"sysctl.kernel.modprobe={value}")
    assert verdict(asked_for) == word
    asked_for.tree.put("etc/modules-load.d/x.conf", "sample\n")
    assert verdict(asked_for) == "ok"


@pytest.mark.parametrize("line, word", [
    ('MODPROBE_PATH="/sbin/modprobe"', "ok"), ('MODPROBE_PATH="/bin/load"', "unknown"), ('MODPROBE_PATH=""', "unknown"),
    ("STATIC_USERMODEHELPER=y", "unknown"),
])  # fmt: skip
def test_program_that_the_kernel_is_built_to_start(asked_for, line, word):
    asked_for.tree.put(f"boot/config-{NEW}", f"{CONFIG}CONFIG_{line}\n")
    assert verdict(asked_for) == word


def test_other_program_that_this_boot_has_as_well(asked_for):
    asked_for.tree.put("etc/sysctl.d/9.conf", "kernel.modprobe = /bin/true\n")
    asked_for.loaded("sample", "ABC")
    for now, word in (("/sbin/modprobe", "unknown"), ("/bin/true", "ok")):
        asked_for.tree.put("proc/sys/kernel/modprobe", f"{now}\n")
        assert verdict(asked_for) == word
